// Goal: sums before a layer norm, products of one value, and quantized products whose results stay in floats become one
// step each with what their nodes give; what others use stays as it is; and what was fused is counted.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "engine/inference/graph/dynamic_product.h"
#include "tests/engine/inference/graph/kernel_levels.h"

namespace foreshore::graph {
namespace {

struct Writer : OnnxWriter {
  std::uint32_t seed = 11;
  float Unit() {
    seed = seed * 1664525U + 1013904223U;
    return static_cast<float>(seed >> 8) / 16777216.0F;
  }
  std::vector<float> Numbers(std::int64_t count, float scale = 1) {
    std::vector<float> numbers;
    for (std::int64_t i = 0; i < count; ++i) numbers.push_back((Unit() * 2 - 1) * scale);
    return numbers;
  }
  std::string Constant(const Shape& shape, float scale = 1) {
    return Floats("c" + std::to_string(seed), shape, Numbers(ElementCount(shape), scale));
  }
  ByteString Codes(std::int64_t count) {
    ByteString codes;
    for (std::int64_t i = 0; i < count; ++i) codes.push_back(static_cast<char>(static_cast<int>(Unit() * 256) - 128));
    return codes;
  }
  std::string CodesOf(int type, const Shape& shape) {
    const std::string name = "q" + std::to_string(seed);
    Initializer(TensorMessage(name, type, shape, Codes(ElementCount(shape))));
    return name;
  }
  std::string Norm(const std::string& sum, std::int64_t size, const std::string& output = "") {
    return Node("LayerNormalization", {sum, Constant({size}), Constant({size})}, {FloatAttribute("epsilon", 1e-5F)},
                output);
  }
  // The nodes of one, as exporters before operator set 17 wrote it.
  std::string SpeltNorm(const std::string& x, std::int64_t size) {
    const std::string distance = Node("Sub", {x, Node("ReduceMean", {x}, {IntsAttribute("axes", {-1})})});
    const std::string variance =
        Node("ReduceMean", {Node("Pow", {distance, Scalar(2)})}, {IntsAttribute("axes", {-1})});
    const std::string root = Node("Sqrt", {Node("Add", {variance, Scalar(1e-5F)})});
    return Node("Add", {Node("Mul", {Node("Div", {distance, root}), Constant({size})}), Constant({size})});
  }
};

OwnedTensor Activations(const Shape& shape, float scale = 2) {
  Writer numbers;
  return Make<float>(shape, numbers.Numbers(ElementCount(shape), scale));
}

void RequireClose(const OwnedTensor& found, const OwnedTensor& expected, float bound) {
  REQUIRE(found.info == expected.info);
  const auto a = Values<float>(found);
  const auto b = Values<float>(expected);
  for (std::size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    REQUIRE(std::fabs(a[i] - b[i]) <= bound);
  }
}

// Every level gives what the nodes do. Returns what was fused.
FusionCounts Check(const Writer& writer, const OwnedTensor& x, float bound = 2e-5F) {
  CompareLevels(writer, x, [&](const auto& found, const auto& expected) {
    for (std::size_t i = 0; i < found.size(); ++i) RequireClose(found[i], expected[i], bound);
  });
  const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", writer.Finish()));
  return graph->fusions();
}

std::map<std::string_view, int> StepsOf(const Writer& writer) {
  const ByteString file = writer.Finish();
  const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file));
  REQUIRE(graph.ok());
  std::map<std::string_view, int> steps;
  for (const GraphStep& step : graph->steps()) ++steps[step.op->name];
  return steps;
}

