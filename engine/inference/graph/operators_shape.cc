// Operators that ask for a shape, make one, or show the same bytes under another.
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

// Which dimensions Shape tells of: start and end are cut to the rank, not refused.
std::pair<std::size_t, std::size_t> ShapeRange(const NodeContext& context) {
  const auto rank = static_cast<std::int64_t>(context.Rank(0));
  const auto clamp = [rank](std::int64_t at) {
    if (at < 0) at = at < -rank ? 0 : at + rank;
    return static_cast<std::size_t>(std::min(at, rank));
  };
  const std::size_t begin = clamp(context.Int("start", 0));
  const std::size_t end = clamp(context.Int("end", rank));
  return {begin, std::max(begin, end)};
}

Status InferShapeOf(const NodeContext& context, Infos& outputs) {
  const auto [begin, end] = ShapeRange(context);
  outputs.push_back({OnnxType::kInt64, {static_cast<std::int64_t>(end - begin)}});
  return Status::Ok();
}

Status RunShapeOf(const NodeContext& context, std::span<const OutputRef> outputs) {
  const auto [begin, end] = ShapeRange(context);
  for (std::size_t i = begin; i < end; ++i) outputs[0].as<std::int64_t>()[i - begin] = context.ShapeOf(0)[i];
  return Status::Ok();
}

Status InferSize(const NodeContext&, Infos& outputs) {
  outputs.push_back({OnnxType::kInt64, {}});
  return Status::Ok();
}

Status RunSize(const NodeContext& context, std::span<const OutputRef> outputs) {
  *outputs[0].as<std::int64_t>() = context.inputs[0].count();
  return Status::Ok();
}

// The node's one attribute says its value.
Status InferConstant(const NodeContext& context, Infos& outputs) {
  if (context.node.attributes.size() != 1) {
    return Status::Corruption(std::to_string(context.node.attributes.size()) + " attributes, expected one value");
  }
  const OnnxAttribute& value = context.node.attributes[0];
  const auto list = [&](OnnxType type, std::size_t size) {
    outputs.push_back({type, {static_cast<std::int64_t>(size)}});
  };
  if (value.name == "value_float") {
    outputs.push_back({OnnxType::kFloat, {}});
  } else if (value.name == "value_int") {
    outputs.push_back({OnnxType::kInt64, {}});
  } else if (value.name == "value_floats") {
    list(OnnxType::kFloat, value.floats.size());
  } else if (value.name == "value_ints") {
    list(OnnxType::kInt64, value.ints.size());
  } else {
    if (value.tensors.size() != 1) return Status::Corruption("value holds no tensor, expected one");
    const OnnxTensor& tensor = value.tensors[0];
    if (!Contains(kAllTypes, tensor.type)) return Status::Unsupported("a constant of " + TypeName(tensor.type));
    outputs.push_back({tensor.type, Shape(tensor.dims.begin(), tensor.dims.end())});
  }
  return Status::Ok();
}

Status RunConstant(const NodeContext& context, std::span<const OutputRef> outputs) {
  const OnnxAttribute& value = context.node.attributes[0];
  const auto copy = [&](const void* source, std::size_t size_bytes) {
    if (size_bytes > 0) std::memcpy(outputs[0].data, source, size_bytes);
  };
  if (value.name == "value_float") {
    copy(&value.f, sizeof value.f);
  } else if (value.name == "value_int") {
    copy(&value.i, sizeof value.i);
  } else if (value.name == "value_floats") {
    copy(value.floats.data(), value.floats.size() * sizeof(float));
  } else if (value.name == "value_ints") {
    copy(value.ints.data(), value.ints.size() * sizeof(std::int64_t));
  } else {
    copy(value.tensors[0].bytes().data(), value.tensors[0].bytes().size());
  }
  return Status::Ok();
}

// The fill value; null for the default, 0.0F.
Result<const OnnxTensor*> FillValue(const NodeContext& context) {
  const OnnxAttribute* value = context.node.Attribute("value");
  if (value == nullptr) return nullptr;
  if (value->tensors.size() != 1 || value->tensors[0].element_count() != 1) {
    return Status::Corruption("value is not one number");
  }
  if (!Contains(kAllTypes, value->tensors[0].type)) {
    return Status::Unsupported("a value of " + TypeName(value->tensors[0].type));
  }
  return &value->tensors[0];
}

Status InferConstantOfShape(const NodeContext& context, Infos& outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const OnnxTensor* fill, FillValue(context));
  FORESHORE_ASSIGN_OR_RETURN(Shape shape, context.InputInts(0));
  outputs.push_back({fill != nullptr ? fill->type : OnnxType::kFloat, std::move(shape)});
  return Status::Ok();
}

