// A planted bug: a Store whose change-log entries commit in a transaction of their own, after the one they belong to.
// Crash tests must notice.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/store.h"

namespace foreshore {

class LateLogStore final : public Store {
 public:
  explicit LateLogStore(std::unique_ptr<Store> inner) : inner_(std::move(inner)) {}

  StorageKind kind() const override { return inner_->kind(); }
  Result<KeyspaceId> OpenKeyspace(const std::string& name, KeyspaceKind kind) override {
    FORESHORE_ASSIGN_OR_RETURN(const KeyspaceId id, inner_->OpenKeyspace(name, kind));
    if (name == "log") log_ = id;
    return id;
  }
  Status DropKeyspace(const std::string& name) override { return inner_->DropKeyspace(name); }
  Result<std::vector<KeyspaceInfo>> ListKeyspaces() override { return inner_->ListKeyspaces(); }
  Result<std::unique_ptr<ReadTxn>> BeginRead() override { return inner_->BeginRead(); }
  Result<std::unique_ptr<WriteTxn>> BeginWrite(std::chrono::milliseconds timeout) override {
    FORESHORE_ASSIGN_OR_RETURN(auto txn, inner_->BeginWrite(timeout));
    return std::unique_ptr<WriteTxn>(std::make_unique<Txn>(std::move(txn), *inner_, log_));
  }
  Status Checkpoint() override { return inner_->Checkpoint(); }
  Status Compact() override { return inner_->Compact(); }
  Status Verify() override { return inner_->Verify(); }
  Status Backup(const std::string& path) override { return inner_->Backup(path); }
  StoreStats Stats() override { return inner_->Stats(); }

 private:
  class Txn final : public WriteTxn {
   public:
    Txn(std::unique_ptr<WriteTxn> inner, Store& store, KeyspaceId log)
        : inner_(std::move(inner)), store_(store), log_(log) {}
    Result<std::optional<Bytes>> Get(KeyspaceId keyspace, std::int64_t key) override {
      return inner_->Get(keyspace, key);
    }
    Result<std::optional<Bytes>> Get(KeyspaceId keyspace, Bytes key) override { return inner_->Get(keyspace, key); }
    Result<std::unique_ptr<Cursor>> NewCursor(KeyspaceId keyspace) override { return inner_->NewCursor(keyspace); }
    Status Put(KeyspaceId keyspace, std::int64_t key, Bytes value) override {
      if (keyspace != log_) return inner_->Put(keyspace, key, value);
      late_.emplace_back(key, ByteString(value));
      return Status::Ok();
    }
    Status Put(KeyspaceId keyspace, Bytes key, Bytes value) override { return inner_->Put(keyspace, key, value); }
    Status Delete(KeyspaceId keyspace, std::int64_t key) override { return inner_->Delete(keyspace, key); }
    Status Delete(KeyspaceId keyspace, Bytes key) override { return inner_->Delete(keyspace, key); }
    // The log is written at the end of a transaction, behind every savepoint.
    Status MakeSavepoint() override { return inner_->MakeSavepoint(); }
    Status RollbackToSavepoint() override { return inner_->RollbackToSavepoint(); }
    Status ReleaseSavepoint() override { return inner_->ReleaseSavepoint(); }
    Status Commit() override {
      FORESHORE_RETURN_IF_ERROR(inner_->Commit());
      if (late_.empty()) return Status::Ok();
      inner_ = nullptr;
      FORESHORE_ASSIGN_OR_RETURN(inner_, store_.BeginWrite());
      for (const auto& [key, value] : late_) FORESHORE_RETURN_IF_ERROR(inner_->Put(log_, key, value));
      return inner_->Commit();
    }

   private:
    std::unique_ptr<WriteTxn> inner_;
    Store& store_;
    const KeyspaceId log_;
    std::vector<std::pair<std::int64_t, ByteString>> late_;
  };

  std::unique_ptr<Store> inner_;
  KeyspaceId log_ = UINT32_MAX;
};

}  // namespace foreshore
