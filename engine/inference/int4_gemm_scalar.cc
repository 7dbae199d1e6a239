// The specification: what every other kernel must equal, integer for integer.
#include <cstring>

#include "engine/inference/int4_gemm.h"

namespace foreshore {
namespace {

void PackRows(const std::int8_t* codes, std::size_t row_count, std::size_t depth, void* packed) {
  std::memcpy(packed, codes, row_count * depth);
}

void MultiplyGroup(const void* packed, std::size_t row_count, std::size_t depth, Int4Group group,
                   const std::int32_t* /*code_sums*/, const Int4Panel& panel, std::int32_t* sums) {
  for (std::size_t row = 0; row < row_count; ++row) {
    const auto* codes = static_cast<const std::int8_t*>(packed) + row * depth + group.first;
    for (std::size_t column = 0; column < kInt8PanelColumns; ++column) {
      std::int32_t sum = 0;
      for (std::size_t k = 0; k < group.depth; ++k) {
        const unsigned both = panel.codes[(k / 8 * kInt8PanelColumns + column) * 4 + k % 4];
        const unsigned code = k % 8 < 4 ? both & 15U : both >> 4;
        const std::int32_t level = panel.levels == nullptr ? static_cast<std::int32_t>(code) : panel.levels[code];
        sum += static_cast<std::int32_t>(codes[k]) * (level - panel.zeros[column]);
      }
      sums[row * kInt8PanelColumns + column] = sum;
    }
  }
}

}  // namespace

const Int4Gemm& Int4GemmScalar() {
  static constexpr Int4Gemm kKernel{CpuLevel::kScalar, 1, PackRows, MultiplyGroup, nullptr};
  return kKernel;
}

}  // namespace foreshore
