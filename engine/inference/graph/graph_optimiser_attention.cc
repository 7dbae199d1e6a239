// Attention as exporters write it: products, scale, masks and softmax, and the transposes around them that split heads.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/inference/graph/attention.h"
#include "engine/inference/graph/graph_optimiser.h"

namespace foreshore::graph {

namespace {

constexpr int kDepthMax = 64;

// Functions of their first input that keep its rank.
constexpr std::string_view kKeepRank[] = {"Identity",
                                          "Cast",
                                          "Sqrt",
                                          "Erf",
                                          "Relu",
                                          "Gelu",
                                          "GeluTanh",
                                          "Silu",
                                          "HardSwish",
                                          "Tanh",
                                          "Sigmoid",
                                          "Softmax",
                                          "LayerNormalization",
                                          "Slice",
                                          "Split",
                                          "DynamicProduct",
                                          "CodeProduct",
                                          "BatchNormalization",
                                          "Clip",
                                          "Concat"};
constexpr std::string_view kBroadcast[] = {"Add", "Sub", "Mul", "Div", "Pow", "Residual"};

template <std::size_t kCount>
bool IsAmong(std::string_view name, const std::string_view (&names)[kCount]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

OnnxAttribute Ints(std::string_view name, std::vector<std::int64_t> ints) {
  OnnxAttribute attribute;
  attribute.name = name;
  attribute.ints = std::move(ints);
  return attribute;
}

bool IsPermutation(const std::vector<std::int64_t>& axes) {
  std::vector<bool> is_there(axes.size(), false);
  for (const std::int64_t axis : axes) {
    if (axis < 0 || axis >= static_cast<std::int64_t>(axes.size()) || is_there[static_cast<std::size_t>(axis)]) {
      return false;
    }
    is_there[static_cast<std::size_t>(axis)] = true;
  }
  return true;
}

}  // namespace

// How one of attention's operands lies in a value of the graph (attention.h), and what it is multiplied by.
struct GraphOptimiser::Operand {
  ValueIndex value = kNoValue;
  std::vector<std::int64_t> axes;
  std::vector<std::int64_t> taken;
};

// Factors of the scores.
struct GraphOptimiser::ScoreScale {
  double scale = 1;
  std::vector<ValueIndex> factors;
  std::vector<std::int64_t> divides;
};

std::optional<std::vector<std::int64_t>> GraphOptimiser::ConstantInts(ValueIndex value) const {
  const GraphValue* known = Constant(value);
  if (known == nullptr || known->info.type != OnnxType::kInt64 || known->info.shape.size() > 1) return std::nullopt;
  const auto* first = reinterpret_cast<const std::int64_t*>(known->data);
  return std::vector<std::int64_t>(first, first + ElementCount(known->info.shape));
}

std::optional<std::int64_t> GraphOptimiser::ConstantInt(ValueIndex value) const {
  const auto ints = ConstantInts(value);
  return ints && ints->size() == 1 ? std::optional(ints->front()) : std::nullopt;
}

// The number of dimensions, where it follows from what makes the value.
std::optional<std::size_t> GraphOptimiser::RankOf(ValueIndex value, int depth) const {
  if (value == kNoValue || depth > kDepthMax) return std::nullopt;
  if (graph_.values_[value].is_constant) return graph_.values_[value].info.shape.size();
  if (makers_[value] == kNoStep) {
    for (const GraphPort& port : graph_.inputs_) {
      if (port.value == value && port.has_shape) return port.shape.size();
    }
    return std::nullopt;
  }
  const GraphStep& step = graph_.steps_[makers_[value]];
  const std::string_view name = step.op->name;
  if (name == "Transpose") {
    const OnnxAttribute* perm = step.node->Attribute("perm");
    return perm != nullptr ? std::optional(perm->ints.size()) : RankOf(step.inputs[0], depth + 1);
  }
  if (name == "Reshape") {
    if (const ValueIndex of = ExchangedLast(value); of != kNoValue) return RankOf(of, depth + 1);
    const auto shape = ConstantInts(step.inputs[1]);
    return shape ? std::optional(shape->size()) : std::nullopt;
  }
  if (name == "Gemm") return 2;
  if (IsAmong(name, kKeepRank)) return RankOf(step.inputs[0], depth + 1);
  const bool is_product = name == "MatMul";
  if (step.inputs.size() >= 2 && (is_product || IsAmong(name, kBroadcast))) {
    const auto left = RankOf(step.inputs[0], depth + 1);
    const auto right = RankOf(step.inputs[1], depth + 1);
    if (!left || !right || (is_product && std::min(*left, *right) < 2)) return std::nullopt;
    return std::max(*left, *right);
  }
  if (name == "Gather") {
    const auto data = RankOf(step.inputs[0], depth + 1);
    const auto indices = RankOf(step.inputs[1], depth + 1);
    return data && indices && *data > 0 ? std::optional(*data + *indices - 1) : std::nullopt;
  }
  if (name == "Squeeze" || name == "Unsqueeze") {
    const auto inner = RankOf(step.inputs[0], depth + 1);
    const OnnxAttribute* listed = step.node->Attribute("axes");
    const auto axes = listed != nullptr ? std::optional(listed->ints)
                                        : ConstantInts(step.inputs.size() > 1 ? step.inputs[1] : kNoValue);
    if (!inner || !axes) return std::nullopt;
    if (name == "Unsqueeze") return *inner + axes->size();
    return *inner >= axes->size() ? std::optional(*inner - axes->size()) : std::nullopt;
  }
  return std::nullopt;
}

// One number that has no more dimensions than one, whatever the inputs are: exporters compute the scale from a shape.
bool GraphOptimiser::IsOneNumber(ValueIndex value, int depth) const {
  if (value == kNoValue || depth > kDepthMax) return false;
  const GraphValue& known = graph_.values_[value];
  if (known.is_constant) return ElementCount(known.info.shape) == 1 && known.info.shape.size() <= 1;
  if (makers_[value] == kNoStep) return false;
  const GraphStep& step = graph_.steps_[makers_[value]];
  const std::string_view name = step.op->name;
  if (name == "Cast" || name == "Sqrt" || name == "Reciprocal" || name == "Identity") {
    return IsOneNumber(step.inputs[0], depth + 1);
  }
  if (step.inputs.size() == 2 && (name == "Mul" || name == "Div" || name == "Pow")) {
    return IsOneNumber(step.inputs[0], depth + 1) && IsOneNumber(step.inputs[1], depth + 1);
  }
  if (Maker(step.inputs.empty() ? kNoValue : step.inputs[0], "Shape") == kNoStep) return false;
  if (name == "Gather") return step.node->IntAttribute("axis", 0) == 0 && IsOneNumber(step.inputs[1], depth + 1);
  // The last size alone.
  return name == "Slice" && step.inputs.size() > 2 && ConstantInt(step.inputs[1]) == std::int64_t{-1} &&
         ConstantInt(step.inputs[2]).value_or(0) >= std::numeric_limits<std::int32_t>::max();
}

// Goes through products with, and divisions by, one number.
ValueIndex GraphOptimiser::Unscaled(ValueIndex value, ScoreScale& scale) const {
  while (value != kNoValue && makers_[value] != kNoStep && SoleUser(value) != kNoStep) {
    const GraphStep& step = graph_.steps_[makers_[value]];
    const bool divides = step.op->name == "Div";
    if (!divides && step.op->name != "Mul") break;
    const std::size_t number = IsOneNumber(step.inputs[1], 0) ? 1 : 0;
    if (!IsOneNumber(step.inputs[number], 0) || (divides && number == 0)) break;
    if (const auto constant = Scalar(step.inputs[number])) {
      const double factor = divides ? 1 / static_cast<double>(*constant) : static_cast<double>(*constant);
      if (!std::isfinite(factor)) break;
      scale.scale *= factor;
    } else if (Constant(step.inputs[number]) != nullptr || scale.factors.size() == kAttentionFactorsMax) {
      break;
    } else {
      scale.factors.push_back(step.inputs[number]);
      scale.divides.push_back(divides ? 1 : 0);
    }
    value = step.inputs[1 - number];
  }
  return value;
}

// Whether the value is a list of sizes: those of `of` from each part's first place to before its second, of which 0 is
// the end; -1 where both are 0.
bool GraphOptimiser::IsShapeOf(ValueIndex value, ValueIndex of,
                               const std::vector<std::pair<std::int64_t, std::int64_t>>& parts) const {
  const std::size_t concat = Maker(value, "Concat");
  if (concat == kNoStep || graph_.steps_[concat].inputs.size() != parts.size()) return false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const ValueIndex part = graph_.steps_[concat].inputs[i];
    if (parts[i].first == parts[i].second) {
      if (ConstantInt(part) != std::int64_t{-1}) return false;
      continue;
    }
    const std::size_t slice = Maker(part, "Slice");
    if (slice == kNoStep) return false;
    const std::vector<ValueIndex>& inputs = graph_.steps_[slice].inputs;
    const std::size_t shape = Maker(inputs[0], "Shape");
    if (shape == kNoStep || graph_.steps_[shape].inputs[0] != of || inputs.size() < 3 ||
        graph_.steps_[shape].node->IntAttribute("start", 0) != 0 ||
        graph_.steps_[shape].node->Attribute("end") != nullptr) {
      return false;
    }
    if (inputs.size() > 4 && inputs[4] != kNoValue && ConstantInt(inputs[4]) != std::int64_t{1}) return false;
    const auto start = ConstantInt(inputs[1]);
    const auto end = ConstantInt(inputs[2]);
    if (!start || !end) return false;
    const bool is_start = parts[i].first == 0 && *start <= std::numeric_limits<std::int32_t>::min();
    if (!is_start && *start != parts[i].first) return false;
    const bool is_rest = parts[i].second == 0;
    if (is_rest ? *end < std::numeric_limits<std::int32_t>::max() : *end != parts[i].second) return false;
  }
  return true;
}

// Reshape(Transpose(Reshape(value, [-1, S, D]), [0, 2, 1]), […, D, S]): the last two axes exchanged, whatever the rank.
ValueIndex GraphOptimiser::ExchangedLast(ValueIndex value) const {
  const std::size_t after = Maker(value, "Reshape");
  const std::size_t exchange = after == kNoStep ? kNoStep : Maker(graph_.steps_[after].inputs[0], "Transpose");
  const std::size_t before = exchange == kNoStep ? kNoStep : Maker(graph_.steps_[exchange].inputs[0], "Reshape");
  if (before == kNoStep) return kNoValue;
  const OnnxAttribute* perm = graph_.steps_[exchange].node->Attribute("perm");
  const ValueIndex of = graph_.steps_[before].inputs[0];
  const bool fits = perm != nullptr && perm->ints == std::vector<std::int64_t>{0, 2, 1} &&
                    IsShapeOf(graph_.steps_[before].inputs[1], of, {{0, 0}, {-2, -1}, {-1, 0}}) &&
                    IsShapeOf(graph_.steps_[after].inputs[1], of, {{0, -2}, {-1, 0}, {-2, -1}});
  return fits ? of : kNoValue;
}

// One step towards where an operand lies; false where there is none.
bool GraphOptimiser::FollowOperand(Operand& operand) const {
  const std::size_t maker = makers_[operand.value];
  if (maker == kNoStep) return false;
  const GraphStep& step = graph_.steps_[maker];
  const std::string_view name = step.op->name;
  const std::size_t rank = operand.axes.size() + operand.taken.size() / 2;
  const auto map = [&](auto to) {
    for (std::int64_t& axis : operand.axes) axis = to(axis);
    for (std::size_t i = 0; i < operand.taken.size(); i += 2) operand.taken[i] = to(operand.taken[i]);
  };
  const auto insert = [&](std::int64_t axis, std::int64_t at, ValueIndex value) {
    map([&](std::int64_t other) { return other >= axis ? other + 1 : other; });
    operand.taken.push_back(axis);
    operand.taken.push_back(at);
    operand.value = value;
  };
  if (name == "Identity") {
    operand.value = step.inputs[0];
    return true;
  }
  if (name == "Transpose") {
    const OnnxAttribute* perm = step.node->Attribute("perm");
    if (perm == nullptr || perm->ints.size() != rank || !IsPermutation(perm->ints)) return false;
    map([&](std::int64_t axis) { return perm->ints[static_cast<std::size_t>(axis)]; });
    operand.value = step.inputs[0];
    return true;
  }
  if (const ValueIndex of = ExchangedLast(operand.value); of != kNoValue && RankOf(of, 0) == rank && rank > 1) {
    const auto last = static_cast<std::int64_t>(rank) - 1;
    map([&](std::int64_t axis) { return axis == last ? last - 1 : axis == last - 1 ? last : axis; });
    operand.value = of;
    return true;
  }
  const auto wide = static_cast<std::int64_t>(rank) + 1;
  if (name == "Gather") {
    const GraphValue* index = Constant(step.inputs[1]);
    std::int64_t axis = step.node->IntAttribute("axis", 0);
    axis += axis < 0 ? wide : 0;
    if (index == nullptr || !index->info.shape.empty() || axis < 0 || axis >= wide) return false;
    const auto at = ConstantInt(step.inputs[1]);
    if (!at) return false;
    insert(axis, *at, step.inputs[0]);
    return true;
  }
  if (name != "Squeeze") return false;
  const OnnxAttribute* listed = step.node->Attribute("axes");
  const auto axes = listed != nullptr ? std::optional(listed->ints)
                                      : ConstantInts(step.inputs.size() > 1 ? step.inputs[1] : kNoValue);
  const std::size_t slice = Maker(step.inputs[0], "Slice");
  if (!axes || axes->size() != 1 || slice == kNoStep || graph_.steps_[slice].inputs.size() < 4) return false;
  const std::vector<ValueIndex>& inputs = graph_.steps_[slice].inputs;
  const auto start = ConstantInt(inputs[1]);
  const auto end = ConstantInt(inputs[2]);
  auto axis = ConstantInt(inputs[3]);
  if (inputs.size() > 4 && inputs[4] != kNoValue && ConstantInt(inputs[4]) != std::int64_t{1}) return false;
  // Where it ends at the last one, the end may be 0 or beyond; that is left alone.
  if (!start || !end || !axis || *end != *start + 1 || (*start < 0) != (*end < 0)) return false;
  *axis += *axis < 0 ? wide : 0;
  const std::int64_t squeezed = axes->front() + (axes->front() < 0 ? wide : 0);
  if (*axis != squeezed || *axis < 0 || *axis >= wide) return false;
  insert(*axis, *start, inputs[0]);
  return true;
}

// What a product's operand is, scaled and turned: nothing where its rank is not known to be two or more.
std::optional<GraphOptimiser::Operand> GraphOptimiser::OperandOf(ValueIndex value, ScoreScale* scale) const {
  Operand operand;
  operand.value = value;
  ScoreScale ignored;
  const auto rank = RankOf(scale != nullptr ? Unscaled(value, ignored) : value, 0);
  if (!rank || *rank < 2) return std::nullopt;
  for (std::size_t i = 0; i < *rank; ++i) operand.axes.push_back(static_cast<std::int64_t>(i));
  do {
    if (scale != nullptr) operand.value = Unscaled(operand.value, *scale);
  } while (FollowOperand(operand));
  return operand;
}

// The weights' way back to the scores, and on to the product that they are: masks from the last to the first.
std::optional<GraphOptimiser::Scores> GraphOptimiser::ScoresOf(ValueIndex weights, std::size_t user) const {
  Scores scores;
  // A row of which all is masked has no weights: some exporters make them 0.
  ValueIndex softened = weights;
  if (const std::size_t choice = Maker(weights, "Where"); choice != kNoStep && SoleUser(weights) == user) {
    const std::vector<ValueIndex>& inputs = graph_.steps_[choice].inputs;
    const std::size_t test = Maker(inputs[0], "IsNaN");
    softened = inputs[2];
    const GraphValue* none = Constant(inputs[1]);
    const std::vector<std::size_t>& users = users_[softened];
    if (test == kNoStep || graph_.steps_[test].inputs[0] != softened || SoleUser(inputs[0]) != choice ||
        users.size() != 2 || std::count(users.begin(), users.end(), test) != 1 ||
        std::count(users.begin(), users.end(), choice) != 1 || Scalar(inputs[1]) != 0.0F ||
        none->info.shape.size() > 1) {
      return std::nullopt;
    }
    scores.keeps_zero = true;
  } else if (SoleUser(weights) != user) {
    return std::nullopt;
  }
  const std::size_t softmax = Maker(softened, "Softmax");
  if (softmax == kNoStep) return std::nullopt;
  const std::int64_t axis =
      graph_.steps_[softmax].node->IntAttribute("axis", graph_.opset_ < 13 ? std::int64_t{1} : std::int64_t{-1});
  ValueIndex value = graph_.steps_[softmax].inputs[0];
  if (axis != -1) {
    const auto rank = RankOf(value, 0);
    if (!rank || axis != static_cast<std::int64_t>(*rank) - 1) return std::nullopt;
  }
  std::size_t next = softmax;
  while (SoleUser(value) == next && makers_[value] != kNoStep && scores.masks.size() < kAttentionMasksMax) {
    const std::size_t maker = makers_[value];
    const std::vector<ValueIndex>& inputs = graph_.steps_[maker].inputs;
    const std::string_view name = graph_.steps_[maker].op->name;
    // The scores are what a product leads to.
    const auto leads_to_product = [&](ValueIndex from) { return LeadsToScores(from, maker, 0); };
    if (name == "Add") {
      const std::size_t side = leads_to_product(inputs[0]) ? 0 : 1;
      if (!leads_to_product(inputs[side])) return std::nullopt;
      scores.masks.push_back({static_cast<std::int64_t>(MaskKind::kAdd), inputs[1 - side], kNoValue});
      value = inputs[side];
      next = maker;
      continue;
    }
    if (name != "Where") break;
    const std::size_t side = leads_to_product(inputs[1]) ? 1 : 2;
    const GraphValue* other = ConstantFloats(inputs[3 - side]);
    if (!leads_to_product(inputs[side]) || other == nullptr || ElementCount(other->info.shape) != 1 ||
        other->info.shape.size() > 2) {
      return std::nullopt;
    }
    const MaskKind kind = side == 1 ? MaskKind::kKeepWhere : MaskKind::kKeepUnless;
    scores.masks.push_back({static_cast<std::int64_t>(kind), inputs[0], inputs[3 - side]});
    value = inputs[side];
    next = maker;
  }
  std::reverse(scores.masks.begin(), scores.masks.end());
  scores.value = value;
  scores.user = next;
  return scores;
}

// Whether what `user` alone uses is a product of two values, scaled and masked or not.
bool GraphOptimiser::LeadsToScores(ValueIndex value, std::size_t user, int depth) const {
  if (value == kNoValue || depth > 8 || SoleUser(value) != user || makers_[value] == kNoStep) return false;
  const std::size_t maker = makers_[value];
  const GraphStep& step = graph_.steps_[maker];
  const std::string_view name = step.op->name;
  if (name == "MatMul") return Constant(step.inputs[1]) == nullptr;
  if (name == "Mul" || name == "Div" || name == "Add") {
    return std::any_of(step.inputs.begin(), step.inputs.end(),
                       [&](ValueIndex input) { return LeadsToScores(input, maker, depth + 1); });
  }
  return name == "Where" &&
         (LeadsToScores(step.inputs[1], maker, depth + 1) || LeadsToScores(step.inputs[2], maker, depth + 1));
}

// The step at `index` is the product of weights and values. What ends the chain becomes the attention.
void GraphOptimiser::FuseAttention(std::size_t index) {
  if (graph_.steps_[index].op->name != "MatMul") return;
  const auto scores = ScoresOf(graph_.steps_[index].inputs[0], index);
  if (!scores) return;
  ScoreScale scale;
  const std::size_t product = Maker(Unscaled(scores->value, scale), "MatMul");
  if (product == kNoStep || SoleUser(graph_.steps_[product].outputs[0]) == kNoStep ||
      SoleUser(scores->value) != scores->user) {
    return;
  }
  const auto query = OperandOf(graph_.steps_[product].inputs[0], &scale);
  const auto key = OperandOf(graph_.steps_[product].inputs[1], &scale);
  const auto value = OperandOf(graph_.steps_[index].inputs[1], nullptr);
  if (!query || !key || !value || scale.factors.size() > kAttentionFactorsMax) return;
  std::vector<ValueIndex> inputs{query->value, key->value, value->value};
  std::vector<std::int64_t> kinds;
  for (const Scores::Mask& mask : scores->masks) {
    kinds.push_back(mask.kind);
    inputs.push_back(mask.input);
    if (mask.other != kNoValue) inputs.push_back(mask.other);
  }
  inputs.insert(inputs.end(), scale.factors.begin(), scale.factors.end());
  std::size_t end = index;
  std::vector<std::int64_t> out_axes;
  const std::size_t next = SoleUser(graph_.steps_[index].outputs[0]);
  if (next != kNoStep && graph_.steps_[next].op->name == "Transpose") {
    const OnnxAttribute* perm = graph_.steps_[next].node->Attribute("perm");
    // The last axis stays the last: rows are written as they come.
    if (perm != nullptr && IsPermutation(perm->ints) && !perm->ints.empty() &&
        perm->ints.back() == static_cast<std::int64_t>(perm->ints.size()) - 1) {
      end = next;
      out_axes = perm->ints;
    }
  }
  OnnxNode& node = Replace(end, AttentionOperator(), std::move(inputs));
  const auto add_operand = [&](const Operand& operand, std::string_view axes, std::string_view taken) {
    node.attributes.push_back(Ints(axes, operand.axes));
    if (!operand.taken.empty()) node.attributes.push_back(Ints(taken, operand.taken));
  };
  add_operand(*query, "query", "query_at");
  add_operand(*key, "key", "key_at");
  add_operand(*value, "value", "value_at");
  if (!out_axes.empty()) node.attributes.push_back(Ints("out", std::move(out_axes)));
  if (!kinds.empty()) node.attributes.push_back(Ints("masks", std::move(kinds)));
  if (!scale.divides.empty()) node.attributes.push_back(Ints("divides", std::move(scale.divides)));
  node.attributes.push_back(MakeAttribute("scale", 0, static_cast<float>(scale.scale)));
  if (scores->keeps_zero) node.attributes.push_back(MakeAttribute("keeps_zero", 1, 0));
  graph_.fusions_.Add(Fusion::kAttention);
}

}  // namespace foreshore::graph
