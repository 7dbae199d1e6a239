#include <algorithm>

#include "engine/document/json.h"
#include "engine/document/json_walk.h"

namespace foreshore {
namespace {

// Reads one character of a string token's inside at `cursor` and moves behind it. The text is normalised, so that a
// \u escape stands for a control character only.
char NextUnescaped(std::string_view text, std::size_t& cursor) {
  const char c = text[cursor++];
  if (c != '\\' || cursor >= text.size()) return c;
  switch (const char kind = text[cursor++]) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'u': {
      if (text.size() - cursor < 4) {
        cursor = text.size();
        return '\0';
      }
      const auto digit = [](char hex) { return hex <= '9' ? hex - '0' : (hex | 0x20) - 'a' + 10; };
      const int value = digit(text[cursor + 2]) << 4 | digit(text[cursor + 3]);
      cursor += 4;
      return static_cast<char>(value);
    }
    default: return kind;
  }
}

std::string_view Inside(std::string_view token) {
  return token.size() < 2 ? std::string_view() : token.substr(1, token.size() - 2);
}

// Whether the string token stands for `text`; without allocation.
bool TokenEquals(std::string_view token, std::string_view text) {
  const std::string_view inside = Inside(token);
  if (inside.size() < text.size()) return false;
  if (inside.size() == text.size()) return inside == text;  // Escapes only lengthen, so there are none.
  std::size_t cursor = 0;
  for (const char c : text) {
    if (cursor >= inside.size() || NextUnescaped(inside, cursor) != c) return false;
  }
  return cursor == inside.size();
}

void Flatten(std::string_view object, std::string& path, std::vector<JsonLeaf>& leaves, std::size_t depth) {
  if (depth > kDocumentDepthMax) return;
  const std::size_t path_bytes = path.size();
  JsonMembers members(object);
  for (JsonMember member; members.Next(member);) {
    if (depth > 1) path += kPathSeparator;
    AppendUnescaped(path, member.key);
    if (IsObjectToken(member.value) && member.value.size() > 2) {
      Flatten(member.value, path, leaves, depth + 1);
    } else {
      leaves.push_back({path, member.value});
    }
    path.resize(path_bytes);
  }
}

}  // namespace

void AppendUnescaped(std::string& out, std::string_view token) {
  const std::string_view inside = Inside(token);
  if (inside.find('\\') == std::string_view::npos) {
    out += inside;
    return;
  }
  for (std::size_t cursor = 0; cursor < inside.size();) {
    const std::size_t escape = std::min(inside.find('\\', cursor), inside.size());
    out += inside.substr(cursor, escape - cursor);
    cursor = escape;
    if (cursor < inside.size()) out += NextUnescaped(inside, cursor);
  }
}

Result<std::string> UnescapeString(std::string_view token) {
  if (token.size() < 2 || token.front() != '"' || token.back() != '"') {
    return Status::InvalidArgument("JSON: found " + std::string(token.substr(0, 32)) + ", expected a string");
  }
  std::string text;
  text.reserve(token.size());
  AppendUnescaped(text, token);
  return text;
}

std::vector<JsonLeaf> FlattenDocument(std::string_view text) {
  std::vector<JsonLeaf> leaves;
  std::string path;
  Flatten(text, path, leaves, 1);
  return leaves;
}

std::string_view FindValue(std::string_view document, std::string_view path) {
  std::string_view object = document;
  while (IsObjectToken(object)) {
    const std::size_t separator = path.find(kPathSeparator);
    const std::string_view key = path.substr(0, separator);
    JsonMembers members(object);
    JsonMember member;
    bool found = false;
    while (!found && members.Next(member)) found = TokenEquals(member.key, key);
    if (!found) return {};
    if (separator == std::string_view::npos) return member.value;
    path.remove_prefix(separator + 1);
    object = member.value;
  }
  return {};
}

std::string PathForPeople(std::string_view path) {
  std::string text;
  for (const char c : path) {
    if (c == '.' || c == '\\') text += '\\';
    text += c == kPathSeparator ? '.' : c;
  }
  return text;
}

Result<std::string> ParsePath(std::string_view dotted) {
  const auto refuse = [dotted](const std::string& what) {
    return Status::InvalidArgument("path \"" + std::string(dotted.substr(0, kPathBytesMax)) + "\": " + what);
  };
  std::string path;
  bool key_is_empty = true;
  for (std::size_t i = 0; i < dotted.size(); ++i) {
    char c = dotted[i];
    if (c == kPathSeparator) return refuse("found byte 0xff, expected UTF-8");
    if (c == '.') {
      if (key_is_empty) return refuse("found an empty key, expected keys joined by dots");
      path += kPathSeparator;
      key_is_empty = true;
      continue;
    }
    if (c == '\\') {
      const char next = ++i < dotted.size() ? dotted[i] : '\0';
      if (next != '.' && next != '\\') return refuse("found a lone backslash, expected a dot or a backslash after it");
      c = next;
    }
    path += c;
    key_is_empty = false;
  }
  if (key_is_empty) return refuse("found an empty key, expected keys joined by dots");
  if (path.size() > kPathBytesMax) {
    return refuse("has " + std::to_string(path.size()) + " bytes, limit is " + std::to_string(kPathBytesMax));
  }
  return path;
}

}  // namespace foreshore
