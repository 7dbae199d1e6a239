// Goal: what lies in a model's directory becomes one model, or one error that names the file.
#include "engine/inference/import_model.h"

#include <doctest/doctest.h>

#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "tests/engine/inference/onnx_writer.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

const std::string kTiny = FORESHORE_GOLDEN_DIR "/bert_tiny";

// A copy of the tiny model in which files can be changed.
class ModelCopy {
 public:
  ModelCopy() {
    for (const char* file : {"config.json", "model.safetensors", "vocab.txt"}) {
      Write(file, *ReadFile(kTiny + "/" + file));
    }
  }
  std::string path() const { return directory_.path(); }
  void Write(const std::string& file, const ByteString& content) {
    REQUIRE(WriteFileAtomic(path() + "/" + file, content).ok());
  }
  void WriteIn(const std::string& folder, const std::string& file, const ByteString& content) {
    REQUIRE(CreateDirectories(path() + "/" + folder).ok());
    Write(folder + "/" + file, content);
  }
  ByteString Read(const std::string& file) const { return *ReadFile(path() + "/" + file); }
  void Replace(const std::string& file, const std::string& from, const std::string& to) {
    ByteString content = Read(file);
    const std::size_t place = content.find(from);
    REQUIRE(place != std::string::npos);
    Write(file, content.replace(place, from.size(), to));
  }
  void CheckRefused(ErrorCode code, std::string_view part) const {
    const Status status = ImportModel(path()).status();
    CAPTURE(status.ToString());
    CHECK(status.code() == code);
    CHECK(status.message().find(part) != std::string::npos);
    CHECK(status.message().find(path()) != std::string::npos);
  }

 private:
  TemporaryDirectory directory_;
};

TEST_CASE("import: safetensors and both ONNX forms give the same model, bit for bit") {
  const auto safetensors = ImportModel(kTiny);
  REQUIRE_MESSAGE(safetensors.ok(), safetensors.status().message());
  CHECK(safetensors->format == "safetensors");
  CHECK(safetensors->provenance.origin == "foreshore/bert-tiny");
  CHECK(safetensors->model.config.hidden_size == 8);
  CHECK(safetensors->model.config.token_count_max == 12);
  CHECK(safetensors->tokenizer.config().token_count_max == 12);
  for (const char* file : {"/opset13.onnx", "/opset17.onnx"}) {
    CAPTURE(file);
    const auto onnx = ImportModel(kTiny + file);
    REQUIRE_MESSAGE(onnx.ok(), onnx.status().message());
    CHECK(onnx->format == "onnx");
    CHECK(onnx->model.config == safetensors->model.config);
    REQUIRE(onnx->model.tensors.size() == safetensors->model.tensors.size());
    for (std::size_t i = 0; i < onnx->model.tensors.size(); ++i) {
      CAPTURE(onnx->model.tensors[i].name);
      CHECK(onnx->model.tensors[i].name == safetensors->model.tensors[i].name);
      CHECK(onnx->model.tensors[i].bytes == safetensors->model.tensors[i].bytes);
    }
  }
}

TEST_CASE("import: an ONNX file's tokenizer may lie elsewhere") {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/alone.onnx";
  REQUIRE(WriteFileAtomic(path, *ReadFile(kTiny + "/opset17.onnx")).ok());
  CHECK(ImportModel(path).status().code() == ErrorCode::kNotFound);
  CHECK(ImportModel(path, {kTiny}).ok());
  CHECK(ImportModel(path, {kTiny + "/vocab.txt"}).ok());
  CHECK(ImportModel(path, {kTiny + "/none.txt"}).status().code() == ErrorCode::kNotFound);
}

TEST_CASE("import: sentence settings bound the length and switch normalisation off") {
  ModelCopy copy;
  copy.Write("sentence_bert_config.json", R"({"max_seq_length": 9})");
  CHECK(ImportModel(copy.path())->model.config.token_count_max == 9);
  CHECK(ImportModel(copy.path())->tokenizer.config().token_count_max == 9);
  CHECK(ImportModel(copy.path())->model.config.normalise);
  copy.Write("modules.json", R"([{"type":"sentence_transformers.models.Transformer","path":""},)"
                             R"({"type":"sentence_transformers.models.Pooling","path":"1_Pooling"}])");
  CHECK(!ImportModel(copy.path())->model.config.normalise);
  copy.WriteIn("1_Pooling", "config.json", R"({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false})");
  CHECK(ImportModel(copy.path()).ok());
}

