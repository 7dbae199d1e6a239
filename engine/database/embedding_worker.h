// Fills vector fields that name a model: finds documents whose source text changed, embeds them in batches outside the
// write lock, and stores the vectors in a transaction of their own.
//
// Where the model's row goes on to other weights, the field's index goes on answering and being filled by its own, and
// another index is filled beside it, which then takes its place (core_generations.cc).
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
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "engine/database/catalog.h"
#include "engine/database/recall_sample.h"
#include "foreshore/status.h"

namespace foreshore {

class DatabaseCore;
class ReadView;
class WriteView;

class EmbeddingWorker {
 public:
  explicit EmbeddingWorker(DatabaseCore& core) : core_(core), sampler_(core) {}
  ~EmbeddingWorker() { Stop(); }

  void Start();  // A thread that works whenever there is something to do, and saves index snapshots now and then.
  void Stop();

  // One batch of one index, or a step towards another version of a model. False: nothing is pending. Errors (a model
  // that is missing, say) leave the work pending, and do not keep other indexes from theirs.
  Result<bool> Step();
  // Documents that may need embedding: changed after the index's cursor, or not yet reached by its filling. Stops
  // counting at `count_max`.
  Result<std::uint64_t> PendingCount(ReadView& view, const CollectionDefinition& collection,
                                     const VectorIndexDefinition& index, std::uint64_t count_max = UINT64_MAX);

  static std::string CursorName(std::uint32_t index_id) { return "embed." + std::to_string(index_id); }
  static std::string FillSetting(std::uint32_t index_id) { return "embed.fill." + std::to_string(index_id); }
  // In databases from before pins were in the catalogue: the tag of the model that the vectors are of.
  static std::string TagSetting(std::uint32_t index_id) { return "embed.model." + std::to_string(index_id); }

 private:
  struct Batch;
  Result<bool> StepIndex(const CollectionDefinition& collection, const VectorIndexDefinition& index);
  Result<bool> StepNext(const Catalog& catalog, const CollectionDefinition& collection,
                        const VectorIndexDefinition& index);
  // Where all fields of a model and adapter are filled by `pin`, they change over together.
  Result<bool> CutOver(const Catalog& catalog, const ModelPin& pin);
  // Embeds under the write lock the few documents that are left. False: they are more.
  Result<bool> Settle(WriteView& view, std::span<const VectorIndexDefinition> indexes);
  Status Collect(ReadView& view, const CollectionDefinition& collection, const VectorIndexDefinition& index,
                 Batch& batch);
  Status Consider(ReadView& view, const CollectionDefinition& collection, const VectorIndexDefinition& index,
                  std::int64_t docid, Batch& batch);
  Status EmbedBatch(const VectorIndexDefinition& index, Batch& batch);
  Status Store(WriteView& view, const CollectionDefinition& collection, const VectorIndexDefinition& index,
               const Batch& batch);
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
