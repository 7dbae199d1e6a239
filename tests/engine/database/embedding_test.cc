// Fields that a model fills, with the tiny BERT of tests/golden (its vectors mean nothing; that they follow the texts
// does).
#include "engine/database/embedding_worker.h"

#include "engine/database/derived_vector_index.h"
#include "engine/database/stored_vector.h"
#include "engine/model/model_registry.h"
#include "storage/base/file.h"
#include "tests/engine/database/core_test.h"

using namespace foreshore;

namespace {

const std::string kModel = FORESHORE_GOLDEN_DIR "/bert_tiny";

void OpenWithModel(CoreFixture& db) {
  db.Open();
  REQUIRE(db.core->CreateCollection("notes").ok());
  const auto model = db.core->models().Add("tiny", kModel, {});
  REQUIRE_MESSAGE(model.ok(), model.status().ToString());
  const Status created = db.core->CreateVectorIndex(
      "notes", {.field = "embedding", .model = "tiny", .source_paths = {"text", "meta.title"}});
  REQUIRE_MESSAGE(created.ok(), created.ToString());
}

Status Wait(CoreFixture& db) {
  return db.core->WaitEmbedded(std::chrono::minutes(1), {});
}

std::uint64_t Count(CoreFixture& db) {
  return db.core->VectorCount(*db.core->catalog()->Find("notes")->FindVectorIndex("embedding"));
}

std::uint64_t Pending(CoreFixture& db) {
  const auto indexes = db.core->ListIndexes();
  REQUIRE(indexes.ok());
  return indexes->at(0).pending_count;
}

std::vector<float> EmbeddingOf(CoreFixture& db, std::string_view text) {
  const auto model = db.core->models().Load("tiny");
  REQUIRE_MESSAGE(model.ok(), model.status().ToString());
  std::vector<float> vector((*model)->info().dimension);
  REQUIRE((*model)->Embed({&text, 1}, vector).ok());
  return vector;
}

std::vector<std::string> NearestTo(CoreFixture& db, std::string_view text, std::size_t k) {
  const auto view = db.core->BeginRead();
  REQUIRE(view.ok());
  return db.Nearest(**view, "notes", "embedding", EmbeddingOf(db, text), k);
}

}  // namespace

TEST_CASE("embedding: put returns first, waiting fills the vector, a change and a deletion follow") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    OpenWithModel(db);
    REQUIRE(db.Put("notes", "1", R"({"text":"pump"})").ok());
    REQUIRE(db.Put("notes", "2", R"({"text":"the valve","meta":{"title":"leaks"}})").ok());
    REQUIRE(db.Put("notes", "3", R"({"other":1})").ok());
    CHECK(Count(db) == 0);
    CHECK(Pending(db) >= 3);
    REQUIRE(Wait(db).ok());
    CHECK(Pending(db) == 0);
    CHECK(Count(db) == 2);
    CHECK(NearestTo(db, "the valve\nleaks", 1) == std::vector<std::string>{"2"});
    db.CheckVerified();

    // The old vector stays until the new one is there.
    REQUIRE(db.Put("notes", "1", R"({"text":"the pump is hot"})").ok());
    CHECK(Count(db) == 2);
    CHECK(Pending(db) == 1);
    REQUIRE(Wait(db).ok());
    CHECK(NearestTo(db, "the pump is hot", 1) == std::vector<std::string>{"1"});
    REQUIRE(db.Put("notes", "2", R"({"text":null})").ok());
    REQUIRE(Wait(db).ok());
    CHECK(Count(db) == 1);
    REQUIRE(db.Delete("notes", "1").ok());
    CHECK(Count(db) == 0);
    db.CheckVerified();
  }
}

TEST_CASE("embedding: what was pending when the process died is filled after the next open") {
  CoreFixture db;
  OpenWithModel(db);
  for (int i = 0; i < 200; ++i) {
    REQUIRE(db.Put("notes", std::to_string(i), R"({"text":"note )" + std::to_string(i) + R"("})").ok());
  }
  auto first_batch = EmbeddingWorker(*db.core).Step();
  REQUIRE_MESSAGE(first_batch.ok(), first_batch.status().ToString());
  CHECK(*first_batch);
  db.Reopen();
  CHECK(Pending(db) > 0);
  REQUIRE(Wait(db).ok());
  CHECK(Count(db) == 200);
  CHECK(Pending(db) == 0);
  db.CheckVerified();
}