TEST_CASE("residual: a sum and its layer norm are one step, spelt out or not, and rows broadcast") {
  for (const std::int64_t size : {std::int64_t{5}, std::int64_t{64}, std::int64_t{100}}) {
    for (const char* kind : {"whole", "spelt", "places", "column", "bias before", "bias after"}) {
      CAPTURE(size);
      CAPTURE(kind);
      const std::string what = kind;
      Writer w;
      w.Input("x", {2, 7, size}, 1);
      const std::string other = w.Node("Tanh", {"x"});
      std::string sum;
      if (what == "places") {
        sum = w.Node("Add", {"x", w.Constant({1, 7, size})});
      } else if (what == "column") {
        sum = w.Node("Add", {w.Node("ReduceMax", {"x"}, {IntsAttribute("axes", {2})}), other});
      } else if (what == "bias before") {
        sum = w.Node("Add", {w.Node("Add", {other, w.Constant({size})}), "x"});
      } else if (what == "bias after") {
        sum = w.Node("Add", {w.Constant({size}), w.Node("Add", {other, "x"})});
      } else {
        sum = w.Node("Add", {other, "x"});
      }
      w.Node("Identity", {what == "spelt" ? w.SpeltNorm(sum, size) : w.Norm(sum, size)}, {}, "y");
      w.Output("y", {});
      const FusionCounts fusions = Check(w, Activations({2, 7, size}), 1e-4F);
      CHECK(fusions[Fusion::kResidual] == 1);
      CHECK(fusions[Fusion::kLayerNorm] == (what == "spelt" ? 1 : 0));
      CHECK(StepsOf(w)["Add"] == 0);
    }
  }
}

TEST_CASE("residual: a sum that others use, or the graph gives, stays; so does another axis") {
  for (const char* kind : {"output", "used", "axis", "statistics"}) {
    CAPTURE(kind);
    const std::string what = kind;
    Writer w;
    w.Input("x", {3, 6, 16}, 1);
    w.Node("Add", {w.Node("Tanh", {"x"}), "x"}, {}, "sum");
    if (what == "axis") {
      w.Node("LayerNormalization", {"sum", w.Constant({6, 16}), w.Constant({6, 16})}, {IntAttribute("axis", 1)}, "y");
    } else if (what == "statistics") {
      w.NodeOf("LayerNormalization", {"sum", w.Constant({16}), w.Constant({16})}, {"y", "mean"});
      w.Output("mean", {});
    } else {
      w.Norm("sum", 16, "y");
    }
    w.Output("y", {});
    if (what == "output") w.Output("sum", {});
    if (what == "used") {
      w.Node("Relu", {"sum"}, {}, "z");
      w.Output("z", {});
    }
    CHECK(Check(w, Activations({3, 6, 16}), 1e-4F)[Fusion::kResidual] == 0);
  }
}

TEST_CASE("products: of one value side by side, of any widths, with rows and without") {
  for (const std::int64_t depth : {std::int64_t{3}, std::int64_t{65}, std::int64_t{600}}) {
    CAPTURE(depth);
    Writer w;
    w.Input("x", {2, 29, depth}, 1);
    const auto product = [&](std::int64_t columns) {
      return w.Node("MatMul", {"x", w.Constant({depth, columns}, 0.1F)});
    };
    w.Node("Add", {product(33), w.Constant({33})}, {}, "a");
    w.Node("Identity", {product(1)}, {}, "b");
    w.Node("Add", {w.Constant({70}), product(70)}, {}, "c");
    // It takes its activation, and stays alone.
    w.Node("Relu", {product(8)}, {}, "d");
    for (const char* name : {"a", "b", "c", "d"}) w.Output(name, {});
    const FusionCounts fusions = Check(w, Activations({2, 29, depth}), 1e-4F);
    CHECK(fusions[Fusion::kQkv] == 1);
    CHECK(fusions[Fusion::kActivation] == 1);
    auto steps = StepsOf(w);
    CHECK(steps["Products"] == 1);
    CHECK(steps["MatMul"] == 1);
    CHECK(steps["Add"] == 0);
  }
}

TEST_CASE("products: a product before its row that others see keeps its row apart") {
  Writer w;
  w.Input("x", {4, 12}, 1);
  w.Node("MatMul", {"x", w.Constant({12, 9})}, {}, "raw");
  w.Node("Add", {"raw", w.Constant({9})}, {}, "a");
  w.Node("MatMul", {"x", w.Constant({12, 9})}, {}, "b");
  for (const char* name : {"raw", "a", "b"}) w.Output(name, {});
  CHECK(Check(w, Activations({4, 12}))[Fusion::kQkv] == 1);
  CHECK(StepsOf(w)["Add"] == 1);
}

