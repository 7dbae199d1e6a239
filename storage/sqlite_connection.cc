#include "storage/sqlite_connection.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <new>

namespace foreshore {
namespace {

constexpr int kBusyTimeoutMs = 5000;
// After a checkpoint the log file is cut to this, so that one large transaction does not keep the disk for ever.
constexpr std::int64_t kLogBytesKept = 16LL << 20;
constexpr std::uint64_t kPageBytes = 4096;  // The unit of most flash translation layers and file systems.
constexpr std::size_t kStatementCountMax = 512;

// What "%" stands for is the table's name.
constexpr std::string_view kPointSql[kPointStatementCount] = {
    "SELECT v FROM \"%\" WHERE k = ?1",
    "INSERT OR REPLACE INTO \"%\" (k, v) VALUES (?1, ?2)",
    "DELETE FROM \"%\" WHERE k = ?1",
    "SELECT t.v, t.k, f.k FROM foreshore_keys AS f LEFT JOIN \"%\" AS t ON t.k = f.k",
};
constexpr std::string_view kScanSql[kScanStatementCount] = {
    "SELECT k, v FROM \"%\" WHERE k >= ?1 ORDER BY k",
    "SELECT k, v FROM \"%\" WHERE k > ?1 ORDER BY k",
    "SELECT k, v FROM \"%\" WHERE k <= ?1 ORDER BY k DESC",
    "SELECT k, v FROM \"%\" WHERE k < ?1 ORDER BY k DESC",
    "SELECT k, v FROM \"%\" ORDER BY k DESC",
};
// The writer's rows can change under a scan, so only readers gather.
constexpr std::string_view kGatherSql[kScanStatementCount] = {
    "SELECT 1 FROM \"%\" WHERE k >= ?1 AND foreshore_gather(k, v) ORDER BY k",
    "SELECT 1 FROM \"%\" WHERE k > ?1 AND foreshore_gather(k, v) ORDER BY k",
    "SELECT 1 FROM \"%\" WHERE k <= ?1 AND foreshore_gather(k, v) ORDER BY k DESC",
    "SELECT 1 FROM \"%\" WHERE k < ?1 AND foreshore_gather(k, v) ORDER BY k DESC",
    "SELECT 1 FROM \"%\" WHERE foreshore_gather(k, v) ORDER BY k DESC",
};

ErrorCode CodeFor(int result_code) {
  switch (result_code & 0xff) {
    case SQLITE_FULL: return ErrorCode::kNoSpace;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT: return ErrorCode::kCorruption;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ErrorCode::kBusy;
    case SQLITE_TOOBIG: return ErrorCode::kLimit;
    case SQLITE_INTERRUPT: return ErrorCode::kCancelled;
    // An SQL error here means that a table we made is gone or has another shape.
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_CONSTRAINT: return ErrorCode::kCorruption;
    case SQLITE_MISUSE: return ErrorCode::kInternal;
    default: return ErrorCode::kIo;  // IOERR, CANTOPEN, READONLY, PERM, NOMEM and what later versions add.
  }
}

}  // namespace

std::optional<SqliteKeyspace> SqliteKeyspaces::Find(KeyspaceId id) const {
  const std::lock_guard lock(mutex_);
  if (id >= keyspaces_.size()) return std::nullopt;
  return keyspaces_[id];
}

std::optional<KeyspaceId> SqliteKeyspaces::FindByName(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  for (std::size_t index = 0; index < keyspaces_.size(); ++index) {
    if (!keyspaces_[index].dropped && keyspaces_[index].name == name) return static_cast<KeyspaceId>(index);
  }
  return std::nullopt;
}

KeyspaceId SqliteKeyspaces::Add(SqliteKeyspace keyspace) {
  const std::lock_guard lock(mutex_);
  keyspaces_.push_back(std::move(keyspace));
  return static_cast<KeyspaceId>(keyspaces_.size() - 1);
}

void SqliteKeyspaces::MarkDropped(const std::string& name) {
  const std::lock_guard lock(mutex_);
  for (SqliteKeyspace& keyspace : keyspaces_) {
    if (keyspace.name == name) keyspace.dropped = true;
  }
}

Result<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(const std::string& path, Role role,
                                                                 const StoreOptions& options,
                                                                 const SqliteKeyspaces& keyspaces) {
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(path, role, keyspaces));
  // A transaction stays on one thread at a time, so the connection needs no mutex of its own.
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
  if (role == Role::kWriter && options.create) flags |= SQLITE_OPEN_CREATE;
  const char* vfs = options.sqlite_vfs.empty() ? nullptr : options.sqlite_vfs.c_str();
  const int result_code = sqlite3_open_v2(path.c_str(), &connection->handle_, flags, vfs);
  if (result_code != SQLITE_OK) {
    const int error_number = connection->handle_ == nullptr ? 0 : sqlite3_system_errno(connection->handle_);
    if (result_code == SQLITE_CANTOPEN && (error_number == ENOENT || error_number == 0)) {
      return Status::NotFound("store \"" + path + "\": no such file, expected a SQLite store");
    }
    return connection->Error(result_code, "open").WithContext(std::strerror(error_number));
  }
  FORESHORE_RETURN_IF_ERROR(connection->Configure(options));
  return connection;
}

