// HnswIndex::Compact() and CompactSome(): a second graph is built beside the first from the entries that some search
// may still see, an insertion at a time, while searches and changes go on; with it a ledger of its own, which follows
// what dies meanwhile. Then the few entries that came last are added and the two change places, which are pointers.
// So the only work for which changes wait grows with a slice, never with the index.
#include <algorithm>
#include <exception>
#include <utility>

#include "index/hnsw_index.h"
#include "index/hnsw_layout.h"
#include "index/vector_code.h"

namespace foreshore {
namespace {

// Compacting pays when a third of the graph is garbage; below so many nodes it never matters.
constexpr std::uint64_t kGarbageMin = 256;
constexpr std::uint64_t kGarbageFraction = 3;
constexpr unsigned kChecksPerSlice = 256;        // Insertions, or runs of garbage, however slowly a clock goes.
constexpr unsigned kGarbagePerCheck = 256;       // Passed over between two looks at the clock.
constexpr std::uint32_t kSlotsLeftForSwap = 16;  // Few enough to insert while changes wait.
// Against a writer as fast as we are: after so many slices in a row that came no nearer to the end, it helps.
constexpr int kIdleSlicesMax = 16;

}  // namespace

struct HnswIndex::Compaction {
  std::shared_ptr<State> to;
  std::uint32_t next_slot = 0;         // The first slot of `from` that was not looked at.
  std::vector<std::uint32_t> pending;  // Slots that `to` has nodes of behind those of old_slots.
  std::vector<char> code;              // Scratch.
  State::CodesInOrder pass;            // Over `from`.
  std::uint32_t left_count_min = UINT32_MAX;
  int idle_slice_count = 0;

