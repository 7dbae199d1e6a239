// Power cuts under a whole database: store, INSTANCE, FORMAT, blobs and graph snapshots on one simulated disk, cut at
// random operations of a mixed load. Then it opens, verifies clean, holds the documents after some commit at or after
// the last acknowledged one (full durability; any commit under normal), the log tells of exactly these commits, every
// blob referred to is whole, and searches over a graph from its snapshot find what a graph built anew finds.
//
// FORESHORE_CRASH_POINTS sets how many cuts per backend (default 600 on SQLite and 150 on RocksDB, which takes five
// times as long to open), FORESHORE_TEST_SEED where to begin. Each six cuts take the next seed. RocksDB works in
// threads of its own, so a seed alone does not always repeat a failure: the report names the last operations of the
// disk too.
#include <doctest/doctest.h>

#include <functional>

#include "storage/base/file.h"
#include "tests/engine/database/core_test.h"
#include "tests/engine/database/database_load.h"
#include "tests/engine/database/late_log_store.h"
#include "tests/storage/quiet_log.h"
#include "tests/storage/simulated_disk.h"

using namespace foreshore;

namespace {

constexpr std::uint64_t kDefaultSeed = 20240229;  // Any number.
constexpr int kCutsPerDisk = 6;
constexpr std::uint64_t kOperationsMax = 300;  // Between an open and its cut.

std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* given = std::getenv(name);
  return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

// A bug that is put in on purpose.
struct Planted {
  std::function<bool(std::string_view path)> ignores_sync;
  BlobOrder blob_order = BlobOrder::kBeforeReference;
  bool late_log = false;
};

struct Outcome {
  std::uint64_t cuts = 0;
  std::uint64_t failures = 0;
  std::string first_failure;
};

// One disk, several cuts in a row: creation and recovery are cut as well.
class Campaign {
 public:
  Campaign(std::uint64_t seed, StorageKind kind, Durability durability, const Planted& planted)
      : seed_(seed), random_(seed), disk_(seed), load_(seed), path_(disk_.root() + "/db.foreshore"), planted_(planted) {
    options_.create = true;
    options_.storage = kind;
    options_.durability = durability;
    options_.embed_in_background = false;
    options_.cache_bytes = 1;
    if (planted.ignores_sync) disk_.IgnoreSyncs(planted.ignores_sync);
    if (planted.late_log) {
      environment_.wrap_store = [](std::unique_ptr<Store> store) -> std::unique_ptr<Store> {
        return std::make_unique<LateLogStore>(std::move(store));
      };
    }
  }

  void Run(Outcome& outcome) {
    for (int cut = 0; cut < kCutsPerDisk; ++cut) {
      disk_.CutAfter(1 + random_() % kOperationsMax);
      const Status status = RunUntilCut();
      const bool was_cut = disk_.is_off();
      if (!was_cut) disk_.CutNow();
      const std::string trace = disk_.Trace();
      disk_.PowerOn();
      ++outcome.cuts;
      const std::string failure = was_cut ? Check() : "before the cut: " + status.ToString();
      if (failure.empty()) continue;
      ++outcome.failures;
      if (outcome.first_failure.empty()) {
        outcome.first_failure =
            "seed " + std::to_string(seed_) + ", cut " + std::to_string(cut) + ": " + failure + trace;
      }
      return;  // What a damaged disk does next says nothing.
    }
  }

 private:
  Status RunUntilCut() {
    FORESHORE_ASSIGN_OR_RETURN(const auto core, DatabaseCore::Open(path_, options_, environment_));
    FORESHORE_RETURN_IF_ERROR(PrepareDatabase(*core));
    while (true) {
      if (random_() % 12 == 0) FORESHORE_RETURN_IF_ERROR(core->Checkpoint());
      if (random_() % 40 == 0) FORESHORE_RETURN_IF_ERROR(core->Compact());
      const std::vector<DatabaseStep> steps = load_.Next(model_);
      FORESHORE_RETURN_IF_ERROR(CommitSteps(*core, steps, model_.count, planted_.blob_order));
      acknowledged_ = model_.count;
    }
  }