// As ONNX Runtime's dynamic quantization writes three products of one value.
void DynamicProducts(Writer& w, std::int64_t depth) {
  w.NodeOf("DynamicQuantizeLinear", {"x"}, {"xq", "xs", "xz"});
  for (const std::string name : {"a", "b", "c"}) {
    const std::int64_t columns = name == "a" ? 70 : 33;
    w.Initializer(TensorMessage(name + "_w", name == "b" ? 2 : 3, {depth, columns}, w.Codes(depth * columns)));
    w.Initializer(TensorMessage(name + "_z", name == "b" ? 2 : 3, {}, w.Codes(1)));
    w.Floats(name + "_s", {1}, {0.01F});
    const std::string sums =
        w.Node("Cast", {w.Node("MatMulInteger", {"xq", name + "_w", "xz", name + "_z"})}, {IntAttribute("to", 1)});
    const std::string scaled = w.Node("Mul", {sums, w.Node("Mul", {"xs", name + "_s"})});
    w.Node("Add", {scaled, w.Constant({columns})}, {}, name);
    w.Output(name, {});
  }
}

TEST_CASE("products: dynamically quantized ones round their value once, and give the same bits") {
  for (const std::int64_t depth : {std::int64_t{7}, std::int64_t{130}}) {
    Writer w;
    w.Input("x", {3, 50, depth}, 1);
    DynamicProducts(w, depth);
    const FusionCounts fusions = Check(w, Activations({3, 50, depth}), 0);
    CHECK(fusions[Fusion::kDynamicProduct] == 3);
    CHECK(fusions[Fusion::kQkv] == 1);
    auto steps = StepsOf(w);
    CHECK(steps.size() == 1);
    CHECK(steps["DynamicProduct"] == 1);
  }
}

TEST_CASE("dynamic products: one number of two dimensions as a scale keeps the dimensions that it gives") {
  Writer w;
  w.Input("x", {33}, 1);
  w.NodeOf("DynamicQuantizeLinear", {"x"}, {"xq", "xs", "xz"});
  w.Initializer(TensorMessage("w", 3, {33, 5}, w.Codes(33 * 5)));
  const std::string sums = w.Node("Cast", {w.Node("MatMulInteger", {"xq", "w", "xz"})}, {IntAttribute("to", 1)});
  w.Node("Mul", {sums, w.Node("Mul", {"xs", w.Floats("s", {1, 1}, {0.01F})})}, {}, "y");
  w.Output("y", {});
  CHECK(Check(w, Activations({33}), 0)[Fusion::kDynamicProduct] == 0);
}

struct Form {
  bool is_gemm = false;
  bool flips = false;
  bool by_column = true;
  int left_type = 2;
  int right_type = 3;
  int row = 0;  // 0 none, 1 floats, 2 integers of 32 bits.
};

// DequantizeLinear, a product and perhaps a row, of codes that the graph makes of x.
void QuantizedProduct(Writer& w, const Form& form, std::int64_t depth, std::int64_t columns) {
  const std::string scale = w.Scalar(0.02F);
  w.Initializer(TensorMessage("xz", form.left_type, {}, ByteString(1, form.left_type == 2 ? '\x85' : '\x07')));
  const std::string left = w.Node("DequantizeLinear", {w.Node("QuantizeLinear", {"x", scale, "xz"}), scale, "xz"});
  const Shape shape = form.flips ? Shape{columns, depth} : Shape{depth, columns};
  const std::string codes = w.CodesOf(form.right_type, shape);
  const Shape list = form.by_column ? Shape{columns} : Shape{};
  std::vector<float> scales;
  for (std::int64_t i = 0; i < ElementCount(list); ++i) scales.push_back(0.001F + w.Unit() * 0.01F);
  const std::string right =
      w.Node("DequantizeLinear", {codes, w.Floats("ws", list, scales), w.CodesOf(form.right_type, list)},
             {IntAttribute("axis", form.flips ? 0 : 1)});
  std::string row;
  if (form.row == 1) row = w.Constant({columns});
  if (form.row == 2) {
    ByteString integers;
    for (std::int64_t i = 0; i < columns; ++i) AppendFixed(integers, static_cast<std::int32_t>(i * 1001 - 5000));
    w.Initializer(TensorMessage("row", 6, {columns}, integers));
    row = w.Node("DequantizeLinear", {"row", w.Scalar(2e-4F)});
  }
  if (form.is_gemm) {
    std::vector<std::string> inputs{left, right};
    if (!row.empty()) inputs.push_back(row);
    w.Node("Gemm", inputs, {IntAttribute("transB", form.flips ? 1 : 0)}, "y");
  } else if (row.empty()) {
    w.Node("MatMul", {left, right}, {}, "y");
  } else {
    w.Node("Add", {row, w.Node("MatMul", {left, right})}, {}, "y");
  }
  w.Output("y", {});
}

