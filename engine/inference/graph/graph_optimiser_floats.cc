// Floats between convolutions are laid out with channels last, where windows and single pixels are rows of products and
// nothing is gathered or padded on the way.
#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/inference/graph/depthwise_window.h"
#include "engine/inference/graph/graph_optimiser.h"
#include "engine/inference/graph/last_layout.h"

namespace foreshore::graph {

namespace {

// Functions of one element, whatever the layout.
constexpr std::string_view kOfElements[] = {
    "Abs",       "Celu", "Clip", "Elu",  "Erf",     "Exp",  "Gelu", "Identity", "HardSigmoid", "HardSwish",
    "LeakyRelu", "Neg",  "Relu", "Selu", "Sigmoid", "Silu", "Sqrt", "Softplus", "Softsign",    "Tanh"};
constexpr std::string_view kOfTwo[] = {"Add", "Sub", "Mul", "Div"};

template <std::size_t kCount>
bool IsAmong(std::string_view name, const std::string_view (&names)[kCount]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool IsOnly(const OnnxNode& node, std::string_view name, std::int64_t number) {
  const OnnxAttribute* attribute = node.Attribute(name);
  return attribute == nullptr || std::all_of(attribute->ints.begin(), attribute->ints.end(),
                                             [number](std::int64_t value) { return value == number; });
}

}  // namespace

// x · g + x with a gate of its own becomes x · (g + 1), where the gate is small and the sum is not.
Status GraphOptimiser::FuseGateSum(std::size_t index) {
  if (graph_.steps_[index].op->name != "Add") return Status::Ok();
  for (const ValueIndex scaled : graph_.steps_[index].inputs) {
    const std::size_t product = Maker(scaled, "Mul");
    const ValueIndex x = OtherInput(index, scaled);
    if (product == kNoStep || x == kNoValue || SoleUser(scaled) != index) continue;
    const ValueIndex gate = OtherInput(product, x);
    if (gate == kNoValue || gate == x || SoleUser(gate) != product) continue;
    std::size_t maker = Maker(gate, "HardSigmoid");
    if (maker == kNoStep) maker = Maker(gate, "Sigmoid");
    if (maker == kNoStep || !IsOfConv(graph_.steps_[maker].inputs[0])) continue;
    FORESHORE_ASSIGN_OR_RETURN(const ValueIndex one, AddConstant({OnnxType::kFloat, {}}, {1.0F}));
    Replace(product, *FindOperator("Add"), {gate, one});
    Replace(index, *FindOperator("Mul"), {x, scaled});
    return Status::Ok();
  }
  return Status::Ok();
}

// Whether a convolution of floats makes it, but for constants that are added or multiplied: it is floats then.
bool GraphOptimiser::IsOfConv(ValueIndex value) const {
  for (int depth = 0; depth < 4; ++depth) {
    if (const std::size_t conv = Maker(value, "Conv"); conv != kNoStep) return IsFloatConv(graph_.steps_[conv]);
    std::size_t maker = Maker(value, "Add");
    if (maker == kNoStep) maker = Maker(value, "Mul");
    if (maker == kNoStep) return false;
    const auto& inputs = graph_.steps_[maker].inputs;
    value = ConstantFloats(inputs[0]) != nullptr ? inputs[1] : inputs[0];
  }
  return false;
}

// Of two spatial axes, whole or depthwise, with constant weights.
bool GraphOptimiser::IsFloatConv(const GraphStep& step) const {
  const GraphValue* weights = step.op->name == "Conv" ? ConstantFloats(step.inputs[1]) : nullptr;
  if (weights == nullptr || weights->info.shape.size() != 4 || ElementCount(weights->info.shape) == 0) return false;
  const Shape& shape = weights->info.shape;
  const bool has_bias = step.inputs.size() > 2 && step.inputs[2] != kNoValue;
  const GraphValue* bias = has_bias ? ConstantFloats(step.inputs[2]) : nullptr;
  if (has_bias && (bias == nullptr || bias->info.shape != Shape{shape[0]})) return false;
  const std::int64_t groups = step.node->IntAttribute("group", 1);
  return groups == 1 || (groups == shape[0] && shape[1] == 1 && InnerCount(shape, 2) <= kDepthwiseTapsMax);
}

// A transposed one with constant weights whose windows lie side by side.
bool GraphOptimiser::IsFloatSpread(const GraphStep& step) const {
  const GraphValue* weights = step.op->name == "ConvTranspose" ? ConstantFloats(step.inputs[1]) : nullptr;
  if (weights == nullptr || weights->info.shape.size() != 4 || ElementCount(weights->info.shape) == 0) return false;
  const Shape& shape = weights->info.shape;
  const bool has_bias = step.inputs.size() > 2 && step.inputs[2] != kNoValue;
  const GraphValue* bias = has_bias ? ConstantFloats(step.inputs[2]) : nullptr;
  if (has_bias && (bias == nullptr || bias->info.shape != Shape{shape[1]})) return false;
  const OnnxNode& node = *step.node;
  const OnnxAttribute* strides = node.Attribute("strides");
  return strides != nullptr && strides->ints == std::vector<std::int64_t>{shape[2], shape[3]} &&
         node.IntAttribute("group", 1) == 1 && IsOnly(node, "dilations", 1) && IsOnly(node, "pads", 0) &&
         IsOnly(node, "output_padding", 0) && node.Attribute("output_shape") == nullptr &&
         node.Attribute("auto_pad") == nullptr;
}

// The constant as it broadcasts to values whose channels come last: one number, or one for each channel. kNoValue for
// anything else.
ValueIndex GraphOptimiser::ByChannel(ValueIndex constant) {
  const GraphValue* value = ConstantFloats(constant);
  if (value == nullptr) return kNoValue;
  const Shape shape = value->info.shape;
  if (shape.size() > 4) return kNoValue;
  if (ElementCount(shape) == 1) return constant;
  const bool has_channels =
      shape.size() >= 3 && InnerCount(shape, shape.size() - 2) == 1 && ElementCount(shape) == shape[shape.size() - 3];
  if (!has_channels) return kNoValue;
  GraphValue turned = *value;
  turned.info.shape = {ElementCount(shape)};
  graph_.values_.push_back(turned);
  makers_.push_back(kNoStep);
  users_.emplace_back();
  return static_cast<ValueIndex>(graph_.values_.size() - 1);
}

// By constant factors or to constant sizes, which are turned.
Status GraphOptimiser::PushResize(const GraphStep& step, ValueIndex last, LastLayout& layout) {
  std::vector<ValueIndex> inputs = step.inputs;
  inputs[0] = last;
  for (std::size_t i = 1; i < inputs.size(); ++i) {
    const GraphValue* value = Constant(inputs[i]);
    const std::int64_t count = value != nullptr ? ElementCount(value->info.shape) : 0;
    if (count == 0) continue;
    const TensorInfo info = value->info;
    const std::size_t width = OnnxTypeBytes(info.type);
    const std::byte* from = value->data;
    FORESHORE_ASSIGN_OR_RETURN(const NewConstant turned, AddRoom(info));
    constexpr std::size_t kOrder[] = {0, 2, 3, 1};
    for (std::size_t k = 0; turned.room != nullptr && k < 4; ++k) {
      std::memcpy(turned.room + k * width, from + kOrder[k] * width, width);
    }
    inputs[i] = turned.index;
  }
  layout.Push(step, *step.op, std::move(inputs));
  return Status::Ok();
}

// One factor and one offset for each channel. False where its parameters are no constants.
Result<bool> GraphOptimiser::PushNormalisation(const GraphStep& step, ValueIndex last, LastLayout& layout) {
  const GraphValue* scale = step.inputs.size() > 1 ? ConstantFloats(step.inputs[1]) : nullptr;
  const std::int64_t channels = scale != nullptr ? ElementCount(scale->info.shape) : 0;
  std::vector<double> factors;
  std::vector<double> offsets;
  if (channels == 0 || !ReadNormalisation(step, channels, factors, offsets)) return false;
  const TensorInfo info{OnnxType::kFloat, {channels}};
  FORESHORE_ASSIGN_OR_RETURN(const ValueIndex factor,
                             AddConstant(info, std::vector<float>(factors.begin(), factors.end())));
  FORESHORE_ASSIGN_OR_RETURN(const ValueIndex offset,
                             AddConstant(info, std::vector<float>(offsets.begin(), offsets.end())));
  layout.Push(step, *FindOperator("Mul"), {last, factor}).attributes.clear();
  layout.Push(step, *FindOperator("Add"), {layout.LastOf(step.outputs[0]), offset}).attributes.clear();
  return true;
}

// Pushes the step in channels-last layout, where it has a form there.
Status GraphOptimiser::LayOutFloat(GraphStep& step, LastLayout& layout) {
  const std::string_view name = step.op->name;
  const ValueIndex last = step.inputs.empty() ? kNoValue : layout.LastOf(step.inputs[0]);
  std::vector<ValueIndex> inputs = step.inputs;
  const bool makes_one = step.outputs.size() == 1;
  const auto resizes = [&] {
    for (std::size_t i = 1; i < inputs.size(); ++i) {
      if (inputs[i] == kNoValue) continue;
      const GraphValue* value = Constant(inputs[i]);
      const std::int64_t count = value != nullptr ? ElementCount(value->info.shape) : -1;
      if (count != 0 && count != 4) return false;
    }
    return step.node->Attribute("axes") == nullptr && step.node->Attribute("scales") == nullptr;
  };
  // Messages call it what the file calls it.
  const auto push_as = [&](const Operator& op) {
    layout.Push(step, op, std::move(inputs)).op_type = step.node->op_type;
  };
  if (IsFloatConv(step)) {
    inputs[0] = last != kNoValue ? last : layout.TurnToLast(step.inputs[0], *step.node);
    push_as(LastConvOperator());
    return Status::Ok();
  }
  if (IsAmong(name, kOfTwo)) {
    const ValueIndex right = layout.LastOf(step.inputs[1]);
    inputs = {last != kNoValue ? last : ByChannel(step.inputs[0]),
              right != kNoValue ? right : ByChannel(step.inputs[1])};
    if ((last != kNoValue || right != kNoValue) && inputs[0] != kNoValue && inputs[1] != kNoValue) {
      layout.Push(step, *step.op, std::move(inputs));
      return Status::Ok();
    }
  }
  if (name == "Concat" && step.node->IntAttribute("axis", 0) == 1) {
    for (ValueIndex& input : inputs) input = layout.LastOf(input);
    if (std::find(inputs.begin(), inputs.end(), kNoValue) == inputs.end()) {
      OnnxNode& node = layout.Push(step, *step.op, std::move(inputs));
      for (OnnxAttribute& attribute : node.attributes) attribute.i = 3;
      return Status::Ok();
    }
  }
  if (last == kNoValue || !makes_one) {
    layout.Keep(std::move(step));
    return Status::Ok();
  }
  inputs[0] = last;
  const bool has_constants = std::all_of(inputs.begin() + 1, inputs.end(), [&](ValueIndex input) {
    return input == kNoValue || Constant(input) != nullptr;
  });
  if (IsFloatSpread(step)) {
    push_as(LastConvTransposeOperator());
  } else if (IsAmong(name, kOfElements) && has_constants) {
    layout.Push(step, *step.op, std::move(inputs));
  } else if (name == "GlobalAveragePool") {
    push_as(LastMeanOperator());
  } else if (name == "MaxPool" || name == "AveragePool") {
    push_as(name == "MaxPool" ? LastMaxPoolOperator() : LastAveragePoolOperator());
  } else if (name == "Resize" && resizes()) {
    return PushResize(step, last, layout);
  } else {
    bool is_pushed = false;
    if (name == "BatchNormalization") {
      FORESHORE_ASSIGN_OR_RETURN(is_pushed, PushNormalisation(step, last, layout));
    }
    if (!is_pushed) layout.Keep(std::move(step));
  }
  return Status::Ok();
}

Status GraphOptimiser::LayOutFloats() {
  const bool has_conv =
      std::any_of(graph_.steps_.begin(), graph_.steps_.end(), [&](const GraphStep& step) { return IsFloatConv(step); });
  if (!has_conv) return Status::Ok();
  std::vector<std::pair<ValueIndex, const OnnxNode*>> outputs;
  for (const GraphPort& output : graph_.outputs_) {
    if (makers_[output.value] != kNoStep) outputs.emplace_back(output.value, &NodeOf(makers_[output.value]));
  }
  LastLayout layout(graph_.values_, graph_.made_nodes_);
  for (GraphStep& step : graph_.steps_) FORESHORE_RETURN_IF_ERROR(LayOutFloat(step, layout));
  for (const auto& [value, node] : outputs) layout.NeedFirst(value, *node);
  graph_.steps_ = layout.TakeSteps();
  is_dead_.assign(graph_.steps_.size(), false);
  CountUses();
  return Status::Ok();
}

}  // namespace foreshore::graph
