#include "engine/inference/int4_gemm.h"

#include <algorithm>
#include <cstring>

namespace foreshore {
namespace {

// Eight codes at a time in a 64-bit register: made unsigned by their sign bits, they add up as four 16-bit lanes, which
// hold 2 · 255 · 128 before they are emptied.
constexpr std::size_t kWordsPerFlush = 128;

std::int32_t SumRow(const std::int8_t* codes, std::size_t count) {
  constexpr std::uint64_t kEvenBytes = 0x00FF00FF00FF00FFULL;
  std::int32_t sum = -128 * static_cast<std::int32_t>(count);
  for (std::size_t first = 0; first < count; first += 8 * kWordsPerFlush) {
    std::uint64_t lanes = 0;
    const std::size_t end = std::min(count, first + 8 * kWordsPerFlush);
    for (std::size_t i = first; i < end; i += 8) {
      std::uint64_t word;
      std::memcpy(&word, codes + i, sizeof(word));
      word ^= 0x8080808080808080ULL;
      lanes += (word & kEvenBytes) + ((word >> 8) & kEvenBytes);
    }
    for (int lane = 0; lane < 4; ++lane) sum += static_cast<std::int32_t>((lanes >> (16 * lane)) & 0xFFFF);
  }
  return sum;
}

}  // namespace

void SumInt4Codes(const std::int8_t* codes, std::size_t row_count, std::size_t depth, Int4Group group,
                  std::int32_t* code_sums) {
  for (std::size_t row = 0; row < row_count; ++row) {
    code_sums[row] = SumRow(codes + row * depth + group.first, group.depth);
  }
}

const Int4Gemm& Int4GemmFor(CpuLevel level) {
  switch (level) {
#if defined(__x86_64__)
    case CpuLevel::kAmxInt8: return Int4GemmAmx();
    case CpuLevel::kAvx512Vnni: return Int4GemmAvx512Vnni();
    case CpuLevel::kAvx2: return Int4GemmAvx2();
#elif defined(__aarch64__)
    case CpuLevel::kNeonDot: return Int4GemmNeonDot();
#endif
    default: return Int4GemmScalar();
  }
}

}  // namespace foreshore
