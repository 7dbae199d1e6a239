// Goal: attention as exporters write it is one step that gives what its nodes give, at every level of instructions, and
// by the operator's own code; what others use of it, and what is something else, stays as it is.
#include "engine/inference/graph/attention.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/engine/inference/graph/kernel_levels.h"

namespace foreshore::graph {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

float Number(std::int64_t i, std::uint32_t seed) {
  std::uint32_t bits = static_cast<std::uint32_t>(i) * 2654435761U + seed * 40503U;
  bits ^= bits >> 15;
  bits *= 2246822519U;
  bits ^= bits >> 13;
  return static_cast<float>(bits >> 8) / 8388608.0F - 1.0F;
}
std::vector<float> Numbers(std::int64_t count, std::uint32_t seed, float scale = 1) {
  std::vector<float> numbers;
  for (std::int64_t i = 0; i < count; ++i) numbers.push_back(Number(i, seed) * scale);
  return numbers;
}

// [B,S,H] with heads of a width.
struct Sizes {
  std::int64_t batch = 2;
  std::int64_t tokens = 37;
  std::int64_t heads = 3;
  std::int64_t width = 20;

  std::int64_t hidden() const { return heads * width; }
  Shape X() const { return {batch, tokens, hidden()}; }
};

OwnedTensor Activations(const Shape& shape, float scale = 1) {
  return Make<float>(shape, Numbers(ElementCount(shape), 7, scale));
}

struct Writer : OnnxWriter {
  std::uint32_t seed = 100;

