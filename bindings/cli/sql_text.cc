#include "bindings/cli/sql_text.h"

namespace foreshore::cli {
namespace {

// The end of the quoted run, comment or single character that starts at `position`.
std::size_t TokenEnd(std::string_view text, std::size_t position) {
  const char first = text[position];
  auto until = [&](std::string_view end, std::size_t from) {
    const std::size_t found = text.find(end, from);
    return found == std::string_view::npos ? text.size() : found + end.size();
  };
  // A doubled quote is two runs side by side, which ends in the same place.
  if (first == '\'' || first == '"' || first == '`') return until(std::string_view(&first, 1), position + 1);
  if (first == '[') return until("]", position + 1);
  if (text.substr(position, 2) == "--") return until("\n", position + 2);
  if (text.substr(position, 2) == "/*") return until("*/", position + 2);
  return position + 1;
}

bool IsComment(std::string_view text, std::size_t position) {
  return text.substr(position, 2) == "--" || text.substr(position, 2) == "/*";
}

}  // namespace

bool IsBlankSql(std::string_view text) {
  for (std::size_t position = 0; position < text.size(); position = TokenEnd(text, position)) {
    const bool is_space = std::string_view(" \t\r\n\f\v").find(text[position]) != std::string_view::npos;
    if (!is_space && !IsComment(text, position)) return false;
  }
  return true;
}

SqlSplit SplitSql(std::string_view text) {
  SqlSplit split;
  std::size_t start = 0;
  for (std::size_t position = 0; position < text.size();) {
    if (text[position] == ';') {
      const std::string_view statement = text.substr(start, position - start);
      if (!IsBlankSql(statement)) split.statements.push_back(statement);
      start = position + 1;
    }
    position = TokenEnd(text, position);
  }
  split.rest = text.substr(start);
  return split;
}

}  // namespace foreshore::cli
