// A small BERT with random weights, and a plain f32 forward pass over its canonical tensors that shares nothing with
// the executor: the oracle of the tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "engine/inference/bert.h"

namespace foreshore {

inline BertConfig SmallBertConfig() {
  BertConfig config;
  config.hidden_size = 64;
  config.layer_count = 2;
  config.head_count = 4;
  config.intermediate_size = 160;
  config.vocabulary_size = 100;
  config.position_count = 48;
  config.type_count = 2;
  config.token_count_max = 40;
  return config;
}

inline BertConfig TinyBertConfig() {
  BertConfig config;
  config.hidden_size = 32;
  config.layer_count = 1;
  config.head_count = 2;
  config.intermediate_size = 32;
  config.vocabulary_size = 8;
  config.position_count = 8;
  config.type_count = 2;
  config.token_count_max = 8;
  return config;
}

inline Tensor F32Tensor(const std::string& name, const std::vector<std::uint64_t>& shape,
                        const std::vector<float>& values) {
  return {name, TensorType::kF32, shape, ByteString(reinterpret_cast<const char*>(values.data()), values.size() * 4)};
}

inline std::vector<float> FloatsOf(const TensorView& tensor) {
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

inline BertModel RandomBert(const BertConfig& config, std::uint32_t seed) {
  std::mt19937 random(seed);
  BertModel model{config, {}};
  for (const TensorView& view : BertTensorTable(config, /*int8=*/false)) {
    std::uint64_t count = 1;
    for (const std::uint64_t size : view.shape) count *= size;
    const bool is_gamma = view.name.ends_with("gamma");
    const float deviation = view.name.ends_with(".weight") ? 1.0F / std::sqrt(static_cast<float>(view.shape[1])) : 0.2F;
    std::normal_distribution<float> normal(is_gamma ? 1.0F : 0.0F, deviation);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    model.tensors.push_back(F32Tensor(view.name, view.shape, values));
  }
  return model;
}

inline std::vector<TensorView> ViewsOf(const BertModel& model) {
  std::vector<TensorView> views;
  for (const Tensor& tensor : model.tensors) views.push_back(tensor.view());
  return views;
}

// F32 weights from an int8 model: what its codes and scales stand for.
inline BertModel Dequantize(const BertModel& int8) {
  std::map<std::string, std::vector<float>> scales;
  for (const Tensor& tensor : int8.tensors) {
    if (tensor.name.ends_with(".scale")) scales[tensor.name] = FloatsOf(tensor.view());
  }
  BertModel f32{int8.config, {}};
  for (const Tensor& tensor : int8.tensors) {
    if (tensor.name.ends_with(".scale")) continue;
    if (tensor.type == TensorType::kF32) {
      f32.tensors.push_back(tensor);
      continue;
    }
    std::vector<float> values(tensor.bytes.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(static_cast<std::int8_t>(tensor.bytes[i])) *
                  scales.at(tensor.name + ".scale")[i / tensor.shape[1]];
    }
    f32.tensors.push_back(F32Tensor(tensor.name, tensor.shape, values));
  }
  return f32;
}

// The forward pass in double precision, one loop per formula.
class ReferenceBert {
 public:
  explicit ReferenceBert(const BertModel& model) : config_(model.config) {
    for (const Tensor& tensor : model.tensors) tensors_[tensor.name] = FloatsOf(tensor.view());
  }

  std::vector<double> Embed(std::span<const std::int32_t> ids) const {
    const std::size_t hidden = config_.hidden_size;
    Rows rows(ids.size(), std::vector<double>(hidden));
    for (std::size_t t = 0; t < ids.size(); ++t) {
      for (std::size_t i = 0; i < hidden; ++i) {
        rows[t][i] = At("embeddings.word")[static_cast<std::size_t>(ids[t]) * hidden + i] +
                     At("embeddings.position")[t * hidden + i] + At("embeddings.type")[i];
      }
      Normalise("embeddings.norm", rows[t]);
    }
    for (std::uint32_t layer = 0; layer < config_.layer_count; ++layer) Layer("layer." + std::to_string(layer), rows);
    std::vector<double> mean(hidden);
    for (const auto& row : rows) {
      for (std::size_t i = 0; i < hidden; ++i) mean[i] += row[i] / static_cast<double>(rows.size());
    }
    double squares = 0;
    for (const double value : mean) squares += value * value;
    if (config_.normalise) {
      for (double& value : mean) value /= std::sqrt(squares);
    }
    return mean;
  }

 private:
  using Rows = std::vector<std::vector<double>>;

  const std::vector<float>& At(const std::string& name) const { return tensors_.at(name); }

  void Normalise(const std::string& name, std::vector<double>& row) const {
    double mean = 0;
    for (const double value : row) mean += value / static_cast<double>(row.size());
    double variance = 0;
    for (const double value : row) variance += (value - mean) * (value - mean) / static_cast<double>(row.size());
    for (std::size_t i = 0; i < row.size(); ++i) {
      row[i] = (row[i] - mean) / std::sqrt(variance + static_cast<double>(config_.layer_norm_epsilon)) *
                   At(name + ".gamma")[i] +
               At(name + ".beta")[i];
    }
  }

  Rows Linear(const std::string& name, const Rows& in) const {
    const std::vector<float>& weight = At(name + ".weight");
    const std::vector<float>& bias = At(name + ".bias");
    Rows out(in.size(), std::vector<double>(bias.size()));
    for (std::size_t t = 0; t < in.size(); ++t) {
      for (std::size_t n = 0; n < bias.size(); ++n) {
        out[t][n] = bias[n];
        for (std::size_t k = 0; k < in[t].size(); ++k) out[t][n] += in[t][k] * weight[n * in[t].size() + k];
      }
    }
    return out;
  }

  Rows Attend(const std::string& layer, const Rows& rows) const {
    const Rows query = Linear(layer + ".query", rows);
    const Rows key = Linear(layer + ".key", rows);
    const Rows value = Linear(layer + ".value", rows);
    const std::size_t width = config_.hidden_size / config_.head_count;
    Rows out(rows.size(), std::vector<double>(config_.hidden_size));
    for (std::size_t head = 0; head < config_.head_count; ++head) {
      for (std::size_t t = 0; t < rows.size(); ++t) {
        std::vector<double> weights(rows.size());
        double sum = 0;
        for (std::size_t u = 0; u < rows.size(); ++u) {
          double score = 0;
          for (std::size_t i = head * width; i < (head + 1) * width; ++i) score += query[t][i] * key[u][i];
          weights[u] = std::exp(score / std::sqrt(static_cast<double>(width)));
          sum += weights[u];
        }
        for (std::size_t u = 0; u < rows.size(); ++u) {
          for (std::size_t i = head * width; i < (head + 1) * width; ++i) out[t][i] += weights[u] / sum * value[u][i];
        }
      }
    }
    return out;
  }

  void Layer(const std::string& layer, Rows& rows) const {
    AddAndNormalise(layer + ".attention.norm", Linear(layer + ".output", Attend(layer, rows)), rows);
    Rows up = Linear(layer + ".up", rows);
    for (auto& row : up) {
      for (double& value : row) value *= 0.5 * (1.0 + std::erf(value / std::sqrt(2.0)));
    }
    AddAndNormalise(layer + ".norm", Linear(layer + ".down", up), rows);
  }

  void AddAndNormalise(const std::string& norm, const Rows& added, Rows& rows) const {
    for (std::size_t t = 0; t < rows.size(); ++t) {
      for (std::size_t i = 0; i < rows[t].size(); ++i) rows[t][i] += added[t][i];
      Normalise(norm, rows[t]);
    }
  }

  BertConfig config_;
  std::map<std::string, std::vector<float>> tensors_;
};

inline std::vector<std::int32_t> RandomIds(const BertConfig& config, std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::int32_t> ids(count);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random() % config.vocabulary_size);
  return ids;
}

}  // namespace foreshore
