// Convolutions and products of 8-bit codes: ConvInteger, QLinearConv, QLinearMatMul.
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/inference/graph/saturate.h"
#include "engine/inference/graph/window.h"

namespace foreshore::graph {

namespace {

constexpr TypeSet kCodeTypes = SetOf(OnnxType::kInt8) | SetOf(OnnxType::kUint8);

// One number, or one for each of `count` channels.
Status CheckPerChannel(const NodeContext& context, std::size_t index, std::int64_t count) {
  if (!context.Has(index)) return Status::Ok();
  const Shape& shape = context.ShapeOf(index);
  if (shape.size() <= 1 && (ElementCount(shape) == 1 || shape == Shape{count})) return Status::Ok();
  return Status::Unsupported("input " + std::to_string(index) + " is " + ToText(context.Info(index)) +
                             ", expected one number or " + std::to_string(count));
}

Status CheckOne(const NodeContext& context, std::size_t index) {
  if (!context.Has(index) || context.inputs[index].count() == 1) return Status::Ok();
  return Status::Unsupported("input " + std::to_string(index) + " is " + ToText(context.Info(index)) +
                             ", expected one number");
}

// The code at `at` of an input of codes, 0 where there is none; one for all where it is one.
std::int32_t CodeAt(const NodeContext& context, std::size_t index, std::int64_t at) {
  if (!context.Has(index)) return 0;
  const TensorRef& input = context.inputs[index];
  return CodeValue(input.data[input.count() == 1 ? 0 : at], input.info->type);
}

float ScaleAt(const NodeContext& context, std::size_t index, std::int64_t at) {
  const TensorRef& input = context.inputs[index];
  return input.as<float>()[input.count() == 1 ? 0 : at];
}

// Where the inputs of an integer convolution are: ConvInteger's and QLinearConv's differ.
struct ConvInputs {
  std::size_t weights = 1;
  std::size_t zero = 2;
  std::size_t weights_zero = 3;
  std::size_t bias = kManyInputs;
};
constexpr ConvInputs kConvInteger{};
constexpr ConvInputs kQLinearConv{3, 2, 5, 8};

// emit(image, channel, offset in the plane, Σ (x − zx)(w − zw)). A product is at most 2^16 and a sum in 64 bits takes
// 2^47 of them; it is cut to 32 bits, as the operators say.
template <typename A, typename B, typename Emit>
Status ConvolveCodes(const NodeContext& context, const Window& window, const ConvInputs& at, Emit emit) {
  const std::int64_t channels = context.ShapeOf(0)[1];
  const Shape& weights = context.ShapeOf(at.weights);
  const std::int64_t out_per_group = weights[0] / context.Int("group", 1);
  const std::int32_t zero = CodeAt(context, at.zero, 0);
  for (std::int64_t image = 0; image < context.ShapeOf(0)[0]; ++image) {
    for (std::int64_t out = 0; out < weights[0]; ++out) {
      FORESHORE_RETURN_IF_ERROR(context.Poll());
      const std::int64_t first = image * channels + out / out_per_group * weights[1];
      const std::int32_t weights_zero = CodeAt(context, at.weights_zero, out);
      EachOutput(window, [&](std::int64_t offset, const auto& place) {
        std::int64_t sum = 0;
        for (std::int64_t c = 0; c < weights[1]; ++c) {
          const A* from = context.inputs[0].as<A>() + (first + c) * window.InputCount();
          const B* kernel = context.inputs[at.weights].as<B>() + (out * weights[1] + c) * window.KernelCount();
          EachInWindow(window, place, [&](std::int64_t input, std::int64_t k) {
            sum += (from[input] - zero) * (kernel[k] - weights_zero);
          });
        }
        emit(image, out, offset, static_cast<std::int32_t>(sum));
      });
    }
  }
  return Status::Ok();
}

template <typename Body>
Status DispatchCodes(OnnxType left, OnnxType right, Body body) {
  return Dispatch<kCodeTypes>(left, [&]<typename A>() {
    return Dispatch<kCodeTypes>(right, [&]<typename B>() { return body.template operator()<A, B>(); });
  });
}

Status InferConvInteger(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kCodeTypes));
  FORESHORE_RETURN_IF_ERROR(context.Require(1, kCodeTypes));
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConv(context));
  FORESHORE_RETURN_IF_ERROR(CheckConv(context, 1, kManyInputs));
  if (context.Has(2)) FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
  if (context.Has(3)) FORESHORE_RETURN_IF_ERROR(context.RequireSameType(1, 3));
  FORESHORE_RETURN_IF_ERROR(CheckOne(context, 2));
  FORESHORE_RETURN_IF_ERROR(CheckPerChannel(context, 3, context.ShapeOf(1)[0]));
  outputs.push_back(OutputInfo(context, window, context.ShapeOf(1)[0], OnnxType::kInt32));
  return Status::Ok();
}

