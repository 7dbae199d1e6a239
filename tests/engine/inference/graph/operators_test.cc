// Goal: what ONNX's own cases leave out: older operator sets, integers at their ends, and the 16-bit floats.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/inference/graph/saturate.h"
#include "tests/engine/inference/graph/graph_runner.h"

namespace foreshore::graph {
namespace {

struct OneNode {
  OnnxWriter writer;
  std::vector<OwnedTensor> inputs;
  std::vector<std::string> names;

  template <typename T>
  OneNode& In(Shape shape, const std::vector<T>& values) {
    names.push_back("in_" + std::to_string(names.size()));
    writer.Input(names.back(), shape, static_cast<int>(TypeOf<T>()));
    inputs.push_back(Make<T>(std::move(shape), values));
    return *this;
  }
  Result<OwnedTensor> Run(const std::string& op, std::int64_t opset, const std::vector<ByteString>& attributes = {}) {
    writer.Node(op, names, attributes, "y");
    writer.Output("y", {});
    FORESHORE_ASSIGN_OR_RETURN(auto outputs, RunGraph(writer.Finish(opset), inputs));
    return std::move(outputs[0]);
  }
};

TEST_CASE("softmax: before set 13 the axis starts a row and is 1, then it is the row and is the last") {
  const std::vector<float> x{0, 0, 0, 0, 0, 0, 0, 0};
  const auto old_set = OneNode().In<float>({2, 2, 2}, x).Run("Softmax", 11);
  REQUIRE(old_set.ok());
  CHECK(Values<float>(*old_set)[0] == doctest::Approx(0.25));
  const auto new_set = OneNode().In<float>({2, 2, 2}, x).Run("Softmax", 13);
  REQUIRE(new_set.ok());
  CHECK(Values<float>(*new_set)[0] == doctest::Approx(0.5));
}

TEST_CASE("axes: an attribute before, an input after") {
  for (const char* op : {"Squeeze", "ReduceSum"}) {
    CAPTURE(op);
    const auto attribute = OneNode().In<float>({2, 1}, {1, 2}).Run(op, 11, {IntsAttribute("axes", {1})});
    REQUIRE_MESSAGE(attribute.ok(), attribute.status().message());
    CHECK(Values<float>(*attribute) == std::vector<float>{1, 2});
    const auto input = OneNode().In<float>({2, 1}, {1, 2}).In<std::int64_t>({1}, {-1}).Run(op, 13);
    REQUIRE_MESSAGE(input.ok(), input.status().message());
    CHECK(Values<float>(*input) == std::vector<float>{1, 2});
  }
  const auto wide = OneNode().In<float>({2}, {1, 2}).Run("Unsqueeze", 11, {IntsAttribute("axes", {0, 2})});
  REQUIRE(wide.ok());
  CHECK(wide->info.shape == Shape{1, 2, 1});
  const auto mean = OneNode().In<float>({2, 2}, {1, 2, 3, 4}).In<std::int64_t>({1}, {0}).Run("ReduceMean", 18);
  REQUIRE_MESSAGE(mean.ok(), mean.status().message());
  CHECK(Values<float>(*mean) == std::vector<float>{2, 3});
}

TEST_CASE("clip, pad and slice: bounds are attributes in old sets") {
  const auto clip =
      OneNode().In<float>({3}, {-5, 0, 5}).Run("Clip", 9, {FloatAttribute("min", -1), FloatAttribute("max", 2)});
  REQUIRE(clip.ok());
  CHECK(Values<float>(*clip) == std::vector<float>{-1, 0, 2});
  const auto pad =
      OneNode().In<float>({2}, {1, 2}).Run("Pad", 9, {IntsAttribute("pads", {1, -1}), FloatAttribute("value", 7)});
  REQUIRE(pad.ok());
  CHECK(Values<float>(*pad) == std::vector<float>{7, 1});
  const auto slice = OneNode()
                         .In<float>({4}, {1, 2, 3, 4})
                         .Run("Slice", 9, {IntsAttribute("starts", {-3}), IntsAttribute("ends", {9})});
  REQUIRE(slice.ok());
  CHECK(Values<float>(*slice) == std::vector<float>{2, 3, 4});
}

TEST_CASE("slice: steps and bounds at the ends of int64 neither overflow nor leave the tensor") {
  constexpr std::int64_t kLow = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kHigh = std::numeric_limits<std::int64_t>::max();
  const auto run = [](std::int64_t start, std::int64_t end, std::int64_t step) {
    const auto result = OneNode()
                            .In<float>({4}, {1, 2, 3, 4})
                            .In<std::int64_t>({1}, {start})
                            .In<std::int64_t>({1}, {end})
                            .In<std::int64_t>({1}, {0})
                            .In<std::int64_t>({1}, {step})
                            .Run("Slice", 13);
    REQUIRE_MESSAGE(result.ok(), result.status().message());
    return Values<float>(*result);
  };
  CHECK(run(kHigh, kLow, -1) == std::vector<float>{4, 3, 2, 1});
  CHECK(run(kHigh, kLow, kLow) == std::vector<float>{4});
  CHECK(run(kLow, kHigh, kHigh) == std::vector<float>{1});
  CHECK(run(kLow, kHigh, 3) == std::vector<float>{1, 4});
  CHECK(run(3, 1, 1).empty());
}

TEST_CASE("integers wrap, and a division by zero is an error") {
  constexpr std::int32_t kLow = std::numeric_limits<std::int32_t>::min();
  const auto run = [](const char* op, std::int32_t a, std::int32_t b) {
    return OneNode().In<std::int32_t>({1}, {a}).In<std::int32_t>({1}, {b}).Run(op, 13);
  };
  CHECK(Values<std::int32_t>(*run("Sub", kLow, 1))[0] == std::numeric_limits<std::int32_t>::max());
  CHECK(Values<std::int32_t>(*run("Mul", kLow, -1))[0] == kLow);
  CHECK(Values<std::int32_t>(*run("Div", kLow, -1))[0] == kLow);
  CHECK(Values<std::int32_t>(*run("Div", -7, 2))[0] == -3);
  CHECK(Values<std::int32_t>(*run("Mod", -7, 3))[0] == 2);
  CHECK(Values<std::int32_t>(*run("Mod", kLow, -1))[0] == 0);
  CHECK(run("Div", 1, 0).status().message().find("by zero") != std::string::npos);
  CHECK(run("Mod", 1, 0).status().code() == ErrorCode::kInvalidArgument);
  CHECK(Values<std::int32_t>(*OneNode().In<std::int32_t>({1}, {kLow}).Run("Abs", 13))[0] == kLow);
}

TEST_CASE("cast: floats outside the range of an integer go to its nearest end") {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto codes =
      OneNode().In<float>({5}, {-1e30F, 300, std::nanf(""), infinity, -3.9F}).Run("Cast", 13, {IntAttribute("to", 3)});
  REQUIRE(codes.ok());
  CHECK(Values<std::int8_t>(*codes) == std::vector<std::int8_t>{-128, 127, 0, 127, -3});
  CHECK(Saturate<std::int64_t>(9.3e18) == std::numeric_limits<std::int64_t>::max());
  CHECK(OneNode().In<float>({1}, {1}).Run("Cast", 13, {IntAttribute("to", 8)}).status().code() ==
        ErrorCode::kUnsupported);
}

TEST_CASE("float16: every half goes to a float and back, and floats round to nearest even") {
  for (std::uint32_t bits = 0; bits < 65'536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if ((half & 0x7C00U) == 0x7C00U && (half & 0x3FFU) != 0) continue;  // NaN
    REQUIRE(FloatToHalf(HalfToFloat(half)) == half);
    REQUIRE(FloatToBrain(BrainToFloat(half)) == half);
  }
  CHECK(FloatToHalf(65519.9F) == 0x7BFF);
  CHECK(FloatToHalf(65520.0F) == 0x7C00);
  CHECK(FloatToHalf(1.0F + 1.0F / 2048) == 0x3C00);
  CHECK(FloatToHalf(1.0F + 3.0F / 2048) == 0x3C02);
  CHECK(FloatToHalf(std::ldexp(1.0F, -25)) == 0);
  CHECK(FloatToHalf(std::ldexp(1.5F, -25)) == 1);
  CHECK((FloatToHalf(std::nanf("")) & 0x7FFFU) > 0x7C00U);
  CHECK(FloatToBrain(1.0F + 1.0F / 256) == 0x3F80);
}

TEST_CASE("empty tensors go through what has no need of elements, and the rest is an error") {
  const auto sum = OneNode().In<float>({0, 2}, {}).Run("ReduceSum", 11, {IntsAttribute("axes", {0})});
  REQUIRE(sum.ok());
  CHECK(Values<float>(*sum) == std::vector<float>{0, 0});
  CHECK(!OneNode().In<float>({0, 2}, {}).Run("ReduceMax", 11, {IntsAttribute("axes", {0})}).ok());
  CHECK(!OneNode().In<float>({0, 2}, {}).Run("ArgMax", 11).ok());
  const auto product = OneNode().In<float>({2, 0}, {}).In<float>({0, 3}, {}).Run("MatMul", 13);
  REQUIRE(product.ok());
  CHECK(Values<float>(*product) == std::vector<float>(6, 0.0F));
  CHECK(OneNode().In<float>({0}, {}).Run("Softmax", 13).ok());
}

TEST_CASE("dynamic quantization: zeros have a scale of zero and stay zeros") {
  const auto codes = OneNode().In<float>({3}, {0, 0, 0}).Run("DynamicQuantizeLinear", 11);
  REQUIRE(codes.ok());
  CHECK(Values<std::uint8_t>(*codes) == std::vector<std::uint8_t>{0, 0, 0});
}

}  // namespace
}  // namespace foreshore::graph
