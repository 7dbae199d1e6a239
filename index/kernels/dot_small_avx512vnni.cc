// Codes of 4 bits and of 1 bit on AVX-512 with VNNI. The logic is tested under SIMDe, and natively wherever a processor
// has the instructions.
#include "index/kernels/dot_small.h"
#include "index/kernels/instruction_set.h"

#if defined(FORESHORE_KERNELS_WITH_SIMDE)
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#elif defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(FORESHORE_KERNELS_WITH_SIMDE) || defined(__x86_64__)
namespace foreshore {
namespace {

FORESHORE_KERNEL_TARGET("avx512f,avx512bw,avx512vnni")
inline void StoreSums(const __m512i lanes[4], std::int32_t sums[4]) {
  __m128i quads[4];
  for (int row = 0; row < 4; ++row) {
    // With a mask that masks nothing, because GCC 12 warns of what the plain forms leave undefined.
    const __m256i half = _mm256_add_epi32(_mm512_maskz_extracti64x4_epi64(0xFF, lanes[row], 0),
                                          _mm512_maskz_extracti64x4_epi64(0xFF, lanes[row], 1));
    quads[row] = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  }
  const __m128i total = _mm_hadd_epi32(_mm_hadd_epi32(quads[0], quads[1]), _mm_hadd_epi32(quads[2], quads[3]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(sums), total);
}

// Of the four planes, each for 16 bytes.
constexpr std::int8_t kPlaneValues[64] = {
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8};

}  // namespace

// vpdpbusd multiplies unsigned by signed, as codes and query are, and adds four products in 32 bits.
FORESHORE_KERNEL_TARGET("avx512f,avx512bw,avx512vnni")
void FORESHORE_KERNEL_NAME(DotNibblesOfFourAvx512Vnni)(const std::int8_t* query, const std::uint8_t* const rows[4],
                                                       std::size_t byte_count, std::int32_t sums[4]) {
  const __m512i halves = _mm512_set1_epi8(15);
  __m512i lanes[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
  for (std::size_t i = 0; i < byte_count; i += kNibbleBlockBytes) {
    const __m512i query_low = _mm512_loadu_si512(query + 2 * i);
    const __m512i query_high = _mm512_loadu_si512(query + 2 * i + kNibbleBlockBytes);
    for (int row = 0; row < 4; ++row) {
      const __m512i codes = _mm512_loadu_si512(rows[row] + i);
      lanes[row] = _mm512_dpbusd_epi32(lanes[row], _mm512_and_si512(codes, halves), query_low);
      lanes[row] = _mm512_dpbusd_epi32(lanes[row], _mm512_and_si512(_mm512_srli_epi16(codes, 4), halves), query_high);
    }
  }
  StoreSums(lanes, sums);
}

// A block of the row goes to all four quarters of a register, one for each plane. The counts of set bits in bytes are
// unsigned, the planes' values signed: again vpdpbusd. (vpopcntb is younger than VNNI, so the counts are looked up.)
FORESHORE_KERNEL_TARGET("avx512f,avx512bw,avx512vnni")
void FORESHORE_KERNEL_NAME(DotBitsOfFourAvx512Vnni)(const std::int8_t* query, const std::uint8_t* const rows[4],
                                                    std::size_t byte_count, std::int32_t sums[4]) {
  const __m512i halves = _mm512_set1_epi8(15);
  const __m512i table = _mm512_set4_epi32(0x04030302, 0x03020201, 0x03020201, 0x02010100);  // Bits of 15 down to 0.
  const __m512i weights = _mm512_loadu_si512(kPlaneValues);
  __m512i lanes[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
  for (std::size_t i = 0; i < byte_count; i += kBitBlockBytes) {
    const __m512i planes = _mm512_loadu_si512(query + kBitPlanes * i);
    for (int row = 0; row < 4; ++row) {
      const __m512i bits = _mm512_and_si512(
          planes,
          _mm512_maskz_broadcast_i32x4(0xFFFF, _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[row] + i))));
      const __m512i counts =
          _mm512_add_epi8(_mm512_shuffle_epi8(table, _mm512_and_si512(bits, halves)),
                          _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(bits, 4), halves)));
      lanes[row] = _mm512_dpbusd_epi32(lanes[row], counts, weights);
    }
  }
  StoreSums(lanes, sums);
}

}  // namespace foreshore
#endif
