// The arithmetic of codes of 4 bits and of 1 bit (index/small_code.h): the dot product of one prepared query with four
// rows at a time. Rows are read as they lie in memory; the query is laid out to fit them, so that a row needs no
// unpacking across bytes and zeros of the query silence whatever stands behind a row's codes.
//
// Four bits. Byte j of a row holds two codes of 0..15: that of component j in its low half, that of component
// j + byte_count in its high half. The query is int8 in -127..127, in blocks of 128: 64 for low halves, then 64 for
// high halves. The sum is exact: at most 4096 * 15 * 127 = 7,802,880.
//
// One bit. Bit i % 8 of byte i / 8 is component i. The query is int4 in -8..7 as four planes of bits, in two's
// complement, in blocks of 64 bytes for 16 of the row: planes of the values 1, 2, 4 and -8. The sum adds the query's
// components where the row's bit is set: at most 4096 * 8 = 32,768.
//
// Contract of every implementation: rows are readable up to the next multiple of 64 bytes (4 bits) or 16 (1 bit) behind
// byte_count, the query has whole blocks and is 0 where the row has no code; any alignment. The scalar kernel is the
// specification, all others are equal to it.
//
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/base/cpu.h"

namespace foreshore {

inline constexpr std::size_t kNibbleBlockBytes = 64;  // Of a row, for one block of the query.
inline constexpr std::size_t kBitBlockBytes = 16;
inline constexpr std::size_t kBitPlanes = 4;

using DotSmallOfFour = void (*)(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                                std::int32_t sums[4]);

// The specification.
void DotNibblesOfFourScalar(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                            std::int32_t sums[4]);
void DotBitsOfFourScalar(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                         std::int32_t sums[4]);

// The kernel for `level`, or null where this build has none. Whether the machine can run it is CpuSupports().
DotSmallOfFour DotNibblesOfFourFor(CpuLevel level);
DotSmallOfFour DotBitsOfFourFor(CpuLevel level);

// The kernel of DetectCpuLevel(), the same for the life of the process.
DotSmallOfFour BestDotNibblesOfFour();
DotSmallOfFour BestDotBitsOfFour();

// The implementations, for the dispatcher only.
#if defined(__x86_64__)
void DotNibblesOfFourAvx2(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                          std::int32_t sums[4]);
void DotBitsOfFourAvx2(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                       std::int32_t sums[4]);
void DotNibblesOfFourAvx512Vnni(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                                std::int32_t sums[4]);
void DotBitsOfFourAvx512Vnni(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                             std::int32_t sums[4]);
#elif defined(__aarch64__)
void DotNibblesOfFourNeonDot(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                             std::int32_t sums[4]);
void DotBitsOfFourNeonDot(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                          std::int32_t sums[4]);
#endif

}  // namespace foreshore
