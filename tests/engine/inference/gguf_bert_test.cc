// Goal: a BERT in a GGUF file is the model that its safetensors are, and all that is not BERT is named at once.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "engine/inference/gguf_bert.h"
#include "engine/inference/import_model.h"
#include "storage/base/checksum.h"
#include "storage/base/file.h"
#include "tests/engine/inference/gguf_writer.h"
#include "tests/engine/inference/quantized_model.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

const std::string kTinyGguf = FORESHORE_GOLDEN_DIR "/gguf/bert_tiny.gguf";
const std::string kTiny = FORESHORE_GOLDEN_DIR "/bert_tiny";

void CheckSameTokenizer(const WordPieceTokenizer& found, const WordPieceTokenizer& expected) {
  CHECK(found.vocabulary() == expected.vocabulary());
  const auto sorted = [](std::vector<std::string> tokens) {
    std::sort(tokens.begin(), tokens.end());
    return tokens;
  };
  WordPieceConfig a = found.config();
  WordPieceConfig b = expected.config();
  a.added_tokens = sorted(a.added_tokens);
  b.added_tokens = sorted(b.added_tokens);
  CHECK(a == b);
}

// The tiny model's file, read, with keys changed, for BertFromGguf.
struct Changed {
  ByteString bytes = ReadFile(kTinyGguf).value();
  GgufFile file = ReadGguf("m.gguf", bytes).value();
  ByteString one = FixedBytesOf<std::uint32_t>(1);
  ByteString two = FixedBytesOf<std::uint32_t>(2);

  void Text(std::string_view key, Bytes value) { file.values[key] = {GgufValueType::kString, value}; }
  void Number(std::string_view key, const ByteString& value) { file.values[key] = {GgufValueType::kU32, value}; }
  GgufTensor& Named(std::string_view name) {
    const auto found =
        std::find_if(file.tensors.begin(), file.tensors.end(), [&](const auto& t) { return t.name == name; });
    REQUIRE(found != file.tensors.end());
    return *found;
  }
  void CheckRefused(ErrorCode code, const std::vector<std::string>& parts) const {
    const Status status = BertFromGguf("m.gguf", file).status();
    CAPTURE(status.ToString());
    CHECK(status.code() == code);
    for (const std::string& part : parts) {
      CAPTURE(part);
      CHECK(status.message().find(part) != std::string::npos);
    }
  }
};

std::string MiniLmPath(const std::string& file) {
  std::string cache;
  if (const char* set = std::getenv("FORESHORE_CACHE")) {
    cache = set;
  } else if (const char* xdg = std::getenv("XDG_CACHE_HOME")) {
    cache = std::string(xdg) + "/foreshore";
  } else {
    const char* home = std::getenv("HOME");
    cache = std::string(home == nullptr ? "" : home) + "/.cache/foreshore";
  }
  return cache + "/models/" + file;
}

bool IsMiniLmThere() {
  if (FileExists(MiniLmPath("minilm-gguf/STATE"))) return true;
  const char* ci = std::getenv("CI");
  if (ci != nullptr && std::string(ci) == "true") FAIL("no GGUF files in ", MiniLmPath("minilm-gguf"));
  MESSAGE("skipped: no GGUF files in ", MiniLmPath("minilm-gguf"), "; scripts/fetch.sh minilm-gguf");
  return false;
}

std::vector<float> EmbedTexts(const ImportedModel& imported) {
  std::vector<std::vector<std::int32_t>> sequences;
  for (const char* text : {"The pump's bearing overheats at full load.", "Überdruck im Kessel gemessen",
                           "library for reading time series from sensors in a plant", "你好 world", "x"}) {
    std::vector<std::uint32_t> ids;
    imported.tokenizer.Encode(text, ids);
    sequences.emplace_back(ids.begin(), ids.end());
  }
  return RunningModel(imported.model, WeightFormat::Float()).Embed(sequences);
}

float LeastCosine(const std::vector<float>& a, const std::vector<float>& b, std::size_t width) {
  float least = 1;
  for (std::size_t row = 0; row + width <= a.size(); row += width) {
    float dot = 0;
    for (std::size_t i = 0; i < width; ++i) dot += a[row + i] * b[row + i];
    least = std::min(least, dot);
  }
  return least;
}

}  // namespace

