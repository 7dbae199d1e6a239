// What lies between DequantizeLinear and QuantizeLinear and is no convolution or product: functions of one code become
// tables of 256 codes, sums and products of two and means of planes become steps over codes.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "engine/inference/graph/graph_optimiser.h"
#include "engine/inference/graph/operators_codes.h"
#include "engine/inference/graph/saturate.h"

namespace foreshore::graph {

namespace {

// A value that is used twice is computed twice: so deep, that is at most 2^8 times.
constexpr int kTraceDepthMax = 8;

bool IsElementwise(std::string_view name) {
  constexpr std::array kNames{"Abs",         "Add",       "Clip",      "Div",  "Elu", "Erf", "Exp", "Gelu",
                              "HardSigmoid", "HardSwish", "LeakyRelu", "Max",  "Min", "Mul", "Neg", "Pow",
                              "Relu",        "Sigmoid",   "Softplus",  "Sqrt", "Sub", "Tanh"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

bool IsOneCode(const GraphValue* value) {
  return value != nullptr && value->info.type == OnnxType::kUint8 && ElementCount(value->info.shape) == 1;
}

}  // namespace

Result<ValueIndex> GraphOptimiser::AddTable(const CodeTable& table) {
  FORESHORE_ASSIGN_OR_RETURN(const NewConstant constant, AddRoom({OnnxType::kUint8, {256}}));
  if (constant.room != nullptr) std::memcpy(constant.room, table.data(), table.size());
  return constant.index;
}

// The DequantizeLinear that makes the value of unsigned codes with one scale and zero point.
const GraphStep* GraphOptimiser::CodeDequantizer(ValueIndex value) const {
  const std::size_t step = Dequantizer(value);
  if (step == kNoStep) return nullptr;
  const std::vector<ValueIndex>& inputs = graph_.steps_[step].inputs;
  return Scalar(inputs[1]) && IsOneCode(Constant(inputs[2])) ? &graph_.steps_[step] : nullptr;
}

std::optional<GraphOptimiser::Traced> GraphOptimiser::Trace(ValueIndex value, int depth) const {
  Traced traced;
  if (const auto number = Scalar(value); number) {
    traced.values.fill(*number);
    return traced;
  }
  if (value == kNoValue || makers_[value] == kNoStep || depth > kTraceDepthMax) return std::nullopt;
  if (const GraphStep* dequantizer = CodeDequantizer(value); dequantizer != nullptr) {
    const ValueIndex codes = dequantizer->inputs[0];
    const float scale = *Scalar(dequantizer->inputs[1]);
    const std::int32_t zero = static_cast<std::uint8_t>(Constant(dequantizer->inputs[2])->data[0]);
    const GraphValue* constant = Constant(codes);
    if (constant != nullptr && !IsOneCode(constant)) return std::nullopt;
    const auto known = code_maps_.find(codes);
    traced.root = constant != nullptr ? kNoValue : known != code_maps_.end() ? known->second.first : codes;
    for (std::int32_t code = 0; code < 256; ++code) {
      const std::int32_t from = constant != nullptr         ? static_cast<std::uint8_t>(constant->data[0])
                                : known != code_maps_.end() ? known->second.second[static_cast<std::size_t>(code)]
                                                            : code;
      traced.values[static_cast<std::size_t>(code)] = static_cast<float>(from - zero) * scale;
    }
    return traced;
  }
  return TraceStep(graph_.steps_[makers_[value]], depth);
}

// By the operator's own code, over all 256 codes.
std::optional<GraphOptimiser::Traced> GraphOptimiser::TraceStep(const GraphStep& step, int depth) const {
  if (!IsElementwise(step.op->name) || step.outputs.size() != 1 || step.inputs.size() > 3) return std::nullopt;
  Traced result;
  const TensorInfo info{OnnxType::kFloat, {256}};
  std::array<Traced, 3> inputs;
  std::vector<TensorRef> refs;
  for (std::size_t i = 0; i < step.inputs.size(); ++i) {
    TensorRef& ref = refs.emplace_back();
    if (step.inputs[i] == kNoValue) continue;
    // Bounds of Clip have to stay scalars.
    const GraphValue* constant = ConstantFloats(step.inputs[i]);
    if (constant != nullptr && ElementCount(constant->info.shape) == 1) {
      ref = {&constant->info, constant->data};
      continue;
    }
    auto traced = Trace(step.inputs[i], depth + 1);
    if (!traced || (traced->root != kNoValue && result.root != kNoValue && traced->root != result.root)) {
      return std::nullopt;
    }
    if (traced->root != kNoValue) result.root = traced->root;
    inputs[i] = *traced;
    ref = {&info, reinterpret_cast<const std::byte*>(inputs[i].values.data())};
  }
  const NodeContext context{.node = *step.node, .opset = graph_.opset_, .inputs = refs};
  Infos infos;
  if (!step.op->infer(context, infos).ok() || infos.size() != 1 || infos[0].type != OnnxType::kFloat ||
      ElementCount(infos[0].shape) != 256) {
    return std::nullopt;
  }
  const OutputRef output{&infos[0], reinterpret_cast<std::byte*>(result.values.data())};
  if (!step.op->run(context, std::span(&output, 1)).ok()) return std::nullopt;
  return result;
}

// What the QuantizeLinear makes of the values.
GraphOptimiser::CodeTable GraphOptimiser::TableOf(const Traced& traced, const GraphStep& end) const {
  const float scale = *Scalar(end.inputs[1]);
  const auto zero = static_cast<std::uint8_t>(Constant(end.inputs[2])->data[0]);
  CodeTable table;
  for (std::size_t code = 0; code < table.size(); ++code) {
    table[code] = Saturate<std::uint8_t>(static_cast<double>(std::nearbyint(traced.values[code] / scale)) + zero);
  }
  return table;
}

// The step at `index` is a QuantizeLinear. Its codes are a function of other codes.
Status GraphOptimiser::FuseMapAt(std::size_t index) {
  const auto traced = Trace(graph_.steps_[index].inputs[0], 0);
  if (!traced || traced->root == kNoValue) return Status::Ok();
  const CodeTable table = TableOf(*traced, graph_.steps_[index]);
  FORESHORE_ASSIGN_OR_RETURN(const ValueIndex constant, AddTable(table));
  code_maps_[graph_.steps_[index].outputs[0]] = {traced->root, table};
  Replace(index, CodeMapOperator(), {traced->root, constant});
  return Status::Ok();
}

// The same of a sum or product of two values, or of means of planes.
void GraphOptimiser::FuseArithmeticAt(std::size_t index) {
  const GraphStep& end = graph_.steps_[index];
  ValueIndex value = end.inputs[0];
  if (value == kNoValue || makers_[value] == kNoStep) return;
  if (const auto activation = ActivationOf(graph_.steps_[makers_[value]]); activation) {
    if (!IsWithin(*activation, *Scalar(end.inputs[1]), *Constant(end.inputs[2]))) return;
    value = graph_.steps_[makers_[value]].inputs[0];
    if (value == kNoValue || makers_[value] == kNoStep) return;
  }
  const GraphStep& middle = graph_.steps_[makers_[value]];
  std::vector<ValueIndex> inputs;
  const std::string_view name = middle.op->name;
  if (name != "Add" && name != "Mul" && name != "GlobalAveragePool") return;
  for (const ValueIndex input : middle.inputs) {
    const GraphStep* dequantizer = CodeDequantizer(input);
    if (dequantizer == nullptr) return;
    inputs.insert(inputs.end(), dequantizer->inputs.begin(), dequantizer->inputs.end());
  }
  inputs.insert(inputs.end(), end.inputs.begin() + 1, end.inputs.end());
  Replace(index,
          name == "Add"   ? CodeAddOperator()
          : name == "Mul" ? CodeMulOperator()
                          : CodeMeanOperator(),
          std::move(inputs));
}

// Batch normalisation that the quantizer did not take into the convolution before it.
Status GraphOptimiser::FuseScaleAt(std::size_t index) {
  const GraphStep& end = graph_.steps_[index];
  const float scale = *Scalar(end.inputs[1]);
  ValueIndex value = end.inputs[0];
  if (value == kNoValue || makers_[value] == kNoStep) return Status::Ok();
  if (const auto activation = ActivationOf(graph_.steps_[makers_[value]]); activation) {
    if (!IsWithin(*activation, scale, *Constant(end.inputs[2]))) return Status::Ok();
    value = graph_.steps_[makers_[value]].inputs[0];
  }
  const std::size_t maker = Maker(value, "BatchNormalization");
  if (maker == kNoStep || graph_.steps_[maker].outputs.size() != 1) return Status::Ok();
  const GraphStep& middle = graph_.steps_[maker];
  const GraphStep* dequantizer = CodeDequantizer(middle.inputs[0]);
  if (dequantizer == nullptr) return Status::Ok();
  const auto channels = static_cast<std::int64_t>(FloatsOf(middle.inputs[1]).size());
  std::vector<double> factors;
  std::vector<double> offsets;
  if (!ReadNormalisation(middle, channels, factors, offsets)) return Status::Ok();
  const auto in_scale = static_cast<double>(*Scalar(dequantizer->inputs[1]));
  std::vector<float> code_factors;
  std::vector<float> code_offsets;
  for (std::size_t c = 0; c < factors.size(); ++c) {
    code_factors.push_back(static_cast<float>(factors[c] * in_scale / static_cast<double>(scale)));
    code_offsets.push_back(static_cast<float>(offsets[c] / static_cast<double>(scale)));
  }
  const TensorInfo info{OnnxType::kFloat, {channels}};
  const ValueIndex codes = dequantizer->inputs[0];
  const ValueIndex zero = dequantizer->inputs[2];
  const ValueIndex end_zero = end.inputs[2];
  FORESHORE_ASSIGN_OR_RETURN(const ValueIndex by_factor, AddConstant(info, code_factors));
  FORESHORE_ASSIGN_OR_RETURN(const ValueIndex by_offset, AddConstant(info, code_offsets));
  Replace(index, CodeScaleOperator(), {codes, zero, by_factor, by_offset, end_zero});
  return Status::Ok();
}

// QuantizeLinear keeps order, so that the greatest may be looked for among codes.
Status GraphOptimiser::FuseMaxAt(std::size_t index) {
  const std::size_t maker = Maker(graph_.steps_[index].inputs[0], "MaxPool");
  if (maker == kNoStep) return Status::Ok();
  const OnnxNode& pool = NodeOf(maker);
  const OnnxAttribute* kernel = pool.Attribute("kernel_shape");
  if (kernel == nullptr || kernel->ints.size() != 2 || graph_.steps_[maker].outputs.size() != 1) return Status::Ok();
  const auto traced = Trace(graph_.steps_[maker].inputs[0], 0);
  if (!traced || traced->root == kNoValue) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const ValueIndex table, AddTable(TableOf(*traced, graph_.steps_[index])));
  Replace(index, CodeMaxOperator(), {traced->root, table}).attributes = pool.attributes;
  return Status::Ok();
}

Status GraphOptimiser::FuseElementsAt(std::size_t index) {
  const auto is_open = [&] {
    const GraphStep& end = graph_.steps_[index];
    return end.op->name == "QuantizeLinear" && end.inputs.size() == 3 && Scalar(end.inputs[1]) &&
           IsOneCode(Constant(end.inputs[2]));
  };
  const bool was_open = is_open();
  if (was_open) FORESHORE_RETURN_IF_ERROR(FuseMapAt(index));
  if (is_open()) FORESHORE_RETURN_IF_ERROR(FuseMaxAt(index));
  if (is_open()) FuseArithmeticAt(index);
  if (is_open()) FORESHORE_RETURN_IF_ERROR(FuseScaleAt(index));
  if (was_open && graph_.steps_[index].op->name != "QuantizeLinear") graph_.fusions_.Add(Fusion::kQdq);
  return Status::Ok();
}

}  // namespace foreshore::graph
