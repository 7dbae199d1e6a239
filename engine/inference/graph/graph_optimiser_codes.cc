// Quantized models in the form of DequantizeLinear, an operator over floats, QuantizeLinear.
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/inference/graph/code_panels.h"
#include "engine/inference/graph/dynamic_product.h"
#include "engine/inference/graph/graph_optimiser.h"

namespace foreshore::graph {

Status GraphOptimiser::FuseCodes() {
  is_dead_.assign(graph_.steps_.size(), false);
  CountUses();
  for (std::size_t i = 0; i < graph_.steps_.size(); ++i) {
    FuseCodesAt(i);
    FORESHORE_RETURN_IF_ERROR(FuseElementsAt(i));
  }
  RemoveUnused();
  for (std::size_t i = 0; i < graph_.steps_.size(); ++i) FORESHORE_RETURN_IF_ERROR(FuseCodeProductAt(i));
  RemoveUnused();
  LayOutLast();
  return Status::Ok();
}

const GraphValue* GraphOptimiser::Constant(ValueIndex value) const {
  return value != kNoValue && graph_.values_[value].is_constant ? &graph_.values_[value] : nullptr;
}

std::size_t GraphOptimiser::Dequantizer(ValueIndex value) const {
  const std::size_t step = Maker(value, "DequantizeLinear");
  if (step == kNoStep || graph_.steps_[step].inputs.size() != 3) return kNoStep;
  const std::vector<ValueIndex>& inputs = graph_.steps_[step].inputs;
  return ConstantFloats(inputs[1]) != nullptr && Constant(inputs[2]) != nullptr ? step : kNoStep;
}

namespace {

std::int64_t Count(const GraphValue& value) {
  return ElementCount(value.info.shape);
}

}  // namespace

std::vector<float> GraphOptimiser::FloatsOf(ValueIndex value) const {
  if (const GraphValue* floats = ConstantFloats(value); floats != nullptr) {
    const auto* data = reinterpret_cast<const float*>(floats->data);
    return std::vector<float>(data, data + Count(*floats));
  }
  const std::size_t step = Dequantizer(value);
  if (step == kNoStep) return {};
  const std::vector<ValueIndex>& inputs = graph_.steps_[step].inputs;
  const GraphValue* codes = Constant(inputs[0]);
  const auto scale = Scalar(inputs[1]);
  const GraphValue& zeros = *Constant(inputs[2]);
  if (codes == nullptr || !scale || Count(zeros) != 1) return {};
  if (codes->info.type != OnnxType::kUint8 && codes->info.type != OnnxType::kInt8) return {};
  const auto number = [&](std::byte code) { return CodeValue(code, codes->info.type); };
  std::vector<float> values;
  for (std::int64_t i = 0; i < Count(*codes); ++i) {
    values.push_back(static_cast<float>(number(codes->data[i]) - number(zeros.data[0])) * *scale);
  }
  return values;
}

bool GraphOptimiser::IsWithin(const Activation& activation, float scale, const GraphValue& zero) {
  if (activation.kind != Unary::kClip) return false;
  const bool is_signed = zero.info.type == OnnxType::kInt8;
  const auto at = static_cast<float>(CodeValue(zero.data[0], zero.info.type));
  const float low = ((is_signed ? -128.0F : 0.0F) - at) * scale;
  const float high = ((is_signed ? 127.0F : 255.0F) - at) * scale;
  return low >= activation.a - scale / 2 && high <= activation.b + scale / 2;
}

// A bias is added to the sums of codes: rounded to their scale, or the codes that the file has at that scale.
bool GraphOptimiser::TakeConvBias(ValueIndex bias, const GraphValue& left_scale, const GraphValue& right_scale,
                                  std::vector<ValueIndex>& inputs) {
  std::vector<double> values;
  const auto* left = reinterpret_cast<const float*>(left_scale.data);
  const auto* right = reinterpret_cast<const float*>(right_scale.data);
  const std::size_t step = Maker(bias, "DequantizeLinear");
  const auto scale_of = [&](std::size_t c) {
    return static_cast<double>(left[0]) * static_cast<double>(right[Count(right_scale) == 1 ? 0 : c]);
  };
  std::int64_t count = 0;
  if (step != kNoStep) {
    const std::vector<ValueIndex>& parts = graph_.steps_[step].inputs;
    const GraphValue* codes = Constant(parts[0]);
    const GraphValue* scales = ConstantFloats(parts[1]);
    if (codes == nullptr || scales == nullptr || codes->info.type != OnnxType::kInt32) return false;
    count = Count(*codes);
    if (Count(*scales) != 1 && Count(*scales) != count) return false;
    for (std::int64_t c = 0; c < count; ++c) {
      const float scale = reinterpret_cast<const float*>(scales->data)[Count(*scales) == 1 ? 0 : c];
      values.push_back(static_cast<double>(reinterpret_cast<const std::int32_t*>(codes->data)[c]) *
                       static_cast<double>(scale));
    }
  } else {
    const GraphValue* floats = ConstantFloats(bias);
    if (floats == nullptr) return false;
    count = Count(*floats);
    const auto* data = reinterpret_cast<const float*>(floats->data);
    values.assign(data, data + count);
  }
  std::vector<std::int32_t> codes;
  for (std::size_t c = 0; c < values.size(); ++c) {
    const double code = std::nearbyint(values[c] / scale_of(c));
    if (!(std::fabs(code) < 2147483647.0)) return false;
    codes.push_back(static_cast<std::int32_t>(code));
  }
  const auto constant = AddRoom({OnnxType::kInt32, {count}});
  if (!constant.ok()) return false;
  if (constant->room != nullptr) std::memcpy(constant->room, codes.data(), codes.size() * sizeof(std::int32_t));
  inputs.push_back(constant->index);
  return true;
}

// The step at `index` is the QuantizeLinear at the end.
void GraphOptimiser::FuseCodesAt(std::size_t index) {
  const GraphStep& end = graph_.steps_[index];
  if (end.op->name != "QuantizeLinear" || end.inputs.size() != 3) return;
  const auto end_scale = Scalar(end.inputs[1]);
  const GraphValue* end_zero = Constant(end.inputs[2]);
  if (!end_scale || end_zero == nullptr || Count(*end_zero) != 1) return;
  ValueIndex value = end.inputs[0];
  if (SoleUser(value) != index || makers_[value] == kNoStep) return;
  if (const auto activation = ActivationOf(graph_.steps_[makers_[value]]); activation) {
    if (!IsWithin(*activation, *end_scale, *end_zero)) return;
    const std::size_t step = makers_[value];
    value = graph_.steps_[step].inputs[0];
    if (SoleUser(value) != step || makers_[value] == kNoStep) return;
  }
  const GraphStep& middle = graph_.steps_[makers_[value]];
  const bool is_conv = middle.op->name == "Conv";
  if ((!is_conv && middle.op->name != "MatMul") || middle.inputs.size() < 2) return;
  const std::size_t left = Dequantizer(middle.inputs[0]);
  const std::size_t right = Dequantizer(middle.inputs[1]);
  if (left == kNoStep || right == kNoStep) return;
  const std::vector<ValueIndex>& left_inputs = graph_.steps_[left].inputs;
  const std::vector<ValueIndex>& right_inputs = graph_.steps_[right].inputs;
  const GraphValue* weights = Constant(right_inputs[0]);
  if (weights == nullptr || !Scalar(left_inputs[1]) || Count(graph_.values_[left_inputs[2]]) != 1) return;
  // A scale for each output channel, or one for all.
  const GraphValue& right_scale = graph_.values_[right_inputs[1]];
  const auto rank = static_cast<std::int64_t>(weights->info.shape.size());
  std::int64_t axis = graph_.steps_[right].node->IntAttribute("axis", 1);
  if (axis < 0) axis += rank;
  if (rank < 2 || (Count(right_scale) != 1 && axis != (is_conv ? 0 : 1)) || (!is_conv && rank != 2)) return;
  std::vector<ValueIndex> inputs{left_inputs[0],  left_inputs[1],  left_inputs[2], right_inputs[0],
                                 right_inputs[1], right_inputs[2], end.inputs[1],  end.inputs[2]};
  const bool has_bias = is_conv && middle.inputs.size() > 2 && middle.inputs[2] != kNoValue;
  if (has_bias && !TakeConvBias(middle.inputs[2], graph_.values_[left_inputs[1]], right_scale, inputs)) return;
  OnnxNode& node = Replace(index, *FindOperator(is_conv ? "QLinearConv" : "QLinearMatMul"), std::move(inputs));
  node.attributes = middle.node->attributes;
  graph_.fusions_.Add(Fusion::kQdq);
}

// A constant row of floats, or one that a DequantizeLinear makes of 32-bit integers; none for anything else.
Result<ValueIndex> GraphOptimiser::RowOf(ValueIndex value, std::int64_t columns) {
  if (const GraphValue* floats = ConstantFloats(value); floats != nullptr) {
    return floats->info.shape == Shape{columns} ? value : kNoValue;
  }
  const std::size_t step = Maker(value, "DequantizeLinear");
  if (step == kNoStep) return kNoValue;
  const std::vector<ValueIndex>& parts = graph_.steps_[step].inputs;
  const GraphValue* codes = Constant(parts[0]);
  const GraphValue* scales = ConstantFloats(parts[1]);
  if (codes == nullptr || scales == nullptr || codes->info.type != OnnxType::kInt32 ||
      codes->info.shape != Shape{columns} || (Count(*scales) != 1 && Count(*scales) != columns)) {
    return kNoValue;
  }
  std::vector<float> row;
  for (std::int64_t c = 0; c < columns; ++c) {
    const float scale = reinterpret_cast<const float*>(scales->data)[Count(*scales) == 1 ? 0 : c];
    row.push_back(static_cast<float>(reinterpret_cast<const std::int32_t*>(codes->data)[c]) * scale);
  }
  return AddConstant({OnnxType::kFloat, {columns}}, row);
}

// Codes [K,N] of [N,K].
Result<ValueIndex> GraphOptimiser::Transposed(ValueIndex codes) {
  const TensorInfo info = graph_.values_[codes].info;
  const std::int64_t columns = info.shape[0];
  const std::int64_t depth = info.shape[1];
  FORESHORE_ASSIGN_OR_RETURN(const NewConstant turned, AddRoom({info.type, {depth, columns}}));
  const std::byte* from = graph_.values_[codes].data;
  for (std::int64_t i = 0; turned.room != nullptr && i < depth * columns; ++i) {
    turned.room[i] = from[i % columns * depth + i / columns];
  }
  return turned.index;
}

// MatMul or Gemm of DequantizeLinear by DequantizeLinear of constant codes, whose result stays in floats, and a row
// that is added to it.
Status GraphOptimiser::FuseCodeProductAt(std::size_t index) {
  const GraphStep& product = graph_.steps_[index];
  const bool is_gemm = product.op->name == "Gemm";
  if ((!is_gemm && product.op->name != "MatMul") || product.inputs.size() < 2) return Status::Ok();
  const OnnxNode& node = *product.node;
  const std::size_t left = Dequantizer(product.inputs[0]);
  const std::size_t right = Maker(product.inputs[1], "DequantizeLinear");
  const bool has_row = is_gemm && product.inputs.size() > 2 && product.inputs[2] != kNoValue;
  if (left == kNoStep || right == kNoStep || node.IntAttribute("transA", 0) != 0 ||
      (is_gemm && node.FloatAttribute("alpha", 1) != 1) || (has_row && node.FloatAttribute("beta", 1) != 1)) {
    return Status::Ok();
  }
  const std::vector<ValueIndex>& left_inputs = graph_.steps_[left].inputs;
  const std::vector<ValueIndex>& right_inputs = graph_.steps_[right].inputs;
  const auto is_code = [](const GraphValue& value) {
    return value.info.type == OnnxType::kInt8 || value.info.type == OnnxType::kUint8;
  };
  const GraphValue& left_zero = graph_.values_[left_inputs[2]];
  if (Constant(left_inputs[0]) != nullptr || !Scalar(left_inputs[1]) || Count(left_zero) != 1 || !is_code(left_zero)) {
    return Status::Ok();
  }
  const GraphValue* weights = Constant(right_inputs[0]);
  const GraphValue* scales = ConstantFloats(right_inputs[1]);
  const ValueIndex right_zero = right_inputs.size() > 2 ? right_inputs[2] : kNoValue;
  if (weights == nullptr || scales == nullptr || !is_code(*weights) || weights->info.shape.size() != 2 ||
      (right_zero != kNoValue && Constant(right_zero) == nullptr)) {
    return Status::Ok();
  }
  const bool flips = is_gemm && node.IntAttribute("transB", 0) != 0;
  const std::int64_t columns = weights->info.shape[flips ? 0 : 1];
  const std::int64_t depth = weights->info.shape[flips ? 1 : 0];
  std::int64_t axis = graph_.steps_[right].node->IntAttribute("axis", 1);
  axis += axis < 0 ? 2 : 0;
  const auto fits = [&](const GraphValue& list) {
    return Count(list) == 1 || (Count(list) == columns && axis == (flips ? 0 : 1));
  };
  // A sum of more than that might not fit 32 bits.
  if (depth < 1 || depth > kCodeDepthMax || columns < 1 || !fits(*scales) ||
      (right_zero != kNoValue && !fits(graph_.values_[right_zero]))) {
    return Status::Ok();
  }
  std::size_t end = index;
  ValueIndex row = kNoValue;
  if (has_row) {
    FORESHORE_ASSIGN_OR_RETURN(row, RowOf(product.inputs[2], columns));
    if (row == kNoValue) return Status::Ok();
  } else if (const std::size_t next = SoleUser(product.outputs[0]);
             next != kNoStep && graph_.steps_[next].op->name == "Add") {
    FORESHORE_ASSIGN_OR_RETURN(row, RowOf(OtherInput(next, product.outputs[0]), columns));
    if (row != kNoValue) end = next;
  }
  ValueIndex codes = right_inputs[0];
  if (flips) {
    FORESHORE_ASSIGN_OR_RETURN(codes, Transposed(codes));
  }
  Replace(end, CodeProductOperator(),
          {left_inputs[0], left_inputs[1], left_inputs[2], codes, right_zero, right_inputs[1], row});
  graph_.fusions_.Add(Fusion::kQdq);
  return Status::Ok();
}

}  // namespace foreshore::graph
