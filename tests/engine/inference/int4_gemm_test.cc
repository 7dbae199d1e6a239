#include "engine/inference/int4_gemm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <vector>

namespace foreshore {

// From int4_gemm_avx512_simde.cc and int4_gemm_neon_simde.cc.
const Int4Gemm& Int4GemmAvx512VnniOnSimde();
const Int4Gemm& Int4GemmNeonDotOnSimde();

namespace {

struct AlignedDelete {
  void operator()(char* memory) const { ::operator delete[](memory, std::align_val_t(64)); }
};
using AlignedBytes = std::unique_ptr<char[], AlignedDelete>;

AlignedBytes MakeAligned(std::size_t size_bytes) {
  return AlignedBytes(static_cast<char*>(::operator new[](size_bytes, std::align_val_t(64))));
}

// One panel, of which `group` is multiplied; codes stand row by row beside it.
struct Problem {
  std::size_t row_count;
  std::size_t depth;
  Int4Group group;
  std::vector<std::int8_t> activations;  // [row_count][depth]
  std::vector<std::uint8_t> weights;     // [64][group.depth]
  std::vector<std::uint8_t> panel;
  std::vector<std::uint8_t> zeros;
  std::vector<std::uint8_t> levels;  // Empty: codes are levels.

  template <typename MakeCode, typename MakeWeight, typename MakeZero>
  Problem(std::size_t rows, std::size_t k_count, Int4Group of, std::vector<std::uint8_t> table, MakeCode make_code,
          MakeWeight make_weight, MakeZero make_zero)
      : row_count(rows),
        depth(k_count),
        group(of),
        activations(rows * k_count),
        weights(64 * of.depth),
        panel(32 * of.depth),
        zeros(64),
        levels(std::move(table)) {
    for (auto& code : activations) code = static_cast<std::int8_t>(make_code());
    for (auto& code : weights) code = static_cast<std::uint8_t>(make_weight());
    for (auto& zero : zeros) zero = static_cast<std::uint8_t>(make_zero());
    for (std::size_t n = 0; n < 64; ++n) {
      for (std::size_t k = 0; k < group.depth; ++k) {
        const int code = weights[n * group.depth + k];
        panel[(k / 8 * 64 + n) * 4 + k % 4] |= static_cast<std::uint8_t>(k % 8 < 4 ? code : code << 4);
      }
    }
  }

  std::vector<std::int32_t> Expected() const {
    std::vector<std::int32_t> sums(row_count * 64);
    for (std::size_t row = 0; row < row_count; ++row) {
      for (std::size_t n = 0; n < 64; ++n) {
        for (std::size_t k = 0; k < group.depth; ++k) {
          const std::uint8_t code = weights[n * group.depth + k];
          const int level = levels.empty() ? code : levels[code];
          sums[row * 64 + n] += activations[row * depth + group.first + k] * (level - zeros[n]);
        }
      }
    }
    return sums;
  }

  std::vector<std::int32_t> Run(const Int4Gemm& gemm) const {
    const AlignedBytes packed = MakeAligned(gemm.PackedBytes(row_count, depth));
    std::vector<std::int32_t> sums(row_count * 64, 0x5a5a5a5a);
    std::vector<std::int32_t> code_sums(row_count);
    SumInt4Codes(activations.data(), row_count, depth, group, code_sums.data());
    gemm.pack_rows(activations.data(), row_count, depth, packed.get());
    gemm.multiply_group(packed.get(), row_count, depth, group, code_sums.data(),
                        {panel.data(), zeros.data(), levels.empty() ? nullptr : levels.data()}, sums.data());
    return sums;
  }
};

struct NamedGemm {
  const char* name;
  const Int4Gemm* gemm;
};

// Those that take a group at a time, or with `by_panel` those that take all of a panel.
std::vector<NamedGemm> GemmsToTest(bool by_panel = false) {
  std::vector<NamedGemm> gemms = {{"scalar", &Int4GemmScalar()},
                                  {"avx512vnni on SIMDe", &Int4GemmAvx512VnniOnSimde()},
                                  {"neondot on SIMDe", &Int4GemmNeonDotOnSimde()}};
  for (const CpuLevel level : {CpuLevel::kAvx2, CpuLevel::kAvx512Vnni, CpuLevel::kAmxInt8, CpuLevel::kNeonDot}) {
    if (CpuSupports(level)) gemms.push_back({CpuLevelName(level).data(), &Int4GemmFor(level)});
  }
  std::erase_if(gemms, [&](const NamedGemm& each) { return (each.gemm->multiply_panel != nullptr) != by_panel; });
  return gemms;
}

const std::vector<std::uint8_t> kTable = {0, 19, 30, 38, 45, 51, 57, 63, 68, 73, 79, 84, 91, 98, 109, 127};

// All groups of one panel, at random.
struct GroupedProblem {
  std::size_t row_count;
  std::size_t depth;
  std::size_t group_size;
  std::size_t group_count;
  std::vector<std::int8_t> activations;
  std::vector<std::uint8_t> codes;
  std::vector<std::uint8_t> zeros;
  std::vector<float> scales;

  GroupedProblem(std::size_t rows, std::size_t k_count, std::size_t of, std::mt19937& random)
      : row_count(rows),
        depth(k_count),
        group_size(of),
        group_count((k_count + of - 1) / of),
        activations(rows * k_count),
        codes(32 * k_count),
        zeros(64 * group_count),
        scales(64 * group_count) {
    for (auto& code : activations) code = static_cast<std::int8_t>(static_cast<int>(random() % 255) - 127);
    for (auto& both : codes) both = static_cast<std::uint8_t>(random());
    for (auto& zero : zeros) zero = static_cast<std::uint8_t>(random() % 17);
    std::uniform_real_distribution<float> scale(0.001F, 0.1F);
    for (auto& each : scales) each = scale(random);
  }

