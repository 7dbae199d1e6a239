// kill -9 while photos come and go: no value is of another photo than the document's, a photo that is not here is
// awaited or pending and nothing else, and once all are here all have their values.
#include <algorithm>

#include "engine/database/attachments.h"
#include "engine/database/predicted_rows.h"
#include "engine/database/predictive_worker.h"
#include "engine/model/model_registry.h"
#include "storage/base/file.h"
#include "tests/engine/database/attachment_source.h"
#include "tests/engine/database/core_test.h"
#include "tests/engine/database/killed_database.h"
#include "tests/engine/image/image_files.h"
#include "tests/engine/inference/onnx_writer.h"

using namespace foreshore;

namespace {

constexpr std::uint64_t kDocumentCount = 20;
constexpr std::uint64_t kGreyCount = 50;

struct Photos : CoreFixture {
  Photos(StorageKind kind, const std::string& directory) : CoreFixture(kind, directory), folder(directory) {
    options.durability = Durability::kNormal;
    Open();
  }
  static ByteString Grey(std::uint64_t value) {
    return WritePng(2, 2, PNG_COLOR_TYPE_GRAY, 8, Pixels(4, static_cast<std::uint8_t>(value % kGreyCount)));
  }
  void AddVersion(int more) {
    OnnxWriter writer;
    writer.Input("x", {-1, 1, -1, -1}, 1);
    const std::string mean = writer.Node("Flatten", {writer.Node("GlobalAveragePool", {"x"})});
    writer.Node("Add", {mean, writer.Floats("more", {1}, {static_cast<float>(more)})}, {}, "y");
    writer.Output("y", {-1, 1});
    REQUIRE(WriteFileAtomic(folder + "/g.onnx", writer.Finish()).ok());
    REQUIRE(core->models().Add("g", folder + "/g.onnx", ModelImportOptions()).ok());
  }
  void Photo(std::uint64_t i, std::uint64_t value) {
    const ByteString file = Grey(value);
    const auto staged = AttachmentAccess::Stage(*core, SourceOf(file));
    REQUIRE(staged.ok());
    const auto view = core->BeginWrite();
    const CollectionDefinition& collection = *(*view)->catalog().Find("a");
    const std::string id = std::to_string(i);
    if (!*(*view)->Get(collection, id)) REQUIRE((*view)->Put(collection, id, "{}").ok());
    REQUIRE(AttachmentAccess::Put(**view, collection, id, "photo", "image/png", *staged).ok());
    REQUIRE((*view)->Commit().ok());
  }

  // What is wrong with what a statement would get of each document; empty: nothing.
  std::string Fault(bool must_be_filled) {
    const auto report = core->Verify();
    if (!report.ok()) return report.status().ToString();
    for (const std::string& problem : report->problems) {
      if (!problem.starts_with("blob ")) return problem;
    }
    const auto view = core->BeginRead();
    const CollectionDefinition& collection = *(*view)->catalog().Find("a");
    const PredictiveIndexDefinition& index = collection.predictive_indexes.at(0);
    const auto predictor = core->models().LoadPredictor("g", "");
    if (!predictor.ok()) return predictor.status().ToString();
    const auto lookup = PredictionLookup::Begin(**view, index, true, **predictor);
    const auto rows = PredictedRows::Complete(**view, collection, index, true, **predictor, nullptr);
    if (!lookup.ok() || !rows.ok()) return "nothing was computed";
    if (must_be_filled && !(*rows)->rows().empty()) return "documents are still pending";
    std::vector<std::pair<std::int64_t, std::string>> found;
    const auto documents = (*view)->Scan(collection);
    while (*(*documents)->Next()) {
      std::string expected;
      const std::string content = index.input.SourceOf((*documents)->body()).text;
      if (!content.empty() && core->blobs().Contains(PredictedInput::ContentOf(content))) {
        const auto opened = core->blobs().Open(PredictedInput::ContentOf(content));
        const auto tensor = ImageTensorBlob((*opened)->bytes(), index.input.image_options());
        expected = index.output.Find(*(*predictor)->Predict(*tensor, nullptr));
      }
      found.emplace_back((*documents)->docid(), expected);
    }
    for (const auto& [docid, expected] : found) {
      const auto stored = lookup->Find(**view, docid);
      if (!stored.ok()) return stored.status().ToString();
      const PredictedRows::Row* row = (*rows)->Find(docid);
      if (stored->has_value() == (*rows)->Replaces(docid)) {
        return "document " + std::to_string(docid) + " is there twice, or not at all";
      }
      const std::string value(*stored ? (*stored)->token() : row != nullptr ? row->token : "nothing");
      // What was computed while the photo was here is so still.
      if (value != expected && !(expected.empty() && *stored)) {
        return "document " + std::to_string(docid) + ": " + value + ", expected " + expected;
      }
    }
    return "";
  }

  std::string folder;
};

}  // namespace

TEST_CASE("predictive image: killed at any moment, values are those of the photos that are here") {
  KilledDatabase database;
  database.prepare = [](StorageKind kind, const std::string& path) {
    Photos db(kind, path);
    db.AddVersion(0);
    REQUIRE(db.core->CreateCollection("a").ok());
    for (std::uint64_t i = 0; i < kDocumentCount; ++i) db.Photo(i, i);
    REQUIRE(
        db.core
            ->CreatePredictiveIndex("a", {.model = "g",
                                          .path = "image_tensor(attachment('a', id, 'photo'), '{\"color\":\"grey\"}')",
                                          .output = "$[0][0]"})
            .ok());
  };
  database.work = [](StorageKind kind, const std::string& path, const Acknowledger& parent) {
    Photos db(kind, path);
    parent.Acknowledge(0);
    for (std::uint64_t i = 1;; ++i) {
      if (i % 23 == 0) db.AddVersion(static_cast<int>(i % 3));
      if (i % 9 == 0 && !db.Delete("a", std::to_string(i % kDocumentCount)).ok()) return std::string("delete");
      db.Photo(i % kDocumentCount, i * 7);
      // It leaves before it was looked at, and comes back some time.
      if (i % 2 == 0 && !db.core->blobs().Remove(Sha256Of(Photos::Grey(i * 7))).ok()) return std::string("remove");
      if (i % 3 == 0 && !db.core->blobs().Put(Photos::Grey(i * 5)).ok()) return std::string("put");
      for (int step = 0; step < 3; ++step) {
        if (!db.core->predictive().Step().ok()) return std::string("step");
      }
      parent.Acknowledge(i);
    }
  };
  database.check = [](StorageKind kind, const std::string& path) -> std::string {
    Photos db(kind, path);
    if (const std::string fault = db.Fault(false); !fault.empty()) return "at first: " + fault;
    if (!db.core->WaitIndexed(std::chrono::minutes(5), {}).ok()) return "not filled";
    if (const std::string fault = db.Fault(false); !fault.empty()) return "filled: " + fault;
    for (std::uint64_t i = 0; i < kGreyCount; ++i) {
      if (!db.core->blobs().Put(Photos::Grey(i)).ok()) return "no photo";
    }
    if (const std::string fault = db.Fault(false); !fault.empty()) return "all here: " + fault;
    if (!db.core->WaitIndexed(std::chrono::minutes(5), {}).ok()) return "not filled again";
    if (const std::string fault = db.Fault(true); !fault.empty()) return "at last: " + fault;
    const auto indexes = db.core->ListIndexes();
    return indexes->at(0).awaited_count == 0 && indexes->at(0).failed_count == 0 ? "" : "still awaited";
  };
  KillAtAnyMoment(database, 423);
}
