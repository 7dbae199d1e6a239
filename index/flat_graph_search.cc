// Walking a FlatGraph towards a code.
#include <algorithm>
#include <exception>
#include <utility>

#include "index/flat_graph.h"

namespace foreshore {
FlatGraph::BorrowedScratch::BorrowedScratch(const FlatGraph& graph) : graph_(graph) {
  const std::lock_guard lock(graph.scratch_mutex_);
  if (graph.scratch_.empty()) {
    scratch_ = std::make_unique<Scratch>();
    graph.scratch_.reserve(64);  // So that giving back does not allocate, short of 64 searches at once.
  } else {
    scratch_ = std::move(graph.scratch_.back());
    graph.scratch_.pop_back();
  }
}

FlatGraph::BorrowedScratch::~BorrowedScratch() {
  const std::lock_guard lock(graph_.scratch_mutex_);
  if (graph_.scratch_.size() < graph_.scratch_.capacity()) graph_.scratch_.push_back(std::move(scratch_));
}

// What a walk towards `code` compares with; valid until the next one in this scratch.
FlatGraph::Target FlatGraph::TargetOf(const void* code, Scratch& scratch) const {
  if (!small_) return {code};
  scratch.query.resize(small_->query_bytes());
  small_->PrepareQuery(code, scratch.query.data());
  return {scratch.query.data(), true};
}

// Of the first four slots; where there are fewer, what stands behind them is of the last.
void FlatGraph::ProximityOfSome(Target target, std::span<const std::uint32_t> slots, float proximities[4]) const {
  const std::size_t last = slots.size() - 1;
  const SegmentedRows& rows = target.is_small ? small_rows_ : codes_;
  const void* const codes[4] = {rows[slots[0]], rows[slots[std::min<std::size_t>(1, last)]],
                                rows[slots[std::min<std::size_t>(2, last)]],
                                rows[slots[std::min<std::size_t>(3, last)]]};
  if (target.is_small) {
    small_->ProximityOfFour(target.bytes, codes, proximities);
  } else {
    space_.ProximityOfFour(target.bytes, codes, proximities);
  }
}

// From `from` ever nearer to the target, on each level from `from_level` to above `to_level`.
std::uint32_t FlatGraph::Descend(Target target, std::uint32_t from, int from_level, int to_level) const {
  const auto proximity_of = [&](std::uint32_t slot) {
    if (!target.is_small) return space_.Proximity(target.bytes, codes_[slot]);
    float proximities[4];
    ProximityOfSome(target, {&slot, 1}, proximities);
    return proximities[0];
  };
  float proximity = proximity_of(from);
  for (int at = from_level; at > to_level; --at) {
    for (bool moved = true; moved;) {
      moved = false;
      ForEachLink(from, at, [&](std::uint32_t link) {
        const float other = proximity_of(link);
        if (!(other < proximity)) return;  // What is no number (a damaged code) leads nowhere.
        proximity = other;
        from = link;
        moved = true;
      });
    }
  }
  return from;
}

void FlatGraph::CollectUnvisited(Target target, std::uint32_t slot, int level, Scratch& scratch) const {
  const std::uint32_t* row = Row(slot, level);
  const std::uint32_t count_max = links_max(level);
  std::vector<std::uint32_t>& unscored = scratch.unscored;
  const std::size_t before = unscored.size();
  unscored.resize(before + count_max);
  std::uint32_t* const first = unscored.data() + before;
  std::size_t count = 0;
  for (std::uint32_t i = 0; i < count_max; ++i) {
    const std::uint32_t link = __atomic_load_n(row + i, __ATOMIC_ACQUIRE);
    if (link >= scratch.slot_count) {
      if (link == kNoSlot) break;
      continue;
    }
    std::uint64_t& word = scratch.visited[link / 64];
    const std::uint64_t seen = word;
    first[count] = link;
    count += 1 - ((seen >> (link % 64)) & 1);
    word = seen | (std::uint64_t{1} << (link % 64));
  }
  unscored.resize(before + count);
  scratch.met.insert(scratch.met.end(), unscored.begin() + static_cast<std::ptrdiff_t>(before), unscored.end());
  WantRows(target.is_small ? kSmallCodeArea : kCodeArea, {first, count});
  const RowPrefetch prefetch = PrefetchFor(target);
  for (std::size_t i = 0; i < count; ++i) prefetch(first[i]);
}

// Behind all that are as near, or nearer. The comparisons come out either way equally often, so none of them is a
// branch.
std::size_t FlatGraph::PlaceOf(float proximity, std::span<const Candidate> pool) {
  std::size_t place = 0;
  for (std::size_t count = pool.size(); count > 0;) {
    const std::size_t half = (count + 1) / 2;
    place += half * static_cast<std::size_t>(!(proximity < pool[place + half - 1].proximity));
    count -= half;
  }
  return place;
}

// Puts what was collected into the pool where it is among the `ef` nearest; `next` moves back to the first new one.
void FlatGraph::ScoreCollected(Target target, std::size_t ef, Scratch& scratch, std::size_t& next) const {
  std::vector<Candidate>& pool = scratch.pool;
  const std::span<const std::uint32_t> slots = scratch.unscored;
  for (std::size_t first = 0; first < slots.size(); first += 4) {
    float proximities[4];
    ProximityOfSome(target, slots.subspan(first), proximities);
    for (std::size_t i = 0; i < std::min<std::size_t>(4, slots.size() - first); ++i) {
      if (pool.size() >= ef) {
        if (proximities[i] >= pool.back().proximity) continue;
        pool.pop_back();
      }
      const std::size_t place = PlaceOf(proximities[i], pool);
      next = std::min(next, place);
      pool.insert(pool.begin() + static_cast<std::ptrdiff_t>(place), {proximities[i], slots[first + i]});
      base_links_.Prefetch(slots[first + i]);  // It may be the next hop.
      WantRows(kBaseLinkArea, slots.subspan(first + i, 1));
    }
  }
}

void FlatGraph::ClearVisited(Scratch& scratch) const {
  if (scratch.met.size() * 8 > scratch.visited.size()) {
    std::fill(scratch.visited.begin(), scratch.visited.end(), 0);
  } else {
    for (const std::uint32_t slot : scratch.met) scratch.visited[slot / 64] = 0;
  }
  scratch.met.clear();
}

// Puts a pool that small codes made in the order of the codes.
void FlatGraph::Rescore(const void* code, std::vector<Candidate>& pool) const {
  constexpr std::size_t kPrefetchAhead = 8;
  for (const Candidate& candidate : pool) WantRows(kCodeArea, {&candidate.slot, 1});
  for (std::size_t i = 0; i < std::min(kPrefetchAhead, pool.size()); ++i) codes_.Prefetch(pool[i].slot);
  for (std::size_t first = 0; first < pool.size(); first += 4) {
    const std::size_t count = std::min<std::size_t>(4, pool.size() - first);
    std::uint32_t slots[4];
    for (std::size_t i = 0; i < count; ++i) slots[i] = pool[first + i].slot;
    for (std::size_t i = first + kPrefetchAhead; i < std::min(first + kPrefetchAhead + 4, pool.size()); ++i) {
      codes_.Prefetch(pool[i].slot);
    }
    float proximities[4];
    ProximityOfSome({code}, {slots, count}, proximities);
    for (std::size_t i = 0; i < count; ++i) pool[first + i].proximity = proximities[i];
  }
  std::sort(pool.begin(), pool.end(), [](const Candidate& a, const Candidate& b) {
    return a.proximity != b.proximity ? a.proximity < b.proximity : a.slot < b.slot;
  });
}

// Collects by one of the next few candidates too, as if it were its turn: memory answers more requests at once than one
// row of links makes, and it mostly will be.
void FlatGraph::ExpandAnother(Target target, std::size_t from, int level, Scratch& scratch) const {
  constexpr std::size_t kLookedAt = 3;
  const std::size_t end = std::min(scratch.pool.size(), from + kLookedAt);
  for (std::size_t i = from; i < end; ++i) {
    const std::uint32_t slot = scratch.pool[i].slot;
    if ((slot & kExpanded) != 0) continue;
    scratch.pool[i].slot |= kExpanded;
    CollectUnvisited(target, slot, level, scratch);
    return;
  }
}

// Leaves the up to `ef` nearest to the target that it finds in scratch.pool.
void FlatGraph::SearchLevel(Target target, std::uint32_t from, int level, std::size_t ef, Scratch& scratch) const {
  ClearVisited(scratch);  // Of a search that ended by an exception, else there is nothing to clear.
  scratch.slot_count = node_count();
  scratch.visited.resize((scratch.slot_count + std::size_t{63}) / 64, 0);
  scratch.pool.clear();
  float proximities[4];
  ProximityOfSome(target, {&from, 1}, proximities);
  scratch.pool.push_back({proximities[0], from});
  scratch.met.push_back(from);
  scratch.visited[from / 64] |= std::uint64_t{1} << (from % 64);
  for (std::size_t next = 0; next < scratch.pool.size();) {
    Candidate& candidate = scratch.pool[next];
    if ((candidate.slot & kExpanded) != 0) {
      ++next;
      continue;
    }
    const std::uint32_t slot = candidate.slot;
    candidate.slot |= kExpanded;
    scratch.unscored.clear();
    CollectUnvisited(target, slot, level, scratch);
    ExpandAnother(target, next + 1, level, scratch);
    ScoreCollected(target, ef, scratch, next);
  }
  ClearVisited(scratch);
  for (Candidate& candidate : scratch.pool) candidate.slot &= ~kExpanded;
}

std::vector<std::uint32_t> FlatGraph::SlotsOf(std::span<const Candidate> pool) {
  std::vector<std::uint32_t> slots;
  slots.reserve(pool.size());
  for (const Candidate& candidate : pool) slots.push_back(candidate.slot);
  return slots;
}

Result<std::vector<std::uint32_t>> FlatGraph::Search(const void* code, std::size_t ef) const {
  try {
    const std::uint32_t entry = entry_point();
    if (entry == kNoSlot || ef == 0) return std::vector<std::uint32_t>();
    BorrowedScratch scratch(*this);
    const Target target = TargetOf(code, *scratch);
    const std::uint32_t near = Descend(target, entry, level(entry), 0);
    SearchLevel(target, near, 0, ef, *scratch);
    return SlotsOf((*scratch).pool);
  } catch (const std::exception& exception) {
    return GraphFailure("searching the graph", exception);
  }
}

}  // namespace foreshore
