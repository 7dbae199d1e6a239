// Cast and CastLike: between all numbers and booleans; texts are refused.
#include "engine/inference/graph/operator.h"
#include "engine/inference/graph/saturate.h"

namespace foreshore::graph {

namespace {

Status InferCast(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kAllTypes));
  const std::int64_t to = context.Int("to", 0);
  const auto type = to > 0 && to < 32 ? static_cast<OnnxType>(to) : OnnxType::kUndefined;
  if (!Contains(kAllTypes, type)) {
    return Status::Unsupported("casts to " + TypeName(type) + ", expected a number or a boolean");
  }
  outputs.push_back({type, context.ShapeOf(0)});
  return Status::Ok();
}

Status InferCastLike(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kAllTypes));
  FORESHORE_RETURN_IF_ERROR(context.Require(1, kAllTypes));
  outputs.push_back({context.Info(1).type, context.ShapeOf(0)});
  return Status::Ok();
}

// Integers to narrower integers wrap, as numpy's do.
template <typename T, typename U>
U Convert(T value) {
  if constexpr (std::is_integral_v<U> && !std::is_integral_v<T>) {
    return Saturate<U>(static_cast<double>(static_cast<Wide<T>>(value)));
  } else if constexpr (kIs16BitFloat<U>) {
    return U(static_cast<float>(static_cast<Wide<T>>(value)));
  } else {
    return static_cast<U>(static_cast<Wide<T>>(value));
  }
}

template <typename T, typename Body>
void Each(const NodeContext& context, const OutputRef& output, Body body) {
  const T* input = context.inputs[0].as<T>();
  const std::int64_t count = output.count();
  for (std::int64_t i = 0; i < count; ++i) body(i, input[i]);
}

Status RunCast(const NodeContext& context, std::span<const OutputRef> outputs) {
  const bool from_bool = context.Info(0).type == OnnxType::kBool;
  const OnnxType to = outputs[0].info->type;
  return Dispatch<kAllTypes>(context.Info(0).type, [&]<typename T>() {
    if (to == OnnxType::kBool) {
      auto* out = outputs[0].as<std::uint8_t>();
      Each<T>(context, outputs[0], [&](std::int64_t i, T value) { out[i] = static_cast<Wide<T>>(value) != 0 ? 1 : 0; });
      return Status::Ok();
    }
    return Dispatch<kNumberTypes>(to, [&]<typename U>() {
      U* out = outputs[0].as<U>();
      Each<T>(context, outputs[0], [&](std::int64_t i, T value) {
        out[i] = from_bool ? Convert<std::uint8_t, U>(static_cast<Wide<T>>(value) != 0 ? 1 : 0) : Convert<T, U>(value);
      });
      return Status::Ok();
    });
  });
}

constexpr Operator kOperators[] = {
    {.name = "Cast", .attributes = "to", .infer = InferCast, .run = RunCast},
    {.name = "CastLike", .since = 15, .inputs_min = 2, .inputs_max = 2, .infer = InferCastLike, .run = RunCast},
};

}  // namespace

std::span<const Operator> CastOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
