// Runs a graph. The plan and the arena of the last call are kept for the next with inputs of the same shapes.
//
// Lifetime: borrows the graph. Threads: one executor, one thread at a time; many may share a graph.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/inference/graph/graph.h"
#include "engine/inference/graph/graph_plan.h"

namespace foreshore::graph {

class GraphExecutor {
 public:
  explicit GraphExecutor(const Graph& graph) : graph_(graph) {}

  // The graph's outputs, in its order. kInvalidArgument for inputs that are not what it declares, kLimit where it needs
  // more memory than its limits allow.
  Result<std::vector<OwnedTensor>> Run(std::span<const TensorRef> inputs);

  // Of the last call; null before the first.
  const GraphPlan* plan() const { return plan_ ? &*plan_ : nullptr; }

 private:
  struct State;
  Status CheckInputs(std::span<const TensorRef> inputs) const;
  Status Prepare(std::span<const TensorRef> inputs);
  Status RunStep(std::size_t index, State& state);
  Result<std::vector<OwnedTensor>> CopyOutputs(const State& state) const;

  const Graph& graph_;
  std::optional<GraphPlan> plan_;
  std::unique_ptr<std::byte[]> arena_;
  std::uint64_t arena_bytes_ = 0;
};

}  // namespace foreshore::graph
