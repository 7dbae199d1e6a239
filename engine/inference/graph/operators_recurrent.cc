// RNN, GRU and LSTM.
//
// Weights are [directions, gates · hidden, …] with a gate's rows together. One step of one sequence is
//   gates = W · x + R · h + bias, then the cell's own arithmetic on them.
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

using Function = float (*)(float);

Function FindActivation(std::string_view name) {
  if (name == "Sigmoid") return [](float x) { return 1.0F / (1.0F + std::exp(-x)); };
  if (name == "Tanh") return [](float x) { return std::tanh(x); };
  if (name == "Relu") return [](float x) { return x < 0 ? 0.0F : x; };
  if (name == "Softsign") return [](float x) { return x / (1.0F + std::fabs(x)); };
  if (name == "Softplus") return [](float x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); };
  return nullptr;
}

struct Cell {
  std::string_view name;
  std::size_t gate_count;
  std::size_t activation_count;
  std::string_view activations[3];
};
constexpr Cell kRnn{"RNN", 1, 1, {"Tanh"}};
constexpr Cell kGru{"GRU", 3, 2, {"Sigmoid", "Tanh"}};
constexpr Cell kLstm{"LSTM", 4, 3, {"Sigmoid", "Tanh", "Tanh"}};

struct Recurrence {
  std::int64_t steps = 0;
  std::int64_t batch = 0;
  std::int64_t input = 0;
  std::int64_t hidden = 0;
  std::int64_t directions = 1;
  bool is_batch_first = false;
  bool starts_reversed = false;
  std::vector<Function> activations;  // Of each direction, one after the other.
};

constexpr std::int64_t kHiddenMax = std::int64_t{1} << 20;

Status CheckShape(const NodeContext& context, std::size_t index, const Shape& shape) {
  if (!context.Has(index)) return Status::Ok();
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, index));
  if (context.ShapeOf(index) == shape) return Status::Ok();
  return Status::InvalidArgument("input " + std::to_string(index) + " is " + ToText(context.Info(index)) +
                                 ", expected " + ToText(shape));
}

Result<Recurrence> PlanRecurrence(const NodeContext& context, const Cell& cell) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, SetOf(OnnxType::kFloat)));
  for (const std::size_t index : {0, 1, 2}) FORESHORE_RETURN_IF_ERROR(context.RequireRank(index, 3));
  Recurrence plan;
  plan.is_batch_first = context.Int("layout", 0) != 0;
  const Shape& shape = context.ShapeOf(0);
  plan.steps = shape[plan.is_batch_first ? 1 : 0];
  plan.batch = shape[plan.is_batch_first ? 0 : 1];
  plan.input = shape[2];
  const std::string_view direction = context.Text("direction", "forward");
  plan.directions = direction == "bidirectional" ? 2 : 1;
  plan.starts_reversed = direction == "reverse";
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional") {
    return Status::Unsupported("direction \"" + std::string(direction.substr(0, 32)) + "\"");
  }
  plan.hidden = context.ShapeOf(2)[2];
  if (plan.hidden < 1 || plan.hidden > kHiddenMax || context.Int("hidden_size", plan.hidden) != plan.hidden) {
    return Status::InvalidArgument("hidden_size " + std::to_string(context.Int("hidden_size", 0)) + ", weights are " +
                                   ToText(context.Info(2)));
  }
  const std::int64_t rows = static_cast<std::int64_t>(cell.gate_count) * plan.hidden;
  FORESHORE_RETURN_IF_ERROR(CheckShape(context, 1, {plan.directions, rows, plan.input}));
  FORESHORE_RETURN_IF_ERROR(CheckShape(context, 2, {plan.directions, rows, plan.hidden}));
  FORESHORE_RETURN_IF_ERROR(CheckShape(context, 3, {plan.directions, 2 * rows}));
  const Shape state = plan.is_batch_first ? Shape{plan.batch, plan.directions, plan.hidden}
                                          : Shape{plan.directions, plan.batch, plan.hidden};
  FORESHORE_RETURN_IF_ERROR(CheckShape(context, 5, state));
  FORESHORE_RETURN_IF_ERROR(CheckShape(context, 6, state));
  FORESHORE_RETURN_IF_ERROR(CheckShape(context, 7, {plan.directions, 3 * plan.hidden}));
  if (context.Has(4)) {
    FORESHORE_RETURN_IF_ERROR(context.Require(4, SetOf(OnnxType::kInt32)));
    if (context.ShapeOf(4) != Shape{plan.batch}) {
      return Status::InvalidArgument("input 4 is " + ToText(context.Info(4)) + ", expected a length per sequence");
    }
  }
  std::vector<std::string_view> names;
  if (const OnnxAttribute* listed = context.node.Attribute("activations"); listed != nullptr) {
    for (const Bytes& name : listed->strings) names.push_back(name);
  }
  const std::size_t wanted = cell.activation_count * static_cast<std::size_t>(plan.directions);
  if (names.empty()) {
    for (std::size_t i = 0; i < wanted; ++i) names.push_back(cell.activations[i % cell.activation_count]);
  }
  if (names.size() != wanted) {
    return Status::InvalidArgument(std::to_string(names.size()) + " activations, expected " + std::to_string(wanted));
  }
  for (const std::string_view name : names) {
    plan.activations.push_back(FindActivation(name));
    if (plan.activations.back() == nullptr) {
      return Status::Unsupported("activation \"" + std::string(name.substr(0, 32)) + "\"");
    }
  }
  return plan;
}

