// Goal: a graph computes what its nodes say in memory that is bounded and used again, and a file that contradicts
// itself or asks for too much is an error that names the node.
#include "engine/inference/graph/graph.h"

#include <doctest/doctest.h>

#include "storage/base/file.h"
#include "tests/engine/inference/graph/graph_runner.h"

namespace foreshore::graph {
namespace {

constexpr int kFloat = 1;

// y = op(x, …) over one float input of that shape.
ByteString OneNode(const std::string& op, const Shape& shape, const std::vector<std::string>& more_inputs,
                   const std::vector<ByteString>& attributes, OnnxWriter& writer, std::int64_t opset = 17) {
  writer.Input("x", shape, kFloat);
  std::vector<std::string> inputs{"x"};
  inputs.insert(inputs.end(), more_inputs.begin(), more_inputs.end());
  writer.Node(op, inputs, attributes, "y");
  writer.Output("y", {});
  return writer.Finish(opset);
}

void CheckFails(const ByteString& file, const std::vector<OwnedTensor>& inputs, ErrorCode code, std::string_view part,
                const GraphLimits& limits = {}) {
  const auto result = RunGraph(file, inputs, limits);
  REQUIRE(!result.ok());
  CAPTURE(result.status().ToString());
  CHECK(result.status().code() == code);
  CHECK(result.status().message().find(part) != std::string::npos);
  CHECK(result.status().message().starts_with("m.onnx: "));
}

OwnedTensor Ones(Shape shape) {
  const auto count = static_cast<std::size_t>(ElementCount(shape));
  return Make<float>(std::move(shape), std::vector<float>(count, 1.0F));
}

TEST_CASE("graph: nodes run in the order of their values, whatever the order in the file") {
  OnnxWriter writer;
  writer.Input("x", {2}, kFloat);
  writer.Node("Mul", {"sum", "x"}, {}, "y");
  writer.Node("Add", {"x", writer.Scalar(1)}, {}, "sum");
  writer.Output("y", {});
  const auto result = RunGraph(writer.Finish(), {});
  CHECK(!result.ok());  // An input is missing.
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Make<float>({2}, {2, 3}));
  const auto outputs = RunGraph(writer.Finish(), inputs);
  REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
  CHECK(Values<float>((*outputs)[0]) == std::vector<float>{6, 12});
}

TEST_CASE("graph: constants are computed once, what leads to no output is dropped") {
  OnnxWriter writer;
  writer.Input("x", {2}, kFloat);
  const std::string four = writer.Node("Mul", {writer.Scalar(2), writer.Scalar(2)});
  writer.Node("Unheard", {"x"}, {}, "unused");
  writer.Node("Add", {"x", four}, {}, "y");
  writer.Output("y", {});
  const ByteString file = writer.Finish();
  const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file));
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  CHECK(graph->steps().size() == 1);
}

