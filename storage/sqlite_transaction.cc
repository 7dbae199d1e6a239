#include "storage/sqlite_transaction.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <type_traits>

#include "storage/sqlite_batch.h"
#include "storage/store_limits.h"

namespace foreshore {
namespace {

template <typename Key>
constexpr KeyspaceKind KindOf() {
  return std::is_same_v<Key, std::int64_t> ? KeyspaceKind::kInteger : KeyspaceKind::kBytes;
}

// The bytes must stay until the statement is reset or the parameter bound anew.
void Bind(sqlite3_stmt* statement, int parameter, Bytes bytes) {
  // A null pointer would bind NULL instead of the empty blob.
  const char* data = bytes.data() == nullptr ? "" : bytes.data();
  sqlite3_bind_blob64(statement, parameter, data, bytes.size(), SQLITE_STATIC);
}

void Bind(sqlite3_stmt* statement, int parameter, std::int64_t value) {
  sqlite3_bind_int64(statement, parameter, value);
}

Bytes ColumnBytes(sqlite3_stmt* statement, int column) {
  const void* data = sqlite3_column_blob(statement, column);
  return AsBytes(data == nullptr ? "" : data, static_cast<std::size_t>(sqlite3_column_bytes(statement, column)));
}

// A scan is one prepared range statement that is stepped; turning round begins another one at the current key. `Rows`
// says where the entries come from: the statement's row (writer), or a batch (reader).
template <typename Rows>
class SqliteCursor final : public Cursor {
 public:
  SqliteCursor(SqliteConnection& connection, KeyspaceId keyspace, KeyspaceKind kind, SqliteReads::State& shared)
      : connection_(connection), keyspace_(keyspace), kind_(kind), shared_(shared) {
    ++shared_.open_cursor_count;
  }
  ~SqliteCursor() override {
    Stop();
    --shared_.open_cursor_count;
  }

  Status SeekFirst() override {
    if (kind_ == KeyspaceKind::kBytes) return Start(ScanStatement::kUpFrom, Bytes());
    return Start(ScanStatement::kUpFrom, std::numeric_limits<std::int64_t>::min());
  }
  Status SeekLast() override {
    // The key binds to no parameter of this statement.
    if (kind_ == KeyspaceKind::kBytes) return Start(ScanStatement::kDownFromEnd, Bytes());
    return Start(ScanStatement::kDownFromEnd, std::int64_t{0});
  }
  Status Seek(std::int64_t key) override { return Start(ScanStatement::kUpFrom, key); }
  Status Seek(Bytes key) override { return Start(ScanStatement::kUpFrom, key); }
  Status SeekBackward(std::int64_t key) override { return Start(ScanStatement::kDownFrom, key); }
  Status SeekBackward(Bytes key) override { return Start(ScanStatement::kDownFrom, key); }

  Status Next() override { return Move(true); }
  Status Previous() override { return Move(false); }

  bool valid() const override { return valid_; }
  std::int64_t integer_key() const override {
    assert(valid_ && kind_ == KeyspaceKind::kInteger);
    return rows_.integer_key(statement_);
  }
  Bytes bytes_key() const override {
    assert(valid_ && kind_ == KeyspaceKind::kBytes);
    return rows_.bytes_key(statement_);
  }
  Bytes value() const override {
    assert(valid_);
    return rows_.value(statement_);
  }

 private:
  template <typename Key>
  Status Start(ScanStatement which, Key key) {
    if constexpr (std::is_same_v<Key, Bytes>) {
      seek_key_.assign(key);  // Before Stop(): `key` may be this cursor's own.
      key = seek_key_;
    }
    Stop();
    if (kind_ != KindOf<Key>()) {
      return Status::InvalidArgument("store \"" + connection_.path() + "\": cursor over keyspace id " +
                                     std::to_string(keyspace_) + " was given a key of the other kind");
    }
    FORESHORE_ASSIGN_OR_RETURN(statement_, connection_.TakeScan(keyspace_, kind_, which));
    if (statement_ == nullptr) return Status::Ok();  // Not there yet in this snapshot: empty.
    which_ = which;
    if (which != ScanStatement::kDownFromEnd) Bind(statement_, 1, key);
    rows_.Begin();
    return Step();
  }

