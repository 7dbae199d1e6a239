// Our own HnswGraph. Codes and level-0 links lie in two arrays of aligned rows, so that a hop reads whole cache lines;
// what a hop has not seen yet is collected, prefetched and scored four at a time.
//
// Links are chosen by the heuristic of the paper with slack (alpha): a candidate goes only where one that was chosen
// before is nearer to it by that factor. The paper's rule is alpha = 1.
//
// No vector is out of reach: every node but the first has a parent, a node inserted before it, and the two link to each
// other on level 0 for ever. So thousands of equal vectors, between which the heuristic sees no difference, hang
// together as well. A graph restored from hnswlib's links has as much of this as those links hold.
//
// Invariants: a link row holds its links first, then kNoSlot; parent_[slot] < slot, or kNoSlot; children_[slot] counts
// whose parent a slot is.
//
// Threads: as HnswGraph says. A search borrows its scratch space from a pool with a lock of its own.
#pragma once

#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <vector>

#include "index/flat_graph_rows.h"
#include "index/hnsw_graph.h"
#include "index/vector_code.h"

namespace foreshore {

class FlatGraph final : public HnswGraph {
 public:
  explicit FlatGraph(const HnswGraphConfig& config);

  Status Add(const void* code) override;
  Result<std::vector<std::uint32_t>> Search(const void* code, std::size_t ef) const override;
  const HnswGraphConfig& config() const override { return config_; }
  std::uint32_t node_count() const override { return static_cast<std::uint32_t>(levels_.size()); }
  std::uint32_t entry_point() const override { return entry_point_; }
  int level(std::uint32_t slot) const override { return levels_[slot]; }
  std::span<const std::uint32_t> links(std::uint32_t slot, int level) const override;
  std::uint32_t links_max(int level) const override;
  const char* code(std::uint32_t slot) const override { return codes_[slot]; }
  Status RestoreNode(const void* code, int level) override;
  void RestoreLinks(std::uint32_t slot, int level, std::span<const std::uint32_t> links) override;
  void RestoreEntryPoint(std::uint32_t slot) override;
  std::uint64_t memory_bytes() const override;

 private:
  struct Candidate {
    double proximity = 0;    // CodeProximity() to what is looked for.
    std::uint32_t slot = 0;  // With kExpanded while a search runs.
  };
  struct Scratch {
    std::vector<std::uint64_t> visited;   // One bit per slot.
    std::vector<Candidate> pool;          // Nearest first.
    std::vector<std::uint32_t> unscored;  // Of one hop.
  };
  class BorrowedScratch;

  // flat_graph_search.cc
  double Proximity(const void* a, const void* b) const { return CodeProximity(space_, a, b); }
  void ProximityOfFour(const void* code, const std::uint32_t slots[4], double proximities[4]) const;
  std::uint32_t Descend(const void* code, std::uint32_t from, int from_level, int to_level) const;
  void SearchLevel(const void* code, std::uint32_t from, int level, std::size_t ef, Scratch& scratch) const;
  void CollectUnvisited(std::uint32_t slot, int level, Scratch& scratch) const;
  void ScoreCollected(const void* code, std::size_t ef, Scratch& scratch, std::size_t& next) const;

  // flat_graph_links.cc
  std::uint32_t* Row(std::uint32_t slot, int level);
  void Connect(std::uint32_t slot, int level, std::span<const Candidate> near);
  void AddLink(std::uint32_t from, std::uint32_t to, int level);
  bool IsTreeEdge(std::uint32_t a, std::uint32_t b) const { return parent_[a] == b || parent_[b] == a; }
  bool IsCovered(const Candidate& candidate, std::span<const std::uint32_t> kept) const;
  void SelectLinks(std::span<const Candidate> near, std::size_t count_max, std::vector<std::uint32_t>& kept) const;
  std::uint32_t ChooseParent(std::uint32_t slot, std::span<const Candidate> near);
  void FindParents();

  void AppendNode(const void* code, int level);
  int DrawLevel();

  const HnswGraphConfig config_;
  const CodeSpace space_;
  const DotInt8x4 dot4_;
  const double alpha_;
  AlignedRows codes_;
  AlignedRows base_links_;
  std::vector<std::uint8_t> levels_;
  std::vector<std::uint32_t> parent_;
  std::vector<std::uint8_t> children_;
  // The links above level 0: links_per_node for each level, from upper_first_[slot] times that on.
  std::vector<std::uint32_t> upper_first_;
  std::vector<std::uint32_t> upper_links_;
  std::uint32_t entry_point_ = kNoSlot;
  std::mt19937_64 random_{100};
  mutable std::mutex scratch_mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> scratch_;
  std::vector<std::uint32_t> kept_;  // Scratch of insertions.
  std::vector<Candidate> relinked_;  // The same.
};

// Lends one scratch space and takes it back.
class FlatGraph::BorrowedScratch {
 public:
  explicit BorrowedScratch(const FlatGraph& graph);
  ~BorrowedScratch();
  BorrowedScratch(const BorrowedScratch&) = delete;
  BorrowedScratch& operator=(const BorrowedScratch&) = delete;
  Scratch& operator*() { return *scratch_; }

 private:
  const FlatGraph& graph_;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace foreshore
