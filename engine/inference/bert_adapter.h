// A LoRA adapter ready to run beside a packed BERT: y = Wx + b + s·B(Ax), never merged into W.
// Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685).
//
// Lifetime: owns its numbers. Threads: immutable; may be shared.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "engine/inference/bert.h"
#include "engine/inference/tensor.h"
#include "foreshore/status.h"

namespace foreshore {

inline constexpr std::size_t kAdapterRankMax = 256;
inline constexpr std::size_t kAdapterColumnMultiple = 16;

// The linear layers of one encoder layer, in canonical order.
enum class BertLinear : std::uint8_t { kQuery = 0, kKey, kValue, kOutput, kUp, kDown };
inline constexpr std::size_t kBertLinearCount = 6;
const char* BertLinearName(BertLinear linear);  // "query" …
// Outputs and inputs.
struct BertLinearShape {
  std::size_t out;
  std::size_t in;
};
BertLinearShape ShapeOf(const BertConfig& config, BertLinear linear);

// A and B of one linear layer, transposed and padded with zeros to multiples of 16 columns.
struct LowRankPair {
  std::size_t rank = 0;          // Padded; 0 where the adapter leaves the layer alone.
  std::size_t output_count = 0;  // Padded.
  std::vector<float> a;          // [in][rank]
  std::vector<float> b;          // [rank][output_count], times the scale.
};

class BertAdapter {
 public:
  // Canonical tensors: layer.{i}.<linear>.lora_a F32 [r, in] and .lora_b F32 [out, r] in pairs, the scale (α/r or α/√r)
  // already in B. kInvalidArgument lists everything that is not of this model: unknown names, layers, shapes, halves
  // without their other, ranks above 256, and NaN or infinity.
  static Result<BertAdapter> Create(const BertConfig& config, const std::vector<TensorView>& tensors);

  const LowRankPair& pair(std::size_t layer, BertLinear linear) const {
    return pairs_[layer * kBertLinearCount + static_cast<std::size_t>(linear)];
  }
  const BertConfig& config() const { return config_; }
  std::size_t MemoryBytes() const;

 private:
  BertAdapter() = default;
  BertConfig config_;
  std::vector<LowRankPair> pairs_;
};

}  // namespace foreshore
