// A collection as SQLite sees it: one virtual table whose columns are, in this order, id, body, the nested paths that
// have an index, the vector fields, the other top-level fields that have a usable name, and the hidden columns
// distance, k and one named after the collection, with rank and score before it where the collection has a full-text
// index.
//
// Threads: one at a time, as the session that owns the connection.
#pragma once

#include <sqlite3.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/query/field_scan.h"
#include "engine/query/nearest_scan.h"
#include "engine/query/row_fields.h"
#include "engine/query/session_state.h"

namespace foreshore {

enum class ColumnKind : std::uint8_t {
  kId,
  kBody,
  kPath,
  kVector,
  kField,
  kDistance,
  kNearestCount,
  kRank,
  kScore,
  kPredicted,
  kFullText
};

struct TableColumn {
  ColumnKind kind = ColumnKind::kField;
  std::string name;
  std::string key;             // The field's name as a JSON string token; empty where it is no top-level field.
  std::uint32_t index_id = 0;  // Of a vector field, or a predictive index.
  int field_number = -1;       // Place among the columns that have a key.
  std::string path = {};       // Of a field, top-level or nested (kPath), in internal form; of a prediction.
};

// Fields whose name clashes (case-insensitively) or cannot be a column are left out.
std::vector<TableColumn> ColumnsOf(const CollectionDefinition& collection);
// Equal texts mean equal tables.
std::string DeclarationOf(const CollectionDefinition& collection);
// The operator of array_contains(column, value) as a constraint.
inline constexpr int kArrayContainsConstraint = SQLITE_INDEX_CONSTRAINT_FUNCTION;
std::string QuoteIdentifier(std::string_view name);

// The texts of EXPLAIN QUERY PLAN contain this exactly where a k-NN search runs.
inline constexpr std::string_view kNearestMarker = ":k-NN ";
// The same of full-text search.
inline constexpr std::string_view kTextMarker = ":full text ";

struct CollectionTable : sqlite3_vtab {
  CollectionTable(SessionState& session_reference, const CollectionDefinition& definition);

  // The definition as of the running statement's snapshot; kNotFound where the collection is younger.
  Result<const CollectionDefinition*> DefinitionIn(const ReadView& view) const;
  int Fail(const Status& status) { return session.Fail(this, status); }
  const VectorIndexDefinition* FindIndex(const CollectionDefinition& definition, const TableColumn& column) const;

  // Keeps the plan under its text, by which xFilter finds it again, and returns the text. A text that belongs to
  // another plan gets a number behind it.
  std::string KeepFieldScan(const FieldScanPlan& plan, std::string text);

  SessionState& session;
  std::uint32_t collection_id;
  std::string name;
  std::vector<TableColumn> columns;
  std::vector<std::string> field_keys;  // By field number.
  std::map<std::string, FieldScanPlan, std::less<>> field_scans;
  NearestFilters nearest_filters;
  std::unique_ptr<RowFields> spare_fields;  // Of the scan that ended last, for the next one. May be null.
};

Status RegisterCollectionModule(SessionState& session);

// The module's planning and writing, each in a file of its own.
int PlanCollectionScan(sqlite3_vtab* table, sqlite3_index_info* info);
int UpdateCollection(sqlite3_vtab* table, int argument_count, sqlite3_value** arguments, sqlite3_int64* rowid);

}  // namespace foreshore
