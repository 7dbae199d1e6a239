// Fields whose model goes on to another version, or whose adapter does: what answers meanwhile, and that vectors of two
// kinds of weights never meet.
#include "tests/engine/database/embedding_generations.h"

using namespace foreshore;

TEST_CASE("a model's new version: the old vectors answer, by the old weights, until all of the new are there") {
  for (const StorageKind kind : kKinds) {
    Generations db(kind);
    const ModelPin before = db.Index().pin;
    db.AddVersion(Quantization::kNone);
    CHECK(db.Info().pending_count > 0);
    int step_count = 0;
    while (db.Index().pin == before) {
      CHECK(db.core->VectorCount(db.Index()) == kDocumentCount);
      CHECK(db.Info().model_version == before.version);
      CHECK(db.Info().next_model_version != before.version);
      CHECK_FALSE(db.Info().next_model_version.empty());
      db.CheckAnswers();
      db.CheckVerified();
      REQUIRE(db.Step());
      REQUIRE(++step_count < 20);
    }
    CHECK(step_count >= 4);  // The beginning, three batches, the change-over.
    CHECK(db.Info().pending_count == 0);
    CHECK(db.Info().next_model_version.empty());
    CHECK(db.Index().pin.version == db.core->models().Get("tiny")->version);
    db.CheckVectors(kDocumentCount);
    db.CheckAnswers();
    CHECK_FALSE(db.Step());
    CHECK(db.VectorKeyspaces().size() == 1);
    db.CheckVerified();
    db.Reopen();
    db.CheckVectors(kDocumentCount);
    db.CheckAnswers();
    db.CheckVerified();
  }
}

TEST_CASE("a model's new version: a snapshot from before the change-over is answered by the old vectors and weights") {
  Generations db;
  db.options.durability = Durability::kFull;  // Else collecting asks for a checkpoint, which waits for readers.
  db.Reopen();
  const ModelPin before = db.Index().pin;
  auto old_view = db.core->BeginRead();
  REQUIRE(old_view.ok());
  db.AddVersion(Quantization::kNone);
  db.WaitEmbedded();
  REQUIRE(db.Index().pin != before);
  CHECK((*old_view)->catalog().Find("notes")->FindVectorIndex("embedding")->pin == before);
  db.PutText("after", "e d c b a");
  db.WaitEmbedded();
  db.CheckAnswers(**old_view);
  db.CheckAnswers();
  CHECK(db.VectorKeyspaces().size() == 2);
  // Nor may the weights go.
  REQUIRE(db.core->CollectBlobs(DatabaseCore::BlobSweep::kAll).ok());
  const auto blobs = db.core->models().BlobsOfPin(before);
  REQUIRE(blobs.ok());
  for (const BlobId& blob : *blobs) CHECK(db.core->blobs().Contains(blob));
  db.CheckAnswers(**old_view);
  old_view->reset();
  CHECK_FALSE(db.Step());
  CHECK(db.VectorKeyspaces().size() == 1);
}

TEST_CASE("a model's new version: documents that are written, changed and deleted meanwhile are in both") {
  Generations db;
  const ModelPin before = db.Index().pin;
  db.AddVersion(Quantization::kNone);
  REQUIRE(db.Step());
  REQUIRE(db.Step());
  db.PutText("new", "pump pump pump");
  db.PutText("3", "e e e e");
  REQUIRE(db.Delete("notes", "0").ok());
  REQUIRE(db.Delete("notes", "149").ok());
  REQUIRE(db.Step());
  CHECK(db.Index().pin == before);
  CHECK(db.core->VectorCount(db.Index()) == kDocumentCount - 1);  // What answers is filled first.
  {
    const auto view = db.core->BeginRead();
    CHECK(db.Nearest(**view, "notes", "embedding", db.Embed(before, "pump pump pump"), 1) ==
          std::vector<std::string>{"new"});
  }
  db.WaitEmbedded();
  CHECK(db.Index().pin != before);
  db.CheckVectors(kDocumentCount - 1);
  const auto view = db.core->BeginRead();
  CHECK(db.Nearest(**view, "notes", "embedding", db.Embed(db.Index().pin, "e e e e"), 1) ==
        std::vector<std::string>{"3"});
  db.CheckVerified();
}

