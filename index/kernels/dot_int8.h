// The arithmetic of the vector index: the dot product of int8 vectors, one or four at a time. Cosine and Euclidean
// distances follow from it, the two scales and the two sums of squares (index/vector_code.h).
//
// Contract of every implementation:
//   a, b   `dimension` codes each, any alignment, each code in -127..127 (-128 never occurs: the record decoder
//          refuses it, and the AVX2 and AVX-512 kernels rely on it)
//   result the exact sum of a[i] * b[i]; the scalar kernel is the specification, all others are equal to it
// Overflow: dimension <= 65,536 gives |sum| <= 65,536 * 127 * 127 = 1,057,030,144 < 2^31, so 32 bits suffice, in
// any order of summation. (Records stop at 4,096 dimensions: 66,064,384.)
//
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/base/cpu.h"

namespace foreshore {

using DotInt8 = std::int32_t (*)(const std::int8_t* a, const std::int8_t* b, std::size_t dimension);

// One code with four others at once: the query is prepared once, and four chains of additions overlap. `query` and the
// rows are readable up to the next multiple of 64 bytes, where anything may stand behind `dimension`; row_sums[i] is
// the sum of the codes of rows[i]. Each of the four sums is what DotInt8 gives.
using DotCodesOfFour = void (*)(const std::int8_t* query, const std::int8_t* const rows[4],
                                const std::int32_t row_sums[4], std::size_t dimension, std::int32_t sums[4]);

// The specification.
std::int32_t DotInt8Scalar(const std::int8_t* a, const std::int8_t* b, std::size_t dimension);

void DotCodesOfFourScalar(const std::int8_t* query, const std::int8_t* const rows[4], const std::int32_t row_sums[4],
                          std::size_t dimension, std::int32_t sums[4]);

// The kernel for `level`, or null where this build has none. Whether the machine can run it is CpuSupports().
DotInt8 DotInt8For(CpuLevel level);
DotCodesOfFour DotCodesOfFourFor(CpuLevel level);

// The kernel of DetectCpuLevel(), the same for the life of the process.
DotInt8 BestDotInt8();
DotCodesOfFour BestDotCodesOfFour();

// The implementations, for the dispatcher only.
#if defined(__x86_64__)
std::int32_t DotInt8Avx2(const std::int8_t* a, const std::int8_t* b, std::size_t dimension);
void DotCodesOfFourAvx2(const std::int8_t* query, const std::int8_t* const rows[4], const std::int32_t row_sums[4],
                        std::size_t dimension, std::int32_t sums[4]);
std::int32_t DotInt8Avx512Vnni(const std::int8_t* a, const std::int8_t* b, std::size_t dimension);
void DotCodesOfFourAvx512Vnni(const std::int8_t* query, const std::int8_t* const rows[4],
                              const std::int32_t row_sums[4], std::size_t dimension, std::int32_t sums[4]);
#elif defined(__aarch64__)
std::int32_t DotInt8NeonDot(const std::int8_t* a, const std::int8_t* b, std::size_t dimension);
void DotCodesOfFourNeonDot(const std::int8_t* query, const std::int8_t* const rows[4], const std::int32_t row_sums[4],
                           std::size_t dimension, std::int32_t sums[4]);
#endif

}  // namespace foreshore
