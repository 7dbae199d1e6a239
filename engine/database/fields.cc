#include "engine/database/fields.h"

#include <string>

#include "engine/document/json.h"

namespace foreshore {
namespace {

// The position after the string token that begins at `at`.
std::size_t SkipString(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at + 1;
}

// The position of the ',' or '}' that ends the member value beginning at `at`.
std::size_t SkipValue(std::string_view text, std::size_t at) {
  std::size_t depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = SkipString(text, at);
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (depth == 0 && (c == ',' || c == '}')) return at;
    if (c == '}' || c == ']') --depth;
    ++at;
  }
  return at;
}

}  // namespace

void ForEachTopLevelKey(std::string_view body, const std::function<void(std::string_view key)>& visit) {
  std::size_t at = 1;
  while (at < body.size() && body[at] == '"') {
    const std::size_t end = SkipString(body, at);
    const std::string_view token = body.substr(at, end - at);
    if (token.find('\\') == std::string_view::npos) {
      visit(token.substr(1, token.size() - 2));
    } else if (const auto key = UnescapeString(token); key.ok()) {
      visit(*key);
    }
    at = SkipValue(body, end + 1) + 1;
  }
}

}  // namespace foreshore
