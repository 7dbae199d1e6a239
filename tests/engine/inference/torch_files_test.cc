// Files that PEFT and GPTQModel wrote, against the embeddings that PyTorch gives with them (tests/golden/torch, made by
// make_torch_models.py there).
#include <doctest/doctest.h>

#include "engine/inference/import_model.h"
#include "engine/inference/json_reader.h"
#include "engine/inference/peft_adapter.h"
#include "storage/base/file.h"
#include "tests/engine/inference/quantized_model.h"

namespace foreshore {
namespace {

const std::string kFolder = std::string(FORESHORE_GOLDEN_DIR) + "/torch";

struct Reference {
  std::vector<std::vector<std::int32_t>> sequences;
  std::vector<std::vector<double>> embeddings;  // One for each sequence.

  explicit Reference(const std::string& name) {
    JsonReader reader;
    REQUIRE(reader.Parse("reference.json", ReadFile(kFolder + "/reference.json", 1 << 20).value(), 1 << 20).ok());
    const auto sequence_lists = JsonArray(reader.root(), "sequences");
    REQUIRE(sequence_lists);
    for (const simdjson::dom::element list : *sequence_lists) {
      std::vector<std::int32_t>& ids = sequences.emplace_back();
      for (const std::int64_t id : simdjson::dom::array(list)) ids.push_back(static_cast<std::int32_t>(id));
    }
    const auto lists = JsonArray(JsonObject(reader.root(), "embeddings").value(), name.c_str());
    REQUIRE(lists);
    for (const simdjson::dom::element list : *lists) {
      std::vector<double>& values = embeddings.emplace_back();
      for (const double value : simdjson::dom::array(list)) values.push_back(value);
    }
    REQUIRE(sequences.size() == embeddings.size());
  }

  // The least cosine of ours with theirs.
  double CosineWith(const RunningModel& model, const BertAdapter* adapter = nullptr) const {
    const std::vector<float> out = model.Embed(sequences, {}, adapter);
    const std::size_t width = model.model.config.hidden_size;
    double least = 1;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      least = std::min(least, CosineOf(std::span(out).subspan(i * width, width), embeddings[i]));
    }
    return least;
  }
};

ImportedModel Import(const std::string& name) {
  auto imported = ImportModel(kFolder + "/" + name);
  REQUIRE_MESSAGE(imported.ok(), imported.status().ToString());
  return std::move(imported).value();
}

Result<BertAdapter> Adapt(const std::string& name, const BertConfig& config) {
  FORESHORE_ASSIGN_OR_RETURN(const PeftAdapter peft, ImportPeftAdapter(kFolder + "/" + name));
  std::vector<TensorView> views;
  for (const Tensor& tensor : peft.tensors) views.push_back(tensor.view());
  return BertAdapter::Create(config, views);
}

}  // namespace

TEST_CASE("torch: adapters that PEFT saved give what PEFT gives, over f32 and over int8") {
  const ImportedModel imported = Import("base");
  const RunningModel base(imported.model, WeightFormat::Float());
  const RunningModel int8(QuantizeBertInt8(imported.model).value(), WeightFormat::Int8());
  CHECK(Reference("base").CosineWith(base) >= 0.9999);
  for (const std::string name : {"lora_query_value", "lora_all_linear", "lora_patterns", "lora_rslora"}) {
    CAPTURE(name);
    const auto adapter = Adapt(name, imported.model.config);
    REQUIRE_MESSAGE(adapter.ok(), adapter.status().ToString());
    const Reference reference(name);
    CHECK(reference.CosineWith(base, &*adapter) >= 0.9999);
    CHECK(reference.CosineWith(int8, &*adapter) >= 0.998);
    CHECK(reference.CosineWith(base) < 0.99);  // The adapter does something.
  }
}

TEST_CASE("torch: an adapter of PEFT's that is no plain LoRA is refused by what its settings say") {
  const Status status = Adapt("lora_dora", Import("base").model.config).status();
  CHECK(status.code() == ErrorCode::kUnsupported);
  CHECK(status.message().find("adapter_config.json: use_dora is set") != std::string_view::npos);
}

TEST_CASE("torch: checkpoints that GPTQModel saved stand for what it runs, in v1 and v2, with act-order and without") {
  for (const std::string name : {"gptq_v1", "gptq_v1_desc_act", "gptq_v2_desc_act"}) {
    CAPTURE(name);
    const ImportedModel imported = Import(name);
    CHECK(imported.weight_format.bits == 4);
    CHECK(imported.weight_format.group_size == 32);
    CHECK(imported.weight_format.ordered == name.ends_with("desc_act"));
    const Reference reference(name);
    const BertModel f32 =
        DequantizeBert(imported.model.config, imported.weight_format, ViewsOf(imported.model)).value();
    CHECK(reference.CosineWith(RunningModel(f32, WeightFormat::Float())) >= 0.9999);
    CHECK(reference.CosineWith(RunningModel(imported.model, imported.weight_format)) >= 0.999);
    CHECK(Reference("gptq_base").CosineWith(RunningModel(f32, WeightFormat::Float())) < 0.9999);  // It is quantized.
  }
}

}  // namespace foreshore
