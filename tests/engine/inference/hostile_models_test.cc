// Goal: the ways in which readers of model files have been broken elsewhere do not break ours.
//
// A class of attack to a row, after the published records; where a reader's own test has it, that is named here.
//
//   class                                      ONNX                 safetensors, GPTQ, LoRA   GGUF
//   size that wraps to a small allocation      onnx_reader_test     safetensors_test          gguf_test
//     (CVE-2025-53630, CVE-2026-27940, CVE-2026-33298)
//   shape larger than the data (CVE-2026-7482) onnx_reader_test     safetensors_test          gguf_test
//   dimension cut to 32 bits (CVE-2026-53923)  here                 here                      gguf_test
//   misaligned data                            here                 safetensors_test          gguf_test
//   rank that grows                            onnx_reader_test     here                      gguf_test
//   data outside the file                      onnx_reader_test     has none                  gguf_bert_test (split
//   files)
//     (CVE-2024-27318, CVE-2025-51480)
//   injected attributes, huge allocation       here, graph_test,    here                      gguf_test
//     (CVE-2026-34445)                         hostile_test
//   keys twice                                 here, graph_test     safetensors_test,         gguf_test
//                                                                   json_reader_test
//   empty tensor over another                  here                 safetensors_test          gguf_test
//   recursion                                  onnx_reader_test     json_reader_test          gguf_test
//
// Tokenizers and the files beside them are JSON or lines: json_reader_test and tokenizer_files_test. Stored bytes:
// bert_packed_test, wordpiece_test, model_manifest_test. Indexes: hnswlib_file_test, hnsw_snapshot_test.
#include <doctest/doctest.h>

#include <limits>

#include "engine/inference/bert_adapter.h"
#include "engine/inference/gptq_checkpoint.h"
#include "engine/inference/onnx_bert_import.h"
#include "engine/inference/onnx_reader.h"
#include "engine/inference/peft_adapter.h"
#include "engine/inference/safetensors.h"
#include "tests/engine/inference/low_rank_model.h"
#include "tests/engine/inference/onnx_writer.h"

