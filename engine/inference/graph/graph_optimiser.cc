#include "engine/inference/graph/graph_optimiser.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/inference/graph/attention.h"
#include "engine/inference/graph/dynamic_product.h"
#include "engine/inference/graph/operators_codes.h"
#include "engine/inference/graph/operators_last.h"

namespace foreshore::graph {

Status GraphOptimiser::Run() {
  is_dead_.assign(graph_.steps_.size(), false);
  CountUses();
  for (std::size_t i = 0; i < graph_.steps_.size(); ++i) {
    if (!is_dead_[i]) FuseLayerNorm(i);
    if (!is_dead_[i]) FuseGelu(i);
    if (!is_dead_[i]) FuseHardSwish(i);
    if (!is_dead_[i]) FuseSilu(i);
    if (!is_dead_[i]) FORESHORE_RETURN_IF_ERROR(FuseGateSum(i));
    if (!is_dead_[i]) FuseDynamicProduct(i);
  }
  RemoveUnused();
  for (std::size_t i = 0; i < graph_.steps_.size(); ++i) {
    FuseAttention(i);
    FuseResidual(i);
  }
  RemoveUnused();
  JoinProducts();
  FORESHORE_RETURN_IF_ERROR(FoldConvs());
  for (std::size_t i = 0; i < graph_.steps_.size(); ++i) FORESHORE_RETURN_IF_ERROR(FoldBeforeConv(i));
  RemoveUnused();
  FORESHORE_RETURN_IF_ERROR(LayOutFloats());
  for (std::size_t i = 0; i < graph_.steps_.size(); ++i) {
    if (!is_dead_[i]) FORESHORE_RETURN_IF_ERROR(AttachKernel(i));
  }
  RemoveUnused();
  return Status::Ok();
}

Status GraphOptimiser::FoldConvs() {
  is_dead_.assign(graph_.steps_.size(), false);
  CountUses();
  for (std::size_t i = 0; i < graph_.steps_.size(); ++i) {
    const std::string_view name = graph_.steps_[i].op->name;
    if (!is_dead_[i] && (name == "Conv" || name == "ConvTranspose")) FORESHORE_RETURN_IF_ERROR(FoldIntoConv(i));
  }
  RemoveUnused();
  return Status::Ok();
}

void GraphOptimiser::CountUses() {
  makers_.assign(graph_.values_.size(), kNoStep);
  users_.assign(graph_.values_.size(), {});
  for (std::size_t i = 0; i < graph_.steps_.size(); ++i) {
    if (is_dead_[i]) continue;
    for (const ValueIndex output : graph_.steps_[i].outputs) {
      if (output != kNoValue) makers_[output] = i;
    }
    for (const ValueIndex input : graph_.steps_[i].inputs) {
      if (input != kNoValue) users_[input].push_back(i);
    }
  }
  for (const GraphPort& output : graph_.outputs_) users_[output.value].push_back(kNoStep);
}

// Drops steps that are dead and those whose outputs nobody uses any more, last ones first.
void GraphOptimiser::RemoveUnused() {
  for (std::size_t i = graph_.steps_.size(); i-- > 0;) {
    if (i + 1 == graph_.steps_.size()) CountUses();
    if (is_dead_[i]) continue;
    const bool is_used = std::any_of(graph_.steps_[i].outputs.begin(), graph_.steps_[i].outputs.end(),
                                     [&](ValueIndex output) { return output != kNoValue && !users_[output].empty(); });
    if (is_used) continue;
    is_dead_[i] = true;
    for (const ValueIndex input : graph_.steps_[i].inputs) {
      if (input != kNoValue) std::erase(users_[input], i);
    }
  }
  std::vector<GraphStep> rest;
  for (std::size_t i = 0; i < graph_.steps_.size(); ++i) {
    if (!is_dead_[i]) rest.push_back(std::move(graph_.steps_[i]));
  }
  graph_.steps_ = std::move(rest);
  is_dead_.assign(graph_.steps_.size(), false);
  CountUses();
}

std::size_t GraphOptimiser::Maker(ValueIndex value, std::string_view op) const {
  if (value == kNoValue || makers_[value] == kNoStep) return kNoStep;
  return graph_.steps_[makers_[value]].op->name == op ? makers_[value] : kNoStep;
}

std::size_t GraphOptimiser::SoleUser(ValueIndex value) const {
  return users_[value].size() == 1 ? users_[value][0] : kNoStep;
}

ValueIndex GraphOptimiser::OtherInput(std::size_t index, ValueIndex input) const {
  const std::vector<ValueIndex>& inputs = graph_.steps_[index].inputs;
  return inputs.size() != 2 ? kNoValue : inputs[0] == input ? inputs[1] : inputs[1] == input ? inputs[0] : kNoValue;
}

const GraphValue* GraphOptimiser::ConstantFloats(ValueIndex value) const {
  if (value == kNoValue) return nullptr;
  const GraphValue& known = graph_.values_[value];
  return known.is_constant && known.info.type == OnnxType::kFloat ? &known : nullptr;
}

std::optional<float> GraphOptimiser::Scalar(ValueIndex value) const {
  const GraphValue* known = ConstantFloats(value);
  if (known == nullptr || ElementCount(known->info.shape) != 1) return std::nullopt;
  float number = 0;
  std::memcpy(&number, known->data, sizeof number);
  return number;
}

bool GraphOptimiser::IsScalar(ValueIndex value, float expected) const {
  const auto number = Scalar(value);
  return number && std::fabs(*number - expected) <= 1e-6F * std::fabs(expected);
}

Result<ValueIndex> GraphOptimiser::AddConstant(TensorInfo info, const std::vector<float>& values) {
  FORESHORE_ASSIGN_OR_RETURN(const NewConstant constant, AddRoom(std::move(info)));
  if (constant.room != nullptr) std::memcpy(constant.room, values.data(), values.size() * sizeof(float));
  return constant.index;
}

Result<GraphOptimiser::NewConstant> GraphOptimiser::AddRoom(TensorInfo info) {
  NewConstant constant;
  constant.index = static_cast<ValueIndex>(graph_.values_.size());
  GraphValue value;
  FORESHORE_ASSIGN_OR_RETURN(constant.room, graph_.Keep("made", std::move(info), value));
  graph_.values_.push_back(std::move(value));
  makers_.push_back(kNoStep);
  users_.emplace_back();
  return constant;
}

// What BatchNormalization, or arithmetic with a number or with one for each channel, does to a channel: · factor +
// offset. `rank` is that of the convolution's output.
struct ChannelMap {
  std::vector<float> factor;
  std::vector<float> offset;
};

namespace {

// A constant for each of `count` channels of [batch, channels, …]; false where it is something else.
bool PerChannel(const GraphValue& value, std::size_t rank, std::int64_t count, std::vector<float>& out) {
  const Shape& shape = value.info.shape;
  const auto* data = reinterpret_cast<const float*>(value.data);
  if (ElementCount(shape) == 1 && shape.size() <= rank) {
    out.assign(static_cast<std::size_t>(count), *data);
    return true;
  }
  // [channels, 1, …] or [1, channels, 1, …]: the channels' axis is the second of `rank`.
  if (shape.size() + 1 < rank || shape.size() > rank || ElementCount(shape) != count) return false;
  if (shape[shape.size() + 1 - rank] != count) return false;
  out.assign(data, data + count);
  return true;
}

}  // namespace

bool GraphOptimiser::ReadNormalisation(const GraphStep& step, std::int64_t channels, std::vector<double>& factors,
                                       std::vector<double>& offsets) const {
  if (step.node->IntAttribute("training_mode", 0) != 0 || step.inputs.size() != 5) return false;
  std::vector<float> parameters[4];  // Scale, shift, mean, variance.
  for (std::size_t i = 0; i < 4; ++i) {
    parameters[i] = FloatsOf(step.inputs[i + 1]);
    if (channels < 1 || parameters[i].size() != static_cast<std::size_t>(channels)) return false;
  }
  const auto epsilon = static_cast<double>(step.node->FloatAttribute("epsilon", 1e-5F));
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    const auto at = [&](std::size_t i) { return static_cast<double>(parameters[i][c]); };
    factors.push_back(at(0) / std::sqrt(at(3) + epsilon));
    offsets.push_back(at(1) - at(2) * factors.back());
  }
  return true;
}

