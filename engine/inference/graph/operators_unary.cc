// Operators on each element of one tensor.
#include <cmath>
#include <limits>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

// W is what the element is computed in: float or double, for some an integer.
struct Abs {
  template <typename W>
  W operator()(const NodeContext&, W x) const {
    if constexpr (std::is_unsigned_v<W>) {
      return x;
    } else if constexpr (std::is_integral_v<W>) {
      return x < 0 ? static_cast<W>(0 - static_cast<std::uint64_t>(x)) : x;  // The lowest number stays itself.
    } else {
      return std::abs(x);
    }
  }
};
struct Neg {
  template <typename W>
  W operator()(const NodeContext&, W x) const {
    if constexpr (std::is_integral_v<W>) {
      return static_cast<W>(0 - static_cast<std::uint64_t>(x));
    } else {
      return -x;
    }
  }
};
struct Sign {
  template <typename W>
  W operator()(const NodeContext&, W x) const {
    return static_cast<W>((x > W{0}) - (x < W{0}));
  }
};
struct Relu {
  template <typename W>
  W operator()(const NodeContext&, W x) const {
    return x < W{0} ? W{0} : x;
  }
};

#define FORESHORE_GRAPH_UNARY(Name, expression)           \
  struct Name {                                           \
    template <typename W>                                 \
    W operator()(const NodeContext& context, W x) const { \
      static_cast<void>(context);                         \
      return static_cast<W>(expression);                  \
    }                                                     \
  };
FORESHORE_GRAPH_UNARY(Sqrt, std::sqrt(x))
FORESHORE_GRAPH_UNARY(Exp, std::exp(x))
FORESHORE_GRAPH_UNARY(Log, std::log(x))
FORESHORE_GRAPH_UNARY(Erf, std::erf(x))
FORESHORE_GRAPH_UNARY(Tanh, std::tanh(x))
FORESHORE_GRAPH_UNARY(Sin, std::sin(x))
FORESHORE_GRAPH_UNARY(Cos, std::cos(x))
FORESHORE_GRAPH_UNARY(Floor, std::floor(x))
FORESHORE_GRAPH_UNARY(Ceil, std::ceil(x))
FORESHORE_GRAPH_UNARY(Round, std::nearbyint(x))  // Ties to even, the processor's default.
FORESHORE_GRAPH_UNARY(Reciprocal, W{1} / x)
FORESHORE_GRAPH_UNARY(Sigmoid, W{1} / (W{1} + std::exp(-x)))
FORESHORE_GRAPH_UNARY(Softplus, x > W{0} ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)))
FORESHORE_GRAPH_UNARY(LeakyRelu, x < W{0} ? x * static_cast<W>(context.Float("alpha", 0.01F)) : x)
FORESHORE_GRAPH_UNARY(Elu, x < W{0} ? static_cast<W>(context.Float("alpha", 1.0F)) * std::expm1(x) : x)
FORESHORE_GRAPH_UNARY(HardSigmoid, std::fmin(std::fmax(static_cast<W>(context.Float("alpha", 0.2F)) * x +
                                                           static_cast<W>(context.Float("beta", 0.5F)),
                                                       W{0}),
                                             W{1}))
FORESHORE_GRAPH_UNARY(HardSwish, x* std::fmin(std::fmax(x / W{6} + W{0.5}, W{0}), W{1}))
FORESHORE_GRAPH_UNARY(Tan, std::tan(x))
FORESHORE_GRAPH_UNARY(Asin, std::asin(x))
FORESHORE_GRAPH_UNARY(Acos, std::acos(x))
FORESHORE_GRAPH_UNARY(Atan, std::atan(x))
FORESHORE_GRAPH_UNARY(Sinh, std::sinh(x))
FORESHORE_GRAPH_UNARY(Cosh, std::cosh(x))
FORESHORE_GRAPH_UNARY(Asinh, std::asinh(x))
FORESHORE_GRAPH_UNARY(Acosh, std::acosh(x))
FORESHORE_GRAPH_UNARY(Atanh, std::atanh(x))
FORESHORE_GRAPH_UNARY(Softsign, x / (W{1} + std::abs(x)))
FORESHORE_GRAPH_UNARY(Selu, static_cast<W>(context.Float("gamma", 1.05070102F)) *
                                (x > W{0} ? x : static_cast<W>(context.Float("alpha", 1.67326319F)) * std::expm1(x)))
FORESHORE_GRAPH_UNARY(Celu, x > W{0} ? x
                                     : static_cast<W>(context.Float("alpha", 1.0F)) *
                                           std::expm1(x / static_cast<W>(context.Float("alpha", 1.0F))))
FORESHORE_GRAPH_UNARY(ThresholdedRelu, x > static_cast<W>(context.Float("alpha", 1.0F)) ? x : W{0})
FORESHORE_GRAPH_UNARY(Shrink,
                      x<-static_cast<W>(context.Float("lambd", 0.5F)) ? x + static_cast<W>(context.Float("bias", 0.0F))
                                                                      : x> static_cast<W>(context.Float("lambd", 0.5F))
                          ? x - static_cast<W>(context.Float("bias", 0.0F))
                          : W{0})
