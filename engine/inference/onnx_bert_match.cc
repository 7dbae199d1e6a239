#include "engine/inference/onnx_bert_match.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

namespace foreshore {

namespace {

using Shape = std::vector<std::int64_t>;

constexpr std::size_t kLayersMax = 256;
constexpr std::size_t kChainStepsMax = 64;
// What a mask adds to a forbidden score: exp of it is zero beside any score that BERT makes.
constexpr double kMaskedScoreMax = -1'000;

struct Linear {
  ValueId input = kNoValue;
  ValueId weight = kNoValue;
  ValueId bias = kNoValue;
  bool is_in_out = true;
};
struct Norm {
  ValueId input = kNoValue;
  ValueId gamma = kNoValue;
  ValueId beta = kNoValue;
  double epsilon = 0;
};
struct Attention {
  Linear query, key, value;
  std::int64_t head_count = 0;
};
// Reshapes, transposes and multiplications by scalars between two values.
struct Chain {
  ValueId source = kNoValue;
  double scale = 1;
  std::vector<const OnnxNode*> layout_nodes;  // From the source on.
};

bool IsNear(double a, double b, double relative) {
  return std::abs(a - b) <= relative * std::abs(b);
}

bool IsLayout(std::string_view op) {
  return op == "Reshape" || op == "Transpose" || op == "Squeeze" || op == "Unsqueeze" || op == "Flatten";
}

class Matcher {
 public:
  explicit Matcher(const OnnxGraph& graph)
      : graph_(graph), batch_(graph.batch().batch), sequence_(graph.batch().sequence) {}

  Result<BertMatch> Run();

 private:
  // An input that a node leaves out reads as a value without shape that nothing makes.
  const GraphValue& value(ValueId id) const {
    static const GraphValue kAbsent;
    return id == kNoValue ? kAbsent : graph_.value(id);
  }
  // The node that makes an activation; null for everything else.
  const OnnxNode* Producer(ValueId id) const {
    return id != kNoValue && value(id).is_activation() ? value(id).producer : nullptr;
  }
  bool IsMadeBy(ValueId id, std::string_view op) const {
    const OnnxNode* node = Producer(id);
    return node != nullptr && node->op_type == op;
  }
  Status Mismatch(ValueId id, const std::string& expected) const;

  ValueId SkipCasts(ValueId id) const;
  ValueId SkipFlat(ValueId id) const;
  bool IsSame(ValueId a, ValueId b) const { return SkipFlat(a) == SkipFlat(b); }
  std::optional<double> Scalar(ValueId id) const;
  // An activation and the constant or scalar beside it, in either order.
  struct Pair {
    ValueId activation = kNoValue;
    ValueId other = kNoValue;
    bool activation_is_first = true;
  };
  std::optional<Pair> SplitOperands(const OnnxNode& node) const;
  std::optional<double> ScaleStep(const OnnxNode& node, ValueId& rest) const;

  Result<Linear> MatchLinear(ValueId id) const;
  Result<Norm> MatchNorm(ValueId id) const;
  Result<Norm> MatchDecomposedNorm(ValueId id) const;
  Result<ValueId> MatchNormalised(ValueId id, double& epsilon) const;
  Result<ValueId> MatchGelu(ValueId id) const;
  void Factors(ValueId id, double& scale, std::vector<ValueId>& factors) const;
  Result<Chain> MatchChain(ValueId id) const;
  Status CheckChain(const Chain& chain, ValueId end, bool is_split, bool is_transposed, std::int64_t head_count) const;
  Result<Attention> MatchAttention(ValueId context);
  Result<ValueId> MatchScores(ValueId probabilities, std::int64_t head_count, double& scale);
  Status CheckMask(ValueId node_value, const ProbeTensor& added, double scale, const Shape& shape);
  Status CheckMaskedFill(const OnnxNode& node, double scale, const Shape& shape, ValueId& rest);
  bool ForbidsLikeInput(const ProbeTensor& forbids, std::size_t input_index) const;
  Status MatchLayer(ValueId output, std::size_t depth, ValueId& input);
  Status MatchEmbeddings(ValueId id);
  void AddLinear(std::size_t depth, const std::string& part, const Linear& linear);
  Status AddNorm(std::size_t depth, const std::string& part, const Norm& norm);
  Status CheckHidden(ValueId id, const Linear& linear, std::int64_t in, std::int64_t out) const;
  Status FinishConfig();

