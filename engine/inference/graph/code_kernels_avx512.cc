// AVX-512 with VNNI: VPDPBUSD adds four products of an unsigned and a signed byte to a 32-bit lane, exactly. Tables of
// 256 bytes are two permutations where the processor has VBMI.
#include <algorithm>
#include <cstring>

#include "engine/inference/graph/code_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")
namespace foreshore::graph {

#include "engine/inference/graph/code_kernels.inc"

namespace {

// GCC 12 spills accumulators around _mm512_dpbusd_epi32; a tied operand keeps them in registers.
inline __attribute__((always_inline)) void DotAdd(__m512i& sum, __m512i codes, __m512i weights) {
  asm("vpdpbusd %[weights], %[codes], %[sum]" : [sum] "+v"(sum) : [codes] "v"(codes), [weights] "v"(weights));
}

struct Bounds {
  __m512 low;
  __m512 high;
  __m512i zero;
};

inline __attribute__((always_inline)) Bounds BoundsOf(const CodeRange& range) {
  return {_mm512_set1_ps(range.low - range.zero), _mm512_set1_ps(range.high - range.zero),
          _mm512_set1_epi32(static_cast<int>(range.zero))};
}

// 16 codes in 32-bit lanes.
inline __attribute__((always_inline)) __m512i Requantize(__m512i sum, __m512 factor, const Bounds& bounds) {
  const __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), factor);
  const __m512 within = _mm512_min_ps(_mm512_max_ps(value, bounds.low), bounds.high);
  return _mm512_add_epi32(_mm512_cvtps_epi32(within), bounds.zero);
}

