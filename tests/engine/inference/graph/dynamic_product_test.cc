// Goal: what files spell of a dynamically quantized product is one step, with the same integers and the same floats, to
// the bit, at every level of instructions; and float products are quantized to it.
#include "engine/inference/graph/dynamic_product.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "engine/inference/graph/graph_quantize.h"
#include "tests/engine/inference/graph/kernel_levels.h"

namespace foreshore::graph {
namespace {

struct Form {
  int type = 3;  // int8, or 2 for uint8.
  bool has_zero = false;
  bool zero_by_column = false;
  bool scale_by_column = true;
  bool has_bias = true;
  std::int64_t depth = 33;
  std::int64_t columns = 70;
};

struct Writer : OnnxWriter {
  std::uint32_t seed = 3;
  float Unit() {
    seed = seed * 1664525U + 1013904223U;
    return static_cast<float>(seed >> 8) / 16777216.0F;
  }
  ByteString Codes(std::int64_t count) {
    ByteString codes;
    for (std::int64_t i = 0; i < count; ++i) codes.push_back(static_cast<char>(static_cast<int>(Unit() * 256) - 128));
    return codes;
  }
  std::vector<float> Numbers(std::int64_t count) {
    std::vector<float> numbers;
    for (std::int64_t i = 0; i < count; ++i) numbers.push_back(Unit() * 2 - 1);
    return numbers;
  }
  // As ONNX Runtime's dynamic quantization writes it.
  std::string Product(const std::string& x, const std::string& name, const Form& form, const std::string& output = "") {
    NodeOf("DynamicQuantizeLinear", {x}, {name + "_q", name + "_s", name + "_z"});
    Initializer(TensorMessage(name + "_w", form.type, {form.depth, form.columns}, Codes(form.depth * form.columns)));
    std::vector<std::string> inputs{name + "_q", name + "_w", name + "_z"};
    if (form.has_zero) {
      const std::int64_t count = form.zero_by_column ? form.columns : 1;
      Initializer(TensorMessage(name + "_wz", form.type, form.zero_by_column ? Shape{count} : Shape{}, Codes(count)));
      inputs.push_back(name + "_wz");
    }
    const std::int64_t scales = form.scale_by_column ? form.columns : 1;
    Floats(name + "_ws", form.scale_by_column ? Shape{scales} : Shape{}, Numbers(scales));
    const std::string sums = Node("Cast", {Node("MatMulInteger", inputs)}, {IntAttribute("to", 1)});
    const std::string scale = Node("Mul", {name + "_s", name + "_ws"});
    if (!form.has_bias) return Node("Mul", {sums, scale}, {}, output);
    return Node("Add", {Node("Mul", {sums, scale}), Floats(name + "_b", {form.columns}, Numbers(form.columns))}, {},
                output);
  }
};

void RequireSame(const std::vector<float>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  REQUIRE(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0);
}

OwnedTensor Activations(const Shape& shape, float scale = 3) {
  Writer numbers;
  std::vector<float> values = numbers.Numbers(ElementCount(shape));
  for (float& value : values) value *= scale;
  return Make<float>(shape, values);
}

TEST_CASE("dynamic products: the nodes of one are one step with the same bits") {
  for (int bits = 0; bits < 32; ++bits) {
    CAPTURE(bits);
    Form form;
    form.type = (bits & 1) != 0 ? 2 : 3;
    form.has_zero = (bits & 2) != 0;
    form.zero_by_column = (bits & 4) != 0;
    form.scale_by_column = (bits & 8) != 0;
    form.has_bias = (bits & 16) != 0;
    form.depth = 5 + bits * 7;
    form.columns = 1 + bits * 9;
    Writer writer;
    writer.Input("x", {3, 45, form.depth}, 1);
    writer.Product("x", "p", form, "y");
    writer.Output("y", {});
    const OwnedTensor x = Activations({3, 45, form.depth});
    const auto check = [](const auto& found, const auto& expected) {
      RequireSame(Values<float>(found[0]), Values<float>(expected[0]));
    };
    CHECK(CompareLevels(writer, x, check) == 1);
    const ByteString file = writer.Finish();
    for (const VectorKernels* kernels : Levels()) {
      const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {}, kernels);
      REQUIRE(graph.ok());
      const GraphStep& step = graph->steps()[0];
      REQUIRE(step.op == &DynamicProductOperator());
      REQUIRE(step.kernel != nullptr);
      // The operator's own code, which is the specification.
      std::vector<TensorRef> refs{x.ref()};
      for (std::size_t i = 1; i < step.inputs.size(); ++i) {
        const GraphValue* value = step.inputs[i] == kNoValue ? nullptr : &graph->values()[step.inputs[i]];
        refs.push_back(value == nullptr ? TensorRef() : TensorRef{&value->info, value->data});
      }
      const auto infos = graph->Infer(step, refs);
      REQUIRE(infos.ok());
      auto result = MakeTensor((*infos)[0], 1 << 24);
      const auto workspace = AlignedBytes::Make(static_cast<std::uint64_t>(x.ref().count()));
      const NodeContext context{
          .node = *step.node, .opset = graph->opset(), .inputs = refs, .workspace = workspace->data()};
      const OutputRef output{&result->info, result->bytes.get()};
      REQUIRE(step.op->run(context, std::span(&output, 1)).ok());
      const auto found = GraphExecutor(*graph).Run(std::span(refs.data(), 1));
      REQUIRE(found.ok());
      RequireSame(Values<float>((*found)[0]), Values<float>(*result));
    }
  }
}

TEST_CASE("dynamic products: zeros and what is no number go through as they do through the nodes") {
  for (const float value : {0.0F, NAN, INFINITY}) {
    CAPTURE(value);
    Writer writer;
    writer.Input("x", {2, 33}, 1);
    writer.Product("x", "p", {}, "y");
    writer.Output("y", {});
    std::vector<float> values(66, 0.0F);
    values[7] = value;
    if (value != value) values[8] = 1;
    CompareLevels(writer, Make<float>({2, 33}, values), [](const auto& found, const auto& expected) {
      const auto a = Values<float>(found[0]);
      const auto b = Values<float>(expected[0]);
      for (std::size_t i = 0; i < a.size(); ++i) REQUIRE((a[i] == b[i] || (a[i] != a[i] && b[i] != b[i])));
    });
  }
}

TEST_CASE("dynamic products: chains whose parts others use, or that multiply by something else, stay as they are") {
  Writer shared;
  shared.Input("x", {4, 33}, 1);
  const std::string y = shared.Product("x", "p", {});
  shared.Node("Identity", {y}, {}, "y");
  shared.Output("y", {});
  shared.Output("p_q", {});  // The codes are asked for as well: made for that alone.
  CHECK(CompareLevels(shared, Activations({4, 33}), [](const auto& found, const auto& expected) {
          RequireSame(Values<float>(found[0]), Values<float>(expected[0]));
          REQUIRE(Values<std::uint8_t>(found[1]) == Values<std::uint8_t>(expected[1]));
        }) == 3);
  Writer other;
  other.Input("x", {4, 33}, 1);
  other.Product("x", "p", {});
  other.NodeOf("DynamicQuantizeLinear", {other.Node("Abs", {"x"})}, {"q", "s", "z"});
  // The scale of another activation.
  const std::string sums =
      other.Node("Cast", {other.Node("MatMulInteger", {"p_q", "p_w", "p_z"})}, {IntAttribute("to", 1)});
  other.Node("Mul", {sums, other.Node("Mul", {"s", "p_ws"})}, {}, "y");
  other.Output("y", {});
  const ByteString file = other.Finish();
  const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file));
  REQUIRE(graph.ok());
  for (const GraphStep& step : graph->steps()) CHECK(step.op != &DynamicProductOperator());
}

