// Goal: the kernels for channels-last codes give the scalar kernels' bytes at every level, and quantized convolutional
// networks run on them from their first convolution to their last.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <random>

#include "engine/inference/graph/operators_codes.h"
#include "tests/engine/inference/graph/kernel_levels.h"

namespace foreshore::graph {

const CodeKernels& CodeKernelsNeonOnSimde();

namespace {

constexpr int kUint8 = 2;
constexpr int kInt8 = 3;

std::vector<const CodeKernels*> CodeLevels() {
  std::vector<const CodeKernels*> levels;
#if defined(__x86_64__)
  levels.push_back(&CodeKernelsNeonOnSimde());
  if (CpuSupports(CpuLevel::kAvx2)) levels.push_back(&CodeKernelsAvx2());
  if (CpuSupports(CpuLevel::kAvx512Vnni)) levels.push_back(&CodeKernelsAvx512());
#endif
#if defined(__aarch64__)
  if (CpuSupports(CpuLevel::kNeonDot)) levels.push_back(&CodeKernelsNeon());
#endif
  return levels;
}

struct Random {
  explicit Random(std::uint32_t seed) : engine(seed) {}
  std::size_t Size(std::size_t low, std::size_t high) { return low + engine() % (high - low + 1); }
  float Unit() { return static_cast<float>(engine() % 10'000) / 10'000.0F; }
  template <typename T>
  std::vector<T> Codes(std::size_t count) {
    std::vector<T> codes(count);
    // The ends come often: they are where sums are widest.
    for (T& code : codes) {
      const std::uint32_t kind = engine() % 8;
      code = static_cast<T>(kind == 0 ? 255 : kind == 1 ? 128 : kind == 2 ? 127 : engine());
    }
    return codes;
  }
  std::mt19937 engine;
};

// Biases and factors for `count` columns, readable to a block.
struct Columns {
  Columns(Random& random, std::size_t count, std::size_t depth) {
    const std::size_t padded = (count + 63) / 64 * 64;
    for (std::size_t i = 0; i < padded; ++i) {
      biases.push_back(static_cast<std::int32_t>(random.engine() % 100'000) - 50'000);
      factors.push_back((0.1F + random.Unit()) / static_cast<float>(64 * depth));
    }
    biases[0] = 2147483647;  // Wraps.
    factors[count / 2] = 3.0e38F;
    range = {static_cast<float>(random.Size(0, 255)), 0, 255};
  }
  CodeColumns ref() const { return {biases.data(), factors.data(), range}; }
  std::vector<std::int32_t> biases;
  std::vector<float> factors;
  CodeRange range;
};

// Gives what the scalar kernels make of it.
template <typename Run>
auto RequireAllAsScalar(const Run& run) {
  const auto expected = run(CodeKernelsScalar());
  for (const CodeKernels* kernels : CodeLevels()) {
    CAPTURE(CpuLevelName(kernels->level));
    REQUIRE(run(*kernels) == expected);
  }
  return expected;
}

TEST_CASE("code kernels: products are the scalar kernel's to the byte") {
  for (std::uint32_t seed = 0; seed < 120; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    CodeProduct product;
    product.row_count = random.Size(1, 40);
    product.step_count = random.Size(1, 20);
    product.column_count = random.Size(1, 150);
    product.row_step = static_cast<std::ptrdiff_t>(product.step_count * 4 + random.Size(0, 9));
    product.out_step = static_cast<std::ptrdiff_t>(product.column_count + random.Size(0, 5));
    const auto rows = random.Codes<std::uint8_t>(product.row_count * static_cast<std::size_t>(product.row_step));
    const std::size_t blocks = (product.column_count + 15) / 16;
    const auto weights = random.Codes<std::int8_t>(blocks * product.step_count * 64);
    const Columns columns(random, product.column_count, product.step_count * 4);
    product.rows = rows.data();
    product.weights = weights.data();
    product.columns = columns.ref();
    const auto run = [&](const CodeKernels& kernels) {
      // One row more than there is, which has to stay as it was.
      std::vector<std::uint8_t> out((product.row_count + 1) * static_cast<std::size_t>(product.out_step), 77);
      product.out = out.data();
      kernels.multiply(product);
      return out;
    };
    RequireAllAsScalar(run);
  }
}

TEST_CASE("code kernels: depthwise rows are the scalar kernel's to the byte") {
  for (std::uint32_t seed = 0; seed < 120; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    const std::size_t channels = random.Size(1, 80);
    const std::size_t taps = random.Size(1, 30);
    const std::size_t pixels = random.Size(1, 9);
    const auto weights = random.Codes<std::int8_t>(channels * taps);
    const Columns columns(random, channels, taps);
    std::vector<std::vector<std::uint8_t>> rows;
    std::vector<const std::uint8_t*> refs;
    for (std::size_t t = 0; t < taps; ++t) rows.push_back(random.Codes<std::uint8_t>(pixels * channels + 64));
    for (const auto& row : rows) refs.push_back(row.data());
    const auto run = [&](const CodeKernels& kernels) {
      const std::size_t period = std::lcm(channels, std::size_t{64});
      const auto memory = AlignedBytes::Make(DepthwiseCodeBytes(kernels, taps, period));
      REQUIRE(memory.ok());
      PackDepthwise(kernels, weights.data(), channels, taps, period, columns.biases.data(), columns.factors.data(),
                    memory->data());
      const DepthwiseCodeWeights packed = DepthwiseCodesIn(kernels, taps, period, memory->data());
      std::vector<std::uint8_t> out(pixels * channels + 1, 77);
      kernels.depthwise({refs.data(), taps, pixels * channels, &packed, columns.range, out.data()});
      return out;
    };
    CHECK(RequireAllAsScalar(run).back() == 77);
  }
}

TEST_CASE("code kernels: elements, tables and sums of rows are the scalar kernel's to the byte") {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    const std::size_t count = random.Size(1, 300);
    const auto left = random.Codes<std::uint8_t>(count);
    const auto right = random.Codes<std::uint8_t>(count);
    const auto table = random.Codes<std::uint8_t>(256);
    std::vector<float> offsets;
    for (std::size_t i = 0; i < count; ++i) offsets.push_back(random.Unit() * 300 - 150);
    const Columns columns(random, count, 1);
    const CodeOperand l{left.data(), static_cast<std::int32_t>(random.Size(0, 255)), random.Unit()};
    const CodeOperand r{right.data(), static_cast<std::int32_t>(random.Size(0, 255)), random.Unit() * 2};
    const auto run = [&](const CodeKernels& kernels) {
      std::vector<std::uint8_t> out(6 * count + 1, 77);
      kernels.add(l, r, count, columns.range, out.data());
      kernels.mul(l, r, count, columns.range, out.data() + count);
      kernels.map(left.data(), count, table.data(), out.data() + 2 * count);
      out.back() = 77;
      kernels.raise(left.data(), count, out.data() + 3 * count);
      std::vector<std::uint32_t> sums(count, 5);
      kernels.add_rows(left.data(), 1, count, sums.data());
      kernels.to_codes(reinterpret_cast<const std::int32_t*>(sums.data()), count, columns.ref(),
                       out.data() + 4 * count);
      kernels.scale(left.data(), count, l.zero, columns.factors.data(), offsets.data(), columns.range,
                    out.data() + 5 * count);
      return out;
    };
    CHECK(RequireAllAsScalar(run).back() == 77);
  }
}

struct Network : OnnxWriter {
  Random random{11};
  int count = 0;
  int weight_type = kInt8;
  int weight_zero = 0;