TEST_CASE("a model's new version: closing in the middle goes on where it was") {
  Generations db;
  db.AddVersion(Quantization::kNone);
  REQUIRE(db.Step());
  REQUIRE(db.Step());
  const std::uint64_t filled = db.Info().next_vector_count;
  CHECK(filled == 64);
  const std::set<std::string> keyspaces = db.VectorKeyspaces();
  db.Reopen();
  CHECK(db.Info().next_vector_count == filled);
  CHECK(db.VectorKeyspaces() == keyspaces);
  db.CheckAnswers();
  REQUIRE(db.Step());
  CHECK(db.Info().next_vector_count == 2 * filled);
  db.WaitEmbedded();
  db.CheckVectors(kDocumentCount);
  db.CheckVerified();
}

TEST_CASE("a model's new version: a second one in the middle takes the first one's place, and going back ends it") {
  Generations db;
  const ModelPin first = db.Index().pin;
  db.AddVersion(Quantization::kNone);
  REQUIRE(db.Step());
  REQUIRE(db.Step());
  const std::string second = db.Info().next_model_version;
  db.AddWiderVersion();
  CHECK(db.Index().pin == first);
  REQUIRE(db.Step());
  CHECK(db.Info().next_model_version != second);
  CHECK(db.Info().next_vector_count == 0);
  db.CheckAnswers();
  // The row goes back to what answers: there is nothing to do any more.
  db.AddVersion(Quantization::kInt8);
  REQUIRE(db.Step());
  CHECK_FALSE(db.Step());
  CHECK(db.Info().next_model_version.empty());
  CHECK(db.Info().pending_count == 0);
  CHECK(db.Index().pin == first);
  CHECK(db.VectorKeyspaces().size() == 1);
  db.CheckVectors(kDocumentCount);
  db.CheckAnswers();
  db.CheckVerified();
}

TEST_CASE("a model's new version: one of another dimension takes over too, and later indexes are of what answers") {
  Generations db;
  db.AddWiderVersion();
  REQUIRE(db.Step());
  CHECK(db.Index().options.dimension == 8);
  // Of one model, fields are by one version at a time.
  REQUIRE(db.core->CreateVectorIndex("notes", {.field = "other", .model = "tiny", .source_paths = {"text"}}).ok());
  CHECK(db.core->catalog()->Find("notes")->FindVectorIndex("other")->pin == db.Index().pin);
  db.WaitEmbedded();
  CHECK(db.Index().options.dimension == 16);
  CHECK(db.core->catalog()->Find("notes")->FindVectorIndex("other")->pin == db.Index().pin);
  db.CheckVectors(kDocumentCount);
  db.CheckAnswers();
  db.Reopen();
  CHECK(db.Index().options.dimension == 16);
  db.CheckAnswers();
  db.CheckVerified();
}

TEST_CASE("a model's new version: the old one's blobs stay until the change-over, and go after it") {
  Generations db;
  const ModelPin before = db.Index().pin;
  const auto blobs = db.core->models().BlobsOfPin(before);
  REQUIRE(blobs.ok());
  db.AddWiderVersion();
  REQUIRE(db.core->Compact().ok());
  db.Reopen();  // Nothing of the old version is loaded.
  REQUIRE(db.core->Compact().ok());
  for (const BlobId& blob : *blobs) CHECK(db.core->blobs().Contains(blob));
  REQUIRE(db.Step());
  db.CheckAnswers();
  db.PutText("more", "a b c d e");  // Still embedded by it.
  REQUIRE(db.Step());
  CHECK(db.core->VectorCount(db.Index()) == kDocumentCount + 1);
  db.WaitEmbedded();
  CHECK_FALSE(db.Step());
  REQUIRE(db.core->Compact().ok());
  CHECK_FALSE(db.core->blobs().Contains(*ParseBlobId(before.version)));
  db.CheckAnswers();
  db.CheckVerified();
}

