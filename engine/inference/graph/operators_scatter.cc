// Operators that write elements to places that an input names, or that move blocks of channels.
#include <cstring>
#include <vector>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

// An index counted from the end where it is negative; -1 outside 0..size-1.
std::int64_t PlaceAt(const TensorRef& indices, std::int64_t i, std::int64_t size) {
  std::int64_t index =
      indices.info->type == OnnxType::kInt32 ? indices.as<std::int32_t>()[i] : indices.as<std::int64_t>()[i];
  if (index < 0) index = index < -size ? -1 : index + size;
  return index < size ? index : -1;
}

Status OutOfRange(std::int64_t size) {
  return Status::InvalidArgument("an index is outside the axis of size " + std::to_string(size));
}

enum class Reduction { kNone, kAdd, kMul, kMin, kMax };

Result<Reduction> ReductionOf(const NodeContext& context) {
  const std::string_view name = context.Text("reduction", "none");
  if (name == "none") return Reduction::kNone;
  if (name == "add") return Reduction::kAdd;
  if (name == "mul") return Reduction::kMul;
  if (name == "min") return Reduction::kMin;
  if (name == "max") return Reduction::kMax;
  return Status::Unsupported("reduction \"" + std::string(name.substr(0, 32)) + "\"");
}

template <typename T>
T Reduce(Reduction reduction, T held, T value) {
  const auto a = static_cast<Modular<T>>(static_cast<Wide<T>>(held));
  const auto b = static_cast<Modular<T>>(static_cast<Wide<T>>(value));
  switch (reduction) {
    case Reduction::kAdd: return static_cast<T>(a + b);
    case Reduction::kMul: return static_cast<T>(a * b);
    case Reduction::kMin: return static_cast<Wide<T>>(value) < static_cast<Wide<T>>(held) ? value : held;
    case Reduction::kMax: return static_cast<Wide<T>>(value) > static_cast<Wide<T>>(held) ? value : held;
    case Reduction::kNone: break;
  }
  return value;
}

Status InferScatterElements(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kAllTypes));
  FORESHORE_RETURN_IF_ERROR(context.Require(1, kIndexTypes));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
  FORESHORE_RETURN_IF_ERROR(context.RequireRank(1, context.Rank(0)));
  FORESHORE_RETURN_IF_ERROR(ReductionOf(context).status());
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 0), context.Rank(0)));
  bool fits = context.ShapeOf(1) == context.ShapeOf(2);
  for (std::size_t i = 0; i < context.Rank(0); ++i) {
    fits = fits && (i == axis || context.ShapeOf(1)[i] <= context.ShapeOf(0)[i]);
  }
  if (!fits) {
    return Status::InvalidArgument("indices " + ToText(context.ShapeOf(1)) + " and updates " +
                                   ToText(context.ShapeOf(2)) + " into " + ToText(context.Info(0)));
  }
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

void CopyInput(const NodeContext& context, const OutputRef& output) {
  const std::size_t size_bytes = static_cast<std::size_t>(output.count()) * OnnxTypeBytes(output.info->type);
  if (size_bytes > 0) std::memcpy(output.data, context.inputs[0].data, size_bytes);
}

Status RunScatterElements(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 0), context.Rank(0)));
  FORESHORE_ASSIGN_OR_RETURN(const Reduction reduction, ReductionOf(context));
  CopyInput(context, outputs[0]);
  Shape strides = Strides(context.ShapeOf(0));
  const std::int64_t step = strides[axis];
  const std::int64_t size = context.ShapeOf(0)[axis];
  strides[axis] = 0;
  bool is_outside = false;
  FORESHORE_RETURN_IF_ERROR(Dispatch<kAllTypes>(context.Info(0).type, [&]<typename T>() {
    Walk(context.ShapeOf(1), std::array{strides}, [&](std::int64_t i, const auto& offsets) {
      const std::int64_t index = PlaceAt(context.inputs[1], i, size);
      is_outside = is_outside || index < 0;
      if (index < 0) return;
      T& held = outputs[0].as<T>()[offsets[0] + index * step];
      held = Reduce(reduction, held, context.inputs[2].as<T>()[i]);
    });
    return Status::Ok();
  }));
  return is_outside ? OutOfRange(size) : Status::Ok();
}

