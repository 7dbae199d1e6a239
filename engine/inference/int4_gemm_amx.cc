// AMX: the levels of a group less their zero points, which fit 8 signed bits, are written out once for all rows of a
// call and multiplied as int8 weights are.
#include "engine/inference/amx_tiles.h"
#include "engine/inference/int4_gemm.h"

#if defined(__x86_64__)

namespace foreshore {
namespace {

// Inputs that are written out at a time.
constexpr std::size_t kStretchDepth = 256;
constexpr std::size_t kVectors = kInt8PanelColumns / 16;

void PackRows(const std::int8_t* codes, std::size_t row_count, std::size_t depth, void* packed) {
  std::memcpy(packed, codes, row_count * depth);
  std::memset(static_cast<char*>(packed) + row_count * depth, 0, kInt4BytesPastRows);
}

// weights[depth/4][64][4] = level − zero.
template <bool Lookup>
FORESHORE_AMX void WriteOut(const Int4Panel& panel, std::size_t first, std::size_t depth, std::int8_t* weights) {
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
  const std::uint8_t* codes = panel.codes + first / 8 * kInt4PanelBytesPerStep;
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

void MultiplyGroup(const void* packed, std::size_t row_count, std::size_t depth, Int4Group group,
                   const std::int32_t* /*code_sums*/, const Int4Panel& panel, std::int32_t* sums) {
  alignas(64) std::int8_t weights[kStretchDepth / kInt8DepthStep * amx::kPanelStepBytes];
  for (std::size_t first = 0; first < group.depth; first += kStretchDepth) {
    const std::size_t count = group.depth - first < kStretchDepth ? group.depth - first : kStretchDepth;
    (panel.levels == nullptr ? WriteOut<false> : WriteOut<true>)(panel, first, count, weights);
    const std::size_t tile_count = (count + amx::kTileDepth - 1) / amx::kTileDepth;
    const std::size_t written = count / kInt8DepthStep * amx::kPanelStepBytes;
    std::memset(weights + written, 0, tile_count * amx::kTileRows * amx::kPanelStepBytes - written);
    amx::Multiply({static_cast<const std::int8_t*>(packed) + group.first + first, depth, row_count, weights, tile_count,
                   nullptr, first > 0, sums});
  }
}

}  // namespace

const Int4Gemm& Int4GemmAmx() {
  static constexpr Int4Gemm kKernel{CpuLevel::kAmxInt8, 1, PackRows, MultiplyGroup};
  return kKernel;
}

}  // namespace foreshore
#endif
