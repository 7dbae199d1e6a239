#include "engine/inference/onnx_probe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "engine/inference/float_tensor.h"
#include "engine/inference/tensor.h"
#include "storage/base/coding.h"

namespace foreshore {

namespace {

using Shape = std::vector<std::int64_t>;
using ShapeView = std::span<const std::int64_t>;
using Inputs = std::span<const ProbeTensor* const>;

std::string NodeText(const OnnxNode& node) {
  return "node \"" + std::string(node.name.substr(0, 128)) + "\" (" + std::string(node.op_type.substr(0, 64)) + ")";
}

Status Bad(const OnnxNode& node, const char* problem) {
  return Status::Corruption(NodeText(node) + ": " + problem);
}

// Values that come from arithmetic may be anything; integers that index are clamped to what indices can be.
std::int64_t ToInteger(double value) {
  constexpr double kLimit = 4611686018427387904.0;  // 2^62
  if (std::isnan(value)) return 0;
  return static_cast<std::int64_t>(std::clamp(value, -kLimit, kLimit));
}

Shape ToIntegers(const ProbeTensor& tensor) {
  Shape result;
  for (const double value : tensor.values) result.push_back(ToInteger(value));
  return result;
}

// Row-major strides in elements.
std::vector<std::size_t> Strides(ShapeView shape) {
  std::vector<std::size_t> strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * static_cast<std::size_t>(shape[i]);
  return strides;
}

// Calls visit(offset) for each index of `shape` in row-major order, offset = Σ index·stride.
template <typename Visit>
void ForEachOffset(ShapeView shape, std::span<const std::size_t> strides, Visit visit) {
  for (const std::int64_t dim : shape) {
    if (dim == 0) return;
  }
  std::vector<std::int64_t> index(shape.size(), 0);
  std::size_t offset = 0;
  while (true) {
    visit(offset);
    std::size_t axis = shape.size();
    while (axis > 0) {
      --axis;
      offset += strides[axis];
      if (++index[axis] < shape[axis]) break;
      offset -= strides[axis] * static_cast<std::size_t>(shape[axis]);
      index[axis] = 0;
      if (axis == 0) return;
    }
    if (shape.empty()) return;
  }
}

Result<ProbeTensor> Make(ProbeKind kind, Shape shape) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t count, ShapeElementCount(shape, kProbeElementsMax));
  return ProbeTensor{kind, std::move(shape), std::vector<double>(count)};
}

}  // namespace

Result<std::size_t> ShapeElementCount(ShapeView shape, std::size_t max) {
  if (shape.size() > kTensorRankMax) {
    return Status::Limit("a value has " + std::to_string(shape.size()) + " dimensions, at most " +
                         std::to_string(kTensorRankMax) + " are allowed");
  }
  // Zeros are left out of the product, so that no product of a part of the shape overflows either.
  std::size_t count = 1;
  bool has_zero = false;
  for (const std::int64_t dim : shape) {
    if (dim < 0) return Status::Corruption("a value has a negative dimension");
    has_zero = has_zero || dim == 0;
    const std::size_t size = dim == 0 ? 1 : static_cast<std::size_t>(dim);
    if (count > max / size) {
      return Status::Limit("a value has more than " + std::to_string(max) + " elements");
    }
    count *= size;
  }
  return has_zero ? 0 : count;
}

Result<Shape> BroadcastShape(ShapeView a, ShapeView b) {
  if (a.size() < b.size()) std::swap(a, b);
  Shape shape(a.begin(), a.end());
  for (std::size_t i = 0; i < b.size(); ++i) {
    std::int64_t& left = shape[a.size() - b.size() + i];
    if (left == b[i] || b[i] == 1) continue;
    if (left != 1) {
      return Status::Corruption("dimensions " + std::to_string(left) + " and " + std::to_string(b[i]) +
                                " do not broadcast");
    }
    left = b[i];
  }
  return shape;
}

