// Arithmetic on two or more tensors that broadcast.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/inference/graph/operator.h"
#include "engine/inference/graph/saturate.h"

namespace foreshore::graph {

namespace {

struct Add {
  template <typename M>
  M operator()(M a, M b) const {
    return a + b;
  }
};
struct Sub {
  template <typename M>
  M operator()(M a, M b) const {
    return a - b;
  }
};
struct Mul {
  template <typename M>
  M operator()(M a, M b) const {
    return a * b;
  }
};
// As numpy does: a NaN on either side stays one.
struct Max {
  template <typename W>
  W operator()(W a, W b) const {
    return a > b || a != a ? a : b;
  }
};
struct Min {
  template <typename W>
  W operator()(W a, W b) const {
    return a < b || a != a ? a : b;
  }
};

// All inputs broadcast to one output of their one type.
template <TypeSet kTypes>
Status InferBroadcast(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kTypes));
  TensorInfo info = context.Info(0);
  for (std::size_t i = 1; i < context.inputs.size(); ++i) {
    if (!context.Has(i)) return Status::InvalidArgument("input " + std::to_string(i) + " is missing");
    FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, i));
    FORESHORE_ASSIGN_OR_RETURN(info.shape, BroadcastShape(info.shape, context.ShapeOf(i)));
  }
  outputs.push_back(std::move(info));
  return Status::Ok();
}

// The trailing axes in which each side goes on element by element or repeats one are a block for the vectors; false
// where such blocks are too small to be worth it.
bool RunBlocks(const NodeContext& context, const OutputRef& output, Binary function) {
  if (context.kernels == nullptr || output.info->type != OnnxType::kFloat) return false;
  constexpr std::int64_t kBlockMin = 8;
  const Shape& shape = output.info->shape;
  const std::array strides{BroadcastStrides(context.ShapeOf(0), shape), BroadcastStrides(context.ShapeOf(1), shape)};
  std::array<std::int64_t, 2> step{-1, -1};
  std::int64_t block = 1;
  std::size_t first = shape.size();
  while (first > 0) {
    if (shape[first - 1] != 1) {
      std::array<std::int64_t, 2> next{};
      for (std::size_t k = 0; k < 2; ++k) {
        const std::int64_t stride = strides[k][first - 1];
        next[k] = stride == 0 ? 0 : stride == block ? 1 : -2;
      }
      const bool goes_on = next[0] != -2 && next[1] != -2 && (block == 1 || (next[0] == step[0] && next[1] == step[1]));
      if (!goes_on) break;
      step = next;
      block *= shape[first - 1];
    }
    --first;
  }
  if (block < kBlockMin && block < output.count()) return false;
  const Shape outer(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(first));
  const std::array outer_strides{Shape(strides[0].begin(), strides[0].begin() + static_cast<std::ptrdiff_t>(first)),
                                 Shape(strides[1].begin(), strides[1].begin() + static_cast<std::ptrdiff_t>(first))};
  Walk(outer, outer_strides, [&](std::int64_t i, const auto& offsets) {
    context.kernels->binary(function, context.inputs[0].as<float>() + offsets[0], step[0] == 1 ? 1 : 0,
                            context.inputs[1].as<float>() + offsets[1], step[1] == 1 ? 1 : 0,
                            static_cast<std::size_t>(block), output.as<float>() + i * block);
  });
  return true;
}

template <typename T, typename Body>
void EachPair(const NodeContext& context, const OutputRef& output, Body body) {
  const T* left = context.inputs[0].as<T>();
  const T* right = context.inputs[1].as<T>();
  T* out = output.as<T>();
  const Shape& shape = output.info->shape;
  if (context.ShapeOf(0) == shape && context.ShapeOf(1) == shape) {
    const std::int64_t count = output.count();
    for (std::int64_t i = 0; i < count; ++i) out[i] = body(left[i], right[i]);
    return;
  }
  const std::array strides{BroadcastStrides(context.ShapeOf(0), shape), BroadcastStrides(context.ShapeOf(1), shape)};
  Walk(shape, strides,
       [&](std::int64_t i, const auto& offsets) { out[i] = body(left[offsets[0]], right[offsets[1]]); });
}

template <typename Function, Binary kVector>
Status RunModular(const NodeContext& context, std::span<const OutputRef> outputs) {
  if (outputs[0].count() == 0 || RunBlocks(context, outputs[0], kVector)) return Status::Ok();
  return Dispatch<kNumberTypes>(context.Info(0).type, [&]<typename T>() {
    EachPair<T>(context, outputs[0], [](T a, T b) {
      return static_cast<T>(Function()(static_cast<Modular<T>>(a), static_cast<Modular<T>>(b)));
    });
    return Status::Ok();
  });
}