Status RunConvInteger(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConv(context));
  const std::int64_t channels = context.ShapeOf(1)[0];
  return DispatchCodes(context.Info(0).type, context.Info(1).type, [&]<typename A, typename B>() {
    return ConvolveCodes<A, B>(
        context, window, kConvInteger,
        [&](std::int64_t image, std::int64_t out, std::int64_t offset, std::int32_t sum) {
          outputs[0].as<std::int32_t>()[(image * channels + out) * window.OutputCount() + offset] = sum;
        });
  });
}

Status InferQLinearConv(const NodeContext& context, Infos& outputs) {
  for (const std::size_t codes : {0, 3, 7}) FORESHORE_RETURN_IF_ERROR(context.Require(codes, kCodeTypes));
  for (const std::size_t scale : {1, 4, 6}) {
    FORESHORE_RETURN_IF_ERROR(context.Require(scale, SetOf(OnnxType::kFloat)));
  }
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(3, 5));
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConv(context, 3));
  FORESHORE_RETURN_IF_ERROR(CheckConv(context, 3, 8));
  const std::int64_t channels = context.ShapeOf(3)[0];
  for (const std::size_t one : {1, 2, 6, 7}) FORESHORE_RETURN_IF_ERROR(CheckOne(context, one));
  for (const std::size_t many : {4, 5}) FORESHORE_RETURN_IF_ERROR(CheckPerChannel(context, many, channels));
  if (context.Has(8)) FORESHORE_RETURN_IF_ERROR(context.Require(8, SetOf(OnnxType::kInt32)));
  outputs.push_back(OutputInfo(context, window, channels, context.Info(7).type));
  return Status::Ok();
}

Status RunQLinearConv(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConv(context, 3));
  const std::int64_t channels = context.ShapeOf(3)[0];
  const std::int32_t zero = CodeAt(context, 7, 0);
  const auto* bias = context.Has(8) ? context.inputs[8].as<std::int32_t>() : nullptr;
  return DispatchCodes(context.Info(0).type, context.Info(3).type, [&]<typename A, typename B>() {
    return ConvolveCodes<A, B>(
        context, window, kQLinearConv,
        [&](std::int64_t image, std::int64_t out, std::int64_t offset, std::int32_t sum) {
          const float factor = ScaleAt(context, 1, 0) * ScaleAt(context, 4, out) / ScaleAt(context, 6, 0);
          // As sums wrap, so does the bias.
          const auto whole = static_cast<std::int32_t>(static_cast<std::int64_t>(sum) +
                                                       (bias != nullptr ? bias[out] : std::int32_t{0}));
          const double value = static_cast<double>(std::nearbyint(static_cast<float>(whole) * factor)) + zero;
          const std::int64_t at = (image * channels + out) * window.OutputCount() + offset;
          if (outputs[0].info->type == OnnxType::kInt8) {
            outputs[0].as<std::int8_t>()[at] = Saturate<std::int8_t>(value);
          } else {
            outputs[0].as<std::uint8_t>()[at] = Saturate<std::uint8_t>(value);
          }
        });
  });
}

// [… , m, k] by [… , k, n] or [k, n].
struct CodeProduct {
  std::int64_t count = 1;
  std::int64_t m = 1;
  std::int64_t k = 1;
  std::int64_t n = 1;
  bool is_shared = false;  // One right matrix for all.
  Shape shape;
};

