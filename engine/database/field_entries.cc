#include "engine/database/field_entries.h"

#include <algorithm>
#include <cmath>

#include "engine/database/field_key.h"
#include "engine/document/json.h"
#include "engine/document/json_number.h"
#include "engine/document/json_walk.h"

namespace foreshore {
namespace {

constexpr double kTwoTo63 = 9223372036854775808.0;

FieldMark MarkOfReal(double real) {
  if (real == 0 && std::signbit(real)) return FieldMark::kDocument;
  const bool is_integral = real == std::floor(real) && real >= -kTwoTo63 && real < kTwoTo63;
  return is_integral ? FieldMark::kReal : FieldMark::kPlain;
}

std::string_view TextOfString(std::string_view token, std::string& buffer) {
  const std::string_view text = token.substr(1, token.size() - 2);
  if (text.find('\\') == std::string_view::npos) return text;
  buffer.clear();
  AppendUnescaped(buffer, token);
  return buffer;
}

}  // namespace

IndexedPaths::IndexedPaths(std::span<const FieldIndexDefinition> indexes) {
  nodes_.emplace_back();
  for (const FieldIndexDefinition& index : indexes) {
    auto& slots = index_slots_.emplace_back();
    for (const IndexedPath& path : index.paths) slots.push_back(SlotOf(path.path));
    auto& predicate_slots = predicate_slots_.emplace_back();
    for (const FieldTerm& term : index.predicate) predicate_slots.push_back(SlotOf(term.path));
  }
}

std::uint16_t IndexedPaths::SlotOf(std::string_view path) {
  std::size_t node = 0;
  while (true) {
    const std::size_t separator = path.find(kPathSeparator);
    std::string key;
    AppendJsonString(key, path.substr(0, separator));
    const auto& children = nodes_[node].children;
    const auto found =
        std::find_if(children.begin(), children.end(), [&](std::uint16_t child) { return nodes_[child].key == key; });
    if (found != children.end()) {
      node = *found;
    } else {
      const auto fresh = static_cast<std::uint16_t>(nodes_.size());
      nodes_[node].children.push_back(fresh);
      nodes_.emplace_back().key = std::move(key);
      node = fresh;
    }
    if (separator == std::string_view::npos) break;
    path.remove_prefix(separator + 1);
  }
  if (nodes_[node].slot < 0) nodes_[node].slot = slot_count_++;
  return static_cast<std::uint16_t>(nodes_[node].slot);
}

void IndexedPaths::Walk(std::string_view object, const Node& node, FieldTokens& tokens) const {
  std::size_t missing_count = node.children.size();
  JsonMembers members(object);
  for (JsonMember member; missing_count > 0 && members.Next(member);) {
    for (const std::uint16_t number : node.children) {
      const Node& child = nodes_[number];
      if (child.key != member.key) continue;
      if (child.slot >= 0) tokens[static_cast<std::size_t>(child.slot)] = member.value;
      if (!child.children.empty() && IsObjectToken(member.value)) Walk(member.value, child, tokens);
      --missing_count;  // A key stands in an object once.
      break;
    }
  }
}

void IndexedPaths::Find(std::string_view body, FieldTokens& tokens) const {
  tokens.assign(slot_count_, std::string_view());
  if (!body.empty() && !nodes_.empty()) Walk(body, nodes_.front(), tokens);
}

FieldMark AppendTokenKey(ByteString& key, std::string_view token, std::string& buffer) {
  switch (token.empty() ? 'n' : token.front()) {
    case 'n': AppendNullKey(key); return FieldMark::kPlain;
    case 't': AppendIntegerKey(key, 1); return FieldMark::kPlain;
    case 'f': AppendIntegerKey(key, 0); return FieldMark::kPlain;
    case '"': return AppendTextKey(key, TextOfString(token, buffer)) ? FieldMark::kDocument : FieldMark::kPlain;
    case '[':
    case '{': AppendTextKey(key, token); return FieldMark::kDocument;
    default: break;
  }
  const JsonNumber number = ParseJsonNumber(token);
  if (number.is_integer) {
    AppendIntegerKey(key, number.integer);
    return FieldMark::kPlain;
  }
  AppendRealKey(key, number.real);
  return MarkOfReal(number.real);
}

void AppendWholeTokenKey(ByteString& key, std::string_view token, std::string& buffer) {
  const char first = token.empty() ? 'n' : token.front();
  if (first == '"') {
    AppendWholeTextKey(key, TextOfString(token, buffer));
  } else if (first == '[' || first == '{') {
    AppendWholeTextKey(key, token);
  } else {
    AppendTokenKey(key, token, buffer);
  }
}

void ForEachElement(std::string_view token, const std::function<void(std::string_view element)>& visit) {
  std::string parsed;
  if (token.starts_with("\"[")) {
    auto text = UnescapeString(token);
    auto value = text.ok() ? NormaliseValue(*text) : std::move(text);
    if (!value.ok()) return;
    parsed = std::move(value).value();
    token = parsed;
  }
  if (token.empty() || token.front() != '[') return;
  for (std::size_t at = 1; at < token.size() && token[at] != ']';) {
    const std::size_t end = SkipValueToken(token, at);
    visit(token.substr(at, end - at));
    if (end >= token.size() || token[end] != ',') break;
    at = end + 1;
  }
}

void EntryList::Add(const EntryList& from, const Entry& entry, bool is_removal) {
  const auto offset = static_cast<std::uint32_t>(bytes_.size());
  bytes_.append(from.bytes_, entry.offset, entry.key_bytes + entry.value_bytes);
  entries_.push_back({offset, entry.key_bytes, entry.value_bytes, is_removal});
}

void EntryList::AddEntry(const FieldIndexDefinition& index, std::span<const std::uint16_t> slots,
                         const FieldTokens& tokens, std::string_view element, std::int64_t docid, bool is_removal) {
  const auto offset = static_cast<std::uint32_t>(bytes_.size());
  char marks[kFieldIndexPathCountMax];
  bool has_marks = false;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const std::string_view token = index.paths[i].is_each_element ? element : tokens[slots[i]];
    const FieldMark mark = AppendTokenKey(bytes_, token, buffer_);
    marks[i] = static_cast<char>(mark);
    has_marks |= mark != FieldMark::kPlain;
  }
  AppendDocidKey(bytes_, docid);
  const auto key_bytes = static_cast<std::uint16_t>(bytes_.size() - offset);
  if (has_marks) bytes_.append(marks, slots.size());
  entries_.push_back({offset, key_bytes, static_cast<std::uint8_t>(has_marks ? slots.size() : 0), is_removal});
}

