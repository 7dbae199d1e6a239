// Codes of 4 bits and of 1 bit on AVX2. Run natively and under SIMDe.
#include "index/kernels/dot_small.h"
#include "index/kernels/instruction_set.h"

#if defined(FORESHORE_KERNELS_WITH_SIMDE)
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#elif defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(FORESHORE_KERNELS_WITH_SIMDE) || defined(__x86_64__)
namespace foreshore {
namespace {

FORESHORE_KERNEL_TARGET("avx2")
inline __m256i Load(const void* source) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(source));
}

// The four sums of the four rows' eight 32-bit lanes.
FORESHORE_KERNEL_TARGET("avx2")
inline void StoreSums(const __m256i lanes[4], std::int32_t sums[4]) {
  __m128i quads[4];
  for (int row = 0; row < 4; ++row) {
    quads[row] = _mm_add_epi32(_mm256_castsi256_si128(lanes[row]), _mm256_extracti128_si256(lanes[row], 1));
  }
  const __m128i total = _mm_hadd_epi32(_mm_hadd_epi32(quads[0], quads[1]), _mm_hadd_epi32(quads[2], quads[3]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(sums), total);
}

// The set bits of each byte: a table of those of half a byte, looked up twice.
FORESHORE_KERNEL_TARGET("avx2")
inline __m256i BitsOfBytes(__m256i bytes) {
  const __m256i table =
      _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i halves = _mm256_set1_epi8(15);
  return _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(bytes, halves)),
                         _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), halves)));
}

}  // namespace

FORESHORE_KERNEL_TARGET("avx2")
void FORESHORE_KERNEL_NAME(DotNibblesOfFourAvx2)(const std::int8_t* query, const std::uint8_t* const rows[4],
                                                 std::size_t byte_count, std::int32_t sums[4]) {
  const __m256i halves = _mm256_set1_epi8(15);
  __m256i lanes[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
  for (std::size_t i = 0; i < byte_count; i += kNibbleBlockBytes) {
    const __m256i query_low[2] = {Load(query + 2 * i), Load(query + 2 * i + 32)};
    const __m256i query_high[2] = {Load(query + 2 * i + 64), Load(query + 2 * i + 96)};
    for (int row = 0; row < 4; ++row) {
      // Two products in 16 bits are at most 2 * 15 * 127 = 3,810, four of them 15,240 < 32,767: never saturated.
      __m256i pairs = _mm256_setzero_si256();
      for (int half = 0; half < 2; ++half) {
        const __m256i codes = Load(rows[row] + i + static_cast<std::size_t>(32 * half));
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(_mm256_and_si256(codes, halves), query_low[half]));
        pairs = _mm256_add_epi16(
            pairs, _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(codes, 4), halves), query_high[half]));
      }
      lanes[row] = _mm256_add_epi32(lanes[row], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
  }
  StoreSums(lanes, sums);
}

FORESHORE_KERNEL_TARGET("avx2")
void FORESHORE_KERNEL_NAME(DotBitsOfFourAvx2)(const std::int8_t* query, const std::uint8_t* const rows[4],
                                              std::size_t byte_count, std::int32_t sums[4]) {
  const __m256i low_weights = _mm256_setr_m128i(_mm_set1_epi8(1), _mm_set1_epi8(2));
  const __m256i high_weights = _mm256_setr_m128i(_mm_set1_epi8(4), _mm_set1_epi8(-8));
  // In 16 bits: a block adds at most 2 * 8 * (2 + 4) or -2 * 8 * 8 to one, and there are at most 32 blocks.
  __m256i pairs[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
  for (std::size_t i = 0; i < byte_count; i += kBitBlockBytes) {
    const __m256i low_planes = Load(query + kBitPlanes * i);
    const __m256i high_planes = Load(query + kBitPlanes * i + 32);
    for (int row = 0; row < 4; ++row) {
      const __m256i bits =
          _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[row] + i)));
      const __m256i low = _mm256_maddubs_epi16(BitsOfBytes(_mm256_and_si256(bits, low_planes)), low_weights);
      const __m256i high = _mm256_maddubs_epi16(BitsOfBytes(_mm256_and_si256(bits, high_planes)), high_weights);
      pairs[row] = _mm256_add_epi16(pairs[row], _mm256_add_epi16(low, high));
    }
  }
  __m256i lanes[4];
  for (int row = 0; row < 4; ++row) lanes[row] = _mm256_madd_epi16(pairs[row], _mm256_set1_epi16(1));
  StoreSums(lanes, sums);
}

}  // namespace foreshore
#endif
