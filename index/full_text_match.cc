// Searching an FTS5 table: the statements, and what their errors mean.
#include <algorithm>

#include "index/full_text_connection.h"

namespace foreshore {
namespace {

// SQLite's plain "error" is here FTS5's opinion of the query; anything else is about the file.
Status QueryError(const FullTextStatement& statement, const Status& status, sqlite3* handle, const TextQuery& query) {
  if ((statement.code() & 0xff) != SQLITE_ERROR) return status;
  std::string_view message = sqlite3_errmsg(handle);
  if (message.starts_with("fts5: ")) message.remove_prefix(6);
  return Status::InvalidArgument("full-text query \"" + query.match.substr(0, 200) + "\": " + std::string(message));
}

std::string WhereOf(const TextTable& table, const TextQuery& query) {
  const std::string name = TextTableName(table.id);
  std::string sql =
      " FROM " + name + " WHERE " + (query.column.empty() ? name : QuoteSqlName(query.column)) + " MATCH ?1";
  if (!query.rank.empty()) sql += " AND rank MATCH ?2";
  return sql;
}

void BindQuery(FullTextStatement& statement, const TextQuery& query) {
  statement.Bind(1, std::string_view(query.match));
  if (!query.rank.empty()) statement.Bind(2, std::string_view(query.rank));
}

class StatementCursor : public TextMatchCursor {
 public:
  StatementCursor(FullTextConnection& connection, FullTextStatement statement, TextQuery query)
      : connection_(connection), query_(std::move(query)), statement_(std::move(statement)) {
    BindQuery(statement_, query_);
    if (query_.docid) statement_.Bind(3, *query_.docid);
  }
  Result<std::optional<TextMatch>> Next() override {
    if (is_done_) return std::optional<TextMatch>();
    const auto has_row = statement_.Step("search");
    if (!has_row.ok()) return QueryError(statement_, has_row.status(), connection_.handle(), query_);
    is_done_ = !*has_row;
    if (is_done_) return std::optional<TextMatch>();
    return std::optional<TextMatch>({statement_.Integer(0), query_.with_rank ? statement_.Real(1) : 0});
  }

 private:
  FullTextConnection& connection_;
  TextQuery query_;  // The statement's bindings point into it.
  FullTextStatement statement_;
  bool is_done_ = false;
};

}  // namespace

Result<std::unique_ptr<TextMatchCursor>> MatchText(FullTextConnection& connection, const TextTable& table,
                                                   const TextQuery& query) {
  std::string sql = query.with_rank ? "SELECT rowid, rank" : "SELECT rowid";
  sql += WhereOf(table, query);
  if (query.docid) sql += " AND rowid = ?3";
  if (query.is_ordered) sql += " ORDER BY rank";
  FORESHORE_ASSIGN_OR_RETURN(FullTextStatement statement, FullTextStatement::Take(connection, std::move(sql)));
  return std::unique_ptr<TextMatchCursor>(std::make_unique<StatementCursor>(connection, std::move(statement), query));
}

Result<std::optional<std::string>> ExcerptText(FullTextConnection& connection, const TextTable& table,
                                               const TextQuery& query, std::int64_t docid, std::string_view function,
                                               std::span<const TextArgument> arguments) {
  std::string sql = "SELECT " + std::string(function) + "(" + TextTableName(table.id);
  for (std::size_t i = 0; i < arguments.size(); ++i) sql += ", ?" + std::to_string(i + 4);
  sql += ")" + WhereOf(table, query) + " AND rowid = ?3";
  FORESHORE_ASSIGN_OR_RETURN(FullTextStatement statement, FullTextStatement::Take(connection, std::move(sql)));
  BindQuery(statement, query);
  statement.Bind(3, docid);
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const int position = static_cast<int>(i) + 4;
    if (const auto* integer = std::get_if<std::int64_t>(&arguments[i])) {
      statement.Bind(position, *integer);
    } else {
      statement.Bind(position, std::string_view(std::get<std::string>(arguments[i])));
    }
  }
  const auto has_row = statement.Step("excerpt");
  if (!has_row.ok()) return QueryError(statement, has_row.status(), connection.handle(), query);
  if (!*has_row || statement.IsNull(0)) return std::optional<std::string>();
  return std::optional<std::string>(statement.Text(0));
}

Status CheckTextIndexOptions(const std::string& name, const TextIndexOptions& options) {
  const auto refuse = [&](const std::string& why) { return Status::InvalidArgument(name + ": " + why); };
  if (options.fields.empty() || options.fields.size() > 32) {
    return refuse(std::to_string(options.fields.size()) + " fields, expected 1 to 32");
  }
  for (const std::string& field : options.fields) {
    if (field.empty() || field.size() > 512 || field.find('\0') != std::string::npos) {
      return refuse("a field has " + std::to_string(field.size()) + " bytes, expected 1 to 512 without a zero byte");
    }
  }
  std::uint32_t previous = 0;
  for (const std::uint32_t length : options.prefix_lengths) {
    if (length <= previous || length > 31) {
      return refuse("prefix length " + std::to_string(length) + ", expected ascending ones from 1 to 31");
    }
    previous = length;
  }
  if (options.tokenizer == TextTokenizer::kTrigram && !options.prefix_lengths.empty()) {
    return refuse("prefix lengths do not go with trigrams, which find prefixes anyway");
  }
  // FTS5 itself says the rest: two fields of one name, or one that it keeps for itself.
  FORESHORE_ASSIGN_OR_RETURN(const auto connection, FullTextConnection::Open(":memory:", {}, true));
  const std::string sql = TextTableSql({1, options});
  if (sqlite3_exec(connection->handle(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return Status::Ok();
  return refuse(sqlite3_errmsg(connection->handle()));
}

}  // namespace foreshore
