// Goal: floats between convolutions lie with channels last from the first convolution to the last, and whatever is
// between them gives what the operators' own code gives in the file's layout.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tests/engine/inference/graph/kernel_levels.h"

namespace foreshore::graph {
namespace {

constexpr int kFloat = 1;

// Writes operators over [N,C,H,W] whose weights it makes up.
class Network {
 public:
  explicit Network(const Shape& shape) { writer.Input("x", shape, kFloat); }

  std::string Floats(const Shape& shape, float scale = 1) {
    std::vector<float> values = Random(ElementCount(shape), ++seed_);
    for (float& value : values) value *= scale;
    return writer.Floats("w" + std::to_string(seed_), shape, values);
  }
  std::string Conv(const std::string& x, std::int64_t in, std::int64_t out, std::int64_t kernel,
                   std::int64_t stride = 1) {
    const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(in * kernel * kernel)));
    return writer.Node("Conv", {x, Floats({out, in, kernel, kernel}, scale), Floats({out})}, Window(kernel, stride));
  }
  std::string Depthwise(const std::string& x, std::int64_t channels, std::int64_t kernel) {
    auto attributes = Window(kernel, 1);
    attributes.push_back(IntAttribute("group", channels));
    return writer.Node("Conv", {x, Floats({channels, 1, kernel, kernel}, 0.3F), Floats({channels})}, attributes);
  }
  // x + x · gate, a gate for each channel.
  std::string Gate(const std::string& x, std::int64_t channels) {
    const std::string few = writer.Node("Relu", {Conv(writer.Node("GlobalAveragePool", {x}), channels, 3, 1)});
    const std::string gate = writer.Node("HardSigmoid", {Conv(few, 3, channels, 1)});
    return writer.Node("Add", {x, writer.Node("Mul", {x, gate})});
  }
  std::string Normalise(const std::string& x, std::int64_t channels) {
    std::vector<float> variance = Random(channels, ++seed_);
    for (float& value : variance) value = value * value + 0.5F;
    const std::string spread = writer.Floats("v" + std::to_string(seed_), {channels}, variance);
    return writer.Node("BatchNormalization", {x, Floats({channels}), Floats({channels}), Floats({channels}), spread});
  }
  std::string Twice(const std::string& x) {
    return writer.Node("Resize", {x, "", writer.Floats("t" + std::to_string(++seed_), {4}, {1, 1, 2, 2})},
                       {StringAttribute("mode", "nearest"), StringAttribute("nearest_mode", "floor"),
                        StringAttribute("coordinate_transformation_mode", "asymmetric")});
  }

  OnnxWriter writer;

 private:
  static std::vector<ByteString> Window(std::int64_t kernel, std::int64_t stride) {
    return {IntsAttribute("strides", {stride, stride}),
            IntsAttribute("pads", std::vector<std::int64_t>(4, kernel / 2))};
  }
  std::uint64_t seed_ = 20;
};

void CheckNear(const std::vector<OwnedTensor>& found, const std::vector<OwnedTensor>& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t k = 0; k < expected.size(); ++k) {
    CAPTURE(k);
    REQUIRE(found[k].info == expected[k].info);
    const auto a = Values<float>(found[k]);
    const auto b = Values<float>(expected[k]);
    for (std::size_t i = 0; i < a.size(); ++i) {
      CAPTURE(i);
      REQUIRE(std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])) <=
              5e-5 * std::max(1.0, std::fabs(static_cast<double>(b[i]))));
    }
  }
}

std::map<std::string_view, int> StepsOf(const OnnxWriter& writer) {
  const ByteString file = writer.Finish();
  const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file));
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  std::map<std::string_view, int> steps;
  for (const GraphStep& step : graph->steps()) ++steps[step.op->name];
  return steps;
}

TEST_CASE("last layout: a gate of doubles stays as it is written") {
  OnnxWriter writer;
  writer.Input("x", {1, 3, 4, 4}, 11);
  const std::string gate = writer.Node("Sigmoid", {writer.Node("Neg", {"x"})});
  writer.Node("Add", {"x", writer.Node("Mul", {"x", gate})}, {}, "y");
  writer.Output("y", {1, 3, 4, 4});
  const OwnedTensor x = Make<double>({1, 3, 4, 4}, std::vector<double>(48, 0.0));
  const std::vector<TensorRef> refs{x.ref()};
  const ByteString file = writer.Finish();
  const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {}, Levels().back());
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  const auto outputs = GraphExecutor(*graph).Run(refs);
  REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
  CHECK(Values<double>((*outputs)[0]) == std::vector<double>(48, 0.0));
}

