#include "engine/inference/gptq_checkpoint.h"

#include <doctest/doctest.h>

#include "engine/inference/safetensors.h"
#include "engine/inference/safetensors_bert.h"
#include "tests/engine/inference/low_rank_model.h"
#include "tests/engine/inference/quantized_model.h"

namespace foreshore {
namespace {

Result<GptqCheckpoint> Read(const BertConfig& config, const std::vector<FileTensor>& file,
                            const GptqCheckpointConfig& gptq) {
  const ByteString bytes = SafetensorsBytes(file);
  FORESHORE_ASSIGN_OR_RETURN(const SafetensorsFile tensors, ReadSafetensors("m", bytes));
  return BertFromGptq("m", config, gptq, tensors.tensors);
}

FileTensor& Find(std::vector<FileTensor>& file, const std::string& suffix) {
  for (FileTensor& tensor : file) {
    if (tensor.name.ends_with(suffix)) return tensor;
  }
  FAIL("no tensor ", suffix);
  return file.front();
}

}  // namespace

TEST_CASE("gptq checkpoint: v1 and v2, symmetric or not, in order or by activation, give the reference's outputs") {
  BertConfig config = SmallBertConfig();
  config.hidden_size = 128;
  config.intermediate_size = 256;
  const BertModel f32 = RandomBert(config, 71);
  std::vector<std::vector<std::int32_t>> sequences;
  for (std::uint32_t i = 0; i < 12; ++i) sequences.push_back(RandomIds(config, 1 + i * 3, i));
  double least = 1;
  double least_float = 1;
  for (const std::size_t group_size : {32, 64, 128}) {
    for (const bool is_v2 : {false, true}) {
      for (const bool is_symmetric : {false, true}) {
        for (const bool act_order : {false, true}) {
          CAPTURE(group_size);
          CAPTURE(is_v2);
          CAPTURE(is_symmetric);
          CAPTURE(act_order);
          BertModel dequantized;
          const auto file = GptqWriter{group_size, is_v2, is_symmetric, act_order}.Write(f32, dequantized);
          const auto read = Read(config, file, {4, static_cast<std::int64_t>(group_size), is_v2});
          REQUIRE_MESSAGE(read.ok(), read.status().ToString());
          CHECK(read->format == WeightFormat::Gptq(4, static_cast<std::uint32_t>(group_size),
                                                   act_order && group_size < config.intermediate_size));
          const ReferenceBert reference(dequantized);
          const RunningModel running(read->model, read->format);
          const RunningModel in_float(DequantizeBert(config, read->format, ViewsOf(read->model)).value(),
                                      WeightFormat::Float());
          const std::vector<float> out = running.Embed(sequences);
          const std::vector<float> float_out = in_float.Embed(sequences);
          for (std::size_t i = 0; i < sequences.size(); ++i) {
            const std::vector<double> expected = reference.Embed(sequences[i]);
            least = std::min(least, CosineOf(std::span(out).subspan(i * 128, 128), expected));
            least_float = std::min(least_float, CosineOf(std::span(float_out).subspan(i * 128, 128), expected));
          }
        }
      }
    }
  }
  MESSAGE("least cosine to the reference: ", least, " with activations of 8 bits, ", least_float, " in f32");
  // The weights are the file's; what remains is the word embedding in 8 bits, and activations in 8 bits.
  CHECK(least_float >= 0.9999);
  CHECK(least >= 0.9999);
}

TEST_CASE("gptq checkpoint: all inputs in one group, and no g_idx") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 72);
  BertModel dequantized;
  auto file = GptqWriter{.group_size = 1 << 20, .with_g_idx = false}.Write(f32, dequantized);
  const auto read = Read(f32.config, file, {4, -1, false});
  REQUIRE_MESSAGE(read.ok(), read.status().ToString());
  const auto ids = RandomIds(f32.config, 30, 1);
  CHECK(CosineOf(RunningModel(read->model, read->format).Embed({ids}), ReferenceBert(dequantized).Embed(ids)) > 0.9998);
}

