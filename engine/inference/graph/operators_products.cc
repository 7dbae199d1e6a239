#include "engine/inference/graph/operators_products.h"

#include <algorithm>

#include "engine/inference/graph/dynamic_product.h"

namespace foreshore::graph {

namespace {

Status InferProducts(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, SetOf(OnnxType::kFloat)));
  const Shape& x = context.ShapeOf(0);
  for (std::size_t i = 1; i < context.inputs.size(); i += 2) {
    FORESHORE_RETURN_IF_ERROR(context.Require(i, SetOf(OnnxType::kFloat)));
    FORESHORE_RETURN_IF_ERROR(context.RequireRank(i, 2));
    const Shape& weights = context.ShapeOf(i);
    if (x.empty() || x.back() != weights[0]) {
      return Status::InvalidArgument("multiplies " + ToText(context.Info(0)) + " by " + ToText(context.Info(i)) +
                                     ", expected " + ToText(Shape{x.empty() ? 1 : x.back()}) + " rows on the right");
    }
    TensorInfo info = context.Info(0);
    info.shape.back() = weights[1];
    outputs.push_back(std::move(info));
  }
  return Status::Ok();
}

// The specification.
Status RunProducts(const NodeContext& context, std::span<const OutputRef> outputs) {
  const auto* x = context.inputs[0].as<float>();
  for (std::size_t part = 0; part < outputs.size(); ++part) {
    const TensorRef& weights = context.inputs[1 + 2 * part];
    const std::int64_t depth = weights.info->shape[0];
    const std::int64_t columns = weights.info->shape[1];
    if (outputs[part].count() == 0) continue;
    for (std::int64_t row = 0; row < outputs[part].count() / columns; ++row) {
      FORESHORE_RETURN_IF_ERROR(context.Poll());
      float* out = outputs[part].as<float>() + row * columns;
      std::fill_n(out, columns, 0.0F);
      for (std::int64_t k = 0; k < depth; ++k) {
        const float factor = x[row * depth + k];
        const float* line = weights.as<float>() + k * columns;
        for (std::int64_t c = 0; c < columns; ++c) out[c] += factor * line[c];
      }
      if (!context.Has(2 + 2 * part)) continue;
      for (std::int64_t c = 0; c < columns; ++c) out[c] += context.inputs[2 + 2 * part].as<float>()[c];
    }
  }
  return Status::Ok();
}

}  // namespace

const Operator& ProductsOperator() {
  static constexpr Operator kOperator{.name = "Products",
                                      .inputs_min = 2,
                                      .inputs_max = 1 + 2 * kJoinedProductsMax,
                                      .outputs_max = kJoinedProductsMax,
                                      .kind = OperatorKind::kHeavy,
                                      .infer = InferProducts,
                                      .run = RunProducts};
  return kOperator;
}

}  // namespace foreshore::graph
