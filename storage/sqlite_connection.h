// One SQLite connection of a store: opening with our settings, prepared statements by keyspace, errors as Status.
//
// Internal to storage/: only the SQLite backend and its tests include it.
// Threads: a SqliteConnection belongs to one thread at a time; SqliteKeyspaces is safe from any thread.
#pragma once

#include <sqlite3.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "storage/sqlite_batch.h"
#include "storage/sqlite_key_feed.h"
#include "storage/store.h"

namespace foreshore {

struct SqliteKeyspace {
  std::string name;
  KeyspaceKind kind = KeyspaceKind::kInteger;
  std::string table;  // "k<id>_<name>": the id keeps names apart that differ in case only, and is never used again.
  bool dropped = false;
};

// The keyspaces that were opened since the store was; a KeyspaceId is an index into it and is never used again.
class SqliteKeyspaces {
 public:
  std::optional<SqliteKeyspace> Find(KeyspaceId id) const;
  std::optional<KeyspaceId> FindByName(const std::string& name) const;  // Not those dropped.
  KeyspaceId Add(SqliteKeyspace keyspace);
  void MarkDropped(const std::string& name);

 private:
  mutable std::mutex mutex_;
  std::vector<SqliteKeyspace> keyspaces_;  // Guarded by mutex_.
};

// kGetFed is a reader's, of integer keys: see StepFed().
enum class PointStatement : std::uint8_t { kGet, kPut, kDelete, kGetFed };
enum class ScanStatement : std::uint8_t { kUpFrom, kUpAfter, kDownFrom, kDownBefore, kDownFromEnd };
inline constexpr std::size_t kPointStatementCount = 4;
inline constexpr std::size_t kScanStatementCount = 5;

class SqliteConnection {
 public:
  enum class Role : std::uint8_t { kWriter, kReader };

  // Opens `path` with the settings that every connection of a store has. Does not look at the content yet, so that
  // the caller may find out first whether the file is one of ours. kNotFound where there is none.
  static Result<std::unique_ptr<SqliteConnection>> Open(const std::string& path, Role role, const StoreOptions& options,
                                                        const SqliteKeyspaces& keyspaces);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  // Switches to WAL and sets what only the writing connection needs.
  Status BecomeWriter(const StoreOptions& options);

  Role role() const { return role_; }
  sqlite3* handle() const { return handle_; }
  const std::string& path() const { return path_; }

  // Runs one or more statements and drops their rows.
  Status Execute(const std::string& sql);
  // The first column of the first row; 0 or empty where there is no row.
  Result<std::int64_t> QueryInteger(const std::string& sql);
  Result<std::string> QueryText(const std::string& sql);
  bool in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }

  // Statements that begin and end transactions are prepared once.
  Status BeginRead();       // Pins the snapshot.
  Status BeginImmediate();  // kBusy after the busy timeout.
  Status Commit();
  Status MakeSavepoint();
  Status RollbackToSavepoint();
  Status ReleaseSavepoint();
  void Rollback();  // Never fails to end the transaction: SQLite keeps none after a ROLLBACK.

  // The cached statement of a keyspace of `kind`, reset. nullptr where the keyspace did not exist yet in the state
  // this connection sees; kNotFound where it was dropped, kInvalidArgument where it has the other kind.
  Result<sqlite3_stmt*> Point(KeyspaceId keyspace, KeyspaceKind kind, PointStatement which) {
    if (keyspace < slots_.size()) {
      Slot& slot = slots_[keyspace];
      sqlite3_stmt* statement = slot.points[static_cast<std::size_t>(which)];
      if (statement != nullptr && slot.kind == kind) return statement;
    }
    return PreparePoint(keyspace, kind, which);
  }
  // A step of a Point() of kGetFed: SQLITE_ROW with v and k, both NULL where there is no such entry, and the key. The
  // statement goes on from step to step, at the latest until the transaction ends; the row stays until its next step or
  // EndFed().
  int StepFed(sqlite3_stmt* statement, std::int64_t key);
  void EndFed();
  // The same for scans, of which several may be open at once: give it back with ReturnScan. Parameter 1 is the key. The
  // writer's rows are k and v; a reader's scan is stepped by StepInto(), and a row says that the batch is full.
  Result<sqlite3_stmt*> TakeScan(KeyspaceId keyspace, KeyspaceKind kind, ScanStatement which);
  int StepInto(SqliteBatch& batch, sqlite3_stmt* statement);
  void ReturnScan(KeyspaceId keyspace, ScanStatement which, sqlite3_stmt* statement);
  // How much of the file it may keep in memory.
  Status SetCacheBytes(std::uint64_t bytes);
  bool has_many_statements() const;
  // Finalises the cached statements when there are very many. Only between transactions.
  void TrimStatements();

  // What `result_code`, just returned on this connection, means. `what` says what was being done.
  Status Error(int result_code, std::string_view what) const;
  // The same for a statement of a keyspace; ok where the table is only younger than the state that is read.
  Status KeyspaceError(int result_code, std::string_view what, KeyspaceId keyspace) const;

 private:
  struct Slot {
    KeyspaceKind kind = KeyspaceKind::kInteger;
    std::array<sqlite3_stmt*, kPointStatementCount> points{};
    std::array<std::vector<sqlite3_stmt*>, kScanStatementCount> scans;
  };

  SqliteConnection(std::string path, Role role, const SqliteKeyspaces& keyspaces)
      : path_(std::move(path)), role_(role), keyspaces_(keyspaces) {}
  Status Configure(const StoreOptions& options);
  Result<sqlite3_stmt*> Prepare(const std::string& sql) const;
  // Runs the statement to its end; `read` is called on its first row.
  template <typename Read>
  Status QueryFirst(const std::string& sql, const Read& read);
  Status StepOnce(sqlite3_stmt*& statement, const char* sql);
  Result<sqlite3_stmt*> PreparePoint(KeyspaceId keyspace, KeyspaceKind kind, PointStatement which);
  Result<sqlite3_stmt*> PrepareFor(KeyspaceId keyspace, KeyspaceKind kind, std::string_view sql_pattern);

  std::string path_;
  const Role role_;
  const SqliteKeyspaces& keyspaces_;
  sqlite3* handle_ = nullptr;
  sqlite3_stmt* begin_ = nullptr;
  sqlite3_stmt* begin_immediate_ = nullptr;
  sqlite3_stmt* pin_ = nullptr;
  sqlite3_stmt* commit_ = nullptr;
  sqlite3_stmt* savepoint_ = nullptr;
  sqlite3_stmt* rollback_to_ = nullptr;
  sqlite3_stmt* release_ = nullptr;
  sqlite3_stmt* rollback_ = nullptr;
  std::vector<Slot> slots_;  // By KeyspaceId.
  std::size_t statement_count_ = 0;
  std::uint64_t cache_bytes_ = 0;
  SqliteBatch* batch_ = nullptr;  // Set while a reader's scan is stepped.
  SqliteKeyFeed feed_;
  // Statements that go on, or did; null: none. Each keeps the pages that lead to where it is, so that they are few.
  std::array<sqlite3_stmt*, 4> fed_{};
  std::size_t next_fed_ = 0;  // The place that the next one takes.
};

}  // namespace foreshore
