// Values of a graph: what they are (element type and shape), where their bytes lie, and how to walk over them.
//
// Invariant: a shape has at most kTensorRankMax dimensions, none negative. Bytes are little-endian, row-major and
// aligned to the element. Booleans are bytes, of which every one but 0 is true.
// Threads: values and pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "engine/inference/graph/float16.h"
#include "engine/inference/onnx_reader.h"
#include "engine/inference/tensor.h"
#include "foreshore/status.h"

namespace foreshore::graph {

using Shape = std::vector<std::int64_t>;

struct TensorInfo {
  OnnxType type = OnnxType::kUndefined;
  Shape shape;
  bool operator==(const TensorInfo&) const = default;
};

std::string TypeName(OnnxType type);         // "float", "int64" …
std::string ToText(const Shape& shape);      // "[2,3]"
std::string ToText(const TensorInfo& info);  // "float[2,3]"

// The size in bytes; kLimit above `bytes_max`, for too many dimensions and for a product that does not fit.
Result<std::uint64_t> ByteCount(const TensorInfo& info, std::uint64_t bytes_max);
// Invariant of the caller: ByteCount() was fine.
std::int64_t ElementCount(const Shape& shape);

// Borrowed, to read. `data` is null where only type and shape are known; `info` is null where there is no value.
struct TensorRef {
  const TensorInfo* info = nullptr;
  const std::byte* data = nullptr;

  std::int64_t count() const { return ElementCount(info->shape); }
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(data);
  }
};

// Borrowed, to write. `data` is null where nobody asked for this output.
struct OutputRef {
  const TensorInfo* info = nullptr;
  std::byte* data = nullptr;

  std::int64_t count() const { return ElementCount(info->shape); }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

// Owned.
struct OwnedTensor {
  TensorInfo info;
  std::unique_ptr<std::byte[]> bytes;
  std::uint64_t size_bytes = 0;

