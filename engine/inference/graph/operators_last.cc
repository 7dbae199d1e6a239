#include "engine/inference/graph/operators_last.h"

#include <algorithm>
#include <limits>
#include <span>
#include <vector>

namespace foreshore::graph {

namespace {

constexpr TypeSet kTurned = SetOf(OnnxType::kFloat) | SetOf(OnnxType::kUint8);
// Sums of so many pixels are taken by themselves first, so that small numbers are not added to large ones only.
constexpr std::int64_t kMeanPart = 128;

// Windows are planned over [N,C,H,W]: calls plan(context) with the first input in that layout.
template <typename Plan>
auto PlanFirst(const NodeContext& context, Plan plan) {
  const Shape& x = context.ShapeOf(0);
  const TensorInfo first{context.Info(0).type, x.size() == 4 ? Shape{x[0], x[3], x[1], x[2]} : x};
  std::vector<TensorRef> inputs(context.inputs.begin(), context.inputs.end());
  inputs[0] = {&first, nullptr};
  return plan(NodeContext{.node = context.node, .opset = context.opset, .inputs = inputs});
}

Status CheckInputs(const NodeContext& context) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, SetOf(OnnxType::kFloat)));
  return context.RequireRank(0, 4);
}

Status InferConv(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(CheckInputs(context));
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanLastConv(context));
  FORESHORE_RETURN_IF_ERROR(PlanFirst(context, [](const NodeContext& first) { return CheckConv(first, 1, 2); }));
  outputs.push_back(
      {OnnxType::kFloat, {context.ShapeOf(0)[0], window[1].output, window[2].output, context.ShapeOf(1)[0]}});
  return Status::Ok();
}

Status RunConv(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanLastConv(context));
  const Shape& weights = context.ShapeOf(1);
  const std::int64_t channels = context.ShapeOf(0)[3];
  const std::int64_t out_per_group = weights[0] / context.Int("group", 1);
  for (std::int64_t image = 0; image < context.ShapeOf(0)[0] && outputs[0].count() > 0; ++image) {
    const auto* from = context.inputs[0].as<float>() + image * window.InputCount() * channels;
    auto* to = outputs[0].as<float>() + image * window.OutputCount() * weights[0];
    for (std::int64_t out = 0; out < weights[0]; ++out) {
      FORESHORE_RETURN_IF_ERROR(context.Poll());
      const auto* kernel = context.inputs[1].as<float>() + out * weights[1] * window.KernelCount();
      const std::int64_t first = out / out_per_group * weights[1];
      const float bias = context.Has(2) ? context.inputs[2].as<float>()[out] : 0.0F;
      EachOutput(window, [&](std::int64_t offset, const auto& place) {
        float sum = bias;
        for (std::int64_t c = 0; c < weights[1]; ++c) {
          EachInWindow(window, place, [&](std::int64_t input, std::int64_t k) {
            sum += from[input * channels + first + c] * kernel[c * window.KernelCount() + k];
          });
        }
        to[offset * weights[0] + out] = sum;
      });
    }
  }
  return Status::Ok();
}

Status InferConvTranspose(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(CheckInputs(context));
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanLastConvTranspose(context));
  const Shape& weights = context.ShapeOf(1);
  if (weights[0] != context.ShapeOf(0)[3] || (context.Has(2) && context.ShapeOf(2) != Shape{weights[1]})) {
    return Status::InvalidArgument("weights " + ToText(weights) + " over " + ToText(context.Info(0)));
  }
  outputs.push_back({OnnxType::kFloat, {context.ShapeOf(0)[0], window[1].input, window[2].input, weights[1]}});
  return Status::Ok();
}

