#include "index/full_text_file.h"

#include <algorithm>
#include <array>

#include "index/full_text_connection.h"
#include "storage/base/file.h"

namespace foreshore {
namespace {

constexpr std::int64_t kApplicationId = 0x46535431;  // "FST1"
constexpr std::int64_t kVersion = 1;
constexpr std::size_t kIdleReaderCountMax = 8;
constexpr std::int64_t kLogBytesKept = 16LL << 20;

// The rows of an uncommitted transaction may change under a statement, so that its matches are read at once.
class DrainedCursor : public TextMatchCursor {
 public:
  static Result<std::unique_ptr<TextMatchCursor>> Drain(TextMatchCursor& from) {
    auto drained = std::make_unique<DrainedCursor>();
    while (true) {
      FORESHORE_ASSIGN_OR_RETURN(const auto match, from.Next());
      if (!match) break;
      drained->matches_.push_back(*match);
    }
    return std::unique_ptr<TextMatchCursor>(std::move(drained));
  }
  Result<std::optional<TextMatch>> Next() override {
    if (next_ == matches_.size()) return std::optional<TextMatch>();
    return std::optional<TextMatch>(matches_[next_++]);
  }

 private:
  std::vector<TextMatch> matches_;
  std::size_t next_ = 0;
};

}  // namespace

// Searches through one connection, in the transaction that it has open.
class ConnectionTextSnapshot : public TextSnapshot {
 public:
  Result<std::optional<TextTableState>> State(const TextTable& table) override {
    FORESHORE_ASSIGN_OR_RETURN(
        FullTextStatement select,
        FullTextStatement::Take(connection(),
                                "SELECT filled_to, is_filled, row_count, signature FROM tables WHERE id = ?1"));
    select.Bind(1, static_cast<std::int64_t>(table.id));
    FORESHORE_ASSIGN_OR_RETURN(const bool has_row, select.Step("read a table's state"));
    if (!has_row || select.Text(3) != TextTableSql(table)) return std::optional<TextTableState>();
    return std::optional<TextTableState>({select.Integer(0), select.Integer(1) != 0,
                                          static_cast<std::uint64_t>(std::max<std::int64_t>(0, select.Integer(2)))});
  }
  Result<std::unique_ptr<TextMatchCursor>> Match(const TextTable& table, const TextQuery& query) override {
    return MatchText(connection(), table, query);
  }
  Result<std::optional<std::string>> Excerpt(const TextTable& table, const TextQuery& query, std::int64_t docid,
                                             std::string_view function,
                                             std::span<const TextArgument> arguments) override {
    return ExcerptText(connection(), table, query, docid, function, arguments);
  }
  Status VisitRows(const TextTable& table,
                   const std::function<Status(std::int64_t, std::span<const std::string_view>)>& visit) override {
    FORESHORE_ASSIGN_OR_RETURN(
        FullTextStatement select,
        FullTextStatement::Take(connection(), "SELECT * FROM " + TextTableName(table.id) + "_content ORDER BY id"));
    std::vector<std::string_view> columns(table.options.fields.size());
    while (true) {
      FORESHORE_ASSIGN_OR_RETURN(const bool has_row, select.Step("read the rows"));
      if (!has_row) return Status::Ok();
      for (std::size_t i = 0; i < columns.size(); ++i) columns[i] = select.Text(static_cast<int>(i) + 1);
      FORESHORE_RETURN_IF_ERROR(visit(select.Integer(0), columns));
    }
  }

 protected:
  virtual FullTextConnection& connection() = 0;
};

class WriterTextSnapshot : public ConnectionTextSnapshot {
 public:
  WriterTextSnapshot(FullTextConnection& connection, std::int64_t sequence)
      : connection_(connection), sequence_(sequence) {}
  std::int64_t sequence() const override { return sequence_; }
  Result<std::unique_ptr<TextMatchCursor>> Match(const TextTable& table, const TextQuery& query) override {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, MatchText(connection_, table, query));
    return DrainedCursor::Drain(*cursor);
  }

 protected:
  FullTextConnection& connection() override { return connection_; }

 private:
  FullTextConnection& connection_;
  std::int64_t sequence_;
};

