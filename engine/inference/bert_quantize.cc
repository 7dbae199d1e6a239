#include "engine/inference/bert_quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

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

// The codes of `source` and, beside it, its scales.
std::pair<Tensor, Tensor> QuantizeRows(const Tensor& source) {
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

Status CheckFinite(const Tensor& tensor) {
  const std::vector<float> values = FloatsOf(tensor);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    return Status::InvalidArgument("tensor \"" + tensor.name + "\": value " + std::to_string(i) + " is " +
                                   std::to_string(values[i]) + ", expected a finite number");
  }
  return Status::Ok();
}

}  // namespace

Result<BertModel> QuantizeBertInt8(const BertModel& f32) {
  std::vector<TensorView> views;
  views.reserve(f32.tensors.size());
  for (const Tensor& tensor : f32.tensors) views.push_back(tensor.view());
  FORESHORE_RETURN_IF_ERROR(ValidateBertTensors(f32.config, /*int8=*/false, views));
  for (const Tensor& tensor : f32.tensors) FORESHORE_RETURN_IF_ERROR(CheckFinite(tensor));

  BertModel int8;
  int8.config = f32.config;
  for (const Tensor& tensor : f32.tensors) {
    if (tensor.name == "embeddings.word" || tensor.name.ends_with(".weight")) {
      std::pair<Tensor, Tensor> quantized = QuantizeRows(tensor);
      int8.tensors.push_back(std::move(quantized.first));
      int8.tensors.push_back(std::move(quantized.second));
    } else {
      int8.tensors.push_back(tensor);
    }
  }
  return int8;
}

}  // namespace foreshore
