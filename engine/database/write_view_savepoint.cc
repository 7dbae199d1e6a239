#include "engine/database/core.h"
#include "engine/database/write_view.h"

namespace foreshore {

Status WriteView::CheckSavepoint() const {
  if (!owned_write_txn_) return Status::Cancelled("transaction: already ended, expected an open one");
  if (!savepoints_.empty()) return Status::Ok();
  return Status::InvalidArgument("transaction: found no savepoint, expected one");
}

Status WriteView::MakeSavepoint() {
  if (finished_) return Status::Cancelled("transaction: already ended, expected an open one");
  // Entries that gathered before the savepoint must not go with what comes after it.
  FORESHORE_RETURN_IF_ERROR(SettleFieldIndexes());
  std::map<std::uint32_t, ReadingsWriter::Mark> readings;
  for (const auto& [collection_id, writer] : readings_) {
    FORESHORE_RETURN_IF_ERROR(Fail(writer->Flush()));  // What is in memory must be behind the savepoint.
    readings.emplace(collection_id, writer->mark());
  }
  FORESHORE_RETURN_IF_ERROR(Fail(write_txn_->MakeSavepoint()));
  savepoints_.push_back({changes_.size(), undo_.size(), new_fields_, next_op_, next_docid_, rescued_delta_,
                         changed_count_, has_own_rescued_, wrote_, std::move(readings)});
  return Status::Ok();
}

Status WriteView::RollbackToSavepoint() {
  FORESHORE_RETURN_IF_ERROR(CheckSavepoint());
  FORESHORE_RETURN_IF_ERROR(Fail(write_txn_->RollbackToSavepoint()));
  if (field_indexes_) field_indexes_->Discard();
  const SavepointState& state = savepoints_.back();
  changes_.resize(state.change_count);
  while (undo_.size() > state.undo_count) {
    undo_.back()();
    undo_.pop_back();
  }
  new_fields_ = state.new_fields;
  next_op_ = state.next_op;  // Stamps that were never stored may be minted again.
  next_docid_ = state.next_docid;
  rescued_delta_ = state.rescued_delta;
  changed_count_ = state.changed_count;
  has_own_rescued_ = state.has_own_rescued;
  wrote_ = state.wrote;
  std::erase_if(readings_, [&](const auto& entry) { return !state.readings.contains(entry.first); });
  for (const auto& [collection_id, mark] : state.readings) readings_.at(collection_id)->GoBackTo(mark);
  finished_ = false;  // The write that failed half-way is gone.
  return Status::Ok();
}

Status WriteView::ReleaseSavepoint() {
  FORESHORE_RETURN_IF_ERROR(CheckSavepoint());
  if (finished_) return Status::Cancelled("transaction: a write failed half-way, expected a rollback");
  FORESHORE_RETURN_IF_ERROR(Fail(write_txn_->ReleaseSavepoint()));
  savepoints_.pop_back();
  if (savepoints_.empty()) undo_.clear();
  return Status::Ok();
}

}  // namespace foreshore
