// Power cuts under the SQLite store: a mixed load of transactions over several keyspaces and the change log, cut at
// random operations on the disk. What survives must be a prefix of the commits, with every acknowledged one in it.
//
// Every run does the same by default. FORESHORE_TEST_SEED runs others and repeats what one of them reported,
// FORESHORE_POWER_LOSS_POINTS sets how many cuts (default 2,000), for instance
//   for seed in $(seq 1000 1000 40000); do
//     FORESHORE_TEST_SEED=$seed FORESHORE_POWER_LOSS_POINTS=5000 ./storage_power_loss_test || break
//   done
// Each five cuts take the next seed, so seeds lie apart by a fifth of the points or more.
#include <doctest/doctest.h>

#include <cstdlib>
#include <random>
#include <string>

#include "tests/storage/power_loss_vfs.h"
#include "tests/storage/store_backends.h"
#include "tests/storage/store_load.h"

namespace foreshore {
namespace {

using I = std::int64_t;

constexpr std::uint64_t kDefaultSeed = 20240229;  // Any number.
constexpr int kCutsPerDisk = 5;
constexpr std::uint64_t kOperationsMax = 160;  // Between an open and its cut.

struct Outcome {
  int cuts = 0;
  int failures = 0;
  std::string first_failure;
};

// One disk, several cuts in a row: recovery itself is cut as well.
class Campaign {
 public:
  Campaign(std::uint64_t seed, Durability durability)
      : seed_(seed), random_(seed), disk_("power-loss-" + std::to_string(seed), seed), load_(seed) {
    options_.durability = durability;
    options_.create = true;
    options_.sqlite_vfs = disk_.vfs_name();
    options_.cache_bytes = 1;              // The least there is.
    options_.checkpoint_bytes = 64 << 10;  // Many checkpoints, so that they are cut too.
  }
  PowerLossDisk& disk() { return disk_; }

  void Run(Outcome& outcome) {
    for (int cut = 0; cut < kCutsPerDisk; ++cut) {
      disk_.CutAfter(1 + random_() % kOperationsMax);
      RunUntilCut();
      disk_.PowerOn();
      ++outcome.cuts;
      const std::string failure = Check();
      if (failure.empty()) continue;
      ++outcome.failures;
      if (outcome.first_failure.empty()) {
        outcome.first_failure = "seed " + std::to_string(seed_) + ", cut " + std::to_string(cut) + ": " + failure;
      }
      return;  // What a damaged disk does next says nothing.
    }
  }

 private:
  void RunUntilCut() {
    const Status status = [this]() -> Status {
      FORESHORE_ASSIGN_OR_RETURN(const auto store, OpenSqliteStore("store.db", options_));
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
        FORESHORE_ASSIGN_OR_RETURN(const auto txn, store->BeginWrite());
        FORESHORE_RETURN_IF_ERROR(load_.Step(model_, txn.get(), &keyspaces));
        if (random_() % 10 == 0) {  // Rolled back: number n will be tried again.
          model_ = load_.After(acknowledged_);
          continue;
        }
        FORESHORE_RETURN_IF_ERROR(txn->Commit());
        acknowledged_ = model_.count;
      }
    }();
    // The store is closed here, with the power off; only then may it return.
    if (!disk_.is_off()) unexpected_ = status.ToString();
  }

  // Empty where all is well.
  std::string Check() {
    if (!unexpected_.empty()) return "before the cut: " + unexpected_;
    const auto store = OpenSqliteStore("store.db", options_);
    if (!store.ok()) return "open: " + store.status().ToString();
    // kFull: every acknowledged commit. kNormal: any prefix.
    const I least = options_.durability == Durability::kFull ? acknowledged_ : 0;
    const auto found = TakePrefix(**store, load_, least, model_.count);
    if (!found.ok()) return found.status().ToString();
    model_ = *found;
    acknowledged_ = found->count;
    return "";
  }

