// The specification: what every other kernel must equal, integer for integer.
#include <cstring>

#include "engine/inference/int8_gemm.h"

namespace foreshore {
namespace {

void PackRows(const std::int8_t* codes, std::size_t row_count, std::size_t depth, void* packed) {
  std::memcpy(packed, codes, row_count * depth);
}

void MultiplyPanel(const void* packed, std::size_t row_count, std::size_t depth, const Int8Panel& panel,
                   void* /*workspace*/, std::int32_t* sums) {
  const auto* codes = static_cast<const std::int8_t*>(packed);
  for (std::size_t row = 0; row < row_count; ++row) {
    for (std::size_t column = 0; column < kInt8PanelColumns; ++column) {
      std::int32_t sum = 0;
      for (std::size_t k = 0; k < depth; ++k) {
        const std::size_t weight =
            (k / kInt8DepthStep * kInt8PanelColumns + column) * kInt8DepthStep + k % kInt8DepthStep;
        sum += static_cast<std::int32_t>(codes[row * depth + k]) * panel.codes[weight];
      }
      sums[row * kInt8PanelColumns + column] = sum;
    }
  }
}

}  // namespace

const Int8Gemm& Int8GemmScalar() {
  static constexpr Int8Gemm kKernel{CpuLevel::kScalar, 1, 1, 0, PackRows, MultiplyPanel};
  return kKernel;
}

}  // namespace foreshore
