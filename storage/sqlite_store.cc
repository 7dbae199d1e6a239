// The SQLite backend: one file in WAL mode, one connection that writes, a pool of connections that read.
//
//   foreshore_keyspaces(id, name, kind)   the catalogue of keyspaces
//   foreshore_state(name, value)          "log_repairs": see RepairLog
//   k<id>_<name>(k, v)                    one table per keyspace: rowid for integers, WITHOUT ROWID for bytes
//
// docs/file-format.md has the bytes.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <new>
#include <optional>
#include <utility>

#include "storage/base/file.h"
#include "storage/sqlite_connection.h"
#include "storage/sqlite_readers.h"
#include "storage/sqlite_transaction.h"
#include "storage/store.h"
#include "storage/store_limits.h"
#include "storage/writer_gate.h"

namespace foreshore {
namespace {

constexpr std::int64_t kApplicationId = 0x46534431;  // "FSD1", in the SQLite header at offset 68.
constexpr std::int64_t kFormatVersion = 1;           // user_version, in the SQLite header at offset 60.
constexpr std::chrono::milliseconds kMaintenanceTimeout(5000);
constexpr int kCheckpointBusyTimeoutMs = 1000;
constexpr int kBusyTimeoutMs = 5000;

class SqliteStore final : public Store {
 public:
  SqliteStore(std::string path, StoreOptions options) : path_(std::move(path)), options_(std::move(options)) {}
  Status Open();

  StorageKind kind() const override { return StorageKind::kSqlite; }
  Result<KeyspaceId> OpenKeyspace(const std::string& name, KeyspaceKind kind) override;
  Status DropKeyspace(const std::string& name) override;
  Result<std::vector<KeyspaceInfo>> ListKeyspaces() override;
  Result<std::unique_ptr<ReadTxn>> BeginRead() override;
  Result<std::unique_ptr<WriteTxn>> BeginWrite(std::chrono::milliseconds timeout) override;
  Status Checkpoint() override;
  Status Compact() override;
  Status Verify() override;
  Status Backup(const std::string& path) override;
  StoreStats Stats() override;

 private:
  // Leaves the gate with the scope that entered it.
  class GatePass {
   public:
    explicit GatePass(SqliteStore& store) : store_(&store) {}
    ~GatePass() {
      if (store_ != nullptr) store_->LeaveGate();
    }
    GatePass(GatePass&& other) noexcept : store_(std::exchange(other.store_, nullptr)) {}
    GatePass& operator=(GatePass&&) = delete;
    void Hand() { store_ = nullptr; }  // Who calls this takes over the duty to leave.

   private:
    SqliteStore* store_;  // Null once handed on.
  };

  std::string Where() const { return "store \"" + path_ + "\""; }
  Status CheckOwnFile();
  Status Initialise();
  Result<GatePass> EnterGate(std::chrono::milliseconds timeout, std::string_view what);
  void LeaveGate();
  template <typename Body>
  Status InWriteTransaction(const Body& body);
  Status RepairLog();
  Status TruncateLog();
  Status RunCheckpoint(int mode);
  Result<KeyspaceId> FindOrCreate(const std::string& name, KeyspaceKind kind);
  // Calls body(connection) on a reader's connection outside a transaction.
  template <typename Body>
  Status WithReader(const Body& body);
  Status VerifyWith(SqliteConnection& reader);

  const std::string path_;
  const StoreOptions options_;
  SqliteKeyspaces keyspaces_;
  WriterGate gate_;
  std::unique_ptr<SqliteConnection> writer_;  // Used by who is inside gate_.
  bool log_needs_repair_ = false;             // The same.

