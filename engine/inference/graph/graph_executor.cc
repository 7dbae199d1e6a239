#include "engine/inference/graph/graph_executor.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace foreshore::graph {

Status GraphExecutor::CheckInputs(std::span<const TensorRef> inputs, std::uint64_t memory_bytes_max) const {
  const std::vector<GraphPort>& ports = graph_.inputs();
  if (inputs.size() != ports.size()) {
    return Status::InvalidArgument(graph_.file() + ": " + std::to_string(inputs.size()) + " inputs, the graph takes " +
                                   std::to_string(ports.size()));
  }
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const TensorInfo& info = *inputs[i].info;
    bool fits = (info.type == ports[i].type || ports[i].is_captured) && Contains(kAllTypes, info.type);
    if (ports[i].has_shape) {
      fits = fits && info.shape.size() == ports[i].shape.size();
      for (std::size_t axis = 0; fits && axis < info.shape.size(); ++axis) {
        fits = ports[i].shape[axis] < 0 || ports[i].shape[axis] == info.shape[axis];
      }
    }
    if (!fits) {
      return Status::InvalidArgument(graph_.file() + ": input \"" + std::string(ports[i].name.substr(0, 128)) +
                                     "\" is " + ToText(info) + ", expected " + TypeName(ports[i].type) +
                                     (ports[i].has_shape ? ToText(ports[i].shape) : ""));
    }
    const auto size = ByteCount(info, memory_bytes_max);
    if (!size.ok()) return size.status().WithContext(graph_.file() + ": input " + std::to_string(i));
  }
  return Status::Ok();
}

Status GraphExecutor::Prepare(std::span<const TensorRef> inputs, std::uint64_t memory_bytes_max) {
  std::vector<TensorInfo> infos;
  for (const TensorRef& input : inputs) infos.push_back(*input.info);
  const auto used_bytes = [&] { return graph_.constant_bytes() + plan_->arena_bytes + plan_->owned_bytes; };
  if (plan_ && plan_->input_infos == infos && used_bytes() <= memory_bytes_max) return Status::Ok();
  // Given up first, since planning computes what depends on shapes alone. Shrinks too: a call with large inputs does
  // not hold its memory for ever.
  plan_.reset();
  arena_ = AlignedBytes();
  FORESHORE_ASSIGN_OR_RETURN(GraphPlan plan, PlanGraph(graph_, std::move(infos), memory_bytes_max));
  auto arena = AlignedBytes::Make(plan.arena_bytes);
  if (!arena.ok()) return arena.status().WithContext(graph_.file());
  arena_ = std::move(arena).value();
  plan_ = std::move(plan);
  return Status::Ok();
}

std::uint64_t GraphExecutor::HeldBytes() const {
  return arena_.size_bytes() + (plan_ ? plan_->owned_bytes : 0) + HeldByBranches();
}

std::uint64_t GraphExecutor::HeldByBranches() const {
  std::uint64_t held_bytes = 0;
  for (const auto& [graph, executor] : branches_) held_bytes += executor->HeldBytes();
  return held_bytes;
}

// What the graphs inside nodes keep for their next call is given up where it is in the way.
Result<OwnedTensor> GraphExecutor::Allocate(const TensorInfo& info, State& state) {
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t size_bytes, ByteCount(info, state.bytes_left));
  if (!branches_.empty() && size_bytes + HeldByBranches() > state.bytes_left) branches_.clear();
  FORESHORE_ASSIGN_OR_RETURN(OwnedTensor tensor, MakeTensor(info, state.bytes_left));
  state.bytes_left -= tensor.size_bytes;
  return tensor;
}

Status GraphExecutor::RunPlainStep(const GraphStep& step, std::span<const TensorRef> inputs, State& state) {
  std::vector<OutputRef> outputs;
  Infos infos;
  bool is_dynamic = false;
  for (const ValueIndex output : step.outputs) {
    is_dynamic = is_dynamic || (output != kNoValue && plan_->values[output].place == Place::kDynamic);
  }
  if (is_dynamic) {
    FORESHORE_ASSIGN_OR_RETURN(infos, graph_.Infer(step, inputs));
  }
  for (std::size_t i = 0; i < step.outputs.size(); ++i) {
    const ValueIndex output = step.outputs[i];
    if (output == kNoValue) {
      outputs.emplace_back();
    } else if (plan_->values[output].place == Place::kDynamic) {
      auto tensor = Allocate(infos[i], state);
      if (!tensor.ok()) return tensor.status().WithContext(graph_.file() + ": " + Describe(*step.node));
      state.dynamic[output] = std::move(tensor).value();
      state.values[output] = state.dynamic[output].ref();
      outputs.push_back({&state.dynamic[output].info, state.dynamic[output].bytes.get()});
    } else {
      const PlannedValue& planned = plan_->values[output];
      std::byte* place = planned.place == Place::kArena ? arena_.data() + planned.offset : nullptr;
      const TensorRef root = planned.place == Place::kView ? state.values[planned.root] : TensorRef();
      state.values[output] = {&planned.info, place != nullptr ? place : root.data};
      // A view's bytes are there already, and may not be written to.
      outputs.push_back({&planned.info, place});
    }
  }
  if (!is_dynamic) {
    return graph_.Run(step, inputs, outputs, arena_.data() + plan_->workspace_offset, state.cancellation);
  }
  // The plan did not know what this step would need.
  const std::uint64_t workspace_bytes = graph_.WorkspaceBytes(step, inputs);
  if (workspace_bytes > state.bytes_left) {
    return Status::Limit(graph_.file() + ": " + Describe(*step.node) + ": works in " + std::to_string(workspace_bytes) +
                         " bytes, " + std::to_string(state.bytes_left) + " are left");
  }
  if (workspace_bytes + HeldByBranches() > state.bytes_left) branches_.clear();
  FORESHORE_ASSIGN_OR_RETURN(const AlignedBytes workspace, AlignedBytes::Make(workspace_bytes));
  return graph_.Run(step, inputs, outputs, workspace.data(), state.cancellation);
}

