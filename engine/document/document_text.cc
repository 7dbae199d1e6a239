#include "engine/document/document_text.h"

#include <algorithm>
#include <span>

#include "engine/document/json.h"
#include "engine/document/json_walk.h"

namespace foreshore {
namespace {

template <typename Visit>
void ForEachElement(std::string_view array, const Visit& visit) {
  std::size_t cursor = 1;
  while (cursor < array.size() && array[cursor] != ']') {
    const std::size_t end = SkipValueToken(array, cursor);
    if (end <= cursor) return;
    visit(array.substr(cursor, end - cursor));
    cursor = end + 1;
  }
}

// Appends every string and number in the value. The depth is bounded by what NormaliseDocument lets in.
void AppendLeaves(std::string& out, std::string_view value) {
  if (value.empty()) return;
  const char first = value.front();
  if (first == '[') return ForEachElement(value, [&](std::string_view element) { AppendLeaves(out, element); });
  if (first == '{') {
    JsonMembers members(value);
    for (JsonMember member; members.Next(member);) AppendLeaves(out, member.value);
    return;
  }
  if (first == 't' || first == 'f' || first == 'n') return;
  if (!out.empty()) out += '\n';
  if (first == '"') {
    AppendUnescaped(out, value);
  } else {
    out += value;
  }
}

void AppendAt(std::string& out, std::string_view value, std::span<const std::string> steps) {
  if (steps.empty()) return AppendLeaves(out, value);
  if (value.empty()) return;
  if (value.front() == '[') {
    return ForEachElement(value, [&](std::string_view element) { AppendAt(out, element, steps); });
  }
  if (!IsObjectToken(value)) return;
  JsonMembers members(value);
  for (JsonMember member; members.Next(member);) {
    if (member.key == steps.front()) return AppendAt(out, member.value, steps.subspan(1));
  }
}

}  // namespace

TextExtractor::TextExtractor(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    std::vector<std::string>& steps = paths_.emplace_back();
    std::size_t begin = 0;
    while (begin <= path.size()) {
      const std::size_t end = std::min(path.find(kPathSeparator, begin), path.size());
      AppendJsonString(steps.emplace_back(), std::string_view(path).substr(begin, end - begin));
      begin = end + 1;
    }
  }
}

std::vector<std::string> TextExtractor::Extract(std::string_view body) const {
  std::vector<std::string> texts(paths_.size());
  for (std::size_t i = 0; i < paths_.size(); ++i) AppendAt(texts[i], body, paths_[i]);
  return texts;
}

}  // namespace foreshore