TEST_CASE("import: the model card's licence is kept") {
  ModelCopy copy;
  copy.Write("README.md", "---\nlanguage: en\nlicense: apache-2.0\n---\nlicense: other\n");
  CHECK(ImportModel(copy.path())->provenance.licence == "apache-2.0");
  copy.Write("README.md", "---\nlanguage: en\n---\nlicense: other\n");
  CHECK(ImportModel(copy.path())->provenance.licence.empty());
}

TEST_CASE("import: other pooling is refused by name") {
  ModelCopy copy;
  copy.WriteIn("1_Pooling", "config.json", R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false})");
  copy.CheckRefused(ErrorCode::kUnsupported, "pooling is pooling_mode_cls_token");
  copy.WriteIn("1_Pooling", "config.json", R"({"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": true})");
  copy.CheckRefused(ErrorCode::kUnsupported, "pooling is pooling_mode_max_tokens");
  copy.WriteIn("1_Pooling", "config.json", R"({"pooling_mode_mean_tokens": false})");
  copy.CheckRefused(ErrorCode::kUnsupported, "pooling is not set");
}

TEST_CASE("import: modules after the encoder that are not known are refused, and so is a path out of the directory") {
  ModelCopy copy;
  copy.Write("modules.json", R"([{"type":"sentence_transformers.models.Dense"},{"type":"x.models.LSTM"}])");
  copy.CheckRefused(ErrorCode::kUnsupported, "sentence_transformers.models.Dense, x.models.LSTM");
  copy.Write("modules.json", R"([{"type":"x.Pooling","path":"../elsewhere"}])");
  copy.CheckRefused(ErrorCode::kInvalidArgument, "leaves the model's directory");
}

TEST_CASE("import: every setting of config.json that is not BERT's is named at once") {
  ModelCopy copy;
  copy.Write(
      "config.json",
      R"({"model_type":"roberta","hidden_act":"gelu_new","position_embedding_type":"relative_key","is_decoder":true})");
  const Status status = ImportModel(copy.path()).status();
  CAPTURE(status.message());
  CHECK(status.code() == ErrorCode::kUnsupported);
  for (const char* part : {"model_type is \"roberta\"", "hidden_act is \"gelu_new\"",
                           "position_embedding_type is \"relative_key\"", "is_decoder is true"}) {
    CHECK(status.message().find(part) != std::string::npos);
  }
  copy.Write("config.json", R"({"model_type":"bert","hidden_size":8})");
  copy.CheckRefused(ErrorCode::kCorruption, "num_hidden_layers, num_attention_heads, intermediate_size, vocab_size");
}

TEST_CASE("import: what is not supported in any of the files is named at once") {
  ModelCopy copy;
  copy.Replace("config.json", "\"bert\"", "\"roberta\"");
  copy.Write("modules.json", R"([{"type":"x.models.Dense"},{"type":"x.Pooling","path":"1_Pooling"}])");
  copy.WriteIn("1_Pooling", "config.json", R"({"pooling_mode_cls_token": true})");
  copy.Write("tokenizer.json", R"({"model":{"type":"BPE"}})");
  copy.Replace("model.safetensors", "\"F32\"", "\"F64\"");
  const Status status = ImportModel(copy.path()).status();
  CAPTURE(status.message());
  CHECK(status.code() == ErrorCode::kUnsupported);
  for (const char* part :
       {"modules.json: modules x.models.Dense", "config.json: pooling is pooling_mode_cls_token",
        "tokenizer.json: tokenizer model is BPE", "config.json: model_type is \"roberta\"", "of type F64"}) {
    CAPTURE(part);
    CHECK(status.message().find(part) != std::string::npos);
  }
}

