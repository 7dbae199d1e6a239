// Transactions and cursors of the SQLite backend, over one SqliteConnection each.
//
// Internal to storage/. Lifetime: a transaction borrows its connection, which its `on_end` hands back.
// Threads: as Store says, one thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "storage/sqlite_connection.h"
#include "storage/store.h"

namespace foreshore {

// Looking up and scanning on a connection inside a transaction, shared by readers and the writer.
class SqliteReads {
 public:
  explicit SqliteReads(SqliteConnection& connection) : connection_(connection) {}
  ~SqliteReads() { EndGet(); }
  SqliteReads(const SqliteReads&) = delete;
  SqliteReads& operator=(const SqliteReads&) = delete;

  Result<std::optional<Bytes>> Get(KeyspaceId keyspace, std::int64_t key);
  Result<std::optional<Bytes>> Get(KeyspaceId keyspace, Bytes key);
  Result<std::unique_ptr<Cursor>> NewCursor(KeyspaceId keyspace, KeyspaceKind kind);
  // The last Get's statement stays stepped so that its value needs no copy; every other call ends that first. (A
  // reader's Get by an integer key has a statement that goes on.)
  void EndGet() {
    if (pending_get_ != nullptr) sqlite3_reset(pending_get_);
    pending_get_ = nullptr;
  }
  int open_cursor_count() const { return state_.open_cursor_count; }
  bool failed() const { return state_.failed; }

  // Shared with the cursors.
  struct State {
    int open_cursor_count = 0;
    bool failed = false;  // A read came to an error.
  };

 private:
  Result<std::optional<Bytes>> StepGet(KeyspaceId keyspace, sqlite3_stmt* statement);
  Result<std::optional<Bytes>> GetFed(KeyspaceId keyspace, std::int64_t key);

  SqliteConnection& connection_;
  sqlite3_stmt* pending_get_ = nullptr;
  State state_;
};

class SqliteReadTxn final : public ReadTxn {
 public:
  // `connection` is inside a read transaction already, and `on_end` gets it so; `is_sound` unless a read failed.
  SqliteReadTxn(SqliteConnection& connection, const SqliteKeyspaces& keyspaces,
                std::function<void(bool is_sound)> on_end)
      : connection_(connection), keyspaces_(keyspaces), reads_(connection), on_end_(std::move(on_end)) {}
  ~SqliteReadTxn() override;

  Result<std::optional<Bytes>> Get(KeyspaceId keyspace, std::int64_t key) override { return reads_.Get(keyspace, key); }
  Result<std::optional<Bytes>> Get(KeyspaceId keyspace, Bytes key) override { return reads_.Get(keyspace, key); }
  Result<std::unique_ptr<Cursor>> NewCursor(KeyspaceId keyspace) override;

 private:
  SqliteConnection& connection_;
  const SqliteKeyspaces& keyspaces_;
  SqliteReads reads_;
  std::function<void(bool is_sound)> on_end_;
};

class SqliteWriteTxn final : public WriteTxn {
 public:
  // `on_end` gets true when the write-ahead log may hold a commit that was reported as failed.
  using OnEnd = std::function<void(bool commit_failed)>;
  // `connection` is inside BEGIN IMMEDIATE already.
  SqliteWriteTxn(SqliteConnection& connection, const SqliteKeyspaces& keyspaces, OnEnd on_end)
      : connection_(connection), keyspaces_(keyspaces), reads_(connection), on_end_(std::move(on_end)) {}
  ~SqliteWriteTxn() override;

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
  // Dooms the transaction where `status` is an error.
  Status Doom(Status status);
  template <typename Key>
  Status Write(KeyspaceId keyspace, Key key, const Bytes* value);
  void End();

  SqliteConnection& connection_;
  const SqliteKeyspaces& keyspaces_;
  SqliteReads reads_;
  OnEnd on_end_;    // Empty once called.
  Status failure_;  // The first failed write; the transaction is doomed from then on.
  int savepoint_count_ = 0;
  bool ended_ = false;
  bool commit_failed_ = false;
};

}  // namespace foreshore