Status SqliteConnection::Configure(const StoreOptions& options) {
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_busy_timeout(handle_, kBusyTimeoutMs);
  // A damaged or hostile file must not run SQL of its own; nothing of ours needs these.
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);

  // The writer gets half of the budget, the readers share the other half.
  FORESHORE_RETURN_IF_ERROR(SetCacheBytes(options.cache_bytes / 2));
  // Reads through a map turn a bad sector or a truncated file into SIGBUS; pread() turns it into an error.
  FORESHORE_RETURN_IF_ERROR(Execute("PRAGMA mmap_size = 0"));
  FORESHORE_RETURN_IF_ERROR(Execute("PRAGMA cell_size_check = ON"));
  if (role_ == Role::kWriter) return Status::Ok();
  int result_code = SqliteBatch::Register(handle_, &batch_);
  if (result_code == SQLITE_OK) result_code = feed_.Register(handle_);
  if (result_code != SQLITE_OK) return Error(result_code, "open");
  return Execute("PRAGMA query_only = ON");
}

Status SqliteConnection::SetCacheBytes(std::uint64_t bytes) {
  if (bytes == cache_bytes_) return Status::Ok();
  const std::uint64_t cache_kib = std::clamp<std::uint64_t>(bytes >> 10, 256, 1U << 30);
  FORESHORE_RETURN_IF_ERROR(Execute("PRAGMA cache_size = -" + std::to_string(cache_kib)));
  cache_bytes_ = bytes;
  return Status::Ok();
}