Result<ProbeTensor> BroadcastTo(const ProbeTensor& tensor, ShapeView shape) {
  FORESHORE_ASSIGN_OR_RETURN(const Shape common, BroadcastShape(tensor.shape, shape));
  if (!std::equal(common.begin(), common.end(), shape.begin(), shape.end())) {
    return Status::Corruption("a value does not broadcast to the expected shape");
  }
  FORESHORE_ASSIGN_OR_RETURN(ProbeTensor result, Make(tensor.kind, common));
  std::vector<std::size_t> strides(common.size(), 0);
  const std::vector<std::size_t> own = Strides(tensor.shape);
  const std::size_t lead = common.size() - tensor.shape.size();
  for (std::size_t i = 0; i < own.size(); ++i) strides[lead + i] = tensor.shape[i] == 1 ? 0 : own[i];
  std::size_t next = 0;
  ForEachOffset(common, strides, [&](std::size_t offset) { result.values[next++] = tensor.values[offset]; });
  return result;
}

Result<std::size_t> NormaliseAxis(std::int64_t axis, std::size_t rank) {
  const auto signed_rank = static_cast<std::int64_t>(rank);
  if (axis < 0) axis += signed_rank;
  if (axis < 0 || axis >= signed_rank) {
    return Status::Corruption("axis " + std::to_string(axis) + " is outside the rank " + std::to_string(rank));
  }
  return static_cast<std::size_t>(axis);
}

Result<std::vector<std::size_t>> TransposePermutation(const OnnxNode& node, std::size_t rank) {
  std::vector<std::size_t> permutation(rank);
  const OnnxAttribute* attribute = node.Attribute("perm");
  if (attribute == nullptr) {
    for (std::size_t i = 0; i < rank; ++i) permutation[i] = rank - 1 - i;
    return permutation;
  }
  if (attribute->ints.size() != rank) return Bad(node, "permutation of another rank than its input");
  std::vector<bool> seen(rank, false);
  for (std::size_t i = 0; i < rank; ++i) {
    FORESHORE_ASSIGN_OR_RETURN(permutation[i], NormaliseAxis(attribute->ints[i], rank));
    if (seen[permutation[i]]) return Bad(node, "permutation names an axis twice");
    seen[permutation[i]] = true;
  }
  return permutation;
}

namespace {

// The axes of Squeeze and Unsqueeze: an input since opset 13, an attribute before.
std::optional<Shape> Axes(const OnnxNode& node, const ProbeTensor* second) {
  if (second != nullptr) return ToIntegers(*second);
  const OnnxAttribute* attribute = node.Attribute("axes");
  if (attribute == nullptr) return std::nullopt;
  return attribute->ints;
}

Result<Shape> ReshapedShape(const OnnxNode& node, ShapeView shape, const ProbeTensor* second) {
  if (second == nullptr) return Bad(node, "its new shape is not known");
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t count,
                             ShapeElementCount(shape, std::numeric_limits<std::int64_t>::max()));
  if (second->values.size() > kTensorRankMax) return Bad(node, "its new shape has too many dimensions");
  Shape result = ToIntegers(*second);
  std::optional<std::size_t> open_axis;
  std::size_t known = 1;
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (result[i] == 0 && node.IntAttribute("allowzero", 0) == 0) {
      if (i >= shape.size()) return Bad(node, "copies a dimension that its input does not have");
      result[i] = shape[i];
    }
    if (result[i] == -1) {
      if (open_axis.has_value()) return Bad(node, "leaves two dimensions open");
      open_axis = i;
      continue;
    }
    FORESHORE_ASSIGN_OR_RETURN(known,
                               ShapeElementCount(std::vector<std::int64_t>{static_cast<std::int64_t>(known), result[i]},
                                                 std::numeric_limits<std::int64_t>::max()));
  }
  if (open_axis.has_value()) {
    if (known == 0 || count % known != 0) return Bad(node, "its new shape does not fit the number of elements");
    result[*open_axis] = static_cast<std::int64_t>(count / known);
  } else if (known != count) {
    return Bad(node, "its new shape does not fit the number of elements");
  }
  return result;
}

Result<Shape> SqueezedShape(const OnnxNode& node, ShapeView shape, const ProbeTensor* second) {
  std::vector<bool> dropped(shape.size(), false);
  const std::optional<Shape> axes = Axes(node, second);
  if (!axes.has_value()) {
    for (std::size_t i = 0; i < shape.size(); ++i) dropped[i] = shape[i] == 1;
  } else {
    for (const std::int64_t value : *axes) {
      FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(value, shape.size()));
      if (shape[axis] != 1) return Bad(node, "squeezes a dimension that is not 1");
      dropped[axis] = true;
    }
  }
  Shape result;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (!dropped[i]) result.push_back(shape[i]);
  }
  return result;
}

