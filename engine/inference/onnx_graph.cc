#include "engine/inference/onnx_graph.h"

#include <algorithm>
#include <map>
#include <utility>

namespace foreshore {

namespace {

using Shape = std::vector<std::int64_t>;

// Constants up to this size are computed on the walk; larger ones are weights, folded when they are asked for.
constexpr std::size_t kSmallConstantElementsMax = 65'536;
// All the elements that one walk may touch: a real model's bookkeeping needs some 100,000.
constexpr std::size_t kWalkElementsMax = 64ULL << 20;
constexpr std::size_t kActivationElementsMax = 1ULL << 40;
constexpr std::size_t kNodesNamedMax = 4;

// Operators that an activation may pass on the way.
constexpr std::string_view kActivationOperators[] = {
    "Add",     "Cast", "Div",     "Dropout",    "Erf",       "Flatten",
    "Gather",  "Gelu", "Gemm",    "Identity",   "IsNaN",     "LayerNormalization",
    "MatMul",  "Mul",  "Pow",     "ReduceMean", "Reshape",   "Shape",
    "Softmax", "Sqrt", "Squeeze", "Sub",        "Transpose", "Unsqueeze",
    "Where"};
// Operators that only make weights of stored constants.
constexpr std::string_view kWeightOperators[] = {"DequantizeLinear"};

template <std::size_t N>
bool IsIn(const std::string_view (&list)[N], std::string_view op) {
  return std::find(std::begin(list), std::end(list), op) != std::end(list);
}

bool IsElementwise(std::string_view op) {
  return op == "Add" || op == "Sub" || op == "Mul" || op == "Div" || op == "Pow" || op == "Where";
}

bool KeepsShape(std::string_view op) {
  return op == "Cast" || op == "Dropout" || op == "Erf" || op == "Gelu" || op == "Identity" || op == "IsNaN" ||
         op == "LayerNormalization" || op == "Softmax" || op == "Sqrt" || op == "DequantizeLinear";
}

bool IsLayout(std::string_view op) {
  return op == "Reshape" || op == "Transpose" || op == "Squeeze" || op == "Unsqueeze" || op == "Flatten";
}

Shape ShapeOfTensor(const OnnxTensor& tensor) {
  Shape shape;
  for (const std::uint64_t dim : tensor.dims) shape.push_back(static_cast<std::int64_t>(dim));
  return shape;
}

}  // namespace

// Row r of input i holds the bits of a number that differs for each (i, r), and is neither 0 nor all ones.
ProbeTensor ProbePattern(const ProbeBatch& batch, std::size_t input_index) {
  ProbeTensor result{ProbeKind::kInteger, {batch.batch, batch.sequence}, {}};
  for (std::int64_t row = 0; row < batch.batch; ++row) {
    const std::uint64_t bits = 0x25U + 0x12U * input_index + 0x0BU * static_cast<std::uint64_t>(row);
    for (std::int64_t column = 0; column < batch.sequence; ++column) {
      const bool is_edge = column == 0 || column + 1 == batch.sequence;
      const bool bit = is_edge ? (column == 0) != (row % 2 == 1) : ((bits >> (column - 1)) & 1) != 0;
      result.values.push_back(bit ? 1 : 0);
    }
  }
  return result;
}

std::string OnnxGraph::Describe(const OnnxNode& node) {
  std::string name(node.name.substr(0, 128));
  if (name.empty() && !node.outputs.empty()) name = "making " + std::string(node.outputs[0].substr(0, 128));
  return "node \"" + name + "\" (" + std::string(node.op_type.substr(0, 64)) + ")";
}

ValueId OnnxGraph::Find(std::string_view value_name) const {
  const auto entry = ids_.find(value_name);
  return entry == ids_.end() ? kNoValue : entry->second;
}

ValueId OnnxGraph::Input(const OnnxNode& node, std::size_t index) const {
  if (index >= node.inputs.size() || node.inputs[index].empty()) return kNoValue;
  return Find(node.inputs[index]);
}

Result<OnnxGraph> OnnxGraph::Walk(std::string_view name, const OnnxModel& model, std::string_view output,
                                  const ProbeBatch& batch) {
  OnnxGraph graph;
  graph.file_ = name;
  graph.model_ = &model;
  graph.batch_ = batch;
  graph.elements_left_ = kWalkElementsMax;
  FORESHORE_RETURN_IF_ERROR(graph.DeclareValues());
  FORESHORE_RETURN_IF_ERROR(graph.MarkWay(output));
  FORESHORE_RETURN_IF_ERROR(graph.CheckOperators());
  for (const OnnxNode& node : model.nodes) {
    const ValueId out = graph.Find(node.outputs[0]);
    if (!graph.values_[out].visited) continue;
    const Status status = graph.WalkNode(node);
    if (!status.ok()) return status.WithContext(graph.file_ + ": " + Describe(node));
  }
  return graph;
}

// Every value gets one id; nodes stand in an order in which each uses only what was made before it.
Status OnnxGraph::DeclareValues() {
  const auto declare = [this](std::string_view name) -> Result<ValueId> {
    const auto id = static_cast<ValueId>(values_.size());
    if (!ids_.emplace(name, id).second) {
      return Status::Corruption(file_ + ": value \"" + std::string(name.substr(0, 128)) + "\" is made twice");
    }
    values_.emplace_back().name = name;
    return id;
  };
  for (const OnnxTensor& tensor : model_->initializers) {
    FORESHORE_ASSIGN_OR_RETURN(const ValueId id, declare(tensor.name));
    GraphValue& value = values_[id];
    value.initializer = &tensor;
    value.constant = true;
    value.shape = ShapeOfTensor(tensor);
    // An embedding table or a weight matrix is no bookkeeping, however small the model.
    value.probe = ProbeFromOnnx(tensor, kSmallConstantElementsMax);
  }
  for (const OnnxValueInfo& info : model_->inputs) {
    // Old files list their initializers among the inputs.
    if (ids_.contains(info.name)) continue;
    FORESHORE_ASSIGN_OR_RETURN(const ValueId id, declare(info.name));
    GraphValue& value = values_[id];
    value.shape = {batch_.batch, batch_.sequence};
    value.probe = ProbePattern(batch_, inputs_.size());
    inputs_.push_back(id);
  }
  for (const OnnxNode& node : model_->nodes) {
    if (node.outputs.empty() || node.outputs[0].empty()) {
      return Status::Corruption(file_ + ": " + Describe(node) + " makes nothing");
    }
    for (const std::string_view input : node.inputs) {
      if (input.empty() || ids_.contains(input)) continue;
      return Status::Corruption(file_ + ": " + Describe(node) + " uses \"" + std::string(input.substr(0, 128)) +
                                "\", which nothing before it makes");
    }
    for (const std::string_view output : node.outputs) {
      if (output.empty()) continue;
      FORESHORE_ASSIGN_OR_RETURN(const ValueId id, declare(output));
      values_[id].producer = &node;
    }
  }
  return Status::Ok();
}

// Back from the output. A node's later outputs (LayerNormalization's mean, Dropout's mask) are not followed, so a use
// of one is refused here.
Status OnnxGraph::MarkWay(std::string_view output) {
  output_ = Find(output);
  if (output_ == kNoValue) {
    return Status::Corruption(file_ + ": output \"" + std::string(output.substr(0, 128)) + "\" is made by nothing");
  }
  std::vector<ValueId> pending{output_};
  values_[output_].visited = true;
  while (!pending.empty()) {
    const GraphValue& value = values_[pending.back()];
    pending.pop_back();
    if (value.producer == nullptr) continue;
    if (value.producer->outputs[0] != value.name) {
      return Status::Unsupported(file_ + ": " + Describe(*value.producer) + " is used for more than its first output");
    }
    for (std::size_t i = 0; i < value.producer->inputs.size(); ++i) {
      const ValueId input = Input(*value.producer, i);
      if (input == kNoValue || values_[input].visited) continue;
      values_[input].visited = true;
      pending.push_back(input);
    }
  }
  return Status::Ok();
}

// Names every operator that is not known, with some of its nodes.
Status OnnxGraph::CheckOperators() const {
  std::map<std::string, std::vector<std::string>> unknown;
  for (const OnnxNode& node : model_->nodes) {
    if (!values_[Find(node.outputs[0])].visited) continue;
    const std::string_view op = node.op_type;
    const bool known = IsProbeOperator(op) || IsIn(kActivationOperators, op) || IsIn(kWeightOperators, op);
    if (known && node.domain.empty()) continue;
    const std::string domain = node.domain.empty() ? "" : std::string(node.domain.substr(0, 64)) + ".";
    const std::string_view name = node.name.empty() ? node.outputs[0] : node.name;
    unknown[domain + std::string(op.substr(0, 64))].emplace_back(name.substr(0, 128));
  }
  if (unknown.empty()) return Status::Ok();
  std::string message = file_ + ": operators not supported:";
  std::size_t named_count = 0;
  for (const auto& [op, nodes] : unknown) {
    if (++named_count > 64) {
      message += "; and " + std::to_string(unknown.size() - 64) + " more";
      break;
    }
    message += (named_count == 1 ? " " : "; ") + op + " (";
    for (std::size_t i = 0; i < nodes.size() && i < kNodesNamedMax; ++i) message += (i > 0 ? ", " : "") + nodes[i];
    if (nodes.size() > kNodesNamedMax) message += " and " + std::to_string(nodes.size() - kNodesNamedMax) + " more";
    message += ")";
  }
  return Status::Unsupported(std::move(message));
}

Status OnnxGraph::Spend(std::size_t element_count) {
  if (element_count > elements_left_) {
    return Status::Limit("bookkeeping touches more than " + std::to_string(kWalkElementsMax) + " elements");
  }
  elements_left_ -= element_count;
  return Status::Ok();
}

Status OnnxGraph::WalkNode(const OnnxNode& node) {
  GraphValue& out = values_[Find(node.outputs[0])];
  bool all_constant = true;
  bool all_known = true;
  bool any_activation = false;
  std::vector<const ProbeTensor*> inputs;
  std::size_t element_count = 64;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId id = Input(node, i);
    if (id == kNoValue) {
      inputs.push_back(nullptr);
      continue;
    }
    const GraphValue& input = values_[id];
    all_constant = all_constant && input.constant;
    all_known = all_known && input.probe.has_value();
    any_activation = any_activation || input.is_activation();
    inputs.push_back(input.probe.has_value() ? &*input.probe : nullptr);
    if (input.probe.has_value()) element_count += input.probe->values.size();
  }
  out.constant = all_constant;
  if (node.op_type == "Constant") return WalkConstantNode(node, out);
  if (node.inputs.empty() || Input(node, 0) == kNoValue) return Status::Corruption("lacks its first input");
  if (node.op_type == "Shape") {
    const ProbeTensor shape_only{ProbeKind::kFloat, values_[Input(node, 0)].shape, {}};
    const ProbeTensor* const only_input[] = {&shape_only};
    FORESHORE_ASSIGN_OR_RETURN(out.probe, EvaluateProbe(node, only_input));
    out.shape = out.probe->shape;
    return Status::Ok();
  }
  // Looking rows of a float table up by computed numbers is an embedding: the table is a weight.
  const bool is_embedding = node.op_type == "Gather" && !all_constant && node.inputs.size() == 2 &&
                            values_[Input(node, 0)].constant && values_[Input(node, 0)].shape.size() == 2 &&
                            (inputs[0] == nullptr || inputs[0]->kind == ProbeKind::kFloat);
  if (any_activation || is_embedding) return WalkActivation(node, out);
  const bool is_weight = all_constant && (!all_known || node.op_type == "DequantizeLinear");
  if (is_weight) return WalkConstant(node, out);
  if (!all_known || !IsProbeOperator(node.op_type)) {
    return Status::Unsupported("mixes a large constant with computed values in a way that is not known");
  }
  FORESHORE_RETURN_IF_ERROR(Spend(element_count));
  FORESHORE_ASSIGN_OR_RETURN(ProbeTensor result, EvaluateProbe(node, inputs));
  FORESHORE_RETURN_IF_ERROR(Spend(result.values.size()));
  out.shape = result.shape;
  out.probe = std::move(result);
  return Status::Ok();
}