  const OnnxGraph& graph_;
  std::int64_t batch_;
  std::int64_t sequence_;
  std::int64_t hidden_ = 0;
  std::int64_t intermediate_ = 0;
  std::int64_t head_count_ = 0;
  std::optional<double> epsilon_;
  std::optional<std::size_t> mask_input_;
  bool is_unmasked_ = false;
  // Layers are found from the last to the first; names follow when their number is known.
  struct Found {
    std::size_t depth;  // 0 is the last layer.
    std::string part;
    ValueId value;
    bool transpose;
  };
  std::vector<Found> found_;
  std::vector<BertWeightRef> embeddings_;
  std::set<std::size_t> embedding_inputs_;
  bool has_type_embedding_ = false;
  std::int64_t vocabulary_ = 0, positions_ = 0, types_ = 1;
  std::size_t layer_count_ = 0;
};

std::string ShapeText(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? "," : "") + std::to_string(shape[i]);
  return text + "]";
}

Status Matcher::Mismatch(ValueId id, const std::string& expected) const {
  std::string found = "nothing";
  if (id != kNoValue) {
    const GraphValue& v = value(id);
    found = v.producer != nullptr ? OnnxGraph::Describe(*v.producer) : "\"" + std::string(v.name.substr(0, 128)) + "\"";
  }
  return Status::Unsupported(graph_.file() + ": " + found + " where BERT has " + expected);
}

// Past what changes no value.
ValueId Matcher::SkipCasts(ValueId id) const {
  while (const OnnxNode* node = Producer(id)) {
    const bool is_float_cast =
        node->op_type == "Cast" && static_cast<OnnxType>(node->IntAttribute("to", 0)) == OnnxType::kFloat;
    if (node->op_type != "Identity" && node->op_type != "Dropout" && !is_float_cast) return id;
    id = graph_.Input(*node, 0);
  }
  return id;
}

// Also past reshapes that keep rows as they are: same order of elements, same last dimension, no heads.
ValueId Matcher::SkipFlat(ValueId id) const {
  while (true) {
    id = SkipCasts(id);
    const OnnxNode* node = Producer(id);
    if (node == nullptr || !IsLayout(node->op_type) || node->op_type == "Transpose") return id;
    const ValueId input = graph_.Input(*node, 0);
    const Shape& from = value(input).shape;
    const Shape& to = value(id).shape;
    if (from.empty() || to.empty() || from.size() > 3 || to.size() > 3 || from.back() != to.back()) return id;
    id = input;
  }
}

std::optional<double> Matcher::Scalar(ValueId id) const {
  if (id == kNoValue || !value(id).probe.has_value() || value(id).probe->values.size() != 1) return std::nullopt;
  return value(id).probe->values[0];
}

std::optional<Matcher::Pair> Matcher::SplitOperands(const OnnxNode& node) const {
  const ValueId a = graph_.Input(node, 0);
  const ValueId b = graph_.Input(node, 1);
  if (a == kNoValue || b == kNoValue || node.inputs.size() != 2) return std::nullopt;
  const bool a_moves = value(a).is_activation();
  if (a_moves == value(b).is_activation()) return std::nullopt;
  return a_moves ? Pair{a, b, true} : Pair{b, a, false};
}

// A multiplication or division by one number: returns it and steps to the other operand.
std::optional<double> Matcher::ScaleStep(const OnnxNode& node, ValueId& rest) const {
  if (node.op_type != "Mul" && node.op_type != "Div") return std::nullopt;
  const auto pair = SplitOperands(node);
  if (!pair.has_value()) return std::nullopt;
  const auto scalar = Scalar(pair->other);
  if (!scalar.has_value() || value(pair->activation).shape != value(graph_.Find(node.outputs[0])).shape)
    return std::nullopt;
  if (node.op_type == "Div" && !pair->activation_is_first) return std::nullopt;
  rest = pair->activation;
  return node.op_type == "Mul" ? *scalar : 1 / *scalar;
}

Result<Linear> Matcher::MatchLinear(ValueId id) const {
  id = SkipFlat(id);
  const OnnxNode* node = Producer(id);
  Linear linear;
  if (node != nullptr && node->op_type == "Gemm") {
    linear = {graph_.Input(*node, 0), graph_.Input(*node, 1), graph_.Input(*node, 2),
              node->IntAttribute("transB", 0) == 0};
    const bool is_plain = node->IntAttribute("transA", 0) == 0 && node->FloatAttribute("alpha", 1) == 1.0F &&
                          node->FloatAttribute("beta", 1) == 1.0F;
    if (!is_plain || linear.bias == kNoValue) return Mismatch(id, "x·W + b");
  } else {
    const auto sum = node != nullptr && node->op_type == "Add" ? SplitOperands(*node) : std::nullopt;
    const OnnxNode* product = sum.has_value() ? Producer(SkipFlat(sum->activation)) : nullptr;
    if (product == nullptr || product->op_type != "MatMul") return Mismatch(id, "a linear layer with a bias");
    linear = {graph_.Input(*product, 0), graph_.Input(*product, 1), sum->other, true};
  }
  if (linear.weight == kNoValue || !value(linear.weight).constant || value(linear.weight).shape.size() != 2 ||
      !value(linear.input).is_activation()) {
    return Mismatch(id, "a matrix of constants on the right");
  }
  const GraphValue& bias = value(linear.bias);
  const Shape& weight_shape = value(linear.weight).shape;
  const std::int64_t out = weight_shape[linear.is_in_out ? 1 : 0];
  if (!bias.constant || bias.shape != Shape{out}) return Mismatch(id, "a bias of one number per output");
  linear.input = SkipFlat(linear.input);
  return linear;
}

Result<Norm> Matcher::MatchNorm(ValueId id) const {
  id = SkipFlat(id);
  const OnnxNode* node = Producer(id);
  if (node == nullptr || node->op_type != "LayerNormalization") return MatchDecomposedNorm(id);
  const Norm norm{SkipFlat(graph_.Input(*node, 0)), graph_.Input(*node, 1), graph_.Input(*node, 2),
                  node->FloatAttribute("epsilon", 1e-5F)};
  const auto rank = static_cast<std::int64_t>(value(id).shape.size());
  const std::int64_t axis = node->IntAttribute("axis", -1);
  if (norm.beta == kNoValue || (axis != -1 && axis != rank - 1)) {
    return Mismatch(id, "layer normalisation over the last dimension with scale and bias");
  }
  return norm;
}

// ((x − mean) / √(variance + ε)) · γ + β, spelt out.
Result<Norm> Matcher::MatchDecomposedNorm(ValueId id) const {
  const char* const expected = "layer normalisation (after the residual sum)";
  const OnnxNode* sum = Producer(id);
  const auto with_beta = sum != nullptr && sum->op_type == "Add" ? SplitOperands(*sum) : std::nullopt;
  if (!with_beta.has_value()) return Mismatch(id, expected);
  const ValueId scaled = SkipCasts(with_beta->activation);
  const OnnxNode* product = Producer(scaled);
  const auto with_gamma = product != nullptr && product->op_type == "Mul" ? SplitOperands(*product) : std::nullopt;
  if (!with_gamma.has_value()) return Mismatch(id, expected);
  Norm norm{kNoValue, with_gamma->other, with_beta->other, 0};
  FORESHORE_ASSIGN_OR_RETURN(norm.input, MatchNormalised(with_gamma->activation, norm.epsilon));
  return norm;
}

// (x − mean(x)) / √(mean((x − mean(x))²) + ε); returns x.
Result<ValueId> Matcher::MatchNormalised(ValueId id, double& epsilon) const {
  const char* const expected = "the (x - mean) / sqrt(variance + epsilon) of layer normalisation";
  id = SkipCasts(id);
  const auto operands = [&](ValueId v, std::string_view op) -> std::optional<std::pair<ValueId, ValueId>> {
    v = SkipCasts(v);
    if (!IsMadeBy(v, op)) return std::nullopt;
    const OnnxNode& node = *Producer(v);
    return std::pair{SkipCasts(graph_.Input(node, 0)), SkipCasts(graph_.Input(node, 1))};
  };
  // What a mean over the last dimension is taken of, or nothing.
  const auto mean_of = [&](ValueId v) {
    v = SkipCasts(v);
    if (!IsMadeBy(v, "ReduceMean")) return kNoValue;
    const ValueId input = SkipCasts(graph_.Input(*Producer(v), 0));
    Shape shape = value(input).shape;
    if (shape.empty()) return kNoValue;
    shape.back() = 1;
    return value(v).shape == shape ? input : kNoValue;
  };
  // The x of x − mean(x), or nothing.
  const auto centred = [&](ValueId v) {
    const auto difference = operands(v, "Sub");
    const bool fits = difference.has_value() && mean_of(difference->second) == difference->first;
    return fits ? difference->first : kNoValue;
  };
  const auto quotient = operands(id, "Div");
  if (!quotient.has_value() || !IsMadeBy(quotient->second, "Sqrt")) return Mismatch(id, expected);
  const ValueId x = centred(quotient->first);
  const ValueId under_root = SkipCasts(graph_.Input(*Producer(quotient->second), 0));
  const auto sum = IsMadeBy(under_root, "Add") ? SplitOperands(*Producer(under_root)) : std::nullopt;
  if (x == kNoValue || !sum.has_value() || !Scalar(sum->other).has_value()) return Mismatch(id, expected);
  epsilon = Scalar(sum->other).value();
  const ValueId square = mean_of(sum->activation);
  ValueId base = kNoValue;
  if (IsMadeBy(square, "Pow")) {
    const bool is_square = Scalar(graph_.Input(*Producer(square), 1)).value_or(0) == 2;
    base = is_square ? graph_.Input(*Producer(square), 0) : kNoValue;
  } else if (const auto factors = operands(square, "Mul"); factors.has_value() && factors->first == factors->second) {
    base = factors->first;
  }
  if (centred(base) != x) return Mismatch(id, expected);
  return SkipFlat(x);
}

// Takes a product apart into its numbers, multiplied, and the rest.
void Matcher::Factors(ValueId id, double& scale, std::vector<ValueId>& factors) const {
  std::vector<ValueId> pending{id};
  for (std::size_t steps = 0; !pending.empty() && steps < kChainStepsMax; ++steps) {
    const ValueId next = SkipCasts(pending.back());
    pending.pop_back();
    const OnnxNode* node = Producer(next);
    ValueId rest = kNoValue;
    const auto step = node != nullptr ? ScaleStep(*node, rest) : std::nullopt;
    if (step.has_value()) {
      scale *= *step;
      pending.push_back(rest);
    } else if (node != nullptr && node->op_type == "Mul") {
      pending.push_back(graph_.Input(*node, 0));
      pending.push_back(graph_.Input(*node, 1));
    } else {
      factors.push_back(next);
    }
  }
}

// x · ½ · (1 + erf(x / √2)), multiplied in any order; returns x.
Result<ValueId> Matcher::MatchGelu(ValueId id) const {
  id = SkipFlat(id);
  const char* const expected = "GELU by erf, x * 0.5 * (1 + erf(x / sqrt(2)))";
  if (IsMadeBy(id, "Gelu")) {
    const OnnxAttribute* approximate = Producer(id)->Attribute("approximate");
    if (approximate != nullptr && approximate->s != "none" && !approximate->s.empty()) {
      return Mismatch(id, "GELU by erf, not approximated by " + std::string(approximate->s.substr(0, 32)));
    }
    return SkipFlat(graph_.Input(*Producer(id), 0));
  }
  double scale = 1;
  std::vector<ValueId> factors;
  Factors(id, scale, factors);
  if (factors.size() != 2 || !IsNear(scale, 0.5, 1e-6)) return Mismatch(id, expected);
  for (const bool swapped : {false, true}) {
    const ValueId x = factors[swapped ? 1 : 0];
    const ValueId gate = factors[swapped ? 0 : 1];
    const auto sum = IsMadeBy(gate, "Add") ? SplitOperands(*Producer(gate)) : std::nullopt;
    if (!sum.has_value() || Scalar(sum->other) != 1.0) continue;
    const ValueId erf = SkipCasts(sum->activation);
    if (!IsMadeBy(erf, "Erf")) continue;
    double inner_scale = 1;
    std::vector<ValueId> inner;
    Factors(graph_.Input(*Producer(erf), 0), inner_scale, inner);
    if (inner.size() == 1 && IsSame(inner[0], x) && IsNear(inner_scale, std::sqrt(0.5), 1e-5)) return SkipFlat(x);
  }
  return Mismatch(id, expected);
}

Result<Chain> Matcher::MatchChain(ValueId id) const {
  Chain chain;
  chain.source = SkipCasts(id);
  for (std::size_t steps = 0; steps < kChainStepsMax; ++steps) {
    const OnnxNode* node = Producer(chain.source);
    if (node == nullptr) break;
    ValueId rest = kNoValue;
    if (IsLayout(node->op_type)) {
      chain.layout_nodes.push_back(node);
      rest = graph_.Input(*node, 0);
    } else if (const auto step = ScaleStep(*node, rest)) {
      chain.scale *= *step;
    } else {
      break;
    }
    chain.source = SkipCasts(rest);
  }
  std::reverse(chain.layout_nodes.begin(), chain.layout_nodes.end());
  return chain;
}

// Runs the chain on numbers that say where each element came from. `is_split`: from [batch, word, head·d] to
// [batch, head, word, d], or with `is_transposed` to [batch, head, d, word]; else from heads back to rows.
Status Matcher::CheckChain(const Chain& chain, ValueId end, bool is_split, bool is_transposed,
                           std::int64_t head_count) const {
  ProbeTensor moved{ProbeKind::kFloat, value(chain.source).shape, {}};
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t count, ShapeElementCount(moved.shape, kProbeElementsMax));
  for (std::size_t i = 0; i < count; ++i) moved.values.push_back(static_cast<double>(i));
  for (const OnnxNode* node : chain.layout_nodes) {
    const ValueId second = graph_.Input(*node, 1);
    const ProbeTensor* inputs[] = {
        &moved, second != kNoValue && value(second).probe.has_value() ? &*value(second).probe : nullptr};
    FORESHORE_ASSIGN_OR_RETURN(ProbeTensor next,
                               EvaluateProbe(*node, std::span(inputs).first(node->inputs.size() > 1 ? 2 : 1)));
    moved = std::move(next);
  }
  const std::int64_t depth = hidden_ / head_count;
  const auto bad = [&] { return Mismatch(end, is_split ? "heads cut in order" : "heads joined in order"); };
  if (count != static_cast<std::size_t>(batch_ * sequence_ * hidden_)) return bad();
  for (std::int64_t b = 0; b < batch_; ++b) {
    for (std::int64_t h = 0; h < head_count; ++h) {
      for (std::int64_t w = 0; w < sequence_; ++w) {
        for (std::int64_t k = 0; k < depth; ++k) {
          const std::int64_t row_place = (b * sequence_ + w) * hidden_ + h * depth + k;
          const std::int64_t head_place = is_transposed ? ((b * head_count + h) * depth + k) * sequence_ + w
                                                        : ((b * head_count + h) * sequence_ + w) * depth + k;
          const std::int64_t place = is_split ? head_place : row_place;
          const std::int64_t source = is_split ? row_place : head_place;
          if (moved.values[static_cast<std::size_t>(place)] != static_cast<double>(source)) return bad();
        }
      }
    }
  }
  return Status::Ok();
}