// Windows do not overlap: each output has one input.
Status RunConvTranspose(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanLastConvTranspose(context));
  const Shape& weights = context.ShapeOf(1);
  const std::int64_t channels = weights[0];
  const std::int64_t out_channels = weights[1];
  auto* to = outputs[0].as<float>();
  for (std::int64_t at = 0; at < outputs[0].count() / out_channels; ++at) {
    const std::int64_t x = at % window[2].input;
    const std::int64_t y = at / window[2].input % window[1].input;
    const std::int64_t image = at / window.InputCount();
    if (x == 0) FORESHORE_RETURN_IF_ERROR(context.Poll());
    const std::int64_t k = y % window[1].kernel * window[2].kernel + x % window[2].kernel;
    const auto* from =
        context.inputs[0].as<float>() +
        ((image * window[1].output + y / window[1].kernel) * window[2].output + x / window[2].kernel) * channels;
    for (std::int64_t out = 0; out < out_channels; ++out) {
      float sum = context.Has(2) ? context.inputs[2].as<float>()[out] : 0.0F;
      for (std::int64_t c = 0; c < channels; ++c) {
        sum += from[c] * context.inputs[1].as<float>()[(c * out_channels + out) * window.KernelCount() + k];
      }
      *to++ = sum;
    }
  }
  return Status::Ok();
}

Status InferMean(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(CheckInputs(context));
  const Shape& x = context.ShapeOf(0);
  if (x[1] * x[2] == 0) {
    return Status::InvalidArgument("input 0 is " + ToText(context.Info(0)) + ", expected pixels");
  }
  outputs.push_back({OnnxType::kFloat, {x[0], 1, 1, x[3]}});
  return Status::Ok();
}

std::uint64_t MeanWorkspaceBytes(const NodeContext& context) {
  return static_cast<std::uint64_t>(context.ShapeOf(0)[3]) * sizeof(float);
}

Status RunMean(const NodeContext& context, std::span<const OutputRef> outputs) {
  const Shape& x = context.ShapeOf(0);
  const std::int64_t count = x[1] * x[2];
  const auto channels = static_cast<std::size_t>(x[3]);
  const std::span part(reinterpret_cast<float*>(context.workspace), channels);
  for (std::int64_t image = 0; image < x[0]; ++image) {
    const auto* from = context.inputs[0].as<float>() + image * count * x[3];
    const std::span sums(outputs[0].as<float>() + image * x[3], channels);
    std::fill(sums.begin(), sums.end(), 0.0F);
    for (std::int64_t at = 0; at < count; at += kMeanPart) {
      const std::int64_t rows = std::min(kMeanPart, count - at);
      std::fill(part.begin(), part.end(), 0.0F);
      if (context.kernels != nullptr) {
        context.kernels->add_rows(from + at * x[3], static_cast<std::size_t>(rows), channels, part.data());
      } else {
        for (std::int64_t i = 0; i < rows * x[3]; ++i) part[static_cast<std::size_t>(i % x[3])] += from[at * x[3] + i];
      }
      for (std::size_t c = 0; c < channels; ++c) sums[c] += part[c];
    }
    for (float& sum : sums) sum /= static_cast<float>(count);
  }
  return Status::Ok();
}

Result<Window> PlanPool(const NodeContext& context) {
  return PlanFirst(context, [](const NodeContext& first) { return PlanWindow(first, first.Ints("kernel_shape")); });
}

Status InferPool(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(CheckInputs(context));
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanPool(context));
  const Shape& x = context.ShapeOf(0);
  outputs.push_back({OnnxType::kFloat, {x[0], window[1].output, window[2].output, x[3]}});
  return Status::Ok();
}

template <bool kMax>
Status RunPool(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanPool(context));
  const std::int64_t channels = context.ShapeOf(0)[3];
  const bool counts_pads = context.Int("count_include_pad", 0) != 0;
  for (std::int64_t image = 0; image < context.ShapeOf(0)[0] && outputs[0].count() > 0; ++image) {
    FORESHORE_RETURN_IF_ERROR(context.Poll());
    const auto* from = context.inputs[0].as<float>() + image * window.InputCount() * channels;
    auto* to = outputs[0].as<float>() + image * window.OutputCount() * channels;
    EachOutput(window, [&](std::int64_t offset, const auto& place) {
      float* out = to + offset * channels;
      std::fill(out, out + channels, kMax ? std::numeric_limits<float>::lowest() : 0.0F);
      std::int64_t count = 0;
      EachInWindow(window, place, [&](std::int64_t input, std::int64_t) {
        const float* pixel = from + input * channels;
        ++count;
        if constexpr (kMax) {
          for (std::int64_t c = 0; c < channels; ++c) out[c] = std::max(out[c], pixel[c]);
        } else {
          for (std::int64_t c = 0; c < channels; ++c) out[c] += pixel[c];
        }
      });
      if (kMax) return;
      if (counts_pads) count = window[1].PaddedCount(place[1]) * window[2].PaddedCount(place[2]);
      for (std::int64_t c = 0; c < channels && count > 0; ++c) out[c] /= static_cast<float>(count);
    });
  }
  return Status::Ok();
}