Result<Shape> UnsqueezedShape(const OnnxNode& node, ShapeView shape, const ProbeTensor* second) {
  const std::optional<Shape> axes = Axes(node, second);
  if (!axes.has_value()) return Bad(node, "has no axes");
  const std::size_t rank = shape.size() + axes->size();
  if (rank > kTensorRankMax) return Bad(node, "makes too many dimensions");
  std::vector<bool> is_new(rank, false);
  for (const std::int64_t value : *axes) {
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(value, rank));
    if (is_new[axis]) return Bad(node, "names an axis twice");
    is_new[axis] = true;
  }
  Shape result;
  std::size_t next = 0;
  for (std::size_t i = 0; i < rank; ++i) result.push_back(is_new[i] ? 1 : shape[next++]);
  return result;
}

}  // namespace

Result<Shape> LayoutShape(const OnnxNode& node, ShapeView shape, const ProbeTensor* second) {
  if (node.op_type == "Reshape") return ReshapedShape(node, shape, second);
  if (node.op_type == "Squeeze") return SqueezedShape(node, shape, second);
  if (node.op_type == "Unsqueeze") return UnsqueezedShape(node, shape, second);
  if (node.op_type == "Flatten") {
    std::int64_t axis = node.IntAttribute("axis", 1);
    if (axis < 0) axis += static_cast<std::int64_t>(shape.size());
    if (axis < 0 || axis > static_cast<std::int64_t>(shape.size()))
      return Bad(node, "axis is outside its input's rank");
    Shape result{1, 1};
    for (std::size_t i = 0; i < shape.size(); ++i) result[static_cast<std::int64_t>(i) < axis ? 0 : 1] *= shape[i];
    return result;
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<std::size_t> permutation, TransposePermutation(node, shape.size()));
  Shape result;
  for (const std::size_t axis : permutation) result.push_back(shape[axis]);
  return result;
}

std::optional<ProbeTensor> ProbeFromOnnx(const OnnxTensor& tensor, std::size_t elements_max) {
  const std::size_t element_bytes = OnnxTypeBytes(tensor.type);
  if (element_bytes == 0 || tensor.element_count() > elements_max) return std::nullopt;
  ProbeTensor result;
  for (const std::uint64_t dim : tensor.dims) {
    // A dimension beyond the limit can only stand beside a zero.
    if (dim > kProbeElementsMax) return std::nullopt;
    result.shape.push_back(static_cast<std::int64_t>(dim));
  }
  const char* source = tensor.bytes().data();
  for (std::uint64_t i = 0; i < tensor.element_count(); ++i, source += element_bytes) {
    double value = 0;
    switch (tensor.type) {
      case OnnxType::kFloat: value = LoadFixed<float>(source); break;
      case OnnxType::kDouble: value = LoadFixed<double>(source); break;
      case OnnxType::kFloat16: value = HalfToFloat(LoadFixed<std::uint16_t>(source)); break;
      case OnnxType::kBfloat16: value = BrainToFloat(LoadFixed<std::uint16_t>(source)); break;
      case OnnxType::kBool: value = LoadFixed<std::uint8_t>(source) != 0 ? 1 : 0; break;
      case OnnxType::kUint8: value = LoadFixed<std::uint8_t>(source); break;
      case OnnxType::kInt8: value = LoadFixed<std::int8_t>(source); break;
      case OnnxType::kUint16: value = LoadFixed<std::uint16_t>(source); break;
      case OnnxType::kInt16: value = LoadFixed<std::int16_t>(source); break;
      case OnnxType::kInt32: value = LoadFixed<std::int32_t>(source); break;
      case OnnxType::kUint32: value = LoadFixed<std::uint32_t>(source); break;
      case OnnxType::kInt64: value = static_cast<double>(LoadFixed<std::int64_t>(source)); break;
      case OnnxType::kUint64: value = static_cast<double>(LoadFixed<std::uint64_t>(source)); break;
      case OnnxType::kUndefined:
      case OnnxType::kString: return std::nullopt;
    }
    result.values.push_back(value);
  }
  const bool is_float = tensor.type == OnnxType::kFloat || tensor.type == OnnxType::kDouble ||
                        tensor.type == OnnxType::kFloat16 || tensor.type == OnnxType::kBfloat16;
  result.kind = is_float                         ? ProbeKind::kFloat
                : tensor.type == OnnxType::kBool ? ProbeKind::kBoolean
                                                 : ProbeKind::kInteger;
  return result;
}

