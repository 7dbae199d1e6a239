// Goal: every kernel for codes of 4 bits and of 1 bit equals the scalar one bit for bit, and that one equals the sum
// over components that it stands for.
// Method: random and extreme codes at every dimension of 2..300 and some up to 4096, with anything behind the codes;
// natively where the machine has the instructions, and the same sources over SIMDe always.
#include "index/kernels/dot_small.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace foreshore {

void DotNibblesOfFourAvx2Simde(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                               std::int32_t sums[4]);
void DotBitsOfFourAvx2Simde(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                            std::int32_t sums[4]);
void DotNibblesOfFourAvx512VnniSimde(const std::int8_t* query, const std::uint8_t* const rows[4],
                                     std::size_t byte_count, std::int32_t sums[4]);
void DotBitsOfFourAvx512VnniSimde(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                                  std::int32_t sums[4]);
void DotNibblesOfFourNeonDotSimde(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                                  std::int32_t sums[4]);
void DotBitsOfFourNeonDotSimde(const std::int8_t* query, const std::uint8_t* const rows[4], std::size_t byte_count,
                               std::int32_t sums[4]);

namespace {

struct NamedKernel {
  std::string name;
  DotSmallOfFour dot;
};

void AddNative(std::vector<NamedKernel>& kernels, DotSmallOfFour (*kernel_for)(CpuLevel)) {
  for (const CpuLevel level : {CpuLevel::kAvx2, CpuLevel::kAvx512Vnni, CpuLevel::kAmxInt8, CpuLevel::kNeonDot}) {
    const bool is_run = CpuSupports(level) && kernel_for(level) != nullptr;
    const std::string message =
        std::string(CpuLevelName(level)) + (is_run ? ": run natively" : ": not on this machine, SIMDe only");
    MESSAGE(message);
    if (is_run) kernels.push_back({std::string(CpuLevelName(level)), kernel_for(level)});
  }
}

std::vector<std::size_t> Dimensions() {
  std::vector<std::size_t> dimensions;
  for (std::size_t dimension = 2; dimension <= 300; ++dimension) dimensions.push_back(dimension);
  for (const std::size_t dimension : {384, 511, 512, 513, 768, 784, 1023, 1536, 3072, 4095, 4096}) {
    dimensions.push_back(dimension);
  }
  return dimensions;
}

constexpr std::size_t RoundUp(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Components, apart from how they are packed.
struct Case {
  std::vector<int> query;
  std::vector<std::vector<int>> rows;  // Four.
  std::int32_t Sum(std::size_t row) const {
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < query.size(); ++i) sum += query[i] * rows[row][i];
    return sum;
  }
};

Case RandomCase(std::mt19937& random, std::size_t dimension, int query_min, int query_max, int code_max) {
  std::uniform_int_distribution<int> of_query(query_min, query_max);
  std::uniform_int_distribution<int> of_row(0, code_max);
  Case result;
  result.rows.resize(4);
  for (std::size_t i = 0; i < dimension; ++i) result.query.push_back(of_query(random));
  for (auto& row : result.rows) {
    for (std::size_t i = 0; i < dimension; ++i) row.push_back(of_row(random));
  }
  return result;
}

// Checks `kernels` on the packed form of `of`, on heap blocks that are readable as far as the contract says.
void CheckKernels(const std::vector<NamedKernel>& kernels, const Case& of, const std::vector<std::int8_t>& query,
                  const std::vector<std::vector<std::uint8_t>>& rows, std::size_t byte_count) {
  const std::uint8_t* const addresses[4] = {rows[0].data(), rows[1].data(), rows[2].data(), rows[3].data()};
  for (const NamedKernel& kernel : kernels) {
    std::int32_t sums[4] = {7, 7, 7, 7};
    kernel.dot(query.data(), addresses, byte_count, sums);
    CAPTURE(kernel.name);
    CAPTURE(of.query.size());
    for (std::size_t row = 0; row < 4; ++row) REQUIRE(sums[row] == of.Sum(row));
  }
}

void CheckNibbles(const std::vector<NamedKernel>& kernels, const Case& of) {
  const std::size_t dimension = of.query.size();
  const std::size_t byte_count = (dimension + 1) / 2;
  const std::size_t row_bytes = RoundUp(byte_count, kNibbleBlockBytes);
  std::vector<std::int8_t> query(2 * row_bytes, 0);
  std::vector<std::vector<std::uint8_t>> rows(4, std::vector<std::uint8_t>(row_bytes, 0xFF));
  for (std::size_t i = 0; i < dimension; ++i) {
    const std::size_t j = i % byte_count;
    query[j / 64 * 128 + j % 64 + (i < byte_count ? 0 : 64)] = static_cast<std::int8_t>(of.query[i]);
    for (std::size_t row = 0; row < 4; ++row) {
      const auto code = static_cast<std::uint8_t>(of.rows[row][i]);
      rows[row][j] = static_cast<std::uint8_t>(i < byte_count ? (rows[row][j] & 0xF0) | code
                                                              : (rows[row][j] & 0x0F) | (code << 4));
    }
  }
  CheckKernels(kernels, of, query, rows, byte_count);
}

void CheckBits(const std::vector<NamedKernel>& kernels, const Case& of) {
  const std::size_t dimension = of.query.size();
  const std::size_t byte_count = (dimension + 7) / 8;
  const std::size_t row_bytes = RoundUp(byte_count, kBitBlockBytes);
  std::vector<std::int8_t> query(kBitPlanes * row_bytes, 0);
  std::vector<std::vector<std::uint8_t>> rows(4, std::vector<std::uint8_t>(row_bytes, 0xFF));
  for (std::size_t i = 0; i < dimension; ++i) {
    const auto bit = static_cast<std::uint8_t>(1 << (i % 8));
    for (std::size_t plane = 0; plane < kBitPlanes; ++plane) {
      if (((of.query[i] >> plane) & 1) == 0) continue;
      std::int8_t& byte = query[i / 128 * 64 + plane * 16 + i / 8 % 16];
      byte = static_cast<std::int8_t>(byte | bit);
    }
    for (std::size_t row = 0; row < 4; ++row) {
      if (of.rows[row][i] == 0) rows[row][i / 8] = static_cast<std::uint8_t>(rows[row][i / 8] & ~bit);
    }
  }
  CheckKernels(kernels, of, query, rows, byte_count);
}

}  // namespace

