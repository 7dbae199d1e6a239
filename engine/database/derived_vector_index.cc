#include "engine/database/derived_vector_index.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <thread>
#include <utility>

#include "engine/database/stored_vector.h"
#include "engine/database/vector_reader.h"
#include "storage/base/file.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

constexpr std::size_t kBatchMax = 4096;  // Vectors inserted at a time.

}  // namespace

VectorIndexConfig DerivedVectorIndex::ConfigOf(const VectorIndexDefinition& definition, const std::string& path,
                                               std::uint64_t memory_bytes_max) {
  VectorIndexConfig config;
  config.name = "vector index \"" + definition.name + "\"";
  config.metric = definition.options.metric;
  config.dimension = definition.options.dimension;
  config.precision = definition.options.precision;
  config.links_per_node = definition.options.links_per_node;
  config.graph = definition.options.graph;
  config.memory_bytes_max = memory_bytes_max;
  // Who chose small codes, or a bound, is short of memory. Others would pay with the writing of files.
  const bool is_short_of_memory = memory_bytes_max != 0 || HasSmallCodes(definition.options.precision);
  if (is_short_of_memory) config.scratch_folder = path.substr(0, path.rfind('/'));
  return config;
}

VectorSearchOptions DerivedVectorIndex::SearchOptions(std::size_t k_hint, std::size_t ef) const {
  constexpr std::size_t kTunedFor = 10;  // Neighbours.
  const std::size_t tuned = tuning().ef;
  if (ef == 0 && tuned != 0) ef = std::max(tuned, tuned * k_hint / kTunedFor);
  // Codes of 1 bit need about three times the search for the same recall (GloVe), over rows a fifth as long.
  const std::size_t wider = definition_.options.precision == VectorPrecision::kInt1 ? 3 : 1;
  if (ef == 0) ef = wider * std::max<std::size_t>(96, k_hint * 4);
  VectorSearchOptions options;
  options.k_hint = std::max<std::size_t>(1, k_hint);
  options.ef = std::clamp<std::size_t>(ef, 1, 100'000);
  return options;
}

std::string DerivedVectorIndex::DescribeSearch(std::size_t k_hint, std::int64_t now_unix_ms,
                                               std::optional<std::size_t> among_count) const {
  const VectorTuning tuned = tuning();
  const RecallSample sample = recall_sample();
  const VectorSearchOptions options = SearchOptions(k_hint, 0);
  std::string text = graph_->DescribeStrategy(options, among_count);
  if (!text.starts_with("hnsw")) return text;
  const auto shown = [](double recall) {
    char number[32];
    std::snprintf(number, sizeof(number), "%.3f", recall);
    return std::string(number);
  };
  std::string recall;
  if (tuned.ef != 0) recall += ", " + shown(tuned.recall) + " when tuned";
  if (sample.ef != 0)
    recall += ", " + shown(sample.EstimateAt(options.ef)) + " estimated, " + sample.Describe(now_unix_ms);
  return recall.empty() ? text : text + ", recall" + recall.substr(1);
}

double DerivedVectorIndex::estimated_recall() const {
  const RecallSample sample = recall_sample();
  return sample.ef != 0 ? sample.EstimateAt(SearchOptions(kRecallNeighbours, 0).ef) : tuning().recall;
}

RecallSample DerivedVectorIndex::recall_sample() const {
  const std::lock_guard lock(tuning_mutex_);
  return recall_sample_;
}

void DerivedVectorIndex::SetRecallSample(RecallSample sample) {
  const std::lock_guard lock(tuning_mutex_);
  recall_sample_ = std::move(sample);
  is_sample_saved_ = false;
}

void DerivedVectorIndex::RestoreRecallSample(RecallSample sample) {
  const std::lock_guard lock(tuning_mutex_);
  recall_sample_ = std::move(sample);
}

std::optional<ByteString> DerivedVectorIndex::TakeUnsavedSample() {
  const std::lock_guard lock(tuning_mutex_);
  if (std::exchange(is_sample_saved_, true)) return std::nullopt;
  return recall_sample_.Encode();
}

VectorTuning DerivedVectorIndex::tuning() const {
  const std::lock_guard lock(tuning_mutex_);
  return tuning_;
}

void DerivedVectorIndex::SetTuning(const VectorTuning& tuning) {
  const std::lock_guard lock(tuning_mutex_);
  tuning_ = tuning;
}

Result<std::shared_ptr<DerivedVectorIndex>> DerivedVectorIndex::Open(const VectorIndexDefinition& definition,
                                                                     Store& store, ChangeLog& log, std::string path,
                                                                     std::uint64_t memory_bytes_max) {
  std::shared_ptr<DerivedVectorIndex> index(new DerivedVectorIndex(definition, std::move(path), memory_bytes_max));
  FORESHORE_RETURN_IF_ERROR(index->Load(store, log));
  return index;
}

Result<std::shared_ptr<DerivedVectorIndex>> DerivedVectorIndex::Rebuild(const DerivedVectorIndex& broken, Store& store,
                                                                        ChangeLog& log) {
  std::shared_ptr<DerivedVectorIndex> index(
      new DerivedVectorIndex(broken.definition_, broken.path_, broken.memory_bytes_max_));
  index->tuning_ = broken.tuning();
  index->recall_sample_ = broken.recall_sample();
  for (const RecallQuery& query : broken.recent_queries().Copy()) index->recent_queries_.Note(query.values);
  FORESHORE_ASSIGN_OR_RETURN(auto txn, store.BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t head, log.Head(*txn));
  FORESHORE_RETURN_IF_ERROR(index->Restart(*txn, head));
  return index;
}

Status DerivedVectorIndex::CatchUpWith(Store& store, ChangeLog& log) {
  FORESHORE_ASSIGN_OR_RETURN(auto txn, store.BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t head, log.Head(*txn));
  return CatchUp(*txn, log, head);
}

bool DerivedVectorIndex::NeedsRebuild() const {
  const std::lock_guard lock(apply_mutex_);
  return behind_ || !graph_->CheckUsable().ok();
}

std::shared_ptr<DerivedVectorIndex> DerivedVectorIndex::Adopt(const VectorIndexDefinition& definition, std::string path,
                                                              std::uint64_t memory_bytes_max,
                                                              std::unique_ptr<VectorIndex> graph) {
  std::shared_ptr<DerivedVectorIndex> index(new DerivedVectorIndex(definition, std::move(path), memory_bytes_max));
  index->graph_ = std::move(graph);
  index->opened_from_ = "imported";
  return index;
}

Status DerivedVectorIndex::Load(Store& store, ChangeLog& log) {
  FORESHORE_ASSIGN_OR_RETURN(auto txn, store.BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t head, log.Head(*txn));
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t tail, log.Tail(*txn));
  auto loaded = LoadHnswIndex(ConfigOf(definition_, path_, memory_bytes_max_), path_);
  if (loaded.ok()) {
    graph_ = std::move(loaded).value();
    const std::int64_t applied = applied_sequence();
    if (applied <= head && applied + 1 >= tail) {
      saved_sequence_ = applied;
      opened_from_ = applied == head ? "snapshot" : "snapshot and log";
      const Status caught_up = CatchUp(*txn, log, head);
      if (caught_up.ok() || graph_->CheckUsable().ok()) return caught_up;
      Log(LogLevel::kWarning, "index", caught_up.message() + "; rebuilding");
      return Restart(*txn, head);
    }
    Log(LogLevel::kWarning, "index",
        definition_.name + ": snapshot is at sequence " + std::to_string(applied) + ", the log holds " +
            std::to_string(tail) + " to " + std::to_string(head) + "; rebuilding");
  } else if (loaded.status().code() != ErrorCode::kNotFound) {
    Log(LogLevel::kWarning, "index", loaded.status().message() + "; rebuilding");
  }
  return Restart(*txn, head);
}

