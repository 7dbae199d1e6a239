// Goal: what vectors and fusions compute is what the operators' own code computes, up to rounding, at every level of
// instructions that this machine has, and fusions leave fewer steps.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/engine/inference/graph/kernel_levels.h"

namespace foreshore::graph {
namespace {

constexpr int kFloat = 1;

// One input x of that shape; the rest is in the writer. Every level against the operators' own code. Returns how many
// steps are left with kernels.
std::size_t CheckLevels(const OnnxWriter& writer, const Shape& shape, double tolerance = 2e-5, float scale = 1) {
  std::vector<float> values = Random(ElementCount(shape), 5);
  for (float& value : values) value *= scale;
  return CompareLevels(writer, Make<float>(shape, values), [tolerance](const auto& found, const auto& expected) {
    for (std::size_t k = 0; k < expected.size(); ++k) {
      REQUIRE(found[k].info == expected[k].info);
      const auto a = Values<float>(found[k]);
      const auto b = Values<float>(expected[k]);
      for (std::size_t i = 0; i < a.size(); ++i) {
        CAPTURE(i);
        const double allowed = tolerance * std::max(1.0, std::fabs(static_cast<double>(b[i])));
        REQUIRE(std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])) <= allowed);
      }
    }
  });
}

struct ConvCase {
  Shape x;
  Shape w;
  std::int64_t group;
  std::vector<std::int64_t> strides;
  std::vector<std::int64_t> dilations;
  std::vector<std::int64_t> pads;
  std::string padding;
};

TEST_CASE("kernels: convolutions of every form") {
  const std::vector<ConvCase> cases = {
      {{2, 3, 17, 19}, {13, 3, 3, 3}, 1, {1, 1}, {1, 1}, {1, 1, 1, 1}, ""},
      {{1, 5, 16, 33}, {7, 5, 3, 5}, 1, {2, 3}, {1, 2}, {0, 2, 3, 1}, ""},
      {{1, 40, 9, 9}, {25, 40, 1, 1}, 1, {1, 1}, {1, 1}, {0, 0, 0, 0}, ""},
      {{1, 6, 12, 11}, {8, 3, 2, 2}, 2, {1, 1}, {1, 1}, {0, 1, 1, 0}, ""},
      {{1, 60, 8, 8}, {14, 60, 3, 3}, 1, {1, 1}, {1, 1}, {1, 1, 1, 1}, ""},  // Deeper than a block.
      {{2, 50, 1, 1}, {30, 50, 1, 1}, 1, {1, 1}, {1, 1}, {0, 0, 0, 0}, ""},  // Fewer outputs than a panel is worth.
      {{1, 3, 2, 2}, {4, 3, 3, 3}, 1, {1, 1}, {1, 1}, {1, 1, 1, 1}, ""},
      {{2, 7, 20, 37}, {7, 1, 3, 3}, 7, {1, 1}, {1, 1}, {1, 1, 1, 1}, ""},  // Depthwise.
      {{1, 7, 20, 37}, {14, 1, 5, 5}, 7, {2, 2}, {1, 1}, {2, 2, 2, 2}, ""},
      {{1, 4, 9, 50}, {4, 1, 3, 2}, 4, {1, 3}, {2, 4}, {3, 0, 1, 5}, ""},
      {{1, 4, 5, 5}, {4, 1, 3, 3}, 4, {3, 3}, {1, 1}, {0, 0, 0, 0}, "SAME_UPPER"},
      {{1, 3, 21}, {6, 3, 5}, 1, {2}, {1}, {2, 2}, ""},
      {{1, 1, 100}, {9, 1, 64}, 1, {16}, {1}, {0, 3}, ""},
      {{1, 4, 30}, {4, 1, 7}, 4, {1}, {2}, {6, 6}, ""},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const ConvCase& c = cases[i];
    CAPTURE(i);
    OnnxWriter writer;
    writer.Input("x", c.x, kFloat);
    std::vector<ByteString> attributes{IntAttribute("group", c.group), IntsAttribute("strides", c.strides),
                                       IntsAttribute("dilations", c.dilations)};
    attributes.push_back(c.padding.empty() ? IntsAttribute("pads", c.pads) : StringAttribute("auto_pad", c.padding));
    const std::string w = writer.Floats("w", c.w, Random(ElementCount(c.w), 9));
    const std::string b = writer.Floats("b", {c.w[0]}, Random(c.w[0], 3));
    writer.Node("Conv", {"x", w, b}, attributes, "plain");
    writer.Output("plain", {});
    writer.Node("Relu", {writer.Node("Conv", {"x", w}, attributes)}, {}, "y");
    writer.Output("y", {});
    // With channels last the input is turned once, and each output back.
    const bool is_last = c.x.size() == 4 && (c.group == 1 || (c.group == c.w[0] && c.w[1] == 1));
    CHECK(CheckLevels(writer, c.x) == (is_last ? 5 : 2));
  }
}

