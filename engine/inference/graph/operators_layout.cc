// Operators that move elements: transpose, join, cut, repeat, pad.
#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

Result<std::vector<std::size_t>> Permutation(const NodeContext& context) {
  std::vector<std::int64_t> listed = context.Ints("perm");
  const std::size_t rank = context.Rank(0);
  if (!context.HasAttribute("perm")) {
    for (std::size_t i = rank; i-- > 0;) listed.push_back(static_cast<std::int64_t>(i));
  }
  if (listed.size() != rank) {
    return Status::InvalidArgument("perm has " + std::to_string(listed.size()) + " axes, the tensor has " +
                                   std::to_string(rank));
  }
  return NormaliseAxes(listed, rank);
}

Status InferTranspose(const NodeContext& context, Infos& outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const auto permutation, Permutation(context));
  TensorInfo info{context.Info(0).type, {}};
  for (const std::size_t axis : permutation) info.shape.push_back(context.ShapeOf(0)[axis]);
  outputs.push_back(std::move(info));
  return Status::Ok();
}

// Copies the elements of input 0 that `strides` and `start` reach, in the order of the output.
void CopyStrided(const NodeContext& context, const OutputRef& output, const Shape& strides, std::int64_t start = 0) {
  DispatchWidth(output.info->type, [&]<typename T>() {
    const T* input = context.inputs[0].as<T>() + start;
    T* out = output.as<T>();
    Walk(output.info->shape, std::array{strides},
         [&](std::int64_t i, const auto& offsets) { out[i] = input[offsets[0]]; });
  });
}

Status RunTranspose(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const auto permutation, Permutation(context));
  const Shape own = Strides(context.ShapeOf(0));
  Shape strides;
  for (const std::size_t axis : permutation) strides.push_back(own[axis]);
  CopyStrided(context, outputs[0], strides);
  return Status::Ok();
}

Status InferConcat(const NodeContext& context, Infos& outputs) {
  TensorInfo info = context.Info(0);
  if (!context.HasAttribute("axis")) return Status::Corruption("attribute axis is missing");
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 0), info.shape.size()));
  for (std::size_t i = 1; i < context.inputs.size(); ++i) {
    if (!context.Has(i)) return Status::InvalidArgument("input " + std::to_string(i) + " is missing");
    FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, i));
    Shape other = context.ShapeOf(i);
    const std::int64_t joined = other.size() == info.shape.size() ? other[axis] : 0;
    if (other.size() == info.shape.size()) other[axis] = info.shape[axis];
    if (other != info.shape) {
      return Status::InvalidArgument("input " + std::to_string(i) + " is " + ToText(context.Info(i)) +
                                     ", does not join " + ToText(context.Info(0)) + " along axis " +
                                     std::to_string(axis));
    }
    if (joined > std::numeric_limits<std::int64_t>::max() - info.shape[axis])
      return Status::Limit("the sum is too large");
    info.shape[axis] += joined;
  }
  outputs.push_back(std::move(info));
  return Status::Ok();
}

Status RunConcat(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 0), context.Rank(0)));
  const Shape& shape = outputs[0].info->shape;
  const auto element_bytes = static_cast<std::int64_t>(OnnxTypeBytes(outputs[0].info->type));
  const std::int64_t outer = OuterCount(shape, axis);
  const std::int64_t row_bytes = InnerCount(shape, axis) * element_bytes;
  std::int64_t at = 0;
  for (std::size_t k = 0; k < context.inputs.size(); ++k) {
    const std::int64_t part_bytes = InnerCount(context.ShapeOf(k), axis) * element_bytes;
    if (part_bytes == 0) continue;
    for (std::int64_t i = 0; i < outer; ++i) {
      std::memcpy(outputs[0].data + i * row_bytes + at, context.inputs[k].data + i * part_bytes,
                  static_cast<std::size_t>(part_bytes));
    }
    at += part_bytes;
  }
  return Status::Ok();
}

struct SlicePlan {
  Shape start;
  Shape step;
  Shape shape;
};

// Bounds are attributes before operator set 10.
Result<std::vector<std::int64_t>> SliceList(const NodeContext& context, const char* name, std::size_t index) {
  if (context.opset < 10) return context.Ints(name);
  if (!context.Has(index)) return std::vector<std::int64_t>();
  return context.InputInts(index);
}