// Takes what follows a convolution with constant weights into them, as long as it is one number for each channel.
Status GraphOptimiser::FoldIntoConv(std::size_t index) {
  GraphStep& conv = graph_.steps_[index];
  const GraphValue* weights = conv.inputs.size() > 1 ? ConstantFloats(conv.inputs[1]) : nullptr;
  if (weights == nullptr || weights->info.shape.size() < 3 || ElementCount(weights->info.shape) == 0) {
    return Status::Ok();
  }
  const TensorInfo info = weights->info;
  const bool is_transposed = conv.op->name == "ConvTranspose";
  if (is_transposed && conv.node->IntAttribute("group", 1) != 1) return Status::Ok();
  const std::int64_t channels = info.shape[is_transposed ? 1 : 0];
  const bool has_bias = conv.inputs.size() > 2 && conv.inputs[2] != kNoValue;
  const GraphValue* bias = has_bias ? ConstantFloats(conv.inputs[2]) : nullptr;
  if (has_bias && (bias == nullptr || bias->info.shape != Shape{channels})) return Status::Ok();
  ChannelMap map{std::vector<float>(static_cast<std::size_t>(channels), 1.0F),
                 std::vector<float>(static_cast<std::size_t>(channels), 0.0F)};
  bool is_changed = false;
  while (true) {
    const ValueIndex output = conv.outputs[0];
    const std::size_t next = SoleUser(output);
    if (next == kNoStep) break;
    const GraphStep& step = graph_.steps_[next];
    std::vector<float> values;
    const ValueIndex other = OtherInput(next, output);
    const GraphValue* constant = ConstantFloats(other);
    const bool is_channel = constant != nullptr && PerChannel(*constant, info.shape.size(), channels, values);
    const std::string_view name = step.op->name;
    if (is_channel && (name == "Add" || name == "Sub" || name == "Mul" || name == "Div")) {
      // "constant − x" and "constant / x" are something else.
      if ((name == "Sub" || name == "Div") && step.inputs[0] != output) break;
      for (std::size_t c = 0; c < values.size(); ++c) {
        if (name == "Add") map.offset[c] += values[c];
        if (name == "Sub") map.offset[c] -= values[c];
        const float factor = name == "Mul" ? values[c] : name == "Div" ? 1.0F / values[c] : 1.0F;
        map.factor[c] *= factor;
        map.offset[c] *= factor;
      }
    } else if (name == "BatchNormalization" && step.inputs[0] == output) {
      std::vector<double> factors;
      std::vector<double> offsets;
      if (!ReadNormalisation(step, channels, factors, offsets)) break;
      graph_.fusions_.Add(Fusion::kBatchNorm);
      for (std::size_t c = 0; c < map.factor.size(); ++c) {
        map.factor[c] = static_cast<float>(static_cast<double>(map.factor[c]) * factors[c]);
        map.offset[c] = static_cast<float>(static_cast<double>(map.offset[c]) * factors[c] + offsets[c]);
      }
    } else {
      break;
    }
    conv.outputs[0] = step.outputs[0];
    makers_[conv.outputs[0]] = index;
    is_dead_[next] = true;
    is_changed = true;
  }
  if (!is_changed) return Status::Ok();
  const std::int64_t inner = InnerCount(info.shape, is_transposed ? 2 : 1);
  // Values move when one is added; their bytes do not.
  const auto* old_weights = reinterpret_cast<const float*>(weights->data);
  const auto* bias_data = bias != nullptr ? reinterpret_cast<const float*>(bias->data) : nullptr;
  graph_.Spend(conv.inputs[1]);
  FORESHORE_ASSIGN_OR_RETURN(const NewConstant scaled, AddRoom(info));
  auto* new_weights = reinterpret_cast<float*>(scaled.room);
  for (std::int64_t i = 0; new_weights != nullptr && i < ElementCount(info.shape); ++i) {
    new_weights[i] = old_weights[i] * map.factor[static_cast<std::size_t>(i / inner % channels)];
  }
  for (std::size_t c = 0; c < map.offset.size(); ++c) {
    if (bias_data != nullptr) map.offset[c] += bias_data[c] * map.factor[c];
  }
  FORESHORE_ASSIGN_OR_RETURN(const ValueIndex new_bias, AddConstant({OnnxType::kFloat, {channels}}, map.offset));
  conv.inputs = {conv.inputs[0], scaled.index, new_bias};
  conv.node_input_count = 3;
  return Status::Ok();
}

