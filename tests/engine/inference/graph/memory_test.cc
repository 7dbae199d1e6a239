// Goal: whatever a graph allocates while it runs counts under its one limit: no operator has temporaries beside it.
// Method: for each case the least limit that it runs under is found, once with the processor's kernels and once by the
// operators' own code. Under that limit, and one byte below it, where the run must fail with kLimit, a counting
// allocator sees no more than the limit, up to what describes values (shapes, plans, messages).
#include <doctest/doctest.h>

#include <functional>

#include "tests/engine/inference/graph/counted_allocations.h"
#include "tests/engine/inference/graph/graph_runner.h"

namespace foreshore::graph {
namespace {

constexpr std::int64_t kDescriptionBytes = 12'288;
constexpr std::uint64_t kLimitMax = 256ULL << 20;

struct Case {
  std::string name;
  std::function<void(OnnxWriter&)> write;  // A graph from "x" to "y".
  OnnxType type = OnnxType::kFloat;
  Shape shape;
};

std::vector<float> Numbers(std::int64_t count) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(i * 7919 % 1000) / 500.0F - 1.0F);
  return values;
}

OwnedTensor MakeInput(OnnxType type, const Shape& shape) {
  auto tensor = MakeTensor({type, shape}, kLimitMax);
  Dispatch<kNumberTypes>(type, [&]<typename T>() {
    auto* values = reinterpret_cast<T*>(tensor->bytes.get());
    for (std::int64_t i = 0; i < tensor->ref().count(); ++i) {
      // Indices stay small; floats are of both signs, a tenth of them 0.
      const std::int64_t number = i * 7919 % 10;
      values[i] = static_cast<T>(static_cast<Wide<T>>(std::is_integral_v<T> ? number % 4 : number - 5));
    }
    return Status::Ok();
  }).IgnoreError();
  return std::move(tensor).value();
}

struct Run {
  Status status;
  std::int64_t used_bytes = 0;  // The most that was allocated at once, from the graph's making on.
  std::uint64_t constant_bytes = 0;
};

Run RunUnder(std::uint64_t memory_bytes_max, const ByteString& file, const OwnedTensor& x,
             const VectorKernels* kernels) {
  Run run;
  auto model = ReadOnnx("m.onnx", file);
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  const auto graph = Graph::Build("m.onnx", std::move(model).value(), {memory_bytes_max}, kernels);
  run.status = graph.status();
  if (!graph.ok()) return run;
  run.constant_bytes = graph->constant_bytes();
  const std::vector<TensorRef> refs{x.ref()};
  ResetPeak();
  const std::int64_t before = LiveBytes();
  {
    GraphExecutor executor(*graph);
    run.status = executor.Run(refs).status();
  }
  run.used_bytes = PeakBytes() - before;
  return run;
}

void Check(const Case& each, const VectorKernels* kernels) {
  OnnxWriter writer;
  std::vector<std::int64_t> open(each.shape.size(), -1);
  writer.Input("x", each.shape.empty() ? std::vector<std::int64_t>{} : each.shape, static_cast<int>(each.type));
  each.write(writer);
  writer.Output("y", open);
  const ByteString file = writer.Finish();
  const OwnedTensor x = MakeInput(each.type, each.shape);
  const Run most = RunUnder(kLimitMax, file, x, kernels);
  REQUIRE_MESSAGE(most.status.ok(), most.status.message());
  std::uint64_t low = 0;  // Too little.
  std::uint64_t high = kLimitMax;
  while (high - low > 1) {
    const std::uint64_t middle = low + (high - low) / 2;
    (RunUnder(middle, file, x, kernels).status.ok() ? high : low) = middle;
  }
  const Run enough = RunUnder(high, file, x, kernels);
  REQUIRE(enough.status.ok());
  const auto budget = static_cast<std::int64_t>(high - enough.constant_bytes);
  CHECK(enough.used_bytes <= budget + kDescriptionBytes);
  // What is counted is there: a limit that asks for far more than is used would refuse what fits. Each input has to be
  // within it too.
  const auto used_bytes = std::max(enough.used_bytes, static_cast<std::int64_t>(x.size_bytes));
  CHECK_MESSAGE(used_bytes >= budget * 2 / 3 - kDescriptionBytes, "limit ", high, ", constants ",
                enough.constant_bytes);
  const Run less = RunUnder(high - 1, file, x, kernels);
  CHECK(less.status.code() == ErrorCode::kLimit);
  CHECK(less.used_bytes <= budget + kDescriptionBytes);
}