  std::string Name(const std::string& what) { return what + std::to_string(count++); }
  std::string Code(int type, const std::vector<std::int64_t>& dims, const ByteString& bytes) {
    const std::string name = Name("c");
    Initializer(TensorMessage(name, type, dims, bytes));
    return name;
  }
  std::string Dequantize(const std::string& codes, float scale, int zero) {
    return Node("DequantizeLinear", {codes, Scalar(scale), Code(kUint8, {}, ByteString(1, static_cast<char>(zero)))});
  }
  // The float, as codes and back.
  std::string Requantize(const std::string& value, float scale, int zero) {
    const std::string s = Scalar(scale);
    const std::string z = Code(kUint8, {}, ByteString(1, static_cast<char>(zero)));
    return Node("DequantizeLinear", {Node("QuantizeLinear", {value, s, z}), s, z});
  }
  std::string Conv(const std::string& x, std::int64_t out, std::int64_t in, std::int64_t kernel, std::int64_t stride,
                   std::int64_t groups, std::int64_t dilation = 1) {
    ByteString weights;
    for (std::int64_t i = 0; i < out * (in / groups) * kernel * kernel; ++i) {
      weights.push_back(static_cast<char>(random.engine() % 255 - 127));
    }
    std::vector<float> scales;
    std::vector<float> biases;
    const float depth = static_cast<float>(in / groups * kernel * kernel);
    for (std::int64_t i = 0; i < out; ++i) {
      scales.push_back((0.5F + random.Unit()) / (100.0F * std::sqrt(depth)));
      biases.push_back(random.Unit() - 0.5F);
    }
    const std::string w =
        Node("DequantizeLinear",
             {Code(weight_type, {out, in / groups, kernel, kernel}, weights), Floats(Name("s"), {out}, scales),
              Code(weight_type, {out}, ByteString(out, static_cast<char>(weight_zero)))},
             {IntAttribute("axis", 0)});
    const std::int64_t pad = dilation * (kernel / 2);
    return Node("Conv", {x, w, Floats(Name("b"), {out}, biases)},
                {IntAttribute("group", groups), IntsAttribute("strides", {stride, stride}),
                 IntsAttribute("dilations", {dilation, dilation}), IntsAttribute("pads", {pad, pad, pad, pad})});
  }
  std::string HardSwish(const std::string& x, float scale, int zero) {
    const std::string gate = Requantize(Node("HardSigmoid", {x}, {FloatAttribute("alpha", 1.0F / 6)}), 1.0F / 255, 0);
    return Requantize(Node("Mul", {x, gate}), scale, zero);
  }
};

// An inverted residual with squeeze and excitation, as MobileNetV3 has it.
std::string Block(Network& net, const std::string& x, std::int64_t channels, std::int64_t wide, std::int64_t kernel,
                  std::int64_t dilation) {
  const std::string expanded = net.Requantize(net.Conv(x, wide, channels, 1, 1, 1), 0.03F, 128);
  const std::string active = net.HardSwish(expanded, 0.02F, 20);
  const std::string deep = net.Requantize(net.Conv(active, wide, wide, kernel, 1, wide, dilation), 0.02F, 120);
  const std::string mean = net.Requantize(net.Node("GlobalAveragePool", {deep}), 0.01F, 128);
  const std::string squeezed = net.Requantize(net.Node("Relu", {net.Conv(mean, 10, wide, 1, 1, 1)}), 0.01F, 0);
  const std::string gate = net.Requantize(net.Conv(squeezed, wide, 10, 1, 1, 1), 0.02F, 128);
  const std::string excited = net.Requantize(net.Node("HardSigmoid", {gate}), 1.0F / 255, 0);
  const std::string scaled = net.Requantize(net.Node("Mul", {deep, excited}), 0.02F, 120);
  const std::string narrow = net.Requantize(net.Conv(scaled, channels, wide, 1, 1, 1), 0.03F, 128);
  return net.Requantize(net.Node("Add", {x, narrow}), 0.04F, 128);
}

ByteString MobileNet() {
  Network net;
  net.Input("x", {2, 3, 33, 40}, 1);
  const std::string x = net.Requantize("x", 0.01F, 128);
  std::string y = net.HardSwish(net.Requantize(net.Conv(x, 24, 3, 3, 2, 1), 0.03F, 128), 0.02F, 10);
  y = net.Requantize(net.Conv(y, 24, 24, 3, 2, 24), 0.03F, 128);
  y = Block(net, y, 24, 72, 3, 1);
  y = Block(net, y, 24, 40, 5, 2);
  y = net.Requantize(
      net.Node("MaxPool", {y}, {IntsAttribute("kernel_shape", {2, 2}), IntsAttribute("strides", {2, 2})}), 0.05F, 100);
  net.Node("Flatten", {net.Requantize(net.Node("GlobalAveragePool", {y}), 0.02F, 128)}, {}, "y");
  net.Output("y", {});
  return net.Finish();
}

OwnedTensor Pixels() {
  Random random(3);
  auto tensor = MakeTensor({OnnxType::kFloat, {2, 3, 33, 40}}, 1 << 20);
  auto* values = reinterpret_cast<float*>(tensor->bytes.get());
  for (std::int64_t i = 0; i < tensor->ref().count(); ++i) values[i] = random.Unit() * 2 - 1;
  return std::move(tensor).value();
}

TEST_CASE("code steps: a quantized network stays in codes, and every level gives the same bytes") {
  const ByteString file = MobileNet();
  const OwnedTensor x = Pixels();
  const std::vector<TensorRef> refs{x.ref()};
  const auto plain = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {}, nullptr);
  REQUIRE_MESSAGE(plain.ok(), plain.status().message());
  const auto floats = GraphExecutor(*plain).Run(refs);
  REQUIRE(floats.ok());
  std::vector<float> first;
  for (const VectorKernels* kernels : Levels()) {
    CAPTURE(CpuLevelName(kernels->level));
    const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {}, kernels);
    REQUIRE_MESSAGE(graph.ok(), graph.status().message());
    std::map<std::string_view, int> kinds;
    for (const GraphStep& step : graph->steps()) {
      ++kinds[step.op->name];
      CHECK((step.op->name != "CodeConv" || step.kernel != nullptr));
    }
    // Activations and tables are in the convolutions; floats are left at both ends.
    const std::map<std::string_view, int> expected{{"QuantizeLinear", 1},   {"ToLast", 1},  {"CodeConv", 12},
                                                   {"CodeMean", 3},         {"CodeMul", 2}, {"CodeAdd", 2},
                                                   {"CodeMap", 1},          {"CodeMax", 1}, {"ToFirst", 1},
                                                   {"DequantizeLinear", 1}, {"Flatten", 1}};
    CHECK(kinds == expected);
    const auto found = GraphExecutor(*graph).Run(refs);
    REQUIRE_MESSAGE(found.ok(), found.status().message());
    const std::vector<float> values = Values<float>((*found)[0]);
    if (first.empty()) first = values;
    CHECK(values == first);
    // A code rounded the other way early on moves those behind it: within three of the last scale.
    const std::vector<float> wanted = Values<float>((*floats)[0]);
    REQUIRE(values.size() == wanted.size());
    for (std::size_t i = 0; i < values.size(); ++i) CHECK(std::abs(values[i] - wanted[i]) <= 0.0601F);
    CHECK(*std::max_element(values.begin(), values.end()) > *std::min_element(values.begin(), values.end()) + 0.1F);
  }
}

std::string Normalisation(Network& net, const std::string& x, std::int64_t channels) {
  std::vector<std::string> inputs{x};
  for (const float low : {0.5F, -0.5F, -0.5F, 0.5F}) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < channels; ++i) values.push_back(low + net.random.Unit());
    inputs.push_back(net.Floats(net.Name("n"), {channels}, values));
  }
  // Quantizers round the factors too.
  inputs[1] = net.Requantize(inputs[1], 0.006F, 0);
  return net.Node("BatchNormalization", inputs);
}

