#include "engine/query/statement_reads.h"

#include <sqlite3.h>

#include <algorithm>
#include <cctype>

namespace foreshore {

void StatementReads::Note(int action, const char* first, const char* second) {
  const std::string name = first ? first : "";
  switch (action) {
    case SQLITE_SELECT: ++select_count; break;
    case SQLITE_READ:
      // SQLite asks for its schema when it connects virtual tables, whatever the statement is.
      if (name.starts_with("sqlite_")) break;
      tables.insert(name);
      columns.emplace(name, second ? second : "");
      break;
    case SQLITE_FUNCTION: functions.insert(second ? second : ""); break;
    default: break;
  }
}

namespace {

bool IsWordCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || (c & 0x80) != 0;
}

// The position behind a string, quoted name or comment that begins at `at`, or `at` where none does.
std::size_t SkipQuoted(std::string_view sql, std::size_t at) {
  const auto after = [&](std::string_view end, std::size_t from) {
    const std::size_t found = sql.find(end, from);
    return found == std::string_view::npos ? sql.size() : found + end.size();
  };
  // A doubled quote ends one string and begins the next, which comes to the same here.
  if (sql[at] == '\'' || sql[at] == '"' || sql[at] == '`') return after(sql.substr(at, 1), at + 1);
  if (sql[at] == '[') return after("]", at + 1);
  if (sql.substr(at, 2) == "--") return after("\n", at + 2);
  if (sql.substr(at, 2) == "/*") return after("*/", at + 2);
  return at;
}

}  // namespace

bool HasOnlyRowWiseWords(std::string_view sql) {
  static constexpr std::string_view kWords[] = {"DISTINCT", "GROUP",  "HAVING", "OFFSET",
                                                "OVER",     "WINDOW", "MATCH",  "WITH"};
  bool has_limit = false;
  for (std::size_t at = 0; at < sql.size();) {
    if (const std::size_t behind = SkipQuoted(sql, at); behind != at) {
      at = behind;
      continue;
    }
    if (!IsWordCharacter(sql[at])) {
      if (sql[at] == ',' && has_limit) return false;
      ++at;
      continue;
    }
    std::string word;
    for (; at < sql.size() && IsWordCharacter(sql[at]); ++at) {
      word += static_cast<char>(std::toupper(static_cast<unsigned char>(sql[at])));
    }
    if (word == "LIMIT") has_limit = true;
    if (std::find(std::begin(kWords), std::end(kWords), word) != std::end(kWords)) return false;
  }
  return true;
}

}  // namespace foreshore