// What is computed ahead, of constants and of shapes, writes no output that nobody asks for.
TEST_CASE("graph: an output without a name is not written when constants are computed") {
  OnnxWriter writer;
  std::vector<float> values;
  for (int i = 0; i < 2'000; ++i) values.push_back(static_cast<float>(i));
  writer.Input("x", {3}, kFloat);
  writer.NodeOf("TopK", {writer.Floats("c", {2'000}, values), writer.Ints({1'000})}, {"", "places"});
  const std::string sizes = writer.Node("Expand", {writer.Node("Shape", {"x"}), writer.Ints({500})});
  writer.NodeOf("TopK", {sizes, writer.Ints({500})}, {"", "more"});
  writer.Node("Concat", {"places", "more"}, {IntAttribute("axis", 0)}, "y");
  writer.Output("y", {});
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Ones({3}));
  const auto outputs = RunGraph(writer.Finish(), inputs);
  REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
  const auto places = Values<std::int64_t>((*outputs)[0]);
  REQUIRE(places.size() == 1'500);
  CHECK(places[0] == 1'999);
  CHECK(places[999] == 1'000);
  CHECK(places[1'499] == 499);
}

TEST_CASE("graph: a chain takes the memory of two values, not of all") {
  OnnxWriter writer;
  writer.Input("x", {1024}, kFloat);
  std::string value = "x";
  for (int i = 0; i < 50; ++i) value = writer.Node("Relu", {value});
  writer.Node("Reshape", {value, writer.Ints({32, 32})}, {}, "y");
  writer.Output("y", {});
  const ByteString file = writer.Finish();
  const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file));
  REQUIRE(graph.ok());
  const auto plan = PlanGraph(*graph, {{OnnxType::kFloat, {1024}}}, 1 << 20);
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  CHECK(plan->arena_bytes == 2 * 4096);
  CHECK(plan->values_bytes == 50 * 4096);
}

TEST_CASE("graph: a value that is needed later keeps its place while others come and go") {
  OnnxWriter writer;
  writer.Input("x", {100}, kFloat);
  const std::string first = writer.Node("Neg", {"x"});
  const std::string view = writer.Node("Reshape", {first, writer.Ints({10, 10})});
  std::string value = "x";
  for (int i = 0; i < 10; ++i) value = writer.Node("Add", {value, writer.Scalar(1)});
  writer.Node("Add", {writer.Node("Flatten", {view}), writer.Node("Reshape", {value, writer.Ints({10, 10})})}, {}, "y");
  writer.Output("y", {});
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Ones({100}));
  const auto outputs = RunGraph(writer.Finish(), inputs);
  REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
  CHECK(Values<float>((*outputs)[0]) == std::vector<float>(100, 10.0F));
}

TEST_CASE("graph: shapes that follow from other shapes are planned, those that follow from values are not") {
  OnnxWriter writer;
  writer.Input("x", {-1, 4}, kFloat);
  writer.Input("s", {2}, 7);
  const std::string rows = writer.Node("Gather", {writer.Node("Shape", {"x"}), writer.Ints({0})});
  const std::string wide = writer.Node("Concat", {rows, writer.Ints({2, 2})}, {IntAttribute("axis", 0)});
  writer.Node("Reshape", {"x", wide}, {}, "planned");
  writer.Node("Neg", {writer.Node("Reshape", {"x", "s"})}, {}, "dynamic");
  writer.Output("planned", {});
  writer.Output("dynamic", {});
  const ByteString file = writer.Finish();
  const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file));
  REQUIRE(graph.ok());
  GraphExecutor executor(*graph);
  for (const std::int64_t batch : {3, 5, 3}) {
    const OwnedTensor x = Ones({batch, 4});
    const OwnedTensor s = Make<std::int64_t>({2}, {2, batch * 2});
    const std::vector<TensorRef> inputs{x.ref(), s.ref()};
    const auto outputs = executor.Run(inputs);
    REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
    CHECK((*outputs)[0].info.shape == Shape{batch, 2, 2});
    CHECK((*outputs)[1].info.shape == Shape{2, batch * 2});
    CHECK(executor.plan()->values[graph->outputs()[0].value].place == Place::kView);
    CHECK(executor.plan()->values[graph->outputs()[1].value].place == Place::kDynamic);
  }
}

TEST_CASE("graph: every node that cannot run is named at once, with the reason") {
  OnnxWriter writer;
  writer.Input("x", {2}, kFloat);
  const std::string a = writer.Node("Unheard", {"x"}, {}, "a");
  const std::string b = writer.Node("Relu", {a}, {}, "b", "com.example");
  const std::string c = writer.Node("Relu", {b}, {IntAttribute("surprise", 1)}, "c");
  writer.Node("LayerNormalization", {c, c}, {}, "y");
  writer.Output("y", {});
  const Status status = RunGraph(writer.Finish(16), {}).status();
  CHECK(status.code() == ErrorCode::kUnsupported);
  CHECK(status.message() ==
        "m.onnx: 4 nodes cannot run: node \"node_a\" (Unheard): operator not known, node \"node_b\" (Relu): domain "
        "com.example, node \"node_c\" (Relu): attribute surprise, node \"node_y\" (LayerNormalization): operator of "
        "set 17");
}