TEST_CASE("quantize: products by constant matrices become dynamic ones of a quarter of the size") {
  Writer net;
  net.Input("x", {-1, 64}, 1);
  const auto weights = [&](const std::string& name, const Shape& shape) {
    return net.Floats(name, shape, net.Numbers(ElementCount(shape)));
  };
  const std::string up =
      net.Node("Gemm", {"x", weights("w1", {96, 64}), weights("b1", {96})}, {IntAttribute("transB", 1)});
  const std::string down =
      net.Node("Add", {net.Node("MatMul", {net.Node("Relu", {up}), weights("w2", {96, 32})}), weights("b2", {32})});
  // Two products of one value; scaled, transposed and by a value of the graph, they stay in floats.
  const std::string left = net.Node("MatMul", {down, weights("w3", {32, 16})});
  const std::string right = net.Node("MatMul", {down, weights("w4", {32, 16})});
  net.Node("Gemm", {left, right}, {IntAttribute("transA", 1)}, "y");
  net.Output("y", {16, 16});
  const ByteString file = net.Finish();
  const auto quantizer = GraphQuantizer::Make("m", file);
  REQUIRE_MESSAGE(quantizer.ok(), quantizer.status().message());
  std::vector<OwnedTensor> inputs;
  inputs.push_back(Activations({20, 64}, 1));
  const TensorRef ref = inputs[0].ref();
  REQUIRE((*quantizer)->Observe(std::span(&ref, 1)).ok());
  const auto quantized = (*quantizer)->Write();
  REQUIRE(quantized.ok());
  CHECK(quantized->size() < file.size() * 2 / 5);
  const auto graph = Graph::Build("q", *ReadOnnx("q", *quantized));
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  std::map<std::string_view, int> kinds;
  for (const GraphStep& step : graph->steps()) ++kinds[step.op->name];
  CHECK(kinds["DynamicProduct"] == 3);  // The two of one value are one step.
  CHECK(graph->fusions()[Fusion::kDynamicProduct] == 4);
  CHECK(kinds["DynamicQuantizeLinear"] == 0);
  CHECK(kinds["MatMul"] == 0);
  CHECK(kinds["Gemm"] == 1);
  const auto before = RunGraph(file, inputs);
  const auto after = RunGraph(*quantized, inputs);
  REQUIRE(before.ok());
  REQUIRE_MESSAGE(after.ok(), after.status().message());
  const auto a = Values<float>((*before)[0]);
  const auto b = Values<float>((*after)[0]);
  double product = 0;
  double left_square = 0;
  double right_square = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    product += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    left_square += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    right_square += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  CHECK(product / std::sqrt(left_square * right_square) > 0.9995);
}

}  // namespace
}  // namespace foreshore::graph
