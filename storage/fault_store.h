// A Store that fails on purpose: wraps another one, counts the calls by kind and makes a chosen one fail. For tests
// of every floor; it has no part in a database.
//
// A failed read leaves the transaction usable. A failed write or commit dooms it, as in a real store: nothing of it
// is in the store afterwards.
//
// Threads: as Store; the plan may be changed at any time. Lifetime: transactions must go before the store.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>

#include "storage/store.h"

namespace foreshore {

enum class StoreOperation : std::uint8_t {
  kBeginRead,
  kBeginWrite,
  kRead,       // Get, NewCursor and every move of a cursor.
  kWrite,      // Put and Delete.
  kCommit,     // Fails before anything is committed.
  kSync,       // Checkpoint, Compact and Backup.
  kKeyspace,   // OpenKeyspace, DropKeyspace, ListKeyspaces.
  kSavepoint,  // MakeSavepoint, RollbackToSavepoint, ReleaseSavepoint; a failure dooms like that of a write.
};
inline constexpr std::size_t kStoreOperationCount = 8;

// The counters and what is to fail, shared by a FaultStore and its transactions.
class FaultPlan {
 public:
  // Makes the call number `call_index` (0 is the next one) of `operation` fail with `code`, and when `repeats` every
  // later one too. Replaces what was planned for that operation.
  void FailAt(StoreOperation operation, std::uint64_t call_index, ErrorCode code, bool repeats = false);
  void Clear();
  // Calls since the store was wrapped, those that failed included.
  std::uint64_t count(StoreOperation operation) const;
  // How many calls were made to fail.
  std::uint64_t failed_count() const;

  // For the wrappers: counts the call and returns its planned failure.
  Status Check(StoreOperation operation);

 private:
  struct Counter {
    std::uint64_t count = 0;
    std::uint64_t fail_at = UINT64_MAX;
    ErrorCode code = ErrorCode::kIo;
    bool repeats = false;
  };
  mutable std::mutex mutex_;
  std::array<Counter, kStoreOperationCount> counters_;  // Guarded by mutex_.
  std::uint64_t failed_count_ = 0;                      // Guarded by mutex_.
};

class FaultStore final : public Store {
 public:
  explicit FaultStore(std::unique_ptr<Store> inner) : inner_(std::move(inner)) {}

  FaultPlan& plan() { return plan_; }
  Store& inner() { return *inner_; }

  StorageKind kind() const override { return inner_->kind(); }
  Result<KeyspaceId> OpenKeyspace(const std::string& name, KeyspaceKind kind) override;
  Status DropKeyspace(const std::string& name) override;
  Result<std::vector<KeyspaceInfo>> ListKeyspaces() override;
  Result<std::unique_ptr<ReadTxn>> BeginRead() override;
  Result<std::unique_ptr<WriteTxn>> BeginWrite(
      std::chrono::milliseconds timeout = std::chrono::milliseconds(5000)) override;
  Status Checkpoint() override;
  Status Compact() override;
  Status Verify() override { return inner_->Verify(); }
  Status Backup(const std::string& path) override;
  StoreStats Stats() override { return inner_->Stats(); }

 private:
  FaultPlan plan_;
  std::unique_ptr<Store> inner_;
};

}  // namespace foreshore
