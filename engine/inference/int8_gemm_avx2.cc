// AVX2 has no exact 8-bit dot product (VPMADDUBSW saturates on full codes), so both operands are widened to 16 bits
// for VPMADDWD. That alone is bound by the two multiplier ports; Winograd's inner product (S. Winograd, "A New
// Algorithm for Inner Product", 1968) trades half of the multiplications for additions, which have ports to spare:
//
//   Σ (a_lo + w_hi)(a_hi + w_lo) = Σ a_lo·w_lo + Σ a_hi·w_hi + Σ a_lo·a_hi + Σ w_lo·w_hi
//
// over pairs (k, k + 4). The third sum belongs to the row and is computed once when rows are packed; the fourth
// belongs to the channel and comes with the panel. All of it is integer, so the result is exact: the factors are
// within ±254, a pair's product within 64,516, and the sum of depth/2 of them within 32 bits for depth ≤ 65,536.
// Measured on Zen 4 at 2.75 GHz: 83 G multiply-adds/s in the inner loop, 74 without the trick.
//
// A tile is 4 rows by 8 channels. A step takes eight k: two 64-bit broadcasts per row (four 16-bit codes each)
// against four vectors (two times four channels, low and high k); a channel's sum lies in two neighbouring lanes
// until the end. 8 accumulators, 4 weight vectors, 4 temporaries: all 16 registers. The step of a row is one asm
// statement because GCC 12 spills most of the accumulators around the equivalent intrinsics.
#include <cstring>

#include "engine/inference/int8_gemm.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define FORESHORE_AVX2 [[gnu::target("avx2")]]

namespace foreshore {
namespace {

constexpr std::size_t kRows = 4;
constexpr std::size_t kColumns = 8;
constexpr std::size_t kPanelStepBytes = kInt8PanelColumns * kInt8DepthStep;

// Before the codes of a group: each row's Σ a_lo·a_hi, padded to a cache line.
constexpr std::size_t kGroupHeaderBytes = 64;

std::size_t GroupBytes(std::size_t depth) {
  return kRows * depth * sizeof(std::int16_t) + kGroupHeaderBytes;
}

// packed[group] = {row_sums[4] as 32-bit integers, 48 unused bytes, codes[depth/4][4 rows][4] as 16-bit integers}.
FORESHORE_AVX2 void PackRows(const std::int8_t* codes, std::size_t row_count, std::size_t depth, void* packed) {
  auto* group = static_cast<char*>(packed);
  const std::size_t group_bytes = GroupBytes(depth);
  for (std::size_t first = 0; first < row_count; first += kRows, group += group_bytes) {
    const std::size_t filled = row_count - first < kRows ? row_count - first : kRows;
    if (filled < kRows) std::memset(group, 0, group_bytes);
    for (std::size_t row = 0; row < filled; ++row) {
      const std::int8_t* source = codes + (first + row) * depth;
      auto* target = reinterpret_cast<std::int16_t*>(group + kGroupHeaderBytes) + row * kInt8DepthStep;
      __m128i pair_sum = _mm_setzero_si128();
      for (std::size_t k = 0; k < depth; k += 8) {
        const __m128i wide = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(source + k)));
        const __m128i high = _mm_unpackhi_epi64(wide, _mm_setzero_si128());
        pair_sum = _mm_add_epi32(pair_sum, _mm_madd_epi16(wide, high));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(target), wide);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(target + kRows * kInt8DepthStep), high);
        target += 2 * kRows * kInt8DepthStep;
      }
      const std::int32_t row_sum = _mm_cvtsi128_si32(pair_sum) + _mm_extract_epi32(pair_sum, 1);
      std::memcpy(group + row * sizeof(row_sum), &row_sum, sizeof(row_sum));
    }
  }
}

// One row, eight k: sum0 and sum1 gain (a_lo + high)(a_hi + low) for channels 0..3 and 4..7.
FORESHORE_AVX2 inline __attribute__((always_inline)) void StepRow(const std::int16_t* row, const __m256i (&low)[2],
                                                                  const __m256i (&high)[2], __m256i& sum0,
                                                                  __m256i& sum1) {
  __m256i first_low;
  __m256i first_high;
  __m256i second_low;
  __m256i second_high;
  asm("vpbroadcastq %[row_low], %[second_low]\n\t"
      "vpbroadcastq %[row_high], %[second_high]\n\t"
      "vpaddw %[high0], %[second_low], %[first_low]\n\t"
      "vpaddw %[low0], %[second_high], %[first_high]\n\t"
      "vpmaddwd %[first_low], %[first_high], %[first_high]\n\t"
      "vpaddd %[first_high], %[sum0], %[sum0]\n\t"
      "vpaddw %[high1], %[second_low], %[second_low]\n\t"
      "vpaddw %[low1], %[second_high], %[second_high]\n\t"
      "vpmaddwd %[second_low], %[second_high], %[second_high]\n\t"
      "vpaddd %[second_high], %[sum1], %[sum1]"
      : [sum0] "+x"(sum0), [sum1] "+x"(sum1), [first_low] "=&x"(first_low), [first_high] "=&x"(first_high),
        [second_low] "=&x"(second_low), [second_high] "=&x"(second_high)
      : [row_low] "m"(*reinterpret_cast<const std::int16_t(*)[4]>(row)),
        [row_high] "m"(*reinterpret_cast<const std::int16_t(*)[4]>(row + kRows * kInt8DepthStep)), [low0] "x"(low[0]),
        [low1] "x"(low[1]), [high0] "x"(high[0]), [high1] "x"(high[1]));
}

