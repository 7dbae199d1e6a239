#include "engine/document/json_floats.h"

#if defined(__x86_64__)
#include <immintrin.h>
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

constexpr std::uint64_t kPowersOfTenWhole[] = {1,       10,        100,        1'000,       10'000,
                                               100'000, 1'000'000, 10'000'000, 100'000'000, 1'000'000'000};

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

constexpr std::size_t kNumbersMax = 64;  // That are looked for at a time.

// Where the first commas are, `count_max` at most; how many.
std::size_t FindCommas(const char* cursor, const char* end, std::size_t count_max, const char** commas) {
  std::size_t count = 0;
#if defined(__x86_64__)
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

#if defined(__x86_64__)
constexpr std::size_t kVectorNumbers = 4;

// The 8 bytes before `end`; zeros for what is not of the text.
long long LoadBefore(const char* text, const char* end) {
  char bytes[8] = {};
  if (end - text >= 8) {
    std::memcpy(bytes, end - 8, sizeof bytes);
  } else {
    std::memcpy(bytes + 8 - (end - text), text, static_cast<std::size_t>(end - text));
  }
  return std::bit_cast<long long>(bytes);
}
int LoadFour(const char* cursor) {
  int bytes = 0;
  std::memcpy(&bytes, cursor, sizeof bytes);
  return bytes;
}

// Four neighbours as ReadShortFloat reads one, or with eight digits behind the point. bounds[i] is in front of number
// i, bounds[i + 1] behind it, and the last number begins at least four bytes before the text ends. A bit for each that
// is of this form; the others are not written right.
[[gnu::target("avx2,fma")]] unsigned ReadFourShortFloats(const char* text, const char* const* bounds, float* out) {
  const __m256i begins = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bounds));
  const __m256i ends = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bounds + 1));
  const __m128i firsts =
      _mm_set_epi32(LoadFour(bounds[3] + 1), LoadFour(bounds[2] + 1), LoadFour(bounds[1] + 1), LoadFour(bounds[0] + 1));
  const __m256i byte = _mm256_set1_epi64x(0xFF);
  __m256i head = _mm256_cvtepu32_epi64(firsts);
  const __m256i is_negative = _mm256_cmpeq_epi64(_mm256_and_si256(head, byte), _mm256_set1_epi64x('-'));
  head = _mm256_srlv_epi64(head, _mm256_and_si256(is_negative, _mm256_set1_epi64x(8)));
  const __m256i whole = _mm256_xor_si256(_mm256_and_si256(head, byte), _mm256_set1_epi64x('0'));
  const __m256i point = _mm256_and_si256(_mm256_srli_epi64(head, 8), byte);
  // Behind the point: ends − begins − 1, less the sign, a digit and the point.
  const __m256i count =
      _mm256_add_epi64(_mm256_sub_epi64(ends, begins), _mm256_sub_epi64(is_negative, _mm256_set1_epi64x(3)));
  const __m256i others = _mm256_sub_epi64(_mm256_set1_epi64x(64), _mm256_slli_epi64(count, 3));
  __m256i digits = _mm256_set_epi64x(LoadBefore(text, bounds[4]), LoadBefore(text, bounds[3]),
                                     LoadBefore(text, bounds[2]), LoadBefore(text, bounds[1]));
  digits = _mm256_xor_si256(digits, _mm256_set1_epi8('0'));
  digits = _mm256_and_si256(digits, _mm256_sllv_epi64(_mm256_set1_epi64x(-1), others));
  const __m256i over = _mm256_or_si256(_mm256_cmpgt_epi64(whole, _mm256_set1_epi64x(9)),
                                       _mm256_cmpgt_epi64(count, _mm256_set1_epi64x(8)));
  const __m256i under = _mm256_cmpgt_epi64(_mm256_set1_epi64x(1), count);
  // Bytes of `digits` above 9, as signed numbers or not.
  const __m256i wrong = _mm256_subs_epu8(digits, _mm256_set1_epi8(9));
  const __m256i is_right = _mm256_and_si256(_mm256_cmpeq_epi64(wrong, _mm256_setzero_si256()),
                                            _mm256_cmpeq_epi64(point, _mm256_set1_epi64x('.')));
  const __m256i is_read = _mm256_andnot_si256(_mm256_or_si256(over, under), is_right);
  // Two digits, four, eight.
  const __m256i twos = _mm256_maddubs_epi16(digits, _mm256_set1_epi16(0x010A));
  const __m256i fours = _mm256_madd_epi16(twos, _mm256_set1_epi32(0x00010064));
  const __m256i eights =
      _mm256_add_epi64(_mm256_mul_epu32(fours, _mm256_set1_epi64x(10'000)), _mm256_srli_epi64(fours, 32));
  // Whole numbers below 2^52 in the low bits of 2^52.
  const __m256i magic = _mm256_set1_epi64x(0x4330000000000000);
  const __m256d fraction =
      _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(eights, magic)), _mm256_castsi256_pd(magic));
  const __m256d ones = _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(whole, magic)), _mm256_castsi256_pd(magic));
  // Powers of ten up to 10^8 are floats.
  const __m256 powers = _mm256_setr_ps(1e8F, 1e1F, 1e2F, 1e3F, 1e4F, 1e5F, 1e6F, 1e7F);
  const __m256i low_halves = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
  const __m256 chosen = _mm256_permutevar8x32_ps(powers, _mm256_permutevar8x32_epi32(count, low_halves));
  const __m256d power = _mm256_cvtps_pd(_mm256_castps256_ps128(chosen));
  const __m256d number = _mm256_div_pd(_mm256_fmadd_pd(ones, power, fraction), power);
  const __m256d sign = _mm256_castsi256_pd(_mm256_slli_epi64(is_negative, 63));
  _mm_storeu_ps(out, _mm256_cvtpd_ps(_mm256_xor_pd(number, sign)));
  return static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(is_read)));
}

