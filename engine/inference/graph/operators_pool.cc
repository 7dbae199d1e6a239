// Poolings.
#include <algorithm>
#include <array>
#include <limits>

#include "engine/inference/graph/window.h"

namespace foreshore::graph {

namespace {

constexpr TypeSet kMaxPoolTypes = kFloatTypes | SetOf(OnnxType::kInt8) | SetOf(OnnxType::kUint8);

template <TypeSet kTypes>
Status InferPool(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kTypes));
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanWindow(context, context.Ints("kernel_shape")));
  outputs.push_back(OutputInfo(context, window, context.ShapeOf(0)[1], context.Info(0).type));
  return Status::Ok();
}

Status InferMaxPool(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(InferPool<kMaxPoolTypes>(context, outputs));
  outputs.push_back({OnnxType::kInt64, outputs[0].shape});
  return Status::Ok();
}

// Where the element at `offset` of a plane lies if the first spatial axis runs fastest.
std::int64_t ColumnMajor(const Window& window, std::int64_t offset) {
  const std::int64_t z = offset % window[2].input;
  const std::int64_t y = offset / window[2].input % window[1].input;
  const std::int64_t x = offset / window[2].input / window[1].input;
  return (z * window[1].input + y) * window[0].input + x;
}

// The largest of what exists in the window, and as second output where it is.
Status RunMaxPool(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanWindow(context, context.Ints("kernel_shape")));
  const bool has_places = outputs.size() > 1 && outputs[1].data != nullptr;
  const bool is_column_major = context.Int("storage_order", 0) != 0;
  return Dispatch<kMaxPoolTypes>(context.Info(0).type, [&]<typename T>() {
    using W = Wide<T>;
    for (std::int64_t plane = 0; plane < OuterCount(context.ShapeOf(0), 2) && outputs[0].count() > 0; ++plane) {
      FORESHORE_RETURN_IF_ERROR(context.Poll());
      const T* from = context.inputs[0].as<T>() + plane * window.InputCount();
      T* to = outputs[0].as<T>() + plane * window.OutputCount();
      EachOutput(window, [&](std::int64_t offset, const auto& at) {
        W best = std::numeric_limits<W>::lowest();
        std::int64_t place = 0;
        EachInWindow(window, at, [&](std::int64_t input, std::int64_t) {
          const auto value = static_cast<W>(from[input]);
          if (value > best) place = input;
          best = std::max(best, value);
        });
        to[offset] = static_cast<T>(best);
        if (has_places) {
          outputs[1].as<std::int64_t>()[plane * window.OutputCount() + offset] =
              plane * window.InputCount() + (is_column_major ? ColumnMajor(window, place) : place);
        }
      });
    }
    return Status::Ok();
  });
}

Status RunAveragePool(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanWindow(context, context.Ints("kernel_shape")));
  const bool counts_pads = context.Int("count_include_pad", 0) != 0;
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    using W = Wide<T>;
    for (std::int64_t plane = 0; plane < OuterCount(context.ShapeOf(0), 2) && outputs[0].count() > 0; ++plane) {
      const T* from = context.inputs[0].as<T>() + plane * window.InputCount();
      T* to = outputs[0].as<T>() + plane * window.OutputCount();
      EachOutput(window, [&](std::int64_t offset, const auto& at) {
        W sum{0};
        std::int64_t count = 0;
        EachInWindow(window, at, [&](std::int64_t input, std::int64_t) {
          sum += static_cast<W>(from[input]);
          ++count;
        });
        if (counts_pads) {
          count = 1;
          for (std::size_t i = 0; i < kSpatialMax; ++i) count *= window[i].PaddedCount(at[i]);
        }
        to[offset] = static_cast<T>(count > 0 ? sum / static_cast<W>(count) : W{0});
      });
    }
    return Status::Ok();
  });
}

Status InferGlobalPool(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  TensorInfo info = context.Info(0);
  if (info.shape.size() < 3 || InnerCount(info.shape, 2) == 0) {
    return Status::InvalidArgument("input 0 is " + ToText(info) + ", expected [batch, channels, …] with elements");
  }
  std::fill(info.shape.begin() + 2, info.shape.end(), 1);
  outputs.push_back(std::move(info));
  return Status::Ok();
}

template <bool kMax>
Status RunGlobalPool(const NodeContext& context, std::span<const OutputRef> outputs) {
  const std::int64_t inner = InnerCount(context.ShapeOf(0), 2);
  if (!kMax && context.kernels != nullptr && context.Info(0).type == OnnxType::kFloat) {
    for (std::int64_t plane = 0; plane < outputs[0].count(); ++plane) {
      const float sum =
          context.kernels->sum(context.inputs[0].as<float>() + plane * inner, static_cast<std::size_t>(inner));
      outputs[0].as<float>()[plane] = sum / static_cast<float>(inner);
    }
    return Status::Ok();
  }
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    using W = Wide<T>;
    for (std::int64_t plane = 0; plane < outputs[0].count(); ++plane) {
      const T* from = context.inputs[0].as<T>() + plane * inner;
      auto result = static_cast<W>(from[0]);
      for (std::int64_t i = 1; i < inner; ++i) {
        result = kMax ? std::max(result, static_cast<W>(from[i])) : result + static_cast<W>(from[i]);
      }
      outputs[0].as<T>()[plane] = static_cast<T>(kMax ? result : result / static_cast<W>(inner));
    }
    return Status::Ok();
  });
}

constexpr Operator kOperators[] = {
    {.name = "MaxPool",
     .outputs_max = 2,
     .attributes = "auto_pad ceil_mode dilations kernel_shape pads storage_order strides",
     .kind = OperatorKind::kHeavy,
     .infer = InferMaxPool,
     .run = RunMaxPool},
    {.name = "AveragePool",
     .attributes = "auto_pad ceil_mode count_include_pad kernel_shape pads strides",
     .kind = OperatorKind::kHeavy,
     .infer = InferPool<kFloatTypes>,
     .run = RunAveragePool},
    {.name = "GlobalAveragePool", .kind = OperatorKind::kHeavy, .infer = InferGlobalPool, .run = RunGlobalPool<false>},
    {.name = "GlobalMaxPool", .kind = OperatorKind::kHeavy, .infer = InferGlobalPool, .run = RunGlobalPool<true>},
};

}  // namespace

std::span<const Operator> PoolOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
