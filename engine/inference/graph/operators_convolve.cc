// Windows that slide over one to three spatial axes: convolution and pooling.
#include <algorithm>
#include <array>
#include <limits>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

constexpr std::size_t kSpatialMax = 3;
constexpr std::int64_t kWindowMax = std::int64_t{1} << 30;

// One spatial axis. Output `o` sees inputs o·stride − before + k·dilation for k in 0..kernel-1, where they exist.
struct Axis {
  std::int64_t input = 1;
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::int64_t dilation = 1;
  std::int64_t before = 0;
  std::int64_t after = 0;
  std::int64_t output = 1;

  std::int64_t At(std::int64_t o, std::int64_t k) const { return o * stride - before + k * dilation; }
  // The first k inside the input and the one after the last.
  std::int64_t First(std::int64_t o) const {
    const std::int64_t start = At(o, 0);
    return start >= 0 ? 0 : std::min((-start + dilation - 1) / dilation, kernel);
  }
  std::int64_t End(std::int64_t o) const {
    const std::int64_t room = input - At(o, 0);
    return room <= 0 ? 0 : std::min((room + dilation - 1) / dilation, kernel);
  }
};

// Fewer axes than three have axes of size 1 before them.
struct Window {
  std::array<Axis, kSpatialMax> axes;
  std::size_t rank = 0;

  const Axis& operator[](std::size_t i) const { return axes[i]; }
  std::int64_t InputCount() const { return axes[0].input * axes[1].input * axes[2].input; }
  std::int64_t KernelCount() const { return axes[0].kernel * axes[1].kernel * axes[2].kernel; }
  std::int64_t OutputCount() const { return axes[0].output * axes[1].output * axes[2].output; }
};

Status Finish(const NodeContext& context, Axis& axis) {
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
  FORESHORE_RETURN_IF_ERROR(read("strides", window.rank, 1, 1, strides));
  FORESHORE_RETURN_IF_ERROR(read("dilations", window.rank, 1, 1, dilations));
  FORESHORE_RETURN_IF_ERROR(read("pads", window.rank * 2, 0, 0, pads));
  for (std::size_t i = 0; i < window.rank; ++i) {
    if (kernel[i] < 1 || kernel[i] > kWindowMax || shape[i + 2] > kWindowMax) {
      return Status::InvalidArgument("a window of " + ToText(kernel) + " over " + ToText(context.Info(0)));
    }
    Axis& axis = window.axes[kSpatialMax - window.rank + i];
    axis = {shape[i + 2], kernel[i], strides[i], dilations[i], pads[i], pads[window.rank + i], 1};
    FORESHORE_RETURN_IF_ERROR(Finish(context, axis));
  }
  return window;
}

TensorInfo OutputInfo(const NodeContext& context, const Window& window, std::int64_t channels) {
  TensorInfo info{context.Info(0).type, {context.ShapeOf(0)[0], channels}};
  for (std::size_t i = kSpatialMax - window.rank; i < kSpatialMax; ++i) info.shape.push_back(window[i].output);
  return info;
}

// Calls body(input offset, kernel offset) for each element of the window at an output that exists.
template <typename Body>
void EachInWindow(const Window& window, const std::array<std::int64_t, kSpatialMax>& at, Body body) {
  const auto& [x, y, z] = window.axes;
  for (std::int64_t i = x.First(at[0]); i < x.End(at[0]); ++i) {
    for (std::int64_t j = y.First(at[1]); j < y.End(at[1]); ++j) {
      const std::int64_t row = (x.At(at[0], i) * y.input + y.At(at[1], j)) * z.input;
      for (std::int64_t k = z.First(at[2]); k < z.End(at[2]); ++k) {
        body(row + z.At(at[2], k), (i * y.kernel + j) * z.kernel + k);
      }
    }
  }
}