TEST_CASE("gptq checkpoint: symmetric files that lie about their format are told by their zero points") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 73);
  for (const bool is_v2 : {false, true}) {
    BertModel dequantized;
    const auto file = GptqWriter{.group_size = 32, .is_v2 = is_v2, .is_symmetric = true}.Write(f32, dequantized);
    const auto read = Read(f32.config, file, {4, 32, !is_v2});
    REQUIRE_MESSAGE(read.ok(), read.status().ToString());
    const auto truth = Read(f32.config, file, {4, 32, is_v2});
    for (std::size_t i = 0; i < read->model.tensors.size(); ++i) {
      CHECK(read->model.tensors[i].bytes == truth->model.tensors[i].bytes);
    }
  }
}

TEST_CASE("gptq checkpoint: everything that does not fit is named") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 74);
  BertModel dequantized;
  const auto good = GptqWriter{.group_size = 32}.Write(f32, dequantized);
  const auto refused = [&](auto change, ErrorCode code, const std::string& message,
                           const GptqCheckpointConfig& gptq = {4, 32, false}) {
    auto file = good;
    change(file);
    const Status status = Read(f32.config, file, gptq).status();
    CAPTURE(status.message());
    CHECK(status.code() == code);
    CHECK(status.message().find(message) != std::string_view::npos);
  };
  const auto nothing = [](auto&) {};
  refused(nothing, ErrorCode::kUnsupported, "8 bits", {8, 32, false});
  refused(nothing, ErrorCode::kUnsupported, "groups of 16", {4, 16, false});
  refused(nothing, ErrorCode::kUnsupported, "groups of 0", {4, 0, false});
  refused(nothing, ErrorCode::kUnsupported, "groups of -2", {4, -2, false});
  refused(nothing, ErrorCode::kInvalidArgument, "expected i32 [1,8]", {4, 64, false});
  refused([](auto& file) { Find(file, "layer.1.output.dense.scales").name += "x"; }, ErrorCode::kInvalidArgument,
          "\"layer.1.down.weight\" lacks qweight, qzeros or scales");
  refused(
      [](auto& file) {
        Find(file, "layer.0.attention.self.key.qweight").shape = {64, 8};
      },
      ErrorCode::kInvalidArgument, "expected i32 [8,64]");
  refused([](auto& file) { Find(file, "layer.0.attention.self.key.qweight").dtype = "F32"; },
          ErrorCode::kInvalidArgument, "expected i32 [8,64]");
  refused([](auto& file) { Find(file, "word_embeddings.weight").name = "bert.extra"; }, ErrorCode::kInvalidArgument,
          "\"embeddings.word\" is missing");
  refused(
      [](auto& file) {
        Find(file, "LayerNorm.bias").shape = {8, 8};
      },
      ErrorCode::kInvalidArgument, "\"embeddings.norm.beta\" has another type or shape");
  refused(
      [](auto& file) {
        for (const char* part : {".qweight", ".qzeros", ".scales", ".g_idx"}) {
          std::string& name = Find(file, std::string("layer.1.intermediate.dense") + part).name;
          name.replace(name.find("layer.1"), 7, "layer.7");
        }
      },
      ErrorCode::kInvalidArgument, "\"layer.7.up.weight\" is no layer of this model");
  refused(
      [](auto& file) {
        for (const char* part : {".qweight", ".qzeros", ".scales"}) {
          Find(file, std::string("layer.1.intermediate.dense") + part).name += "x";
        }
        file.push_back(
            {"bert.encoder.layer.1.intermediate.dense.weight", "F32", {160, 64}, ByteString(160 * 64 * 4, 0)});
      },
      ErrorCode::kInvalidArgument, "\"layer.1.up.weight\" lacks qweight");
  for (const std::uint32_t bad : {2U, 0xFFFFFFFFU, 0x80000000U}) {
    refused(
        [&](auto& file) { std::memcpy(Find(file, "layer.0.attention.self.query.g_idx").bytes.data() + 8, &bad, 4); },
        ErrorCode::kCorruption, "input 2 is in group");
  }
  const std::uint32_t crowded = 1;
  refused(
      [&](auto& file) { std::memcpy(Find(file, "layer.0.attention.self.query.g_idx").bytes.data() + 8, &crowded, 4); },
      ErrorCode::kUnsupported, "group 0 has 31 inputs, expected 32");
  const std::uint16_t infinite = 0x7C00;
  refused([&](auto& file) { std::memcpy(Find(file, "layer.1.output.dense.scales").bytes.data() + 6, &infinite, 2); },
          ErrorCode::kCorruption, "scale 3 is not finite");
  refused([&](auto& file) { std::memcpy(Find(file, "layer.1.output.dense.bias").bytes.data() + 6, &infinite, 2); },
          ErrorCode::kInvalidArgument, "layer.1.down.bias");
}

