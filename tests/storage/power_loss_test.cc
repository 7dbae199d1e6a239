// Power cuts under the SQLite store: a mixed load of transactions over several keyspaces and the change log, cut at
// random operations on the disk. What survives must be a prefix of the commits, with every acknowledged one in it.
//
// FORESHORE_POWER_LOSS_POINTS sets how many cuts (default 1,000), FORESHORE_TEST_SEED repeats a run.
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "storage/change_log.h"
#include "tests/storage/power_loss_vfs.h"
#include "tests/storage/store_backends.h"

namespace foreshore {
namespace {

using I = std::int64_t;

constexpr int kCutsPerDisk = 5;
constexpr std::uint64_t kOperationsMax = 160;  // Between an open and its cut.

std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* given = std::getenv(name);
  return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

// The state after some number of transactions.
struct Model {
  std::map<I, std::string> bodies;
  std::map<std::string, std::string> entries;
  I count = 0;        // Transactions so far; stored as entry "count".
  I log_entries = 0;  // Changes so far.
};

struct Keyspaces {
  KeyspaceId bodies;
  KeyspaceId entries;
  std::unique_ptr<ChangeLog> log;
};

// Transaction number n of a load is a function of (seed, n), so that any prefix can be computed again.
class Load {
 public:
  explicit Load(std::uint64_t seed) : seed_(seed) {}

  // Does transaction number model.count + 1 to the model, and to the store where there is one.
  Status Step(Model& model, WriteTxn* txn, const Keyspaces* keyspaces) const {
    std::mt19937_64 random(seed_ * 1000003 + static_cast<std::uint64_t>(model.count) + 1);
    const auto below = [&](std::uint64_t bound) { return random() % bound; };
    ++model.count;
    const std::string number = std::to_string(model.count);
    const std::uint64_t writes = 1 + below(4);
    for (std::uint64_t write = 0; write < writes; ++write) {
      const I key = static_cast<I>(below(30));
      // Some values span many pages, a few more than the page cache holds, so that it spills before the commit.
      const std::uint64_t size = below(60) == 0 ? 400000 : below(12) == 0 ? 30000 : below(600);
      const std::string value = number + std::string(size, static_cast<char>('a' + below(26)));
      model.bodies[key] = value;
      if (txn != nullptr) FORESHORE_RETURN_IF_ERROR(txn->Put(keyspaces->bodies, key, value));
    }
    if (below(3) == 0) {
      const I key = static_cast<I>(below(30));
      model.bodies.erase(key);
      if (txn != nullptr) FORESHORE_RETURN_IF_ERROR(txn->Delete(keyspaces->bodies, key));
    }
    for (const std::string& key : {std::string("count"), "k" + std::to_string(below(200))}) {
      model.entries[key] = number;
      if (txn != nullptr) FORESHORE_RETURN_IF_ERROR(txn->Put(keyspaces->entries, Bytes(key), Bytes(number)));
    }
    model.log_entries += static_cast<I>(writes);
    if (txn == nullptr) return Status::Ok();
    return keyspaces->log->Append(*txn, std::vector<Change>(writes)).status();
  }

  Model After(I count) const {
    Model model;
    while (model.count < count) Step(model, nullptr, nullptr).IgnoreError();
    return model;
  }

 private:
  const std::uint64_t seed_;
};

Result<Keyspaces> OpenKeyspaces(Store& store) {
  Keyspaces keyspaces{};
  FORESHORE_ASSIGN_OR_RETURN(keyspaces.bodies, store.OpenKeyspace("bodies", KeyspaceKind::kInteger));
  FORESHORE_ASSIGN_OR_RETURN(keyspaces.entries, store.OpenKeyspace("entries", KeyspaceKind::kBytes));
  FORESHORE_ASSIGN_OR_RETURN(keyspaces.log, ChangeLog::Open(store));
  return keyspaces;
}

Result<Model> ReadAll(Store& store, const Keyspaces& keyspaces) {
  Model model;
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store.BeginRead());
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn->NewCursor(keyspaces.bodies));
    FORESHORE_RETURN_IF_ERROR(cursor->SeekFirst());
    while (cursor->valid()) {
      model.bodies.emplace(cursor->integer_key(), cursor->value());
      FORESHORE_RETURN_IF_ERROR(cursor->Next());
    }
  }
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn->NewCursor(keyspaces.entries));
    FORESHORE_RETURN_IF_ERROR(cursor->SeekFirst());
    while (cursor->valid()) {
      model.entries.emplace(cursor->bytes_key(), cursor->value());
      FORESHORE_RETURN_IF_ERROR(cursor->Next());
    }
  }
  const auto count = model.entries.find("count");
  if (count != model.entries.end()) model.count = std::strtoll(count->second.c_str(), nullptr, 10);
  bool last_ends = true;
  const auto visit = [&](const Change& change) {
    ++model.log_entries;
    last_ends = change.ends_transaction;
    return true;
  };
  FORESHORE_RETURN_IF_ERROR(keyspaces.log->ReadAfter(*txn, 0, visit));
  if (!last_ends) return Status::Corruption("the log ends inside a transaction");
  return model;
}

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
      FORESHORE_ASSIGN_OR_RETURN(const Keyspaces keyspaces, OpenKeyspaces(*store));
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
    if (const Status verified = (*store)->Verify(); !verified.ok()) return "verify: " + verified.ToString();
    const auto keyspaces = OpenKeyspaces(**store);
    if (!keyspaces.ok()) return "keyspaces: " + keyspaces.status().ToString();
    const auto found = ReadAll(**store, *keyspaces);
    if (!found.ok()) return "read: " + found.status().ToString();
    const std::string range = std::to_string(acknowledged_) + ".." + std::to_string(model_.count);
    // kFull: every acknowledged commit. kNormal: any prefix.
    const I least = options_.durability == Durability::kFull ? acknowledged_ : 0;
    if (found->count < least || found->count > model_.count) {
      return "found " + std::to_string(found->count) + " commits, expected " + range;
    }
    const Model expected = load_.After(found->count);
    if (found->bodies != expected.bodies) return "bodies differ from commit " + std::to_string(found->count);
    if (found->entries != expected.entries) return "entries differ from commit " + std::to_string(found->count);
    if (found->log_entries != expected.log_entries)
      return "the log differs from commit " + std::to_string(found->count);
    model_ = expected;
    acknowledged_ = found->count;
    return "";
  }

  const std::uint64_t seed_;
  std::mt19937_64 random_;
  PowerLossDisk disk_;
  const Load load_;
  StoreOptions options_;
  Model model_;  // After what was tried last.
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
  return FromEnvironment("FORESHORE_POWER_LOSS_POINTS", 1000);
}
std::uint64_t Seed() {
  return FromEnvironment("FORESHORE_TEST_SEED", std::random_device{}());
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