  // Empty where all is well.
  std::string Check() {
    std::vector<std::pair<std::int64_t, double>> neighbours;
    bool from_snapshot = false;
    {
      const auto core = DatabaseCore::Open(path_, options_, environment_);
      if (!core.ok()) return "open: " + core.status().ToString();
      if (std::string failure = CheckOpen(**core); !failure.empty()) return failure;
      const auto indexes = (*core)->ListIndexes();
      const auto found = AllNeighbours(**core);
      if (!indexes.ok() || !found.ok()) return "search: " + found.status().ToString();
      for (const IndexInfo& index : *indexes) from_snapshot = index.opened_from != "rebuilt";
      neighbours = *found;
      // Without a clean end the next one recovers from what this one recovered to.
      if (random_() % 2 == 0) disk_.CutNow();
    }
    if (disk_.is_off()) disk_.PowerOn();
    if (!from_snapshot) return "";
    const auto names = ListDirectory(path_ + "/index");
    if (!names.ok()) return names.status().ToString();
    for (const std::string& name : *names) RemoveFile(path_ + "/index/" + name).IgnoreError();
    const auto core = DatabaseCore::Open(path_, options_, environment_);
    if (!core.ok()) return "open without snapshots: " + core.status().ToString();
    const auto rebuilt = AllNeighbours(**core);
    return rebuilt.ok() && *rebuilt == neighbours ? "" : "a graph from its snapshot and one built anew differ";
  }

  std::string CheckOpen(DatabaseCore& core) {
    const bool is_full = options_.durability == Durability::kFull;
    if (is_full && core.identity_forked()) return "the database took itself for a copy";
    const auto report = core.Verify();
    if (!report.ok()) return "verify: " + report.status().ToString();
    if (!report->problems.empty()) return "verify: " + report->problems.front();
    const auto last = LastCommit(core);
    if (!last.ok()) return "last: " + last.status().ToString();
    if (*last < (is_full ? acknowledged_ : 0) || *last > model_.count) {
      return "holds commit " + std::to_string(*last) + ", expected " + std::to_string(acknowledged_) + ".." +
             std::to_string(model_.count);
    }
    model_ = load_.After(*last);
    acknowledged_ = *last;
    return CompareDatabase(core, model_);
  }

  const std::uint64_t seed_;
  std::mt19937_64 random_;
  SimulatedDisk disk_;
  const DatabaseLoad load_;
  const std::string path_;
  const Planted planted_;
  DatabaseOptions options_;
  Environment environment_;
  DatabaseModel model_;  // After what was tried last.
  std::int64_t acknowledged_ = 0;
};

Outcome RunCampaigns(std::uint64_t points, StorageKind kind, Durability durability, const Planted& planted = {},
                     std::uint64_t failures_max = UINT64_MAX) {
  const QuietLog quiet;  // Graphs that are built anew are what this is about.
  const std::uint64_t seed = FromEnvironment("FORESHORE_TEST_SEED", kDefaultSeed);
  Outcome outcome;
  for (std::uint64_t disk = 0; disk * kCutsPerDisk < points && outcome.failures < failures_max; ++disk) {
    Campaign campaign(seed + disk, kind, durability, planted);
    campaign.Run(outcome);
  }
  return outcome;
}

// A third of the points is for normal durability.
void CheckNoFailure(StorageKind kind, Durability durability) {
  const std::uint64_t all = FromEnvironment("FORESHORE_CRASH_POINTS", kind == StorageKind::kSqlite ? 600 : 150);
  const std::uint64_t points = durability == Durability::kNormal ? all / 3 : all - all / 3;
  const Outcome outcome = RunCampaigns(points, kind, durability);
  CHECK_MESSAGE(outcome.failures == 0, outcome.first_failure);
  CHECK(outcome.cuts >= points);
  MESSAGE(outcome.cuts << " power cuts, " << outcome.failures << " failures");
}

void CheckFailures(StorageKind kind, const Planted& planted) {
  const Outcome outcome = RunCampaigns(600, kind, Durability::kFull, planted, 1);
  CHECK(outcome.failures > 0);
  MESSAGE("first seen within " << outcome.cuts
                               << " cuts: " << outcome.first_failure.substr(0, outcome.first_failure.find('\n')));
}

}  // namespace