namespace {

// Elementwise operators of one or two inputs.
double ApplyUnary(std::string_view op, double x) {
  if (op == "Not") return x == 0 ? 1 : 0;
  if (op == "Neg") return -x;
  if (op == "Sqrt") return std::sqrt(x);
  if (op == "Abs") return std::abs(x);
  if (op == "Floor") return std::floor(x);
  if (op == "Reciprocal") return 1 / x;
  return std::isnan(x) ? 1 : 0;  // IsNaN
}
constexpr std::string_view kUnaryOperators[] = {"Not", "Neg", "Sqrt", "Abs", "Floor", "Reciprocal", "IsNaN"};

double ApplyBinary(std::string_view op, ProbeKind kind, double a, double b) {
  if (op == "Add") return a + b;
  if (op == "Sub") return a - b;
  if (op == "Mul") return a * b;
  if (op == "Div") return kind == ProbeKind::kInteger ? (b == 0 ? 0 : std::trunc(a / b)) : a / b;
  if (op == "Pow") return std::pow(a, b);
  if (op == "Mod") return b == 0 ? 0 : a - b * std::floor(a / b);
  if (op == "Min") return std::min(a, b);
  if (op == "Max") return std::max(a, b);
  if (op == "And") return a != 0 && b != 0 ? 1 : 0;
  if (op == "Or") return a != 0 || b != 0 ? 1 : 0;
  if (op == "Xor") return (a != 0) != (b != 0) ? 1 : 0;
  if (op == "Equal") return a == b ? 1 : 0;
  if (op == "Less") return a < b ? 1 : 0;
  if (op == "LessOrEqual") return a <= b ? 1 : 0;
  if (op == "Greater") return a > b ? 1 : 0;
  return a >= b ? 1 : 0;  // GreaterOrEqual
}
constexpr std::string_view kArithmeticOperators[] = {"Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max"};
constexpr std::string_view kLogicalOperators[] = {"And",  "Or",          "Xor",     "Equal",
                                                  "Less", "LessOrEqual", "Greater", "GreaterOrEqual"};

template <std::size_t N>
bool IsIn(const std::string_view (&list)[N], std::string_view op) {
  return std::find(std::begin(list), std::end(list), op) != std::end(list);
}

bool IsLayout(std::string_view op) {
  return op == "Reshape" || op == "Transpose" || op == "Squeeze" || op == "Unsqueeze" || op == "Flatten";
}

const ProbeTensor* At(Inputs inputs, std::size_t i) {
  return i < inputs.size() ? inputs[i] : nullptr;
}

Result<ProbeTensor> Unary(const OnnxNode& node, const ProbeTensor& x) {
  ProbeTensor result = x;
  for (double& value : result.values) value = ApplyUnary(node.op_type, value);
  if (node.op_type == "Not" || node.op_type == "IsNaN") result.kind = ProbeKind::kBoolean;
  return result;
}

// Min and Max take any number of inputs, the others two.
Result<ProbeTensor> Binary(const OnnxNode& node, Inputs inputs) {
  const bool takes_any_count = node.op_type == "Min" || node.op_type == "Max";
  if (inputs.size() != 2 && !takes_any_count) return Bad(node, "needs two inputs");
  ProbeTensor result = *inputs[0];
  for (std::size_t i = 1; i < inputs.size(); ++i) {
    if (inputs[i] == nullptr) return Bad(node, "lacks an input");
    FORESHORE_ASSIGN_OR_RETURN(const Shape shape, BroadcastShape(result.shape, inputs[i]->shape));
    FORESHORE_ASSIGN_OR_RETURN(ProbeTensor a, BroadcastTo(result, shape));
    FORESHORE_ASSIGN_OR_RETURN(const ProbeTensor b, BroadcastTo(*inputs[i], shape));
    for (std::size_t k = 0; k < a.values.size(); ++k) {
      a.values[k] = ApplyBinary(node.op_type, a.kind, a.values[k], b.values[k]);
    }
    result = std::move(a);
  }
  if (IsIn(kLogicalOperators, node.op_type)) result.kind = ProbeKind::kBoolean;
  return result;
}

Result<ProbeTensor> Layout(const OnnxNode& node, const ProbeTensor& x, const ProbeTensor* second) {
  FORESHORE_ASSIGN_OR_RETURN(Shape shape, LayoutShape(node, x.shape, second));
  ProbeTensor result{x.kind, std::move(shape), x.values};
  if (node.op_type != "Transpose") return result;
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<std::size_t> permutation, TransposePermutation(node, x.shape.size()));
  const std::vector<std::size_t> own = Strides(x.shape);
  std::vector<std::size_t> strides;
  for (const std::size_t axis : permutation) strides.push_back(own[axis]);
  std::size_t next = 0;
  ForEachOffset(result.shape, strides, [&](std::size_t offset) { result.values[next++] = x.values[offset]; });
  return result;
}