Status DerivedVectorIndex::Restart(ReadTxn& txn, std::int64_t head) {
  opened_from_ = "rebuilt";
  // A snapshot that is ahead of the log (a power cut took commits away under normal durability) would fit again once as
  // many others have been made, and tell of those that are gone. So it goes for certain before anything is committed.
  FORESHORE_RETURN_IF_ERROR(RemoveHnswFiles(path_));
  return RebuildFrom(txn, head);
}

Status DerivedVectorIndex::CatchUp(ReadTxn& txn, ChangeLog& log, std::int64_t head) {
  std::vector<std::pair<std::int64_t, std::int64_t>> changed;  // (docid, sequence)
  FORESHORE_RETURN_IF_ERROR(log.ReadAfter(txn, applied_sequence(), [&](const Change& change) {
    if (change.kind == ChangeKind::kVector && change.index_id == definition_.id) {
      changed.emplace_back(change.docid, change.sequence);
    }
    return true;
  }));
  // No view is open yet, so only each document's present vector matters; earlier ones in between are skipped.
  std::set<std::int64_t> seen;
  VectorReader vectors(txn, definition_);
  for (auto it = changed.rbegin(); it != changed.rend(); ++it) {
    if (!seen.insert(it->first).second) continue;
    FORESHORE_ASSIGN_OR_RETURN(const auto stored, vectors.Get(it->first));
    const VectorOperation operation{it->first, stored ? ByteString(*stored) : ByteString()};
    FORESHORE_RETURN_IF_ERROR(ApplyAll({&operation, 1}, it->second));
  }
  graph_->SetAppliedSeq(static_cast<std::uint64_t>(head));
  first_sequence_ = head;
  return Status::Ok();
}

