// VectorIndex over HnswGraph: keeps, beside the graph, who each slot is and in which snapshots it is visible.
//
// Invariants: the entry of a slot describes the graph's slot and is there before it; the entries of a docid that have
// not died, one for each of its vectors, follow each other and were born together; ledger_.live, or else the places of
// the image, lead from the docid to the first of them; a slot's code never changes and, until a compaction replaces
// graph and entries, neither does its number.
//
// Threads: as VectorIndex says. Searches take no lock that a change holds (over hnswlib's graph they do): they borrow
// graph and entries, which stay with them if they are replaced meanwhile. Where documents are looked up by docid, that
// is under a lock that changes hold for moments. Lock order: compact_mutex_, write_mutex_, live_mutex_, state_mutex_.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "index/fair_shared_mutex.h"
#include "index/hnsw_delta.h"
#include "index/hnsw_graph.h"
#include "index/hnsw_ledger.h"
#include "index/hnsw_snapshot.h"
#include "index/page_ahead.h"
#include "index/vector_index.h"

namespace foreshore {

struct HnswPlan;

class HnswIndex final : public VectorIndex {
 public:
  // `snapshot` holds an empty graph, or what was read from `path`, which holds what `saved` says.
  HnswIndex(VectorIndexConfig config, HnswSnapshot snapshot, HnswSaved saved = {}, std::string path = "");

  Status Upsert(std::int64_t docid, Bytes record, std::uint64_t sequence) override;
  Status UpsertMany(std::span<const VectorUpsert> upserts, unsigned thread_count) override;
  Status Remove(std::int64_t docid, std::uint64_t sequence) override;
  void ForgetBefore(std::uint64_t sequence) override;
  bool ShouldCompact() const override;
  Status Compact() override;
  Result<bool> CompactSome(Clock& clock, std::int64_t budget_us) override;
  VectorRepair repair() const override;
  std::uint64_t applied_seq() const override { return applied_seq_; }
  void SetAppliedSeq(std::uint64_t sequence) override { applied_seq_ = sequence; }
  Result<std::unique_ptr<VectorCursor>> NewCursor(std::span<const float> query, std::uint64_t snapshot_sequence,
                                                  VectorSearchOptions options) const override;
  Result<std::unique_ptr<VectorScan>> NewScan(std::span<const std::vector<float>> queries,
                                              std::uint64_t snapshot_sequence, std::size_t count) const override;
  std::string DescribeStrategy(const VectorSearchOptions& options,
                               std::optional<std::size_t> among_count = std::nullopt) const override;
  Status SaveSnapshot(const std::string& path, VectorDeltaMax delta_max = VectorDeltaMax::kQuarter) override;
  bool IsSaved(const std::string& path, VectorDeltaMax delta_max = VectorDeltaMax::kQuarter) const override;
  bool ShouldSave() const override;
  Status CheckUsable() const override;
  Status CheckMapped() const override;
  const VectorIndexConfig& config() const override { return config_; }
  std::uint64_t entry_count() const override;
  std::uint64_t garbage_count() const override;
  std::uint64_t memory_bytes() const override;
  std::uint64_t mapped_bytes() const override;

  // A graph and what belongs to it.
  struct State {
    std::shared_ptr<HnswImage> image;  // What the others borrow from, or nullptr.
    std::unique_ptr<HnswGraph> graph;
    HnswEntries entries;
    std::optional<FineCodes> fine_codes;  // With VectorPrecision::kInt16.
    // kCorruption where the slot's code is damaged. Before DistanceTo().
    Status CheckCodes(std::uint32_t slot) const { return image ? image->CheckCodes(slot) : Status::Ok(); }
    // While nothing is inserted.
    std::uint64_t memory_bytes() const;
    std::uint64_t scratch_bytes() const;
    // LockShared() of the graph is held.
    double DistanceTo(const VectorQuery& query, std::uint32_t slot) const;
    void Prefetch(std::uint32_t slot) const;
    // What a pass over the codes of all slots in their order keeps, to have them come from files ahead of it.
    struct CodesInOrder {
      PagesInOrder codes;
      PagesInOrder fine_codes;
    };
    void Reach(std::uint32_t slot, CodesInOrder& pass) const;
    // Whether rows may lie in files of which a fault reads one page.
    bool may_lie_in_files() const {
      return (image && image->exceeds_memory()) || !graph->config().scratch_folder.empty();
    }
    // Behind the live entries of one document, of which `first` is the first; at most `limit`. live_mutex_ is held.
    std::uint32_t LiveEnd(std::uint32_t first, std::uint32_t limit) const;
  };