Status RunConstantOfShape(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const OnnxTensor* fill, FillValue(context));
  DispatchWidth(outputs[0].info->type, [&]<typename T>() {
    T value = 0;
    if (fill != nullptr) std::memcpy(&value, fill->bytes().data(), sizeof value);
    std::fill_n(outputs[0].as<T>(), outputs[0].count(), value);
  });
  return Status::Ok();
}

Status InferReshape(const NodeContext& context, Infos& outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Shape asked, context.InputInts(1));
  const Shape& own = context.ShapeOf(0);
  const bool allows_zero = context.Int("allowzero", 0) != 0;
  const auto misfit = [&] {
    return Status::InvalidArgument("tensor " + ToText(context.Info(0)) + " does not reshape to " + ToText(asked));
  };
  Shape shape = asked;
  std::int64_t open = -1;
  std::int64_t known = 1;
  const std::int64_t count = ElementCount(own);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0 && !allows_zero) {
      if (i >= own.size()) return misfit();
      shape[i] = own[i];
    }
    if (shape[i] < -1 || (shape[i] == -1 && open >= 0)) return misfit();
    if (shape[i] == -1) {
      open = static_cast<std::int64_t>(i);
    } else if (shape[i] > 1 && known > std::numeric_limits<std::int64_t>::max() / shape[i]) {
      return misfit();
    } else {
      known *= shape[i];
    }
  }
  if (open >= 0) {
    if (known == 0 || count % known != 0) return misfit();
    shape[static_cast<std::size_t>(open)] = count / known;
  } else if (known != count) {
    return misfit();
  }
  outputs.push_back({context.Info(0).type, std::move(shape)});
  return Status::Ok();
}

Status InferSqueeze(const NodeContext& context, Infos& outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const auto listed, context.Axes(1, 13));
  const Shape& own = context.ShapeOf(0);
  std::vector<bool> drops(own.size(), false);
  const bool has_axes = context.opset < 13 ? context.HasAttribute("axes") : context.Has(1);
  if (!has_axes) {
    for (std::size_t i = 0; i < own.size(); ++i) drops[i] = own[i] == 1;
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto axes, NormaliseAxes(listed, own.size()));
  for (const std::size_t axis : axes) {
    if (own[axis] != 1) {
      return Status::InvalidArgument("axis " + std::to_string(axis) + " of " + ToText(context.Info(0)) +
                                     " has not the size 1");
    }
    drops[axis] = true;
  }
  TensorInfo info{context.Info(0).type, {}};
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (!drops[i]) info.shape.push_back(own[i]);
  }
  outputs.push_back(std::move(info));
  return Status::Ok();
}

Status InferUnsqueeze(const NodeContext& context, Infos& outputs) {
  if (context.opset >= 13 && !context.Has(1)) return Status::InvalidArgument("input 1 is missing, expected axes");
  FORESHORE_ASSIGN_OR_RETURN(const auto listed, context.Axes(1, 13));
  const Shape& own = context.ShapeOf(0);
  FORESHORE_ASSIGN_OR_RETURN(const auto axes, NormaliseAxes(listed, own.size() + listed.size()));
  TensorInfo info{context.Info(0).type, Shape(own.size() + axes.size(), 0)};
  for (const std::size_t axis : axes) info.shape[axis] = 1;
  std::vector<bool> is_new(info.shape.size(), false);
  for (const std::size_t axis : axes) is_new[axis] = true;
  std::size_t from = 0;
  for (std::size_t i = 0; i < info.shape.size(); ++i) {
    if (!is_new[i]) info.shape[i] = own[from++];
  }
  outputs.push_back(std::move(info));
  return Status::Ok();
}

Status InferFlatten(const NodeContext& context, Infos& outputs) {
  const std::int64_t axis = context.Int("axis", 1);
  const auto rank = static_cast<std::int64_t>(context.Rank(0));
  if (axis < -rank || axis > rank) {
    return Status::InvalidArgument("axis " + std::to_string(axis) + " of " + ToText(context.Info(0)));
  }
  const auto begin = static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
  const Shape& own = context.ShapeOf(0);
  outputs.push_back({context.Info(0).type, {OuterCount(own, begin), InnerCount(own, begin)}});
  return Status::Ok();
}