// Whether `forbids`, [batch, head, query, key], is 1 exactly where that input is 0 at the key.
bool Matcher::ForbidsLikeInput(const ProbeTensor& forbids, std::size_t input_index) const {
  const ProbeTensor pattern = ProbePattern(graph_.batch(), input_index);
  const std::size_t per_batch = forbids.values.size() / static_cast<std::size_t>(batch_);
  for (std::size_t i = 0; i < forbids.values.size(); ++i) {
    const std::size_t key = i % static_cast<std::size_t>(sequence_);
    const double kept = pattern.values[i / per_batch * static_cast<std::size_t>(sequence_) + key];
    if ((forbids.values[i] != 0) != (kept == 0)) return false;
  }
  return true;
}

// An addend of the scores: nothing for words that the mask keeps, far below zero for the others.
Status Matcher::CheckMask(ValueId node_value, const ProbeTensor& added, double scale, const Shape& shape) {
  FORESHORE_ASSIGN_OR_RETURN(ProbeTensor forbids, BroadcastTo(added, shape));
  for (double& element : forbids.values) {
    const double effect = element * scale;
    if (std::abs(effect) <= 1e-6) {
      element = 0;
    } else if (effect <= kMaskedScoreMax) {
      element = 1;
    } else {
      return Mismatch(node_value, "scores with nothing added but the padding mask");
    }
  }
  for (std::size_t i = 0; i < graph_.inputs().size(); ++i) {
    if (mask_input_.has_value() && *mask_input_ != i) continue;
    if (!ForbidsLikeInput(forbids, i)) continue;
    mask_input_ = i;
    return Status::Ok();
  }
  return Mismatch(node_value, "a mask over the padding words alone");
}

