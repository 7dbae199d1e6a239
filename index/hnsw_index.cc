#include "index/hnsw_index.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <shared_mutex>
#include <utility>

#include "index/hnsw_cursor.h"
#include "index/quantizer.h"
#include "index/vector_code.h"

namespace foreshore {
namespace {

// Compacting pays when a third of the graph is garbage; below so many nodes it never matters.
constexpr std::uint64_t kGarbageMin = 256;
constexpr std::uint64_t kGarbageFraction = 3;
constexpr std::size_t kSearchEfMax = 100'000;

Status CheckRange(const std::string& name, const char* field, std::uint64_t found, std::uint64_t min,
                  std::uint64_t max) {
  if (found >= min && found <= max) return Status::Ok();
  return Status::InvalidArgument(name + ": " + field + " is " + std::to_string(found) + ", expected " +
                                 std::to_string(min) + ".." + std::to_string(max));
}

Result<HnswGraphConfig> GraphConfig(const VectorIndexConfig& config) {
  FORESHORE_RETURN_IF_ERROR(
      CheckRange(config.name, "dimension", config.dimension, kVectorDimensionMin, kVectorDimensionMax));
  FORESHORE_RETURN_IF_ERROR(CheckRange(config.name, "links_per_node", config.links_per_node, 4, 64));
  FORESHORE_RETURN_IF_ERROR(CheckRange(config.name, "ef_construction", config.ef_construction, 8, 4096));
  FORESHORE_RETURN_IF_ERROR(CheckRange(config.name, "metric", static_cast<std::uint8_t>(config.metric), 0, 2));
  FORESHORE_RETURN_IF_ERROR(CheckRange(config.name, "graph", static_cast<std::uint8_t>(config.graph), 0, 1));
  return HnswGraphConfig{config.metric, config.dimension, config.links_per_node, config.ef_construction, config.graph};
}

}  // namespace

Result<std::unique_ptr<VectorIndex>> CreateHnswIndex(VectorIndexConfig config) {
  FORESHORE_ASSIGN_OR_RETURN(const HnswGraphConfig graph_config, GraphConfig(config));
  HnswSnapshot empty;
  FORESHORE_ASSIGN_OR_RETURN(empty.graph, HnswGraph::Create(graph_config, 0));
  return std::unique_ptr<VectorIndex>(std::make_unique<HnswIndex>(std::move(config), std::move(empty)));
}

Result<std::unique_ptr<VectorIndex>> LoadHnswIndex(VectorIndexConfig config, const std::string& path) {
  FORESHORE_ASSIGN_OR_RETURN(const HnswGraphConfig graph_config, GraphConfig(config));
  FORESHORE_ASSIGN_OR_RETURN(HnswSnapshot snapshot, ReadHnswSnapshot(config.name, graph_config, path));
  return std::unique_ptr<VectorIndex>(std::make_unique<HnswIndex>(std::move(config), std::move(snapshot)));
}

HnswIndex::HnswIndex(VectorIndexConfig config, HnswSnapshot snapshot)
    : config_(std::move(config)),
      graph_(std::move(snapshot.graph)),
      entries_(std::move(snapshot.entries)),
      applied_seq_(snapshot.applied_seq) {
  CountLocked();
}

Status HnswIndex::CheckUsableLocked() const {
  if (!is_broken_) return Status::Ok();
  return Status::Internal(config_.name + ": an insertion failed half-way, expected the index to be rebuilt");
}

void HnswIndex::CountLocked() {
  live_.clear();
  live_.reserve(entries_.size());
  deaths_ = {};
  garbage_count_ = 0;
  for (std::uint32_t slot = 0; slot < entries_.size(); ++slot) {
    const HnswEntry& entry = entries_[slot];
    if (entry.died == kNeverDied) {
      live_.emplace(entry.docid, slot);
    } else if (entry.died <= forgotten_seq_) {
      ++garbage_count_;
    } else {
      deaths_.push(entry.died);
    }
  }
}

void HnswIndex::KillLocked(std::uint32_t slot, std::uint64_t sequence) {
  entries_[slot].died = sequence;
  if (sequence <= forgotten_seq_) {
    ++garbage_count_;
  } else {
    deaths_.push(sequence);
  }
}

Status HnswIndex::Upsert(std::int64_t docid, Bytes record, std::uint64_t sequence) {
  const Result<VectorRecord> decoded = DecodeVectorRecord(record, config_.dimension);
  if (!decoded.ok()) {
    return decoded.status().WithContext(config_.name + ": document " + std::to_string(docid));
  }
  std::vector<char> code(VectorCodeBytes(config_.dimension));
  PackVectorCode(decoded->scale, decoded->codes, code.data());

  const std::unique_lock lock(mutex_);
  FORESHORE_RETURN_IF_ERROR(CheckUsableLocked());
  try {
    const Status added = AddLocked(docid, code.data(), sequence);
    is_broken_ = added.code() == ErrorCode::kInternal;
    return added.WithContext(config_.name);
  } catch (const std::exception& exception) {
    is_broken_ = true;
    return Status::Internal(config_.name + ": inserting: " + exception.what());
  }
}

Status HnswIndex::AddLocked(std::int64_t docid, const void* code, std::uint64_t sequence) {
  const auto old = live_.find(docid);
  if (old != live_.end()) {
    if (entries_[old->second].born > sequence) return Status::Ok();
    // A document that is written again with the same vector keeps its entry.
    if (std::memcmp(graph_->code(old->second), code, VectorCodeBytes(config_.dimension)) == 0) return Status::Ok();
  }
  const std::uint32_t slot = graph_->node_count();
  FORESHORE_RETURN_IF_ERROR(graph_->Add(code));
  entries_.push_back({docid, sequence, kNeverDied});
  if (old != live_.end()) {
    KillLocked(old->second, sequence);
    old->second = slot;
  } else {
    live_.emplace(docid, slot);
  }
  return Status::Ok();
}

Status HnswIndex::Remove(std::int64_t docid, std::uint64_t sequence) {
  const std::unique_lock lock(mutex_);
  FORESHORE_RETURN_IF_ERROR(CheckUsableLocked());
  const auto found = live_.find(docid);
  if (found == live_.end() || entries_[found->second].born > sequence) return Status::Ok();
  KillLocked(found->second, sequence);
  live_.erase(found);
  return Status::Ok();
}

void HnswIndex::ForgetBefore(std::uint64_t sequence) {
  const std::unique_lock lock(mutex_);
  forgotten_seq_ = std::max(forgotten_seq_, sequence);
  while (!deaths_.empty() && deaths_.top() <= forgotten_seq_) {
    deaths_.pop();
    ++garbage_count_;
  }
}

bool HnswIndex::ShouldCompact() const {
  const std::shared_lock lock(mutex_);
  return garbage_count_ >= kGarbageMin && garbage_count_ * kGarbageFraction >= entries_.size();
}

std::uint64_t HnswIndex::applied_seq() const {
  const std::shared_lock lock(mutex_);
  return applied_seq_;
}

void HnswIndex::SetAppliedSeq(std::uint64_t sequence) {
  const std::unique_lock lock(mutex_);
  applied_seq_ = sequence;
}

std::uint64_t HnswIndex::entry_count() const {
  const std::shared_lock lock(mutex_);
  return live_.size();
}

std::uint64_t HnswIndex::garbage_count() const {
  const std::shared_lock lock(mutex_);
  return garbage_count_;
}

std::uint32_t HnswIndex::node_count() const {
  const std::shared_lock lock(mutex_);
  return graph_->node_count();
}

std::uint64_t HnswIndex::memory_bytes() const {
  const std::shared_lock lock(mutex_);
  constexpr std::uint64_t kMapNodeBytes = 40;  // Key, value, link, and the share of the buckets.
  return graph_->memory_bytes() + entries_.capacity() * sizeof(HnswEntry) + live_.size() * kMapNodeBytes +
         deaths_.size() * sizeof(std::uint64_t);
}

Status HnswIndex::SaveSnapshot(const std::string& path) const {
  const std::shared_lock lock(mutex_);
  FORESHORE_RETURN_IF_ERROR(CheckUsableLocked());
  return WriteHnswSnapshot(path, *graph_, entries_, applied_seq_).WithContext(config_.name);
}

Result<std::unique_ptr<VectorCursor>> HnswIndex::NewCursor(std::span<const float> query,
                                                           std::uint64_t snapshot_sequence,
                                                           VectorSearchOptions options) const {
  FORESHORE_RETURN_IF_ERROR(CheckRange(config_.name, "ef", options.ef, 1, kSearchEfMax));
  Result<VectorQuery> prepared = VectorQuery::Prepare(config_.metric, config_.dimension, query);
  if (!prepared.ok()) return prepared.status().WithContext(config_.name);
  return std::unique_ptr<VectorCursor>(
      std::make_unique<HnswCursor>(*this, std::move(prepared).value(), snapshot_sequence, std::move(options)));
}

std::string HnswIndex::DescribeStrategy(const VectorSearchOptions& options) const {
  const std::uint32_t nodes = node_count();
  const HnswPlan plan = PlanHnswSearch(options, nodes, config_.exact_scan_entries_max);
  if (!plan.starts_with_graph) return "exact scan of " + std::to_string(nodes) + " codes";
  return "hnsw ef=" + std::to_string(plan.ef) + " over " + std::to_string(nodes) + " codes";
}

Result<HnswIndex::Candidates> HnswIndex::SearchGraph(const VectorQuery& query, std::size_t ef,
                                                     std::uint64_t snapshot_sequence) const {
  Candidates candidates;
  {
    const std::shared_lock lock(mutex_);
    FORESHORE_RETURN_IF_ERROR(CheckUsableLocked());
    Result<std::vector<std::uint32_t>> slots = graph_->Search(query.code(), ef);
    if (!slots.ok()) return slots.status().WithContext(config_.name);
    candidates.graph_exhausted = slots->size() < ef;
    const std::size_t settled = candidates.graph_exhausted ? slots->size() : (slots->size() + 1) / 2;
    for (std::size_t i = 0; i < slots->size(); ++i) {
      const std::uint32_t slot = (*slots)[i];
      if (!entries_[slot].VisibleAt(snapshot_sequence)) continue;
      candidates.visible.push_back({entries_[slot].docid, query.DistanceToCode(graph_->code(slot))});
      if (i < settled) ++candidates.settled_count;
    }
  }
  // The query's own distances are finer than those that led the walk.
  std::sort(candidates.visible.begin(), candidates.visible.end(), [](const VectorMatch& a, const VectorMatch& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.docid < b.docid;
  });
  return candidates;
}

Result<std::vector<VectorMatch>> HnswIndex::ScanAll(const VectorQuery& query, std::uint64_t snapshot_sequence) const {
  const std::shared_lock lock(mutex_);
  FORESHORE_RETURN_IF_ERROR(CheckUsableLocked());
  std::vector<VectorMatch> matches;
  matches.reserve(live_.size());
  for (std::uint32_t slot = 0; slot < entries_.size(); ++slot) {
    if (!entries_[slot].VisibleAt(snapshot_sequence)) continue;
    matches.push_back({entries_[slot].docid, query.DistanceToCode(graph_->code(slot))});
  }
  return matches;
}

}  // namespace foreshore