Status InferIdentity(const NodeContext& context, Infos& outputs) {
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

// Inference drops nothing: the data as they are, and a mask that is true everywhere.
Status InferDropout(const NodeContext& context, Infos& outputs) {
  if (context.Has(2) && *context.inputs[2].as<std::uint8_t>() != 0) {
    return Status::Unsupported("training_mode is true, expected inference");
  }
  outputs.push_back(context.Info(0));
  outputs.push_back({OnnxType::kBool, context.ShapeOf(0)});
  return Status::Ok();
}

Status RunView(const NodeContext& context, std::span<const OutputRef> outputs) {
  const std::size_t size_bytes = static_cast<std::size_t>(outputs[0].count()) * OnnxTypeBytes(outputs[0].info->type);
  if (outputs[0].data != nullptr && outputs[0].data != context.inputs[0].data && size_bytes > 0) {
    std::memcpy(outputs[0].data, context.inputs[0].data, size_bytes);
  }
  return Status::Ok();
}

Status RunDropout(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_RETURN_IF_ERROR(RunView(context, outputs));
  if (outputs.size() > 1 && outputs[1].data != nullptr) {
    std::fill_n(outputs[1].as<std::uint8_t>(), outputs[1].count(), std::uint8_t{1});
  }
  return Status::Ok();
}

constexpr TypeSet kRangeTypes =
    SetOf(OnnxType::kFloat) | SetOf(OnnxType::kDouble) | SetOf(OnnxType::kInt16) | kIndexTypes;

Status InferRange(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kRangeTypes));
  for (std::size_t i = 0; i < 3; ++i) {
    FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, i));
    if (context.inputs[i].count() != 1) {
      return Status::InvalidArgument("input " + std::to_string(i) + " is " + ToText(context.Info(i)) +
                                     ", expected one number");
    }
  }
  std::int64_t count = 0;
  FORESHORE_RETURN_IF_ERROR(Dispatch<kRangeTypes>(context.Info(0).type, [&]<typename T>() {
    const auto start = static_cast<double>(*context.inputs[0].as<T>());
    const auto limit = static_cast<double>(*context.inputs[1].as<T>());
    const auto delta = static_cast<double>(*context.inputs[2].as<T>());
    const double steps = std::ceil((limit - start) / delta);
    // Also where a step of 0 makes it infinite or no number. 2^53 is beyond any limit on memory.
    if (!(steps <= 9007199254740992.0)) {
      return Status::InvalidArgument("range from " + std::to_string(start) + " to " + std::to_string(limit) + " by " +
                                     std::to_string(delta) + " has no end");
    }
    count = std::max<std::int64_t>(steps > 0 ? static_cast<std::int64_t>(steps) : 0, 0);
    return Status::Ok();
  }));
  outputs.push_back({context.Info(0).type, {count}});
  return Status::Ok();
}

Status RunRange(const NodeContext& context, std::span<const OutputRef> outputs) {
  return Dispatch<kRangeTypes>(context.Info(0).type, [&]<typename T>() {
    const auto start = static_cast<Modular<T>>(*context.inputs[0].as<T>());
    const auto delta = static_cast<Modular<T>>(*context.inputs[2].as<T>());
    for (std::int64_t i = 0; i < outputs[0].count(); ++i) {
      outputs[0].as<T>()[i] = static_cast<T>(start + static_cast<Modular<T>>(i) * delta);
    }
    return Status::Ok();
  });
}

constexpr Operator kOperators[] = {
    {.name = "Shape",
     .attributes = "start end",
     .kind = OperatorKind::kShape,
     .infer = InferShapeOf,
     .run = RunShapeOf},
    {.name = "Size", .kind = OperatorKind::kShape, .infer = InferSize, .run = RunSize},
    {.name = "Constant",
     .inputs_min = 0,
     .inputs_max = 0,
     .attributes = "value value_float value_floats value_int value_ints",
     .infer = InferConstant,
     .run = RunConstant},
    {.name = "ConstantOfShape",
     .since = 9,
     .attributes = "value",
     .shape_inputs = 0b1,
     .infer = InferConstantOfShape,
     .run = RunConstantOfShape},
    {.name = "Reshape",
     .inputs_min = 2,
     .inputs_max = 2,
     .attributes = "allowzero",
     .shape_inputs = 0b10,
     .kind = OperatorKind::kView,
     .infer = InferReshape,
     .run = RunView},
    {.name = "Squeeze",
     .inputs_max = 2,
     .attributes = "axes",
     .shape_inputs = 0b10,
     .kind = OperatorKind::kView,
     .infer = InferSqueeze,
     .run = RunView},
    {.name = "Unsqueeze",
     .inputs_max = 2,
     .attributes = "axes",
     .shape_inputs = 0b10,
     .kind = OperatorKind::kView,
     .infer = InferUnsqueeze,
     .run = RunView},
    {.name = "Flatten", .attributes = "axis", .kind = OperatorKind::kView, .infer = InferFlatten, .run = RunView},
    {.name = "Identity", .kind = OperatorKind::kView, .infer = InferIdentity, .run = RunView},
    {.name = "Dropout",
     .inputs_max = 3,
     .outputs_max = 2,
     .attributes = "ratio seed",
     .shape_inputs = 0b100,
     .kind = OperatorKind::kView,
     .infer = InferDropout,
     .run = RunDropout},
    {.name = "Range",
     .since = 11,
     .inputs_min = 3,
     .inputs_max = 3,
     .shape_inputs = 0b111,
     .infer = InferRange,
     .run = RunRange},
};

}  // namespace

std::span<const Operator> ShapeOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
