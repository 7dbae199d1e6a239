#include "engine/inference/graph/row_independence.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

namespace foreshore::graph {
namespace {

constexpr std::string_view kOfElements[] = {"Relu",        "LeakyRelu", "Elu",      "Selu",     "Celu",     "Sigmoid",
                                            "HardSigmoid", "HardSwish", "Tanh",     "Softplus", "Softsign", "Exp",
                                            "Log",         "Sqrt",      "Abs",      "Neg",      "Erf",      "Gelu",
                                            "GeluTanh",    "Silu",      "Identity", "Clip",     "Cast",     "Sign",
                                            "Reciprocal",  "Floor",     "Ceil",     "Round",    "Not"};
constexpr std::string_view kOfTwo[] = {"Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Greater", "Less", "Equal"};
constexpr std::string_view kReductions[] = {"ReduceMean", "ReduceSum", "ReduceMax",      "ReduceMin",
                                            "ReduceL1",   "ReduceL2",  "ReduceSumSquare"};
constexpr std::string_view kAlongAxis[] = {"Softmax", "LogSoftmax", "ArgMax", "ArgMin", "LayerNormalization"};

template <std::size_t kCount>
bool IsAmong(std::string_view name, const std::string_view (&names)[kCount]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

class Analysis {
 public:
  explicit Analysis(const Graph& graph) : graph_(graph) {}

  bool Run() {
    if (graph_.inputs().empty()) return false;
    for (const GraphPort& port : graph_.inputs()) {
      // Inputs of one size beside others of many would be spread over all rows.
      const bool has_rows = port.has_shape && !port.shape.empty();
      if (!has_rows || (graph_.inputs().size() > 1 && port.shape[0] >= 0)) return false;
      ranks_[port.value] = port.shape.size();
    }
    for (const GraphStep& step : graph_.steps()) {
      const auto rank = RankOf(step);
      if (!rank || *rank == 0) return false;
      for (const ValueIndex output : step.outputs) {
        if (output != kNoValue) ranks_[output] = *rank;
      }
    }
    return std::all_of(graph_.outputs().begin(), graph_.outputs().end(),
                       [&](const GraphPort& port) { return HasRows(port.value); });
  }

 private:
  bool HasRows(ValueIndex value) const { return ranks_.contains(value); }
  const GraphValue* Constant(ValueIndex value) const {
    return value != kNoValue && graph_.values()[value].is_constant ? &graph_.values()[value] : nullptr;
  }
  // All but the first are constants, or left out.
  bool OnlyFirstHasRows(const GraphStep& step) const {
    if (step.inputs.empty() || !HasRows(step.inputs[0])) return false;
    return std::all_of(step.inputs.begin() + 1, step.inputs.end(),
                       [&](ValueIndex input) { return input == kNoValue || Constant(input) != nullptr; });
  }

  // The rank of what the step makes, with rows first; nothing where its rows may know of each other.
  std::optional<std::size_t> RankOf(const GraphStep& step) const {
    const std::string_view name = step.op->name;
    if (!step.branches.empty()) return std::nullopt;
    if (IsAmong(name, kOfTwo)) return RankOfTwo(step);
    if (name == "Concat") return RankOfConcat(step);
    if (name == "Gather") return RankOfGather(step);
    if (name == "Residual") {  // Behind the two there are rows of constants.
      const auto sum = RankOfTwo(step);
      return sum && *sum > 1 ? sum : std::nullopt;
    }
    if (!OnlyFirstHasRows(step)) return std::nullopt;
    const std::size_t rank = ranks_.at(step.inputs[0]);
    if (IsAmong(name, kOfElements)) return rank;
    if (name == "Gemm") {
      const GraphValue* bias = step.inputs.size() > 2 ? Constant(step.inputs[2]) : nullptr;
      const bool bias_has_rows = bias != nullptr && bias->info.shape.size() == 2 && bias->info.shape[0] != 1;
      if (rank != 2 || step.node->IntAttribute("transA", 0) != 0 || bias_has_rows) return std::nullopt;
      return 2;
    }
    if (name == "Products") return rank >= 2 ? std::optional(rank) : std::nullopt;
    if (name == "MatMul") {
      const bool is_matrix = Constant(step.inputs[1])->info.shape.size() == 2;
      return rank >= 2 && is_matrix ? std::optional(rank) : std::nullopt;
    }
    if (name == "Flatten")
      return step.node->IntAttribute("axis", 1) == 1 ? std::optional<std::size_t>(2) : std::nullopt;
    if (IsAmong(name, kAlongAxis)) return RankAlongAxis(step, rank);
    if (IsAmong(name, kReductions)) return RankOfReduction(step, rank);
    return std::nullopt;
  }

  std::optional<std::size_t> RankOfTwo(const GraphStep& step) const {
    if (step.inputs.size() < 2) return std::nullopt;
    const bool left = HasRows(step.inputs[0]);
    const bool right = HasRows(step.inputs[1]);
    if (left && right) {
      const std::size_t rank = ranks_.at(step.inputs[0]);
      return rank == ranks_.at(step.inputs[1]) ? std::optional(rank) : std::nullopt;
    }
    const ValueIndex with_rows = step.inputs[left ? 0 : 1];
    const GraphValue* other = Constant(step.inputs[left ? 1 : 0]);
    if (other == nullptr || !HasRows(with_rows)) return std::nullopt;
    const std::size_t rank = ranks_.at(with_rows);
    const Shape& shape = other->info.shape;
    return shape.size() < rank || (shape.size() == rank && shape[0] == 1) ? std::optional(rank) : std::nullopt;
  }

  // Along another size than the first, of values that all have rows.
  std::optional<std::size_t> RankOfConcat(const GraphStep& step) const {
    if (step.inputs.empty() ||
        !std::all_of(step.inputs.begin(), step.inputs.end(), [&](ValueIndex input) { return HasRows(input); })) {
      return std::nullopt;
    }
    const std::size_t rank = ranks_.at(step.inputs[0]);
    const bool is_same =
        std::all_of(step.inputs.begin(), step.inputs.end(), [&](ValueIndex input) { return ranks_.at(input) == rank; });
    std::int64_t axis = step.node->IntAttribute("axis", 0);
    if (axis < 0) axis += static_cast<std::int64_t>(rank);
    return is_same && axis >= 1 ? std::optional(rank) : std::nullopt;
  }

  // Rows of a constant table, as embeddings are looked up.
  std::optional<std::size_t> RankOfGather(const GraphStep& step) const {
    if (step.inputs.size() != 2 || !HasRows(step.inputs[1])) return std::nullopt;
    const GraphValue* table = Constant(step.inputs[0]);
    if (table == nullptr || table->info.shape.empty() || step.node->IntAttribute("axis", 0) != 0) return std::nullopt;
    return ranks_.at(step.inputs[1]) + table->info.shape.size() - 1;
  }

  std::optional<std::size_t> RankAlongAxis(const GraphStep& step, std::size_t rank) const {
    const bool is_arg = step.op->name.starts_with("Arg");
    std::int64_t axis = step.node->IntAttribute("axis", is_arg ? 0 : -1);
    // Softmax counted from 1 where nothing was said, up to set 12.
    if (step.op->name.ends_with("oftmax") && step.node->Attribute("axis") == nullptr && graph_.opset() < 13) axis = 1;
    if (axis < 0) axis += static_cast<std::int64_t>(rank);
    if (axis < 1) return std::nullopt;
    return is_arg && step.node->IntAttribute("keepdims", 1) == 0 ? rank - 1 : rank;
  }

  std::optional<std::size_t> RankOfReduction(const GraphStep& step, std::size_t rank) const {
    std::vector<std::int64_t> axes;
    if (const OnnxAttribute* listed = step.node->Attribute("axes")) axes = listed->ints;
    if (const GraphValue* given = step.inputs.size() > 1 ? Constant(step.inputs[1]) : nullptr) {
      if (given->info.type != OnnxType::kInt64 || given->info.shape.size() != 1 || given->data == nullptr) {
        return std::nullopt;
      }
      axes.resize(static_cast<std::size_t>(given->info.shape[0]));
      std::memcpy(axes.data(), given->data, axes.size() * sizeof(std::int64_t));
    }
    if (axes.empty()) return std::nullopt;  // All of them.
    for (std::int64_t& axis : axes) {
      if (axis < 0) axis += static_cast<std::int64_t>(rank);
      if (axis < 1) return std::nullopt;
    }
    return step.node->IntAttribute("keepdims", 1) == 0 ? rank - std::min(axes.size(), rank) : rank;
  }

  const Graph& graph_;
  std::map<ValueIndex, std::size_t> ranks_;  // Of values whose first size is that of the rows.
};

}  // namespace

bool HasIndependentRows(const Graph& graph) {
  return Analysis(graph).Run();
}

}  // namespace foreshore::graph
