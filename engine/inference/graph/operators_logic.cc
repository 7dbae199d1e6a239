// Comparisons and booleans.
#include <cmath>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

#define FORESHORE_GRAPH_COMPARE(Name, sign) \
  struct Name {                             \
    template <typename W>                   \
    bool operator()(W a, W b) const {       \
      return a sign b;                      \
    }                                       \
  };
FORESHORE_GRAPH_COMPARE(Equal, ==)
FORESHORE_GRAPH_COMPARE(Less, <)
FORESHORE_GRAPH_COMPARE(LessOrEqual, <=)
FORESHORE_GRAPH_COMPARE(Greater, >)
FORESHORE_GRAPH_COMPARE(GreaterOrEqual, >=)
#undef FORESHORE_GRAPH_COMPARE

struct And {
  bool operator()(std::uint8_t a, std::uint8_t b) const { return a != 0 && b != 0; }
};
struct Or {
  bool operator()(std::uint8_t a, std::uint8_t b) const { return a != 0 || b != 0; }
};
struct Xor {
  bool operator()(std::uint8_t a, std::uint8_t b) const { return (a != 0) != (b != 0); }
};
// Any byte but 0 is true, so bytes are not compared as they are.
struct EqualBool {
  bool operator()(std::uint8_t a, std::uint8_t b) const { return (a != 0) == (b != 0); }
};

template <TypeSet kTypes>
Status InferBool(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kTypes));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 1));
  FORESHORE_ASSIGN_OR_RETURN(Shape shape, BroadcastShape(context.ShapeOf(0), context.ShapeOf(1)));
  outputs.push_back({OnnxType::kBool, std::move(shape)});
  return Status::Ok();
}

template <typename T, typename Function>
void EachPair(const NodeContext& context, const OutputRef& output, Function function) {
  const T* left = context.inputs[0].as<T>();
  const T* right = context.inputs[1].as<T>();
  auto* out = output.as<std::uint8_t>();
  const Shape& shape = output.info->shape;
  const std::array strides{BroadcastStrides(context.ShapeOf(0), shape), BroadcastStrides(context.ShapeOf(1), shape)};
  Walk(shape, strides, [&](std::int64_t i, const auto& offsets) {
    out[i] = function(static_cast<Wide<T>>(left[offsets[0]]), static_cast<Wide<T>>(right[offsets[1]])) ? 1 : 0;
  });
}

template <typename Function>
Status RunCompare(const NodeContext& context, std::span<const OutputRef> outputs) {
  if (context.Info(0).type == OnnxType::kBool) {
    EachPair<std::uint8_t>(context, outputs[0], EqualBool());
    return Status::Ok();
  }
  return Dispatch<kNumberTypes>(context.Info(0).type, [&]<typename T>() {
    EachPair<T>(context, outputs[0], Function());
    return Status::Ok();
  });
}

template <typename Function>
Status RunBool(const NodeContext& context, std::span<const OutputRef> outputs) {
  EachPair<std::uint8_t>(context, outputs[0], Function());
  return Status::Ok();
}

template <TypeSet kTypes>
Status InferTest(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kTypes));
  outputs.push_back({OnnxType::kBool, context.ShapeOf(0)});
  return Status::Ok();
}

Status RunNot(const NodeContext& context, std::span<const OutputRef> outputs) {
  const auto* input = context.inputs[0].as<std::uint8_t>();
  auto* out = outputs[0].as<std::uint8_t>();
  for (std::int64_t i = 0; i < outputs[0].count(); ++i) out[i] = input[i] == 0 ? 1 : 0;
  return Status::Ok();
}

Status RunIsNan(const NodeContext& context, std::span<const OutputRef> outputs) {
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    const T* input = context.inputs[0].as<T>();
    auto* out = outputs[0].as<std::uint8_t>();
    for (std::int64_t i = 0; i < outputs[0].count(); ++i) out[i] = std::isnan(static_cast<Wide<T>>(input[i])) ? 1 : 0;
    return Status::Ok();
  });
}

Status RunIsInf(const NodeContext& context, std::span<const OutputRef> outputs) {
  const bool positive = context.Int("detect_positive", 1) != 0;
  const bool negative = context.Int("detect_negative", 1) != 0;
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    const T* input = context.inputs[0].as<T>();
    auto* out = outputs[0].as<std::uint8_t>();
    for (std::int64_t i = 0; i < outputs[0].count(); ++i) {
      const auto value = static_cast<Wide<T>>(input[i]);
      out[i] = std::isinf(value) && (value > 0 ? positive : negative) ? 1 : 0;
    }
    return Status::Ok();
  });
}

constexpr Operator Make(std::string_view name, std::size_t input_count, InferFunction infer, RunFunction run,
                        std::int64_t since = 1) {
  return {
      .name = name, .since = since, .inputs_min = input_count, .inputs_max = input_count, .infer = infer, .run = run};
}

constexpr Operator kOperators[] = {
    Make("Equal", 2, InferBool<kAllTypes>, RunCompare<Equal>),
    Make("Less", 2, InferBool<kNumberTypes>, RunCompare<Less>),
    Make("LessOrEqual", 2, InferBool<kNumberTypes>, RunCompare<LessOrEqual>, 12),
    Make("Greater", 2, InferBool<kNumberTypes>, RunCompare<Greater>),
    Make("GreaterOrEqual", 2, InferBool<kNumberTypes>, RunCompare<GreaterOrEqual>, 12),
    Make("And", 2, InferBool<kBoolType>, RunBool<And>),
    Make("Or", 2, InferBool<kBoolType>, RunBool<Or>),
    Make("Xor", 2, InferBool<kBoolType>, RunBool<Xor>),
    Make("Not", 1, InferTest<kBoolType>, RunNot),
    Make("IsNaN", 1, InferTest<kFloatTypes>, RunIsNan),
    {.name = "IsInf",
     .since = 10,
     .attributes = "detect_negative detect_positive",
     .infer = InferTest<kFloatTypes>,
     .run = RunIsInf},
};

}  // namespace

std::span<const Operator> LogicOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
