#include "engine/inference/int8_gemm.h"

#include <doctest/doctest.h>

#include <memory>
#include <new>
#include <random>
#include <vector>

namespace foreshore {

// From int8_gemm_avx512_simde.cc and int8_gemm_neon_simde.cc.
const Int8Gemm& Int8GemmAvx512VnniOnSimde();
const Int8Gemm& Int8GemmNeonDotOnSimde();

namespace {

struct AlignedDelete {
  void operator()(char* memory) const { ::operator delete[](memory, std::align_val_t(64)); }
};
using AlignedBytes = std::unique_ptr<char[], AlignedDelete>;

AlignedBytes MakeAligned(std::size_t size_bytes) {
  return AlignedBytes(static_cast<char*>(::operator new[](size_bytes, std::align_val_t(64))));
}

// Row-major codes, and the same weights as one panel with its sums.
struct Problem {
  std::size_t row_count;
  std::size_t depth;
  std::vector<std::int8_t> activations;  // [row_count][depth]
  std::vector<std::int8_t> weights;      // [64][depth]
  AlignedBytes panel;
  std::int32_t column_sums[64] = {};
  std::int32_t pair_sums[64] = {};

  template <typename MakeCode>
  Problem(std::size_t rows, std::size_t k_count, MakeCode make_code)
      : row_count(rows),
        depth(k_count),
        activations(rows * k_count),
        weights(64 * k_count),
        panel(MakeAligned(64 * k_count)) {
    for (auto& code : activations) code = static_cast<std::int8_t>(make_code());
    for (auto& code : weights) code = static_cast<std::int8_t>(make_code());
    for (std::size_t n = 0; n < 64; ++n) {
      for (std::size_t k = 0; k < depth; ++k) {
        panel[(k / 4 * 64 + n) * 4 + k % 4] = static_cast<char>(weights[n * depth + k]);
        column_sums[n] += weights[n * depth + k];
        if (k % 8 < 4) pair_sums[n] += weights[n * depth + k] * weights[n * depth + k + 4];
      }
    }
  }

  std::vector<std::int32_t> Expected() const {
    std::vector<std::int32_t> sums(row_count * 64);
    for (std::size_t row = 0; row < row_count; ++row) {
      for (std::size_t n = 0; n < 64; ++n) {
        for (std::size_t k = 0; k < depth; ++k)
          sums[row * 64 + n] += activations[row * depth + k] * weights[n * depth + k];
      }
    }
    return sums;
  }

  std::vector<std::int32_t> Run(const Int8Gemm& gemm) const {
    const AlignedBytes packed = MakeAligned(gemm.PackedBytes(row_count, depth));
    const AlignedBytes workspace = MakeAligned(Int8Gemm::WorkspaceBytes(depth));
    std::vector<std::int32_t> sums(row_count * 64, 0x5a5a5a5a);
    gemm.pack_rows(activations.data(), row_count, depth, packed.get());
    gemm.multiply_panel(packed.get(), row_count, depth,
                        {reinterpret_cast<const std::int8_t*>(panel.get()), column_sums, pair_sums}, workspace.get(),
                        sums.data());
    return sums;
  }
};

struct NamedGemm {
  const char* name;
  const Int8Gemm& gemm;
};

std::vector<NamedGemm> GemmsToTest() {
  std::vector<NamedGemm> gemms = {{"scalar", Int8GemmScalar()},
                                  {"avx512vnni on SIMDe", Int8GemmAvx512VnniOnSimde()},
                                  {"neondot on SIMDe", Int8GemmNeonDotOnSimde()}};
  for (const CpuLevel level : {CpuLevel::kAvx2, CpuLevel::kAvx512Vnni, CpuLevel::kAmxInt8, CpuLevel::kNeonDot}) {
    if (CpuSupports(level)) gemms.push_back({CpuLevelName(level).data(), Int8GemmFor(level)});
  }
  return gemms;
}

}  // namespace

// Every remainder of the kernels' tiles: 4, 6 and 8 rows, and 16 rows once and twice.
constexpr std::size_t kRowCounts[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
                                      15, 16, 17, 18, 19, 31, 32, 33, 47, 48, 49, 63, 64, 65};

TEST_CASE("int8 gemm: every kernel returns the plain sums, for every remainder of rows and depth") {
  std::mt19937 random(20260101);
  std::uniform_int_distribution<int> code(-127, 127);
  for (const std::size_t depth : {8, 16, 24, 64, 104, 384}) {
    for (const std::size_t row_count : kRowCounts) {
      const Problem problem(row_count, depth, [&] { return code(random); });
      const std::vector<std::int32_t> expected = problem.Expected();
      for (const NamedGemm& named : GemmsToTest()) {
        CAPTURE(named.name);
        CAPTURE(depth);
        CAPTURE(row_count);
        CHECK(problem.Run(named.gemm) == expected);
      }
    }
  }
}

// Goal: no kernel saturates or overflows where the header says that it does not.
// Method: every code at an end of its range, at the depth of the largest BERT's down projection.
TEST_CASE("int8 gemm: codes at the ends of their range stay exact") {
  for (const int sign : {1, -1}) {
    int count = 0;
    const Problem same(7, 4096, [&] { return 127 * sign; });
    const Problem alternating(7, 4096, [&] { return ++count % 2 == 0 ? 127 : -127; });
    for (const NamedGemm& named : GemmsToTest()) {
      CAPTURE(named.name);
      CHECK(same.Run(named.gemm) == std::vector<std::int32_t>(7 * 64, 4096 * 127 * 127));
      CHECK(alternating.Run(named.gemm) == alternating.Expected());
    }
  }
}

TEST_CASE("int8 gemm: the deepest product allowed does not overflow") {
  const Problem problem(1, kInt8DepthMax, [] { return 127; });
  for (const NamedGemm& named : GemmsToTest()) {
    CAPTURE(named.name);
    CHECK(problem.Run(named.gemm)[63] == static_cast<std::int32_t>(kInt8DepthMax) * 127 * 127);
  }
}

}  // namespace foreshore