std::optional<Activation> GraphOptimiser::ActivationOf(const GraphStep& step) const {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::string_view name = step.op->name;
  const OnnxNode& node = *step.node;
  if (&*step.op == &GeluOperator()) return Activation{Unary::kGelu, 0, 0};
  if (&*step.op == &SiluOperator()) return Activation{Unary::kSilu, 0, 0};
  if (name == "Relu") return Activation{Unary::kClip, 0, kInfinity};
  if (name == "LeakyRelu") return Activation{Unary::kLeakyRelu, node.FloatAttribute("alpha", 0.01F), 0};
  if (name == "Sigmoid") return Activation{Unary::kSigmoid, 0, 0};
  if (name == "Tanh") return Activation{Unary::kTanh, 0, 0};
  if (name == "HardSwish") return Activation{Unary::kHardSwish, 0, 0};
  if (name == "HardSigmoid") {
    return Activation{Unary::kHardSigmoid, node.FloatAttribute("alpha", 0.2F), node.FloatAttribute("beta", 0.5F)};
  }
  if (name != "Clip") return std::nullopt;
  Activation clip{Unary::kClip, -kInfinity, kInfinity};
  if (graph_.opset_ < 11) {
    clip.a = node.FloatAttribute("min", clip.a);
    clip.b = node.FloatAttribute("max", clip.b);
  } else {
    for (std::size_t i = 1; i < step.inputs.size(); ++i) {
      if (step.inputs[i] == kNoValue) continue;
      const auto bound = Scalar(step.inputs[i]);
      if (!bound) return std::nullopt;
      (i == 1 ? clip.a : clip.b) = *bound;
    }
  }
  if (!(clip.a <= clip.b)) return std::nullopt;
  return clip;
}

