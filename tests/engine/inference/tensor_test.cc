#include "engine/inference/tensor.h"

#include <doctest/doctest.h>

namespace foreshore {
namespace {

TEST_CASE("tensor: every type's name reads back, an unknown one does not") {
  for (int code = 1; code <= 7; ++code) {
    const auto type = static_cast<TensorType>(code);
    CAPTURE(code);
    CHECK(TensorTypeFromName(TensorTypeName(type)) == type);
    CHECK(TensorTypeBytes(type) > 0);
  }
  CHECK(!TensorTypeFromName("f64").has_value());
  CHECK(TensorTypeBytes(static_cast<TensorType>(99)) == 0);
}

TEST_CASE("tensor: byte counts multiply the shape by the element") {
  CHECK(*TensorByteCount(TensorType::kF32, {}) == 4);
  CHECK(*TensorByteCount(TensorType::kF16, {3, 5}) == 30);
  CHECK(*TensorByteCount(TensorType::kI64, {0, 5}) == 0);
}

TEST_CASE("tensor: a product that would wrap is refused, also behind a zero dimension") {
  const std::uint64_t huge = 1ULL << 62;
  CHECK(TensorByteCount(TensorType::kF32, {huge}).status().code() == ErrorCode::kLimit);
  CHECK(TensorByteCount(TensorType::kI8, {huge, huge}).status().code() == ErrorCode::kLimit);
  CHECK(TensorByteCount(TensorType::kI8, {0, huge, huge}).status().code() == ErrorCode::kLimit);
  CHECK(TensorByteCount(TensorType::kI8, {1ULL << 32, 1ULL << 32}).status().code() == ErrorCode::kLimit);
}

TEST_CASE("tensor: more than eight dimensions are refused") {
  CHECK(TensorByteCount(TensorType::kI8, std::vector<std::uint64_t>(8, 1)).ok());
  CHECK(TensorByteCount(TensorType::kI8, std::vector<std::uint64_t>(9, 1)).status().code() == ErrorCode::kLimit);
  CHECK(TensorByteCount(static_cast<TensorType>(99), {1}).status().code() == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace foreshore
