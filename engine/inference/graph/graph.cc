#include "engine/inference/graph/graph.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <unordered_set>
#include <utility>

#include "engine/inference/graph/aligned_bytes.h"
#include "engine/inference/graph/graph_optimiser.h"
#include "engine/inference/tensor.h"

namespace foreshore::graph {

namespace {

constexpr std::size_t kNamedMax = 16;
// A constant computed from others may be larger than they are by this factor, and is always computed below 64 KiB.
constexpr std::uint64_t kFoldGrowthMax = 4;
constexpr std::uint64_t kFoldBytesFree = 65'536;

std::string Quoted(std::string_view name) {
  return "\"" + std::string(name.substr(0, 128)) + "\"";
}

std::string UnsupportedReason(const OnnxNode& node, const Operator* op, std::int64_t opset) {
  if (!node.domain.empty()) return "domain " + std::string(node.domain.substr(0, 64));
  if (op == nullptr) return "operator not known";
  if (op->since > opset) return "operator of set " + std::to_string(op->since);
  for (const OnnxAttribute& attribute : node.attributes) {
    if (attribute.holds_graph && op->kind != OperatorKind::kControl) return "holds a graph";
    if (!op->KnowsAttribute(attribute.name)) return "attribute " + std::string(attribute.name.substr(0, 64));
  }
  if (node.outputs.size() > op->outputs_max) return std::to_string(node.outputs.size()) + " outputs";
  return "";
}

// What the nodes of a graph use and neither it nor they make: values of the graphs around it. Each once.
void CollectFreeNames(const OnnxGraphBody& body, std::vector<std::string_view>& names) {
  std::unordered_set<std::string_view> own;
  for (const OnnxTensor& tensor : body.initializers) own.insert(tensor.name);
  for (const OnnxValueInfo& input : body.inputs) own.insert(input.name);
  for (const OnnxNode& node : body.nodes) own.insert(node.outputs.begin(), node.outputs.end());
  std::vector<std::string_view> used;
  for (const OnnxNode& node : body.nodes) {
    used.insert(used.end(), node.inputs.begin(), node.inputs.end());
    for (const OnnxAttribute& attribute : node.attributes) {
      for (const OnnxGraphBody& inner : attribute.graphs) CollectFreeNames(inner, used);
    }
  }
  for (const OnnxValueInfo& output : body.outputs) used.push_back(output.name);
  for (const std::string_view name : used) {
    if (!name.empty() && own.insert(name).second) names.push_back(name);
  }
}

}  // namespace

Result<Graph> Graph::Build(std::string_view file, OnnxModel model, const GraphLimits& limits,
                           const VectorKernels* kernels, std::shared_ptr<ConstantStore> constants) {
  Graph graph;
  graph.constants_ = constants != nullptr ? std::move(constants) : std::make_shared<ConstantStore>();
  graph.kernels_ = kernels;
  graph.file_ = file;
  graph.opset_ = model.opset_version();
  graph.limits_ = limits;
  graph.model_ = std::move(model);
  if (graph.opset_ < kOpsetMin || graph.opset_ > kOpsetMax) {
    return Status::Unsupported(graph.file_ + ": operator set " + std::to_string(graph.opset_) + ", expected " +
                               std::to_string(kOpsetMin) + ".." + std::to_string(kOpsetMax));
  }
  FORESHORE_RETURN_IF_ERROR(graph.Declare(graph.model_, {}));
  std::string named;
  std::size_t count = 0;
  graph.CollectUnsupported(named, count);
  if (count > 0) {
    return Status::Unsupported(graph.file_ + ": " + std::to_string(count) + " nodes cannot run: " + named +
                               (count > kNamedMax ? ", …" : ""));
  }
  FORESHORE_RETURN_IF_ERROR(graph.CheckNodes());
  FORESHORE_RETURN_IF_ERROR(graph.FoldConstants());
  graph.GiveUpSpent();
  if (graph.constants_->is_packed()) {
    if (!graph.constants_->is_used_up()) {
      return Status::Corruption(graph.file_ + ": the packed graph has more blocks than building the graph takes");
    }
    graph.constant_bytes_ -= std::min(graph.constant_bytes_, graph.constants_->taken_bytes());
  }
  return graph;
}

Result<ValueIndex> Graph::Define(std::string_view name) {
  const auto index = static_cast<ValueIndex>(values_.size());
  if (name.empty()) return Status::Corruption(file_ + ": a value has no name");
  if (!ids_.emplace(name, index).second)
    return Status::Corruption(file_ + ": value " + Quoted(name) + " is made twice");
  values_.emplace_back().name = name;
  return index;
}

Status Graph::Declare(const OnnxGraphBody& body, const std::vector<std::string_view>& captured) {
  for (const OnnxTensor& tensor : body.initializers) {
    FORESHORE_ASSIGN_OR_RETURN(const ValueIndex index, Define(tensor.name));
    FORESHORE_RETURN_IF_ERROR(TakeInitializer(tensor, values_[index]));
  }
  for (const OnnxValueInfo& info : body.inputs) {
    // Up to IR version 3 initializers are listed as inputs too.
    const auto known = ids_.find(info.name);
    if (known != ids_.end() && values_[known->second].is_constant) continue;
    FORESHORE_ASSIGN_OR_RETURN(const ValueIndex index, Define(info.name));
    inputs_.push_back({info.name, index, info.type, info.has_shape, info.dims});
  }
  for (const std::string_view name : captured) {
    FORESHORE_ASSIGN_OR_RETURN(const ValueIndex index, Define(name));
    inputs_.push_back({name, index, OnnxType::kUndefined, false, {}, true});
  }
  for (const OnnxNode& node : body.nodes) {
    GraphStep& step = steps_.emplace_back();
    step.node = &node;
    step.op = node.domain.empty() ? FindOperator(node.op_type) : nullptr;
    for (const std::string_view output : node.outputs) {
      ValueIndex index = kNoValue;
      if (!output.empty()) {
        FORESHORE_ASSIGN_OR_RETURN(index, Define(output));
      }
      step.outputs.push_back(index);
    }
  }
  for (GraphStep& step : steps_) {
    for (const std::string_view input : step.node->inputs) {
      const auto known = ids_.find(input);
      if (!input.empty() && known == ids_.end()) {
        return Status::Corruption(file_ + ": " + Describe(*step.node) + ": input " + Quoted(input) +
                                  " is made by no node");
      }
      step.inputs.push_back(input.empty() ? kNoValue : known->second);
    }
    while (!step.inputs.empty() && step.inputs.back() == kNoValue) step.inputs.pop_back();
    step.node_input_count = step.inputs.size();
    FORESHORE_RETURN_IF_ERROR(DeclareBranches(step));
  }
  for (const OnnxValueInfo& info : body.outputs) {
    const auto known = ids_.find(info.name);
    if (known == ids_.end()) {
      return Status::Corruption(file_ + ": output " + Quoted(info.name) + " is made by no node");
    }
    outputs_.push_back({info.name, known->second, info.type, info.has_shape, info.dims});
  }
  if (outputs_.empty()) return Status::Corruption(file_ + ": the graph has no output");
  return Order();
}

// Reads the graphs inside a node. What they use of this one becomes an input of the step, so that it is there first.
Status Graph::DeclareBranches(GraphStep& step) {
  for (const OnnxAttribute& attribute : step.node->attributes) {
    for (const OnnxGraphBody& body : attribute.graphs) {
      std::vector<std::string_view> names;
      CollectFreeNames(body, names);
      GraphBranch branch{attribute.name, std::unique_ptr<Graph>(new Graph()), {}};
      for (const std::string_view name : names) {
        const auto known = ids_.find(name);
        if (known == ids_.end()) {
          return Status::Corruption(file_ + ": " + Describe(*step.node) + ": value " + Quoted(name) +
                                    " of its graph is made by no node");
        }
        branch.captured.push_back(known->second);
        step.inputs.push_back(known->second);
      }
      branch.graph->file_ = file_;
      branch.graph->constants_ = constants_;
      branch.graph->opset_ = opset_;
      branch.graph->kernels_ = kernels_;
      branch.graph->limits_.memory_bytes_max = limits_.memory_bytes_max - constant_bytes_;
      FORESHORE_RETURN_IF_ERROR(branch.graph->Declare(body, names));
      // What a loop carries may change its shape, whatever its graph declares.
      for (GraphPort& port : branch.graph->inputs_) {
        port.has_shape = false;
        port.is_captured = port.is_captured || port.type == OnnxType::kUndefined;
      }
      constant_bytes_ += branch.graph->constant_bytes_;
      step.branches.push_back(std::move(branch));
    }
  }
  return Status::Ok();
}

Status Graph::TakeInitializer(const OnnxTensor& tensor, GraphValue& value) {
  if (!Contains(kAllTypes, tensor.type)) {
    // Named together with the nodes that cannot run, before anyone looks at its data.
    unsupported_.push_back(&tensor);
    value.is_constant = true;
    return Status::Ok();
  }
  TensorInfo info{tensor.type, Shape(tensor.dims.begin(), tensor.dims.end())};
  const Bytes bytes = tensor.bytes();
  // Kernels read whole elements: what does not lie as they need it is copied.
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % OnnxTypeBytes(tensor.type) == 0 && !bytes.empty()) {
    value.info = std::move(info);
    value.data = reinterpret_cast<const std::byte*>(bytes.data());
    value.is_constant = true;
    return Status::Ok();
  }
  const auto room = Keep(tensor.name, std::move(info), value);
  if (!room.ok()) return room.status().WithContext(file_ + ": initializer " + Quoted(tensor.name));
  if (*room != nullptr && !bytes.empty()) std::memcpy(*room, bytes.data(), bytes.size());
  return Status::Ok();
}

