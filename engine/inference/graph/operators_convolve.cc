// Convolutions, plain and transposed.
#include <algorithm>
#include <array>
#include <vector>

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

// A transposed convolution spreads each input over a window of outputs: the axes of the window have input and output
// exchanged.
Result<Window> PlanConvTranspose(const NodeContext& context) {
  const Shape& shape = context.ShapeOf(0);
  const Shape& weights = context.ShapeOf(1);
  if (shape.size() < 3 || shape.size() > kSpatialMax + 2 || weights.size() != shape.size()) {
    return Status::Unsupported("input 0 is " + ToText(context.Info(0)) + ", its weights " + ToText(weights) +
                               ", expected [batch, channels, …] with one to three more axes");
  }
  const std::size_t rank = shape.size() - 2;
  const Shape kernel(weights.begin() + 2, weights.end());
  if (context.HasAttribute("kernel_shape") && context.Ints("kernel_shape") != kernel) {
    return Status::InvalidArgument("kernel_shape is " + ToText(context.Ints("kernel_shape")) + ", the weights are " +
                                   ToText(weights));
  }
  const auto read = [&](std::string_view name, std::size_t size, std::int64_t absent, std::int64_t min,
                        std::vector<std::int64_t>& values) {
    values = context.Ints(name);
    if (values.empty()) values.assign(size, absent);
    const bool fits = values.size() == size && std::all_of(values.begin(), values.end(), [min](std::int64_t value) {
                        return value >= min && value <= kWindowMax;
                      });
    if (fits) return Status::Ok();
    return Status::InvalidArgument(std::string(name) + " is " + ToText(values) + ", expected " + std::to_string(size) +
                                   " numbers from " + std::to_string(min));
  };
  std::vector<std::int64_t> strides;
  std::vector<std::int64_t> dilations;
  std::vector<std::int64_t> pads;
  std::vector<std::int64_t> extra;
  std::vector<std::int64_t> asked;
  FORESHORE_RETURN_IF_ERROR(read("strides", rank, 1, 1, strides));
  FORESHORE_RETURN_IF_ERROR(read("dilations", rank, 1, 1, dilations));
  FORESHORE_RETURN_IF_ERROR(read("pads", rank * 2, 0, 0, pads));
  FORESHORE_RETURN_IF_ERROR(read("output_padding", rank, 0, 0, extra));
  FORESHORE_RETURN_IF_ERROR(read("output_shape", rank, 0, 0, asked));
  const std::string_view padding = context.Text("auto_pad", "NOTSET");
  const bool is_same = padding == "SAME_UPPER" || padding == "SAME_LOWER";
  Window window;
  window.rank = rank;
  for (std::size_t i = 0; i < rank; ++i) {
    if (kernel[i] < 1 || kernel[i] > kWindowMax || shape[i + 2] < 1 || shape[i + 2] > kWindowMax) {
      return Status::InvalidArgument("a window of " + ToText(kernel) + " over " + ToText(context.Info(0)));
    }
    Axis& axis = window.axes[kSpatialMax - rank + i];
    axis = {0, kernel[i], strides[i], dilations[i], pads[i], pads[rank + i], shape[i + 2]};
    if (padding == "VALID") axis.before = axis.after = 0;
    const std::int64_t full = axis.stride * (axis.output - 1) + extra[i] + (axis.kernel - 1) * axis.dilation + 1;
    std::int64_t size = is_same ? axis.output * axis.stride : context.HasAttribute("output_shape") ? asked[i] : -1;
    if (size >= 0) {
      const std::int64_t total = std::max<std::int64_t>(full - size, 0);
      axis.before = padding == "SAME_UPPER" ? total / 2 : total - total / 2;
      axis.after = total - axis.before;
    } else {
      size = full - axis.before - axis.after;
    }
    if (size < 1) {
      return Status::InvalidArgument("pads " + ToText(pads) + " leave nothing of an axis of " + std::to_string(full));
    }
    axis.input = size;
  }
  return window;
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
    std::vector<W> plane(static_cast<std::size_t>(window.InputCount()));
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
     .run = RunConvTranspose},
};

}  // namespace

std::span<const Operator> ConvolveOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
