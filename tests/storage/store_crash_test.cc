// Power cuts under a store of either backend on a simulated disk: a mixed load of transactions over several keyspaces
// and the change log, cut at random operations. What survives must be a prefix of the commits, with every acknowledged
// one in it (full durability) or any prefix (normal durability), and verify clean.
//
// FORESHORE_CRASH_POINTS sets how many cuts per backend (default 2,000, a quarter of them under normal durability),
// FORESHORE_TEST_SEED where to begin. Each five cuts take the next seed. RocksDB flushes and compacts in threads of its
// own, so a seed alone does not always repeat a failure: the report names the last operations of the disk too.
#include <doctest/doctest.h>

#include <random>
#include <string>

#include "tests/storage/quiet_log.h"
#include "tests/storage/simulated_disk.h"
#include "tests/storage/store_backends.h"
#include "tests/storage/store_load.h"

namespace foreshore {
namespace {

using I = std::int64_t;

constexpr std::uint64_t kDefaultSeed = 20240229;  // Any number.
constexpr int kCutsPerDisk = 5;
constexpr std::uint64_t kOperationsMax = 160;       // Between an open and its cut.
constexpr std::uint64_t kManyOperationsMax = 1500;  // So many that write buffers fill by themselves.

struct Outcome {
  int cuts = 0;
  int failures = 0;
  std::string first_failure;
};

// One disk, several cuts in a row: recovery itself is cut as well.
template <typename Backend>
class Campaign {
 public:
  Campaign(std::uint64_t seed, Durability durability, std::uint64_t operations_max)
      : seed_(seed),
        operations_max_(operations_max),
        random_(seed),
        disk_(seed),
        load_(seed),
        path_(disk_.root() + "/" + Backend::kFile) {
    options_.durability = durability;
    options_.create = true;
    options_.cache_bytes = 1;              // The least there is.
    options_.checkpoint_bytes = 64 << 10;  // Many checkpoints, so that they are cut too.
  }
  SimulatedDisk& disk() { return disk_; }

