#include "bindings/cli/sql_text.h"

#include <algorithm>
#include <charconv>

#include "bindings/cli/output.h"

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

std::string ErrorPlace(std::string_view sql, std::string_view message) {
  constexpr std::string_view kMark = "(at byte ";
  const std::size_t mark = message.rfind(kMark);
  if (mark == std::string_view::npos || message.back() != ')') return {};
  const std::string_view digits = message.substr(mark + kMark.size(), message.size() - mark - kMark.size() - 1);
  std::size_t offset = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), offset);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) return {};
  return PlaceAt(sql, offset);
}

std::string PlaceAt(std::string_view sql, std::size_t offset) {
  if (offset > sql.size()) return {};
  const std::size_t before = offset == 0 ? std::string_view::npos : sql.rfind('\n', offset - 1);
  const std::size_t start = before == std::string_view::npos ? 0 : before + 1;
  const std::size_t end = std::min(sql.find('\n', offset), sql.size());
  const std::string line(sql.substr(start, end - start));
  return "  " + line + "\n  " + std::string(DisplayWidth(line.substr(0, offset - start)), ' ') + "^\n";
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
