// The dot product on ARM64 with the dot product extension (SDOT). Its logic is tested under SIMDe, and compiled for
// aarch64 under QEMU (scripts/test_arm64.sh). It has not yet been run on a real ARM processor.
#include "index/kernels/dot_int8.h"
#include "index/kernels/instruction_set.h"

#if defined(FORESHORE_KERNELS_WITH_SIMDE)
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/arm/neon.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(FORESHORE_KERNELS_WITH_SIMDE) || defined(__aarch64__)
namespace foreshore {

// SDOT multiplies signed by signed and adds four products in 32 bits: exact for every pair of codes.
#if defined(__clang__)
FORESHORE_KERNEL_TARGET("dotprod")
#else
FORESHORE_KERNEL_TARGET("arch=armv8.2-a+dotprod")
#endif
std::int32_t FORESHORE_KERNEL_NAME(DotInt8NeonDot)(const std::int8_t* a, const std::int8_t* b, std::size_t dimension) {
  // Two sums, so that one SDOT need not wait for the one before.
  int32x4_t sum_even = vdupq_n_s32(0);
  int32x4_t sum_odd = vdupq_n_s32(0);
  std::size_t i = 0;
  for (; i + 32 <= dimension; i += 32) {
    sum_even = vdotq_s32(sum_even, vld1q_s8(a + i), vld1q_s8(b + i));
    sum_odd = vdotq_s32(sum_odd, vld1q_s8(a + i + 16), vld1q_s8(b + i + 16));
  }
  if (i + 16 <= dimension) {
    sum_even = vdotq_s32(sum_even, vld1q_s8(a + i), vld1q_s8(b + i));
    i += 16;
  }
  std::int32_t total = vaddvq_s32(vaddq_s32(sum_even, sum_odd));
  for (; i < dimension; ++i) total += static_cast<std::int32_t>(a[i]) * b[i];
  return total;
}

#if defined(__clang__)
FORESHORE_KERNEL_TARGET("dotprod")
#else
FORESHORE_KERNEL_TARGET("arch=armv8.2-a+dotprod")
#endif
void FORESHORE_KERNEL_NAME(DotCodesOfFourNeonDot)(const std::int8_t* query, const std::int8_t* const rows[4],
                                                  const std::int32_t /*row_sums*/[4], std::size_t dimension,
                                                  std::int32_t sums[4]) {
  // From kFirstBytes + 16 - n on, a mask of the first n bytes.
  static constexpr std::int8_t kFirstBytes[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
  int32x4_t lanes[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  for (std::size_t i = 0; i < dimension; i += 16) {
    int8x16_t q = vld1q_s8(query + i);
    // Zeros of the query let nothing through that stands behind the rows.
    if (i + 16 > dimension) q = vandq_s8(q, vld1q_s8(kFirstBytes + 16 - (dimension - i)));
    for (int row = 0; row < 4; ++row) lanes[row] = vdotq_s32(lanes[row], q, vld1q_s8(rows[row] + i));
  }
  for (int row = 0; row < 4; ++row) sums[row] = vaddvq_s32(lanes[row]);
}

}  // namespace foreshore
#endif
