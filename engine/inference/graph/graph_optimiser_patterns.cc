// Nodes that exporters write for one function each.
#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/inference/graph/graph_optimiser.h"
#include "engine/inference/graph/operators_gelu.h"
#include "engine/inference/graph/operators_residual.h"

namespace foreshore::graph {

OnnxNode& GraphOptimiser::Replace(std::size_t index, const Operator& op, std::vector<ValueIndex> inputs) {
  GraphStep& step = graph_.steps_[index];
  auto node = std::make_unique<OnnxNode>();
  node->name = step.node->name;
  node->op_type = op.name;
  node->outputs = step.node->outputs;
  for (const ValueIndex input : step.inputs) {
    if (input != kNoValue) std::erase(users_[input], index);
  }
  for (const ValueIndex input : inputs) {
    if (input != kNoValue) users_[input].push_back(index);
  }
  step.node = node.get();
  step.op = &op;
  step.node_input_count = inputs.size();
  step.inputs = std::move(inputs);
  graph_.made_nodes_.push_back(std::move(node));
  return *graph_.made_nodes_.back();
}

OnnxAttribute MakeAttribute(std::string_view name, std::int64_t i, float f) {
  OnnxAttribute attribute;
  attribute.name = name;
  attribute.i = i;
  attribute.f = f;
  return attribute;
}

namespace {

// ReduceMean over the last axis, as attribute or as input.
bool IsMeanOfLastAxis(const Graph& graph, const GraphStep& step) {
  if (step.node->IntAttribute("keepdims", 1) != 1) return false;
  if (const OnnxAttribute* axes = step.node->Attribute("axes"); axes != nullptr) {
    return axes->ints == std::vector<std::int64_t>{-1};
  }
  if (step.inputs.size() != 2 || step.inputs[1] == kNoValue) return false;
  const GraphValue& axes = graph.values()[step.inputs[1]];
  return axes.is_constant && axes.info.type == OnnxType::kInt64 && ElementCount(axes.info.shape) == 1 &&
         *reinterpret_cast<const std::int64_t*>(axes.data) == -1;
}

}  // namespace

// ((x − mean) / √(mean((x − mean)²) + ε)) · γ + β, ending in the addition of β.
void GraphOptimiser::FuseLayerNorm(std::size_t index) {
  if (graph_.steps_[index].op->name != "Add") return;
  for (const ValueIndex scaled : graph_.steps_[index].inputs) {
    const std::size_t product = Maker(scaled, "Mul");
    if (product == kNoStep) continue;
    const ValueIndex beta = OtherInput(index, scaled);
    for (const ValueIndex normal : graph_.steps_[product].inputs) {
      const std::size_t division = Maker(normal, "Div");
      if (division == kNoStep) continue;
      const ValueIndex gamma = OtherInput(product, normal);
      const std::size_t root = Maker(graph_.steps_[division].inputs[1], "Sqrt");
      const std::size_t distance = Maker(graph_.steps_[division].inputs[0], "Sub");
      if (root == kNoStep || distance == kNoStep) continue;
      const std::size_t sum = Maker(graph_.steps_[root].inputs[0], "Add");
      if (sum == kNoStep) continue;
      ValueIndex variance = graph_.steps_[sum].inputs[0];
      auto epsilon = Scalar(graph_.steps_[sum].inputs[1]);
      if (!epsilon) {
        epsilon = Scalar(variance);
        variance = graph_.steps_[sum].inputs[1];
      }
      const std::size_t variance_mean = Maker(variance, "ReduceMean");
      if (!epsilon || variance_mean == kNoStep) continue;
      const ValueIndex square = graph_.steps_[variance_mean].inputs[0];
      std::size_t power = Maker(square, "Pow");
      if (power != kNoStep && !IsScalar(graph_.steps_[power].inputs[1], 2.0F)) continue;
      if (power == kNoStep) {
        power = Maker(square, "Mul");
        if (power == kNoStep || graph_.steps_[power].inputs[0] != graph_.steps_[power].inputs[1]) continue;
      }
      // Some exporters take the mean off twice.
      const std::size_t other = Maker(graph_.steps_[power].inputs[0], "Sub");
      if (other == kNoStep || graph_.steps_[other].inputs != graph_.steps_[distance].inputs) continue;
      const ValueIndex x = graph_.steps_[distance].inputs[0];
      const std::size_t mean = Maker(graph_.steps_[distance].inputs[1], "ReduceMean");
      if (mean == kNoStep || graph_.steps_[mean].inputs[0] != x) continue;
      if (!IsMeanOfLastAxis(graph_, graph_.steps_[mean]) || !IsMeanOfLastAxis(graph_, graph_.steps_[variance_mean])) {
        continue;
      }
      const GraphValue* scale = ConstantFloats(gamma);
      const GraphValue* shift = ConstantFloats(beta);
      if (scale == nullptr || shift == nullptr || scale->info.shape.size() != 1 ||
          scale->info.shape != shift->info.shape || scale->info.shape[0] < 2) {
        continue;
      }
      OnnxNode& node = Replace(index, *FindOperator("LayerNormalization"), {x, gamma, beta});
      node.attributes.push_back(MakeAttribute("axis", -1, 0));
      node.attributes.push_back(MakeAttribute("epsilon", 0, *epsilon));
      graph_.fusions_.Add(Fusion::kLayerNorm);
      return;
    }
  }
}

// LayerNormalization along the last axis of a sum that nobody else uses, and of a row that is added to it.
void GraphOptimiser::FuseResidual(std::size_t index) {
  const GraphStep& norm = graph_.steps_[index];
  if (norm.op->name != "LayerNormalization") return;
  for (std::size_t i = 1; i < norm.outputs.size(); ++i) {
    if (norm.outputs[i] != kNoValue && !users_[norm.outputs[i]].empty()) return;
  }
  const GraphValue* gamma = ConstantFloats(norm.inputs[1]);
  if (gamma == nullptr || gamma->info.shape.size() != 1 || gamma->info.shape[0] < 2) return;
  const auto is_row = [&](ValueIndex value) {
    const GraphValue* row = ConstantFloats(value);
    return row != nullptr && row->info.shape == gamma->info.shape;
  };
  const ValueIndex beta = norm.inputs.size() > 2 ? norm.inputs[2] : kNoValue;
  if (beta != kNoValue && !is_row(beta)) return;
  if (const std::int64_t axis = norm.node->IntAttribute("axis", -1); axis != -1) {
    const auto rank = RankOf(norm.inputs[0], 0);
    if (!rank || axis != static_cast<std::int64_t>(*rank) - 1) return;
  }
  const std::size_t sum = Maker(norm.inputs[0], "Add");
  if (sum == kNoStep || SoleUser(norm.inputs[0]) != index) return;
  std::vector<ValueIndex> terms = graph_.steps_[sum].inputs;
  ValueIndex bias = kNoValue;
  for (std::size_t side = 0; side < 2 && bias == kNoValue; ++side) {
    // A product takes its row itself.
    const std::size_t inner = Maker(terms[side], "Add");
    const bool is_whole = is_row(terms[1 - side]);
    if (inner == kNoStep || SoleUser(terms[side]) != sum) continue;
    const std::vector<ValueIndex>& inner_terms = graph_.steps_[inner].inputs;
    if (is_whole) {
      bias = terms[1 - side];
      terms = inner_terms;
    } else if (const std::size_t row = is_row(inner_terms[1]) ? 1 : 0;
               is_row(inner_terms[row]) && Maker(inner_terms[1 - row], "MatMul") == kNoStep) {
      bias = inner_terms[row];
      terms[side] = inner_terms[1 - row];
    }
  }
  // Of a row alone the product before takes it.
  if (is_row(terms[0]) || is_row(terms[1])) return;
  const float epsilon = norm.node->FloatAttribute("epsilon", 1e-5F);
  std::vector<ValueIndex> inputs{terms[0], terms[1], norm.inputs[1], beta, bias};
  while (inputs.back() == kNoValue) inputs.pop_back();
  graph_.steps_[index].outputs.resize(1);
  Replace(index, ResidualOperator(), std::move(inputs)).attributes.push_back(MakeAttribute("epsilon", 0, epsilon));
  graph_.fusions_.Add(Fusion::kResidual);
}

// tanh(√(2/π) · (x + 0.044715 x³)), the cube as a power or as products.
bool GraphOptimiser::IsGeluTanh(ValueIndex value, ValueIndex x) const {
  const std::size_t tanh = Maker(value, "Tanh");
  const std::size_t scaled = tanh == kNoStep ? kNoStep : Maker(graph_.steps_[tanh].inputs[0], "Mul");
  if (scaled == kNoStep) return false;
  for (const ValueIndex inner : graph_.steps_[scaled].inputs) {
    const std::size_t sum = Maker(inner, "Add");
    if (sum == kNoStep || !IsScalar(OtherInput(scaled, inner), static_cast<float>(kGeluTanhScale))) continue;
    const std::size_t cubic = Maker(OtherInput(sum, x), "Mul");
    if (cubic == kNoStep) return false;
    for (const ValueIndex cube : graph_.steps_[cubic].inputs) {
      if (!IsScalar(OtherInput(cubic, cube), static_cast<float>(kGeluTanhCubic))) continue;
      const std::size_t power = Maker(cube, "Pow");
      if (power != kNoStep)
        return graph_.steps_[power].inputs[0] == x && IsScalar(graph_.steps_[power].inputs[1], 3.0F);
      const std::size_t product = Maker(cube, "Mul");
      const std::size_t square = product == kNoStep ? kNoStep : Maker(OtherInput(product, x), "Mul");
      return square != kNoStep && graph_.steps_[square].inputs == std::vector<ValueIndex>{x, x};
    }
  }
  return false;
}

// x · (1 + erf(x / √2)) / 2 and its approximation by tanh, in the orders that exporters use.
void GraphOptimiser::FuseGelu(std::size_t index) {
  if (graph_.steps_[index].op->name != "Mul") return;
  // The three factors of the last product and, where it is one, of the product before it.
  for (const ValueIndex before : graph_.steps_[index].inputs) {
    const std::size_t inner = Maker(before, "Mul");
    if (inner == kNoStep) continue;
    const std::vector<ValueIndex>& pair = graph_.steps_[inner].inputs;
    const ValueIndex factors[3] = {pair[0], pair[1], OtherInput(index, before)};
    if (factors[2] == kNoValue) continue;
    for (const ValueIndex sum : factors) {
      const std::size_t plus_one = Maker(sum, "Add");
      if (plus_one == kNoStep) continue;
      ValueIndex x = kNoValue;
      bool has_half = false;
      for (const ValueIndex factor : factors) {
        if (factor == sum) continue;
        if (IsScalar(factor, 0.5F)) {
          has_half = true;
        } else {
          x = factor;
        }
      }
      if (!has_half || x == kNoValue) continue;
      for (const ValueIndex term : graph_.steps_[plus_one].inputs) {
        if (IsGeluTanh(term, x) && IsScalar(OtherInput(plus_one, term), 1.0F)) {
          Replace(index, GeluTanhOperator(), {x});
          graph_.fusions_.Add(Fusion::kGelu);
          return;
        }
        const std::size_t erf = Maker(term, "Erf");
        if (erf == kNoStep || !IsScalar(OtherInput(plus_one, term), 1.0F)) continue;
        const ValueIndex scaled = graph_.steps_[erf].inputs[0];
        const std::size_t division = Maker(scaled, "Div");
        const std::size_t product = Maker(scaled, "Mul");
        const bool fits = (division != kNoStep && graph_.steps_[division].inputs[0] == x &&
                           IsScalar(graph_.steps_[division].inputs[1], std::sqrt(2.0F))) ||
                          (product != kNoStep && IsScalar(OtherInput(product, x), std::sqrt(0.5F)));
        if (!fits) continue;
        Replace(index, GeluOperator(), {x});
        graph_.fusions_.Add(Fusion::kGelu);
        return;
      }
    }
  }
}

// x · clip(x + 3, 0, 6) / 6, with the division before or after the product, and x · HardSigmoid(x) with its numbers.
void GraphOptimiser::FuseHardSwish(std::size_t index) {
  const std::string_view name = graph_.steps_[index].op->name;
  const auto divides_by_six = [&](std::size_t step) {
    if (step == kNoStep) return false;
    const GraphStep& candidate = graph_.steps_[step];
    return (candidate.op->name == "Div" && IsScalar(candidate.inputs[1], 6.0F)) ||
           (candidate.op->name == "Mul" &&
            (IsScalar(candidate.inputs[0], 1.0F / 6) || IsScalar(candidate.inputs[1], 1.0F / 6)));
  };
  // clip(x + 3, 0, 6) of that x.
  const auto is_gate = [&](ValueIndex gate, ValueIndex x) {
    const std::size_t clip = Maker(gate, "Clip");
    if (clip == kNoStep) return false;
    const auto bounds = ActivationOf(graph_.steps_[clip]);
    const std::size_t sum = Maker(graph_.steps_[clip].inputs[0], "Add");
    return bounds && bounds->a == 0 && bounds->b == 6 && sum != kNoStep && IsScalar(OtherInput(sum, x), 3.0F);
  };
  const auto undivided = [&](std::size_t step) {
    const std::vector<ValueIndex>& inputs = graph_.steps_[step].inputs;
    return Scalar(inputs[0]) ? inputs[1] : inputs[0];
  };
  if (divides_by_six(index)) {
    const std::size_t product = Maker(undivided(index), "Mul");
    if (product == kNoStep) return;
    for (const ValueIndex x : graph_.steps_[product].inputs) {
      if (!is_gate(OtherInput(product, x), x)) continue;
      Replace(index, *FindOperator("HardSwish"), {x});
      graph_.fusions_.Add(Fusion::kSwish);
      return;
    }
    return;
  }
  if (name != "Mul") return;
  for (const ValueIndex x : graph_.steps_[index].inputs) {
    const ValueIndex gate = OtherInput(index, x);
    if (gate == kNoValue) continue;
    const std::size_t maker = makers_[gate];
    if (maker == kNoStep) continue;
    const GraphStep& step = graph_.steps_[maker];
    const bool is_hard_sigmoid = step.op->name == "HardSigmoid" && step.inputs[0] == x &&
                                 std::fabs(step.node->FloatAttribute("alpha", 0.2F) - 1.0F / 6) < 1e-6F &&
                                 step.node->FloatAttribute("beta", 0.5F) == 0.5F;
    if (!is_hard_sigmoid && !(divides_by_six(maker) && is_gate(undivided(maker), x))) continue;
    Replace(index, *FindOperator("HardSwish"), {x});
    graph_.fusions_.Add(Fusion::kSwish);
    return;
  }
}

// The value is x · 1, as some exporters write a factor that nobody asked for, and has x's shape: one that a
// normalisation or a sum with a row has made has dimensions enough.
bool GraphOptimiser::IsTimesOne(ValueIndex value, ValueIndex x) const {
  const std::size_t product = Maker(value, "Mul");
  if (product == kNoStep) return false;
  const ValueIndex one = OtherInput(product, x);
  const auto number = Scalar(one);
  if (!number || *number != 1.0F) return false;
  if (graph_.values_[one].info.shape.empty() || Maker(x, "BatchNormalization") != kNoStep) return true;
  const std::size_t sum = Maker(x, "Add");
  return graph_.values_[one].info.shape.size() == 1 && sum != kNoStep &&
         std::any_of(graph_.steps_[sum].inputs.begin(), graph_.steps_[sum].inputs.end(), [&](ValueIndex input) {
           const GraphValue* row = ConstantFloats(input);
           return row != nullptr && !row->info.shape.empty();
         });
}

void GraphOptimiser::FuseSilu(std::size_t index) {
  if (graph_.steps_[index].op->name != "Mul") return;
  for (const ValueIndex x : graph_.steps_[index].inputs) {
    const std::size_t sigmoid = Maker(OtherInput(index, x), "Sigmoid");
    if (sigmoid == kNoStep) continue;
    const ValueIndex gate = graph_.steps_[sigmoid].inputs[0];
    if (gate != x && !IsTimesOne(gate, x)) continue;
    Replace(index, SiluOperator(), {x});
    graph_.fusions_.Add(Fusion::kSwish);
    return;
  }
}

}  // namespace foreshore::graph
