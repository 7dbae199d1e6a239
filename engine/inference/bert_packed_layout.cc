#include "engine/inference/bert_packed_layout.h"

#include <algorithm>

namespace foreshore {
namespace {

constexpr std::uint64_t RoundUp(std::uint64_t value, std::uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

PackedBertLayout::PackedBertLayout(const BertConfig& config, const WeightFormat& format) : format_(format) {
  const std::uint64_t hidden = config.hidden_size;
  const bool is_float = format.kind == WeightKind::kFloat;
  word_codes = Take(config.vocabulary_size * hidden * (is_float ? sizeof(float) : 1));
  if (!is_float) word_scales = Take(config.vocabulary_size * sizeof(float));
  positions = Take(config.position_count * hidden * sizeof(float));
  types = Take(config.type_count * hidden * sizeof(float));
  norm = TakeNorm(hidden);
  for (std::uint32_t i = 0; i < config.layer_count; ++i) {
    Layer layer;
    layer.qkv = TakeLinear(3 * hidden, hidden);
    layer.output = TakeLinear(hidden, hidden);
    layer.attention_norm = TakeNorm(hidden);
    layer.up = TakeLinear(config.intermediate_size, hidden);
    layer.down = TakeLinear(hidden, config.intermediate_size);
    layer.norm = TakeNorm(hidden);
    layers.push_back(layer);
  }
}

std::uint64_t PackedBertLayout::Take(std::uint64_t size_bytes) {
  const std::uint64_t offset = end_;
  end_ = RoundUp(end_ + size_bytes, kPackedBertAlignment);
  return offset;
}

PackedBertLayout::Norm PackedBertLayout::TakeNorm(std::uint64_t count) {
  const std::uint64_t gamma = Take(count * sizeof(float));
  return {gamma, Take(count * sizeof(float))};
}

PackedBertLayout::Linear PackedBertLayout::TakeLinear(std::uint64_t output_count, std::uint64_t input_count) {
  Linear linear;
  linear.outputs = RoundUp(output_count, kInt8PanelColumns);
  linear.inputs = input_count;
  linear.depth = RoundUp(input_count, kInt8DepthMultiple);
  switch (format_.kind) {
    case WeightKind::kFloat:
      linear.depth = input_count;
      linear.codes = Take(linear.outputs * linear.depth * sizeof(float));
      linear.bias = Take(linear.outputs * sizeof(float));
      break;
    case WeightKind::kInt8:
      linear.codes = Take(linear.outputs * linear.depth);
      linear.scales = Take(linear.outputs * sizeof(float));
      linear.bias = Take(linear.outputs * sizeof(float));
      linear.column_weights = Take(linear.outputs * sizeof(float));
      linear.column_sums = Take(linear.outputs * sizeof(std::int32_t));
      linear.pair_sums = Take(linear.outputs * sizeof(std::int32_t));
      break;
    case WeightKind::kGrouped:
    case WeightKind::kNf4:
      linear.group_size = std::min<std::uint64_t>(format_.group_size, linear.depth);
      linear.group_count = format_.GroupCount(input_count);
      linear.codes = Take(linear.outputs * linear.depth / 2);
      linear.scales = Take(linear.outputs * linear.group_count * sizeof(float));
      linear.bias = Take(linear.outputs * sizeof(float));
      linear.column_weights = Take(linear.outputs * sizeof(float));
      linear.zeros = Take(linear.outputs * linear.group_count);
      if (format_.ordered) linear.order = Take(input_count * sizeof(std::uint32_t));
      break;
  }
  return linear;
}

}  // namespace foreshore
