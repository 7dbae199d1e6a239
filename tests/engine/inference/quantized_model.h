// Models in every stored form, for the tests of what runs them.
#pragma once

#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/inference/bert_executor.h"
#include "engine/inference/bert_quantize.h"
#include "engine/inference/gptq.h"
#include "engine/inference/grouped_weights.h"
#include "tests/engine/inference/packed_model.h"

namespace foreshore {

// A grouped model at the nearest codes; where ordered, inputs are taken in an order of each layer's own.
inline BertModel GroupedModel(const BertModel& f32, const WeightFormat& format) {
  BertModel grouped{f32.config, {}};
  for (const Tensor& tensor : f32.tensors) {
    if (tensor.name == "embeddings.word") {
      auto [codes, scales] = QuantizeMatrixInt8(tensor);
      grouped.tensors.push_back(std::move(codes));
      grouped.tensors.push_back(std::move(scales));
      continue;
    }
    if (!tensor.name.ends_with(".weight")) {
      grouped.tensors.push_back(tensor);
      continue;
    }
    std::vector<float> values = FloatsOf(tensor.view());
    const std::size_t columns = tensor.shape[1];
    std::vector<std::uint32_t> order(columns);
    for (std::size_t i = 0; i < columns; ++i) order[i] = static_cast<std::uint32_t>((i * 7 + 3) % columns);
    if (format.ordered) {
      const std::vector<float> before = values;
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = before[i / columns * columns + order[i % columns]];
    }
    GroupedWeights weights = QuantizeToNearest(values, tensor.shape[0], columns, format.bits, format.group_size);
    if (format.ordered) weights.order = order;
    AppendGroupedTensors(tensor.name, weights, format, grouped.tensors);
  }
  return grouped;
}

inline BertModel QuantizedModel(const BertModel& f32, const WeightFormat& format) {
  switch (format.kind) {
    case WeightKind::kFloat: return f32;
    case WeightKind::kInt8: return QuantizeBertInt8(f32).value();
    case WeightKind::kNf4: return QuantizeBertNf4(f32).value();
    case WeightKind::kGrouped: return GroupedModel(f32, format);
  }
  return f32;
}

// A model packed, with everything that must outlive its executors.
struct RunningModel {
  RunningModel(BertModel given, const WeightFormat& format)
      : model(std::move(given)),
        blob(PackBert(model.config, format, ViewsOf(model)).value()),
        packed(PackedBert::Open(blob.bytes()).value()) {}

  std::vector<float> Embed(const std::vector<std::vector<std::int32_t>>& sequences,
                           const BertExecutor::Options& options = {}, const BertAdapter* adapter = nullptr) const {
    const auto executor = BertExecutor::Create(packed, options).value();
    const std::vector<std::span<const std::int32_t>> spans(sequences.begin(), sequences.end());
    std::vector<float> out(sequences.size() * model.config.hidden_size);
    const Status status = executor->Embed(spans, out, adapter);
    if (!status.ok()) throw std::runtime_error(status.ToString());
    return out;
  }

  BertModel model;
  AlignedBlob blob;
  PackedBert packed;
};

template <typename A, typename B>
double CosineOf(const A& a, const B& b) {
  double dot = 0;
  double a_squares = 0;
  double b_squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    dot += static_cast<double>(a[i]) * b[i];
    a_squares += static_cast<double>(a[i]) * a[i];
    b_squares += static_cast<double>(b[i]) * b[i];
  }
  return dot / std::sqrt(a_squares * b_squares);
}

}  // namespace foreshore