TEST_CASE("quantized products with results in floats are sums of integers, scaled") {
  for (int bits = 0; bits < 48; ++bits) {
    CAPTURE(bits);
    Form form;
    form.is_gemm = (bits & 1) != 0;
    form.flips = form.is_gemm && (bits & 2) != 0;
    form.by_column = (bits & 4) != 0;
    form.left_type = (bits & 8) != 0 ? 2 : 3;
    form.right_type = (bits & 2) != 0 ? 2 : 3;
    form.row = bits / 16;
    const std::int64_t depth = 3 + bits * 5;
    const std::int64_t columns = 1 + bits * 3;
    Writer w;
    w.Input("x", form.is_gemm ? Shape{101, depth} : Shape{2, 51, depth}, 1);
    QuantizedProduct(w, form, depth, columns);
    const OwnedTensor x = Activations(form.is_gemm ? Shape{101, depth} : Shape{2, 51, depth});
    // Of floats the sums are rounded on their way: by about the square root of the depth.
    CHECK(Check(w, x, 2e-4F * std::sqrt(static_cast<float>(depth)))[Fusion::kQdq] == 1);
    auto steps = StepsOf(w);
    CHECK(steps["CodeProduct"] == 1);
    CHECK(steps["MatMul"] + steps["Gemm"] + steps["Add"] + steps["DequantizeLinear"] == 0);
  }
}

// What a product of integers gives is known to the bit: its operator's own code, the specification, says so.
TEST_CASE("quantized products with results in floats give the specification's bits at every level") {
  Writer w;
  w.Input("x", {97, 301}, 1);
  QuantizedProduct(w, {.row = 1}, 301, 67);
  const ByteString file = w.Finish();
  const OwnedTensor x = Activations({97, 301});
  const TensorRef ref = x.ref();
  for (const VectorKernels* kernels : Levels()) {
    const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {}, kernels);
    REQUIRE(graph.ok());
    const auto found = GraphExecutor(*graph).Run(std::span(&ref, 1));
    REQUIRE(found.ok());
    REQUIRE(graph->steps().size() == 2);
    const GraphStep& product = graph->steps()[1];
    REQUIRE(product.kernel != nullptr);
    std::vector<TensorRef> inputs;
    for (const ValueIndex input : product.inputs) {
      const GraphValue* value = input == kNoValue ? nullptr : &graph->values()[input];
      inputs.push_back(value == nullptr ? TensorRef() : TensorRef{&value->info, value->data});
    }
    // The codes, by the quantizer's own step.
    std::vector<TensorRef> quantizer{ref};
    for (std::size_t i = 1; i < graph->steps()[0].inputs.size(); ++i) {
      const GraphValue& value = graph->values()[graph->steps()[0].inputs[i]];
      quantizer.push_back({&value.info, value.data});
    }
    const auto code_infos = graph->Infer(graph->steps()[0], quantizer);
    REQUIRE(code_infos.ok());
    auto codes = MakeTensor((*code_infos)[0], 1 << 20);
    const OutputRef code_output{&codes->info, codes->bytes.get()};
    REQUIRE(graph->Run(graph->steps()[0], quantizer, std::span(&code_output, 1)).ok());
    inputs[0] = codes->ref();
    const auto out_infos = graph->Infer(product, inputs);
    REQUIRE(out_infos.ok());
    auto expected = MakeTensor((*out_infos)[0], 1 << 20);
    const OutputRef output{&expected->info, expected->bytes.get()};
    const NodeContext context{.node = *product.node, .opset = graph->opset(), .inputs = inputs};
    REQUIRE(product.op->run(context, std::span(&output, 1)).ok());
    RequireClose((*found)[0], *expected, 0);
  }
}

