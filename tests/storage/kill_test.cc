// kill -9 in the middle of a mixed load, then: the store opens, verifies, and holds a prefix of the commits with every
// acknowledged one. Process death loses nothing even under kNormal, so both durabilities take turns.
//
// FORESHORE_KILLS sets how many kills per backend (default 20 on SQLite, 10 on RocksDB, which opens slower),
// FORESHORE_TEST_SEED repeats the choice of moments.
#include <doctest/doctest.h>

#include <random>

#include "tests/kill_harness.h"
#include "tests/storage/store_backends.h"
#include "tests/storage/store_load.h"

namespace foreshore {
namespace {

constexpr std::uint64_t kMomentUsMax = 60000;

StoreOptions OptionsFor(std::uint64_t kill) {
  StoreOptions options;
  options.create = true;
  options.durability = kill % 2 == 0 ? Durability::kNormal : Durability::kFull;
  options.cache_bytes = 1 << 20;
  options.checkpoint_bytes = 256 << 10;
  return options;
}

template <typename Backend>
std::string Work(const std::string& path, std::uint64_t kill, const StoreLoad& load, const Acknowledger& parent) {
  const Status status = [&]() -> Status {
    FORESHORE_ASSIGN_OR_RETURN(const auto store, Backend::Open(path, OptionsFor(kill)));
    FORESHORE_ASSIGN_OR_RETURN(const LoadKeyspaces keyspaces, OpenKeyspaces(*store));
    FORESHORE_ASSIGN_OR_RETURN(LoadModel model, ReadAll(*store, keyspaces));
    parent.Acknowledge(static_cast<std::uint64_t>(model.count));
    while (true) {
      FORESHORE_ASSIGN_OR_RETURN(const auto txn, store->BeginWrite());
      FORESHORE_RETURN_IF_ERROR(load.Step(model, txn.get(), &keyspaces));
      FORESHORE_RETURN_IF_ERROR(txn->Commit());
      parent.Acknowledge(static_cast<std::uint64_t>(model.count));
      if (model.count % 97 == 0) FORESHORE_RETURN_IF_ERROR(store->Checkpoint());
    }
  }();
  return status.ToString() + "\n";
}

// Empty where all is well.
template <typename Backend>
std::string Check(const std::string& path, const StoreLoad& load, std::int64_t acknowledged) {
  const auto store = Backend::Open(path, OptionsFor(0));
  if (!store.ok()) return "open: " + store.status().ToString();
  if (const Status verified = (*store)->Verify(); !verified.ok()) return "verify: " + verified.ToString();
  const auto keyspaces = OpenKeyspaces(**store);
  if (!keyspaces.ok()) return "keyspaces: " + keyspaces.status().ToString();
  const auto found = ReadAll(**store, *keyspaces);
  if (!found.ok()) return "read: " + found.status().ToString();
  if (found->count < acknowledged || found->count > acknowledged + 1) {
    return "found " + std::to_string(found->count) + " commits, acknowledged were " + std::to_string(acknowledged);
  }
  const LoadModel expected = load.After(found->count);
  if (found->bodies != expected.bodies) return "bodies differ from commit " + std::to_string(found->count);
  if (found->entries != expected.entries) return "entries differ from commit " + std::to_string(found->count);
  if (found->log_entries != expected.log_entries) return "the log differs from commit " + std::to_string(found->count);
  return "";
}

TEST_CASE_TEMPLATE("kill: every acknowledged commit survives, and nothing half done", Backend,
                   FORESHORE_STORE_BACKENDS) {
  const std::uint64_t seed = FromEnvironment("FORESHORE_TEST_SEED", std::random_device{}());
  INFO("FORESHORE_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  const StoreLoad load(seed);
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/" + Backend::kFile;
  const std::uint64_t kills = FromEnvironment("FORESHORE_KILLS", std::is_same_v<Backend, SqliteBackend> ? 20 : 10);
  std::uint64_t commits = 0;
  std::int64_t acknowledged = 0;
  for (std::uint64_t kill = 0; kill < kills; ++kill) {
    CAPTURE(kill);
    const auto after = std::chrono::microseconds(random() % kMomentUsMax);
    const KillAfter from = random() % 4 == 0 ? KillAfter::kFork : KillAfter::kFirstAcknowledgement;
    const KilledRun run =
        RunAndKill([&](const Acknowledger& parent) { return Work<Backend>(path, kill, load, parent); }, after, from);
    CHECK(run.early_end == "");
    if (run.last_acknowledged.has_value()) acknowledged = static_cast<std::int64_t>(*run.last_acknowledged);
    commits += run.acknowledged_count;
    REQUIRE(RunForked([&] { return Check<Backend>(path, load, acknowledged); }) == "");
  }
  CHECK(commits > kills);  // Else the load was never under way when the kill came.
  MESSAGE(kills << " kills, " << commits << " acknowledgements");
}

// Goal: a harness that cannot fail would prove nothing. Method: acknowledge before the commit.
TEST_CASE("kill: acknowledging before the commit is reported as a loss") {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/store.db";
  const StoreLoad load(1);
  int losses = 0;
  std::int64_t acknowledged = 0;
  for (int kill = 0; kill < 200 && losses == 0; ++kill) {
    const auto work = [&](const Acknowledger& parent) -> std::string {
      const auto store = OpenSqliteStore(path, OptionsFor(1));
      if (!store.ok()) return store.status().ToString();
      const auto keyspaces = OpenKeyspaces(**store);
      if (!keyspaces.ok()) return keyspaces.status().ToString();
      auto model = ReadAll(**store, *keyspaces);
      while (model.ok()) {
        const auto txn = (*store)->BeginWrite();
        if (!txn.ok() || !load.Step(*model, txn->get(), &*keyspaces).ok()) break;
        parent.Acknowledge(static_cast<std::uint64_t>(model->count));
        if (!(*txn)->Commit().ok()) break;
      }
      return "the load broke off\n";
    };
    const KilledRun run = RunAndKill(work, std::chrono::microseconds(20000 + kill * 997 % 20000));
    if (run.last_acknowledged.has_value()) acknowledged = static_cast<std::int64_t>(*run.last_acknowledged);
    const std::string finding = RunForked([&] { return Check<SqliteBackend>(path, load, acknowledged); });
    if (!finding.empty()) ++losses;
  }
  CHECK(losses > 0);
}

}  // namespace
}  // namespace foreshore
