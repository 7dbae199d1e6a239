#include "tests/bench/inference_peak.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <vector>

#include "engine/inference/graph/aligned_bytes.h"
#include "engine/inference/int8_gemm.h"
#include "storage/base/cpu.h"
#include "tests/bench/bench_clock.h"

namespace foreshore {
namespace {

constexpr std::size_t kRows = 128;
constexpr std::size_t kInputs = 384;
constexpr std::size_t kOutputs = 1536;
constexpr int kRounds = 400;

// Of interleaved runs, medians stand the changes of clock rate that a best does not.
double Median(std::vector<double>& values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct Product {
  explicit Product(const Int8Gemm& kernel)
      : gemm(kernel),
        codes(kRows * kInputs),
        packed(graph::AlignedBytes::Make(gemm.PackedBytes(kRows, kInputs)).value()),
        workspace(graph::AlignedBytes::Make(Int8Gemm::WorkspaceBytes(kInputs)).value()),
        weights(graph::AlignedBytes::Make(kOutputs * kInputs).value()),
        zeros(kInt8PanelColumns),
        sums(kRows * kInt8PanelColumns) {
    std::mt19937 random(1);
    for (std::int8_t& code : codes) code = static_cast<std::int8_t>(random() % 255 - 127);
    for (std::size_t i = 0; i < kOutputs * kInputs; ++i)
      weights.data()[i] = static_cast<std::byte>(random() % 255 - 127);
    gemm.pack_rows(codes.data(), kRows, kInputs, packed.data());
  }
  double OperationsPerNs() {
    const std::int64_t start = ProcessorNs();
    for (std::size_t column = 0; column < kOutputs; column += kInt8PanelColumns) {
      const auto* panel = reinterpret_cast<const std::int8_t*>(weights.data()) + column * kInputs;
      gemm.multiply_panel(packed.data(), kRows, kInputs, {panel, zeros.data(), zeros.data()}, workspace.data(),
                          sums.data());
    }
    return 2.0 * kRows * kInputs * kOutputs / static_cast<double>(ProcessorNs() - start);
  }

  const Int8Gemm& gemm;
  std::vector<std::int8_t> codes;
  graph::AlignedBytes packed;
  graph::AlignedBytes workspace;
  graph::AlignedBytes weights;
  std::vector<std::int32_t> zeros;
  std::vector<std::int32_t> sums;
};

#if defined(__x86_64__)
// Twelve independent sums hide the latency of 4 or 5 cycles at two a cycle.
[[gnu::target("avx512f,avx512vnni")]] double PeakOperationsPerNs() {
  constexpr int kSteps = 20'000;
  const std::int64_t start = ProcessorNs();
  for (int i = 0; i < kSteps; ++i) {
    asm volatile(
        "vpdpbusd %%zmm30, %%zmm31, %%zmm0\n vpdpbusd %%zmm30, %%zmm31, %%zmm1\n vpdpbusd %%zmm30, %%zmm31, %%zmm2\n"
        "vpdpbusd %%zmm30, %%zmm31, %%zmm3\n vpdpbusd %%zmm30, %%zmm31, %%zmm4\n vpdpbusd %%zmm30, %%zmm31, %%zmm5\n"
        "vpdpbusd %%zmm30, %%zmm31, %%zmm6\n vpdpbusd %%zmm30, %%zmm31, %%zmm7\n vpdpbusd %%zmm30, %%zmm31, %%zmm8\n"
        "vpdpbusd %%zmm30, %%zmm31, %%zmm9\n vpdpbusd %%zmm30, %%zmm31, %%zmm10\n vpdpbusd %%zmm30, %%zmm31, %%zmm11\n"
        :
        :
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
  }
  return 2.0 * 12 * 64 * kSteps / static_cast<double>(ProcessorNs() - start);
}
#endif

}  // namespace

GemmRates MeasureGemm() {
  std::vector<double> best_rates, vnni_rates, peaks;
  Product best(Int8GemmFor(DetectCpuLevel()));
#if defined(__x86_64__)
  if (CpuSupports(CpuLevel::kAvx512Vnni)) {
    Product vnni(Int8GemmFor(CpuLevel::kAvx512Vnni));
    for (int round = 0; round < kRounds; ++round) {
      peaks.push_back(PeakOperationsPerNs());
      vnni_rates.push_back(vnni.OperationsPerNs());
    }
  }
#endif
  for (int round = 0; round < kRounds; ++round) best_rates.push_back(best.OperationsPerNs());
  return {Median(best_rates), Median(vnni_rates), Median(peaks)};
}

}  // namespace foreshore