TEST_CASE("kernels: transposed convolutions") {
  const std::vector<ConvCase> cases = {
      {{2, 5, 7, 40}, {5, 3, 2, 2}, 1, {2, 2}, {1, 1}, {0, 0, 0, 0}, ""},
      {{1, 6, 5, 6}, {6, 4, 3, 3}, 2, {2, 1}, {1, 2}, {1, 1, 0, 2}, ""},
      {{1, 4, 5, 5}, {4, 2, 3, 3}, 1, {3, 3}, {1, 1}, {0, 0, 0, 0}, "SAME_UPPER"},
      {{1, 3, 11}, {3, 2, 4}, 1, {2}, {1}, {1, 1}, ""},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const ConvCase& c = cases[i];
    CAPTURE(i);
    OnnxWriter writer;
    writer.Input("x", c.x, kFloat);
    std::vector<ByteString> attributes{IntAttribute("group", c.group), IntsAttribute("strides", c.strides),
                                       IntsAttribute("dilations", c.dilations)};
    attributes.push_back(c.padding.empty() ? IntsAttribute("pads", c.pads) : StringAttribute("auto_pad", c.padding));
    const std::int64_t channels = c.w[1] * c.group;
    const std::string w = writer.Floats("w", c.w, Random(ElementCount(c.w), 9));
    const std::string b = writer.Floats("b", {channels}, Random(channels, 3));
    writer.Node("Sigmoid", {writer.Node("ConvTranspose", {"x", w, b}, attributes)}, {}, "y");
    writer.Output("y", {});
    CHECK(CheckLevels(writer, c.x) == 1);
  }
}

TEST_CASE("kernels: products, with constant and computed right sides, biases and activations") {
  for (const std::int64_t m : {1, 5, 13, 200}) {
    for (const std::int64_t n : {1, 31, 64, 70}) {
      CAPTURE(m);
      CAPTURE(n);
      const std::int64_t k = n == 70 ? 600 : 37;
      OnnxWriter writer;
      writer.Input("x", {m, k}, kFloat);
      const std::string w = writer.Floats("w", {k, n}, Random(k * n, 4));
      const std::string flipped = writer.Floats("f", {n, k}, Random(k * n, 4));
      const std::string bias = writer.Floats("b", {n}, Random(n, 6));
      writer.Node("Sigmoid", {writer.Node("Add", {writer.Node("MatMul", {"x", w}), bias})}, {}, "a");
      writer.Node("Gemm", {"x", flipped, bias}, {IntAttribute("transB", 1), FloatAttribute("alpha", 0.5F)}, "b2");
      writer.Node("MatMul", {"x", writer.Node("Transpose", {"x"})}, {}, "c");
      writer.Node("Gemm", {"x", "x"}, {IntAttribute("transA", 1)}, "d");
      for (const char* output : {"a", "b2", "c", "d"}) writer.Output(output, {});
      CHECK(CheckLevels(writer, {m, k}, 2e-4) == 5);
    }
  }
  OnnxWriter stacks;
  stacks.Input("x", {2, 3, 4, 5}, kFloat);
  const std::string right = stacks.Node("Transpose", {"x"}, {IntsAttribute("perm", {0, 1, 3, 2})});
  stacks.Node("MatMul", {"x", right}, {}, "y");
  stacks.Node("MatMul", {"x", stacks.Floats("w", {1, 3, 5, 2}, Random(30, 2))}, {}, "z");
  stacks.Node("MatMul", {"x", stacks.Floats("v", {5}, Random(5, 2))}, {}, "u");
  for (const char* output : {"y", "z", "u"}) stacks.Output(output, {});
  CheckLevels(stacks, {2, 3, 4, 5});
}