TEST_CASE("gguf bert: the tiny model is that of its safetensors, bit for bit, with its tokenizer and provenance") {
  const auto gguf = ImportModel(kTinyGguf);
  REQUIRE_MESSAGE(gguf.ok(), gguf.status().ToString());
  const ImportedModel expected = ImportModel(kTiny).value();
  CHECK(gguf->format == "gguf");
  CHECK(gguf->provenance.licence == "apache-2.0");
  CHECK(gguf->provenance.origin == "https://example.org/bert_tiny");
  CHECK(gguf->model.config == expected.model.config);
  REQUIRE(gguf->model.tensors.size() == expected.model.tensors.size());
  for (std::size_t i = 0; i < expected.model.tensors.size(); ++i) {
    CAPTURE(expected.model.tensors[i].name);
    CHECK(gguf->model.tensors[i].name == expected.model.tensors[i].name);
    CHECK(gguf->model.tensors[i].bytes == expected.model.tensors[i].bytes);
  }
  CheckSameTokenizer(gguf->tokenizer, expected.tokenizer);
}

TEST_CASE("gguf bert: a directory's only GGUF file is the model, and a tokenizer may be named") {
  TemporaryDirectory directory;
  REQUIRE(WriteFileAtomic(directory.path() + "/a.gguf", *ReadFile(kTinyGguf)).ok());
  CHECK(ImportModel(directory.path()).ok());
  CHECK(ImportModel(directory.path() + "/a.gguf", {kTiny}).ok());
  CHECK(ImportModel(directory.path() + "/a.gguf", {kTiny + "/none.txt"}).status().code() == ErrorCode::kNotFound);
  REQUIRE(WriteFileAtomic(directory.path() + "/b.gguf", *ReadFile(kTinyGguf)).ok());
  const Status status = ImportModel(directory.path()).status();
  CHECK(status.code() == ErrorCode::kNotFound);
  CHECK(status.message().find("2 .gguf files") != std::string::npos);
}

TEST_CASE("gguf bert: architecture, types, tokenizer and pooling that are not supported are named at once") {
  Changed changed;
  changed.Text("general.architecture", "llama");
  changed.Text("tokenizer.ggml.model", "gpt2");
  changed.Number("bert.pooling_type", changed.two);
  changed.file.values["bert.attention.causal"] = {GgufValueType::kBool, Bytes("\x01", 1)};
  changed.Number("split.count", changed.two);
  changed.Named("blk.0.attn_q.weight").type = FindGgmlType(16);
  changed.Named("blk.1.ffn_up.weight").type = nullptr;
  changed.Named("blk.1.ffn_up.weight").type_id = 77;
  changed.CheckRefused(
      ErrorCode::kUnsupported,
      {"general.architecture is \"llama\", expected \"bert\"", "tokenizer.ggml.model is \"gpt2\"",
       "bert.pooling_type is 2", "bert.attention.causal is true", "split into several files",
       "tensor \"blk.0.attn_q.weight\" is of type IQ2_XXS", "tensor \"blk.1.ffn_up.weight\" is of type 77"});
  for (GgufTensor& tensor : changed.file.tensors) tensor.type = FindGgmlType(16);
  changed.CheckRefused(ErrorCode::kUnsupported, {"; and 5 more; expected F32, F16"});
}

TEST_CASE("gguf bert: sizes, vocabulary and special tokens that are missing are named at once") {
  Changed changed;
  changed.file.values.erase("bert.block_count");
  changed.file.values.erase("bert.attention.layer_norm_epsilon");
  changed.CheckRefused(ErrorCode::kCorruption, {"bert.block_count, bert.attention.layer_norm_epsilon missing"});
  Changed tokens;
  tokens.file.values.erase("tokenizer.ggml.tokens");
  tokens.CheckRefused(ErrorCode::kCorruption, {"tokenizer.ggml.tokens missing"});
  Changed special;
  const ByteString beyond = FixedBytesOf<std::uint32_t>(24);
  special.Number("tokenizer.ggml.unknown_token_id", beyond);
  special.file.values.erase("tokenizer.ggml.seperator_token_id");
  special.CheckRefused(ErrorCode::kCorruption,
                       {"tokenizer.ggml.unknown_token_id, tokenizer.ggml.seperator_token_id missing or beyond the 24"});
}

TEST_CASE("gguf bert: tensors that are missing, unknown, of another shape or twice are named at once") {
  Changed changed;
  changed.Named("blk.0.attn_q.weight").name = "blk.0.attn_qkv.weight";
  changed.Named("blk.1.ffn_up.weight").shape = {8, 16};
  changed.Named("blk.1.ffn_up.bias").name = "blk.01.ffn_down.bias";
  changed.CheckRefused(
      ErrorCode::kInvalidArgument,
      {"\"layer.0.query.weight\" is missing", "\"layer.1.up.weight\" is f32 [8,16], expected f32 [16,8]",
       "\"blk.0.attn_qkv.weight\" is unknown", "\"layer.1.down.bias\" appears twice"});
  Changed infinite;
  const ByteString bad = FixedBytesOf(0x7FC00000U);
  ByteString values(infinite.Named("token_embd_norm.bias").bytes);
  values.replace(0, 4, bad);
  infinite.Named("token_embd_norm.bias").bytes = values;
  infinite.CheckRefused(ErrorCode::kInvalidArgument, {"is not finite"});
}