bool HasVectors(CpuLevel level) {
  return level == CpuLevel::kAvx2 || level == CpuLevel::kAvx512Vnni || level == CpuLevel::kAmxInt8;
}
#endif

// bounds[i] is in front of number i, bounds[i + 1] behind it; all of them between `text` and `text_end`.
bool ReadNumbers(const char* text, const char* text_end, const char* const* bounds, CpuLevel level,
                 std::span<float> out) {
  std::size_t i = 0;
#if defined(__x86_64__)
  for (; HasVectors(level) && i + kVectorNumbers <= out.size() && text_end - bounds[i + 3] >= 4; i += kVectorNumbers) {
    const unsigned read = ReadFourShortFloats(text, bounds + i, out.data() + i);
    for (unsigned left = read ^ 0xF; left != 0; left &= left - 1) {
      const std::size_t k = i + static_cast<std::size_t>(std::countr_zero(left));
      if (!ReadWholeFloat(bounds[k] + 1, bounds[k + 1], text_end, out[k])) return false;
    }
  }
#endif
  for (; i < out.size(); ++i) {
    if (!ReadWholeFloat(bounds[i] + 1, bounds[i + 1], text_end, out[i])) return false;
  }
  return true;
}

// Shortest decimals of floats: Giulietti, The Schubfach way to render doubles (2020), for 32 bits.

// ⌈10^k · 2^(63 − ⌊log2 10^k⌋)⌉ for k from kPowerMin on.
constexpr int kPowerMin = -31;
constexpr std::uint64_t kPowers[] = {
    0x81CEB32C4B43FCF5U, 0xA2425FF75E14FC32U, 0xCAD2F7F5359A3B3FU, 0xFD87B5F28300CA0EU, 0x9E74D1B791E07E49U,
    0xC612062576589DDBU, 0xF79687AED3EEC552U, 0x9ABE14CD44753B53U, 0xC16D9A0095928A28U, 0xF1C90080BAF72CB2U,
    0x971DA05074DA7BEFU, 0xBCE5086492111AEBU, 0xEC1E4A7DB69561A6U, 0x9392EE8E921D5D08U, 0xB877AA3236A4B44AU,
    0xE69594BEC44DE15CU, 0x901D7CF73AB0ACDAU, 0xB424DC35095CD810U, 0xE12E13424BB40E14U, 0x8CBCCC096F5088CCU,
    0xAFEBFF0BCB24AAFFU, 0xDBE6FECEBDEDD5BFU, 0x89705F4136B4A598U, 0xABCC77118461CEFDU, 0xD6BF94D5E57A42BDU,
    0x8637BD05AF6C69B6U, 0xA7C5AC471B478424U, 0xD1B71758E219652CU, 0x83126E978D4FDF3CU, 0xA3D70A3D70A3D70BU,
    0xCCCCCCCCCCCCCCCDU, 0x8000000000000000U, 0xA000000000000000U, 0xC800000000000000U, 0xFA00000000000000U,
    0x9C40000000000000U, 0xC350000000000000U, 0xF424000000000000U, 0x9896800000000000U, 0xBEBC200000000000U,
    0xEE6B280000000000U, 0x9502F90000000000U, 0xBA43B74000000000U, 0xE8D4A51000000000U, 0x9184E72A00000000U,
    0xB5E620F480000000U, 0xE35FA931A0000000U, 0x8E1BC9BF04000000U, 0xB1A2BC2EC5000000U, 0xDE0B6B3A76400000U,
    0x8AC7230489E80000U, 0xAD78EBC5AC620000U, 0xD8D726B7177A8000U, 0x878678326EAC9000U, 0xA968163F0A57B400U,
    0xD3C21BCECCEDA100U, 0x84595161401484A0U, 0xA56FA5B99019A5C8U, 0xCECB8F27F4200F3AU, 0x813F3978F8940985U,
    0xA18F07D736B90BE6U, 0xC9F2C9CD04674EDFU, 0xFC6F7C4045812297U, 0x9DC5ADA82B70B59EU, 0xC5371912364CE306U,
    0xF684DF56C3E01BC7U, 0x9A130B963A6C115DU, 0xC097CE7BC90715B4U, 0xF0BDC21ABB48DB21U, 0x96769950B50D88F5U,
    0xBC143FA4E250EB32U, 0xEB194F8E1AE525FEU, 0x92EFD1B8D0CF37BFU, 0xB7ABC627050305AEU, 0xE596B7B0C643C71AU,
    0x8F7E32CE7BEA5C70U, 0xB35DBF821AE4F38CU, 0xE0352F62A19E306FU};

