// LoRA adapters as PEFT lays them out, against weights that they are merged into.
#include "engine/inference/bert_adapter.h"

#include <doctest/doctest.h>

#include <limits>

#include "engine/inference/peft_adapter.h"
#include "engine/inference/safetensors.h"
#include "tests/engine/inference/low_rank_model.h"
#include "tests/engine/inference/quantized_model.h"

namespace foreshore {
namespace {

const std::vector<std::string> kAllModules = {"query", "key", "value", "output", "up", "down"};

std::vector<TensorView> ViewsOfTensors(const std::vector<Tensor>& tensors) {
  std::vector<TensorView> views;
  for (const Tensor& tensor : tensors) views.push_back(tensor.view());
  return views;
}

Result<BertAdapter> Adapt(const BertConfig& config, const std::vector<FileTensor>& file, const std::string& settings) {
  FORESHORE_ASSIGN_OR_RETURN(const PeftAdapter peft, ReadPeftAdapter("c", settings, "w", SafetensorsBytes(file)));
  return BertAdapter::Create(config, ViewsOfTensors(peft.tensors));
}

std::vector<std::vector<std::int32_t>> SequencesFor(const BertConfig& config) {
  std::vector<std::vector<std::int32_t>> sequences;
  for (std::uint32_t i = 0; i < 10; ++i) sequences.push_back(RandomIds(config, 1 + i * 4, i));
  return sequences;
}

}  // namespace

TEST_CASE("lora: unmerged in f32 is what merged weights give, for every module, rank and scale") {
  for (const std::uint32_t hidden : {64U, 36U}) {
    BertConfig config = SmallBertConfig();
    config.hidden_size = hidden;
    const BertModel f32 = RandomBert(config, 81);
    const RunningModel base(f32, WeightFormat::Float());
    const auto sequences = SequencesFor(config);
    const std::vector<float> plain = base.Embed(sequences);
    for (const std::size_t rank : {1, 4, 8, 17}) {
      for (const auto& modules : {std::vector<std::string>{"query", "value"}, {"up"}, {"key", "down"}, kAllModules}) {
        for (const bool is_rank_stabilised : {false, true}) {
          CAPTURE(rank);
          CAPTURE(modules.size());
          const LoraWriter writer{rank, 8, is_rank_stabilised, modules, 3};
          BertModel merged = f32;
          const auto file = writer.Write(merged);
          const auto adapter = Adapt(config, file, writer.Config());
          REQUIRE_MESSAGE(adapter.ok(), adapter.status().ToString());
          const std::vector<float> out = base.Embed(sequences, {}, &*adapter);
          const ReferenceBert reference(merged);
          double moved = 1;
          for (std::size_t i = 0; i < sequences.size(); ++i) {
            const std::span<const float> embedding(out.data() + i * hidden, hidden);
            const std::vector<double> expected = reference.Embed(sequences[i]);
            CHECK(CosineOf(embedding, expected) >= 0.9999);
            moved = std::min(moved, CosineOf(std::span<const float>(plain.data() + i * hidden, hidden), expected));
          }
          CHECK(moved < 0.999);  // The adapter does something.
        }
      }
    }
  }
}

TEST_CASE("lora: over 8 and 4 bits it adds to the base what it adds to what the base stands for") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 82);
  const auto sequences = SequencesFor(f32.config);
  for (const WeightFormat& format : {WeightFormat::Int8(), WeightFormat::Gptq(4, 32), WeightFormat::Nf4()}) {
    CAPTURE(WeightFormatName(format));
    const RunningModel base(QuantizedModel(f32, format), format);
    BertModel merged = DequantizeBert(f32.config, format, ViewsOf(base.model)).value();
    const LoraWriter writer{.rank = 8, .alpha = 16, .modules = kAllModules};
    const auto file = writer.Write(merged);
    const BertAdapter adapter = Adapt(f32.config, file, writer.Config()).value();
    const std::vector<float> out = base.Embed(sequences, {}, &adapter);
    const ReferenceBert reference(merged);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      CHECK(CosineOf(std::span<const float>(out.data() + i * 64, 64), reference.Embed(sequences[i])) > 0.9995);
    }
  }
}

