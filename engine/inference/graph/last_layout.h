// Puts steps into the layout in which channels come last: values are turned where the first such step begins and where
// anything else needs them.
//
// Threads: used by one, while the graph is built.
#pragma once

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/inference/graph/graph.h"
#include "engine/inference/graph/operators_last.h"

namespace foreshore::graph {

// Makes the steps anew, in their order.
class LastLayout {
 public:
  LastLayout(std::vector<GraphValue>& values, std::vector<std::unique_ptr<OnnxNode>>& nodes)
      : values_(values), nodes_(nodes) {}

  std::vector<GraphStep> TakeSteps() { return std::move(steps_); }

  // The value in channels-last layout, kNoValue where it has none yet.
  ValueIndex LastOf(ValueIndex value) const {
    const auto found = last_.find(value);
    return found == last_.end() ? kNoValue : found->second;
  }
  ValueIndex TurnToLast(ValueIndex value, const OnnxNode& reason) {
    const ValueIndex last = NewValue(value);
    Push(ToLastOperator(), reason, {value}, last, nullptr);
    is_there_.push_back(value);
    return last;
  }
  // The step over values in channels-last layout, with what the node says beside its inputs.
  OnnxNode& Push(const GraphStep& step, const Operator& op, std::vector<ValueIndex> inputs) {
    const ValueIndex last = NewValue(step.outputs[0]);
    return Push(op, *step.node, std::move(inputs), last, step.node);
  }
  void Keep(GraphStep step) {
    for (const ValueIndex input : step.inputs) NeedFirst(input, *step.node);
    steps_.push_back(std::move(step));
  }
  void NeedFirst(ValueIndex value, const OnnxNode& reason) {
    if (value == kNoValue || LastOf(value) == kNoValue) return;
    if (std::find(is_there_.begin(), is_there_.end(), value) != is_there_.end()) return;
    Push(ToFirstOperator(), reason, {LastOf(value)}, value, nullptr);
    is_there_.push_back(value);
  }

 private:
  ValueIndex NewValue(ValueIndex first) {
    const auto last = static_cast<ValueIndex>(values_.size());
    const std::string_view name = values_[first].name;
    values_.emplace_back().name = name;
    last_[first] = last;
    return last;
  }
  OnnxNode& Push(const Operator& op, const OnnxNode& reason, std::vector<ValueIndex> inputs, ValueIndex output,
                 const OnnxNode* attributes) {
    OnnxNode& node = *nodes_.emplace_back(std::make_unique<OnnxNode>());
    node.name = reason.name;
    node.op_type = op.name;
    node.outputs = reason.outputs;
    if (attributes != nullptr) node.attributes = attributes->attributes;
    GraphStep& step = steps_.emplace_back();
    step.node = &node;
    step.op = &op;
    step.node_input_count = inputs.size();
    step.inputs = std::move(inputs);
    step.outputs = {output};
    return node;
  }

  std::vector<GraphValue>& values_;
  std::vector<std::unique_ptr<OnnxNode>>& nodes_;
  std::vector<GraphStep> steps_;
  std::unordered_map<ValueIndex, ValueIndex> last_;
  std::vector<ValueIndex> is_there_;  // Of those that have a last layout: what is there in the other one too.
};

}  // namespace foreshore::graph