// What follows the step and may move into it: a row that is added, and an activation. Each alone uses what the one
// before makes.
struct GraphOptimiser::Tail {
  TensorRef bias;
  Finish finish;
  bool has_row = false;
  ValueIndex output = kNoValue;
  std::vector<std::size_t> taken;
};

void GraphOptimiser::FollowRow(const GraphStep& step, Tail& tail) const {
  const std::size_t next = SoleUser(tail.output);
  if (next == kNoStep || graph_.steps_[next].op->name != "Add") return;
  const GraphValue* row = ConstantFloats(OtherInput(next, tail.output));
  if (row == nullptr || row->info.shape != Shape{graph_.values_[step.inputs[1]].info.shape[1]}) return;
  tail.bias = {&row->info, row->data};
  tail.has_row = true;
  tail.output = graph_.steps_[next].outputs[0];
  tail.taken.push_back(next);
}

void GraphOptimiser::FollowActivation(Tail& tail) const {
  const std::size_t next = SoleUser(tail.output);
  if (next == kNoStep || graph_.steps_[next].inputs[0] != tail.output) return;
  const auto activation = ActivationOf(graph_.steps_[next]);
  if (!activation) return;
  tail.finish.activation = *activation;
  tail.output = graph_.steps_[next].outputs[0];
  tail.taken.push_back(next);
}

// Numbers that are multiplied and added, one after the other.
void GraphOptimiser::FollowNumbers(Tail& tail) const {
  while (true) {
    const std::size_t next = SoleUser(tail.output);
    if (next == kNoStep) return;
    const std::string_view name = graph_.steps_[next].op->name;
    const ValueIndex other = OtherInput(next, tail.output);
    const auto number = Scalar(other);
    if (!number || graph_.values_[other].info.shape.size() > 4 || (name != "Mul" && name != "Add")) return;
    if (name == "Add") {
      tail.finish.shift += *number;
    } else {
      tail.finish.scale *= *number;
      tail.finish.shift *= *number;
    }
    tail.output = graph_.steps_[next].outputs[0];
    tail.taken.push_back(next);
  }
}

