#include "engine/inference/bert_quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "engine/inference/float_tensor.h"
#include "engine/inference/grouped_weights.h"
#include "engine/inference/nf4.h"

namespace foreshore {
namespace {

constexpr float kCodeMax = 127.0F;
constexpr int kClipCandidateCount = 16;
constexpr float kClipStep = 0.02F;

std::vector<float> FloatsOf(const Tensor& tensor) {
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(float));
  return values;
}

float CodeOf(float value, float inverse_scale) {
  return std::clamp(std::nearbyint(value * inverse_scale), -kCodeMax, kCodeMax);
}

double SquaredError(const float* row, std::size_t count, float scale) {
  const float inverse = 1.0F / scale;
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const float error = row[i] - scale * CodeOf(row[i], inverse);
    sum += static_cast<double>(error) * error;
  }
  return sum;
}

// 0 for a row of zeros, whose codes are then zeros too.
float BestScale(const float* row, std::size_t count) {
  float max = 0;
  for (std::size_t i = 0; i < count; ++i) max = std::max(max, std::fabs(row[i]));
  if (max < 1e-30F) return 0;
  float best_scale = max / kCodeMax;
  double best_error = SquaredError(row, count, best_scale);
  for (int candidate = 1; candidate < kClipCandidateCount; ++candidate) {
    const float scale = max * (1.0F - kClipStep * static_cast<float>(candidate)) / kCodeMax;
    const double error = SquaredError(row, count, scale);
    if (error < best_error) {
      best_error = error;
      best_scale = scale;
    }
  }
  return best_scale;
}

Status CheckFinite(const Tensor& tensor) {
  const std::vector<float> values = FloatsOf(tensor);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    return Status::InvalidArgument("tensor \"" + tensor.name + "\": value " + std::to_string(i) + " is " +
                                   std::to_string(values[i]) + ", expected a finite number");
  }
  return Status::Ok();
}

Status CheckSource(const BertModel& f32) {
  std::vector<TensorView> views;
  views.reserve(f32.tensors.size());
  for (const Tensor& tensor : f32.tensors) views.push_back(tensor.view());
  FORESHORE_RETURN_IF_ERROR(ValidateBertTensors(f32.config, /*int8=*/false, views));
  for (const Tensor& tensor : f32.tensors) FORESHORE_RETURN_IF_ERROR(CheckFinite(tensor));
  return Status::Ok();
}

}  // namespace

std::pair<Tensor, Tensor> QuantizeMatrixInt8(const Tensor& source) {
  const std::vector<float> values = FloatsOf(source);
  const std::size_t row_count = source.shape[0];
  const std::size_t column_count = source.shape[1];
  std::pair<Tensor, Tensor> result{{source.name, TensorType::kI8, source.shape, ByteString(values.size(), '\0')},
                                   {source.name + ".scale", TensorType::kF32, {source.shape[0]}, {}}};
  std::vector<float> scales(row_count);
  for (std::size_t row = 0; row < row_count; ++row) {
    const float* row_values = values.data() + row * column_count;
    scales[row] = BestScale(row_values, column_count);
    if (scales[row] == 0) continue;
    const float inverse = 1.0F / scales[row];
    char* codes = result.first.bytes.data() + row * column_count;
    for (std::size_t i = 0; i < column_count; ++i) {
      codes[i] = static_cast<char>(static_cast<std::int8_t>(CodeOf(row_values[i], inverse)));
    }
  }
  result.second.bytes.assign(reinterpret_cast<const char*>(scales.data()), row_count * sizeof(float));
  return result;
}

Result<BertModel> QuantizeBertInt8(const BertModel& f32) {
  FORESHORE_RETURN_IF_ERROR(CheckSource(f32));
  BertModel int8;
  int8.config = f32.config;
  for (const Tensor& tensor : f32.tensors) {
    if (tensor.name == "embeddings.word" || tensor.name.ends_with(".weight")) {
      std::pair<Tensor, Tensor> quantized = QuantizeMatrixInt8(tensor);
      int8.tensors.push_back(std::move(quantized.first));
      int8.tensors.push_back(std::move(quantized.second));
    } else {
      int8.tensors.push_back(tensor);
    }
  }
  return int8;
}

Result<BertModel> QuantizeBertNf4(const BertModel& f32) {
  FORESHORE_RETURN_IF_ERROR(CheckSource(f32));
  BertModel nf4{f32.config, {}};
  for (const Tensor& tensor : f32.tensors) {
    if (tensor.name == "embeddings.word") {
      auto [codes, scales] = QuantizeMatrixInt8(tensor);
      nf4.tensors.push_back(std::move(codes));
      nf4.tensors.push_back(std::move(scales));
    } else if (tensor.name.ends_with(".weight")) {
      AppendNf4Tensors(tensor.name, FloatsOf(tensor), tensor.shape[0], tensor.shape[1], nf4.tensors);
    } else {
      nf4.tensors.push_back(tensor);
    }
  }
  return nf4;
}

Result<BertModel> DequantizeBert(const BertConfig& config, const WeightFormat& format,
                                 const std::vector<TensorView>& canonical) {
  FORESHORE_RETURN_IF_ERROR(ValidateBertTensors(config, format, canonical));
  TensorsByName tensors;
  for (const TensorView& tensor : canonical) tensors.emplace(tensor.name, tensor);
  BertModel f32{config, {}};
  for (const TensorView& row : BertTensorTable(config, WeightFormat::Float())) {
    const TensorView& tensor = tensors.at(row.name);
    if (tensor.type == TensorType::kF32) {
      f32.tensors.push_back({row.name, row.type, row.shape, ByteString(tensor.bytes)});
    } else if (tensor.type == TensorType::kI8) {
      FORESHORE_ASSIGN_OR_RETURN(std::vector<float> values, ToFloats(tensor));
      FORESHORE_ASSIGN_OR_RETURN(const std::vector<float> scales, ToFloats(tensors.at(row.name + ".scale")));
      for (std::size_t i = 0; i < values.size(); ++i) values[i] *= scales[i / row.shape[1]];
      f32.tensors.push_back(MakeF32Tensor(row.name, row.shape, values));
    } else {
      FORESHORE_ASSIGN_OR_RETURN(const GroupedWeights weights,
                                 ReadGroupedTensors(row.name, row.shape[1], format, tensors));
      f32.tensors.push_back(MakeF32Tensor(row.name, row.shape, weights.Dequantize()));
    }
  }
  return f32;
}

}  // namespace foreshore
