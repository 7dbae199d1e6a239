// Goal: every kernel equals the scalar one bit for bit.
// Method: random and extreme codes, every dimension that can meet a loop's edge, unaligned starts; natively where the
// machine has the instructions, and the same sources over SIMDe always.
#include "index/kernels/dot_int8.h"

#include <doctest/doctest.h>

#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace foreshore {

std::int32_t DotInt8Avx2Simde(const std::int8_t* a, const std::int8_t* b, std::size_t dimension);
std::int32_t DotInt8Avx512VnniSimde(const std::int8_t* a, const std::int8_t* b, std::size_t dimension);
std::int32_t DotInt8NeonDotSimde(const std::int8_t* a, const std::int8_t* b, std::size_t dimension);
void DotCodesOfFourAvx2Simde(const std::int8_t* query, const std::int8_t* const rows[4], const std::int32_t row_sums[4],
                             std::size_t dimension, std::int32_t sums[4]);
void DotCodesOfFourAvx512VnniSimde(const std::int8_t* query, const std::int8_t* const rows[4],
                                   const std::int32_t row_sums[4], std::size_t dimension, std::int32_t sums[4]);
void DotCodesOfFourNeonDotSimde(const std::int8_t* query, const std::int8_t* const rows[4],
                                const std::int32_t row_sums[4], std::size_t dimension, std::int32_t sums[4]);

namespace {

struct NamedKernel {
  std::string name;
  DotInt8 dot;
};

std::vector<NamedKernel> FindKernels() {
  std::vector<NamedKernel> kernels = {{"avx2 over simde", &DotInt8Avx2Simde},
                                      {"avx512vnni over simde", &DotInt8Avx512VnniSimde},
                                      {"neondot over simde", &DotInt8NeonDotSimde},
                                      {"best", BestDotInt8()}};
  for (const CpuLevel level : {CpuLevel::kAvx2, CpuLevel::kAvx512Vnni, CpuLevel::kAmxInt8, CpuLevel::kNeonDot}) {
    const bool is_run = CpuSupports(level) && DotInt8For(level) != nullptr;
    const std::string where = is_run ? ": run natively" : ": not on this machine, SIMDe only";
    const std::string message = std::string(CpuLevelName(level)) + where;
    MESSAGE(message);
    if (is_run) kernels.push_back({std::string(CpuLevelName(level)), DotInt8For(level)});
  }
  return kernels;
}

std::vector<std::size_t> Dimensions() {
  std::vector<std::size_t> dimensions;
  for (std::size_t dimension = 0; dimension <= 200; ++dimension) dimensions.push_back(dimension);
  for (const std::size_t dimension : {255, 256, 257, 383, 384, 385, 768, 1023, 1536, 3072, 4095, 4096}) {
    dimensions.push_back(dimension);
  }
  return dimensions;
}

// Compares on heap blocks of the exact size, so that the address sanitizer sees a read beyond the end.
void CheckAll(const std::vector<NamedKernel>& kernels, const std::vector<std::int8_t>& a,
              const std::vector<std::int8_t>& b) {
  for (std::size_t offset = 0; offset < 2; ++offset) {
    const std::size_t dimension = a.size();
    const auto block_a = std::make_unique<std::int8_t[]>(dimension + offset);
    const auto block_b = std::make_unique<std::int8_t[]>(dimension + offset);
    std::copy(a.begin(), a.end(), block_a.get() + offset);
    std::copy(b.begin(), b.end(), block_b.get() + offset);
    const std::int32_t expected = DotInt8Scalar(block_a.get() + offset, block_b.get() + offset, dimension);
    for (const NamedKernel& kernel : kernels) {
      CAPTURE(kernel.name);
      CAPTURE(dimension);
      REQUIRE(kernel.dot(block_a.get() + offset, block_b.get() + offset, dimension) == expected);
    }
  }
}

// Found once, so that it is said once which ran natively.
const std::vector<NamedKernel>& KernelsOfThisMachine() {
  static const std::vector<NamedKernel> kernels = FindKernels();
  return kernels;
}

}  // namespace