TEST_CASE("graph: initializers of types that nothing takes are named with the nodes that cannot run") {
  OnnxWriter writer;
  writer.Input("x", {2}, kFloat);
  ByteString graph = writer.Graph();
  for (const char* name : {"w1", "w2"}) PutBytes(graph, 5, TensorMessage(name, 14, {1}, ByteString(8, '\0')));
  OnnxWriter nodes;
  nodes.Node("Unheard", {"x", "w1"}, {}, "y");
  nodes.Output("y", {});
  graph += nodes.Graph();
  ByteString model;
  PutInt(model, 1, 8);
  PutBytes(model, 7, graph);
  ByteString set;
  PutInt(set, 2, 16);
  PutBytes(model, 8, set);
  const Status status = RunGraph(model, {}).status();
  CHECK(status.code() == ErrorCode::kUnsupported);
  CAPTURE(status.message());
  for (const char* part : {"initializer \"w1\": holds", "initializer \"w2\": holds", "node \"node_y\" (Unheard)"}) {
    CHECK(status.message().find(part) != std::string::npos);
  }
}

TEST_CASE("graph: an operator set outside those known is refused") {
  for (const std::int64_t opset : {6, 19}) {
    OnnxWriter writer;
    CheckFails(OneNode("Relu", {2}, {}, {}, writer, opset), {}, ErrorCode::kUnsupported, "expected 7..18");
  }
}

TEST_CASE("graph: cycles, values made twice and values that nobody makes are refused") {
  OnnxWriter cycle;
  cycle.Input("x", {2}, kFloat);
  cycle.Node("Add", {"x", "b"}, {}, "a");
  cycle.Node("Neg", {"a"}, {}, "b");
  cycle.Output("b", {});
  CheckFails(cycle.Finish(), {}, ErrorCode::kCorruption, "cycle");
  OnnxWriter self;
  self.Node("Neg", {"a"}, {}, "a");
  self.Output("a", {});
  CheckFails(self.Finish(), {}, ErrorCode::kCorruption, "cycle");
  OnnxWriter twice;
  twice.Input("x", {2}, kFloat);
  twice.Node("Neg", {"x"}, {}, "a");
  twice.Node("Abs", {"x"}, {}, "a");
  twice.Output("a", {});
  CheckFails(twice.Finish(), {}, ErrorCode::kCorruption, "value \"a\" is made twice");
  OnnxWriter missing;
  missing.Node("Neg", {"nothing"}, {}, "a");
  missing.Output("a", {});
  CheckFails(missing.Finish(), {}, ErrorCode::kCorruption, "input \"nothing\" is made by no node");
  OnnxWriter no_output;
  no_output.Input("x", {2}, kFloat);
  CheckFails(no_output.Finish(), {}, ErrorCode::kCorruption, "no output");
}

TEST_CASE("graph: inputs that are not what the graph declares are refused") {
  OnnxWriter writer;
  const ByteString file = OneNode("Relu", {-1, 3}, {}, {}, writer);
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Ones({2, 4}));
  CheckFails(file, inputs, ErrorCode::kInvalidArgument, "input \"x\" is float[2,4], expected float[-1,3]");
  inputs[0] = Ones({3});
  CheckFails(file, inputs, ErrorCode::kInvalidArgument, "expected float[-1,3]");
  inputs[0] = Make<std::int64_t>({2, 3}, {1, 2, 3, 4, 5, 6});
  CheckFails(file, inputs, ErrorCode::kInvalidArgument, "input \"x\" is int64[2,3]");
}

TEST_CASE("graph: too few or too many inputs of a node are refused") {
  OnnxWriter few;
  CheckFails(OneNode("Add", {2}, {}, {}, few), {}, ErrorCode::kCorruption, "1 inputs, expected 2..2");
  OnnxWriter hole;
  CheckFails(OneNode("Where", {2}, {"", "x"}, {}, hole), {}, ErrorCode::kCorruption, "input 1 is missing");
}