Status SqliteConnection::BecomeWriter(const StoreOptions& options) {
  FORESHORE_RETURN_IF_ERROR(Execute("PRAGMA page_size = " + std::to_string(kPageBytes)));  // New files only.
  FORESHORE_ASSIGN_OR_RETURN(const std::string mode, QueryText("PRAGMA journal_mode = WAL"));
  if (mode != "wal") {
    return Status::Io("store \"" + path_ + "\": journal mode is \"" + mode + "\", expected \"wal\"");
  }
  // In WAL mode NORMAL syncs at checkpoints only: a commit survives the death of the process, not a power cut, and
  // the file is consistent after either.
  FORESHORE_RETURN_IF_ERROR(
      Execute(options.durability == Durability::kFull ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL"));
  // On Apple's systems fsync() does not reach the medium without these; elsewhere they change nothing.
  FORESHORE_RETURN_IF_ERROR(Execute("PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON"));
  const std::uint64_t checkpoint_pages = std::clamp<std::uint64_t>(options.checkpoint_bytes / kPageBytes, 1, 1 << 20);
  FORESHORE_RETURN_IF_ERROR(Execute("PRAGMA wal_autocheckpoint = " + std::to_string(checkpoint_pages)));
  return Execute("PRAGMA journal_size_limit = " + std::to_string(kLogBytesKept));
}

SqliteConnection::~SqliteConnection() {
  for (sqlite3_stmt* statement :
       {begin_, begin_immediate_, pin_, commit_, rollback_, savepoint_, rollback_to_, release_})
    sqlite3_finalize(statement);
  for (Slot& slot : slots_) {
    for (sqlite3_stmt* statement : slot.points) sqlite3_finalize(statement);
    for (auto& scans : slot.scans) {
      for (sqlite3_stmt* statement : scans) sqlite3_finalize(statement);
    }
  }
  [[maybe_unused]] const int result_code = sqlite3_close(handle_);
  assert(result_code == SQLITE_OK && "a cursor outlived its store");
}

Status SqliteConnection::Execute(const std::string& sql) {
  const int result_code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  return result_code == SQLITE_OK ? Status::Ok() : Error(result_code, sql);
}

template <typename Read>
Status SqliteConnection::QueryFirst(const std::string& sql, const Read& read) {
  FORESHORE_ASSIGN_OR_RETURN(sqlite3_stmt * statement, Prepare(sql));
  int result_code = sqlite3_step(statement);
  if (result_code == SQLITE_ROW) read(statement);
  // A pragma that writes gives its row first: only the end tells that it was done.
  while (result_code == SQLITE_ROW) result_code = sqlite3_step(statement);
  const Status status = result_code == SQLITE_DONE ? Status::Ok() : Error(result_code, sql);
  sqlite3_finalize(statement);
  return status;
}

Result<std::int64_t> SqliteConnection::QueryInteger(const std::string& sql) {
  std::int64_t value = 0;
  FORESHORE_RETURN_IF_ERROR(
      QueryFirst(sql, [&](sqlite3_stmt* statement) { value = sqlite3_column_int64(statement, 0); }));
  return value;
}

Result<std::string> SqliteConnection::QueryText(const std::string& sql) {
  std::string value;
  FORESHORE_RETURN_IF_ERROR(QueryFirst(sql, [&](sqlite3_stmt* statement) {
    const void* text = sqlite3_column_blob(statement, 0);
    if (text != nullptr) value.assign(static_cast<const char*>(text), sqlite3_column_bytes(statement, 0));
  }));
  return value;
}

Result<sqlite3_stmt*> SqliteConnection::Prepare(const std::string& sql) const {
  sqlite3_stmt* statement = nullptr;
  const int result_code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()),
                                             SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (result_code != SQLITE_OK) return Error(result_code, sql);
  return statement;
}

Status SqliteConnection::StepOnce(sqlite3_stmt*& statement, const char* sql) {
  if (statement == nullptr) {
    FORESHORE_ASSIGN_OR_RETURN(statement, Prepare(sql));
  }
  const int result_code = sqlite3_step(statement);
  const Status status =
      result_code == SQLITE_ROW || result_code == SQLITE_DONE ? Status::Ok() : Error(result_code, sql);
  sqlite3_reset(statement);
  return status;
}

Status SqliteConnection::BeginRead() {
  FORESHORE_RETURN_IF_ERROR(StepOnce(begin_, "BEGIN"));
  // BEGIN alone pins nothing: the snapshot is taken by the first statement that needs the file.
  const Status pinned = StepOnce(pin_, "SELECT 1 FROM foreshore_keyspaces WHERE id = 0");
  if (!pinned.ok()) Rollback();
  return pinned;
}

Status SqliteConnection::BeginImmediate() {
  return StepOnce(begin_immediate_, "BEGIN IMMEDIATE");
}

Status SqliteConnection::Commit() {
  return StepOnce(commit_, "COMMIT");
}

Status SqliteConnection::MakeSavepoint() {
  return StepOnce(savepoint_, "SAVEPOINT s");
}

Status SqliteConnection::RollbackToSavepoint() {
  return StepOnce(rollback_to_, "ROLLBACK TO s");
}

Status SqliteConnection::ReleaseSavepoint() {
  return StepOnce(release_, "RELEASE s");
}

void SqliteConnection::Rollback() {
  EndFed();  // A statement that goes on would keep the snapshot.
  if (in_transaction()) StepOnce(rollback_, "ROLLBACK").IgnoreError();
}

Result<sqlite3_stmt*> SqliteConnection::PrepareFor(KeyspaceId keyspace, KeyspaceKind kind,
                                                   std::string_view sql_pattern) {
  const std::optional<SqliteKeyspace> found = keyspaces_.Find(keyspace);
  if (!found.has_value()) {
    return Status::InvalidArgument("store \"" + path_ + "\": keyspace id " + std::to_string(keyspace) +
                                   " was never opened");
  }
  if (found->dropped) {
    return Status::NotFound("store \"" + path_ + "\": keyspace \"" + found->name + "\" was dropped");
  }
  if (found->kind != kind) {
    return Status::InvalidArgument(
        "store \"" + path_ + "\": keyspace \"" + found->name + "\" has " +
        (kind == KeyspaceKind::kBytes ? "integer keys, found a byte key" : "byte keys, found an integer key"));
  }
  if (keyspace >= slots_.size()) slots_.resize(keyspace + 1);
  slots_[keyspace].kind = kind;
  std::string sql(sql_pattern);
  sql.replace(sql.find('%'), 1, found->table);
  sqlite3_stmt* statement = nullptr;
  const int result_code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()),
                                             SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (result_code != SQLITE_OK) FORESHORE_RETURN_IF_ERROR(KeyspaceError(result_code, "prepare", keyspace));
  if (statement != nullptr) ++statement_count_;
  return statement;
}