Result<std::byte*> Graph::Keep(std::string_view what, TensorInfo info, GraphValue& value) {
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t size_bytes,
                             ByteCount(info, limits_.memory_bytes_max - constant_bytes_));
  FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block block, constants_->Take(what, size_bytes));
  constant_bytes_ += size_bytes;
  value.info = std::move(info);
  value.data = block.data;
  value.is_constant = true;
  return block.room;
}

// Keeps the steps that lead to an output, each after those that make its inputs. What is left over is a cycle.
Status Graph::Order() {
  std::vector<std::size_t> maker(values_.size(), steps_.size());
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    for (const ValueIndex output : steps_[i].outputs) {
      if (output != kNoValue) maker[output] = i;
    }
  }
  std::vector<bool> is_needed(steps_.size(), false);
  std::vector<ValueIndex> open;
  for (const GraphPort& output : outputs_) open.push_back(output.value);
  while (!open.empty()) {
    const std::size_t i = maker[open.back()];
    open.pop_back();
    if (i == steps_.size() || is_needed[i]) continue;
    is_needed[i] = true;
    for (const ValueIndex input : steps_[i].inputs) {
      if (input != kNoValue) open.push_back(input);
    }
  }
  // Each use of a value that another step makes is waited for once.
  std::vector<std::size_t> waits(steps_.size(), 0);
  std::vector<std::vector<std::size_t>> users(steps_.size());
  std::deque<std::size_t> ready;
  std::size_t needed_count = 0;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (!is_needed[i]) continue;
    ++needed_count;
    for (const ValueIndex input : steps_[i].inputs) {
      if (input == kNoValue || maker[input] == steps_.size()) continue;
      users[maker[input]].push_back(i);
      ++waits[i];
    }
    if (waits[i] == 0) ready.push_back(i);
  }
  std::vector<GraphStep> ordered;
  while (!ready.empty()) {
    const std::size_t i = ready.front();
    ready.pop_front();
    for (const std::size_t user : users[i]) {
      if (--waits[user] == 0) ready.push_back(user);
    }
    ordered.push_back(std::move(steps_[i]));
  }
  if (ordered.size() != needed_count) {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (is_needed[i] && waits[i] > 0) {
        return Status::Corruption(file_ + ": " + Describe(*steps_[i].node) + " waits for itself in a cycle");
      }
    }
  }
  steps_ = std::move(ordered);
  return Status::Ok();
}