TEST_CASE("small dot kernels: four bits give the sum over components at every dimension") {
  std::vector<NamedKernel> kernels = {{"scalar", &DotNibblesOfFourScalar},
                                      {"avx2 over simde", &DotNibblesOfFourAvx2Simde},
                                      {"avx512vnni over simde", &DotNibblesOfFourAvx512VnniSimde},
                                      {"neondot over simde", &DotNibblesOfFourNeonDotSimde},
                                      {"best", BestDotNibblesOfFour()}};
  AddNative(kernels, &DotNibblesOfFourFor);
  constexpr unsigned kSeed = 20261126;
  CAPTURE(kSeed);
  std::mt19937 random(kSeed);
  for (const std::size_t dimension : Dimensions()) {
    for (int round = 0; round < 3; ++round) CheckNibbles(kernels, RandomCase(random, dimension, -127, 127, 15));
    Case largest = RandomCase(random, dimension, 127, 127, 15);
    std::fill(largest.rows[1].begin(), largest.rows[1].end(), 15);
    CheckNibbles(kernels, largest);
    std::fill(largest.query.begin(), largest.query.end(), -127);
    CheckNibbles(kernels, largest);
  }
}

TEST_CASE("small dot kernels: one bit gives the sum over components at every dimension") {
  std::vector<NamedKernel> kernels = {{"scalar", &DotBitsOfFourScalar},
                                      {"avx2 over simde", &DotBitsOfFourAvx2Simde},
                                      {"avx512vnni over simde", &DotBitsOfFourAvx512VnniSimde},
                                      {"neondot over simde", &DotBitsOfFourNeonDotSimde},
                                      {"best", BestDotBitsOfFour()}};
  AddNative(kernels, &DotBitsOfFourFor);
  constexpr unsigned kSeed = 20261127;
  CAPTURE(kSeed);
  std::mt19937 random(kSeed);
  for (const std::size_t dimension : Dimensions()) {
    for (int round = 0; round < 3; ++round) CheckBits(kernels, RandomCase(random, dimension, -8, 7, 1));
    for (const int largest_query : {-8, 7}) {
      Case largest = RandomCase(random, dimension, largest_query, largest_query, 1);
      std::fill(largest.rows[2].begin(), largest.rows[2].end(), 1);
      CheckBits(kernels, largest);
    }
  }
}

}  // namespace foreshore