// What a quantizer writes that did not take normalisation into the convolutions.
TEST_CASE("code steps: normalisation between codes is a step over codes, with what follows it") {
  for (const bool is_last : {true, false}) {
    CAPTURE(is_last);
    Network net;
    net.Input("x", {2, 24, 7, 9}, kUint8);
    std::string y = net.Dequantize("x", 0.02F, 99);
    if (is_last) y = net.Requantize(net.Conv(y, 24, 24, 1, 1, 1), 0.03F, 128);
    y = net.Requantize(Normalisation(net, y, 24), 0.04F, 120);
    y = net.HardSwish(y, 0.03F, 10);
    // With an activation whose codes end where it does.
    y = net.Requantize(net.Node("Relu", {Normalisation(net, y, 24)}), 0.02F, 0);
    net.Node("Identity", {y}, {}, "y");
    net.Output("y", {});
    auto x = MakeTensor({OnnxType::kUint8, {2, 24, 7, 9}}, 1 << 20);
    for (std::uint64_t i = 0; i < x->size_bytes; ++i) x->bytes[i] = static_cast<std::byte>(i * 37);
    std::vector<float> first;
    CompareLevels(net, *x, [&](const auto& found, const auto& expected) {
      const auto a = Values<float>(found[0]);
      const auto b = Values<float>(expected[0]);
      REQUIRE(a.size() == b.size());
      if (first.empty()) first = a;
      CHECK(a == first);
      // Seldom is a code rounded the other way, which each normalisation may double.
      std::size_t other = 0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        REQUIRE(std::abs(a[i] - b[i]) <= 0.25F);
        other += std::abs(a[i] - b[i]) > 1e-4F ? 1 : 0;
      }
      CHECK(other * 50 < a.size());
      CHECK(*std::max_element(a.begin(), a.end()) > *std::min_element(a.begin(), a.end()) + 1);
    });
    const ByteString file = net.Finish();
    const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file));
    REQUIRE(graph.ok());
    std::map<std::string_view, int> kinds;
    for (const GraphStep& step : graph->steps()) {
      ++kinds[step.op->name];
      CHECK((step.op->name != "CodeScale" || step.kernel != nullptr));
    }
    CHECK(kinds["CodeScale"] == 2);
    CHECK(kinds["BatchNormalization"] == 0);
    CHECK(kinds["CodeMap"] == 0);
  }
}