void Graph::CollectUnsupported(std::string& named, std::size_t& count) const {
  for (const OnnxTensor* tensor : unsupported_) {
    if (++count <= kNamedMax) {
      named +=
          (named.empty() ? "" : ", ") + ("initializer " + Quoted(tensor->name)) + ": holds " + TypeName(tensor->type);
    }
  }
  for (const GraphStep& step : steps_) {
    const std::string reason = UnsupportedReason(*step.node, step.op, opset_);
    if (!reason.empty() && ++count <= kNamedMax) {
      named += (named.empty() ? "" : ", ") + Describe(*step.node) + ": " + reason;
    }
    for (const GraphBranch& branch : step.branches) branch.graph->CollectUnsupported(named, count);
  }
}

Status Graph::CheckNodes() const {
  for (const GraphStep& step : steps_) {
    const std::string where = file_ + ": " + Describe(*step.node) + ": ";
    if (step.node_input_count > step.op->inputs_max || step.node_input_count < step.op->inputs_min) {
      return Status::Corruption(where + std::to_string(step.node_input_count) + " inputs, expected " +
                                std::to_string(step.op->inputs_min) + ".." + std::to_string(step.op->inputs_max));
    }
    if (step.op->kind == OperatorKind::kControl) {
      FORESHORE_RETURN_IF_ERROR(CheckControl(step));
      for (const GraphBranch& branch : step.branches) FORESHORE_RETURN_IF_ERROR(branch.graph->CheckNodes());
      continue;
    }
    if (step.outputs[0] == kNoValue && !step.op->runs_without_first)
      return Status::Corruption(where + "its first output has no name");
    for (std::size_t i = 0; i < step.op->inputs_min; ++i) {
      if (step.inputs[i] == kNoValue) return Status::Corruption(where + "input " + std::to_string(i) + " is missing");
    }
  }
  return Status::Ok();
}

