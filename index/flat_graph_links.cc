// Choosing and keeping the links of a FlatGraph.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "index/flat_graph.h"

namespace foreshore {

void FlatGraph::SetLink(std::uint32_t* row, std::size_t position, std::uint32_t link) {
  __atomic_store_n(row + position, link, __ATOMIC_RELEASE);
}

// Whether one of `kept` leads to the candidate as well as a link of its own would.
bool FlatGraph::IsCovered(const Candidate& candidate, std::span<const std::uint32_t> kept) const {
  for (std::size_t first = 0; first < kept.size(); first += 4) {
    float between[4];
    ProximityOfSome({codes_[candidate.slot]}, kept.subspan(first), between);
    for (const float proximity : between) {
      // One link among equal vectors is enough: the tree holds them together.
      if (proximity <= equal_ || proximity < candidate.proximity) return true;
    }
  }
  return false;
}

// Adds to `kept`, up to `count_max` in all, those of `near` (nearest first) that no other covers.
void FlatGraph::SelectLinks(std::span<const Candidate> near, std::size_t count_max,
                            std::vector<std::uint32_t>& kept) const {
  for (const Candidate& candidate : near) {
    if (kept.size() >= count_max) return;
    if (std::find(kept.begin(), kept.end(), candidate.slot) != kept.end()) continue;
    if (!IsCovered(candidate, kept)) kept.push_back(candidate.slot);
  }
}

// No lock is needed: a node's parent is known before anybody can link to it.
bool FlatGraph::IsTreeEdge(std::uint32_t a, std::uint32_t b) const {
  const auto parent_of = [this](std::uint32_t slot) { return __atomic_load_n(&nodes_[slot].parent, __ATOMIC_RELAXED); };
  return parent_of(a) == b || parent_of(b) == a;
}

bool FlatGraph::TryAdopt(std::uint32_t parent, std::uint32_t child) {
  if (parent >= child || !IsLinked(parent)) return false;
  {
    const std::lock_guard lock(LockOf(parent));
    if (nodes_[parent].children >= config_.links_per_node) return false;
    ++nodes_[parent].children;
  }
  __atomic_store_n(&nodes_[child].parent, parent, __ATOMIC_RELAXED);
  return true;
}

// The nearest that has room for a child, else the latest that has: who came last has few.
std::uint32_t FlatGraph::ChooseParent(std::uint32_t slot, std::span<const Candidate> near) {
  for (const Candidate& candidate : near) {
    if (TryAdopt(candidate.slot, slot)) return candidate.slot;
  }
  for (std::uint32_t earlier = slot; earlier-- > 0;) {
    if (TryAdopt(earlier, slot)) return earlier;
  }
  return kNoSlot;  // The first node alone.
}

// Fills the row of a new node from scratch.pool. Nobody reads the row yet.
void FlatGraph::ChooseLinks(std::uint32_t slot, int level, Scratch& scratch) {
  scratch.kept.clear();
  if (level == 0) {
    const std::uint32_t parent = ChooseParent(slot, scratch.pool);
    if (parent != kNoSlot) scratch.kept.push_back(parent);
  }
  SelectLinks(scratch.pool, config_.links_per_node, scratch.kept);
  std::uint32_t* row = Row(slot, level);
  for (std::size_t i = 0; i < scratch.kept.size(); ++i) SetLink(row, i, scratch.kept[i]);
}

// Links to a new node from those that it links to: from now on it is found.
void FlatGraph::LinkBack(std::uint32_t slot, int level, Scratch& scratch) {
  scratch.targets.clear();
  ForEachLink(slot, level, [&](std::uint32_t link) { scratch.targets.push_back(link); });
  for (const std::uint32_t target : scratch.targets) AddLink(target, slot, level, scratch);
}

void FlatGraph::AddLink(std::uint32_t from, std::uint32_t to, int level, Scratch& scratch) {
  const std::lock_guard lock(LockOf(from));
  if (image_) {
    if (const Status whole = image_->CheckLinks(from); !whole.ok()) throw std::runtime_error(whole.message());
  }
  std::uint32_t* row = Row(from, level);
  const std::size_t count_max = links_max(level);
  const std::size_t count = links(from, level).size();
  if (std::find(row, row + count, to) != row + count) return;  // It came the other way meanwhile.
  if (count < count_max) {
    NoteChange(from, level, count);
    SetLink(row, count, to);
    return;
  }
  std::vector<Candidate>& relinked = scratch.relinked;
  std::vector<std::uint32_t>& kept = scratch.kept;
  relinked.clear();
  kept.clear();
  for (std::size_t first = 0; first < count; first += 4) {
    float proximities[4];
    ProximityOfSome({codes_[from]}, {row + first, count - first}, proximities);
    for (std::size_t i = first; i < std::min(first + 4, count); ++i)
      relinked.push_back({proximities[i - first], row[i]});
  }
  relinked.push_back({space_.Proximity(codes_[from], codes_[to]), to});
  // Codes that nobody checked yet may be damaged: what is no number must not come into an order.
  for (Candidate& candidate : relinked) {
    if (std::isnan(candidate.proximity)) candidate.proximity = INFINITY;
  }
  std::sort(relinked.begin(), relinked.end(), [](const Candidate& a, const Candidate& b) {
    return a.proximity != b.proximity ? a.proximity < b.proximity : a.slot < b.slot;
  });
  if (level == 0) {
    for (const Candidate& candidate : relinked) {
      if (IsTreeEdge(from, candidate.slot) && kept.size() < count_max) kept.push_back(candidate.slot);
    }
  }
  SelectLinks(relinked, count_max, kept);
  NoteChange(from, level, 0);
  for (std::size_t i = 0; i < kept.size(); ++i) SetLink(row, i, kept[i]);
  for (std::size_t i = kept.size(); i < count_max; ++i) SetLink(row, i, kNoSlot);
}

// Finds a tree again in restored links: any earlier node that links back will do, the parent of old among them.
void FlatGraph::FindParents() {
  if (image_) {
    if (const Status whole = image_->CheckAll(); !whole.ok()) throw std::runtime_error(whole.message());
  }
  for (std::uint32_t slot = 0; slot < node_count(); ++slot) {
    for (const std::uint32_t link : links(slot, 0)) {
      if (link >= slot) continue;
      const std::span<const std::uint32_t> back = links(link, 0);
      if (std::find(back.begin(), back.end(), slot) == back.end()) continue;
      nodes_[slot].parent = link;
      ++nodes_[link].children;
      break;
    }
  }
}

}  // namespace foreshore
