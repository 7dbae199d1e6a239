// ARM64 with the dot product extension: SDOT multiplies four signed codes by four signed weights into each of four
// 32-bit lanes, which is exactly the panel's order.
//
// A tile is 8 rows by 8 channels: 16 accumulators, 2 weight vectors, 2 vectors of four rows' codes, of which SDOT by
// element takes one row at a time.
//
// Checked bit for bit against the scalar kernel through SIMDe (FORESHORE_KERNELS_ON_SIMDE, tests only) and under
// emulation. Its speed on ARM hardware has not been measured.
#include <cstring>

#include "engine/inference/gemm_row_tiles.h"
#include "engine/inference/int8_gemm.h"

#if defined(__aarch64__) || defined(FORESHORE_KERNELS_ON_SIMDE)

#ifdef FORESHORE_KERNELS_ON_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/arm/neon.h>
#define FORESHORE_NEON_DOT
#define FORESHORE_KERNEL_NAME Int8GemmNeonDotOnSimde
#else
#include <arm_neon.h>
#define FORESHORE_NEON_DOT [[gnu::target("arch=armv8.2-a+dotprod")]]
#define FORESHORE_KERNEL_NAME Int8GemmNeonDot
#endif

namespace foreshore {
namespace {

constexpr std::size_t kRows = 8;
constexpr std::size_t kColumns = 8;

// Row `Row` of 4 against 8 channels.
template <int Row>
FORESHORE_NEON_DOT inline __attribute__((always_inline)) void StepRow(int32x4_t (&sum)[2], int8x16_t weight0,
                                                                      int8x16_t weight1, int8x16_t codes) {
  sum[0] = vdotq_laneq_s32(sum[0], weight0, codes, Row);
  sum[1] = vdotq_laneq_s32(sum[1], weight1, codes, Row);
}

FORESHORE_NEON_DOT void MultiplyGroup(const std::int8_t* rows, std::size_t row_count, std::size_t step_count,
                                      const std::int8_t* strip, std::int32_t* sums) {
  int32x4_t sum[kRows][2];
  for (std::size_t row = 0; row < kRows; ++row) sum[row][0] = sum[row][1] = vdupq_n_s32(0);
  for (std::size_t step = 0; step < step_count; ++step) {
    const int8x16_t weight0 = vld1q_s8(strip);
    const int8x16_t weight1 = vld1q_s8(strip + 16);
    const int8x16_t codes0 = vld1q_s8(rows);
    const int8x16_t codes1 = vld1q_s8(rows + 16);
    StepRow<0>(sum[0], weight0, weight1, codes0);
    StepRow<1>(sum[1], weight0, weight1, codes0);
    StepRow<2>(sum[2], weight0, weight1, codes0);
    StepRow<3>(sum[3], weight0, weight1, codes0);
    StepRow<0>(sum[4], weight0, weight1, codes1);
    StepRow<1>(sum[5], weight0, weight1, codes1);
    StepRow<2>(sum[6], weight0, weight1, codes1);
    StepRow<3>(sum[7], weight0, weight1, codes1);
    strip += kInt8PanelColumns * kInt8DepthStep;
    rows += kRows * kInt8DepthStep;
  }
  for (std::size_t row = 0; row < kRows && row < row_count; ++row) {
    vst1q_s32(sums + row * kInt8PanelColumns, sum[row][0]);
    vst1q_s32(sums + row * kInt8PanelColumns + 4, sum[row][1]);
  }
}

void MultiplyPanel(const void* packed, std::size_t row_count, std::size_t depth, const Int8Panel& panel,
                   void* /*workspace*/, std::int32_t* sums) {
  const std::size_t step_count = depth / kInt8DepthStep;
  for (std::size_t column = 0; column < panel.column_count; column += kColumns) {
    const auto* rows = static_cast<const std::int8_t*>(packed);
    for (std::size_t row = 0; row < row_count; row += kRows, rows += kRows * depth) {
      MultiplyGroup(rows, row_count - row, step_count, panel.codes + column * kInt8DepthStep,
                    sums + row * kInt8PanelColumns + column);
    }
  }
}

}  // namespace

const Int8Gemm& FORESHORE_KERNEL_NAME() {
  static constexpr Int8Gemm kKernel{CpuLevel::kNeonDot, kRows, 1, 0, PackRowTiles<kRows>, MultiplyPanel};
  return kKernel;
}

}  // namespace foreshore
#endif
