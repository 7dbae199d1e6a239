// Walking a FlatGraph towards a code.
#include <algorithm>
#include <exception>
#include <utility>

#include "index/flat_graph.h"

namespace foreshore {
namespace {

// Slots end below it (kHnswNodeCountMax), so that a candidate can carry whether its links were followed.
constexpr std::uint32_t kExpanded = 0x80000000;

}  // namespace

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

void FlatGraph::ProximityOfFour(const void* code, const std::uint32_t slots[4], double proximities[4]) const {
  const std::int8_t* rows[4];
  std::int32_t dots[4];
  for (int i = 0; i < 4; ++i) rows[i] = CodeValues(codes_[slots[i]]);
  dot4_(CodeValues(code), rows, space_.dimension, dots);
  for (int i = 0; i < 4; ++i) {
    proximities[i] = CodeProximityOfDot(space_.metric, dots[i], code, codes_[slots[i]]);
  }
}

// From `from` ever nearer to `code`, on each level from `from_level` to above `to_level`.
std::uint32_t FlatGraph::Descend(const void* code, std::uint32_t from, int from_level, int to_level) const {
  double proximity = Proximity(code, codes_[from]);
  for (int at = from_level; at > to_level; --at) {
    for (bool moved = true; moved;) {
      moved = false;
      for (const std::uint32_t link : links(from, at)) {
        const double other = Proximity(code, codes_[link]);
        if (other >= proximity) continue;
        proximity = other;
        from = link;
        moved = true;
      }
    }
  }
  return from;
}

void FlatGraph::CollectUnvisited(std::uint32_t slot, int level, Scratch& scratch) const {
  scratch.unscored.clear();
  for (const std::uint32_t link : links(slot, level)) {
    std::uint64_t& word = scratch.visited[link / 64];
    const std::uint64_t bit = std::uint64_t{1} << (link % 64);
    if ((word & bit) != 0) continue;
    word |= bit;
    scratch.unscored.push_back(link);
    // The first lines; the processor fetches those that follow by itself.
    const char* row = codes_[link];
    for (std::size_t offset = 0; offset < std::min<std::size_t>(codes_.stride_bytes(), 256); offset += 64) {
      __builtin_prefetch(row + offset);
    }
  }
}

// Puts what was collected into the pool where it is among the `ef` nearest; `next` moves back to the first new one.
void FlatGraph::ScoreCollected(const void* code, std::size_t ef, Scratch& scratch, std::size_t& next) const {
  std::vector<Candidate>& pool = scratch.pool;
  const std::vector<std::uint32_t>& slots = scratch.unscored;
  for (std::size_t first = 0; first < slots.size(); first += 4) {
    const std::size_t count = std::min<std::size_t>(4, slots.size() - first);
    double proximities[4];
    if (count == 4) {
      ProximityOfFour(code, slots.data() + first, proximities);
    } else {
      for (std::size_t i = 0; i < count; ++i) proximities[i] = Proximity(code, codes_[slots[first + i]]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (pool.size() >= ef && proximities[i] >= pool.back().proximity) continue;
      if (pool.size() >= ef) pool.pop_back();
      const auto place = std::upper_bound(pool.begin(), pool.end(), proximities[i],
                                          [](double value, const Candidate& other) { return value < other.proximity; });
      next = std::min(next, static_cast<std::size_t>(place - pool.begin()));
      pool.insert(place, {proximities[i], slots[first + i]});
    }
  }
}

// Leaves the up to `ef` nearest to `code` that it finds in scratch.pool.
void FlatGraph::SearchLevel(const void* code, std::uint32_t from, int level, std::size_t ef, Scratch& scratch) const {
  scratch.visited.assign((node_count() + std::size_t{63}) / 64, 0);
  scratch.pool.clear();
  scratch.pool.push_back({Proximity(code, codes_[from]), from});
  scratch.visited[from / 64] |= std::uint64_t{1} << (from % 64);
  for (std::size_t next = 0; next < scratch.pool.size();) {
    Candidate& candidate = scratch.pool[next];
    if ((candidate.slot & kExpanded) != 0) {
      ++next;
      continue;
    }
    const std::uint32_t slot = candidate.slot;
    candidate.slot |= kExpanded;
    CollectUnvisited(slot, level, scratch);
    ScoreCollected(code, ef, scratch, next);
    for (std::size_t i = next; i < std::min(next + 2, scratch.pool.size()); ++i) {
      __builtin_prefetch(base_links_[scratch.pool[i].slot & ~kExpanded]);
    }
  }
  for (Candidate& candidate : scratch.pool) candidate.slot &= ~kExpanded;
}

Result<std::vector<std::uint32_t>> FlatGraph::Search(const void* code, std::size_t ef) const {
  try {
    std::vector<std::uint32_t> slots;
    if (entry_point_ == kNoSlot || ef == 0) return slots;
    BorrowedScratch scratch(*this);
    const std::uint32_t near = Descend(code, entry_point_, level(entry_point_), 0);
    SearchLevel(code, near, 0, ef, *scratch);
    slots.reserve((*scratch).pool.size());
    for (const Candidate& candidate : (*scratch).pool) slots.push_back(candidate.slot);
    return slots;
  } catch (const std::exception& exception) {
    return Status::Internal(std::string("searching the graph: ") + exception.what());
  }
}

}  // namespace foreshore