// Where(keep, scores, low) or Where(forbid, low, scores).
Status Matcher::CheckMaskedFill(const OnnxNode& node, double scale, const Shape& shape, ValueId& rest) {
  const ValueId out = graph_.Find(node.outputs[0]);
  const ValueId condition = graph_.Input(node, 0);
  const ValueId first = graph_.Input(node, 1);
  const ValueId second = graph_.Input(node, 2);
  const bool keeps_first = first != kNoValue && value(first).is_activation();
  const ValueId low = keeps_first ? second : first;
  rest = keeps_first ? first : second;
  const auto fill = Scalar(low);
  if (condition == kNoValue || !value(condition).probe.has_value() || !fill.has_value() || value(rest).shape != shape) {
    return Mismatch(out, "scores with the padding words masked");
  }
  ProbeTensor added = *value(condition).probe;
  for (double& element : added.values) element = (element != 0) == keeps_first ? 0 : *fill;
  return CheckMask(out, added, scale, shape);
}

// From the attention's probabilities back to the product of queries and keys; `scale` is what the scores are
// multiplied by on the way.
Result<ValueId> Matcher::MatchScores(ValueId id, std::int64_t head_count, double& scale) {
  id = SkipCasts(id);
  // Rows in which everything is masked, made zero: such rows are padding.
  if (IsMadeBy(id, "Where")) {
    const OnnxNode& node = *Producer(id);
    const ValueId condition = graph_.Input(node, 0);
    const ValueId kept = graph_.Input(node, 2);
    const bool is_guard = IsMadeBy(condition, "IsNaN") && graph_.Input(*Producer(condition), 0) == kept &&
                          Scalar(graph_.Input(node, 1)) == 0.0;
    if (!is_guard) return Mismatch(id, "attention probabilities");
    id = SkipCasts(kept);
  }
  if (!IsMadeBy(id, "Softmax")) return Mismatch(id, "softmax");
  const OnnxNode& softmax = *Producer(id);
  const auto rank = static_cast<std::int64_t>(value(id).shape.size());
  const std::int64_t axis = softmax.IntAttribute("axis", graph_.model().opset_version() < 13 ? 1 : -1);
  if (axis != -1 && axis != rank - 1) return Mismatch(id, "softmax over the last dimension");
  const std::size_t score_count = static_cast<std::size_t>(batch_ * head_count * sequence_ * sequence_);
  id = graph_.Input(softmax, 0);
  int mask_count = 0;
  for (std::size_t steps = 0; steps < kChainStepsMax; ++steps) {
    id = SkipCasts(id);
    const OnnxNode* node = Producer(id);
    if (node == nullptr) break;
    const Shape& shape = value(id).shape;
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t count, ShapeElementCount(shape, kProbeElementsMax));
    if (count != score_count || shape.size() < 3 || shape.back() != sequence_) return Mismatch(id, "attention scores");
    ValueId rest = kNoValue;
    if (const auto step = ScaleStep(*node, rest)) {
      scale *= *step;
    } else if (node->op_type == "Add" && SplitOperands(*node).has_value()) {
      const Pair pair = *SplitOperands(*node);
      if (!value(pair.other).probe.has_value() || value(pair.activation).shape != shape) {
        return Mismatch(id, "scores with nothing added but the padding mask");
      }
      FORESHORE_RETURN_IF_ERROR(CheckMask(id, *value(pair.other).probe, scale, shape));
      ++mask_count;
      rest = pair.activation;
    } else if (node->op_type == "Where") {
      FORESHORE_RETURN_IF_ERROR(CheckMaskedFill(*node, scale, shape, rest));
      ++mask_count;
    } else if (IsLayout(node->op_type) && node->op_type != "Transpose") {
      rest = graph_.Input(*node, 0);
    } else {
      break;
    }
    id = rest;
  }
  if (!IsMadeBy(id, "MatMul")) return Mismatch(id, "the product of queries and keys");
  if (mask_count == 0) is_unmasked_ = true;
  return id;
}

