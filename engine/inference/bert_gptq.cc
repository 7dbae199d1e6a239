#include "engine/inference/bert_gptq.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "engine/inference/bert_executor.h"
#include "engine/inference/bert_quantize.h"
#include "engine/inference/float_kernels.h"
#include "engine/inference/float_tensor.h"

namespace foreshore {
namespace {

// Hessians that are in memory together; layers beyond them wait for another pass over the texts.
constexpr std::size_t kHessianBytesMax = 256ULL << 20;
// Rows that are multiplied together: enough to amortise reading the Hessian, few enough for a second-level cache.
constexpr std::size_t kRowsPerGram = 128;

std::size_t RoundUp(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// The Hessians of some layers, from what those read.
class HessianCollector : public LinearObserver {
 public:
  HessianCollector(const BertConfig& config, std::size_t first_layer, std::size_t layer_count)
      : first_layer_(first_layer), kernels_(FloatKernelsFor(DetectCpuLevel())), inputs_(layer_count * kInputCount) {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      Input& input = inputs_[i];
      input.hessian.width = i % kInputCount == 3 ? config.intermediate_size : config.hidden_size;
      input.hessian.stride = RoundUp(input.hessian.width, 16);
      input.hessian.sums.resize(input.hessian.stride * input.hessian.stride);
      input.totals.resize(input.hessian.stride);
      input.pending.resize(kRowsPerGram * input.hessian.stride);
    }
  }

  void OnInput(std::size_t layer, BertLinear linear, const float* rows, std::size_t stride,
               std::size_t row_count) override {
    if (layer < first_layer_ || layer - first_layer_ >= inputs_.size() / kInputCount) return;
    Input& input = InputOf(layer, linear);
    for (std::size_t row = 0; row < row_count; ++row) {
      std::memcpy(input.pending.data() + input.pending_count * input.hessian.stride, rows + row * stride,
                  input.hessian.width * sizeof(float));
      if (++input.pending_count == kRowsPerGram) Flush(input);
    }
  }

  // Σ x, in doubles.
  const std::vector<double>& TotalsOf(std::size_t layer, BertLinear linear) { return InputOf(layer, linear).totals; }

  // Complete once every sequence has run.
  const Hessian& Finish(std::size_t layer, BertLinear linear) {
    Input& input = InputOf(layer, linear);
    if (input.pending_count > 0) Flush(input);
    Hessian& hessian = input.hessian;
    for (std::size_t i = 0; i < hessian.stride; ++i) {
      for (std::size_t j = 0; j < i; ++j) hessian.sums[i * hessian.stride + j] = hessian.sums[j * hessian.stride + i];
    }
    return hessian;
  }

 private:
  static constexpr std::size_t kInputCount = 4;  // Of a layer: qkv, output, up, down.
  struct Input {
    Hessian hessian;
    std::vector<double> totals;
    std::vector<float> pending;
    std::size_t pending_count = 0;
  };

  Input& InputOf(std::size_t layer, BertLinear linear) {
    const std::size_t index = linear < BertLinear::kOutput ? 0 : static_cast<std::size_t>(linear) - 2;
    return inputs_[(layer - first_layer_) * kInputCount + index];
  }
  void Flush(Input& input) {
    for (std::size_t row = 0; row < input.pending_count; ++row) {
      const float* values = input.pending.data() + row * input.hessian.stride;
      for (std::size_t i = 0; i < input.hessian.width; ++i) input.totals[i] += values[i];
    }
    kernels_.accumulate_gram(input.pending.data(), input.pending_count, input.hessian.stride,
                             input.hessian.sums.data());
    input.hessian.row_count += input.pending_count;
    input.pending_count = 0;
  }

  std::size_t first_layer_;
  const FloatKernels& kernels_;
  std::vector<Input> inputs_;
};

Status RunAll(const PackedBert& runs, const std::vector<std::vector<std::int32_t>>& sequences,
              LinearObserver& observer) {
  BertExecutor::Options options;
  options.observer = &observer;
  FORESHORE_ASSIGN_OR_RETURN(const auto executor, BertExecutor::Create(runs, options));
  constexpr std::size_t kSequencesPerCall = 64;
  std::vector<float> out(kSequencesPerCall * runs.config().hidden_size);
  for (std::size_t first = 0; first < sequences.size(); first += kSequencesPerCall) {
    const std::size_t count = std::min(kSequencesPerCall, sequences.size() - first);
    const std::vector<std::span<const std::int32_t>> spans(
        sequences.begin() + static_cast<std::ptrdiff_t>(first),
        sequences.begin() + static_cast<std::ptrdiff_t>(first + count));
    const Status status = executor->Embed(spans, std::span(out).first(count * runs.config().hidden_size));
    if (!status.ok()) return status.WithContext("calibration");
  }
  return Status::Ok();
}

// Σ (x − mean)(x − mean)ᵀ.
Hessian Centred(const Hessian& hessian, const std::vector<double>& totals) {
  Hessian centred = hessian;
  const double inverse = 1.0 / static_cast<double>(hessian.row_count);
  for (std::size_t i = 0; i < hessian.width; ++i) {
    float* row = centred.sums.data() + i * hessian.stride;
    for (std::size_t j = 0; j < hessian.width; ++j) row[j] -= static_cast<float>(totals[i] * totals[j] * inverse);
    row[i] = std::max(row[i], 0.0F);  // An input that never varies leaves a rounding error.
  }
  return centred;
}

// The bias that makes the mean output what it was.
Tensor CorrectedBias(const Tensor& bias, const std::vector<float>& weights, const GroupedWeights& quantized,
                     const std::vector<double>& totals, std::size_t token_count) {
  std::vector<float> values(bias.shape[0]);
  std::memcpy(values.data(), bias.bytes.data(), bias.bytes.size());
  const std::vector<float> codes = quantized.Dequantize();
  const std::size_t width = quantized.column_count;
  for (std::size_t row = 0; row < values.size(); ++row) {
    double error = 0;
    for (std::size_t i = 0; i < width; ++i) {
      error += static_cast<double>(weights[row * width + i] - codes[row * width + i]) * totals[i];
    }
    values[row] += static_cast<float>(error / static_cast<double>(token_count));
  }
  return MakeF32Tensor(bias.name, bias.shape, values);
}

std::size_t HessianBytesPerLayer(const BertConfig& config) {
  const std::size_t hidden = RoundUp(config.hidden_size, 16);
  const std::size_t intermediate = RoundUp(config.intermediate_size, 16);
  return (3 * hidden * hidden + intermediate * intermediate) * sizeof(float);
}

// "layer.3.up.weight": its layer and which of its linear layers; nothing for other tensors.
std::optional<std::pair<std::size_t, BertLinear>> LinearOf(const std::string& name) {
  if (!name.starts_with("layer.") || !name.ends_with(".weight")) return std::nullopt;
  const std::size_t layer = std::strtoul(name.c_str() + 6, nullptr, 10);
  for (std::size_t i = 0; i < kBertLinearCount; ++i) {
    const auto linear = static_cast<BertLinear>(i);
    if (name == "layer." + std::to_string(layer) + "." + BertLinearName(linear) + ".weight") return {{layer, linear}};
  }
  return std::nullopt;
}

}  // namespace

double GptqReport::ErrorRatio() const {
  double logarithms = 0;
  for (const Layer& layer : layers) {
    if (layer.nearest_error > 0 && layer.error > 0) logarithms += std::log(layer.error / layer.nearest_error);
  }
  return layers.empty() ? 1 : std::exp(logarithms / static_cast<double>(layers.size()));
}

Result<BertModel> QuantizeBertGptq(const BertModel& f32, const PackedBert& runs,
                                   const std::vector<std::vector<std::int32_t>>& sequences, const GptqOptions& options,
                                   GptqReport* report) {
  const BertConfig& config = f32.config;
  const WeightFormat format = WeightFormat::Gptq(options.bits, options.group_size);
  FORESHORE_RETURN_IF_ERROR(ValidateWeightFormat(format));
  std::size_t token_count = 0;
  for (const auto& sequence : sequences) token_count += sequence.size();
  const std::size_t token_count_min = std::max(config.hidden_size, config.intermediate_size);
  if (token_count < token_count_min) {
    return Status::InvalidArgument("GPTQ: calibration texts have " + std::to_string(token_count) +
                                   " tokens, expected at least " + std::to_string(token_count_min) +
                                   ", the inputs of the widest layer");
  }
  GptqReport made;
  made.token_count = token_count;
  std::unordered_map<std::string, std::vector<Tensor>> quantized;
  std::unordered_map<std::string, const Tensor*> by_name;
  for (const Tensor& tensor : f32.tensors) by_name.emplace(tensor.name, &tensor);
  const std::size_t layers_per_pass = std::max<std::size_t>(
      1, std::min<std::size_t>(config.layer_count, kHessianBytesMax / HessianBytesPerLayer(config)));
  for (std::size_t first = 0; first < config.layer_count; first += layers_per_pass) {
    const std::size_t layer_count = std::min<std::size_t>(layers_per_pass, config.layer_count - first);
    HessianCollector collector(config, first, layer_count);
    FORESHORE_RETURN_IF_ERROR(RunAll(runs, sequences, collector));
    for (const Tensor& tensor : f32.tensors) {
      const auto place = LinearOf(tensor.name);
      if (!place || place->first < first || place->first >= first + layer_count) continue;
      const Hessian& hessian = collector.Finish(place->first, place->second);
      FORESHORE_ASSIGN_OR_RETURN(const std::vector<float> weights, ToFloats(tensor.view()));
      const std::vector<double>& totals = collector.TotalsOf(place->first, place->second);
      const Hessian centred = Centred(hessian, totals);
      auto result = QuantizeGptq(weights, tensor.shape[0], centred, options);
      if (!result.ok()) return result.status().WithContext(tensor.name);
      const GroupedWeights nearest =
          QuantizeToNearest(weights, tensor.shape[0], hessian.width, options.bits, options.group_size);
      const std::string module = tensor.name.substr(0, tensor.name.size() - std::strlen(".weight"));
      made.layers.push_back({module, OutputError(weights, *result, centred), OutputError(weights, nearest, hessian)});
      quantized[module + ".bias"] = {
          CorrectedBias(*by_name.at(module + ".bias"), weights, *result, totals, hessian.row_count)};
      AppendGroupedTensors(tensor.name, *result, format, quantized[tensor.name]);
    }
  }
  BertModel model{config, {}};
  for (const Tensor& tensor : f32.tensors) {
    if (const auto found = quantized.find(tensor.name); found != quantized.end()) {
      for (Tensor& part : found->second) model.tensors.push_back(std::move(part));
    } else if (tensor.name == "embeddings.word") {
      auto [codes, scales] = QuantizeMatrixInt8(tensor);
      model.tensors.push_back(std::move(codes));
      model.tensors.push_back(std::move(scales));
    } else {
      model.tensors.push_back(tensor);
    }
  }
  if (report != nullptr) *report = std::move(made);
  return model;
}

}  // namespace foreshore