template <const Cell& kCell>
Status InferRecurrent(const NodeContext& context, Infos& outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Recurrence plan, PlanRecurrence(context, kCell));
  const OnnxType type = context.Info(0).type;
  const Shape state = plan.is_batch_first ? Shape{plan.batch, plan.directions, plan.hidden}
                                          : Shape{plan.directions, plan.batch, plan.hidden};
  outputs.push_back({type, plan.is_batch_first ? Shape{plan.batch, plan.steps, plan.directions, plan.hidden}
                                               : Shape{plan.steps, plan.directions, plan.batch, plan.hidden}});
  outputs.push_back({type, state});
  outputs.push_back({type, state});
  return Status::Ok();
}

// out[r] += Σ weights[r][i] · x[i].
void AddProductByElement(const float* weights, const float* x, std::int64_t rows, std::int64_t columns, float* out) {
  for (std::int64_t r = 0; r < rows; ++r) {
    float sum = 0;
    for (std::int64_t i = 0; i < columns; ++i) sum += weights[r * columns + i] * x[i];
    out[r] += sum;
  }
}

// One direction of one sequence: everything that a step reads and writes.
struct Walker {
  const Recurrence& plan;
  const Function* activations;
  const float* input_weights;
  const float* hidden_weights;
  const float* bias;       // Of W, then of R; null for none.
  const float* peepholes;  // LSTM; null for none.
  float clip;              // Infinite for none.
  bool is_linear_first;    // GRU: the reset gate is applied after the product.
  std::span<float> gates;  // Gate sums of x, then room for those of h.
  float* h;
  float* c;
  const VectorKernels* kernels;  // May be null.

  void AddProduct(const float* weights, const float* x_or_h, std::int64_t rows, std::int64_t columns,
                  float* out) const {
    if (kernels != nullptr) {
      return kernels->add_product(weights, x_or_h, static_cast<std::size_t>(rows), static_cast<std::size_t>(columns),
                                  out);
    }
    return AddProductByElement(weights, x_or_h, rows, columns, out);
  }
  float Clip(float x) const { return std::clamp(x, -clip, clip); }

  void Start(const float* x, std::int64_t rows) {
    std::fill(gates.begin(), gates.end(), 0.0F);
    AddProduct(input_weights, x, rows, plan.input, gates.data());
    if (bias == nullptr) return;
    for (std::int64_t i = 0; i < rows; ++i) gates[static_cast<std::size_t>(i)] += bias[i];
  }