inline std::int32_t Load32(const std::uint8_t* from) {
  std::int32_t value = 0;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// kBlocks · 16 columns from `first` on; the last block has `tail` of them.
template <std::size_t kRows, std::size_t kBlocks>
void MultiplyTile(const CodeProduct& product, std::size_t first_row, std::size_t first, __mmask16 tail,
                  const Bounds& bounds) {
  __m512i sums[kRows][kBlocks];
#pragma GCC unroll 4
  for (std::size_t b = 0; b < kBlocks; ++b) {
    const __m512i bias = _mm512_loadu_si512(product.columns.biases + first + b * kCodeBlock);
#pragma GCC unroll 12
    for (std::size_t r = 0; r < kRows; ++r) sums[r][b] = bias;
  }
  const std::size_t block_bytes = product.step_count * kCodeBlock * kCodeDepthStep;
  const std::int8_t* weights = product.weights + first * product.step_count * kCodeDepthStep;
  const std::uint8_t* rows = product.rows + static_cast<std::ptrdiff_t>(first_row) * product.row_step;
  for (std::size_t step = 0; step < product.step_count; ++step) {
    __m512i weight[kBlocks];
#pragma GCC unroll 4
    for (std::size_t b = 0; b < kBlocks; ++b) weight[b] = _mm512_loadu_si512(weights + b * block_bytes + step * 64);
#pragma GCC unroll 12
    for (std::size_t r = 0; r < kRows; ++r) {
      const std::uint8_t* codes = rows + static_cast<std::ptrdiff_t>(r) * product.row_step + step * kCodeDepthStep;
      const __m512i code = _mm512_set1_epi32(Load32(codes));
#pragma GCC unroll 4
      for (std::size_t b = 0; b < kBlocks; ++b) DotAdd(sums[r][b], code, weight[b]);
    }
  }
  std::uint8_t* out = product.out + static_cast<std::ptrdiff_t>(first_row) * product.out_step + first;
#pragma GCC unroll 4
  for (std::size_t b = 0; b < kBlocks; ++b) {
    const __m512 factor = _mm512_loadu_ps(product.columns.factors + first + b * kCodeBlock);
    const __mmask16 mask = b + 1 == kBlocks ? tail : static_cast<__mmask16>(0xFFFF);
#pragma GCC unroll 12
    for (std::size_t r = 0; r < kRows; ++r) {
      _mm_mask_storeu_epi8(out + static_cast<std::ptrdiff_t>(r) * product.out_step + b * kCodeBlock, mask,
                           _mm512_cvtepi32_epi8(Requantize(sums[r][b], factor, bounds)));
    }
  }
}

// Rows past the last whole group are done with the rows before them once more, or one by one where there are too few.
template <std::size_t kRows, std::size_t kBlocks>
void MultiplyColumns(const CodeProduct& product, std::size_t first, __mmask16 tail, const Bounds& bounds) {
  std::size_t row = 0;
  for (; row + kRows <= product.row_count; row += kRows) {
    MultiplyTile<kRows, kBlocks>(product, row, first, tail, bounds);
  }
  if (row == product.row_count) return;
  if (product.row_count >= kRows) {
    MultiplyTile<kRows, kBlocks>(product, product.row_count - kRows, first, tail, bounds);
    return;
  }
  for (; row < product.row_count; ++row) MultiplyTile<1, kBlocks>(product, row, first, tail, bounds);
}

void Multiply(const CodeProduct& product) {
  const Bounds bounds = BoundsOf(product.columns.range);
  for (std::size_t first = 0; first < product.column_count; first += 4 * kCodeBlock) {
    const std::size_t left = product.column_count - first;
    const std::size_t blocks = std::min<std::size_t>((left + kCodeBlock - 1) / kCodeBlock, 4);
    const std::size_t over = left >= blocks * kCodeBlock ? 0 : blocks * kCodeBlock - left;
    const auto tail = static_cast<__mmask16>(0xFFFFU >> over);
    switch (blocks) {
      case 1: MultiplyColumns<12, 1>(product, first, tail, bounds); break;
      case 2: MultiplyColumns<12, 2>(product, first, tail, bounds); break;
      case 3: MultiplyColumns<8, 3>(product, first, tail, bounds); break;
      default: MultiplyColumns<6, 4>(product, first, tail, bounds); break;
    }
  }
}

// Four taps of 64 elements: bytes of one element side by side, which is what VPDPBUSD adds up.
inline __attribute__((always_inline)) void AddTaps(const __m512i (&tap)[4], const std::uint8_t* weights,
                                                   __m512i (&sums)[4]) {
  const __m512i low01 = _mm512_unpacklo_epi8(tap[0], tap[1]);
  const __m512i high01 = _mm512_unpackhi_epi8(tap[0], tap[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(tap[2], tap[3]);
  const __m512i high23 = _mm512_unpackhi_epi8(tap[2], tap[3]);
  DotAdd(sums[0], _mm512_unpacklo_epi16(low01, low23), _mm512_loadu_si512(weights));
  DotAdd(sums[1], _mm512_unpackhi_epi16(low01, low23), _mm512_loadu_si512(weights + 64));
  DotAdd(sums[2], _mm512_unpacklo_epi16(high01, high23), _mm512_loadu_si512(weights + 128));
  DotAdd(sums[3], _mm512_unpackhi_epi16(high01, high23), _mm512_loadu_si512(weights + 192));
}

void Depthwise(const DepthwiseCodeRow& row) {
  constexpr std::size_t kWidth = 64;
  const Bounds bounds = BoundsOf(row.range);
  const std::size_t groups = (row.tap_count + 3) / 4;
  std::size_t phase = 0;
  for (std::size_t first = 0; first < row.count; first += kWidth) {
    __m512i sums[4];
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 4; ++j) sums[j] = _mm512_loadu_si512(row.weights->biases.data() + phase + j * 16);
    const std::uint8_t* weights = row.weights->codes.data() + phase * groups * 4;
    for (std::size_t t = 0; t < row.tap_count; t += 4, weights += 256) {
      __m512i tap[4];
#pragma GCC unroll 4
      for (std::size_t k = 0; k < 4; ++k) {
        // Behind the last tap weights are 0.
        tap[k] = _mm512_loadu_si512(row.taps[std::min(t + k, row.tap_count - 1)] + first);
      }
      AddTaps(tap, weights, sums);
    }
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 4; ++j) {
      sums[j] = Requantize(sums[j], _mm512_loadu_ps(row.weights->factors.data() + phase + j * 16), bounds);
    }
    const __m512i codes =
        _mm512_packus_epi16(_mm512_packs_epi32(sums[0], sums[1]), _mm512_packs_epi32(sums[2], sums[3]));
    const std::size_t left = row.count - first;
    const __mmask64 mask = left >= kWidth ? ~std::uint64_t{0} : (std::uint64_t{1} << left) - 1;
    _mm512_mask_storeu_epi8(row.out + first, mask, codes);
    phase = phase + kWidth == row.weights->period ? 0 : phase + kWidth;
  }
}

// Without VBMI: sixteen tables of 16 bytes.
void MapShuffled(const std::uint8_t* in, std::size_t count, const std::uint8_t* table, std::uint8_t* out) {
  for (std::size_t i = 0; i < count; i += 64) {
    const __mmask64 mask = count - i >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << (count - i)) - 1;
    const __m512i codes = _mm512_maskz_loadu_epi8(mask, in + i);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), _mm512_set1_epi8(15));
    const __m512i low = _mm512_and_si512(codes, _mm512_set1_epi8(15));
    __m512i found = _mm512_setzero_si512();
    for (int part = 0; part < 16; ++part) {
      const __m512i values =
          _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table + 16 * part)));
      const __mmask64 here = _mm512_cmpeq_epi8_mask(high, _mm512_set1_epi8(static_cast<char>(part)));
      found = _mm512_mask_shuffle_epi8(found, here, values, low);
    }
    _mm512_mask_storeu_epi8(out + i, mask, found);
  }
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]] void MapPermuted(const std::uint8_t* in,
                                                                                  std::size_t count,
                                                                                  const std::uint8_t* table,
                                                                                  std::uint8_t* out) {
  const __m512i parts[4] = {_mm512_loadu_si512(table), _mm512_loadu_si512(table + 64), _mm512_loadu_si512(table + 128),
                            _mm512_loadu_si512(table + 192)};
  for (std::size_t i = 0; i < count; i += 64) {
    const __mmask64 mask = count - i >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << (count - i)) - 1;
    const __m512i codes = _mm512_maskz_loadu_epi8(mask, in + i);
    const __m512i low = _mm512_permutex2var_epi8(parts[0], codes, parts[1]);
    const __m512i high = _mm512_permutex2var_epi8(parts[2], codes, parts[3]);
    _mm512_mask_storeu_epi8(out + i, mask, _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high));
  }
}

void Map(const std::uint8_t* in, std::size_t count, const std::uint8_t* table, std::uint8_t* out) {
  static const bool has_vbmi = __builtin_cpu_supports("avx512vbmi") != 0;
  has_vbmi ? MapPermuted(in, count, table, out) : MapShuffled(in, count, table, out);
}

}  // namespace

}  // namespace foreshore::graph
#pragma GCC pop_options

namespace foreshore::graph {

const CodeKernels& CodeKernelsAvx512() {
  static constexpr CodeKernels kKernels = {
      CpuLevel::kAvx512Vnni, 64,         4, 1, Multiply, Depthwise, AddCodes, MulCodes, ScaleCodes, Map, RaiseCodes,
      AddCodeRows,           SumsToCodes};
  return kKernels;
}

}  // namespace foreshore::graph
#endif
