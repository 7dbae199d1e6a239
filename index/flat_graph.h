// Our own HnswGraph. Codes and level-0 links lie in two arrays of aligned rows, so that a hop reads whole cache lines;
// what a hop has not seen yet is collected, prefetched and scored four at a time.
//
// Links are chosen by the heuristic of the paper: a candidate goes where one that was chosen before is nearer to it
// than what is linked. (Slack of 1.1 or 1.2 in that comparison makes rows fuller and searches slower at equal recall:
// GloVe, M 24, 0.98 and 0.82 of the queries per second at recall 0.95.)
//
// No vector is out of reach: every node but the first has a parent, a node that was there before it, and the two link
// to each other on level 0 for ever. So thousands of equal vectors, between which the heuristic sees no difference,
// hang together as well. A graph restored from hnswlib's links has as much of this as those links hold.
//
// With small codes a search walks over those alone, and whoever searched puts what was found in order. An insertion
// walks over them too, and then reads the codes of the few that it met nearest: to choose links it compares stored
// vectors with each other, and there the estimates of small codes, good enough to find what is near, are not good
// enough to say which of two near ones is the nearer. Codes are read seldom then, and may lie in an unnamed file.
//
// The graph may lie in the image of a snapshot, and is added to behind it. Of the rows that a file has it remembers
// which changed, and from which link on.
//
// Invariants: a link row holds its links first, then kNoSlot; parents have lower slots than their children;
// HnswNode::children counts whose parent a slot is; row_states_ and upper_states_ say of each row that was saved 0
// where it is as it was, else 1 + how many of its first links are.
//
// Threads: as HnswGraph says, and AddMany() inserts on several threads itself. A link row is written under its lock and
// read without one: its words are stored with release and loaded with acquire, so that whoever finds a link finds what
// it leads to. A reader may meet half of a change: each word is a link of before or of after, and either will do. A
// node is linked to only once its own rows are complete. Lock order: entry_mutex_, then one row's lock.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "index/hnsw_graph.h"
#include "index/hnsw_image.h"
#include "index/segmented_rows.h"
#include "index/vector_code.h"

namespace foreshore {

class FlatGraph final : public HnswGraph {
 public:
  FlatGraph(const HnswGraphConfig& config, std::shared_ptr<HnswImage> image);

  Status AddMany(std::span<const void* const> codes, unsigned thread_count) override;
  Result<std::vector<std::uint32_t>> Search(const void* code, std::size_t ef) const override;
  Result<std::vector<std::uint32_t>> SearchAmong(const void* code, std::size_t ef, std::size_t far_ef,
                                                 const SlotSet& among, std::size_t visits_max) const override;
  const HnswGraphConfig& config() const override { return config_; }
  std::uint32_t node_count() const override { return node_count_.load(std::memory_order_acquire); }
  std::uint32_t entry_point() const override { return entry_point_.load(std::memory_order_acquire); }
  int level(std::uint32_t slot) const override { return nodes_[slot].level; }
  std::span<const std::uint32_t> links(std::uint32_t slot, int level) const override;
  std::uint32_t links_max(int level) const override;
  const char* code(std::uint32_t slot) const override { return codes_[slot]; }
  void CodesOf(std::span<const std::uint32_t> slots, const char** codes) const override {
    WantRows(kCodeArea, slots);
    for (std::size_t i = 0; i < slots.size(); ++i) codes[i] = codes_[slots[i]];
  }
  const char* walked_row(std::uint32_t slot) const override { return small_ ? small_rows_[slot] : codes_[slot]; }
  HnswNode node(std::uint32_t slot) const override { return nodes_[slot]; }
  Status RestoreNode(const void* code, int level, std::uint32_t parent) override;
  void RestoreLinks(std::uint32_t slot, int level, std::span<const std::uint32_t> links) override;
  void RestoreEntryPoint(std::uint32_t slot, bool parents_are_known) override;
  bool knows_parents() const override { return knows_parents_; }
  bool knows_changes() const override { return knows_changes_; }
  void ForEachChangedRow(const VisitRow& visit) const override;
  void MarkSaved() override;
  std::uint64_t memory_bytes() const override;
  std::uint64_t reopened_bytes() const override { return std::uint64_t{node_count()} + upper_row_count_; }
  std::uint64_t scratch_bytes() const override;