TEST_CASE("channels last: what lies between convolutions stays there, at every count of channels") {
  for (const std::int64_t channels : {1, 3, 7, 8, 16, 21, 24, 33, 40}) {
    CAPTURE(channels);
    const Shape shape{2, 3, 18, 22};
    Network net(shape);
    OnnxWriter& w = net.writer;
    const std::string stem = w.Node("HardSwish", {net.Conv("x", 3, channels, 3, 2)});
    const std::string lifted = w.Node("Add", {w.Node("Mul", {stem, w.Scalar(0.75F)}), w.Scalar(-0.5F)});
    const std::string deep = w.Node("Clip", {net.Depthwise(lifted, channels, 5), w.Scalar(-1), w.Scalar(1)});
    const std::string half = w.Node("MaxPool", {net.Gate(deep, channels)},
                                    {IntsAttribute("kernel_shape", {2, 2}), IntsAttribute("strides", {2, 2}),
                                     IntAttribute("ceil_mode", 1), IntsAttribute("pads", {1, 0, 0, 0})});
    const std::string smooth =
        w.Node("AveragePool", {half}, {IntsAttribute("kernel_shape", {3, 3}), IntsAttribute("pads", {1, 1, 1, 1})});
    const std::string wide = net.Twice(w.Node("Tanh", {net.Conv(net.Normalise(smooth, channels), channels, 5, 1)}));
    const std::string scaled = w.Node("Div", {wide, net.Floats({1, 5, 1, 1})});
    const std::string joined =
        w.Node("Concat", {wide, w.Node("Sub", {w.Scalar(1), scaled})}, {IntAttribute("axis", 1)});
    const std::string spread = w.Node("ConvTranspose", {joined, net.Floats({10, 3, 2, 3}), net.Floats({3})},
                                      {IntsAttribute("strides", {2, 3})});
    w.Node("Sigmoid", {net.Normalise(w.Node("Add", {spread, net.Floats({1, 3, 1, 1})}), 3)}, {}, "y");
    w.Output("y", {});
    CompareLevels(w, Make<float>(shape, Random(ElementCount(shape), 5)), CheckNear);
    // Of one channel a depthwise convolution is a whole one; the normalisation between is a product and a sum.
    const std::map<std::string_view, int> expected{
        {"ToLast", 1}, {"LastConv", 5}, {"LastMean", 1}, {"Mul", 2}, {"LastMaxPool", 1},       {"LastAveragePool", 1},
        {"Add", 1},    {"Resize", 1},   {"Div", 1},      {"Sub", 1}, {"LastConvTranspose", 1}, {"Concat", 1},
        {"ToFirst", 1}};
    CHECK(StepsOf(w) == expected);
  }
}

TEST_CASE("channels last: numbers behind an activation and a factor of one are part of the convolution") {
  Network net({1, 4, 9, 9});
  OnnxWriter& w = net.writer;
  const std::string normal = net.Normalise(net.Conv("x", 4, 6, 3), 6);
  const std::string sigmoid = w.Node("Sigmoid", {w.Node("Mul", {normal, w.Floats("one", {1}, {1})})});
  const std::string silu = w.Node("Mul", {normal, sigmoid});
  const std::string moved = w.Node("Add", {w.Node("Mul", {silu, w.Floats("a", {1}, {3})}), w.Scalar(2)});
  w.Node("Mul", {moved, w.Scalar(-0.5F)}, {}, "y");
  w.Output("y", {});
  // An activation that is not applied in registers, and the numbers behind it.
  w.Node("Add", {w.Node("Mul", {w.Node("Tanh", {net.Depthwise("x", 4, 3)}), w.Scalar(3)}), w.Scalar(1)}, {}, "z");
  w.Output("z", {});
  CompareLevels(w, Make<float>({1, 4, 9, 9}, Random(324, 5)), CheckNear);
  CHECK(StepsOf(w) == std::map<std::string_view, int>{{"ToLast", 1}, {"LastConv", 2}, {"ToFirst", 2}});
}

TEST_CASE("channels last: a factor that is not one, or one that has more dimensions, stays") {
  for (const bool is_wide : {false, true}) {
    CAPTURE(is_wide);
    OnnxWriter w;
    w.Input("x", {3, 5}, kFloat);
    const std::string factor = is_wide ? w.Floats("f", {1, 1, 1}, {1}) : w.Floats("f", {1}, {1.001F});
    const std::string sum = w.Node("Add", {"x", w.Floats("b", {5}, Random(5, 2))});
    w.Node("Mul", {sum, w.Node("Sigmoid", {w.Node("Mul", {sum, factor})})}, {}, "y");
    w.Output("y", {});
    CHECK(CompareLevels(w, Make<float>({3, 5}, Random(15, 5)), CheckNear) == 4);
  }
}