TEST_CASE("crash: a database on SQLite keeps every acknowledged commit under full durability") {
  CheckNoFailure(StorageKind::kSqlite, Durability::kFull);
}

TEST_CASE("crash: a database on SQLite keeps a prefix of the commits under normal durability") {
  CheckNoFailure(StorageKind::kSqlite, Durability::kNormal);
}

#ifdef FORESHORE_WITH_ROCKSDB
TEST_CASE("crash: a database on RocksDB keeps every acknowledged commit under full durability") {
  CheckNoFailure(StorageKind::kRocksdb, Durability::kFull);
}

TEST_CASE("crash: a database on RocksDB keeps a prefix of the commits under normal durability") {
  CheckNoFailure(StorageKind::kRocksdb, Durability::kNormal);
}
#endif

// Goal: a graph snapshot that tells of commits which a power cut took away is never used again, not even once the log
// has grown past its sequence. Method: a snapshot from a history that went on otherwise is put in; then other commits,
// a killed process, and a look.
TEST_CASE("crash: a snapshot of a lost history stays out after the log has passed it") {
  const QuietLog quiet;
  SimulatedDisk disk(1);
  DatabaseOptions options;
  options.create = true;
  options.embed_in_background = false;
  const auto commit = [](DatabaseCore& core, std::int64_t number, int x) {
    DatabaseStep step;
    step.id = "d" + std::to_string(number);
    step.json = R"({"n":1,"v":[)" + std::to_string(x) + ",5]}";
    const Status status = CommitSteps(core, {step}, number);
    REQUIRE_MESSAGE(status.ok(), status.ToString());
  };
  const auto open = [&](const std::string& name) {
    auto core = DatabaseCore::Open(disk.root() + "/" + name, options);
    REQUIRE_MESSAGE(core.ok(), core.status().ToString());
    REQUIRE(PrepareDatabase(**core).ok());
    return std::move(core).value();
  };
  const auto snapshot_of = [&](const std::string& name) {
    const std::string folder = disk.root() + "/" + name + "/index/";
    const auto names = ListDirectory(folder);
    REQUIRE((names.ok() && names->size() == 1));
    return folder + names->front();
  };
  for (const std::string name : {"lost", "kept"}) {
    const auto core = open(name);
    for (std::int64_t number = 1; number <= (name == "lost" ? 6 : 4); ++number) {
      commit(*core, number, static_cast<int>(100 * number));
    }
    REQUIRE(core->Close().ok());
  }
  const auto lost = ReadFile(snapshot_of("lost"));
  REQUIRE((lost.ok() && WriteFileAtomic(snapshot_of("kept"), *lost).ok()));
  {
    const auto core = open("kept");
    for (std::int64_t number = 5; number <= 8; ++number) commit(*core, number, static_cast<int>(7 * number));
    disk.KeepEverythingAtNextCut();
    disk.CutNow();
  }
  disk.PowerOn();
  std::vector<std::pair<std::int64_t, double>> found;
  {
    const auto core = open("kept");
    found = *AllNeighbours(*core);
    REQUIRE(core->Close().ok());
  }
  REQUIRE(RemoveFile(snapshot_of("kept")).ok());
  CHECK(found == *AllNeighbours(*open("kept")));
}

// The three that follow prove that the harness sees such mistakes; one that cannot fail would prove nothing above.
TEST_CASE("planted: a skipped sync of the store's log is caught") {
  for (const StorageKind kind : kKinds) {
    CheckFailures(
        kind, {.ignores_sync = [](std::string_view path) { return path.ends_with("-wal") || path.ends_with(".log"); }});
  }
}

TEST_CASE("planted: a change-log entry outside its transaction is caught") {
  for (const StorageKind kind : kKinds) CheckFailures(kind, {.ignores_sync = {}, .late_log = true});
}

TEST_CASE("planted: a blob written after its reference, or not synced before it, is caught") {
  for (const StorageKind kind : kKinds) {
    CheckFailures(kind, {.ignores_sync = {}, .blob_order = BlobOrder::kAfterReference});
    CheckFailures(
        kind, {.ignores_sync = [](std::string_view path) { return path.find("/blobs/") != std::string_view::npos; }});
  }
}
