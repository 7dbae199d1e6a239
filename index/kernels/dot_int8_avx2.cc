// The dot product on AVX2. Run natively and under SIMDe.
#include "index/kernels/dot_int8.h"
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

// Adds the 32 products to eight 32-bit lanes. maddubs wants one unsigned side: |a| * (b with the sign of a) is
// a * b. It adds two products in 16 bits, at most 2 * 127 * 127 = 32,258 < 32,767: never saturated.
FORESHORE_KERNEL_TARGET("avx2")
inline __m256i Accumulate(__m256i sum, __m256i a, __m256i b) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

// From kFirstBytes + 32 - n on, a mask of the first n bytes.
constexpr std::int8_t kFirstBytes[64] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                         -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

}  // namespace

FORESHORE_KERNEL_TARGET("avx2")
std::int32_t FORESHORE_KERNEL_NAME(DotInt8Avx2)(const std::int8_t* a, const std::int8_t* b, std::size_t dimension) {
  // Two sums, so that one addition need not wait for the one before.
  __m256i sum_even = _mm256_setzero_si256();
  __m256i sum_odd = _mm256_setzero_si256();
  std::size_t i = 0;
  for (; i + 64 <= dimension; i += 64) {
    sum_even = Accumulate(sum_even, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i)),
                          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + i)));
    sum_odd = Accumulate(sum_odd, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i + 32)),
                         _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + i + 32)));
  }
  if (i + 32 <= dimension) {
    sum_even = Accumulate(sum_even, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i)),
                          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + i)));
    i += 32;
  }
  const __m256i sum = _mm256_add_epi32(sum_even, sum_odd);
  __m128i quad = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  quad = _mm_add_epi32(quad, _mm_shuffle_epi32(quad, 0x4E));
  quad = _mm_add_epi32(quad, _mm_shuffle_epi32(quad, 0xB1));
  std::int32_t total = _mm_cvtsi128_si32(quad);
  for (; i < dimension; ++i) total += static_cast<std::int32_t>(a[i]) * b[i];
  return total;
}

FORESHORE_KERNEL_TARGET("avx2")
void FORESHORE_KERNEL_NAME(DotCodesOfFourAvx2)(const std::int8_t* query, const std::int8_t* const rows[4],
                                               const std::int32_t /*row_sums*/[4], std::size_t dimension,
                                               std::int32_t sums[4]) {
  __m256i lanes[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
  for (std::size_t i = 0; i < dimension; i += 32) {
    __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(query + i));
    if (i + 32 > dimension) {  // Zeros of the query let nothing through that stands behind the rows.
      const std::int8_t* mask = kFirstBytes + 32 - (dimension - i);
      q = _mm256_and_si256(q, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(mask)));
    }
    for (int row = 0; row < 4; ++row) {
      lanes[row] = Accumulate(lanes[row], q, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[row] + i)));
    }
  }
  __m128i quads[4];
  for (int row = 0; row < 4; ++row) {
    quads[row] = _mm_add_epi32(_mm256_castsi256_si128(lanes[row]), _mm256_extracti128_si256(lanes[row], 1));
  }
  const __m128i total = _mm_hadd_epi32(_mm_hadd_epi32(quads[0], quads[1]), _mm_hadd_epi32(quads[2], quads[3]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(sums), total);
}

}  // namespace foreshore
#endif
