// Goal: graphs inside nodes compute with the values around them, keep within the memory of the whole, stop when they
// are told to, and are refused by name where they contradict themselves.
#include <doctest/doctest.h>

#include "tests/engine/inference/graph/graph_runner.h"

namespace foreshore::graph {
namespace {

constexpr int kFloat = 1;
constexpr int kInt64 = 7;
constexpr int kBool = 9;

Status Failure(const ByteString& file, const std::vector<OwnedTensor>& inputs, const GraphLimits& limits = {}) {
  const auto result = RunGraph(file, inputs, limits);
  REQUIRE(!result.ok());
  return result.status();
}

// y = if c: x + w, else: (if c2: x · w, else: x), where w is a constant of the outer graph.
ByteString NestedIf() {
  OnnxWriter inner_then;
  inner_then.Node("Mul", {"x", "w"}, {}, "product");
  inner_then.Output("product", {});
  OnnxWriter inner_else;
  inner_else.Node("Identity", {"x"}, {}, "same");
  inner_else.Output("same", {});
  OnnxWriter outer_then;
  outer_then.Node("Add", {"x", "w"}, {}, "sum");
  outer_then.Output("sum", {});
  OnnxWriter outer_else;
  outer_else.NodeOf(
      "If", {"c2"}, {"inner"},
      {GraphAttribute("else_branch", inner_else.Graph()), GraphAttribute("then_branch", inner_then.Graph())});
  outer_else.Output("inner", {});
  OnnxWriter writer;
  writer.Floats("w", {2}, {10, 20});
  writer.Input("c", {}, kBool);
  writer.Input("c2", {1}, kBool);
  writer.Input("x", {2}, kFloat);
  writer.NodeOf("If", {"c"}, {"y0"},
                {GraphAttribute("then_branch", outer_then.Graph()), GraphAttribute("else_branch", outer_else.Graph())});
  writer.Node("Neg", {"y0"}, {}, "y");
  writer.Output("y", {});
  return writer.Finish();
}

TEST_CASE("graph control: If takes the branch that its condition says, and sees values of every graph around it") {
  const ByteString file = NestedIf();
  const auto run = [&](bool c, bool c2) {
    std::vector<OwnedTensor> inputs;
    inputs.push_back(Make<std::uint8_t>({}, {c}));
    inputs.push_back(Make<std::uint8_t>({1}, {c2}));
    inputs.push_back(Make<float>({2}, {3, 4}));
    inputs[0].info.type = inputs[1].info.type = OnnxType::kBool;
    const auto outputs = RunGraph(file, inputs);
    REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
    return Values<float>((*outputs)[0]);
  };
  CHECK(run(true, false) == std::vector<float>{-13, -24});
  CHECK(run(false, true) == std::vector<float>{-30, -80});
  CHECK(run(false, false) == std::vector<float>{-3, -4});
}

// carried doubles (or grows by concatenation), one slice each iteration.
ByteString LoopOf(const std::string& step_op, bool ends_by_condition = false) {
  OnnxWriter body;
  body.Input("i", {}, kInt64);
  body.Input("go", {}, kBool);
  body.Input("v", {-1}, kFloat);
  const std::vector<ByteString> attributes =
      step_op == "Concat" ? std::vector{IntAttribute("axis", 0)} : std::vector<ByteString>{};
  body.Node(step_op, {"v", "v"}, attributes, "v2");
  if (ends_by_condition) {
    body.Node("Less", {"i", "last"}, {}, "go2");
  } else {
    body.Node("Identity", {"go"}, {}, "go2");
  }
  body.Node("Cast", {"i"}, {IntAttribute("to", 1)}, "slice");
  body.Output("go2", {});
  body.Output("v2", {-1});
  body.Output("slice", {});
  OnnxWriter writer;
  writer.Input("n", {}, kInt64);
  writer.Input("x", {-1}, kFloat);
  writer.Initializer(TensorMessage("last", kInt64, {}, IntBytes({2})));
  writer.NodeOf("Loop", {"n", "", "x"}, {"y", "slices"}, {GraphAttribute("body", body.Graph())});
  writer.Output("y", {});
  writer.Output("slices", {});
  return writer.Finish();
}

std::vector<OwnedTensor> LoopInputs(std::int64_t count, Shape shape = {2}) {
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Make<std::int64_t>({}, {count}));
  const auto size = static_cast<std::size_t>(ElementCount(shape));
  inputs.push_back(Make<float>(std::move(shape), std::vector<float>(size, 1)));
  return inputs;
}

TEST_CASE("graph control: Loop carries values, gathers slices, and ends by count or by condition") {
  const auto outputs = RunGraph(LoopOf("Add"), LoopInputs(4));
  REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
  CHECK(Values<float>((*outputs)[0]) == std::vector<float>{16, 16});
  CHECK(Values<float>((*outputs)[1]) == std::vector<float>{0, 1, 2, 3});
  const auto ended = RunGraph(LoopOf("Add", true), LoopInputs(100));
  REQUIRE(ended.ok());
  CHECK(Values<float>((*ended)[1]) == std::vector<float>{0, 1, 2});
  const auto none = RunGraph(LoopOf("Add"), LoopInputs(0));
  REQUIRE_MESSAGE(none.ok(), none.status().message());
  CHECK(Values<float>((*none)[0]) == std::vector<float>{1, 1});
  CHECK((*none)[1].info.shape == Shape{0});
  const auto grown = RunGraph(LoopOf("Concat"), LoopInputs(3));
  REQUIRE_MESSAGE(grown.ok(), grown.status().message());
  CHECK((*grown)[0].info.shape == Shape{16});
}

TEST_CASE("graph control: what a loop grows is bounded by the memory of the whole graph") {
  const GraphLimits limits{1 << 16};
  CHECK(Failure(LoopOf("Concat"), LoopInputs(40), limits).code() == ErrorCode::kLimit);
  CHECK(Failure(LoopOf("Add"), LoopInputs(std::int64_t{1} << 62), limits).code() == ErrorCode::kLimit);
}

// Says stop at the given question.
class StopAt : public Cancellation {
 public:
  explicit StopAt(int count) : left_(count) {}
  Status Check() override { return left_-- > 0 ? Status::Ok() : Status(ErrorCode::kCancelled, "stopped"); }