// How many of `size` are taken from `start` up to but without `end`, both as the file says them.
std::int64_t SliceCount(std::int64_t size, std::int64_t end, std::int64_t step, std::int64_t& start) {
  const auto place = [size](std::int64_t at, std::int64_t low, std::int64_t high) {
    return std::clamp(at < 0 ? at + size : at, low, high);
  };
  if (step > 0) {
    start = place(start, 0, size);
    end = place(end, 0, size);
    return start >= end ? 0 : (end - start - 1) / step + 1;
  }
  start = place(start, 0, size - 1);
  end = place(end, -1, size - 1);
  if (size == 0 || end >= start) return 0;
  // The lowest number has no opposite, and a step that long leaves the tensor at once.
  return step < -size ? 1 : (start - end - 1) / -step + 1;
}

Result<SlicePlan> PlanSlice(const NodeContext& context) {
  FORESHORE_ASSIGN_OR_RETURN(const auto starts, SliceList(context, "starts", 1));
  FORESHORE_ASSIGN_OR_RETURN(const auto ends, SliceList(context, "ends", 2));
  FORESHORE_ASSIGN_OR_RETURN(auto axes, SliceList(context, "axes", 3));
  std::vector<std::int64_t> steps;
  if (context.Has(4)) {
    FORESHORE_ASSIGN_OR_RETURN(steps, context.InputInts(4));
  }
  if (axes.empty()) {
    for (std::size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
  }
  if (steps.empty()) steps.assign(starts.size(), 1);
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size()) {
    return Status::InvalidArgument("starts, ends, axes and steps have " + std::to_string(starts.size()) + ", " +
                                   std::to_string(ends.size()) + ", " + std::to_string(axes.size()) + " and " +
                                   std::to_string(steps.size()) + " entries, expected as many");
  }
  SlicePlan plan{Shape(context.Rank(0), 0), Shape(context.Rank(0), 1), context.ShapeOf(0)};
  FORESHORE_ASSIGN_OR_RETURN(const auto known_axes, NormaliseAxes(axes, context.Rank(0)));
  for (std::size_t i = 0; i < known_axes.size(); ++i) {
    const std::size_t axis = known_axes[i];
    if (steps[i] == 0) return Status::InvalidArgument("a step is 0, expected another number");
    plan.start[axis] = starts[i];
    plan.step[axis] = steps[i];
    plan.shape[axis] = SliceCount(context.ShapeOf(0)[axis], ends[i], steps[i], plan.start[axis]);
    // One element has no next one: a step that is not taken must not be multiplied either.
    if (plan.shape[axis] <= 1) plan.step[axis] = 1;
    if (plan.shape[axis] == 0) plan.start[axis] = 0;
  }
  return plan;
}

Status InferSlice(const NodeContext& context, Infos& outputs) {
  if (context.opset >= 10 && !context.Has(2)) return Status::InvalidArgument("starts or ends are missing");
  FORESHORE_ASSIGN_OR_RETURN(SlicePlan plan, PlanSlice(context));
  outputs.push_back({context.Info(0).type, std::move(plan.shape)});
  return Status::Ok();
}

Status RunSlice(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const SlicePlan plan, PlanSlice(context));
  if (outputs[0].count() == 0) return Status::Ok();
  Shape strides = Strides(context.ShapeOf(0));
  std::int64_t start = 0;
  for (std::size_t i = 0; i < strides.size(); ++i) {
    start += plan.start[i] * strides[i];
    strides[i] *= plan.step[i];
  }
  CopyStrided(context, outputs[0], strides, start);
  return Status::Ok();
}

// The sizes of the parts: an attribute before operator set 13, then an input; equal ones where neither says.
Result<std::vector<std::int64_t>> SplitSizes(const NodeContext& context, std::size_t axis) {
  const std::int64_t size = context.ShapeOf(0)[axis];
  const auto part_count = static_cast<std::int64_t>(context.node.outputs.size());
  std::vector<std::int64_t> sizes = context.opset < 13 ? context.Ints("split") : std::vector<std::int64_t>();
  if (context.opset >= 13 && context.Has(1)) {
    FORESHORE_ASSIGN_OR_RETURN(sizes, context.InputInts(1));
  }
  if (sizes.empty()) {
    const std::int64_t parts = context.Int("num_outputs", part_count);
    if (parts != part_count || parts < 1 || (context.opset < 18 && size % parts != 0)) {
      return Status::InvalidArgument("axis of size " + std::to_string(size) + " does not split into " +
                                     std::to_string(part_count) + " equal parts");
    }
    const std::int64_t part = (size + parts - 1) / parts;
    for (std::int64_t i = 0; i < parts; ++i) sizes.push_back(std::clamp<std::int64_t>(size - i * part, 0, part));
  }
  std::int64_t sum = 0;
  for (const std::int64_t part : sizes) {
    if (part < 0 || part > size - sum) sum = size + 1;
    if (sum <= size) sum += part;
  }
  if (sum != size || static_cast<std::int64_t>(sizes.size()) != part_count) {
    return Status::InvalidArgument("parts " + ToText(sizes) + " for " + std::to_string(part_count) +
                                   " outputs do not make the axis of size " + std::to_string(size));
  }
  return sizes;
}

