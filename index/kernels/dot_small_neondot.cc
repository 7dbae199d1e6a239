// Codes of 4 bits and of 1 bit on ARM64 with the dot product extension (SDOT). Tested under SIMDe, and under QEMU where
// it is cross-compiled; not yet on a real ARM processor.
#include "index/kernels/dot_small.h"
#include "index/kernels/instruction_set.h"

#if defined(FORESHORE_KERNELS_WITH_SIMDE)
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/arm/neon.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(FORESHORE_KERNELS_WITH_SIMDE) || defined(__aarch64__)
namespace foreshore {

// Codes of 0..15 are the same signed and unsigned, so that SDOT takes them.
#if defined(__clang__)
FORESHORE_KERNEL_TARGET("dotprod")
#else
FORESHORE_KERNEL_TARGET("arch=armv8.2-a+dotprod")
#endif
void FORESHORE_KERNEL_NAME(DotNibblesOfFourNeonDot)(const std::int8_t* query, const std::uint8_t* const rows[4],
                                                    std::size_t byte_count, std::int32_t sums[4]) {
  int32x4_t lanes[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  for (std::size_t block = 0; block < byte_count; block += kNibbleBlockBytes) {
    for (std::size_t i = block; i < block + kNibbleBlockBytes && i < byte_count; i += 16) {
      const int8x16_t query_low = vld1q_s8(query + block + i);  // 2 * block + (i - block)
      const int8x16_t query_high = vld1q_s8(query + block + i + kNibbleBlockBytes);
      for (int row = 0; row < 4; ++row) {
        const uint8x16_t codes = vld1q_u8(rows[row] + i);
        const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(codes, vdupq_n_u8(15)));
        const int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(codes, 4));
        lanes[row] = vdotq_s32(vdotq_s32(lanes[row], low, query_low), high, query_high);
      }
    }
  }
  for (int row = 0; row < 4; ++row) sums[row] = vaddvq_s32(lanes[row]);
}

#if defined(__clang__)
FORESHORE_KERNEL_TARGET("dotprod")
#else
FORESHORE_KERNEL_TARGET("arch=armv8.2-a+dotprod")
#endif
void FORESHORE_KERNEL_NAME(DotBitsOfFourNeonDot)(const std::int8_t* query, const std::uint8_t* const rows[4],
                                                 std::size_t byte_count, std::int32_t sums[4]) {
  const int8x16_t weights[kBitPlanes] = {vdupq_n_s8(1), vdupq_n_s8(2), vdupq_n_s8(4), vdupq_n_s8(-8)};
  int32x4_t lanes[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  for (std::size_t i = 0; i < byte_count; i += kBitBlockBytes) {
    for (std::size_t plane = 0; plane < kBitPlanes; ++plane) {
      const uint8x16_t of_query = vreinterpretq_u8_s8(vld1q_s8(query + kBitPlanes * i + plane * kBitBlockBytes));
      for (int row = 0; row < 4; ++row) {
        const uint8x16_t counts = vcntq_u8(vandq_u8(vld1q_u8(rows[row] + i), of_query));
        lanes[row] = vdotq_s32(lanes[row], vreinterpretq_s8_u8(counts), weights[plane]);
      }
    }
  }
  for (int row = 0; row < 4; ++row) sums[row] = vaddvq_s32(lanes[row]);
}

}  // namespace foreshore
#endif
