// A scan of a predictive index: the entries that hold in the snapshot, and in their order those that the statement has
// computed.
//
// Lifetime: ends before its view. Threads: one at a time.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/database/predicted_rows.h"
#include "engine/query/field_scan.h"

namespace foreshore {

class PredictedScan : public EntryScan {
 public:
  using RowsSource = std::function<Result<std::shared_ptr<const PredictedRows>>()>;
  // `stored` walks the same ranges; null where none of the index's entries counts. `source` gives the computed rows of
  // the present state, again after each write.
  PredictedScan(std::unique_ptr<FieldScanCursor> stored, RowsSource source, std::vector<KeyRange> ranges,
                bool descending);

  Result<bool> Next(bool was_written) override;
  std::int64_t docid() const override { return docid_; }
  bool Column(sqlite3_context* context, std::size_t path_number) override;

 private:
  Status Refresh();        // Takes the computed rows that are behind the place.
  Status AdvanceStored();  // To the next entry that counts.
  bool InRanges(Bytes key) const;

  std::unique_ptr<FieldScanCursor> stored_;
  RowsSource source_;
  std::vector<KeyRange> ranges_;
  const bool descending_;
  std::shared_ptr<const PredictedRows> rows_;        // Shared with the statement's other scans.
  std::vector<const PredictedRows::Row*> computed_;  // The next one last.
  bool stored_is_ahead_ = false;                     // On an entry that was not given yet.
  bool stored_is_stale_ = false;                     // Something was written since it last moved.
  const PredictedRows::Row* row_ = nullptr;          // The one that the scan stands on; null: an entry.
  ByteString key_;                                   // Of the same; empty before the first.
  std::int64_t docid_ = 0;
};

}  // namespace foreshore
