// Computes what predictive indexes lack: finds documents that were written, runs the model on them outside of the write
// lock, and stores the values in a transaction of their own. Where the model's row goes on to other weights, the index
// begins anew in other keyspaces, and the old ones are dropped once no snapshot can ask for them.
//
// What is pending is durable, and written with the document (predictive_index.h). A crash in between repeats one batch.
//
// Threads: safe from any thread; one batch runs at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/database/catalog.h"
#include "foreshore/status.h"

namespace foreshore {

class DatabaseCore;
class ReadView;
class WriteView;

class PredictiveWorker {
 public:
  explicit PredictiveWorker(DatabaseCore& core) : core_(core) {}

  // One batch of one index, or its change to other weights. False: nothing is pending. Errors (a model that is not
  // here) leave the work pending, and do not keep other indexes from theirs.
  Result<bool> Step();
  // Documents without a value, or whose value is of another version of the model.
  Result<std::uint64_t> PendingCount(ReadView& view, const CollectionDefinition& collection,
                                     const PredictiveIndexDefinition& index);
  // The same without a walk over the collection, and rather too high. Of those that were written not more than
  // `count_max` are counted.
  Result<std::uint64_t> GuessPending(ReadView& view, const CollectionDefinition& collection,
                                     const PredictiveIndexDefinition& index, std::uint64_t count_max = UINT64_MAX);
  // About how many documents a plan over the index computes: the last step's count.
  std::uint64_t Backlog(std::uint32_t index_id) const;

  // Frees the keyspaces of that number once no snapshot is older than `sequence`.
  void Retire(std::uint32_t storage, std::int64_t sequence);
  Status ReleaseRetired();

 private:
  struct Batch;
  Result<bool> StepIndex(const CollectionDefinition& collection, const PredictiveIndexDefinition& index);
  Status Collect(ReadView& view, const CollectionDefinition& collection, const PredictiveIndexDefinition& index,
                 Batch& batch) const;
  Status Compute(const PredictiveIndexDefinition& index, Batch& batch);
  Result<bool> Store(const CollectionDefinition& collection, const PredictiveIndexDefinition& index,
                     const Batch& batch);
  // Whether documents wait no longer for an attachment's content, and are pending from now on.
  Result<bool> TakeArrived(const CollectionDefinition& collection, const PredictiveIndexDefinition& index);
  // How many of those below the filling's place are pending, and that place.
  struct Pending {
    std::uint64_t written_count = 0;
    std::int64_t fill = 0;
  };
  Result<Pending> CountWritten(ReadView& view, const PredictiveIndexDefinition& index, std::uint64_t count_max);
  // The index as it is now; nullptr where it was dropped or began anew.
  static std::pair<const CollectionDefinition*, const PredictiveIndexDefinition*> FindSame(
      const Catalog& catalog, const CollectionDefinition& collection, const PredictiveIndexDefinition& index);
  void SetBacklog(std::uint32_t index_id, std::uint64_t count);

  DatabaseCore& core_;
  std::mutex step_mutex_;  // Held for one batch.
  mutable std::mutex mutex_;
  std::map<std::uint32_t, std::uint64_t> backlogs_;  // Guarded by mutex_, by index id.
  // Guarded by mutex_: by storage, how many contents had arrived when its awaited documents were last looked through.
  std::map<std::uint32_t, std::uint64_t> arrivals_;
  std::vector<std::pair<std::uint32_t, std::int64_t>> retired_;  // Guarded by mutex_: storage, sequence.
};

}  // namespace foreshore