TEST_CASE("graph: shapes that overflow, negative sizes and axes outside the rank are refused") {
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Ones({2, 3}));
  const std::int64_t huge = std::int64_t{1} << 40;
  OnnxWriter expand;
  CheckFails(OneNode("Expand", {2, 3}, {expand.Ints({huge, huge, 2, 3})}, {}, expand), inputs, ErrorCode::kLimit,
             "(Expand)");
  OnnxWriter tile;
  CheckFails(OneNode("Tile", {2, 3}, {tile.Ints({huge, huge})}, {}, tile), inputs, ErrorCode::kLimit, "(Tile)");
  OnnxWriter rank;
  CheckFails(OneNode("Unsqueeze", {2, 3}, {rank.Ints({0, 1, 2, 3, 4, 5, 6})}, {}, rank), inputs, ErrorCode::kLimit,
             "9 dimensions");
  for (const Shape& asked : {Shape{-1, -1}, Shape{-2, 3}, Shape{4, 2}, Shape{0, 0, 0}, Shape{huge, huge, huge}}) {
    OnnxWriter reshape;
    CheckFails(OneNode("Reshape", {2, 3}, {reshape.Ints(asked)}, {}, reshape), inputs, ErrorCode::kInvalidArgument,
               "does not reshape to");
  }
  for (const char* op : {"Softmax", "ArgMax", "Concat", "Flatten"}) {
    OnnxWriter axis;
    CheckFails(OneNode(op, {2, 3}, {}, {IntAttribute("axis", 7)}, axis), inputs, ErrorCode::kInvalidArgument, "axis 7");
  }
  OnnxWriter permutation;
  CheckFails(OneNode("Transpose", {2, 3}, {}, {IntsAttribute("perm", {0, 0})}, permutation), inputs,
             ErrorCode::kInvalidArgument, "comes twice");
  OnnxWriter negative;
  negative.Node("ConstantOfShape", {negative.Ints({-5})}, {}, "y");
  negative.Output("y", {});
  CheckFails(negative.Finish(), {}, ErrorCode::kInvalidArgument, "negative dimension");
  OnnxWriter product;
  CheckFails(OneNode("MatMul", {2, 3}, {product.Floats("w", {2, 2}, {1, 2, 3, 4})}, {}, product), inputs,
             ErrorCode::kInvalidArgument, "expected 3 rows");
}

TEST_CASE("graph: an index outside its axis is refused, not read") {
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Ones({2, 3}));
  for (const std::int64_t index : {std::int64_t{2}, std::int64_t{-3}, std::numeric_limits<std::int64_t>::min()}) {
    OnnxWriter writer;
    CheckFails(OneNode("Gather", {2, 3}, {writer.Ints({index})}, {}, writer), inputs, ErrorCode::kInvalidArgument,
               "outside the axis of size 2");
  }
}

TEST_CASE("graph: memory is bounded, for constants, planned values, dynamic ones and results alike") {
  const GraphLimits limits{1 << 16};
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Ones({1000}));
  OnnxWriter planned;
  CheckFails(OneNode("Tile", {-1}, {planned.Ints({100})}, {}, planned), inputs, ErrorCode::kLimit, "65536 bytes",
             limits);
  OnnxWriter many;  // Each fits, all together do not.
  many.Input("x", {1000}, kFloat);
  std::vector<std::string> parts;
  for (int i = 0; i < 20; ++i) parts.push_back(many.Node("Neg", {"x"}));
  many.Node("ReduceSum", {many.Node("Sum", parts)}, {}, "y");
  many.Output("y", {});
  CheckFails(many.Finish(), inputs, ErrorCode::kLimit, "values of the graph need more than 65536 bytes", limits);
  OnnxWriter dynamic;
  dynamic.Input("x", {1000}, kFloat);
  dynamic.Input("n", {1}, 7);
  dynamic.Node("Tile", {"x", "n"}, {}, "y");
  dynamic.Output("y", {});
  std::vector<OwnedTensor> two;
  two.push_back(Ones({1000}));
  two.push_back(Make<std::int64_t>({1}, {100}));
  CheckFails(dynamic.Finish(), two, ErrorCode::kLimit, "(Tile)", limits);
  OnnxWriter results;  // Views cost nothing, copies of them do.
  results.Input("x", {1000}, kFloat);
  for (int i = 0; i < 20; ++i) results.Output(results.Node("Identity", {"x"}), {});
  CheckFails(results.Finish(), inputs, ErrorCode::kLimit, "output", limits);
  OnnxWriter constant;
  constant.Node("ConstantOfShape", {constant.Ints({1 << 30})}, {}, "y");
  constant.Output("y", {});
  CheckFails(constant.Finish(), {}, ErrorCode::kLimit, "(ConstantOfShape)", limits);
}