  // For the cursor. What one graph search found.
  struct Candidates {
    // Nearest first: the visible ones of the nearer half of what was found, where an approximate search is at its best;
    std::vector<VectorMatch> settled;
    // or only as many as were wanted, where the next few were all farther: then the slots of all that was found,
    std::vector<std::uint32_t> unsettled;
    std::shared_ptr<const State> state;  // of this graph.
    bool graph_exhausted = false;        // The search met every node that it can reach.
    bool gave_up = false;                // SearchAmong(): only a scan can tell.
  };
  // At least `wanted_count` of those found are settled, where there are so many. With a filter, those of its documents.
  Result<Candidates> SearchGraph(const VectorQuery& query, const VectorFilter* filter, std::size_t ef,
                                 std::size_t wanted_count, std::uint64_t snapshot_sequence) const;
  // hnsw_filter.cc: the same by a walk over the filter's documents alone, and by a scan of their codes, of which the
  // `count` nearest are looked at closely.
  Result<Candidates> SearchAmong(const VectorQuery& query, const VectorFilter& filter, const HnswPlan& plan,
                                 std::size_t wanted_count, std::uint64_t snapshot_sequence) const;
  Result<Candidates> NearestAmong(const VectorQuery& query, const VectorFilter& filter, std::size_t count,
                                  std::size_t wanted_count, std::uint64_t snapshot_sequence) const;
  // hnsw_settle.cc: makes `settled` what it would be if all that was found had been wanted, and `unsettled` empty.
  Status SettleAll(const VectorQuery& query, std::uint64_t snapshot_sequence, Candidates& candidates) const;
  // Every visible entry with its distance, in no order.
  Result<std::vector<VectorMatch>> ScanAll(const VectorQuery& query, std::uint64_t snapshot_sequence) const;
  // Those of the filter's documents, the same way.
  Result<std::vector<VectorMatch>> ScanAmong(const VectorQuery& query, const VectorFilter& filter,
                                             std::uint64_t snapshot_sequence) const;
  std::uint32_t node_count() const;

 private:
  class Scan;         // hnsw_scan.cc
  struct Compaction;  // hnsw_compaction.cc
  struct CompactionDelete {
    void operator()(Compaction* compaction) const;
  };
  using CompactionPointer = std::unique_ptr<Compaction, CompactionDelete>;
  static std::shared_ptr<State> StateOf(HnswSnapshot snapshot);
  std::shared_ptr<State> state() const;
  // Those with write_mutex_ held:
  Status ApplyLocked(std::span<const VectorUpsert> upserts, std::span<const VectorRecord> records,
                     unsigned thread_count);
  void KillLocked(std::uint32_t first, std::uint32_t end, std::uint64_t sequence);
  // Puts `state` in place, with a ledger made from its entries.
  void AdoptLocked(std::shared_ptr<State> state);
  // Puts both in place, and leaves there what was, whose destruction takes its time.
  void SwapInLocked(std::shared_ptr<State>& state, HnswLedger& ledger);
  bool WantsToMapLocked() const;
  HnswContent ContentOf(const State& state) const;
  bool CanAppendLocked(const std::string& path, VectorDeltaMax delta_max) const;
  Status SaveAllLocked(const std::string& path);
  void ForgetSavedLocked();  // The graph is another than the files have.
  Status MapSavedLocked(const std::string& path);
  std::uint64_t MemoryBytesLocked() const;  // Of what is searched.
  std::uint64_t CompactionBytesLocked() const;
  std::uint64_t CompactionScratchBytesLocked() const;

