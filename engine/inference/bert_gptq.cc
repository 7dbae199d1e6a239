#include "engine/inference/bert_gptq.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <unordered_map>
#include <utility>

#include "engine/inference/bert_calibration.h"
#include "engine/inference/bert_quantize.h"
#include "engine/inference/float_tensor.h"

namespace foreshore {
namespace {

using GroupedByName = std::unordered_map<std::string, GroupedWeights>;
using BiasByName = std::unordered_map<std::string, std::vector<float>>;

// Linear layers that read the same, in the order in which they run.
constexpr std::pair<BertLinear, std::size_t> kStages[] = {
    {BertLinear::kQuery, 3}, {BertLinear::kOutput, 1}, {BertLinear::kUp, 1}, {BertLinear::kDown, 1}};

Tensor& TensorOf(BertModel& model, const std::string& name) {
  return *std::find_if(model.tensors.begin(), model.tensors.end(),
                       [&](const Tensor& each) { return each.name == name; });
}

// `f32` with the matrices that are in `grouped` in `format`, these biases in place of its own, and the word embedding
// in int8.
BertModel Grouped(const BertModel& f32, const GroupedByName& grouped, const BiasByName& biases,
                  const WeightFormat& format) {
  BertModel model{f32.config, {}};
  for (const Tensor& tensor : f32.tensors) {
    if (const auto found = grouped.find(tensor.name); found != grouped.end()) {
      AppendGroupedTensors(tensor.name, found->second, format, model.tensors);
    } else if (const auto bias = biases.find(tensor.name); bias != biases.end()) {
      model.tensors.push_back(MakeF32Tensor(tensor.name, tensor.shape, bias->second));
    } else if (tensor.name == "embeddings.word") {
      auto [codes, scales] = QuantizeMatrixInt8(tensor);
      model.tensors.push_back(std::move(codes));
      model.tensors.push_back(std::move(scales));
    } else {
      model.tensors.push_back(tensor);
    }
  }
  return model;
}

// One linear layer of `layer`, a model of one layer in f32, which takes its quantized weights and bias; its codes.
Result<GroupedWeights> QuantizeLinear(const std::string& module, const CalibrationSums& sums,
                                      const HessianFactor& inverse, const GptqOptions& options, BertModel& layer,
                                      GptqReport::Layer& report) {
  Tensor& weight = TensorOf(layer, module + ".weight");
  Tensor& bias = TensorOf(layer, module + ".bias");
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<float> weights, ToFloats(weight.view()));
  const std::size_t row_count = weight.shape[0];
  const std::vector<float> aim = sums.AimOf(weights, row_count, inverse);
  FORESHORE_ASSIGN_OR_RETURN(GroupedWeights quantized, QuantizeGptq(aim, row_count, sums.inputs(), inverse, options));
  const GroupedWeights nearest = QuantizeToNearest(weights, row_count, sums.width(), options.bits, options.group_size);
  const std::vector<float> values = quantized.Dequantize();
  const std::vector<float> change = sums.BiasChange(weights, values);
  report.error = sums.OutputError(weights, values, change);
  report.nearest_error = sums.OutputError(weights, nearest.Dequantize(), std::vector<float>(row_count));
  FORESHORE_ASSIGN_OR_RETURN(std::vector<float> corrected, ToFloats(bias.view()));
  for (std::size_t row = 0; row < row_count; ++row) corrected[row] += change[row];
  bias = MakeF32Tensor(bias.name, bias.shape, corrected);
  weight = MakeF32Tensor(weight.name, weight.shape, values);
  return quantized;
}

// The layer that the texts have come to, and on behind it. `layer` becomes what the quantized one stands for in f32.
Result<GroupedByName> QuantizeLayer(BertCalibration& calibration, const GptqOptions& options, const std::string& prefix,
                                    BertModel& layer, GptqReport& report) {
  FORESHORE_ASSIGN_OR_RETURN(const auto exact, PackedBertInMemory::Make(layer, WeightFormat::Float()));
  GroupedByName grouped;
  for (const auto& [first, count] : kStages) {
    FORESHORE_ASSIGN_OR_RETURN(const auto so_far, PackedBertInMemory::Make(layer, WeightFormat::Float()));
    FORESHORE_ASSIGN_OR_RETURN(const CalibrationSums sums, calibration.Collect(exact, so_far, first));
    const auto inverse = FactorInverse(sums.inputs(), options.act_order, options.damping);
    if (!inverse.ok()) return inverse.status().WithContext(prefix + BertLinearName(first) + ".weight");
    for (std::size_t i = 0; i < count; ++i) {
      const std::string linear = BertLinearName(static_cast<BertLinear>(static_cast<std::size_t>(first) + i));
      GptqReport::Layer& entry = report.layers.emplace_back();
      entry.name = prefix + linear;
      auto quantized = QuantizeLinear("layer.0." + linear, sums, *inverse, options, layer, entry);
      if (!quantized.ok()) return quantized.status().WithContext(entry.name + ".weight");
      grouped["layer.0." + linear + ".weight"] = std::move(quantized).value();
    }
  }
  // Behind the layer the quantized model goes on as it will run, activations in 8 bits.
  const WeightFormat format = WeightFormat::Gptq(options.bits, options.group_size);
  FORESHORE_ASSIGN_OR_RETURN(const auto runs, PackedBertInMemory::Make(Grouped(layer, grouped, {}, format), format));
  FORESHORE_RETURN_IF_ERROR(calibration.Advance(exact, runs));
  return grouped;
}

}  // namespace

