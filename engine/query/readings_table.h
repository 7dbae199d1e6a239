// A collection of readings as SQLite sees it: a virtual table whose key is the id (it has no rowid), with the columns
// id, body, the top-level fields that have a usable name, and the hidden columns time_bucket and bucket_width: with
// bucket_width = '5m', time_bucket is the start of the reading's interval, and the rows come in its order.
//
// Threads: one at a time, as the session that owns the connection.
#pragma once

#include <sqlite3.h>

#include <string>
#include <string_view>
#include <vector>

#include "engine/query/session_state.h"

namespace foreshore {

enum class ReadingsColumnKind : std::uint8_t { kId, kBody, kTime, kSeries, kField, kBucket, kBucketWidth };

struct ReadingsTableColumn {
  ReadingsColumnKind kind = ReadingsColumnKind::kField;
  std::string name;
  std::string key;  // JSON string token of a field.
};

struct ReadingsTable : sqlite3_vtab {
  ReadingsTable(SessionState& session_reference, const CollectionDefinition& definition);
  int Fail(const Status& status) { return session.Fail(this, status); }
  Result<const CollectionDefinition*> DefinitionIn(const ReadView& view) const;

  SessionState& session;
  std::uint32_t collection_id;
  std::string name;
  TimeUnit time_unit;
  std::vector<ReadingsTableColumn> columns;
};

// What a plan takes, in the order of xFilter's arguments: packed into SQLite's idxNum.
struct ReadingsPlan {
  bool by_id = false;
  bool has_series = false;
  bool has_lower = false;
  bool has_upper = false;
  bool has_width = false;
  bool time_up = false;
  bool time_down = false;

  int Encode() const {
    return (by_id ? 1 : 0) | (has_series ? 2 : 0) | (has_lower ? 4 : 0) | (has_upper ? 8 : 0) | (has_width ? 16 : 0) |
           (time_up ? 32 : 0) | (time_down ? 64 : 0);
  }
  static ReadingsPlan Decode(int number) {
    return {(number & 1) != 0,  (number & 2) != 0,  (number & 4) != 0, (number & 8) != 0,
            (number & 16) != 0, (number & 32) != 0, (number & 64) != 0};
  }
};

std::string ReadingsDeclarationOf(const CollectionDefinition& collection);
Status RegisterReadingsModule(SessionState& session);
int PlanReadingsScan(sqlite3_vtab* table, sqlite3_index_info* info);
int UpdateReadings(sqlite3_vtab* table, int argument_count, sqlite3_value** arguments, sqlite3_int64* rowid);
void SetReadingsCursorFunctions(sqlite3_module& module);

}  // namespace foreshore