FORESHORE_GRAPH_UNARY(Gelu, x* W{0.5} * (W{1} + std::erf(x * static_cast<W>(0.70710678118654752))))
FORESHORE_GRAPH_UNARY(Silu, x / (W{1} + std::exp(-x)))
#undef FORESHORE_GRAPH_UNARY

template <TypeSet kTypes>
Status InferSame(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kTypes));
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

// `kVector` is what the vectors call it; kNone where they do not have it.
template <typename Function, TypeSet kTypes, Unary kVector>
Status RunUnary(const NodeContext& context, std::span<const OutputRef> outputs) {
  if (kVector != Unary::kNone && context.kernels != nullptr && context.Info(0).type == OnnxType::kFloat) {
    Activation function{kVector, 0, 0};
    if constexpr (std::is_same_v<Function, Relu>) function.b = std::numeric_limits<float>::infinity();
    if constexpr (std::is_same_v<Function, LeakyRelu>) function.a = context.Float("alpha", 0.01F);
    if constexpr (std::is_same_v<Function, HardSigmoid>) {
      function.a = context.Float("alpha", 0.2F);
      function.b = context.Float("beta", 0.5F);
    }
    context.kernels->unary(function, context.inputs[0].as<float>(), static_cast<std::size_t>(outputs[0].count()),
                           outputs[0].as<float>());
    return Status::Ok();
  }
  return Dispatch<kTypes>(context.Info(0).type, [&]<typename T>() {
    const T* input = context.inputs[0].as<T>();
    T* output = outputs[0].as<T>();
    const std::int64_t count = outputs[0].count();
    for (std::int64_t i = 0; i < count; ++i) {
      output[i] = static_cast<T>(Function()(context, static_cast<Wide<T>>(input[i])));
    }
    return Status::Ok();
  });
}

template <typename Function, TypeSet kTypes = kFloatTypes, Unary kVector = Unary::kNone>
constexpr Operator OfOne(std::string_view name, std::string_view attributes = "") {
  return {
      .name = name, .attributes = attributes, .infer = InferSame<kTypes>, .run = RunUnary<Function, kTypes, kVector>};
}

constexpr Operator kOperators[] = {
    OfOne<Abs, kNumberTypes, Unary::kAbs>("Abs"),
    OfOne<Neg, kFloatTypes | kSignedTypes, Unary::kNeg>("Neg"),
    OfOne<Sign, kNumberTypes>("Sign"),
    OfOne<Relu, kFloatTypes | kSignedTypes, Unary::kClip>("Relu"),
    OfOne<Sqrt, kFloatTypes, Unary::kSqrt>("Sqrt"),
    OfOne<Exp, kFloatTypes, Unary::kExp>("Exp"),
    OfOne<Log>("Log"),
    OfOne<Erf, kFloatTypes, Unary::kErf>("Erf"),
    OfOne<Tanh, kFloatTypes, Unary::kTanh>("Tanh"),
    OfOne<Sin>("Sin"),
    OfOne<Cos>("Cos"),
    OfOne<Floor>("Floor"),
    OfOne<Ceil>("Ceil"),
    OfOne<Round>("Round"),
    OfOne<Reciprocal>("Reciprocal"),
    OfOne<Sigmoid, kFloatTypes, Unary::kSigmoid>("Sigmoid"),
    OfOne<Softplus>("Softplus"),
    OfOne<LeakyRelu, kFloatTypes, Unary::kLeakyRelu>("LeakyRelu", "alpha"),
    OfOne<Elu>("Elu", "alpha"),
    OfOne<HardSigmoid, kFloatTypes, Unary::kHardSigmoid>("HardSigmoid", "alpha beta"),
    OfOne<HardSwish, kFloatTypes, Unary::kHardSwish>("HardSwish"),
    OfOne<Tan>("Tan"),
    OfOne<Asin>("Asin"),
    OfOne<Acos>("Acos"),
    OfOne<Atan>("Atan"),
    OfOne<Sinh>("Sinh"),
    OfOne<Cosh>("Cosh"),
    OfOne<Asinh>("Asinh"),
    OfOne<Acosh>("Acosh"),
    OfOne<Atanh>("Atanh"),
    OfOne<Softsign>("Softsign"),
    OfOne<Selu>("Selu", "alpha gamma"),
    OfOne<Celu>("Celu", "alpha"),
    OfOne<ThresholdedRelu>("ThresholdedRelu", "alpha"),
    OfOne<Shrink>("Shrink", "bias lambd"),
};

constexpr Operator kGelu = OfOne<Gelu, kFloatTypes, Unary::kGelu>("Gelu");
constexpr Operator kSilu = OfOne<Silu, kFloatTypes, Unary::kSilu>("Silu");

}  // namespace

const Operator& GeluOperator() {
  return kGelu;
}
const Operator& SiluOperator() {
  return kSilu;
}

std::span<const Operator> UnaryOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
