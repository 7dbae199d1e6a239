// A named tensor as it is stored, hashed, synced and shared between model versions: the canonical form.
//
// Invariant: bytes.size() == ByteCount(type, shape), values little-endian, row-major (last dimension innermost).
// Threads: values; no sharing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

// Stored in model manifests: never renumber.
enum class TensorType : std::uint8_t { kF32 = 1, kF16 = 2, kI8 = 3, kU8 = 4, kI32 = 5, kI64 = 6, kBF16 = 7 };

std::string_view TensorTypeName(TensorType type);  // "f32" …
std::optional<TensorType> TensorTypeFromName(std::string_view name);
std::size_t TensorTypeBytes(TensorType type);

// Limits of design section 8: at most 8 dimensions; a product that would overflow is refused.
inline constexpr std::size_t kTensorRankMax = 8;
inline constexpr std::size_t kTensorsPerModelMax = 65'536;

// The size in bytes of a tensor, or kLimit where the rank or the product is too large.
Result<std::uint64_t> TensorByteCount(TensorType type, const std::vector<std::uint64_t>& shape);

// Borrowed: `bytes` belongs to whoever made it, usually a mapped file.
struct TensorView {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<std::uint64_t> shape;
  Bytes bytes;
};

// Owned.
struct Tensor {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<std::uint64_t> shape;
  ByteString bytes;

  TensorView view() const { return {name, type, shape, bytes}; }
};

}  // namespace foreshore