// The kernel of each step on codes of its own, beside the operator's own code.
TEST_CASE("code steps: convolutions are their operator's own to the byte") {
  Random random(5);
  // Signed weights without a zero point, and those whose distance to it is more than a byte holds.
  for (const auto& [type, zero] :
       std::vector<std::pair<int, int>>{{kInt8, 0}, {kUint8, 128}, {kUint8, 3}, {kUint8, 140}, {kInt8, 9}}) {
    CAPTURE(type);
    CAPTURE(zero);
    for (const auto& [out, in, kernel, stride, groups, dilation] :
         std::vector<std::array<std::int64_t, 6>>{{70, 8, 1, 1, 1, 1},
                                                  {5, 7, 1, 1, 1, 1},
                                                  {33, 12, 1, 2, 1, 1},
                                                  {16, 3, 3, 2, 1, 1},
                                                  {20, 5, 5, 1, 1, 2},
                                                  {24, 24, 3, 1, 24, 1},
                                                  {24, 24, 3, 2, 24, 1},
                                                  {7, 7, 5, 1, 7, 1},
                                                  {64, 64, 7, 3, 64, 2},
                                                  {1'001, 1'001, 3, 1, 1'001, 1}}) {
      CAPTURE(out);
      CAPTURE(kernel);
      Network net;
      net.weight_type = type;
      net.weight_zero = zero;
      net.Input("x", {2, in, 13, 11}, kUint8);
      const std::string y = net.Requantize(
          net.Conv(net.Dequantize("x", 0.02F, 99), out, in, kernel, stride, groups, dilation), 0.03F, 100);
      net.Node("Relu", {net.HardSwish(y, 0.02F, 9)}, {}, "y");
      net.Output("y", {});
      const ByteString file = net.Finish();
      for (const VectorKernels* kernels : Levels()) {
        CAPTURE(CpuLevelName(kernels->level));
        const auto graph = Graph::Build("m.onnx", *ReadOnnx("m.onnx", file), {}, kernels);
        REQUIRE_MESSAGE(graph.ok(), graph.status().message());
        std::size_t checked = 0;
        for (const GraphStep& step : graph->steps()) {
          if (step.op != &CodeConvOperator()) continue;
          ++checked;
          const TensorInfo info{OnnxType::kUint8, {2, 13, 11, in}};
          const auto codes = random.Codes<std::uint8_t>(static_cast<std::size_t>(ElementCount(info.shape)));
          std::vector<TensorRef> refs{{&info, reinterpret_cast<const std::byte*>(codes.data())}};
          for (std::size_t i = 1; i < step.inputs.size(); ++i) {
            const GraphValue* value = step.inputs[i] == kNoValue ? nullptr : &graph->values()[step.inputs[i]];
            refs.push_back(value == nullptr ? TensorRef() : TensorRef{&value->info, value->data});
          }
          const NodeContext context{.node = *step.node, .opset = graph->opset(), .inputs = refs};
          const auto infos = graph->Infer(step, refs);
          REQUIRE(infos.ok());
          const auto run = [&](const auto& body) {
            std::vector<std::uint8_t> bytes(static_cast<std::size_t>(ElementCount((*infos)[0].shape)));
            const OutputRef output{&(*infos)[0], reinterpret_cast<std::byte*>(bytes.data())};
            CHECK(body(std::span(&output, 1)).ok());
            return bytes;
          };
          const auto expected = run([&](auto outputs) { return step.op->run(context, outputs); });
          REQUIRE(step.kernel != nullptr);
          REQUIRE(step.kernel->Fits(context));
          auto workspace = AlignedBytes::Make(step.kernel->WorkspaceBytes(context));
          CHECK(run([&](auto outputs) { return step.kernel->Run(context, outputs, workspace->data()); }) == expected);
        }
        CHECK(checked == 1);
      }
    }
  }
}

TEST_CASE("code steps: a value that floats use as well is turned back for them") {
  Network net;
  net.Input("x", {1, 8, 5, 6}, kUint8);
  const std::string y = net.Requantize(net.Conv(net.Dequantize("x", 0.02F, 99), 8, 8, 3, 1, 1), 0.03F, 100);
  const std::string z = net.Requantize(net.Conv(y, 8, 8, 1, 1, 1), 0.03F, 100);
  net.Node("Concat", {net.Node("Softmax", {y}), z}, {IntAttribute("axis", 1)}, "y");
  net.Output("y", {});
  auto x = MakeTensor({OnnxType::kUint8, {1, 8, 5, 6}}, 1 << 20);
  for (std::uint64_t i = 0; i < x->size_bytes; ++i) x->bytes[i] = static_cast<std::byte>(i * 37);
  CompareLevels(net, *x, [](const auto& found, const auto& expected) {
    const auto a = Values<float>(found[0]);
    const auto b = Values<float>(expected[0]);
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) REQUIRE(std::abs(a[i] - b[i]) <= 0.0301F);
  });
}

}  // namespace
}  // namespace foreshore::graph
