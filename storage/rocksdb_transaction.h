// Transactions and cursors of the RocksDB backend.
//
// Internal to storage/. Threads: as Store says, one thread at a time.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/utilities/write_batch_with_index.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "storage/store.h"

namespace foreshore {

// What a RocksDB status means here. `what` says what was being done.
Status FromRocksdb(const rocksdb::Status& status, const std::string& path, std::string_view what);

struct RocksdbKeyspace {
  RocksdbKeyspace(std::shared_ptr<rocksdb::DB> database, std::string name_in, KeyspaceKind kind_in,
                  rocksdb::ColumnFamilyHandle* handle_in)
      : db(std::move(database)), name(std::move(name_in)), kind(kind_in), handle(handle_in) {}
  ~RocksdbKeyspace() { db->DestroyColumnFamilyHandle(handle).PermitUncheckedError(); }
  RocksdbKeyspace(const RocksdbKeyspace&) = delete;
  RocksdbKeyspace& operator=(const RocksdbKeyspace&) = delete;

  std::shared_ptr<rocksdb::DB> db;  // Shared: a handle must go before its database, whoever holds it last.
  std::string name;
  KeyspaceKind kind;
  rocksdb::ColumnFamilyHandle* handle;
};

// By KeyspaceId; null where dropped. Never changed once made: a change makes a new table. Shared, because a
// dropped column family must stay until the last transaction that can see it has gone.
using RocksdbKeyspaces = std::vector<std::shared_ptr<RocksdbKeyspace>>;

// Hands out the current table.
class RocksdbCatalog {
 public:
  std::shared_ptr<const RocksdbKeyspaces> current() const {
    const std::lock_guard lock(mutex_);
    return keyspaces_;
  }
  void Replace(std::shared_ptr<const RocksdbKeyspaces> keyspaces) {
    const std::lock_guard lock(mutex_);
    keyspaces_.swap(keyspaces);  // The old table goes after the lock.
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const RocksdbKeyspaces> keyspaces_ = std::make_shared<RocksdbKeyspaces>();  // Guarded by mutex_.
};

// What a transaction reads from. `batch` is null for readers; `snapshot` is null for the writer, which is alone.
class RocksdbReads {
 public:
  RocksdbReads(rocksdb::DB& db, const std::string& path, const RocksdbCatalog& catalog,
               const rocksdb::Snapshot* snapshot, rocksdb::WriteBatchWithIndex* batch)
      : db_(db), path_(path), catalog_(catalog), keyspaces_(catalog.current()), batch_(batch) {
    options_.snapshot = snapshot;
  }

  Result<std::optional<Bytes>> Get(KeyspaceId keyspace, std::int64_t key);
  Result<std::optional<Bytes>> Get(KeyspaceId keyspace, Bytes key);
  Result<std::unique_ptr<Cursor>> NewCursor(KeyspaceId keyspace);
  // Null where the keyspace is younger than the transaction; kNotFound where it was dropped before it.
  Result<RocksdbKeyspace*> Find(KeyspaceId keyspace) const;
  // The same, and kInvalidArgument where it has the other kind.
  Result<RocksdbKeyspace*> Find(KeyspaceId keyspace, KeyspaceKind kind) const;
  void EndGet() { value_.Reset(); }
  // The batch was cut back: cursors must not move on from where they stand.
  void NoteRollback() { ++rollback_count_; }
  int open_cursor_count() const { return open_cursor_count_; }
  const std::string& path() const { return path_; }

 private:
  Result<std::optional<Bytes>> GetEncoded(RocksdbKeyspace* keyspace, Bytes key);

  rocksdb::DB& db_;
  const std::string& path_;
  const RocksdbCatalog& catalog_;
  const std::shared_ptr<const RocksdbKeyspaces> keyspaces_;
  rocksdb::ReadOptions options_;
  rocksdb::WriteBatchWithIndex* const batch_;
  rocksdb::PinnableSlice value_;  // The last Get's.
  int open_cursor_count_ = 0;
  std::uint64_t rollback_count_ = 0;
};

class RocksdbReadTxn final : public ReadTxn {
 public:
  // Takes over `snapshot`.
  RocksdbReadTxn(rocksdb::DB& db, const std::string& path, const RocksdbCatalog& catalog,
                 const rocksdb::Snapshot* snapshot, std::function<void()> on_end)
      : db_(db), snapshot_(snapshot), reads_(db, path, catalog, snapshot, nullptr), on_end_(std::move(on_end)) {}
  ~RocksdbReadTxn() override;

  Result<std::optional<Bytes>> Get(KeyspaceId keyspace, std::int64_t key) override { return reads_.Get(keyspace, key); }
  Result<std::optional<Bytes>> Get(KeyspaceId keyspace, Bytes key) override { return reads_.Get(keyspace, key); }
  Result<std::unique_ptr<Cursor>> NewCursor(KeyspaceId keyspace) override { return reads_.NewCursor(keyspace); }

 private:
  rocksdb::DB& db_;
  const rocksdb::Snapshot* snapshot_;
  RocksdbReads reads_;
  std::function<void()> on_end_;
};

class RocksdbWriteTxn final : public WriteTxn {
 public:
  using OnEnd = std::function<void(bool commit_failed)>;
  RocksdbWriteTxn(rocksdb::DB& db, const std::string& path, const RocksdbCatalog& catalog, Durability durability,
                  OnEnd on_end)
      : db_(db),
        durability_(durability),
        batch_(rocksdb::BytewiseComparator(), 0, /*overwrite_key=*/true),
        reads_(db, path, catalog, nullptr, &batch_),
        on_end_(std::move(on_end)) {}
  ~RocksdbWriteTxn() override;

  Result<std::optional<Bytes>> Get(KeyspaceId keyspace, std::int64_t key) override;
  Result<std::optional<Bytes>> Get(KeyspaceId keyspace, Bytes key) override;
  Result<std::unique_ptr<Cursor>> NewCursor(KeyspaceId keyspace) override;
  Status Put(KeyspaceId keyspace, std::int64_t key, Bytes value) override;
  Status Put(KeyspaceId keyspace, Bytes key, Bytes value) override;
  Status Delete(KeyspaceId keyspace, std::int64_t key) override;
  Status Delete(KeyspaceId keyspace, Bytes key) override;
  Status MakeSavepoint() override;
  Status RollbackToSavepoint() override;
  Status ReleaseSavepoint() override;
  Status Commit() override;

 private:
  Status CheckOpen() const;
  Status CheckSavepoint() const;
  Status Write(KeyspaceId keyspace, KeyspaceKind kind, Bytes key, const Bytes* value);
  void End();

  rocksdb::DB& db_;
  const Durability durability_;
  rocksdb::WriteBatchWithIndex batch_;
  RocksdbReads reads_;
  OnEnd on_end_;    // Empty once called.
  Status failure_;  // The first failed write; the transaction is doomed from then on.
  int savepoint_count_ = 0;
  bool ended_ = false;
  bool commit_failed_ = false;
};

}  // namespace foreshore
