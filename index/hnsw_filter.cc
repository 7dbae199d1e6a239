// Searches of HnswIndex among some documents: which slots these are, and what is near among them.
#include <algorithm>
#include <shared_mutex>
#include <utility>

#include "index/hnsw_cursor.h"
#include "index/hnsw_index.h"
#include "index/quantizer.h"

namespace foreshore {
namespace {

constexpr std::size_t kPrefetchAhead = 8;  // Slots, in a scan of some.
// One look-up of a document costs about as much as looking at so many entries in the order of memory.
constexpr std::size_t kEntriesPerLookUp = 16;
// Slots that came after a set was made are looked at one by one, up to this many and this part of all.
constexpr std::uint32_t kNewSlotsMax = 1024;
constexpr std::uint32_t kNewSlotsFraction = 64;

}  // namespace

// Every slot of the documents that a search in some snapshot may see. Such slots never change hands, so that the set
// serves all snapshots, and later ones too: what was inserted since is looked at apart.
std::shared_ptr<const SlotSet> HnswIndex::SlotsOf(const VectorFilter& filter,
                                                  const std::shared_ptr<const State>& now) const {
  {
    const std::lock_guard lock(filter.mutex_);
    const std::shared_ptr<const SlotSet>& kept = filter.slots_;
    const std::uint32_t node_count = now->graph->node_count();
    if (kept && kept->of.lock() == now &&
        node_count - kept->end <= std::max(kNewSlotsMax, node_count / kNewSlotsFraction)) {
      return kept;
    }
  }
  auto made = std::make_shared<SlotSet>();
  made->of = now;
  made->end = now->graph->node_count();
  made->slots.reserve(filter.size());
  bool is_found = false;
  if (filter.size() < made->end / kEntriesPerLookUp) {
    const std::shared_lock live_lock(live_mutex_);
    is_found = state() == now;  // Else the maps are of another graph.
    if (is_found) FindSlotsByDocids(filter, *now, *made);
  }
  if (!is_found) FindSlotsByEntries(filter, *now, *made);
  made->bits.assign((made->end + std::size_t{63}) / 64, 0);
  for (const std::uint32_t slot : made->slots) made->bits[slot / 64] |= std::uint64_t{1} << (slot % 64);
  const std::lock_guard lock(filter.mutex_);
  filter.slots_ = made;
  return made;
}

void HnswIndex::FindSlotsByDocids(const VectorFilter& filter, const State& now, SlotSet& set) const {
  const auto add = [&](std::uint32_t slot) {
    if (slot < set.end) set.slots.push_back(slot);
  };
  for (const std::int64_t docid : filter.docids()) {
    if (const std::uint32_t live = FindLive(now, docid); live < set.end) {
      const std::uint32_t end = now.LiveEnd(live, set.end);
      for (std::uint32_t slot = live; slot < end; ++slot) add(slot);
    }
    const auto [first, last] = ledger_.superseded.equal_range(docid);
    for (auto it = first; it != last; ++it) add(it->second);
  }
  std::sort(set.slots.begin(), set.slots.end());  // In the order of memory.
}

void HnswIndex::FindSlotsByEntries(const VectorFilter& filter, const State& now, SlotSet& set) const {
  const std::uint64_t forgotten = forgotten_seq_;
  for (std::uint32_t slot = 0; slot < set.end; ++slot) {
    const HnswEntry entry = now.entries[slot];
    if (filter.Contains(entry.docid) && entry.died > forgotten) set.slots.push_back(slot);
  }
}

// Calls visit(slot) for what is visible of the filter's documents among the slots that came after `set` was made.
template <typename Visit>
void HnswIndex::ForEachNewSlot(const State& now, const VectorFilter& filter, const SlotSet& set,
                               std::uint64_t snapshot_sequence, Visit visit) const {
  const std::uint32_t node_count = now.graph->node_count();
  for (std::uint32_t slot = set.end; slot < node_count; ++slot) {
    const HnswEntry entry = now.entries[slot];
    if (entry.VisibleAt(snapshot_sequence) && filter.Contains(entry.docid)) visit(slot);
  }
}

Result<HnswIndex::Candidates> HnswIndex::SearchAmong(const VectorQuery& query, const VectorFilter& filter,
                                                     const HnswPlan& plan, std::size_t wanted_count,
                                                     std::uint64_t snapshot_sequence) const {
  FORESHORE_RETURN_IF_ERROR(CheckUsable());
  const std::shared_ptr<const State> now = state();
  const std::shared_ptr<const SlotSet> set = SlotsOf(filter, now);
  const auto lock = now->graph->LockShared();
  Result<std::vector<std::uint32_t>> slots =
      now->graph->SearchAmong(query.code(), plan.ef, plan.far_ef, *set, plan.visits_max);
  if (!slots.ok()) return slots.status().WithContext(config_.name);
  Candidates candidates;
  // A scan is as quick where the set is hardly larger than what was asked for.
  candidates.gave_up = slots->size() < plan.ef;
  if (candidates.gave_up) return candidates;
  FORESHORE_RETURN_IF_ERROR(Settle(now, query, std::move(*slots), wanted_count, snapshot_sequence, candidates, true));
  FORESHORE_RETURN_IF_ERROR(AddNewSlots(*now, query, filter, *set, snapshot_sequence, candidates));
  return candidates;
}

Result<HnswIndex::Candidates> HnswIndex::NearestAmong(const VectorQuery& query, const VectorFilter& filter,
                                                      std::size_t count, std::size_t wanted_count,
                                                      std::uint64_t snapshot_sequence) const {
  FORESHORE_RETURN_IF_ERROR(CheckUsable());
  const std::shared_ptr<const State> now = state();
  const std::shared_ptr<const SlotSet> set = SlotsOf(filter, now);
  const auto lock = now->graph->LockShared();
  // All of them count here, so that no damage may hide one.
  if (now->image) {
    for (std::size_t i = 0; i < set->slots.size(); ++i) {
      if (i + kPrefetchAhead < set->slots.size()) now->image->WantCodes(set->slots[i + kPrefetchAhead]);
      FORESHORE_RETURN_IF_ERROR(now->CheckCodes(set->slots[i]));
    }
  }
  Result<std::vector<std::uint32_t>> slots = now->graph->NearestOf(query.code(), set->slots, count);
  if (!slots.ok()) return slots.status().WithContext(config_.name);
  Candidates candidates;
  FORESHORE_RETURN_IF_ERROR(Settle(now, query, std::move(*slots), wanted_count, snapshot_sequence, candidates, false));
  FORESHORE_RETURN_IF_ERROR(AddNewSlots(*now, query, filter, *set, snapshot_sequence, candidates));
  return candidates;
}

// Those that are not farther than what is settled: the others come with the rest.
Status HnswIndex::AddNewSlots(const State& now, const VectorQuery& query, const VectorFilter& filter,
                              const SlotSet& set, std::uint64_t snapshot_sequence, Candidates& candidates) const {
  std::vector<VectorMatch>& settled = candidates.settled;
  if (settled.empty()) return Status::Ok();
  const double farthest = settled.back().distance;
  const std::size_t old_count = settled.size();
  ForEachNewSlot(now, filter, set, snapshot_sequence, [&](std::uint32_t slot) {
    const VectorMatch match{now.entries[slot].docid, now.DistanceTo(query, slot)};
    if (match.distance <= farthest) settled.push_back(match);
  });
  if (settled.size() != old_count) std::sort(settled.begin(), settled.end(), &IsNearer);
  return Status::Ok();
}

Result<std::vector<VectorMatch>> HnswIndex::ScanAmong(const VectorQuery& query, const VectorFilter& filter,
                                                      std::uint64_t snapshot_sequence) const {
  FORESHORE_RETURN_IF_ERROR(CheckUsable());
  const std::shared_ptr<const State> now = state();
  const std::shared_ptr<const SlotSet> set = SlotsOf(filter, now);
  const auto lock = now->graph->LockShared();
  const std::vector<std::uint32_t>& slots = set->slots;
  std::vector<VectorMatch> matches;
  matches.reserve(slots.size());
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (i + kPrefetchAhead < slots.size()) now->Prefetch(slots[i + kPrefetchAhead]);
    const HnswEntry entry = now->entries[slots[i]];
    if (!entry.VisibleAt(snapshot_sequence)) continue;
    FORESHORE_RETURN_IF_ERROR(now->CheckCodes(slots[i]));
    matches.push_back({entry.docid, now->DistanceTo(query, slots[i])});
  }
  ForEachNewSlot(*now, filter, *set, snapshot_sequence, [&](std::uint32_t slot) {
    matches.push_back({now->entries[slot].docid, now->DistanceTo(query, slot)});
  });
  return matches;
}

}  // namespace foreshore
