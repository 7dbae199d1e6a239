// Where each value of a graph lies while it runs on inputs of given shapes: one arena, whose places are given to the
// next value as soon as the last user of the one before is done.
//
// Values whose shape depends on the content of an input have no place; the executor allocates them as they come.
// What depends on shapes alone is computed while planning. Threads: immutable once made. Lifetime: borrows the graph.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/inference/graph/graph.h"

namespace foreshore::graph {

enum class Place : std::uint8_t {
  kNone,      // Not made.
  kInput,     // The caller's memory.
  kConstant,  // The graph's, or computed while planning.
  kArena,
  kView,     // The bytes of another value.
  kDynamic,  // Allocated while running.
};

struct PlannedValue {
  Place place = Place::kNone;
  TensorInfo info;                  // Empty for kDynamic.
  std::uint64_t offset = 0;         // In the arena.
  ValueIndex root = kNoValue;       // Of a view: the value whose bytes it shows, itself no view.
  const std::byte* data = nullptr;  // Of a constant.
  std::size_t last_step = 0;        // Of a root: the last step that needs it.
};

struct GraphPlan {
  std::vector<TensorInfo> input_infos;
  std::vector<PlannedValue> values;
  std::vector<bool> is_done;  // A step that planning has run.
  std::vector<OwnedTensor> owned;
  std::uint64_t owned_bytes = 0;
  std::uint64_t arena_bytes = 0;  // Values, then a workspace for one step after the other.
  std::uint64_t workspace_offset = 0;
  std::uint64_t values_bytes = 0;  // What the arena's values would take side by side.
};

// One info for each of the graph's inputs, in order, each of the declared type. kLimit where the arena and the graph's
// constants need more than `memory_bytes_max`.
Result<GraphPlan> PlanGraph(const Graph& graph, std::vector<TensorInfo> input_infos, std::uint64_t memory_bytes_max);

}  // namespace foreshore::graph