class PinnedTextSnapshot : public ConnectionTextSnapshot {
 public:
  // The file is shared: a snapshot may outlive the index that it was taken from.
  PinnedTextSnapshot(std::shared_ptr<FullTextFile> file, std::unique_ptr<FullTextConnection> connection)
      : file_(std::move(file)), connection_(std::move(connection)) {}
  ~PinnedTextSnapshot() override {
    if (connection_->Execute("ROLLBACK").ok()) file_->GiveBack(std::move(connection_));
  }
  Status Start() {
    FORESHORE_RETURN_IF_ERROR(connection_->Execute("BEGIN"));
    FORESHORE_ASSIGN_OR_RETURN(sequence_, connection_->QueryInteger("SELECT value FROM state WHERE name = 'sequence'"));
    return Status::Ok();
  }
  std::int64_t sequence() const override { return sequence_; }

 protected:
  FullTextConnection& connection() override { return *connection_; }

 private:
  std::shared_ptr<FullTextFile> file_;
  std::unique_ptr<FullTextConnection> connection_;
  std::int64_t sequence_ = 0;
};

FullTextFile::FullTextFile(std::string path, FullTextFileOptions options)
    : path_(std::move(path)), options_(std::move(options)) {}

FullTextFile::~FullTextFile() = default;

Result<std::shared_ptr<FullTextFile>> FullTextFile::Open(const std::string& path, const std::string& lineage,
                                                         const FullTextFileOptions& options) {
  std::shared_ptr<FullTextFile> file(new FullTextFile(path, options));
  FORESHORE_RETURN_IF_ERROR(file->OpenWriter(lineage));
  return file;
}

Status FullTextFile::Remove(const std::string& path) {
  for (const char* suffix : {"", "-wal", "-shm"}) {
    const Status removed = RemoveFile(path + suffix);
    if (!removed.ok() && removed.code() != ErrorCode::kNotFound) return removed;
  }
  return Status::Ok();
}

Status FullTextFile::OpenWriter(const std::string& lineage) {
  FORESHORE_ASSIGN_OR_RETURN(writer_, FullTextConnection::Open(path_, options_, true));
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t application_id, writer_->QueryInteger("PRAGMA application_id"));
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t version, writer_->QueryInteger("PRAGMA user_version"));
  FORESHORE_RETURN_IF_ERROR(
      writer_->Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
                       "PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON; "
                       "PRAGMA journal_size_limit = " +
                       std::to_string(kLogBytesKept)));
  if (application_id == 0 && version == 0) {
    FORESHORE_ASSIGN_OR_RETURN(const std::int64_t table_count,
                               writer_->QueryInteger("SELECT count(*) FROM sqlite_master"));
    if (table_count != 0) return Status::Corruption("full-text file \"" + path_ + "\": is another program's database");
    FORESHORE_RETURN_IF_ERROR(Begin());
    FORESHORE_RETURN_IF_ERROR(writer_->Execute(
        "PRAGMA application_id = " + std::to_string(kApplicationId) +
        "; PRAGMA user_version = " + std::to_string(kVersion) +
        "; CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID; "
        "CREATE TABLE tables (id INTEGER PRIMARY KEY, signature TEXT NOT NULL, filled_to INTEGER NOT NULL, "
        "is_filled INTEGER NOT NULL, row_count INTEGER NOT NULL); "
        "INSERT INTO state VALUES ('sequence', 0)"));
    {
      FORESHORE_ASSIGN_OR_RETURN(FullTextStatement insert,
                                 FullTextStatement::Take(*writer_, "INSERT INTO state VALUES ('lineage', ?1)"));
      insert.Bind(1, std::string_view(lineage));
      FORESHORE_RETURN_IF_ERROR(insert.Step("write the lineage").status());
    }
    return Commit();
  }
  if (application_id != kApplicationId) {
    return Status::Corruption("full-text file \"" + path_ + "\": application id is " + std::to_string(application_id) +
                              ", expected " + std::to_string(kApplicationId));
  }
  if (version != kVersion) {
    return Status::Unsupported("full-text file \"" + path_ + "\": version " + std::to_string(version) + ", expected 1");
  }
  FORESHORE_ASSIGN_OR_RETURN(FullTextStatement select,
                             FullTextStatement::Take(*writer_, "SELECT value FROM state WHERE name = 'lineage'"));
  FORESHORE_ASSIGN_OR_RETURN(const bool has_row, select.Step("read the lineage"));
  if (!has_row || select.Text(0) != lineage) {
    return Status::Conflict("full-text file \"" + path_ + "\": is of another history of the store");
  }
  return Status::Ok();
}