TEST_CASE(
    "embedding: an index made over documents that are there fills them all, a text that did not change not again") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("notes").ok());
  for (int i = 0; i < 150; ++i) REQUIRE(db.Put("notes", std::to_string(i), R"({"text":"a","n":1})").ok());
  REQUIRE(db.core->models().Add("tiny", kModel, {}).ok());
  REQUIRE(db.core->CreateVectorIndex("notes", {.field = "embedding", .model = "tiny", .source_paths = {"text"}}).ok());
  REQUIRE(Wait(db).ok());
  CHECK(Count(db) == 150);
  const std::int64_t sequence = db.core->last_sequence();
  REQUIRE(db.Put("notes", "7", R"({"text":"a","n":2})").ok());
  REQUIRE(Wait(db).ok());
  // One document entry and no vector entry.
  CHECK(db.core->last_sequence() == sequence + 1);
}

TEST_CASE("embedding: the background thread fills without being asked") {
  CoreFixture db;
  db.options.embed_in_background = true;
  OpenWithModel(db);
  for (int i = 0; i < 100; ++i) REQUIRE(db.Put("notes", std::to_string(i), R"({"text":"b"})").ok());
  for (int tries = 0; tries < 600 && Count(db) < 100; ++tries) {
    db.core->WaitForChange(db.core->last_sequence(), std::chrono::milliseconds(100));
  }
  CHECK(Count(db) == 100);
  REQUIRE(Wait(db).ok());
  db.CheckVerified();
}

TEST_CASE("model: the same content again changes nothing, one that is used cannot be removed, a damaged one is named") {
  CoreFixture db;
  OpenWithModel(db);
  const auto first = db.core->models().Get("tiny");
  REQUIRE(first.ok());
  CHECK(first->quantization == "int8");
  CHECK(first->is_complete);
  const std::int64_t sequence = db.core->last_sequence();
  const auto second = db.core->models().Add("tiny", kModel, {});
  REQUIRE(second.ok());
  CHECK(second->version == first->version);
  CHECK(db.core->last_sequence() == sequence);
  CHECK(db.core->models().Remove("tiny").code() == ErrorCode::kConflict);
  CHECK(db.core->models().Remove("absent").code() == ErrorCode::kNotFound);
  CHECK(db.core->models().Load("absent").status().code() == ErrorCode::kNotFound);
  CHECK(db.core->models().Add("bad name", kModel, {}).status().code() == ErrorCode::kInvalidArgument);
  CHECK(db.core->models().Add("none", kModel + "/absent.onnx", {}).status().code() == ErrorCode::kNotFound);

  const auto prediction = db.core->models().Predict("tiny", R"({"text":"pump"})");
  REQUIRE_MESSAGE(prediction.ok(), prediction.status().ToString());
  CHECK(prediction->starts_with(R"({"embedding":[)"));
  CHECK(db.core->models().Predict("tiny", "7").status().code() == ErrorCode::kInvalidArgument);
  CHECK(db.core->models().Predict("tiny", "{").status().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("model: packed weights that are gone or damaged are made anew, blobs that are gone are waited for") {
  CoreFixture db;
  OpenWithModel(db);
  const std::vector<float> before = EmbeddingOf(db, "pump");
  db.Close();
  const auto names = ListDirectory(db.path() + "/index");
  REQUIRE(names.ok());
  std::string packed;
  for (const std::string& name : *names) {
    if (name.starts_with("packed-")) packed = db.path() + "/index/" + name;
  }
  REQUIRE(!packed.empty());
  ByteString content = *ReadFile(packed);
  content[content.size() - 100] ^= 1;
  REQUIRE(WriteFileAtomic(packed, content).ok());
  db.Open();
  CHECK(EmbeddingOf(db, "pump") == before);
  const auto row = db.core->models().Get("tiny");
  REQUIRE(row.ok());
  const auto body = db.Get("_models", "tiny");
  const auto blobs = db.core->models().BlobsOf(body);
  REQUIRE(blobs.ok());
  CHECK(blobs->size() == row->tensor_count + 2);
  REQUIRE(db.core->blobs().Remove(blobs->back()).ok());
  db.Reopen();
  REQUIRE(RemoveFile(packed).ok());
  CHECK(db.core->models().Load("tiny").status().code() == ErrorCode::kBusy);
  CHECK_FALSE(db.core->models().Get("tiny")->is_complete);
  const auto report = db.core->Verify();
  REQUIRE(report.ok());
  CHECK(report->problems.size() == 1);
}
