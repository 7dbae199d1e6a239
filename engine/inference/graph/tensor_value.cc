#include "engine/inference/graph/tensor_value.h"

#include <algorithm>
#include <new>
#include <utility>

#include "engine/inference/tensor.h"

namespace foreshore::graph {

std::string TypeName(OnnxType type) {
  switch (type) {
    case OnnxType::kUndefined: return "undefined";
    case OnnxType::kFloat: return "float";
    case OnnxType::kUint8: return "uint8";
    case OnnxType::kInt8: return "int8";
    case OnnxType::kUint16: return "uint16";
    case OnnxType::kInt16: return "int16";
    case OnnxType::kInt32: return "int32";
    case OnnxType::kInt64: return "int64";
    case OnnxType::kString: return "string";
    case OnnxType::kBool: return "bool";
    case OnnxType::kFloat16: return "float16";
    case OnnxType::kDouble: return "double";
    case OnnxType::kUint32: return "uint32";
    case OnnxType::kUint64: return "uint64";
    case OnnxType::kBfloat16: return "bfloat16";
  }
  return "type " + std::to_string(static_cast<int>(type));
}

std::string ToText(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(shape[i]);
  return text + "]";
}

std::string ToText(const TensorInfo& info) {
  return TypeName(info.type) + ToText(info.shape);
}

Result<std::uint64_t> ByteCount(const TensorInfo& info, std::uint64_t bytes_max) {
  const std::uint64_t element_bytes = OnnxTypeBytes(info.type);
  if (element_bytes == 0) return Status::Unsupported("element type " + TypeName(info.type));
  if (info.shape.size() > kTensorRankMax) {
    return Status::Limit("tensor has " + std::to_string(info.shape.size()) + " dimensions, at most " +
                         std::to_string(kTensorRankMax) + " are allowed");
  }
  // Zero dimensions are skipped, so that no product of the others can overflow in a walk over the shape either.
  std::uint64_t product = element_bytes;
  bool has_zero = false;
  for (const std::int64_t dimension : info.shape) {
    if (dimension < 0) {
      return Status::InvalidArgument("tensor " + ToText(info) + " has a negative dimension, expected none");
    }
    if (dimension == 0) {
      has_zero = true;
    } else if (static_cast<std::uint64_t>(dimension) > bytes_max / product) {
      return Status::Limit("tensor " + ToText(info) + " needs more than the limit of " + std::to_string(bytes_max) +
                           " bytes");
    } else {
      product *= static_cast<std::uint64_t>(dimension);
    }
  }
  return has_zero ? 0 : product;
}

std::int64_t ElementCount(const Shape& shape) {
  return InnerCount(shape, 0);
}

Result<OwnedTensor> MakeTensor(TensorInfo info, std::uint64_t bytes_max) {
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t size_bytes, ByteCount(info, bytes_max));
  OwnedTensor tensor;
  // One byte at least, so that data is never null.
  tensor.bytes.reset(new (std::nothrow) std::byte[std::max<std::uint64_t>(size_bytes, 1)]());
  if (!tensor.bytes) return Status::Limit("tensor " + ToText(info) + ": no memory for it");
  tensor.info = std::move(info);
  tensor.size_bytes = size_bytes;
  return tensor;
}

Shape Strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<std::int64_t>(shape[i], 1);
  return strides;
}

Shape BroadcastStrides(const Shape& own, const Shape& shape) {
  const Shape own_strides = Strides(own);
  Shape strides(shape.size(), 0);
  const std::size_t lead = shape.size() - own.size();
  for (std::size_t i = 0; i < own.size(); ++i) strides[lead + i] = own[i] == 1 ? 0 : own_strides[i];
  return strides;
}

Result<Shape> BroadcastShape(const Shape& left, const Shape& right) {
  Shape shape(std::max(left.size(), right.size()), 1);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const std::int64_t l = i < left.size() ? left[left.size() - 1 - i] : 1;
    const std::int64_t r = i < right.size() ? right[right.size() - 1 - i] : 1;
    if (l != r && l != 1 && r != 1) {
      return Status::InvalidArgument("shapes " + ToText(left) + " and " + ToText(right) + " do not broadcast");
    }
    shape[shape.size() - 1 - i] = l == 1 ? r : l;
  }
  return shape;
}

Result<std::size_t> NormaliseAxis(std::int64_t axis, std::size_t rank) {
  const auto signed_rank = static_cast<std::int64_t>(rank);
  if (axis < -signed_rank || axis >= signed_rank) {
    return Status::InvalidArgument("axis " + std::to_string(axis) + ", expected one of a tensor of " +
                                   std::to_string(rank) + " dimensions");
  }
  return static_cast<std::size_t>(axis < 0 ? axis + signed_rank : axis);
}

Result<std::vector<std::size_t>> NormaliseAxes(const std::vector<std::int64_t>& axes, std::size_t rank) {
  std::vector<std::size_t> result;
  for (const std::int64_t axis : axes) {
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t known, NormaliseAxis(axis, rank));
    if (std::find(result.begin(), result.end(), known) != result.end()) {
      return Status::InvalidArgument("axis " + std::to_string(axis) + " comes twice, expected each at most once");
    }
    result.push_back(known);
  }
  return result;
}

std::int64_t OuterCount(const Shape& shape, std::size_t begin) {
  std::int64_t count = 1;
  for (std::size_t i = 0; i < begin; ++i) count *= shape[i];
  return count;
}

std::int64_t InnerCount(const Shape& shape, std::size_t begin) {
  std::int64_t count = 1;
  for (std::size_t i = begin; i < shape.size(); ++i) count *= shape[i];
  return count;
}

}  // namespace foreshore::graph