  TensorRef ref() const { return {&info, bytes.get()}; }
};
// Zeroed. kLimit where the memory is more than `bytes_max` or is not to be had.
Result<OwnedTensor> MakeTensor(TensorInfo info, std::uint64_t bytes_max);

// Sets of element types, a bit each.
using TypeSet = std::uint32_t;
constexpr TypeSet SetOf(OnnxType type) {
  return TypeSet{1} << static_cast<std::uint32_t>(type);
}
inline constexpr TypeSet kFloatTypes =
    SetOf(OnnxType::kFloat) | SetOf(OnnxType::kDouble) | SetOf(OnnxType::kFloat16) | SetOf(OnnxType::kBfloat16);
inline constexpr TypeSet kSignedTypes =
    SetOf(OnnxType::kInt8) | SetOf(OnnxType::kInt16) | SetOf(OnnxType::kInt32) | SetOf(OnnxType::kInt64);
inline constexpr TypeSet kUnsignedTypes =
    SetOf(OnnxType::kUint8) | SetOf(OnnxType::kUint16) | SetOf(OnnxType::kUint32) | SetOf(OnnxType::kUint64);
inline constexpr TypeSet kNumberTypes = kFloatTypes | kSignedTypes | kUnsignedTypes;
inline constexpr TypeSet kIndexTypes = SetOf(OnnxType::kInt32) | SetOf(OnnxType::kInt64);
inline constexpr TypeSet kBoolType = SetOf(OnnxType::kBool);
inline constexpr TypeSet kAllTypes = kNumberTypes | kBoolType;
inline bool Contains(TypeSet set, OnnxType type) {
  const auto number = static_cast<std::uint32_t>(type);
  return number < 32 && ((set >> number) & 1U) != 0;
}

// Calls body.operator()<T>() for the C++ type of `type`. Booleans are std::uint8_t, as unsigned bytes are.
// Only members of kSet are compiled; kUnsupported for any other.
template <TypeSet kSet, typename Body>
Status Dispatch(OnnxType type, Body body) {
#define FORESHORE_GRAPH_CASE(name, T)                                                        \
  case OnnxType::name:                                                                       \
    if constexpr ((kSet & SetOf(OnnxType::name)) != 0) return body.template operator()<T>(); \
    break;
  switch (type) {
    FORESHORE_GRAPH_CASE(kFloat, float)
    FORESHORE_GRAPH_CASE(kDouble, double)
    FORESHORE_GRAPH_CASE(kFloat16, Half)
    FORESHORE_GRAPH_CASE(kBfloat16, Brain)
    FORESHORE_GRAPH_CASE(kInt8, std::int8_t)
    FORESHORE_GRAPH_CASE(kInt16, std::int16_t)
    FORESHORE_GRAPH_CASE(kInt32, std::int32_t)
    FORESHORE_GRAPH_CASE(kInt64, std::int64_t)
    FORESHORE_GRAPH_CASE(kUint8, std::uint8_t)
    FORESHORE_GRAPH_CASE(kUint16, std::uint16_t)
    FORESHORE_GRAPH_CASE(kUint32, std::uint32_t)
    FORESHORE_GRAPH_CASE(kUint64, std::uint64_t)
    FORESHORE_GRAPH_CASE(kBool, std::uint8_t)
    default: break;
  }
#undef FORESHORE_GRAPH_CASE
  return Status::Unsupported("element type " + TypeName(type));
}

// Calls body.operator()<T>() with an unsigned T of the element's width: enough for what only moves elements.
template <typename Body>
void DispatchWidth(OnnxType type, Body body) {
  switch (OnnxTypeBytes(type)) {
    case 1: return body.template operator()<std::uint8_t>();
    case 2: return body.template operator()<std::uint16_t>();
    case 4: return body.template operator()<std::uint32_t>();
    default: return body.template operator()<std::uint64_t>();
  }
}

template <typename T>
inline constexpr bool kIs16BitFloat = std::is_same_v<T, Half> || std::is_same_v<T, Brain>;
// What elements are computed in.
template <typename T>
using Wide = std::conditional_t<kIs16BitFloat<T>, float, T>;
// What sums, differences and products are computed in: integers modulo 2^64, so that none overflows; cut to the
// element's width they wrap as two's complement does.
template <typename T>
using Modular = std::conditional_t<std::is_integral_v<T>, std::uint64_t, Wide<T>>;

inline constexpr TypeSet kCodeTypes = SetOf(OnnxType::kUint8) | SetOf(OnnxType::kInt8);

// A code of 8 bits as the number that it is: signed or not, as its type says.
inline std::int32_t CodeValue(std::byte code, OnnxType type) {
  const auto bits = static_cast<std::uint8_t>(code);
  return type == OnnxType::kInt8 ? static_cast<std::int8_t>(bits) : static_cast<std::int32_t>(bits);
}

// Steps in elements, per dimension, of a contiguous tensor.
Shape Strides(const Shape& shape);
// Steps with which a tensor of shape `own` is read as one of shape `shape`, to which it broadcasts.
Shape BroadcastStrides(const Shape& own, const Shape& shape);
// The shape to which both broadcast, as numpy does. kInvalidArgument where they do not.
Result<Shape> BroadcastShape(const Shape& left, const Shape& right);

// Calls body(index, offsets) for each element of `shape` in row-major order; offsets follow `strides`.
template <std::size_t kCount, typename Body>
void Walk(const Shape& shape, const std::array<Shape, kCount>& strides, Body body) {
  const std::int64_t count = ElementCount(shape);
  std::array<std::int64_t, kCount> offsets{};
  std::array<std::int64_t, kTensorRankMax> index{};
  for (std::int64_t i = 0; i < count; ++i) {
    body(i, offsets);
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      for (std::size_t k = 0; k < kCount; ++k) offsets[k] += strides[k][axis];
      if (++index[axis] < shape[axis]) break;
      for (std::size_t k = 0; k < kCount; ++k) offsets[k] -= strides[k][axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

// -rank..rank-1 to 0..rank-1. kInvalidArgument outside.
Result<std::size_t> NormaliseAxis(std::int64_t axis, std::size_t rank);
// The same for a list, in which no axis may come twice.
Result<std::vector<std::size_t>> NormaliseAxes(const std::vector<std::int64_t>& axes, std::size_t rank);
// Products of the dimensions before `begin`, and from `begin` on.
std::int64_t OuterCount(const Shape& shape, std::size_t begin);
std::int64_t InnerCount(const Shape& shape, std::size_t begin);

}  // namespace foreshore::graph