TEST_CASE("kernels: functions of elements and rows") {
  for (const char* op : {"Relu", "Sigmoid", "Tanh", "Exp", "Erf", "HardSwish", "HardSigmoid", "LeakyRelu", "Abs", "Neg",
                         "Softmax", "ReduceMean", "GlobalAveragePool"}) {
    CAPTURE(op);
    for (const std::int64_t width : {3, 16, 61}) {
      OnnxWriter writer;
      writer.Input("x", {2, 5, width}, kFloat);
      writer.Node(op, {"x"}, {}, "y");
      writer.Output("y", {});
      CheckLevels(writer, {2, 5, width}, 2e-6, 9);
    }
  }
  const float infinity = std::numeric_limits<float>::infinity();
  for (const VectorKernels* kernels : Levels()) {
    CAPTURE(CpuLevelName(kernels->level));
    const float ends[] = {infinity, -infinity, 200.0F, -200.0F, std::nanf(""), 0.0F};
    float out[6];
    kernels->unary({Unary::kExp, 0, 0}, ends, 6, out);
    CHECK(out[0] == infinity);
    CHECK(out[1] < 1e-30F);
    CHECK(out[2] == infinity);
    CHECK(out[3] < 1e-30F);
    CHECK(std::isnan(out[4]));
    CHECK(out[5] == 1.0F);
    kernels->unary({Unary::kSigmoid, 0, 0}, ends, 6, out);
    CHECK(out[0] == 1.0F);
    CHECK(out[1] < 1e-30F);
    CHECK(std::isnan(out[4]));
    kernels->unary({Unary::kClip, -1, 2}, ends, 6, out);
    CHECK(out[0] == 2.0F);
    CHECK(out[1] == -1.0F);
    CHECK(std::isnan(out[4]));
  }
}

TEST_CASE("kernels: two sides that broadcast in every way") {
  const std::vector<std::pair<Shape, Shape>> cases = {
      {{2, 3, 4, 40}, {2, 3, 4, 40}}, {{2, 3, 4, 40}, {}},
      {{2, 3, 4, 40}, {40}},          {{2, 3, 4, 40}, {3, 1, 1}},
      {{2, 3, 4, 40}, {4, 1}},        {{2, 3, 4, 40}, {1, 3, 1, 40}},
      {{2, 1, 4, 1}, {3, 1, 40}},     {{5, 1}, {1, 33}},
      {{2, 3, 1, 1}, {2, 3, 7, 5}},   {{1}, {1, 1}},
      {{3, 1, 17}, {1, 9, 1}},
  };
  for (const auto& [left, right] : cases) {
    CAPTURE(ToText(left));
    CAPTURE(ToText(right));
    for (const char* op : {"Add", "Sub", "Mul", "Div"}) {
      OnnxWriter writer;
      writer.Input("x", left, kFloat);
      std::vector<float> values = Random(ElementCount(right), 8);
      for (float& value : values) value += 2;
      const std::string w = writer.Floats("w", right, values);
      writer.Node(op, {"x", w}, {}, "y");
      writer.Node(op, {w, writer.Node("Add", {"x", writer.Scalar(3)})}, {}, "z");
      writer.Output("y", {});
      writer.Output("z", {});
      CheckLevels(writer, left, 1e-6);
    }
  }
}

