// How the weights of a text model's linear layers are stored.
//
//   none     f32
//   int8     codes of 8 bits, a scale per output (bert_quantize.h)
//   gptq4    codes of 4 bits, a scale and a zero point per output and group of inputs (grouped_weights.h)
//   gptq3    the same with codes of 3 bits
//   nf4      codes of 4 bits that name one of 16 levels, a scale per output and 64 inputs, itself of 8 bits (nf4.h)
//
// The word embedding is f32 in the first and int8 with a scale per token in all others; biases, norms, positions and
// types are always f32.
//
// Threads: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "foreshore/status.h"

namespace foreshore {

// Stored in packed weights: never renumber.
enum class WeightKind : std::uint32_t { kInt8 = 1, kGrouped = 2, kFloat = 3, kNf4 = 4 };

inline constexpr std::uint32_t kNf4BlockSize = 64;
inline constexpr std::uint32_t kNf4ScalesPerBlock = 256;  // Scales that share one of the second quantization.
inline constexpr std::uint32_t kGroupSizeMultiple = 32;
inline constexpr std::uint32_t kGroupSizeMax = 65'536;  // Stands for one group however many inputs there are.

struct WeightFormat {
  WeightKind kind = WeightKind::kInt8;
  std::uint32_t bits = 8;        // Of a code; 32 for f32.
  std::uint32_t group_size = 0;  // Inputs that share a scale; 0 where all of an output do. The last may be smaller.
  bool ordered = false;          // Groups are of inputs in an order that the file gives, of kGrouped alone.

  static WeightFormat Float() { return {WeightKind::kFloat, 32, 0, false}; }
  static WeightFormat Int8() { return {}; }
  static WeightFormat Gptq(std::uint32_t bits, std::uint32_t group_size, bool ordered = false) {
    return {WeightKind::kGrouped, bits, group_size, ordered};
  }
  static WeightFormat Nf4() { return {WeightKind::kNf4, 4, kNf4BlockSize, false}; }

  std::uint64_t GroupCount(std::uint64_t input_count) const { return (input_count + group_size - 1) / group_size; }
  friend bool operator==(const WeightFormat&, const WeightFormat&) = default;
};

// "none", "int8", "gptq4", "gptq3" or "nf4".
std::string_view WeightFormatName(const WeightFormat& format);
// The format of that name; `group_size` and `ordered` count for gptq4 and gptq3 alone. Nothing where there is no such
// name or group size.
std::optional<WeightFormat> WeightFormatFromName(std::string_view name, std::uint32_t group_size, bool ordered);
// kInvalidArgument where no such format is stored.
Status ValidateWeightFormat(const WeightFormat& format);

}  // namespace foreshore