TEST_CASE("dot kernels: random codes give the scalar sum at every dimension") {
  constexpr unsigned kSeed = 20261122;
  CAPTURE(kSeed);
  std::mt19937 random(kSeed);
  std::uniform_int_distribution<int> code(-127, 127);
  const std::vector<NamedKernel>& kernels = KernelsOfThisMachine();
  for (const std::size_t dimension : Dimensions()) {
    for (int round = 0; round < 5; ++round) {
      std::vector<std::int8_t> a(dimension);
      std::vector<std::int8_t> b(dimension);
      for (std::int8_t& value : a) value = static_cast<std::int8_t>(code(random));
      for (std::int8_t& value : b) value = static_cast<std::int8_t>(code(random));
      CheckAll(kernels, a, b);
    }
  }
}

TEST_CASE("dot kernels: the largest codes of either sign neither saturate nor overflow") {
  const std::vector<NamedKernel>& kernels = KernelsOfThisMachine();
  for (const std::size_t dimension : Dimensions()) {
    for (const int left : {-127, -1, 0, 1, 127}) {
      for (const int right : {-127, -1, 0, 1, 127}) {
        CheckAll(kernels, std::vector<std::int8_t>(dimension, static_cast<std::int8_t>(left)),
                 std::vector<std::int8_t>(dimension, static_cast<std::int8_t>(right)));
      }
    }
  }
  const std::vector<std::int8_t> largest(4096, 127);
  CHECK(DotInt8Scalar(largest.data(), largest.data(), largest.size()) == 66'064'384);
}

TEST_CASE("dot kernels: each position counts, once and with its sign") {
  const std::vector<NamedKernel>& kernels = KernelsOfThisMachine();
  for (const std::size_t dimension : {2, 31, 33, 63, 64, 65, 127, 128, 129, 193}) {
    for (std::size_t position = 0; position < dimension; ++position) {
      std::vector<std::int8_t> a(dimension, 0);
      const std::vector<std::int8_t> b(dimension, -101);
      a[position] = static_cast<std::int8_t>(position % 2 == 0 ? 97 : -97);
      CheckAll(kernels, a, b);
      for (const NamedKernel& kernel : kernels) {
        REQUIRE(kernel.dot(a.data(), b.data(), dimension) == (position % 2 == 0 ? -9797 : 9797));
      }
    }
  }
}

TEST_CASE("dot kernels: four rows at once give the four sums that one row at a time gives") {
  std::vector<DotCodesOfFour> kernels = {&DotCodesOfFourAvx2Simde, &DotCodesOfFourAvx512VnniSimde,
                                         &DotCodesOfFourNeonDotSimde, BestDotCodesOfFour()};
  for (const CpuLevel level : {CpuLevel::kAvx2, CpuLevel::kAvx512Vnni, CpuLevel::kAmxInt8, CpuLevel::kNeonDot}) {
    if (CpuSupports(level) && DotCodesOfFourFor(level) != nullptr) kernels.push_back(DotCodesOfFourFor(level));
  }
  std::mt19937 random(20261126);
  std::uniform_int_distribution<int> code(-127, 127);
  for (const std::size_t dimension : Dimensions()) {
    // Blocks of whole lines and no more, for the address sanitizer, with anything behind the codes; the last row and
    // the query at their largest, every other time.
    std::vector<std::vector<std::int8_t>> blocks(5, std::vector<std::int8_t>((dimension + 63) / 64 * 64));
    for (auto& block : blocks) {
      for (std::int8_t& value : block) value = static_cast<std::int8_t>(code(random));
      for (std::size_t i = dimension; i < block.size(); ++i) block[i] = -128;
    }
    for (int round = 0; round < 2; ++round) {
      const std::int8_t* const rows[4] = {blocks[0].data(), blocks[1].data(), blocks[2].data(), blocks[3].data()};
      std::int32_t row_sums[4];
      for (int row = 0; row < 4; ++row) row_sums[row] = std::accumulate(rows[row], rows[row] + dimension, 0);
      for (std::size_t kernel = 0; kernel < kernels.size(); ++kernel) {
        std::int32_t sums[4] = {7, 7, 7, 7};
        kernels[kernel](blocks[4].data(), rows, row_sums, dimension, sums);
        CAPTURE(kernel);
        CAPTURE(dimension);
        for (int row = 0; row < 4; ++row) REQUIRE(sums[row] == DotInt8Scalar(blocks[4].data(), rows[row], dimension));
      }
      std::fill_n(blocks[3].begin(), dimension, std::int8_t{127});
      std::fill_n(blocks[4].begin(), dimension, std::int8_t{-127});
    }
  }
}

}  // namespace foreshore
