#include "index/full_text_connection.h"

#include <algorithm>
#include <cassert>

namespace foreshore {
namespace {

constexpr int kBusyTimeoutMs = 10'000;
constexpr std::size_t kIdleStatementCountMax = 64;

ErrorCode CodeOf(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL: return ErrorCode::kNoSpace;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ErrorCode::kBusy;
    case SQLITE_TOOBIG: return ErrorCode::kLimit;
    case SQLITE_INTERRUPT: return ErrorCode::kCancelled;
    // Whatever our own SQL cannot find or do means that the file is not as we made it.
    case SQLITE_ERROR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_MISMATCH:
    case SQLITE_CONSTRAINT: return ErrorCode::kCorruption;
    case SQLITE_MISUSE: return ErrorCode::kInternal;
    default: return ErrorCode::kIo;
  }
}

}  // namespace

Result<std::unique_ptr<FullTextConnection>> FullTextConnection::Open(const std::string& path,
                                                                     const FullTextFileOptions& options, bool writes) {
  std::unique_ptr<FullTextConnection> connection(new FullTextConnection(path));
  const int flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | (writes ? SQLITE_OPEN_CREATE : 0);
  const char* vfs = options.sqlite_vfs.empty() ? nullptr : options.sqlite_vfs.c_str();
  if (const int code = sqlite3_open_v2(path.c_str(), &connection->handle_, flags, vfs); code != SQLITE_OK) {
    return connection->Error(code, "open");
  }
  sqlite3* const handle = connection->handle_;
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  // A damaged file must not run SQL of its own.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  const std::uint64_t cache_kib =
      std::clamp<std::uint64_t>((writes ? options.cache_bytes : options.cache_bytes / 4) >> 10, 256, 1U << 20);
  FORESHORE_RETURN_IF_ERROR(connection->Execute("PRAGMA cache_size = -" + std::to_string(cache_kib)));
  FORESHORE_RETURN_IF_ERROR(connection->Execute("PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON"));
  return connection;
}

FullTextConnection::~FullTextConnection() {
  for (const auto& [sql, statement] : idle_) sqlite3_finalize(statement);
  [[maybe_unused]] const int code = sqlite3_close(handle_);
  assert(code == SQLITE_OK && "a full-text cursor outlived its snapshot");
}

Status FullTextConnection::Execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? Status::Ok() : Error(code, sql);
}

Result<std::int64_t> FullTextConnection::QueryInteger(const std::string& sql) {
  FORESHORE_ASSIGN_OR_RETURN(FullTextStatement statement, FullTextStatement::Take(*this, sql));
  FORESHORE_ASSIGN_OR_RETURN(const bool has_row, statement.Step(sql));
  return has_row ? statement.Integer(0) : std::int64_t{0};
}

Result<sqlite3_stmt*> FullTextConnection::Take(const std::string& sql) {
  if (const auto found = idle_.find(sql); found != idle_.end()) {
    sqlite3_stmt* const statement = found->second;
    idle_.erase(found);
    return statement;
  }
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                      &statement, nullptr);
  if (code != SQLITE_OK) return Error(code, sql);
  return statement;
}

void FullTextConnection::GiveBack(const std::string& sql, sqlite3_stmt* statement) {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  if (idle_.size() < kIdleStatementCountMax) {
    idle_.emplace(sql, statement);
  } else {
    sqlite3_finalize(statement);
  }
}

Status FullTextConnection::Error(int code, std::string_view what) const {
  const char* text = handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(code);
  return Status(CodeOf(code), "full-text file \"" + path_ + "\": " + text + " (" + std::to_string(code) + ") at " +
                                  std::string(what.substr(0, 80)));
}

Result<FullTextStatement> FullTextStatement::Take(FullTextConnection& connection, std::string sql) {
  FORESHORE_ASSIGN_OR_RETURN(sqlite3_stmt* const statement, connection.Take(sql));
  return FullTextStatement(connection, std::move(sql), statement);
}

FullTextStatement::FullTextStatement(FullTextStatement&& other) noexcept
    : connection_(other.connection_),
      sql_(std::move(other.sql_)),
      statement_(std::exchange(other.statement_, nullptr)),
      code_(other.code_) {}

FullTextStatement::~FullTextStatement() {
  if (statement_ != nullptr) connection_->GiveBack(sql_, statement_);
}

Result<bool> FullTextStatement::Step(std::string_view what) {
  code_ = sqlite3_step(statement_);
  if (code_ == SQLITE_ROW) return true;
  if (code_ == SQLITE_DONE) return false;
  return connection_->Error(code_, what);
}

std::string_view FullTextStatement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return {};
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

std::string TextTableName(std::uint32_t id) {
  return "foreshore_text_" + std::to_string(id);
}

std::string QuoteSqlName(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string TextTableSql(const TextTable& table) {
  std::string sql = "CREATE VIRTUAL TABLE " + TextTableName(table.id) + " USING fts5(";
  for (const std::string& field : table.options.fields) sql += QuoteSqlName(field) + ", ";
  const std::string unicode = std::string("unicode61 remove_diacritics ") + (table.options.keep_diacritics ? "0" : "2");
  switch (table.options.tokenizer) {
    case TextTokenizer::kUnicode: sql += "tokenize='" + unicode + "'"; break;
    case TextTokenizer::kPorter: sql += "tokenize='porter " + unicode + "'"; break;
    case TextTokenizer::kTrigram: sql += "tokenize='trigram'"; break;
  }
  if (!table.options.prefix_lengths.empty()) {
    sql += ", prefix='";
    for (const std::uint32_t length : table.options.prefix_lengths) sql += std::to_string(length) + " ";
    sql.back() = '\'';
  }
  return sql + ")";
}

}  // namespace foreshore