double GptqReport::ErrorRatio() const {
  double logarithms = 0;
  for (const Layer& layer : layers) {
    if (layer.nearest_error > 0 && layer.error > 0) logarithms += std::log(layer.error / layer.nearest_error);
  }
  return layers.empty() ? 1 : std::exp(logarithms / static_cast<double>(layers.size()));
}

Result<BertModel> QuantizeBertGptq(const BertModel& f32, const std::vector<std::vector<std::int32_t>>& sequences,
                                   const GptqOptions& options, GptqReport* report) {
  const BertConfig& config = f32.config;
  const WeightFormat format = WeightFormat::Gptq(options.bits, options.group_size);
  FORESHORE_RETURN_IF_ERROR(ValidateWeightFormat(format));
  std::vector<TensorView> views;
  for (const Tensor& tensor : f32.tensors) views.push_back(tensor.view());
  FORESHORE_RETURN_IF_ERROR(ValidateBertTensors(config, /*int8=*/false, views));
  FORESHORE_ASSIGN_OR_RETURN(BertCalibration calibration, BertCalibration::Create(f32, sequences));
  const std::size_t token_count_min = std::max(config.hidden_size, config.intermediate_size);
  if (calibration.token_count() < token_count_min) {
    return Status::InvalidArgument("GPTQ: calibration texts have " + std::to_string(calibration.token_count()) +
                                   " tokens, expected at least " + std::to_string(token_count_min) +
                                   ", the inputs of the widest layer");
  }
  GptqReport made;
  made.token_count = calibration.token_count();
  GroupedByName grouped;
  BiasByName biases;
  for (std::size_t i = 0; i < config.layer_count; ++i) {
    const std::string prefix = "layer." + std::to_string(i) + ".";
    BertModel layer = BertCalibration::LayerOf(f32, i);
    FORESHORE_ASSIGN_OR_RETURN(GroupedByName of_layer, QuantizeLayer(calibration, options, prefix, layer, made));
    for (auto& [name, weights] : of_layer) {
      const std::string module = name.substr(std::strlen("layer.0."), name.rfind('.') - std::strlen("layer.0."));
      FORESHORE_ASSIGN_OR_RETURN(biases[prefix + module + ".bias"],
                                 ToFloats(TensorOf(layer, "layer.0." + module + ".bias").view()));
      grouped.emplace(prefix + module + ".weight", std::move(weights));
    }
  }
  if (report != nullptr) *report = std::move(made);
  return Grouped(f32, grouped, biases, format);
}

}  // namespace foreshore