using Attributes = std::vector<ByteString>;

// One node over x and constants.
Case Node(const std::string& op, Shape shape, Attributes attributes = {},
          std::function<std::vector<std::string>(OnnxWriter&)> more = nullptr, OnnxType type = OnnxType::kFloat) {
  return {op,
          [=](OnnxWriter& w) {
            std::vector<std::string> inputs{"x"};
            if (more) {
              for (const std::string& input : more(w)) inputs.push_back(input);
            }
            w.Node(op, inputs, attributes, "y");
          },
          type, std::move(shape)};
}

// Constants by their shapes, of floats.
auto Weights(std::vector<Shape> shapes) {
  return [shapes = std::move(shapes)](OnnxWriter& w) {
    std::vector<std::string> names;
    for (const Shape& shape : shapes) {
      names.push_back(w.Floats("w" + std::to_string(names.size()), shape, Numbers(ElementCount(shape))));
    }
    return names;
  };
}
auto Doubles(Shape shape) {
  return [shape = std::move(shape)](OnnxWriter& w) {
    ByteString bytes;
    for (const float value : Numbers(ElementCount(shape))) AppendFixed(bytes, static_cast<double>(value));
    w.Initializer(TensorMessage("w", 11, shape, bytes));
    return std::vector<std::string>{"w"};
  };
}
auto Ints(std::vector<std::int64_t> values) {
  return [values = std::move(values)](OnnxWriter& w) { return std::vector<std::string>{w.Ints(values)}; };
}