// Each pattern is one step, with the same result.
TEST_CASE("fusions: functions that exporters spell out become one step") {
  OnnxWriter norm;
  norm.Input("x", {3, 20}, kFloat);
  const ByteString last = IntsAttribute("axes", {-1});
  const std::string mean = norm.Node("ReduceMean", {"x"}, {last});
  const std::string distance = norm.Node("Sub", {"x", mean});
  const std::string variance = norm.Node("ReduceMean", {norm.Node("Pow", {distance, norm.Scalar(2)})}, {last});
  const std::string root = norm.Node("Sqrt", {norm.Node("Add", {variance, norm.Scalar(1e-5F)})});
  const std::string scaled =
      norm.Node("Mul", {norm.Node("Div", {distance, root}), norm.Floats("g", {20}, Random(20, 1))});
  norm.Node("Add", {scaled, norm.Floats("h", {20}, Random(20, 2))}, {}, "y");
  norm.Output("y", {});
  CHECK(CheckLevels(norm, {3, 20}) == 1);

  OnnxWriter gelu;
  gelu.Input("x", {3, 20}, kFloat);
  const std::string erf = gelu.Node("Erf", {gelu.Node("Div", {"x", gelu.Scalar(std::sqrt(2.0F))})});
  const std::string gate = gelu.Node("Add", {erf, gelu.Scalar(1)});
  gelu.Node("Mul", {gelu.Node("Mul", {"x", gate}), gelu.Scalar(0.5F)}, {}, "y");
  gelu.Output("y", {});
  CHECK(CheckLevels(gelu, {3, 20}, 2e-6, 5) == 1);

  OnnxWriter swish;
  swish.Input("x", {3, 20}, kFloat);
  const std::string clip =
      swish.Node("Clip", {swish.Node("Add", {"x", swish.Scalar(3)}), swish.Scalar(0), swish.Scalar(6)});
  swish.Node("Div", {swish.Node("Mul", {"x", clip}), swish.Scalar(6)}, {}, "y");
  swish.Node("Mul", {"x", swish.Node("Sigmoid", {"x"})}, {}, "z");
  swish.Output("y", {});
  swish.Output("z", {});
  CHECK(CheckLevels(swish, {3, 20}, 2e-6, 5) == 2);
}

TEST_CASE("fusions: GELU by tanh becomes one step, another function does not") {
  // By tanh: the cube as a power and as products, the half before and behind.
  for (const bool has_power : {true, false}) {
    OnnxWriter tanh;
    tanh.Input("x", {30, 70}, kFloat);
    const std::string cube =
        has_power ? tanh.Node("Pow", {"x", tanh.Scalar(3)}) : tanh.Node("Mul", {"x", tanh.Node("Mul", {"x", "x"})});
    const std::string inner = tanh.Node("Add", {"x", tanh.Node("Mul", {tanh.Scalar(0.044715F), cube})});
    const std::string gate =
        tanh.Node("Add", {tanh.Scalar(1), tanh.Node("Tanh", {tanh.Node("Mul", {inner, tanh.Scalar(0.7978845608F)})})});
    if (has_power) {
      tanh.Node("Mul", {tanh.Node("Mul", {tanh.Scalar(0.5F), "x"}), gate}, {}, "y");
    } else {
      tanh.Node("Mul", {tanh.Scalar(0.5F), tanh.Node("Mul", {"x", gate})}, {}, "y");
    }
    tanh.Output("y", {});
    CHECK(CheckLevels(tanh, {30, 70}, 2e-6, 5) == 1);
  }
  // Another number in it is another function.
  OnnxWriter other;
  other.Input("x", {3, 20}, kFloat);
  const std::string cubed = other.Node("Mul", {other.Scalar(0.05F), other.Node("Pow", {"x", other.Scalar(3)})});
  const std::string scaled_sum = other.Node("Mul", {other.Node("Add", {"x", cubed}), other.Scalar(0.7978845608F)});
  other.Node("Mul",
             {other.Node("Mul", {other.Scalar(0.5F), "x"}),
              other.Node("Add", {other.Node("Tanh", {scaled_sum}), other.Scalar(1)})},
             {}, "y");
  other.Output("y", {});
  CHECK(CheckLevels(other, {3, 20}, 2e-6, 5) == 8);
}