  std::string Weights(const Shape& shape, float scale = 0.3F) {
    ++seed;
    return Floats("w" + std::to_string(seed), shape, Numbers(ElementCount(shape), seed, scale));
  }
  std::string Linear(const std::string& x, std::int64_t depth, std::int64_t columns) {
    const std::string product = Node("MatMul", {x, Weights({depth, columns})});
    return Node("Add", {Weights({columns}), product});
  }
  std::string Heads(const std::string& x, const Sizes& sizes, const std::vector<std::int64_t>& perm) {
    const std::string split = Node("Reshape", {x, Ints({0, 0, sizes.heads, sizes.width})});
    return Node("Transpose", {split}, {IntsAttribute("perm", perm)});
  }
  std::string Softmax(const std::string& scores) { return Node("Softmax", {scores}, {IntAttribute("axis", -1)}); }
  void Joined(const std::string& weights, const std::string& value, const Sizes& sizes) {
    const std::string context =
        Node("Transpose", {Node("MatMul", {weights, value})}, {IntsAttribute("perm", {0, 2, 1, 3})});
    Node("Reshape", {context, Ints({0, 0, sizes.hidden()})}, {}, "y");
    Output("y", {-1, -1, -1});
  }
  std::string Query(const Sizes& sizes) {
    return Heads(Linear("x", sizes.hidden(), sizes.hidden()), sizes, {0, 2, 1, 3});
  }
  std::string Key(const Sizes& sizes) {
    return Heads(Linear("x", sizes.hidden(), sizes.hidden()), sizes, {0, 2, 3, 1});
  }
  // All of it, unmasked.
  void SelfAttention(const Sizes& sizes) {
    Input("x", sizes.X(), 1);
    const std::string query = Query(sizes);
    const std::string key = Key(sizes);
    const std::string value = Query(sizes);
    Joined(Softmax(Node("MatMul", {query, key})), value, sizes);
  }
};

void RequireClose(const OwnedTensor& found, const OwnedTensor& expected, float bound = 2e-5F) {
  REQUIRE(found.info == expected.info);
  const auto a = Values<float>(found);
  const auto b = Values<float>(expected);
  for (std::size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    if (std::isnan(b[i])) {
      REQUIRE(std::isnan(a[i]));
    } else {
      REQUIRE(std::fabs(a[i] - b[i]) <= bound);
    }
  }
}

// Runs the graph at every level and by the operators' own code of the fused graph. Returns what was fused.
FusionCounts Check(const Writer& writer, const OwnedTensor& x, std::int64_t opset = 17) {
  const ByteString file = writer.Finish(opset);
  const std::vector<TensorRef> refs{x.ref()};
  const auto plain = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {}, nullptr);
  REQUIRE_MESSAGE(plain.ok(), plain.status().message());
  const auto expected = GraphExecutor(*plain).Run(refs);
  REQUIRE_MESSAGE(expected.ok(), expected.status().message());
  FusionCounts fusions;
  for (const VectorKernels* kernels : Levels()) {
    CAPTURE(CpuLevelName(kernels->level));
    const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {}, kernels);
    REQUIRE_MESSAGE(graph.ok(), graph.status().message());
    fusions = graph->fusions();
    const auto found = GraphExecutor(*graph).Run(refs);
    REQUIRE_MESSAGE(found.ok(), found.status().message());
    REQUIRE(found->size() == expected->size());
    for (std::size_t i = 0; i < found->size(); ++i) RequireClose((*found)[i], (*expected)[i]);
    // Step by step, attention by its operator: the specification.
    std::vector<OwnedTensor> made(graph->values().size());
    std::vector<TensorRef> values(graph->values().size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const GraphValue& value = graph->values()[i];
      if (value.is_constant) values[i] = {&value.info, value.data};
    }
    values[graph->inputs()[0].value] = x.ref();
    for (const GraphStep& step : graph->steps()) {
      std::vector<TensorRef> inputs;
      for (const ValueIndex input : step.inputs) inputs.push_back(input == kNoValue ? TensorRef() : values[input]);
      const auto infos = graph->Infer(step, inputs);
      REQUIRE_MESSAGE(infos.ok(), infos.status().message());
      std::vector<OutputRef> outputs;
      for (std::size_t i = 0; i < step.outputs.size(); ++i) {
        made[step.outputs[i]] = *MakeTensor((*infos)[i], 1 << 24);
        if (step.op->kind == OperatorKind::kView) {
          std::memcpy(made[step.outputs[i]].bytes.get(), inputs[0].data, made[step.outputs[i]].size_bytes);
        }
        outputs.push_back({&made[step.outputs[i]].info, made[step.outputs[i]].bytes.get()});
        values[step.outputs[i]] = made[step.outputs[i]].ref();
      }
      if (step.op->name != "Attention") {
        REQUIRE(graph->Run(step, inputs, outputs).ok());
        continue;
      }
      const NodeContext sizes{.node = *step.node, .opset = graph->opset(), .inputs = inputs};
      const auto workspace = AlignedBytes::Make(step.op->workspace(sizes));
      const NodeContext context{
          .node = *step.node, .opset = graph->opset(), .inputs = inputs, .workspace = workspace->data()};
      REQUIRE(step.op->run(context, outputs).ok());
    }
    for (std::size_t i = 0; i < expected->size(); ++i) {
      RequireClose(made[graph->outputs()[i].value], (*expected)[i]);
    }
  }
  return fusions;
}

TEST_CASE("attention: heads split, scaled after, masked and joined, at sizes that fill no block") {
  for (const Sizes sizes : {Sizes{}, Sizes{1, 1, 1, 1}, Sizes{2, 64, 2, 32}, Sizes{1, 33, 2, 48}, Sizes{3, 5, 4, 7}}) {
    CAPTURE(sizes.tokens);
    for (const bool divides : {false, true}) {
      Writer w;
      w.Input("x", sizes.X(), 1);
      const std::string query = w.Query(sizes);
      const std::string key = w.Key(sizes);
      const std::string value = w.Query(sizes);
      std::string scores = w.Node("MatMul", {query, key});
      scores = w.Node(divides ? "Div" : "Mul", {scores, w.Scalar(divides ? 4.5F : 0.22F)});
      std::vector<float> mask(static_cast<std::size_t>(sizes.batch * sizes.tokens), 0.0F);
      for (std::size_t i = 0; i < mask.size(); i += 5) mask[i] = std::numeric_limits<float>::lowest();
      const std::string bias = w.Floats("mask", {sizes.batch, 1, 1, sizes.tokens}, mask);
      w.Joined(w.Softmax(divides ? w.Node("Add", {bias, scores}) : w.Node("Add", {scores, bias})), value, sizes);
      const FusionCounts fusions = Check(w, Activations(sizes.X()));
      CHECK(fusions[Fusion::kAttention] == 1);
      CHECK(fusions[Fusion::kQkv] == 1);
    }
  }
}