// If takes two graphs without inputs, one output each for each of its own. Loop's graph takes the iteration, the
// condition and what is carried from one to the next, and makes the condition, what is carried, and slices of the rest.
Status Graph::CheckControl(const GraphStep& step) const {
  const std::string where = file_ + ": " + Describe(*step.node) + ": ";
  const bool is_if = step.op->name == "If";
  if (step.branches.size() != (is_if ? 2 : 1) || (is_if && step.branches[0].attribute == step.branches[1].attribute)) {
    return Status::Corruption(where + std::to_string(step.branches.size()) + " graphs, expected " +
                              (is_if ? "then_branch and else_branch" : "body"));
  }
  const std::size_t carried = is_if ? 0 : std::max<std::size_t>(step.node->inputs.size(), 2) - 2;
  for (const GraphBranch& branch : step.branches) {
    const std::size_t inputs = branch.graph->inputs_.size() - branch.captured.size();
    const std::size_t inputs_wanted = is_if ? 0 : carried + 2;
    const std::size_t outputs_wanted = step.outputs.size() + (is_if ? 0 : 1);
    if (inputs != inputs_wanted || branch.graph->outputs_.size() != outputs_wanted || step.outputs.size() < carried) {
      return Status::Corruption(where + std::string(branch.attribute.substr(0, 64)) + " has " + std::to_string(inputs) +
                                " inputs and " + std::to_string(branch.graph->outputs_.size()) + " outputs, expected " +
                                std::to_string(inputs_wanted) + " and " + std::to_string(outputs_wanted));
    }
  }
  return Status::Ok();
}

Result<Infos> Graph::Infer(const GraphStep& step, std::span<const TensorRef> inputs) const {
  Infos infos;
  const Status status = step.op->infer({.node = *step.node, .opset = opset_, .inputs = inputs}, infos);
  if (!status.ok()) return status.WithContext(file_ + ": " + Describe(*step.node));
  infos.resize(step.outputs.size());
  for (std::size_t i = 0; i < infos.size(); ++i) {
    if (step.outputs[i] == kNoValue) infos[i] = {OnnxType::kBool, {0}};  // Takes no memory.
  }
  for (const TensorInfo& info : infos) {
    const auto size = ByteCount(info, limits_.memory_bytes_max);
    if (!size.ok()) return size.status().WithContext(file_ + ": " + Describe(*step.node));
  }
  return infos;
}

