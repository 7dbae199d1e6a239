// Walking a FlatGraph restricted to some of its slots: ACORN-1 of Patel, Kraft, Guestrin and Zaharia, "ACORN:
// Performant and Predicate-Agnostic Search Over Vector Embeddings and Structured Data", 2024. Only slots of the set are
// scored and become candidates; the links of a neighbour that is not in the set are looked through in its place, so
// that the walk goes on over the part of the graph that the set induces with steps of up to two links.
//
// Beside the node that the upper levels lead to, some of the set's own slots are where the walk begins: where the set
// lies far from the query, no slot of it may be within two links of that node.
#include <algorithm>
#include <exception>

#include "index/flat_graph.h"

namespace foreshore {
namespace {

constexpr std::size_t kSeedCount = 24;
// Of one candidate. What is behind comes with later ones: near the query their neighbours overlap.
constexpr std::size_t kScoredPerHopMax = 64;

// Where the set is rarer around the query than elsewhere by this factor, what is nearest of it lies around the query in
// all directions, and a walk needs more candidates to find it.
constexpr double kRareHere = 0.25;

}  // namespace

bool FlatGraph::MarkVisited(std::uint32_t slot, Scratch& scratch) {
  std::uint64_t& word = scratch.visited[slot / 64];
  const std::uint64_t bit = std::uint64_t{1} << (slot % 64);
  if ((word & bit) != 0) return false;
  word |= bit;
  scratch.met.push_back(slot);
  return true;
}

// Collects what is within two links of `slot`.
void FlatGraph::CollectAmong(Target target, std::uint32_t slot, const SlotSet& among, Scratch& scratch,
                             AmongCounts& counts) const {
  scratch.unscored.clear();
  scratch.passed_through.clear();
  const RowPrefetch prefetch = PrefetchFor(target);
  const auto take = [&](std::uint32_t link) {
    if (!MarkVisited(link, scratch)) return;
    scratch.unscored.push_back(link);
    WantRows(target.is_small ? kSmallCodeArea : kCodeArea, {&link, 1});
    prefetch(link);
  };
  ++counts.visits;
  ForEachLink(slot, 0, [&](std::uint32_t link) {
    if (link >= scratch.slot_count) return;  // Inserted after this search began, or of an image that nobody checked.
    ++counts.met;
    if (among.Contains(link)) {
      ++counts.passed;
      return take(link);
    }
    if ((scratch.visited[link / 64] >> (link % 64) & 1) != 0) return;
    scratch.passed_through.push_back(link);
    WantRows(kBaseLinkArea, {&link, 1});
    base_links_.Prefetch(link);
  });
  for (const std::uint32_t between : scratch.passed_through) {
    if (scratch.unscored.size() >= kScoredPerHopMax) break;
    MarkVisited(between, scratch);
    ++counts.visits;
    ForEachLink(between, 0, [&](std::uint32_t link) {
      ++counts.met;
      if (!among.Contains(link)) return;
      ++counts.passed;
      take(link);
    });
  }
  counts.visits += scratch.unscored.size();
}

// Leaves the up to `ef` nearest to the target that it finds in scratch.pool. False where it gave up.
bool FlatGraph::WalkAmong(Target target, std::uint32_t from, std::size_t ef, std::size_t far_ef, const SlotSet& among,
                          std::size_t visits_max, Scratch& scratch) const {
  ClearVisited(scratch);
  scratch.slot_count = node_count();
  scratch.visited.resize((scratch.slot_count + std::size_t{63}) / 64, 0);
  scratch.pool.clear();
  std::size_t next = 0;
  AmongCounts counts;
  CollectAmong(target, from, among, scratch, counts);
  const double share = static_cast<double>(among.slots.size()) / std::max<std::uint32_t>(1, among.end);
  const bool is_rare_here = static_cast<double>(counts.passed) < kRareHere * share * static_cast<double>(counts.met);
  if (is_rare_here && far_ef == 0) {
    ClearVisited(scratch);
    return false;
  }
  if (is_rare_here) ef = far_ef;
  if (among.Contains(from) && MarkVisited(from, scratch)) scratch.unscored.push_back(from);
  const std::size_t step = std::max<std::size_t>(1, among.slots.size() / kSeedCount);
  for (std::size_t i = step / 2; i < among.slots.size(); i += step) {
    const std::uint32_t seed = among.slots[i];
    // One that is being inserted has no small row yet, and links to nothing.
    if (IsLinked(seed) && MarkVisited(seed, scratch)) scratch.unscored.push_back(seed);
  }
  if (!scratch.unscored.empty()) ScoreCollected(target, ef, scratch, next);
  bool is_whole = true;
  while (next < scratch.pool.size()) {
    Candidate& candidate = scratch.pool[next];
    if ((candidate.slot & kExpanded) != 0) {
      ++next;
      continue;
    }
    if (counts.visits > visits_max) {
      is_whole = false;
      break;
    }
    const std::uint32_t slot = candidate.slot;
    candidate.slot |= kExpanded;
    CollectAmong(target, slot, among, scratch, counts);
    ScoreCollected(target, ef, scratch, next);
  }
  ClearVisited(scratch);
  for (Candidate& candidate : scratch.pool) candidate.slot &= ~kExpanded;
  return is_whole;
}

Result<std::vector<std::uint32_t>> FlatGraph::SearchAmong(const void* code, std::size_t ef, std::size_t far_ef,
                                                          const SlotSet& among, std::size_t visits_max) const {
  try {
    const std::uint32_t entry = entry_point();
    if (entry == kNoSlot || ef == 0 || among.slots.empty()) return std::vector<std::uint32_t>();
    BorrowedScratch scratch(*this);
    const Target target = TargetOf(code, *scratch);
    const std::uint32_t near = Descend(target, entry, level(entry), 0);
    if (!WalkAmong(target, near, ef, far_ef, among, visits_max, *scratch)) return std::vector<std::uint32_t>();
    return SlotsOf((*scratch).pool);
  } catch (const std::exception& exception) {
    return GraphFailure("searching the graph", exception);
  }
}

}  // namespace foreshore
