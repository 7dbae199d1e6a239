#include "foreshore/sql_tokens.h"

#include <algorithm>
#include <cctype>

namespace foreshore {
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

}  // namespace

bool EqualsIgnoringCase(std::string_view left, std::string_view right) {
  return left.size() == right.size() && StartsWithIgnoringCase(left, right);
}

bool StartsWithIgnoringCase(std::string_view text, std::string_view prefix) {
  if (prefix.size() > text.size()) return false;
  return std::equal(prefix.begin(), prefix.end(), text.begin(),
                    [](unsigned char left, unsigned char right) { return std::tolower(left) == std::tolower(right); });
}

bool IsSqlWord(std::string_view text) {
  return !text.empty() && IsWordStart(text.front()) && std::all_of(text.begin(), text.end(), IsWordPart);
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

}  // namespace foreshore
