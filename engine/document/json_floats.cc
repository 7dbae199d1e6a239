#include "engine/document/json_floats.h"

#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>

namespace foreshore {
namespace {

constexpr bool kIsLittleEndian = std::endian::native == std::endian::little;
// Powers of ten and whole numbers up to 2^53 are doubles, so that one division rounds right (Clinger, How to Read
// Floating Point Numbers Accurately, 1990).
constexpr double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr std::uint64_t kExactMax = std::uint64_t{1} << 53;
constexpr std::ptrdiff_t kDigitsMax = 18;  // Less than 2^63.

bool IsDigit(char c) {
  return static_cast<unsigned char>(c - '0') < 10;
}

constexpr std::uint64_t kPowersOfTenWhole[] = {1, 10, 100, 1'000, 10'000, 100'000, 1'000'000, 10'000'000, 100'000'000};

// How many of eight bytes are digits before the first that is none, and what number those make. As Lemire, Number
// Parsing at a Gigabyte per Second (2021), takes eight digits; where fewer are digits they are moved behind zeros, so
// that no branch depends on how many they are. `digits` and `count`, at least 1, are LoadDigits()'s.
std::uint64_t LoadDigits(const char* cursor, int& count) {
  std::uint64_t digits = 0;
  std::memcpy(&digits, cursor, sizeof digits);
  digits ^= 0x3030303030303030U;  // 0 to 9 where there was a digit.
  const std::uint64_t others = (digits | (digits + 0x0606060606060606U)) & 0xF0F0F0F0F0F0F0F0U;
  count = std::countr_zero(others) / 8;  // 8 where all are digits.
  return digits;
}

std::uint64_t ValueOfDigits(std::uint64_t digits, int count) {
  digits <<= 64 - 8 * count;
  digits = digits * 10 + (digits >> 8);
  return (((digits & 0x000000FF000000FFU) * 0x000F424000000064U) +
          (((digits >> 16) & 0x000000FF000000FFU) * 0x0000271000000001U)) >>
         32;
}

// Adds digits to `value`, which is right as long as there are at most kDigitsMax of them in all.
const char* ReadDigits(const char* cursor, const char* end, std::uint64_t& value) {
  if constexpr (kIsLittleEndian) {
    while (end - cursor >= 8) {
      int count = 0;
      const std::uint64_t digits = LoadDigits(cursor, count);
      if (count == 0) return cursor;
      value = value * kPowersOfTenWhole[count] + ValueOfDigits(digits, count);
      cursor += count;
      if (count < 8) return cursor;
    }
  }
  for (; cursor < end && IsDigit(*cursor); ++cursor) value = value * 10 + static_cast<std::uint64_t>(*cursor - '0');
  return cursor;
}

// The commonest form, one digit, a point and one to seven digits, in about half of the time; `cursor` is behind the
// sign. The position behind the number, or nullptr where it is of another form or the text ends soon.
const char* ReadShortFloat(const char* cursor, const char* end, bool is_negative, float& out) {
  constexpr std::ptrdiff_t kLookedAt = 10;
  if (!kIsLittleEndian || end - cursor < kLookedAt) return nullptr;
  if (!IsDigit(cursor[0]) || cursor[1] != '.') return nullptr;
  int count = 0;
  const std::uint64_t digits = LoadDigits(cursor + 2, count);
  const char* behind = cursor + 2 + count;
  if (count == 0 || count == 8 || (*behind | 0x20) == 'e') return nullptr;
  const std::uint64_t whole = static_cast<std::uint64_t>(cursor[0] - '0') * kPowersOfTenWhole[count];
  const double number = static_cast<double>(whole + ValueOfDigits(digits, count)) / kPowersOfTen[count];
  // Signs come either way equally often, so this is no branch.
  const std::uint32_t sign = static_cast<std::uint32_t>(is_negative) << 31;
  out = std::bit_cast<float>(std::bit_cast<std::uint32_t>(static_cast<float>(number)) ^ sign);
  return behind;
}

// The position behind the number, or nullptr.
const char* ReadFloat(const char* begin, const char* end, float& out) {
  const char* cursor = begin;
  const bool is_negative = cursor < end && *cursor == '-';
  if (is_negative) ++cursor;
  if (const char* behind = ReadShortFloat(cursor, end, is_negative, out)) return behind;
  std::uint64_t value = 0;
  const char* whole = cursor;
  cursor = ReadDigits(cursor, end, value);
  std::ptrdiff_t digit_count = cursor - whole;
  if (digit_count == 0 || (digit_count > 1 && *whole == '0')) return nullptr;
  std::ptrdiff_t fraction_count = 0;
  if (cursor < end && *cursor == '.') {
    const char* fraction = ++cursor;
    cursor = ReadDigits(cursor, end, value);
    fraction_count = cursor - fraction;
    if (fraction_count == 0) return nullptr;
    digit_count += fraction_count;
  }
  if (cursor < end && (*cursor | 0x20) == 'e') {
    double number = 0;
    const auto [behind, error] = std::from_chars(begin, end, number);
    if (error != std::errc() || behind <= cursor) return nullptr;
    out = static_cast<float>(number);
    return behind;
  }
  if (fraction_count == 0) {
    if (digit_count > kDigitsMax) return nullptr;
    const auto integer = static_cast<std::int64_t>(value);
    out = static_cast<float>(is_negative ? -integer : integer);
    return cursor;
  }
  if (digit_count <= kDigitsMax && value <= kExactMax) {
    const double number = static_cast<double>(value) / kPowersOfTen[fraction_count];
    out = static_cast<float>(is_negative ? -number : number);
    return cursor;
  }
  double number = 0;
  const auto [behind, error] = std::from_chars(begin, cursor, number);
  if (error != std::errc() || behind != cursor) return nullptr;
  out = static_cast<float>(number);
  return cursor;
}

}  // namespace

bool ReadFloatArray(std::string_view json, std::span<float> out) {
  if (json.size() < 2 || json.front() != '[' || json.back() != ']' || out.empty()) return false;
  const char* cursor = json.data() + 1;
  const char* const end = json.data() + json.size() - 1;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (i > 0 && (cursor == end || *cursor++ != ',')) return false;
    cursor = ReadFloat(cursor, end, out[i]);
    if (cursor == nullptr) return false;
  }
  return cursor == end;
}

}  // namespace foreshore