TEST_CASE("attention: nothing of the scores is kept, and transposes are gone") {
  const Sizes sizes{1, 512, 2, 32};
  Writer w;
  w.SelfAttention(sizes);
  const OwnedTensor x = Activations(sizes.X());
  const std::vector<TensorRef> refs{x.ref()};
  const ByteString file = w.Finish();
  const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file));
  REQUIRE(graph.ok());
  for (const GraphStep& step : graph->steps()) {
    CHECK(step.op->name != "Transpose");
    CHECK(step.op->name != "Softmax");
    CHECK(step.op->name != "MatMul");
  }
  GraphExecutor executor(*graph);
  REQUIRE(executor.Run(refs).ok());
  // 2 MB for the scores of both heads; x, query, key, value and result have 128 KB each.
  CHECK(executor.plan()->arena_bytes < 1'200'000);
  // And with no more memory than that it runs.
  const GraphLimits limits{graph->constant_bytes() + executor.plan()->arena_bytes + x.size_bytes};
  const auto tight = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), limits);
  REQUIRE(tight.ok());
  CHECK(GraphExecutor(*tight).Run(refs).ok());
  const auto too_tight =
      Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {limits.memory_bytes_max - x.size_bytes - 1});
  REQUIRE(too_tight.ok());
  CHECK(GraphExecutor(*too_tight).Run(refs).status().code() == ErrorCode::kLimit);
}

// As PaddlePaddle writes it: one product for all three, a transpose of five axes, slices of it, the query scaled.
TEST_CASE("attention: slices of one product, as PaddlePaddle writes them") {
  const Sizes sizes{2, 40, 3, 15};
  for (const bool gathers : {false, true}) {
    for (const std::int64_t opset : {std::int64_t{12}, std::int64_t{17}}) {
      Writer w;
      w.Input("x", sizes.X(), 1);
      const std::string all = w.Linear("x", sizes.hidden(), 3 * sizes.hidden());
      const std::string turned =
          w.Node("Transpose", {w.Node("Reshape", {all, w.Ints({0, sizes.tokens, 3, sizes.heads, sizes.width})})},
                 {IntsAttribute("perm", {2, 0, 3, 1, 4})});
      const auto part = [&](std::int64_t i) {
        if (gathers) return w.Node("Gather", {turned, w.Ints({i}, true)});
        const std::string slice = w.Node("Slice", {turned, w.Ints({i}), w.Ints({i + 1}), w.Ints({0}), w.Ints({1})});
        return opset < 13 ? w.Node("Squeeze", {slice}, {IntsAttribute("axes", {0})})
                          : w.Node("Squeeze", {slice, w.Ints({0})});
      };
      const std::string query = w.Node("Mul", {part(0), w.Floats("s", {1}, {0.25F})});
      const std::string key = w.Node("Transpose", {part(1)}, {IntsAttribute("perm", {0, 1, 3, 2})});
      const std::string weights = w.Node("Softmax", {w.Node("MatMul", {query, key})}, {IntAttribute("axis", 3)});
      w.Joined(weights, part(2), sizes);
      CHECK(Check(w, Activations(sizes.X()), opset)[Fusion::kAttention] == 1);
    }
  }
}

