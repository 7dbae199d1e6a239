#include "engine/document/json_floats.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
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

// Bits in each of eight bytes that is no digit; 0 to 9 in those of `digits` that are one.
std::uint64_t LoadDigits(const char* cursor, std::uint64_t& digits) {
  std::memcpy(&digits, cursor, sizeof digits);
  digits ^= 0x3030303030303030U;
  return (digits | (digits + 0x0606060606060606U)) & 0xF0F0F0F0F0F0F0F0U;
}

// The number that the first `count`, 1..8, of LoadDigits() make. As Lemire, Number Parsing at a Gigabyte per Second
// (2021), takes eight digits; where fewer are wanted they are moved behind zeros, so that no branch depends on how many
// they are.
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
      std::uint64_t digits = 0;
      const int count = std::countr_zero(LoadDigits(cursor, digits)) / 8;  // 8 where all are digits.
      if (count == 0) return cursor;
      value = value * kPowersOfTenWhole[count] + ValueOfDigits(digits, count);
      cursor += count;
      if (count < 8) return cursor;
    }
  }
  for (; cursor < end && IsDigit(*cursor); ++cursor) value = value * 10 + static_cast<std::uint64_t>(*cursor - '0');
  return cursor;
}

// The position behind the number, or nullptr.
const char* ReadFloat(const char* begin, const char* end, float& out) {
  const char* cursor = begin;
  const bool is_negative = cursor < end && *cursor == '-';
  if (is_negative) ++cursor;
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

// The commonest form: one digit, a point and `count` digits up to the number's end. `cursor` is behind the sign. False
// where it is of another form, or the text ends soon.
bool ReadShortFloat(const char* cursor, std::ptrdiff_t count, const char* text_end, bool is_negative, float& out) {
  constexpr std::ptrdiff_t kLookedAt = 10;
  if (!kIsLittleEndian || count < 1 || count > 7 || text_end - cursor < kLookedAt) return false;
  std::uint64_t digits = 0;
  const std::uint64_t others = LoadDigits(cursor + 2, digits);
  if (!IsDigit(cursor[0]) || cursor[1] != '.' || others << (64 - 8 * count) != 0) return false;
  const std::uint64_t whole = static_cast<std::uint64_t>(cursor[0] - '0') * kPowersOfTenWhole[count];
  const auto value = static_cast<std::int32_t>(whole + ValueOfDigits(digits, static_cast<int>(count)));
  const auto number = static_cast<float>(value / kPowersOfTen[count]);
  // Signs come either way equally often, so this is no branch.
  const std::uint32_t sign = static_cast<std::uint32_t>(is_negative) << 31;
  out = std::bit_cast<float>(std::bit_cast<std::uint32_t>(number) ^ sign);
  return true;
}

// Whether the text between is one number; bytes up to `text_end` may be looked at.
bool ReadWholeFloat(const char* begin, const char* end, const char* text_end, float& out) {
  const bool is_negative = *begin == '-';
  const char* cursor = begin + static_cast<std::ptrdiff_t>(is_negative);
  return ReadShortFloat(cursor, end - cursor - 2, text_end, is_negative, out) || ReadFloat(begin, text_end, out) == end;
}

constexpr std::size_t kCommasMax = 64;

// Where the first commas are, `count_max` at most; how many.
std::size_t FindCommas(const char* cursor, const char* end, std::size_t count_max, const char* commas[kCommasMax]) {
  std::size_t count = 0;
#if defined(__SSE2__)
  const __m128i comma = _mm_set1_epi8(',');
  const auto marks_at = [&](const char* bytes) {
    const __m128i loaded = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    return static_cast<std::uint64_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(loaded, comma)));
  };
  while (end - cursor >= 16) {
    std::uint64_t marks = marks_at(cursor);
    const std::ptrdiff_t step = end - cursor >= 64 ? 64 : 16;
    if (step == 64) marks |= marks_at(cursor + 16) << 16 | marks_at(cursor + 32) << 32 | marks_at(cursor + 48) << 48;
    for (; marks != 0; marks &= marks - 1) {
      if (count == count_max) return count;
      commas[count++] = cursor + std::countr_zero(marks);
    }
    cursor += step;
  }
#endif
  for (; cursor < end && count < count_max; ++cursor) {
    if (*cursor == ',') commas[count++] = cursor;
  }
  return count;
}

}  // namespace

bool ReadFloatArray(std::string_view json, std::span<float> out) {
  if (json.size() < 2 || json.front() != '[' || json.back() != ']' || out.empty()) return false;
  const char* cursor = json.data() + 1;
  const char* const end = json.data() + json.size() - 1;
  // Where numbers end is found first, as reading one would else have to wait for the one before it.
  const char* commas[kCommasMax];
  for (std::size_t first = 0; first < out.size(); first += kCommasMax) {
    const std::size_t count = std::min(kCommasMax, out.size() - first);
    const std::size_t found = FindCommas(cursor, end, count, commas);
    for (std::size_t i = 0; i < count; ++i) {
      const bool is_last = first + i + 1 == out.size();
      if (is_last != (i >= found)) return false;
      const char* number_end = is_last ? end : commas[i];
      if (!ReadWholeFloat(cursor, number_end, end, out[first + i])) return false;
      cursor = number_end + 1;
    }
  }
  return true;
}

}  // namespace foreshore
