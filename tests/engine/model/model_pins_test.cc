// Goal: what asks for a pin's weights never gets others, whatever the row becomes meanwhile.
#include <doctest/doctest.h>

#include <functional>
#include <map>

#include "engine/inference/import_model.h"
#include "engine/model/model_registry.h"
#include "tests/engine/inference/low_rank_model.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

const std::string kTiny = FORESHORE_GOLDEN_DIR "/bert_tiny";

// Rows in memory, which may become others between two reads.
class ChangingRows : public ModelRows {
 public:
  Result<std::optional<std::string>> Get(const std::string& name) override {
    const auto found = rows_.find(name);
    std::optional<std::string> body = found == rows_.end() ? std::nullopt : std::optional(found->second);
    if (after_next_read) std::exchange(after_next_read, nullptr)();
    return body;
  }
  Result<std::vector<std::string>> List() override { return Status::Unsupported("rows of a test"); }
  Status Put(const std::string& name, std::string_view body) override {
    rows_[name] = body;
    return Status::Ok();
  }
  Status Delete(const std::string& name) override {
    return rows_.erase(name) > 0 ? Status::Ok() : Status::NotFound("row");
  }
  Result<std::string> GetRegistered(const std::string& /*name*/) override { return std::string(); }
  Status PutRegistered(const std::string& /*name*/, std::string_view /*version*/) override { return Status::Ok(); }

  std::string& operator[](const std::string& name) { return rows_[name]; }

  std::function<void()> after_next_read;

 private:
  std::map<std::string, std::string> rows_;
};

// The tiny BERT in int8, and its row as it becomes once the same is imported in f32.
struct PinsFixture {
  PinsFixture() {
    Import(Quantization::kInt8);
    AddAdapter();
    const std::string before = rows["tiny"];
    alone = registry.PinNow("tiny", "").value();
    adapted = registry.PinNow("tiny", "one").value();
    Import(Quantization::kNone);
    later_row = rows["tiny"];
    rows["tiny"] = before;
    REQUIRE(later_row != before);
  }

  void Import(Quantization quantization) {
    ModelImportOptions options;
    options.quantization = quantization;
    const auto added = registry.Add("tiny", kTiny, options);
    REQUIRE_MESSAGE(added.ok(), added.status().ToString());
  }
  void AddAdapter() {
    LoraWriter writer;
    BertModel base = ImportModel(kTiny).value().model;
    REQUIRE(WriteFileAtomic(files.path() + "/adapter_model.safetensors", SafetensorsBytes(writer.Write(base))).ok());
    REQUIRE(WriteFileAtomic(files.path() + "/adapter_config.json", writer.Config()).ok());
    const auto added = registry.AddAdapter("tiny", "one", files.path());
    REQUIRE_MESSAGE(added.ok(), added.status().ToString());
  }
  static std::vector<float> Embed(const Result<std::shared_ptr<TextModel>>& model) {
    REQUIRE_MESSAGE(model.ok(), model.status().ToString());
    std::vector<float> vector((*model)->info().dimension);
    const std::string_view texts[] = {"the pump is overheating"};
    REQUIRE((*model)->Embed(texts, vector).ok());
    return vector;
  }

  TemporaryDirectory files;
  std::unique_ptr<BlobStore> blobs = BlobStore::Open(files.path() + "/blobs").value();
  ChangingRows rows;
  ModelRegistry registry{rows, *blobs, files.path(), 1};
  ModelPin alone;
  ModelPin adapted;
  std::string later_row;
};

}  // namespace

TEST_CASE_FIXTURE(PinsFixture, "model pins: a row that goes on while its pin is loaded does not lend its new weights") {
  for (const ModelPin& pin : {alone, adapted}) {
    CAPTURE(pin.adapter);
    const std::string before = rows["tiny"];
    const std::vector<float> expected = Embed(registry.LoadPinned(pin));
    // LoadPinned() finds the row of the pin, and loads by name once it is of other weights.
    rows.after_next_read = [&] { rows["tiny"] = later_row; };
    const auto model = registry.LoadPinned(pin);
    REQUIRE_MESSAGE(model.ok(), model.status().ToString());
    CHECK_FALSE(rows.after_next_read);
    CHECK((*model)->info().version == pin.version);
    CHECK(Embed(model) == expected);
    CHECK(Embed(registry.Load("tiny", pin.adapter)) != expected);  // The row's own by now.
    CHECK(Embed(registry.LoadPinned(pin)) == expected);
    rows["tiny"] = before;
  }
}

TEST_CASE_FIXTURE(PinsFixture, "model pins: a row that goes away while its pin is loaded") {
  const std::vector<float> expected = Embed(registry.LoadPinned(alone));
  rows.after_next_read = [&] { CHECK(rows.Delete("tiny").ok()); };
  const auto model = registry.LoadPinned(alone);
  REQUIRE_MESSAGE(model.ok(), model.status().ToString());
  CHECK(Embed(model) == expected);
}

TEST_CASE_FIXTURE(PinsFixture, "model pins: a registry that is released keeps no weights") {
  rows["tiny"] = later_row;
  const std::weak_ptr<TextModel> base = registry.LoadPinned(alone).value();
  Embed(registry.LoadPinned(adapted));
  CHECK_FALSE(base.expired());
  registry.Release();
  CHECK(base.expired());
}

}  // namespace foreshore
