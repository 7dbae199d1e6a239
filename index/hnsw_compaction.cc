// HnswIndex::Compact(): a second graph is built beside the first from the entries that some search may still see,
// while searches and changes go on; then the few that came meanwhile are added and the graphs change places.
#include <algorithm>
#include <exception>
#include <shared_mutex>
#include <utility>

#include "index/hnsw_index.h"
#include "index/vector_code.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kSlotsPerStep = 256;     // Copied under one shared lock.
constexpr std::uint32_t kSlotsLeftForSwap = 16;  // Few enough to insert while everybody waits.
constexpr int kCatchUpSteps = 100;               // Against a writer as fast as we are.

}  // namespace

struct HnswIndex::Compaction {
  std::unique_ptr<HnswGraph> graph;
  std::vector<std::uint32_t> old_slots;  // old_slots[slot of `graph`] is its slot in the index.
  std::uint32_t next_slot = 0;           // The first slot of the index that was not looked at.
  std::vector<char> codes;               // Of one step, end to end.
};

// Adds the live codes of the slots from compaction.next_slot on, up to those of now, except for the last few.
Status HnswIndex::BuildWithoutGarbage(Compaction& compaction) const {
  const std::size_t code_bytes = VectorCodeBytes(config_.dimension);
  for (int steps_at_end = 0; steps_at_end < kCatchUpSteps;) {
    compaction.codes.clear();
    std::uint32_t left_count = 0;
    {
      const std::shared_lock lock(mutex_);
      FORESHORE_RETURN_IF_ERROR(CheckUsableLocked());
      left_count = static_cast<std::uint32_t>(entries_.size()) - compaction.next_slot;
      if (left_count <= kSlotsLeftForSwap) return Status::Ok();
      const std::uint32_t end = compaction.next_slot + std::min(left_count, kSlotsPerStep);
      for (; compaction.next_slot < end; ++compaction.next_slot) {
        if (entries_[compaction.next_slot].died <= forgotten_seq_) continue;
        const char* code = graph_->code(compaction.next_slot);
        compaction.codes.insert(compaction.codes.end(), code, code + code_bytes);
        compaction.old_slots.push_back(compaction.next_slot);
      }
    }
    if (left_count <= kSlotsPerStep) ++steps_at_end;
    for (std::size_t offset = 0; offset < compaction.codes.size(); offset += code_bytes) {
      FORESHORE_RETURN_IF_ERROR(compaction.graph->Add(compaction.codes.data() + offset));
    }
  }
  return Status::Ok();
}

Status HnswIndex::Compact() {
  const std::unique_lock only(compact_mutex_, std::try_to_lock);
  if (!only.owns_lock()) return Status::Busy(config_.name + ": is being compacted already");
  try {
    Compaction compaction;
    std::uint32_t kept_count = 0;
    HnswGraphConfig graph_config;
    {
      const std::shared_lock lock(mutex_);
      kept_count = static_cast<std::uint32_t>(entries_.size() - garbage_count_);
      graph_config = graph_->config();
    }
    FORESHORE_ASSIGN_OR_RETURN(compaction.graph, HnswGraph::Create(graph_config, kept_count + kept_count / 8));
    FORESHORE_RETURN_IF_ERROR(BuildWithoutGarbage(compaction));

    const std::unique_lock lock(mutex_);
    FORESHORE_RETURN_IF_ERROR(CheckUsableLocked());
    for (std::uint32_t slot = compaction.next_slot; slot < entries_.size(); ++slot) {
      FORESHORE_RETURN_IF_ERROR(compaction.graph->Add(graph_->code(slot)));
      compaction.old_slots.push_back(slot);
    }
    // Read anew, because entries may have died since they were copied.
    std::vector<HnswEntry> entries;
    entries.reserve(compaction.old_slots.size());
    for (const std::uint32_t old_slot : compaction.old_slots) entries.push_back(entries_[old_slot]);
    graph_ = std::move(compaction.graph);
    entries_ = std::move(entries);
    CountLocked();
    return Status::Ok();
  } catch (const std::exception& exception) {
    return Status::Internal(config_.name + ": compacting: " + exception.what());
  }
}

}  // namespace foreshore
