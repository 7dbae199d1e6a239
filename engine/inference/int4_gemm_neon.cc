// ARM64 with the dot product extension: SDOT multiplies four signed codes by four levels, which are at most 127 and so
// signed too, into each of four 32-bit lanes.
//
// A tile is 8 rows by 8 channels: 16 accumulators, 2 weight vectors, 2 vectors of four rows' codes, of which SDOT by
// element takes one row at a time.
//
// Checked bit for bit against the scalar kernel through SIMDe (FORESHORE_KERNELS_ON_SIMDE, tests only). Its speed on
// ARM hardware has not been measured.
#include <cstring>

#include "engine/inference/gemm_row_tiles.h"
#include "engine/inference/int4_gemm.h"

#if defined(__aarch64__) || defined(FORESHORE_KERNELS_ON_SIMDE)

#ifdef FORESHORE_KERNELS_ON_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/arm/neon.h>
#define FORESHORE_NEON_DOT
#define FORESHORE_KERNEL_NAME Int4GemmNeonDotOnSimde
#else
#include <arm_neon.h>
#define FORESHORE_NEON_DOT [[gnu::target("arch=armv8.2-a+dotprod")]]
#define FORESHORE_KERNEL_NAME Int4GemmNeonDot
#endif

namespace foreshore {
namespace {

constexpr std::size_t kRows = 8;
constexpr std::size_t kColumns = 8;

// Row `Row` of 4 against 8 channels.
template <int Row>
FORESHORE_NEON_DOT inline __attribute__((always_inline)) void StepRow(int32x4_t (&sum)[2], const int8x16_t (&weight)[2],
                                                                      int8x16_t codes) {
  sum[0] = vdotq_laneq_s32(sum[0], weight[0], codes, Row);
  sum[1] = vdotq_laneq_s32(sum[1], weight[1], codes, Row);
}

FORESHORE_NEON_DOT inline __attribute__((always_inline)) void StepRows(const std::int8_t* rows,
                                                                       const int8x16_t (&weight)[2],
                                                                       int32x4_t (&sum)[kRows][2]) {
  const int8x16_t codes0 = vld1q_s8(rows);
  const int8x16_t codes1 = vld1q_s8(rows + 16);
  StepRow<0>(sum[0], weight, codes0);
  StepRow<1>(sum[1], weight, codes0);
  StepRow<2>(sum[2], weight, codes0);
  StepRow<3>(sum[3], weight, codes0);
  StepRow<0>(sum[4], weight, codes1);
  StepRow<1>(sum[5], weight, codes1);
  StepRow<2>(sum[6], weight, codes1);
  StepRow<3>(sum[7], weight, codes1);
}

template <bool Lookup>
FORESHORE_NEON_DOT void MultiplyTile(const std::int8_t* rows, std::size_t row_count, std::size_t depth,
                                     const std::int32_t* code_sums, const std::uint8_t* codes,
                                     const std::uint8_t* zeros, const std::uint8_t* level_table, std::int32_t* sums) {
  int32x4_t sum[kRows][2];
  for (std::size_t row = 0; row < kRows; ++row) sum[row][0] = sum[row][1] = vdupq_n_s32(0);
  const uint8x16_t mask = vdupq_n_u8(15);
  uint8x16_t levels = vdupq_n_u8(0);
  if constexpr (Lookup) levels = vld1q_u8(level_table);
  for (std::size_t k = 0; k < depth; k += 8) {
    const uint8x16_t both[2] = {vld1q_u8(codes), vld1q_u8(codes + 16)};
    uint8x16_t low[2] = {vandq_u8(both[0], mask), vandq_u8(both[1], mask)};
    uint8x16_t high[2] = {vshrq_n_u8(both[0], 4), vshrq_n_u8(both[1], 4)};
    if constexpr (Lookup) {
      low[0] = vqtbl1q_u8(levels, low[0]);
      low[1] = vqtbl1q_u8(levels, low[1]);
      high[0] = vqtbl1q_u8(levels, high[0]);
      high[1] = vqtbl1q_u8(levels, high[1]);
    }
    const int8x16_t weight0[2] = {vreinterpretq_s8_u8(low[0]), vreinterpretq_s8_u8(low[1])};
    const int8x16_t weight1[2] = {vreinterpretq_s8_u8(high[0]), vreinterpretq_s8_u8(high[1])};
    StepRows(rows, weight0, sum);
    StepRows(rows + kRows * kInt8DepthStep, weight1, sum);
    rows += 2 * kRows * kInt8DepthStep;
    codes += kInt4PanelBytesPerStep;
  }
  const uint16x8_t wide = vmovl_u8(vld1_u8(zeros));
  const int32x4_t zero0 = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(wide)));
  const int32x4_t zero1 = vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(wide)));
  for (std::size_t row = 0; row < kRows && row < row_count; ++row) {
    const int32x4_t code_sum = vdupq_n_s32(code_sums[row]);
    vst1q_s32(sums + row * kInt8PanelColumns, vmlsq_s32(sum[row][0], zero0, code_sum));
    vst1q_s32(sums + row * kInt8PanelColumns + 4, vmlsq_s32(sum[row][1], zero1, code_sum));
  }
}

template <bool Lookup>
void Multiply(const void* packed, std::size_t row_count, std::size_t depth, Int4Group group,
              const std::int32_t* code_sums, const Int4Panel& panel, std::int32_t* sums) {
  for (std::size_t column = 0; column < kInt8PanelColumns; column += kColumns) {
    const std::int8_t* rows = static_cast<const std::int8_t*>(packed) + group.first * kRows;
    for (std::size_t row = 0; row < row_count; row += kRows, rows += kRows * depth) {
      MultiplyTile<Lookup>(rows, row_count - row, group.depth, code_sums + row, panel.codes + column * 4,
                           panel.zeros + column, panel.levels, sums + row * kInt8PanelColumns + column);
    }
  }
}

void MultiplyGroup(const void* packed, std::size_t row_count, std::size_t depth, Int4Group group,
                   const std::int32_t* code_sums, const Int4Panel& panel, std::int32_t* sums) {
  (panel.levels == nullptr ? Multiply<false> : Multiply<true>)(packed, row_count, depth, group, code_sums, panel, sums);
}

}  // namespace

const Int4Gemm& FORESHORE_KERNEL_NAME() {
  static constexpr Int4Gemm kKernel{CpuLevel::kNeonDot, kRows, PackRowTiles<kRows>, MultiplyGroup, nullptr};
  return kKernel;
}

}  // namespace foreshore
#endif
