// AMX: the levels of a panel less their zero points, which fit 8 signed bits, are written out once for all rows of a
// call and multiplied as int8 weights are. 32 rows by 32 channels at a time go through all groups: the tiles work on
// one group while the sums of the group before, still in the first-level cache, are scaled.
#include "engine/inference/amx_tiles.h"
#include "engine/inference/int4_gemm.h"

#if defined(__x86_64__)

namespace foreshore {
namespace {

constexpr std::size_t kVectors = kInt8PanelColumns / 16;

void PackRows(const std::int8_t* codes, std::size_t row_count, std::size_t depth, void* packed) {
  std::memcpy(packed, codes, row_count * depth);
  std::memset(static_cast<char*>(packed) + row_count * depth, 0, kInt4BytesPastRows);
}

// weights[depth/4][64][4] = level − zero.
template <bool Lookup>
FORESHORE_AMX void WriteOut(const Int4Panel& panel, std::size_t depth, std::int8_t* weights) {
  const __m512i mask = _mm512_set1_epi8(15);
  __m512i levels = _mm512_setzero_si512();
  if constexpr (Lookup) {
    std::uint8_t four_times[64];
    for (std::size_t i = 0; i < sizeof(four_times); i += 16) std::memcpy(four_times + i, panel.levels, 16);
    levels = _mm512_loadu_si512(four_times);
  }
  __m512i zeros[kVectors];
  for (std::size_t vector = 0; vector < kVectors; ++vector) {
    std::uint32_t each[16];  // A channel's zero four times over.
    for (std::size_t i = 0; i < 16; ++i) each[i] = panel.zeros[vector * 16 + i] * 0x01010101U;
    zeros[vector] = _mm512_loadu_si512(each);
  }
  const std::uint8_t* codes = panel.codes;
  for (std::size_t k = 0; k < depth; k += 8, codes += kInt4PanelBytesPerStep, weights += 2 * amx::kPanelStepBytes) {
    for (std::size_t vector = 0; vector < kVectors; ++vector) {
      const __m512i both = _mm512_loadu_si512(codes + vector * 64);
      __m512i low = _mm512_and_si512(both, mask);
      __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
      if constexpr (Lookup) {
        low = _mm512_shuffle_epi8(levels, low);
        high = _mm512_shuffle_epi8(levels, high);
      }
      _mm512_storeu_si512(weights + vector * 64, _mm512_sub_epi8(low, zeros[vector]));
      _mm512_storeu_si512(weights + amx::kPanelStepBytes + vector * 64, _mm512_sub_epi8(high, zeros[vector]));
    }
  }
}

constexpr std::size_t kBlock = 2 * amx::kTileRows;  // Rows and channels that the tiles hold the sums of.

std::size_t TilesOf(std::size_t depth) {
  return (depth + amx::kTileDepth - 1) / amx::kTileDepth;
}

// [groups][tiles of 64 k], each group filled up with zeros.
void WriteOutPanel(const Int4GroupedPanel& panel, std::size_t depth, std::int8_t* weights) {
  for (std::size_t group = 0; group < panel.group_count; ++group) {
    const std::size_t first = group * panel.group_size;
    const std::size_t count = depth - first < panel.group_size ? depth - first : panel.group_size;
    const Int4Panel of_group{panel.codes + first / 8 * kInt4PanelBytesPerStep, panel.zeros + group * kInt8PanelColumns,
                             panel.levels};
    (panel.levels == nullptr ? WriteOut<false> : WriteOut<true>)(of_group, count, weights);
    const std::size_t written = count / kInt8DepthStep * amx::kPanelStepBytes;
    const std::size_t whole = TilesOf(count) * amx::kTileRows * amx::kPanelStepBytes;
    std::memset(weights + written, 0, whole - written);
    weights += whole;
  }
}

// acc[r][0..31] = sums · scales, or += that.  (GCC 12 warns of conversions without a mask.)
FORESHORE_AMX void ScaleBlock(const std::int32_t* sums, std::size_t row_count, const float* scales, bool add,
                              float* acc) {
  const __m512 scale0 = _mm512_loadu_ps(scales);
  const __m512 scale1 = _mm512_loadu_ps(scales + 16);
  for (std::size_t row = 0; row < row_count; ++row, sums += kBlock, acc += kInt8PanelColumns) {
    const __m512 sum0 = _mm512_maskz_cvtepi32_ps(0xFFFF, _mm512_load_si512(sums));
    const __m512 sum1 = _mm512_maskz_cvtepi32_ps(0xFFFF, _mm512_load_si512(sums + 16));
    const __m512 before0 = add ? _mm512_loadu_ps(acc) : _mm512_setzero_ps();
    const __m512 before1 = add ? _mm512_loadu_ps(acc + 16) : _mm512_setzero_ps();
    _mm512_storeu_ps(acc, _mm512_fmadd_ps(sum0, scale0, before0));
    _mm512_storeu_ps(acc + 16, _mm512_fmadd_ps(sum1, scale1, before1));
  }
}

// 32 rows, or fewer, by the 32 channels from `column` on, through all groups.
template <bool Two>
FORESHORE_AMX void MultiplyBlock(const std::int8_t* rows, std::size_t row_count, std::size_t depth,
                                 const Int4GroupedPanel& panel, const std::int8_t* weights, std::size_t column,
                                 float* acc) {
  alignas(64) std::int32_t sums[2][kBlock * kBlock];
  constexpr std::size_t kStride = kBlock * sizeof(std::int32_t);
  for (std::size_t group = 0; group < panel.group_count; ++group) {
    const std::size_t first = group * panel.group_size;
    const std::size_t tile_count = TilesOf(depth - first < panel.group_size ? depth - first : panel.group_size);
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (Two) {
      _tile_zero(2);
      _tile_zero(3);
    }
    amx::Accumulate<Two>({rows + first, depth, weights + column * kInt8DepthStep, tile_count});
    weights += tile_count * amx::kTileRows * amx::kPanelStepBytes;
    std::int32_t* target = sums[group % 2];
    _tile_stored(0, target, kStride);
    _tile_stored(1, target + amx::kTileColumns, kStride);
    if constexpr (Two) {
      _tile_stored(2, target + amx::kTileRows * kBlock, kStride);
      _tile_stored(3, target + amx::kTileRows * kBlock + amx::kTileColumns, kStride);
    }
    if (group == 0) continue;
    ScaleBlock(sums[(group - 1) % 2], row_count, panel.scales + (group - 1) * kInt8PanelColumns + column, group > 1,
               acc + column);
  }
  const std::size_t last = panel.group_count - 1;
  ScaleBlock(sums[last % 2], row_count, panel.scales + last * kInt8PanelColumns + column, last > 0, acc + column);
}

FORESHORE_AMX void MultiplyPanel(const void* packed, std::size_t row_count, std::size_t depth,
                                 const Int4GroupedPanel& panel, void* workspace, float* acc) {
  auto* weights = static_cast<std::int8_t*>(workspace);
  WriteOutPanel(panel, depth, weights);
  const auto* rows = static_cast<const std::int8_t*>(packed);
  for (std::size_t row = 0; row < row_count; row += kBlock) {
    const std::size_t count = row_count - row < kBlock ? row_count - row : kBlock;
    const bool two = count > amx::kTileRows;
    if (row == 0 || count < kBlock) amx::Configure(two ? amx::kTileRows : count, two ? count - amx::kTileRows : 0);
    for (std::size_t column = 0; column < kInt8PanelColumns; column += kBlock) {
      (two ? MultiplyBlock<true> : MultiplyBlock<false>)(rows + row * depth, count, depth, panel, weights, column,
                                                         acc + row * kInt8PanelColumns);
    }
  }
  _tile_release();
}

}  // namespace

const Int4Gemm& Int4GemmAmx() {
  static constexpr Int4Gemm kKernel{CpuLevel::kAmxInt8, 1, PackRows, nullptr, MultiplyPanel};
  return kKernel;
}

}  // namespace foreshore
#endif