TEST_CASE("quantized products: what is scaled otherwise stays in floats") {
  for (const char* kind : {"alpha", "flipped left", "rows"}) {
    CAPTURE(kind);
    const std::string what = kind;
    Writer w;
    w.Input("x", {12, 12}, 1);
    const std::string scale = w.Scalar(0.02F);
    w.Initializer(TensorMessage("xz", 2, {}, ByteString(1, '\x80')));
    const std::string left = w.Node("DequantizeLinear", {w.Node("QuantizeLinear", {"x", scale, "xz"}), scale, "xz"});
    const bool by_row = what == "rows";
    const Shape list = by_row ? Shape{12} : Shape{};
    const std::string right =
        w.Node("DequantizeLinear", {w.CodesOf(3, {12, 12}), w.Constant(list, 0.01F), w.CodesOf(3, list)},
               {IntAttribute("axis", 0)});
    std::vector<ByteString> attributes;
    if (what == "alpha") attributes.push_back(FloatAttribute("alpha", 0.5F));
    if (what == "flipped left") attributes.push_back(IntAttribute("transA", 1));
    w.Node("Gemm", {left, right}, attributes, "y");
    w.Output("y", {});
    CHECK(Check(w, Activations({12, 12}), 1e-3F)[Fusion::kQdq] == 0);
  }
}

// A graph that holds all but the last bytes of what its kernels need runs by the operators' code, and counts no more
// than it may.
TEST_CASE("kernels: what they hold is within the limit, at any limit") {
  Writer dynamic;
  dynamic.Input("x", {2, 40}, 1);
  dynamic.NodeOf("DynamicQuantizeLinear", {"x"}, {"xq", "xs", "xz"});
  dynamic.Initializer(TensorMessage("w", 3, {40, 65}, dynamic.Codes(40 * 65)));
  const std::string sums =
      dynamic.Node("Cast", {dynamic.Node("MatMulInteger", {"xq", "w", "xz"})}, {IntAttribute("to", 1)});
  dynamic.Node(
      "Add", {dynamic.Node("Mul", {sums, dynamic.Node("Mul", {"xs", dynamic.Constant({65})})}), dynamic.Constant({65})},
      {}, "y");
  dynamic.Output("y", {});
  Writer convolved;
  convolved.Input("x", {1, 2, 9, 9}, 1);
  const std::string scale = convolved.Scalar(0.02F);
  convolved.Initializer(TensorMessage("z", 2, {}, ByteString(1, '\x80')));
  convolved.Initializer(TensorMessage("wz", 3, {}, ByteString(1, '\0')));
  convolved.Initializer(TensorMessage("w", 3, {3, 2, 1, 1}, ByteString(6, '\x11')));
  const std::string codes = convolved.Node(
      "QLinearConv", {convolved.Node("QuantizeLinear", {"x", scale, "z"}), scale, "z", "w", scale, "wz", scale, "z"});
  convolved.Node("DequantizeLinear", {codes, scale, "z"}, {}, "y");
  convolved.Output("y", {});
  for (const Writer* writer : {&dynamic, &convolved}) {
    const ByteString file = writer->Finish();
    const auto whole = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file));
    REQUIRE(whole.ok());
    REQUIRE(whole->constant_bytes() > 0);
    for (std::uint64_t limit = 0; limit <= whole->constant_bytes() + 8'192; limit += 4) {
      CAPTURE(limit);
      const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {limit});
      if (!graph.ok()) {
        REQUIRE(graph.status().code() == ErrorCode::kLimit);
        continue;
      }
      REQUIRE(graph->constant_bytes() <= limit);
    }
  }
}

TEST_CASE("fusions: are counted by kind, in graphs inside nodes too, and said in a line") {
  Writer inside;
  inside.Node("Mul", {"x", inside.Node("Sigmoid", {"x"})}, {}, "then");
  inside.Output("then", {});
  Writer other;
  other.Node("Identity", {"x"}, {}, "else");
  other.Output("else", {});
  Writer w;
  w.Input("x", {4, 8}, 1);
  w.Initializer(TensorMessage("is_true", 9, {}, ByteString(1, '\1')));
  const std::string either =
      w.Node("If", {w.Node("Identity", {"is_true"})},
             {GraphAttribute("then_branch", inside.Graph()), GraphAttribute("else_branch", other.Graph())});
  const std::string norm = w.Norm(w.Node("Add", {either, "x"}), 8);
  w.Node("Relu", {w.Node("Add", {w.Node("MatMul", {norm, w.Constant({8, 3})}), w.Constant({3})})}, {}, "y");
  w.Output("y", {});
  CHECK(Check(w, Activations({4, 8}), 1e-4F).Text() == "1 residual, 1 swish, 1 bias, 1 activation");
  CHECK(FusionCounts().Text().empty());
}

}  // namespace
}  // namespace foreshore::graph