 private:
  int left_;
};

TEST_CASE("graph control: a call that is told to stop ends with that status, and the next one is right") {
  const ByteString file = LoopOf("Add");
  const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file));
  REQUIRE(graph.ok());
  GraphExecutor executor(*graph);
  const auto endless = LoopInputs(1'000'000);
  const std::vector<TensorRef> refs{endless[0].ref(), endless[1].ref()};
  StopAt stop(100);
  CHECK(executor.Run(refs, &stop).status().code() == ErrorCode::kCancelled);
  const auto short_one = LoopInputs(2);
  const std::vector<TensorRef> short_refs{short_one[0].ref(), short_one[1].ref()};
  const auto outputs = executor.Run(short_refs);
  REQUIRE(outputs.ok());
  CHECK(Values<float>((*outputs)[0]) == std::vector<float>{4, 4});
}

TEST_CASE("graph control: graphs that contradict their node, or use what nobody makes, are refused") {
  const auto with = [](const OnnxWriter& then_graph, const std::string& second, const OnnxWriter& else_graph) {
    OnnxWriter writer;
    writer.Input("c", {}, kBool);
    writer.Input("x", {2}, kFloat);
    writer.NodeOf("If", {"c"}, {"y"},
                  {GraphAttribute("then_branch", then_graph.Graph()), GraphAttribute(second, else_graph.Graph())});
    writer.Output("y", {});
    return Failure(writer.Finish(), {});
  };
  OnnxWriter fine;
  fine.Node("Neg", {"x"}, {}, "a");
  fine.Output("a", {});
  OnnxWriter two;
  two.Node("Neg", {"x"}, {}, "b");
  two.Output("b", {});
  two.Output("b", {});
  CHECK(with(fine, "else_branch", two).message().find("0 inputs and 2 outputs, expected 0 and 1") != std::string::npos);
  OnnxWriter stray;
  stray.Node("Neg", {"nowhere"}, {}, "b");
  stray.Output("b", {});
  CHECK(with(fine, "else_branch", stray).message().find("value \"nowhere\" of its graph is made by no node") !=
        std::string::npos);
  OnnxWriter cycle;
  cycle.Node("Neg", {"d"}, {}, "e");
  cycle.Node("Neg", {"e"}, {}, "d");
  cycle.Output("d", {});
  CHECK(with(fine, "else_branch", cycle).message().find("cycle") != std::string::npos);
  // A branch that needs what comes of the node itself waits for itself.
  OnnxWriter own;
  own.Node("Neg", {"y"}, {}, "b");
  own.Output("b", {});
  CHECK(with(fine, "else_branch", own).message().find("cycle") != std::string::npos);
  OnnxWriter unheard;
  unheard.Node("Unheard", {"x"}, {}, "b");
  unheard.Output("b", {});
  const Status named = with(unheard, "else_branch", unheard);
  CHECK(named.code() == ErrorCode::kUnsupported);
  CHECK(named.message().find("2 nodes cannot run: node \"node_b\" (Unheard)") != std::string::npos);
  CHECK(with(fine, "other", fine).code() == ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace foreshore::graph
