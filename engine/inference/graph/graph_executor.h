// Runs a graph. The plan and the arena of the last call are kept for the next with inputs of the same shapes; so are
// those of the graphs inside nodes.
//
// Lifetime: borrows the graph. Threads: one executor, one thread at a time; many may share a graph.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/inference/graph/aligned_bytes.h"
#include "engine/inference/graph/graph.h"
#include "engine/inference/graph/graph_plan.h"
#include "storage/base/cancellation.h"

namespace foreshore::graph {

class GraphExecutor {
 public:
  explicit GraphExecutor(const Graph& graph) : graph_(graph) {}

  // The graph's outputs, in its order. kInvalidArgument for inputs that are not what it declares, kLimit where it needs
  // more memory than its limits allow. `cancellation`, which may be null, is asked between and within the nodes.
  Result<std::vector<OwnedTensor>> Run(std::span<const TensorRef> inputs, Cancellation* cancellation = nullptr) {
    return RunWithin(inputs, graph_.limits().memory_bytes_max, cancellation);
  }

  // From now on each call writes how long its steps took, in nanoseconds, 0 for one that planning has run. Borrowed;
  // null for no more.
  void set_step_times(std::vector<std::int64_t>* times_ns) { step_times_ns_ = times_ns; }

  // Of the last call; null before the first.
  const GraphPlan* plan() const { return plan_ ? &*plan_ : nullptr; }

 private:
  struct State;
  // The memory is that of the graph's constants and of all that the call makes.
  Result<std::vector<OwnedTensor>> RunWithin(std::span<const TensorRef> inputs, std::uint64_t memory_bytes_max,
                                             Cancellation* cancellation);
  Status CheckInputs(std::span<const TensorRef> inputs, std::uint64_t memory_bytes_max) const;
  Status Prepare(std::span<const TensorRef> inputs, std::uint64_t memory_bytes_max);
  Status RunStep(std::size_t index, State& state);
  Status RunPlainStep(const GraphStep& step, std::span<const TensorRef> inputs, State& state);
  Status RunIf(const GraphStep& step, std::span<const TensorRef> inputs, State& state);
  Status RunLoop(const GraphStep& step, std::span<const TensorRef> inputs, State& state);
  Result<std::vector<OwnedTensor>> RunBranch(const GraphBranch& branch, std::vector<TensorRef> inputs, State& state);
  Status KeepOutputs(const GraphStep& step, std::vector<OwnedTensor> outputs, State& state);
  Result<OwnedTensor> Allocate(const TensorInfo& info, State& state);
  Result<std::vector<OwnedTensor>> CopyOutputs(State& state);
  // What is kept between calls, and by the graphs inside nodes.
  std::uint64_t HeldBytes() const;
  std::uint64_t HeldByBranches() const;

  const Graph& graph_;
  std::optional<GraphPlan> plan_;
  AlignedBytes arena_;
  std::vector<std::int64_t>* step_times_ns_ = nullptr;
  std::map<const Graph*, std::unique_ptr<GraphExecutor>> branches_;
};

// One call's values. A dynamic one is owned here, until the last step that needs it.
struct GraphExecutor::State {
  std::vector<TensorRef> values;
  std::vector<OwnedTensor> dynamic;
  std::uint64_t bytes_left = 0;
  Cancellation* cancellation = nullptr;
};

}  // namespace foreshore::graph