Result<ProbeTensor> Cast(const OnnxNode& node, const ProbeTensor& x) {
  ProbeTensor result = x;
  switch (static_cast<OnnxType>(node.IntAttribute("to", 0))) {
    case OnnxType::kFloat:
    case OnnxType::kFloat16:
    case OnnxType::kBfloat16:
    case OnnxType::kDouble: result.kind = ProbeKind::kFloat; return result;
    case OnnxType::kBool:
      result.kind = ProbeKind::kBoolean;
      for (double& value : result.values) value = value != 0 ? 1 : 0;
      return result;
    case OnnxType::kInt32:
    case OnnxType::kInt64:
      result.kind = ProbeKind::kInteger;
      for (double& value : result.values) value = std::isnan(value) ? 0 : std::trunc(value);
      return result;
    default:
      return Status::Unsupported(NodeText(node) + ": casts to type " + std::to_string(node.IntAttribute("to", 0)));
  }
}

Result<ProbeTensor> ShapeOf(const OnnxNode& node, ShapeView shape) {
  const auto rank = static_cast<std::int64_t>(shape.size());
  const auto clamp = [rank](std::int64_t axis) {
    return std::clamp<std::int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
  };
  const std::int64_t start = clamp(node.IntAttribute("start", 0));
  const std::int64_t end = std::max(start, clamp(node.IntAttribute("end", rank)));
  ProbeTensor result{ProbeKind::kInteger, {end - start}, {}};
  for (std::int64_t i = start; i < end; ++i)
    result.values.push_back(static_cast<double>(shape[static_cast<std::size_t>(i)]));
  return result;
}

// The attribute or, in other opsets, the input of that position.
std::optional<Shape> Parameter(const OnnxNode& node, const char* attribute_name, const ProbeTensor* input) {
  if (input != nullptr) return ToIntegers(*input);
  const OnnxAttribute* attribute = node.Attribute(attribute_name);
  if (attribute == nullptr) return std::nullopt;
  return attribute->ints;
}

Result<ProbeTensor> Slice(const OnnxNode& node, Inputs inputs) {
  const ProbeTensor& x = *inputs[0];
  const auto starts = Parameter(node, "starts", At(inputs, 1));
  const auto ends = Parameter(node, "ends", At(inputs, 2));
  if (!starts.has_value() || !ends.has_value() || starts->size() != ends->size()) return Bad(node, "lacks its bounds");
  const auto axes = Parameter(node, "axes", At(inputs, 3));
  const auto steps = Parameter(node, "steps", At(inputs, 4));
  std::vector<std::vector<std::size_t>> picked(x.shape.size());
  for (std::size_t axis = 0; axis < picked.size(); ++axis) {
    picked[axis].resize(static_cast<std::size_t>(x.shape[axis]));
    std::iota(picked[axis].begin(), picked[axis].end(), std::size_t{0});
  }
  for (std::size_t i = 0; i < starts->size(); ++i) {
    if ((axes.has_value() && i >= axes->size()) || (steps.has_value() && i >= steps->size())) {
      return Bad(node, "has fewer axes or steps than bounds");
    }
    FORESHORE_ASSIGN_OR_RETURN(
        const std::size_t axis,
        NormaliseAxis(axes.has_value() ? (*axes)[i] : static_cast<std::int64_t>(i), x.shape.size()));
    const std::int64_t size = x.shape[axis];
    const std::int64_t step = steps.has_value() ? (*steps)[i] : 1;
    if (step == 0) return Bad(node, "steps by zero");
    if (size == 0) continue;
    const auto clamp = [&](std::int64_t value, std::int64_t low, std::int64_t high) {
      return std::clamp(value < 0 ? value + size : value, low, high);
    };
    std::vector<std::size_t> rows;
    if (step > 0) {
      const std::int64_t end = clamp((*ends)[i], 0, size);
      for (std::int64_t row = clamp((*starts)[i], 0, size); row < end; row += std::min(step, size)) {
        rows.push_back(static_cast<std::size_t>(row));
      }
    } else {
      const std::int64_t end = clamp((*ends)[i], -1, size - 1);
      for (std::int64_t row = clamp((*starts)[i], 0, size - 1); row > end && row >= 0; row += std::max(step, -size)) {
        rows.push_back(static_cast<std::size_t>(row));
      }
    }
    picked[axis] = std::move(rows);
  }
  Shape shape;
  for (const auto& rows : picked) shape.push_back(static_cast<std::int64_t>(rows.size()));
  FORESHORE_ASSIGN_OR_RETURN(ProbeTensor result, Make(x.kind, shape));
  const std::vector<std::size_t> own = Strides(x.shape);
  const std::vector<std::size_t> strides = Strides(shape);
  for (std::size_t i = 0; i < result.values.size(); ++i) {
    std::size_t offset = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      offset += picked[axis][i / strides[axis] % picked[axis].size()] * own[axis];
    }
    result.values[i] = x.values[offset];
  }
  return result;
}

