#include "engine/inference/tensor.h"

#include <array>
#include <limits>
#include <string_view>

namespace foreshore {

namespace {

struct TypeRow {
  TensorType type;
  std::string_view name;
  std::size_t size_bytes;
};

constexpr std::array<TypeRow, 7> kTypes{{{TensorType::kF32, "f32", 4},
                                         {TensorType::kF16, "f16", 2},
                                         {TensorType::kI8, "i8", 1},
                                         {TensorType::kU8, "u8", 1},
                                         {TensorType::kI32, "i32", 4},
                                         {TensorType::kI64, "i64", 8},
                                         {TensorType::kBF16, "bf16", 2}}};

const TypeRow* FindType(TensorType type) {
  for (const TypeRow& row : kTypes) {
    if (row.type == type) return &row;
  }
  return nullptr;
}

}  // namespace

std::string_view TensorTypeName(TensorType type) {
  const TypeRow* row = FindType(type);
  return row != nullptr ? row->name : "unknown";
}

std::optional<TensorType> TensorTypeFromName(std::string_view name) {
  for (const TypeRow& row : kTypes) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

std::size_t TensorTypeBytes(TensorType type) {
  const TypeRow* row = FindType(type);
  return row != nullptr ? row->size_bytes : 0;
}

Result<std::uint64_t> TensorByteCount(TensorType type, const std::vector<std::uint64_t>& shape) {
  const std::uint64_t element_bytes = TensorTypeBytes(type);
  if (element_bytes == 0) {
    return Status::InvalidArgument("tensor type " + std::to_string(static_cast<int>(type)) + " is unknown");
  }
  if (shape.size() > kTensorRankMax) {
    return Status::Limit("tensor has " + std::to_string(shape.size()) + " dimensions, at most " +
                         std::to_string(kTensorRankMax) + " are allowed");
  }
  // Zero dimensions are skipped here, so that [0, 2^63, 2^63] is refused like any other product that overflows.
  std::uint64_t product = element_bytes;
  bool has_zero = false;
  for (const std::uint64_t dimension : shape) {
    if (dimension == 0) {
      has_zero = true;
      continue;
    }
    // Half of the range, so that sums of a size and an offset cannot wrap either.
    if (dimension > (std::numeric_limits<std::uint64_t>::max() / 2) / product) {
      return Status::Limit("tensor dimensions multiply to more than 2^63 bytes");
    }
    product *= dimension;
  }
  return has_zero ? 0 : product;
}

}  // namespace foreshore