  SqliteReaders readers_{path_, options_, keyspaces_};
};

Status SqliteStore::Open() {
  FORESHORE_ASSIGN_OR_RETURN(writer_,
                             SqliteConnection::Open(path_, SqliteConnection::Role::kWriter, options_, keyspaces_));
  FORESHORE_RETURN_IF_ERROR(CheckOwnFile());
  FORESHORE_RETURN_IF_ERROR(writer_->BecomeWriter(options_));
  FORESHORE_RETURN_IF_ERROR(Initialise());
  // The file and its log are there now. SQLite syncs their names too, but goes on where that fails.
  return SyncDirectory(std::filesystem::path(path_).parent_path().string());
}

// Looks before anything is written, so that another program's file stays as it is.
Status SqliteStore::CheckOwnFile() {
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t application, writer_->QueryInteger("PRAGMA application_id"));
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t version, writer_->QueryInteger("PRAGMA user_version"));
  if (application == kApplicationId) {
    if (version == kFormatVersion) return Status::Ok();
    return Status::Unsupported(Where() + ": format version " + std::to_string(version) + ", expected " +
                               std::to_string(kFormatVersion));
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t tables, writer_->QueryInteger("SELECT count(*) FROM sqlite_schema"));
  if (application == 0 && tables == 0 && options_.create) return Status::Ok();
  return Status::Corruption(Where() + ": application id is " + std::to_string(application) + ", expected " +
                            std::to_string(kApplicationId));
}

Status SqliteStore::Initialise() {
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t application, writer_->QueryInteger("PRAGMA application_id"));
  if (application == kApplicationId) return Status::Ok();
  return InWriteTransaction([this] {
    return writer_->Execute(
        "CREATE TABLE foreshore_keyspaces (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
        " kind INTEGER NOT NULL);"
        "CREATE TABLE foreshore_state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
        "INSERT INTO foreshore_state VALUES ('log_repairs', 0);"
        "PRAGMA user_version = " +
        std::to_string(kFormatVersion) + "; PRAGMA application_id = " + std::to_string(kApplicationId));
  });
}

Result<SqliteStore::GatePass> SqliteStore::EnterGate(std::chrono::milliseconds timeout, std::string_view what) {
  if (gate_.Enter(timeout, what)) {
    readers_.WriterEnters();
    return GatePass(*this);
  }
  return Status::Busy(Where() + ": " + std::string(what) + " waited " + std::to_string(timeout.count()) +
                      " ms for another writer: " + gate_.DescribeHolder());
}

void SqliteStore::LeaveGate() {
  readers_.WriterLeaves();
  gate_.Leave();
}

// Inside the gate, or before the store is shared.
template <typename Body>
Status SqliteStore::InWriteTransaction(const Body& body) {
  FORESHORE_RETURN_IF_ERROR(writer_->BeginImmediate());
  Status status = body();
  if (status.ok()) status = writer_->Commit();
  writer_->Rollback();
  return status;
}

// When the sync of a commit fails, SQLite reports the error and forgets the frames, but they are in the log file,
// checksums and all, and recovery after a crash would bring the refused transaction back. Any later commit writes over
// them, so one is made at once; until it succeeds the store takes no writes.
Status SqliteStore::RepairLog() {
  if (!log_needs_repair_) return Status::Ok();
  FORESHORE_RETURN_IF_ERROR(InWriteTransaction(
      [this] { return writer_->Execute("UPDATE foreshore_state SET value = value + 1 WHERE name = 'log_repairs'"); }));
  log_needs_repair_ = false;
  return Status::Ok();
}

Result<KeyspaceId> SqliteStore::OpenKeyspace(const std::string& name, KeyspaceKind kind) {
  FORESHORE_RETURN_IF_ERROR(CheckKeyspaceName(name));
  std::optional<KeyspaceId> id = keyspaces_.FindByName(name);
  if (!id.has_value()) {
    FORESHORE_ASSIGN_OR_RETURN(const GatePass pass, EnterGate(kMaintenanceTimeout, "open keyspace"));
    FORESHORE_RETURN_IF_ERROR(RepairLog());
    FORESHORE_ASSIGN_OR_RETURN(id, FindOrCreate(name, kind));
  }
  if (keyspaces_.Find(*id)->kind == kind) return *id;
  return Status::InvalidArgument(
      Where() + ": keyspace \"" + name + "\" has " +
      (kind == KeyspaceKind::kBytes ? "integer keys, expected byte keys" : "byte keys, expected integer keys"));
}