TEST_CASE("fusions: normalisation, arithmetic by channel and activation move into a convolution") {
  OnnxWriter writer;
  writer.Input("x", {1, 3, 9, 9}, kFloat);
  const std::string w = writer.Floats("w", {6, 3, 3, 3}, Random(162, 9));
  const std::string conv = writer.Node("Conv", {"x", w});
  std::vector<float> variance = Random(6, 13);
  for (float& value : variance) value = value * value + 0.5F;
  const std::string normal = writer.Node(
      "BatchNormalization", {conv, writer.Floats("s", {6}, Random(6, 10)), writer.Floats("b", {6}, Random(6, 11)),
                             writer.Floats("m", {6}, Random(6, 12)), writer.Floats("v", {6}, variance)});
  const std::string scaled = writer.Node("Mul", {normal, writer.Floats("k", {1, 6, 1, 1}, Random(6, 14))});
  const std::string moved = writer.Node("Sub", {scaled, writer.Scalar(0.25F)});
  writer.Node("HardSwish", {moved}, {}, "y");
  writer.Output("y", {});
  CHECK(CheckLevels(writer, {1, 3, 9, 9}) == 3);  // Turned before and behind.
}

TEST_CASE("fusions: numbers before a convolution over single pixels move into it, and stay before one that pads") {
  for (const std::int64_t kernel : {1, 3}) {
    CAPTURE(kernel);
    for (const bool has_bias : {false, true}) {
      OnnxWriter writer;
      writer.Input("x", {2, 6, 9, 10}, kFloat);
      const std::string active = writer.Node("Tanh", {"x"});
      const std::string scaled = writer.Node("Mul", {writer.Floats("a", {1}, {1.75F}), active});
      const std::string moved =
          writer.Node("Add", {writer.Node("Add", {scaled, writer.Scalar(0.5F)}), writer.Scalar(-2)});
      std::vector<std::string> inputs{moved,
                                      writer.Floats("w", {8, 6, kernel, kernel}, Random(48 * kernel * kernel, 3))};
      if (has_bias) inputs.push_back(writer.Floats("b", {8}, Random(8, 4)));
      writer.Node("Conv", inputs, {IntsAttribute("pads", std::vector<std::int64_t>(4, kernel / 2))}, "y");
      writer.Output("y", {});
      CHECK(CheckLevels(writer, {2, 6, 9, 10}) == (kernel == 1 ? 4 : 7));  // Two of them turn.
    }
  }
}

TEST_CASE("fusions: a value that something else needs too stays, and what is no constant per channel is kept apart") {
  OnnxWriter writer;
  writer.Input("x", {1, 3, 9, 9}, kFloat);
  const std::string conv = writer.Node("Conv", {"x", writer.Floats("w", {3, 3, 1, 1}, Random(9, 9))}, {}, "conv");
  writer.Node("Relu", {conv}, {}, "y");
  writer.Output("conv", {});
  writer.Output("y", {});
  CHECK(CheckLevels(writer, {1, 3, 9, 9}) == 5);  // Three of them turn.
  OnnxWriter row;  // [9] is the last axis, not the channels; "number − x" is no "x − number".
  row.Input("x", {1, 9, 9, 9}, kFloat);
  const std::string plain = row.Node("Conv", {"x", row.Floats("w", {9, 9, 1, 1}, Random(81, 9))});
  const std::string sum = row.Node("Add", {plain, row.Floats("r", {9}, Random(9, 3))});
  row.Node("Sub", {row.Scalar(1), row.Node("Conv", {sum, "w"})}, {}, "y");
  row.Output("y", {});
  CHECK(CheckLevels(row, {1, 9, 9, 9}, 1e-4) == 8);  // Four of them turn.
}

}  // namespace
}  // namespace foreshore::graph
