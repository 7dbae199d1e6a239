#include "index/hnsw_index.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "index/hnsw_cursor.h"
#include "index/quantizer.h"
#include "index/vector_code.h"

namespace foreshore {
namespace {

constexpr std::size_t kSearchEfMax = 100'000;

Status CheckRange(const std::string& name, const char* field, std::uint64_t found, std::uint64_t min,
                  std::uint64_t max) {
  if (found >= min && found <= max) return Status::Ok();
  return Status::InvalidArgument(name + ": " + field + " is " + std::to_string(found) + ", expected " +
                                 std::to_string(min) + ".." + std::to_string(max));
}

}  // namespace

Result<HnswGraphConfig> GraphConfigOf(const VectorIndexConfig& config) {
  FORESHORE_RETURN_IF_ERROR(
      CheckRange(config.name, "dimension", config.dimension, kVectorDimensionMin, kVectorDimensionMax));
  FORESHORE_RETURN_IF_ERROR(CheckRange(config.name, "links_per_node", config.links_per_node, 4, 64));
  FORESHORE_RETURN_IF_ERROR(CheckRange(config.name, "ef_construction", config.ef_construction, 8, 4096));
  FORESHORE_RETURN_IF_ERROR(CheckRange(config.name, "metric", static_cast<std::uint8_t>(config.metric), 0, 2));
  FORESHORE_RETURN_IF_ERROR(CheckRange(config.name, "precision", static_cast<std::uint8_t>(config.precision), 0, 3));
  FORESHORE_RETURN_IF_ERROR(CheckRange(config.name, "graph", static_cast<std::uint8_t>(config.graph), 0, 1));
  HnswGraphConfig graph_config{config.metric, config.dimension, config.links_per_node, config.ef_construction,
                               config.graph};
  graph_config.scratch_folder = config.scratch_folder;
  if (HasSmallCodes(config.precision)) {
    if (config.graph != VectorGraphKind::kFlat) {
      return Status::InvalidArgument(config.name + ": precision is " +
                                     std::to_string(VectorPrecisionBits(config.precision)) +
                                     " bits over the graph of hnswlib, expected 8 or 16 there");
    }
    graph_config.small_codes.emplace();
    graph_config.small_codes->bits = static_cast<std::uint8_t>(VectorPrecisionBits(config.precision));
    graph_config.small_codes->rotation_seed = config.small_codes_rotated ? kRotationSeed : 0;
  }
  return graph_config;
}

Result<std::unique_ptr<VectorIndex>> CreateHnswIndex(VectorIndexConfig config) {
  FORESHORE_ASSIGN_OR_RETURN(const HnswGraphConfig graph_config, GraphConfigOf(config));
  HnswSnapshot empty;
  FORESHORE_ASSIGN_OR_RETURN(empty.graph, HnswGraph::Create(graph_config, 0));
  if (config.precision == VectorPrecision::kInt16) empty.fine_codes.emplace(config.dimension, config.scratch_folder);
  return std::unique_ptr<VectorIndex>(std::make_unique<HnswIndex>(std::move(config), std::move(empty)));
}

HnswIndex::HnswIndex(VectorIndexConfig config, HnswSnapshot snapshot, HnswSaved saved, std::string path)
    : config_(std::move(config)),
      applied_seq_(snapshot.applied_seq),
      forgotten_seq_(snapshot.applied_seq),
      saved_path_(std::move(path)),
      saved_(saved),
      saved_seq_(snapshot.applied_seq) {
  AdoptLocked(StateOf(std::move(snapshot)));
}

std::shared_ptr<HnswIndex::State> HnswIndex::StateOf(HnswSnapshot snapshot) {
  return std::make_shared<State>(State{std::move(snapshot.image), std::move(snapshot.graph),
                                       std::move(snapshot.entries), std::move(snapshot.fine_codes)});
}

std::shared_ptr<HnswIndex::State> HnswIndex::state() const {
  const std::lock_guard lock(state_mutex_);
  return state_;
}

Status HnswIndex::CheckUsable() const {
  if (is_broken_) {
    return Status::Internal(config_.name + ": an insertion failed half-way, expected the index to be rebuilt");
  }
  const std::shared_ptr<State> now = state();
  if (!now->image || !now->image->is_damaged()) return Status::Ok();
  return Status::Corruption(config_.name + ": its snapshot is damaged, expected the index to be rebuilt");
}

void HnswIndex::AdoptLocked(std::shared_ptr<State> state) {
  const std::uint32_t count = state->graph->node_count();
  const std::uint32_t borrowed_count = state->entries.borrowed_count();
  HnswLedger ledger;
  ledger.garbage_count = state->entries.borrowed_dead_count();
  for (std::uint32_t slot = 0; slot < borrowed_count; ++slot) {
    const HnswEntry entry = state->entries[slot];
    if (!entry.is_live()) continue;
    const bool is_further =
        slot > 0 && state->entries[slot - 1].docid == entry.docid && state->entries[slot - 1].is_live();
    if (!is_further) ++ledger.document_count;
  }
  ledger.live.reserve(count - borrowed_count);
  for (std::uint32_t slot = borrowed_count; slot < count; ++slot) {
    ledger.Add(slot, state->entries[slot], forgotten_seq_);
  }
  SwapInLocked(state, ledger);
}

void HnswIndex::SwapInLocked(std::shared_ptr<State>& state, HnswLedger& ledger) {
  const std::unique_lock live_lock(live_mutex_);
  std::swap(ledger_, ledger);
  garbage_count_ = ledger_.garbage_count;
  const std::lock_guard state_lock(state_mutex_);
  std::swap(state_, state);
}

std::uint32_t HnswIndex::FindLive(const State& state, std::int64_t docid) const {
  const auto found = ledger_.live.find(docid);
  if (found != ledger_.live.end()) return found->second;
  std::uint32_t live_slot = kNoSlot;
  if (state.image) {
    state.image->ForEachPlaced(docid, [&](std::uint32_t slot) {
      if (state.entries[slot].is_live()) live_slot = std::min(live_slot, slot);
    });
  }
  return live_slot;
}

// With live_mutex_ held as well.
void HnswIndex::KillLocked(std::uint32_t first, std::uint32_t end, std::uint64_t sequence) {
  const std::shared_ptr<State> now = state();
  const std::int64_t docid = now->entries[first].docid;
  for (std::uint32_t slot = first; slot < end; ++slot) {
    if (slot < saved_.node_count) unsaved_deaths_.push_back(slot);
    now->entries.StoreDied(slot, sequence);
  }
  ledger_.Kill(docid, first, end, sequence, forgotten_seq_);
  garbage_count_ = ledger_.garbage_count;
  FollowKillLocked(docid, first, end, sequence);
}

std::uint32_t HnswIndex::State::LiveEnd(std::uint32_t first, std::uint32_t limit) const {
  std::uint32_t end = first;
  while (end < limit && entries[end].docid == entries[first].docid && entries[end].is_live()) ++end;
  return end;
}

Status HnswIndex::Upsert(std::int64_t docid, Bytes record, std::uint64_t sequence) {
  const VectorUpsert upsert{docid, record, sequence};
  return UpsertMany({&upsert, 1}, 1);
}

Status HnswIndex::UpsertMany(std::span<const VectorUpsert> upserts, unsigned thread_count) {
  const std::lock_guard lock(write_mutex_);
  FORESHORE_RETURN_IF_ERROR(CheckUsable());
  const std::size_t code_bytes = VectorCodeBytes(config_.dimension);
  std::vector<VectorRecord> records;
  try {
    codes_.resize(upserts.size() * code_bytes);
    records.resize(upserts.size());
  } catch (const std::exception& exception) {
    return Status::Internal(config_.name + ": inserting: " + exception.what());
  }
  for (std::size_t i = 0; i < upserts.size(); ++i) {
    if (upserts[i].is_further &&
        (i == 0 || upserts[i].docid != upserts[i - 1].docid || upserts[i].sequence != upserts[i - 1].sequence)) {
      return Status::InvalidArgument(config_.name + ": a further vector of document " +
                                     std::to_string(upserts[i].docid) + " follows none of it at sequence " +
                                     std::to_string(upserts[i].sequence));
    }
    const Result<VectorRecord> decoded = DecodeVectorRecord(upserts[i].record, config_.dimension);
    if (!decoded.ok()) {
      return decoded.status().WithContext(config_.name + ": document " + std::to_string(upserts[i].docid));
    }
    records[i] = *decoded;
    PackVectorCode(decoded->scale, decoded->codes, codes_.data() + i * code_bytes);
  }
  try {
    const Status added = ApplyLocked(upserts, records, thread_count);
    is_broken_ = added.code() == ErrorCode::kInternal;
    return added.WithContext(config_.name);
  } catch (const std::exception& exception) {
    is_broken_ = true;
    return Status::Internal(config_.name + ": inserting: " + exception.what());
  }
}

// With `records` and codes_ in the order of `upserts`. Entries first: whoever finds a slot in the graph looks at its
// entry.
Status HnswIndex::ApplyLocked(std::span<const VectorUpsert> upserts, std::span<const VectorRecord> records,
                              unsigned thread_count) {
  FORESHORE_RETURN_IF_ERROR(CentreLocked(upserts.size(), thread_count));
  const std::shared_ptr<State> now = state();
  const std::size_t code_bytes = VectorCodeBytes(config_.dimension);
  const std::uint32_t first = now->graph->node_count();
  if (upserts.size() > kHnswNodeCountMax - first) {
    return Status::Limit("has " + std::to_string(first) + " nodes and is given " + std::to_string(upserts.size()) +
                         " more, expected at most " + std::to_string(kHnswNodeCountMax));
  }
  std::vector<const void*> added;
  std::vector<std::int8_t> no_fine_codes(config_.dimension, 0);
  const auto fine_of = [&](std::size_t i) {
    return records[i].fine_codes.empty() ? std::span<const std::int8_t>(no_fine_codes) : records[i].fine_codes;
  };
  for (std::size_t i = 0, end = 0; i < upserts.size(); i = end) {
    for (end = i + 1; end < upserts.size() && upserts[end].is_further;) ++end;
    const VectorUpsert& upsert = upserts[i];
    const std::uint32_t next_slot = first + static_cast<std::uint32_t>(added.size());
    const std::unique_lock live_lock(live_mutex_);
    const std::uint32_t old = FindLive(*now, upsert.docid);
    if (old != kNoSlot) {
      if (now->entries[old].born > upsert.sequence) continue;
      // A document that is written again with the same vectors keeps its entries.
      const std::uint32_t old_end = now->LiveEnd(old, next_slot);
      bool is_same = old_end - old == end - i;
      for (std::size_t each = i; each < end && is_same; ++each) {
        const std::uint32_t slot = old + static_cast<std::uint32_t>(each - i);
        const void* old_code = slot < first ? now->graph->code(slot) : added[slot - first];
        const std::span<const std::int8_t> fine = fine_of(each);
        is_same = std::memcmp(old_code, codes_.data() + each * code_bytes, code_bytes) == 0 &&
                  (!now->fine_codes || std::equal(fine.begin(), fine.end(), (*now->fine_codes)[slot].begin()));
      }
      if (is_same) continue;
      KillLocked(old, old_end, upsert.sequence);
    }
    for (std::size_t each = i; each < end; ++each) {
      const std::uint32_t slot = first + static_cast<std::uint32_t>(added.size());
      const HnswEntry entry{upsert.docid, upsert.sequence, kNeverDied};
      now->entries.Put(slot, entry);
      ledger_.Add(slot, entry, forgotten_seq_);
      if (now->fine_codes) now->fine_codes->Put(slot, records[each].codes, fine_of(each));
      added.push_back(codes_.data() + each * code_bytes);
    }
  }
  FORESHORE_RETURN_IF_ERROR(now->graph->AddMany(added, thread_count));
  HelpCompactionLocked(added.size(), thread_count);
  return Status::Ok();
}

Status HnswIndex::Remove(std::int64_t docid, std::uint64_t sequence) {
  const std::lock_guard lock(write_mutex_);
  FORESHORE_RETURN_IF_ERROR(CheckUsable());
  const std::unique_lock live_lock(live_mutex_);
  const std::shared_ptr<State> now = state();
  const std::uint32_t slot = FindLive(*now, docid);
  if (slot == kNoSlot || now->entries[slot].born > sequence) return Status::Ok();
  KillLocked(slot, now->LiveEnd(slot, now->graph->node_count()), sequence);
  return Status::Ok();
}

void HnswIndex::ForgetBefore(std::uint64_t sequence) {
  const std::lock_guard lock(write_mutex_);
  forgotten_seq_ = std::max(forgotten_seq_.load(), sequence);
  const std::unique_lock live_lock(live_mutex_);
  ledger_.Forget(forgotten_seq_, state()->entries);
  garbage_count_ = ledger_.garbage_count;
  FollowForgetLocked();
}

std::uint64_t HnswIndex::entry_count() const {
  const std::shared_lock lock(live_mutex_);
  return ledger_.document_count;
}

std::uint64_t HnswIndex::garbage_count() const {
  const std::lock_guard lock(write_mutex_);
  return garbage_count_;
}

std::uint32_t HnswIndex::node_count() const {
  return state()->graph->node_count();
}

std::uint64_t HnswIndex::memory_bytes() const {
  const std::lock_guard lock(write_mutex_);
  return MemoryBytesLocked() + CompactionBytesLocked();
}

std::uint64_t HnswIndex::mapped_bytes() const {
  const std::lock_guard lock(write_mutex_);
  const std::shared_ptr<State> now = state();
  const std::uint64_t compaction_bytes = CompactionScratchBytesLocked();
  return now->scratch_bytes() + compaction_bytes + (now->image ? now->image->layout().file_bytes() : 0);
}

std::uint64_t HnswIndex::MemoryBytesLocked() const {
  const std::shared_lock live_lock(live_mutex_);
  return state()->memory_bytes() + ledger_.memory_bytes();
}

std::uint64_t HnswIndex::State::memory_bytes() const {
  const std::uint32_t count = graph->node_count();
  return graph->memory_bytes() + entries.memory_bytes(count) + (fine_codes ? fine_codes->memory_bytes(count) : 0);
}

std::uint64_t HnswIndex::State::scratch_bytes() const {
  const std::uint32_t count = graph->node_count();
  return graph->scratch_bytes() + entries.scratch_bytes(count) + (fine_codes ? fine_codes->scratch_bytes(count) : 0);
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

std::string HnswIndex::DescribeStrategy(const VectorSearchOptions& options,
                                        std::optional<std::size_t> among_count) const {
  const std::uint32_t nodes = node_count();
  if (options.among) among_count = options.among->size();
  const HnswPlan plan = PlanHnswSearch(options, among_count, nodes, config_);
  const std::string codes = std::to_string(nodes) + " codes";
  if (plan.way == HnswWay::kScan) {
    if (!among_count) return "exact scan of " + codes;
    return "exact scan of " + std::to_string(*among_count) + " codes";
  }
  const std::string among = among_count ? ", among " + std::to_string(*among_count) + " of " : " over ";
  return "hnsw ef=" + std::to_string(plan.ef) + (plan.way == HnswWay::kTwoHop ? ", two hops" : "") + among + codes;
}

void HnswIndex::State::Prefetch(std::uint32_t slot) const {
  entries.Prefetch(slot);
  if (image) image->WantCodes(slot);
  if (fine_codes) fine_codes->Prefetch(slot);
  const char* code = graph->code(slot);
  for (std::size_t offset = 0; offset < VectorCodeBytes(graph->config().dimension); offset += 64) {
    __builtin_prefetch(code + offset);
  }
}

void HnswIndex::State::Reach(std::uint32_t slot, CodesInOrder& pass) const {
  if (!may_lie_in_files()) return;
  pass.codes.Reach(graph->code(slot), VectorCodeBytes(graph->config().dimension));
  if (fine_codes) pass.fine_codes.Reach(fine_codes->row(slot), fine_codes->row_bytes());
}

double HnswIndex::State::DistanceTo(const VectorQuery& query, std::uint32_t slot) const {
  const char* code = graph->code(slot);
  if (!fine_codes) return query.DistanceToCode(code);
  return query.DistanceToFineCode(code, (*fine_codes)[slot].data(), fine_codes->squared_norm(slot));
}

Result<HnswIndex::Candidates> HnswIndex::SearchGraph(const VectorQuery& query, const VectorFilter* filter,
                                                     std::size_t ef, std::size_t wanted_count,
                                                     std::uint64_t snapshot_sequence) const {
  FORESHORE_RETURN_IF_ERROR(CheckUsable());
  const std::shared_ptr<const State> now = state();
  const std::shared_ptr<const SlotSet> set = filter != nullptr ? SlotsOf(*filter, now) : nullptr;
  const auto lock = now->graph->LockShared();
  // Garbage, and what does not pass, takes places among the candidates.
  const std::uint64_t node_count = std::max<std::uint64_t>(1, now->graph->node_count());
  std::uint64_t useful_count = node_count - std::min<std::uint64_t>(garbage_count_, node_count - 1);
  if (set) {
    useful_count = std::clamp<std::uint64_t>(set->slots.size(), 1, node_count);
    // How many pass varies; too few would mean another search.
    const double missing = 1 - static_cast<double>(useful_count) / static_cast<double>(node_count);
    const auto wanted = static_cast<double>(wanted_count);
    ef = std::max(ef, static_cast<std::size_t>(wanted + 2 * std::sqrt(wanted * missing)));
  }
  const std::size_t widened_ef = ef * node_count / useful_count;
  Result<std::vector<std::uint32_t>> slots = now->graph->Search(query.code(), widened_ef);
  if (!slots.ok()) return slots.status().WithContext(config_.name);
  Candidates candidates;
  candidates.graph_exhausted = slots->size() < widened_ef;
  if (set) {
    std::erase_if(*slots, [&](std::uint32_t slot) {
      return slot < set->end ? !set->Contains(slot) : !filter->Contains(now->entries[slot].docid);
    });
  }
  FORESHORE_RETURN_IF_ERROR(Settle(now, query, std::move(*slots), wanted_count, snapshot_sequence, candidates, true));
  return candidates;
}

Result<std::vector<VectorMatch>> HnswIndex::ScanAll(const VectorQuery& query, std::uint64_t snapshot_sequence) const {
  FORESHORE_RETURN_IF_ERROR(CheckUsable());
  const std::shared_ptr<const State> now = state();
  const auto lock = now->graph->LockShared();
  const std::uint32_t count = now->graph->node_count();
  std::vector<VectorMatch> matches;
  matches.reserve(count);
  State::CodesInOrder pass;
  for (std::uint32_t slot = 0; slot < count; ++slot) {
    const HnswEntry entry = now->entries[slot];
    if (!entry.VisibleAt(snapshot_sequence)) continue;
    now->Reach(slot, pass);
    FORESHORE_RETURN_IF_ERROR(now->CheckCodes(slot));
    matches.push_back({entry.docid, now->DistanceTo(query, slot)});
  }
  return matches;
}

}  // namespace foreshore