Result<KeyspaceId> SqliteStore::FindOrCreate(const std::string& name, KeyspaceKind kind) {
  // Another thread may have opened it before this one came through the gate.
  if (const std::optional<KeyspaceId> id = keyspaces_.FindByName(name); id.has_value()) return *id;
  const auto lookup = [&](std::string_view column) {
    return writer_->QueryInteger("SELECT " + std::string(column) + " FROM foreshore_keyspaces WHERE name = '" + name +
                                 "'");
  };
  FORESHORE_ASSIGN_OR_RETURN(std::int64_t stored_id, lookup("id"));
  SqliteKeyspace keyspace{.name = name, .kind = kind, .table = {}};
  if (stored_id == 0) {
    const auto create = [&]() -> Status {
      FORESHORE_RETURN_IF_ERROR(writer_->Execute("INSERT INTO foreshore_keyspaces (name, kind) VALUES ('" + name +
                                                 "', " + std::to_string(static_cast<int>(kind)) + ")"));
      stored_id = sqlite3_last_insert_rowid(writer_->handle());
      const std::string table = "CREATE TABLE \"k" + std::to_string(stored_id) + "_" + name + "\" ";
      return writer_->Execute(table + (kind == KeyspaceKind::kInteger
                                           ? "(k INTEGER PRIMARY KEY, v BLOB NOT NULL)"
                                           : "(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID"));
    };
    const Status created = InWriteTransaction(create);
    log_needs_repair_ = log_needs_repair_ || !created.ok();
    FORESHORE_RETURN_IF_ERROR(created);
  } else {
    FORESHORE_ASSIGN_OR_RETURN(const std::int64_t stored_kind, lookup("kind"));
    if (stored_kind != 1 && stored_kind != 2) {
      return Status::Corruption(Where() + ": keyspace \"" + name + "\" has kind " + std::to_string(stored_kind) +
                                ", expected 1 or 2");
    }
    keyspace.kind = static_cast<KeyspaceKind>(stored_kind);
  }
  keyspace.table = "k" + std::to_string(stored_id) + "_" + name;
  return keyspaces_.Add(std::move(keyspace));
}

Status SqliteStore::DropKeyspace(const std::string& name) {
  FORESHORE_RETURN_IF_ERROR(CheckKeyspaceName(name));
  FORESHORE_ASSIGN_OR_RETURN(const GatePass pass, EnterGate(kMaintenanceTimeout, "drop keyspace"));
  FORESHORE_RETURN_IF_ERROR(RepairLog());
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t id,
                             writer_->QueryInteger("SELECT id FROM foreshore_keyspaces WHERE name = '" + name + "'"));
  if (id == 0) return Status::NotFound(Where() + ": no keyspace \"" + name + "\"");
  const Status dropped = InWriteTransaction([&] {
    return writer_->Execute("DELETE FROM foreshore_keyspaces WHERE id = " + std::to_string(id) + "; DROP TABLE \"k" +
                            std::to_string(id) + "_" + name + "\"");
  });
  log_needs_repair_ = log_needs_repair_ || !dropped.ok();
  if (dropped.ok()) keyspaces_.MarkDropped(name);
  return dropped;
}

Result<std::vector<KeyspaceInfo>> SqliteStore::ListKeyspaces() {
  struct Target {
    std::vector<KeyspaceInfo> infos;
    bool is_out_of_memory = false;
  } target;
  // No exception may pass through SQLite's frames.
  const auto collect = [](void* found, int, char** values, char**) {
    auto& into = *static_cast<Target*>(found);
    try {
      into.infos.push_back(
          {values[0], std::string_view(values[1]) == "1" ? KeyspaceKind::kInteger : KeyspaceKind::kBytes});
    } catch (const std::bad_alloc&) {
      into.is_out_of_memory = true;
      return 1;
    }
    return 0;
  };
  FORESHORE_RETURN_IF_ERROR(WithReader([&](SqliteConnection& reader) {
    const char* sql = "SELECT name, kind FROM foreshore_keyspaces ORDER BY name";
    const int result_code = sqlite3_exec(reader.handle(), sql, collect, &target, nullptr);
    if (target.is_out_of_memory) throw std::bad_alloc();
    return result_code == SQLITE_OK ? Status::Ok() : reader.Error(result_code, "list keyspaces");
  }));
  return std::move(target.infos);
}

