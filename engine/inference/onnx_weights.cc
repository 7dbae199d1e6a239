#include "engine/inference/onnx_weights.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/inference/float_tensor.h"

namespace foreshore {

namespace {

using Shape = std::vector<std::int64_t>;

constexpr int kStepsMax = 16;
// A constant may be larger than its file by this much, so that tiny ones are no special case.
constexpr std::size_t kElementsFree = 65'536;

std::optional<TensorType> TypeOf(OnnxType type) {
  switch (type) {
    case OnnxType::kFloat: return TensorType::kF32;
    case OnnxType::kFloat16: return TensorType::kF16;
    case OnnxType::kBfloat16: return TensorType::kBF16;
    case OnnxType::kInt8: return TensorType::kI8;
    case OnnxType::kUint8: return TensorType::kU8;
    case OnnxType::kInt32: return TensorType::kI32;
    case OnnxType::kInt64: return TensorType::kI64;
    default: return std::nullopt;
  }
}

// For each axis of `shape`, the step in a tensor of shape `own` that broadcasts to it.
std::vector<std::size_t> BroadcastStrides(const Shape& own, const Shape& shape) {
  std::vector<std::size_t> strides(shape.size(), 0);
  std::size_t stride = 1;
  for (std::size_t i = own.size(); i-- > 0;) {
    strides[shape.size() - own.size() + i] = own[i] == 1 ? 0 : stride;
    stride *= static_cast<std::size_t>(own[i]);
  }
  return strides;
}

// Calls visit(index, offset) for each element of `shape` in order, offset following `strides`.
template <typename Visit>
void Walk(const Shape& shape, const std::vector<std::size_t>& strides, std::size_t count, Visit visit) {
  std::vector<std::int64_t> index(shape.size(), 0);
  std::size_t offset = 0;
  for (std::size_t i = 0; i < count; ++i) {
    visit(i, offset);
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      offset += strides[axis];
      if (++index[axis] < shape[axis]) break;
      offset -= strides[axis] * static_cast<std::size_t>(shape[axis]);
      index[axis] = 0;
    }
  }
}

class Folder {
 public:
  Folder(const OnnxGraph& graph, std::size_t elements_max) : graph_(graph), elements_max_(elements_max) {}

  Result<std::vector<float>> Fold(ValueId id, int step) {
    const GraphValue& value = graph_.value(id);
    if (step > kStepsMax) return Status::Limit("made in more than " + std::to_string(kStepsMax) + " steps");
    if (!value.constant) return Status::Unsupported("depends on the input");
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t count, ShapeElementCount(value.shape, elements_max_));
    if (value.initializer != nullptr) return Load(*value.initializer);
    if (value.producer == nullptr) return Status::Unsupported("depends on the input");
    Result<std::vector<float>> result = FoldNode(*value.producer, value, count, step);
    if (!result.ok()) return result.status().WithContext(OnnxGraph::Describe(*value.producer));
    return result;
  }

 private:
  static Result<std::vector<float>> Load(const OnnxTensor& tensor) {
    const auto type = TypeOf(tensor.type);
    if (!type.has_value()) {
      return Status::Unsupported("tensor \"" + std::string(tensor.name.substr(0, 128)) + "\" has element type " +
                                 std::to_string(static_cast<int>(tensor.type)));
    }
    return ToFloats({std::string(tensor.name), *type, tensor.dims, tensor.bytes()});
  }

  Result<std::vector<float>> FoldInput(const OnnxNode& node, std::size_t index, int step) {
    const ValueId id = graph_.Input(node, index);
    if (id == kNoValue) return Status::Corruption("lacks input " + std::to_string(index));
    return Fold(id, step + 1);
  }

  Result<std::vector<float>> FoldNode(const OnnxNode& node, const GraphValue& value, std::size_t count, int step) {
    const std::string_view op = node.op_type;
    if (op == "Identity" || op == "Reshape" || op == "Squeeze" || op == "Unsqueeze" || op == "Flatten") {
      return FoldInput(node, 0, step);
    }
    if (op == "Cast") {
      if (static_cast<OnnxType>(node.IntAttribute("to", 0)) != OnnxType::kFloat) {
        return Status::Unsupported("casts a weight to other than float");
      }
      return FoldInput(node, 0, step);
    }
    if (op == "Transpose") return FoldTranspose(node, value, count, step);
    if (op == "DequantizeLinear") return FoldDequantize(node, value, count, step);
    if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div") return FoldArithmetic(node, value, count, step);
    return Status::Unsupported("makes a weight in a way that is not known");
  }

