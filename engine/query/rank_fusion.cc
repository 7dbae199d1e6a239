#include "engine/query/rank_fusion.h"

#include <algorithm>

namespace foreshore {

Status RankFusion::Fuse() {
  is_fused_ = true;
  std::unordered_map<std::int64_t, FusedRow> rows;
  for (std::size_t i = 0; i < matches_.size(); ++i) {
    place_of_.emplace(matches_[i].docid, i + 1);
    rows[matches_[i].docid] = {matches_[i].docid, WorthOf(i + 1), matches_[i].rank, std::nullopt};
  }
  matches_ = {};
  while (neighbour_count_ < options_.window) {
    FORESHORE_ASSIGN_OR_RETURN(const auto neighbour, next_neighbour_());
    if (!neighbour) {
      is_tail_done_ = true;
      break;
    }
    ++neighbour_count_;
    FusedRow& row = rows[neighbour->docid];
    row.docid = neighbour->docid;
    row.score += WorthOf(neighbour_count_);
    row.distance = neighbour->distance;
  }
  fused_.reserve(rows.size());
  for (auto& [docid, row] : rows) fused_.push_back(row);
  std::sort(fused_.begin(), fused_.end(), [](const FusedRow& a, const FusedRow& b) {
    return a.score != b.score ? a.score < b.score : a.docid > b.docid;
  });
  return Status::Ok();
}

Status RankFusion::AdvanceTail() {
  while (!tail_ && !is_tail_done_) {
    FORESHORE_ASSIGN_OR_RETURN(const auto neighbour, next_neighbour_());
    if (!neighbour) {
      is_tail_done_ = true;
      break;
    }
    ++neighbour_count_;
    if (place_of_.contains(neighbour->docid)) continue;
    tail_ = FusedRow{neighbour->docid, WorthOf(neighbour_count_), std::nullopt, neighbour->distance};
  }
  return Status::Ok();
}

Result<std::optional<FusedRow>> RankFusion::Next() {
  if (!is_fused_) FORESHORE_RETURN_IF_ERROR(Fuse());
  // No farther neighbour is worth more than the next place: the stream need not be asked before that counts.
  if (!fused_.empty() && (tail_ ? tail_->score : WorthOf(neighbour_count_ + 1)) < fused_.back().score) {
    const FusedRow row = fused_.back();
    fused_.pop_back();
    return std::optional<FusedRow>(row);
  }
  FORESHORE_RETURN_IF_ERROR(AdvanceTail());
  const auto comes_first = [](const FusedRow& a, const FusedRow& b) {
    return a.score != b.score ? a.score > b.score : a.docid < b.docid;
  };
  if (!fused_.empty() && (!tail_ || comes_first(fused_.back(), *tail_))) {
    const FusedRow row = fused_.back();
    fused_.pop_back();
    return std::optional<FusedRow>(row);
  }
  return std::exchange(tail_, std::nullopt);
}

}  // namespace foreshore
