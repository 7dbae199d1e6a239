#include "engine/database/field_key.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr double kExactIntegerMax = 9007199254740992.0;  // 2^53: below, every integer is a double.
constexpr double kTwoTo63 = 9223372036854775808.0;
constexpr int kGroupCountMax = 9;
constexpr char kEndOfText = 0x00;
constexpr char kCutMark = 0x01;

// The bits of a positive double as groups of seven; `mask` complements them for negative numbers.
void AppendMagnitude(ByteString& key, double magnitude, unsigned char mask) {
  std::uint64_t rest = std::bit_cast<std::uint64_t>(magnitude) << 1;  // The sign is in the tag.
  do {
    const auto group = static_cast<unsigned char>(rest >> 57);
    rest <<= 7;
    key += static_cast<char>(static_cast<unsigned char>(group << 1 | (rest != 0 ? 1 : 0)) ^ mask);
  } while (rest != 0);
}

void AppendNumber(ByteString& key, double floor, std::uint64_t above) {
  if (floor == 0) {
    key += kZeroTag;
    return;
  }
  const bool negative = floor < 0;
  key += negative ? kNegativeTag : kPositiveTag;
  AppendMagnitude(key, std::fabs(floor), negative ? 0xFF : 0);
  if (std::fabs(floor) < kExactIntegerMax) return;
  key += static_cast<char>(above >> 8);
  key += static_cast<char>(above & 0xFF);
}

bool ReadMagnitude(Bytes& rest, unsigned char mask, double& magnitude) {
  std::uint64_t bits = 0;
  int shift = 57;
  for (int i = 0; i < kGroupCountMax; ++i, shift -= 7) {
    if (rest.empty()) return false;
    const unsigned char byte = static_cast<unsigned char>(rest.front()) ^ mask;
    rest.remove_prefix(1);
    bits |= static_cast<std::uint64_t>(byte >> 1) << shift;
    if ((byte & 1) == 0) {
      magnitude = std::bit_cast<double>(bits >> 1);
      return true;
    }
  }
  return false;
}

bool ReadNumber(Bytes& rest, bool negative, KeyValue& value) {
  double magnitude = 0;
  if (!ReadMagnitude(rest, negative ? 0xFF : 0, magnitude) || std::isnan(magnitude)) return false;
  value.real = negative ? -magnitude : magnitude;
  std::int64_t above = 0;
  if (magnitude >= kExactIntegerMax) {
    if (rest.size() < 2) return false;
    above = static_cast<unsigned char>(rest[0]) << 8 | static_cast<unsigned char>(rest[1]);
    rest.remove_prefix(2);
  }
  value.kind = KeyValue::Kind::kReal;
  if (value.real >= -kTwoTo63 && value.real < kTwoTo63 && value.real == std::floor(value.real)) {
    value.kind = KeyValue::Kind::kInteger;
    value.integer = static_cast<std::int64_t>(value.real) + above;
  }
  return true;
}

// The position of the byte that ends the text which begins `rest`, counted without the tag; npos where none does.
// `text_bytes` is how long the text is, with pairs counted once.
std::size_t FindTextEnd(Bytes rest, std::size_t& text_bytes) {
  text_bytes = 0;
  for (std::size_t at = 0; at < rest.size();) {
    if (text_bytes == kIndexedTextBytesMax && rest[at] == kCutMark) return at;
    if (rest[at] == kEndOfText) {
      if (at + 1 >= rest.size() || rest[at + 1] != kKeyEnd) return at;
      ++at;
    }
    ++at;
    if (++text_bytes > kIndexedTextBytesMax) break;
  }
  return std::string_view::npos;
}

void AppendEscaped(ByteString& key, std::string_view text) {
  if (text.empty() || std::memchr(text.data(), kEndOfText, text.size()) == nullptr) {
    key += text;
    return;
  }
  for (const char c : text) {
    key += c;
    if (c == kEndOfText) key += kKeyEnd;
  }
}

}  // namespace

void AppendIntegerKey(ByteString& key, std::int64_t value) {
  // Rounds to nearest, so it may be above the value, even beyond 64 bits.
  double floor = static_cast<double>(value);
  if (floor >= kTwoTo63 || static_cast<std::int64_t>(floor) > value) floor = std::nextafter(floor, -kTwoTo63);
  AppendNumber(key, floor, static_cast<std::uint64_t>(value - static_cast<std::int64_t>(floor)));
}

void AppendRealKey(ByteString& key, double value) {
  AppendNumber(key, value, 0);
}

void AppendTextPrefixKey(ByteString& key, std::string_view prefix) {
  key += kTextTag;
  AppendEscaped(key, prefix.substr(0, kIndexedTextBytesMax));
}

bool AppendTextKey(ByteString& key, std::string_view text) {
  const bool is_cut = text.size() > kIndexedTextBytesMax;
  AppendTextPrefixKey(key, text);
  key += is_cut ? kCutMark : kEndOfText;
  return is_cut;
}

void AppendWholeTextKey(ByteString& key, std::string_view text) {
  key += kTextTag;
  AppendEscaped(key, text);
  key += kEndOfText;
}

void AppendDocidKey(ByteString& key, std::int64_t docid) {
  AppendSortable64(key, docid);
}

std::int64_t DocidOfKey(Bytes key) {
  if (key.size() < kDocidKeyBytes) return 0;
  return LoadSortable64(key.data() + key.size() - kDocidKeyBytes);
}

std::optional<KeyValue> ReadKeyValue(Bytes& rest, std::string& buffer) {
  if (rest.empty()) return std::nullopt;
  KeyValue value;
  const char tag = rest.front();
  rest.remove_prefix(1);
  switch (tag) {
    case kNullTag: return value;
    case kZeroTag: value.kind = KeyValue::Kind::kInteger; return value;
    case kNegativeTag:
    case kPositiveTag: return ReadNumber(rest, tag == kNegativeTag, value) ? std::optional(value) : std::nullopt;
    case kTextTag: break;
    default: return std::nullopt;
  }
  std::size_t text_bytes = 0;
  const std::size_t end = FindTextEnd(rest, text_bytes);
  if (end == std::string_view::npos) return std::nullopt;
  value.kind = rest[end] == kCutMark ? KeyValue::Kind::kCutText : KeyValue::Kind::kText;
  value.text = rest.substr(0, end);
  if (text_bytes != end) {
    buffer.clear();
    for (std::size_t i = 0; i < end; ++i) {
      buffer += rest[i];
      if (rest[i] == kEndOfText) ++i;
    }
    value.text = buffer;
  }
  rest.remove_prefix(end + 1);
  return value;
}

bool SkipKeyValue(Bytes& rest, bool* is_cut) {
  if (is_cut != nullptr) *is_cut = false;
  if (rest.empty()) return false;
  if (rest.front() == kTextTag) {
    std::size_t text_bytes = 0;
    const std::size_t end = FindTextEnd(rest.substr(1), text_bytes);
    if (end == std::string_view::npos) return false;
    if (is_cut != nullptr) *is_cut = rest[end + 1] == kCutMark;
    rest.remove_prefix(end + 2);
    return true;
  }
  std::string unused;
  return ReadKeyValue(rest, unused).has_value();
}

}  // namespace foreshore
