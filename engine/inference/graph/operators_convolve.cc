// Convolutions, plain and transposed.
#include <algorithm>
#include <array>
#include <span>

#include "engine/inference/graph/window.h"

namespace foreshore::graph {

namespace {

Status InferConv(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 1));
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConv(context));
  FORESHORE_RETURN_IF_ERROR(CheckConv(context, 1, 2));
  if (context.Has(2)) FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
  outputs.push_back(OutputInfo(context, window, context.ShapeOf(1)[0], context.Info(0).type));
  return Status::Ok();
}

Status RunConv(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConv(context));
  if (outputs[0].count() == 0) return Status::Ok();
  const std::int64_t channels = context.ShapeOf(0)[1];
  const std::int64_t out_channels = context.ShapeOf(1)[0];
  const std::int64_t per_group = context.ShapeOf(1)[1];
  const std::int64_t out_per_group = out_channels / context.Int("group", 1);
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    using W = Wide<T>;
    for (std::int64_t image = 0; image < context.ShapeOf(0)[0]; ++image) {
      for (std::int64_t out = 0; out < out_channels; ++out) {
        FORESHORE_RETURN_IF_ERROR(context.Poll());
        const std::int64_t first = image * channels + out / out_per_group * per_group;
        const W bias = context.Has(2) ? static_cast<W>(context.inputs[2].as<T>()[out]) : W{0};
        T* to = outputs[0].as<T>() + (image * out_channels + out) * window.OutputCount();
        EachOutput(window, [&](std::int64_t offset, const auto& at) {
          W sum = bias;
          for (std::int64_t c = 0; c < per_group; ++c) {
            const T* from = context.inputs[0].as<T>() + (first + c) * window.InputCount();
            const T* weights = context.inputs[1].as<T>() + (out * per_group + c) * window.KernelCount();
            EachInWindow(window, at, [&](std::int64_t input, std::int64_t kernel) {
              sum += static_cast<W>(from[input]) * static_cast<W>(weights[kernel]);
            });
          }
          to[offset] = static_cast<T>(sum);
        });
      }
    }
    return Status::Ok();
  });
}

Status InferConvTranspose(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 1));
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConvTranspose(context));
  const Shape& weights = context.ShapeOf(1);
  const std::int64_t groups = context.Int("group", 1);
  const std::int64_t channels = context.ShapeOf(0)[1];
  if (groups < 1 || groups > channels || channels % groups != 0 || weights[0] != channels) {
    return Status::InvalidArgument("weights " + ToText(weights) + " in " + std::to_string(groups) + " groups over " +
                                   ToText(context.Info(0)));
  }
  TensorInfo info{context.Info(0).type, {context.ShapeOf(0)[0], weights[1]}};
  // At most 2^30 channels' groups of at most 2^63 / 2^30 each would still be refused by size; the product must fit.
  if (weights[1] > kWindowMax / groups) return Status::InvalidArgument("weights " + ToText(weights));
  info.shape[1] = weights[1] * groups;
  if (context.Has(2)) {
    FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
    if (context.ShapeOf(2) != Shape{info.shape[1]}) {
      return Status::InvalidArgument("bias is " + ToText(context.Info(2)) + ", expected one number for each of " +
                                     std::to_string(info.shape[1]) + " channels");
    }
  }
  for (std::size_t i = kSpatialMax - window.rank; i < kSpatialMax; ++i) info.shape.push_back(window[i].input);
  outputs.push_back(std::move(info));
  return Status::Ok();
}

// One output channel, of doubles at most.
std::uint64_t ConvTransposeWorkspaceBytes(const NodeContext& context) {
  const auto window = PlanConvTranspose(context);
  return window.ok() ? static_cast<std::uint64_t>(window->InputCount()) * sizeof(double) : 0;
}

// Gathers, for each output channel, what each input gives to the window around it.
Status RunConvTranspose(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConvTranspose(context));
  if (outputs[0].count() == 0) return Status::Ok();
  const std::int64_t channels = context.ShapeOf(0)[1];
  const std::int64_t out_channels = outputs[0].info->shape[1];
  const std::int64_t out_per_group = context.ShapeOf(1)[1];
  const std::int64_t per_group = channels / (out_channels / out_per_group);
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    using W = Wide<T>;
    const std::span plane(reinterpret_cast<W*>(context.workspace), static_cast<std::size_t>(window.InputCount()));
    for (std::int64_t image = 0; image < context.ShapeOf(0)[0]; ++image) {
      for (std::int64_t out = 0; out < out_channels; ++out) {
        FORESHORE_RETURN_IF_ERROR(context.Poll());
        const W bias = context.Has(2) ? static_cast<W>(context.inputs[2].as<T>()[out]) : W{0};
        std::fill(plane.begin(), plane.end(), bias);
        const std::int64_t first = out / out_per_group * per_group;
        for (std::int64_t c = first; c < first + per_group; ++c) {
          const T* from = context.inputs[0].as<T>() + (image * channels + c) * window.OutputCount();
          const T* weights =
              context.inputs[1].as<T>() + (c * out_per_group + out % out_per_group) * window.KernelCount();
          EachOutput(window, [&](std::int64_t offset, const auto& at) {
            const auto value = static_cast<W>(from[offset]);
            EachInWindow(window, at, [&](std::int64_t target, std::int64_t kernel) {
              plane[static_cast<std::size_t>(target)] += value * static_cast<W>(weights[kernel]);
            });
          });
        }
        T* to = outputs[0].as<T>() + (image * out_channels + out) * window.InputCount();
        for (std::int64_t i = 0; i < window.InputCount(); ++i) {
          to[i] = static_cast<T>(plane[static_cast<std::size_t>(i)]);
        }
      }
    }
    return Status::Ok();
  });
}

constexpr Operator kOperators[] = {
    {.name = "Conv",
     .inputs_min = 2,
     .inputs_max = 3,
     .attributes = "auto_pad dilations group kernel_shape pads strides",
     .kind = OperatorKind::kHeavy,
     .infer = InferConv,
     .run = RunConv},
    {.name = "ConvTranspose",
     .inputs_min = 2,
     .inputs_max = 3,
     .attributes = "auto_pad dilations group kernel_shape output_padding output_shape pads strides",
     .kind = OperatorKind::kHeavy,
     .infer = InferConvTranspose,
     .run = RunConvTranspose,
     .workspace = ConvTransposeWorkspaceBytes},
};

}  // namespace

std::span<const Operator> ConvolveOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
