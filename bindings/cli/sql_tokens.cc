#include "bindings/cli/sql_tokens.h"

#include <algorithm>

namespace foreshore::cli {
namespace {

bool BringsTables(const SqlToken& token) {
  if (token.kind != SqlTokenKind::kWord) return false;
  return EqualsIgnoringCase(token.name, "FROM") || EqualsIgnoringCase(token.name, "JOIN") ||
         EqualsIgnoringCase(token.name, "INTO") || EqualsIgnoringCase(token.name, "UPDATE");
}

bool IsName(const SqlToken& token) {
  return token.kind == SqlTokenKind::kQuotedName || (token.kind == SqlTokenKind::kWord && !IsKeyword(token.name));
}

}  // namespace

const std::vector<std::string_view>& SqlKeywords() {
  static const std::vector<std::string_view> keywords = {
      "ALL",     "AND",      "AS",        "ASC",       "BEGIN",   "BETWEEN",  "BY",        "CASE",    "CAST",
      "COLLATE", "COMMIT",   "CROSS",     "DELETE",    "DESC",    "DISTINCT", "ELSE",      "END",     "EXCEPT",
      "EXISTS",  "EXPLAIN",  "FILTER",    "FROM",      "FULL",    "GLOB",     "GROUP",     "HAVING",  "IN",
      "INNER",   "INSERT",   "INTERSECT", "INTO",      "IS",      "ISNULL",   "JOIN",      "LEFT",    "LIKE",
      "LIMIT",   "MATCH",    "NATURAL",   "NOT",       "NOTNULL", "NULL",     "OFFSET",    "ON",      "OR",
      "ORDER",   "OUTER",    "OVER",      "PARTITION", "PLAN",    "QUERY",    "RECURSIVE", "REPLACE", "RETURNING",
      "RIGHT",   "ROLLBACK", "SELECT",    "SET",       "THEN",    "UNION",    "UPDATE",    "USING",   "VALUES",
      "WHEN",    "WHERE",    "WINDOW",    "WITH"};
  return keywords;
}

bool IsPlainName(std::string_view name) {
  return IsSqlWord(name) && !IsKeyword(name);
}

bool IsKeyword(std::string_view word) {
  const auto& keywords = SqlKeywords();
  return std::any_of(keywords.begin(), keywords.end(),
                     [&](std::string_view keyword) { return EqualsIgnoringCase(keyword, word); });
}

std::vector<TableUse> TablesIn(const std::vector<SqlToken>& tokens) {
  std::vector<TableUse> uses;
  for (std::size_t index = 0; index + 1 < tokens.size(); ++index) {
    if (!BringsTables(tokens[index])) continue;
    // FROM a, b AS c, d
    std::size_t place = index + 1;
    while (place < tokens.size() && IsName(tokens[place])) {
      TableUse use{tokens[place].name, {}};
      ++place;
      if (place < tokens.size() && EqualsIgnoringCase(tokens[place].name, "AS")) ++place;
      if (place < tokens.size() && IsName(tokens[place])) use.alias = tokens[place++].name;
      uses.push_back(std::move(use));
      if (place >= tokens.size() || tokens[place].name != ",") break;
      ++place;
    }
  }
  return uses;
}

}  // namespace foreshore::cli