Status GraphExecutor::RunStep(std::size_t index, State& state) {
  const GraphStep& step = graph_.steps()[index];
  if (state.cancellation != nullptr) FORESHORE_RETURN_IF_ERROR(state.cancellation->Check());
  std::vector<TensorRef> inputs;
  for (const ValueIndex input : step.inputs) inputs.push_back(input == kNoValue ? TensorRef() : state.values[input]);
  if (step.op->kind != OperatorKind::kControl) {
    FORESHORE_RETURN_IF_ERROR(RunPlainStep(step, inputs, state));
  } else if (step.op->name == "If") {
    FORESHORE_RETURN_IF_ERROR(RunIf(step, inputs, state));
  } else {
    FORESHORE_RETURN_IF_ERROR(RunLoop(step, inputs, state));
  }
  const auto release = [&](ValueIndex value) {
    if (value == kNoValue || plan_->values[value].place != Place::kDynamic) return;
    if (plan_->values[value].last_step != index || !state.dynamic[value].bytes) return;
    state.bytes_left += state.dynamic[value].size_bytes;
    state.dynamic[value] = OwnedTensor();
  };
  for (const ValueIndex input : step.inputs) release(input);
  for (const ValueIndex output : step.outputs) release(output);
  return Status::Ok();
}

Result<std::vector<OwnedTensor>> GraphExecutor::CopyOutputs(State& state) {
  std::vector<OwnedTensor> results;
  for (const GraphPort& output : graph_.outputs()) {
    const TensorRef value = state.values[output.value];
    auto copy = Allocate(*value.info, state);
    if (!copy.ok()) {
      return copy.status().WithContext(graph_.file() + ": output \"" + std::string(output.name.substr(0, 128)) + "\"");
    }
    if (copy->size_bytes > 0) std::memcpy(copy->bytes.get(), value.data, copy->size_bytes);
    results.push_back(std::move(copy).value());
  }
  return results;
}

Result<std::vector<OwnedTensor>> GraphExecutor::RunWithin(std::span<const TensorRef> inputs,
                                                          std::uint64_t memory_bytes_max, Cancellation* cancellation) {
  FORESHORE_RETURN_IF_ERROR(CheckInputs(inputs, memory_bytes_max));
  FORESHORE_RETURN_IF_ERROR(Prepare(inputs, memory_bytes_max));
  State state;
  state.cancellation = cancellation;
  state.values.resize(plan_->values.size());
  state.dynamic.resize(plan_->values.size());
  // The plan has checked that it is not less.
  state.bytes_left = memory_bytes_max - graph_.constant_bytes() - plan_->arena_bytes - plan_->owned_bytes;
  if (HeldByBranches() > state.bytes_left) branches_.clear();
  for (std::size_t i = 0; i < plan_->values.size(); ++i) {
    const PlannedValue& value = plan_->values[i];
    if (value.place == Place::kConstant) state.values[i] = {&value.info, value.data};
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) state.values[graph_.inputs()[i].value] = inputs[i];
  if (step_times_ns_ != nullptr) step_times_ns_->assign(graph_.steps().size(), 0);
  for (std::size_t i = 0; i < graph_.steps().size(); ++i) {
    if (plan_->is_done[i]) continue;
    if (step_times_ns_ == nullptr) {
      FORESHORE_RETURN_IF_ERROR(RunStep(i, state));
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    FORESHORE_RETURN_IF_ERROR(RunStep(i, state));
    const auto spent = std::chrono::steady_clock::now() - start;
    (*step_times_ns_)[i] = std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count();
  }
  return CopyOutputs(state);
}

}  // namespace foreshore::graph
