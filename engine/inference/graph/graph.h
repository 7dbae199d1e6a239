// An ONNX graph made ready to run: every value made once, nodes in an order in which each has its inputs, what does not
// depend on the inputs computed already, what leads to no output dropped.
//
// Lifetime: borrows the bytes of the file that the OnnxModel was read from. Threads: immutable once made.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/inference/graph/constant_store.h"
#include "engine/inference/graph/graph_fusions.h"
#include "engine/inference/graph/operator.h"
#include "engine/inference/graph/step_kernel.h"
#include "engine/inference/graph/tensor_value.h"
#include "engine/inference/graph/vector_kernels.h"
#include "engine/inference/onnx_reader.h"
#include "foreshore/status.h"
#include "storage/base/cpu.h"

namespace foreshore::graph {

struct GraphLimits {
  // What constants that are no plain bytes of the file, intermediate values and results may take together.
  std::uint64_t memory_bytes_max = 512ULL << 20;
};

using ValueIndex = std::uint32_t;
inline constexpr ValueIndex kNoValue = 0xFFFFFFFF;

struct GraphValue {
  std::string_view name;
  bool is_constant = false;
  TensorInfo info;                  // Of a constant.
  const std::byte* data = nullptr;  // Of a constant; null where only kernels read it, as they have packed it.
};

class Graph;

// A graph inside a node, for the executor to run: its inputs are those that it declares, then values of the graph
// around it.
struct GraphBranch {
  std::string_view attribute;
  std::unique_ptr<Graph> graph;
  std::vector<ValueIndex> captured;  // Values of the graph around it, for the last of `graph`'s inputs, in their order.
};

struct GraphStep {
  const OnnxNode* node = nullptr;
  const Operator* op = nullptr;
  std::vector<ValueIndex> inputs;      // kNoValue for one that is left out. Behind the node's: what its graphs use.
  std::vector<ValueIndex> outputs;     // The same.
  std::size_t node_input_count = 0;    // How many of `inputs` are the node's own.
  std::vector<GraphBranch> branches;   // Of a node that holds graphs.
  std::unique_ptr<StepKernel> kernel;  // What runs it; null where the operator's own code does.
};

struct GraphPort {
  std::string_view name;
  ValueIndex value = kNoValue;
  OnnxType type = OnnxType::kUndefined;
  bool has_shape = false;
  Shape shape;               // -1 where the size is open.
  bool is_captured = false;  // A value of the graph around this one: of any type and shape.
};

class Graph {
 public:
  // `file` is what messages call it. kUnsupported names at once every node that cannot run; kCorruption a graph that
  // contradicts itself (a value made twice or never, a cycle); kLimit one whose constants need too much memory.
  // `kernels` are the processor's; null runs every operator's own code, one node after the other, as the file has them.
  // On a packed graph's `constants`, kCorruption where they are not those of this graph; null makes them in memory.
  static Result<Graph> Build(std::string_view file, OnnxModel model, const GraphLimits& limits = {},
                             const VectorKernels* kernels = &VectorKernelsFor(DetectCpuLevel()),
                             std::shared_ptr<ConstantStore> constants = nullptr);

  const std::string& file() const { return file_; }
  std::int64_t opset() const { return opset_; }
  const GraphLimits& limits() const { return limits_; }
  const VectorKernels* kernels() const { return kernels_; }
  const std::vector<GraphValue>& values() const { return values_; }
  const std::vector<GraphStep>& steps() const { return steps_; }
  const std::vector<GraphPort>& inputs() const { return inputs_; }
  const std::vector<GraphPort>& outputs() const { return outputs_; }
  // Memory that constants take beside the file and a packed graph, those of the graphs inside nodes included.
  std::uint64_t constant_bytes() const { return constant_bytes_; }
  const ConstantStore& constants() const { return *constants_; }
  // What became fewer steps, in the graphs inside nodes too.
  const FusionCounts& fusions() const { return fusions_; }

  // What the graph that was built on a processor with these kernels under these limits is packed under.
  static PackedGraphKey KeyOf(const std::array<std::uint8_t, 32>& source, const GraphLimits& limits = {},
                              const VectorKernels& kernels = VectorKernelsFor(DetectCpuLevel())) {
    return {source, kernels.level, limits.memory_bytes_max};
  }

  // What the step's outputs are, one for each that the node has, each of at most memory_bytes_max. `inputs` have data
  // where the operator's shapes need them. Messages name file and node.
  Result<Infos> Infer(const GraphStep& step, std::span<const TensorRef> inputs) const;
  // Memory that Run() needs beside inputs and outputs, for a step that Infer() has found fit. Run() allocates as much
  // itself where it is given none.
  std::uint64_t WorkspaceBytes(const GraphStep& step, std::span<const TensorRef> inputs) const;
  Status Run(const GraphStep& step, std::span<const TensorRef> inputs, std::span<const OutputRef> outputs,
             std::byte* workspace = nullptr, Cancellation* cancellation = nullptr) const;

 private:
  friend class GraphOptimiser;
  Graph() = default;
  Status Declare(const OnnxGraphBody& body, const std::vector<std::string_view>& captured);
  Status DeclareBranches(GraphStep& step);
  void CollectUnsupported(std::string& named, std::size_t& count) const;
  Status BindBranches(GraphStep& step);
  Result<ValueIndex> Define(std::string_view name);
  Status TakeInitializer(const OnnxTensor& tensor, GraphValue& value);
  Status Order();
  Status CheckNodes() const;
  Status CheckControl(const GraphStep& step) const;
  Status FoldConstants();
  Status Fold(const GraphStep& step, bool& is_folded);
  // Makes the value a constant. Returns where its bytes go; null where they are there.
  Result<std::byte*> Keep(std::string_view what, TensorInfo info, GraphValue& value);
  // The constant has been read for the last time, unless a step reads it still.
  void Spend(ValueIndex value);
  void CollectSpent(std::unordered_set<const std::byte*>& spent, std::unordered_set<const std::byte*>& read) const;
  void ForgetSpent(const std::unordered_set<const std::byte*>& spent);
  void GiveUpSpent();

  std::string file_;
  std::int64_t opset_ = 0;
  GraphLimits limits_;
  OnnxModel model_;
  std::vector<GraphValue> values_;
  std::vector<GraphStep> steps_;
  std::vector<GraphPort> inputs_;
  std::vector<GraphPort> outputs_;
  std::vector<const OnnxTensor*> unsupported_;  // Initializers of types that no operator takes; only while building.
  std::vector<std::size_t> use_counts_;         // By value of the file; only while building.
  std::vector<ValueIndex> spent_;               // The same.
  std::shared_ptr<ConstantStore> constants_;    // Shared with the graphs inside nodes.
  std::vector<std::unique_ptr<OnnxNode>> made_nodes_;  // Of steps that stand for several nodes of the file.
  const VectorKernels* kernels_ = nullptr;
  std::uint64_t constant_bytes_ = 0;
  FusionCounts fusions_;
  std::unordered_map<std::string_view, ValueIndex> ids_;
};

}  // namespace foreshore::graph
