// Reader of GGUF files, versions 2 and 3, little-endian: key-values, then tensor infos, then aligned tensors.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
//   magic "GGUF", u32 version, u64 tensor_count, u64 key_count
//   key_count times     string key, u32 type, value; string: u64 length and bytes; array: u32 type, u64 count, values
//   tensor_count times  string name, u32 rank, rank × u64 dimension (innermost first), u32 type, u64 offset
//   padding to general.alignment (32 where it is absent), then tensors, each aligned and right behind the one before
//
// Everything is bounded before it is used, and nothing is copied: a value is the bytes that it lies in.
//
// Lifetime: views point into the bytes that were given. Threads: pure functions; values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/inference/ggml_types.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

inline constexpr std::size_t kGgufRankMax = 4;  // As the format says.
inline constexpr std::size_t kGgufArrayDepthMax = 4;
inline constexpr std::uint64_t kGgufAlignmentMax = 65'536;

enum class GgufValueType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

struct GgufValue {
  GgufValueType type = GgufValueType::kU8;
  Bytes bytes;  // A number, a string's text, or an array's elements as they lie in the file.
  GgufValueType element_type = GgufValueType::kU8;  // Of an array.
  std::uint64_t count = 0;                          // Of an array.
};

struct GgufTensor {
  std::string name;
  std::uint32_t type_id = 0;
  const GgmlType* type = nullptr;    // Null for a number that names no type.
  std::vector<std::uint64_t> shape;  // Outermost first, other than in the file.
  Bytes bytes;                       // Empty where `type` is null.
};

struct GgufFile {
  std::uint32_t version = 0;
  std::unordered_map<std::string_view, GgufValue> values;
  std::vector<GgufTensor> tensors;  // In the order of their bytes.

  // The value of that key, or nothing where it is absent or of another kind. Any integer that is not negative, f32 or
  // f64, an array of strings or of integers that are not negative.
  std::optional<std::uint64_t> Unsigned(std::string_view key) const;
  std::optional<double> Number(std::string_view key) const;
  std::optional<bool> Bool(std::string_view key) const;
  std::optional<std::string_view> String(std::string_view key) const;
  std::optional<std::vector<std::string_view>> Strings(std::string_view key) const;
  std::optional<std::vector<std::uint64_t>> UnsignedArray(std::string_view key) const;
};

// `name` is what messages call the file. Types of tensors that cannot be dequantized are no error here; where they are
// known their place is checked all the same.
//
// kUnsupported for another version or a big-endian file; kLimit above the limits for models (safetensors.h) and those
// here; kCorruption for anything else: a length beyond the file, a key or name twice, an unknown type of value, a
// misaligned, overlapping or empty tensor, a row that is not whole blocks.
Result<GgufFile> ReadGguf(std::string_view name, Bytes bytes);

}  // namespace foreshore
