// Goal: files that ask for too much or contradict themselves in convolutions, recurrent cells, resizing and graphs
// inside nodes are errors that name the node, with kernels and without; no byte changed in such a file does more than
// fail.
#include <doctest/doctest.h>

#include <functional>
#include <limits>

#include "tests/engine/inference/graph/graph_runner.h"

namespace foreshore::graph {
namespace {

constexpr int kFloat = 1;
constexpr std::int64_t kHuge = std::int64_t{1} << 40;

OwnedTensor Ones(Shape shape) {
  const auto count = static_cast<std::size_t>(ElementCount(shape));
  return Make<float>(std::move(shape), std::vector<float>(count, 1.0F));
}

// y = op(x, more…); the error must come with and without kernels, and name the node.
void CheckFails(const std::string& op, const Shape& shape,
                const std::function<std::vector<std::string>(OnnxWriter&)>& more,
                const std::vector<ByteString>& attributes, ErrorCode code, std::string_view part) {
  OnnxWriter writer;
  writer.Input("x", shape, kFloat);
  std::vector<std::string> inputs{"x"};
  for (const std::string& input : more(writer)) inputs.push_back(input);
  writer.Node(op, inputs, attributes, "y");
  writer.Output("y", {});
  const ByteString file = writer.Finish();
  const OwnedTensor x = Ones(shape);
  const std::vector<TensorRef> refs{x.ref()};
  for (const VectorKernels* kernels : {static_cast<const VectorKernels*>(nullptr), &VectorKernelsPortable()}) {
    const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {.memory_bytes_max = 1 << 24}, kernels);
    const Status status = graph.ok() ? GraphExecutor(*graph).Run(refs).status() : graph.status();
    CAPTURE(status.ToString());
    CHECK(status.code() == code);
    CHECK(status.message().find(part) != std::string::npos);
    CHECK(status.message().starts_with("m.onnx: "));
  }
}

std::vector<float> Floats(std::int64_t count) {
  return std::vector<float>(static_cast<std::size_t>(count), 0.5F);
}

TEST_CASE("hostile: convolutions whose sizes overflow, leave nothing or do not fit") {
  const auto weights = [](const Shape& shape) {
    return [shape](OnnxWriter& writer) {
      return std::vector<std::string>{writer.Floats("w", shape, Floats(ElementCount(shape)))};
    };
  };
  CheckFails("ConvTranspose", {1, 2, 4, 4}, weights({2, 3, 2, 2}), {IntsAttribute("strides", {1 << 29, 1 << 29})},
             ErrorCode::kLimit, "(ConvTranspose)");
  CheckFails("ConvTranspose", {1, 2, 4, 4}, weights({2, 3, 2, 2}), {IntsAttribute("output_padding", {kHuge, 0})},
             ErrorCode::kInvalidArgument, "output_padding is");
  CheckFails("ConvTranspose", {1, 2, 4, 4}, weights({2, 3, 2, 2}), {IntsAttribute("pads", {9, 9, 9, 9})},
             ErrorCode::kInvalidArgument, "leave nothing");
  CheckFails("ConvTranspose", {1, 2, 4, 4}, weights({3, 3, 2, 2}), {}, ErrorCode::kInvalidArgument, "in 1 groups");
  CheckFails("ConvTranspose", {1, 2, 4, 4}, weights({2, 3, 2, 2}), {IntAttribute("group", -1)},
             ErrorCode::kInvalidArgument, "in -1 groups");
  CheckFails("Conv", {1, 2, 4, 4}, weights({2, 2, 2, 2}), {IntsAttribute("pads", {1 << 29, 1 << 29, 0, 0})},
             ErrorCode::kLimit, "(Conv)");
  CheckFails("Conv", {1, 2, 4, 4}, weights({4, 3, 2, 2}), {}, ErrorCode::kInvalidArgument, "in 1 groups");
}

TEST_CASE("hostile: a depthwise window with strides far beyond its input runs without a copy of all that is between") {
  OnnxWriter writer;
  writer.Input("x", {1, 2, 4, 4}, kFloat);
  writer.Node("Conv", {"x", writer.Floats("w", {2, 1, 2, 2}, Floats(8))},
              {IntAttribute("group", 2), IntsAttribute("pads", {0, 1 << 29, 0, 1 << 29}),
               IntsAttribute("dilations", {1, 1 << 29}), IntsAttribute("strides", {1, 1 << 29})},
              "y");
  writer.Output("y", {});
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Ones({1, 2, 4, 4}));
  const auto result = RunGraph(writer.Finish(), inputs, {.memory_bytes_max = 1 << 20});
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  CHECK(Values<float>((*result)[0]) == std::vector<float>(12, 1.0F));
}

