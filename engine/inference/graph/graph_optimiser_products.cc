// Products that files spell as several nodes, and what comes before a convolution.
#include <utility>

#include "engine/inference/graph/dynamic_product.h"
#include "engine/inference/graph/graph_optimiser.h"

namespace foreshore::graph {

// DynamicQuantizeLinear, MatMulInteger by constant codes, Cast to float, Mul with the product of both scales, and Add
// of a row or nothing. The step at `index` is the MatMulInteger; what ends the chain becomes the product.
void GraphOptimiser::FuseDynamicProduct(std::size_t index) {
  const GraphStep& product = graph_.steps_[index];
  if (product.op->name != "MatMulInteger" || product.inputs.size() < 3) return;
  const std::size_t quantizer = Maker(product.inputs[0], "DynamicQuantizeLinear");
  if (quantizer == kNoStep || graph_.steps_[quantizer].outputs.size() != 3) return;
  const std::vector<ValueIndex>& quantized = graph_.steps_[quantizer].outputs;
  const GraphValue* weights = Constant(product.inputs[1]);
  if (product.inputs[0] != quantized[0] || product.inputs[2] != quantized[2] || weights == nullptr ||
      weights->info.shape.size() != 2) {
    return;
  }
  const std::int64_t columns = weights->info.shape[1];
  const auto is_by_column = [&](const GraphValue* value) {
    // One number of more dimensions would give the result some.
    return value != nullptr && ((ElementCount(value->info.shape) == 1 && value->info.shape.size() <= 1) ||
                                value->info.shape == Shape{columns});
  };
  const ValueIndex zero = product.inputs.size() > 3 ? product.inputs[3] : kNoValue;
  if (zero != kNoValue && !is_by_column(Constant(zero))) return;
  const std::size_t cast = SoleUser(product.outputs[0]);
  if (cast == kNoStep || graph_.steps_[cast].op->name != "Cast" ||
      graph_.steps_[cast].node->IntAttribute("to", 0) != static_cast<std::int64_t>(OnnxType::kFloat)) {
    return;
  }
  const ValueIndex floats = graph_.steps_[cast].outputs[0];
  std::size_t end = SoleUser(floats);
  if (end == kNoStep || graph_.steps_[end].op->name != "Mul") return;
  const std::size_t scales = Maker(OtherInput(end, floats), "Mul");
  if (scales == kNoStep || quantized[1] == kNoValue) return;
  const ValueIndex scale = OtherInput(scales, quantized[1]);
  if (ConstantFloats(scale) == nullptr || !is_by_column(ConstantFloats(scale))) return;
  std::vector<ValueIndex> inputs{graph_.steps_[quantizer].inputs[0], product.inputs[1], zero, scale};
  const ValueIndex scaled = graph_.steps_[end].outputs[0];
  const std::size_t next = SoleUser(scaled);
  if (next != kNoStep && graph_.steps_[next].op->name == "Add") {
    const GraphValue* row = ConstantFloats(OtherInput(next, scaled));
    if (row != nullptr && row->info.shape == Shape{columns}) {
      inputs.push_back(OtherInput(next, scaled));
      end = next;
    }
  }
  Replace(end, DynamicProductOperator(), std::move(inputs));
  graph_.fusions_.Add(Fusion::kDynamicProduct);
}

// Takes numbers that are added or multiplied just before a convolution over single pixels into its weights and bias.
// With a wider window the padding, which they do not reach, would be something else.
Status GraphOptimiser::FoldBeforeConv(std::size_t index) {
  GraphStep& conv = graph_.steps_[index];
  if (conv.op->name != "Conv") return Status::Ok();
  const GraphValue* weights = ConstantFloats(conv.inputs[1]);
  if (weights == nullptr || weights->info.shape.size() < 3 || ElementCount(weights->info.shape) == 0 ||
      InnerCount(weights->info.shape, 2) != 1) {
    return Status::Ok();
  }
  if (const OnnxAttribute* pads = conv.node->Attribute("pads"); pads != nullptr) {
    for (const std::int64_t pad : pads->ints) {
      if (pad != 0) return Status::Ok();
    }
  }
  const TensorInfo info = weights->info;
  const std::int64_t channels = info.shape[0];
  const bool has_bias = conv.inputs.size() > 2 && conv.inputs[2] != kNoValue;
  const GraphValue* bias = has_bias ? ConstantFloats(conv.inputs[2]) : nullptr;
  if (has_bias && (bias == nullptr || bias->info.shape != Shape{channels})) return Status::Ok();
  // The convolution's input is `value` · factor + offset.
  ValueIndex value = conv.inputs[0];
  double factor = 1;
  double offset = 0;
  for (std::size_t user = index; SoleUser(value) == user && makers_[value] != kNoStep;) {
    user = makers_[value];
    const GraphStep& step = graph_.steps_[user];
    const bool is_sum = step.op->name == "Add";
    if (!is_sum && step.op->name != "Mul") break;
    const std::size_t constant = Scalar(step.inputs[0]) ? 0 : 1;
    const auto number = Scalar(step.inputs[constant]);
    // Of more dimensions it might give the value some.
    if (!number || graph_.values_[step.inputs[constant]].info.shape.size() > 1) break;
    if (is_sum) {
      offset += factor * static_cast<double>(*number);
    } else {
      factor *= static_cast<double>(*number);
    }
    value = step.inputs[1 - constant];
  }
  if (value == conv.inputs[0]) return Status::Ok();
  const std::int64_t depth = InnerCount(info.shape, 1);
  const auto* old_weights = reinterpret_cast<const float*>(weights->data);
  const auto* old_biases = bias != nullptr ? reinterpret_cast<const float*>(bias->data) : nullptr;
  graph_.Spend(conv.inputs[1]);
  FORESHORE_ASSIGN_OR_RETURN(const NewConstant scaled, AddRoom(info));
  auto* new_weights = reinterpret_cast<float*>(scaled.room);
  for (std::int64_t i = 0; new_weights != nullptr && i < channels * depth; ++i) {
    new_weights[i] = static_cast<float>(static_cast<double>(old_weights[i]) * factor);
  }
  FORESHORE_ASSIGN_OR_RETURN(const NewConstant moved, AddRoom({OnnxType::kFloat, {channels}}));
  auto* new_biases = reinterpret_cast<float*>(moved.room);
  for (std::int64_t c = 0; new_biases != nullptr && c < channels; ++c) {
    double sum = 0;
    for (std::int64_t k = 0; k < depth; ++k) sum += static_cast<double>(old_weights[c * depth + k]);
    const double own = old_biases != nullptr ? static_cast<double>(old_biases[c]) : 0;
    new_biases[c] = static_cast<float>(own + offset * sum);
  }
  conv.inputs = {value, scaled.index, moved.index};
  conv.node_input_count = 3;
  return Status::Ok();
}

}  // namespace foreshore::graph
