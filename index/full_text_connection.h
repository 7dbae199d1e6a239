// One SQLite connection to the full-text file, with its prepared statements.
//
// Threads: one at a time. Lifetime: statements that were taken are given back before it goes.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/status.h"
#include "index/full_text_file.h"

namespace foreshore {

class FullTextConnection {
 public:
  static Result<std::unique_ptr<FullTextConnection>> Open(const std::string& path, const FullTextFileOptions& options,
                                                          bool writes);
  ~FullTextConnection();
  FullTextConnection(const FullTextConnection&) = delete;
  FullTextConnection& operator=(const FullTextConnection&) = delete;

  sqlite3* handle() const { return handle_; }
  Status Execute(const std::string& sql);
  Result<std::int64_t> QueryInteger(const std::string& sql);
  // Statements are kept by their text; several of one text may be out at once.
  Result<sqlite3_stmt*> Take(const std::string& sql);
  void GiveBack(const std::string& sql, sqlite3_stmt* statement);
  // What the code, just returned on this connection, means; `what` says what was being done.
  Status Error(int code, std::string_view what) const;

 private:
  explicit FullTextConnection(std::string path) : path_(std::move(path)) {}
  std::string path_;
  sqlite3* handle_ = nullptr;
  std::multimap<std::string, sqlite3_stmt*> idle_;
};

// A statement of a connection, given back at the end of its scope.
class FullTextStatement {
 public:
  static Result<FullTextStatement> Take(FullTextConnection& connection, std::string sql);
  FullTextStatement(FullTextStatement&& other) noexcept;
  FullTextStatement& operator=(FullTextStatement&&) = delete;
  ~FullTextStatement();

  void Bind(int position, std::int64_t value) { sqlite3_bind_int64(statement_, position, value); }
  // The text must live until the statement has been stepped to its end.
  void Bind(int position, std::string_view text) {
    // A null pointer would bind NULL.
    sqlite3_bind_text64(statement_, position, text.empty() ? "" : text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  // True: there is a row.
  Result<bool> Step(std::string_view what);
  // Makes it ready for other values.
  void Reset() { sqlite3_reset(statement_); }
  int code() const { return code_; }
  std::int64_t Integer(int column) const { return sqlite3_column_int64(statement_, column); }
  double Real(int column) const { return sqlite3_column_double(statement_, column); }
  // Lives until the next step.
  std::string_view Text(int column) const;
  bool IsNull(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

 private:
  FullTextStatement(FullTextConnection& connection, std::string sql, sqlite3_stmt* statement)
      : connection_(&connection), sql_(std::move(sql)), statement_(statement) {}
  FullTextConnection* connection_;
  std::string sql_;
  sqlite3_stmt* statement_;
  int code_ = SQLITE_OK;
};

// The name of an index's FTS5 table.
std::string TextTableName(std::uint32_t id);
std::string QuoteSqlName(std::string_view name);
// The statement that makes it.
std::string TextTableSql(const TextTable& table);

// Searching through any connection, in the transaction that it has open.
Result<std::unique_ptr<TextMatchCursor>> MatchText(FullTextConnection& connection, const TextTable& table,
                                                   const TextQuery& query);
Result<std::optional<std::string>> ExcerptText(FullTextConnection& connection, const TextTable& table,
                                               const TextQuery& query, std::int64_t docid, std::string_view function,
                                               std::span<const TextArgument> arguments);

}  // namespace foreshore