// From the rows of joined heads back to the three linear layers.
Result<Attention> Matcher::MatchAttention(ValueId context) {
  FORESHORE_ASSIGN_OR_RETURN(const Chain join, MatchChain(context));
  if (!IsMadeBy(join.source, "MatMul")) return Mismatch(join.source, "the product of attention and values");
  const OnnxNode& mixed = *Producer(join.source);
  const ValueId probabilities = graph_.Input(mixed, 0);
  const ValueId values = graph_.Input(mixed, 1);
  // [batch, head, word, d] or [batch·head, word, d].
  const Shape& shape = value(join.source).shape;
  std::int64_t head_count = 0;
  if (shape.size() == 4 && shape[0] == batch_) head_count = shape[1];
  if (shape.size() == 3 && shape[0] % batch_ == 0) head_count = shape[0] / batch_;
  if (head_count < 1 || hidden_ % head_count != 0 || shape.back() != hidden_ / head_count ||
      shape[shape.size() - 2] != sequence_) {
    return Mismatch(join.source,
                    "heads of " + std::to_string(hidden_) + "/heads numbers a word, not " + ShapeText(shape));
  }
  FORESHORE_RETURN_IF_ERROR(CheckChain(join, context, false, false, head_count));
  double scale = 1;
  FORESHORE_ASSIGN_OR_RETURN(const ValueId scores, MatchScores(probabilities, head_count, scale));
  FORESHORE_ASSIGN_OR_RETURN(const Chain query, MatchChain(graph_.Input(*Producer(scores), 0)));
  FORESHORE_ASSIGN_OR_RETURN(const Chain key, MatchChain(graph_.Input(*Producer(scores), 1)));
  FORESHORE_ASSIGN_OR_RETURN(const Chain value_chain, MatchChain(values));
  FORESHORE_RETURN_IF_ERROR(CheckChain(query, graph_.Input(*Producer(scores), 0), true, false, head_count));
  FORESHORE_RETURN_IF_ERROR(CheckChain(key, graph_.Input(*Producer(scores), 1), true, true, head_count));
  FORESHORE_RETURN_IF_ERROR(CheckChain(value_chain, values, true, false, head_count));
  scale *= query.scale * key.scale;
  const double expected = 1 / std::sqrt(static_cast<double>(hidden_) / static_cast<double>(head_count));
  if (!IsNear(scale, expected, 1e-4) || !IsNear(value_chain.scale * join.scale, 1, 1e-6)) {
    return Mismatch(scores, "scores scaled by " + std::to_string(expected) + ", found " + std::to_string(scale));
  }
  Attention attention;
  attention.head_count = head_count;
  FORESHORE_ASSIGN_OR_RETURN(attention.query, MatchLinear(query.source));
  FORESHORE_ASSIGN_OR_RETURN(attention.key, MatchLinear(key.source));
  FORESHORE_ASSIGN_OR_RETURN(attention.value, MatchLinear(value_chain.source));
  return attention;
}

