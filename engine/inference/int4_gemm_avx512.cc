// AVX-512 VNNI: VPDPBUSD takes levels, which are unsigned, by activations, which are signed, as they are. Exact,
// without saturation: it adds four products of at most 127 · 127 to a 32-bit lane. Zero points come off at the end, by
// the sums of the activations.
//
// A tile is 6 rows by 64 channels: 24 accumulators, 4 weight vectors, 1 broadcast, the mask and the levels.
#include <cstring>

#include "engine/inference/gemm_row_tiles.h"
#include "engine/inference/int4_gemm.h"

#if defined(__x86_64__) || defined(FORESHORE_KERNELS_ON_SIMDE)

#ifdef FORESHORE_KERNELS_ON_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#define FORESHORE_AVX512
#define FORESHORE_KERNEL_NAME Int4GemmAvx512VnniOnSimde
#else
#include <immintrin.h>
#define FORESHORE_AVX512 [[gnu::target("avx512f,avx512bw,avx512vl,avx512vnni")]]
#define FORESHORE_KERNEL_NAME Int4GemmAvx512Vnni
#endif

namespace foreshore {
namespace {

constexpr std::size_t kRows = 6;
constexpr std::size_t kVectors = kInt8PanelColumns / 16;

// sum += Σ of four unsigned levels times four signed codes, in each of 16 lanes.
FORESHORE_AVX512 inline __attribute__((always_inline)) void DotAdd(__m512i& sum, __m512i levels, __m512i codes) {
#ifdef FORESHORE_KERNELS_ON_SIMDE
  sum = simde_mm512_dpbusd_epi32(sum, levels, codes);
#else
  // GCC 12 spills the accumulators around _mm512_dpbusd_epi32; a tied operand keeps them in registers.
  asm("vpdpbusd %[codes], %[levels], %[sum]" : [sum] "+v"(sum) : [levels] "v"(levels), [codes] "v"(codes));
#endif
}

template <std::size_t Rows>
FORESHORE_AVX512 inline __attribute__((always_inline)) void StepRows(const std::int8_t* rows,
                                                                     const __m512i (&weight)[kVectors],
                                                                     __m512i (&sum)[Rows][kVectors]) {
#pragma GCC unroll 6
  for (std::size_t row = 0; row < Rows; ++row) {
    std::int32_t four;
    std::memcpy(&four, rows + row * kInt8DepthStep, sizeof(four));
    const __m512i codes = _mm512_set1_epi32(four);
#pragma GCC unroll 4
    for (std::size_t vector = 0; vector < kVectors; ++vector) DotAdd(sum[row][vector], weight[vector], codes);
  }
}

template <std::size_t Rows, bool Lookup>
FORESHORE_AVX512 void MultiplyRows(const std::int8_t* rows, std::size_t depth, const std::int32_t* code_sums,
                                   const std::int32_t* less_zeros, const Int4Panel& panel, std::int32_t* sums) {
  __m512i sum[Rows][kVectors];
#pragma GCC unroll 4
  for (std::size_t vector = 0; vector < kVectors; ++vector) {
    const __m512i less = _mm512_loadu_si512(less_zeros + vector * 16);
#pragma GCC unroll 6
    for (std::size_t row = 0; row < Rows; ++row) {
      sum[row][vector] = _mm512_mullo_epi32(less, _mm512_set1_epi32(code_sums[row]));
    }
  }
  const __m512i mask = _mm512_set1_epi8(15);
  __m512i levels = _mm512_setzero_si512();
  if constexpr (Lookup) {
    std::uint8_t four_times[64];
    for (std::size_t i = 0; i < sizeof(four_times); i += 16) std::memcpy(four_times + i, panel.levels, 16);
    levels = _mm512_loadu_si512(four_times);
  }
  const std::uint8_t* weights = panel.codes;
  for (std::size_t k = 0; k < depth; k += 8) {
    __m512i weight[kVectors];
#pragma GCC unroll 4
    for (std::size_t vector = 0; vector < kVectors; ++vector) {
      weight[vector] = _mm512_and_si512(_mm512_loadu_si512(weights + vector * 64), mask);
      if constexpr (Lookup) weight[vector] = _mm512_shuffle_epi8(levels, weight[vector]);
    }
    StepRows<Rows>(rows, weight, sum);
#pragma GCC unroll 4
    for (std::size_t vector = 0; vector < kVectors; ++vector) {
      weight[vector] = _mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(weights + vector * 64), 4), mask);
      if constexpr (Lookup) weight[vector] = _mm512_shuffle_epi8(levels, weight[vector]);
    }
    StepRows<Rows>(rows + kRows * kInt8DepthStep, weight, sum);
    rows += 2 * kRows * kInt8DepthStep;
    weights += kInt4PanelBytesPerStep;
  }
#pragma GCC unroll 6
  for (std::size_t row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
    for (std::size_t vector = 0; vector < kVectors; ++vector) {
      _mm512_storeu_si512(sums + row * kInt8PanelColumns + vector * 16, sum[row][vector]);
    }
  }
}

template <bool Lookup>
void Multiply(const void* packed, std::size_t row_count, std::size_t depth, Int4Group group,
              const std::int32_t* code_sums, const Int4Panel& panel, std::int32_t* sums) {
  std::int32_t less_zeros[kInt8PanelColumns];
  for (std::size_t column = 0; column < kInt8PanelColumns; ++column) less_zeros[column] = -panel.zeros[column];
  const std::int8_t* rows = static_cast<const std::int8_t*>(packed) + group.first * kRows;
  for (std::size_t row = 0; row < row_count; row += kRows) {
    switch (row_count - row) {
      case 1: MultiplyRows<1, Lookup>(rows, group.depth, code_sums, less_zeros, panel, sums); break;
      case 2: MultiplyRows<2, Lookup>(rows, group.depth, code_sums, less_zeros, panel, sums); break;
      case 3: MultiplyRows<3, Lookup>(rows, group.depth, code_sums, less_zeros, panel, sums); break;
      case 4: MultiplyRows<4, Lookup>(rows, group.depth, code_sums, less_zeros, panel, sums); break;
      case 5: MultiplyRows<5, Lookup>(rows, group.depth, code_sums, less_zeros, panel, sums); break;
      default: MultiplyRows<6, Lookup>(rows, group.depth, code_sums, less_zeros, panel, sums); break;
    }
    rows += kRows * depth;
    sums += kRows * kInt8PanelColumns;
    code_sums += kRows;
  }
}

void MultiplyGroup(const void* packed, std::size_t row_count, std::size_t depth, Int4Group group,
                   const std::int32_t* code_sums, const Int4Panel& panel, std::int32_t* sums) {
  (panel.levels == nullptr ? Multiply<false> : Multiply<true>)(packed, row_count, depth, group, code_sums, panel, sums);
}

}  // namespace

const Int4Gemm& FORESHORE_KERNEL_NAME() {
  static constexpr Int4Gemm kKernel{CpuLevel::kAvx512Vnni, kRows, PackRowTiles<kRows>, MultiplyGroup, nullptr};
  return kKernel;
}

}  // namespace foreshore
#endif