Result<ProbeTensor> Gather(const OnnxNode& node, const ProbeTensor& x, const ProbeTensor& indices) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(node.IntAttribute("axis", 0), x.shape.size()));
  Shape shape(x.shape.begin(), x.shape.begin() + static_cast<std::ptrdiff_t>(axis));
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), x.shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, x.shape.end());
  FORESHORE_ASSIGN_OR_RETURN(ProbeTensor result, Make(x.kind, std::move(shape)));
  const std::size_t inner = Strides(x.shape)[axis];
  const std::int64_t size = x.shape[axis];
  const std::size_t outer = size == 0 || inner == 0 ? 0 : x.values.size() / (inner * static_cast<std::size_t>(size));
  std::size_t next = 0;
  for (std::size_t o = 0; o < outer; ++o) {
    for (const double value : indices.values) {
      FORESHORE_ASSIGN_OR_RETURN(const std::size_t row,
                                 NormaliseAxis(ToInteger(value), static_cast<std::size_t>(size)));
      for (std::size_t i = 0; i < inner; ++i) {
        result.values[next++] = x.values[(o * static_cast<std::size_t>(size) + row) * inner + i];
      }
    }
  }
  return result;
}

Result<ProbeTensor> GatherNd(const OnnxNode& node, const ProbeTensor& x, const ProbeTensor& indices) {
  if (node.IntAttribute("batch_dims", 0) != 0) return Status::Unsupported(NodeText(node) + ": batch_dims is not 0");
  if (indices.shape.empty()) return Bad(node, "indices are a scalar");
  const auto depth = static_cast<std::size_t>(indices.shape.back());
  if (depth > x.shape.size()) return Bad(node, "indices are deeper than the data");
  Shape shape(indices.shape.begin(), indices.shape.end() - 1);
  shape.insert(shape.end(), x.shape.begin() + static_cast<std::ptrdiff_t>(depth), x.shape.end());
  FORESHORE_ASSIGN_OR_RETURN(ProbeTensor result, Make(x.kind, std::move(shape)));
  const std::vector<std::size_t> strides = Strides(x.shape);
  std::size_t inner = 1;
  for (std::size_t i = depth; i < x.shape.size(); ++i) inner *= static_cast<std::size_t>(x.shape[i]);
  for (std::size_t i = 0; inner > 0 && i < result.values.size() / inner; ++i) {
    std::size_t offset = 0;
    for (std::size_t k = 0; k < depth; ++k) {
      FORESHORE_ASSIGN_OR_RETURN(const std::size_t row, NormaliseAxis(ToInteger(indices.values[i * depth + k]),
                                                                      static_cast<std::size_t>(x.shape[k])));
      offset += row * strides[k];
    }
    std::copy_n(x.values.begin() + static_cast<std::ptrdiff_t>(offset), inner,
                result.values.begin() + static_cast<std::ptrdiff_t>(i * inner));
  }
  return result;
}

