// Goal: a packed graph saves the work and the memory of packing, changes no bit of a result, and is refused where it is
// not that of the graph.
#include <doctest/doctest.h>

#include "storage/base/checksum.h"
#include "tests/engine/inference/graph/counted_allocations.h"
#include "tests/engine/inference/graph/graph_runner.h"

namespace foreshore::graph {
namespace {

std::vector<float> Numbers(std::int64_t count) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(i * 7919 % 1000) / 500.0F - 1.0F);
  return values;
}

// A convolution with normalisation behind it, one over codes, a transposed one and a product: every way to pack.
ByteString Network(std::int64_t width) {
  OnnxWriter w;
  const auto floats = [&](const std::string& name, const Shape& shape) {
    return w.Floats(name, shape, Numbers(ElementCount(shape)));
  };
  w.Input("x", {1, 8, 12, 12}, 1);
  const std::string conv = w.Node("Conv", {"x", floats("w1", {width, 8, 3, 3}), floats("b1", {width})});
  w.Floats("v", {width}, std::vector<float>(static_cast<std::size_t>(width), 1.0F));
  const std::string normal =
      w.Node("BatchNormalization", {conv, floats("g", {width}), floats("h", {width}), floats("m", {width}), "v"});
  w.Initializer(TensorMessage("z", 2, {}, ByteString(1, '\x64')));
  w.Floats("s", {}, {0.05F});
  const auto requantize = [&](const std::string& value) {
    return w.Node("DequantizeLinear", {w.Node("QuantizeLinear", {value, "s", "z"}), "s", "z"});
  };
  ByteString codes;
  for (std::int64_t i = 0; i < 16 * width * 9; ++i) codes.push_back(static_cast<char>(i * 7919 % 200 - 100));
  w.Initializer(TensorMessage("wc", 3, {16, width, 3, 3}, codes));
  w.Initializer(TensorMessage("wz", 3, {}, ByteString(1, '\0')));
  const std::string weights = w.Node("DequantizeLinear", {"wc", w.Scalar(0.001F), "wz"});
  const std::string deep = requantize(w.Node("Conv", {requantize(w.Node("Relu", {normal})), weights}));
  const std::string wide = w.Node("ConvTranspose", {deep, floats("w3", {16, 4, 3, 3})});
  const std::string flat = w.Node("Flatten", {wide});
  const std::string product = w.Node("MatMul", {flat, floats("w4", {400, width})});
  const std::string other = w.Node("MatMul", {flat, floats("w5", {400, width})});
  w.Node("Softmax", {w.Node("Add", {w.Node("Add", {product, floats("b4", {width})}), other})}, {}, "y");
  w.Output("y", {1, width});
  return w.Finish();
}

PackedGraphKey Key(std::uint8_t first = 7) {
  PackedGraphKey key = Graph::KeyOf({});
  key.source[0] = first;
  return key;
}

Result<Graph> BuildOn(const ByteString& file, std::shared_ptr<ConstantStore> constants) {
  FORESHORE_ASSIGN_OR_RETURN(OnnxModel model, ReadOnnx("m.onnx", file));
  return Graph::Build("m.onnx", std::move(model), {}, &VectorKernelsFor(DetectCpuLevel()), std::move(constants));
}

std::vector<float> RunOnce(const Graph& graph) {
  const OwnedTensor x = Make<float>({1, 8, 12, 12}, Numbers(8 * 144));
  const std::vector<TensorRef> refs{x.ref()};
  const auto outputs = GraphExecutor(graph).Run(refs);
  REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
  return Values<float>((*outputs)[0]);
}

// Where a mapped file lies.
AlignedBytes Aligned(Bytes bytes) {
  auto aligned = AlignedBytes::Make(bytes.size());
  std::memcpy(aligned->data(), bytes.data(), bytes.size());
  return std::move(aligned).value();
}
Bytes View(const AlignedBytes& aligned, std::uint64_t size_bytes) {
  return {reinterpret_cast<const char*>(aligned.data()), size_bytes};
}