TEST_CASE("import: licence and origin come from the weights' metadata where nothing else says them") {
  ModelCopy copy;
  const ByteString file = copy.Read("model.safetensors");
  const auto header_bytes = LoadFixed<std::uint64_t>(file.data());
  std::string header(file, 8, header_bytes);
  const std::string metadata = R"("__metadata__":{)";
  const std::size_t place = header.find(metadata);
  REQUIRE(place != std::string::npos);
  header.insert(place + metadata.size(), R"("license":"mit","source":"https://example.org/m",)");
  ByteString changed;
  AppendFixed(changed, static_cast<std::uint64_t>(header.size()));
  copy.Write("model.safetensors", changed + header + file.substr(8 + header_bytes));
  const auto imported = ImportModel(copy.path());
  REQUIRE_MESSAGE(imported.ok(), imported.status().ToString());
  CHECK(imported->provenance.licence == "mit");
  CHECK(imported->provenance.origin == "foreshore/bert-tiny");  // config.json comes first.
  copy.Write("README.md", "---\nlicense: apache-2.0\n---\n");
  CHECK(ImportModel(copy.path())->provenance.licence == "mit");
  copy.Write("model.safetensors", file);
  CHECK(ImportModel(copy.path())->provenance.licence == "apache-2.0");
}

TEST_CASE("import: an ONNX file's metadata says licence and origin") {
  ModelCopy copy;
  ByteString file = *ReadFile(kTiny + "/opset17.onnx");
  for (const auto& [key, value] : {std::pair{"License", "mit"}, {"source_url", "https://example.org/m"}}) {
    ByteString pair;
    PutBytes(pair, 1, key);
    PutBytes(pair, 2, value);
    PutBytes(file, 14, pair);
  }
  copy.Write("a.onnx", file);
  const auto imported = ImportModel(copy.path() + "/a.onnx");
  REQUIRE_MESSAGE(imported.ok(), imported.status().ToString());
  CHECK(imported->provenance.licence == "mit");
  CHECK(imported->provenance.origin == "https://example.org/m");
}

TEST_CASE("import: tensors that are missing, too many or of another shape are all named") {
  ModelCopy copy;
  copy.Replace("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
  copy.CheckRefused(ErrorCode::kInvalidArgument, "\"layer.2.query.weight\" is missing");
  copy.Replace("config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 1");
  copy.CheckRefused(ErrorCode::kInvalidArgument, "\"layer.1.query.weight\" is unknown");
  copy.Replace("config.json", "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2");
  copy.Replace("config.json", "\"intermediate_size\": 16", "\"intermediate_size\": 17");
  copy.CheckRefused(ErrorCode::kInvalidArgument, "\"layer.0.up.weight\" is f32 [16,8], expected f32 [17,8]");
}

TEST_CASE("import: a tokenizer with more tokens than the embedding is refused") {
  ModelCopy copy;
  copy.Write("vocab.txt", copy.Read("vocab.txt") + "extra\n");
  copy.CheckRefused(ErrorCode::kInvalidArgument, "tokenizer has 25 tokens, the model's embedding has 24");
}

TEST_CASE("import: weights that are not finite are refused") {
  ModelCopy copy;
  ByteString file = copy.Read("model.safetensors");
  file.replace(file.size() - 4, 4, ByteString("\x00\x00\xC0\x7F", 4));
  copy.Write("model.safetensors", file);
  copy.CheckRefused(ErrorCode::kInvalidArgument, "is not finite");
}

TEST_CASE("import: missing files are named") {
  TemporaryDirectory directory;
  CHECK(ImportModel(directory.path()).status().code() == ErrorCode::kNotFound);
  CHECK(ImportModel(directory.path() + "/none").status().code() == ErrorCode::kNotFound);
  REQUIRE(WriteFileAtomic(directory.path() + "/model.pt", "x").ok());
  CHECK(ImportModel(directory.path() + "/model.pt").status().code() == ErrorCode::kUnsupported);
}

TEST_CASE("import: cut and bit-flipped weights are errors or a model, never a crash") {
  ModelCopy copy;
  const ByteString file = copy.Read("model.safetensors");
  for (std::size_t size = 0; size < file.size(); size += 97) {
    copy.Write("model.safetensors", file.substr(0, size));
    CHECK(!ImportModel(copy.path()).ok());
  }
  for (std::size_t i = 0; i < file.size(); i += 53) {
    ByteString flipped = file;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
    copy.Write("model.safetensors", flipped);
    ImportModel(copy.path()).status().IgnoreError();
  }
}

}  // namespace
}  // namespace foreshore
