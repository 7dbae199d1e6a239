#include "storage/fault_store.h"

namespace foreshore {
namespace {

class FaultCursor final : public Cursor {
 public:
  FaultCursor(std::unique_ptr<Cursor> inner, FaultPlan& plan) : inner_(std::move(inner)), plan_(plan) {}

  Status SeekFirst() override { return Try(&Cursor::SeekFirst); }
  Status SeekLast() override { return Try(&Cursor::SeekLast); }
  Status Next() override { return Try(&Cursor::Next); }
  Status Previous() override { return Try(&Cursor::Previous); }
  Status Seek(std::int64_t key) override {
    FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kRead));
    return inner_->Seek(key);
  }
  Status Seek(Bytes key) override {
    FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kRead));
    return inner_->Seek(key);
  }
  Status SeekBackward(std::int64_t key) override {
    FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kRead));
    return inner_->SeekBackward(key);
  }
  Status SeekBackward(Bytes key) override {
    FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kRead));
    return inner_->SeekBackward(key);
  }
  bool valid() const override { return inner_->valid(); }
  std::int64_t integer_key() const override { return inner_->integer_key(); }
  Bytes bytes_key() const override { return inner_->bytes_key(); }
  Bytes value() const override { return inner_->value(); }

 private:
  Status Try(Status (Cursor::*move)()) {
    FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kRead));
    return (*inner_.*move)();
  }

  std::unique_ptr<Cursor> inner_;
  FaultPlan& plan_;
};

// The reading half, for both kinds of transaction.
template <typename Base>
class FaultTxn : public Base {
 public:
  FaultTxn(std::unique_ptr<Base> inner, FaultPlan& plan) : inner_(std::move(inner)), plan_(plan) {}

  Result<std::optional<Bytes>> Get(KeyspaceId keyspace, std::int64_t key) override {
    FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kRead));
    return inner_->Get(keyspace, key);
  }
  Result<std::optional<Bytes>> Get(KeyspaceId keyspace, Bytes key) override {
    FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kRead));
    return inner_->Get(keyspace, key);
  }
  Result<std::unique_ptr<Cursor>> NewCursor(KeyspaceId keyspace) override {
    FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kRead));
    FORESHORE_ASSIGN_OR_RETURN(auto cursor, inner_->NewCursor(keyspace));
    return std::unique_ptr<Cursor>(std::make_unique<FaultCursor>(std::move(cursor), plan_));
  }

 protected:
  std::unique_ptr<Base> inner_;
  FaultPlan& plan_;
};

class FaultWriteTxn final : public FaultTxn<WriteTxn> {
 public:
  using FaultTxn::FaultTxn;

  Status Put(KeyspaceId keyspace, std::int64_t key, Bytes value) override {
    FORESHORE_RETURN_IF_ERROR(Check(StoreOperation::kWrite));
    return inner_->Put(keyspace, key, value);
  }
  Status Put(KeyspaceId keyspace, Bytes key, Bytes value) override {
    FORESHORE_RETURN_IF_ERROR(Check(StoreOperation::kWrite));
    return inner_->Put(keyspace, key, value);
  }
  Status Delete(KeyspaceId keyspace, std::int64_t key) override {
    FORESHORE_RETURN_IF_ERROR(Check(StoreOperation::kWrite));
    return inner_->Delete(keyspace, key);
  }
  Status Delete(KeyspaceId keyspace, Bytes key) override {
    FORESHORE_RETURN_IF_ERROR(Check(StoreOperation::kWrite));
    return inner_->Delete(keyspace, key);
  }
  Status MakeSavepoint() override {
    FORESHORE_RETURN_IF_ERROR(Check(StoreOperation::kSavepoint));
    return inner_->MakeSavepoint();
  }
  Status RollbackToSavepoint() override {
    FORESHORE_RETURN_IF_ERROR(Check(StoreOperation::kSavepoint));
    return inner_->RollbackToSavepoint();
  }
  Status ReleaseSavepoint() override {
    FORESHORE_RETURN_IF_ERROR(Check(StoreOperation::kSavepoint));
    return inner_->ReleaseSavepoint();
  }
  Status Commit() override {
    FORESHORE_RETURN_IF_ERROR(Check(StoreOperation::kCommit));
    return inner_->Commit();
  }

 private:
  Status Check(StoreOperation operation) {
    if (failure_.ok()) failure_ = plan_.Check(operation);
    return failure_;
  }

  Status failure_;
};

}  // namespace

void FaultPlan::FailAt(StoreOperation operation, std::uint64_t call_index, ErrorCode code, bool repeats) {
  const std::lock_guard lock(mutex_);
  Counter& counter = counters_[static_cast<std::size_t>(operation)];
  counter.fail_at = counter.count + call_index;
  counter.code = code;
  counter.repeats = repeats;
}

void FaultPlan::Clear() {
  const std::lock_guard lock(mutex_);
  for (Counter& counter : counters_) counter.fail_at = UINT64_MAX;
}

std::uint64_t FaultPlan::count(StoreOperation operation) const {
  const std::lock_guard lock(mutex_);
  return counters_[static_cast<std::size_t>(operation)].count;
}

std::uint64_t FaultPlan::failed_count() const {
  const std::lock_guard lock(mutex_);
  return failed_count_;
}

Status FaultPlan::Check(StoreOperation operation) {
  const std::lock_guard lock(mutex_);
  Counter& counter = counters_[static_cast<std::size_t>(operation)];
  const std::uint64_t call = counter.count++;
  if (call != counter.fail_at && !(counter.repeats && call > counter.fail_at)) return Status::Ok();
  ++failed_count_;
  return {counter.code, "fault store: planned failure of call " + std::to_string(call)};
}

Result<KeyspaceId> FaultStore::OpenKeyspace(const std::string& name, KeyspaceKind kind) {
  FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kKeyspace));
  return inner_->OpenKeyspace(name, kind);
}

Status FaultStore::DropKeyspace(const std::string& name) {
  FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kKeyspace));
  return inner_->DropKeyspace(name);
}

Result<std::vector<KeyspaceInfo>> FaultStore::ListKeyspaces() {
  FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kKeyspace));
  return inner_->ListKeyspaces();
}

Result<std::unique_ptr<ReadTxn>> FaultStore::BeginRead() {
  FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kBeginRead));
  FORESHORE_ASSIGN_OR_RETURN(auto txn, inner_->BeginRead());
  return std::unique_ptr<ReadTxn>(std::make_unique<FaultTxn<ReadTxn>>(std::move(txn), plan_));
}

Result<std::unique_ptr<WriteTxn>> FaultStore::BeginWrite(std::chrono::milliseconds timeout) {
  FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kBeginWrite));
  FORESHORE_ASSIGN_OR_RETURN(auto txn, inner_->BeginWrite(timeout));
  return std::unique_ptr<WriteTxn>(std::make_unique<FaultWriteTxn>(std::move(txn), plan_));
}

Status FaultStore::Checkpoint() {
  FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kSync));
  return inner_->Checkpoint();
}

Status FaultStore::Compact() {
  FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kSync));
  return inner_->Compact();
}

Status FaultStore::Backup(const std::string& path) {
  FORESHORE_RETURN_IF_ERROR(plan_.Check(StoreOperation::kSync));
  return inner_->Backup(path);
}

}  // namespace foreshore