TEST_CASE("lora: adapters take turns over one base, in any batch, and leave it as it was") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 83);
  const RunningModel base(QuantizedModel(f32, WeightFormat::Int8()), WeightFormat::Int8());
  const auto sequences = SequencesFor(f32.config);
  const std::vector<float> plain = base.Embed(sequences);
  std::vector<BertAdapter> adapters;
  for (const std::uint32_t seed : {1U, 2U}) {
    BertModel merged = f32;
    const LoraWriter writer{.seed = seed};
    const auto file = writer.Write(merged);
    adapters.push_back(Adapt(f32.config, file, writer.Config()).value());
  }
  const auto executor = BertExecutor::Create(base.packed, {}).value();
  const std::vector<std::span<const std::int32_t>> spans(sequences.begin(), sequences.end());
  std::vector<float> out(plain.size());
  const std::vector<float> first = base.Embed(sequences, {}, &adapters[0]);
  const std::vector<float> second = base.Embed(sequences, {}, &adapters[1]);
  CHECK(first != second);
  CHECK(first != plain);
  const std::pair<const BertAdapter*, const std::vector<float>*> turns[] = {
      {&adapters[1], &second}, {nullptr, &plain}, {&adapters[0], &first}, {&adapters[1], &second}};
  for (const auto& [adapter, expected] : turns) {
    REQUIRE(executor->Embed(spans, out, adapter).ok());
    CHECK(out == *expected);
  }
  ThreadPool pool(2);
  CHECK(base.Embed(sequences, {.token_budget = 41, .pool = &pool}, &adapters[0]) == first);
}

TEST_CASE("lora: rank_pattern and alpha_pattern, and names with the adapter in them") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 84);
  BertModel merged = f32;
  // Query of rank 4 and value of rank 2, scales 8/4 and 6/2.
  const LoraWriter query{.rank = 4, .alpha = 8, .modules = {"query"}};
  const LoraWriter value{.rank = 2, .alpha = 6, .modules = {"value"}};
  auto file = query.Write(merged);
  for (FileTensor& tensor : value.Write(merged)) {
    tensor.name.insert(tensor.name.rfind(".weight"), ".default");
    file.push_back(tensor);
  }
  const std::string settings =
      R"({"peft_type":"LORA","r":4,"lora_alpha":8,"rank_pattern":{"self.value":2},"alpha_pattern":{"value":6}})";
  const auto adapter = Adapt(f32.config, file, settings);
  REQUIRE_MESSAGE(adapter.ok(), adapter.status().ToString());
  const auto ids = RandomIds(f32.config, 20, 1);
  const std::vector<float> out = RunningModel(f32, WeightFormat::Float()).Embed({ids}, {}, &*adapter);
  CHECK(CosineOf(out, ReferenceBert(merged).Embed(ids)) >= 0.9999);
}

