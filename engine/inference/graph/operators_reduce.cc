// Operators that make one number of many along axes.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/inference/graph/operator.h"
#include "engine/inference/graph/saturate.h"

namespace foreshore::graph {

namespace {

// Floats are summed in doubles, integers modulo 2^64.
template <typename T>
using Accumulator = std::conditional_t<std::is_integral_v<T>, std::uint64_t, double>;

struct ReduceSum {
  static constexpr bool kNeedsElements = false;
  template <typename T>
  static T Reduce(std::int64_t count, const auto& at) {
    Accumulator<T> sum{0};
    for (std::int64_t i = 0; i < count; ++i) sum += static_cast<Accumulator<T>>(static_cast<Wide<T>>(at(i)));
    return static_cast<T>(static_cast<Modular<T>>(sum));
  }
};
struct ReduceMean {
  static constexpr bool kNeedsElements = true;
  template <typename T>
  static T Reduce(std::int64_t count, const auto& at) {
    Accumulator<T> sum{0};
    for (std::int64_t i = 0; i < count; ++i) sum += static_cast<Accumulator<T>>(static_cast<Wide<T>>(at(i)));
    if constexpr (std::is_signed_v<T> && std::is_integral_v<T>) {
      return static_cast<T>(static_cast<std::int64_t>(sum) / count);
    } else {
      return static_cast<T>(static_cast<Modular<T>>(sum / static_cast<Accumulator<T>>(count)));
    }
  }
};
struct ReduceProd {
  static constexpr bool kNeedsElements = false;
  template <typename T>
  static T Reduce(std::int64_t count, const auto& at) {
    Accumulator<T> product{1};
    for (std::int64_t i = 0; i < count; ++i) product *= static_cast<Accumulator<T>>(static_cast<Wide<T>>(at(i)));
    return static_cast<T>(static_cast<Modular<T>>(product));
  }
};
struct ReduceL2 {
  static constexpr bool kNeedsElements = false;
  template <typename T>
  static T Reduce(std::int64_t count, const auto& at) {
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto value = static_cast<double>(static_cast<Wide<T>>(at(i)));
      sum += value * value;
    }
    if constexpr (std::is_integral_v<T>) {
      return Saturate<T>(std::sqrt(sum));
    } else {
      return static_cast<T>(static_cast<Wide<T>>(std::sqrt(sum)));
    }
  }
};
// Sums of a function of each element, and a function of the sum, in doubles.
template <auto kOfElement, auto kOfSum>
struct ReduceFunction {
  static constexpr bool kNeedsElements = false;
  template <typename T>
  static T Reduce(std::int64_t count, const auto& at) {
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) sum += kOfElement(static_cast<double>(static_cast<Wide<T>>(at(i))));
    const double value = kOfSum(sum);
    if constexpr (std::is_integral_v<T>) {
      return Saturate<T>(value);
    } else {
      return static_cast<T>(static_cast<Wide<T>>(value));
    }
  }
};
double Same(double x) {
  return x;
}
double Square(double x) {
  return x * x;
}
double Magnitude(double x) {
  return std::fabs(x);
}
double Logarithm(double x) {
  return std::log(x);
}
using ReduceL1 = ReduceFunction<Magnitude, Same>;
using ReduceSumSquare = ReduceFunction<Square, Same>;
using ReduceLogSum = ReduceFunction<Same, Logarithm>;
// The largest is taken off first, so that no exponential overflows.
struct ReduceLogSumExp {
  static constexpr bool kNeedsElements = true;
  template <typename T>
  static T Reduce(std::int64_t count, const auto& at) {
    auto largest = static_cast<double>(static_cast<Wide<T>>(at(0)));
    for (std::int64_t i = 1; i < count; ++i) {
      largest = std::fmax(largest, static_cast<double>(static_cast<Wide<T>>(at(i))));
    }
    if (!std::isfinite(largest)) largest = 0;
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      sum += std::exp(static_cast<double>(static_cast<Wide<T>>(at(i))) - largest);
    }
    return static_cast<T>(static_cast<Wide<T>>(std::log(sum) + largest));
  }
};
// A NaN among the elements is the result.
template <bool kMax>
struct ReduceExtreme {
  static constexpr bool kNeedsElements = true;
  template <typename T>
  static T Reduce(std::int64_t count, const auto& at) {
    auto best = static_cast<Wide<T>>(at(0));
    for (std::int64_t i = 1; i < count; ++i) {
      const auto value = static_cast<Wide<T>>(at(i));
      if ((kMax ? value > best : value < best) || value != value) best = value;
    }
    return static_cast<T>(best);
  }
};

