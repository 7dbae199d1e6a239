// Walking through JSON text that NormaliseDocument made: no white space, known to be valid. On any other bytes the
// results mean nothing, but no byte outside the text is touched.
//
// Threads: values; no sharing. Lifetime: views point into the text that was given.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "foreshore/status.h"

namespace foreshore {

// The position after the string token that begins at `begin`.
inline std::size_t SkipStringToken(std::string_view text, std::size_t begin) {
  std::size_t cursor = begin + 1;
#if defined(__SSE2__)
  // No call, and most strings end in the first or second step.
  const __m128i quotes = _mm_set1_epi8('"');
  const __m128i backslashes = _mm_set1_epi8('\\');
  while (cursor + 16 <= text.size()) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + cursor));
    const int marks =
        _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(bytes, quotes), _mm_cmpeq_epi8(bytes, backslashes)));
    if (marks == 0) {
      cursor += 16;
      continue;
    }
    cursor += static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(marks)));
    if (text[cursor] == '"') return cursor + 1;
    cursor += 2;  // The escape and what it escapes, or begins.
  }
#endif
  while (cursor < text.size()) {
    const char c = text[cursor];
    if (c == '"') return cursor + 1;
    cursor += c == '\\' ? 2 : 1;
  }
  return text.size();
}

// The first quote or bracket from `cursor` on, among what lies inside an array or object; the text's size where none
// is.
inline std::size_t FindQuoteOrBracket(std::string_view text, std::size_t cursor) {
#if defined(__SSE2__)
  // Arrays of numbers are passed 16 bytes at a time. A bit of 0x20 is all that '[' and '{', ']' and '}' differ in.
  const __m128i quotes = _mm_set1_epi8('"');
  const __m128i bit = _mm_set1_epi8(0x20);
  const __m128i opening = _mm_set1_epi8('{');
  const __m128i closing = _mm_set1_epi8('}');
  for (; cursor + 16 <= text.size(); cursor += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + cursor));
    const __m128i folded = _mm_or_si128(bytes, bit);
    const __m128i found = _mm_or_si128(_mm_cmpeq_epi8(bytes, quotes),
                                       _mm_or_si128(_mm_cmpeq_epi8(folded, opening), _mm_cmpeq_epi8(folded, closing)));
    const int marks = _mm_movemask_epi8(found);
    if (marks != 0) return cursor + static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(marks)));
  }
#endif
  for (; cursor < text.size(); ++cursor) {
    const char c = text[cursor];
    if (c == '"' || c == '{' || c == '[' || c == '}' || c == ']') return cursor;
  }
  return text.size();
}

// The position after the value that begins at `begin`.
inline std::size_t SkipValueToken(std::string_view text, std::size_t begin) {
  std::size_t cursor = begin;
  std::size_t depth = 0;
  while (cursor < text.size()) {
    const char c = text[cursor];
    if (c == '"') {
      cursor = SkipStringToken(text, cursor);
    } else if (c == '{' || c == '[') {
      ++depth;
      cursor = FindQuoteOrBracket(text, cursor + 1);
      continue;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return cursor;
      --depth;
      ++cursor;
    } else if (c == ',' && depth == 0) {
      return cursor;
    } else {
      cursor = depth > 0 ? FindQuoteOrBracket(text, cursor + 1) : cursor + 1;
      continue;
    }
    if (depth == 0) return cursor;
  }
  return text.size();
}

struct JsonMember {
  std::string_view key;    // The token with its quotes. Equal keys have equal tokens.
  std::string_view value;  // The token.
};

// The members of one object in order.
class JsonMembers {
 public:
  explicit JsonMembers(std::string_view object) : text_(object) {}
  bool Next(JsonMember& member) {
    if (cursor_ >= text_.size() || text_[cursor_] != '"') return false;
    return NextWithKeyEnd(SkipStringToken(text_, cursor_), member);
  }
  // The same, quicker where the key is `expected`, a token of another object.
  bool NextExpecting(std::string_view expected, JsonMember& member) {
    if (!expected.empty() && text_.substr(std::min(cursor_, text_.size()), expected.size()) == expected) {
      return NextWithKeyEnd(cursor_ + expected.size(), member);
    }
    return Next(member);
  }

 private:
  bool NextWithKeyEnd(std::size_t key_end, JsonMember& member) {
    if (key_end >= text_.size()) return false;
    const std::size_t value_end = SkipValueToken(text_, key_end + 1);
    member.key = text_.substr(cursor_, key_end - cursor_);
    member.value = text_.substr(key_end + 1, value_end - key_end - 1);
    cursor_ = value_end + 1;
    return true;
  }

  std::string_view text_;
  std::size_t cursor_ = 1;  // After the opening brace or the last comma.
};

inline bool IsObjectToken(std::string_view value) {
  return !value.empty() && value.front() == '{';
}

// All members of one object, found by key. Looking the keys up in about their own order costs one comparison each.
class JsonMemberIndex {
 public:
  explicit JsonMemberIndex(std::string_view object) {
    JsonMembers reader(object);
    for (JsonMember member; reader.Next(member);) members_.push_back(member);
    if (members_.size() <= kLinearMax) return;
    for (std::size_t i = 0; i < members_.size(); ++i) positions_.emplace(members_[i].key, i);
  }
  // nullptr where there is none.
  const JsonMember* Find(std::string_view key) {
    if (next_ < members_.size() && members_[next_].key == key) return &members_[next_++];
    if (members_.size() > kLinearMax) {
      auto found = positions_.find(key);
      if (found == positions_.end()) return nullptr;
      next_ = found->second + 1;
      return &members_[found->second];
    }
    for (std::size_t i = 0; i < members_.size(); ++i) {
      if (members_[i].key != key) continue;
      next_ = i + 1;
      return &members_[i];
    }
    return nullptr;
  }
  const std::vector<JsonMember>& members() const { return members_; }

 private:
  static constexpr std::size_t kLinearMax = 16;
  std::vector<JsonMember> members_;
  std::unordered_map<std::string_view, std::size_t> positions_;  // Only above kLinearMax members.
  std::size_t next_ = 0;
};

// As NormaliseDocument, for a stored body: a merge of documents within the limits may have more bytes and fields.
Result<std::string> NormaliseMergedDocument(std::string_view text);

// Appends the text of a string token, without quotes and escapes.
void AppendUnescaped(std::string& out, std::string_view token);

}  // namespace foreshore