// One group of `Rows` rows against 8 channels. When `Widen`, weights come from the panel (64 channels a step) and
// are left as 16-bit integers in `wide`, [depth/4][8][4], for the groups that follow.
template <std::size_t Rows, bool Widen>
FORESHORE_AVX2 void MultiplyGroup(const char* group, std::size_t depth, const std::int8_t* strip, __m256i* wide,
                                  const std::int32_t* pair_sums, std::int32_t* sums) {
  __m256i sum[Rows][2];
#pragma GCC unroll 4
  for (std::size_t row = 0; row < Rows; ++row) sum[row][0] = sum[row][1] = _mm256_setzero_si256();
  const auto* rows = reinterpret_cast<const std::int16_t*>(group + kGroupHeaderBytes);
  for (std::size_t k = 0; k < depth; k += 8, wide += 4, rows += 2 * kRows * kInt8DepthStep) {
    if constexpr (Widen) {
      for (std::size_t i = 0; i < 4; ++i) {
        const auto* source = reinterpret_cast<const __m128i*>(strip + (i / 2) * kPanelStepBytes + (i % 2) * 16);
        _mm256_store_si256(wide + i, _mm256_cvtepi8_epi16(_mm_load_si128(source)));
      }
      strip += 2 * kPanelStepBytes;
    }
    const __m256i low[2] = {_mm256_load_si256(wide), _mm256_load_si256(wide + 1)};
    const __m256i high[2] = {_mm256_load_si256(wide + 2), _mm256_load_si256(wide + 3)};
#pragma GCC unroll 4
    for (std::size_t row = 0; row < Rows; ++row) {
      StepRow(rows + row * kInt8DepthStep, low, high, sum[row][0], sum[row][1]);
    }
  }
  const __m256i column_term = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pair_sums));
#pragma GCC unroll 4
  for (std::size_t row = 0; row < Rows; ++row) {
    // Lanes after the horizontal add: channels 0 1 4 5 | 2 3 6 7.
    const __m256i mixed = _mm256_hadd_epi32(sum[row][0], sum[row][1]);
    const __m256i ordered = _mm256_permute4x64_epi64(mixed, 0b11011000);
    std::int32_t row_term;
    std::memcpy(&row_term, group + row * sizeof(row_term), sizeof(row_term));
    const __m256i terms = _mm256_add_epi32(column_term, _mm256_set1_epi32(row_term));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + row * kInt8PanelColumns), _mm256_sub_epi32(ordered, terms));
  }
}

template <bool Widen>
FORESHORE_AVX2 void MultiplyRows(std::size_t row_count, const char* group, std::size_t depth, const std::int8_t* strip,
                                 __m256i* wide, const std::int32_t* pair_sums, std::int32_t* sums) {
  switch (row_count) {
    case 1: return MultiplyGroup<1, Widen>(group, depth, strip, wide, pair_sums, sums);
    case 2: return MultiplyGroup<2, Widen>(group, depth, strip, wide, pair_sums, sums);
    case 3: return MultiplyGroup<3, Widen>(group, depth, strip, wide, pair_sums, sums);
    default: return MultiplyGroup<4, Widen>(group, depth, strip, wide, pair_sums, sums);
  }
}

FORESHORE_AVX2 void MultiplyPanel(const void* packed, std::size_t row_count, std::size_t depth, const Int8Panel& panel,
                                  void* workspace, std::int32_t* sums) {
  auto* wide = static_cast<__m256i*>(workspace);
  const std::size_t group_bytes = GroupBytes(depth);
  for (std::size_t column = 0; column < panel.column_count; column += kColumns) {
    const std::int8_t* strip = panel.codes + column * kInt8DepthStep;
    const auto* group = static_cast<const char*>(packed);
    const std::int32_t* pair_sums = panel.pair_sums + column;
    MultiplyRows<true>(row_count, group, depth, strip, wide, pair_sums, sums + column);
    for (std::size_t row = kRows; row < row_count; row += kRows) {
      group += group_bytes;
      MultiplyRows<false>(row_count - row, group, depth, strip, wide, pair_sums,
                          sums + row * kInt8PanelColumns + column);
    }
  }
}

}  // namespace

const Int8Gemm& Int8GemmAvx2() {
  static constexpr Int8Gemm kKernel{CpuLevel::kAvx2,   kRows,    sizeof(std::int16_t),
                                    kGroupHeaderBytes, PackRows, MultiplyPanel};
  return kKernel;
}

}  // namespace foreshore
#endif
