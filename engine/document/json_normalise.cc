// One pass over the text that checks and copies at once. The output is never longer than the input (every rewriting
// of a string shortens it or keeps its length), so it is written through a bare pointer into a buffer of that size.
#include <array>
#include <bit>
#include <cstring>

#include "engine/document/json.h"
#include "engine/document/json_walk.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

struct Limits {
  std::size_t text_bytes;   // With white space. Keeps offsets in 32 bits.
  std::size_t value_bytes;  // Without.
  std::size_t fields;
};
constexpr Limits kLimits = {16 * kDocumentBytesMax, kDocumentBytesMax, kFieldCountMax};
constexpr Limits kMergedLimits = {1 << 30, 1 << 30, 1 << 30};

constexpr std::uint64_t kEveryByte = 0x0101010101010101;
constexpr std::uint64_t kHighBits = 0x8080808080808080;

// The lowest set high bit marks the first byte that a string may not simply contain: a control character, quote,
// backslash or non-ASCII byte. Marks above the lowest may be false (a borrow), the lowest never is.
std::uint64_t MarkSpecial(std::uint64_t word) {
  const std::uint64_t quote = word ^ (kEveryByte * '"');
  const std::uint64_t backslash = word ^ (kEveryByte * '\\');
  const std::uint64_t control = (word - kEveryByte * 0x20) & ~word;
  return (control | ((quote - kEveryByte) & ~quote) | ((backslash - kEveryByte) & ~backslash) | word) & kHighBits;
}

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The length of the well-formed UTF-8 sequence at `cursor` (RFC 3629: no overlong form, no surrogate, at most
// U+10FFFF), 0 where there is none. `cursor` points at a byte >= 0x80.
std::size_t Utf8SequenceBytes(const char* cursor, const char* end) {
  const auto byte = [cursor](std::size_t i) { return static_cast<std::uint8_t>(cursor[i]); };
  const auto is_tail = [&byte](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const std::size_t left = static_cast<std::size_t>(end - cursor);
  const std::uint8_t lead = byte(0);
  if (lead >= 0xC2 && lead <= 0xDF) return left >= 2 && is_tail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    if (left < 3 || !is_tail(1) || !is_tail(2)) return 0;
    if (lead == 0xE0 && byte(1) < 0xA0) return 0;
    if (lead == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    if (left < 4 || !is_tail(1) || !is_tail(2) || !is_tail(3)) return 0;
    if (lead == 0xF0 && byte(1) < 0x90) return 0;
    if (lead == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

// Appends a code point that is not a surrogate.
char* WriteUtf8(char* out, std::uint32_t code_point) {
  const auto put = [&out](std::uint32_t byte) { *out++ = static_cast<char>(byte); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
  return out;
}

// Appends an ASCII character of a string in its least form: the one that equal texts share.
char* WriteLeastEscape(char* out, std::uint8_t c) {
  char short_form = 0;
  switch (c) {
    case '"': short_form = '"'; break;
    case '\\': short_form = '\\'; break;
    case '\b': short_form = 'b'; break;
    case '\f': short_form = 'f'; break;
    case '\n': short_form = 'n'; break;
    case '\r': short_form = 'r'; break;
    case '\t': short_form = 't'; break;
    default: break;
  }
  if (short_form != 0) {
    *out++ = '\\';
    *out++ = short_form;
  } else if (c < 0x20) {
    constexpr char kDigits[] = "0123456789abcdef";
    const char escape[6] = {'\\', 'u', '0', '0', kDigits[c >> 4], kDigits[c & 15]};
    std::memcpy(out, escape, sizeof(escape));
    out += sizeof(escape);
  } else {
    *out++ = static_cast<char>(c);
  }
  return out;
}

std::uint32_t HashKey(std::string_view key) {
  constexpr std::uint64_t kMultiplier = 0x9E3779B97F4A7C15;
  std::uint64_t hash = key.size() * kMultiplier;
  const char* cursor = key.data();
  std::size_t left = key.size();
  for (; left >= 8; left -= 8, cursor += 8)
    hash = (std::rotl(hash, 23) ^ LoadFixed<std::uint64_t>(cursor)) * kMultiplier;
  std::uint64_t tail = 0;
  std::memcpy(&tail, cursor, left);
  hash = (std::rotl(hash, 23) ^ tail) * kMultiplier;
  return static_cast<std::uint32_t>(hash >> 32);
}

class Normaliser {
 public:
  Normaliser(std::string_view text, const Limits& limits)
      : limits_(limits), begin_(text.data()), cursor_(text.data()), end_(text.data() + text.size()) {}

  Result<std::string> Run(bool object_only) {
    if (static_cast<std::size_t>(end_ - begin_) > limits_.text_bytes) {
      return Status::Limit("JSON: text has " + std::to_string(end_ - begin_) + " bytes, limit is " +
                           std::to_string(limits_.text_bytes));
    }
    std::string normalised(static_cast<std::size_t>(end_ - begin_), '\0');
    out_begin_ = out_ = normalised.data();
    SkipSpace();
    if (object_only && (cursor_ == end_ || *cursor_ != '{')) {
      Unexpected("an object");
    } else if (ParseValue(0, 0, false)) {
      SkipSpace();
      if (cursor_ != end_) Unexpected("the end of the text");
    }
    if (!error_.ok()) return error_;
    const std::size_t size_bytes = static_cast<std::size_t>(out_ - out_begin_);
    if (size_bytes > limits_.value_bytes) {
      return Status::Limit("JSON: value has " + std::to_string(size_bytes) + " bytes without white space, limit is " +
                           std::to_string(limits_.value_bytes));
    }
    normalised.resize(size_bytes);
    return normalised;
  }

 private:
  // A key of an object that is still open, by its place in the output.
  struct Key {
    std::uint32_t out_offset;
    std::uint32_t size_bytes;
    std::uint32_t hash;
  };
  static constexpr std::size_t kInlineKeys = 64;
  static constexpr std::size_t kLinearKeys = 16;  // Up to here comparing with each key is quickest.

  // `depth`: containers that are open. `path_bytes`: of the path that leads here, where not inside an array.
  bool ParseValue(std::size_t depth, std::size_t path_bytes, bool in_array) {
    if (cursor_ == end_) return Unexpected("a value");
    switch (*cursor_) {
      case '{': return ParseObject(depth + 1, path_bytes, in_array);
      case '[': return ParseArray(depth + 1, path_bytes);
      case '"': {
        std::size_t text_bytes = 0;
        return ParseString(text_bytes);
      }
      case 't': return ParseLiteral("true");
      case 'f': return ParseLiteral("false");
      case 'n': return ParseLiteral("null");
      default: return ParseNumber();
    }
  }

  bool EnterContainer(std::size_t depth) {
    if (depth > kDocumentDepthMax) {
      return Fail(ErrorCode::kLimit, "objects and arrays are nested deeper than " + std::to_string(kDocumentDepthMax));
    }
    *out_++ = *cursor_++;
    SkipSpace();
    return true;
  }

  bool ParseObject(std::size_t depth, std::size_t path_bytes, bool in_array) {
    if (!EnterContainer(depth)) return false;
    const std::size_t first_key = key_count_;
    if (cursor_ != end_ && *cursor_ == '}') {
      *out_++ = *cursor_++;
      return true;
    }
    while (true) {
      std::size_t member_path_bytes = 0;
      if (!ParseKey(first_key, depth == 1 ? 0 : path_bytes + 1, in_array, member_path_bytes)) return false;
      SkipSpace();
      if (cursor_ == end_ || *cursor_ != ':') return Unexpected("':'");
      *out_++ = *cursor_++;
      SkipSpace();
      if (!ParseValue(depth, member_path_bytes, in_array)) return false;
      SkipSpace();
      if (cursor_ == end_ || (*cursor_ != ',' && *cursor_ != '}')) return Unexpected("',' or '}'");
      const char c = *out_++ = *cursor_++;
      if (c == '}') break;
      SkipSpace();
    }
    if (key_count_ - first_key > kLinearKeys && !CheckManyKeys(first_key)) return false;
    key_count_ = first_key;
    return true;
  }

  bool ParseArray(std::size_t depth, std::size_t path_bytes) {
    if (!EnterContainer(depth)) return false;
    if (cursor_ != end_ && *cursor_ == ']') {
      *out_++ = *cursor_++;
      return true;
    }
    while (true) {
      if (!ParseValue(depth, path_bytes, true)) return false;
      SkipSpace();
      if (cursor_ == end_ || (*cursor_ != ',' && *cursor_ != ']')) return Unexpected("',' or ']'");
      const char c = *out_++ = *cursor_++;
      if (c == ']') return true;
      SkipSpace();
    }
  }

  bool ParseKey(std::size_t first_key, std::size_t path_bytes_before, bool in_array, std::size_t& path_bytes) {
    if (cursor_ == end_ || *cursor_ != '"') return Unexpected("a key in quotes");
    const char* source = cursor_;
    const char* token = out_;
    std::size_t text_bytes = 0;
    if (!ParseString(text_bytes)) return false;
    if (++field_count_ > limits_.fields) {
      cursor_ = source;
      return Fail(ErrorCode::kLimit, "more than " + std::to_string(limits_.fields) + " fields");
    }
    path_bytes = path_bytes_before + text_bytes;
    if (!in_array && path_bytes > kPathBytesMax) {
      cursor_ = source;
      return Fail(ErrorCode::kLimit,
                  "path has " + std::to_string(path_bytes) + " bytes, limit is " + std::to_string(kPathBytesMax));
    }
    const Key key{static_cast<std::uint32_t>(token - out_begin_), static_cast<std::uint32_t>(out_ - token),
                  HashKey({token, static_cast<std::size_t>(out_ - token)})};
    if (key_count_ - first_key < kLinearKeys) {
      for (std::size_t i = first_key; i < key_count_; ++i) {
        if (keys_[i].hash != key.hash || TextOf(keys_[i]) != TextOf(key)) continue;
        cursor_ = source;
        return Duplicate(key);
      }
    }
    if (key_count_ == key_capacity_) {
      if (heap_keys_.empty()) heap_keys_.assign(inline_keys_.begin(), inline_keys_.end());
      key_capacity_ *= 4;
      heap_keys_.resize(key_capacity_);
      keys_ = heap_keys_.data();
    }
    keys_[key_count_++] = key;
    return true;
  }

  // Looks for duplicates among the many keys of one object with an open-addressing table of key numbers.
  bool CheckManyKeys(std::size_t first_key) {
    const std::size_t count = key_count_ - first_key;
    const std::size_t mask = std::bit_ceil(count * 2) - 1;
    table_.assign(mask + 1, 0);
    for (std::size_t i = 0; i < count; ++i) {
      const Key& key = keys_[first_key + i];
      std::size_t slot = key.hash & mask;
      for (; table_[slot] != 0; slot = (slot + 1) & mask) {
        const Key& other = keys_[first_key + table_[slot] - 1];
        if (other.hash == key.hash && TextOf(other) == TextOf(key)) {
          --cursor_;
          return Duplicate(key);
        }
      }
      table_[slot] = static_cast<std::uint32_t>(i + 1);
    }
    return true;
  }

  std::string_view TextOf(const Key& key) const { return {out_begin_ + key.out_offset, key.size_bytes}; }

  // `text_bytes` becomes the length without quotes and escapes.
  bool ParseString(std::size_t& text_bytes) {
    const char* out_start = out_;
    std::size_t escape_bytes = 0;
    *out_++ = *cursor_++;
    while (true) {
      CopyPlain();
      if (cursor_ == end_) return Unexpected("'\"'");
      const std::uint8_t c = static_cast<std::uint8_t>(*cursor_);
      if (c == '"') {
        *out_++ = *cursor_++;
        text_bytes = static_cast<std::size_t>(out_ - out_start) - 2 - escape_bytes;
        return true;
      }
      if (c == '\\') {
        if (!ParseEscape(escape_bytes)) return false;
      } else if (c < 0x20) {
        return Unexpected("no control character inside a string");
      } else {
        const std::size_t sequence_bytes = Utf8SequenceBytes(cursor_, end_);
        if (sequence_bytes == 0) return Unexpected("UTF-8");
        for (std::size_t i = 0; i < sequence_bytes; ++i) *out_++ = *cursor_++;
      }
    }
  }

  // Copies up to the next special byte or the end.
  void CopyPlain() {
    while (end_ - cursor_ >= 8) {
      const std::uint64_t word = LoadFixed<std::uint64_t>(cursor_);
      std::memcpy(out_, &word, 8);  // Fits: the output is never ahead of the input.
      const std::uint64_t special = MarkSpecial(word);
      const int count = special == 0 ? 8 : std::countr_zero(special) / 8;
      cursor_ += count;
      out_ += count;
      if (count < 8) return;
    }
    while (cursor_ != end_) {
      const std::uint8_t c = static_cast<std::uint8_t>(*cursor_);
      if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') return;
      *out_++ = *cursor_++;
    }
  }

  bool ParseEscape(std::size_t& escape_bytes) {
    const char* source = cursor_++;
    if (cursor_ == end_) return Unexpected("an escape");
    std::uint32_t code_point = 0;
    switch (*cursor_) {
      case '"':
      case '\\':
      case '/': code_point = static_cast<std::uint8_t>(*cursor_++); break;
      case 'b': code_point = '\b', ++cursor_; break;
      case 'f': code_point = '\f', ++cursor_; break;
      case 'n': code_point = '\n', ++cursor_; break;
      case 'r': code_point = '\r', ++cursor_; break;
      case 't': code_point = '\t', ++cursor_; break;
      case 'u':
        if (!ParseUnicodeEscape(source, code_point)) return false;
        break;
      default: return Unexpected("one of \" \\ / b f n r t u after a backslash");
    }
    if (code_point < 0x80) {
      char* out_before = out_;
      out_ = WriteLeastEscape(out_, static_cast<std::uint8_t>(code_point));
      escape_bytes += static_cast<std::size_t>(out_ - out_before) - 1;
    } else {
      out_ = WriteUtf8(out_, code_point);
    }
    return true;
  }

  // `cursor_` is at the 'u'.
  bool ParseUnicodeEscape(const char* source, std::uint32_t& code_point) {
    if (!ParseFourHexDigits(code_point)) return false;
    if (code_point >= 0xDC00 && code_point <= 0xDFFF) {
      cursor_ = source;
      return Fail(ErrorCode::kInvalidArgument, "found a low surrogate alone, expected its high surrogate before it");
    }
    if (code_point < 0xD800 || code_point > 0xDBFF) return true;
    std::uint32_t low = 0;
    const bool has_escape = end_ - cursor_ >= 2 && cursor_[0] == '\\' && cursor_[1] == 'u';
    if (has_escape) {
      ++cursor_;
      if (!ParseFourHexDigits(low)) return false;
    }
    if (low < 0xDC00 || low > 0xDFFF) {
      cursor_ = source;
      return Fail(ErrorCode::kInvalidArgument, "found a high surrogate alone, expected its low surrogate after it");
    }
    code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
    return true;
  }

  bool ParseFourHexDigits(std::uint32_t& code_point) {
    ++cursor_;
    code_point = 0;
    for (int i = 0; i < 4; ++i, ++cursor_) {
      const int digit = cursor_ == end_ ? -1 : HexDigit(*cursor_);
      if (digit < 0) return Unexpected("four hexadecimal digits");
      code_point = code_point << 4 | static_cast<std::uint32_t>(digit);
    }
    return true;
  }

  bool ParseLiteral(std::string_view literal) {
    for (const char expected : literal) {
      if (cursor_ == end_ || *cursor_ != expected) return Unexpected(literal);
      *out_++ = *cursor_++;
    }
    return true;
  }

  bool CopyDigits(std::string_view expected) {
    if (cursor_ == end_ || !IsDigit(*cursor_)) return Unexpected(expected);
    while (cursor_ != end_ && IsDigit(*cursor_)) *out_++ = *cursor_++;
    return true;
  }

  bool ParseNumber() {
    const bool is_negative = *cursor_ == '-';
    if (is_negative) *out_++ = *cursor_++;
    if (cursor_ != end_ && *cursor_ == '0') {
      *out_++ = *cursor_++;
      if (cursor_ != end_ && IsDigit(*cursor_)) return Unexpected("no digit after a leading 0");
    } else if (!CopyDigits(is_negative ? "a digit" : "a value")) {
      return false;
    }
    if (cursor_ != end_ && *cursor_ == '.') {
      *out_++ = *cursor_++;
      if (!CopyDigits("a digit")) return false;
    }
    if (cursor_ != end_ && (*cursor_ == 'e' || *cursor_ == 'E')) {
      *out_++ = *cursor_++;
      if (cursor_ != end_ && (*cursor_ == '+' || *cursor_ == '-')) *out_++ = *cursor_++;
      if (!CopyDigits("a digit")) return false;
    }
    return true;
  }

  void SkipSpace() {
    while (cursor_ != end_ && (*cursor_ == ' ' || *cursor_ == '\n' || *cursor_ == '\r' || *cursor_ == '\t')) ++cursor_;
  }

  bool Fail(ErrorCode code, const std::string& what) {
    error_ = Status(code, "JSON: byte " + std::to_string(cursor_ - begin_) + ": " + what);
    return false;
  }
  bool Duplicate(const Key& key) {
    const std::string_view token = TextOf(key);
    return Fail(ErrorCode::kInvalidArgument,
                "found key " + std::string(token.substr(0, 64)) + " twice in one object, expected each key once");
  }
  bool Unexpected(std::string_view expected) {
    std::string found = "the end of the text";
    if (cursor_ != end_) {
      const bool printable = *cursor_ >= 0x20 && *cursor_ < 0x7F;
      found = printable ? std::string("'") + *cursor_ + "'" : "byte 0x" + ToHex({cursor_, 1});
    }
    return Fail(ErrorCode::kInvalidArgument, "found " + found + ", expected " + std::string(expected));
  }

  const Limits& limits_;
  const char* begin_;
  const char* cursor_;
  const char* end_;
  char* out_begin_ = nullptr;
  char* out_ = nullptr;
  std::size_t field_count_ = 0;
  std::array<Key, kInlineKeys> inline_keys_;
  Key* keys_ = inline_keys_.data();  // The keys of all open objects, outermost first.
  std::size_t key_count_ = 0;
  std::size_t key_capacity_ = kInlineKeys;
  std::vector<Key> heap_keys_;        // Where there are more than kInlineKeys.
  std::vector<std::uint32_t> table_;  // Key numbers from 1; 0 is free.
  Status error_;
};
}  // namespace

Result<std::string> NormaliseDocument(std::string_view text) {
  return Normaliser(text, kLimits).Run(true);
}

Result<std::string> NormaliseMergedDocument(std::string_view text) {
  return Normaliser(text, kMergedLimits).Run(true);
}

Result<std::string> NormaliseValue(std::string_view text) {
  return Normaliser(text, kLimits).Run(false);
}

Status ValidateDocumentId(std::string_view id) {
  if (id.empty() || id.size() > kDocumentIdBytesMax) {
    return Status(id.empty() ? ErrorCode::kInvalidArgument : ErrorCode::kLimit,
                  "document id: has " + std::to_string(id.size()) + " bytes, expected 1 to " +
                      std::to_string(kDocumentIdBytesMax));
  }
  for (std::size_t i = 0; i < id.size();) {
    const std::uint8_t c = static_cast<std::uint8_t>(id[i]);
    const std::size_t sequence_bytes = c < 0x80 ? 1 : Utf8SequenceBytes(id.data() + i, id.data() + id.size());
    // C1 controls are U+0080 to U+009F.
    const bool is_control = c < 0x20 || c == 0x7F || (c == 0xC2 && sequence_bytes == 2 && (id[i + 1] & 0xE0) == 0x80);
    if (sequence_bytes == 0 || is_control) {
      return Status::InvalidArgument("document id: byte " + std::to_string(i) + ": found byte 0x" +
                                     ToHex(id.substr(i, 1)) + ", expected UTF-8 without control characters");
    }
    i += sequence_bytes;
  }
  return Status::Ok();
}

void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    char escaped[6];
    const char* end = WriteLeastEscape(escaped, static_cast<std::uint8_t>(c));
    out.append(escaped, static_cast<std::size_t>(end - escaped));
  }
  out += '"';
}

}  // namespace foreshore