TEST_CASE("gguf bert: a vocabulary with capital letters is cased, and both ways of marking special tokens are read") {
  Changed changed;
  CHECK(BertFromGguf("m.gguf", changed.file)->tokenizer.config().lowercase);
  changed.file.values.erase("tokenizer.ggml.token_type");  // As in older files, which mark them by brackets.
  const auto older = BertFromGguf("m.gguf", changed.file);
  REQUIRE_MESSAGE(older.ok(), older.status().ToString());
  CHECK(older->tokenizer.config().lowercase);
  CHECK(older->tokenizer.vocabulary() == ImportModel(kTiny)->tokenizer.vocabulary());
  auto tokens = changed.file.Strings("tokenizer.ggml.tokens").value();
  ByteString array;
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) array += GgufText(tokens[i]);
  array += GgufText("\xE2\x96\x81Pump");
  changed.file.values["tokenizer.ggml.tokens"] = {GgufValueType::kArray, array, GgufValueType::kString, tokens.size()};
  const auto cased = BertFromGguf("m.gguf", changed.file);
  REQUIRE_MESSAGE(cased.ok(), cased.status().ToString());
  CHECK(!cased->tokenizer.config().lowercase);
  CHECK(!cased->tokenizer.config().strip_accents);
  CHECK(cased->tokenizer.vocabulary().back() == "Pump");
}

// Reference: the package gguf 0.19.0, which wrote the files and dequantized what it wrote (scripts/make_gguf.py).
TEST_CASE("gguf bert: MiniLM of every type has the reference's values, and embeds as its safetensors do") {
  if (!IsMiniLmThere()) return;
  const ImportedModel original = ImportModel(MiniLmPath("all-minilm-l6-v2")).value();
  // llama.cpp wants the context to be the table of positions: what the sentence model takes at most, 256, is not told.
  BertConfig config = original.model.config;
  config.token_count_max = 512;
  WordPieceConfig tokenizer_config = original.tokenizer.config();
  tokenizer_config.token_count_max = 512;
  const auto tokenizer = WordPieceTokenizer::Create(tokenizer_config, original.tokenizer.vocabulary()).value();
  const std::vector<float> expected = EmbedTexts(original);
  // Found are 1, 1.000000, 0.99964, 0.928 and 0.980: what rounding to nearest in so few bits costs short texts.
  const std::map<std::string, float> least_cosines{
      {"f32", 0.999999F}, {"f16", 0.99999F}, {"q8_0", 0.9995F}, {"q4_0", 0.92F}, {"mixed", 0.97F}};
  for (const auto& [type, least_cosine] : least_cosines) {
    CAPTURE(type);
    const std::string path = MiniLmPath("minilm-gguf/" + type + ".gguf");
    const auto imported = ImportModel(path);
    REQUIRE_MESSAGE(imported.ok(), imported.status().ToString());
    CHECK(imported->model.config == config);
    CheckSameTokenizer(imported->tokenizer, tokenizer);
    const std::vector<float> found = EmbedTexts(*imported);
    const float cosine = LeastCosine(expected, found, 384);
    MESSAGE(type, ": least cosine ", cosine);
    CHECK(cosine >= least_cosine);
    if (type == "f32") CHECK(found == expected);

    const ByteString bytes = ReadFile(path, 1ULL << 30).value();
    const GgufFile file = ReadGguf(path, bytes).value();
    const ByteString sums = ReadFile(MiniLmPath("minilm-gguf/" + type + ".sums")).value();
    std::set<std::string_view> types;
    for (const GgufTensor& tensor : file.tensors) {
      const std::vector<float> values = DequantizeGgml(*tensor.type, tensor.bytes);
      const std::string sum = ToHex(AsBytes(Sha256Of(AsBytes(values.data(), values.size() * sizeof(float)))));
      const bool is_equal = sums.find(sum + " " + tensor.name + "\n") != std::string::npos;
      CHECK_MESSAGE(is_equal, tensor.name);
      types.insert(tensor.type->name);
    }
    if (type == "mixed") CHECK(types == std::set<std::string_view>{"F32", "Q4_K", "Q5_0", "Q5_K", "Q6_K"});
  }
}

}  // namespace foreshore
