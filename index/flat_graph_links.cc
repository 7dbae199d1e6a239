// Choosing and keeping the links of a FlatGraph.
#include <algorithm>

#include "index/flat_graph.h"

namespace foreshore {

// Whether one of `kept` leads to the candidate as well as a link of its own would.
bool FlatGraph::IsCovered(const Candidate& candidate, std::span<const std::uint32_t> kept) const {
  const auto covers = [&](double between) {
    // Equal vectors: one link among them is enough, the tree holds them together.
    if (between == candidate.proximity && candidate.proximity <= 0 && config_.metric != VectorMetric::kDot) return true;
    return alpha_ * between < candidate.proximity;
  };
  std::size_t i = 0;
  for (; i + 4 <= kept.size(); i += 4) {
    double between[4];
    ProximityOfFour(codes_[candidate.slot], kept.data() + i, between);
    if (covers(between[0]) || covers(between[1]) || covers(between[2]) || covers(between[3])) return true;
  }
  for (; i < kept.size(); ++i) {
    if (covers(Proximity(codes_[candidate.slot], codes_[kept[i]]))) return true;
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

// The nearest that has room for a child; the node inserted last has no child yet.
std::uint32_t FlatGraph::ChooseParent(std::uint32_t slot, std::span<const Candidate> near) {
  const auto found = std::find_if(near.begin(), near.end(), [&](const Candidate& candidate) {
    return candidate.slot != slot && children_[candidate.slot] < config_.links_per_node;
  });
  const std::uint32_t parent = found != near.end() ? found->slot : slot - 1;
  parent_[slot] = parent;
  ++children_[parent];
  return parent;
}

// Links a new node and those near it to each other.
void FlatGraph::Connect(std::uint32_t slot, int level, std::span<const Candidate> near) {
  kept_.clear();
  if (level == 0) kept_.push_back(ChooseParent(slot, near));
  SelectLinks(near, config_.links_per_node, kept_);
  std::copy(kept_.begin(), kept_.end(), Row(slot, level));
  const std::vector<std::uint32_t> targets = kept_;  // AddLink() uses kept_ itself.
  for (const std::uint32_t target : targets) AddLink(target, slot, level);
}

void FlatGraph::AddLink(std::uint32_t from, std::uint32_t to, int level) {
  std::uint32_t* row = Row(from, level);
  const std::size_t count_max = links_max(level);
  const std::size_t count = links(from, level).size();
  if (count < count_max) {
    row[count] = to;
    return;
  }
  relinked_.clear();
  kept_.clear();
  relinked_.push_back({Proximity(codes_[from], codes_[to]), to});
  for (std::size_t i = 0; i < count; ++i) relinked_.push_back({Proximity(codes_[from], codes_[row[i]]), row[i]});
  std::sort(relinked_.begin(), relinked_.end(), [](const Candidate& a, const Candidate& b) {
    return a.proximity != b.proximity ? a.proximity < b.proximity : a.slot < b.slot;
  });
  if (level == 0) {
    for (const Candidate& candidate : relinked_) {
      if (IsTreeEdge(from, candidate.slot) && kept_.size() < count_max) kept_.push_back(candidate.slot);
    }
  }
  SelectLinks(relinked_, count_max, kept_);
  std::copy(kept_.begin(), kept_.end(), row);
  std::fill(row + kept_.size(), row + count_max, kNoSlot);
}

// Finds a tree again in restored links: any earlier node that links back will do, the parent of old among them.
void FlatGraph::FindParents() {
  for (std::uint32_t slot = 1; slot < node_count(); ++slot) {
    for (const std::uint32_t link : links(slot, 0)) {
      if (link >= slot) continue;
      const std::span<const std::uint32_t> back = links(link, 0);
      if (std::find(back.begin(), back.end(), slot) == back.end()) continue;
      parent_[slot] = link;
      ++children_[link];
      break;
    }
  }
}

}  // namespace foreshore