struct Decimal {
  std::uint32_t digits = 0;  // Times 10^exponent.
  int exponent = 0;
};

// ⌊power · factor / 2^64⌋ with the lowest bit set where something is left.
std::uint32_t MultiplyToOdd(std::uint64_t power, std::uint32_t factor) {
  const std::uint64_t low = (power & 0xFFFFFFFFU) * factor;
  const std::uint64_t high = (power >> 32) * factor + (low >> 32);
  return static_cast<std::uint32_t>(high >> 32) | static_cast<std::uint32_t>((high & 0xFFFFFFFFU) > 1);
}

// The shortest digits that read back as significand · 2^exponent, a normal float that is no whole number, and of these
// the nearest. `is_power`: the float below is half as far away as the one above.
Decimal ShortestDecimal(std::uint32_t significand, int exponent, bool is_power) {
  const std::uint32_t is_odd = significand & 1;
  // ⌊log10 2^exponent⌋, or of three quarters of that.
  const int k = (exponent * 1'262'611 - (is_power ? 524'031 : 0)) >> 22;
  const int shift = exponent + ((-k * 1'741'647) >> 19) + 1;
  const std::uint64_t power = kPowers[-k - kPowerMin];
  const std::uint32_t lower =
      MultiplyToOdd(power, (4 * significand - 2 + static_cast<std::uint32_t>(is_power)) << shift) + is_odd;
  const std::uint32_t value = MultiplyToOdd(power, (4 * significand) << shift);
  const std::uint32_t upper = MultiplyToOdd(power, (4 * significand + 2) << shift) - is_odd;
  const std::uint32_t digits = value / 4;
  const std::uint32_t fewer = digits / 10;
  // Which neighbours are between the bounds. Any of them may be, equally often, so that all is computed and no branch
  // depends on it. Both of the fewer digits cannot be.
  const auto is_in = [&](std::uint32_t quarters) {
    return static_cast<std::uint32_t>(lower <= quarters) & static_cast<std::uint32_t>(quarters <= upper);
  };
  const std::uint32_t fewer_above = is_in(40 * fewer + 40);
  const std::uint32_t is_fewer = is_in(40 * fewer) | fewer_above;
  const std::uint32_t below = is_in(4 * digits);
  const std::uint32_t above = is_in(4 * digits + 4);
  const std::uint32_t middle = 4 * digits + 2;
  const std::uint32_t rounds_up =
      static_cast<std::uint32_t>(value > middle) | (static_cast<std::uint32_t>(value == middle) & digits & 1);
  const std::uint32_t is_clear = below ^ above;
  const std::uint32_t nearest = digits + ((is_clear & above) | (~is_clear & rounds_up & 1));
  const std::uint32_t mask = 0U - is_fewer;
  return {((fewer + fewer_above) & mask) | (nearest & ~mask), k + static_cast<int>(is_fewer)};
}

// Eight digits, zeros in front. Halves, quarters and single digits of the number side by side in one word.
char* WriteEightDigits(char* out, std::uint32_t number) {
  if constexpr (kIsLittleEndian) {
    const std::uint64_t halves = number / 10'000 | static_cast<std::uint64_t>(number % 10'000) << 32;
    const std::uint64_t hundreds = halves * 10'486 >> 20 & 0x0000007F0000007FU;
    const std::uint64_t quarters = ((halves - 100 * hundreds) << 16) + hundreds;
    const std::uint64_t tens = quarters * 103 >> 10 & 0x000F000F000F000FU;
    const std::uint64_t digits = ((quarters - 10 * tens) << 8) + tens + 0x3030303030303030U;
    std::memcpy(out, &digits, sizeof digits);
  } else {
    for (int i = 8; i-- > 0; number /= 10) out[i] = static_cast<char>('0' + number % 10);
  }
  return out + 8;
}

// Of fewer than 2^30.
int CountDigits(std::uint32_t digits) {
  const int at_least = static_cast<int>(std::bit_width(digits)) * 1233 >> 12;  // The logarithm of 2 is 0.30103.
  return at_least + static_cast<int>(digits >= kPowersOfTenWhole[at_least]);
}

// A whole number of up to six digits.
char* WriteWhole(char* out, std::uint32_t whole) {
  if (whole < 10) {
    *out = static_cast<char>('0' + whole);
    return out + 1;
  }
  char digits[8];
  WriteEightDigits(digits, whole);
  const int count = CountDigits(whole);
  std::memcpy(out, digits + 8 - count, static_cast<std::size_t>(count));
  return out + count;
}

constexpr int kFractionDigitsMax = 12;

// Of 1 to kFractionDigitsMax digits behind the point; 16 are written there.
char* WriteFixed(char* out, const Decimal& decimal) {
  const int count = -decimal.exponent;
  std::uint32_t whole = 0;
  std::uint64_t fraction = decimal.digits;
  if (count <= 9) {
    const auto power = static_cast<std::uint32_t>(kPowersOfTenWhole[count]);
    whole = decimal.digits / power;
    fraction = decimal.digits % power;
  }
  out = WriteWhole(out, whole);
  *out++ = '.';
  fraction *= kPowersOfTenWhole[std::min(9, kFractionDigitsMax - count)];
  if (count < 3) fraction *= kPowersOfTenWhole[3 - count];
  WriteEightDigits(out, static_cast<std::uint32_t>(fraction / 10'000));
  WriteEightDigits(out + 8, static_cast<std::uint32_t>(fraction % 10'000) * 10'000);
  return out + count;
}

}  // namespace

char* WriteFloat(char* out, float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const int biased = static_cast<int>(bits >> 23 & 0xFF);
  const std::uint32_t fraction = bits & 0x7FFFFF;
  constexpr int kBiasedMin = 127 - 20;  // Below this, from 10^-6 on, all are written in scientific form.
  constexpr int kBiasedMax = 127 + 16;  // From here on, 2^16, whole numbers may be.
  if (biased >= kBiasedMin && biased < kBiasedMax) {
    *out = '-';
    out += bits >> 31;  // No branch: signs come either way equally often.
    const std::uint32_t significand = fraction | 0x800000;
    const int exponent = biased - 150;  // Less than 0.
    if ((significand & ((std::uint64_t{1} << -exponent) - 1)) == 0) {
      const std::uint32_t whole = significand >> -exponent;
      return WriteWhole(out, whole);
    }
    Decimal decimal = ShortestDecimal(significand, exponent, fraction == 0);
    for (; decimal.digits % 10 == 0; decimal.digits /= 10) ++decimal.exponent;
    const int count = CountDigits(decimal.digits);
    // The form of fewer characters; scientific form needs no point where there is one digit.
    if (decimal.exponent >= -(count + (count == 1 ? 2 : 3))) return WriteFixed(out, decimal);
    value = std::bit_cast<float>(bits & 0x7FFFFFFF);  // The sign is written.
  }
  return std::to_chars(out, out + kFloatCharsMax, value).ptr;
}

bool ReadFloatArray(std::string_view json, std::span<float> out, CpuLevel level) {
  if (json.size() < 2 || json.front() != '[' || json.back() != ']' || out.empty()) return false;
  const char* const text = json.data();
  const char* const end = text + json.size() - 1;
  // Where numbers end is found first, as reading one would else have to wait for the one before it.
  const char* bounds[kNumbersMax + 1];
  bounds[0] = text;
  for (std::size_t first = 0; first < out.size(); first += kNumbersMax) {
    const std::size_t count = std::min(kNumbersMax, out.size() - first);
    const bool is_last = first + count == out.size();
    const std::size_t found = FindCommas(bounds[0] + 1, end, count, bounds + 1);
    if (found != count - static_cast<std::size_t>(is_last)) return false;
    if (is_last) bounds[count] = end;
    if (!ReadNumbers(text, end, bounds, level, out.subspan(first, count))) return false;
    bounds[0] = bounds[count];
  }
  return true;
}

}  // namespace foreshore
