#include "engine/inference/bert_calibration.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>

#include "engine/inference/bert_executor.h"
#include "engine/inference/bert_quantize.h"
#include "engine/inference/float_kernels.h"
#include "engine/inference/float_tensor.h"

namespace foreshore {
namespace {

// Copies what one linear layer reads.
class InputRecorder : public LinearObserver {
 public:
  InputRecorder(BertLinear wanted, std::size_t width, std::size_t stride)
      : wanted_(wanted), width_(width), stride_(stride) {}

  void OnInput(std::size_t /*layer*/, BertLinear linear, const float* rows, std::size_t stride,
               std::size_t row_count) override {
    if (linear != wanted_) return;
    const std::size_t before = rows_.size();
    rows_.resize(before + row_count * stride_);
    for (std::size_t row = 0; row < row_count; ++row) {
      std::memcpy(rows_.data() + before + row * stride_, rows + row * stride, width_ * sizeof(float));
    }
  }
  const std::vector<float>& rows() const { return rows_; }
  void Clear() { rows_.clear(); }

 private:
  const BertLinear wanted_;
  const std::size_t width_;
  const std::size_t stride_;
  std::vector<float> rows_;
};

Status CheckSequences(const BertConfig& config, const std::vector<std::vector<std::int32_t>>& sequences) {
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::string name = "calibration: sequence " + std::to_string(i);
    if (sequences[i].empty() || sequences[i].size() > config.token_count_max) {
      return Status::InvalidArgument(name + " has " + std::to_string(sequences[i].size()) + " tokens, expected 1.." +
                                     std::to_string(config.token_count_max));
    }
    for (const std::int32_t id : sequences[i]) {
      if (id >= 0 && static_cast<std::uint32_t>(id) < config.vocabulary_size) continue;
      return Status::InvalidArgument(name + " has token " + std::to_string(id) + ", expected 0.." +
                                     std::to_string(config.vocabulary_size - 1));
    }
  }
  return Status::Ok();
}

}  // namespace

Result<BertCalibration> BertCalibration::Create(const BertModel& f32,
                                                const std::vector<std::vector<std::int32_t>>& sequences) {
  FORESHORE_RETURN_IF_ERROR(CheckSequences(f32.config, sequences));
  const std::size_t hidden = f32.config.hidden_size;
  std::unordered_map<std::string, const Tensor*> by_name;
  for (const Tensor& tensor : f32.tensors) by_name.emplace(tensor.name, &tensor);
  std::vector<float> parts[5];
  constexpr const char* kNames[] = {"embeddings.word", "embeddings.position", "embeddings.type",
                                    "embeddings.norm.gamma", "embeddings.norm.beta"};
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    FORESHORE_ASSIGN_OR_RETURN(parts[i], ToFloats(by_name.at(kNames[i])->view()));
  }
  const auto& [words, positions, types, gamma, beta] = parts;
  const auto [codes, scales] = QuantizeMatrixInt8(*by_name.at("embeddings.word"));
  BertCalibration calibration;
  calibration.hidden_size_ = hidden;
  for (const auto& sequence : sequences) calibration.lengths_.push_back(sequence.size());
  for (const std::size_t length : calibration.lengths_) calibration.token_count_ += length;
  calibration.exact_.resize(calibration.token_count_ * hidden);
  calibration.quantized_.resize(calibration.exact_.size());
  const FloatKernels& kernels = FloatKernelsFor(DetectCpuLevel());
  const float epsilon = f32.config.layer_norm_epsilon;
  std::size_t at = 0;
  for (const auto& sequence : sequences) {
    for (std::size_t place = 0; place < sequence.size(); ++place, at += hidden) {
      const auto id = static_cast<std::size_t>(sequence[place]);
      float* exact = calibration.exact_.data() + at;
      float* quantized = calibration.quantized_.data() + at;
      for (std::size_t i = 0; i < hidden; ++i)
        exact[i] = words[id * hidden + i] + positions[place * hidden + i] + types[i];
      float scale;
      std::memcpy(&scale, scales.bytes.data() + id * sizeof(scale), sizeof(scale));
      kernels.embed_token(reinterpret_cast<const std::int8_t*>(codes.bytes.data()) + id * hidden, scale,
                          positions.data() + place * hidden, types.data(), hidden, quantized);
      for (float* row : {exact, quantized}) {
        kernels.layer_norm(row, gamma.data(), beta.data(), epsilon, hidden, row);
      }
    }
  }
  return calibration;
}

