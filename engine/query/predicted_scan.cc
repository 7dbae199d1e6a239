#include "engine/query/predicted_scan.h"

#include <algorithm>

#include "engine/query/sql_json.h"

namespace foreshore {

PredictedScan::PredictedScan(std::unique_ptr<FieldScanCursor> stored, RowsSource source, std::vector<KeyRange> ranges,
                             bool descending)
    : stored_(std::move(stored)), source_(std::move(source)), ranges_(std::move(ranges)), descending_(descending) {}

bool PredictedScan::InRanges(Bytes key) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const KeyRange& range) {
    return key >= range.begin && (range.end.empty() || key < range.end);
  });
}

Status PredictedScan::Refresh() {
  FORESHORE_ASSIGN_OR_RETURN(rows_, source_());
  computed_.clear();
  for (const PredictedRows::Row& row : rows_->rows()) {
    const bool is_passed = !key_.empty() && (descending_ ? row.key >= key_ : row.key <= key_);
    if (!is_passed && InRanges(row.key)) computed_.push_back(&row);
  }
  if (!descending_) std::reverse(computed_.begin(), computed_.end());
  return Status::Ok();
}

Status PredictedScan::AdvanceStored() {
  while (stored_ && !stored_is_ahead_) {
    FORESHORE_ASSIGN_OR_RETURN(const bool found, stored_->Next(std::exchange(stored_is_stale_, false)));
    if (!found) {
      stored_.reset();
    } else {
      stored_is_ahead_ = !rows_->Replaces(stored_->docid());
    }
  }
  return Status::Ok();
}

Result<bool> PredictedScan::Next(bool was_written) {
  stored_is_stale_ |= was_written;
  if (!rows_ || was_written) {
    row_ = nullptr;
    FORESHORE_RETURN_IF_ERROR(Refresh());
    if (stored_is_ahead_ && rows_->Replaces(stored_->docid())) stored_is_ahead_ = false;
    if (stored_is_ahead_) {
      FORESHORE_ASSIGN_OR_RETURN(stored_is_ahead_, stored_->IsThere());
    }
  }
  FORESHORE_RETURN_IF_ERROR(AdvanceStored());
  const bool has_stored = stored_ && stored_is_ahead_;
  if (!has_stored && computed_.empty()) return false;
  const bool takes_stored =
      has_stored && (computed_.empty() || (descending_ ? stored_->key() > Bytes(computed_.back()->key)
                                                       : stored_->key() < Bytes(computed_.back()->key)));
  if (takes_stored) {
    stored_is_ahead_ = false;
    row_ = nullptr;
    key_.assign(stored_->key());
    docid_ = stored_->docid();
    return true;
  }
  row_ = computed_.back();
  computed_.pop_back();
  key_ = row_->key;
  docid_ = row_->docid;
  return true;
}

bool PredictedScan::Column(sqlite3_context* context, std::size_t path_number) {
  if (row_ == nullptr) return stored_ && stored_->docid() == docid_ && stored_->Column(context, path_number);
  SetResultFromJson(context, row_->token);
  return true;
}

}  // namespace foreshore