// As PyTorch writes scaled_dot_product_attention: query and key scaled by a root that comes of a shape, the key's last
// axes exchanged through shapes that are computed, and weights that are no number made 0.
TEST_CASE("attention: scales and shapes that are computed, and rows of which all is masked") {
  const Sizes sizes{2, 35, 2, 24};
  Writer w;
  w.Input("x", sizes.X(), 1);
  const std::string query = w.Query(sizes);
  const std::string key = w.Query(sizes);
  const std::string value = w.Query(sizes);
  const std::string shape = w.Node("Shape", {key});
  const auto part = [&](std::int64_t start, std::int64_t end) {
    return w.Node("Slice", {shape, w.Ints({start}), w.Ints({end})});
  };
  constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();
  const std::string last = part(-1, kEnd);
  const std::string before = part(-2, -1);
  const std::string flat =
      w.Node("Reshape", {key, w.Node("Concat", {w.Ints({-1}), before, last}, {IntAttribute("axis", 0)})});
  const std::string turned = w.Node("Transpose", {flat}, {IntsAttribute("perm", {0, 2, 1})});
  const std::string right =
      w.Node("Reshape", {turned, w.Node("Concat", {part(std::numeric_limits<std::int64_t>::min(), -2), last, before},
                                        {IntAttribute("axis", 0)})});
  const std::string width = w.Node("Cast", {w.Node("Slice", {w.Node("Shape", {query}), w.Ints({-1}), w.Ints({kEnd})})},
                                   {IntAttribute("to", 1)});
  const std::string scale = w.Node("Div", {w.Floats("one", {1}, {1}), w.Node("Sqrt", {width})});
  const std::string root = w.Node("Sqrt", {scale});
  // No token of the second sequence may be seen by its third one.
  std::vector<float> mask(static_cast<std::size_t>(sizes.batch * sizes.tokens * sizes.tokens), 0.0F);
  for (std::size_t i = 0; i < mask.size(); i += 3) mask[i] = -kInfinity;
  for (std::int64_t i = 0; i < sizes.tokens; ++i) {
    mask[static_cast<std::size_t>((sizes.tokens + 2) * sizes.tokens + i)] = -kInfinity;
  }
  const std::string scores = w.Node("MatMul", {w.Node("Mul", {query, root}), w.Node("Mul", {right, root})});
  const std::string weights =
      w.Softmax(w.Node("Add", {scores, w.Floats("mask", {sizes.batch, 1, sizes.tokens, sizes.tokens}, mask)}));
  const std::string clean = w.Node("Where", {w.Node("IsNaN", {weights}), w.Scalar(0), weights});
  w.Joined(clean, value, sizes);
  CHECK(Check(w, Activations(sizes.X()))[Fusion::kAttention] == 1);
}

TEST_CASE("attention: masks of -infinity, whole rows of them and what is no number go through as through the nodes") {
  const Sizes sizes{2, 34, 2, 8};
  for (const char* op : {"Add", "Where", "Unless", "Both"}) {
    CAPTURE(op);
    const std::string kind = op;
    Writer w;
    w.Input("x", sizes.X(), 1);
    const std::string query = w.Query(sizes);
    const std::string key = w.Key(sizes);
    const std::string value = w.Query(sizes);
    std::string scores = w.Node("Div", {w.Node("MatMul", {query, key}), w.Scalar(3)});
    const auto count = static_cast<std::size_t>(sizes.tokens * sizes.tokens);
    ByteString kept(count, '\1');
    std::vector<float> added(count, 0.0F);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t row = i / static_cast<std::size_t>(sizes.tokens);
      if (i % 7 == 0 || row == 4) {  // Row 4 sees nothing.
        kept[i] = '\0';
        added[i] = -kInfinity;
      }
    }
    if (kind != "Add") {
      w.Initializer(TensorMessage("kept", 9, {1, 1, sizes.tokens, sizes.tokens}, kept));
      const std::string none = w.Scalar(-kInfinity);
      scores = kind == "Unless" ? w.Node("Where", {w.Node("Not", {"kept"}), none, scores})
                                : w.Node("Where", {"kept", scores, none});
    }
    if (kind == "Add" || kind == "Both") {
      scores = w.Node("Add", {scores, w.Floats("added", {sizes.tokens, sizes.tokens}, added)});
    }
    w.Joined(w.Softmax(scores), value, sizes);
    std::vector<float> values = Numbers(ElementCount(sizes.X()), 7);
    CHECK(Check(w, Make<float>(sizes.X(), values))[Fusion::kAttention] == 1);
    values[static_cast<std::size_t>(5 * sizes.hidden())] = kNan;  // One token, which all others of its sequence see.
    CHECK(Check(w, Make<float>(sizes.X(), values))[Fusion::kAttention] == 1);
    values[static_cast<std::size_t>(5 * sizes.hidden())] = kInfinity;
    CHECK(Check(w, Make<float>(sizes.X(), values))[Fusion::kAttention] == 1);
  }
}

