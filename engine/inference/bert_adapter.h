// A LoRA adapter ready to run beside a packed BERT: y = Wx + b + s·B(Ax), never merged into W.
// Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685).
//
// Lifetime: owns its numbers. Threads: immutable; may be shared.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/inference/bert.h"
#include "engine/inference/int8_gemm.h"
#include "engine/inference/tensor.h"
#include "foreshore/status.h"

namespace foreshore {

inline constexpr std::size_t kAdapterRankMax = 256;
inline constexpr std::size_t kAdapterRankMultiple = 4;  // Ranks of each layer are filled up with zeros.
inline constexpr std::size_t kAdapterRankColumnsMax = 3 * kAdapterRankMax;

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

// As in int8, a scale for each rank: one panel of int8_gemm.h, of which the ranks are the first columns.
struct LowRankCodes {
  struct alignas(64) Line {
    std::array<std::int8_t, 64> codes;
  };
  std::vector<Line> lines;    // [depth/4][64][4]; empty where the ranks are too many.
  std::vector<float> scales;  // [64], and so are the others.
  std::vector<float> column_weights;
  std::vector<float> bias;  // Zeros.
  std::vector<std::int32_t> column_sums;
  std::vector<std::int32_t> pair_sums;

  std::size_t column_count = 0;  // Of ranks, a multiple of 8.

  Int8Panel panel() const { return {lines.front().codes.data(), column_sums.data(), pair_sums.data(), column_count}; }
};

// What 64 outputs take of the ranks.
struct LowRankPanel {
  std::size_t first_rank = 0;
  std::size_t rank = 0;   // 0 where the adapter leaves the outputs alone.
  std::size_t first = 0;  // Of b.
};

// The adapters of the linear layers that read the same activations: their As side by side, so that these are read once,
// transposed and padded with zeros to a multiple of 16 columns. Layers of int8 take them in int8, by the codes that the
// activations have there anyway.
struct LowRankInput {
  std::size_t input_count = 0;
  std::size_t rank_columns = 0;  // 0 where the adapter leaves all of the layers alone.
  std::vector<float> a;          // [input_count][rank_columns]
  LowRankCodes codes;
  std::vector<LowRankPanel> panels;  // One for 64 outputs of the layers, one layer's behind the other's.
  std::vector<float> b;              // For each panel [rank][64], times the scale.
};

class BertAdapter {
 public:
  // Canonical tensors: layer.{i}.<linear>.lora_a F32 [r, in] and .lora_b F32 [out, r] in pairs, the scale (α/r or α/√r)
  // already in B. kInvalidArgument lists everything that is not of this model: unknown names, layers, shapes, halves
  // without their other, ranks above 256, and NaN or infinity.
  static Result<BertAdapter> Create(const BertConfig& config, const std::vector<TensorView>& tensors);

  // `linear` is kQuery, for query, key and value, or one of those after them.
  const LowRankInput& input(std::size_t layer, BertLinear linear) const {
    return inputs_[layer * kBertLinearCount + static_cast<std::size_t>(linear)];
  }
  const BertConfig& config() const { return config_; }
  std::size_t MemoryBytes() const;

 private:
  BertAdapter() = default;
  BertConfig config_;
  std::vector<LowRankInput> inputs_;  // Those of key and value are empty.
};

}  // namespace foreshore
