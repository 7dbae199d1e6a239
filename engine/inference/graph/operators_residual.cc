#include "engine/inference/graph/operators_residual.h"

#include <algorithm>
#include <cmath>

#include "engine/inference/float_kernels.h"

namespace foreshore::graph {

namespace {

constexpr std::int64_t kPollRows = 256;

Status InferResidual(const NodeContext& context, Infos& outputs) {
  for (std::size_t i = 0; i < context.inputs.size(); ++i) {
    if (context.Has(i)) FORESHORE_RETURN_IF_ERROR(context.Require(i, SetOf(OnnxType::kFloat)));
  }
  FORESHORE_ASSIGN_OR_RETURN(Shape shape, BroadcastShape(context.ShapeOf(0), context.ShapeOf(1)));
  if (context.Has(4)) {
    FORESHORE_ASSIGN_OR_RETURN(shape, BroadcastShape(shape, context.ShapeOf(4)));
  }
  if (shape.empty() || Shape{shape.back()} != context.ShapeOf(2)) {
    return Status::InvalidArgument("normalises " + ToText(shape) + " by " + ToText(context.Info(2)));
  }
  outputs.push_back({OnnxType::kFloat, std::move(shape)});
  return Status::Ok();
}

// The specification of a row, which holds the sum and becomes its normal form.
void NormaliseRow(const float* gamma, const float* beta, double epsilon, std::span<float> row) {
  double mean = 0;
  for (const float value : row) mean += static_cast<double>(value);
  mean /= static_cast<double>(row.size());
  double squares = 0;
  for (const float value : row) squares += (static_cast<double>(value) - mean) * (static_cast<double>(value) - mean);
  const double inverse = 1 / std::sqrt(squares / static_cast<double>(row.size()) + epsilon);
  for (std::size_t i = 0; i < row.size(); ++i) {
    const double shift = beta != nullptr ? static_cast<double>(beta[i]) : 0;
    row[i] = static_cast<float>((static_cast<double>(row[i]) - mean) * inverse * static_cast<double>(gamma[i]) + shift);
  }
}

Status RunResidual(const NodeContext& context, std::span<const OutputRef> outputs) {
  const Shape& shape = outputs[0].info->shape;
  if (outputs[0].count() == 0) return Status::Ok();
  const auto size = static_cast<std::size_t>(shape.back());
  std::array strides{BroadcastStrides(context.ShapeOf(0), shape), BroadcastStrides(context.ShapeOf(1), shape)};
  const std::array<std::size_t, 2> steps{static_cast<std::size_t>(strides[0].back()),
                                         static_cast<std::size_t>(strides[1].back())};
  for (Shape& each : strides) each.pop_back();
  const auto* gamma = context.inputs[2].as<float>();
  const auto* beta = context.Has(3) ? context.inputs[3].as<float>() : nullptr;
  const auto* bias = context.Has(4) ? context.inputs[4].as<float>() : nullptr;
  const float epsilon = context.Float("epsilon", 1e-5F);
  const VectorKernels* kernels = context.kernels;
  // One pass less where both are whole rows and nothing else is added.
  const bool is_plain = kernels != nullptr && beta != nullptr && bias == nullptr && steps[0] == 1 && steps[1] == 1;
  Status status;
  Walk(Shape(shape.begin(), shape.end() - 1), strides, [&](std::int64_t i, const auto& offsets) {
    if (i % kPollRows == 0 && status.ok()) status = context.Poll();
    if (!status.ok()) return;
    const float* a = context.inputs[0].as<float>() + offsets[0];
    const float* b = context.inputs[1].as<float>() + offsets[1];
    float* row = outputs[0].as<float>() + i * shape.back();
    if (is_plain) {
      FloatKernelsFor(kernels->level).add_layer_norm(a, b, gamma, beta, epsilon, size, row);
      return;
    }
    if (kernels != nullptr) {
      kernels->binary(Binary::kAdd, a, steps[0], b, steps[1], size, row);
      if (bias != nullptr) kernels->binary(Binary::kAdd, row, 1, bias, 1, size, row);
      kernels->layer_norm(row, gamma, beta, epsilon, size, row);
      return;
    }
    for (std::size_t k = 0; k < size; ++k) row[k] = a[k * steps[0]] + b[k * steps[1]] + (bias != nullptr ? bias[k] : 0);
    NormaliseRow(gamma, beta, static_cast<double>(epsilon), std::span(row, size));
  });
  return status;
}

}  // namespace

const Operator& ResidualOperator() {
  static constexpr Operator kOperator{
      .name = "Residual", .inputs_min = 3, .inputs_max = 5, .infer = InferResidual, .run = RunResidual};
  return kOperator;
}

}  // namespace foreshore::graph