template <typename Body>
Status SqliteStore::WithReader(const Body& body) {
  FORESHORE_ASSIGN_OR_RETURN(SqliteConnection * reader, readers_.Take());
  struct Loan {
    SqliteReaders& readers;
    SqliteConnection* reader;
    ~Loan() { readers.Return(reader, false); }
  } const loan{readers_, reader};
  return body(*reader);
}

Result<std::unique_ptr<ReadTxn>> SqliteStore::BeginRead() {
  FORESHORE_ASSIGN_OR_RETURN(SqliteConnection * reader, readers_.TakeWithSnapshot());
  try {
    return std::unique_ptr<ReadTxn>(std::make_unique<SqliteReadTxn>(
        *reader, keyspaces_, [this, reader](bool is_sound) { readers_.Return(reader, is_sound); }));
  } catch (const std::bad_alloc&) {
    readers_.Return(reader, true);
    throw;
  }
}

Result<std::unique_ptr<WriteTxn>> SqliteStore::BeginWrite(std::chrono::milliseconds timeout) {
  FORESHORE_ASSIGN_OR_RETURN(GatePass pass, EnterGate(timeout, "begin write"));
  FORESHORE_RETURN_IF_ERROR(RepairLog());
  writer_->TrimStatements();
  FORESHORE_RETURN_IF_ERROR(writer_->BeginImmediate());
  std::unique_ptr<WriteTxn> txn;
  try {
    txn = std::make_unique<SqliteWriteTxn>(*writer_, keyspaces_, [this](bool commit_failed) {
      log_needs_repair_ = log_needs_repair_ || commit_failed;
      RepairLog().IgnoreError();  // Tried again before the next write.
      LeaveGate();
    });
  } catch (const std::bad_alloc&) {
    writer_->Rollback();
    throw;
  }
  pass.Hand();
  return txn;
}

// Inside the gate. SQLite truncates the log without syncing it, and after a power cut a file system that does not do
// it in one step (FAT frees the clusters of a file one by one) may show a first part of the old log. Its frames are
// still valid: recovery would lay the pages of an early commit over a main file that has all of them, a mix of two
// states. So the log is first restarted with a single commit of a single page. That writes and syncs a new header,
// whose salts make every older frame invalid, and any part of a log of one frame holds either nothing or the present
// state.
Status SqliteStore::TruncateLog() {
  FORESHORE_RETURN_IF_ERROR(RunCheckpoint(SQLITE_CHECKPOINT_RESTART));
  const Status restarted = InWriteTransaction(  // Writes page 1 as it is.
      [this] { return writer_->Execute("PRAGMA user_version = " + std::to_string(kFormatVersion)); });
  log_needs_repair_ = log_needs_repair_ || !restarted.ok();
  FORESHORE_RETURN_IF_ERROR(restarted);
  return RunCheckpoint(SQLITE_CHECKPOINT_TRUNCATE);
}

Status SqliteStore::RunCheckpoint(int mode) {
  int log_frames = 0;
  int moved_frames = 0;
  sqlite3_busy_timeout(writer_->handle(), kCheckpointBusyTimeoutMs);
  const int result_code = sqlite3_wal_checkpoint_v2(writer_->handle(), "main", mode, &log_frames, &moved_frames);
  sqlite3_busy_timeout(writer_->handle(), kBusyTimeoutMs);
  if (result_code == SQLITE_OK) return Status::Ok();
  if (result_code != SQLITE_BUSY) return writer_->Error(result_code, "checkpoint");
  const StoreStats stats = Stats();
  return Status::Busy(Where() + ": checkpoint found " + std::to_string(stats.open_reader_count) +
                      " open readers, the oldest for " + std::to_string(stats.oldest_reader_age_ms) +
                      " ms, expected none");
}