  Status Move(bool up) {
    assert(valid_);
    const bool going_up = which_ == ScanStatement::kUpFrom || which_ == ScanStatement::kUpAfter;
    if (going_up == up) return Step();
    const ScanStatement which = up ? ScanStatement::kUpAfter : ScanStatement::kDownBefore;
    if (kind_ == KeyspaceKind::kBytes) return Start(which, bytes_key());
    return Start(which, integer_key());
  }

  Status Step() {
    if (rows_.MoveOn()) return Status::Ok();
    const int result_code = rows_.Step(connection_, statement_);
    valid_ = result_code == SQLITE_ROW;
    if (valid_) return Status::Ok();
    const Status status =
        result_code == SQLITE_DONE ? Status::Ok() : connection_.KeyspaceError(result_code, "scan", keyspace_);
    shared_.failed = shared_.failed || !status.ok();
    Stop();
    return status;
  }

  void Stop() {
    valid_ = false;
    if (statement_ != nullptr) connection_.ReturnScan(keyspace_, which_, statement_);
    statement_ = nullptr;
  }

  SqliteConnection& connection_;
  const KeyspaceId keyspace_;
  const KeyspaceKind kind_;
  SqliteReads::State& shared_;
  sqlite3_stmt* statement_ = nullptr;  // Null where there is nothing to step.
  ScanStatement which_ = ScanStatement::kUpFrom;
  bool valid_ = false;
  ByteString seek_key_;  // Bound to the statement while it runs.
  Rows rows_;
};

// The row that the statement stands on.
struct StatementRow {
  void Begin() {}
  static bool MoveOn() { return false; }
  static int Step(SqliteConnection& /*connection*/, sqlite3_stmt* statement) { return sqlite3_step(statement); }
  static std::int64_t integer_key(sqlite3_stmt* statement) { return sqlite3_column_int64(statement, 0); }
  static Bytes bytes_key(sqlite3_stmt* statement) { return ColumnBytes(statement, 0); }
  static Bytes value(sqlite3_stmt* statement) { return ColumnBytes(statement, 1); }
};

// The first step asks for one entry, as many scans need no more, and each one after it for more.
class BatchRows {
 public:
  void Begin() {
    count_max_ = 1;
    position_ = 0;
    batch_.Begin(count_max_);
    is_done_ = false;
  }
  // True where the batch has another entry.
  bool MoveOn() {
    if (position_ + 1 >= batch_.count()) return false;
    ++position_;
    return true;
  }
  int Step(SqliteConnection& connection, sqlite3_stmt* statement) {
    if (is_done_) return SQLITE_DONE;
    batch_.Begin(count_max_);
    position_ = 0;
    count_max_ = std::min(count_max_ * kGrowth, kCountMax);
    const int result_code = connection.StepInto(batch_, statement);
    is_done_ = result_code == SQLITE_DONE;
    return is_done_ && batch_.count() > 0 ? SQLITE_ROW : result_code;
  }
  std::int64_t integer_key(sqlite3_stmt* /*statement*/) const { return batch_.integer_key(position_); }
  Bytes bytes_key(sqlite3_stmt* /*statement*/) const { return batch_.bytes_key(position_); }
  Bytes value(sqlite3_stmt* /*statement*/) const { return batch_.value(position_); }