  void StepRnn(const float* x) {
    Start(x, plan.hidden);
    AddProduct(hidden_weights, h, plan.hidden, plan.hidden, gates.data());
    for (std::int64_t i = 0; i < plan.hidden; ++i) {
      const float recurrent_bias = bias != nullptr ? bias[plan.hidden + i] : 0.0F;
      h[i] = activations[0](Clip(gates[static_cast<std::size_t>(i)] + recurrent_bias));
    }
  }

  // Gates update, reset, hidden.
  void StepGru(const float* x) {
    const std::int64_t n = plan.hidden;
    Start(x, 3 * n);
    float* of_x = gates.data();
    float* of_h = gates.data() + 3 * n;
    const float* recurrent_bias = bias != nullptr ? bias + 3 * n : nullptr;
    AddProduct(hidden_weights, h, is_linear_first ? 3 * n : 2 * n, n, of_h);
    for (std::int64_t i = 0; i < 2 * n; ++i) {
      of_x[i] = activations[0](Clip(of_x[i] + of_h[i] + (recurrent_bias != nullptr ? recurrent_bias[i] : 0.0F)));
    }
    const float* reset = of_x + n;
    float* candidate = of_h + 2 * n;
    if (!is_linear_first) {
      for (std::int64_t i = 0; i < n; ++i) of_h[i] = reset[i] * h[i];
      AddProduct(hidden_weights + 2 * n * n, of_h, n, n, candidate);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      float sum = candidate[i] + (recurrent_bias != nullptr ? recurrent_bias[2 * n + i] : 0.0F);
      if (is_linear_first) sum *= reset[i];
      const float hidden = activations[1](Clip(of_x[2 * n + i] + sum));
      h[i] = (1.0F - of_x[i]) * hidden + of_x[i] * h[i];
    }
  }

  // Gates input, output, forget, cell; peepholes input, output, forget.
  void StepLstm(const float* x) {
    const std::int64_t n = plan.hidden;
    Start(x, 4 * n);
    float* sums = gates.data();
    AddProduct(hidden_weights, h, 4 * n, n, sums);
    if (bias != nullptr) {
      for (std::int64_t i = 0; i < 4 * n; ++i) sums[i] += bias[4 * n + i];
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const float* peephole = peepholes != nullptr ? peepholes + i : nullptr;
      const float in = activations[0](Clip(sums[i] + (peephole != nullptr ? peephole[0] * c[i] : 0.0F)));
      const float forget =
          activations[0](Clip(sums[2 * n + i] + (peephole != nullptr ? peephole[2 * n] * c[i] : 0.0F)));
      c[i] = forget * c[i] + in * activations[1](Clip(sums[3 * n + i]));
      const float out = activations[0](Clip(sums[n + i] + (peephole != nullptr ? peephole[n] * c[i] : 0.0F)));
      h[i] = out * activations[2](c[i]);
    }
  }
};

// Gates, and the states h and c.
template <const Cell& kCell>
std::uint64_t RecurrentWorkspaceBytes(const NodeContext& context) {
  const auto plan = PlanRecurrence(context, kCell);
  return plan.ok() ? static_cast<std::uint64_t>(plan->hidden) * 2 * (kCell.gate_count + 1) * sizeof(float) : 0;
}

