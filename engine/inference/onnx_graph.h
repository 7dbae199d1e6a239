// An ONNX graph that has been walked once from its inputs to one output, with what is known of every value on the way.
//
// The walk runs the graph's bookkeeping for real on a small made-up batch: shapes, position numbers and padding masks
// are computed; large float values ("activations") are not, only their shapes. So an importer can ask what a mask or a
// reshape really does instead of recognising the many ways in which exporters write it.
//
// Lifetime: borrows the OnnxModel. Threads: immutable once made.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/inference/onnx_probe.h"
#include "engine/inference/onnx_reader.h"
#include "foreshore/status.h"

namespace foreshore {

using ValueId = std::uint32_t;
inline constexpr ValueId kNoValue = 0xFFFFFFFF;

// The made-up batch: every integer input of shape [batch, sequence] gets its own pattern of zeros and ones, with at
// least one of each in every row, so that any of them can be ids, types or a mask.
struct ProbeBatch {
  std::int64_t batch = 3;
  std::int64_t sequence = 7;
};
ProbeTensor ProbePattern(const ProbeBatch& batch, std::size_t input_index);

struct GraphValue {
  std::string_view name;
  const OnnxNode* producer = nullptr;       // Null for inputs and initializers.
  const OnnxTensor* initializer = nullptr;  // Null for all others.
  bool constant = false;                    // Independent of the graph's inputs.
  bool visited = false;                     // On the way to the output.
  std::vector<std::int64_t> shape;
  std::optional<ProbeTensor> probe;  // Its value, where it is bookkeeping or a small constant.

  // Neither known nor constant: a large value that depends on the input.
  bool is_activation() const { return visited && !constant && !probe.has_value(); }
};

class OnnxGraph {
 public:
  // Walks to the output of that name. `name` is what messages call the file. kUnsupported names at once every operator
  // on the way that is not known; kCorruption a graph that contradicts itself (a value used before it is made or made
  // twice, shapes that do not fit); kLimit one that asks for unreasonable work.
  static Result<OnnxGraph> Walk(std::string_view name, const OnnxModel& model, std::string_view output,
                                const ProbeBatch& batch);

  const GraphValue& value(ValueId id) const { return values_[id]; }
  ValueId output() const { return output_; }
  // kNoValue where the node has no such input.
  ValueId Input(const OnnxNode& node, std::size_t index) const;
  ValueId Find(std::string_view value_name) const;
  // The graph's inputs that are no initializers, in the file's order: the index that ProbePattern takes.
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const ProbeBatch& batch() const { return batch_; }
  const OnnxModel& model() const { return *model_; }
  const std::string& file() const { return file_; }

  // What messages call a node: its name and operator.
  static std::string Describe(const OnnxNode& node);

 private:
  OnnxGraph() = default;
  Status DeclareValues();
  Status MarkWay(std::string_view output);
  Status CheckOperators() const;
  Status WalkNode(const OnnxNode& node);
  Status WalkConstantNode(const OnnxNode& node, GraphValue& out);
  Status WalkConstant(const OnnxNode& node, GraphValue& out);
  Status WalkActivation(const OnnxNode& node, GraphValue& out);
  Result<std::vector<std::int64_t>> ActivationShape(const OnnxNode& node) const;
  Result<std::vector<std::int64_t>> ReducedShape(const OnnxNode& node) const;
  Status Spend(std::size_t element_count);

  std::string file_;
  const OnnxModel* model_ = nullptr;
  ProbeBatch batch_;
  std::vector<GraphValue> values_;
  std::unordered_map<std::string_view, ValueId> ids_;
  std::vector<ValueId> inputs_;
  ValueId output_ = kNoValue;
  std::size_t elements_left_ = 0;
};

}  // namespace foreshore
