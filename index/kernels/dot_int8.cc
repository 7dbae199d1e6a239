#include "index/kernels/dot_int8.h"

namespace foreshore {

std::int32_t DotInt8Scalar(const std::int8_t* a, const std::int8_t* b, std::size_t dimension) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < dimension; ++i) sum += static_cast<std::int32_t>(a[i]) * b[i];
  return sum;
}

void DotCodesOfFourScalar(const std::int8_t* query, const std::int8_t* const rows[4],
                          const std::int32_t /*row_sums*/[4], std::size_t dimension, std::int32_t sums[4]) {
  for (int row = 0; row < 4; ++row) sums[row] = DotInt8Scalar(query, rows[row], dimension);
}

DotInt8 DotInt8For(CpuLevel level) {
  switch (level) {
    case CpuLevel::kScalar: return &DotInt8Scalar;
#if defined(__x86_64__)
    case CpuLevel::kAvx2: return &DotInt8Avx2;
    case CpuLevel::kAmxInt8:  // Its tiles are for products of matrices.
    case CpuLevel::kAvx512Vnni: return &DotInt8Avx512Vnni;
#elif defined(__aarch64__)
    case CpuLevel::kNeonDot: return &DotInt8NeonDot;
#endif
    default: return nullptr;
  }
}

DotInt8 BestDotInt8() {
  static const DotInt8 best = DotInt8For(DetectCpuLevel());
  return best;
}

DotCodesOfFour DotCodesOfFourFor(CpuLevel level) {
  switch (level) {
    case CpuLevel::kScalar: return &DotCodesOfFourScalar;
#if defined(__x86_64__)
    case CpuLevel::kAvx2: return &DotCodesOfFourAvx2;
    case CpuLevel::kAmxInt8:  // Its tiles are for products of matrices.
    case CpuLevel::kAvx512Vnni: return &DotCodesOfFourAvx512Vnni;
#elif defined(__aarch64__)
    case CpuLevel::kNeonDot: return &DotCodesOfFourNeonDot;
#endif
    default: return nullptr;
  }
}

DotCodesOfFour BestDotCodesOfFour() {
  static const DotCodesOfFour best = DotCodesOfFourFor(DetectCpuLevel());
  return best;
}

}  // namespace foreshore