TEST_CASE("channels last: what other operators and outputs need is turned back, once") {
  Network net({2, 3, 8, 10});
  OnnxWriter& w = net.writer;
  const std::string active = w.Node("Relu", {net.Conv("x", 3, 8, 3)}, {}, "active");
  // By rows, by columns and by image: no channels, though one has as many.
  w.Node("Add", {active, net.Floats({10})}, {}, "rows");
  w.Node("Add", {active, net.Floats({2, 1, 1, 1})}, {}, "images");
  w.Node("Add", {active, net.Floats({8, 1})}, {}, "columns");
  w.Node("Flatten", {w.Node("GlobalAveragePool", {active})}, {}, "flat");
  w.Node("Concat", {active, active}, {IntAttribute("axis", 2)}, "tall");
  w.Node("Mul", {active, active}, {}, "square");
  for (const char* output : {"active", "rows", "images", "columns", "flat", "tall", "square"}) w.Output(output, {});
  CompareLevels(w, Make<float>({2, 3, 8, 10}, Random(480, 5)), CheckNear);
  const std::map<std::string_view, int> expected{{"ToLast", 1}, {"LastConv", 1}, {"LastMean", 1}, {"Mul", 1},
                                                 {"Add", 3},    {"Flatten", 1},  {"Concat", 1},   {"ToFirst", 3}};
  CHECK(StepsOf(w) == expected);
}

TEST_CASE("channels last: transposed convolutions whose windows overlap, and resizing by sizes and by lines") {
  for (const bool overlaps : {false, true}) {
    CAPTURE(overlaps);
    Network net({1, 2, 5, 6});
    OnnxWriter& w = net.writer;
    const std::string conv = net.Conv("x", 2, 9, 1);
    const std::string spread =
        w.Node("ConvTranspose", {conv, net.Floats({9, 17, 2, 2})}, {IntsAttribute("strides", {overlaps ? 1 : 2, 2})});
    w.Node("Tanh", {spread}, {}, "y");
    const std::int64_t sizes[] = {1, 9, 7, 11};
    w.Initializer(TensorMessage("sizes", 7, {4}, ByteString(reinterpret_cast<const char*>(sizes), sizeof(sizes))));
    w.Node("Resize", {conv, "", "", "sizes"}, {StringAttribute("mode", "linear")}, "z");
    w.Output("y", {});
    w.Output("z", {});
    CompareLevels(w, Make<float>({1, 2, 5, 6}, Random(60, 5)), CheckNear);
    const std::map<std::string_view, int> steps = StepsOf(w);
    CHECK(steps.contains("ConvTranspose") == overlaps);
    CHECK(steps.contains("LastConvTranspose") == !overlaps);
    CHECK(steps.at("Resize") == 1);
  }
}

class StopAt : public Cancellation {
 public:
  explicit StopAt(int at) : at_(at) {}
  Status Check() override { return ++asked < at_ ? Status::Ok() : Status(ErrorCode::kCancelled, "told to stop"); }
  int asked = 0;

 private:
  int at_;
};

TEST_CASE("channels last: a call that is told to stop ends within a convolution, a depthwise and a transposed one") {
  for (const int kind : {0, 1, 2}) {
    CAPTURE(kind);
    const Shape shape{1, 16, 120, 120};
    Network net(shape);
    OnnxWriter& w = net.writer;
    std::string y = kind == 1 ? net.Depthwise("x", 16, 7) : net.Conv("x", 16, kind == 0 ? 64 : 4, kind == 0 ? 5 : 1);
    if (kind == 2)
      y = w.Node("ConvTranspose", {y, net.Floats({4, 16, 8, 8}, 0.1F)}, {IntsAttribute("strides", {8, 8})});
    w.Node("Relu", {y}, {}, "y");
    w.Output("y", {});
    const ByteString file = w.Finish();
    const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file));
    REQUIRE(graph.ok());
    const auto input = MakeTensor({OnnxType::kFloat, shape}, 1 << 24);
    REQUIRE(input.ok());
    const TensorRef ref = input->ref();
    // Once before each step, and then every so much work.
    StopAt never(1'000'000);
    GraphExecutor executor(*graph);
    REQUIRE(executor.Run(std::span(&ref, 1), &never).ok());
    CHECK(never.asked > static_cast<int>(graph->steps().size()));
    StopAt within(kind == 2 ? 5 : 3);
    CHECK(executor.Run(std::span(&ref, 1), &within).status().code() == ErrorCode::kCancelled);
    CHECK(within.asked == (kind == 2 ? 5 : 3));
  }
}

}  // namespace
}  // namespace foreshore::graph
