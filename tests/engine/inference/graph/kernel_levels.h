// Graphs run at every level of instructions that this machine has, beside the operators' own code.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "tests/engine/inference/graph/graph_runner.h"
#include "tests/engine/inference/graph/vector_kernels_avx512_simde.h"

namespace foreshore::graph {

// Uniform in [-1, 1).
inline std::vector<float> Random(std::int64_t count, std::uint64_t seed) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    values.push_back(static_cast<float>(static_cast<double>(seed >> 40) / 8388608.0 - 1.0));
  }
  return values;
}

inline std::vector<const VectorKernels*> Levels() {
  std::vector<const VectorKernels*> levels{&VectorKernelsPortable()};
#if defined(__x86_64__)
  if (CpuSupports(CpuLevel::kAvx2)) levels.push_back(&VectorKernelsAvx2());
  if (CpuSupports(CpuLevel::kAvx512Vnni)) levels.push_back(&VectorKernelsAvx512());
#endif
  return levels;
}

// With the kernels of sixteen lanes even where the machine has none.
inline std::vector<const VectorKernels*> AllLevels() {
  std::vector<const VectorKernels*> levels = Levels();
  if (levels.back()->lanes < 16) levels.push_back(&VectorKernelsAvx512OnSimde());
  return levels;
}

// Calls check(found, expected) with the outputs of each level and those of the operators' own code. Returns how many
// steps are left with kernels.
template <typename Check>
std::size_t CompareLevels(const OnnxWriter& writer, const OwnedTensor& x, Check check) {
  const ByteString file = writer.Finish();
  const std::vector<TensorRef> refs{x.ref()};
  const auto plain = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {}, nullptr);
  REQUIRE_MESSAGE(plain.ok(), plain.status().message());
  const auto expected = GraphExecutor(*plain).Run(refs);
  REQUIRE_MESSAGE(expected.ok(), expected.status().message());
  std::size_t step_count = 0;
  for (const VectorKernels* kernels : Levels()) {
    CAPTURE(CpuLevelName(kernels->level));
    const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {}, kernels);
    REQUIRE_MESSAGE(graph.ok(), graph.status().message());
    step_count = graph->steps().size();
    const auto found = GraphExecutor(*graph).Run(refs);
    REQUIRE_MESSAGE(found.ok(), found.status().message());
    check(*found, *expected);
  }
  return step_count;
}

}  // namespace foreshore::graph
