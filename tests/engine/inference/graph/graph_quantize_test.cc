// Goal: a float network is quantized to one that runs in codes, is a quarter as large and answers as it did.
#include "engine/inference/graph/graph_quantize.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "tests/engine/inference/graph/graph_runner.h"

namespace foreshore::graph {
namespace {

struct Network : OnnxWriter {
  std::mt19937 random{7};
  int count = 0;

  std::vector<float> Numbers(std::int64_t size, float low, float high) {
    std::vector<float> numbers;
    for (std::int64_t i = 0; i < size; ++i) {
      numbers.push_back(low + (high - low) * static_cast<float>(random() % 10'000) / 10'000.0F);
    }
    return numbers;
  }
  std::string Constant(const std::vector<std::int64_t>& dims, float low, float high) {
    return Floats("n" + std::to_string(count++), dims, Numbers(ElementCount(dims), low, high));
  }
  // With batch normalisation behind.
  std::string Conv(const std::string& x, std::int64_t out, std::int64_t in, std::int64_t kernel, std::int64_t stride,
                   std::int64_t groups = 1) {
    const float width = 1.5F / std::sqrt(static_cast<float>(in / groups * kernel * kernel));
    const std::int64_t pad = kernel / 2;
    const std::string y = Node("Conv", {x, Constant({out, in / groups, kernel, kernel}, -width, width)},
                               {IntAttribute("group", groups), IntsAttribute("strides", {stride, stride}),
                                IntsAttribute("pads", {pad, pad, pad, pad})});
    return Node("BatchNormalization", {y, Constant({out}, 0.5F, 1.5F), Constant({out}, -0.5F, 0.5F),
                                       Constant({out}, -0.2F, 0.2F), Constant({out}, 0.5F, 1.5F)});
  }
  // As exporters spell it.
  std::string HardSwish(const std::string& x) {
    const std::string gate = Node("Clip", {Node("Add", {x, Scalar(3)}), Scalar(0), Scalar(6)});
    return Node("Div", {Node("Mul", {x, gate}), Scalar(6)});
  }
};

ByteString MobileNet() {
  Network net;
  net.Input("x", {-1, 3, 32, 32}, 1);
  const std::string stem = net.HardSwish(net.Conv("x", 16, 3, 3, 2));
  const std::string wide = net.Node("Relu", {net.Conv(stem, 48, 16, 1, 1)});
  const std::string deep = net.Node("Clip", {net.Conv(wide, 48, 48, 3, 1, 48), net.Scalar(0), net.Scalar(6)});
  const std::string gate = net.Node("HardSigmoid", {net.Conv(net.Node("GlobalAveragePool", {deep}), 48, 48, 1, 1)});
  const std::string sum = net.Node("Add", {stem, net.Conv(net.Node("Mul", {deep, gate}), 16, 48, 1, 1)});
  const std::string small = net.Node("MaxPool", {net.HardSwish(net.Conv(sum, 32, 16, 3, 2))},
                                     {IntsAttribute("kernel_shape", {2, 2}), IntsAttribute("strides", {2, 2})});
  const std::string flat = net.Node("Flatten", {net.Node("GlobalAveragePool", {small})});
  net.Node("Gemm", {flat, net.Constant({32, 10}, -1, 1), net.Constant({10}, -1, 1)}, {}, "y");
  net.Output("y", {-1, 10});
  return net.Finish();
}

std::vector<OwnedTensor> Picture(std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> pixels;
  const float slope = static_cast<float>(random() % 100) / 100.0F;
  for (int i = 0; i < 3 * 32 * 32; ++i) {
    pixels.push_back(std::sin(static_cast<float>(i % 32) * slope) + static_cast<float>(random() % 1'000) / 2'000.0F);
  }
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Make<float>({1, 3, 32, 32}, pixels));
  return inputs;
}

TEST_CASE("quantize: a network of the MobileNet kind runs in codes and answers as it did") {
  const ByteString file = MobileNet();
  const auto quantizer = GraphQuantizer::Make("m", file);
  REQUIRE_MESSAGE(quantizer.ok(), quantizer.status().message());
  CHECK((*quantizer)->Write().status().code() == ErrorCode::kInvalidArgument);
  for (std::uint32_t seed = 0; seed < 32; ++seed) {
    const auto inputs = Picture(seed);
    const TensorRef ref = inputs[0].ref();
    const Status observed = (*quantizer)->Observe(std::span(&ref, 1));
    REQUIRE_MESSAGE(observed.ok(), observed.message());
  }
  const auto quantized = (*quantizer)->Write();
  REQUIRE_MESSAGE(quantized.ok(), quantized.status().message());
  const auto graph = Graph::Build("q", *ReadOnnx("q", *quantized));
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  std::map<std::string_view, int> kinds;
  for (const GraphStep& step : graph->steps()) ++kinds[step.op->name];
  for (const auto& [kind, number] : kinds) INFO(kind, " ", number);
  CHECK(kinds["CodeConv"] == 6);
  CHECK(kinds["CodeMul"] == 1);
  CHECK(kinds["CodeAdd"] == 1);
  CHECK(kinds["CodeMean"] == 2);
  CHECK(kinds["CodeMax"] == 1);
  CHECK(kinds["QuantizeLinear"] == 1);
  CHECK(kinds["Conv"] + kinds["QLinearConv"] + kinds["HardSigmoid"] + kinds["Clip"] + kinds["Relu"] == 0);
  int same = 0;
  for (std::uint32_t seed = 100; seed < 200; ++seed) {
    CAPTURE(seed);
    const auto inputs = Picture(seed);
    const auto before = RunGraph(file, inputs);
    const auto after = RunGraph(*quantized, inputs);
    REQUIRE(before.ok());
    REQUIRE_MESSAGE(after.ok(), after.status().message());
    const auto a = Values<float>((*before)[0]);
    const auto b = Values<float>((*after)[0]);
    REQUIRE(a.size() == b.size());
    float largest = 0;
    float error = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      largest = std::max(largest, std::abs(a[i]));
      error = std::max(error, std::abs(a[i] - b[i]));
    }
    CHECK(error <= 0.06F * largest);
    same +=
        std::max_element(a.begin(), a.end()) - a.begin() == std::max_element(b.begin(), b.end()) - b.begin() ? 1 : 0;
  }
  CHECK(same >= 97);
}

TEST_CASE("quantize: values that another part needs as floats are there") {
  Network net;
  net.Input("x", {1, 4, 6, 6}, 1);
  const std::string y = net.Conv("x", 8, 4, 3, 1);
  // Of the same value: an output, floats for Softmax, and codes for the next convolution.
  net.Node("Relu", {y}, {}, "z");
  net.Node("Softmax", {"z"}, {}, "s");
  net.Node("Relu", {net.Conv("z", 8, 8, 1, 1)}, {}, "w");
  for (const std::string name : {"z", "s", "w"}) net.Output(name, {});
  const ByteString file = net.Finish();
  const auto quantizer = GraphQuantizer::Make("m", file);
  REQUIRE_MESSAGE(quantizer.ok(), quantizer.status().message());
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Make<float>({1, 4, 6, 6}, net.Numbers(144, -1, 1)));
  const TensorRef ref = inputs[0].ref();
  REQUIRE((*quantizer)->Observe(std::span(&ref, 1)).ok());
  const auto before = RunGraph(file, inputs);
  const auto after = RunGraph(*(*quantizer)->Write(), inputs);
  REQUIRE_MESSAGE(after.ok(), after.status().message());
  REQUIRE(after->size() == 3);
  for (std::size_t k = 0; k < 3; ++k) {
    const auto a = Values<float>((*before)[k]);
    const auto b = Values<float>((*after)[k]);
    for (std::size_t i = 0; i < a.size(); ++i) REQUIRE(std::abs(a[i] - b[i]) <= 0.05F);
  }
}

TEST_CASE("quantize: what cannot be is refused, and so is a sample that is no number") {
  Network none;
  none.Input("x", {1, 4}, 1);
  none.Node("Relu", {"x"}, {}, "y");
  none.Output("y", {1, 4});
  const ByteString without = none.Finish();
  CHECK(GraphQuantizer::Make("m", without).status().code() == ErrorCode::kUnsupported);
  CHECK(!GraphQuantizer::Make("m", "nothing").ok());
  const ByteString file = MobileNet();
  const auto quantizer = GraphQuantizer::Make("m", file);
  auto inputs = Picture(1);
  reinterpret_cast<float*>(inputs[0].bytes.get())[5] = NAN;
  const TensorRef ref = inputs[0].ref();
  CHECK((*quantizer)->Observe(std::span(&ref, 1)).code() == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace foreshore::graph
