// Resize and Upsample: each axis is resampled on its own, every output from a few weighted inputs.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

enum class Mode { kNearest, kLinear, kCubic };

struct ResizePlan {
  Mode mode = Mode::kNearest;
  std::string_view coordinates = "half_pixel";
  std::string_view rounding = "round_prefer_floor";
  std::vector<double> scales;
  Shape sizes;
  std::vector<double> starts;  // Of the region, for tf_crop_and_resize.
  std::vector<double> ends;
};

constexpr std::int64_t kSizeMax = std::int64_t{1} << 30;

bool IsOneOf(std::string_view value, std::initializer_list<std::string_view> known) {
  return std::find(known.begin(), known.end(), value) != known.end();
}

Result<std::vector<double>> FloatsOf(const NodeContext& context, std::size_t index) {
  FORESHORE_RETURN_IF_ERROR(context.Require(index, kFloatTypes));
  std::vector<double> values;
  const Status status = Dispatch<kFloatTypes>(context.Info(index).type, [&]<typename T>() {
    for (std::int64_t i = 0; i < std::min<std::int64_t>(context.inputs[index].count(), 64); ++i) {
      values.push_back(static_cast<double>(static_cast<Wide<T>>(context.inputs[index].as<T>()[i])));
    }
    return Status::Ok();
  });
  if (!status.ok()) return status;
  return values;
}

// Scales, sizes and region of the listed axes; the others stay as they are.
Status ReadTargets(const NodeContext& context, ResizePlan& plan) {
  const std::size_t rank = context.Rank(0);
  const Shape& own = context.ShapeOf(0);
  std::vector<std::int64_t> listed = context.Ints("axes");
  if (listed.empty()) {
    for (std::size_t i = 0; i < rank; ++i) listed.push_back(static_cast<std::int64_t>(i));
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto axes, NormaliseAxes(listed, rank));
  plan.scales.assign(rank, 1.0);
  plan.starts.assign(rank, 0.0);
  plan.ends.assign(rank, 1.0);
  plan.sizes = own;
  const bool is_old = context.opset < 11;
  const std::size_t scales_index = is_old ? 1 : 2;
  std::vector<double> scales;
  if (const OnnxAttribute* attribute = context.node.Attribute("scales"); attribute != nullptr) {
    scales.assign(attribute->floats.begin(), attribute->floats.end());
  } else if (context.Has(scales_index) && context.inputs[scales_index].count() > 0) {
    FORESHORE_ASSIGN_OR_RETURN(scales, FloatsOf(context, scales_index));
  }
  std::vector<std::int64_t> sizes;
  if (!is_old && context.Has(3)) {
    FORESHORE_ASSIGN_OR_RETURN(sizes, context.InputInts(3));
  }
  if (scales.empty() == sizes.empty() || std::max(scales.size(), sizes.size()) != axes.size()) {
    return Status::InvalidArgument(std::to_string(scales.size()) + " scales and " + std::to_string(sizes.size()) +
                                   " sizes, expected one of them for " + std::to_string(axes.size()) + " axes");
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::size_t axis = axes[i];
    double size =
        scales.empty() ? static_cast<double>(sizes[i]) : std::floor(static_cast<double>(own[axis]) * scales[i]);
    if (!(size >= 0 && size <= static_cast<double>(kSizeMax)) || (!scales.empty() && !(scales[i] > 0)) ||
        (own[axis] == 0 && size > 0)) {
      return Status::InvalidArgument("axis " + std::to_string(axis) + " of " + ToText(context.Info(0)) +
                                     " is to be resized to " + std::to_string(size));
    }
    plan.sizes[axis] = static_cast<std::int64_t>(size);
    plan.scales[axis] = scales.empty() ? size / static_cast<double>(std::max<std::int64_t>(own[axis], 1)) : scales[i];
  }
  if (plan.coordinates != "tf_crop_and_resize") return Status::Ok();
  if (!context.Has(1)) return Status::InvalidArgument("input 1 is missing, expected a region");
  FORESHORE_ASSIGN_OR_RETURN(const auto region, FloatsOf(context, 1));
  if (region.size() != 2 * axes.size()) {
    return Status::InvalidArgument("input 1 is " + ToText(context.Info(1)) + ", expected two numbers for each axis");
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    plan.starts[axes[i]] = region[i];
    plan.ends[axes[i]] = region[axes.size() + i];
  }
  return Status::Ok();
}

