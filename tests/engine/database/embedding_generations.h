// A database with a field that the tiny BERT of tests/golden fills, other versions for it, and what may be wrong with
// what the field answers.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "engine/database/derived_vector_index.h"
#include "engine/database/embedding_worker.h"
#include "engine/database/stored_vector.h"
#include "engine/inference/import_model.h"
#include "engine/model/model_manifest.h"
#include "engine/model/model_registry.h"
#include "storage/base/file.h"
#include "tests/engine/database/core_test.h"
#include "tests/engine/inference/low_rank_model.h"

namespace foreshore {

inline const std::string kModel = FORESHORE_GOLDEN_DIR "/bert_tiny";
inline constexpr int kDocumentCount = 150;  // More than two batches.

inline std::string TextOf(int i) {
  static const char* const kWords[] = {"the", "pump", "is", "overheating", "hot", "a", "b", "c", "d", "e"};
  std::string text;
  for (int k = 0; k < 5; ++k, i /= 3) text += std::string(k == 0 ? "" : " ") + kWords[(i * 7 + k * 3) % 10];
  return text;
}

struct ExistingDirectory {
  std::string path;
};

struct Generations : CoreFixture {
  // One that is there; for a process of its own.
  Generations(StorageKind kind, ExistingDirectory directory) : CoreFixture(kind, directory.path) {
    options.durability = Durability::kNormal;
    Open();
  }
  explicit Generations(StorageKind kind = StorageKind::kSqlite, const std::string& adapter = {},
                       const std::string& directory = {})
      : CoreFixture(kind, directory) {
    options.durability = Durability::kNormal;
    Open();
    REQUIRE(core->CreateCollection("notes").ok());
    AddVersion(Quantization::kInt8);
    if (!adapter.empty()) AddAdapter(adapter, 1);
    const Status created = core->CreateVectorIndex(
        "notes", {.field = "embedding", .model = "tiny", .source_paths = {"text"}, .adapter = adapter});
    REQUIRE_MESSAGE(created.ok(), created.ToString());
    for (int i = 0; i < kDocumentCount; ++i) PutText(std::to_string(i), TextOf(i));
    WaitEmbedded();
  }

  void AddVersion(Quantization quantization) {
    ModelImportOptions import;
    import.quantization = quantization;
    const auto model = core->models().Add("tiny", kModel, import);
    REQUIRE_MESSAGE(model.ok(), model.status().ToString());
  }
  // Another model under the same name, of another dimension.
  void AddWiderVersion() {
    const std::string folder = files.path() + "/wider";
    REQUIRE(CreateDirectories(folder).ok());
    BertModel model = RandomBert(WiderConfig(), 7);
    REQUIRE(WriteFileAtomic(folder + "/model.safetensors", SafetensorsBytes(HuggingFaceTensors(model))).ok());
    std::string config = *ReadFile(kModel + "/config.json");
    config.replace(config.find("\"hidden_size\": 8"), 16, "\"hidden_size\": 16");
    config.replace(config.find("\"intermediate_size\": 16"), 23, "\"intermediate_size\": 32");
    REQUIRE(WriteFileAtomic(folder + "/config.json", config).ok());
    REQUIRE(WriteFileAtomic(folder + "/vocab.txt", *ReadFile(kModel + "/vocab.txt")).ok());
    const auto added = core->models().Add("tiny", folder, {});
    REQUIRE_MESSAGE(added.ok(), added.status().ToString());
    CHECK(added->dimension == 16);
  }
  static BertConfig WiderConfig() {
    BertConfig config = ImportModel(kModel).value().model.config;
    config.hidden_size = 16;
    config.intermediate_size = 32;
    return config;
  }
  static std::vector<FileTensor> HuggingFaceTensors(const BertModel& model);
  void AddAdapter(const std::string& name, std::uint32_t seed) {
    LoraWriter writer;
    writer.seed = seed;
    BertModel base = ImportModel(kModel).value().model;
    const std::string folder = files.path() + "/" + name + std::to_string(seed);
    REQUIRE(CreateDirectories(folder).ok());
    REQUIRE(WriteFileAtomic(folder + "/adapter_model.safetensors", SafetensorsBytes(writer.Write(base))).ok());
    REQUIRE(WriteFileAtomic(folder + "/adapter_config.json", writer.Config()).ok());
    const auto added = core->models().AddAdapter("tiny", name, folder);
    REQUIRE_MESSAGE(added.ok(), added.status().ToString());
  }

