// Operators that choose among elements: by index, by condition, by bounds.
#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

// Index `i` of input 1, -size..size-1 made 0..size-1; -1 outside.
std::int64_t IndexAt(const TensorRef& indices, std::int64_t i, std::int64_t size) {
  const std::int64_t index =
      indices.info->type == OnnxType::kInt32 ? indices.as<std::int32_t>()[i] : indices.as<std::int64_t>()[i];
  if (index < -size || index >= size) return -1;
  return index < 0 ? index + size : index;
}

Status OutOfRange(std::int64_t size) {
  return Status::InvalidArgument("an index is outside the axis of size " + std::to_string(size));
}

Status InferGather(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(1, kIndexTypes));
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 0), context.Rank(0)));
  const Shape& own = context.ShapeOf(0);
  TensorInfo info{context.Info(0).type, {}};
  for (std::size_t i = 0; i < axis; ++i) info.shape.push_back(own[i]);
  for (const std::int64_t size : context.ShapeOf(1)) info.shape.push_back(size);
  for (std::size_t i = axis + 1; i < own.size(); ++i) info.shape.push_back(own[i]);
  outputs.push_back(std::move(info));
  return Status::Ok();
}

Status RunGather(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 0), context.Rank(0)));
  const Shape& own = context.ShapeOf(0);
  const auto element_bytes = static_cast<std::int64_t>(OnnxTypeBytes(context.Info(0).type));
  const std::int64_t outer = OuterCount(own, axis);
  const std::int64_t slice_bytes = InnerCount(own, axis + 1) * element_bytes;
  const std::int64_t index_count = context.inputs[1].count();
  if (outputs[0].count() == 0) return Status::Ok();
  std::byte* out = outputs[0].data;
  for (std::int64_t i = 0; i < outer; ++i) {
    for (std::int64_t k = 0; k < index_count; ++k) {
      const std::int64_t index = IndexAt(context.inputs[1], k, own[axis]);
      if (index < 0) return OutOfRange(own[axis]);
      std::memcpy(out, context.inputs[0].data + (i * own[axis] + index) * slice_bytes,
                  static_cast<std::size_t>(slice_bytes));
      out += slice_bytes;
    }
  }
  return Status::Ok();
}

Status InferGatherElements(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(1, kIndexTypes));
  FORESHORE_RETURN_IF_ERROR(context.RequireRank(1, context.Rank(0)));
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 0), context.Rank(0)));
  for (std::size_t i = 0; i < context.Rank(0); ++i) {
    if (i != axis && context.ShapeOf(1)[i] > context.ShapeOf(0)[i]) {
      return Status::InvalidArgument("indices " + ToText(context.ShapeOf(1)) + " reach outside " +
                                     ToText(context.Info(0)));
    }
  }
  outputs.push_back({context.Info(0).type, context.ShapeOf(1)});
  return Status::Ok();
}

Status RunGatherElements(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 0), context.Rank(0)));
  Shape strides = Strides(context.ShapeOf(0));
  const std::int64_t step = strides[axis];
  const std::int64_t size = context.ShapeOf(0)[axis];
  strides[axis] = 0;
  bool is_outside = false;
  DispatchWidth(context.Info(0).type, [&]<typename T>() {
    Walk(outputs[0].info->shape, std::array{strides}, [&](std::int64_t i, const auto& offsets) {
      const std::int64_t index = IndexAt(context.inputs[1], i, size);
      is_outside = is_outside || index < 0;
      outputs[0].as<T>()[i] = index < 0 ? T{0} : context.inputs[0].as<T>()[offsets[0] + index * step];
    });
  });
  return is_outside ? OutOfRange(size) : Status::Ok();
}

// The last axis of the indices says where in the axes after the batch dimensions; slices after those are taken whole.
Status InferGatherNd(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(1, SetOf(OnnxType::kInt64)));
  const Shape& own = context.ShapeOf(0);
  const Shape& indices = context.ShapeOf(1);
  const std::int64_t batch = context.Int("batch_dims", 0);
  if (batch < 0 || batch >= static_cast<std::int64_t>(std::min(own.size(), indices.size())) || indices.back() < 1 ||
      indices.back() > static_cast<std::int64_t>(own.size()) - batch ||
      !std::equal(own.begin(), own.begin() + batch, indices.begin())) {
    return Status::InvalidArgument("indices " + ToText(indices) + " with " + std::to_string(batch) +
                                   " batch dimensions into " + ToText(context.Info(0)));
  }
  TensorInfo info{context.Info(0).type, {}};
  for (std::size_t i = 0; i + 1 < indices.size(); ++i) info.shape.push_back(indices[i]);
  for (auto i = static_cast<std::size_t>(batch + indices.back()); i < own.size(); ++i) info.shape.push_back(own[i]);
  outputs.push_back(std::move(info));
  return Status::Ok();
}