template <const Cell& kCell>
Status RunRecurrent(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Recurrence plan, PlanRecurrence(context, kCell));
  const std::int64_t n = plan.hidden;
  const std::int64_t rows = static_cast<std::int64_t>(kCell.gate_count) * n;
  const std::span gates(reinterpret_cast<float*>(context.workspace), static_cast<std::size_t>(2 * rows));
  const std::span state(gates.data() + 2 * rows, static_cast<std::size_t>(2 * n));
  const auto floats = [&](std::size_t index) {
    return context.Has(index) ? context.inputs[index].as<float>() : nullptr;
  };
  const auto output = [&](std::size_t index) {
    return index < outputs.size() && outputs[index].data != nullptr ? outputs[index].as<float>() : nullptr;
  };
  if (float* all = output(0); all != nullptr) std::fill_n(all, outputs[0].count(), 0.0F);
  const float clip = context.HasAttribute("clip") ? context.Float("clip", 0) : INFINITY;
  for (std::int64_t direction = 0; direction < plan.directions; ++direction) {
    for (std::int64_t sequence = 0; sequence < plan.batch; ++sequence) {
      FORESHORE_RETURN_IF_ERROR(context.Poll());
      const std::int64_t place =
          plan.is_batch_first ? sequence * plan.directions + direction : direction * plan.batch + sequence;
      float* h = state.data();
      float* c = state.data() + n;
      std::fill(state.begin(), state.end(), 0.0F);
      if (const float* first = floats(5); first != nullptr) std::copy_n(first + place * n, n, h);
      if (const float* first = floats(6); first != nullptr) std::copy_n(first + place * n, n, c);
      Walker walker{plan,
                    plan.activations.data() + static_cast<std::size_t>(direction) * kCell.activation_count,
                    floats(1) + direction * rows * plan.input,
                    floats(2) + direction * rows * n,
                    floats(3) != nullptr ? floats(3) + direction * 2 * rows : nullptr,
                    floats(7) != nullptr ? floats(7) + direction * 3 * n : nullptr,
                    clip,
                    context.Int("linear_before_reset", 0) != 0,
                    gates,
                    h,
                    c,
                    context.kernels};
      std::int64_t length = plan.steps;
      if (context.Has(4)) {
        length = std::clamp<std::int64_t>(context.inputs[4].as<std::int32_t>()[sequence], 0, plan.steps);
      }
      const bool is_reversed = plan.starts_reversed || direction == 1;
      for (std::int64_t i = 0; i < length; ++i) {
        if (i % 64 == 63) FORESHORE_RETURN_IF_ERROR(context.Poll());
        const std::int64_t step = is_reversed ? length - 1 - i : i;
        const std::int64_t row = plan.is_batch_first ? sequence * plan.steps + step : step * plan.batch + sequence;
        const float* x = context.inputs[0].as<float>() + row * plan.input;
        if constexpr (&kCell == &kRnn) walker.StepRnn(x);
        if constexpr (&kCell == &kGru) walker.StepGru(x);
        if constexpr (&kCell == &kLstm) walker.StepLstm(x);
        if (float* all = output(0); all != nullptr) {
          const std::int64_t at = plan.is_batch_first ? (sequence * plan.steps + step) * plan.directions + direction
                                                      : (step * plan.directions + direction) * plan.batch + sequence;
          std::copy_n(h, n, all + at * n);
        }
      }
      if (float* last = output(1); last != nullptr) std::copy_n(h, n, last + place * n);
      if (float* last = output(2); last != nullptr) std::copy_n(c, n, last + place * n);
    }
  }
  return Status::Ok();
}

constexpr Operator kOperators[] = {
    {.name = "RNN",
     .inputs_min = 3,
     .inputs_max = 6,
     .outputs_max = 2,
     .runs_without_first = true,
     .attributes = "activations clip direction hidden_size layout",
     .kind = OperatorKind::kHeavy,
     .infer = InferRecurrent<kRnn>,
     .run = RunRecurrent<kRnn>,
     .workspace = RecurrentWorkspaceBytes<kRnn>},
    {.name = "GRU",
     .inputs_min = 3,
     .inputs_max = 6,
     .outputs_max = 2,
     .runs_without_first = true,
     .attributes = "activations clip direction hidden_size layout linear_before_reset",
     .kind = OperatorKind::kHeavy,
     .infer = InferRecurrent<kGru>,
     .run = RunRecurrent<kGru>,
     .workspace = RecurrentWorkspaceBytes<kGru>},
    {.name = "LSTM",
     .inputs_min = 3,
     .inputs_max = 8,
     .outputs_max = 3,
     .runs_without_first = true,
     .attributes = "activations clip direction hidden_size layout",
     .kind = OperatorKind::kHeavy,
     .infer = InferRecurrent<kLstm>,
     .run = RunRecurrent<kLstm>,
     .workspace = RecurrentWorkspaceBytes<kLstm>},
};

}  // namespace

std::span<const Operator> RecurrentOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
