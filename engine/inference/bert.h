// The BERT family as every importer delivers it and every executor takes it: one configuration and tensors
// under fixed names, whatever the file called them.
//
// Follows Devlin et al. 2018 (arXiv:1810.04805), post-layer-norm encoder, GELU with erf; sentence pooling as in
// Reimers and Gurevych 2019 (arXiv:1908.10084).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/inference/tensor.h"
#include "engine/inference/weight_format.h"
#include "foreshore/status.h"

namespace foreshore {

struct BertConfig {
  std::uint32_t hidden_size = 0;  // H, a multiple of head_count.
  std::uint32_t layer_count = 0;
  std::uint32_t head_count = 0;
  std::uint32_t intermediate_size = 0;  // I
  std::uint32_t vocabulary_size = 0;    // V
  std::uint32_t position_count = 0;     // P, the longest sequence there is a position embedding for.
  std::uint32_t type_count = 0;         // T
  std::uint32_t token_count_max = 0;    // Longest sequence to feed, [CLS] and [SEP] included; ≤ position_count.
  float layer_norm_epsilon = 1e-12F;
  bool normalise = true;  // L2 after mean pooling.

  friend bool operator==(const BertConfig&, const BertConfig&) = default;
};

// kInvalidArgument names the first field that makes no sense (zero, not divisible, absurdly large).
Status ValidateBertConfig(const BertConfig& config);

// Canonical names. F32 model (what importers make):
//   embeddings.word [V,H] · embeddings.position [P,H] · embeddings.type [T,H]
//   embeddings.norm.gamma [H] · embeddings.norm.beta [H]
//   layer.{i}.query|key|value|output.weight [H,H] · .bias [H]      (weights are [out,in]: y = x·Wᵀ + b)
//   layer.{i}.attention.norm.gamma|beta [H]
//   layer.{i}.up.weight [I,H] · .bias [I] · layer.{i}.down.weight [H,I] · .bias [H]
//   layer.{i}.norm.gamma|beta [H]
// Int8 model (what QuantizeBertInt8 makes): each *.weight and embeddings.word are I8 of the same shape, with
//   <name>.scale F32 [rows] beside it, value = scale[row] · code, codes in -127..127; the rest stays F32.
// Grouped model (gptq4, gptq3; N outputs, K inputs, G groups): embeddings.word as in the int8 model, and each *.weight
//   U8 [N, ⌈K·bits/8⌉], a row of codes with the lowest bits first, .scale F32 [N,G], .zero U8 [N,G], and where inputs
//   are ordered .order I32 [K], the input at each place: value = scale · (code − zero). query, key and value share an
//   order.
// Nf4 model: the same embeddings.word, *.weight U8 [N, ⌈K/2⌉], .scale U8 [N,G], .scale.block F32 [⌈N·G/256⌉] and
//   .scale.mean F32 [1] (nf4.h).
struct BertModel {
  BertConfig config;
  std::vector<Tensor> tensors;
};

// Every name, type and shape that `config` asks for in this form, in a fixed order.
std::vector<TensorView> BertTensorTable(const BertConfig& config, const WeightFormat& format);

// kInvalidArgument lists every tensor that is missing, unknown, or of the wrong type or shape.
Status ValidateBertTensors(const BertConfig& config, const WeightFormat& format,
                           const std::vector<TensorView>& tensors);

// The two forms that importers and the int8 quantizer deal in.
inline std::vector<TensorView> BertTensorTable(const BertConfig& config, bool int8) {
  return BertTensorTable(config, int8 ? WeightFormat::Int8() : WeightFormat::Float());
}
inline Status ValidateBertTensors(const BertConfig& config, bool int8, const std::vector<TensorView>& tensors) {
  return ValidateBertTensors(config, int8 ? WeightFormat::Int8() : WeightFormat::Float(), tensors);
}

}  // namespace foreshore
