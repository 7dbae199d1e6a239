#include "storage/base/coding.h"

namespace foreshore {

void AppendVarint(ByteString& out, std::uint64_t value) {
  char bytes[10];
  int count = 0;
  while (value >= 0x80) {
    bytes[count++] = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  bytes[count++] = static_cast<char>(value);
  out.append(bytes, static_cast<std::size_t>(count));
}

void AppendPrefixed(ByteString& out, Bytes bytes) {
  AppendVarint(out, bytes.size());
  out.append(bytes);
}

void AppendBigEndian64(ByteString& out, std::uint64_t value) {
  AppendFixed(out, __builtin_bswap64(value));
}

std::uint64_t LoadBigEndian64(const void* source) {
  return __builtin_bswap64(LoadFixed<std::uint64_t>(source));
}

void AppendSortable64(ByteString& out, std::int64_t value) {
  AppendBigEndian64(out, static_cast<std::uint64_t>(value) ^ (1ULL << 63));
}

std::int64_t LoadSortable64(const void* source) {
  return static_cast<std::int64_t>(LoadBigEndian64(source) ^ (1ULL << 63));
}

std::uint64_t ByteReader::Varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (cursor_ == end_) break;
    const auto byte = static_cast<std::uint8_t>(*cursor_++);
    // The tenth byte holds only the top bit of a 64-bit value.
    if (shift == 63 && byte > 1) break;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  Fail();
  return 0;
}

std::uint64_t ByteReader::VarintAtMost(std::uint64_t max) {
  const std::uint64_t value = Varint();
  if (value <= max) return value;
  Fail();
  return 0;
}

Bytes ByteReader::Take(std::uint64_t size_bytes) {
  if (size_bytes > remaining_bytes()) {
    Fail();
    return {};
  }
  const Bytes taken(cursor_, static_cast<std::size_t>(size_bytes));
  cursor_ += size_bytes;
  return taken;
}

std::string ToHex(Bytes bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) {
    const auto value = static_cast<std::uint8_t>(byte);
    text.push_back(kDigits[value >> 4]);
    text.push_back(kDigits[value & 15]);
  }
  return text;
}

std::optional<ByteString> FromHex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  ByteString bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]);
    const int low = digit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(high * 16 + low));
  }
  return bytes;
}

}  // namespace foreshore
