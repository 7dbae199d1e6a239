#include "engine/inference/onnx_bert_import.h"

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/inference/float_tensor.h"
#include "engine/inference/onnx_bert_match.h"
#include "engine/inference/onnx_graph.h"
#include "engine/inference/onnx_reader.h"
#include "engine/inference/onnx_weights.h"

namespace foreshore {

namespace {

constexpr std::int64_t kOpsetMin = 11;
constexpr std::int64_t kOpsetMax = 23;
constexpr std::size_t kOutputsTriedMax = 8;
constexpr std::size_t kInputsMax = 8;

// Token ids, types and mask come as [batch, sequence] of integers, both sizes open. A fixed batch is no obstacle.
Status CheckInputs(const std::string& file, const OnnxGraph& graph, const OnnxModel& model) {
  std::string problems;
  for (const OnnxValueInfo& info : model.inputs) {
    const ValueId id = graph.Find(info.name);
    if (id == kNoValue || graph.value(id).initializer != nullptr || !graph.value(id).visited) continue;
    const bool is_integer = info.type == OnnxType::kInt64 || info.type == OnnxType::kInt32;
    const bool fits = is_integer && (!info.has_shape || (info.dims.size() == 2 && info.dims[1] < 1));
    if (fits) continue;
    problems += (problems.empty() ? "" : ", ") + std::string(info.name.substr(0, 128));
  }
  // More could not all be told apart by their patterns.
  if (graph.inputs().size() > kInputsMax) {
    return Status::Unsupported(file + ": " + std::to_string(graph.inputs().size()) + " inputs, expected at most " +
                               std::to_string(kInputsMax));
  }
  if (problems.empty()) return Status::Ok();
  return Status::Unsupported(file + ": inputs " + problems +
                             ", expected integers of shape [batch, sequence] with an open sequence length");
}

// A fixed batch size is kept, since the graph may count on it.
std::int64_t BatchSize(const OnnxModel& model, std::int64_t preferred) {
  for (const OnnxValueInfo& info : model.inputs) {
    if (info.has_shape && info.dims.size() == 2 && info.dims[0] >= 1 && info.dims[0] <= 16) return info.dims[0];
  }
  return preferred;
}

// Two batches of different sizes must give one answer: a size that is a coincidence in one is none in the other.
Result<std::pair<OnnxGraph, BertMatch>> MatchOutput(const std::string& file, const OnnxModel& model,
                                                    std::string_view output) {
  const ProbeBatch first_batch{BatchSize(model, 3), 7};
  const ProbeBatch second_batch{BatchSize(model, 2), 10};
  FORESHORE_ASSIGN_OR_RETURN(OnnxGraph graph, OnnxGraph::Walk(file, model, output, first_batch));
  FORESHORE_RETURN_IF_ERROR(CheckInputs(file, graph, model));
  FORESHORE_ASSIGN_OR_RETURN(BertMatch match, MatchBert(graph));
  FORESHORE_ASSIGN_OR_RETURN(const OnnxGraph second_graph, OnnxGraph::Walk(file, model, output, second_batch));
  FORESHORE_ASSIGN_OR_RETURN(const BertMatch second_match, MatchBert(second_graph));
  if (match.config != second_match.config || match.weights != second_match.weights) {
    return Status::Unsupported(file + ": the graph's structure depends on the batch's size");
  }
  return std::pair(std::move(graph), std::move(match));
}

// Outputs of three dimensions come first: hidden states before anything pooled.
std::vector<std::string_view> OutputsToTry(const OnnxModel& model) {
  std::vector<std::string_view> outputs;
  for (const bool wants_three : {true, false}) {
    for (const OnnxValueInfo& info : model.outputs) {
      if (wants_three == (info.has_shape && info.dims.size() == 3)) outputs.push_back(info.name);
    }
  }
  if (outputs.size() > kOutputsTriedMax) outputs.resize(kOutputsTriedMax);
  return outputs;
}

std::vector<float> Transposed(const std::vector<float>& values, std::size_t rows, std::size_t columns) {
  std::vector<float> result(values.size());
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < columns; ++column) {
      result[column * rows + row] = values[row * columns + column];
    }
  }
  return result;
}

Result<BertModel> TakeWeights(const std::string& file, const OnnxGraph& graph, const BertMatch& match,
                              std::size_t file_bytes) {
  std::unordered_map<std::string_view, const BertWeightRef*> refs;
  for (const BertWeightRef& ref : match.weights) refs.emplace(ref.name, &ref);
  BertModel model{match.config, {}};
  for (const TensorView& row : BertTensorTable(match.config, false)) {
    if (row.name == "embeddings.type" && !match.has_type_embedding) {
      const std::vector<float> zeros(match.config.hidden_size, 0.0F);
      model.tensors.push_back(MakeF32Tensor(row.name, row.shape, zeros));
      continue;
    }
    const auto ref = refs.find(row.name);
    if (ref == refs.end()) return Status::Internal(file + ": no place found for \"" + row.name + "\"");
    Result<std::vector<float>> values = FoldWeight(graph, ref->second->value, file_bytes);
    if (!values.ok()) return values.status().WithContext(file + ": weight \"" + row.name + "\"");
    if (ref->second->transpose) *values = Transposed(*values, row.shape[1], row.shape[0]);
    model.tensors.push_back(MakeF32Tensor(row.name, row.shape, *values));
  }
  const Status finite = CheckFinite(model.tensors);
  if (!finite.ok()) return finite.WithContext(file);
  return model;
}

}  // namespace

Result<OnnxBert> ImportOnnxBert(std::string_view name, Bytes bytes) {
  const std::string file(name);
  FORESHORE_ASSIGN_OR_RETURN(const OnnxModel model, ReadOnnx(file, bytes));
  const std::int64_t opset = model.opset_version();
  if (opset < kOpsetMin || opset > kOpsetMax) {
    return Status::Unsupported(file + ": operator set " + std::to_string(opset) + ", expected " +
                               std::to_string(kOpsetMin) + ".." + std::to_string(kOpsetMax));
  }
  const std::vector<std::string_view> outputs = OutputsToTry(model);
  if (outputs.empty()) return Status::Corruption(file + ": the graph has no output");
  Status first_failure;
  for (const std::string_view output : outputs) {
    auto matched = MatchOutput(file, model, output);
    if (!matched.ok()) {
      if (first_failure.ok()) first_failure = matched.status();
      continue;
    }
    FORESHORE_ASSIGN_OR_RETURN(BertModel bert, TakeWeights(file, matched->first, matched->second, bytes.size()));
    std::vector<TensorView> views;
    for (const Tensor& tensor : bert.tensors) views.push_back(tensor.view());
    const Status valid = ValidateBertTensors(bert.config, false, views);
    if (!valid.ok()) return valid.WithContext(file);
    return OnnxBert{std::move(bert), ProvenanceOf(model.metadata)};
  }
  return first_failure;
}

}  // namespace foreshore