  void Run(Outcome& outcome) {
    for (int cut = 0; cut < kCutsPerDisk; ++cut) {
      disk_.CutAfter(1 + random_() % operations_max_);
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
  // Ends with the error of the first call that met the cut; by then the store is closed, with the power off.
  Status RunUntilCut() {
    FORESHORE_ASSIGN_OR_RETURN(const auto store, Backend::Open(path_, options_));
    FORESHORE_ASSIGN_OR_RETURN(const LoadKeyspaces keyspaces, OpenKeyspaces(*store));
    std::unique_ptr<ReadTxn> reader;
    while (true) {
      // A reader that stays open for a while keeps checkpoints from finishing.
      if (random_() % 8 == 0) {
        FORESHORE_ASSIGN_OR_RETURN(reader, store->BeginRead());
      } else if (random_() % 4 == 0) {
        reader = nullptr;
      }
      if (random_() % 16 == 0 && reader == nullptr) FORESHORE_RETURN_IF_ERROR(store->Checkpoint());
      if (random_() % 64 == 0 && reader == nullptr) FORESHORE_RETURN_IF_ERROR(store->Compact());
      FORESHORE_ASSIGN_OR_RETURN(const auto txn, store->BeginWrite());
      FORESHORE_RETURN_IF_ERROR(load_.Step(model_, txn.get(), &keyspaces));
      if (random_() % 10 == 0) {  // Rolled back: number n will be tried again.
        model_ = load_.After(acknowledged_);
        continue;
      }
      FORESHORE_RETURN_IF_ERROR(txn->Commit());
      acknowledged_ = model_.count;
    }
  }

  // Empty where all is well.
  std::string Check() {
    const auto store = Backend::Open(path_, options_);
    if (!store.ok()) return "open: " + store.status().ToString();
    const I least = options_.durability == Durability::kFull ? acknowledged_ : 0;
    const auto found = TakePrefix(**store, load_, least, model_.count);
    if (!found.ok()) return found.status().ToString();
    model_ = *found;
    acknowledged_ = found->count;
    return "";
  }

  const std::uint64_t seed_;
  const std::uint64_t operations_max_;
  std::mt19937_64 random_;
  SimulatedDisk disk_;
  const StoreLoad load_;
  const std::string path_;
  StoreOptions options_;
  LoadModel model_;  // After what was tried last.
  I acknowledged_ = 0;
};

template <typename Backend, typename Prepare>
Outcome RunCampaigns(std::uint64_t points, Durability durability, const Prepare& prepare,
                     std::uint64_t operations_max = kOperationsMax) {
  const QuietLog quiet;
  const std::uint64_t seed = FromEnvironment("FORESHORE_TEST_SEED", kDefaultSeed);
  Outcome outcome;
  for (std::uint64_t disk = 0; disk * kCutsPerDisk < points; ++disk) {
    Campaign<Backend> campaign(seed + disk, durability, operations_max);
    prepare(campaign.disk());
    campaign.Run(outcome);
  }
  return outcome;
}

std::uint64_t Points() {
  return FromEnvironment("FORESHORE_CRASH_POINTS", 2000);
}

void CheckNoFailure(const Outcome& outcome, std::uint64_t points) {
  CHECK_MESSAGE(outcome.failures == 0, outcome.first_failure);
  CHECK(outcome.cuts >= static_cast<int>(points));
  MESSAGE(outcome.cuts << " power cuts, " << outcome.failures << " failures");
}

TEST_CASE_TEMPLATE("crash: full durability keeps every acknowledged commit, at every point", Backend,
                   FORESHORE_STORE_BACKENDS) {
  const std::uint64_t points = Points() - Points() / 4;
  CheckNoFailure(RunCampaigns<Backend>(points, Durability::kFull, [](SimulatedDisk&) {}), points);
}

TEST_CASE_TEMPLATE("crash: normal durability keeps a whole prefix of the commits", Backend, FORESHORE_STORE_BACKENDS) {
  const std::uint64_t points = Points() / 4;
  CheckNoFailure(RunCampaigns<Backend>(points, Durability::kNormal, [](SimulatedDisk&) {}), points);
}

// Goal: commits that go to a new log file while the sync of the one before is still to come leave no hole.
// Method: syncs of log files are slow, so what a thread in the background is to sync stays uncertain while commits go
// on.
TEST_CASE_TEMPLATE("crash: a log file whose sync is late is not outlived by the next one", Backend,
                   FORESHORE_STORE_BACKENDS) {
  constexpr std::uint64_t kPoints = 40;
  const auto slow = [](SimulatedDisk& disk) {
    disk.DelaySyncs([](std::string_view path) { return path.ends_with(".log"); }, 10);
  };
  CheckNoFailure(RunCampaigns<Backend>(kPoints, Durability::kNormal, slow, kManyOperationsMax), kPoints);
}

// Goal: the harness sees a missing sync; one that cannot fail would prove nothing above.
TEST_CASE_TEMPLATE("crash: with the syncs of one kind of file left out on purpose, failures are reported", Backend,
                   FORESHORE_STORE_BACKENDS) {
  const bool is_sqlite = std::string_view(Backend::kFile) == SqliteBackend::kFile;
  struct Planted {
    std::string_view name;
    bool (*matches)(std::string_view path);
  };
  const Planted of_sqlite[] = {
      {"log", [](std::string_view path) { return path.ends_with("-wal"); }},
      {"main file", [](std::string_view path) { return path.ends_with(".db"); }},
  };
  // Tables are not among them: on the noise that is then left of one RocksDB 7.8.3 trips an assertion of its own.
  const Planted of_rocksdb[] = {
      {"log", [](std::string_view path) { return path.ends_with(".log"); }},
      {"manifest", [](std::string_view path) { return path.find("MANIFEST") != std::string_view::npos; }},
      {"directory", [](std::string_view path) { return path == "store"; }},
  };
  const auto run = [](const Planted& planted) {
    INFO(planted.name);
    const Outcome outcome =
        RunCampaigns<Backend>(60, Durability::kFull, [&](SimulatedDisk& disk) { disk.IgnoreSyncs(planted.matches); });
    CHECK(outcome.failures > 0);
    MESSAGE("without syncs of the " << planted.name << ": " << outcome.failures << " failures in " << outcome.cuts
                                    << " cuts");
  };
  if (is_sqlite) {
    for (const Planted& planted : of_sqlite) run(planted);
  } else {
    for (const Planted& planted : of_rocksdb) run(planted);
  }
}

}  // namespace
}  // namespace foreshore