Status InferSplit(const NodeContext& context, Infos& outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 0), context.Rank(0)));
  FORESHORE_ASSIGN_OR_RETURN(const auto sizes, SplitSizes(context, axis));
  for (const std::int64_t part : sizes) {
    outputs.push_back(context.Info(0));
    outputs.back().shape[axis] = part;
  }
  return Status::Ok();
}

Status RunSplit(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", 0), context.Rank(0)));
  FORESHORE_ASSIGN_OR_RETURN(const auto sizes, SplitSizes(context, axis));
  const Shape strides = Strides(context.ShapeOf(0));
  std::int64_t at = 0;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].data != nullptr && outputs[i].count() > 0)
      CopyStrided(context, outputs[i], strides, at * strides[axis]);
    at += sizes[i];
  }
  return Status::Ok();
}

// Unlike a reshape, a 1 in the asked shape leaves the dimension as it is.
Status InferExpand(const NodeContext& context, Infos& outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Shape asked, context.InputInts(1));
  FORESHORE_ASSIGN_OR_RETURN(Shape shape, BroadcastShape(context.ShapeOf(0), asked));
  outputs.push_back({context.Info(0).type, std::move(shape)});
  return Status::Ok();
}

Status RunExpand(const NodeContext& context, std::span<const OutputRef> outputs) {
  CopyStrided(context, outputs[0], BroadcastStrides(context.ShapeOf(0), outputs[0].info->shape));
  return Status::Ok();
}

Status InferTile(const NodeContext& context, Infos& outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const auto repeats, context.InputInts(1));
  TensorInfo info = context.Info(0);
  if (repeats.size() != info.shape.size()) {
    return Status::InvalidArgument(std::to_string(repeats.size()) + " repeats of " + ToText(info) +
                                   ", expected one a dimension");
  }
  for (std::size_t i = 0; i < repeats.size(); ++i) {
    std::int64_t& size = info.shape[i];
    if (repeats[i] < 0 || (size > 0 && repeats[i] > std::numeric_limits<std::int64_t>::max() / size)) {
      return Status::InvalidArgument("repeats " + ToText(repeats) + " of " + ToText(context.Info(0)));
    }
    size *= repeats[i];
  }
  outputs.push_back(std::move(info));
  return Status::Ok();
}

// Copies input 0 to where `place` says for each axis: the source's index for one of the output's, -1 for the fill.
template <typename Place>
void CopyMapped(const NodeContext& context, const OutputRef& output, Place place, const void* fill) {
  const Shape& shape = output.info->shape;
  const Shape strides = Strides(context.ShapeOf(0));
  DispatchWidth(output.info->type, [&]<typename T>() {
    T value = 0;
    if (fill != nullptr) std::memcpy(&value, fill, sizeof value);
    const T* input = context.inputs[0].as<T>();
    Shape index(shape.size(), 0);
    for (std::int64_t i = 0; i < output.count(); ++i) {
      std::int64_t from = 0;
      for (std::size_t axis = 0; axis < shape.size() && from >= 0; ++axis) {
        const std::int64_t at = place(axis, index[axis]);
        from = at < 0 ? -1 : from + at * strides[axis];
      }
      output.as<T>()[i] = from < 0 ? value : input[from];
      for (std::size_t axis = shape.size(); axis-- > 0;) {
        if (++index[axis] < shape[axis]) break;
        index[axis] = 0;
      }
    }
  });
}

Status RunTile(const NodeContext& context, std::span<const OutputRef> outputs) {
  const Shape& own = context.ShapeOf(0);
  CopyMapped(
      context, outputs[0], [&](std::size_t axis, std::int64_t at) { return at % own[axis]; }, nullptr);
  return Status::Ok();
}

