// kill -9 in the middle of one version of a model taking over from another: what answers stays of one kind of weights,
// and the work goes on.
#include "tests/engine/database/embedding_generations.h"
#include "tests/engine/database/killed_database.h"

using namespace foreshore;

TEST_CASE("a model's new version: killed at any moment, the field answers by one kind of weights, and goes on") {
  KilledDatabase database;
  database.prepare = [](StorageKind kind, const std::string& path) {
    Generations db(kind, "", path);
    db.AddVersion(Quantization::kNone);
  };
  database.work = [](StorageKind kind, const std::string& path, const Acknowledger& parent) {
    Generations db(kind, ExistingDirectory{path});
    parent.Acknowledge(0);
    // Versions come one after the other, and documents with them.
    for (std::uint64_t i = 1;; ++i) {
      if (i % 9 == 0) db.AddVersion(i % 2 == 0 ? Quantization::kInt8 : Quantization::kNone);
      db.PutText(std::to_string(i % kDocumentCount), TextOf(static_cast<int>(i % kDocumentCount)));
      if (!EmbeddingWorker(*db.core).Step().ok()) return std::string("step");
      if (i % 13 == 0 && !db.core->Checkpoint().ok()) return std::string("checkpoint");
      parent.Acknowledge(i);
    }
  };
  database.check = [](StorageKind kind, const std::string& path) -> std::string {
    Generations db(kind, ExistingDirectory{path});
    for (const std::string& fault : {db.AnswerFault(), db.VerifyFault()}) {
      if (!fault.empty()) return "at first: " + fault;
    }
    db.WaitEmbedded();
    for (const std::string& fault : {db.VectorFault(kDocumentCount), db.AnswerFault(), db.VerifyFault()}) {
      if (!fault.empty()) return "at last: " + fault;
    }
    if (db.Index().pin.version != db.core->models().Get("tiny")->version) return "did not go on";
    return db.VectorKeyspaces().size() == 1 ? "" : "left a keyspace";
  };
  KillAtAnyMoment(database, 4711);
}