Result<sqlite3_stmt*> SqliteConnection::PreparePoint(KeyspaceId keyspace, KeyspaceKind kind, PointStatement which) {
  const auto index = static_cast<std::size_t>(which);
  FORESHORE_ASSIGN_OR_RETURN(sqlite3_stmt * statement, PrepareFor(keyspace, kind, kPointSql[index]));
  slots_[keyspace].points[index] = statement;
  return statement;
}

int SqliteConnection::StepFed(sqlite3_stmt* statement, std::int64_t key) {
  feed_.key = key;
  if (sqlite3_stmt_busy(statement) == 0) {
    sqlite3_stmt*& place = fed_[next_fed_];
    if (place != nullptr) sqlite3_reset(place);
    place = statement;
    next_fed_ = (next_fed_ + 1) % fed_.size();
  }
  return sqlite3_step(statement);
}

void SqliteConnection::EndFed() {
  for (sqlite3_stmt*& statement : fed_) {
    if (statement != nullptr) sqlite3_reset(statement);
    statement = nullptr;
  }
}

Result<sqlite3_stmt*> SqliteConnection::TakeScan(KeyspaceId keyspace, KeyspaceKind kind, ScanStatement which) {
  const auto index = static_cast<std::size_t>(which);
  if (keyspace < slots_.size() && slots_[keyspace].kind == kind && !slots_[keyspace].scans[index].empty()) {
    sqlite3_stmt* statement = slots_[keyspace].scans[index].back();
    slots_[keyspace].scans[index].pop_back();
    return statement;
  }
  return PrepareFor(keyspace, kind, role_ == Role::kReader ? kGatherSql[index] : kScanSql[index]);
}

int SqliteConnection::StepInto(SqliteBatch& batch, sqlite3_stmt* statement) {
  batch_ = &batch;
  const int result_code = sqlite3_step(statement);
  batch_ = nullptr;
  return result_code;
}

void SqliteConnection::ReturnScan(KeyspaceId keyspace, ScanStatement which, sqlite3_stmt* statement) {
  sqlite3_reset(statement);
  try {
    slots_[keyspace].scans[static_cast<std::size_t>(which)].push_back(statement);
  } catch (const std::bad_alloc&) {  // Destructors call this.
    sqlite3_finalize(statement);
    --statement_count_;
  }
}

bool SqliteConnection::has_many_statements() const {
  return statement_count_ > kStatementCountMax;
}

void SqliteConnection::TrimStatements() {
  if (!has_many_statements()) return;
  EndFed();
  for (Slot& slot : slots_) {
    for (sqlite3_stmt* statement : slot.points) sqlite3_finalize(statement);
    for (auto& scans : slot.scans) {
      for (sqlite3_stmt* statement : scans) sqlite3_finalize(statement);
    }
  }
  slots_.clear();
  statement_count_ = 0;
}

Status SqliteConnection::Error(int result_code, std::string_view what) const {
  std::string message = "store \"" + path_ + "\": " + std::string(what) + " failed: ";
  message += handle_ == nullptr ? sqlite3_errstr(result_code) : sqlite3_errmsg(handle_);
  message += " (SQLite code " + std::to_string(result_code) + ")";
  return {CodeFor(result_code), std::move(message)};
}

Status SqliteConnection::KeyspaceError(int result_code, std::string_view what, KeyspaceId keyspace) const {
  const std::optional<SqliteKeyspace> found = keyspaces_.Find(keyspace);
  const std::string name = found.has_value() ? found->name : std::to_string(keyspace);
  // SQLite has no code of its own for a missing table.
  constexpr std::string_view kMissing = "no such table";
  if ((result_code & 0xff) == SQLITE_ERROR && found.has_value() &&
      std::string_view(sqlite3_errmsg(handle_)).substr(0, kMissing.size()) == kMissing) {
    if (!found->dropped) return Status::Ok();
    return Status::NotFound("store \"" + path_ + "\": keyspace \"" + name + "\" was dropped");
  }
  return Error(result_code, std::string(what) + " in keyspace \"" + name + "\"");
}

}  // namespace foreshore