// A tensor in the node itself is one like those beside the graph.
Status OnnxGraph::WalkConstantNode(const OnnxNode& node, GraphValue& out) {
  const OnnxAttribute* attribute = node.Attribute("value");
  if (attribute != nullptr && attribute->tensors.size() == 1) {
    out.initializer = &attribute->tensors[0];
    out.shape = ShapeOfTensor(*out.initializer);
    out.probe = ProbeFromOnnx(*out.initializer, kSmallConstantElementsMax);
    return Status::Ok();
  }
  FORESHORE_ASSIGN_OR_RETURN(out.probe, EvaluateProbe(node, {}));
  out.shape = out.probe->shape;
  return Status::Ok();
}

// A weight made of stored constants: only its shape is needed now.
Status OnnxGraph::WalkConstant(const OnnxNode& node, GraphValue& out) {
  const bool can_fold = IsElementwise(node.op_type) || IsLayout(node.op_type) || KeepsShape(node.op_type);
  if (!can_fold) {
    return Status::Unsupported("makes a large constant in a way that is not known");
  }
  FORESHORE_ASSIGN_OR_RETURN(out.shape, ActivationShape(node));
  return ShapeElementCount(out.shape, kActivationElementsMax).status();
}

Status OnnxGraph::WalkActivation(const OnnxNode& node, GraphValue& out) {
  if (!IsIn(kActivationOperators, node.op_type))
    return Status::Unsupported("works on hidden states, which is not known");
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i].empty() && node.op_type != "Dropout") return Status::Unsupported("leaves an input out");
  }
  FORESHORE_ASSIGN_OR_RETURN(out.shape, ActivationShape(node));
  return ShapeElementCount(out.shape, kActivationElementsMax).status();
}