  // Guarded by write_mutex_; and so is what stands above, once it catches up, and by compact_mutex_ before.
  bool is_catching_up = false;  // Slices hold write_mutex_, and who inserts takes over as many entries himself.
  Status failure;               // Of that.
  std::shared_ptr<State> from;
  HnswLedger ledger;                     // Of `to`.
  std::vector<std::uint32_t> old_slots;  // old_slots[slot of `to`] is its slot in `from`; ascending.
  std::uint64_t state_bytes = 0;         // What `to` occupied when it was last at rest,
  std::uint64_t scratch_bytes = 0;       // and what of it lay in unnamed files.
};

void HnswIndex::CompactionDelete::operator()(Compaction* compaction) const {
  delete compaction;
}

bool HnswIndex::ShouldCompact() const {
  const std::lock_guard lock(write_mutex_);
  return garbage_count_ >= kGarbageMin && garbage_count_ * kGarbageFraction >= state()->graph->node_count();
}

VectorRepair HnswIndex::repair() const {
  const std::lock_guard lock(write_mutex_);
  return repair_;
}

// What a compaction keeps beside the graph that is searched.
std::uint64_t HnswIndex::CompactionBytesLocked() const {
  if (!compaction_) return 0;
  return compaction_->state_bytes + compaction_->ledger.memory_bytes() +
         compaction_->old_slots.size() * sizeof(std::uint32_t);
}

std::uint64_t HnswIndex::CompactionScratchBytesLocked() const {
  return compaction_ ? compaction_->scratch_bytes : 0;
}

// Whether the rows of a second graph of so many nodes have to lie in files, for what they would take beside what there
// is. hnswlib's are in memory always.
bool HnswIndex::IsBeyondBudget(const HnswGraphConfig& config, std::uint32_t node_count) const {
  if (config_.memory_bytes_max == 0 || config.scratch_folder.empty()) return false;
  if (config.kind != VectorGraphKind::kFlat) return false;
  // Rows are as long in memory as in a snapshot.
  const HnswLayout layout(config, config_.precision, {node_count, node_count / config.links_per_node, 0});
  return memory_bytes() + layout.file_bytes() + node_count * sizeof(HnswEntry) > config_.memory_bytes_max;
}

Status HnswIndex::BeginCompaction() {
  CompactionPointer compaction(new Compaction());
  compaction->from = state();
  compaction->to = std::make_shared<State>();
  const HnswGraph& graph = *compaction->from->graph;
  const std::uint32_t node_count = graph.node_count();
  const auto kept_count = static_cast<std::uint32_t>(node_count - std::min<std::uint64_t>(garbage_count_, node_count));
  const std::uint32_t capacity = kept_count + kept_count / 8;
  HnswGraphConfig config = graph.config();
  if (IsCentred(config)) {
    std::vector<const void*> codes;
    for (std::uint32_t slot = 0; slot < node_count; ++slot) {
      if (compaction->from->entries[slot].died > forgotten_seq_) codes.push_back(graph.code(slot));
    }
    config = Centred(config, codes);
  }
  config.is_all_scratch = IsBeyondBudget(config, kept_count);
  FORESHORE_ASSIGN_OR_RETURN(compaction->to->graph, HnswGraph::Create(config, capacity));
  if (config.is_all_scratch) compaction->to->entries = HnswEntries(config.scratch_folder);
  if (compaction->from->fine_codes) compaction->to->fine_codes.emplace(config_.dimension, config.scratch_folder);
  compaction->code.resize(VectorCodeBytes(config_.dimension));
  compaction->ledger.live.reserve(kept_count);
  compaction->old_slots.reserve(capacity);
  const std::lock_guard lock(write_mutex_);
  repair_.done_count = 0;
  repair_.total_count = node_count;
  compaction_ = std::move(compaction);
  return Status::Ok();
}

// Gives `to` a node for each slot of `from` up to `end` that is no garbage, until `is_over`. Only our own slices look
// at what this changes. Codes of hnswlib's graph move, so that each is copied under its lock.
Status HnswIndex::InsertSome(const State& from, const std::function<bool()>& is_over, std::uint32_t end) {
  Compaction& compaction = *compaction_;
  unsigned garbage_count = 0;
  while (compaction.next_slot < end) {
    const std::uint32_t slot = compaction.next_slot;
    if (from.entries[slot].died <= forgotten_seq_) {
      ++compaction.next_slot;
      if (++garbage_count % kGarbagePerCheck == 0 && is_over()) break;
      continue;
    }
    {
      const auto lock = from.graph->LockShared();
      from.Reach(slot, compaction.pass);
      FORESHORE_RETURN_IF_ERROR(from.CheckCodes(slot));
      std::copy_n(from.graph->code(slot), compaction.code.size(), compaction.code.data());
    }
    FORESHORE_RETURN_IF_ERROR(compaction.to->graph->Add(compaction.code.data()));
    compaction.pending.push_back(slot);
    ++compaction.next_slot;
    if (is_over()) break;
  }
  return Status::Ok();
}

// Says who the new nodes are: now, because entries may have died since their codes were taken over.
void HnswIndex::RecordInsertedLocked() {
  Compaction& compaction = *compaction_;
  for (const std::uint32_t old_slot : compaction.pending) {
    const auto slot = static_cast<std::uint32_t>(compaction.old_slots.size());
    const HnswEntry entry = compaction.from->entries[old_slot];
    compaction.to->entries.Put(slot, entry);
    if (compaction.from->fine_codes) {
      const std::span<const std::int8_t> codes(CodeValues(compaction.to->graph->code(slot)), config_.dimension);
      compaction.to->fine_codes->Put(slot, codes, (*compaction.from->fine_codes)[old_slot]);
    }
    compaction.ledger.Add(slot, entry, forgotten_seq_);
    compaction.old_slots.push_back(old_slot);
  }
  compaction.pending.clear();
  compaction.state_bytes = compaction.to->memory_bytes();
  compaction.scratch_bytes = compaction.to->scratch_bytes();
  repair_.done_count = compaction.next_slot;
  repair_.total_count = compaction.from->graph->node_count();
}

// The document's live slots died in the graph that is searched: so do those that were taken over.
void HnswIndex::FollowKillLocked(std::int64_t docid, std::uint32_t first, std::uint32_t end, std::uint64_t sequence) {
  if (!compaction_) return;
  const std::vector<std::uint32_t>& old_slots = compaction_->old_slots;
  const auto begin = std::lower_bound(old_slots.begin(), old_slots.end(), first);
  const auto to_first = static_cast<std::uint32_t>(begin - old_slots.begin());
  std::uint32_t to_end = to_first;
  while (to_end < old_slots.size() && old_slots[to_end] < end) compaction_->to->entries.StoreDied(to_end++, sequence);
  if (to_end > to_first) compaction_->ledger.Kill(docid, to_first, to_end, sequence, forgotten_seq_);
}

void HnswIndex::FollowForgetLocked() {
  if (compaction_) compaction_->ledger.Forget(forgotten_seq_, compaction_->to->entries);
}

// The graph that is searched was written and mapped: its slots are those of before.
void HnswIndex::FollowRemapLocked(const State& before) {
  if (compaction_ && compaction_->from.get() == &before) compaction_->from = state();
}

// Where the compaction catches up, whoever inserted `count` entries takes over one more than that, so that what is left
// becomes less whatever the writers do.
void HnswIndex::HelpCompactionLocked(std::size_t count, unsigned thread_count) {
  if (!compaction_ || !compaction_->is_catching_up || !compaction_->failure.ok()) return;
  Compaction& compaction = *compaction_;
  const State& from = *compaction.from;
  compaction.failure = [&]() -> Status {
    if (state().get() != &from) return Status::Ok();  // The next slice will see.
    std::vector<const void*> codes;
    for (; compaction.next_slot < from.graph->node_count() && codes.size() <= count; ++compaction.next_slot) {
      if (from.entries[compaction.next_slot].died <= forgotten_seq_) continue;
      FORESHORE_RETURN_IF_ERROR(from.CheckCodes(compaction.next_slot));
      codes.push_back(from.graph->code(compaction.next_slot));
      compaction.pending.push_back(compaction.next_slot);
    }
    FORESHORE_RETURN_IF_ERROR(compaction.to->graph->AddMany(codes, thread_count));
    RecordInsertedLocked();
    return Status::Ok();
  }();
}

// With write_mutex_: the last few, and then the graphs change places. `dropped` takes what is left.
Status HnswIndex::CatchUpAndSwapLocked(const std::function<bool()>& is_over, CompactionPointer& dropped) {
  FORESHORE_RETURN_IF_ERROR(CheckUsable());
  FORESHORE_RETURN_IF_ERROR(compaction_->failure);
  if (state() != compaction_->from) return Status::Busy(config_.name + ": was given its mean meanwhile");
  const std::uint32_t node_count = compaction_->from->graph->node_count();
  FORESHORE_RETURN_IF_ERROR(InsertSome(*compaction_->from, is_over, node_count));
  RecordInsertedLocked();
  if (compaction_->next_slot < node_count) return Status::Ok();
  repair_.reclaimed_count += node_count - compaction_->old_slots.size();
  SwapInLocked(compaction_->to, compaction_->ledger);
  ForgetSavedLocked();  // Slots have other numbers now.
  dropped = std::move(compaction_);
  return Status::Ok();
}

// With compact_mutex_. kBusy where the graph was replaced by another meanwhile, and what was done is lost.
Status HnswIndex::RunSlice(Clock* clock, std::int64_t budget_us, bool& has_more) {
  const auto now_us = [clock] { return clock == nullptr ? 0 : clock->NowMonotonicUs(); };
  const std::int64_t begin_us = now_us();
  unsigned check_count = 0;
  const auto is_over = [&] {
    return ++check_count >= kChecksPerSlice || (clock != nullptr && now_us() - begin_us >= budget_us);
  };
  if (!compaction_) FORESHORE_RETURN_IF_ERROR(BeginCompaction());
  Compaction& compaction = *compaction_;
  std::shared_ptr<State> from;
  bool is_catching_up = false;
  std::uint32_t end = 0;
  {
    const std::lock_guard lock(write_mutex_);
    from = compaction.from;
    if (state() != from) return Status::Busy(config_.name + ": was given its mean meanwhile");
    end = from->graph->node_count();
    const std::uint32_t left_count = end - compaction.next_slot;
    compaction.idle_slice_count = left_count < compaction.left_count_min ? 0 : compaction.idle_slice_count + 1;
    compaction.left_count_min = std::min(compaction.left_count_min, left_count);
    if (left_count <= kSlotsLeftForSwap || compaction.idle_slice_count >= kIdleSlicesMax)
      compaction.is_catching_up = true;
    is_catching_up = compaction.is_catching_up;
  }
  if (!is_catching_up) {
    FORESHORE_RETURN_IF_ERROR(CheckUsable());
    FORESHORE_RETURN_IF_ERROR(InsertSome(*from, is_over, end));
  }
  CompactionPointer dropped;  // Destroyed after the lock was released.
  const std::lock_guard lock(write_mutex_);
  const std::int64_t hold_begin_us = now_us();
  if (is_catching_up) {
    FORESHORE_RETURN_IF_ERROR(CatchUpAndSwapLocked(is_over, dropped));
  } else {
    RecordInsertedLocked();
  }
  has_more = compaction_ != nullptr;
  if (clock == nullptr) return Status::Ok();
  const std::int64_t end_us = now_us();
  ++repair_.slice_count;
  repair_.slice_us_max = std::max(repair_.slice_us_max, end_us - begin_us);
  repair_.hold_us_max = std::max(repair_.hold_us_max, end_us - hold_begin_us);
  return Status::Ok();
}

Result<bool> HnswIndex::RunSliceOrDrop(Clock* clock, std::int64_t budget_us) {
  bool has_more = false;
  Status done;
  try {
    done = RunSlice(clock, budget_us, has_more);
  } catch (const std::exception& exception) {
    done = Status::Internal(config_.name + ": compacting: " + exception.what());
  }
  if (done.ok() && has_more) return true;
  CompactionPointer dropped;
  const std::lock_guard lock(write_mutex_);
  dropped = std::move(compaction_);
  repair_.done_count = 0;
  repair_.total_count = 0;
  if (!done.ok()) return done;
  return false;
}

Status HnswIndex::Compact() {
  if (is_compacting_whole_.exchange(true)) return Status::Busy(config_.name + ": is being compacted already");
  const std::lock_guard only(compact_mutex_);
  while (true) {
    const Result<bool> has_more = RunSliceOrDrop(nullptr, 0);
    if (has_more.ok() && *has_more) continue;
    if (has_more.status().code() == ErrorCode::kBusy) continue;  // Once more from the beginning.
    is_compacting_whole_ = false;
    return has_more.ok() ? Status::Ok() : has_more.status();
  }
}

Result<bool> HnswIndex::CompactSome(Clock& clock, std::int64_t budget_us) {
  const std::unique_lock only(compact_mutex_, std::try_to_lock);
  if (!only.owns_lock()) return false;  // Somebody does all of it.
  if (!compaction_ && !ShouldCompact()) return false;
  Result<bool> has_more = RunSliceOrDrop(&clock, budget_us);
  if (!has_more.ok() && has_more.status().code() == ErrorCode::kBusy) return true;  // Once more from the beginning.
  return has_more;
}

}  // namespace foreshore
