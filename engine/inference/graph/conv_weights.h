// Constant weights of a convolution, as its kernels read them.
//
// Threads: values. Lifetime: borrow the graph's constants.
#pragma once

#include <cstdint>

#include "engine/inference/graph/step_kernel.h"
#include "engine/inference/graph/tensor_value.h"

namespace foreshore::graph {

struct ConvWeights {
  const float* data = nullptr;
  const float* bias = nullptr;
  std::int64_t groups = 1;
  std::int64_t out_channels = 0;
  std::int64_t per_group = 0;  // Input channels of a group.
  std::int64_t taps = 0;

  std::int64_t depth() const { return per_group * taps; }
  std::int64_t out_per_group() const { return out_channels / groups; }
};

// Constant float weights of one or two spatial axes whose groups divide, and a constant bias or none.
inline bool ReadConvWeights(const KernelSource& source, ConvWeights& weights) {
  const TensorRef& w = source.inputs[1];
  const bool has_bias = source.inputs.size() > 2 && source.inputs[2].info != nullptr;
  if (!source.IsConstant(1) || w.info->type != OnnxType::kFloat || w.info->shape.size() < 3 ||
      w.info->shape.size() > 4) {
    return false;
  }
  if (has_bias && (source.inputs[2].data == nullptr || source.inputs[2].info->type != OnnxType::kFloat)) return false;
  const Shape& shape = w.info->shape;
  weights.groups = source.node.IntAttribute("group", 1);
  weights.out_channels = shape[0];
  weights.per_group = shape[1];
  weights.taps = InnerCount(shape, 2);
  weights.data = w.as<float>();
  if (weights.groups < 1 || weights.out_channels < 1 || weights.out_channels % weights.groups != 0 ||
      weights.depth() < 1) {
    return false;
  }
  if (!has_bias) return true;
  weights.bias = source.inputs[2].as<float>();
  return source.inputs[2].info->shape == Shape{weights.out_channels};
}

}  // namespace foreshore::graph