  Int4Group group(std::size_t index) const {
    const std::size_t first = index * group_size;
    return {first, std::min(group_size, depth - first)};
  }

  // By the scalar kernel's integers, each step fused.
  std::vector<float> Expected(const std::uint8_t* levels) const {
    std::vector<float> acc(row_count * 64);
    std::vector<std::int32_t> sums(acc.size());
    for (std::size_t index = 0; index < group_count; ++index) {
      const Int4Panel panel{codes.data() + group(index).first * 32, zeros.data() + index * 64, levels};
      Int4GemmScalar().multiply_group(activations.data(), row_count, depth, group(index), nullptr, panel, sums.data());
      for (std::size_t i = 0; i < acc.size(); ++i) {
        acc[i] = std::fma(static_cast<float>(sums[i]), scales[index * 64 + i % 64], acc[i]);
      }
    }
    return acc;
  }

  std::vector<float> Run(const Int4Gemm& gemm, const std::uint8_t* levels) const {
    const AlignedBytes packed = MakeAligned(gemm.PackedBytes(row_count, depth));
    const AlignedBytes workspace = MakeAligned(Int4Gemm::WorkspaceBytes(depth));
    std::memset(workspace.get(), 0x5a, Int4Gemm::WorkspaceBytes(depth));
    gemm.pack_rows(activations.data(), row_count, depth, packed.get());
    std::vector<float> acc(row_count * 64, -1e30F);
    gemm.multiply_panel(packed.get(), row_count, depth,
                        {codes.data(), zeros.data(), scales.data(), levels, group_size, group_count}, workspace.get(),
                        acc.data());
    return acc;
  }
};

}  // namespace

TEST_CASE(
    "int4 gemm: every kernel returns the plain sums, for every remainder of rows, any group, with and without levels") {
  std::mt19937 random(20260102);
  std::uniform_int_distribution<int> code(-127, 127);
  std::uniform_int_distribution<int> weight(0, 15);
  for (const Int4Group group : {Int4Group{0, 8}, {0, 32}, {32, 32}, {64, 40}, {128, 128}, {0, 384}}) {
    const std::size_t depth = std::max<std::size_t>(group.first + group.depth, 200);
    for (const std::size_t row_count : {1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 15, 16, 17, 31, 32, 33, 48, 49, 65}) {
      for (const auto& table : {std::vector<std::uint8_t>(), kTable}) {
        const int zero_max = table.empty() ? 15 : 127;
        std::uniform_int_distribution<int> zero(0, zero_max);
        const Problem problem(
            row_count, depth, group, table, [&] { return code(random); }, [&] { return weight(random); },
            [&] { return zero(random); });
        const std::vector<std::int32_t> expected = problem.Expected();
        for (const NamedGemm& named : GemmsToTest()) {
          CAPTURE(named.name);
          CAPTURE(group.depth);
          CAPTURE(row_count);
          CHECK(problem.Run(*named.gemm) == expected);
        }
      }
    }
  }
}

// Goal: no kernel saturates or overflows where the header says that it does not.
// Method: every operand at an end of its range, in one group of the deepest product allowed.
TEST_CASE("int4 gemm: operands at the ends of their range stay exact at the largest depth") {
  for (const int sign : {1, -1}) {
    for (const bool lookup : {false, true}) {
      for (const bool zero_high : {false, true}) {
        const int level = lookup ? 127 : 15;
        const int zero = zero_high ? level : 0;
        const int code = zero_high ? 0 : 15;
        const Problem problem(
            1, kInt8DepthMax, {0, kInt8DepthMax}, lookup ? kTable : std::vector<std::uint8_t>(),
            [&] { return 127 * sign; }, [&] { return code; }, [&] { return zero; });
        const std::int32_t expected =
            static_cast<std::int32_t>(kInt8DepthMax) * 127 * sign * (zero_high ? -level : level);
        for (const NamedGemm& named : GemmsToTest()) {
          CAPTURE(named.name);
          CAPTURE(lookup);
          CHECK(problem.Run(*named.gemm)[63] == expected);
        }
      }
    }
  }
}

TEST_CASE("int4 gemm: a panel of groups at once is the scalar kernel's sums, scaled group by group, bit for bit") {
  std::mt19937 random(20260103);
  for (const NamedGemm& named : GemmsToTest(true)) {
    CAPTURE(named.name);
    for (const auto& [depth, group_size] : {std::pair<std::size_t, std::size_t>{8, 8},
                                            {64, 32},
                                            {200, 32},
                                            {200, 64},
                                            {384, 128},
                                            {400, 128},
                                            {1536, 128},
                                            {1000, 1000}}) {
      for (const std::size_t row_count : {1, 15, 16, 17, 31, 32, 33, 49, 64, 96}) {
        CAPTURE(depth);
        CAPTURE(group_size);
        CAPTURE(row_count);
        const GroupedProblem problem(row_count, depth, group_size, random);
        for (const std::uint8_t* levels : {static_cast<const std::uint8_t*>(nullptr), kTable.data()}) {
          CHECK(problem.Run(*named.gemm, levels) == problem.Expected(levels));
        }
      }
    }
  }
}

}  // namespace foreshore
