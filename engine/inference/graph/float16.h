// The two 16-bit floats as element types: stored in 16 bits, computed with as binary32.
//
// Threads: values; no sharing.
#pragma once

#include <bit>
#include <cstdint>

#include "engine/inference/float_tensor.h"

namespace foreshore::graph {

// binary32 to IEEE 754 binary16, to nearest, ties to even; what is too large becomes infinite, NaN stays one.
inline std::uint16_t FloatToHalf(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return sign | 0x7E00U;
  // 65520 is half way between the largest half and the next that there would be.
  if (magnitude >= 0x477FF000U) return sign | 0x7C00U;
  // Below 2^-14 halves are multiples of 2^-24: adding 0.5 leaves exactly those bits in the float's fraction.
  if (magnitude < 0x38800000U) {
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000U));
  }
  const std::uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13) & 1U);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

// The same for bfloat16, whose range is binary32's.
inline std::uint16_t FloatToBrain(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

struct Half {
  std::uint16_t bits = 0;
  Half() = default;
  explicit Half(float value) : bits(FloatToHalf(value)) {}
  operator float() const { return HalfToFloat(bits); }  // NOLINT: it is a number.
};
struct Brain {
  std::uint16_t bits = 0;
  Brain() = default;
  explicit Brain(float value) : bits(FloatToBrain(value)) {}
  operator float() const { return BrainToFloat(bits); }  // NOLINT
};
static_assert(sizeof(Half) == 2 && sizeof(Brain) == 2);

}  // namespace foreshore::graph