// The pads of each axis, before and after; negative ones cut.
Result<std::pair<Shape, Shape>> PadSizes(const NodeContext& context) {
  std::vector<std::int64_t> pads = context.opset < 11 ? context.Ints("pads") : std::vector<std::int64_t>();
  if (context.opset >= 11) {
    if (!context.Has(1)) return Status::InvalidArgument("input 1 is missing, expected pads");
    FORESHORE_ASSIGN_OR_RETURN(pads, context.InputInts(1));
  }
  const std::size_t rank = context.Rank(0);
  std::vector<std::int64_t> listed;
  for (std::size_t i = 0; i < rank; ++i) listed.push_back(static_cast<std::int64_t>(i));
  if (context.Has(3)) {
    FORESHORE_ASSIGN_OR_RETURN(listed, context.InputInts(3));
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto axes, NormaliseAxes(listed, rank));
  if (pads.size() != axes.size() * 2) {
    return Status::InvalidArgument(std::to_string(pads.size()) + " pads for " + std::to_string(axes.size()) +
                                   " axes, expected two each");
  }
  std::pair<Shape, Shape> sizes{Shape(rank, 0), Shape(rank, 0)};
  for (std::size_t i = 0; i < axes.size(); ++i) {
    sizes.first[axes[i]] = pads[i];
    sizes.second[axes[i]] = pads[axes.size() + i];
  }
  return sizes;
}

constexpr std::int64_t kPadMax = std::int64_t{1} << 40;

Status InferPad(const NodeContext& context, Infos& outputs) {
  const std::string_view mode = context.Text("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge") {
    return Status::Unsupported("mode \"" + std::string(mode.substr(0, 32)) + "\", expected constant, reflect or edge");
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto sizes, PadSizes(context));
  TensorInfo info = context.Info(0);
  if (context.opset < 11 && info.type != OnnxType::kFloat) {
    return Status::Unsupported("pads " + ToText(info) + ", expected float before operator set 11");
  }
  if (context.Has(2)) {
    FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
    if (context.inputs[2].count() != 1) return Status::InvalidArgument("the fill is " + ToText(context.Info(2)));
  }
  for (std::size_t i = 0; i < info.shape.size(); ++i) {
    const std::int64_t before = sizes.first[i];
    const std::int64_t after = sizes.second[i];
    const std::int64_t own = info.shape[i];
    // A reflection does not repeat the edge and goes round once.
    const std::int64_t most = mode == "constant" ? kPadMax : mode == "edge" ? (own > 0 ? kPadMax : 0) : own - 1;
    if (std::max(before, after) > std::max<std::int64_t>(most, 0) || std::min(before, after) < -kPadMax) {
      return Status::InvalidArgument("pads " + std::to_string(before) + " and " + std::to_string(after) + " of axis " +
                                     std::to_string(i) + " of " + ToText(context.Info(0)) + " in mode " +
                                     std::string(mode));
    }
    info.shape[i] += before + after;
  }
  outputs.push_back(std::move(info));
  return Status::Ok();
}

Status RunPad(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const auto sizes, PadSizes(context));
  const std::string_view mode = context.Text("mode", "constant");
  const Shape& own = context.ShapeOf(0);
  const float attribute = context.Float("value", 0.0F);
  const void* fill = context.Has(2)       ? static_cast<const void*>(context.inputs[2].data)
                     : context.opset < 11 ? static_cast<const void*>(&attribute)
                                          : nullptr;
  CopyMapped(
      context, outputs[0],
      [&](std::size_t axis, std::int64_t at) {
        const std::int64_t last = own[axis] - 1;
        at -= sizes.first[axis];
        if (mode == "edge") return std::clamp<std::int64_t>(at, 0, last);
        if (mode == "reflect") return at < 0 ? -at : at > last ? 2 * last - at : at;
        return at > last ? -1 : at;
      },
      fill);
  return Status::Ok();
}

constexpr Operator kOperators[] = {
    {.name = "Transpose", .attributes = "perm", .infer = InferTranspose, .run = RunTranspose},
    {.name = "Concat", .inputs_max = kManyInputs, .attributes = "axis", .infer = InferConcat, .run = RunConcat},
    {.name = "Slice",
     .inputs_max = 5,
     .attributes = "starts ends axes",
     .shape_inputs = 0b11110,
     .infer = InferSlice,
     .run = RunSlice},
    {.name = "Split",
     .inputs_max = 2,
     .outputs_max = kManyInputs,
     .attributes = "axis split num_outputs",
     .shape_inputs = 0b10,
     .infer = InferSplit,
     .run = RunSplit},
    {.name = "Expand", .inputs_min = 2, .inputs_max = 2, .shape_inputs = 0b10, .infer = InferExpand, .run = RunExpand},
    {.name = "Tile", .inputs_min = 2, .inputs_max = 2, .shape_inputs = 0b10, .infer = InferTile, .run = RunTile},
    {.name = "Pad",
     .inputs_max = 4,
     .attributes = "mode pads value",
     .shape_inputs = 0b1010,
     .infer = InferPad,
     .run = RunPad},
};

}  // namespace

std::span<const Operator> LayoutOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