TEST_CASE("lora: an adapter for another base, or of a wrong shape, is refused by name") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 85);
  BertModel merged = f32;
  const LoraWriter writer;
  const auto good = writer.Write(merged);
  const auto refused = [&](auto change, ErrorCode code, const std::string& message, const std::string& settings) {
    auto file = good;
    change(file);
    const Status status = Adapt(f32.config, file, settings).status();
    CAPTURE(status.message());
    CHECK(status.code() == code);
    CHECK(status.message().find(message) != std::string_view::npos);
  };
  const auto nothing = [](auto&) {};
  const std::string fine = writer.Config();
  using enum ErrorCode;
  refused(nothing, kUnsupported, "peft_type is IA3", R"({"peft_type":"IA3"})");
  refused(nothing, kUnsupported, "use_dora is set; fan_in_fan_out is set",
          R"({"peft_type":"LORA","r":4,"lora_alpha":8,"use_dora":true,"fan_in_fan_out":true})");
  refused(nothing, kUnsupported, "bias is set", R"({"peft_type":"LORA","r":4,"lora_alpha":8,"bias":"all"})");
  refused(nothing, kUnsupported, "modules_to_save is set",
          writer.Config(R"(,"modules_to_save":["pooler"])").replace(fine.find(R"("modules_to_save":null,)"), 23, ""));
  refused(nothing, kUnsupported, "rank_pattern of",
          R"({"peft_type":"LORA","r":4,"lora_alpha":8,"rank_pattern":{"^q.*":2}})");
  refused(nothing, kInvalidArgument, "r is missing", R"({"peft_type":"LORA","lora_alpha":8})");
  refused(nothing, kInvalidArgument, "r is 257", R"({"peft_type":"LORA","r":257,"lora_alpha":8})");
  refused(nothing, kInvalidArgument, "lora_alpha", R"({"peft_type":"LORA","r":4})");
  refused(nothing, kUnsupported, "another rank", R"({"peft_type":"LORA","r":8,"lora_alpha":8})");
  refused(nothing, kUnsupported, "none of target_modules",
          R"({"peft_type":"LORA","r":4,"lora_alpha":8,"target_modules":["query"]})");
  refused(nothing, kCorruption, "c", R"({"peft_type":"LORA","r":4,"r":5})");
  refused(nothing, kCorruption, "c", "[]");
  refused([](auto& file) { file[0].name = "base_model.model.embeddings.word_embeddings.lora_A.weight"; }, kUnsupported,
          "is no LoRA of a BERT's linear layer", fine);
  refused([](auto& file) { file[0].name = "encoder.layer.0.attention.self.query.lora_A.weight"; }, kUnsupported,
          "is no LoRA of a BERT's linear layer", fine);
  refused([](auto& file) { file.pop_back(); }, kInvalidArgument, "lacks its other half", fine);
  refused(
      [](auto& file) {
        file[0].shape = {4, 32}, file[0].bytes.resize(4 * 32 * 4);
      },
      kInvalidArgument, "this model takes f32 [r,64]", fine);
  refused([](auto& file) { file[1].shape = {4, 64}; }, kUnsupported, "another rank", fine);
  refused([](auto& file) { file[0].shape = {4, 64, 1}; }, kUnsupported, "another rank", fine);
  refused(
      [](auto& file) {
        std::string& name = file[0].name;
        name.replace(name.find("layer.0"), 7, "layer.2");
      },
      kInvalidArgument, "names no linear layer of a model of 2 layers", fine);
  refused([](auto& file) { file.clear(); }, kInvalidArgument, "holds no tensors", fine);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  refused([&](auto& file) { std::memcpy(file[1].bytes.data(), &nan, 4); }, kInvalidArgument, "not finite", fine);

  BertConfig other = f32.config;
  other.layer_count = 1;
  const RunningModel another(RandomBert(other, 86), WeightFormat::Float());
  const BertAdapter adapter = Adapt(f32.config, good, fine).value();
  const auto executor = BertExecutor::Create(another.packed, {}).value();
  const std::vector<std::int32_t> ids = {1, 2};
  const std::span<const std::int32_t> sequence(ids);
  std::vector<float> out(64);
  CHECK(executor->Embed({&sequence, 1}, out, &adapter).message() ==
        "embed: the adapter was made for another model's configuration");
  CHECK(IsSameBase("sentence-transformers/all-MiniLM-L6-v2", "/models/all-MiniLM-L6-v2/"));
  CHECK(IsSameBase("", "x"));
  CHECK_FALSE(IsSameBase("bert-base-uncased", "sentence-transformers/all-MiniLM-L6-v2"));
}

TEST_CASE("lora: no truncation or flipped bit of a file does more than fail or change numbers") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 87);
  BertModel merged = f32;
  const LoraWriter writer{.rank = 1};
  const ByteString bytes = SafetensorsBytes(writer.Write(merged));
  const std::string settings = writer.Config();
  for (std::size_t size = 0; size < bytes.size(); size += 1 + size / 100) {
    CHECK_FALSE(ReadPeftAdapter("c", settings, "w", Bytes(bytes).substr(0, size)).ok());
  }
  std::mt19937 random(87);
  for (int round = 0; round < 3000; ++round) {
    ByteString flipped = bytes;
    std::string flipped_settings = settings;
    const std::size_t bit = random() % 8;
    if (round % 2 == 0) {
      char& byte = flipped[random() % (round % 4 == 0 ? bytes.size() : 1200)];
      byte = static_cast<char>(byte ^ (1 << bit));
    } else {
      char& byte = flipped_settings[random() % settings.size()];
      byte = static_cast<char>(byte ^ (1 << bit));
    }
    const auto peft = ReadPeftAdapter("c", flipped_settings, "w", flipped);
    if (peft.ok()) BertAdapter::Create(f32.config, ViewsOfTensors(peft->tensors)).status().IgnoreError();
  }
}

TEST_CASE("safetensors: what is written is read again") {
  const std::vector<Tensor> tensors = {F32Tensor("b", {2, 3}, {1, 2, 3, 4, 5, 6}), F32Tensor("a", {0}, {}),
                                       F32Tensor("c", {1}, {7})};
  const ByteString bytes = WriteSafetensors(ViewsOfTensors(tensors));
  const SafetensorsFile file = ReadSafetensors("f", bytes).value();
  REQUIRE(file.tensors.size() == 3);
  CHECK(file.tensors[0].name == "a");
  CHECK(file.tensors[1].shape == std::vector<std::uint64_t>{2, 3});
  CHECK(file.tensors[1].bytes == tensors[0].bytes);
  CHECK(file.tensors[2].bytes == tensors[2].bytes);
}

}  // namespace foreshore