TEST_CASE("hostile: recurrent cells whose weights are not what the cell needs") {
  const auto lstm = [](const Shape& w, const Shape& r) {
    return [w, r](OnnxWriter& writer) {
      return std::vector<std::string>{writer.Floats("w", w, Floats(ElementCount(w))),
                                      writer.Floats("r", r, Floats(ElementCount(r)))};
    };
  };
  CheckFails("LSTM", {2, 1, 3}, lstm({1, 16, 3}, {1, 16, 5}), {}, ErrorCode::kInvalidArgument, "expected [1,20,3]");
  CheckFails("LSTM", {2, 1, 3}, lstm({1, 16, 3}, {1, 16, 4}), {IntAttribute("hidden_size", 5)},
             ErrorCode::kInvalidArgument, "hidden_size 5");
  CheckFails("LSTM", {2, 1, 3}, lstm({1, 16, 3}, {1, 16, 4}), {StringAttribute("direction", "sideways")},
             ErrorCode::kUnsupported, "direction \"sideways\"");
  CheckFails("GRU", {2, 1, 3}, lstm({1, 12, 3}, {1, 12, 4}), {StringAttribute("direction", "bidirectional")},
             ErrorCode::kInvalidArgument, "expected [2,12,3]");
  CheckFails("RNN", {2, 3}, lstm({1, 4, 3}, {1, 4, 4}), {}, ErrorCode::kInvalidArgument, "expected 3 dimensions");
}

TEST_CASE("hostile: sizes and places that are too large, not numbers or outside") {
  const auto scales = [](float value) {
    return [value](OnnxWriter& writer) { return std::vector<std::string>{"", writer.Floats("s", {2}, {1, value})}; };
  };
  for (const float scale : {1e30F, -1.0F, 0.0F, std::numeric_limits<float>::quiet_NaN()}) {
    CheckFails("Resize", {2, 2}, scales(scale), {}, ErrorCode::kInvalidArgument, "to be resized");
  }
  CheckFails("Resize", {2, 2}, scales(1e8F), {}, ErrorCode::kLimit, "(Resize)");
  CheckFails("Resize", {2, 2}, scales(2), {StringAttribute("mode", "magic")}, ErrorCode::kUnsupported,
             "mode \"magic\"");
  const auto one = [](std::int64_t value) {
    return [value](OnnxWriter& writer) { return std::vector<std::string>{writer.Ints({value})}; };
  };
  CheckFails("TopK", {3}, one(4), {}, ErrorCode::kInvalidArgument, "k is 4");
  CheckFails("TopK", {3}, one(-1), {}, ErrorCode::kInvalidArgument, "k is -1");
  CheckFails("CumSum", {3}, one(7), {}, ErrorCode::kInvalidArgument, "axis 7");
  const auto scatter = [](OnnxWriter& writer) {
    return std::vector<std::string>{writer.Ints({-9}), writer.Floats("u", {1}, {1})};
  };
  CheckFails("ScatterElements", {3}, scatter, {}, ErrorCode::kInvalidArgument, "outside the axis of size 3");
  CheckFails(
      "DepthToSpace", {1, 4, 2, 2}, [](OnnxWriter&) { return std::vector<std::string>(); },
      {IntAttribute("blocksize", kHuge)}, ErrorCode::kInvalidArgument, "blocksize");
}

TEST_CASE("hostile: no byte of a file with graphs inside and packed weights, changed or cut, does more than fail") {
  OnnxWriter then_graph;
  then_graph.Node("Conv", {"x", "w", "b"}, {IntsAttribute("pads", {1, 1})}, "c");
  then_graph.Node("Relu", {"c"}, {}, "t");
  then_graph.Output("t", {});
  OnnxWriter else_graph;
  else_graph.Node("ConvTranspose", {"x", "w"}, {}, "e");
  else_graph.Output("e", {});
  OnnxWriter writer;
  writer.Input("go", {}, 9);
  writer.Input("x", {1, 2, 6}, kFloat);
  writer.Floats("w", {2, 2, 3}, Floats(12));
  writer.Floats("b", {2}, {1, 2});
  writer.NodeOf("If", {"go"}, {"i"},
                {GraphAttribute("then_branch", then_graph.Graph()), GraphAttribute("else_branch", else_graph.Graph())});
  const std::string shape = writer.Ints({2, 1, -1});
  writer.Node("Reshape", {"i", shape}, {}, "flat");
  writer.NodeOf("LSTM",
                {"flat", writer.Floats("lw", {1, 8, 6}, Floats(48)), writer.Floats("lr", {1, 8, 2}, Floats(16))},
                {"y", "", "c2"}, {IntAttribute("hidden_size", 2)});
  writer.Output("y", {});
  const ByteString file = writer.Finish();
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Make<std::uint8_t>({}, {1}));
  inputs[0].info.type = OnnxType::kBool;
  inputs.push_back(Ones({1, 2, 6}));
  const GraphLimits limits{1 << 20};
  const auto whole = RunGraph(file, inputs, limits);
  REQUIRE_MESSAGE(whole.ok(), whole.status().message());
  for (std::size_t i = 0; i < file.size(); ++i) {
    RunGraph(file.substr(0, i), inputs, limits).status().IgnoreError();
    for (const int bit : {0, 1, 3, 6, 7}) {
      ByteString changed = file;
      changed[i] = static_cast<char>(static_cast<unsigned char>(changed[i]) ^ (1U << bit));
      const auto result = RunGraph(changed, inputs, limits);
      if (!result.ok()) CHECK(result.status().code() != ErrorCode::kInternal);
    }
  }
}

}  // namespace
}  // namespace foreshore::graph
