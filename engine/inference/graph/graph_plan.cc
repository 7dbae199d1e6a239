#include "engine/inference/graph/graph_plan.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

namespace foreshore::graph {

namespace {

constexpr std::uint64_t kAlignment = 64;
constexpr std::uint64_t kComputedBytesMax = 65'536;
constexpr std::size_t kForEver = std::numeric_limits<std::size_t>::max();

// Gaps of an arena that grows at its end. Invariant: no two gaps touch.
class ArenaSpace {
 public:
  std::uint64_t Take(std::uint64_t size_bytes) {
    const auto best = by_size_.lower_bound({size_bytes, 0});
    if (best != by_size_.end()) {
      const auto [gap_bytes, offset] = *best;
      Remove(offset, gap_bytes);
      if (gap_bytes > size_bytes) Add(offset + size_bytes, gap_bytes - size_bytes);
      return offset;
    }
    std::uint64_t offset = end_;
    if (!by_offset_.empty()) {
      const auto [last_offset, last_bytes] = *by_offset_.rbegin();
      if (last_offset + last_bytes == end_) {
        Remove(last_offset, last_bytes);
        offset = last_offset;
      }
    }
    end_ = offset + size_bytes;
    return offset;
  }
  void Give(std::uint64_t offset, std::uint64_t size_bytes) {
    const auto next = by_offset_.lower_bound(offset);
    if (next != by_offset_.begin()) {
      const auto [before, before_bytes] = *std::prev(next);
      if (before + before_bytes == offset) {
        Remove(before, before_bytes);
        offset = before;
        size_bytes += before_bytes;
      }
    }
    const auto after = by_offset_.find(offset + size_bytes);
    if (after != by_offset_.end()) {
      const auto [after_offset, after_bytes] = *after;
      Remove(after_offset, after_bytes);
      size_bytes += after_bytes;
    }
    Add(offset, size_bytes);
  }
  std::uint64_t end() const { return end_; }

 private:
  void Add(std::uint64_t offset, std::uint64_t size_bytes) {
    by_offset_.emplace(offset, size_bytes);
    by_size_.emplace(size_bytes, offset);
  }
  void Remove(std::uint64_t offset, std::uint64_t size_bytes) {
    by_offset_.erase(offset);
    by_size_.erase({size_bytes, offset});
  }

  std::map<std::uint64_t, std::uint64_t> by_offset_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> by_size_;
  std::uint64_t end_ = 0;
};

class Planner {
 public:
  Planner(const Graph& graph, GraphPlan& plan, std::uint64_t memory_bytes_max)
      : graph_(graph), plan_(plan), memory_bytes_max_(memory_bytes_max) {}

  Status Plan() {
    plan_.values.resize(graph_.values().size());
    plan_.is_done.assign(graph_.steps().size(), false);
    for (std::size_t i = 0; i < plan_.values.size(); ++i) {
      const GraphValue& value = graph_.values()[i];
      if (value.is_constant) Assign(i, Place::kConstant, value.info, value.data);
    }
    for (std::size_t i = 0; i < graph_.inputs().size(); ++i) {
      Assign(graph_.inputs()[i].value, Place::kInput, plan_.input_infos[i], nullptr);
    }
    for (std::size_t i = 0; i < graph_.steps().size(); ++i) FORESHORE_RETURN_IF_ERROR(PlanStep(i));
    if (graph_.constant_bytes() + plan_.owned_bytes > memory_bytes_max_) {
      return Status::Limit(graph_.file() + ": constants of the graph need more than " +
                           std::to_string(memory_bytes_max_) + " bytes");
    }
    FindLastSteps();
    return LayOut();
  }

 private:
  void Assign(std::size_t index, Place place, const TensorInfo& info, const std::byte* data) {
    plan_.values[index].place = place;
    plan_.values[index].info = info;
    plan_.values[index].data = data;
  }
  ValueIndex RootOf(ValueIndex index) const {
    return plan_.values[index].place == Place::kView ? plan_.values[index].root : index;
  }

  Status PlanStep(std::size_t index) {
    const GraphStep& step = graph_.steps()[index];
    std::vector<TensorRef> refs;
    bool is_known = step.op->kind != OperatorKind::kControl;
    bool has_all_data = true;
    for (std::size_t i = 0; i < step.inputs.size(); ++i) {
      TensorRef& ref = refs.emplace_back();
      if (step.inputs[i] == kNoValue) continue;
      const PlannedValue& value = plan_.values[step.inputs[i]];
      ref = {&value.info, value.data};
      has_all_data = has_all_data && value.data != nullptr;
      const bool shapes_need_it = i < 32 && ((step.op->shape_inputs >> i) & 1U) != 0;
      is_known = is_known && value.place != Place::kDynamic && (!shapes_need_it || value.data != nullptr);
    }
    if (!is_known) {
      for (const ValueIndex output : step.outputs) {
        if (output != kNoValue) plan_.values[output].place = Place::kDynamic;
      }
      return Status::Ok();
    }
    FORESHORE_ASSIGN_OR_RETURN(Infos infos, graph_.Infer(step, refs));
    std::uint64_t output_bytes = 0;
    for (const TensorInfo& info : infos) output_bytes += SizeOf(info);
    const std::uint64_t workspace_bytes = graph_.WorkspaceBytes(step, refs);
    const bool is_computable =
        step.op->kind == OperatorKind::kShape || (has_all_data && step.op->kind != OperatorKind::kHeavy);
    if (is_computable && output_bytes <= kComputedBytesMax) {
      const std::uint64_t held_bytes = graph_.constant_bytes() + plan_.owned_bytes;
      if (output_bytes + workspace_bytes > memory_bytes_max_ - std::min(held_bytes, memory_bytes_max_)) {
        return Status::Limit(graph_.file() + ": " + Describe(*step.node) + ": constants of the graph need more than " +
                             std::to_string(memory_bytes_max_) + " bytes");
      }
      return Compute(index, refs, infos);
    }
    workspace_bytes_ = std::max(workspace_bytes_, workspace_bytes);
    for (std::size_t i = 0; i < step.outputs.size(); ++i) {
      if (step.outputs[i] != kNoValue) Assign(step.outputs[i], Place::kArena, infos[i], nullptr);
    }
    if (step.op->kind == OperatorKind::kView) {
      PlannedValue& output = plan_.values[step.outputs[0]];
      output.place = Place::kView;
      output.root = RootOf(step.inputs[0]);
    }
    return Status::Ok();
  }

