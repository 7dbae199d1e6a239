#include "bindings/cli/sql_tokens.h"

#include <algorithm>
#include <cctype>

namespace foreshore::cli {
namespace {

bool IsWordStart(char character) {
  return std::isalpha(static_cast<unsigned char>(character)) != 0 || character == '_' ||
         (static_cast<unsigned char>(character) & 0x80) != 0;
}

bool IsWordPart(char character) {
  return IsWordStart(character) || std::isdigit(static_cast<unsigned char>(character)) != 0 || character == '$';
}

// Reads a quoted run whose closing quote is `close`; a doubled one stands for itself.
void ReadQuoted(std::string_view text, char close, SqlToken& token) {
  std::size_t position = token.start + 1;
  token.is_closed = false;
  while (position < text.size()) {
    if (text[position] == close) {
      const bool is_doubled = close != ']' && position + 1 < text.size() && text[position + 1] == close;
      if (!is_doubled) {
        token.is_closed = true;
        ++position;
        break;
      }
      ++position;
    }
    token.name += text[position++];
  }
  token.end = position;
}

// Behind a comment that starts here; the same place where none does.
std::size_t CommentEnd(std::string_view text, std::size_t position) {
  auto until = [&](std::string_view end) {
    const std::size_t found = text.find(end, position + 2);
    return found == std::string_view::npos ? text.size() : found + end.size();
  };
  if (text.substr(position, 2) == "--") return until("\n");
  if (text.substr(position, 2) == "/*") return until("*/");
  return position;
}

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

bool EqualsIgnoringCase(std::string_view left, std::string_view right) {
  return left.size() == right.size() && StartsWithIgnoringCase(left, right);
}

bool StartsWithIgnoringCase(std::string_view text, std::string_view prefix) {
  if (prefix.size() > text.size()) return false;
  return std::equal(prefix.begin(), prefix.end(), text.begin(),
                    [](unsigned char left, unsigned char right) { return std::tolower(left) == std::tolower(right); });
}

bool IsPlainName(std::string_view name) {
  return !name.empty() && IsWordStart(name.front()) && std::all_of(name.begin(), name.end(), IsWordPart) &&
         !IsKeyword(name);
}

bool IsKeyword(std::string_view word) {
  const auto& keywords = SqlKeywords();
  return std::any_of(keywords.begin(), keywords.end(),
                     [&](std::string_view keyword) { return EqualsIgnoringCase(keyword, word); });
}

std::vector<SqlToken> TokenizeSql(std::string_view text) {
  std::vector<SqlToken> tokens;
  std::size_t position = 0;
  while (position < text.size()) {
    const char first = text[position];
    const std::size_t behind_comment = CommentEnd(text, position);
    if (behind_comment > position || std::isspace(static_cast<unsigned char>(first)) != 0) {
      position = std::max(behind_comment, position + 1);
      continue;
    }
    SqlToken token;
    token.start = position;
    if (first == '"' || first == '`' || first == '[') {
      token.kind = SqlTokenKind::kQuotedName;
      ReadQuoted(text, first == '[' ? ']' : first, token);
    } else if (first == '\'') {
      token.kind = SqlTokenKind::kString;
      ReadQuoted(text, first, token);
    } else {
      std::size_t end = position + 1;
      if (IsWordStart(first)) {
        token.kind = SqlTokenKind::kWord;
        while (end < text.size() && IsWordPart(text[end])) ++end;
      } else if (std::isdigit(static_cast<unsigned char>(first)) != 0) {
        token.kind = SqlTokenKind::kNumber;
        while (end < text.size() && (IsWordPart(text[end]) || text[end] == '.')) ++end;
      } else {
        // "->>" and "->" are one token each.
        if (text.substr(position, 3) == "->>")
          end = position + 3;
        else if (text.substr(position, 2) == "->")
          end = position + 2;
      }
      token.end = end;
      token.name = text.substr(position, end - position);
    }
    position = token.end;
    tokens.push_back(std::move(token));
  }
  return tokens;
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
