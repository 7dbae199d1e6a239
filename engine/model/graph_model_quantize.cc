// ModelRegistry::QuantizeGraph: calibrate, judge on held-out samples, activate what is good enough.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "engine/inference/graph/graph_quantize.h"
#include "engine/model/graph_model.h"
#include "engine/model/model_manifest.h"
#include "engine/model/model_registry.h"
#include "engine/model/model_row.h"

namespace foreshore {
namespace {

// One side of the comparison: its first output, and the time that it took.
class Side {
 public:
  explicit Side(const graph::Graph& graph) : executor_(graph) {}

  Status Run(std::span<const graph::TensorRef> inputs) {
    const auto start = std::chrono::steady_clock::now();
    FORESHORE_ASSIGN_OR_RETURN(outputs_, executor_.Run(inputs));
    const std::chrono::duration<double, std::micro> elapsed = std::chrono::steady_clock::now() - start;
    us_ += elapsed.count();
    if (outputs_[0].info.type != OnnxType::kFloat) {
      return Status::Unsupported("its first output is " + graph::ToText(outputs_[0].info) + ", expected floats");
    }
    return Status::Ok();
  }
  std::span<const float> values() const {
    return {outputs_[0].ref().as<float>(), static_cast<std::size_t>(outputs_[0].ref().count())};
  }
  std::size_t width() const {
    return outputs_[0].info.shape.empty() ? 1 : static_cast<std::size_t>(outputs_[0].info.shape.back());
  }
  double us() const { return us_; }

 private:
  graph::GraphExecutor executor_;
  std::vector<graph::OwnedTensor> outputs_;
  double us_ = 0;
};

struct Comparison {
  std::size_t row_count = 0;
  std::size_t same_count = 0;
  double cosine_sum = 0;
  double least_cosine = 1;
  // Of all numbers, for outputs of one number, whose cosines say no more than their signs.
  double number_count = 0;
  double sum = 0;
  double square_sum = 0;
  double gap_square_sum = 0;

  // 1 less the error's part of the variance, at least 0.
  double Determination() const {
    const double variance = square_sum - sum * sum / number_count;
    if (gap_square_sum == 0) return 1;
    return variance > 0 ? std::max(0.0, 1 - gap_square_sum / variance) : 0;
  }

  // Cosines that all zeros leave open are 1 where both are.
  void Add(const Side& original, const Side& quantized) {
    const auto a = original.values();
    const auto b = quantized.values();
    double product = 0;
    double left = 0;
    double right = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      product += static_cast<double>(a[i]) * static_cast<double>(b[i]);
      left += static_cast<double>(a[i]) * static_cast<double>(a[i]);
      right += static_cast<double>(b[i]) * static_cast<double>(b[i]);
      const double gap = static_cast<double>(a[i]) - static_cast<double>(b[i]);
      gap_square_sum += gap * gap;
      sum += static_cast<double>(a[i]);
    }
    number_count += static_cast<double>(a.size());
    square_sum += left;
    const double cosine = left == 0 && right == 0 ? 1 : product / std::sqrt(std::max(left * right, 1e-300));
    cosine_sum += cosine;
    least_cosine = std::min(least_cosine, cosine);
    const std::size_t width = original.width();
    for (std::size_t i = 0; width > 1 && i + width <= a.size(); i += width) {
      const auto greatest = [&](std::span<const float> values) {
        return std::max_element(values.begin() + static_cast<std::ptrdiff_t>(i),
                                values.begin() + static_cast<std::ptrdiff_t>(i + width)) -
               values.begin();
      };
      ++row_count;
      if (greatest(a) == greatest(b)) ++same_count;
    }
  }
};

// Calls body(refs) with what the model reads of the sample.
template <typename Body>
Status WithInputs(const GraphModel& model, const Result<std::string>& sample, Body body) {
  if (!sample.ok()) return sample.status();
  FORESHORE_ASSIGN_OR_RETURN(const auto inputs, model.ReadInputs(*sample));
  std::vector<graph::TensorRef> refs;
  for (const graph::OwnedTensor& each : inputs) refs.push_back(each.ref());
  return body(refs);
}

// The quantized graph beside the original, on the first `count` samples.
Status Judge(const GraphModel& original, const graph::Graph& quantized, const ModelRegistry::SampleSource& sample,
             std::size_t count, ModelQuantizeReport& report) {
  Side before(original.graph());
  Side after(quantized);
  Comparison comparison;
  const auto compare = [&](const auto& refs) -> Status {
    FORESHORE_RETURN_IF_ERROR(before.Run(refs));
    FORESHORE_RETURN_IF_ERROR(after.Run(refs));
    if (before.values().size() != after.values().size()) {
      return Status::Unsupported(quantized.file() +
                                 ": makes as much as its input's values say, expected shapes to say it");
    }
    comparison.Add(before, after);
    return Status::Ok();
  };
  for (std::size_t i = 0; i < count; ++i) FORESHORE_RETURN_IF_ERROR(WithInputs(original, sample(i), compare));
  const auto judged = static_cast<double>(count);
  report.held_out_count = count;
  report.original_us = before.us() / judged;
  report.quantized_us = after.us() / judged;
  report.mean_cosine = comparison.cosine_sum / judged;
  report.min_cosine = comparison.least_cosine;
  report.top_one_agreement =
      comparison.row_count > 0 ? static_cast<double>(comparison.same_count) / static_cast<double>(comparison.row_count)
                               : comparison.Determination();
  return Status::Ok();
}

}  // namespace

