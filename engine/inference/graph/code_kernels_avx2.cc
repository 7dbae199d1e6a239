// AVX2: bytes are widened to 16 bits, of which VPMADDWD multiplies and adds pairs exactly.
#include <algorithm>
#include <cstring>

#include "engine/inference/graph/code_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace foreshore::graph {

#include "engine/inference/graph/code_kernels.inc"

namespace {

inline __m256i Load(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

// 8 codes in 32-bit lanes.
inline __attribute__((always_inline)) __m256i Requantize(__m256i sum, __m256 factor, const CodeRange& range) {
  const __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), factor);
  const __m256 above = _mm256_max_ps(value, _mm256_set1_ps(range.low - range.zero));
  const __m256 within = _mm256_min_ps(above, _mm256_set1_ps(range.high - range.zero));
  return _mm256_add_epi32(_mm256_cvtps_epi32(within), _mm256_set1_epi32(static_cast<int>(range.zero)));
}

// 16 columns: accumulators hold two sums for each of 4 columns, which are added at the end.
template <std::size_t kRows>
void MultiplyTile(const CodeProduct& product, std::size_t first_row, std::size_t first) {
  __m256i sums[kRows][4];
#pragma GCC unroll 12
  for (auto& row : sums) {
#pragma GCC unroll 4
    for (auto& sum : row) sum = _mm256_setzero_si256();
  }
  const std::int8_t* weights = product.weights + first * product.step_count * kCodeDepthStep;
  const std::uint8_t* rows = product.rows + static_cast<std::ptrdiff_t>(first_row) * product.row_step;
  for (std::size_t step = 0; step < product.step_count; ++step, weights += 64) {
    __m256i codes[kRows];
#pragma GCC unroll 3
    for (std::size_t r = 0; r < kRows; ++r) {
      std::int32_t bytes = 0;
      std::memcpy(&bytes, rows + static_cast<std::ptrdiff_t>(r) * product.row_step + step * kCodeDepthStep,
                  sizeof bytes);
      codes[r] = _mm256_cvtepu8_epi16(_mm_set1_epi32(bytes));
    }
#pragma GCC unroll 4
    for (std::size_t q = 0; q < 4; ++q) {
      const __m256i weight = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(weights + q * 16)));
#pragma GCC unroll 3
      for (std::size_t r = 0; r < kRows; ++r) {
        sums[r][q] = _mm256_add_epi32(sums[r][q], _mm256_madd_epi16(codes[r], weight));
      }
    }
  }
  const std::size_t count = std::min(kCodeBlock, product.column_count - first);
  for (std::size_t r = 0; r < kRows; ++r) {
    std::int32_t whole[kCodeBlock];
    for (std::size_t half = 0; half < 2; ++half) {
      // Columns 0 1 4 5 2 3 6 7, put in order.
      const __m256i pairs = _mm256_hadd_epi32(sums[r][half * 2], sums[r][half * 2 + 1]);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(whole + half * 8), _mm256_permute4x64_epi64(pairs, 0xD8));
    }
    std::uint8_t codes[kCodeBlock];
    for (std::size_t half = 0; half < 2; ++half) {
      const std::size_t at = first + half * 8;
      const __m256i sum = _mm256_add_epi32(Load(whole + half * 8), Load(product.columns.biases + at));
      const __m256i code = Requantize(sum, _mm256_loadu_ps(product.columns.factors + at), product.columns.range);
      const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(codes + half * 8), _mm_packus_epi16(words, words));
    }
    std::memcpy(product.out + static_cast<std::ptrdiff_t>(first_row + r) * product.out_step + first, codes, count);
  }
}

void Multiply(const CodeProduct& product) {
  for (std::size_t first = 0; first < product.column_count; first += kCodeBlock) {
    std::size_t row = 0;
    for (; row + 3 <= product.row_count; row += 3) MultiplyTile<3>(product, row, first);
    for (; row < product.row_count; ++row) MultiplyTile<1>(product, row, first);
  }
}

void Depthwise(const DepthwiseCodeRow& row) {
  constexpr std::size_t kWidth = 32;
  const std::size_t groups = (row.tap_count + 1) / 2;
  const __m256i nothing = _mm256_setzero_si256();
  std::size_t phase = 0;
  for (std::size_t first = 0; first < row.count; first += kWidth) {
    __m256i sums[4];
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 4; ++j) sums[j] = Load(row.weights->biases.data() + phase + j * 8);
    const std::uint8_t* weights = row.weights->codes.data() + phase * groups * 4;
    for (std::size_t t = 0; t < row.tap_count; t += 2, weights += 128) {
      const __m256i left = Load(row.taps[t] + first);
      // Behind the last tap weights are 0.
      const __m256i right = Load(row.taps[std::min(t + 1, row.tap_count - 1)] + first);
      const __m256i low = _mm256_unpacklo_epi8(left, right);
      const __m256i high = _mm256_unpackhi_epi8(left, right);
      const __m256i pairs[4] = {_mm256_unpacklo_epi8(low, nothing), _mm256_unpackhi_epi8(low, nothing),
                                _mm256_unpacklo_epi8(high, nothing), _mm256_unpackhi_epi8(high, nothing)};
#pragma GCC unroll 4
      for (std::size_t j = 0; j < 4; ++j) {
        sums[j] = _mm256_add_epi32(sums[j], _mm256_madd_epi16(pairs[j], Load(weights + j * 32)));
      }
    }
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 4; ++j) {
      sums[j] = Requantize(sums[j], _mm256_loadu_ps(row.weights->factors.data() + phase + j * 8), row.range);
    }
    const __m256i codes =
        _mm256_packus_epi16(_mm256_packs_epi32(sums[0], sums[1]), _mm256_packs_epi32(sums[2], sums[3]));
    if (row.count - first >= kWidth) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(row.out + first), codes);
    } else {
      std::uint8_t rest[kWidth];
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(rest), codes);
      std::memcpy(row.out + first, rest, row.count - first);
    }
    phase = phase + kWidth == row.weights->period ? 0 : phase + kWidth;
  }
}

void Map(const std::uint8_t* in, std::size_t count, const std::uint8_t* table, std::uint8_t* out) {
  std::size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m256i codes = Load(in + i);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), _mm256_set1_epi8(15));
    const __m256i low = _mm256_and_si256(codes, _mm256_set1_epi8(15));
    __m256i found = _mm256_setzero_si256();
    for (int part = 0; part < 16; ++part) {
      const __m256i values =
          _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table + 16 * part)));
      const __m256i here = _mm256_cmpeq_epi8(high, _mm256_set1_epi8(static_cast<char>(part)));
      found = _mm256_or_si256(found, _mm256_and_si256(here, _mm256_shuffle_epi8(values, low)));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), found);
  }
  for (; i < count; ++i) out[i] = table[in[i]];
}

}  // namespace

}  // namespace foreshore::graph
#pragma GCC pop_options

namespace foreshore::graph {

const CodeKernels& CodeKernelsAvx2() {
  static constexpr CodeKernels kKernels = {CpuLevel::kAvx2, 32,          2,          2,          Multiply,
                                           Depthwise,       AddCodes,    MulCodes,   ScaleCodes, Map,
                                           RaiseCodes,      AddCodeRows, SumsToCodes};
  return kKernels;
}

}  // namespace foreshore::graph
#endif