std::vector<Case> Elements() {
  std::vector<Case> cases;
  for (const char* op : {"Relu", "Erf", "Tanh", "Sigmoid", "Neg", "Exp", "Floor", "HardSwish", "Softplus", "Softmax",
                         "LogSoftmax", "Hardmax", "Transpose", "GlobalAveragePool"}) {
    cases.push_back(Node(op, {4, 3, 64, 96}));
  }
  for (const char* op : {"ReduceSum", "ReduceMean", "ReduceL2", "ReduceMax", "ReduceLogSumExp", "ReduceProd"}) {
    cases.push_back(Node(op, {300, 400}, {IntAttribute("keepdims", 0)}));
    cases.push_back(Node(op, {30, 40, 100},
                         op == std::string("ReduceSum") ? Attributes{} : Attributes{IntsAttribute("axes", {0, 2})}));
  }
  cases.push_back(Node("Add", {1, 60, 50}, {}, Weights({{40, 1, 50}})));
  cases.push_back(Node("Pow", {50'000}, {}, Weights({{}})));
  cases.push_back(Node("Greater", {50'000}, {}, Weights({{1}})));
  cases.push_back(Node("Cast", {50'000}, {IntAttribute("to", 7)}));
  cases.push_back(Node("ArgMax", {300, 400}, {IntAttribute("axis", 1)}));
  cases.push_back(
      Node("CumSum", {300, 400}, {}, [](OnnxWriter& w) { return std::vector<std::string>{w.Ints({1}, true)}; }));
  cases.push_back(Node("Tile", {100, 50}, {}, Ints({3, 4})));
  cases.push_back(Node("Expand", {1, 500}, {}, Ints({100, 500})));
  cases.push_back(Node("Pad", {100, 500}, {}, Ints({10, 20, 30, 40})));
  cases.push_back(Node("Slice", {100, 500}, {}, [](OnnxWriter& w) {
    return std::vector<std::string>{w.Ints({10}), w.Ints({-1}), w.Ints({0}), w.Ints({3})};
  }));
  cases.push_back(Node("Gather", {100, 500}, {}, Ints({5, 2, 99, 0, 7})));
  cases.push_back(Node("DepthToSpace", {1, 16, 60, 60}, {IntAttribute("blocksize", 2)}));
  cases.push_back(Node("MaxPool", {1, 4, 200, 200}, {IntsAttribute("kernel_shape", {3, 3})}));
  cases.push_back(Node("AveragePool", {1, 4, 200, 200}, {IntsAttribute("kernel_shape", {3, 3})}));
  cases.push_back(Node("LRN", {1, 64, 40, 40}, {IntAttribute("size", 5)}));
  cases.push_back(Node("LayerNormalization", {60, 1'000}, {}, Weights({{1'000}, {1'000}})));
  cases.push_back(Node("InstanceNormalization", {2, 30, 1'000}, {}, Weights({{30}, {30}})));
  return cases;
}

TEST_CASE("memory: operators over elements, along axes and by windows") {
  for (const Case& each : Elements()) {
    CAPTURE(each.name);
    Check(each, &VectorKernelsFor(DetectCpuLevel()));
    Check(each, nullptr);
  }
}

std::vector<Case> Searches() {
  const auto sizes = [](std::vector<std::int64_t> wanted) {
    return [wanted = std::move(wanted)](OnnxWriter& w) { return std::vector<std::string>{"", "", w.Ints(wanted)}; };
  };
  std::vector<Case> cases;
  for (const char* mode : {"nearest", "linear", "cubic"}) {
    cases.push_back(Node("Resize", {1, 2, 100, 120}, {StringAttribute("mode", mode)}, sizes({1, 2, 250, 300})));
    cases.push_back(Node("Resize", {1, 1, 40, 100'000}, {StringAttribute("mode", mode)}, sizes({1, 1, 20, 100'000})));
  }
  cases.push_back(
      Node("Resize", {1, 2, 100, 120}, {StringAttribute("mode", "linear")}, sizes({2, 3, 50, 60}), OnnxType::kDouble));
  cases.push_back(Node("TopK", {100'000}, {}, Ints({10})));
  cases.push_back(Node("NonZero", {40, 2'000}));
  cases.push_back({"OneHot",
                   [](OnnxWriter& w) {
                     w.Node("OneHot", {"x", w.Ints({5}, true), w.Floats("v", {2}, {0, 1})}, {}, "y");
                   },
                   OnnxType::kInt64,
                   {50'000}});
  cases.push_back({"Loop",
                   [](OnnxWriter& w) {
                     OnnxWriter body;
                     body.Input("i", {}, 7);
                     body.Input("go", {}, 9);
                     body.Node("Identity", {"go"}, {}, "on");
                     body.Node("Mul", {"x", "x"}, {}, "slice");
                     body.Output("on", {});
                     body.Output("slice", {-1});
                     w.Node("Loop", {w.Ints({20}, true), ""}, {GraphAttribute("body", body.Graph())}, "y");
                   },
                   OnnxType::kFloat,
                   {10'000}});
  return cases;
}

TEST_CASE("memory: operators that resample, sort, search and loop") {
  for (const Case& each : Searches()) {
    CAPTURE(each.name);
    Check(each, &VectorKernelsFor(DetectCpuLevel()));
    Check(each, nullptr);
  }
}

std::vector<Case> Products() {
  std::vector<Case> cases;
  cases.push_back(Node("MatMul", {6, 8}, {}, Weights({{8, 60'000}})));
  cases.push_back(Node("MatMul", {6, 8}, {}, Doubles({8, 60'000}), OnnxType::kDouble));
  cases.push_back(Node("Gemm", {6, 8}, {IntAttribute("transB", 1)}, Doubles({60'000, 8}), OnnxType::kDouble));
  cases.push_back({"MatMul of two",
                   [](OnnxWriter& w) {
                     w.Node("MatMul", {"x", w.Node("Transpose", {"x"})}, {}, "y");
                   },
                   OnnxType::kFloat,
                   {500, 60}});
  cases.push_back(Node("Conv", {1, 8, 60, 60}, {}, Weights({{24, 8, 3, 3}, {24}})));
  cases.push_back(Node("Conv", {1, 8, 1, 1}, {}, Weights({{20'000, 8, 1, 1}, {20'000}})));
  cases.push_back(Node("Conv", {1, 4, 3, 20'000}, {IntAttribute("group", 4), IntsAttribute("strides", {1, 2})},
                       Weights({{4, 1, 3, 3}})));
  cases.push_back(Node("ConvTranspose", {1, 8, 60, 60}, {}, Weights({{8, 4, 3, 3}})));
  cases.push_back(Node("ConvTranspose", {1, 1, 200, 200}, {}, Doubles({1, 1, 3, 3}), OnnxType::kDouble));
  for (const auto& [op, gates] :
       std::vector<std::pair<std::string, std::int64_t>>{{"RNN", 1}, {"GRU", 3}, {"LSTM", 4}}) {
    cases.push_back(
        Node(op, {3, 1, 2}, {IntAttribute("hidden_size", 900)}, Weights({{1, gates * 900, 2}, {1, gates * 900, 900}})));
  }
  return cases;
}

TEST_CASE("memory: products, convolutions and recurrences") {
  for (const Case& each : Products()) {
    CAPTURE(each.name);
    Check(each, &VectorKernelsFor(DetectCpuLevel()));
    Check(each, nullptr);
  }
}

TEST_CASE("memory: attention, products side by side and sums before a layer norm") {
  using Writer = OnnxWriter;
  const auto split = [](Writer& w, const std::vector<std::int64_t>& perm) {
    return w.Node("Transpose", {w.Node("Reshape", {"x", w.Ints({1, -1, 4, 16})})}, {IntsAttribute("perm", perm)});
  };
  const std::vector<Case> cases{
      {"attention",
       [&](Writer& w) {
         const std::string scores = w.Node("MatMul", {split(w, {0, 2, 1, 3}), split(w, {0, 2, 3, 1})});
         const std::string masked = w.Node("Add", {scores, w.Node("ReduceMax", {"x"}, {IntAttribute("keepdims", 1)})});
         w.Node("MatMul", {w.Node("Softmax", {masked}), split(w, {0, 2, 1, 3})}, {}, "y");
       },
       OnnxType::kFloat,
       {1, 300, 64}},
      {"products",
       [](Writer& w) {
         const auto product = [&](const std::string& name) {
           return w.Node("MatMul", {"x", w.Floats(name, {64, 90}, Numbers(64 * 90))});
         };
         w.Node("Sum", {product("a"), product("b"), product("c")}, {}, "y");
       },
       OnnxType::kFloat,
       {1, 300, 64}},
      {"dynamic products",
       [](Writer& w) {
         w.NodeOf("DynamicQuantizeLinear", {"x"}, {"xq", "xs", "xz"});
         const auto product = [&](const std::string& name) {
           w.Initializer(TensorMessage(name, 3, {64, 90}, ByteString(64 * 90, '\x11')));
           const std::string sums =
               w.Node("Cast", {w.Node("MatMulInteger", {"xq", name, "xz"})}, {IntAttribute("to", 1)});
           return w.Node("Mul", {sums, w.Node("Mul", {"xs", w.Scalar(0.01F)})});
         };
         w.Node("Sum", {product("a"), product("b"), product("c")}, {}, "y");
       },
       OnnxType::kFloat,
       {1, 300, 64}},
      {"residual",
       [](Writer& w) {
         const std::string sum = w.Node("Add", {"x", w.Node("ReduceMax", {"x"}, {IntsAttribute("axes", {1})})});
         w.Node("LayerNormalization", {sum, w.Floats("g", {64}, Numbers(64))}, {}, "y");
       },
       OnnxType::kFloat,
       {1, 300, 64}}};
  for (const Case& each : cases) {
    CAPTURE(each.name);
    Check(each, &VectorKernelsFor(DetectCpuLevel()));
    Check(each, nullptr);
  }
}

// DequantizeLinear and QuantizeLinear around what `write` makes of a float.
Case Codes(const std::string& name, Shape shape, std::function<std::string(OnnxWriter&, const std::string&)> write) {
  return {name,
          [=](OnnxWriter& w) {
            w.Initializer(TensorMessage("z", 2, {}, ByteString(1, '\x64')));
            w.Floats("s", {}, {0.02F});
            const std::string y = write(w, w.Node("DequantizeLinear", {"x", "s", "z"}));
            w.Node("DequantizeLinear", {w.Node("QuantizeLinear", {y, "s", "z"}), "s", "z"}, {}, "y");
          },
          OnnxType::kUint8, std::move(shape)};
}

std::string CodeWeights(OnnxWriter& w, const Shape& shape) {
  ByteString codes;
  for (std::int64_t i = 0; i < ElementCount(shape); ++i) codes.push_back(static_cast<char>(i * 7919 % 200 - 100));
  w.Initializer(TensorMessage("wc", 3, shape, codes));
  w.Initializer(TensorMessage("wz", 3, {}, ByteString(1, '\0')));
  return w.Node("DequantizeLinear", {"wc", w.Scalar(0.01F), "wz"});
}

TEST_CASE("memory: steps over codes") {
  using Writer = OnnxWriter;
  const std::vector<Case> cases{
      Codes("QLinearConv", {1, 8, 50, 60},
            [](Writer& w, const std::string& x) {
              return w.Node("Conv", {x, CodeWeights(w, {24, 8, 3, 3})});
            }),
      Codes("depthwise", {1, 40, 50, 60},
            [](Writer& w, const std::string& x) {
              return w.Node("Conv", {x, CodeWeights(w, {40, 1, 3, 3})}, {IntAttribute("group", 40)});
            }),
      Codes("grouped", {1, 40, 50, 60},
            [](Writer& w, const std::string& x) {
              return w.Node("Conv", {x, CodeWeights(w, {40, 20, 3, 3})}, {IntAttribute("group", 2)});
            }),
      Codes("QLinearMatMul", {40, 300},
            [](Writer& w, const std::string& x) {
              return w.Node("MatMul", {x, CodeWeights(w, {300, 200})});
            }),
      Codes("mean", {1, 20'000, 2, 2},
            [](Writer& w, const std::string& x) { return w.Node("GlobalAveragePool", {x}); }),
      Codes("maximum", {1, 20'000, 3, 3},
            [](Writer& w, const std::string& x) {
              return w.Node("MaxPool", {x}, {IntsAttribute("kernel_shape", {2, 2})});
            }),
      Codes("sum", {1, 100, 30, 30},
            [](Writer& w, const std::string& x) {
              return w.Node("Add", {x, w.Node("Sigmoid", {x})});
            }),
      Codes("normalisation", {1, 100, 30, 30}, [](Writer& w, const std::string& x) {
        const std::vector<float> ones(100, 1.0F);
        return w.Node("BatchNormalization", {x, w.Floats("g", {100}, Numbers(100)), w.Floats("b", {100}, ones),
                                             w.Floats("m", {100}, Numbers(100)), w.Floats("v", {100}, ones)});
      })};
  for (const Case& each : cases) {
    CAPTURE(each.name);
    Check(each, &VectorKernelsFor(DetectCpuLevel()));
    Check(each, nullptr);
  }
}

}  // namespace
}  // namespace foreshore::graph