Result<ModelQuantizeReport> ModelRegistry::QuantizeGraph(const std::string& name, const std::string& as,
                                                         const ModelQuantizeOptions& options,
                                                         const SampleSource& sample, std::size_t sample_count,
                                                         std::size_t held_out_count) {
  const std::string where = "model \"" + name + "\"";
  FORESHORE_RETURN_IF_ERROR(ValidateModelName("model", as));
  if (options.method != Quantization::kInt8) {
    return Status::Unsupported(where + ": is a general graph, which is quantized to int8 alone");
  }
  FORESHORE_ASSIGN_OR_RETURN(const ModelInfo original, Get(name));
  if (original.quantization != "none") {
    return Status::InvalidArgument(where + ": is " + original.quantization + ", expected none to make int8 of");
  }
  if (held_out_count < kHeldOutCountMin || held_out_count >= sample_count) {
    return Status::InvalidArgument(where + ": found " + std::to_string(sample_count) + " inputs, " +
                                   std::to_string(held_out_count) + " of them to judge by, expected at least " +
                                   std::to_string(kHeldOutCountMin) + " and one to calibrate on");
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto loaded, LoadNumbers(name));
  const auto running = std::dynamic_pointer_cast<GraphModel>(loaded);
  if (!running)
    return Status::Unsupported(where + ": is run by the application, expected a general graph with weights");
  FORESHORE_ASSIGN_OR_RETURN(const ModelManifest manifest, ManifestOf(original));
  FORESHORE_ASSIGN_OR_RETURN(const auto file, blobs_.Open(manifest.graph));
  FORESHORE_ASSIGN_OR_RETURN(const auto quantizer, graph::GraphQuantizer::Make(where, file->bytes()));
  const auto observe = [&](const auto& refs) { return quantizer->Observe(refs); };
  for (std::size_t i = held_out_count; i < sample_count; ++i) {
    FORESHORE_RETURN_IF_ERROR(WithInputs(*running, sample(i), observe));
  }
  FORESHORE_ASSIGN_OR_RETURN(const ByteString bytes, quantizer->Write());
  FORESHORE_ASSIGN_OR_RETURN(OnnxModel onnx, ReadOnnx(where, bytes));
  ModelQuantizeReport report;
  report.model = original;
  report.model.name = as;
  report.model.quantization = "int8";
  report.model.version.clear();
  report.model.tensor_count = onnx.initializers.size();
  for (const OnnxTensor& tensor : onnx.initializers) report.quantized_bytes += tensor.bytes().size();
  report.model.tensor_bytes = report.quantized_bytes;
  report.original_bytes = original.tensor_bytes;
  report.calibration_count = quantizer->observed_count();
  FORESHORE_ASSIGN_OR_RETURN(const graph::Graph quantized, graph::Graph::Build(where, std::move(onnx)));
  FORESHORE_RETURN_IF_ERROR(Judge(*running, quantized, sample, held_out_count, report));
  if (!(report.top_one_agreement >= options.overlap_min)) {
    char figures[160];
    std::snprintf(figures, sizeof figures, "agrees on %.4f of %zu held-out documents, expected at least %.4f",
                  report.top_one_agreement, held_out_count, options.overlap_min);
    report.refusal = "model \"" + as + "\": " + figures + "; it was not activated";
    return report;
  }
  const BlobHold hold = blobs_.Hold();  // Until the row refers to what is written here.
  ModelManifest made;
  made.architecture = "graph";
  made.quantization = "int8";
  FORESHORE_ASSIGN_OR_RETURN(made.graph, blobs_.Put(bytes));
  FORESHORE_RETURN_IF_ERROR(Activate(made, report.model));
  report.is_activated = true;
  return report;
}

}  // namespace foreshore
