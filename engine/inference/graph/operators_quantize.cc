// Between floats and 8-bit codes.
#include <algorithm>
#include <cmath>

#include "engine/inference/graph/dynamic_product.h"
#include "engine/inference/graph/operator.h"
#include "engine/inference/graph/saturate.h"

namespace foreshore::graph {

namespace {

constexpr TypeSet kCodeTypes = SetOf(OnnxType::kInt8) | SetOf(OnnxType::kUint8);

// The step between elements of one scale: scale of element i is scales[i / inner % scale count].
Result<std::int64_t> ScaleInner(const NodeContext& context) {
  FORESHORE_RETURN_IF_ERROR(context.Require(1, SetOf(OnnxType::kFloat)));
  const Shape& scales = context.ShapeOf(1);
  if (context.Has(2) && context.ShapeOf(2) != scales) {
    return Status::InvalidArgument("zero point is " + ToText(context.Info(2)) + ", its scale " + ToText(scales));
  }
  if (scales.size() <= 1 && ElementCount(scales) == 1) return 1;
  if (scales.size() != 1 || context.opset < 13) {
    return Status::Unsupported("scale is " + ToText(scales) + ", expected one, or from operator set 13 a list");
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 1), context.Rank(0)));
  if (context.ShapeOf(0)[axis] != scales[0]) {
    return Status::InvalidArgument(std::to_string(scales[0]) + " scales, axis " + std::to_string(axis) + " of " +
                                   ToText(context.Info(0)) + " asks for one for each of its slices");
  }
  return std::max<std::int64_t>(InnerCount(context.ShapeOf(0), axis + 1), 1);
}

Status InferQuantize(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, SetOf(OnnxType::kFloat) | SetOf(OnnxType::kInt32)));
  FORESHORE_RETURN_IF_ERROR(ScaleInner(context).status());
  if (context.Has(2)) FORESHORE_RETURN_IF_ERROR(context.Require(2, kCodeTypes));
  outputs.push_back({context.Has(2) ? context.Info(2).type : OnnxType::kUint8, context.ShapeOf(0)});
  return Status::Ok();
}

// round(x / scale) + zero point, ties to even, saturated.
Status RunQuantize(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t inner, ScaleInner(context));
  const auto* scales = context.inputs[1].as<float>();
  const std::int64_t scale_count = context.inputs[1].count();
  const bool is_float = context.Info(0).type == OnnxType::kFloat;
  if (context.kernels != nullptr && is_float && scale_count == 1) {
    const bool is_signed = outputs[0].info->type == OnnxType::kInt8;
    const std::int32_t zero = context.Has(2) ? CodeValue(*context.inputs[2].data, outputs[0].info->type) : 0;
    context.kernels->quantize(context.inputs[0].as<float>(), static_cast<std::size_t>(outputs[0].count()), scales[0],
                              static_cast<float>(zero), is_signed ? -128.0F : 0.0F, is_signed ? 127.0F : 255.0F,
                              outputs[0].as<std::uint8_t>());
    return Status::Ok();
  }
  return Dispatch<kCodeTypes>(outputs[0].info->type, [&]<typename Q>() {
    for (std::int64_t i = 0; i < outputs[0].count(); ++i) {
      const std::int64_t slice = i / inner % scale_count;
      const float value =
          is_float ? context.inputs[0].as<float>()[i] : static_cast<float>(context.inputs[0].as<std::int32_t>()[i]);
      const int zero = context.Has(2) ? context.inputs[2].as<Q>()[slice] : 0;
      outputs[0].as<Q>()[i] = Saturate<Q>(static_cast<double>(std::nearbyint(value / scales[slice])) + zero);
    }
    return Status::Ok();
  });
}

constexpr TypeSet kDequantizeTypes = kCodeTypes | SetOf(OnnxType::kInt32);

Status InferDequantize(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kDequantizeTypes));
  FORESHORE_RETURN_IF_ERROR(ScaleInner(context).status());
  if (context.Has(2)) FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
  outputs.push_back({OnnxType::kFloat, context.ShapeOf(0)});
  return Status::Ok();
}

Status RunDequantize(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t inner, ScaleInner(context));
  const auto* scales = context.inputs[1].as<float>();
  const std::int64_t scale_count = context.inputs[1].count();
  if (context.kernels != nullptr && scale_count == 1 && context.Info(0).type != OnnxType::kInt32) {
    const bool is_signed = context.Info(0).type == OnnxType::kInt8;
    const std::int32_t zero = context.Has(2) ? CodeValue(*context.inputs[2].data, context.Info(0).type) : 0;
    context.kernels->dequantize(context.inputs[0].as<std::uint8_t>(), static_cast<std::size_t>(outputs[0].count()),
                                is_signed, static_cast<float>(zero), scales[0], outputs[0].as<float>());
    return Status::Ok();
  }
  return Dispatch<kDequantizeTypes>(context.Info(0).type, [&]<typename Q>() {
    for (std::int64_t i = 0; i < outputs[0].count(); ++i) {
      const std::int64_t slice = i / inner % scale_count;
      const std::int64_t zero = context.Has(2) ? context.inputs[2].as<Q>()[slice] : 0;
      outputs[0].as<float>()[i] = static_cast<float>(context.inputs[0].as<Q>()[i] - zero) * scales[slice];
    }
    return Status::Ok();
  });
}

Status InferDynamicQuantize(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, SetOf(OnnxType::kFloat)));
  outputs.push_back({OnnxType::kUint8, context.ShapeOf(0)});
  outputs.push_back({OnnxType::kFloat, {}});
  outputs.push_back({OnnxType::kUint8, {}});
  return Status::Ok();
}

Status RunDynamicQuantize(const NodeContext& context, std::span<const OutputRef> outputs) {
  const auto* input = context.inputs[0].as<float>();
  const std::int64_t count = context.inputs[0].count();
  const DynamicScale scale = DynamicScaleOf(input, count);
  if (outputs.size() > 1 && outputs[1].data != nullptr) *outputs[1].as<float>() = scale.scale;
  if (outputs.size() > 2 && outputs[2].data != nullptr) *outputs[2].as<std::uint8_t>() = scale.zero;
  if (outputs[0].data == nullptr) return Status::Ok();
  auto* out = outputs[0].as<std::uint8_t>();
  if (context.kernels != nullptr) {
    context.kernels->quantize(input, static_cast<std::size_t>(count), scale.divisor, static_cast<float>(scale.zero), 0,
                              255, out);
    return Status::Ok();
  }
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = Saturate<std::uint8_t>(static_cast<double>(std::nearbyint(input[i] / scale.divisor)) + scale.zero);
  }
  return Status::Ok();
}

constexpr Operator kOperators[] = {
    {.name = "QuantizeLinear",
     .since = 10,
     .inputs_min = 2,
     .inputs_max = 3,
     .attributes = "axis",
     .infer = InferQuantize,
     .run = RunQuantize},
    {.name = "DequantizeLinear",
     .since = 10,
     .inputs_min = 2,
     .inputs_max = 3,
     .attributes = "axis",
     .infer = InferDequantize,
     .run = RunDequantize},
    {.name = "DynamicQuantizeLinear",
     .since = 11,
     .outputs_max = 3,
     .runs_without_first = true,
     .infer = InferDynamicQuantize,
     .run = RunDynamicQuantize},
};

}  // namespace

std::span<const Operator> QuantizeOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