// The axes of a ReduceMean become 1 or vanish.
Result<Shape> OnnxGraph::ReducedShape(const OnnxNode& node) const {
  Shape shape = values_[Input(node, 0)].shape;
  std::vector<std::int64_t> axes;
  if (const ValueId id = Input(node, 1); id != kNoValue) {
    if (!values_[id].probe.has_value()) return Status::Unsupported("its axes are not known");
    for (const double axis : values_[id].probe->values) axes.push_back(static_cast<std::int64_t>(axis));
  } else if (const OnnxAttribute* attribute = node.Attribute("axes")) {
    axes = attribute->ints;
  }
  if (axes.size() != 1) return Status::Unsupported("reduces over other than one axis");
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(axes[0], shape.size()));
  if (node.IntAttribute("keepdims", 1) != 0) {
    shape[axis] = 1;
  } else {
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
  }
  return shape;
}

namespace {

Result<Shape> MatMulShape(const Shape& a, const Shape& b) {
  if (a.size() < 2 || b.size() < 2) return Status::Unsupported("multiplies vectors, expected matrices");
  if (a.back() != b[b.size() - 2]) {
    return Status::Corruption("multiplies rows of " + std::to_string(a.back()) + " with columns of " +
                              std::to_string(b[b.size() - 2]));
  }
  FORESHORE_ASSIGN_OR_RETURN(Shape shape,
                             BroadcastShape(std::span(a).first(a.size() - 2), std::span(b).first(b.size() - 2)));
  shape.push_back(a[a.size() - 2]);
  shape.push_back(b.back());
  return shape;
}

Result<Shape> GemmShape(const OnnxNode& node, const Shape& a, const Shape& b) {
  if (a.size() != 2 || b.size() != 2) return Status::Corruption("needs two matrices");
  const bool transposes_a = node.IntAttribute("transA", 0) != 0;
  const bool transposes_b = node.IntAttribute("transB", 0) != 0;
  if (a[transposes_a ? 0 : 1] != b[transposes_b ? 1 : 0]) return Status::Corruption("its matrices do not fit");
  return Shape{a[transposes_a ? 1 : 0], b[transposes_b ? 0 : 1]};
}

}  // namespace