// The last axis of the indices says where; slices of the axes after those it names are written whole.
Status InferScatterNd(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kAllTypes));
  FORESHORE_RETURN_IF_ERROR(context.Require(1, SetOf(OnnxType::kInt64)));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
  FORESHORE_RETURN_IF_ERROR(ReductionOf(context).status());
  const Shape& own = context.ShapeOf(0);
  const Shape& indices = context.ShapeOf(1);
  bool fits = !indices.empty() && indices.back() >= 1 && indices.back() <= static_cast<std::int64_t>(own.size());
  if (fits) {
    Shape updates(indices.begin(), indices.end() - 1);
    updates.insert(updates.end(), own.begin() + indices.back(), own.end());
    fits = updates == context.ShapeOf(2);
  }
  if (!fits) {
    return Status::InvalidArgument("indices " + ToText(indices) + " and updates " + ToText(context.ShapeOf(2)) +
                                   " into " + ToText(context.Info(0)));
  }
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

Status RunScatterNd(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Reduction reduction, ReductionOf(context));
  CopyInput(context, outputs[0]);
  const Shape& own = context.ShapeOf(0);
  const std::int64_t depth = context.ShapeOf(1).back();
  const Shape strides = Strides(own);
  const std::int64_t slice = InnerCount(own, static_cast<std::size_t>(depth));
  return Dispatch<kAllTypes>(context.Info(0).type, [&]<typename T>() {
    for (std::int64_t tuple = 0; tuple < context.inputs[1].count() / depth; ++tuple) {
      std::int64_t to = 0;
      for (std::int64_t k = 0; k < depth; ++k) {
        const std::int64_t size = own[static_cast<std::size_t>(k)];
        const std::int64_t index = PlaceAt(context.inputs[1], tuple * depth + k, size);
        if (index < 0) return OutOfRange(size);
        to += index * strides[static_cast<std::size_t>(k)];
      }
      for (std::int64_t i = 0; i < slice; ++i) {
        T& held = outputs[0].as<T>()[to + i];
        held = Reduce(reduction, held, context.inputs[2].as<T>()[tuple * slice + i]);
      }
    }
    return Status::Ok();
  });
}

constexpr std::int64_t kDepthMax = std::int64_t{1} << 30;

// One number of an integer or float input.
Result<double> OneNumber(const NodeContext& context, std::size_t index) {
  if (context.inputs[index].count() != 1) {
    return Status::InvalidArgument("input " + std::to_string(index) + " is " + ToText(context.Info(index)) +
                                   ", expected one number");
  }
  double value = 0;
  FORESHORE_RETURN_IF_ERROR(Dispatch<kNumberTypes>(context.Info(index).type, [&]<typename T>() {
    value = static_cast<double>(static_cast<Wide<T>>(*context.inputs[index].as<T>()));
    return Status::Ok();
  }));
  return value;
}

Status InferOneHot(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kNumberTypes));
  FORESHORE_RETURN_IF_ERROR(context.Require(2, kAllTypes));
  FORESHORE_ASSIGN_OR_RETURN(const double depth, OneNumber(context, 1));
  if (!(depth >= 1 && depth <= static_cast<double>(kDepthMax)) || context.ShapeOf(2) != Shape{2}) {
    return Status::InvalidArgument("depth " + std::to_string(depth) + " with values " + ToText(context.Info(2)) +
                                   ", expected a positive number and two values");
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", -1), context.Rank(0) + 1));
  TensorInfo info{context.Info(2).type, context.ShapeOf(0)};
  info.shape.insert(info.shape.begin() + static_cast<std::ptrdiff_t>(axis), static_cast<std::int64_t>(depth));
  outputs.push_back(std::move(info));
  return Status::Ok();
}

// An index outside the depth has no place: its slice is all "off".
Status RunOneHot(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", -1), context.Rank(0) + 1));
  const std::int64_t depth = outputs[0].info->shape[axis];
  const std::int64_t inner = InnerCount(outputs[0].info->shape, axis + 1);
  DispatchWidth(outputs[0].info->type, [&]<typename T>() {
    std::fill_n(outputs[0].as<T>(), outputs[0].count(), context.inputs[2].as<T>()[0]);
  });
  const std::size_t width = OnnxTypeBytes(outputs[0].info->type);
  const std::byte* on = context.inputs[2].data + width;
  return Dispatch<kNumberTypes>(context.Info(0).type, [&]<typename T>() {
    for (std::int64_t i = 0; i < context.inputs[0].count(); ++i) {
      const auto index = static_cast<double>(static_cast<Wide<T>>(context.inputs[0].as<T>()[i]));
      const double place = index < 0 ? index + static_cast<double>(depth) : index;
      if (!(place >= 0 && place < static_cast<double>(depth))) continue;
      const std::int64_t at = (i / inner * depth + static_cast<std::int64_t>(place)) * inner + i % inner;
      std::memcpy(outputs[0].data + static_cast<std::size_t>(at) * width, on, width);
    }
    return Status::Ok();
  });
}

