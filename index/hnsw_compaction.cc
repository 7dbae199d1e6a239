// HnswIndex::Compact(): a second graph is built beside the first from the entries that some search may still see,
// while searches and changes go on; then the few that came meanwhile are added and the graphs change places.
#include <algorithm>
#include <exception>
#include <utility>

#include "index/hnsw_index.h"
#include "index/vector_code.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kSlotsPerStep = 1024;    // Inserted at a time.
constexpr std::uint32_t kSlotsLeftForSwap = 16;  // Few enough to insert while changes wait.
constexpr int kCatchUpSteps = 100;               // Against a writer as fast as we are.

}  // namespace

struct HnswIndex::Compaction {
  std::shared_ptr<State> from;
  std::shared_ptr<State> to;
  std::uint64_t forgotten_seq = 0;
  std::vector<std::uint32_t> old_slots;  // old_slots[slot of `to`] is its slot in `from`.
  std::uint32_t next_slot = 0;           // The first slot of `from` that was not looked at.

  // The graph's configuration, with the mean of what is taken over if that matters.
  HnswGraphConfig ConfigFor(const HnswIndex& index) const {
    const auto lock = from->graph->LockShared();
    if (!index.IsCentred(from->graph->config())) return from->graph->config();
    std::vector<const void*> codes;
    for (std::uint32_t slot = 0; slot < from->graph->node_count(); ++slot) {
      if (from->entries[slot].died > forgotten_seq) codes.push_back(from->graph->code(slot));
    }
    return index.Centred(from->graph->config(), codes);
  }

  // Takes over the slots up to `end` but for garbage. Codes never move or change; over hnswlib's graph they do, so that
  // its lock is held.
  Status AddUpTo(std::uint32_t end) {
    const auto lock = from->graph->LockShared();
    std::vector<const void*> codes;
    for (; next_slot < end; ++next_slot) {
      if (from->entries[next_slot].died <= forgotten_seq) continue;
      FORESHORE_RETURN_IF_ERROR(from->CheckCodes(next_slot));
      codes.push_back(from->graph->code(next_slot));
      old_slots.push_back(next_slot);
    }
    return to->graph->AddMany(codes, 1);
  }
};

// Takes over all but the last few of the slots that there are.
Status HnswIndex::BuildWithoutGarbage(Compaction& compaction) const {
  for (int steps_at_end = 0; steps_at_end < kCatchUpSteps;) {
    FORESHORE_RETURN_IF_ERROR(CheckUsable());
    const std::uint32_t left_count = compaction.from->graph->node_count() - compaction.next_slot;
    if (left_count <= kSlotsLeftForSwap) return Status::Ok();
    FORESHORE_RETURN_IF_ERROR(compaction.AddUpTo(compaction.next_slot + std::min(left_count, kSlotsPerStep)));
    if (left_count <= kSlotsPerStep) ++steps_at_end;
  }
  return Status::Ok();
}

Status HnswIndex::Compact() {
  const std::unique_lock only(compact_mutex_, std::try_to_lock);
  if (!only.owns_lock()) return Status::Busy(config_.name + ": is being compacted already");
  try {
    Compaction compaction;
    compaction.from = state();
    compaction.to = std::make_shared<State>();
    std::uint32_t kept_count = 0;
    {
      const std::lock_guard lock(write_mutex_);
      kept_count = static_cast<std::uint32_t>(compaction.from->graph->node_count() - garbage_count_);
      compaction.forgotten_seq = forgotten_seq_;
    }
    const std::uint32_t capacity = kept_count + kept_count / 8;
    FORESHORE_ASSIGN_OR_RETURN(compaction.to->graph, HnswGraph::Create(compaction.ConfigFor(*this), capacity));
    if (compaction.from->fine_codes) compaction.to->fine_codes.emplace(config_.dimension);
    FORESHORE_RETURN_IF_ERROR(BuildWithoutGarbage(compaction));

    const std::lock_guard lock(write_mutex_);
    FORESHORE_RETURN_IF_ERROR(CheckUsable());
    if (state() != compaction.from) return Status::Busy(config_.name + ": was given its mean meanwhile");
    FORESHORE_RETURN_IF_ERROR(compaction.AddUpTo(compaction.from->graph->node_count()));
    // Read now, because entries may have died since their codes were taken over.
    for (std::uint32_t slot = 0; slot < compaction.old_slots.size(); ++slot) {
      const std::uint32_t old_slot = compaction.old_slots[slot];
      compaction.to->entries.Put(slot, compaction.from->entries[old_slot]);
      if (!compaction.from->fine_codes) continue;
      const std::span<const std::int8_t> codes(CodeValues(compaction.to->graph->code(slot)), config_.dimension);
      compaction.to->fine_codes->Put(slot, codes, (*compaction.from->fine_codes)[old_slot]);
    }
    AdoptLocked(std::move(compaction.to));
    ForgetSavedLocked();  // Slots have other numbers now.
    return Status::Ok();
  } catch (const std::exception& exception) {
    return Status::Internal(config_.name + ": compacting: " + exception.what());
  }
}

}  // namespace foreshore