Result<Shape> OnnxGraph::ActivationShape(const OnnxNode& node) const {
  const std::string_view op = node.op_type;
  const auto shape_of = [&](std::size_t index) -> const Shape& { return values_[Input(node, index)].shape; };
  if (KeepsShape(op)) return shape_of(0);
  if (op == "ReduceMean") return ReducedShape(node);
  if (IsLayout(op)) {
    const ValueId second = Input(node, 1);
    const bool has_second = second != kNoValue;
    if (has_second && !values_[second].probe.has_value()) return Status::Unsupported("its new shape is not known");
    return LayoutShape(node, shape_of(0), has_second ? &*values_[second].probe : nullptr);
  }
  for (std::size_t i = 0; i < std::max<std::size_t>(node.inputs.size(), 2); ++i) {
    if (Input(node, i) == kNoValue) return Status::Corruption("lacks input " + std::to_string(i));
  }
  if (op == "MatMul") return MatMulShape(shape_of(0), shape_of(1));
  if (op == "Gemm") return GemmShape(node, shape_of(0), shape_of(1));
  if (op == "Gather") {
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(node.IntAttribute("axis", 0), shape_of(0).size()));
    if (axis != 0 || shape_of(0).size() != 2 || !values_[Input(node, 0)].constant) {
      return Status::Unsupported("gathers other than rows of a table");
    }
    Shape shape = shape_of(1);
    shape.push_back(shape_of(0)[1]);
    return shape;
  }
  Shape shape = shape_of(0);
  for (std::size_t i = 1; i < node.inputs.size(); ++i) {
    FORESHORE_ASSIGN_OR_RETURN(shape, BroadcastShape(shape, shape_of(i)));
  }
  return shape;
}

}  // namespace foreshore