  Result<std::vector<float>> FoldArithmetic(const OnnxNode& node, const GraphValue& value, std::size_t count,
                                            int step) {
    FORESHORE_ASSIGN_OR_RETURN(std::vector<float> left, FoldInput(node, 0, step));
    FORESHORE_ASSIGN_OR_RETURN(const std::vector<float> right, FoldInput(node, 1, step));
    FORESHORE_RETURN_IF_ERROR(Widen(graph_.value(graph_.Input(node, 0)).shape, value.shape, count, left));
    const char op = node.op_type == "Add" ? '+' : node.op_type == "Sub" ? '-' : node.op_type == "Mul" ? '*' : '/';
    const std::vector<std::size_t> strides = BroadcastStrides(graph_.value(graph_.Input(node, 1)).shape, value.shape);
    Walk(value.shape, strides, count, [&](std::size_t i, std::size_t offset) {
      const float other = right[offset];
      float& target = left[i];
      switch (op) {
        case '+': target += other; break;
        case '-': target -= other; break;
        case '*': target *= other; break;
        default: target /= other; break;
      }
    });
    return left;
  }

  // Repeats `values` of shape `own` to `shape`, where it is smaller.
  static Status Widen(const Shape& own, const Shape& shape, std::size_t count, std::vector<float>& values) {
    if (own == shape || values.size() == count) return Status::Ok();
    std::vector<float> wide(count);
    Walk(shape, BroadcastStrides(own, shape), count,
         [&](std::size_t i, std::size_t offset) { wide[i] = values[offset]; });
    values = std::move(wide);
    return Status::Ok();
  }

  Result<std::vector<float>> FoldTranspose(const OnnxNode& node, const GraphValue& value, std::size_t count, int step) {
    FORESHORE_ASSIGN_OR_RETURN(const std::vector<float> source, FoldInput(node, 0, step));
    const Shape& own = graph_.value(graph_.Input(node, 0)).shape;
    FORESHORE_ASSIGN_OR_RETURN(const std::vector<std::size_t> permutation, TransposePermutation(node, own.size()));
    std::vector<std::size_t> own_strides(own.size(), 1);
    for (std::size_t i = own.size(); i-- > 1;) own_strides[i - 1] = own_strides[i] * static_cast<std::size_t>(own[i]);
    std::vector<std::size_t> strides;
    for (const std::size_t axis : permutation) strides.push_back(own_strides[axis]);
    std::vector<float> result(count);
    Walk(value.shape, strides, count, [&](std::size_t i, std::size_t offset) { result[i] = source[offset]; });
    return result;
  }

  // (code − zero point) · scale, one scale for all or one for each slice along the axis.
  Result<std::vector<float>> FoldDequantize(const OnnxNode& node, const GraphValue& value, std::size_t count,
                                            int step) {
    if (node.IntAttribute("block_size", 0) != 0) return Status::Unsupported("dequantizes by blocks");
    FORESHORE_ASSIGN_OR_RETURN(std::vector<float> codes, FoldInput(node, 0, step));
    FORESHORE_ASSIGN_OR_RETURN(const std::vector<float> scales, FoldInput(node, 1, step));
    std::vector<float> zeros(scales.size(), 0.0F);
    if (graph_.Input(node, 2) != kNoValue) {
      FORESHORE_ASSIGN_OR_RETURN(zeros, FoldInput(node, 2, step));
    }
    if (zeros.size() != scales.size()) return Status::Corruption("has not as many zero points as scales");
    std::size_t inner = std::max<std::size_t>(count, 1);
    if (scales.size() != 1) {
      FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis,
                                 NormaliseAxis(node.IntAttribute("axis", 1), value.shape.size()));
      if (static_cast<std::size_t>(value.shape[axis]) != scales.size()) {
        return Status::Corruption("has " + std::to_string(scales.size()) + " scales, its axis has " +
                                  std::to_string(value.shape[axis]));
      }
      inner = 1;
      for (std::size_t i = axis + 1; i < value.shape.size(); ++i) inner *= static_cast<std::size_t>(value.shape[i]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t slice = i / inner % scales.size();
      codes[i] = (codes[i] - zeros[slice]) * scales[slice];
    }
    return codes;
  }

  const OnnxGraph& graph_;
  std::size_t elements_max_;
};

}  // namespace

Result<std::vector<float>> FoldWeight(const OnnxGraph& graph, ValueId id, std::size_t file_bytes) {
  return Folder(graph, file_bytes + kElementsFree).Fold(id, 0);
}

}  // namespace foreshore