Result<std::unique_ptr<TextSnapshot>> FullTextFile::Pin() {
  std::unique_ptr<FullTextConnection> connection;
  {
    const std::lock_guard lock(idle_mutex_);
    if (!idle_.empty()) {
      connection = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!connection) {
    FORESHORE_ASSIGN_OR_RETURN(connection, FullTextConnection::Open(path_, options_, false));
    FORESHORE_RETURN_IF_ERROR(connection->Execute("PRAGMA query_only = ON"));
  }
  auto snapshot = std::make_unique<PinnedTextSnapshot>(shared_from_this(), std::move(connection));
  FORESHORE_RETURN_IF_ERROR(snapshot->Start());
  return std::unique_ptr<TextSnapshot>(std::move(snapshot));
}

void FullTextFile::GiveBack(std::unique_ptr<FullTextConnection> connection) {
  const std::lock_guard lock(idle_mutex_);
  if (idle_.size() < kIdleReaderCountMax) idle_.push_back(std::move(connection));
}

Status FullTextFile::Begin() {
  return writer_->Execute("BEGIN IMMEDIATE");
}

Status FullTextFile::Commit() {
  return writer_->Execute("COMMIT");
}

void FullTextFile::Rollback() {
  // SQLite may have ended the transaction itself, where the disk was full.
  if (in_transaction()) writer_->Execute("ROLLBACK").IgnoreError();
}

bool FullTextFile::in_transaction() const {
  return sqlite3_get_autocommit(writer_->handle()) == 0;
}

Result<std::int64_t> FullTextFile::ReadSequence() {
  return writer_->QueryInteger("SELECT value FROM state WHERE name = 'sequence'");
}

Status FullTextFile::WriteSequence(std::int64_t sequence) {
  FORESHORE_ASSIGN_OR_RETURN(FullTextStatement update,
                             FullTextStatement::Take(*writer_, "UPDATE state SET value = ?1 WHERE name = 'sequence'"));
  update.Bind(1, sequence);
  return update.Step("write the sequence").status();
}

Status FullTextFile::CreateTable(const TextTable& table) {
  FORESHORE_RETURN_IF_ERROR(writer_->Execute(TextTableSql(table)));
  FORESHORE_ASSIGN_OR_RETURN(
      FullTextStatement insert,
      FullTextStatement::Take(*writer_, "INSERT OR REPLACE INTO tables VALUES (?1, ?2, ?3, 0, 0)"));
  const std::string signature = TextTableSql(table);
  insert.Bind(1, static_cast<std::int64_t>(table.id));
  insert.Bind(2, std::string_view(signature));
  insert.Bind(3, INT64_MIN);
  return insert.Step("create a table").status();
}

Status FullTextFile::DropTable(std::uint32_t id) {
  FORESHORE_RETURN_IF_ERROR(writer_->Execute("DROP TABLE IF EXISTS " + TextTableName(id)));
  return writer_->Execute("DELETE FROM tables WHERE id = " + std::to_string(id));
}

Result<std::vector<std::uint32_t>> FullTextFile::ListTables() {
  std::vector<std::uint32_t> ids;
  FORESHORE_ASSIGN_OR_RETURN(FullTextStatement select,
                             FullTextStatement::Take(*writer_, "SELECT id FROM tables ORDER BY id"));
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool has_row, select.Step("list the tables"));
    if (!has_row) return ids;
    ids.push_back(static_cast<std::uint32_t>(select.Integer(0)));
  }
}

