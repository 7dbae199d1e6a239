// AVX2: VPMADDUBSW takes unsigned levels by signed activations and adds pairs to 16 bits. A level is at most 127, so
// that a pair is at most 2 · 127 · 127 = 32,258 and never saturates; where codes are their own levels (at most 15),
// eight pairs of 2 · 15 · 127 fit 16 bits, and VPMADDWD by ones widens them only once in 32 k.
//
// A tile is 4 rows by 8 channels; 8 accumulators, 2 weight vectors, 2 broadcasts, the mask, the ones and the levels.
#include <cstring>

#include "engine/inference/gemm_row_tiles.h"
#include "engine/inference/int4_gemm.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define FORESHORE_AVX2 [[gnu::target("avx2")]]

namespace foreshore {
namespace {

constexpr std::size_t kRows = 4;
constexpr std::size_t kColumns = 8;
constexpr std::size_t kNarrowDepth = 32;  // Of sums in 16 bits.

FORESHORE_AVX2 inline __attribute__((always_inline)) __m256i Broadcast(const std::int8_t* codes) {
  std::int32_t four;
  std::memcpy(&four, codes, sizeof(four));
  return _mm256_set1_epi32(four);
}

template <std::size_t Rows, bool Lookup>
FORESHORE_AVX2 void MultiplyTile(const std::int8_t* rows, std::size_t depth, const std::int32_t* code_sums,
                                 const std::uint8_t* codes, const std::uint8_t* zeros, const std::uint8_t* level_table,
                                 std::int32_t* sums) {
  const __m256i mask = _mm256_set1_epi8(15);
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i levels = _mm256_setzero_si256();
  if constexpr (Lookup) {
    levels = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(level_table)));
  }
  __m256i sum[Rows];
#pragma GCC unroll 4
  for (std::size_t row = 0; row < Rows; ++row) sum[row] = _mm256_setzero_si256();
  for (std::size_t first = 0; first < depth; first += kNarrowDepth) {
    __m256i narrow[Rows];
#pragma GCC unroll 4
    for (std::size_t row = 0; row < Rows; ++row) narrow[row] = _mm256_setzero_si256();
    const std::size_t end = depth - first < kNarrowDepth ? depth : first + kNarrowDepth;
    for (std::size_t k = first; k < end; k += 8) {
      const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
      __m256i low = _mm256_and_si256(both, mask);
      __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
      if constexpr (Lookup) {
        low = _mm256_shuffle_epi8(levels, low);
        high = _mm256_shuffle_epi8(levels, high);
      }
#pragma GCC unroll 4
      for (std::size_t row = 0; row < Rows; ++row) {
        const std::int8_t* four = rows + row * kInt8DepthStep;
        const __m256i product0 = _mm256_maddubs_epi16(low, Broadcast(four));
        const __m256i product1 = _mm256_maddubs_epi16(high, Broadcast(four + kRows * kInt8DepthStep));
        if constexpr (Lookup) {
          sum[row] = _mm256_add_epi32(
              sum[row], _mm256_add_epi32(_mm256_madd_epi16(product0, ones), _mm256_madd_epi16(product1, ones)));
        } else {
          narrow[row] = _mm256_add_epi16(narrow[row], _mm256_add_epi16(product0, product1));
        }
      }
      rows += 2 * kRows * kInt8DepthStep;
      codes += kInt4PanelBytesPerStep;
    }
    if constexpr (!Lookup) {
#pragma GCC unroll 4
      for (std::size_t row = 0; row < Rows; ++row) {
        sum[row] = _mm256_add_epi32(sum[row], _mm256_madd_epi16(narrow[row], ones));
      }
    }
  }
  const __m256i zero = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(zeros)));
#pragma GCC unroll 4
  for (std::size_t row = 0; row < Rows; ++row) {
    const __m256i less = _mm256_mullo_epi32(zero, _mm256_set1_epi32(code_sums[row]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + row * kInt8PanelColumns), _mm256_sub_epi32(sum[row], less));
  }
}

template <bool Lookup>
void Multiply(const void* packed, std::size_t row_count, std::size_t depth, Int4Group group,
              const std::int32_t* code_sums, const Int4Panel& panel, std::int32_t* sums) {
  for (std::size_t column = 0; column < kInt8PanelColumns; column += kColumns) {
    const std::int8_t* rows = static_cast<const std::int8_t*>(packed) + group.first * kRows;
    const std::uint8_t* codes = panel.codes + column * 4;
    const std::uint8_t* zeros = panel.zeros + column;
    for (std::size_t row = 0; row < row_count; row += kRows, rows += kRows * depth) {
      std::int32_t* target = sums + row * kInt8PanelColumns + column;
      const std::int32_t* row_sums = code_sums + row;
      switch (row_count - row) {
        case 1: MultiplyTile<1, Lookup>(rows, group.depth, row_sums, codes, zeros, panel.levels, target); break;
        case 2: MultiplyTile<2, Lookup>(rows, group.depth, row_sums, codes, zeros, panel.levels, target); break;
        case 3: MultiplyTile<3, Lookup>(rows, group.depth, row_sums, codes, zeros, panel.levels, target); break;
        default: MultiplyTile<4, Lookup>(rows, group.depth, row_sums, codes, zeros, panel.levels, target); break;
      }
    }
  }
}

void MultiplyGroup(const void* packed, std::size_t row_count, std::size_t depth, Int4Group group,
                   const std::int32_t* code_sums, const Int4Panel& panel, std::int32_t* sums) {
  (panel.levels == nullptr ? Multiply<false> : Multiply<true>)(packed, row_count, depth, group, code_sums, panel, sums);
}

}  // namespace

const Int4Gemm& Int4GemmAvx2() {
  static constexpr Int4Gemm kKernel{CpuLevel::kAvx2, kRows, PackRowTiles<kRows>, MultiplyGroup, nullptr};
  return kKernel;
}

}  // namespace foreshore
#endif