  // The first of the document's entries that have not died; kNoSlot where there are none. live_mutex_ is held.
  std::uint32_t FindLive(const State& state, std::int64_t docid) const;
  // hnsw_settle.cc: looks closely at `slots`, which a search found, nearest first, and settles candidates; `may_stop`:
  // once what is wanted is probably settled.
  Status Settle(const std::shared_ptr<const State>& now, const VectorQuery& query, std::vector<std::uint32_t> slots,
                std::size_t wanted_count, std::uint64_t snapshot_sequence, Candidates& candidates, bool may_stop) const;
  std::shared_ptr<const SlotSet> SlotsOf(const VectorFilter& filter, const std::shared_ptr<const State>& now) const;
  void FindSlotsByDocids(const VectorFilter& filter, const State& now, SlotSet& set) const;  // live_mutex_ is held.
  void FindSlotsByEntries(const VectorFilter& filter, const State& now, SlotSet& set) const;
  template <typename Visit>
  void ForEachNewSlot(const State& now, const VectorFilter& filter, const SlotSet& set, std::uint64_t snapshot_sequence,
                      Visit visit) const;
  Status AddNewSlots(const State& now, const VectorQuery& query, const VectorFilter& filter, const SlotSet& set,
                     std::uint64_t snapshot_sequence, Candidates& candidates) const;

  Status CentreLocked(std::size_t added_count, unsigned thread_count);

  bool IsCentred(const HnswGraphConfig& config) const;
  // `config` with the mean of `codes`, where graphs of it have one and there are codes enough.
  HnswGraphConfig Centred(const HnswGraphConfig& config, std::span<const void* const> codes) const;
  // hnsw_compaction.cc
  Status BeginCompaction();
  bool IsBeyondBudget(const HnswGraphConfig& config, std::uint32_t node_count) const;
  Status RunSlice(Clock* clock, std::int64_t budget_us, bool& has_more);
  Result<bool> RunSliceOrDrop(Clock* clock, std::int64_t budget_us);
  Status InsertSome(const State& from, const std::function<bool()>& is_over, std::uint32_t end);
  void RecordInsertedLocked();
  Status CatchUpAndSwapLocked(const std::function<bool()>& is_over, CompactionPointer& dropped);
  void FollowKillLocked(std::int64_t docid, std::uint32_t first, std::uint32_t end, std::uint64_t sequence);
  void FollowForgetLocked();
  void HelpCompactionLocked(std::size_t count, unsigned thread_count);
  void FollowRemapLocked(const State& before);

  const VectorIndexConfig config_;
  std::atomic<std::uint64_t> applied_seq_;
  std::atomic<bool> is_broken_{false};            // An insertion ran out of memory half-way.
  std::atomic<bool> is_compacting_whole_{false};  // By Compact().
  std::mutex compact_mutex_;                      // Held for each slice of a compaction.
  // There while one goes on. Written with both mutexes held, so that either is enough to read it.
  CompactionPointer compaction_;

  mutable std::mutex write_mutex_;               // Held by changes, and guards what follows.
  std::atomic<std::uint64_t> forgotten_seq_{0};  // The greatest ForgetBefore(). Read by searches without the lock.
  std::atomic<std::uint64_t> garbage_count_{0};  // As the ledger has it. The same.
  VectorRepair repair_;
  std::vector<char> codes_;  // Scratch of ApplyLocked().
  std::string saved_path_;   // What the files there hold; empty: nothing that could be added to.
  HnswSaved saved_;
  std::uint64_t saved_seq_ = 0;                // The applied_seq() that they hold.
  std::vector<std::uint32_t> unsaved_deaths_;  // Of slots below saved_.node_count.
  std::uint32_t map_again_from_ = 0;  // Nodes before which writing in order to map, which failed, is not tried.

  // Guards what follows but for deaths; changes of it, and of the pointer below, hold write_mutex_ too.
  mutable FairSharedMutex live_mutex_;
  HnswLedger ledger_;

  mutable std::mutex state_mutex_;  // Guards the pointer.
  std::shared_ptr<State> state_;
};

}  // namespace foreshore