 private:
  static constexpr std::size_t kGrowth = 4;
  static constexpr std::size_t kCountMax = 64;
  SqliteBatch batch_;
  std::size_t count_max_ = 1;
  std::size_t position_ = 0;
  bool is_done_ = false;
};

Result<KeyspaceKind> FindKind(const SqliteConnection& connection, const SqliteKeyspaces& keyspaces, KeyspaceId id) {
  const std::optional<SqliteKeyspace> found = keyspaces.Find(id);
  if (found.has_value()) return found->kind;
  return Status::InvalidArgument("store \"" + connection.path() + "\": keyspace id " + std::to_string(id) +
                                 " was never opened");
}

}  // namespace

Result<std::optional<Bytes>> SqliteReads::StepGet(KeyspaceId keyspace, sqlite3_stmt* statement) {
  const int result_code = sqlite3_step(statement);
  if (result_code == SQLITE_ROW) {
    pending_get_ = statement;
    return std::optional<Bytes>(ColumnBytes(statement, 0));
  }
  const Status status =
      result_code == SQLITE_DONE ? Status::Ok() : connection_.KeyspaceError(result_code, "get", keyspace);
  sqlite3_reset(statement);
  state_.failed = state_.failed || !status.ok();
  if (!status.ok()) return status;
  return std::optional<Bytes>();
}

Result<std::optional<Bytes>> SqliteReads::GetFed(KeyspaceId keyspace, std::int64_t key) {
  FORESHORE_ASSIGN_OR_RETURN(sqlite3_stmt * statement,
                             connection_.Point(keyspace, KeyspaceKind::kInteger, PointStatement::kGetFed));
  if (statement == nullptr) return std::optional<Bytes>();
  const int result_code = connection_.StepFed(statement, key);
  if (result_code == SQLITE_ROW && sqlite3_column_int64(statement, 2) == key) {
    if (sqlite3_column_type(statement, 1) == SQLITE_NULL) return std::optional<Bytes>();
    return std::optional<Bytes>(ColumnBytes(statement, 0));
  }
  // A hostile file may hold a table of the feed's name, which has other keys and an end.
  const bool is_fed = result_code != SQLITE_ROW && result_code != SQLITE_DONE;
  const Status status =
      is_fed
          ? connection_.KeyspaceError(result_code, "get", keyspace)
          : Status::Corruption("store \"" + connection_.path() + "\": found a table \"foreshore_keys\", expected none");
  sqlite3_reset(statement);
  state_.failed = state_.failed || !status.ok();
  if (!status.ok()) return status;
  return std::optional<Bytes>();
}

Result<std::optional<Bytes>> SqliteReads::Get(KeyspaceId keyspace, std::int64_t key) {
  EndGet();
  if (connection_.role() == SqliteConnection::Role::kReader) return GetFed(keyspace, key);
  FORESHORE_ASSIGN_OR_RETURN(sqlite3_stmt * statement,
                             connection_.Point(keyspace, KeyspaceKind::kInteger, PointStatement::kGet));
  if (statement == nullptr) return std::optional<Bytes>();
  Bind(statement, 1, key);
  return StepGet(keyspace, statement);
}

Result<std::optional<Bytes>> SqliteReads::Get(KeyspaceId keyspace, Bytes key) {
  EndGet();
  FORESHORE_ASSIGN_OR_RETURN(sqlite3_stmt * statement,
                             connection_.Point(keyspace, KeyspaceKind::kBytes, PointStatement::kGet));
  if (statement == nullptr) return std::optional<Bytes>();
  Bind(statement, 1, key);
  return StepGet(keyspace, statement);
}

Result<std::unique_ptr<Cursor>> SqliteReads::NewCursor(KeyspaceId keyspace, KeyspaceKind kind) {
  EndGet();
  if (connection_.role() == SqliteConnection::Role::kReader) {
    return std::unique_ptr<Cursor>(std::make_unique<SqliteCursor<BatchRows>>(connection_, keyspace, kind, state_));
  }
  return std::unique_ptr<Cursor>(std::make_unique<SqliteCursor<StatementRow>>(connection_, keyspace, kind, state_));
}

SqliteReadTxn::~SqliteReadTxn() {
  assert(reads_.open_cursor_count() == 0 && "a cursor outlived its transaction");
  reads_.EndGet();
  on_end_(!reads_.failed());
}

Result<std::unique_ptr<Cursor>> SqliteReadTxn::NewCursor(KeyspaceId keyspace) {
  FORESHORE_ASSIGN_OR_RETURN(const KeyspaceKind kind, FindKind(connection_, keyspaces_, keyspace));
  return reads_.NewCursor(keyspace, kind);
}

SqliteWriteTxn::~SqliteWriteTxn() {
  assert(reads_.open_cursor_count() == 0 && "a cursor outlived its transaction");
  End();
}

void SqliteWriteTxn::End() {
  ended_ = true;
  if (!on_end_) return;
  reads_.EndGet();
  connection_.Rollback();  // Does nothing after a commit.
  const OnEnd on_end = std::move(on_end_);
  on_end_ = nullptr;
  on_end(commit_failed_);
}

Status SqliteWriteTxn::CheckOpen() const {
  if (!failure_.ok()) return failure_;
  if (!ended_) return Status::Ok();
  return Status::InvalidArgument("store \"" + connection_.path() + "\": the transaction has ended already");
}

Result<std::optional<Bytes>> SqliteWriteTxn::Get(KeyspaceId keyspace, std::int64_t key) {
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  return reads_.Get(keyspace, key);
}

Result<std::optional<Bytes>> SqliteWriteTxn::Get(KeyspaceId keyspace, Bytes key) {
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  return reads_.Get(keyspace, key);
}

Result<std::unique_ptr<Cursor>> SqliteWriteTxn::NewCursor(KeyspaceId keyspace) {
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  FORESHORE_ASSIGN_OR_RETURN(const KeyspaceKind kind, FindKind(connection_, keyspaces_, keyspace));
  return reads_.NewCursor(keyspace, kind);
}

// A null `value` deletes.
template <typename Key>
Status SqliteWriteTxn::Write(KeyspaceId keyspace, Key key, const Bytes* value) {
  reads_.EndGet();
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  const PointStatement which = value == nullptr ? PointStatement::kDelete : PointStatement::kPut;
  FORESHORE_ASSIGN_OR_RETURN(sqlite3_stmt * statement, connection_.Point(keyspace, KindOf<Key>(), which));
  int result_code = SQLITE_ERROR;
  if (statement != nullptr) {
    Bind(statement, 1, key);
    if (value != nullptr) Bind(statement, 2, *value);
    result_code = sqlite3_step(statement);
    if (result_code == SQLITE_DONE) {
      sqlite3_reset(statement);
      return Status::Ok();
    }
  }
  const std::string_view what = value == nullptr ? "delete" : "put";
  Status status = connection_.KeyspaceError(result_code, what, keyspace);
  if (status.code() == ErrorCode::kNotFound) {  // Dropped: refused before it changed anything.
    sqlite3_reset(statement);
    return status;
  }
  // Some errors make SQLite roll back on its own; writing on would then commit each write by itself.
  failure_ = status.ok() ? connection_.Error(result_code, what) : std::move(status);
  sqlite3_reset(statement);
  connection_.Rollback();
  return failure_;
}

Status SqliteWriteTxn::Put(KeyspaceId keyspace, std::int64_t key, Bytes value) {
  FORESHORE_RETURN_IF_ERROR(CheckValueBytes(value.size()));
  return Write(keyspace, key, &value);
}

Status SqliteWriteTxn::Put(KeyspaceId keyspace, Bytes key, Bytes value) {
  FORESHORE_RETURN_IF_ERROR(CheckEntryBytes(key.size(), value.size()));
  return Write(keyspace, key, &value);
}

Status SqliteWriteTxn::Delete(KeyspaceId keyspace, std::int64_t key) {
  return Write(keyspace, key, nullptr);
}

Status SqliteWriteTxn::Delete(KeyspaceId keyspace, Bytes key) {
  return Write(keyspace, key, nullptr);
}

Status SqliteWriteTxn::CheckSavepoint() const {
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  if (savepoint_count_ > 0) return Status::Ok();
  return Status::InvalidArgument("store \"" + connection_.path() + "\": the transaction has no savepoint");
}

Status SqliteWriteTxn::Doom(Status status) {
  if (status.ok()) return status;
  failure_ = std::move(status);
  connection_.Rollback();
  return failure_;
}

// SQLite takes the last savepoint of a name, so one name serves every depth.
Status SqliteWriteTxn::MakeSavepoint() {
  reads_.EndGet();
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  FORESHORE_RETURN_IF_ERROR(Doom(connection_.MakeSavepoint()));
  ++savepoint_count_;
  return Status::Ok();
}

Status SqliteWriteTxn::RollbackToSavepoint() {
  reads_.EndGet();
  FORESHORE_RETURN_IF_ERROR(CheckSavepoint());
  return Doom(connection_.RollbackToSavepoint());
}

Status SqliteWriteTxn::ReleaseSavepoint() {
  reads_.EndGet();
  FORESHORE_RETURN_IF_ERROR(CheckSavepoint());
  FORESHORE_RETURN_IF_ERROR(Doom(connection_.ReleaseSavepoint()));
  --savepoint_count_;
  return Status::Ok();
}

Status SqliteWriteTxn::Commit() {
  reads_.EndGet();
  FORESHORE_RETURN_IF_ERROR(CheckOpen());
  ended_ = true;
  const Status status = connection_.Commit();
  commit_failed_ = !status.ok();
  // An open cursor still uses the connection, so the next writer has to wait for the destructor.
  if (reads_.open_cursor_count() == 0) End();
  return status;
}

}  // namespace foreshore
