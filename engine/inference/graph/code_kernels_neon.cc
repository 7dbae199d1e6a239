// ARM64 with the dot product: SDOT takes signed codes, so rows are shifted by 128 as they are read, and 128 · Σ w is
// added again. Checked on x86-64 through SIMDe (FORESHORE_KERNELS_ON_SIMDE, tests only), and on ARM64 by
// scripts/test_arm64.sh.
#include <algorithm>
#include <cstring>

#include "engine/inference/graph/code_kernels.h"

#if defined(__aarch64__) || defined(FORESHORE_KERNELS_ON_SIMDE)

#ifdef FORESHORE_KERNELS_ON_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/arm/neon.h>
#define FORESHORE_NEON
#define FORESHORE_KERNEL_NAME CodeKernelsNeonOnSimde
#else
#include <arm_neon.h>
#define FORESHORE_NEON [[gnu::target("arch=armv8.2-a+dotprod")]]
#define FORESHORE_KERNEL_NAME CodeKernelsNeon
#endif

namespace foreshore::graph {

#include "engine/inference/graph/code_kernels.inc"

namespace {

template <std::size_t kRows>
FORESHORE_NEON void MultiplyTile(const CodeProduct& product, std::size_t first_row, std::size_t first) {
  int32x4_t sums[kRows][4];
  int32x4_t weight_sums[4];
  for (int q = 0; q < 4; ++q) {
    weight_sums[q] = vdupq_n_s32(0);
    for (std::size_t r = 0; r < kRows; ++r) sums[r][q] = vdupq_n_s32(0);
  }
  const int8x16_t ones = vdupq_n_s8(1);
  const std::int8_t* weights = product.weights + first * product.step_count * kCodeDepthStep;
  const std::uint8_t* rows = product.rows + static_cast<std::ptrdiff_t>(first_row) * product.row_step;
  for (std::size_t step = 0; step < product.step_count; ++step, weights += 64) {
    int8x16_t codes[kRows];
    for (std::size_t r = 0; r < kRows; ++r) {
      std::uint32_t bytes = 0;
      std::memcpy(&bytes, rows + static_cast<std::ptrdiff_t>(r) * product.row_step + step * kCodeDepthStep,
                  sizeof bytes);
      codes[r] = vreinterpretq_s8_u32(vdupq_n_u32(bytes ^ 0x80808080U));
    }
    for (int q = 0; q < 4; ++q) {
      const int8x16_t weight = vld1q_s8(weights + q * 16);
      weight_sums[q] = vdotq_s32(weight_sums[q], weight, ones);
      for (std::size_t r = 0; r < kRows; ++r) sums[r][q] = vdotq_s32(sums[r][q], weight, codes[r]);
    }
  }
  CodeColumns columns = product.columns;
  columns.biases += first;
  columns.factors += first;
  for (std::size_t r = 0; r < kRows; ++r) {
    std::int32_t whole[kCodeBlock];
    for (int q = 0; q < 4; ++q) vst1q_s32(whole + q * 4, vmlaq_n_s32(sums[r][q], weight_sums[q], 128));
    SumsToCodes(whole, std::min(kCodeBlock, product.column_count - first), columns,
                product.out + static_cast<std::ptrdiff_t>(first_row + r) * product.out_step + first);
  }
}

void Multiply(const CodeProduct& product) {
  for (std::size_t first = 0; first < product.column_count; first += kCodeBlock) {
    std::size_t row = 0;
    for (; row + 5 <= product.row_count; row += 5) MultiplyTile<5>(product, row, first);
    for (; row < product.row_count; ++row) MultiplyTile<1>(product, row, first);
  }
}

FORESHORE_NEON void Depthwise(const DepthwiseCodeRow& row) {
  const DepthwiseCodeWeights& weights = *row.weights;
  const auto* codes = reinterpret_cast<const std::int16_t*>(weights.codes.data());
  std::size_t phase = 0;
  for (std::size_t first = 0; first < row.count; first += kCodeBlock) {
    const std::int16_t* block = codes + phase * row.tap_count;
    int32x4_t sums[4];
    for (auto& sum : sums) sum = vdupq_n_s32(0);
    for (std::size_t t = 0; t < row.tap_count; ++t) {
      const uint8x16_t bytes = vld1q_u8(row.taps[t] + first);
      const int16x8_t low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
      const int16x8_t high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes)));
      const int16x8_t low_weights = vld1q_s16(block + t * kCodeBlock);
      const int16x8_t high_weights = vld1q_s16(block + t * kCodeBlock + 8);
      sums[0] = vmlal_s16(sums[0], vget_low_s16(low), vget_low_s16(low_weights));
      sums[1] = vmlal_s16(sums[1], vget_high_s16(low), vget_high_s16(low_weights));
      sums[2] = vmlal_s16(sums[2], vget_low_s16(high), vget_low_s16(high_weights));
      sums[3] = vmlal_s16(sums[3], vget_high_s16(high), vget_high_s16(high_weights));
    }
    std::int32_t whole[kCodeBlock];
    for (int q = 0; q < 4; ++q) vst1q_s32(whole + q * 4, sums[q]);
    SumsToCodes(whole, std::min(kCodeBlock, row.count - first),
                {weights.biases.data() + phase, weights.factors.data() + phase, row.range}, row.out + first);
    phase = phase + kCodeBlock == weights.period ? 0 : phase + kCodeBlock;
  }
}

FORESHORE_NEON void Map(const std::uint8_t* in, std::size_t count, const std::uint8_t* table, std::uint8_t* out) {
  uint8x16x4_t parts[4];
  for (int part = 0; part < 4; ++part) {
    for (int k = 0; k < 4; ++k) parts[part].val[k] = vld1q_u8(table + part * 64 + k * 16);
  }
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    // What is past a part's 64 entries gives 0.
    const uint8x16_t codes = vld1q_u8(in + i);
    uint8x16_t found = vqtbl4q_u8(parts[0], codes);
    for (int part = 1; part < 4; ++part) {
      const uint8x16_t here = vsubq_u8(codes, vdupq_n_u8(static_cast<std::uint8_t>(part * 64)));
      found = vorrq_u8(found, vqtbl4q_u8(parts[part], here));
    }
    vst1q_u8(out + i, found);
  }
  for (; i < count; ++i) out[i] = table[in[i]];
}

}  // namespace

const CodeKernels& FORESHORE_KERNEL_NAME();

const CodeKernels& FORESHORE_KERNEL_NAME() {
  static constexpr CodeKernels kKernels = {CpuLevel::kNeonDot, kCodeBlock,  1,          2,          Multiply,
                                           Depthwise,          AddCodes,    MulCodes,   ScaleCodes, Map,
                                           RaiseCodes,         AddCodeRows, SumsToCodes};
  return kKernels;
}

}  // namespace foreshore::graph
#endif