TEST_CASE("graph: windows that are no numbers, larger than their input, or whose groups do not divide are refused") {
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Ones({1, 2, 4, 4}));
  constexpr std::int64_t kLow = std::numeric_limits<std::int64_t>::min();
  const std::vector<std::pair<std::vector<ByteString>, std::string>> cases = {
      {{IntsAttribute("kernel_shape", {9, 9})}, "larger than its padded axis"},
      {{IntsAttribute("kernel_shape", {2, 2}), IntsAttribute("strides", {0, 1})}, "strides is [0,1]"},
      {{IntsAttribute("kernel_shape", {2, 2}), IntsAttribute("dilations", {kLow, 1})}, "dilations is"},
      {{IntsAttribute("kernel_shape", {2, 2}), IntsAttribute("pads", {-1, 0, 0, 0})}, "pads is [-1,0,0,0]"},
      {{IntsAttribute("kernel_shape", {0, 2})}, "a window of [0,2]"}};
  for (const auto& [attributes, part] : cases) {
    OnnxWriter writer;
    CheckFails(OneNode("MaxPool", {1, 2, 4, 4}, {}, attributes, writer), inputs, ErrorCode::kInvalidArgument, part);
  }
  OnnxWriter groups;
  const std::string weights = groups.Floats("w", {3, 1, 1, 1}, {1, 2, 3});
  CheckFails(OneNode("Conv", {1, 2, 4, 4}, {weights}, {IntAttribute("group", 2)}, groups), inputs,
             ErrorCode::kInvalidArgument, "in 2 groups");
  OnnxWriter deep;
  const std::string tuple = deep.Ints({kLow});
  CheckFails(OneNode("GatherND", {1, 2, 4, 4}, {tuple}, {IntAttribute("batch_dims", kLow)}, deep), inputs,
             ErrorCode::kInvalidArgument, "batch dimensions");
}

// The two files are exports of one model for different operator sets: one has LayerNormalization, one spells it out.
TEST_CASE("graph: two exports of one BERT give the same hidden states") {
  std::vector<std::vector<float>> states;
  for (const char* file : {"/bert_tiny/opset13.onnx", "/bert_tiny/opset17.onnx"}) {
    CAPTURE(file);
    const auto bytes = ReadFile(std::string(FORESHORE_GOLDEN_DIR) + file, 64 << 20);
    REQUIRE(bytes.ok());
    std::vector<OwnedTensor> inputs;
    inputs.push_back(Make<std::int64_t>({2, 4}, {1, 2, 3, 4, 5, 6, 7, 0}));
    inputs.push_back(Make<std::int64_t>({2, 4}, {1, 1, 1, 1, 1, 1, 1, 0}));
    inputs.push_back(Make<std::int64_t>({2, 4}, {0, 0, 0, 0, 0, 0, 0, 0}));
    const auto outputs = RunGraph(*bytes, inputs);
    REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
    states.push_back(Values<float>((*outputs)[0]));
  }
  REQUIRE(states[0].size() == states[1].size());
  for (std::size_t i = 0; i < states[0].size(); ++i) {
    CHECK(states[0][i] == doctest::Approx(static_cast<double>(states[1][i])).epsilon(1e-4));
  }
}

TEST_CASE("graph: no byte of a small file, changed or cut, does more than fail") {
  OnnxWriter writer;
  writer.Input("x", {2, 3}, kFloat);
  const std::string sum = writer.Node("Gemm", {"x", writer.Floats("w", {3, 2}, {1, 2, 3, 4, 5, 6})});
  const std::string cut = writer.Node("Slice", {sum, writer.Ints({0}), writer.Ints({1}), writer.Ints({1})});
  const std::string shape =
      writer.Node("Concat", {writer.Node("Shape", {cut}), writer.Ints({1})}, {IntAttribute("axis", 0)});
  writer.Node("Softmax", {writer.Node("Reshape", {cut, shape})}, {IntAttribute("axis", 0)}, "y");
  writer.Output("y", {});
  const ByteString file = writer.Finish();
  const GraphLimits limits{1 << 20};
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Ones({2, 3}));
  REQUIRE(RunGraph(file, inputs, limits).ok());
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