// Integers are divided towards zero; the lowest by -1 wraps to itself.
Status RunDiv(const NodeContext& context, std::span<const OutputRef> outputs) {
  if (outputs[0].count() == 0 || RunBlocks(context, outputs[0], Binary::kDiv)) return Status::Ok();
  return Dispatch<kNumberTypes>(context.Info(0).type, [&]<typename T>() {
    bool by_zero = false;
    EachPair<T>(context, outputs[0], [&](T a, T b) {
      if constexpr (std::is_integral_v<T>) {
        if (b == 0) {
          by_zero = true;
          return T{0};
        }
        if constexpr (std::is_signed_v<T>) {
          if (b == -1) return static_cast<T>(0 - static_cast<std::uint64_t>(a));
        }
        return static_cast<T>(a / b);
      } else {
        return static_cast<T>(static_cast<Wide<T>>(a) / static_cast<Wide<T>>(b));
      }
    });
    return by_zero ? Status::InvalidArgument("divides an integer by zero") : Status::Ok();
  });
}

// With fmod=0 the result has the divisor's sign, with fmod=1 the dividend's.
Status InferMod(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(InferBroadcast<kNumberTypes>(context, outputs));
  if (context.Int("fmod", 0) != 0 || !Contains(kFloatTypes, context.Info(0).type)) return Status::Ok();
  return Status::InvalidArgument("fmod is 0 for " + TypeName(context.Info(0).type) + ", expected 1");
}

Status RunMod(const NodeContext& context, std::span<const OutputRef> outputs) {
  const bool truncates = context.Int("fmod", 0) != 0;
  return Dispatch<kNumberTypes>(context.Info(0).type, [&]<typename T>() {
    bool by_zero = false;
    EachPair<T>(context, outputs[0], [&](T a, T b) {
      if constexpr (std::is_integral_v<T>) {
        by_zero = by_zero || b == 0;
        if (b == 0) return T{0};
        if constexpr (std::is_signed_v<T>) {
          if (b == -1) return T{0};  // Also where the quotient would overflow.
        }
        const auto rest = static_cast<T>(a % b);
        return rest != 0 && !truncates && (rest < 0) != (b < 0) ? static_cast<T>(rest + b) : rest;
      } else {
        return static_cast<T>(std::fmod(static_cast<Wide<T>>(a), static_cast<Wide<T>>(b)));
      }
    });
    return by_zero ? Status::InvalidArgument("divides an integer by zero") : Status::Ok();
  });
}

// The output has the type of the base; the exponent may have another.
Status InferPow(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes | kIndexTypes));
  FORESHORE_RETURN_IF_ERROR(context.Require(1, kNumberTypes));
  FORESHORE_ASSIGN_OR_RETURN(Shape shape, BroadcastShape(context.ShapeOf(0), context.ShapeOf(1)));
  outputs.push_back({context.Info(0).type, std::move(shape)});
  return Status::Ok();
}

template <typename T, typename E>
T Power(T base, E exponent) {
  if constexpr (std::is_integral_v<T> && std::is_integral_v<E>) {
    std::uint64_t result = 1;
    if (exponent < 0) {  // 1/base^n cut towards zero; 1/0 has no integer and becomes 0.
      if (base == 1) return T{1};
      if (base != -1) return T{0};
      return exponent % 2 == 0 ? T{1} : T{-1};
    }
    auto square = static_cast<std::uint64_t>(base);
    for (auto rest = static_cast<std::uint64_t>(exponent); rest != 0; rest >>= 1) {
      if ((rest & 1) != 0) result *= square;
      square *= square;
    }
    return static_cast<T>(result);
  } else if constexpr (std::is_integral_v<T>) {
    return Saturate<T>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  } else {
    return static_cast<T>(std::pow(static_cast<Wide<T>>(base), static_cast<Wide<T>>(exponent)));
  }
}

Status RunPow(const NodeContext& context, std::span<const OutputRef> outputs) {
  const bool is_square = context.kernels != nullptr && context.Info(0).type == OnnxType::kFloat &&
                         context.Info(1).type == OnnxType::kFloat && context.inputs[1].count() == 1 &&
                         *context.inputs[1].as<float>() == 2.0F && outputs[0].count() == context.inputs[0].count();
  if (is_square) {
    const auto* base = context.inputs[0].as<float>();
    context.kernels->binary(Binary::kMul, base, 1, base, 1, static_cast<std::size_t>(outputs[0].count()),
                            outputs[0].as<float>());
    return Status::Ok();
  }
  const Shape& shape = outputs[0].info->shape;
  const std::array strides{BroadcastStrides(context.ShapeOf(0), shape), BroadcastStrides(context.ShapeOf(1), shape)};
  return Dispatch<kFloatTypes | kIndexTypes>(context.Info(0).type, [&]<typename T>() {
    return Dispatch<kNumberTypes>(context.Info(1).type, [&]<typename E>() {
      const T* base = context.inputs[0].as<T>();
      const E* exponent = context.inputs[1].as<E>();
      T* out = outputs[0].as<T>();
      Walk(shape, strides, [&](std::int64_t i, const auto& offsets) {
        out[i] = Power<T, Wide<E>>(base[offsets[0]], static_cast<Wide<E>>(exponent[offsets[1]]));
      });
      return Status::Ok();
    });
  });
}

