// Every create, write, truncation, sync, rename and removal of a store's files fails in turn. Calls report it or
// succeed; the store goes on or says why not; then the power is cut, and what is there holds every acknowledged commit,
// none that failed in part, and takes new ones.
#include <doctest/doctest.h>

#include "storage/blob_store.h"
#include "tests/storage/fault_in_turn.h"
#include "tests/storage/quiet_log.h"
#include "tests/storage/store_backends.h"
#include "tests/storage/store_load.h"

namespace foreshore {
namespace {

constexpr int kCommits = 9;
constexpr int kTriesAfterFailure = 3;

template <typename Backend>
class FaultyRun {
 public:
  explicit FaultyRun(SimulatedDisk& disk) : disk_(disk), load_(77), path_(disk.root() + "/" + Backend::kFile) {
    options_.create = true;
    options_.cache_bytes = 1;              // The least there is.
    options_.checkpoint_bytes = 64 << 10;  // So that commits move the log as well.
  }

  std::string Run(const std::function<void()>& lift) {
    // A failed opening may be tried again, as an application would.
    for (int attempt = 0; attempt < 2 && !Work().ok(); ++attempt) continue;
    lift();
    disk_.CutNow();
    disk_.PowerOn();
    const auto store = Backend::Open(path_, options_);
    if (!store.ok()) return "open: " + store.status().ToString();
    const auto found = TakePrefix(**store, load_, acknowledged_, acknowledged_ + 1);
    if (!found.ok()) return found.status().ToString();
    model_ = *found;
    const Status more = CommitOne(**store);
    return more.ok() ? "" : "after the fault: " + more.ToString();
  }

 private:
  Status CommitOne(Store& store) {
    FORESHORE_ASSIGN_OR_RETURN(const LoadKeyspaces keyspaces, OpenKeyspaces(store));
    FORESHORE_ASSIGN_OR_RETURN(const auto txn, store.BeginWrite(std::chrono::milliseconds(100)));
    FORESHORE_RETURN_IF_ERROR(load_.Step(model_, txn.get(), &keyspaces));
    FORESHORE_RETURN_IF_ERROR(txn->Commit());
    acknowledged_ = model_.count;
    return Status::Ok();
  }

  Status Work() {
    FORESHORE_ASSIGN_OR_RETURN(const auto store, Backend::Open(path_, options_));
    int failures_left = kTriesAfterFailure;
    for (int commit = 0; commit < kCommits; ++commit) {
      Status status = CommitOne(*store);
      if (!status.ok()) model_ = load_.After(acknowledged_);  // Nothing of it is in the store, says the contract.
      if (status.ok() && commit == 3) status = store->Checkpoint();
      if (status.ok() && commit == 6) status = store->Compact();
      if (!status.ok() && --failures_left == 0) return Status::Ok();
    }
    return Status::Ok();
  }

  SimulatedDisk& disk_;
  const StoreLoad load_;
  const std::string path_;
  StoreOptions options_;
  LoadModel model_;
  std::int64_t acknowledged_ = 0;
};

TEST_CASE_TEMPLATE("fault: every disk operation of a store fails in turn", Backend, FORESHORE_STORE_BACKENDS) {
  const QuietLog quiet;
  CheckAllInTurn(1, 100, [](SimulatedDisk& disk, const std::function<void()>& lift) {
    return FaultyRun<Backend>(disk).Run(lift);
  });
}

// Goal: a blob that was acknowledged outlasts a power cut, also where it was there already, put by a call that failed
// or by a process that died before its name was certain.
TEST_CASE("fault: a blob that a failed call left behind is acknowledged only once it is certain") {
  const std::vector<std::string> contents = {"a", std::string(5000, 'b'), "c"};
  for (std::size_t number = 0; number < kDiskOperationCount; ++number) {
    const FaultOutcome outcome =
        FailInTurn(static_cast<DiskOperation>(number), 1, [&](SimulatedDisk& disk, const auto& lift) {
          const std::string path = disk.root() + "/blobs";
          std::vector<BlobId> acknowledged;
          for (int attempt = 0; attempt < 3; ++attempt) {
            const auto store = BlobStore::Open(path);
            if (!store.ok()) continue;
            for (const std::string& content : contents) {
              for (int again = 0; again < 2; ++again) {
                const auto id = (*store)->Put(content);
                if (id.ok()) acknowledged.push_back(*id);
              }
            }
          }
          lift();
          disk.CutNow();
          disk.PowerOn();
          const auto store = BlobStore::Open(path);
          if (!store.ok()) return store.status().ToString();
          for (const BlobId& id : acknowledged) {
            if (const Status status = (*store)->Verify(id); !status.ok()) return status.ToString();
          }
          return std::string();
        });
    CHECK_MESSAGE(outcome.failures == 0, outcome.first_failure);
    CHECK(outcome.met == outcome.runs);
  }
}

}  // namespace
}  // namespace foreshore