TEST_CASE("packed graph: its weights are used where they lie, and results are the same to the bit") {
  const ByteString file = Network(256);
  const auto made = BuildOn(file, nullptr);
  REQUIRE_MESSAGE(made.ok(), made.status().message());
  const ByteString packed = made->constants().Pack(Key());
  REQUIRE(packed.size() > 500'000);
  const AlignedBytes mapping = Aligned(packed);
  const std::int64_t before = LiveBytes();
  ResetPeak();
  auto constants = ConstantStore::Open(View(mapping, packed.size()), Key());
  REQUIRE_MESSAGE(constants.ok(), constants.status().message());
  const auto opened = BuildOn(file, *constants);
  REQUIRE_MESSAGE(opened.ok(), opened.status().message());
  // Descriptions of nodes and values, and scales by channel.
  CHECK(PeakBytes() - before < static_cast<std::int64_t>(packed.size()) / 10);
  CHECK(opened->constant_bytes() < packed.size() / 100);
  CHECK(made->constant_bytes() > packed.size() / 2);
  const auto lies_in = [](Bytes bytes, const std::byte* data) {
    const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
    return data >= first && data <= first + bytes.size();
  };
  std::size_t in_packed = 0;
  for (const GraphValue& value : opened->values()) {
    if (!value.is_constant || value.data == nullptr) continue;
    in_packed += lies_in(View(mapping, packed.size()), value.data) ? 1 : 0;
    CHECK((lies_in(View(mapping, packed.size()), value.data) || lies_in(file, value.data)));
  }
  CHECK(in_packed > 4);
  CHECK(!made->fusions().Text().empty());
  CHECK(opened->fusions().Text() == made->fusions().Text());
  REQUIRE(opened->steps().size() == made->steps().size());
  for (std::size_t i = 0; i < made->steps().size(); ++i) {
    CHECK(opened->steps()[i].op == made->steps()[i].op);
    CHECK((opened->steps()[i].kernel != nullptr) == (made->steps()[i].kernel != nullptr));
  }
  CHECK(RunOnce(*opened) == RunOnce(*made));
}

TEST_CASE("packed graph: what was only needed to make other blocks is neither in it nor in memory") {
  const std::int64_t width = 256;
  const auto made = BuildOn(Network(width), nullptr);
  REQUIRE_MESSAGE(made.ok(), made.status().message());
  const ByteString packed = made->constants().Pack(Key());
  // The convolution's weights, which lie unaligned or get normalisation taken in, the matrices, codes, and the rest.
  const std::int64_t floats = width * 8 * 9 + 16 * 4 * 9 + 2 * 400 * width;
  const auto needed_bytes = static_cast<std::size_t>(floats * 4 + 16 * width * 9);
  CHECK(packed.size() < needed_bytes + needed_bytes / 8);
  CHECK(made->constant_bytes() < needed_bytes + needed_bytes / 8);
  CHECK(made->constants().taken_bytes() > needed_bytes + needed_bytes / 8);
}

TEST_CASE("packed graph: codes that were turned for a product are kept as its panels alone") {
  const std::int64_t width = 256;
  OnnxWriter w;
  w.Input("x", {1, width}, 1);
  w.Floats("s", {}, {0.05F});
  w.Initializer(TensorMessage("z", 2, {}, ByteString(1, '\x64')));
  w.Initializer(TensorMessage("wz", 3, {}, ByteString(1, '\0')));
  ByteString codes;
  for (std::int64_t i = 0; i < width * width; ++i) codes.push_back(static_cast<char>(i * 7919 % 200 - 100));
  w.Initializer(TensorMessage("wc", 3, {width, width}, codes));
  const std::string x = w.Node("DequantizeLinear", {w.Node("QuantizeLinear", {"x", "s", "z"}), "s", "z"});
  const std::string weights = w.Node("DequantizeLinear", {"wc", w.Scalar(0.001F), "wz"});
  w.Node("Gemm", {x, weights}, {IntAttribute("transB", 1)}, "y");
  w.Output("y", {1, width});
  const ByteString file = w.Finish();
  const auto made = BuildOn(file, nullptr);
  REQUIRE_MESSAGE(made.ok(), made.status().message());
  REQUIRE(std::any_of(made->steps().begin(), made->steps().end(),
                      [](const GraphStep& step) { return step.op->name == "CodeProduct" && step.kernel != nullptr; }));
  const auto needed_bytes = static_cast<std::size_t>(width * width);
  CHECK(made->constant_bytes() > needed_bytes);
  CHECK(made->constant_bytes() < needed_bytes + needed_bytes / 4);
  const ByteString packed = made->constants().Pack(Key());
  CHECK(packed.size() < needed_bytes + needed_bytes / 4);
  const AlignedBytes mapping = Aligned(packed);
  auto constants = ConstantStore::Open(View(mapping, packed.size()), Key());
  REQUIRE(constants.ok());
  const auto opened = BuildOn(file, *constants);
  REQUIRE_MESSAGE(opened.ok(), opened.status().message());
  const OwnedTensor input = Make<float>({1, width}, Numbers(width));
  const std::vector<TensorRef> refs{input.ref()};
  const auto first = GraphExecutor(*made).Run(refs);
  const auto second = GraphExecutor(*opened).Run(refs);
  REQUIRE((first.ok() && second.ok()));
  CHECK(Values<float>((*first)[0]) == Values<float>((*second)[0]));
}

// Changes the bytes of weights in a file, so that whoever reads them gets other numbers.
ByteString WithOtherWeights(ByteString file, std::int64_t width) {
  const auto spoil = [&](const ByteString& bytes) {
    const std::size_t at = file.find(bytes);
    REQUIRE(at != ByteString::npos);
    for (std::size_t i = 0; i < bytes.size(); ++i) file[at + i] = static_cast<char>(file[at + i] ^ 0x15);
  };
  // The two matrices are of the same numbers.
  for (const std::int64_t count : {width * 8 * 9, std::int64_t{16 * 4 * 9}, 400 * width, 400 * width}) {
    const std::vector<float> values = Numbers(count);
    spoil(ByteString(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)));
  }
  ByteString codes;
  for (std::int64_t i = 0; i < 16 * width * 9; ++i) codes.push_back(static_cast<char>(i * 7919 % 200 - 100));
  spoil(codes);
  return file;
}

