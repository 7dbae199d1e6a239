// Steps over codes that follow one another stay in channels-last layout: codes are turned where the first of them
// begins and where anything else needs them.
#include <algorithm>
#include <utility>

#include "engine/inference/graph/graph_optimiser.h"
#include "engine/inference/graph/last_layout.h"
#include "engine/inference/graph/operators_codes.h"

namespace foreshore::graph {

namespace {

bool IsType(const GraphValue* value, OnnxType type) {
  return value != nullptr && value->info.type == type;
}

}  // namespace

// Unsigned codes by constant ones, of two spatial axes, whole or depthwise. Of weights with their zero points taken off
// 255 alone is more than kernel_code_convolve.cc takes.
bool GraphOptimiser::IsLastConv(const GraphStep& step) const {
  if (step.op->name != "QLinearConv") return false;
  for (std::size_t i = 1; i < step.inputs.size(); ++i) {
    if (step.inputs[i] != kNoValue && Constant(step.inputs[i]) == nullptr) return false;
  }
  const GraphValue* weights = Constant(step.inputs[3]);
  const GraphValue* zeros = Constant(step.inputs[5]);
  if (!IsType(Constant(step.inputs[2]), OnnxType::kUint8) || !IsType(Constant(step.inputs[7]), OnnxType::kUint8) ||
      weights == nullptr || !IsType(zeros, weights->info.type) || weights->info.shape.size() != 4) {
    return false;
  }
  for (const std::size_t scale : {1, 4, 6}) {
    if (ConstantFloats(step.inputs[scale]) == nullptr) return false;
  }
  const std::int64_t channels = weights->info.shape[0];
  const auto count = [&](std::size_t input) { return ElementCount(Constant(step.inputs[input])->info.shape); };
  for (const std::size_t one : {1, 2, 6, 7}) {
    if (count(one) != 1) return false;
  }
  if ((count(4) != 1 && count(4) != channels) || (count(5) != 1 && count(5) != channels)) return false;
  const bool has_bias = step.inputs.size() > 8 && step.inputs[8] != kNoValue;
  if (has_bias && (!IsType(Constant(step.inputs[8]), OnnxType::kInt32) || count(8) != channels)) return false;
  if (!IsType(weights, OnnxType::kInt8) && !IsType(weights, OnnxType::kUint8)) return false;
  // The least and the greatest code meet.
  const std::byte least = IsType(weights, OnnxType::kInt8) ? std::byte{0x80} : std::byte{0};
  const std::byte greatest = IsType(weights, OnnxType::kInt8) ? std::byte{0x7F} : std::byte{0xFF};
  if (std::find(zeros->data, zeros->data + count(5), least) != zeros->data + count(5) &&
      std::find(weights->data, weights->data + count(3), greatest) != weights->data + count(3)) {
    return false;
  }
  const std::int64_t groups = step.node->IntAttribute("group", 1);
  return channels > 0 && (groups == 1 || (groups == channels && weights->info.shape[1] == 1));
}

void GraphOptimiser::LayOutLast() {
  LastLayout layout(graph_.values_, graph_.made_nodes_);
  std::unordered_map<ValueIndex, const OnnxNode*> output_nodes;
  for (const GraphPort& output : graph_.outputs_) {
    if (makers_[output.value] != kNoStep) output_nodes[output.value] = graph_.steps_[makers_[output.value]].node;
  }
  for (GraphStep& step : graph_.steps_) {
    const std::string_view name = step.op->name;
    const ValueIndex last = step.inputs.empty() ? kNoValue : layout.LastOf(step.inputs[0]);
    std::vector<ValueIndex> inputs = step.inputs;
    if (IsLastConv(step)) {
      inputs[0] = last != kNoValue ? last : layout.TurnToLast(step.inputs[0], *step.node);
      layout.Push(step, CodeConvOperator(), std::move(inputs));
    } else if (last != kNoValue &&
               (name == "CodeMap" || name == "CodeScale" || name == "CodeMean" || name == "CodeMax")) {
      inputs[0] = last;
      if (name == "CodeMax" && inputs.size() > 1) {
        // Once for each code, not for each window that sees it; the convolution before may take it.
        layout.Push(step, CodeMapOperator(), inputs);
        inputs = {layout.LastOf(step.outputs[0])};
      }
      OnnxNode& node = layout.Push(step, *step.op, std::move(inputs));
      if (name != "CodeMap") {
        OnnxAttribute& mark = node.attributes.emplace_back();
        mark.name = "last";
        mark.i = 1;
      }
    } else if (last != kNoValue && (name == "CodeAdd" || name == "CodeMul") &&
               layout.LastOf(step.inputs[3]) != kNoValue) {
      inputs[0] = last;
      inputs[3] = layout.LastOf(step.inputs[3]);
      layout.Push(step, *step.op, std::move(inputs));
    } else {
      layout.Keep(std::move(step));
    }
  }
  for (const auto& [value, node] : output_nodes) layout.NeedFirst(value, *node);
  graph_.steps_ = layout.TakeSteps();
  is_dead_.assign(graph_.steps_.size(), false);
  CountUses();
  FuseTables();
  RemoveUnused();
}

// A table that alone uses what a convolution or normalisation makes is looked up by it.
void GraphOptimiser::FuseTables() {
  for (std::size_t i = 0; i < graph_.steps_.size(); ++i) {
    const GraphStep& map = graph_.steps_[i];
    if (map.op != &CodeMapOperator() || SoleUser(map.inputs[0]) != i) continue;
    const std::size_t maker = makers_[map.inputs[0]];
    if (maker == kNoStep) continue;
    GraphStep& before = graph_.steps_[maker];
    const bool is_conv = before.op == &CodeConvOperator();
    const std::size_t place = is_conv ? 9 : 5;
    if ((!is_conv && before.op != &CodeScaleOperator()) || before.inputs.size() > place) continue;
    before.inputs.resize(place + 1, kNoValue);
    before.inputs[place] = map.inputs[1];
    before.node_input_count = before.inputs.size();
    before.outputs[0] = map.outputs[0];
    makers_[before.outputs[0]] = maker;
    is_dead_[i] = true;
  }
}

}  // namespace foreshore::graph