  Status Compute(std::size_t index, const std::vector<TensorRef>& refs, const Infos& infos) {
    const GraphStep& step = graph_.steps()[index];
    std::vector<OwnedTensor> tensors;
    std::vector<OutputRef> outputs;
    for (const TensorInfo& info : infos) {
      FORESHORE_ASSIGN_OR_RETURN(OwnedTensor tensor, MakeTensor(info, kComputedBytesMax));
      tensors.push_back(std::move(tensor));
    }
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      // Nobody asks for one without a name.
      outputs.push_back(step.outputs[i] == kNoValue ? OutputRef() : OutputRef{&infos[i], tensors[i].bytes.get()});
    }
    FORESHORE_RETURN_IF_ERROR(graph_.Run(step, refs, outputs));
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (step.outputs[i] == kNoValue) continue;
      Assign(step.outputs[i], Place::kConstant, infos[i], tensors[i].bytes.get());
      plan_.owned_bytes += tensors[i].size_bytes;
      plan_.owned.push_back(std::move(tensors[i]));
    }
    plan_.is_done[index] = true;
    return Status::Ok();
  }

  static std::uint64_t SizeOf(const TensorInfo& info) {
    return static_cast<std::uint64_t>(ElementCount(info.shape)) * OnnxTypeBytes(info.type);
  }

  void FindLastSteps() {
    for (std::size_t i = 0; i < graph_.steps().size(); ++i) {
      if (plan_.is_done[i]) continue;
      for (const ValueIndex output : graph_.steps()[i].outputs) {
        if (output != kNoValue) plan_.values[output].last_step = i;
      }
      for (const ValueIndex input : graph_.steps()[i].inputs) {
        if (input != kNoValue) plan_.values[RootOf(input)].last_step = i;
      }
      // A view that nobody reads still is written to, as it were: its root must be there.
      const ValueIndex output = graph_.steps()[i].outputs[0];
      if (output != kNoValue && plan_.values[output].place == Place::kView) plan_.values[RootOf(output)].last_step = i;
    }
    for (const GraphPort& output : graph_.outputs()) plan_.values[RootOf(output.value)].last_step = kForEver;
  }

  Status LayOut() {
    ArenaSpace space;
    const auto padded = [](const TensorInfo& info) {
      return std::max((SizeOf(info) + kAlignment - 1) / kAlignment, std::uint64_t{1}) * kAlignment;
    };
    const std::uint64_t fixed_bytes = graph_.constant_bytes() + plan_.owned_bytes;
    std::vector<std::vector<ValueIndex>> ends(graph_.steps().size());
    for (std::size_t i = 0; i < graph_.steps().size(); ++i) {
      const GraphStep& step = graph_.steps()[i];
      for (const ValueIndex output : step.outputs) {
        if (output == kNoValue || plan_.values[output].place != Place::kArena) continue;
        PlannedValue& value = plan_.values[output];
        value.offset = space.Take(padded(value.info));
        plan_.values_bytes += padded(value.info);
        if (value.last_step != kForEver) ends[value.last_step].push_back(output);
        if (space.end() + fixed_bytes > memory_bytes_max_) {
          return Status::Limit(graph_.file() + ": " + Describe(*step.node) + ": values of the graph need more than " +
                               std::to_string(memory_bytes_max_) + " bytes");
        }
      }
      for (const ValueIndex ended : ends[i]) space.Give(plan_.values[ended].offset, padded(plan_.values[ended].info));
    }
    plan_.workspace_offset = space.end();
    if (workspace_bytes_ > memory_bytes_max_ - fixed_bytes - space.end()) {
      return Status::Limit(graph_.file() + ": values of the graph and the work on one of them need more than " +
                           std::to_string(memory_bytes_max_) + " bytes");
    }
    plan_.arena_bytes = space.end() + workspace_bytes_;
    return Status::Ok();
  }

  const Graph& graph_;
  GraphPlan& plan_;
  std::uint64_t memory_bytes_max_;
  std::uint64_t workspace_bytes_ = 0;
};

}  // namespace

Result<GraphPlan> PlanGraph(const Graph& graph, std::vector<TensorInfo> input_infos, std::uint64_t memory_bytes_max) {
  GraphPlan plan;
  plan.input_infos = std::move(input_infos);
  FORESHORE_RETURN_IF_ERROR(Planner(graph, plan, memory_bytes_max).Plan());
  return plan;
}

}  // namespace foreshore::graph
