// How many nodes of a graph became one step, by kind: what the optimiser has recognised of a file. Found again whenever
// the graph is built, on a packed graph too.
//
// Threads: values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace foreshore::graph {

enum class Fusion : std::uint8_t {
  kAttention,       // Products, scale, masks, softmax and transposes of attention.
  kQkv,             // Products of one value by several constant matrices, side by side.
  kResidual,        // A sum and the layer norm behind it.
  kLayerNorm,       // The nodes of one.
  kGelu,            // The nodes of one, exact or by tanh.
  kSwish,           // The nodes of a SiLU or HardSwish.
  kBatchNorm,       // Into a convolution before or after it.
  kQdq,             // DequantizeLinear, an operator and what follows it, over codes.
  kDynamicProduct,  // The nodes of a dynamically quantized product.
  kBias,            // A row that is added to a product, by the product.
  kActivation,      // By the product or convolution before it.
};
inline constexpr std::size_t kFusionCount = 11;
inline constexpr std::array<std::string_view, kFusionCount> kFusionNames{
    "attention",  "qkv", "residual",     "layer norm", "gelu",      "swish",
    "batch norm", "qdq", "dynamic int8", "bias",       "activation"};

class FusionCounts {
 public:
  void Add(Fusion fusion) { ++counts_[static_cast<std::size_t>(fusion)]; }
  void Add(const FusionCounts& other) {
    for (std::size_t i = 0; i < kFusionCount; ++i) counts_[i] += other.counts_[i];
  }
  std::uint32_t operator[](Fusion fusion) const { return counts_[static_cast<std::size_t>(fusion)]; }

  // "6 attention, 6 qkv": kinds in the order above, those that there are; empty for none.
  std::string Text() const {
    std::string text;
    for (std::size_t i = 0; i < kFusionCount; ++i) {
      if (counts_[i] == 0) continue;
      text += (text.empty() ? "" : ", ") + std::to_string(counts_[i]) + " " + std::string(kFusionNames[i]);
    }
    return text;
  }

 private:
  std::array<std::uint32_t, kFusionCount> counts_{};
};

}  // namespace foreshore::graph
