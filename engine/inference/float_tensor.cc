#include "engine/inference/float_tensor.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "storage/base/coding.h"

namespace foreshore {

float HalfToFloat(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000U) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1FU;
  const std::uint32_t fraction = half & 0x3FFU;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000U | (fraction << 13));
  if (exponent == 0) {
    // Zero or subnormal: fraction · 2^-24, exact in a float.
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (fraction << 13));
}

float BrainToFloat(std::uint16_t brain) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(brain) << 16);
}

namespace {

template <typename T, typename Convert>
void Load(Bytes bytes, std::vector<float>& values, Convert convert) {
  const char* source = bytes.data();
  for (float& value : values) {
    value = convert(LoadFixed<T>(source));
    source += sizeof(T);
  }
}

}  // namespace

Result<std::vector<float>> ToFloats(const TensorView& tensor) {
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t size_bytes, TensorByteCount(tensor.type, tensor.shape));
  if (size_bytes != tensor.bytes.size()) {
    return Status::InvalidArgument("tensor \"" + tensor.name + "\" has " + std::to_string(tensor.bytes.size()) +
                                   " bytes, its type and shape need " + std::to_string(size_bytes));
  }
  std::vector<float> values(size_bytes / TensorTypeBytes(tensor.type));
  const auto plain = [](auto value) { return static_cast<float>(value); };
  switch (tensor.type) {
    case TensorType::kF32:
      if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), size_bytes);
      break;
    case TensorType::kF16: Load<std::uint16_t>(tensor.bytes, values, HalfToFloat); break;
    case TensorType::kBF16: Load<std::uint16_t>(tensor.bytes, values, BrainToFloat); break;
    case TensorType::kI8: Load<std::int8_t>(tensor.bytes, values, plain); break;
    case TensorType::kU8: Load<std::uint8_t>(tensor.bytes, values, plain); break;
    case TensorType::kI32: Load<std::int32_t>(tensor.bytes, values, plain); break;
    case TensorType::kI64: Load<std::int64_t>(tensor.bytes, values, plain); break;
  }
  return values;
}

Tensor MakeF32Tensor(std::string name, std::vector<std::uint64_t> shape, const std::vector<float>& values) {
  return {std::move(name), TensorType::kF32, std::move(shape),
          ByteString(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float))};
}

Status CheckFinite(const std::vector<Tensor>& tensors) {
  for (const Tensor& tensor : tensors) {
    if (tensor.type != TensorType::kF32) continue;
    for (std::size_t i = 0; i + sizeof(float) <= tensor.bytes.size(); i += sizeof(float)) {
      if (std::isfinite(LoadFixed<float>(tensor.bytes.data() + i))) continue;
      return Status::InvalidArgument("tensor \"" + tensor.name + "\": value " + std::to_string(i / sizeof(float)) +
                                     " is not finite");
    }
  }
  return Status::Ok();
}

}  // namespace foreshore