  const std::uint64_t seed_;
  std::mt19937_64 random_;
  PowerLossDisk disk_;
  const StoreLoad load_;
  StoreOptions options_;
  LoadModel model_;  // After what was tried last.
  I acknowledged_ = 0;
  std::string unexpected_;
};

template <typename Prepare>
Outcome RunCampaigns(std::uint64_t points, Durability durability, std::uint64_t seed, const Prepare& prepare) {
  Outcome outcome;
  for (std::uint64_t disk = 0; disk * kCutsPerDisk < points; ++disk) {
    Campaign campaign(seed + disk, durability);
    prepare(campaign.disk());
    campaign.Run(outcome);
  }
  return outcome;
}

std::uint64_t Points() {
  return FromEnvironment("FORESHORE_POWER_LOSS_POINTS", 2000);
}
std::uint64_t Seed() {
  return FromEnvironment("FORESHORE_TEST_SEED", kDefaultSeed);
}

TEST_CASE("power loss: full durability keeps every acknowledged commit, at every point") {
  const Outcome outcome = RunCampaigns(Points(), Durability::kFull, Seed(), [](PowerLossDisk&) {});
  INFO(outcome.first_failure);
  CHECK(outcome.failures == 0);
  CHECK(outcome.cuts >= static_cast<int>(Points()));
  MESSAGE(outcome.cuts << " power cuts, " << outcome.failures << " failures");
}

TEST_CASE("power loss: normal durability keeps a whole prefix of the commits") {
  const Outcome outcome = RunCampaigns(Points() / 4, Durability::kNormal, Seed(), [](PowerLossDisk&) {});
  INFO(outcome.first_failure);
  CHECK(outcome.failures == 0);
}

TEST_CASE("power loss: the seed that once mixed two commits keeps a whole prefix") {
  const Outcome outcome = RunCampaigns(kCutsPerDisk, Durability::kNormal, 1318296417, [](PowerLossDisk&) {});
  INFO(outcome.first_failure);
  CHECK(outcome.failures == 0);
}

// Goal: a checkpoint that is cut loses and mixes nothing, however much of the old log its truncation leaves.
// Method: each commit sets the whole of one value and its own row, so the log holds many commits that differ in pages;
// after the checkpoint all of them must be there, wherever the power went.
TEST_CASE("checkpoint: a truncation of the log that is half undone brings no old commit back") {
  constexpr I kCommits = 8;
  constexpr std::uint64_t kCutsMax = 40;  // The checkpoint and the commit after it take fewer operations.
  const std::string page(3000, 'x');
  for (const Durability durability : {Durability::kFull, Durability::kNormal}) {
    for (std::uint64_t run = 0; run < 10 * kCutsMax; ++run) {
      PowerLossDisk disk("half-truncation", Seed() + run);
      StoreOptions options;
      options.durability = durability;
      options.create = true;
      options.sqlite_vfs = disk.vfs_name();
      {
        const auto store = Take(OpenSqliteStore("store.db", options));
        const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
        for (I commit = 1; commit <= kCommits; ++commit) {
          const auto txn = Take(store->BeginWrite());
          Ok(txn->Put(keyspace, 0, std::to_string(commit)));
          Ok(txn->Put(keyspace, commit, page));
          Ok(txn->Commit());
        }
        Ok(store->Checkpoint());  // From here on nothing may be lost, synced commits or not.
        for (I commit = 1; commit <= kCommits; ++commit) {
          const auto txn = Take(store->BeginWrite());
          Ok(txn->Put(keyspace, 0, std::to_string(kCommits + commit)));
          Ok(txn->Put(keyspace, commit, page + std::to_string(kCommits + commit)));
          Ok(txn->Commit());
        }
        disk.CutAfter(1 + run % kCutsMax);
        if (store->Checkpoint().ok()) {
          const auto txn = store->BeginWrite();
          if (txn.ok() && (*txn)->Put(keyspace, 100, "after").ok()) (*txn)->Commit().IgnoreError();
        }
        if (!disk.is_off()) disk.CutNow();
      }
      disk.PowerOn();
      INFO("seed " << Seed() + run << ", cut " << 1 + run % kCutsMax);
      const auto store = Take(OpenSqliteStore("store.db", options));
      const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
      const I last = std::stoll(ValueIn(*store, keyspace, 0));
      CHECK(last >= (durability == Durability::kFull ? 2 * kCommits : kCommits));
      for (I commit = 1; commit <= kCommits; ++commit) {
        const bool rewritten = kCommits + commit <= last;
        const std::string expected = rewritten ? page + std::to_string(kCommits + commit) : page;
        const bool as_expected = ValueIn(*store, keyspace, commit) == expected;  // Long values stay out of the report.
        CHECK(as_expected);
      }
      Ok(store->Verify());
    }
  }
}

// Goal: the harness sees a missing sync; one that cannot fail would prove nothing above.
TEST_CASE("power loss: with the syncs of the log left out on purpose, failures are reported") {
  const Outcome outcome = RunCampaigns(100, Durability::kFull, Seed(), [](PowerLossDisk& disk) {
    disk.IgnoreSyncs(PowerLossDisk::FileKind::kWriteAheadLog);
  });
  CHECK(outcome.failures > 0);
  MESSAGE(outcome.failures << " failures in " << outcome.cuts << " cuts without log syncs");
}

TEST_CASE("power loss: with the syncs of the main file left out on purpose, failures are reported") {
  const Outcome outcome = RunCampaigns(200, Durability::kFull, Seed(), [](PowerLossDisk& disk) {
    disk.IgnoreSyncs(PowerLossDisk::FileKind::kDatabase);
  });
  CHECK(outcome.failures > 0);
  MESSAGE(outcome.failures << " failures in " << outcome.cuts << " cuts without syncs of the main file");
}

// Goal: a commit that was refused because its sync failed does not come back after a crash.
// Method: the frames are in the log when the sync fails; the process dies with everything written kept.
TEST_CASE("commit: a failed sync leaves nothing behind, not even after recovery") {
  PowerLossDisk disk("failed-sync", 1);
  StoreOptions options;
  options.create = true;
  options.sqlite_vfs = disk.vfs_name();
  {
    const auto store = Take(OpenSqliteStore("store.db", options));
    const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
    PutOne(*store, keyspace, I{1}, "before");
    disk.FailNextSync(PowerLossDisk::FileKind::kWriteAheadLog);
    {
      const auto txn = Take(store->BeginWrite());
      Ok(txn->Put(keyspace, I{1}, "refused"));
      Ok(txn->Put(keyspace, I{2}, "refused"));
      CHECK(txn->Commit().code() == ErrorCode::kIo);
    }
    CHECK(ValueIn(*store, keyspace, I{1}) == "before");
    disk.KeepEverythingAtNextCut();
    disk.CutNow();
  }
  disk.PowerOn();
  const auto store = Take(OpenSqliteStore("store.db", options));
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  CHECK(ValueIn(*store, keyspace, I{1}) == "before");
  CHECK(ValueIn(*store, keyspace, I{2}) == "(none)");
  PutOne(*store, keyspace, I{2}, "after");
  Ok(store->Verify());
}

}  // namespace
}  // namespace foreshore