Status DerivedVectorIndex::RebuildFrom(ReadTxn& txn, std::int64_t head) {
  FORESHORE_ASSIGN_OR_RETURN(graph_, CreateHnswIndex(ConfigOf(definition_, path_, memory_bytes_max_)));
  VectorReader vectors(txn, definition_);
  FORESHORE_RETURN_IF_ERROR(vectors.SeekFirst());
  const std::string building = path_ + "-building";
  std::vector<VectorOperation> operations;
  while (vectors.valid()) {
    operations.push_back({vectors.docid(), ByteString(vectors.value())});
    FORESHORE_RETURN_IF_ERROR(vectors.Next());
    if (operations.size() < kBatchMax && vectors.valid()) continue;
    FORESHORE_RETURN_IF_ERROR(ApplyAll(operations, head));
    operations.clear();
    if (graph_->ShouldSave()) FORESHORE_RETURN_IF_ERROR(graph_->SaveSnapshot(building));
  }
  // Half of an index must not be found at the next open; what is mapped of it stays.
  FORESHORE_RETURN_IF_ERROR(RemoveHnswFiles(building));
  graph_->SetAppliedSeq(static_cast<std::uint64_t>(head));
  first_sequence_ = head;
  return Status::Ok();
}

// In order; runs of vectors that are not removed go in on all processors.
Status DerivedVectorIndex::ApplyAll(std::span<const VectorOperation> operations, std::int64_t sequence) {
  const unsigned thread_count = std::max(1U, std::thread::hardware_concurrency());
  const auto at = static_cast<std::uint64_t>(sequence);
  std::vector<VectorUpsert> upserts;
  for (std::size_t i = 0; i <= operations.size(); ++i) {
    const bool is_upsert = i < operations.size() && !operations[i].stored.empty();
    if (is_upsert) {
      FORESHORE_ASSIGN_OR_RETURN(const StoredVector stored, DecodeStoredVector(operations[i].stored));
      for (std::size_t each = 0; each < stored.records.size(); ++each) {
        upserts.push_back({operations[i].docid, stored.records[each], at, each > 0});
      }
    }
    if (is_upsert && upserts.size() < kBatchMax) continue;
    FORESHORE_RETURN_IF_ERROR(graph_->UpsertMany(upserts, thread_count));
    upserts.clear();
    if (i < operations.size() && !is_upsert) FORESHORE_RETURN_IF_ERROR(graph_->Remove(operations[i].docid, at));
  }
  unsaved_operation_count_ += operations.size();
  changed_since_sample_ += operations.size();
  return Status::Ok();
}

void DerivedVectorIndex::Enqueue(std::int64_t sequence, std::vector<VectorOperation> operations) {
  const std::lock_guard lock(queue_mutex_);
  if (operations.empty() && !queue_.empty() && queue_.back().operations.empty()) {
    queue_.back().sequence = sequence;
    return;
  }
  queue_.push_back({sequence, std::move(operations)});
}

Status DerivedVectorIndex::ApplyBatch(const Batch& batch) {
  try {
    return ApplyAll(batch.operations, batch.sequence);
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kLimit, "memory: none left");
  }
}

Status DerivedVectorIndex::Apply() {
  const std::lock_guard apply_lock(apply_mutex_);
  while (!behind_) {
    Batch batch;
    {
      const std::lock_guard lock(queue_mutex_);
      if (queue_.empty()) return Status::Ok();
      batch = std::move(queue_.front());
      queue_.pop_front();
    }
    if (Status status = ApplyBatch(batch); !status.ok()) {
      // Searches scan what the graph lacks from the log; the snapshot on disk is dropped so that the next open
      // rebuilds.
      behind_ = true;
      RemoveHnswFiles(path_).IgnoreError();
      Log(LogLevel::kError, "index", definition_.name + " is behind: " + status.ToString());
      return status;
    }
    graph_->SetAppliedSeq(static_cast<std::uint64_t>(batch.sequence));
    // Its own bound on memory; the log's cursor stays where it is until the next checkpoint.
    if (!graph_->ShouldSave()) continue;
    if (const Status saved = graph_->SaveSnapshot(path_); !saved.ok())
      Log(LogLevel::kWarning, "index", saved.message());
  }
  return Status::Internal("vector index \"" + definition_.name + "\" is behind, expected it to follow every commit");
}

Result<std::int64_t> DerivedVectorIndex::SaveWithin(VectorDeltaMax delta_max) {
  const std::lock_guard apply_lock(apply_mutex_);
  if (behind_) return saved_sequence_;
  if (!graph_->CheckUsable().ok()) {
    FORESHORE_RETURN_IF_ERROR(RemoveHnswFiles(path_));  // The next open rebuilds it, if nobody does before.
    return saved_sequence_;
  }
  const std::int64_t applied = applied_sequence();
  if (graph_->IsSaved(path_, delta_max)) {
    saved_sequence_ = applied;
    return applied;
  }
  FORESHORE_RETURN_IF_ERROR(graph_->SaveSnapshot(path_, delta_max));
  saved_sequence_ = applied;
  unsaved_operation_count_ = 0;
  return applied;
}

std::int64_t DerivedVectorIndex::saved_sequence() const {
  const std::lock_guard lock(apply_mutex_);
  return saved_sequence_;
}

std::uint64_t DerivedVectorIndex::unsaved_operation_count() const {
  const std::lock_guard lock(apply_mutex_);
  return unsaved_operation_count_;
}

}  // namespace foreshore
