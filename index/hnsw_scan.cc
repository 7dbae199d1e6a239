// HnswIndex::NewScan(): exact search of several queries at once, in slices.
#include <algorithm>
#include <utility>

#include "index/hnsw_index.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kSlotsPerCheck = 64;        // Between two looks at the clock.
constexpr std::uint32_t kSlotsPerSlice = 64 << 10;  // However slowly the clock goes.

// Of a document with several vectors the nearest counts.
void Offer(const VectorMatch& match, std::size_t count_max, std::vector<VectorMatch>& nearest) {
  if (nearest.size() >= count_max && !IsNearer(match, nearest.back())) return;
  const auto same = std::find_if(nearest.begin(), nearest.end(),
                                 [&](const VectorMatch& other) { return other.docid == match.docid; });
  if (same != nearest.end()) {
    if (!IsNearer(match, *same)) return;
    nearest.erase(same);
  } else if (nearest.size() >= count_max) {
    nearest.pop_back();
  }
  nearest.insert(std::upper_bound(nearest.begin(), nearest.end(), match, &IsNearer), match);
}

}  // namespace

// Goes over the graph that was there when it began: entries that die or come later are not of its snapshot, so that
// a compaction meanwhile changes nothing.
class HnswIndex::Scan final : public VectorScan {
 public:
  Scan(std::shared_ptr<const State> state, std::vector<VectorQuery> queries, std::uint64_t snapshot_sequence,
       std::size_t count)
      : state_(std::move(state)),
        queries_(std::move(queries)),
        snapshot_sequence_(snapshot_sequence),
        count_(count),
        end_(state_->graph->node_count()),
        nearest_(queries_.size()) {}

  Result<bool> Step(Clock& clock, std::int64_t budget_us) override {
    const std::int64_t begin_us = clock.NowMonotonicUs();
    const std::uint32_t slice_end = std::min(end_, slot_ + kSlotsPerSlice);
    while (slot_ < slice_end) {
      const auto lock = state_->graph->LockShared();
      for (const std::uint32_t end = std::min(end_, slot_ + kSlotsPerCheck); slot_ < end; ++slot_) {
        const HnswEntry entry = state_->entries[slot_];
        if (!entry.VisibleAt(snapshot_sequence_)) continue;
        state_->Reach(slot_, pass_);
        FORESHORE_RETURN_IF_ERROR(state_->CheckCodes(slot_));
        for (std::size_t i = 0; i < queries_.size(); ++i) {
          Offer({entry.docid, state_->DistanceTo(queries_[i], slot_)}, count_, nearest_[i]);
        }
      }
      if (clock.NowMonotonicUs() - begin_us >= budget_us) break;
    }
    return slot_ < end_;
  }
  const std::vector<VectorMatch>& nearest(std::size_t query) const override { return nearest_[query]; }

 private:
  const std::shared_ptr<const State> state_;  // Shared with the index, which may go on to another.
  const std::vector<VectorQuery> queries_;
  const std::uint64_t snapshot_sequence_;
  const std::size_t count_;
  const std::uint32_t end_;
  std::uint32_t slot_ = 0;
  State::CodesInOrder pass_;
  std::vector<std::vector<VectorMatch>> nearest_;
};

Result<std::unique_ptr<VectorScan>> HnswIndex::NewScan(std::span<const std::vector<float>> queries,
                                                       std::uint64_t snapshot_sequence, std::size_t count) const {
  FORESHORE_RETURN_IF_ERROR(CheckUsable());
  std::vector<VectorQuery> prepared;
  for (const std::vector<float>& query : queries) {
    Result<VectorQuery> made = VectorQuery::Prepare(config_.metric, config_.dimension, query);
    if (!made.ok()) return made.status().WithContext(config_.name);
    prepared.push_back(std::move(made).value());
  }
  return std::unique_ptr<VectorScan>(
      std::make_unique<Scan>(state(), std::move(prepared), snapshot_sequence, std::max<std::size_t>(1, count)));
}

}  // namespace foreshore