// [batch, channels, height, width] by blocks.
Status InferBlocks(const NodeContext& context, bool is_depth_to_space, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.RequireRank(0, 4));
  const std::int64_t block = context.Int("blocksize", 0);
  TensorInfo info = context.Info(0);
  Shape& shape = info.shape;
  const bool fits = block >= 1 && block <= 4'096 &&
                    (is_depth_to_space ? shape[1] % (block * block) == 0 && std::max(shape[2], shape[3]) < kDepthMax
                                       : shape[2] % block == 0 && shape[3] % block == 0 && shape[1] < kDepthMax);
  if (!fits) {
    return Status::InvalidArgument("blocksize " + std::to_string(block) + " over " + ToText(context.Info(0)));
  }
  shape[1] = is_depth_to_space ? shape[1] / (block * block) : shape[1] * block * block;
  for (const std::size_t axis : {2, 3}) shape[axis] = is_depth_to_space ? shape[axis] * block : shape[axis] / block;
  outputs.push_back(std::move(info));
  return Status::Ok();
}

Status InferDepthToSpace(const NodeContext& context, Infos& outputs) {
  const std::string_view mode = context.Text("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") return Status::Unsupported("mode \"" + std::string(mode.substr(0, 32)) + "\"");
  return InferBlocks(context, true, outputs);
}
Status InferSpaceToDepth(const NodeContext& context, Infos& outputs) {
  return InferBlocks(context, false, outputs);
}

// Calls body(deep offset, wide offset) for each element: deep is [b, c·block², h, w], wide is [b, c, h·block, w·block].
template <typename Body>
void EachBlockElement(const Shape& wide, std::int64_t block, bool is_channel_first, Body body) {
  std::int64_t offset = 0;
  const std::int64_t height = wide[2] / block;
  const std::int64_t width = wide[3] / block;
  for (std::int64_t b = 0; b < wide[0]; ++b) {
    for (std::int64_t c = 0; c < wide[1]; ++c) {
      for (std::int64_t y = 0; y < wide[2]; ++y) {
        for (std::int64_t x = 0; x < wide[3]; ++x) {
          const std::int64_t part = y % block * block + x % block;
          const std::int64_t channel = is_channel_first ? c * block * block + part : part * wide[1] + c;
          body(((b * wide[1] * block * block + channel) * height + y / block) * width + x / block, offset++);
        }
      }
    }
  }
}

template <bool kDepthToSpace>
Status RunBlocks(const NodeContext& context, std::span<const OutputRef> outputs) {
  const Shape& wide = kDepthToSpace ? outputs[0].info->shape : context.ShapeOf(0);
  const bool is_channel_first = kDepthToSpace && context.Text("mode", "DCR") == "CRD";
  DispatchWidth(outputs[0].info->type, [&]<typename T>() {
    const T* from = context.inputs[0].as<T>();
    T* to = outputs[0].as<T>();
    EachBlockElement(wide, context.Int("blocksize", 1), is_channel_first, [&](std::int64_t deep, std::int64_t at) {
      if constexpr (kDepthToSpace) {
        to[at] = from[deep];
      } else {
        to[deep] = from[at];
      }
    });
  });
  return Status::Ok();
}

constexpr Operator kOperators[] = {
    {.name = "ScatterElements",
     .since = 11,
     .inputs_min = 3,
     .inputs_max = 3,
     .attributes = "axis reduction",
     .infer = InferScatterElements,
     .run = RunScatterElements},
    // Its name before operator set 11.
    {.name = "Scatter",
     .since = 9,
     .inputs_min = 3,
     .inputs_max = 3,
     .attributes = "axis",
     .infer = InferScatterElements,
     .run = RunScatterElements},
    {.name = "ScatterND",
     .since = 11,
     .inputs_min = 3,
     .inputs_max = 3,
     .attributes = "reduction",
     .infer = InferScatterNd,
     .run = RunScatterNd},
    {.name = "OneHot",
     .since = 9,
     .inputs_min = 3,
     .inputs_max = 3,
     .attributes = "axis",
     .shape_inputs = 0b10,
     .infer = InferOneHot,
     .run = RunOneHot},
    {.name = "DepthToSpace", .attributes = "blocksize mode", .infer = InferDepthToSpace, .run = RunBlocks<true>},
    {.name = "SpaceToDepth", .attributes = "blocksize", .infer = InferSpaceToDepth, .run = RunBlocks<false>},
};

}  // namespace

std::span<const Operator> ScatterOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
