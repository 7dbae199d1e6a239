// Fills vector fields that name a model: finds documents whose source text changed, embeds them in batches outside the
// write lock, and stores the vectors in a transaction of their own.
//
// What is pending is durable: each index has a cursor in the change log ("embed.<id>") and, while it is filled for what
// was there before it, a place in the collection (setting "embed.fill.<id>"). A crash in between repeats one batch.
//
// Threads: safe from any thread; one batch runs at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/database/catalog.h"
#include "engine/database/recall_sample.h"
#include "foreshore/status.h"

namespace foreshore {

class DatabaseCore;
class ReadView;
class TextModel;

class EmbeddingWorker {
 public:
  explicit EmbeddingWorker(DatabaseCore& core) : core_(core), sampler_(core) {}
  ~EmbeddingWorker() { Stop(); }

  void Start();  // A thread that works whenever there is something to do, and saves index snapshots now and then.
  void Stop();

  // One batch of one index. False: nothing is pending. Errors (a model that is missing, say) leave the work pending.
  Result<bool> Step();
  // Documents that may need embedding: changed after the index's cursor, or not yet reached by its filling. Stops
  // counting at `count_max`.
  Result<std::uint64_t> PendingCount(ReadView& view, const CollectionDefinition& collection,
                                     const VectorIndexDefinition& index, std::uint64_t count_max = UINT64_MAX);

  static std::string CursorName(std::uint32_t index_id) { return "embed." + std::to_string(index_id); }
  static std::string FillSetting(std::uint32_t index_id) { return "embed.fill." + std::to_string(index_id); }

 private:
  struct Batch;
  Result<bool> StepIndex(const CollectionDefinition& collection, const VectorIndexDefinition& index);
  Status Collect(ReadView& view, const CollectionDefinition& collection, const VectorIndexDefinition& index,
                 std::uint64_t model_tag, Batch& batch);
  Status Consider(ReadView& view, const CollectionDefinition& collection, const VectorIndexDefinition& index,
                  std::uint64_t model_tag, std::int64_t docid, Batch& batch);
  Status Store(const CollectionDefinition& collection, const VectorIndexDefinition& index, std::uint64_t model_tag,
               const Batch& batch, const std::vector<float>& vectors);
  // Where the model's version is another than the stored vectors', they are all removed and made anew, because
  // vectors of two models must not meet in one ranking.
  Result<bool> DropIfModelChanged(const CollectionDefinition& collection, const VectorIndexDefinition& index,
                                  std::uint64_t model_tag);
  // Makes anew a graph that needs it, and saves what has many unsaved changes.
  void TendGraphs();
  // A slice of dropping garbage from each graph that has much, and of a sample of recall. True: there is more to do.
  bool RunSlices();
  void Run();

  DatabaseCore& core_;
  RecallSampler sampler_;
  std::chrono::steady_clock::time_point next_rebuild_time_{};  // After one that failed.
  std::mutex step_mutex_;                                      // Held for one batch.
  std::thread thread_;
  std::atomic<bool> stopping_{false};
};

}  // namespace foreshore