// The slope broadcasts to the data, not the other way round.
Status InferPrelu(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(InferBroadcast<kFloatTypes>(context, outputs));
  if (outputs[0].shape == context.ShapeOf(0)) return Status::Ok();
  return Status::InvalidArgument("slope is " + ToText(context.Info(1)) + ", does not broadcast to " +
                                 ToText(context.Info(0)));
}

Status RunPrelu(const NodeContext& context, std::span<const OutputRef> outputs) {
  if (outputs[0].count() == 0 || RunBlocks(context, outputs[0], Binary::kPrelu)) return Status::Ok();
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    EachPair<T>(context, outputs[0], [](T x, T slope) {
      const auto value = static_cast<Wide<T>>(x);
      return static_cast<T>(value < 0 ? value * static_cast<Wide<T>>(slope) : value);
    });
    return Status::Ok();
  });
}

// Folds any number of inputs, one after the other, into the output.
template <typename T, typename Function>
void FoldInputs(const NodeContext& context, const OutputRef& output, Function function) {
  const Shape& shape = output.info->shape;
  T* out = output.as<T>();
  for (std::size_t k = 0; k < context.inputs.size(); ++k) {
    const T* input = context.inputs[k].as<T>();
    const std::array strides{BroadcastStrides(context.ShapeOf(k), shape)};
    Walk(shape, strides, [&](std::int64_t i, const auto& offsets) {
      out[i] = k == 0 ? input[offsets[0]] : function(out[i], input[offsets[0]]);
    });
  }
}

template <typename Function>
Status RunExtreme(const NodeContext& context, std::span<const OutputRef> outputs) {
  return Dispatch<kNumberTypes>(context.Info(0).type, [&]<typename T>() {
    FoldInputs<T>(context, outputs[0], [](T a, T b) {
      return static_cast<T>(Function()(static_cast<Wide<T>>(a), static_cast<Wide<T>>(b)));
    });
    return Status::Ok();
  });
}

template <bool kMean>
Status RunSum(const NodeContext& context, std::span<const OutputRef> outputs) {
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    FoldInputs<T>(context, outputs[0],
                  [](T a, T b) { return static_cast<T>(static_cast<Wide<T>>(a) + static_cast<Wide<T>>(b)); });
    if constexpr (kMean) {
      T* out = outputs[0].as<T>();
      const auto divisor = static_cast<Wide<T>>(context.inputs.size());
      for (std::int64_t i = 0; i < outputs[0].count(); ++i)
        out[i] = static_cast<T>(static_cast<Wide<T>>(out[i]) / divisor);
    }
    return Status::Ok();
  });
}

constexpr Operator OfTwo(std::string_view name, RunFunction run, InferFunction infer = InferBroadcast<kNumberTypes>,
                         std::string_view attributes = "") {
  return {.name = name, .inputs_min = 2, .inputs_max = 2, .attributes = attributes, .infer = infer, .run = run};
}
constexpr Operator Variadic(std::string_view name, InferFunction infer, RunFunction run) {
  return {.name = name, .inputs_max = kManyInputs, .infer = infer, .run = run};
}

constexpr Operator kOperators[] = {
    OfTwo("Add", RunModular<Add, Binary::kAdd>),
    OfTwo("Sub", RunModular<Sub, Binary::kSub>),
    OfTwo("Mul", RunModular<Mul, Binary::kMul>),
    OfTwo("Div", RunDiv),
    OfTwo("Mod", RunMod, InferMod, "fmod"),
    OfTwo("Pow", RunPow, InferPow),
    OfTwo("PRelu", RunPrelu, InferPrelu),
    Variadic("Max", InferBroadcast<kNumberTypes>, RunExtreme<Max>),
    Variadic("Min", InferBroadcast<kNumberTypes>, RunExtreme<Min>),
    Variadic("Sum", InferBroadcast<kFloatTypes>, RunSum<false>),
    Variadic("Mean", InferBroadcast<kFloatTypes>, RunSum<true>),
};

}  // namespace

std::span<const Operator> ArithmeticOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
