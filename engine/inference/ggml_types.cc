// Compiled without contraction: a fused multiply-add would round differently.
#include "engine/inference/ggml_types.h"

#include <algorithm>
#include <array>

#include "engine/inference/float_tensor.h"
#include "storage/base/coding.h"

namespace foreshore {

namespace {

constexpr std::uint32_t kSmallBlock = 32;
constexpr std::uint32_t kSuperBlock = 256;

float Half(const char* source) {
  return HalfToFloat(LoadFixed<std::uint16_t>(source));
}
std::uint8_t Byte(const char* source, std::size_t index) {
  return static_cast<std::uint8_t>(source[index]);
}

void FromF32(const char* block, float* values) {
  *values = LoadFixed<float>(block);
}
void FromF16(const char* block, float* values) {
  *values = Half(block);
}
void FromBF16(const char* block, float* values) {
  *values = BrainToFloat(LoadFixed<std::uint16_t>(block));
}

// f16 scale, then 16 bytes: element i in the low nibble of byte i, element i + 16 in the high one; less 8.
void FromQ4_0(const char* block, float* values) {
  const float scale = Half(block);
  for (std::uint32_t i = 0; i < 16; ++i) {
    values[i] = scale * static_cast<float>((Byte(block + 2, i) & 15) - 8);
    values[i + 16] = scale * static_cast<float>((Byte(block + 2, i) >> 4) - 8);
  }
}

// f16 scale, f16 minimum, nibbles as above.
void FromQ4_1(const char* block, float* values) {
  const float scale = Half(block);
  const float minimum = Half(block + 2);
  for (std::uint32_t i = 0; i < 16; ++i) {
    values[i] = scale * static_cast<float>(Byte(block + 4, i) & 15) + minimum;
    values[i + 16] = scale * static_cast<float>(Byte(block + 4, i) >> 4) + minimum;
  }
}

// The fifth bits of 32 elements, in a u32 from the lowest, then nibbles.
int FiveBits(const char* high, std::uint32_t element) {
  const auto bits = LoadFixed<std::uint32_t>(high);
  const std::uint8_t nibbles = Byte(high + 4, element % 16);
  const int low = element < 16 ? nibbles & 15 : nibbles >> 4;
  return low | static_cast<int>((bits >> element & 1U) << 4);
}
void FromQ5_0(const char* block, float* values) {
  const float scale = Half(block);
  for (std::uint32_t i = 0; i < kSmallBlock; ++i) values[i] = scale * static_cast<float>(FiveBits(block + 2, i) - 16);
}
void FromQ5_1(const char* block, float* values) {
  const float scale = Half(block);
  const float minimum = Half(block + 2);
  for (std::uint32_t i = 0; i < kSmallBlock; ++i) {
    values[i] = scale * static_cast<float>(FiveBits(block + 4, i)) + minimum;
  }
}

void FromQ8_0(const char* block, float* values) {
  const float scale = Half(block);
  for (std::uint32_t i = 0; i < kSmallBlock; ++i) {
    values[i] = scale * static_cast<float>(static_cast<std::int8_t>(block[2 + i]));
  }
}

// Twelve bytes hold eight scales and eight minima of 6 bits: the first four of each in the low bits of bytes 0..3 and
// 4..7; of the other four the low nibbles in bytes 8..11, the high two bits on top of bytes 0..7.
struct ScaleAndMinimum {
  int scale;
  int minimum;
};
ScaleAndMinimum SixBits(const char* packed, std::uint32_t index) {
  if (index < 4) return {Byte(packed, index) & 63, Byte(packed, index + 4) & 63};
  const std::uint8_t low = Byte(packed, index + 4);
  return {(low & 15) | (Byte(packed, index - 4) >> 6 << 4), (low >> 4) | (Byte(packed, index) >> 6 << 4)};
}

// f16 scale of scales, f16 scale of minima, 12 bytes of them; of each 64 elements the first 32 in low nibbles, the
// others in high ones. `high` holds the fifth bits: bit j of byte i is that of element 32·j + i; null where codes
// have 4.
void FromNibbles(const char* block, const char* high, const char* codes, float* values) {
  const float scale_of_scales = Half(block);
  const float scale_of_minima = Half(block + 2);
  for (std::uint32_t part = 0; part < 8; ++part) {
    const ScaleAndMinimum packed = SixBits(block + 4, part);
    const float scale = scale_of_scales * static_cast<float>(packed.scale);
    const float minimum = scale_of_minima * static_cast<float>(packed.minimum);
    for (std::uint32_t i = 0; i < 32; ++i) {
      const std::uint8_t nibbles = Byte(codes, part / 2 * 32 + i);
      int code = part % 2 == 0 ? nibbles & 15 : nibbles >> 4;
      if (high != nullptr) code |= (Byte(high, i) >> part & 1) << 4;
      values[part * 32 + i] = scale * static_cast<float>(code) - minimum;
    }
  }
}
void FromQ4K(const char* block, float* values) {
  FromNibbles(block, nullptr, block + 16, values);
}
void FromQ5K(const char* block, float* values) {
  FromNibbles(block, block + 16, block + 48, values);
}

// 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, f16 scale of scales. Of each 128 elements, element
// 32·j + i has its low nibble in byte 32·(j % 2) + i, the high one where j > 1, and its high bits at 2·j of byte i.
void FromQ6K(const char* block, float* values) {
  const float scale_of_scales = Half(block + 208);
  for (std::uint32_t element = 0; element < kSuperBlock; ++element) {
    const std::uint32_t half = element / 128;
    const std::uint32_t j = element % 128 / 32;
    const std::uint32_t i = element % 32;
    const std::uint8_t nibbles = Byte(block, 64 * half + 32 * (j % 2) + i);
    const int low = j < 2 ? nibbles & 15 : nibbles >> 4;
    const int code = low | (Byte(block + 128, 32 * half + i) >> (2 * j) & 3) << 4;
    const float scale = scale_of_scales * static_cast<float>(static_cast<std::int8_t>(block[192 + element / 16]));
    values[element] = scale * static_cast<float>(code - 32);
  }
}

constexpr std::array<GgmlType, 31> kTypes{
    {{0, "F32", 1, 4, FromF32},         {1, "F16", 1, 2, FromF16},         {2, "Q4_0", 32, 18, FromQ4_0},
     {3, "Q4_1", 32, 20, FromQ4_1},     {6, "Q5_0", 32, 22, FromQ5_0},     {7, "Q5_1", 32, 24, FromQ5_1},
     {8, "Q8_0", 32, 34, FromQ8_0},     {9, "Q8_1", 32, 36, nullptr},      {10, "Q2_K", 256, 84, nullptr},
     {11, "Q3_K", 256, 110, nullptr},   {12, "Q4_K", 256, 144, FromQ4K},   {13, "Q5_K", 256, 176, FromQ5K},
     {14, "Q6_K", 256, 210, FromQ6K},   {15, "Q8_K", 256, 292, nullptr},   {16, "IQ2_XXS", 256, 66, nullptr},
     {17, "IQ2_XS", 256, 74, nullptr},  {18, "IQ3_XXS", 256, 98, nullptr}, {19, "IQ1_S", 256, 50, nullptr},
     {20, "IQ4_NL", 32, 18, nullptr},   {21, "IQ3_S", 256, 110, nullptr},  {22, "IQ2_S", 256, 82, nullptr},
     {23, "IQ4_XS", 256, 136, nullptr}, {24, "I8", 1, 1, nullptr},         {25, "I16", 1, 2, nullptr},
     {26, "I32", 1, 4, nullptr},        {27, "I64", 1, 8, nullptr},        {28, "F64", 1, 8, nullptr},
     {29, "IQ1_M", 256, 56, nullptr},   {30, "BF16", 1, 2, FromBF16},      {34, "TQ1_0", 256, 54, nullptr},
     {35, "TQ2_0", 256, 66, nullptr}}};

}  // namespace

const GgmlType* FindGgmlType(std::uint32_t id) {
  const auto found = std::find_if(kTypes.begin(), kTypes.end(), [&](const GgmlType& type) { return type.id == id; });
  return found == kTypes.end() ? nullptr : &*found;
}

std::string_view ReadableGgmlTypes() {
  return "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K";
}

std::vector<float> DequantizeGgml(const GgmlType& type, Bytes bytes) {
  const std::size_t block_count = bytes.size() / type.block_bytes;
  std::vector<float> values(block_count * type.block_elements);
  for (std::size_t i = 0; i < block_count; ++i) {
    type.dequantize(bytes.data() + i * type.block_bytes, values.data() + i * type.block_elements);
  }
  return values;
}

}  // namespace foreshore