template <bool kToLast>
Status InferTurn(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kTurned));
  FORESHORE_RETURN_IF_ERROR(context.RequireRank(0, 4));
  const Shape& x = context.ShapeOf(0);
  outputs.push_back({context.Info(0).type, kToLast ? Shape{x[0], x[2], x[3], x[1]} : Shape{x[0], x[3], x[1], x[2]}});
  return Status::Ok();
}

template <typename T>
void TurnImage(const T* from, std::int64_t rows, std::int64_t columns, T* to) {
  // The shorter side inside, so that few lines are open at a time.
  if (rows <= columns) {
    for (std::int64_t c = 0; c < columns; ++c) {
      for (std::int64_t r = 0; r < rows; ++r) to[c * rows + r] = from[r * columns + c];
    }
  } else {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) to[c * rows + r] = from[r * columns + c];
    }
  }
}

template <bool kToLast>
Status RunTurn(const NodeContext& context, std::span<const OutputRef> outputs) {
  const Shape& x = context.ShapeOf(0);
  const std::int64_t rows = kToLast ? x[1] : x[1] * x[2];
  const std::int64_t columns = kToLast ? x[2] * x[3] : x[3];
  DispatchWidth(context.Info(0).type, [&]<typename T>() {
    for (std::int64_t image = 0; image < x[0]; ++image) {
      const std::int64_t at = image * rows * columns;
      TurnImage(context.inputs[0].as<T>() + at, rows, columns, outputs[0].as<T>() + at);
    }
  });
  return Status::Ok();
}

}  // namespace

Result<Window> PlanLastConv(const NodeContext& context) {
  return PlanFirst(context, [](const NodeContext& first) { return PlanConv(first); });
}

Result<Window> PlanLastConvTranspose(const NodeContext& context) {
  return PlanFirst(context, [](const NodeContext& first) { return PlanConvTranspose(first); });
}

const Operator& LastConvOperator() {
  static constexpr Operator kOperator{.name = "LastConv",
                                      .inputs_min = 2,
                                      .inputs_max = 3,
                                      .kind = OperatorKind::kHeavy,
                                      .infer = InferConv,
                                      .run = RunConv};
  return kOperator;
}

const Operator& LastConvTransposeOperator() {
  static constexpr Operator kOperator{.name = "LastConvTranspose",
                                      .inputs_min = 2,
                                      .inputs_max = 3,
                                      .kind = OperatorKind::kHeavy,
                                      .infer = InferConvTranspose,
                                      .run = RunConvTranspose};
  return kOperator;
}

const Operator& LastMeanOperator() {
  static constexpr Operator kOperator{.name = "LastMean",
                                      .kind = OperatorKind::kHeavy,
                                      .infer = InferMean,
                                      .run = RunMean,
                                      .workspace = MeanWorkspaceBytes};
  return kOperator;
}

const Operator& LastMaxPoolOperator() {
  static constexpr Operator kOperator{
      .name = "LastMaxPool", .kind = OperatorKind::kHeavy, .infer = InferPool, .run = RunPool<true>};
  return kOperator;
}

const Operator& LastAveragePoolOperator() {
  static constexpr Operator kOperator{
      .name = "LastAveragePool", .kind = OperatorKind::kHeavy, .infer = InferPool, .run = RunPool<false>};
  return kOperator;
}

const Operator& ToLastOperator() {
  static constexpr Operator kOperator{.name = "ToLast", .infer = InferTurn<true>, .run = RunTurn<true>};
  return kOperator;
}

const Operator& ToFirstOperator() {
  static constexpr Operator kOperator{.name = "ToFirst", .infer = InferTurn<false>, .run = RunTurn<false>};
  return kOperator;
}

}  // namespace foreshore::graph
