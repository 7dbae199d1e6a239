// How the executor runs nodes that hold graphs: If and Loop.
#include <cstring>
#include <limits>
#include <utility>

#include "engine/inference/graph/graph_executor.h"

namespace foreshore::graph {

namespace {

Result<bool> ReadCondition(const TensorRef& condition) {
  if (condition.info->type != OnnxType::kBool || condition.count() != 1) {
    return Status::InvalidArgument("the condition is " + ToText(*condition.info) + ", expected one boolean");
  }
  return *condition.as<std::uint8_t>() != 0;
}

Result<std::int64_t> ReadTripCount(const TensorRef& count) {
  if (count.info->type != OnnxType::kInt64 || count.count() != 1) {
    return Status::InvalidArgument("the trip count is " + ToText(*count.info) + ", expected one int64");
  }
  return *count.as<std::int64_t>();
}

// What a slice takes beside its elements: in a list that grows by doubling, which copies it, and two allocations.
std::uint64_t SliceBytes(const OwnedTensor& slice) {
  constexpr std::uint64_t kAllocationBytes = 32;
  return 3 * sizeof(OwnedTensor) + 2 * kAllocationBytes + slice.info.shape.size() * sizeof(std::int64_t);
}

}  // namespace

Result<std::vector<OwnedTensor>> GraphExecutor::RunBranch(const GraphBranch& branch, std::vector<TensorRef> inputs,
                                                          State& state) {
  for (const ValueIndex value : branch.captured) inputs.push_back(state.values[value]);
  const Graph* graph = branch.graph.get();
  const auto bytes_max = [&] {
    const auto own = branches_.find(graph);
    const std::uint64_t held_by_others = HeldByBranches() - (own != branches_.end() ? own->second->HeldBytes() : 0);
    return std::pair{state.bytes_left - held_by_others + graph->constant_bytes(), held_by_others};
  };
  const auto [first_max, held_by_others] = bytes_max();
  auto& executor = branches_[graph];
  if (!executor) executor = std::make_unique<GraphExecutor>(*graph);
  auto outputs = executor->RunWithin(inputs, first_max, state.cancellation);
  if (outputs.ok() || held_by_others == 0 || outputs.status().code() != ErrorCode::kLimit) return outputs;
  // Others keep memory for their next call that this one needs now.
  branches_.clear();
  auto& fresh = branches_[graph] = std::make_unique<GraphExecutor>(*graph);
  return fresh->RunWithin(inputs, bytes_max().first, state.cancellation);
}

// Invariant of RunBranch: its results fit in what is left, together with what the branches hold.
Status GraphExecutor::KeepOutputs(const GraphStep& step, std::vector<OwnedTensor> outputs, State& state) {
  for (std::size_t i = 0; i < step.outputs.size(); ++i) {
    const ValueIndex output = step.outputs[i];
    if (output == kNoValue) continue;
    if (outputs[i].size_bytes > state.bytes_left) {
      return Status::Limit(graph_.file() + ": " + Describe(*step.node) + ": output " + ToText(outputs[i].info) +
                           " needs more than the " + std::to_string(state.bytes_left) + " bytes that are left");
    }
    state.bytes_left -= outputs[i].size_bytes;
    state.dynamic[output] = std::move(outputs[i]);
    state.values[output] = state.dynamic[output].ref();
  }
  if (HeldByBranches() > state.bytes_left) branches_.clear();
  return Status::Ok();
}

Status GraphExecutor::RunIf(const GraphStep& step, std::span<const TensorRef> inputs, State& state) {
  const auto condition = ReadCondition(inputs[0]);
  if (!condition.ok()) return condition.status().WithContext(graph_.file() + ": " + Describe(*step.node));
  const bool first_is_then = step.branches[0].attribute == "then_branch";
  const GraphBranch& branch = step.branches[*condition == first_is_then ? 0 : 1];
  FORESHORE_ASSIGN_OR_RETURN(auto outputs, RunBranch(branch, {}, state));
  return KeepOutputs(step, std::move(outputs), state);
}

// Inputs of the body: iteration, condition, carried values. Its outputs: condition, carried values, one slice each of
// the rest.
Status GraphExecutor::RunLoop(const GraphStep& step, std::span<const TensorRef> inputs, State& state) {
  const std::string where = graph_.file() + ": " + Describe(*step.node);
  const GraphBranch& branch = step.branches[0];
  const std::size_t own_count = step.node_input_count;
  const std::size_t carried_count = own_count > 2 ? own_count - 2 : 0;
  std::int64_t trip_count = std::numeric_limits<std::int64_t>::max();
  bool condition = true;
  if (own_count > 0 && inputs[0].info != nullptr) {
    const auto count = ReadTripCount(inputs[0]);
    if (!count.ok()) return count.status().WithContext(where);
    trip_count = *count;
  }
  if (own_count > 1 && inputs[1].info != nullptr) {
    const auto first = ReadCondition(inputs[1]);
    if (!first.ok()) return first.status().WithContext(where);
    condition = *first;
  }
  // Results that live from one iteration to the next, and the memory that they take from this graph's.
  std::vector<OwnedTensor> carried(carried_count);
  std::vector<TensorRef> values;
  for (std::size_t i = 0; i < carried_count; ++i) {
    if (inputs[2 + i].info == nullptr) return Status::Corruption(where + ": a carried value is missing");
    values.push_back(inputs[2 + i]);
  }
  std::vector<std::vector<OwnedTensor>> slices(step.outputs.size() - carried_count);
  const std::uint64_t bytes_before = state.bytes_left;
  const TensorInfo iteration_info{OnnxType::kInt64, {}};
  const TensorInfo condition_info{OnnxType::kBool, {}};
  for (std::int64_t iteration = 0; iteration < trip_count && condition; ++iteration) {
    const std::uint8_t flag = 1;
    std::vector<TensorRef> arguments{{&iteration_info, reinterpret_cast<const std::byte*>(&iteration)},
                                     {&condition_info, reinterpret_cast<const std::byte*>(&flag)}};
    arguments.insert(arguments.end(), values.begin(), values.end());
    FORESHORE_ASSIGN_OR_RETURN(auto outputs, RunBranch(branch, std::move(arguments), state));
    const auto next = ReadCondition(outputs[0].ref());
    if (!next.ok()) return next.status().WithContext(where);
    condition = *next;
    for (std::size_t i = 1; i < outputs.size(); ++i) {
      // Slices without an element are counted too: there may be any number of them.
      const std::uint64_t size_bytes = outputs[i].size_bytes + (i <= carried_count ? 0 : SliceBytes(outputs[i]));
      if (size_bytes > state.bytes_left) {
        return Status::Limit(where + ": its values need more than the memory that is left");
      }
      state.bytes_left -= size_bytes;
      if (i <= carried_count) {
        state.bytes_left += carried[i - 1].size_bytes;
        carried[i - 1] = std::move(outputs[i]);
        values[i - 1] = carried[i - 1].ref();
      } else {
        slices[i - 1 - carried_count].push_back(std::move(outputs[i]));
      }
    }
  }
  std::vector<OwnedTensor> results;
  for (std::size_t i = 0; i < carried_count; ++i) {
    if (carried[i].bytes) {
      results.push_back(std::move(carried[i]));
      continue;
    }
    auto copy = Allocate(*values[i].info, state);
    if (!copy.ok()) return copy.status().WithContext(where);
    if (copy->size_bytes > 0) std::memcpy(copy->bytes.get(), values[i].data, copy->size_bytes);
    results.push_back(std::move(copy).value());
  }
  for (std::size_t k = 0; k < slices.size(); ++k) {
    TensorInfo info;
    if (slices[k].empty()) {
      // Without an iteration only the declaration says what the slices would have been.
      const GraphPort& port = branch.graph->outputs()[1 + carried_count + k];
      info = {port.type, port.shape};
      for (std::int64_t& size : info.shape) size = std::max<std::int64_t>(size, 0);
    } else {
      info = slices[k][0].info;
    }
    info.shape.insert(info.shape.begin(), static_cast<std::int64_t>(slices[k].size()));
    auto joined = Allocate(info, state);
    if (!joined.ok()) return joined.status().WithContext(where);
    std::byte* to = joined->bytes.get();
    for (const OwnedTensor& slice : slices[k]) {
      if (!(slice.info == slices[k][0].info)) {
        return Status::InvalidArgument(where + ": makes " + ToText(slice.info) + " and " + ToText(slices[k][0].info) +
                                       " in two iterations, expected one shape");
      }
      if (slice.size_bytes > 0) std::memcpy(to, slice.bytes.get(), slice.size_bytes);
      to += slice.size_bytes;
      state.bytes_left += slice.size_bytes + SliceBytes(slice);
    }
    slices[k].clear();
    results.push_back(std::move(joined).value());
  }
  state.bytes_left = bytes_before;
  return KeepOutputs(step, std::move(results), state);
}

}  // namespace foreshore::graph
