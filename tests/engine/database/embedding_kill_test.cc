// kill -9 in the middle of one version of a model taking over from another: what answers stays of one kind of weights,
// and the work goes on.
//
// FORESHORE_KILLS sets how many kills (default 12).
#include <cstdlib>
#include <random>

#include "tests/engine/database/embedding_generations.h"
#include "tests/kill_harness.h"

using namespace foreshore;

TEST_CASE("a model's new version: killed at any moment, the field answers by one kind of weights, and goes on") {
  const char* given = std::getenv("FORESHORE_KILLS");
  const std::uint64_t kill_count = given != nullptr ? std::strtoull(given, nullptr, 10) : 12;
  std::mt19937 random(4711);
  for (std::uint64_t kill = 0; kill < kill_count; ++kill) {
    CAPTURE(kill);
    TemporaryDirectory directory;
    const StorageKind kind = kKinds[kill % std::size(kKinds)];
    const std::string prepared = RunForked([&]() -> std::string {
      try {
        Generations db(kind, "", directory.path());
        db.AddVersion(Quantization::kNone);
        return "";
      } catch (...) {
        return "a requirement failed";
      }
    });
    REQUIRE(prepared.empty());
    const auto work = [&](const Acknowledger& parent) {
      Generations db(kind, ExistingDirectory{directory.path()});
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
    const KilledRun run =
        RunAndKill(work, std::chrono::microseconds(random() % 60'000), KillAfter::kFirstAcknowledgement);
    REQUIRE_MESSAGE(run.early_end.empty(), run.early_end);
    const std::string checked = RunForked([&]() -> std::string {
      try {
        Generations db(kind, ExistingDirectory{directory.path()});
        for (const std::string& fault : {db.AnswerFault(), db.VerifyFault()}) {
          if (!fault.empty()) return "at first: " + fault;
        }
        db.WaitEmbedded();
        for (const std::string& fault : {db.VectorFault(kDocumentCount), db.AnswerFault(), db.VerifyFault()}) {
          if (!fault.empty()) return "at last: " + fault;
        }
        if (db.Index().pin.version != db.core->models().Get("tiny")->version) return "did not go on";
        return db.VectorKeyspaces().size() == 1 ? "" : "left a keyspace";
      } catch (...) {
        return "a requirement failed";  // Doctest's own.
      }
    });
    CHECK(checked == "");
  }
}