BertModel BertCalibration::LayerOf(const BertModel& f32, std::size_t layer) {
  BertModel one{f32.config, {}};
  one.config.layer_count = 1;
  one.config.vocabulary_size = 1;
  std::unordered_map<std::string, const Tensor*> by_name;
  for (const Tensor& tensor : f32.tensors) by_name.emplace(tensor.name, &tensor);
  constexpr std::string_view kFirst = "layer.0.";
  for (const TensorView& row : BertTensorTable(one.config, WeightFormat::Float())) {
    if (row.name.starts_with(kFirst)) {
      Tensor tensor = *by_name.at("layer." + std::to_string(layer) + "." + row.name.substr(kFirst.size()));
      tensor.name = row.name;
      one.tensors.push_back(std::move(tensor));
    } else {
      std::size_t count = 1;
      for (const std::uint64_t extent : row.shape) count *= extent;
      one.tensors.push_back(MakeF32Tensor(row.name, row.shape, std::vector<float>(count)));
    }
  }
  return one;
}

template <typename Body>
Status BertCalibration::ForEachChunk(std::size_t token_budget, const Body& body) const {
  std::size_t first_token = 0;
  for (std::size_t first = 0; first < lengths_.size();) {
    std::size_t end = first;
    std::size_t count = 0;
    while (end < lengths_.size() && count + lengths_[end] <= token_budget) count += lengths_[end++];
    FORESHORE_RETURN_IF_ERROR(body(std::span(lengths_).subspan(first, end - first), first_token, count));
    first = end;
    first_token += count;
  }
  return Status::Ok();
}

Result<CalibrationSums> BertCalibration::Collect(const PackedBertInMemory& exact, const PackedBertInMemory& quantized,
                                                 BertLinear linear) const {
  CalibrationSums sums(ShapeOf(exact.packed().config(), linear).in);
  InputRecorder exact_inputs(linear, sums.width(), sums.stride());
  InputRecorder quantized_inputs(linear, sums.width(), sums.stride());
  BertExecutor::Options options;
  options.observer = &exact_inputs;
  FORESHORE_ASSIGN_OR_RETURN(const auto exact_executor, BertExecutor::Create(exact.packed(), options));
  options.observer = &quantized_inputs;
  FORESHORE_ASSIGN_OR_RETURN(const auto quantized_executor, BertExecutor::Create(quantized.packed(), options));
  const auto add = [&](std::span<const std::size_t> lengths, std::size_t first, std::size_t count) -> Status {
    exact_inputs.Clear();
    quantized_inputs.Clear();
    const std::size_t at = first * hidden_size_;
    FORESHORE_RETURN_IF_ERROR(
        exact_executor->ShowInput(lengths, std::span(exact_).subspan(at, count * hidden_size_), linear));
    FORESHORE_RETURN_IF_ERROR(
        quantized_executor->ShowInput(lengths, std::span(quantized_).subspan(at, count * hidden_size_), linear));
    sums.Add(quantized_inputs.rows(), exact_inputs.rows(), count);
    return Status::Ok();
  };
  FORESHORE_RETURN_IF_ERROR(ForEachChunk(exact_executor->token_budget(), add));
  sums.Finish();
  return sums;
}

Status BertCalibration::Advance(const PackedBertInMemory& exact, const PackedBertInMemory& quantized) {
  FORESHORE_ASSIGN_OR_RETURN(const auto exact_executor, BertExecutor::Create(exact.packed(), {}));
  FORESHORE_ASSIGN_OR_RETURN(const auto quantized_executor, BertExecutor::Create(quantized.packed(), {}));
  const auto run = [&](std::span<const std::size_t> lengths, std::size_t first, std::size_t count) -> Status {
    const std::size_t at = first * hidden_size_;
    FORESHORE_RETURN_IF_ERROR(exact_executor->RunLayers(lengths, std::span(exact_).subspan(at, count * hidden_size_)));
    return quantized_executor->RunLayers(lengths, std::span(quantized_).subspan(at, count * hidden_size_));
  };
  return ForEachChunk(exact_executor->token_budget(), run);
}

}  // namespace foreshore
