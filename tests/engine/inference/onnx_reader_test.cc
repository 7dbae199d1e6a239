// Goal: nothing in an ONNX file makes the reader trust a size, follow a path, or nest without end.
#include "engine/inference/onnx_reader.h"

#include <doctest/doctest.h>

#include "tests/engine/inference/onnx_writer.h"

namespace foreshore {
namespace {

ByteString ModelWith(const ByteString& graph) {
  ByteString model;
  PutBytes(model, 7, graph);
  return model;
}
ByteString ModelWithTensor(const ByteString& tensor) {
  ByteString graph;
  PutBytes(graph, 5, tensor);
  return ModelWith(graph);
}

void CheckTensor(const ByteString& tensor, ErrorCode code, std::string_view part) {
  const Result<OnnxModel> model = ReadOnnx("m.onnx", ModelWithTensor(tensor));
  REQUIRE(!model.ok());
  CAPTURE(model.status().ToString());
  CHECK(model.status().code() == code);
  CHECK(model.status().message().find(part) != std::string::npos);
}

TEST_CASE("onnx reader: nodes, attributes, tensors and shapes read back") {
  OnnxWriter writer;
  writer.Floats("w", {2, 3}, {1, 2, 3, 4, 5, 6});
  writer.Node("Op", {"w", ""},
              {IntAttribute("axis", -1), FloatAttribute("epsilon", 0.5F), IntsAttribute("perm", {1, 0}),
               StringAttribute("mode", "none")},
              "out", "ai.onnx");
  writer.Input("x", {-1, 4});
  writer.Output("out", {2});
  const ByteString bytes = writer.Finish(18);
  const Result<OnnxModel> model = ReadOnnx("m.onnx", bytes);
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  CHECK(model->opset_version() == 18);
  CHECK(model->producer == "test");
  REQUIRE(model->nodes.size() == 1);
  const OnnxNode& node = model->nodes[0];
  CHECK(node.domain.empty());
  CHECK(node.inputs == std::vector<std::string_view>{"w", ""});
  CHECK(node.IntAttribute("axis", 0) == -1);
  CHECK(node.IntAttribute("other", 7) == 7);
  CHECK(node.FloatAttribute("epsilon", 0) == 0.5F);
  CHECK(node.Attribute("perm")->ints == std::vector<std::int64_t>{1, 0});
  CHECK(node.Attribute("mode")->s == "none");
  CHECK(model->initializers[0].dims == std::vector<std::uint64_t>{2, 3});
  CHECK(model->initializers[0].bytes() == FloatBytes({1, 2, 3, 4, 5, 6}));
  CHECK(model->inputs[0].dims == std::vector<std::int64_t>{-1, 4});
}

TEST_CASE("onnx reader: raw bytes are borrowed, typed fields are decoded, packed or not") {
  ByteString packed;
  for (const std::int64_t value : {1, -1, 300}) AppendVarint(packed, static_cast<std::uint64_t>(value));
  ByteString tensor;
  PutInt(tensor, 1, 3);
  PutInt(tensor, 2, 7);
  PutBytes(tensor, 7, packed);
  const Result<OnnxModel> ints = ReadOnnx("m.onnx", ModelWithTensor(tensor));
  REQUIRE(ints.ok());
  CHECK(ints->initializers[0].bytes() == IntBytes({1, -1, 300}));

  ByteString halves;  // binary16 in int32_data, one by one, before the type is known.
  PutInt(halves, 5, 0x3C00);
  PutInt(halves, 5, 0xBC00);
  PutInt(halves, 1, 2);
  PutInt(halves, 2, 10);
  const Result<OnnxModel> model = ReadOnnx("m.onnx", ModelWithTensor(halves));
  REQUIRE(model.ok());
  CHECK(model->initializers[0].bytes() == Bytes("\x00\x3C\x00\xBC", 4));

  const ByteString file = ModelWithTensor(TensorMessage("w", 1, {2}, FloatBytes({1, 2})));
  const Result<OnnxModel> raw = ReadOnnx("m.onnx", file);
  REQUIRE(raw.ok());
  const Bytes view = raw->initializers[0].bytes();
  CHECK(view.data() >= file.data());
  CHECK(view.data() < file.data() + file.size());
}

TEST_CASE("onnx reader: a shape larger than its data is refused") {
  CheckTensor(TensorMessage("w", 1, {1000, 1000}, FloatBytes({1})), ErrorCode::kCorruption, "need 4000000");
}
TEST_CASE("onnx reader: data larger than its shape is refused") {
  CheckTensor(TensorMessage("w", 1, {1}, FloatBytes({1, 2})), ErrorCode::kCorruption, "8 bytes of data");
  ByteString tensor;
  PutInt(tensor, 1, 1);
  PutInt(tensor, 2, 7);
  PutInt(tensor, 7, 1);
  PutInt(tensor, 7, 2);
  CheckTensor(tensor, ErrorCode::kCorruption, "more data than its shape needs");
}
TEST_CASE("onnx reader: dimensions whose product wraps are refused") {
  CheckTensor(TensorMessage("w", 1, {1LL << 32, 1LL << 32}, ""), ErrorCode::kLimit, "2^63");
  CheckTensor(TensorMessage("w", 1, {0, 1LL << 40, 1LL << 40}, ""), ErrorCode::kLimit, "2^63");
}
TEST_CASE("onnx reader: a negative dimension is refused") {
  CheckTensor(TensorMessage("w", 1, {-1}, ""), ErrorCode::kLimit, "2^63");
}
TEST_CASE("onnx reader: more than eight dimensions are refused") {
  CheckTensor(TensorMessage("w", 1, std::vector<std::int64_t>(9, 1), FloatBytes({1})), ErrorCode::kLimit,
              "8 dimensions");
  CheckTensor(TensorMessage("w", 1, std::vector<std::int64_t>(100'000, 1), FloatBytes({1})), ErrorCode::kLimit,
              "8 dimensions");
}
TEST_CASE("onnx reader: numbers that do not fit their element type are refused") {
  ByteString tensor;
  PutInt(tensor, 1, 1);
  PutInt(tensor, 2, 3);
  PutInt(tensor, 5, 300);
  CheckTensor(tensor, ErrorCode::kCorruption, "data of another type");
}
TEST_CASE("onnx reader: data both raw and typed is refused") {
  ByteString tensor = TensorMessage("w", 7, {1}, IntBytes({1}));
  PutInt(tensor, 7, 2);
  CheckTensor(tensor, ErrorCode::kCorruption, "raw and typed");
}

TEST_CASE("onnx reader: data outside the file is refused, every tensor named") {
  ByteString graph;
  for (const char* name : {"first", "second"}) {
    ByteString location;
    PutBytes(location, 1, "location");
    PutBytes(location, 2, "../../etc/passwd");
    ByteString tensor;
    PutInt(tensor, 1, 4);
    PutInt(tensor, 2, 1);
    PutBytes(tensor, 8, name);
    PutBytes(tensor, 13, location);
    PutInt(tensor, 14, 1);
    PutBytes(graph, 5, tensor);
  }
  const Status status = ReadOnnx("m.onnx", ModelWith(graph)).status();
  CAPTURE(status.ToString());
  CHECK(status.code() == ErrorCode::kUnsupported);
  CHECK(status.message().find("2 tensors keep their data outside the file (first, second)") != std::string::npos);
}

TEST_CASE("onnx reader: graphs inside attributes are read to a depth, and refused beyond it") {
  const auto nested = [](std::size_t depth) {
    ByteString inner;
    for (std::size_t i = 1; i < depth; ++i) {
      ByteString node;
      PutBytes(node, 5, GraphAttribute("body", inner));
      inner.clear();
      PutBytes(inner, 1, node);
    }
    return ModelWith(inner);
  };
  const Result<OnnxModel> model = ReadOnnx("m.onnx", nested(kOnnxGraphDepthMax));
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  CHECK(model->nodes[0].attributes[0].holds_graph);
  CHECK(model->nodes[0].attributes[0].graphs.size() == 1);
  for (const std::size_t depth : {kOnnxGraphDepthMax + 1, std::size_t{5'000}}) {
    const Status status = ReadOnnx("m.onnx", nested(depth)).status();
    CHECK(status.code() == ErrorCode::kLimit);
    CHECK(status.message() == "m.onnx: more than 8 graphs inside each other");
  }
}

TEST_CASE("onnx reader: unknown fields of every kind are skipped, groups only to a depth") {
  ByteString file;
  PutInt(file, 1000, 5);
  PutTag(file, 1001, 1);
  AppendFixed<std::uint64_t>(file, 1);
  PutTag(file, 1002, 5);
  AppendFixed<std::uint32_t>(file, 1);
  PutBytes(file, 1003, "text");
  PutTag(file, 1004, 3);
  PutInt(file, 1, 1);
  PutTag(file, 1004, 4);
  CHECK(ReadOnnx("m.onnx", file + ModelWith("")).ok());
  ByteString deep;
  for (int i = 0; i < 100'000; ++i) PutTag(deep, 9, 3);
  CHECK(ReadOnnx("m.onnx", deep).status().code() == ErrorCode::kCorruption);
}

TEST_CASE("onnx reader: counts are bounded") {
  ByteString graph;
  for (std::size_t i = 0; i <= kOnnxNodesMax; ++i) PutBytes(graph, 1, "");
  CHECK(ReadOnnx("m.onnx", ModelWith(graph)).status().code() == ErrorCode::kLimit);
  ByteString ints;
  for (std::size_t i = 0; i < 100'000; ++i) AppendVarint(ints, 1);
  ByteString attribute;
  PutBytes(attribute, 8, ints);
  ByteString node;
  PutBytes(node, 5, attribute);
  graph.clear();
  PutBytes(graph, 1, node);
  CHECK(ReadOnnx("m.onnx", ModelWith(graph)).status().code() == ErrorCode::kLimit);
  node.clear();
  for (std::size_t i = 0; i <= kOnnxListMax; ++i) PutBytes(node, 1, "x");
  graph.clear();
  PutBytes(graph, 1, node);
  CHECK(ReadOnnx("m.onnx", ModelWith(graph)).status().code() == ErrorCode::kLimit);
  ByteString metadata;
  for (int i = 0; i < 5'000; ++i) PutBytes(metadata, 14, "");
  CHECK(ReadOnnx("m.onnx", metadata + ModelWith("")).status().code() == ErrorCode::kLimit);
}

TEST_CASE("onnx reader: a long string is refused") {
  ByteString node;
  PutBytes(node, 3, ByteString(70'000, 'n'));
  ByteString graph;
  PutBytes(graph, 1, node);
  CHECK(ReadOnnx("m.onnx", ModelWith(graph)).status().code() == ErrorCode::kLimit);
}

TEST_CASE("onnx reader: two graphs, or none, are refused") {
  CHECK(ReadOnnx("m.onnx", ModelWith("") + ModelWith("")).status().code() == ErrorCode::kCorruption);
  CHECK(ReadOnnx("m.onnx", "").status().code() == ErrorCode::kCorruption);
  CHECK(ReadOnnx("m.onnx", "not a model at all").status().code() == ErrorCode::kCorruption);
}

}  // namespace
}  // namespace foreshore