// Which axes are reduced; none listed means all, unless noop_with_empty_axes says none.
template <std::int64_t kAxesInputSince>
Result<std::vector<bool>> ReducedAxes(const NodeContext& context) {
  FORESHORE_ASSIGN_OR_RETURN(const auto listed, context.Axes(1, kAxesInputSince));
  FORESHORE_ASSIGN_OR_RETURN(const auto axes, NormaliseAxes(listed, context.Rank(0)));
  const bool reduces_all = axes.empty() && context.Int("noop_with_empty_axes", 0) == 0;
  std::vector<bool> reduced(context.Rank(0), reduces_all);
  for (const std::size_t axis : axes) reduced[axis] = true;
  return reduced;
}

TensorInfo ReducedInfo(const TensorInfo& own, const std::vector<bool>& reduced, bool keeps) {
  TensorInfo info{own.type, {}};
  for (std::size_t i = 0; i < own.shape.size(); ++i) {
    if (!reduced[i]) info.shape.push_back(own.shape[i]);
    if (reduced[i] && keeps) info.shape.push_back(1);
  }
  return info;
}

template <TypeSet kTypes, std::int64_t kAxesInputSince, typename Function>
Status InferReduce(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kTypes));
  FORESHORE_ASSIGN_OR_RETURN(const auto reduced, ReducedAxes<kAxesInputSince>(context));
  for (std::size_t i = 0; i < reduced.size() && Function::kNeedsElements; ++i) {
    if (reduced[i] && context.ShapeOf(0)[i] == 0) {
      return Status::InvalidArgument("reduces " + ToText(context.Info(0)) + " along an axis without elements");
    }
  }
  outputs.push_back(ReducedInfo(context.Info(0), reduced, context.Int("keepdims", 1) != 0));
  return Status::Ok();
}

// Walks over the axes that are kept, and for each element over those that are reduced.
template <TypeSet kTypes, std::int64_t kAxesInputSince, typename Function>
Status RunReduce(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const auto reduced, ReducedAxes<kAxesInputSince>(context));
  const Shape strides = Strides(context.ShapeOf(0));
  Shape kept_shape;
  Shape kept_strides;
  Shape inner_shape;
  Shape inner_strides;
  for (std::size_t i = 0; i < reduced.size(); ++i) {
    // Axes of size 1 do not stand between others.
    if (context.ShapeOf(0)[i] == 1) continue;
    (reduced[i] ? inner_shape : kept_shape).push_back(context.ShapeOf(0)[i]);
    (reduced[i] ? inner_strides : kept_strides).push_back(strides[i]);
  }
  const std::int64_t inner_count = ElementCount(inner_shape);
  // Inner offsets are counted out per element: division is slow, but needs no memory. Consecutive axes are one.
  bool is_one_axis = true;
  for (std::size_t i = 1; i < inner_shape.size(); ++i) {
    is_one_axis = is_one_axis && inner_strides[i - 1] == inner_strides[i] * inner_shape[i];
  }
  const std::int64_t step = inner_strides.empty() ? 1 : inner_strides.back();
  constexpr bool kIsSum = std::is_same_v<Function, ReduceSum> || std::is_same_v<Function, ReduceMean>;
  if (kIsSum && context.kernels != nullptr && context.Info(0).type == OnnxType::kFloat && is_one_axis && step == 1) {
    const float divisor = std::is_same_v<Function, ReduceMean> ? static_cast<float>(inner_count) : 1.0F;
    Walk(kept_shape, std::array{kept_strides}, [&](std::int64_t i, const auto& offsets) {
      outputs[0].as<float>()[i] =
          context.kernels->sum(context.inputs[0].as<float>() + offsets[0], static_cast<std::size_t>(inner_count)) /
          divisor;
    });
    return Status::Ok();
  }
  return Dispatch<kTypes>(context.Info(0).type, [&]<typename T>() {
    Walk(kept_shape, std::array{kept_strides}, [&](std::int64_t i, const auto& offsets) {
      const T* from = context.inputs[0].as<T>() + offsets[0];
      T& out = outputs[0].as<T>()[i];
      if (is_one_axis) {
        out = Function::template Reduce<T>(inner_count, [&](std::int64_t at) { return from[at * step]; });
        return;
      }
      out = Function::template Reduce<T>(inner_count, [&](std::int64_t at) {
        std::int64_t offset = 0;
        for (std::size_t axis = inner_shape.size(); axis-- > 0;) {
          offset += at % inner_shape[axis] * inner_strides[axis];
          at /= inner_shape[axis];
        }
        return from[offset];
      });
    });
    return Status::Ok();
  });
}

