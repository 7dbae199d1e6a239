#include "engine/query/sql_transaction.h"

namespace foreshore {

Result<ReadView*> SqlTransaction::Reader() {
  if (writer_) return static_cast<ReadView*>(writer_.get());
  if (!snapshot_) {
    auto begun = core_.BeginTextRead({});
    // Where the full-text file cannot be read, only searches in it fail.
    if (!begun.ok()) begun = core_.BeginRead();
    FORESHORE_ASSIGN_OR_RETURN(snapshot_, std::move(begun));
    snapshot_->set_cancellation(&cancellation_);
  }
  return snapshot_.get();
}

Result<WriteView*> SqlTransaction::Writer(std::chrono::milliseconds busy_timeout, bool keeps_snapshot) {
  if (writer_) return writer_.get();
  FORESHORE_ASSIGN_OR_RETURN(auto view, core_.BeginWrite(busy_timeout, "a SQL transaction", &cancellation_));
  view->set_cancellation(&cancellation_);
  if (snapshot_) FORESHORE_RETURN_IF_ERROR(CheckUnchanged(*view));
  FORESHORE_RETURN_IF_ERROR(savepoints_.Attach(*view));
  writer_ = std::move(view);
  if (!keeps_snapshot) snapshot_.reset();
  return writer_.get();
}

// Vectors that a model fills in the background are no edits: they do not make what was read untrue.
Status SqlTransaction::CheckUnchanged(WriteView& now) const {
  if (now.sequence() == snapshot_->sequence()) return Status::Ok();
  bool is_changed = false;
  std::string where;
  const Status read = core_.log().ReadAfter(now.txn(), snapshot_->sequence(), [&](const Change& change) {
    if (change.kind == ChangeKind::kVector) return true;
    is_changed = true;
    const CollectionDefinition* collection = now.catalog().FindById(change.collection_id);
    if (collection != nullptr) where = ", first in collection \"" + collection->name + "\"";
    return false;
  });
  if (read.ok() && !is_changed) return Status::Ok();
  if (!read.ok() && read.code() != ErrorCode::kConflict) return read;  // kConflict: the log was trimmed up to there.
  return Status::Conflict("SQL: other transactions committed since this one first read" + where +
                          "; roll it back and begin again, with BEGIN IMMEDIATE where it will write");
}

Status SqlTransaction::Commit() {
  snapshot_.reset();
  return writer_ ? writer_->Commit() : Status::Ok();
}

}  // namespace foreshore