  void PutText(const std::string& id, const std::string& text) {
    const Status put = Put("notes", id, R"({"text":")" + text + R"("})");
    REQUIRE_MESSAGE(put.ok(), put.ToString());
  }
  void WaitEmbedded() {
    const Status waited = core->WaitEmbedded(std::chrono::minutes(1), {});
    REQUIRE_MESSAGE(waited.ok(), waited.ToString());
  }
  bool Step() {
    const auto worked = EmbeddingWorker(*core).Step();
    REQUIRE_MESSAGE(worked.ok(), worked.status().ToString());
    return *worked;
  }
  IndexInfo Info() {
    const auto indexes = core->ListIndexes();
    REQUIRE_MESSAGE(indexes.ok(), indexes.status().ToString());
    return indexes->at(0);
  }
  const VectorIndexDefinition& Index() { return *core->catalog()->Find("notes")->FindVectorIndex("embedding"); }
  std::vector<float> Embed(const ModelPin& pin, const std::string& text) {
    const auto model = core->models().LoadPinned(pin);
    REQUIRE_MESSAGE(model.ok(), model.status().ToString());
    std::vector<float> vector((*model)->info().dimension);
    const std::string_view texts[] = {text};
    REQUIRE((*model)->Embed(texts, vector).ok());
    return vector;
  }
  // Searching `view` by the weights that its catalogue names, each text finds a document of that text at a distance of
  // about nothing: with vectors of other weights among them it would not. Returns what is wrong.
  std::string AnswerFault(ReadView& view) {
    const CollectionDefinition& notes = *view.catalog().Find("notes");
    const VectorIndexDefinition& index = *notes.FindVectorIndex("embedding");
    for (int i = 0; i < kDocumentCount; i += 7) {
      const std::string text = TextOf(i);
      const auto model = core->LoadForSearch(view.catalog(), "tiny", index.options.adapter);
      if (!model.ok()) return model.status().ToString();
      std::vector<float> query((*model)->info().dimension);
      const std::string_view texts[] = {text};
      if (!(*model)->Embed(texts, query).ok()) return "embed";
      const auto cursor = view.Nearest(index, query, {});
      if (!cursor.ok()) return cursor.status().ToString();
      const auto nearest = (*cursor)->Next();
      if (!nearest.ok()) return nearest.status().ToString();
      if (!nearest->has_value()) return "nothing is found";
      if ((*nearest)->distance >= 1e-3) return text + " is " + std::to_string((*nearest)->distance) + " away";
    }
    return "";
  }
  void CheckAnswers(ReadView& view) { CHECK(AnswerFault(view) == ""); }
  std::string AnswerFault() {
    const auto view = core->BeginRead();
    return view.ok() ? AnswerFault(**view) : view.status().ToString();
  }
  void CheckAnswers() { CHECK(AnswerFault() == ""); }
  // Every vector of the field is of the weights that the index names, and of the text that its document has.
  std::string VectorFault(std::size_t expected_count) {
    const auto view = core->BeginRead();
    if (!view.ok()) return view.status().ToString();
    const CollectionDefinition& notes = *(*view)->catalog().Find("notes");
    const VectorIndexDefinition& index = *notes.FindVectorIndex("embedding");
    std::size_t count = 0;
    const auto cursor = (*view)->txn().NewCursor(index.vectors);
    if (!cursor.ok()) return cursor.status().ToString();
    for (Status status = (*cursor)->SeekFirst(); (*cursor)->valid(); status = (*cursor)->Next()) {
      if (!status.ok()) return status.ToString();
      const auto stored = DecodeStoredVector((*cursor)->value());
      if (!stored.ok()) return stored.status().ToString();
      if (stored->model_tag != ModelTagOf(index.pin)) return "a vector of other weights";
      const auto document = (*view)->GetByDocid(notes, (*cursor)->integer_key());
      if (!document.ok() || !document->has_value()) return "a vector of no document";
      if (stored->source_hash != Fnv1a64(SourceTextOf(index, (*document)->body))) return "a vector of another text";
      ++count;
    }
    if (count == expected_count && core->VectorCount(index) == expected_count) return "";
    return std::to_string(count) + " vectors, " + std::to_string(core->VectorCount(index)) + " in the graph";
  }
  void CheckVectors(std::size_t expected_count) { CHECK(VectorFault(expected_count) == ""); }
  std::string VerifyFault() {
    const auto report = core->Verify();
    if (!report.ok()) return report.status().ToString();
    return report->problems.empty() ? "" : report->problems.front();
  }
  std::set<std::string> VectorKeyspaces() {
    std::set<std::string> names;
    const auto keyspaces = core->store().ListKeyspaces();
    REQUIRE(keyspaces.ok());
    for (const KeyspaceInfo& each : *keyspaces) {
      if (each.name.starts_with('v')) names.insert(each.name);
    }
    return names;
  }

  TemporaryDirectory files;
};

inline std::vector<FileTensor> Generations::HuggingFaceTensors(const BertModel& model) {
  std::vector<FileTensor> file;
  for (const Tensor& tensor : model.tensors) {
    std::vector<std::uint64_t> shape = tensor.shape;
    file.push_back({TheirName(tensor.name), "F32", shape, tensor.bytes});
  }
  return file;
}

}  // namespace foreshore
