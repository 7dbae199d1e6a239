#include "engine/inference/graph/graph_quantize_writer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace foreshore::graph {

namespace {

constexpr float kWeightMax = 127;
// A bias is a code at the scale of input and weights; its channel's weights are rounded coarser where it would not fit.
constexpr double kBiasMax = 1 << 30;

bool IsOneOf(std::string_view name, std::span<const std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Functions of one activation, where every other input is one number.
bool IsElementwise(std::string_view name) {
  constexpr std::array<std::string_view, 14> kNames{"Abs",         "Add",       "Clip",      "Div", "Elu",
                                                    "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Neg",
                                                    "Relu",        "Sigmoid",   "Sub",       "Tanh"};
  return IsOneOf(name, kNames);
}

TensorInfo FloatInfo(Shape shape) {
  return {OnnxType::kFloat, std::move(shape)};
}

template <typename T>
TensorRef RefOf(const TensorInfo& info, const std::vector<T>& values) {
  return {&info, reinterpret_cast<const std::byte*>(values.data())};
}

}  // namespace

void QuantizedWriter::WriteInputs() {
  for (const GraphPort& input : graph_.inputs()) {
    // Values have names of their own, so that no name of the file meets one that is made here.
    file_.AddInput(input.name, input.type, input.has_shape, input.shape);
    file_.AddNode("Identity", "", {std::string(input.name)}, {GraphQuantizer::NameOf(input.value)});
    is_float_.insert(input.value);
  }
}

void QuantizedWriter::WriteConstant(ValueIndex value) {
  if (!written_constants_.insert(value).second) return;
  const GraphValue& known = graph_.values()[value];
  file_.AddInitializer(GraphQuantizer::NameOf(value), {&known.info, known.data});
}

void QuantizedWriter::WriteStep(const GraphStep& step) {
  std::vector<std::string> inputs;
  for (const ValueIndex input : step.inputs) inputs.push_back(input == kNoValue ? "" : NeedFloats(input));
  std::vector<std::string> outputs;
  for (const ValueIndex output : step.outputs) {
    outputs.push_back(output == kNoValue ? "" : GraphQuantizer::NameOf(output));
    if (output != kNoValue) is_float_.insert(output);
  }
  file_.AddNode(step.op->name, step.node->name, inputs, outputs, step.node->attributes);
}

void QuantizedWriter::WritePlain() {
  WriteInputs();
  for (const GraphStep& step : graph_.steps()) WriteStep(step);
}

void QuantizedWriter::WriteQuantized() {
  use_counts_.assign(graph_.values().size(), 0);
  for (const GraphStep& step : graph_.steps()) {
    for (const ValueIndex input : step.inputs) {
      if (input != kNoValue) ++use_counts_[input];
    }
  }
  for (const GraphPort& output : graph_.outputs()) ++use_counts_[output.value];
  WriteInputs();
  for (std::size_t i = 0; i < graph_.steps().size(); ++i) {
    const GraphStep& step = graph_.steps()[i];
    if (skipped_.contains(&step)) continue;
    if (quantizer_.IsQuantizable(step)) {
      WriteConv(i);
    } else if (quantizer_.IsProduct(step)) {
      WriteProduct(step);
    } else {
      WriteElement(step);
    }
  }
  for (const GraphPort& output : graph_.outputs()) {
    const std::string floats = NeedFloats(output.value);
    file_.AddNode("Identity", "", {floats}, {std::string(output.name)});
    file_.AddOutput(output.name, output.type, output.has_shape, output.shape);
  }
}

QuantizedWriter::Scale QuantizedWriter::ScaleOf(ValueIndex value) const {
  const ValueRange range = quantizer_.ranges_[value];
  Scale scale;
  // In double: the width of a range may be beyond single precision.
  const double width = static_cast<double>(range.high) - static_cast<double>(range.low);
  // What was always 0 has a scale all the same.
  scale.scale = width > 1e-30 ? static_cast<float>(std::min(width / 255, 1e30)) : 1.0F;
  scale.zero = static_cast<std::uint8_t>(std::clamp(std::nearbyint(-range.low / scale.scale), 0.0F, 255.0F));
  return scale;
}

std::vector<std::string> QuantizedWriter::ScaleNames(ValueIndex value) {
  const std::string name = GraphQuantizer::NameOf(value);
  if (scaled_.insert(value).second) {
    const Scale scale = ScaleOf(value);
    const TensorInfo scale_info = FloatInfo({});
    const TensorInfo zero_info{OnnxType::kUint8, {}};
    file_.AddInitializer(name + "_scale", {&scale_info, reinterpret_cast<const std::byte*>(&scale.scale)});
    file_.AddInitializer(name + "_zero", {&zero_info, reinterpret_cast<const std::byte*>(&scale.zero)});
  }
  return {name + "_scale", name + "_zero"};
}

std::string QuantizedWriter::NeedFloats(ValueIndex value) {
  const std::string name = GraphQuantizer::NameOf(value);
  if (IsConstant(value)) {
    WriteConstant(value);
  } else if (is_float_.insert(value).second) {
    const auto scale = ScaleNames(value);
    file_.AddNode("DequantizeLinear", "", {codes_.at(value), scale[0], scale[1]}, {name});
  }
  return name;
}

void QuantizedWriter::Quantize(ValueIndex value, const std::string& floats) {
  const std::string name = GraphQuantizer::NameOf(value);
  const auto scale = ScaleNames(value);
  file_.AddNode("QuantizeLinear", "", {floats, scale[0], scale[1]}, {name + "_codes"});
  codes_[value] = name + "_codes";
}

std::string QuantizedWriter::NeedCodes(ValueIndex value) {
  if (!codes_.contains(value)) Quantize(value, GraphQuantizer::NameOf(value));
  roots_.emplace(value, value);
  return codes_.at(value);
}

bool QuantizedWriter::StartsAtZero(const GraphStep& clip) const {
  if (graph_.opset() < 11) return clip.node->FloatAttribute("min", -1) == 0;
  if (clip.inputs.size() < 2 || clip.inputs[1] == kNoValue) return false;
  const GraphValue& low = graph_.values()[clip.inputs[1]];
  return low.is_constant && low.info.type == OnnxType::kFloat && ElementCount(low.info.shape) == 1 &&
         *reinterpret_cast<const float*>(low.data) == 0;
}

ValueIndex QuantizedWriter::ClippedOutput(std::size_t index) {
  const ValueIndex output = graph_.steps()[index].outputs[0];
  if (use_counts_[output] != 1) return output;
  for (std::size_t i = index + 1; i < graph_.steps().size(); ++i) {
    const GraphStep& next = graph_.steps()[i];
    if (std::find(next.inputs.begin(), next.inputs.end(), output) == next.inputs.end()) continue;
    // The least code is what these cut to, and the greatest is what was observed behind them.
    if ((next.op->name != "Relu" && next.op->name != "Clip") || next.inputs[0] != output) return output;
    if (next.op->name == "Clip" && !StartsAtZero(next)) return output;
    skipped_.insert(&next);
    return next.outputs[0];
  }
  return output;
}

// [out, in, …] by rows, each rounded to a scale of its own.
void QuantizedWriter::WriteWeights(const GraphStep& step, float input_scale, std::vector<std::string>& inputs,
                                   std::string& bias) {
  const GraphValue& weights = graph_.values()[step.inputs[1]];
  const bool has_bias = step.inputs.size() > 2 && step.inputs[2] != kNoValue;
  const auto* biases = has_bias ? reinterpret_cast<const float*>(graph_.values()[step.inputs[2]].data) : nullptr;
  const auto* values = reinterpret_cast<const float*>(weights.data);
  const std::int64_t channels = weights.info.shape[0];
  const std::int64_t depth = InnerCount(weights.info.shape, 1);
  std::vector<float> scales;
  std::vector<std::int8_t> codes;
  std::vector<std::int32_t> bias_codes;
  for (std::int64_t c = 0; c < channels; ++c) {
    float largest = 0;
    for (std::int64_t k = 0; k < depth; ++k) largest = std::max(largest, std::fabs(values[c * depth + k]));
    double scale = static_cast<double>(largest) / kWeightMax;
    const double offset = biases != nullptr ? static_cast<double>(biases[c]) : 0;
    scale = std::max(scale, std::fabs(offset) / (static_cast<double>(input_scale) * kBiasMax));
    const float kept = scale > 1e-30 ? static_cast<float>(scale) : 1.0F;
    scales.push_back(kept);
    for (std::int64_t k = 0; k < depth; ++k) {
      codes.push_back(
          static_cast<std::int8_t>(std::clamp(std::nearbyint(values[c * depth + k] / kept), -kWeightMax, kWeightMax)));
    }
    const double code = std::nearbyint(offset / (static_cast<double>(input_scale) * static_cast<double>(kept)));
    bias_codes.push_back(static_cast<std::int32_t>(std::clamp(code, -kBiasMax, kBiasMax)));
  }
  const std::string name = GraphQuantizer::NameOf(step.outputs[0]);
  const TensorInfo code_info{OnnxType::kInt8, weights.info.shape};
  const TensorInfo zero_info{OnnxType::kInt8, {channels}};
  const TensorInfo bias_info{OnnxType::kInt32, {channels}};
  const TensorInfo scale_info = FloatInfo({channels});
  file_.AddInitializer(name + "_w", RefOf(code_info, codes));
  file_.AddInitializer(name + "_w_scale", RefOf(scale_info, scales));
  file_.AddInitializer(name + "_w_zero",
                       RefOf(zero_info, std::vector<std::int8_t>(static_cast<std::size_t>(channels))));
  file_.AddInitializer(name + "_b", RefOf(bias_info, bias_codes));
  inputs.insert(inputs.end(), {name + "_w", name + "_w_scale", name + "_w_zero"});
  bias = name + "_b";
}

void QuantizedWriter::WriteConv(std::size_t index) {
  const GraphStep& step = graph_.steps()[index];
  std::vector<std::string> inputs{NeedCodes(step.inputs[0])};
  const auto input_scale = ScaleNames(step.inputs[0]);
  inputs.insert(inputs.end(), input_scale.begin(), input_scale.end());
  std::string bias;
  WriteWeights(step, ScaleOf(step.inputs[0]).scale, inputs, bias);
  const ValueIndex output = ClippedOutput(index);
  const auto output_scale = ScaleNames(output);
  inputs.insert(inputs.end(), output_scale.begin(), output_scale.end());
  inputs.push_back(bias);
  codes_[output] = GraphQuantizer::NameOf(output) + "_codes";
  roots_[output] = output;
  file_.AddNode("QLinearConv", step.node->name, inputs, {codes_[output]}, step.node->attributes);
}

std::vector<std::string> QuantizedWriter::NeedDynamicCodes(ValueIndex value) {
  const std::string floats = NeedFloats(value);
  const std::vector<std::string> names{floats + "_dynamic", floats + "_dynamic_scale", floats + "_dynamic_zero"};
  if (dynamic_.insert(value).second) file_.AddNode("DynamicQuantizeLinear", "", {floats}, names);
  return names;
}

// [in, out], each column rounded to a scale of its own.
void QuantizedWriter::WriteProductWeights(const GraphStep& step) {
  const GraphValue& weights = graph_.values()[step.inputs[1]];
  const auto* values = reinterpret_cast<const float*>(weights.data);
  const bool flips = step.op->name == "Gemm" && step.node->IntAttribute("transB", 0) != 0;
  const std::int64_t depth = weights.info.shape[flips ? 1 : 0];
  const std::int64_t columns = weights.info.shape[flips ? 0 : 1];
  std::vector<float> scales;
  std::vector<std::int8_t> codes(static_cast<std::size_t>(depth * columns));
  for (std::int64_t c = 0; c < columns; ++c) {
    const auto value = [&](std::int64_t k) { return values[flips ? c * depth + k : k * columns + c]; };
    float largest = 0;
    for (std::int64_t k = 0; k < depth; ++k) largest = std::max(largest, std::fabs(value(k)));
    const float scale = largest > 1e-30F ? largest / kWeightMax : 1.0F;
    scales.push_back(scale);
    for (std::int64_t k = 0; k < depth; ++k) {
      codes[static_cast<std::size_t>(k * columns + c)] =
          static_cast<std::int8_t>(std::clamp(std::nearbyint(value(k) / scale), -kWeightMax, kWeightMax));
    }
  }
  const std::string name = GraphQuantizer::NameOf(step.outputs[0]);
  const TensorInfo code_info{OnnxType::kInt8, {depth, columns}};
  const TensorInfo scale_info = FloatInfo({columns});
  file_.AddInitializer(name + "_w", RefOf(code_info, codes));
  file_.AddInitializer(name + "_w_scale", RefOf(scale_info, scales));
}

void QuantizedWriter::WriteProduct(const GraphStep& step) {
  const std::vector<std::string> codes = NeedDynamicCodes(step.inputs[0]);
  const std::string name = GraphQuantizer::NameOf(step.outputs[0]);
  const bool has_bias = step.inputs.size() > 2 && step.inputs[2] != kNoValue;
  WriteProductWeights(step);
  OnnxAttribute to;
  to.name = "to";
  to.type = 2;
  to.i = static_cast<std::int64_t>(OnnxType::kFloat);
  file_.AddNode("MatMulInteger", step.node->name, {codes[0], name + "_w", codes[2]}, {name + "_sums"});
  file_.AddNode("Cast", "", {name + "_sums"}, {name + "_float_sums"}, {to});
  file_.AddNode("Mul", "", {codes[1], name + "_w_scale"}, {name + "_scale_product"});
  file_.AddNode("Mul", "", {name + "_float_sums", name + "_scale_product"}, {has_bias ? name + "_unbiased" : name});
  if (has_bias) file_.AddNode("Add", "", {name + "_unbiased", NeedFloats(step.inputs[2])}, {name});
  is_float_.insert(step.outputs[0]);
}

void QuantizedWriter::WriteElement(const GraphStep& step) {
  constexpr std::array<std::string_view, 2> kPools{"GlobalAveragePool", "MaxPool"};
  std::vector<ValueIndex> open;
  bool is_number = true;
  for (const ValueIndex input : step.inputs) {
    if (input == kNoValue) continue;
    if (!IsConstant(input)) {
      open.push_back(input);
    } else {
      is_number = is_number && ElementCount(graph_.values()[input].info.shape) == 1;
    }
  }
  const auto root = [&](ValueIndex value) {
    const auto found = roots_.find(value);
    return found == roots_.end() ? kNoValue : found->second;
  };
  const bool is_coded = !open.empty() && step.outputs.size() == 1 &&
                        std::all_of(open.begin(), open.end(), [&](ValueIndex v) { return root(v) != kNoValue; });
  const bool is_function =
      is_coded && is_number && IsElementwise(step.op->name) &&
      std::all_of(open.begin(), open.end(), [&](ValueIndex v) { return root(v) == root(open[0]); });
  if (is_function) {
    WriteStep(step);
    roots_[step.outputs[0]] = root(open[0]);
    return;
  }
  const bool is_pair = open.size() == 2 && (step.op->name == "Add" || step.op->name == "Mul");
  if (!is_coded || (!is_pair && !IsOneOf(step.op->name, kPools))) return WriteStep(step);
  // Of codes: each operand is rounded before, the result behind.
  std::vector<std::string> inputs;
  for (const ValueIndex input : open) {
    const std::string codes = NeedCodes(input);
    const auto scale = ScaleNames(input);
    const std::string floats = GraphQuantizer::NameOf(step.outputs[0]) + "_in" + std::to_string(inputs.size());
    file_.AddNode("DequantizeLinear", "", {codes, scale[0], scale[1]}, {floats});
    inputs.push_back(floats);
  }
  const std::string name = GraphQuantizer::NameOf(step.outputs[0]);
  file_.AddNode(step.op->name, step.node->name, inputs, {name + "_raw"}, step.node->attributes);
  // Floats that are asked for later are those of the codes.
  Quantize(step.outputs[0], name + "_raw");
  roots_[step.outputs[0]] = step.outputs[0];
}

}  // namespace foreshore::graph