std::uint64_t Graph::WorkspaceBytes(const GraphStep& step, std::span<const TensorRef> inputs) const {
  const NodeContext context{.node = *step.node, .opset = opset_, .inputs = inputs};
  if (step.kernel && step.kernel->Fits(context)) return step.kernel->WorkspaceBytes(context);
  return step.op->workspace != nullptr ? step.op->workspace(context) : 0;
}

Status Graph::Run(const GraphStep& step, std::span<const TensorRef> inputs, std::span<const OutputRef> outputs,
                  std::byte* workspace, Cancellation* cancellation) const {
  AlignedBytes own;
  if (workspace == nullptr) {
    FORESHORE_ASSIGN_OR_RETURN(own, AlignedBytes::Make(WorkspaceBytes(step, inputs)));
    workspace = own.data();
  }
  const NodeContext context{.node = *step.node,
                            .opset = opset_,
                            .inputs = inputs,
                            .kernels = kernels_,
                            .cancellation = cancellation,
                            .workspace = workspace};
  const Status status = step.kernel && step.kernel->Fits(context) ? step.kernel->Run(context, outputs, workspace)
                                                                  : step.op->run(context, outputs);
  return status.ok() ? status : status.WithContext(file_ + ": " + Describe(*step.node));
}

void Graph::Spend(ValueIndex value) {
  // What several steps of the file use may have been read to decide something.
  if (value == kNoValue || (value < use_counts_.size() && use_counts_[value] > 1)) return;
  if (values_[value].is_constant && values_[value].data != nullptr) spent_.push_back(value);
}

void Graph::CollectSpent(std::unordered_set<const std::byte*>& spent,
                         std::unordered_set<const std::byte*>& read) const {
  for (const ValueIndex value : spent_) spent.insert(values_[value].data);
  for (const GraphStep& step : steps_) {
    for (std::size_t i = 0; i < step.inputs.size(); ++i) {
      const bool is_read = step.inputs[i] != kNoValue && (step.kernel == nullptr || !step.kernel->Holds(i));
      if (is_read) read.insert(values_[step.inputs[i]].data);
    }
    for (const GraphBranch& branch : step.branches) branch.graph->CollectSpent(spent, read);
  }
  for (const GraphPort& output : outputs_) read.insert(values_[output.value].data);
}

void Graph::ForgetSpent(const std::unordered_set<const std::byte*>& spent) {
  for (GraphValue& value : values_) {
    if (value.is_constant && spent.contains(value.data)) value.data = nullptr;
  }
  for (GraphStep& step : steps_) {
    for (const GraphBranch& branch : step.branches) branch.graph->ForgetSpent(spent);
  }
  spent_.clear();
  use_counts_.clear();
}

void Graph::GiveUpSpent() {
  std::unordered_set<const std::byte*> spent;
  std::unordered_set<const std::byte*> read;
  CollectSpent(spent, read);
  std::erase_if(spent, [&](const std::byte* data) { return read.contains(data); });
  const std::uint64_t given_up_bytes = constants_->GiveUp(spent);
  constant_bytes_ -= std::min(constant_bytes_, given_up_bytes);
  ForgetSpent(spent);
}

Status Graph::FoldConstants() {
  use_counts_.assign(values_.size(), 0);
  for (const GraphStep& step : steps_) {
    for (const ValueIndex input : step.inputs) {
      if (input != kNoValue) ++use_counts_[input];
    }
  }
  for (const GraphPort& output : outputs_) ++use_counts_[output.value];
  std::vector<GraphStep> rest;
  for (GraphStep& step : steps_) {
    bool is_folded = false;
    if (step.op->kind == OperatorKind::kControl) {
      FORESHORE_RETURN_IF_ERROR(BindBranches(step));
    } else if (kernels_ == nullptr || step.op->name != "DequantizeLinear") {
      FORESHORE_RETURN_IF_ERROR(Fold(step, is_folded));
    }
    if (!is_folded) rest.push_back(std::move(step));
  }
  steps_ = std::move(rest);
  if (kernels_ == nullptr) return Status::Ok();
  FORESHORE_RETURN_IF_ERROR(GraphOptimiser(*this).FuseCodes());
  // What was quantized and did not become part of a step over codes is a constant like any other.
  rest.clear();
  for (GraphStep& step : steps_) {
    bool is_folded = false;
    if (step.op->name == "DequantizeLinear") FORESHORE_RETURN_IF_ERROR(Fold(step, is_folded));
    if (!is_folded) rest.push_back(std::move(step));
  }
  steps_ = std::move(rest);
  return GraphOptimiser(*this).Run();
}