 private:
  // Slots end below it (kHnswNodeCountMax), so that a candidate can carry whether its links were followed.
  static constexpr std::uint32_t kExpanded = 0x80000000;
  struct Candidate {
    float proximity = 0;     // To what is looked for.
    std::uint32_t slot = 0;  // With kExpanded while a search runs.
  };
  // What slots are compared with: a code, or a query of small codes, and then their small rows are what is compared.
  struct Target {
    const void* bytes = nullptr;
    bool is_small = false;
  };
  // Prefetches the rows that are compared. Inlined always: a function of nothing but prefetches has no effect that GCC
  // knows, and it leaves out the calls.
  struct RowPrefetch {
    const SegmentedRows& rows;
    bool may_cross = false;  // A row that does not begin with a line may end in one more.
    [[gnu::always_inline]] void operator()(std::uint32_t slot) const {
      rows.Prefetch(slot);
      if (may_cross) __builtin_prefetch(rows[slot] + rows.stride_bytes() - 1);
    }
  };
  struct Scratch {
    std::vector<std::uint64_t> visited;         // One bit per slot; all clear between two searches.
    std::uint32_t slot_count = 0;               // Those that were there when the search began.
    std::vector<std::uint32_t> met;             // Whose bits are set.
    std::vector<Candidate> pool;                // Nearest first.
    std::vector<std::uint32_t> unscored;        // Of one hop.
    std::vector<std::uint32_t> passed_through;  // The same: neighbours whose own links are looked through.
    std::vector<std::uint32_t> kept;            // Of an insertion.
    std::vector<std::uint32_t> targets;         // The same.
    std::vector<Candidate> relinked;            // The same.
    std::vector<char> query;                    // Of small codes.
  };
  class BorrowedScratch;

  // flat_graph_search.cc
  Target TargetOf(const void* code, Scratch& scratch) const;
  void ProximityOfSome(Target target, std::span<const std::uint32_t> slots, float proximities[4]) const;
  RowPrefetch PrefetchFor(Target target) const;
  // Asks the system for the pages of rows that are about to be read, where the file is larger than its memory.
  void WantRows(HnswArea area, std::span<const std::uint32_t> slots) const {
    if (!image_ || !image_->exceeds_memory()) return;
    for (const std::uint32_t slot : slots) image_->WantRow(area, slot);
  }
  template <typename Visit>
  void ForEachLink(std::uint32_t slot, int level, Visit visit) const;
  std::uint32_t Descend(Target target, std::uint32_t from, int from_level, int to_level) const;
  void SearchLevel(Target target, std::uint32_t from, int level, std::size_t ef, Scratch& scratch) const;
  void CollectUnvisited(Target target, std::uint32_t slot, int level, Scratch& scratch) const;
  void ExpandAnother(Target target, std::size_t from, int level, Scratch& scratch) const;
  static std::size_t PlaceOf(float proximity, std::span<const Candidate> pool);
  void ScoreCollected(Target target, std::size_t ef, Scratch& scratch, std::size_t& next) const;
  void Rescore(const void* code, std::vector<Candidate>& pool) const;
  void ClearVisited(Scratch& scratch) const;
  static std::vector<std::uint32_t> SlotsOf(std::span<const Candidate> pool);

  // flat_graph_among.cc
  static bool MarkVisited(std::uint32_t slot, Scratch& scratch);
  struct AmongCounts {
    std::size_t visits = 0;  // Rows of links and codes read.
    std::size_t met = 0;     // Links looked at,
    std::size_t passed = 0;  // and those among them that lead to the set.
  };
  void CollectAmong(Target target, std::uint32_t slot, const SlotSet& among, Scratch& scratch,
                    AmongCounts& counts) const;
  bool WalkAmong(Target target, std::uint32_t from, std::size_t ef, std::size_t far_ef, const SlotSet& among,
                 std::size_t visits_max, Scratch& scratch) const;