void EntryList::AddElements(const FieldIndexDefinition& index, std::span<const std::uint16_t> slots,
                            const FieldTokens& tokens, std::int64_t docid, bool is_removal) {
  const std::size_t first = entries_.size();
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (!index.paths[i].is_each_element) continue;
    ForEachElement(tokens[slots[i]], [&](std::string_view element) {
      if (element != "null") AddEntry(index, slots, tokens, element, docid, is_removal);
    });
  }
  // Elements that are equal in SQL (1 and 1.0, long texts with one beginning) have one entry, and the first one's
  // marks.
  const auto begin = entries_.begin() + static_cast<std::ptrdiff_t>(first);
  std::stable_sort(begin, entries_.end(), [this](const Entry& a, const Entry& b) { return key(a) < key(b); });
  entries_.erase(
      std::unique(begin, entries_.end(), [this](const Entry& a, const Entry& b) { return key(a) == key(b); }),
      entries_.end());
}

void EntryList::AddDocument(const FieldIndexDefinition& index, const IndexedPaths& paths, std::size_t index_number,
                            const FieldTokens& tokens, std::int64_t docid, bool is_removal) {
  const auto predicate_slots = paths.predicate_slots(index_number);
  for (std::size_t i = 0; i < predicate_slots.size(); ++i) {
    ByteString key;
    AppendTokenKey(key, tokens[predicate_slots[i]], buffer_);
    if (!index.predicate[i].Holds(key)) return;
  }
  const auto slots = paths.slots(index_number);
  const bool has_elements =
      std::any_of(index.paths.begin(), index.paths.end(), [](const IndexedPath& path) { return path.is_each_element; });
  if (has_elements) {
    AddElements(index, slots, tokens, docid, is_removal);
  } else {
    AddEntry(index, slots, tokens, {}, docid, is_removal);
  }
}

}  // namespace foreshore