// Calls body(output offset, place) for each output of one channel.
template <typename Body>
void EachOutput(const Window& window, Body body) {
  std::int64_t offset = 0;
  for (std::int64_t i = 0; i < window[0].output; ++i) {
    for (std::int64_t j = 0; j < window[1].output; ++j) {
      for (std::int64_t k = 0; k < window[2].output; ++k) body(offset++, std::array{i, j, k});
    }
  }
}

Result<Window> PlanConv(const NodeContext& context) {
  const Shape& weights = context.ShapeOf(1);
  const Shape kernel(weights.size() > 2 ? weights.begin() + 2 : weights.end(), weights.end());
  if (context.HasAttribute("kernel_shape") && context.Ints("kernel_shape") != kernel) {
    return Status::InvalidArgument("kernel_shape is " + ToText(context.Ints("kernel_shape")) + ", the weights are " +
                                   ToText(weights));
  }
  return PlanWindow(context, kernel);
}

Status InferConv(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 1));
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConv(context));
  const Shape& weights = context.ShapeOf(1);
  const std::int64_t channels = context.ShapeOf(0)[1];
  const std::int64_t groups = context.Int("group", 1);
  if (groups < 1 || channels % groups != 0 || weights[1] != channels / groups || weights[0] % groups != 0) {
    return Status::InvalidArgument("weights " + ToText(weights) + " in " + std::to_string(groups) + " groups over " +
                                   ToText(context.Info(0)));
  }
  if (context.Has(2)) {
    FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
    if (context.ShapeOf(2) != Shape{weights[0]}) {
      return Status::InvalidArgument("bias is " + ToText(context.Info(2)) + ", expected one number for each of " +
                                     std::to_string(weights[0]) + " channels");
    }
  }
  outputs.push_back(OutputInfo(context, window, weights[0]));
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

constexpr TypeSet kMaxPoolTypes = kFloatTypes | SetOf(OnnxType::kInt8) | SetOf(OnnxType::kUint8);

template <TypeSet kTypes>
Status InferPool(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kTypes));
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanWindow(context, context.Ints("kernel_shape")));
  outputs.push_back(OutputInfo(context, window, context.ShapeOf(0)[1]));
  return Status::Ok();
}

// The largest of what exists in the window.
Status RunMaxPool(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanWindow(context, context.Ints("kernel_shape")));
  return Dispatch<kMaxPoolTypes>(context.Info(0).type, [&]<typename T>() {
    using W = Wide<T>;
    for (std::int64_t plane = 0; plane < OuterCount(context.ShapeOf(0), 2) && outputs[0].count() > 0; ++plane) {
      const T* from = context.inputs[0].as<T>() + plane * window.InputCount();
      T* to = outputs[0].as<T>() + plane * window.OutputCount();
      EachOutput(window, [&](std::int64_t offset, const auto& at) {
        W best = std::numeric_limits<W>::lowest();
        EachInWindow(window, at,
                     [&](std::int64_t input, std::int64_t) { best = std::max(best, static_cast<W>(from[input])); });
        to[offset] = static_cast<T>(best);
      });
    }
    return Status::Ok();
  });
}

// How many places of the window at `o` lie in the padded axis; what ceil_mode lets hang over is in none.
std::int64_t PaddedCount(const Axis& axis, std::int64_t o) {
  return std::min(axis.kernel, axis.input + axis.after - axis.At(o, 0));
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
          for (std::size_t i = 0; i < kSpatialMax; ++i) count *= PaddedCount(window[i], at[i]);
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
    {.name = "Conv",
     .inputs_min = 2,
     .inputs_max = 3,
     .attributes = "auto_pad dilations group kernel_shape pads strides",
     .kind = OperatorKind::kHeavy,
     .infer = InferConv,
     .run = RunConv},
    {.name = "MaxPool",
     .attributes = "auto_pad ceil_mode dilations kernel_shape pads storage_order strides",
     .kind = OperatorKind::kHeavy,
     .infer = InferPool<kMaxPoolTypes>,
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

std::span<const Operator> ConvolveOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