Status FullTextFile::WriteTableState(std::uint32_t id, const TextTableState& state) {
  FORESHORE_ASSIGN_OR_RETURN(
      FullTextStatement update,
      FullTextStatement::Take(*writer_,
                              "UPDATE tables SET filled_to = ?2, is_filled = ?3, row_count = ?4 WHERE id = ?1"));
  update.Bind(1, static_cast<std::int64_t>(id));
  update.Bind(2, state.filled_to);
  update.Bind(3, std::int64_t{state.is_filled ? 1 : 0});
  update.Bind(4, static_cast<std::int64_t>(state.row_count));
  return update.Step("write a table's state").status();
}

Result<int> FullTextFile::Upsert(const TextTable& table, std::int64_t docid, std::span<const std::string> columns) {
  const std::string name = TextTableName(table.id);
  const bool has_text = std::any_of(columns.begin(), columns.end(), [](const auto& text) { return !text.empty(); });
  bool exists = false;
  {
    // A document changes more often than its text: comparing is cheaper than taking its words out and in again.
    FORESHORE_ASSIGN_OR_RETURN(FullTextStatement select,
                               FullTextStatement::Take(*writer_, "SELECT * FROM " + name + "_content WHERE id = ?1"));
    select.Bind(1, docid);
    FORESHORE_ASSIGN_OR_RETURN(exists, select.Step("read a row"));
    if (!exists && !has_text) return 0;
    bool is_equal = exists;
    for (std::size_t i = 0; is_equal && i < columns.size(); ++i) {
      is_equal = select.Text(static_cast<int>(i) + 1) == columns[i];
    }
    if (is_equal) return 0;
  }
  if (exists) {
    FORESHORE_ASSIGN_OR_RETURN(FullTextStatement remove,
                               FullTextStatement::Take(*writer_, "DELETE FROM " + name + " WHERE rowid = ?1"));
    remove.Bind(1, docid);
    FORESHORE_RETURN_IF_ERROR(remove.Step("delete a row").status());
    if (!has_text) return -1;
  }
  std::string sql = "INSERT INTO " + name + " (rowid";
  for (const std::string& field : table.options.fields) sql += ", " + QuoteSqlName(field);
  sql += ") VALUES (?1";
  for (std::size_t i = 0; i < columns.size(); ++i) sql += ", ?" + std::to_string(i + 2);
  sql += ")";
  FORESHORE_ASSIGN_OR_RETURN(FullTextStatement insert, FullTextStatement::Take(*writer_, std::move(sql)));
  insert.Bind(1, docid);
  for (std::size_t i = 0; i < columns.size(); ++i) insert.Bind(static_cast<int>(i) + 2, std::string_view(columns[i]));
  FORESHORE_RETURN_IF_ERROR(insert.Step("insert a row").status());
  return exists ? 0 : 1;
}

std::unique_ptr<TextSnapshot> FullTextFile::WriterSnapshot(std::int64_t sequence) {
  return std::make_unique<WriterTextSnapshot>(*writer_, sequence);
}

Result<bool> FullTextFile::Checkpoint() {
  int log_frames = 0;
  int moved_frames = 0;
  const int code =
      sqlite3_wal_checkpoint_v2(writer_->handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &log_frames, &moved_frames);
  if ((code & 0xff) == SQLITE_BUSY) return false;
  if (code != SQLITE_OK) return writer_->Error(code, "checkpoint");
  return log_frames == moved_frames;
}

Status FullTextFile::CheckIntegrity() {
  {
    FORESHORE_ASSIGN_OR_RETURN(FullTextStatement check, FullTextStatement::Take(*writer_, "PRAGMA integrity_check(1)"));
    FORESHORE_ASSIGN_OR_RETURN(const bool has_row, check.Step("check"));
    if (has_row && check.Text(0) != "ok") {
      return Status::Corruption("full-text file \"" + path_ + "\": " + std::string(check.Text(0)));
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto ids, ListTables());
  for (const std::uint32_t id : ids) {
    const std::string name = TextTableName(id);
    FORESHORE_RETURN_IF_ERROR(writer_->Execute("INSERT INTO " + name + "(" + name + ") VALUES('integrity-check')"));
  }
  return Status::Ok();
}

std::uint64_t FullTextFile::SizeBytes() const {
  std::uint64_t total = 0;
  for (const char* suffix : {"", "-wal"}) {
    if (const auto size = FileSizeBytes(path_ + suffix); size.ok()) total += *size;
  }
  return total;
}

}  // namespace foreshore
