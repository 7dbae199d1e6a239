// Operators that look for elements by their value: TopK, NonZero, and sums along an axis.
#include <algorithm>
#include <numeric>
#include <span>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

Result<std::int64_t> TopCount(const NodeContext& context) {
  if (context.opset < 10) return context.Int("k", 0);
  if (!context.Has(1)) return Status::InvalidArgument("input 1 is missing, expected k");
  FORESHORE_ASSIGN_OR_RETURN(const auto count, context.InputInts(1));
  if (count.size() != 1) return Status::InvalidArgument("k is " + ToText(context.Info(1)) + ", expected one number");
  return count[0];
}

Status InferTopK(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kNumberTypes));
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", -1), context.Rank(0)));
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t count, TopCount(context));
  TensorInfo info = context.Info(0);
  if (count < 0 || count > info.shape[axis]) {
    return Status::InvalidArgument("k is " + std::to_string(count) + ", axis " + std::to_string(axis) + " of " +
                                   ToText(info) + " has fewer");
  }
  info.shape[axis] = count;
  outputs.push_back(info);
  outputs.push_back({OnnxType::kInt64, info.shape});
  return Status::Ok();
}

// The places along the axis.
std::uint64_t TopKWorkspaceBytes(const NodeContext& context) {
  const auto axis = NormaliseAxis(context.Int("axis", -1), context.Rank(0));
  return axis.ok() ? static_cast<std::uint64_t>(context.ShapeOf(0)[*axis]) * sizeof(std::int64_t) : 0;
}

// In order, whether that is asked for or not; of equal elements the first comes first. NaN counts as largest.
Status RunTopK(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", -1), context.Rank(0)));
  const bool takes_largest = context.Int("largest", 1) != 0;
  const std::int64_t size = context.ShapeOf(0)[axis];
  const std::int64_t inner = InnerCount(context.ShapeOf(0), axis + 1);
  const std::int64_t outer = OuterCount(context.ShapeOf(0), axis);
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t count, TopCount(context));
  return Dispatch<kNumberTypes>(context.Info(0).type, [&]<typename T>() {
    const std::span order(reinterpret_cast<std::int64_t*>(context.workspace), static_cast<std::size_t>(size));
    for (std::int64_t row = 0; row < outer * inner; ++row) {
      const T* from = context.inputs[0].as<T>() + row / inner * size * inner + row % inner;
      std::iota(order.begin(), order.end(), std::int64_t{0});
      const auto comes_first = [&](std::int64_t a, std::int64_t b) {
        const auto left = static_cast<Wide<T>>(from[a * inner]);
        const auto right = static_cast<Wide<T>>(from[b * inner]);
        const bool left_nan = left != left;
        const bool right_nan = right != right;
        if (left_nan != right_nan) return takes_largest ? left_nan : right_nan;
        if (left_nan || left == right) return a < b;
        return takes_largest ? left > right : left < right;
      };
      std::partial_sort(order.begin(), order.begin() + count, order.end(), comes_first);
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t to = (row / inner * count + i) * inner + row % inner;
        const std::int64_t index = order[static_cast<std::size_t>(i)];
        if (outputs[0].data != nullptr) outputs[0].as<T>()[to] = from[index * inner];
        if (outputs.size() > 1 && outputs[1].data != nullptr) outputs[1].as<std::int64_t>()[to] = index;
      }
    }
    return Status::Ok();
  });
}

// Calls body(offset) for each element that is not 0.
template <typename Body>
void EachNonZero(const TensorRef& input, Body body) {
  Dispatch<kAllTypes>(input.info->type, [&]<typename T>() {
    for (std::int64_t i = 0; i < input.count(); ++i) {
      if (static_cast<Wide<T>>(input.as<T>()[i]) != Wide<T>{0}) body(i);
    }
    return Status::Ok();
  }).IgnoreError();
}

Status InferNonZero(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kAllTypes));
  std::int64_t count = 0;
  EachNonZero(context.inputs[0], [&](std::int64_t) { ++count; });
  outputs.push_back({OnnxType::kInt64, {static_cast<std::int64_t>(context.Rank(0)), count}});
  return Status::Ok();
}

// A row for each axis, a column for each element that is not 0.
Status RunNonZero(const NodeContext& context, std::span<const OutputRef> outputs) {
  const Shape& shape = context.ShapeOf(0);
  const Shape strides = Strides(shape);
  const std::int64_t columns = outputs[0].info->shape[1];
  auto* out = outputs[0].as<std::int64_t>();
  EachNonZero(context.inputs[0], [&](std::int64_t place) {
    for (std::size_t axis = 0; axis < strides.size(); ++axis) {
      out[static_cast<std::int64_t>(axis) * columns] = place / strides[axis] % shape[axis];
    }
    ++out;
  });
  return Status::Ok();
}