  // flat_graph_links.cc
  const std::uint32_t* Row(std::uint32_t slot, int level) const;
  std::uint32_t* Row(std::uint32_t slot, int level) {
    return const_cast<std::uint32_t*>(static_cast<const FlatGraph*>(this)->Row(slot, level));
  }
  static void SetLink(std::uint32_t* row, std::size_t position, std::uint32_t link);
  std::mutex& LockOf(std::uint32_t slot) { return row_locks_[slot % row_locks_.size()]; }
  bool IsTreeEdge(std::uint32_t a, std::uint32_t b) const;
  bool IsCovered(const Candidate& candidate, std::span<const std::uint32_t> kept) const;
  void SelectLinks(std::span<const Candidate> near, std::size_t count_max, std::vector<std::uint32_t>& kept) const;
  bool TryAdopt(std::uint32_t parent, std::uint32_t child);
  std::uint32_t ChooseParent(std::uint32_t slot, std::span<const Candidate> near);
  void ChooseLinks(std::uint32_t slot, int level, Scratch& scratch);
  void LinkBack(std::uint32_t slot, int level, Scratch& scratch);
  void AddLink(std::uint32_t from, std::uint32_t to, int level, Scratch& scratch);
  void FindParents();
  bool IsLinked(std::uint32_t slot) const { return __atomic_load_n(&nodes_[slot].is_linked, __ATOMIC_ACQUIRE) != 0; }
  void SetLinked(std::uint32_t slot) { __atomic_store_n(&nodes_[slot].is_linked, 1, __ATOMIC_RELEASE); }
  void NoteChange(std::uint32_t slot, int level, std::size_t kept_count);

  void AppendNode(const void* code, int level);
  void Insert(std::uint32_t slot, Scratch& scratch);
  int DrawLevel();

  const HnswGraphConfig config_;
  const CodeSpace space_;
  const std::optional<SmallCodeSpace> small_;
  const float equal_;                       // Two codes at most so far apart are taken for one.
  const std::shared_ptr<HnswImage> image_;  // Where the first rows lie, or nullptr.
  SegmentedRows codes_;
  SegmentedRows small_rows_;  // Where there are small codes, one for each of codes_.
  SegmentedRows base_links_;
  SegmentedRows upper_links_;
  SegmentedArray<HnswNode> nodes_;
  std::uint32_t upper_row_count_ = 0;
  bool knows_parents_ = true;             // False from a restoration to the next insertion: searches need none.
  bool knows_changes_ = false;            // Since a file was written or read that holds what the states below speak of.
  std::vector<std::uint8_t> row_states_;  // By slot. Each guarded by the lock of its row, as those that follow.
  std::vector<std::uint8_t> upper_states_;   // By upper row.
  std::vector<std::uint8_t> touched_pages_;  // Of the base links in the image, each 1 once it was written to.
  std::atomic<std::uint32_t> node_count_{0};
  std::atomic<std::uint32_t> entry_point_{kNoSlot};
  std::mutex entry_mutex_;  // Held by who may become the entry point.
  std::array<std::mutex, 256> row_locks_;
  std::mt19937_64 random_{100};
  mutable std::mutex scratch_mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> scratch_;
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

// Calls visit(link) for each link of the row, in order.
template <typename Visit>
void FlatGraph::ForEachLink(std::uint32_t slot, int level, Visit visit) const {
  const std::uint32_t* row = Row(slot, level);
  const std::uint32_t count_max = links_max(level);
  for (std::uint32_t i = 0; i < count_max; ++i) {
    const std::uint32_t link = __atomic_load_n(row + i, __ATOMIC_ACQUIRE);
    if (link == kNoSlot) return;
    visit(link);
  }
}

inline FlatGraph::RowPrefetch FlatGraph::PrefetchFor(Target target) const {
  return {target.is_small ? small_rows_ : codes_, target.is_small && small_->row_alignment() < 64};
}

inline const std::uint32_t* FlatGraph::Row(std::uint32_t slot, int level) const {
  const char* row =
      level == 0 ? base_links_[slot] : upper_links_[nodes_[slot].upper_first + static_cast<std::uint32_t>(level) - 1];
  return reinterpret_cast<const std::uint32_t*>(row);
}

}  // namespace foreshore
