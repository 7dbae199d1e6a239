// One HNSW graph and its place in the change log: opened from a snapshot, brought up to date from the log, fed by
// every commit in commit order, and saved again at checkpoints.
//
// Invariant: after Apply(s) the graph holds every vector change up to s and none above it, each with its own sequence.
//
// Threads: safe from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/database/catalog.h"
#include "engine/database/derived_consumer.h"
#include "engine/database/recall_sample.h"
#include "foreshore/status.h"
#include "index/vector_index.h"
#include "storage/change_log.h"
#include "storage/store.h"

namespace foreshore {

// What DatabaseCore::TuneVectorIndex() found: with `ef` candidates a search for ten finds this share of them.
struct VectorTuning {
  std::uint32_t ef = 0;  // 0: never tuned.
  double recall = 0;
};

struct VectorOperation {
  std::int64_t docid = 0;
  ByteString stored;  // Encoded StoredVector; empty to remove.
};

class DerivedVectorIndex : public DerivedConsumer {
 public:
  // `path` is the snapshot's file. A snapshot that is missing, damaged or not of this history is dropped and the graph
  // rebuilt from the stored vectors.
  // `memory_bytes_max` is VectorIndexConfig's.
  static Result<std::shared_ptr<DerivedVectorIndex>> Open(const VectorIndexDefinition& definition, Store& store,
                                                          ChangeLog& log, std::string path,
                                                          std::uint64_t memory_bytes_max);
  // Another one made from the stored vectors, of which the files know nothing until it is saved.
  static Result<std::shared_ptr<DerivedVectorIndex>> Rebuild(const DerivedVectorIndex& broken, Store& store,
                                                             ChangeLog& log);
  // Takes in what was committed since it was opened or made. Nothing may be committed meanwhile.
  Status CatchUpWith(Store& store, ChangeLog& log);
  // Over a graph that was made elsewhere, as of its applied_seq().
  static std::shared_ptr<DerivedVectorIndex> Adopt(const VectorIndexDefinition& definition, std::string path,
                                                   std::uint64_t memory_bytes_max, std::unique_ptr<VectorIndex> graph);
  // `path` is the snapshot's.
  static VectorIndexConfig ConfigOf(const VectorIndexDefinition& definition, const std::string& path,
                                    std::uint64_t memory_bytes_max);

  std::string cursor_name() const override { return "index." + std::to_string(definition_.id); }
  // Called in commit order, under the writer's lock, once per commit; cheap.
  void Enqueue(std::int64_t sequence, std::vector<VectorOperation> operations);
  // Applies what was enqueued. An error marks the index behind: searches scan the missing part until Rebuild.
  Status Apply() override;
  // Whether it refuses searches or does not follow commits any more, and must be made anew.
  bool NeedsRebuild() const;
  // No view may search that is older: the graph was made at this sequence.
  std::int64_t first_sequence() const { return first_sequence_; }
  // The last sequence that a search in the graph covers.
  std::int64_t applied_sequence() const { return static_cast<std::int64_t>(graph_->applied_seq()); }

  // How the index is searched for a caller that expects to take `k_hint` neighbours; `ef` 0 means chosen here.
  VectorSearchOptions SearchOptions(std::size_t k_hint, std::size_t ef) const;
  // How such a search would run now, and its recall as far as it is known; for EXPLAIN QUERY PLAN.
  std::string DescribeSearch(std::size_t k_hint, std::int64_t now_unix_ms,
                             std::optional<std::size_t> among_count = std::nullopt) const;
  // Of a search for ten as it runs now: by the sample where there is one, else when tuned; 0 where neither was.
  double estimated_recall() const;
  VectorTuning tuning() const;
  void SetTuning(const VectorTuning& tuning);

  // What real searches ask for.
  QueryReservoir& recent_queries() { return recent_queries_; }
  const QueryReservoir& recent_queries() const { return recent_queries_; }
  RecallSample recall_sample() const;
  void SetRecallSample(RecallSample sample);
  void RestoreRecallSample(RecallSample sample);  // As it was saved.
  // A sample begins: what changes from now on may not be in it.
  void NoteSampling() { changed_since_sample_ = 0; }
  std::uint64_t changed_since_sample() const { return changed_since_sample_; }
  // No further attempt until the database is opened again.
  void NoteFailedSample() { has_failed_sample_ = true; }
  bool has_failed_sample() const { return has_failed_sample_; }
  // The sample, encoded, where it was taken since the last call.
  std::optional<ByteString> TakeUnsavedSample();

  // Writes the snapshot if anything was applied, or compacted away, since the last one. Returns the sequence it holds.
  Result<std::int64_t> Save() override { return SaveWithin(VectorDeltaMax::kQuarter); }
  // The whole of it where the next open would replay more than a twentieth.
  Result<std::int64_t> SaveForClose() override { return SaveWithin(VectorDeltaMax::kTwentieth); }
  std::int64_t saved_sequence() const override;
  std::uint64_t unsaved_operation_count() const;

  VectorIndex& graph() { return *graph_; }
  const VectorIndex& graph() const { return *graph_; }
  const std::string& opened_from() const { return opened_from_; }
  const std::string& path() const { return path_; }

 private:
  struct Batch {
    std::int64_t sequence = 0;
    std::vector<VectorOperation> operations;
  };
  DerivedVectorIndex(VectorIndexDefinition definition, std::string path, std::uint64_t memory_bytes_max)
      : definition_(std::move(definition)), path_(std::move(path)), memory_bytes_max_(memory_bytes_max) {}
  Status Load(Store& store, ChangeLog& log);
  Status CatchUp(ReadTxn& txn, ChangeLog& log, std::int64_t head);
  Status Restart(ReadTxn& txn, std::int64_t head);
  Status RebuildFrom(ReadTxn& txn, std::int64_t head);
  Status ApplyAll(std::span<const VectorOperation> operations, std::int64_t sequence);
  Status ApplyBatch(const Batch& batch);
  Result<std::int64_t> SaveWithin(VectorDeltaMax delta_max);

  VectorIndexDefinition definition_;
  std::string path_;
  std::uint64_t memory_bytes_max_;
  std::unique_ptr<VectorIndex> graph_;
  std::string opened_from_;
  std::int64_t first_sequence_ = 0;

  mutable std::mutex tuning_mutex_;
  VectorTuning tuning_;  // Guarded by tuning_mutex_, as the next two.
  RecallSample recall_sample_;
  bool is_sample_saved_ = true;
  QueryReservoir recent_queries_;
  std::atomic<std::uint64_t> changed_since_sample_{0};  // Vectors.
  std::atomic<bool> has_failed_sample_{false};
  std::mutex queue_mutex_;
  std::deque<Batch> queue_;  // Guarded by queue_mutex_.
  mutable std::mutex apply_mutex_;
  std::int64_t saved_sequence_ = 0;            // Guarded by apply_mutex_.
  std::uint64_t unsaved_operation_count_ = 0;  // Guarded by apply_mutex_.
  bool behind_ = false;                        // Guarded by apply_mutex_.
};

}  // namespace foreshore
