// The dot product on AVX-512 with VNNI. Its logic is tested under SIMDe, and natively wherever a processor has the
// instructions.
#include <cstring>

#include "index/kernels/dot_int8.h"
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

// Adds the 64 products to sixteen 32-bit lanes. vpdpbusd multiplies unsigned by signed and adds four products in 32
// bits without saturation; |a| is the unsigned side and b changes sign where a is negative (b is never -128).
FORESHORE_KERNEL_TARGET("avx512f,avx512bw,avx512vnni")
inline __m512i Accumulate(__m512i sum, __m512i a, __m512i b) {
  const __m512i zero = _mm512_setzero_si512();
  const auto negative = _mm512_cmplt_epi8_mask(a, zero);
  return _mm512_dpbusd_epi32(sum, _mm512_abs_epi8(a), _mm512_mask_sub_epi8(b, negative, zero, b));
}

// The first `count` bytes, fewer than 64, and zeros: they add nothing, and no byte beyond the end is read.
FORESHORE_KERNEL_TARGET("avx512f,avx512bw,avx512vnni")
inline __m512i LoadFirst(const std::int8_t* source, std::size_t count) {
#if defined(FORESHORE_KERNELS_WITH_SIMDE)
  std::int8_t block[64] = {};  // SIMDe's masked load reads all 64.
  std::memcpy(block, source, count);
  return _mm512_loadu_si512(block);
#else
  // Not by way of a block: GCC keeps it misaligned under AddressSanitizer (GCC bug 110027).
  return _mm512_maskz_loadu_epi8((std::uint64_t{1} << count) - 1, source);
#endif
}

FORESHORE_KERNEL_TARGET("avx512f,avx512bw,avx512vnni")
inline __m128i SumOfQuarters(__m512i sum) {
  // With a mask that masks nothing, because GCC 12 warns of what the plain forms leave undefined.
  const __m256i half =
      _mm256_add_epi32(_mm512_maskz_extracti64x4_epi64(0xFF, sum, 0), _mm512_maskz_extracti64x4_epi64(0xFF, sum, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

}  // namespace

FORESHORE_KERNEL_TARGET("avx512f,avx512bw,avx512vnni")
std::int32_t FORESHORE_KERNEL_NAME(DotInt8Avx512Vnni)(const std::int8_t* a, const std::int8_t* b,
                                                      std::size_t dimension) {
  // Two sums, so that one vpdpbusd need not wait for the one before.
  __m512i sum_even = _mm512_setzero_si512();
  __m512i sum_odd = _mm512_setzero_si512();
  std::size_t i = 0;
  for (; i + 128 <= dimension; i += 128) {
    sum_even = Accumulate(sum_even, _mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));
    sum_odd = Accumulate(sum_odd, _mm512_loadu_si512(a + i + 64), _mm512_loadu_si512(b + i + 64));
  }
  if (i + 64 <= dimension) {
    sum_even = Accumulate(sum_even, _mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));
    i += 64;
  }
  if (i < dimension) {
    sum_odd = Accumulate(sum_odd, LoadFirst(a + i, dimension - i), LoadFirst(b + i, dimension - i));
  }
  const __m128i quad = SumOfQuarters(_mm512_add_epi32(sum_even, sum_odd));
  const __m128i pair = _mm_add_epi32(quad, _mm_shuffle_epi32(quad, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32(pair, 0xB1)));
}

// q + 128 is unsigned: sum((q + 128) * row) is sum(q * row) + 128 * sum(row), so that the rows need no preparation.
FORESHORE_KERNEL_TARGET("avx512f,avx512bw,avx512vnni")
void FORESHORE_KERNEL_NAME(DotCodesOfFourAvx512Vnni)(const std::int8_t* query, const std::int8_t* const rows[4],
                                                     const std::int32_t row_sums[4], std::size_t dimension,
                                                     std::int32_t sums[4]) {
  __m512i lanes[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
  for (std::size_t i = 0; i < dimension; i += 64) {
    __m512i q = _mm512_xor_si512(_mm512_loadu_si512(query + i), _mm512_set1_epi8(-128));
    // Zeros let nothing through that stands behind the rows.
    if (i + 64 > dimension) q = _mm512_maskz_mov_epi8((std::uint64_t{1} << (dimension - i)) - 1, q);
    for (int row = 0; row < 4; ++row) {
      lanes[row] = _mm512_dpbusd_epi32(lanes[row], q, _mm512_loadu_si512(rows[row] + i));
    }
  }
  __m128i quads[4];
  for (int row = 0; row < 4; ++row) quads[row] = SumOfQuarters(lanes[row]);
  const __m128i total = _mm_hadd_epi32(_mm_hadd_epi32(quads[0], quads[1]), _mm_hadd_epi32(quads[2], quads[3]));
  const __m128i excess = _mm_slli_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row_sums)), 7);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(sums), _mm_sub_epi32(total, excess));
}

}  // namespace foreshore
#endif