// What is constant here is constant in the graphs of the step too, and no input of theirs.
Status Graph::BindBranches(GraphStep& step) {
  for (GraphBranch& branch : step.branches) {
    Graph& inner = *branch.graph;
    const std::size_t own_count = inner.inputs_.size() - branch.captured.size();
    std::vector<GraphPort> ports(inner.inputs_.begin(), inner.inputs_.begin() + static_cast<std::ptrdiff_t>(own_count));
    std::vector<ValueIndex> captured;
    for (std::size_t i = 0; i < branch.captured.size(); ++i) {
      const GraphPort& port = inner.inputs_[own_count + i];
      const GraphValue& value = values_[branch.captured[i]];
      if (value.is_constant) {
        inner.values_[port.value] = {inner.values_[port.value].name, true, value.info, value.data};
      } else {
        ports.push_back(port);
        captured.push_back(branch.captured[i]);
      }
    }
    inner.inputs_ = std::move(ports);
    branch.captured = std::move(captured);
    const std::uint64_t before = inner.constant_bytes_;
    inner.limits_.memory_bytes_max = limits_.memory_bytes_max - constant_bytes_ + before;
    FORESHORE_RETURN_IF_ERROR(inner.FoldConstants());
    constant_bytes_ += inner.constant_bytes_ - before;
    fusions_.Add(inner.fusions_);
  }
  return Status::Ok();
}

// Computes the step where all that it needs is constant and the result is not much larger than its inputs.
Status Graph::Fold(const GraphStep& step, bool& is_folded) {
  std::vector<TensorRef> refs;
  std::uint64_t input_bytes = 0;
  for (const ValueIndex input : step.inputs) {
    TensorRef& ref = refs.emplace_back();
    if (input == kNoValue) continue;
    const GraphValue& value = values_[input];
    if (!value.is_constant) return Status::Ok();
    ref = {&value.info, value.data};
    input_bytes += static_cast<std::uint64_t>(ref.count()) * OnnxTypeBytes(value.info.type);
  }
  if (step.op->kind == OperatorKind::kHeavy) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const Infos infos, Infer(step, refs));
  std::uint64_t output_bytes = 0;
  for (const TensorInfo& info : infos) {
    output_bytes += static_cast<std::uint64_t>(ElementCount(info.shape)) * OnnxTypeBytes(info.type);
  }
  // A Constant node has no inputs, and is as large as the file says.
  const bool is_small = step.inputs.empty() || output_bytes <= input_bytes * kFoldGrowthMax + kFoldBytesFree;
  if (!is_small || output_bytes + WorkspaceBytes(step, refs) > limits_.memory_bytes_max - constant_bytes_) {
    return Status::Ok();
  }
  std::vector<OutputRef> outputs;
  bool is_made = true;
  for (std::size_t i = 0; i < infos.size(); ++i) {
    OutputRef& output = outputs.emplace_back();  // Nobody asks for one without a name.
    if (step.outputs[i] == kNoValue) continue;
    GraphValue& value = values_[step.outputs[i]];
    FORESHORE_ASSIGN_OR_RETURN(std::byte* const room, Keep(value.name, infos[i], value));
    output = {&infos[i], room};
    is_made = is_made && room == nullptr;
  }
  is_folded = true;
  // A DequantizeLinear is folded after its codes were looked at.
  if (kernels_ != nullptr && step.op->name != "DequantizeLinear") {
    for (const ValueIndex input : step.inputs) Spend(input);
  }
  return is_made ? Status::Ok() : Run(step, refs, outputs);
}

}  // namespace foreshore::graph
