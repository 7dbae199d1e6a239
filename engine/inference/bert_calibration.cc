#include "engine/inference/bert_calibration.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>

#include "engine/inference/bert_executor.h"
#include "engine/inference/bert_quantize.h"
#include "engine/inference/float_tensor.h"

namespace foreshore {
namespace {

constexpr std::string_view kFirstLayer = "layer.0.";

Tensor Zeros(const TensorView& row) {
  std::size_t count = 1;
  for (const std::uint64_t extent : row.shape) count *= extent;
  return MakeF32Tensor(row.name, row.shape, std::vector<float>(count));
}

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
  std::vector<float> Take() { return std::move(rows_); }
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

// The embeddings of `f32` before one layer of zeros, as nothing is read behind them.
BertModel EmbeddingsOf(const BertModel& f32) {
  BertModel one{f32.config, {}};
  one.config.layer_count = 1;
  std::unordered_map<std::string, const Tensor*> by_name;
  for (const Tensor& tensor : f32.tensors) by_name.emplace(tensor.name, &tensor);
  for (const TensorView& row : BertTensorTable(one.config, WeightFormat::Float())) {
    one.tensors.push_back(row.name.starts_with(kFirstLayer) ? Zeros(row) : *by_name.at(row.name));
  }
  return one;
}

// What the first layer reads, a row of H floats for each token.
Result<std::vector<float>> Embedded(const BertModel& embeddings, const WeightFormat& format,
                                    const std::vector<std::vector<std::int32_t>>& sequences) {
  FORESHORE_ASSIGN_OR_RETURN(const auto packed, PackedBertInMemory::Make(embeddings, format));
  const std::size_t hidden = embeddings.config.hidden_size;
  InputRecorder recorder(BertLinear::kQuery, hidden, hidden);
  BertExecutor::Options options;
  options.observer = &recorder;
  FORESHORE_ASSIGN_OR_RETURN(const auto executor, BertExecutor::Create(packed.packed(), options));
  const std::vector<std::span<const std::int32_t>> spans(sequences.begin(), sequences.end());
  std::vector<float> unused(sequences.size() * hidden);
  FORESHORE_RETURN_IF_ERROR(executor->Embed(spans, unused));
  return recorder.Take();
}

}  // namespace

Result<BertCalibration> BertCalibration::Create(const BertModel& f32,
                                                const std::vector<std::vector<std::int32_t>>& sequences) {
  FORESHORE_RETURN_IF_ERROR(CheckSequences(f32.config, sequences));
  BertCalibration calibration;
  calibration.hidden_size_ = f32.config.hidden_size;
  for (const auto& sequence : sequences) calibration.lengths_.push_back(sequence.size());
  for (const std::size_t length : calibration.lengths_) calibration.token_count_ += length;
  const BertModel embeddings = EmbeddingsOf(f32);
  FORESHORE_ASSIGN_OR_RETURN(calibration.exact_, Embedded(embeddings, WeightFormat::Float(), sequences));
  FORESHORE_ASSIGN_OR_RETURN(const BertModel int8, QuantizeBertInt8(embeddings));
  FORESHORE_ASSIGN_OR_RETURN(calibration.quantized_, Embedded(int8, WeightFormat::Int8(), sequences));
  return calibration;
}

BertModel BertCalibration::LayerOf(const BertModel& f32, std::size_t layer) {
  BertModel one{f32.config, {}};
  one.config.layer_count = 1;
  one.config.vocabulary_size = 1;
  std::unordered_map<std::string, const Tensor*> by_name;
  for (const Tensor& tensor : f32.tensors) by_name.emplace(tensor.name, &tensor);
  for (const TensorView& row : BertTensorTable(one.config, WeightFormat::Float())) {
    if (row.name.starts_with(kFirstLayer)) {
      Tensor tensor = *by_name.at("layer." + std::to_string(layer) + "." + row.name.substr(kFirstLayer.size()));
      tensor.name = row.name;
      one.tensors.push_back(std::move(tensor));
    } else {
      one.tensors.push_back(Zeros(row));
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
