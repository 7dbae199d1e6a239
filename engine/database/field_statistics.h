// What plans know about a secondary index: how many entries it has, how many values differ, and how they are spread.
//
// Statistics are taken by one walk over the entries, when a plan asks for them and the log has moved far since the last
// time: at once where the index is small, else in the background. They are kept in the store (setting
// "index.statistics.<id>"), so that a database that was just opened plans well. Plans may be wrong with old ones,
// answers never are.
//
// Threads: FieldStatistics are values; FieldStatisticsCache is safe from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "engine/database/field_index.h"

namespace foreshore {

class DatabaseCore;
class ReadView;

struct FieldStatistics {
  std::int64_t sequence = 0;  // Of the log, when they were taken.
  std::uint64_t entry_count = 0;
  std::vector<std::uint64_t> distinct_counts;  // [i]: of the values of the first i + 1 paths together.
  std::vector<ByteString> samples;             // Beginnings of keys at equal distances, in order.

  // How many of the entries have keys in [begin, end), 0..1; an empty end is no end.
  double FractionBetween(Bytes begin, Bytes end) const;
};

ByteString EncodeFieldStatistics(const FieldStatistics& statistics);
Result<FieldStatistics> DecodeFieldStatistics(Bytes bytes, std::size_t path_count);
Result<FieldStatistics> TakeFieldStatistics(ReadView& view, const FieldIndexDefinition& index);

class FieldStatisticsCache {
 public:
  explicit FieldStatisticsCache(DatabaseCore& core) : core_(core) {}

  // nullptr where none were taken. May take them, or ask for that.
  std::shared_ptr<const FieldStatistics> Of(const FieldIndexDefinition& index);
  // Takes and keeps those of one index now. Only where this thread has no open transaction.
  Status Refresh(std::uint32_t index_id);
  // What was asked for and not done; empty: nothing.
  std::set<std::uint32_t> TakeRequests();
  // Writes what is not in the store yet. Only where this thread has no open transaction.
  Status Save();
  void Forget(std::uint32_t index_id);

  static std::string Setting(std::uint32_t index_id) { return "index.statistics." + std::to_string(index_id); }

 private:
  struct Kept {
    std::shared_ptr<const FieldStatistics> statistics;  // Shared with plans. Null: the store had none.
    bool is_saved = true;
  };
  Result<std::shared_ptr<const FieldStatistics>> Load(const FieldIndexDefinition& index);
  Result<std::shared_ptr<const FieldStatistics>> Take(std::uint32_t index_id);

  DatabaseCore& core_;
  std::mutex mutex_;
  std::map<std::uint32_t, Kept> kept_;  // Guarded by mutex_.
  std::set<std::uint32_t> requests_;    // Guarded by mutex_.
};

}  // namespace foreshore