Status Matcher::CheckHidden(ValueId id, const Linear& linear, std::int64_t in, std::int64_t out) const {
  const Shape& shape = value(linear.weight).shape;
  const Shape expected = linear.is_in_out ? Shape{in, out} : Shape{out, in};
  if (shape == expected) return Status::Ok();
  return Mismatch(id, "a matrix " + ShapeText(expected) + ", not " + ShapeText(shape));
}

void Matcher::AddLinear(std::size_t depth, const std::string& part, const Linear& linear) {
  found_.push_back({depth, part + ".weight", linear.weight, linear.is_in_out});
  found_.push_back({depth, part + ".bias", linear.bias, false});
}

Status Matcher::AddNorm(std::size_t depth, const std::string& part, const Norm& norm) {
  for (const ValueId id : {norm.gamma, norm.beta}) {
    if (!value(id).constant || value(id).shape != Shape{hidden_}) {
      return Mismatch(id, "one number per hidden dimension for layer normalisation");
    }
  }
  if (epsilon_.has_value() && !IsNear(norm.epsilon, *epsilon_, 1e-3)) {
    return Mismatch(norm.input, "the same epsilon in every layer normalisation");
  }
  epsilon_ = norm.epsilon;
  found_.push_back({depth, part + ".gamma", norm.gamma, false});
  found_.push_back({depth, part + ".beta", norm.beta, false});
  return Status::Ok();
}