Status RunGatherNd(const NodeContext& context, std::span<const OutputRef> outputs) {
  if (outputs[0].count() == 0) return Status::Ok();
  const Shape& own = context.ShapeOf(0);
  const auto batch = static_cast<std::size_t>(context.Int("batch_dims", 0));
  const std::int64_t depth = context.ShapeOf(1).back();
  const Shape strides = Strides(own);
  const std::int64_t slice = InnerCount(own, batch + static_cast<std::size_t>(depth));
  const auto slice_bytes = static_cast<std::size_t>(slice) * OnnxTypeBytes(context.Info(0).type);
  const std::int64_t tuple_count = context.inputs[1].count() / depth;
  const std::int64_t tuples_per_batch = tuple_count / OuterCount(own, batch);
  std::byte* out = outputs[0].data;
  for (std::int64_t tuple = 0; tuple < tuple_count; ++tuple) {
    std::int64_t from = tuple / tuples_per_batch * InnerCount(own, batch);
    for (std::int64_t k = 0; k < depth; ++k) {
      const std::size_t axis = batch + static_cast<std::size_t>(k);
      const std::int64_t index = IndexAt(context.inputs[1], tuple * depth + k, own[axis]);
      if (index < 0) return OutOfRange(own[axis]);
      from += index * strides[axis];
    }
    std::memcpy(out, context.inputs[0].data + static_cast<std::size_t>(from) * OnnxTypeBytes(context.Info(0).type),
                slice_bytes);
    out += slice_bytes;
  }
  return Status::Ok();
}

Status InferWhere(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kBoolType));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(1, 2));
  FORESHORE_ASSIGN_OR_RETURN(Shape shape, BroadcastShape(context.ShapeOf(1), context.ShapeOf(2)));
  FORESHORE_ASSIGN_OR_RETURN(shape, BroadcastShape(shape, context.ShapeOf(0)));
  outputs.push_back({context.Info(1).type, std::move(shape)});
  return Status::Ok();
}

Status RunWhere(const NodeContext& context, std::span<const OutputRef> outputs) {
  const Shape& shape = outputs[0].info->shape;
  const std::array strides{BroadcastStrides(context.ShapeOf(0), shape), BroadcastStrides(context.ShapeOf(1), shape),
                           BroadcastStrides(context.ShapeOf(2), shape)};
  DispatchWidth(outputs[0].info->type, [&]<typename T>() {
    const auto* condition = context.inputs[0].as<std::uint8_t>();
    const T* yes = context.inputs[1].as<T>();
    const T* no = context.inputs[2].as<T>();
    T* out = outputs[0].as<T>();
    Walk(shape, strides, [&](std::int64_t i, const auto& offsets) {
      out[i] = condition[offsets[0]] != 0 ? yes[offsets[1]] : no[offsets[2]];
    });
  });
  return Status::Ok();
}

Status InferClip(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kNumberTypes));
  for (std::size_t i = 1; i < 3; ++i) {
    if (!context.Has(i)) continue;
    FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, i));
    if (context.inputs[i].count() != 1) {
      return Status::InvalidArgument("input " + std::to_string(i) + " is " + ToText(context.Info(i)) +
                                     ", expected one number");
    }
  }
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

// Bounds are attributes before operator set 11. Where the lower is above the upper, the upper wins.
Status RunClip(const NodeContext& context, std::span<const OutputRef> outputs) {
  return Dispatch<kNumberTypes>(context.Info(0).type, [&]<typename T>() {
    using W = Wide<T>;
    const auto bound = [&](std::size_t index, const char* name) -> std::pair<bool, W> {
      if (context.Has(index)) return {true, static_cast<W>(*context.inputs[index].as<T>())};
      if constexpr (std::is_floating_point_v<W>) {
        if (context.opset < 11 && context.HasAttribute(name)) return {true, static_cast<W>(context.Float(name, 0))};
      }
      return {false, W{0}};
    };
    const auto [has_low, low] = bound(1, "min");
    const auto [has_high, high] = bound(2, "max");
    if constexpr (std::is_same_v<T, float>) {
      const Activation clip{Unary::kClip, has_low ? low : -std::numeric_limits<float>::infinity(),
                            has_high ? high : std::numeric_limits<float>::infinity()};
      if (context.kernels != nullptr && clip.a <= clip.b) {
        context.kernels->unary(clip, context.inputs[0].as<float>(), static_cast<std::size_t>(outputs[0].count()),
                               outputs[0].as<float>());
        return Status::Ok();
      }
    }
    for (std::int64_t i = 0; i < outputs[0].count(); ++i) {
      auto value = static_cast<W>(context.inputs[0].as<T>()[i]);
      if (has_low && value < low) value = low;
      if (has_high && value > high) value = high;
      outputs[0].as<T>()[i] = static_cast<T>(value);
    }
    return Status::Ok();
  });
}

constexpr Operator kOperators[] = {
    {.name = "Gather", .inputs_min = 2, .inputs_max = 2, .attributes = "axis", .infer = InferGather, .run = RunGather},
    {.name = "GatherElements",
     .since = 11,
     .inputs_min = 2,
     .inputs_max = 2,
     .attributes = "axis",
     .infer = InferGatherElements,
     .run = RunGatherElements},
    {.name = "GatherND",
     .since = 11,
     .inputs_min = 2,
     .inputs_max = 2,
     .attributes = "batch_dims",
     .infer = InferGatherNd,
     .run = RunGatherNd},
    {.name = "Where", .since = 9, .inputs_min = 3, .inputs_max = 3, .infer = InferWhere, .run = RunWhere},
    {.name = "Clip", .inputs_max = 3, .attributes = "min max", .infer = InferClip, .run = RunClip},
};

}  // namespace

std::span<const Operator> SelectOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