Status InferArg(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kNumberTypes));
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 0), context.Rank(0)));
  if (context.ShapeOf(0)[axis] == 0) return Status::InvalidArgument("the axis has no elements");
  std::vector<bool> reduced(context.Rank(0), false);
  reduced[axis] = true;
  outputs.push_back(ReducedInfo(context.Info(0), reduced, context.Int("keepdims", 1) != 0));
  outputs.back().type = OnnxType::kInt64;
  return Status::Ok();
}

template <bool kMax>
Status RunArg(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 0), context.Rank(0)));
  const bool takes_last = context.Int("select_last_index", 0) != 0;
  const std::int64_t size = context.ShapeOf(0)[axis];
  const std::int64_t inner = InnerCount(context.ShapeOf(0), axis + 1);
  const std::int64_t outer = OuterCount(context.ShapeOf(0), axis);
  return Dispatch<kNumberTypes>(context.Info(0).type, [&]<typename T>() {
    for (std::int64_t i = 0; i < outer * inner; ++i) {
      const T* from = context.inputs[0].as<T>() + i / inner * size * inner + i % inner;
      std::int64_t best = 0;
      for (std::int64_t k = 1; k < size; ++k) {
        const auto value = static_cast<Wide<T>>(from[k * inner]);
        const auto held = static_cast<Wide<T>>(from[best * inner]);
        const bool is_better = kMax ? value > held : value < held;
        if (is_better || (takes_last && value == held)) best = k;
      }
      outputs[0].as<std::int64_t>()[i] = best;
    }
    return Status::Ok();
  });
}

constexpr TypeSet kSumTypes = kFloatTypes | kIndexTypes | SetOf(OnnxType::kUint32) | SetOf(OnnxType::kUint64);
constexpr TypeSet kExtremeTypes = kSumTypes | SetOf(OnnxType::kInt8) | SetOf(OnnxType::kUint8);

template <typename Function, TypeSet kTypes = kSumTypes, std::int64_t kAxesInputSince = 18>
constexpr Operator Reduce(std::string_view name) {
  return {.name = name,
          .inputs_max = 2,
          .attributes = "axes keepdims noop_with_empty_axes",
          .shape_inputs = 0b10,
          .infer = InferReduce<kTypes, kAxesInputSince, Function>,
          .run = RunReduce<kTypes, kAxesInputSince, Function>};
}

template <bool kMax>
constexpr Operator Arg(std::string_view name) {
  return {.name = name, .attributes = "axis keepdims select_last_index", .infer = InferArg, .run = RunArg<kMax>};
}

constexpr Operator kOperators[] = {
    Reduce<ReduceSum, kSumTypes, 13>("ReduceSum"),
    Reduce<ReduceMean>("ReduceMean"),
    Reduce<ReduceProd>("ReduceProd"),
    Reduce<ReduceL2>("ReduceL2"),
    Reduce<ReduceL1>("ReduceL1"),
    Reduce<ReduceSumSquare>("ReduceSumSquare"),
    Reduce<ReduceLogSum>("ReduceLogSum"),
    Reduce<ReduceLogSumExp, kFloatTypes>("ReduceLogSumExp"),
    Reduce<ReduceExtreme<true>, kExtremeTypes>("ReduceMax"),
    Reduce<ReduceExtreme<false>, kExtremeTypes>("ReduceMin"),
    Arg<true>("ArgMax"),
    Arg<false>("ArgMin"),
};

}  // namespace

std::span<const Operator> ReduceOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