// One encoder layer, from its output back to its input:
//   a = norm(x + attention(x)); output = norm(a + down(gelu(up(a))))
Status Matcher::MatchLayer(ValueId output, std::size_t depth, ValueId& input) {
  FORESHORE_ASSIGN_OR_RETURN(const Norm norm, MatchNorm(output));
  FORESHORE_RETURN_IF_ERROR(AddNorm(depth, "norm", norm));
  // The residual sum has a linear layer on one side, and what that layer was computed from on the other.
  const auto split_residual = [&](ValueId sum, Linear& linear, ValueId& residual) -> Status {
    if (!IsMadeBy(sum, "Add")) return Mismatch(sum, "a residual sum");
    const ValueId operands[] = {graph_.Input(*Producer(sum), 0), graph_.Input(*Producer(sum), 1)};
    if (value(operands[0]).shape != value(operands[1]).shape) return Mismatch(sum, "a residual sum of equal shapes");
    Status first_failure;
    for (const int side : {0, 1}) {
      Result<Linear> match = MatchLinear(operands[side]);
      if (match.ok()) {
        linear = *match;
        residual = SkipFlat(operands[1 - side]);
        return Status::Ok();
      }
      if (first_failure.ok()) first_failure = match.status();
    }
    return first_failure;
  };
  Linear down;
  ValueId middle = kNoValue;
  FORESHORE_RETURN_IF_ERROR(split_residual(norm.input, down, middle));
  FORESHORE_ASSIGN_OR_RETURN(const ValueId before_gelu, MatchGelu(down.input));
  FORESHORE_ASSIGN_OR_RETURN(const Linear up, MatchLinear(before_gelu));
  if (!IsSame(up.input, middle)) return Mismatch(up.input, "the same value as in the residual sum");
  if (intermediate_ == 0) intermediate_ = value(up.bias).shape[0];
  FORESHORE_RETURN_IF_ERROR(CheckHidden(before_gelu, up, hidden_, intermediate_));
  FORESHORE_RETURN_IF_ERROR(CheckHidden(norm.input, down, intermediate_, hidden_));
  AddLinear(depth, "up", up);
  AddLinear(depth, "down", down);

  FORESHORE_ASSIGN_OR_RETURN(const Norm attention_norm, MatchNorm(middle));
  FORESHORE_RETURN_IF_ERROR(AddNorm(depth, "attention.norm", attention_norm));
  Linear dense;
  FORESHORE_RETURN_IF_ERROR(split_residual(attention_norm.input, dense, input));
  FORESHORE_RETURN_IF_ERROR(CheckHidden(attention_norm.input, dense, hidden_, hidden_));
  AddLinear(depth, "output", dense);
  FORESHORE_ASSIGN_OR_RETURN(const Attention attention, MatchAttention(dense.input));
  if (head_count_ == 0) head_count_ = attention.head_count;
  if (head_count_ != attention.head_count) return Mismatch(dense.input, "as many heads in every layer");
  const std::pair<const char*, const Linear*> parts[] = {
      {"query", &attention.query}, {"key", &attention.key}, {"value", &attention.value}};
  for (const auto& [part, linear] : parts) {
    if (!IsSame(linear->input, input)) return Mismatch(linear->input, "the same value as in the residual sum");
    FORESHORE_RETURN_IF_ERROR(CheckHidden(linear->input, *linear, hidden_, hidden_));
    AddLinear(depth, part, *linear);
  }
  return Status::Ok();
}

// A sum of looked-up rows: words, positions 0, 1, 2 …, and perhaps segments.
Status Matcher::MatchEmbeddings(ValueId id) {
  std::vector<ValueId> pending{id};
  struct Table {
    ValueId weight;
    std::int64_t row_count;
    std::size_t input_index;
  };
  std::vector<Table> by_input;
  ValueId positions = kNoValue;
  ValueId first_type_only = kNoValue;
  for (std::size_t steps = 0; !pending.empty(); ++steps) {
    if (steps > kChainStepsMax) return Mismatch(id, "a sum of three embeddings");
    const ValueId next = SkipFlat(pending.back());
    pending.pop_back();
    const OnnxNode* node = Producer(next);
    if (node != nullptr && node->op_type == "Add") {
      pending.push_back(graph_.Input(*node, 0));
      pending.push_back(graph_.Input(*node, 1));
      continue;
    }
    if (node == nullptr || node->op_type != "Gather") return Mismatch(next, "an embedding");
    const ValueId weight = graph_.Input(*node, 0);
    const ValueId indices = graph_.Input(*node, 1);
    if (value(weight).shape != Shape{value(weight).shape[0], hidden_} || !value(indices).probe.has_value()) {
      return Mismatch(next, "an embedding of the hidden size");
    }
    FORESHORE_ASSIGN_OR_RETURN(const ProbeTensor rows, BroadcastTo(*value(indices).probe, Shape{batch_, sequence_}));
    bool counts_up = true;
    bool is_zero = true;
    for (std::size_t i = 0; i < rows.values.size(); ++i) {
      counts_up = counts_up && rows.values[i] == static_cast<double>(i % static_cast<std::size_t>(sequence_));
      is_zero = is_zero && rows.values[i] == 0;
    }
    std::optional<std::size_t> input_index;
    for (std::size_t i = 0; i < graph_.inputs().size(); ++i) {
      if (rows.values == ProbePattern(graph_.batch(), i).values) input_index = i;
    }
    if (counts_up && positions == kNoValue) {
      positions = weight;
    } else if (is_zero && first_type_only == kNoValue) {
      first_type_only = weight;
    } else if (input_index.has_value()) {
      by_input.push_back({weight, value(weight).shape[0], *input_index});
    } else {
      return Mismatch(next, "an embedding of words, segments or positions 0, 1, 2 …");
    }
  }
  // The words have the larger table.
  std::sort(by_input.begin(), by_input.end(), [](const Table& a, const Table& b) { return a.row_count > b.row_count; });
  if (by_input.size() == 2 && by_input[0].row_count == by_input[1].row_count) by_input.clear();
  const std::size_t type_count = (by_input.size() == 2 ? 1U : 0U) + (first_type_only != kNoValue ? 1U : 0U);
  if (positions == kNoValue || by_input.empty() || by_input.size() > 2 || type_count > 1) {
    return Mismatch(id, "a sum of word and position embeddings, and perhaps one of segments");
  }
  vocabulary_ = by_input[0].row_count;
  positions_ = value(positions).shape[0];
  embeddings_.push_back({"embeddings.word", by_input[0].weight, false});
  embeddings_.push_back({"embeddings.position", positions, false});
  embedding_inputs_.insert(by_input[0].input_index);
  if (type_count == 1) {
    const ValueId weight = by_input.size() == 2 ? by_input[1].weight : first_type_only;
    if (by_input.size() == 2) embedding_inputs_.insert(by_input[1].input_index);
    embeddings_.push_back({"embeddings.type", weight, false});
    has_type_embedding_ = true;
    types_ = value(weight).shape[0];
  }
  return Status::Ok();
}