constexpr TypeSet kSumTypes = kFloatTypes | kIndexTypes | SetOf(OnnxType::kUint32) | SetOf(OnnxType::kUint64);

Result<std::size_t> SumAxis(const NodeContext& context) {
  FORESHORE_ASSIGN_OR_RETURN(const auto listed, context.InputInts(1));
  if (listed.size() != 1)
    return Status::InvalidArgument("axis is " + ToText(context.Info(1)) + ", expected one number");
  return NormaliseAxis(listed[0], context.Rank(0));
}

Status InferCumSum(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kSumTypes));
  FORESHORE_RETURN_IF_ERROR(SumAxis(context).status());
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

Status RunCumSum(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, SumAxis(context));
  const std::int64_t size = context.ShapeOf(0)[axis];
  const std::int64_t inner = InnerCount(context.ShapeOf(0), axis + 1);
  const bool is_reversed = context.Int("reverse", 0) != 0;
  const bool is_exclusive = context.Int("exclusive", 0) != 0;
  return Dispatch<kSumTypes>(context.Info(0).type, [&]<typename T>() {
    for (std::int64_t row = 0; row < OuterCount(context.ShapeOf(0), axis) * inner; ++row) {
      const std::int64_t start = row / inner * size * inner + row % inner;
      Modular<T> sum{0};
      for (std::int64_t i = 0; i < size; ++i) {
        const std::int64_t at = start + (is_reversed ? size - 1 - i : i) * inner;
        const auto value = static_cast<Modular<T>>(static_cast<Wide<T>>(context.inputs[0].as<T>()[at]));
        outputs[0].as<T>()[at] = static_cast<T>(is_exclusive ? sum : sum + value);
        sum += value;
      }
    }
    return Status::Ok();
  });
}

Status InferHardmax(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  const auto axis = NormaliseAxis(context.Int("axis", context.opset < 13 ? 1 : -1), context.Rank(0));
  FORESHORE_RETURN_IF_ERROR(axis.status());
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

// 1 where a row's first largest element is, else 0. Before operator set 13 all axes from the given one on are a row.
Status RunHardmax(const NodeContext& context, std::span<const OutputRef> outputs) {
  const bool is_coerced = context.opset < 13;
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis,
                             NormaliseAxis(context.Int("axis", is_coerced ? 1 : -1), context.Rank(0)));
  const Shape& shape = context.ShapeOf(0);
  const std::int64_t size = is_coerced ? InnerCount(shape, axis) : shape[axis];
  const std::int64_t inner = is_coerced ? 1 : InnerCount(shape, axis + 1);
  if (size == 0) return Status::Ok();
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    for (std::int64_t row = 0; row < OuterCount(shape, axis) * inner; ++row) {
      const std::int64_t start = row / inner * size * inner + row % inner;
      const T* from = context.inputs[0].as<T>() + start;
      std::int64_t best = 0;
      for (std::int64_t i = 1; i < size; ++i) {
        if (static_cast<Wide<T>>(from[i * inner]) > static_cast<Wide<T>>(from[best * inner])) best = i;
      }
      for (std::int64_t i = 0; i < size; ++i) {
        outputs[0].as<T>()[start + i * inner] = static_cast<T>(static_cast<Wide<T>>(i == best ? 1 : 0));
      }
    }
    return Status::Ok();
  });
}

constexpr Operator kOperators[] = {
    {.name = "TopK",
     .inputs_max = 2,
     .outputs_max = 2,
     .runs_without_first = true,
     .attributes = "axis k largest sorted",
     .shape_inputs = 0b10,
     .infer = InferTopK,
     .run = RunTopK,
     .workspace = TopKWorkspaceBytes},
    {.name = "NonZero", .since = 9, .shape_inputs = 0b1, .infer = InferNonZero, .run = RunNonZero},
    {.name = "CumSum",
     .since = 11,
     .inputs_min = 2,
     .inputs_max = 2,
     .attributes = "exclusive reverse",
     .shape_inputs = 0b10,
     .infer = InferCumSum,
     .run = RunCumSum},
    {.name = "Hardmax", .attributes = "axis", .infer = InferHardmax, .run = RunHardmax},
};

}  // namespace

std::span<const Operator> SortOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