TEST_CASE("gptq checkpoint: no truncation or flipped bit of a file does more than fail or change numbers") {
  BertConfig config = SmallBertConfig();
  config.hidden_size = 32;
  config.layer_count = 1;
  config.intermediate_size = 32;
  config.vocabulary_size = 4;
  BertModel dequantized;
  const BertModel f32 = RandomBert(config, 75);
  const ByteString bytes = SafetensorsBytes(GptqWriter{.group_size = 32}.Write(f32, dequantized));
  const auto read = [&](Bytes given) -> Result<GptqCheckpoint> {
    FORESHORE_ASSIGN_OR_RETURN(const SafetensorsFile file, ReadSafetensors("m", given));
    return BertFromGptq("m", config, {4, 32, false}, file.tensors);
  };
  REQUIRE(read(bytes).ok());
  for (std::size_t size = 0; size < bytes.size(); size += 1 + size / 64) {
    CHECK_FALSE(read(ByteString(bytes.substr(0, size))).ok());
  }
  std::mt19937 random(75);
  for (int round = 0; round < 3000; ++round) {
    ByteString flipped = bytes;
    // Most of them in the header.
    const std::size_t bit = random() % ((round % 3 == 0 ? bytes.size() : 3000) * 8);
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    const auto result = read(flipped);
    if (result.ok()) CHECK(PackBert(config, result->format, ViewsOf(result->model)).ok());
  }
}

TEST_CASE("gptq checkpoint: config.json says bits, groups and format") {
  const auto config_of = [](const std::string& quantization) {
    return ReadBertConfigJson(
        "c", R"({"model_type":"bert","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,)"
             R"("intermediate_size":160,"vocab_size":100,"max_position_embeddings":48,"type_vocab_size":2,)"
             R"("quantization_config":)" +
                 quantization + "}");
  };
  const auto v2 = config_of(R"({"quant_method":"gptq","bits":4,"group_size":-1,"checkpoint_format":"gptq_v2"})");
  REQUIRE_MESSAGE(v2.ok(), v2.status().ToString());
  CHECK(v2->gptq->group_size == -1);
  CHECK(v2->gptq->is_v2);
  CHECK_FALSE(config_of(R"({"quant_method":"gptq","bits":4,"group_size":128})")->gptq->is_v2);
  CHECK(config_of(R"({"quant_method":"awq","bits":4,"group_size":128})").status().code() == ErrorCode::kUnsupported);
  CHECK(
      config_of(R"({"quant_method":"gptq","bits":4,"group_size":128,"checkpoint_format":"marlin"})").status().code() ==
      ErrorCode::kUnsupported);
  CHECK(config_of(R"({"quant_method":"gptq","group_size":128})").status().code() == ErrorCode::kCorruption);
  CHECK(config_of(R"({"quant_method":"gptq","bits":4,"group_size":1e300})").status().code() == ErrorCode::kCorruption);
  CHECK(config_of("4").status().code() == ErrorCode::kUnsupported);
}

}  // namespace foreshore
