#include "engine/inference/float_tensor.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "storage/base/coding.h"

namespace foreshore {
namespace {

TEST_CASE("float tensor: every binary16 is exact") {
  CHECK(HalfToFloat(0x3C00) == 1.0F);
  CHECK(HalfToFloat(0xC000) == -2.0F);
  CHECK(HalfToFloat(0x7BFF) == 65504.0F);
  CHECK(HalfToFloat(0x0400) == 0x1p-14F);
  CHECK(HalfToFloat(0x0001) == 0x1p-24F);
  CHECK(HalfToFloat(0x83FF) == -1023 * 0x1p-24F);
  CHECK(std::signbit(HalfToFloat(0x8000)));
  CHECK(HalfToFloat(0x7C00) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(HalfToFloat(0x7E00)));
  // Value by the definition, for all that are finite.
  for (std::uint32_t half = 0; half < 0x7C00; ++half) {
    const std::uint32_t exponent = half >> 10;
    const double fraction = half & 0x3FF;
    const double expected =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25);
    REQUIRE(HalfToFloat(static_cast<std::uint16_t>(half)) == expected);
  }
}

TEST_CASE("float tensor: integers and bfloat16 convert from unaligned bytes") {
  ByteString bytes("?");
  AppendFixed<std::uint16_t>(bytes, 0x3FC0);
  AppendFixed<std::uint16_t>(bytes, 0xC000);
  const Bytes unaligned = Bytes(bytes).substr(1);
  CHECK(*ToFloats({"t", TensorType::kBF16, {2}, unaligned}) == std::vector<float>{1.5F, -2.0F});
  CHECK(*ToFloats({"t", TensorType::kI8, {4}, unaligned}) == std::vector<float>{-64, 63, 0, -64});
  CHECK(*ToFloats({"t", TensorType::kU8, {4}, unaligned}) == std::vector<float>{192, 63, 0, 192});
  CHECK(*ToFloats({"t", TensorType::kI32, {1}, unaligned}) == std::vector<float>{-1073725504.0F});
}

TEST_CASE("float tensor: bytes that do not match the shape are refused") {
  CHECK(ToFloats({"t", TensorType::kF32, {2}, "1234"}).status().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("float tensor: a value that is not finite is found") {
  std::vector<Tensor> tensors{MakeF32Tensor("fine", {2}, {1, 2})};
  CHECK(CheckFinite(tensors).ok());
  tensors.push_back(MakeF32Tensor("broken", {2}, {1, std::numeric_limits<float>::quiet_NaN()}));
  CHECK(CheckFinite(tensors).message() == "tensor \"broken\": value 1 is not finite");
}

}  // namespace
}  // namespace foreshore
