// Goal: steps over 8-bit codes with constant weights give the operators' own integers, at every level of instructions,
// and a float operator between DequantizeLinear and QuantizeLinear becomes one.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/engine/inference/graph/kernel_levels.h"

namespace foreshore::graph {
namespace {

constexpr int kFloat = 1;
constexpr int kUint8 = 2;
constexpr int kInt8 = 3;
constexpr int kInt32 = 6;

// All 256 codes come.
ByteString Codes(std::int64_t count, std::uint32_t seed) {
  ByteString codes;
  for (std::int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525U + 1013904223U;
    codes.push_back(static_cast<char>(seed >> 24));
  }
  return codes;
}

OwnedTensor CodeTensor(OnnxType type, const Shape& shape, std::uint32_t seed) {
  auto tensor = MakeTensor({type, shape}, 1 << 20);
  const ByteString codes = Codes(ElementCount(shape), seed);
  std::memcpy(tensor->bytes.get(), codes.data(), codes.size());
  return std::move(tensor).value();
}

struct Writer : OnnxWriter {
  std::string Code(const std::string& name, int type, const std::vector<std::int64_t>& dims, const ByteString& bytes) {
    Initializer(TensorMessage(name, type, dims, bytes));
    return name;
  }
  std::string Zero(const std::string& name, int type, int value) {
    return Code(name, type, {}, ByteString(1, static_cast<char>(value)));
  }
};

// Returns how many steps there are, and checks every level against the operators' own code, byte for byte. Codes that
// are rounded from a float may differ by `allowed`.
std::size_t CheckLevels(const Writer& writer, const OwnedTensor& x, int allowed = 0) {
  return CompareLevels(writer, x, [allowed](const auto& found, const auto& expected) {
    REQUIRE(found[0].info == expected[0].info);
    for (std::uint64_t i = 0; i < found[0].size_bytes; ++i) {
      CAPTURE(i);
      const int a = static_cast<int>(found[0].bytes[i]);
      const int b = static_cast<int>(expected[0].bytes[i]);
      REQUIRE(std::abs(a - b) <= allowed);
    }
  });
}

TEST_CASE("codes: integer convolutions and products, all types and zero points") {
  for (const int weights_type : {kUint8, kInt8}) {
    for (const int weights_zero : {0, 3, 128}) {
      CAPTURE(weights_type);
      CAPTURE(weights_zero);
      Writer conv;
      conv.Input("x", {2, 6, 9, 11}, kUint8);
      const std::string w = conv.Code("w", weights_type, {70, 6, 3, 3}, Codes(70 * 54, 3));
      const std::string zero = conv.Zero("z", weights_type, weights_zero);
      conv.Node("ConvInteger", {"x", w, conv.Zero("xz", kUint8, 77), zero},
                {IntsAttribute("pads", {1, 0, 2, 1}), IntsAttribute("strides", {1, 2})}, "y");
      conv.Output("y", {});
      CHECK(CheckLevels(conv, CodeTensor(OnnxType::kUint8, {2, 6, 9, 11}, 5)) == 1);
      Writer product;
      product.Input("x", {3, 33, 50}, kUint8);
      const std::string right = product.Code("w", weights_type, {50, 65}, Codes(50 * 65, 3));
      product.Node("MatMulInteger",
                   {"x", right, product.Zero("xz", kUint8, 200), product.Zero("z", weights_type, weights_zero)}, {},
                   "y");
      product.Output("y", {});
      CHECK(CheckLevels(product, CodeTensor(OnnxType::kUint8, {3, 33, 50}, 5)) == 1);
    }
  }
}

TEST_CASE("codes: convolutions and products that are rounded to codes, per tensor and per channel") {
  for (const OnnxType type : {OnnxType::kUint8, OnnxType::kInt8}) {
    const int code = static_cast<int>(type);
    CAPTURE(code);
    for (const std::int64_t groups : {1, 2}) {
      // Turned to channels last and back.
      const bool is_last = type == OnnxType::kUint8 && groups == 1;
      Writer writer;
      writer.Input("x", {1, 8, 7, 7}, code);
      std::vector<float> scales;
      for (int i = 0; i < 40; ++i) scales.push_back(0.001F + 0.0001F * static_cast<float>(i));
      ByteString bias;
      for (std::int32_t i = 0; i < 40; ++i) AppendFixed(bias, i * 100 - 2000);
      writer.Node("QLinearConv",
                  {"x", writer.Scalar(0.05F), writer.Zero("xz", code, 12),
                   writer.Code("w", kInt8, {40, 8 / groups, 3, 3}, Codes(40 * 8 / groups * 9, 3)),
                   writer.Floats("ws", {40}, scales), writer.Code("wz", kInt8, {40}, ByteString(40, '\0')),
                   writer.Scalar(0.11F), writer.Zero("yz", code, 100), writer.Code("b", kInt32, {40}, bias)},
                  {IntAttribute("group", groups), IntsAttribute("pads", {1, 1, 1, 1})}, "y");
      writer.Output("y", {});
      CHECK(CheckLevels(writer, CodeTensor(type, {1, 8, 7, 7}, 5)) == (is_last ? 3 : 1));
    }
  }
}

TEST_CASE("codes: depthwise convolutions, with strides and zero points on both sides") {
  for (const OnnxType type : {OnnxType::kUint8, OnnxType::kInt8}) {
    const int code = static_cast<int>(type);
    CAPTURE(code);
    Writer writer;
    writer.Input("x", {2, 6, 9, 40}, code);
    ByteString bias;
    for (std::int32_t i = 0; i < 6; ++i) AppendFixed(bias, i * 1000 - 2000);
    writer.Node(
        "QLinearConv",
        {"x", writer.Scalar(0.05F), writer.Zero("xz", code, 90), writer.Code("w", kUint8, {6, 1, 3, 3}, Codes(54, 3)),
         writer.Scalar(0.01F), writer.Code("wz", kUint8, {6}, Codes(6, 8)), writer.Scalar(0.9F),
         writer.Zero("yz", code, 100), writer.Code("b", kInt32, {6}, bias)},
        {IntAttribute("group", 6), IntsAttribute("pads", {1, 1, 1, 1}), IntsAttribute("strides", {1, 2})}, "y");
    writer.Output("y", {});
    // Turned to channels last and back.
    CHECK(CheckLevels(writer, CodeTensor(type, {2, 6, 9, 40}, 5)) == (type == OnnxType::kUint8 ? 3 : 1));
  }
}

// Float code rounds where the integers do not: results may be one code apart.
TEST_CASE("codes: a convolution between DequantizeLinear and QuantizeLinear is one step over codes") {
  Writer writer;
  writer.Input("x", {1, 8, 7, 7}, kUint8);
  const std::string x = writer.Node("DequantizeLinear", {"x", writer.Scalar(0.02F), writer.Zero("xz", kUint8, 128)});
  std::vector<float> scales;
  for (int i = 0; i < 32; ++i) scales.push_back(0.001F + 0.0001F * static_cast<float>(i));
  const std::string w =
      writer.Node("DequantizeLinear",
                  {writer.Code("w", kInt8, {32, 8, 3, 3}, Codes(32 * 72, 3)), writer.Floats("ws", {32}, scales),
                   writer.Code("wz", kInt8, {32}, ByteString(32, '\0'))},
                  {IntAttribute("axis", 0)});
  const std::string conv = writer.Node("Conv", {x, w, writer.Floats("b", {32}, std::vector<float>(32, 0.25F))});
  writer.Node("QuantizeLinear", {writer.Node("Relu", {conv}), writer.Scalar(0.03F), writer.Zero("yz", kUint8, 0)}, {},
              "y");
  writer.Output("y", {});
  CHECK(CheckLevels(writer, CodeTensor(OnnxType::kUint8, {1, 8, 7, 7}, 5), 1) == 3);
  // Below its zero point the output has codes for what Relu takes away: that stays.
  Writer kept;
  kept.Input("x", {1, 1, 8}, kUint8);
  const std::string left = kept.Node("DequantizeLinear", {"x", kept.Scalar(0.02F), kept.Zero("xz", kUint8, 128)});
  const std::string right = kept.Node("DequantizeLinear", {kept.Code("w", kInt8, {20, 1, 1}, Codes(20, 3)),
                                                           kept.Scalar(0.01F), kept.Zero("wz", kInt8, 0)});
  const std::string product = kept.Node("Conv", {left, right});
  kept.Node("QuantizeLinear", {kept.Node("Relu", {product}), kept.Scalar(0.03F), kept.Zero("yz", kUint8, 128)}, {},
            "y");
  kept.Output("y", {});
  CHECK(CheckLevels(kept, CodeTensor(OnnxType::kUint8, {1, 1, 8}, 5), 1) == 3);
}

}  // namespace
}  // namespace foreshore::graph
