// The one way integers become bytes: fixed width little-endian, LEB128 varints, and big-endian for keys
// that must sort as numbers. ByteReader bounds every read, so that a hostile length is an error and never
// an allocation or an out-of-range access.
//
// Threads: values; no sharing.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

#include "foreshore/bytes.h"

namespace foreshore {

// Appends `value` as sizeof(T) little-endian bytes. T is an integer or a float of 4 or 8 bytes.
template <typename T>
void AppendFixed(ByteString& out, T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts need byte swaps here");
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

template <typename T>
T LoadFixed(const void* source) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  T value;
  std::memcpy(&value, source, sizeof(T));
  return value;
}

// LEB128: seven bits a byte, least significant first; 1 to 10 bytes.
void AppendVarint(ByteString& out, std::uint64_t value);
inline std::uint64_t ZigZag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
inline std::int64_t UnZigZag(std::uint64_t value) {
  return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
}

// A varint length and the bytes.
void AppendPrefixed(ByteString& out, Bytes bytes);

// Eight bytes whose order as bytes is the order of the numbers.
void AppendBigEndian64(ByteString& out, std::uint64_t value);
// The same for signed numbers: the sign bit is flipped.
void AppendSortable64(ByteString& out, std::int64_t value);
std::uint64_t LoadBigEndian64(const void* source);
std::int64_t LoadSortable64(const void* source);

// Reads forward through borrowed bytes. After the first read that does not fit, ok() is false, every later
// read returns zero or empty, and nothing out of range was touched: check ok() once, at the end of a group.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) : begin_(bytes.data()), cursor_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  template <typename T>
  T Fixed() {
    if (remaining_bytes() < sizeof(T)) {
      Fail();
      return T{};
    }
    T value = LoadFixed<T>(cursor_);
    cursor_ += sizeof(T);
    return value;
  }
  std::uint64_t Varint();
  // A varint that must not exceed `max`.
  std::uint64_t VarintAtMost(std::uint64_t max);
  // A view into the source of exactly `size_bytes`.
  Bytes Take(std::uint64_t size_bytes);
  // A varint length, then that many bytes.
  Bytes Prefixed() { return Take(Varint()); }
  Bytes Rest() { return Take(remaining_bytes()); }

  bool ok() const { return ok_; }
  bool at_end() const { return cursor_ == end_; }
  std::size_t remaining_bytes() const { return static_cast<std::size_t>(end_ - cursor_); }
  std::size_t offset() const { return static_cast<std::size_t>(cursor_ - begin_); }
  void Fail() {
    ok_ = false;
    cursor_ = end_;
  }

 private:
  const char* begin_;
  const char* cursor_;
  const char* end_;
  bool ok_ = true;
};

// Lower-case hexadecimal.
std::string ToHex(Bytes bytes);
std::optional<ByteString> FromHex(std::string_view text);

}  // namespace foreshore
