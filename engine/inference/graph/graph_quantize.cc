#include "engine/inference/graph/graph_quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/inference/graph/graph_executor.h"
#include "engine/inference/graph/graph_optimiser.h"
#include "engine/inference/graph/graph_quantize_writer.h"
#include "engine/inference/graph/onnx_file.h"

namespace foreshore::graph {

namespace {

constexpr std::int64_t kOpsetOfDynamicCodes = 11;  // Brought DynamicQuantizeLinear.
constexpr std::int64_t kOpsetOfCodes = 10;         // Brought QLinearConv, QuantizeLinear and DequantizeLinear.

}  // namespace

Result<std::unique_ptr<GraphQuantizer>> GraphQuantizer::Make(const std::string& name, Bytes file) {
  FORESHORE_ASSIGN_OR_RETURN(OnnxModel model, ReadOnnx(name, file));
  if (model.opset_version() < kOpsetOfCodes) {
    return Status::Unsupported(name + ": of operator set " + std::to_string(model.opset_version()) +
                               ", expected 10 or later to quantize it");
  }
  FORESHORE_ASSIGN_OR_RETURN(Graph graph, Graph::Build(name, std::move(model), {}, nullptr));
  FORESHORE_RETURN_IF_ERROR(GraphOptimiser(graph).FoldConvs());
  std::unique_ptr<GraphQuantizer> quantizer(new GraphQuantizer(std::move(graph)));
  std::size_t convolutions = 0;
  std::size_t products = 0;
  for (const GraphStep& step : quantizer->folded_.steps()) {
    if (!step.branches.empty()) {
      return Status::Unsupported(name + ": " + Describe(*step.node) + ": holds graphs, expected a graph without");
    }
    if (quantizer->IsQuantizable(step)) ++convolutions;
    if (quantizer->IsProduct(step)) ++products;
  }
  if (convolutions + products == 0) {
    return Status::Unsupported(name +
                               ": has no convolution over two axes and no product with constant weights, expected one "
                               "to quantize");
  }
  if (convolutions > 0) FORESHORE_RETURN_IF_ERROR(quantizer->MakeProbe());
  return quantizer;
}

bool GraphQuantizer::IsQuantizable(const GraphStep& step) const {
  if (step.op->name != "Conv") return false;
  const GraphValue& weights = folded_.values()[step.inputs[1]];
  const bool has_bias = step.inputs.size() > 2 && step.inputs[2] != kNoValue;
  if (!weights.is_constant || weights.info.type != OnnxType::kFloat || weights.info.shape.size() != 4 ||
      ElementCount(weights.info.shape) == 0) {
    return false;
  }
  if (!has_bias) return true;
  const GraphValue& bias = folded_.values()[step.inputs[2]];
  return bias.is_constant && bias.info.type == OnnxType::kFloat && bias.info.shape == Shape{weights.info.shape[0]};
}

bool GraphQuantizer::IsProduct(const GraphStep& step) const {
  const bool is_gemm = step.op->name == "Gemm";
  if ((!is_gemm && step.op->name != "MatMul") || folded_.opset() < kOpsetOfDynamicCodes) return false;
  const auto& values = folded_.values();
  const GraphValue& weights = values[step.inputs[1]];
  if (values[step.inputs[0]].is_constant || !weights.is_constant || weights.info.type != OnnxType::kFloat ||
      weights.info.shape.size() != 2 || ElementCount(weights.info.shape) == 0) {
    return false;
  }
  if (!is_gemm) return true;
  const OnnxNode& node = *step.node;
  const bool is_plain = node.IntAttribute("transA", 0) == 0 && node.FloatAttribute("alpha", 1) == 1 &&
                        node.FloatAttribute("beta", 1) == 1;
  if (!is_plain || step.inputs.size() < 3 || step.inputs[2] == kNoValue) return is_plain;
  const GraphValue& bias = values[step.inputs[2]];
  const std::int64_t columns = weights.info.shape[node.IntAttribute("transB", 0) != 0 ? 0 : 1];
  return bias.is_constant && bias.info.shape == Shape{columns};
}

// What convolutions take and make, and what lies between them, is at hand in every call.
Status GraphQuantizer::MakeProbe() {
  OnnxFile file;
  QuantizedWriter(*this, file).WritePlain();
  for (const GraphPort& input : folded_.inputs()) {
    if (input.type == OnnxType::kFloat) probed_.push_back(input.value);
  }
  for (const GraphStep& step : folded_.steps()) {
    for (const ValueIndex output : step.outputs) {
      if (output != kNoValue) probed_.push_back(output);
    }
  }
  for (const ValueIndex value : probed_) file.AddOutput(NameOf(value), OnnxType::kFloat, false, {});
  probe_file_ = file.Finish(folded_.opset());
  FORESHORE_ASSIGN_OR_RETURN(OnnxModel model, ReadOnnx(folded_.file(), probe_file_));
  FORESHORE_ASSIGN_OR_RETURN(Graph probe, Graph::Build(folded_.file(), std::move(model)));
  probe_ = std::make_unique<Graph>(std::move(probe));
  ranges_.resize(folded_.values().size());
  return Status::Ok();
}

Status GraphQuantizer::Observe(std::span<const TensorRef> inputs) {
  if (probe_ == nullptr) {
    ++observed_count_;
    return Status::Ok();
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto outputs, GraphExecutor(*probe_).Run(inputs));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].info.type != OnnxType::kFloat) continue;
    ValueRange& range = ranges_[probed_[i]];
    const auto* values = outputs[i].ref().as<float>();
    for (std::int64_t k = 0; k < outputs[i].ref().count(); ++k) {
      if (!std::isfinite(values[k])) {
        return Status::InvalidArgument(folded_.file() + ": value \"" +
                                       std::string(folded_.values()[probed_[i]].name.substr(0, 128)) +
                                       "\" is no finite number on a sample");
      }
      range.low = std::min(range.low, values[k]);
      range.high = std::max(range.high, values[k]);
    }
  }
  ++observed_count_;
  return Status::Ok();
}

Result<ByteString> GraphQuantizer::Write() const {
  if (observed_count_ == 0) {
    return Status::InvalidArgument(folded_.file() + ": quantizing without a sample, expected at least one");
  }
  OnnxFile file;
  QuantizedWriter(*this, file).WriteQuantized();
  return file.Finish(folded_.opset());
}

}  // namespace foreshore::graph
