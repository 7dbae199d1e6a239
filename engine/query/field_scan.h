// A scan of a secondary index: how a plan narrows it, the ranges of keys that this gives for the values of one run, and
// the walk through them.
//
// A range may hold more than what the terms ask for, never less: long texts are cut in keys, and the other side of a
// comparison may have a numeric affinity (CAST, rowid), which turns texts here to numbers. A text affinity there
// changes nothing, because a column without a type counts as one of the affinity BLOB. Where no numeric affinity is
// about, single values and bounds are left to the scan (field_terms.h); SQLite tests everything else again.
//
// Lifetime: a FieldScanCursor ends before its view. Threads: one at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/database/field_index.h"
#include "engine/database/field_key.h"
#include "engine/database/read_view.h"

namespace foreshore {

enum class FieldMatch : std::uint8_t {
  kEqual,    // NULL equals nothing.
  kIs,       // NULL is NULL.
  kInList,   // One argument stands for all values of the right side of an IN.
  kElement,  // array_contains: as kEqual, whatever the value's affinity.
};

enum class FieldBound : std::uint8_t { kNone, kInclusive, kExclusive };
enum class FieldPattern : std::uint8_t { kNone, kLike, kGlob };

// Arguments reach xFilter in this order: those of `matches`, lower, upper, pattern.
struct FieldScanPlan {
  std::uint32_t index_id = 0;
  std::vector<FieldMatch> matches;  // Of the index's first paths.
  // Of the path behind them.
  FieldBound lower = FieldBound::kNone;
  FieldBound upper = FieldBound::kNone;
  FieldPattern pattern = FieldPattern::kNone;
  bool not_null = false;
  bool descending = false;
  bool in_order = false;  // The rows' order counts.
  bool converts = true;   // The other sides of comparisons may have a numeric affinity.
  // Of the index, as many as the terms are about: a snapshot may not have it.
  std::vector<std::string> paths;
  std::vector<bool> checked_matches;  // By match: SQLite does not test it again.
  bool is_predictive = false;         // Of a predictive index: predicted_scan.h.
  std::uint64_t nearest_count = 0;    // For k-NN: how many documents it is expected to find; 0: few, or not known.

  // Whether SQLite leaves single values and bounds to the scan.
  bool is_exact() const { return !converts; }
  bool checks_match(std::size_t number) const { return is_exact() && checked_matches[number]; }
  bool operator==(const FieldScanPlan&) const = default;
};

// Keys k with begin <= k < end; an empty end is the end of the index.
struct KeyRange {
  ByteString begin;
  ByteString end;
  bool operator==(const KeyRange&) const = default;
};

// What one run asks for, in ascending order and without overlap.
Result<std::vector<KeyRange>> RangesOf(const FieldScanPlan& plan, sqlite3_value** arguments);

// The entries that a plan over an index visits.
class EntryScan {
 public:
  virtual ~EntryScan() = default;
  // Moves to the next entry; false at the end. `was_written`: this transaction wrote since the last move.
  virtual Result<bool> Next(bool was_written) = 0;
  virtual std::int64_t docid() const = 0;
  // Sets the result to the value of one of the index's paths. False: only the document has it.
  virtual bool Column(sqlite3_context* context, std::size_t path_number) = 0;
};

class FieldScanCursor : public EntryScan {
 public:
  FieldScanCursor(ReadView& view, const CollectionDefinition& collection, const FieldIndexDefinition& index,
                  const FieldScanPlan& plan, std::vector<KeyRange> ranges);

  Result<bool> Next(bool was_written) override;
  std::int64_t docid() const override { return docid_; }
  bool Column(sqlite3_context* context, std::size_t path_number) override;
  Bytes key() const { return key_; }  // Of the entry; valid until the next move.
  // Whether the entry that it stands on has outlived what this transaction wrote since.
  Result<bool> IsThere() const;

 private:
  struct Entry {
    ByteString key;
    ByteString marks;
    ByteString order;  // The key that the document would have if no text were cut.
  };
  Status Enter();  // Stands before the first entry of the present range, in the scan's direction.
  bool InRange() const;
  bool InRange(Bytes key) const;
  Result<bool> TakeNext(Bytes key);
  Result<bool> TakeFromRun();  // False: nothing of it is left.
  bool IsCut(Bytes key, std::size_t& prefix_bytes) const;
  Status StepOn();
  Status Reposition(bool was_written);
  Status TakeEntry(Bytes key, Bytes marks);
  // Entries from here on that share `prefix`, which ends in a text that was cut: their documents say their order.
  Status GatherRun(const ByteString& prefix);
  Status OrderOf(Entry& entry);

  ReadView& view_;
  const CollectionDefinition& collection_;
  const FieldIndexDefinition& index_;
  const bool descending_;
  const bool in_order_;
  std::vector<KeyRange> ranges_;  // The next one last.
  std::unique_ptr<Cursor> cursor_;
  bool entered_ = false;       // The cursor is in the range at the end of ranges_.
  bool stands_ahead_ = false;  // On an entry that was not given yet.
  bool is_stale_ = false;      // Something was written since the cursor last moved.
  std::vector<Entry> run_;     // The next one last.
  ByteString run_end_;         // The key of its last entry.
  ByteString key_;             // Of the entry that the scan stands on.
  ByteString marks_;
  std::int64_t docid_ = 0;
  std::string buffer_;
};

}  // namespace foreshore