TEST_CASE("attention: leads broadcast, masks make more of them, and one head needs no transposed result") {
  Writer w;
  w.Input("x", {3, 21, 12}, 1);
  // Keys and values of one sequence for all three; a mask of more dimensions than the scores.
  const std::string query = w.Node("Reshape", {w.Linear("x", 12, 12), w.Ints({3, 21, 12})});
  const std::string key =
      w.Node("Transpose", {w.Linear(w.Node("Slice", {"x", w.Ints({0}), w.Ints({1}), w.Ints({0})}), 12, 12)},
             {IntsAttribute("perm", {0, 2, 1})});
  const std::string scores = w.Node("MatMul", {query, key});
  const std::string mask = w.Weights({2, 1, 1, 21}, 2);
  const std::string weights = w.Softmax(w.Node("Add", {scores, mask}));
  w.Node("MatMul", {weights, w.Linear("x", 12, 5)}, {}, "y");
  w.Output("y", {-1, -1, -1, -1});
  CHECK(Check(w, Activations({3, 21, 12}))[Fusion::kAttention] == 1);
}

TEST_CASE("attention: what others use, or ask for, and what is scaled by more than a number, stays as it is") {
  const Sizes sizes{1, 9, 2, 6};
  const auto run = [&](const std::string& asked) {
    Writer w;
    w.Input("x", sizes.X(), 1);
    const std::string query = w.Query(sizes);
    const std::string key = w.Key(sizes);
    const std::string value = w.Query(sizes);
    const std::string product = w.Node("MatMul", {query, key}, {}, "product");
    const std::string by = asked == "rows" ? w.Weights({sizes.tokens, 1}) : w.Scalar(0.5F);
    const std::string scores = w.Node("Mul", {product, by}, {}, "scores");
    const std::string weights =
        w.Node("Softmax", {scores}, {IntAttribute("axis", asked == "axis" ? -2 : -1)}, "weights");
    if (asked == "product" || asked == "scores" || asked == "weights") {
      w.Output(asked, {-1, -1, -1, -1});
    }
    if (asked == "used") {
      w.Node("Identity", {w.Node("ReduceSum", {scores, w.Ints({3})})}, {}, "sums");
      w.Output("sums", {-1, -1, -1, -1});
    }
    w.Joined(weights, value, sizes);
    return Check(w, Activations(sizes.X()))[Fusion::kAttention];
  };
  CHECK(run("") == 1);
  for (const char* asked : {"product", "scores", "weights", "used", "rows", "axis"}) {
    CAPTURE(asked);
    CHECK(run(asked) == 0);
  }
}

TEST_CASE("attention: stops when it is told to") {
  struct Never : Cancellation {
    int calls = 0;
    Status Check() override { return ++calls > 20 ? Status::Cancelled("told to stop") : Status::Ok(); }
  };
  const Sizes sizes{1, 2'048, 4, 16};
  Writer w;
  w.SelfAttention(sizes);
  const OwnedTensor x = Activations(sizes.X());
  const std::vector<TensorRef> refs{x.ref()};
  const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", w.Finish()));
  REQUIRE(graph.ok());
  REQUIRE(graph->fusions()[Fusion::kAttention] == 1);
  const auto attention = std::find_if(graph->steps().begin(), graph->steps().end(),
                                      [](const GraphStep& step) { return step.op->name == "Attention"; });
  REQUIRE(attention != graph->steps().end());
  Never never;
  CHECK(GraphExecutor(*graph).Run(refs, &never).status().code() == ErrorCode::kCancelled);
}

}  // namespace
}  // namespace foreshore::graph
