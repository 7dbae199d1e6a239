// kill -9 between a commit and the computing of what follows it, and between two versions of a model: no value is of
// another state of its document or of other weights, nothing is forgotten, and the work goes on.
#include <algorithm>

#include "engine/database/predicted_rows.h"
#include "engine/database/predictive_worker.h"
#include "engine/document/json.h"
#include "engine/model/model_registry.h"
#include "storage/base/file.h"
#include "tests/engine/database/core_test.h"
#include "tests/engine/database/killed_database.h"
#include "tests/engine/inference/onnx_writer.h"

using namespace foreshore;

namespace {

constexpr int kDocumentCount = 80;

struct Predictions : CoreFixture {
  Predictions(StorageKind kind, const std::string& directory) : CoreFixture(kind, directory), folder(directory) {
    options.durability = Durability::kNormal;
    Open();
  }

  // Its answer is the first number times `factor` and the second.
  void AddVersion(int factor) {
    OnnxWriter writer;
    writer.Input("x", {-1, 2}, 1);
    writer.Node("Gemm",
                {"x", writer.Floats("w", {2, 1}, {static_cast<float>(factor), 1}), writer.Floats("b", {1}, {0})}, {},
                "y");
    writer.Output("y", {-1, 1});
    REQUIRE(WriteFileAtomic(folder + "/g.onnx", writer.Finish()).ok());
    REQUIRE(core->models().Add("g", folder + "/g.onnx", ModelImportOptions()).ok());
  }
  void PutRow(std::uint64_t i, std::uint64_t value) {
    const std::string v = std::to_string(value);
    REQUIRE(Put("a", std::to_string(i), "{\"x\":[" + v + ",0.5],\"p\":" + v + ",\"q\":0.25}").ok());
  }

  // What is wrong with what a statement would get of each document; empty: nothing.
  std::string Fault(bool must_be_filled) {
    const auto report = core->Verify();
    if (!report.ok()) return report.status().ToString();
    if (!report->problems.empty()) return report->problems[0];
    const auto view = core->BeginRead();
    const CollectionDefinition& collection = *(*view)->catalog().Find("a");
    for (const PredictiveIndexDefinition& index : collection.predictive_indexes) {
      if (const std::string fault = Fault(**view, collection, index, must_be_filled); !fault.empty()) {
        return index.name + ": " + fault;
      }
    }
    return "";
  }
  std::string Fault(ReadView& view, const CollectionDefinition& collection, const PredictiveIndexDefinition& index,
                    bool must_be_filled) {
    const auto predictor = core->models().LoadPredictor("g", "");
    if (!predictor.ok()) return predictor.status().ToString();
    const auto lookup = PredictionLookup::Begin(view, index, true, **predictor);
    const auto rows = PredictedRows::Complete(view, collection, index, true, **predictor, nullptr);
    if (!lookup.ok() || !rows.ok()) return "nothing was computed";
    if (must_be_filled && !(*rows)->rows().empty()) return "documents are still pending";
    const auto documents = view.Scan(collection);
    std::vector<std::pair<std::int64_t, std::string>> found;
    while (*(*documents)->Next()) {
      const std::string input = index.input.SourceOf((*documents)->body()).text;
      const auto json = (*predictor)->Predict(input, nullptr);
      found.emplace_back((*documents)->docid(), std::string(index.output.Find(*json)));
    }
    for (const auto& [docid, expected] : found) {
      const auto stored = lookup->Find(view, docid);
      if (!stored.ok()) return stored.status().ToString();
      const PredictedRows::Row* row = (*rows)->Find(docid);
      if (stored->has_value() == (*rows)->Replaces(docid))
        return "document " + std::to_string(docid) + " is there twice";
      const std::string value = *stored ? (*stored)->text : row != nullptr ? row->token : "nothing";
      if (value != expected) return "document " + std::to_string(docid) + ": " + value + ", expected " + expected;
    }
    return "";
  }

  std::string folder;
};

}  // namespace

TEST_CASE("predictive index: killed at any moment, values are those of their documents and of one version") {
  KilledDatabase database;
  database.prepare = [](StorageKind kind, const std::string& path) {
    Predictions db(kind, path);
    db.AddVersion(1);
    REQUIRE(db.core->CreateCollection("a").ok());
    for (int i = 0; i < kDocumentCount; ++i) db.PutRow(static_cast<std::uint64_t>(i), 1);
    for (const char* input : {"x", "json_array(p, q)"}) {
      REQUIRE(db.core->CreatePredictiveIndex("a", {.model = "g", .path = input, .output = "$[0][0]"}).ok());
    }
  };
  database.work = [](StorageKind kind, const std::string& path, const Acknowledger& parent) {
    Predictions db(kind, path);
    parent.Acknowledge(0);
    for (std::uint64_t i = 1;; ++i) {
      if (i % 11 == 0) db.AddVersion(static_cast<int>(i % 3) + 1);
      if (i % 7 == 0 && !db.Delete("a", std::to_string(i % kDocumentCount)).ok()) return std::string("delete");
      db.PutRow(i % kDocumentCount, i);
      if (i % 3 != 0 && !db.core->predictive().Step().ok()) return std::string("step");
      if (i % 13 == 0 && !db.core->Checkpoint().ok()) return std::string("checkpoint");
      parent.Acknowledge(i);
    }
  };
  database.check = [](StorageKind kind, const std::string& path) -> std::string {
    Predictions db(kind, path);
    if (const std::string fault = db.Fault(false); !fault.empty()) return "at first: " + fault;
    const Status filled = db.core->WaitIndexed(std::chrono::minutes(5), {});
    if (!filled.ok()) return filled.ToString();
    if (const std::string fault = db.Fault(true); !fault.empty()) return "at last: " + fault;
    if (!db.core->predictive().ReleaseRetired().ok()) return "not released";
    const auto keyspaces = db.core->store().ListKeyspaces();
    const auto count = std::count_if(keyspaces->begin(), keyspaces->end(), [](const KeyspaceInfo& each) {
      return each.name.front() == 'q' && each.name.find_first_not_of("0123456789", 1) == std::string::npos;
    });
    return count == 2 ? "" : "left a keyspace";
  };
  KillAtAnyMoment(database, 815);
}
