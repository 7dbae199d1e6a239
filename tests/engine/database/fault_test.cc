// Every create, write, truncation, sync, rename and removal of a database's files fails in turn: of the store,
// INSTANCE, FORMAT, blobs and graph snapshots. Calls report it or succeed; then the power is cut, and the database
// opens, verifies clean, holds every acknowledged commit and takes new ones.
//
// FORESHORE_FAULT_STRIDE takes every so manyth operation only (default 1 on SQLite and 5 on RocksDB, which takes five
// times as long to open).
#include <doctest/doctest.h>

#include "tests/engine/database/core_test.h"
#include "tests/engine/database/database_load.h"
#include "tests/storage/fault_in_turn.h"
#include "tests/storage/quiet_log.h"

using namespace foreshore;

namespace {

constexpr int kCommits = 10;
constexpr int kTriesAfterFailure = 3;

class FaultyRun {
 public:
  FaultyRun(SimulatedDisk& disk, StorageKind kind) : disk_(disk), load_(5), path_(disk.root() + "/db.foreshore") {
    options_.create = true;
    options_.storage = kind;
    options_.embed_in_background = false;
    options_.cache_bytes = 1;
  }

  std::string Run(const std::function<void()>& lift) {
    // A failed opening may be tried again, as an application would; the second makes the snapshots count.
    for (int attempt = 0; attempt < 2; ++attempt) Work().IgnoreError();
    lift();
    disk_.CutNow();
    disk_.PowerOn();
    const auto core = DatabaseCore::Open(path_, options_);
    if (!core.ok()) return "open: " + core.status().ToString();
    const auto report = (*core)->Verify();
    if (!report.ok()) return "verify: " + report.status().ToString();
    if (!report->problems.empty()) return "verify: " + report->problems.front();
    const auto last = LastCommit(**core);
    if (!last.ok()) return "last: " + last.status().ToString();
    if (*last < acknowledged_ || *last > acknowledged_ + 1) {
      return "holds commit " + std::to_string(*last) + ", expected " + std::to_string(acknowledged_) + " or one more";
    }
    model_ = load_.After(*last);
    if (std::string difference = CompareDatabase(**core, model_); !difference.empty()) return difference;
    Status more = PrepareDatabase(**core);
    if (more.ok()) more = CommitOne(**core);
    return more.ok() ? "" : "after the fault: " + more.ToString();
  }

 private:
  Status CommitOne(DatabaseCore& core) {
    const std::vector<DatabaseStep> steps = load_.Next(model_);
    FORESHORE_RETURN_IF_ERROR(CommitSteps(core, steps, model_.count));
    acknowledged_ = model_.count;
    return Status::Ok();
  }

  Status Work() {
    FORESHORE_ASSIGN_OR_RETURN(const auto core, DatabaseCore::Open(path_, options_));
    FORESHORE_RETURN_IF_ERROR(PrepareDatabase(*core));
    int failures_left = kTriesAfterFailure;
    for (int commit = 0; commit < kCommits; ++commit) {
      Status status = CommitOne(*core);
      if (!status.ok()) model_ = load_.After(acknowledged_);
      if (status.ok() && commit == 5) status = core->Checkpoint();
      if (status.ok() && commit == 8) status = core->Compact();
      if (!status.ok() && --failures_left == 0) break;
    }
    return core->Close();
  }

  SimulatedDisk& disk_;
  const DatabaseLoad load_;
  const std::string path_;
  DatabaseOptions options_;
  DatabaseModel model_;
  std::int64_t acknowledged_ = 0;
};

void CheckFaults(StorageKind kind, std::uint64_t otherwise) {
  const QuietLog quiet;
  const char* given = std::getenv("FORESHORE_FAULT_STRIDE");
  const std::uint64_t stride = given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
  CheckAllInTurn(stride, 50, [&](SimulatedDisk& disk, const std::function<void()>& lift) {
    return FaultyRun(disk, kind).Run(lift);
  });
}

}  // namespace

TEST_CASE("fault: every disk operation of a database on SQLite fails in turn") {
  CheckFaults(StorageKind::kSqlite, 1);
}

#ifdef FORESHORE_WITH_ROCKSDB
TEST_CASE("fault: every disk operation of a database on RocksDB fails in turn") {
  CheckFaults(StorageKind::kRocksdb, 5);
}
#endif