Status Matcher::FinishConfig() {
  if (mask_input_.has_value() && embedding_inputs_.contains(*mask_input_)) {
    return Status::Unsupported(graph_.file() +
                               ": the mask is one of the embeddings' inputs, expected an input of its own");
  }
  // A graph that has a mask input and leaves it out somewhere lets padding through.
  const std::size_t free_inputs = graph_.inputs().size() - embedding_inputs_.size();
  if (is_unmasked_ && (mask_input_.has_value() || free_inputs > 0)) {
    return Status::Unsupported(graph_.file() + ": attention without the padding mask, which the graph has as an input");
  }
  return Status::Ok();
}

Result<BertMatch> Matcher::Run() {
  ValueId at = SkipFlat(graph_.output());
  const Shape& shape = value(graph_.output()).shape;
  if (!value(at).is_activation() || shape.size() != 3 || shape[0] != batch_ || shape[1] != sequence_ || shape[2] < 1) {
    return Mismatch(graph_.output(), "hidden states of shape [batch, word, hidden] as its output");
  }
  hidden_ = shape[2];
  Norm embedding_norm;
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const Norm norm, MatchNorm(at));
    // The sum below the first normalisation is of looked-up rows, all others of a linear layer and its input.
    const OnnxNode* sum = Producer(norm.input);
    bool is_embedding = false;
    for (std::size_t i = 0; sum != nullptr && i < sum->inputs.size(); ++i) {
      is_embedding = is_embedding || IsMadeBy(SkipFlat(graph_.Input(*sum, i)), "Gather");
    }
    if (is_embedding) {
      embedding_norm = norm;
      break;
    }
    if (layer_count_ == kLayersMax) return Mismatch(at, "at most " + std::to_string(kLayersMax) + " layers");
    FORESHORE_RETURN_IF_ERROR(MatchLayer(at, layer_count_, at));
    ++layer_count_;
  }
  FORESHORE_RETURN_IF_ERROR(MatchEmbeddings(embedding_norm.input));
  FORESHORE_RETURN_IF_ERROR(FinishConfig());
  const std::size_t layer_parts = found_.size();
  FORESHORE_RETURN_IF_ERROR(AddNorm(layer_count_, "embeddings.norm", embedding_norm));

  BertMatch match;
  match.has_type_embedding = has_type_embedding_;
  BertConfig& config = match.config;
  config.hidden_size = static_cast<std::uint32_t>(hidden_);
  config.layer_count = static_cast<std::uint32_t>(layer_count_);
  config.head_count = static_cast<std::uint32_t>(head_count_);
  config.intermediate_size = static_cast<std::uint32_t>(intermediate_);
  config.vocabulary_size = static_cast<std::uint32_t>(vocabulary_);
  config.position_count = static_cast<std::uint32_t>(positions_);
  config.type_count = static_cast<std::uint32_t>(types_);
  config.token_count_max = config.position_count;
  config.layer_norm_epsilon = static_cast<float>(*epsilon_);
  const Status valid = ValidateBertConfig(config);
  if (!valid.ok()) return valid.WithContext(graph_.file());
  match.weights = embeddings_;
  for (std::size_t i = 0; i < found_.size(); ++i) {
    const Found& found = found_[i];
    const std::string prefix = i < layer_parts ? "layer." + std::to_string(layer_count_ - 1 - found.depth) + "." : "";
    match.weights.push_back({prefix + found.part, found.value, found.transpose});
  }
  return match;
}

}  // namespace

Result<BertMatch> MatchBert(const OnnxGraph& graph) {
  return Matcher(graph).Run();
}

}  // namespace foreshore