Result<ProbeTensor> Concat(const OnnxNode& node, Inputs inputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis,
                             NormaliseAxis(node.IntAttribute("axis", 0), inputs[0]->shape.size()));
  Shape shape = inputs[0]->shape;
  shape[axis] = 0;
  std::size_t outer = 1;
  for (std::size_t i = 0; i < axis; ++i) outer *= static_cast<std::size_t>(shape[i]);
  for (const ProbeTensor* input : inputs) {
    if (input == nullptr || input->shape.size() != shape.size()) return Bad(node, "joins values of different ranks");
    for (std::size_t i = 0; i < shape.size(); ++i) {
      if (i != axis && input->shape[i] != shape[i]) return Bad(node, "joins values of different shapes");
    }
    shape[axis] += input->shape[axis];
  }
  FORESHORE_ASSIGN_OR_RETURN(ProbeTensor result, Make(inputs[0]->kind, std::move(shape)));
  std::size_t next = 0;
  for (std::size_t o = 0; !result.values.empty() && o < outer; ++o) {
    for (const ProbeTensor* input : inputs) {
      const std::size_t chunk = input->values.size() / outer;
      for (std::size_t i = 0; i < chunk; ++i) result.values[next++] = input->values[o * chunk + i];
    }
  }
  return result;
}

Result<ProbeTensor> Where(const OnnxNode& node, Inputs inputs) {
  if (inputs.size() != 3 || inputs[1] == nullptr || inputs[2] == nullptr) return Bad(node, "lacks an input");
  FORESHORE_ASSIGN_OR_RETURN(Shape shape, BroadcastShape(inputs[0]->shape, inputs[1]->shape));
  FORESHORE_ASSIGN_OR_RETURN(shape, BroadcastShape(shape, inputs[2]->shape));
  FORESHORE_ASSIGN_OR_RETURN(const ProbeTensor condition, BroadcastTo(*inputs[0], shape));
  FORESHORE_ASSIGN_OR_RETURN(ProbeTensor result, BroadcastTo(*inputs[1], shape));
  FORESHORE_ASSIGN_OR_RETURN(const ProbeTensor otherwise, BroadcastTo(*inputs[2], shape));
  for (std::size_t i = 0; i < result.values.size(); ++i) {
    if (condition.values[i] == 0) result.values[i] = otherwise.values[i];
  }
  return result;
}

Result<ProbeTensor> Range(const OnnxNode& node, Inputs inputs) {
  if (inputs.size() != 3) return Bad(node, "needs three inputs");
  double bounds[3];
  for (std::size_t i = 0; i < 3; ++i) {
    if (inputs[i] == nullptr || inputs[i]->values.size() != 1) return Bad(node, "needs three scalars");
    bounds[i] = inputs[i]->values[0];
  }
  const double count = bounds[2] == 0 ? -1 : std::ceil((bounds[1] - bounds[0]) / bounds[2]);
  if (std::isnan(count) || count > static_cast<double>(kProbeElementsMax)) return Bad(node, "its range is too long");
  FORESHORE_ASSIGN_OR_RETURN(ProbeTensor result,
                             Make(inputs[0]->kind, {static_cast<std::int64_t>(std::max(0.0, count))}));
  for (std::size_t i = 0; i < result.values.size(); ++i) {
    result.values[i] = bounds[0] + static_cast<double>(i) * bounds[2];
  }
  return result;
}

Result<ProbeTensor> ConstantOfShape(const OnnxNode& node, const ProbeTensor& shape) {
  FORESHORE_ASSIGN_OR_RETURN(ProbeTensor result, Make(ProbeKind::kFloat, ToIntegers(shape)));
  const OnnxAttribute* attribute = node.Attribute("value");
  if (attribute == nullptr) return result;
  const auto value = attribute->tensors.size() == 1 ? ProbeFromOnnx(attribute->tensors[0], 1) : std::nullopt;
  if (!value.has_value() || value->values.size() != 1) return Bad(node, "its value is not one number");
  result.kind = value->kind;
  std::fill(result.values.begin(), result.values.end(), value->values[0]);
  return result;
}