namespace {

using MakeKernelFunction = StepKernelResult (*)(const KernelSource& source, std::uint64_t bytes_max);
struct KernelOf {
  std::string_view op;
  MakeKernelFunction make;
  bool has_no_tail;  // Takes nothing that follows it.
};
constexpr KernelOf kKernels[] = {{"Attention", MakeAttentionKernel, true},
                                 {"CodeConv", MakeCodeConvKernel, true},
                                 {"CodeProduct", MakeDynamicProductKernel, true},
                                 {"CodeScale", MakeCodeScaleKernel, true},
                                 {"DynamicProduct", MakeDynamicProductKernel, true},
                                 {"QLinearConv", MakeCodesKernel, true},
                                 {"QLinearMatMul", MakeCodesKernel, true},
                                 {"ConvInteger", MakeCodesKernel, true},
                                 {"MatMulInteger", MakeCodesKernel, true},
                                 {"Products", MakeMatrixKernel, true},
                                 {"MatMul", MakeMatrixKernel, false},
                                 {"Gemm", MakeMatrixKernel, false},
                                 {"Conv", MakeConvKernel, false},
                                 {"LastConv", MakeLastConvKernel, false},
                                 {"LastConvTranspose", MakeLastConvTransposeKernel, false},
                                 {"ConvTranspose", MakeConvTransposeKernel, false}};

}  // namespace

Status GraphOptimiser::AttachKernel(std::size_t index) {
  GraphStep& step = graph_.steps_[index];
  const std::string_view name = step.op->name;
  const KernelOf* kind = std::find_if(std::begin(kKernels), std::end(kKernels),
                                      [&](const KernelOf& candidate) { return candidate.op == name; });
  if (kind == std::end(kKernels)) return Status::Ok();
  std::vector<TensorRef> refs;
  std::uint32_t constant_inputs = 0;
  for (const ValueIndex input : step.inputs) {
    TensorRef& ref = refs.emplace_back();
    if (input == kNoValue) continue;
    const GraphValue& value = graph_.values_[input];
    ref = {&value.info, value.is_constant ? value.data : nullptr};
    if (value.is_constant && refs.size() <= 32) constant_inputs |= std::uint32_t{1} << (refs.size() - 1);
  }
  Tail tail;
  tail.output = step.outputs[0];
  const bool is_constant = (constant_inputs & 2U) != 0 && refs[1].info->type == OnnxType::kFloat;
  if (name == "Gemm" && refs.size() > 2 && refs[2].info != nullptr) {
    // A column, a matrix or a number, and one that is scaled, are left to the operator.
    const bool flips = step.node->IntAttribute("transB", 0) != 0;
    const bool is_row = is_constant && refs[2].data != nullptr && refs[1].info->shape.size() == 2 &&
                        refs[2].info->shape == Shape{refs[1].info->shape[flips ? 0 : 1]} &&
                        step.node->FloatAttribute("beta", 1) == 1;
    if (!is_row) return Status::Ok();
    tail.bias = refs[2];
  }
  if (is_constant && name == "MatMul" && refs[1].info->shape.size() == 2) FollowRow(step, tail);
  if (is_constant && !kind->has_no_tail) FollowActivation(tail);
  if (is_constant && name.starts_with("Last")) FollowNumbers(tail);
  const KernelSource source{*step.node, graph_.opset_,      refs,           *graph_.kernels_, tail.finish,
                            tail.bias,  *graph_.constants_, constant_inputs};
  FORESHORE_ASSIGN_OR_RETURN(auto kernel, kind->make(source, BytesLeft()));
  if (kernel == nullptr) return Status::Ok();
  for (const std::size_t taken : tail.taken) is_dead_[taken] = true;
  if (tail.has_row) graph_.fusions_.Add(Fusion::kBias);
  if (tail.finish.activation.kind != Unary::kNone) graph_.fusions_.Add(Fusion::kActivation);
  step.outputs[0] = tail.output;
  makers_[tail.output] = index;
  graph_.constant_bytes_ += kernel->held_bytes();
  for (std::size_t i = 0; i < step.inputs.size(); ++i) {
    if (kernel->Holds(i)) graph_.Spend(step.inputs[i]);
  }
  step.kernel = std::move(kernel);
  return Status::Ok();
}

}  // namespace foreshore::graph