Result<ResizePlan> PlanResize(const NodeContext& context) {
  ResizePlan plan;
  const std::string_view mode = context.Text("mode", "nearest");
  plan.mode = mode == "nearest" ? Mode::kNearest : mode == "cubic" ? Mode::kCubic : Mode::kLinear;
  if (!IsOneOf(mode, {"nearest", "linear", "cubic"})) {
    return Status::Unsupported("mode \"" + std::string(mode.substr(0, 32)) + "\"");
  }
  if (context.opset < 11) {
    plan.coordinates = "asymmetric";
    plan.rounding = "floor";
  }
  plan.coordinates = context.Text("coordinate_transformation_mode", plan.coordinates);
  plan.rounding = context.Text("nearest_mode", plan.rounding);
  if (!IsOneOf(plan.coordinates, {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric",
                                  "tf_half_pixel_for_nn", "tf_crop_and_resize"})) {
    return Status::Unsupported("coordinate_transformation_mode \"" + std::string(plan.coordinates.substr(0, 32)) +
                               "\"");
  }
  if (!IsOneOf(plan.rounding, {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"})) {
    return Status::Unsupported("nearest_mode \"" + std::string(plan.rounding.substr(0, 32)) + "\"");
  }
  if (context.Int("antialias", 0) != 0) return Status::Unsupported("antialias is 1, expected 0");
  if (context.Text("keep_aspect_ratio_policy", "stretch") != "stretch") {
    return Status::Unsupported("keep_aspect_ratio_policy is not \"stretch\"");
  }
  FORESHORE_RETURN_IF_ERROR(ReadTargets(context, plan));
  return plan;
}

Status InferResize(const NodeContext& context, Infos& outputs) {
  FORESHORE_ASSIGN_OR_RETURN(ResizePlan plan, PlanResize(context));
  if (plan.mode != Mode::kNearest) FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  outputs.push_back({context.Info(0).type, std::move(plan.sizes)});
  return Status::Ok();
}

// Where output `at` lies in the input.
double Coordinate(const ResizePlan& plan, std::size_t axis, std::int64_t own, std::int64_t at) {
  const auto x = static_cast<double>(at);
  const auto length = static_cast<double>(own);
  const double scale = plan.scales[axis];
  // Before it is cut to whole elements, as ONNX's cases have it.
  const double resized = length * scale;
  if (plan.coordinates == "align_corners") return resized > 1 ? x * (length - 1) / (resized - 1) : 0.0;
  if (plan.coordinates == "asymmetric") return x / scale;
  if (plan.coordinates == "tf_half_pixel_for_nn") return (x + 0.5) / scale;
  if (plan.coordinates == "pytorch_half_pixel") return resized > 1 ? (x + 0.5) / scale - 0.5 : 0.0;
  if (plan.coordinates == "tf_crop_and_resize") {
    const double start = plan.starts[axis];
    const double end = plan.ends[axis];
    return resized > 1 ? start * (length - 1) + x * (end - start) * (length - 1) / (resized - 1)
                       : 0.5 * (start + end) * (length - 1);
  }
  return (x + 0.5) / scale - 0.5;
}

// The inputs and weights of one output of one axis.
struct Taps {
  std::array<std::int64_t, 4> index{};
  std::array<float, 4> weight{};
  std::size_t count = 0;
  bool is_outside = false;  // tf_crop_and_resize: the region reaches beyond the input here.
};

double RoundBy(std::string_view rounding, double x) {
  if (rounding == "floor") return std::floor(x);
  if (rounding == "ceil") return std::ceil(x);
  return rounding == "round_prefer_ceil" ? std::floor(x + 0.5) : std::ceil(x - 0.5);
}

Taps MakeTaps(const NodeContext& context, const ResizePlan& plan, std::size_t axis, std::int64_t at) {
  const std::int64_t own = context.ShapeOf(0)[axis];
  // No region or scale makes more of a coordinate than an index of 2^53.
  const double x = std::clamp(Coordinate(plan, axis, own, at), -9.0e15, 9.0e15);
  Taps taps;
  taps.is_outside = plan.coordinates == "tf_crop_and_resize" && (x < 0 || x > static_cast<double>(own - 1));
  const auto add = [&](double index, double weight) {
    taps.index[taps.count] = std::clamp<std::int64_t>(static_cast<std::int64_t>(index), 0, own - 1);
    taps.weight[taps.count++] = static_cast<float>(weight);
  };
  if (plan.mode == Mode::kNearest) {
    add(RoundBy(plan.rounding, x), 1);
    return taps;
  }
  const double base = std::floor(x);
  const double t = x - base;
  if (plan.mode == Mode::kLinear) {
    add(base, 1 - t);
    add(base + 1, t);
    return taps;
  }
  const auto a = static_cast<double>(context.Float("cubic_coeff_a", -0.75F));
  const auto near = [a](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const auto far = [a](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  const double weights[] = {far(t + 1), near(t), near(1 - t), far(2 - t)};
  const bool excludes = context.Int("exclude_outside", 0) != 0;
  double sum = 0;
  for (int i = 0; i < 4; ++i) {
    const double index = base - 1 + i;
    const bool is_out = index < 0 || index > static_cast<double>(own - 1);
    const double weight = excludes && is_out ? 0.0 : weights[i];
    sum += weight;
    add(index, weight);
  }
  if (excludes && sum != 0) {
    for (float& weight : taps.weight) weight = static_cast<float>(static_cast<double>(weight) / sum);
  }
  return taps;
}

// Taps of each axis.
using AxisTaps = std::vector<std::span<Taps>>;

// Nearest moves elements of any type: as many at once as lie side by side in axes that keep their size.
void CopyNearest(const NodeContext& context, const OutputRef& output, const AxisTaps& taps) {
  const Shape& shape = output.info->shape;
  const Shape strides = Strides(context.ShapeOf(0));
  const auto stays = [&](std::size_t axis) {
    if (shape[axis] != context.ShapeOf(0)[axis]) return false;
    for (std::size_t i = 0; i < taps[axis].size(); ++i) {
      if (taps[axis][i].index[0] != static_cast<std::int64_t>(i)) return false;
    }
    return true;
  };
  std::size_t rank = shape.size();
  while (rank > 0 && stays(rank - 1)) --rank;
  const auto run_bytes = static_cast<std::size_t>(InnerCount(shape, rank)) * OnnxTypeBytes(output.info->type);
  if (rank == 0) {
    std::memcpy(output.data, context.inputs[0].data, run_bytes);
    return;
  }
  DispatchWidth(output.info->type, [&]<typename T>() {
    const T* input = context.inputs[0].as<T>();
    T* out = output.as<T>();
    Shape index(rank, 0);
    const std::int64_t inner = shape[rank - 1];
    const std::int64_t run = InnerCount(shape, rank);
    for (std::int64_t row = 0; row < output.count() / (inner * run); ++row) {
      std::int64_t from = 0;
      for (std::size_t axis = 0; axis + 1 < rank; ++axis) {
        from += taps[axis][static_cast<std::size_t>(index[axis])].index[0] * strides[axis];
      }
      for (std::int64_t i = 0; i < inner; ++i, out += run) {
        const T* element = input + from + taps[rank - 1][static_cast<std::size_t>(i)].index[0] * strides[rank - 1];
        if (run == 1) {
          *out = *element;
        } else {
          std::memcpy(out, element, run_bytes);
        }
      }
      for (std::size_t axis = rank - 1; axis-- > 0;) {
        if (++index[axis] < shape[axis]) break;
        index[axis] = 0;
      }
    }
  });
}

// One axis of [outer, own, inner] to [outer, taps, inner].
void ResampleAxis(const float* in, std::span<const Taps> taps, std::int64_t outer, std::int64_t own, std::int64_t inner,
                  float* out) {
  std::fill_n(out, outer * inner * static_cast<std::int64_t>(taps.size()), 0.0F);
  for (std::int64_t block = 0; block < outer; ++block, in += own * inner) {
    for (const Taps& tap : taps) {
      for (std::size_t k = 0; k < tap.count; ++k) {
        const float* row = in + tap.index[k] * inner;
        const float weight = tap.weight[k];
        for (std::int64_t i = 0; i < inner; ++i) out[i] += weight * row[i];
      }
      out += inner;
    }
  }
}

// Axes that a linear or cubic resize goes over, one after the other, and the elements before the first and after each.
// Floats are read from the input and written to the output; other types are floats in between: values[i] lies in
// buffer i mod 2.
struct Passes {
  std::vector<std::size_t> axes;
  std::vector<std::int64_t> counts;
  std::int64_t buffers[2] = {0, 0};  // Elements.

  Passes(const ResizePlan& plan, const NodeContext& context) {
    const bool is_float = context.Info(0).type == OnnxType::kFloat;
    Shape shape = context.ShapeOf(0);
    counts.push_back(ElementCount(shape));
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      if (plan.sizes[axis] == shape[axis] && plan.coordinates != "tf_crop_and_resize") continue;
      axes.push_back(axis);
      shape[axis] = plan.sizes[axis];
      counts.push_back(ElementCount(shape));
    }
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (is_float && (i == 0 || i + 1 == counts.size())) continue;
      buffers[i % 2] = std::max(buffers[i % 2], counts[i]);
    }
  }
};

std::uint64_t TapsBytes(const ResizePlan& plan) {
  std::uint64_t count = 0;
  for (const std::int64_t size : plan.sizes) count += static_cast<std::uint64_t>(size);
  return count * sizeof(Taps);
}

std::uint64_t ResizeWorkspaceBytes(const NodeContext& context) {
  const auto plan = PlanResize(context);
  if (!plan.ok()) return 0;
  if (plan->mode == Mode::kNearest) return TapsBytes(*plan);
  const Passes passes(*plan, context);
  return TapsBytes(*plan) + static_cast<std::uint64_t>(passes.buffers[0] + passes.buffers[1]) * sizeof(float);
}

template <typename T>
Status Resample(const NodeContext& context, const ResizePlan& plan, const AxisTaps& taps, const OutputRef& output) {
  constexpr bool kIsFloat = std::is_same_v<T, float>;
  const Passes passes(plan, context);
  auto* first = reinterpret_cast<float*>(context.workspace + TapsBytes(plan));
  float* const buffers[2] = {first, first + passes.buffers[0]};
  const T* input = context.inputs[0].as<T>();
  T* out = output.as<T>();
  const float* from = buffers[0];
  if constexpr (kIsFloat) {
    from = input;
  } else {
    for (std::int64_t i = 0; i < passes.counts[0]; ++i)
      buffers[0][i] = static_cast<float>(static_cast<Wide<T>>(input[i]));
  }
  Shape shape = context.ShapeOf(0);
  for (std::size_t pass = 0; pass < passes.axes.size(); ++pass) {
    FORESHORE_RETURN_IF_ERROR(context.Poll());
    const std::size_t axis = passes.axes[pass];
    float* to = buffers[(pass + 1) % 2];
    if constexpr (kIsFloat) {
      if (pass + 1 == passes.axes.size()) to = out;
    }
    ResampleAxis(from, taps[axis], OuterCount(shape, axis), shape[axis], InnerCount(shape, axis + 1), to);
    shape[axis] = plan.sizes[axis];
    from = to;
  }
  if (!kIsFloat || passes.axes.empty()) {
    for (std::int64_t i = 0; i < output.count(); ++i) out[i] = static_cast<T>(from[i]);
  }
  return Status::Ok();
}

Status RunResize(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const ResizePlan plan, PlanResize(context));
  if (outputs[0].count() == 0) return Status::Ok();
  const Shape& shape = context.ShapeOf(0);
  AxisTaps taps;
  auto* next = reinterpret_cast<Taps*>(context.workspace);
  bool has_outside = false;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    taps.emplace_back(next, static_cast<std::size_t>(plan.sizes[axis]));
    for (std::int64_t at = 0; at < plan.sizes[axis]; ++at) {
      *next = MakeTaps(context, plan, axis, at);
      has_outside = has_outside || next->is_outside;
      ++next;
    }
  }
  if (plan.mode == Mode::kNearest) {
    CopyNearest(context, outputs[0], taps);
  } else {
    FORESHORE_RETURN_IF_ERROR(Dispatch<kFloatTypes>(
        context.Info(0).type, [&]<typename T>() { return Resample<T>(context, plan, taps, outputs[0]); }));
  }
  if (!has_outside) return Status::Ok();
  const float fill = context.Float("extrapolation_value", 0.0F);
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    Shape index(shape.size(), 0);
    for (std::int64_t i = 0; i < outputs[0].count(); ++i) {
      for (std::size_t axis = 0; axis < index.size(); ++axis) {
        if (taps[axis][static_cast<std::size_t>(index[axis])].is_outside) {
          outputs[0].as<T>()[i] = static_cast<T>(static_cast<Wide<T>>(fill));
        }
      }
      for (std::size_t axis = index.size(); axis-- > 0;) {
        if (++index[axis] < plan.sizes[axis]) break;
        index[axis] = 0;
      }
    }
    return Status::Ok();
  });
}

constexpr Operator kOperators[] = {
    {.name = "Resize",
     .since = 10,
     .inputs_max = 4,
     .attributes = "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value "
                   "keep_aspect_ratio_policy mode nearest_mode",
     .shape_inputs = 0b1110,
     .infer = InferResize,
     .run = RunResize,
     .workspace = ResizeWorkspaceBytes},
    // Up to operator set 9; Resize came in its place.
    {.name = "Upsample",
     .inputs_max = 2,
     .attributes = "mode scales",
     .shape_inputs = 0b10,
     .infer = InferResize,
     .run = RunResize,
     .workspace = ResizeWorkspaceBytes},
};

}  // namespace

std::span<const Operator> ResizeOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