TEST_CASE("packed graph: building on it reads no weights of the file") {
  const ByteString file = Network(64);
  const auto made = BuildOn(file, nullptr);
  REQUIRE_MESSAGE(made.ok(), made.status().message());
  const ByteString packed = made->constants().Pack(Key());
  const AlignedBytes mapping = Aligned(packed);
  auto constants = ConstantStore::Open(View(mapping, packed.size()), Key());
  REQUIRE(constants.ok());
  const ByteString other = WithOtherWeights(file, 64);
  const auto opened = BuildOn(other, *constants);
  REQUIRE_MESSAGE(opened.ok(), opened.status().message());
  CHECK(RunOnce(*opened) == RunOnce(*made));
  const auto of_other = BuildOn(other, nullptr);
  REQUIRE(of_other.ok());
  CHECK(RunOnce(*of_other) != RunOnce(*made));
}

TEST_CASE("packed graph: one of another graph, processor, limit or version is refused") {
  const ByteString file = Network(32);
  const auto made = BuildOn(file, nullptr);
  REQUIRE(made.ok());
  const ByteString packed = made->constants().Pack(Key());
  const AlignedBytes mapping = Aligned(packed);
  CHECK(ConstantStore::Open(View(mapping, packed.size()), Key(8)).status().code() == ErrorCode::kUnsupported);
  PackedGraphKey other = Key();
  other.level = static_cast<CpuLevel>(static_cast<int>(other.level) + 1);
  CHECK(ConstantStore::Open(View(mapping, packed.size()), other).status().code() == ErrorCode::kUnsupported);
  // The version before, whose blocks were others.
  ByteString older = packed;
  older[8] = static_cast<char>(kPackedGraphVersion - 1);
  const std::uint32_t crc = Crc32c(Bytes(older).substr(0, 124));
  std::memcpy(older.data() + 124, &crc, sizeof(crc));
  const AlignedBytes older_mapping = Aligned(older);
  CHECK(ConstantStore::Open(View(older_mapping, older.size()), Key()).status().code() == ErrorCode::kUnsupported);
  other = Key();
  ++other.memory_bytes_max;
  CHECK(ConstantStore::Open(View(mapping, packed.size()), other).status().code() == ErrorCode::kUnsupported);
  // The right key on the wrong blocks, of more and of fewer bytes.
  for (const std::int64_t width : {31, 33}) {
    auto constants = ConstantStore::Open(View(mapping, packed.size()), Key());
    REQUIRE(constants.ok());
    CHECK(BuildOn(Network(width), *constants).status().code() == ErrorCode::kCorruption);
  }
  // Blocks that are left over.
  auto constants = ConstantStore::Open(View(mapping, packed.size()), Key());
  OnnxWriter small;
  small.Input("x", {3}, 1);
  small.Node("Relu", {"x"}, {}, "y");
  small.Output("y", {3});
  CHECK(BuildOn(small.Finish(), *constants).status().code() == ErrorCode::kCorruption);
}

TEST_CASE("packed graph: a damaged one is refused wherever the damage is") {
  const auto made = BuildOn(Network(16), nullptr);
  REQUIRE(made.ok());
  const ByteString packed = made->constants().Pack(Key());
  const auto open = [](const ByteString& bytes) {
    const AlignedBytes mapping = Aligned(bytes);
    return ConstantStore::Open(View(mapping, bytes.size()), Key()).status().code();
  };
  CHECK(open(packed) == ErrorCode::kOk);
  for (std::size_t at = 0; at < packed.size(); at += at < 2'048 ? 1 : 97) {
    CAPTURE(at);
    ByteString damaged = packed;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    CHECK((open(damaged) == ErrorCode::kCorruption || open(damaged) == ErrorCode::kUnsupported));
    CHECK((open(packed.substr(0, at)) == ErrorCode::kCorruption ||
           open(packed.substr(0, at)) == ErrorCode::kUnsupported));
  }
  const AlignedBytes mapping = Aligned(packed);
  CHECK(ConstantStore::Open(View(mapping, packed.size()).substr(1), Key()).status().code() ==
        ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace foreshore::graph
