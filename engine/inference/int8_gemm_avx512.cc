// AVX-512 VNNI: VPDPBUSD takes one unsigned and one signed operand, so activations are stored shifted by 128 (1..255)
// and 128 · Σ w, which comes with the panel, is taken off at the end. Exact, without saturation: VPDPBUSD adds four
// products of at most 255 · 127 to a 32-bit lane.
//
// A tile is 6 rows by 64 channels: 24 accumulators, 4 weight vectors, 1 broadcast of 32 registers.
//
// Checked bit for bit against the scalar kernel, where there is no AVX-512 through SIMDe (FORESHORE_KERNELS_ON_SIMDE,
// tests only).
#include <cstring>

#include "engine/inference/gemm_row_tiles.h"
#include "engine/inference/int8_gemm.h"

#if defined(__x86_64__) || defined(FORESHORE_KERNELS_ON_SIMDE)

#ifdef FORESHORE_KERNELS_ON_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#define FORESHORE_AVX512
#define FORESHORE_KERNEL_NAME Int8GemmAvx512VnniOnSimde
#else
#include <immintrin.h>
#define FORESHORE_AVX512 [[gnu::target("avx512f,avx512bw,avx512vl,avx512vnni")]]
#define FORESHORE_KERNEL_NAME Int8GemmAvx512Vnni
#endif

namespace foreshore {
namespace {

constexpr std::size_t kRows = 6;
constexpr std::size_t kVectors = kInt8PanelColumns / 16;

// sum += Σ of four unsigned codes times four signed weights, in each of 16 lanes.
FORESHORE_AVX512 inline __attribute__((always_inline)) void DotAdd(__m512i& sum, __m512i codes, __m512i weights) {
#ifdef FORESHORE_KERNELS_ON_SIMDE
  sum = simde_mm512_dpbusd_epi32(sum, codes, weights);
#else
  // GCC 12 spills the accumulators around _mm512_dpbusd_epi32; a tied operand keeps them in registers.
  asm("vpdpbusd %[weights], %[codes], %[sum]" : [sum] "+v"(sum) : [codes] "v"(codes), [weights] "v"(weights));
#endif
}

template <std::size_t Rows>
FORESHORE_AVX512 void MultiplyGroup(const std::uint8_t* rows, std::size_t step_count, const Int8Panel& panel,
                                    std::int32_t* sums) {
  __m512i sum[Rows][kVectors];
#pragma GCC unroll 4
  for (std::size_t vector = 0; vector < kVectors; ++vector) {
    const __m512i column_sum = _mm512_loadu_si512(panel.column_sums + vector * 16);
    const __m512i start = _mm512_mullo_epi32(column_sum, _mm512_set1_epi32(-128));
#pragma GCC unroll 6
    for (std::size_t row = 0; row < Rows; ++row) sum[row][vector] = start;
  }
  const std::int8_t* weights = panel.codes;
  for (std::size_t step = 0; step < step_count; ++step) {
    __m512i weight[kVectors];
#pragma GCC unroll 4
    for (std::size_t vector = 0; vector < kVectors; ++vector)
      weight[vector] = _mm512_loadu_si512(weights + vector * 64);
#pragma GCC unroll 6
    for (std::size_t row = 0; row < Rows; ++row) {
      std::int32_t four;
      std::memcpy(&four, rows + row * kInt8DepthStep, sizeof(four));
      const __m512i codes = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (std::size_t vector = 0; vector < kVectors; ++vector) DotAdd(sum[row][vector], codes, weight[vector]);
    }
    rows += kRows * kInt8DepthStep;
    weights += kInt8PanelColumns * kInt8DepthStep;
  }
#pragma GCC unroll 6
  for (std::size_t row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
    for (std::size_t vector = 0; vector < kVectors; ++vector) {
      _mm512_storeu_si512(sums + row * kInt8PanelColumns + vector * 16, sum[row][vector]);
    }
  }
}

void MultiplyPanel(const void* packed, std::size_t row_count, std::size_t depth, const Int8Panel& panel,
                   void* /*workspace*/, std::int32_t* sums) {
  const auto* rows = static_cast<const std::uint8_t*>(packed);
  const std::size_t step_count = depth / kInt8DepthStep;
  for (std::size_t row = 0; row < row_count; row += kRows) {
    switch (row_count - row) {
      case 1: MultiplyGroup<1>(rows, step_count, panel, sums); break;
      case 2: MultiplyGroup<2>(rows, step_count, panel, sums); break;
      case 3: MultiplyGroup<3>(rows, step_count, panel, sums); break;
      case 4: MultiplyGroup<4>(rows, step_count, panel, sums); break;
      case 5: MultiplyGroup<5>(rows, step_count, panel, sums); break;
      default: MultiplyGroup<6>(rows, step_count, panel, sums); break;
    }
    rows += kRows * depth;
    sums += kRows * kInt8PanelColumns;
  }
}

}  // namespace

const Int8Gemm& FORESHORE_KERNEL_NAME() {
  static constexpr Int8Gemm kKernel{CpuLevel::kAvx512Vnni, kRows, 1, 0, PackRowTiles<kRows, 0x80>, MultiplyPanel};
  return kKernel;
}

}  // namespace foreshore
#endif
