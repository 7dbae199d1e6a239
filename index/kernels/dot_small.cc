#include "index/kernels/dot_small.h"

#include <bit>
#include <cstring>

namespace foreshore {

void DotNibblesOfFourScalar(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                            std::int32_t sums[4]) {
  for (int row = 0; row < 4; ++row) {
    std::int32_t sum = 0;
    for (std::size_t j = 0; j < byte_count; ++j) {
      const std::int8_t* pair = query + j / kNibbleBlockBytes * (2 * kNibbleBlockBytes) + j % kNibbleBlockBytes;
      sum += pair[0] * (rows[row][j] & 15) + pair[kNibbleBlockBytes] * (rows[row][j] >> 4);
    }
    sums[row] = sum;
  }
}

void DotBitsOfFourScalar(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                         std::int32_t sums[4]) {
  constexpr std::int32_t kWeights[kBitPlanes] = {1, 2, 4, -8};
  for (int row = 0; row < 4; ++row) {
    std::int32_t sum = 0;
    for (std::size_t first = 0; first < byte_count; first += kBitBlockBytes) {
      for (std::size_t plane = 0; plane < kBitPlanes; ++plane) {
        std::uint64_t of_row[2];
        std::uint64_t of_query[2];
        std::memcpy(of_row, rows[row] + first, sizeof(of_row));
        std::memcpy(of_query, query + first * kBitPlanes + plane * kBitBlockBytes, sizeof(of_query));
        const int count = std::popcount(of_row[0] & of_query[0]) + std::popcount(of_row[1] & of_query[1]);
        sum += kWeights[plane] * count;
      }
    }
    sums[row] = sum;
  }
}

DotSmallOfFour DotNibblesOfFourFor(CpuLevel level) {
  switch (level) {
    case CpuLevel::kScalar: return &DotNibblesOfFourScalar;
#if defined(__x86_64__)
    case CpuLevel::kAvx2: return &DotNibblesOfFourAvx2;
    case CpuLevel::kAmxInt8:  // Its tiles are for products of matrices.
    case CpuLevel::kAvx512Vnni: return &DotNibblesOfFourAvx512Vnni;
#elif defined(__aarch64__)
    case CpuLevel::kNeonDot: return &DotNibblesOfFourNeonDot;
#endif
    default: return nullptr;
  }
}

DotSmallOfFour DotBitsOfFourFor(CpuLevel level) {
  switch (level) {
    case CpuLevel::kScalar: return &DotBitsOfFourScalar;
#if defined(__x86_64__)
    case CpuLevel::kAvx2: return &DotBitsOfFourAvx2;
    case CpuLevel::kAmxInt8:  // Its tiles are for products of matrices.
    case CpuLevel::kAvx512Vnni: return &DotBitsOfFourAvx512Vnni;
#elif defined(__aarch64__)
    case CpuLevel::kNeonDot: return &DotBitsOfFourNeonDot;
#endif
    default: return nullptr;
  }
}

DotSmallOfFour BestDotNibblesOfFour() {
  static const DotSmallOfFour best = DotNibblesOfFourFor(DetectCpuLevel());
  return best;
}

DotSmallOfFour BestDotBitsOfFour() {
  static const DotSmallOfFour best = DotBitsOfFourFor(DetectCpuLevel());
  return best;
}

}  // namespace foreshore