namespace foreshore {
namespace {

ByteString ModelOf(Bytes graph) {
  ByteString model;
  PutInt(model, 1, 8);
  PutBytes(model, 7, graph);
  ByteString set;
  PutInt(set, 2, 17);
  PutBytes(model, 8, set);
  return model;
}

ErrorCode ReadOnnxCode(Bytes graph) {
  const ByteString model = ModelOf(graph);
  return ReadOnnx("m.onnx", model).status().code();
}

ByteString Initializers(const std::vector<ByteString>& tensors) {
  ByteString graph;
  for (const ByteString& tensor : tensors) PutBytes(graph, 5, tensor);
  return graph;
}

}  // namespace

TEST_CASE("hostile model: a dimension whose low 32 bits fit the data is refused") {
  constexpr std::int64_t kWide = (1LL << 32) + 4;
  CHECK(ReadOnnxCode(Initializers({TensorMessage("w", 1, {4}, ByteString(16, 'a'))})) == ErrorCode::kOk);
  CHECK(ReadOnnxCode(Initializers({TensorMessage("w", 1, {kWide}, ByteString(16, 'a'))})) != ErrorCode::kOk);
  CHECK(ReadOnnxCode(Initializers({TensorMessage("w", 1, {1LL << 32, 1}, "")})) != ErrorCode::kOk);
  const auto safetensors = [](std::uint64_t dimension) {
    const ByteString bytes = SafetensorsBytes({{"w", "F32", {dimension}, ByteString(16, 'a')}});
    return ReadSafetensors("m", bytes).status().code();
  };
  CHECK(safetensors(4) == ErrorCode::kOk);
  CHECK(safetensors(kWide) == ErrorCode::kCorruption);
  CHECK(safetensors((1ULL << 62) + 4) != ErrorCode::kOk);
}

TEST_CASE("hostile model: GPTQ tensors of sizes that wrap, and groups that are none, are refused") {
  BertConfig config = SmallBertConfig();
  config.hidden_size = 64;
  BertModel dequantized;
  const auto file = GptqWriter{32, false, false, false}.Write(RandomBert(config, 5), dequantized);
  const auto read = [&](const std::vector<FileTensor>& tensors, const GptqCheckpointConfig& gptq) {
    const ByteString bytes = SafetensorsBytes(tensors);
    const auto views = ReadSafetensors("m", bytes);
    if (!views.ok()) return views.status();
    return BertFromGptq("m", config, gptq, views->tensors).status();
  };
  REQUIRE(read(file, {4, 32, false}).ok());
  for (const std::int64_t group_size :
       {std::int64_t{0}, std::int64_t{-2}, std::int64_t{1} << 32, (std::int64_t{1} << 32) + 32,
        std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()}) {
    CAPTURE(group_size);
    CHECK(!read(file, {4, group_size, false}).ok());
  }
  for (const std::uint32_t bits : {0U, 1U, 5U, 32U, 64U}) CHECK(!read(file, {bits, 32, false}).ok());
  // Every tensor in turn: without its last dimension, with one more, empty.
  for (std::size_t i = 0; i < file.size(); ++i) {
    CAPTURE(file[i].name);
    auto grown = file;
    grown[i].shape.insert(grown[i].shape.begin(), 1);
    CHECK(!read(grown, {4, 32, false}).ok());
    auto empty = file;
    empty[i].shape = {0};
    empty[i].bytes.clear();
    CHECK(!read(empty, {4, 32, false}).ok());
  }
}

TEST_CASE("hostile model: an adapter's rank and scale are bounded before anything is made of them") {
  BertConfig config = SmallBertConfig();
  BertModel merged = RandomBert(config, 6);
  const LoraWriter writer;
  const ByteString weights = SafetensorsBytes(writer.Write(merged));
  const auto read = [&](const std::string& from, const std::string& to) {
    std::string settings = writer.Config();
    const std::size_t place = settings.find(from);
    REQUIRE(place != std::string::npos);
    settings.replace(place, from.size(), to);
    return ReadPeftAdapter("c", settings, "w", weights).status();
  };
  const std::string rank = "\"r\":" + std::to_string(writer.rank);
  CHECK(read(rank, rank).ok());
  for (const char* wrong : {"0", "-1", "257", "4294967304", "18446744073709551615", "1e400", "8.5", "\"8\"", "null"}) {
    CAPTURE(wrong);
    CHECK(!read(rank, std::string("\"r\":") + wrong).ok());
  }
  for (const char* wrong : {"1e300", "-1e7", "\"x\"", "null"}) {
    CAPTURE(wrong);
    CHECK(!read("\"lora_alpha\":" + std::to_string(static_cast<int>(writer.alpha)),
                std::string("\"lora_alpha\":") + wrong)
               .ok());
  }
  CHECK(!read("\"bias\":\"none\"", "\"bias\":\"none\",\"r\":8").ok());    // A key twice.
  CHECK(!read("\"bias\":\"none\"", "\"rank_pattern\":{\".*\":8}").ok());  // An expression would be run.
  CHECK(!read("\"bias\":\"none\"", "\"x\":" + std::string(100'000, '[')).ok());
}

TEST_CASE("hostile model: an attribute twice does not decide which one counts by chance") {
  // The first counts everywhere, so what was checked is what runs.
  OnnxWriter writer;
  writer.Node("Relu", {"x"}, {IntAttribute("axis", 1), IntAttribute("axis", 2)}, "y");
  const ByteString model = ModelOf(writer.Graph());
  const auto read = ReadOnnx("m.onnx", model);
  CHECK(read.status().code() == ErrorCode::kCorruption);
  CHECK(read.status().message().find("attribute \"axis\" appears twice") != std::string::npos);
}

TEST_CASE(
    "hostile model: names that objects have elsewhere are attributes like any other, and unknown ones are refused") {
  // CVE-2026-34445 set whatever a file named; here a name is only looked up.
  ByteString entry;
  PutBytes(entry, 1, "__class__");
  PutBytes(entry, 2, "x");
  ByteString tensor = TensorMessage("w", 1, {1}, ByteString(4, '\0'));
  PutBytes(tensor, 13, entry);  // external_data without external data_location.
  CHECK(ReadOnnxCode(Initializers({tensor})) != ErrorCode::kInternal);
  OnnxWriter writer;
  writer.Input("x", {2}, 1);
  writer.Output(writer.Node("Relu", {"x"}, {StringAttribute("__class__", "os.system")}, "y"), {});
  const ByteString model = writer.Finish();
  CHECK(!ImportOnnxBert("m.onnx", model).ok());
}

TEST_CASE("hostile model: ONNX data at any address is read, and an empty tensor has none") {
  for (std::size_t shift = 0; shift < 8; ++shift) {
    CAPTURE(shift);
    const ByteString graph =
        Initializers({TensorMessage("pad" + std::string(shift, 'x'), 3, {1}, "a"),
                      TensorMessage("w", 7, {2}, IntBytes({5, -6})), TensorMessage("empty", 1, {0, 1LL << 40}, "")});
    const ByteString model = ModelOf(graph);
    const auto read = ReadOnnx("m.onnx", model);
    REQUIRE_MESSAGE(read.ok(), read.status().ToString());
    CHECK(read->initializers[1].bytes() == Bytes(IntBytes({5, -6})));
    CHECK(read->initializers[2].bytes().empty());
  }
  CHECK(ReadOnnxCode(Initializers({TensorMessage("w", 1, {0, 4}, ByteString(16, 'a'))})) != ErrorCode::kOk);
}

}  // namespace foreshore