Result<ProbeTensor> Constant(const OnnxNode& node) {
  for (const OnnxAttribute& attribute : node.attributes) {
    if (attribute.name == "value" && attribute.tensors.size() == 1) {
      auto tensor = ProbeFromOnnx(attribute.tensors[0], kProbeElementsMax);
      if (!tensor.has_value()) return Bad(node, "its value is no tensor of numbers, or too large");
      return *std::move(tensor);
    }
    const auto list_shape = [](std::size_t size) { return Shape{static_cast<std::int64_t>(size)}; };
    if (attribute.name == "value_int") {
      return ProbeTensor{ProbeKind::kInteger, {}, {static_cast<double>(attribute.i)}};
    }
    if (attribute.name == "value_float") return ProbeTensor{ProbeKind::kFloat, {}, {attribute.f}};
    if (attribute.name == "value_ints") {
      return ProbeTensor{ProbeKind::kInteger, list_shape(attribute.ints.size()),
                         std::vector<double>(attribute.ints.begin(), attribute.ints.end())};
    }
    if (attribute.name == "value_floats") {
      return ProbeTensor{ProbeKind::kFloat, list_shape(attribute.floats.size()),
                         std::vector<double>(attribute.floats.begin(), attribute.floats.end())};
    }
  }
  return Bad(node, "has no value");
}

Result<ProbeTensor> NonZero(const ProbeTensor& x) {
  const std::vector<std::size_t> strides = Strides(x.shape);
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    if (x.values[i] != 0) found.push_back(i);
  }
  FORESHORE_ASSIGN_OR_RETURN(ProbeTensor result, Make(ProbeKind::kInteger, {static_cast<std::int64_t>(x.shape.size()),
                                                                            static_cast<std::int64_t>(found.size())}));
  for (std::size_t axis = 0; axis < x.shape.size(); ++axis) {
    for (std::size_t i = 0; i < found.size(); ++i) {
      result.values[axis * found.size() + i] =
          static_cast<double>(found[i] / strides[axis] % static_cast<std::size_t>(x.shape[axis]));
    }
  }
  return result;
}

Result<ProbeTensor> Expand(const ProbeTensor& x, const ProbeTensor& shape) {
  FORESHORE_ASSIGN_OR_RETURN(const Shape target, BroadcastShape(x.shape, ToIntegers(shape)));
  return BroadcastTo(x, target);
}

constexpr std::string_view kOtherOperators[] = {
    "Cast",   "Concat",   "Constant",  "ConstantOfShape", "Dropout", "Expand",  "Flatten",
    "Gather", "GatherND", "Identity",  "NonZero",         "Range",   "Reshape", "Shape",
    "Slice",  "Squeeze",  "Transpose", "Unsqueeze",       "Where"};

}  // namespace

bool IsProbeOperator(std::string_view op) {
  return IsIn(kUnaryOperators, op) || IsIn(kArithmeticOperators, op) || IsIn(kLogicalOperators, op) ||
         IsIn(kOtherOperators, op);
}

Result<ProbeTensor> EvaluateProbe(const OnnxNode& node, Inputs inputs) {
  const std::string_view op = node.op_type;
  if (op == "Constant") return Constant(node);
  if (inputs.empty() || inputs[0] == nullptr) return Bad(node, "lacks its first input");
  const ProbeTensor& x = *inputs[0];
  if (IsIn(kUnaryOperators, op)) return Unary(node, x);
  if (IsIn(kArithmeticOperators, op) || IsIn(kLogicalOperators, op)) return Binary(node, inputs);
  const ProbeTensor* second = At(inputs, 1);
  if (IsLayout(op)) return Layout(node, x, second);
  if (op == "Identity" || op == "Dropout") return x;
  if (op == "Cast") return Cast(node, x);
  if (op == "Shape") return ShapeOf(node, x.shape);
  if (op == "Slice") return Slice(node, inputs);
  if (op == "Concat") return Concat(node, inputs);
  if (op == "Where") return Where(node, inputs);
  if (op == "Range") return Range(node, inputs);
  if (op == "ConstantOfShape") return ConstantOfShape(node, x);
  if (op == "NonZero") return NonZero(x);
  if (second == nullptr) return Bad(node, "lacks its second input");
  if (op == "Gather") return Gather(node, x, *second);
  if (op == "GatherND") return GatherNd(node, x, *second);
  if (op == "Expand") return Expand(x, *second);
  return Status::Unsupported(NodeText(node) + ": operator is not evaluated");
}

}  // namespace foreshore