TEST_CASE("a model's new version: while its blobs are on their way, or where it cannot embed, the old one goes on") {
  Generations db;
  const ModelPin before = db.Index().pin;
  std::string body = db.Get("_models", "tiny");
  const std::string unknown = "00" + before.version.substr(2);
  for (std::size_t at = body.find(before.version); at != std::string::npos; at = body.find(before.version)) {
    body.replace(at, 64, unknown);
  }
  {
    // As sync brings it: the row before its blobs.
    const auto view = db.core->BeginWrite();
    REQUIRE(view.ok());
    DocumentState state = *(*view)->LoadState(*(*view)->catalog().Find("_models"), "tiny");
    const std::uint64_t hlc = *(*view)->RevisionOf(*(*view)->catalog().Find("_models"),
                                                   **(*view)->FindDocid(*(*view)->catalog().Find("_models"), "tiny")) +
                              1;
    const WriteGroup group = DiffPut(state, db.Get("_models", "tiny"), state.seen, body, hlc, {{1}, 77}, 0);
    const auto applied = (*view)->Apply(*(*view)->catalog().Find("_models"), {"tiny", {group}});
    REQUIRE_MESSAGE(applied.ok(), applied.status().ToString());
    CHECK(applied->changed);
    REQUIRE((*view)->Commit().ok());
  }
  const auto step = EmbeddingWorker(*db.core).Step();
  CHECK(step.status().code() == ErrorCode::kBusy);
  CHECK(db.Index().pin == before);
  db.CheckAnswers();
  db.PutText("new", "pump pump pump");
  const auto embedded = EmbeddingWorker(*db.core).Step();
  REQUIRE_MESSAGE(embedded.ok(), embedded.status().ToString());
  CHECK(*embedded);
  CHECK(db.core->VectorCount(db.Index()) == kDocumentCount + 1);
}

TEST_CASE("a field's adapter: makes its vectors, and another one of the name counts as another model") {
  Generations db(StorageKind::kSqlite, "legal");
  const ModelPin before = db.Index().pin;
  CHECK_FALSE(before.adapter_version.empty());
  CHECK(db.Info().adapter_version == before.adapter_version);
  ModelPin plain = before;
  plain.adapter.clear();
  plain.adapter_version.clear();
  CHECK(db.Embed(before, TextOf(1)) != db.Embed(plain, TextOf(1)));
  db.CheckVectors(kDocumentCount);
  db.CheckAnswers();
  CHECK(db.core->RemoveAdapter("tiny", "legal").code() == ErrorCode::kConflict);
  db.AddAdapter("legal", 2);
  REQUIRE(db.Step());
  CHECK(db.Index().pin == before);
  db.CheckAnswers();
  db.Reopen();
  REQUIRE(db.core->Compact().ok());
  db.CheckAnswers();
  db.WaitEmbedded();
  CHECK(db.Index().pin.version == before.version);
  CHECK(db.Index().pin.adapter_version != before.adapter_version);
  CHECK(db.Index().options.adapter == "legal");
  db.CheckVectors(kDocumentCount);
  db.CheckAnswers();
  db.CheckVerified();
  REQUIRE(db.core->DropVectorIndex("notes", "embedding").ok());
  CHECK(db.core->RemoveAdapter("tiny", "legal").ok());
  CHECK(db.core->CreateVectorIndex("notes", {.field = "e", .model = "tiny", .source_paths = {"text"}, .adapter = "x"})
            .code() == ErrorCode::kNotFound);
}

TEST_CASE("a model's new version: a field that is dropped meanwhile leaves nothing behind") {
  Generations db;
  db.AddVersion(Quantization::kNone);
  REQUIRE(db.Step());
  REQUIRE(db.Step());
  CHECK(db.VectorKeyspaces().size() == 2);
  REQUIRE(db.core->DropVectorIndex("notes", "embedding").ok());
  CHECK(db.VectorKeyspaces().empty());
  CHECK_FALSE(db.Step());
  db.Reopen();
  CHECK_FALSE(db.Step());
  const auto names = ListDirectory(db.path() + "/index");
  REQUIRE(names.ok());
  for (const std::string& name : *names) CHECK_FALSE(name.starts_with('v'));
  db.CheckVerified();
}