Result<CodeProduct> PlanCodeProduct(const NodeContext& context) {
  const Shape& left = context.ShapeOf(0);
  const Shape& right = context.ShapeOf(3);
  const std::size_t rank = left.size();
  const bool is_shared = right.size() == 2;
  const bool fits = rank >= 2 && (is_shared || right.size() == rank) && left[rank - 1] == right[right.size() - 2] &&
                    (is_shared || std::equal(left.begin(), left.end() - 2, right.begin()));
  if (!fits) {
    return Status::Unsupported("multiplies " + ToText(context.Info(0)) + " by " + ToText(context.Info(3)) +
                               ", expected matrices, or equal stacks of them");
  }
  CodeProduct product{OuterCount(left, rank - 2), left[rank - 2], left[rank - 1], right.back(), is_shared, left};
  product.shape.back() = product.n;
  return product;
}

Status InferQLinearMatMul(const NodeContext& context, Infos& outputs) {
  for (const std::size_t codes : {0, 3, 7}) FORESHORE_RETURN_IF_ERROR(context.Require(codes, kCodeTypes));
  for (const std::size_t scale : {1, 4, 6}) {
    FORESHORE_RETURN_IF_ERROR(context.Require(scale, SetOf(OnnxType::kFloat)));
  }
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(3, 5));
  FORESHORE_ASSIGN_OR_RETURN(CodeProduct product, PlanCodeProduct(context));
  for (const std::size_t one : {6, 7}) FORESHORE_RETURN_IF_ERROR(CheckOne(context, one));
  for (const std::size_t row : {1, 2}) FORESHORE_RETURN_IF_ERROR(CheckPerChannel(context, row, product.m));
  for (const std::size_t column : {4, 5}) FORESHORE_RETURN_IF_ERROR(CheckPerChannel(context, column, product.n));
  outputs.push_back({context.Info(7).type, std::move(product.shape)});
  return Status::Ok();
}

Status RunQLinearMatMul(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const CodeProduct product, PlanCodeProduct(context));
  const std::int32_t zero = CodeAt(context, 7, 0);
  return DispatchCodes(context.Info(0).type, context.Info(3).type, [&]<typename A, typename B>() {
    for (std::int64_t row = 0; row < product.count * product.m; ++row) {
      FORESHORE_RETURN_IF_ERROR(context.Poll());
      const std::int64_t i = row % product.m;
      const std::int64_t matrix = product.is_shared ? 0 : row / product.m;
      const A* a = context.inputs[0].as<A>() + row * product.k;
      const B* b = context.inputs[3].as<B>() + matrix * product.k * product.n;
      const std::int32_t left_zero = CodeAt(context, 2, i);
      for (std::int64_t j = 0; j < product.n; ++j) {
        const std::int32_t right_zero = CodeAt(context, 5, j);
        std::int64_t sum = 0;
        for (std::int64_t p = 0; p < product.k; ++p) {
          sum += (a[p] - left_zero) * (b[p * product.n + j] - right_zero);
        }
        const float factor = ScaleAt(context, 1, i) * ScaleAt(context, 4, j) / ScaleAt(context, 6, 0);
        const float whole = static_cast<float>(static_cast<std::int32_t>(sum));
        const double value = static_cast<double>(std::nearbyint(whole * factor)) + zero;
        if (outputs[0].info->type == OnnxType::kInt8) {
          outputs[0].as<std::int8_t>()[row * product.n + j] = Saturate<std::int8_t>(value);
        } else {
          outputs[0].as<std::uint8_t>()[row * product.n + j] = Saturate<std::uint8_t>(value);
        }
      }
    }
    return Status::Ok();
  });
}

constexpr Operator kOperators[] = {
    {.name = "ConvInteger",
     .since = 10,
     .inputs_min = 2,
     .inputs_max = 4,
     .attributes = "auto_pad dilations group kernel_shape pads strides",
     .kind = OperatorKind::kHeavy,
     .infer = InferConvInteger,
     .run = RunConvInteger},
    {.name = "QLinearConv",
     .since = 10,
     .inputs_min = 8,
     .inputs_max = 9,
     .attributes = "auto_pad dilations group kernel_shape pads strides",
     .kind = OperatorKind::kHeavy,
     .infer = InferQLinearConv,
     .run = RunQLinearConv},
    {.name = "QLinearMatMul",
     .since = 10,
     .inputs_min = 8,
     .inputs_max = 8,
     .kind = OperatorKind::kHeavy,
     .infer = InferQLinearMatMul,
     .run = RunQLinearMatMul},
};

}  // namespace

std::span<const Operator> ConvolveIntegerOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