Status SqliteStore::Checkpoint() {
  FORESHORE_ASSIGN_OR_RETURN(const GatePass pass, EnterGate(kMaintenanceTimeout, "checkpoint"));
  FORESHORE_RETURN_IF_ERROR(RepairLog());
  return TruncateLog();
}

// Needs room for a second copy of the content while it runs.
Status SqliteStore::Compact() {
  FORESHORE_ASSIGN_OR_RETURN(const GatePass pass, EnterGate(kMaintenanceTimeout, "compact"));
  FORESHORE_RETURN_IF_ERROR(RepairLog());
  const Status compacted = writer_->Execute("VACUUM");
  log_needs_repair_ = log_needs_repair_ || !compacted.ok();
  FORESHORE_RETURN_IF_ERROR(compacted);
  return TruncateLog();
}

Status SqliteStore::VerifyWith(SqliteConnection& reader) {
  FORESHORE_RETURN_IF_ERROR(reader.BeginRead());  // Both checks look at one state.
  const auto check = [&]() -> Status {
    FORESHORE_ASSIGN_OR_RETURN(const std::string finding, reader.QueryText("PRAGMA integrity_check(1)"));
    if (finding != "ok") return Status::Corruption(Where() + ": integrity check found: " + finding);
    FORESHORE_ASSIGN_OR_RETURN(
        const std::string missing,
        reader.QueryText("SELECT name FROM foreshore_keyspaces AS listed WHERE NOT EXISTS (SELECT 1 FROM sqlite_schema"
                         " WHERE type = 'table' AND name = 'k' || listed.id || '_' || listed.name)"));
    if (missing.empty()) return Status::Ok();
    return Status::Corruption(Where() + ": keyspace \"" + missing + "\" is listed and has no table");
  };
  const Status status = check();
  reader.Rollback();
  return status;
}

Status SqliteStore::Verify() {
  return WithReader([this](SqliteConnection& reader) { return VerifyWith(reader); });
}

// Written beside its place and renamed, so that a backup that was cut short never looks like one.
Status SqliteStore::Backup(const std::string& path) {
  if (FileExists(path)) return Status::AlreadyExists("backup \"" + path + "\": exists, expected a new path");
  const std::string partial = path + ".partial";
  if (FileExists(partial)) FORESHORE_RETURN_IF_ERROR(RemoveFile(partial));
  const Status copied = WithReader([&](SqliteConnection& reader) -> Status {
    StoreOptions target_options = options_;
    target_options.create = true;
    FORESHORE_ASSIGN_OR_RETURN(const auto target, SqliteConnection::Open(partial, SqliteConnection::Role::kWriter,
                                                                         target_options, keyspaces_));
    sqlite3_backup* backup = sqlite3_backup_init(target->handle(), "main", reader.handle(), "main");
    if (backup == nullptr) return target->Error(sqlite3_errcode(target->handle()), "backup");
    sqlite3_backup_step(backup, -1);  // All pages in one step: one state. Finish reports its error.
    const int result_code = sqlite3_backup_finish(backup);
    return result_code == SQLITE_OK ? Status::Ok() : target->Error(result_code, "backup");
  });
  const Status status = copied.ok() ? RenameDurably(partial, path) : copied;
  if (!status.ok()) RemoveFile(partial).IgnoreError();
  return status;
}

StoreStats SqliteStore::Stats() {
  StoreStats stats;
  struct stat info {};
  if (::stat((path_ + "-wal").c_str(), &info) == 0) stats.write_ahead_bytes = static_cast<std::uint64_t>(info.st_size);
  stats.disk_bytes = stats.write_ahead_bytes;
  if (::stat(path_.c_str(), &info) == 0) stats.disk_bytes += static_cast<std::uint64_t>(info.st_size);
  stats.open_reader_count = readers_.open_count();
  stats.oldest_reader_age_ms = std::chrono::duration_cast<std::chrono::milliseconds>(readers_.OldestAge()).count();
  return stats;
}

}  // namespace

Result<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path, const StoreOptions& options) {
  auto store = std::make_unique<SqliteStore>(path, options);
  FORESHORE_RETURN_IF_ERROR(store->Open());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace foreshore
