#include "engine/inference/graph/window.h"

#include <vector>

namespace foreshore::graph {

namespace {

Status FinishAxis(const NodeContext& context, Axis& axis) {
  const std::string_view padding = context.Text("auto_pad", "NOTSET");
  const std::int64_t extent = (axis.kernel - 1) * axis.dilation + 1;
  if (padding == "SAME_UPPER" || padding == "SAME_LOWER") {
    axis.output = (axis.input + axis.stride - 1) / axis.stride;
    const std::int64_t total = std::max<std::int64_t>((axis.output - 1) * axis.stride + extent - axis.input, 0);
    axis.before = padding == "SAME_UPPER" ? total / 2 : (total + 1) / 2;
    axis.after = total - axis.before;
    return Status::Ok();
  }
  if (padding == "VALID") axis.before = axis.after = 0;
  const std::int64_t room = axis.input + axis.before + axis.after - extent;
  if (room < 0) {
    return Status::InvalidArgument("a window of " + std::to_string(extent) + " is larger than its padded axis of " +
                                   std::to_string(axis.input + axis.before + axis.after));
  }
  axis.output = room / axis.stride + 1;
  // Rounded up, but no window starts in the padding after the input.
  if (context.Int("ceil_mode", 0) != 0 && room % axis.stride != 0 &&
      axis.output * axis.stride < axis.input + axis.before) {
    ++axis.output;
  }
  return Status::Ok();
}

// The node's list of that name, or `size` times `absent`; kInvalidArgument for another length or numbers below `min`.
Result<std::vector<std::int64_t>> ReadSizes(const NodeContext& context, std::string_view name, std::size_t size,
                                            std::int64_t absent, std::int64_t min) {
  std::vector<std::int64_t> values = context.Ints(name);
  if (values.empty()) values.assign(size, absent);
  const bool fits = values.size() == size && std::all_of(values.begin(), values.end(), [min](std::int64_t value) {
                      return value >= min && value <= kWindowMax;
                    });
  if (fits) return values;
  return Status::InvalidArgument(std::string(name) + " is " + ToText(values) + ", expected " + std::to_string(size) +
                                 " numbers from " + std::to_string(min));
}

}  // namespace

Result<Window> PlanWindow(const NodeContext& context, const Shape& kernel) {
  const Shape& shape = context.ShapeOf(0);
  Window window;
  window.rank = kernel.size();
  if (window.rank < 1 || window.rank > kSpatialMax || shape.size() != window.rank + 2) {
    return Status::Unsupported("input 0 is " + ToText(context.Info(0)) + ", its window " + ToText(kernel) +
                               ", expected [batch, channels, …] with one to three more axes");
  }
  const std::string_view padding = context.Text("auto_pad", "NOTSET");
  if (padding != "NOTSET" && padding != "VALID" && padding != "SAME_UPPER" && padding != "SAME_LOWER") {
    return Status::Unsupported("auto_pad \"" + std::string(padding.substr(0, 32)) + "\"");
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto strides, ReadSizes(context, "strides", window.rank, 1, 1));
  FORESHORE_ASSIGN_OR_RETURN(const auto dilations, ReadSizes(context, "dilations", window.rank, 1, 1));
  FORESHORE_ASSIGN_OR_RETURN(const auto pads, ReadSizes(context, "pads", window.rank * 2, 0, 0));
  for (std::size_t i = 0; i < window.rank; ++i) {
    if (kernel[i] < 1 || kernel[i] > kWindowMax || shape[i + 2] > kWindowMax) {
      return Status::InvalidArgument("a window of " + ToText(kernel) + " over " + ToText(context.Info(0)));
    }
    Axis& axis = window.axes[kSpatialMax - window.rank + i];
    axis = {shape[i + 2], kernel[i], strides[i], dilations[i], pads[i], pads[window.rank + i], 1};
    FORESHORE_RETURN_IF_ERROR(FinishAxis(context, axis));
  }
  return window;
}

TensorInfo OutputInfo(const NodeContext& context, const Window& window, std::int64_t channels, OnnxType type) {
  TensorInfo info{type, {context.ShapeOf(0)[0], channels}};
  for (std::size_t i = kSpatialMax - window.rank; i < kSpatialMax; ++i) info.shape.push_back(window[i].output);
  return info;
}

Result<Window> PlanConv(const NodeContext& context, std::size_t weights_index) {
  const Shape& weights = context.ShapeOf(weights_index);
  const Shape kernel(weights.size() > 2 ? weights.begin() + 2 : weights.end(), weights.end());
  if (context.HasAttribute("kernel_shape") && context.Ints("kernel_shape") != kernel) {
    return Status::InvalidArgument("kernel_shape is " + ToText(context.Ints("kernel_shape")) + ", the weights are " +
                                   ToText(weights));
  }
  return PlanWindow(context, kernel);
}

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
  FORESHORE_ASSIGN_OR_RETURN(const auto strides, ReadSizes(context, "strides", rank, 1, 1));
  FORESHORE_ASSIGN_OR_RETURN(const auto dilations, ReadSizes(context, "dilations", rank, 1, 1));
  FORESHORE_ASSIGN_OR_RETURN(const auto pads, ReadSizes(context, "pads", rank * 2, 0, 0));
  FORESHORE_ASSIGN_OR_RETURN(const auto extra, ReadSizes(context, "output_padding", rank, 0, 0));
  FORESHORE_ASSIGN_OR_RETURN(const auto asked, ReadSizes(context, "output_shape", rank, 0, 0));
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

Status CheckConv(const NodeContext& context, std::size_t weights_index, std::size_t bias_index) {
  const Shape& weights = context.ShapeOf(weights_index);
  const std::int64_t channels = context.ShapeOf(0)[1];
  const std::int64_t groups = context.Int("group", 1);
  if (groups < 1 || channels % groups != 0 || weights[1] != channels / groups || weights[0] % groups != 0) {
    return Status::InvalidArgument("weights " + ToText(weights) + " in " + std::to_string(groups) + " groups over " +
                                   ToText(context.Info(0)));
  }
  if (context.Has(bias_index)) {
    if (context.ShapeOf(bias_index) != Shape{weights[0]}) {
      return Status::InvalidArgument("bias is " + ToText(context.Info(bias_index)) +
                                     ", expected one number for each of " + std::to_string(weights[0]) + " channels");
    }
  }
  return Status::Ok();
}

}  // namespace foreshore::graph
