// Looking closely at what a search of the graph found.
#include <algorithm>
#include <limits>
#include <utility>

#include "index/hnsw_index.h"

namespace foreshore {
namespace {

// A search that wants a few has them once so many in a row were clearly farther than those.
constexpr std::size_t kFartherMin = 10;

// The nearest few of what is offered in the order of a walk, which differs from that of the distances by little: by how
// much is seen from how far a distance falls behind one that came before it. Where distances lie close together, as
// they do far from the query, that is many places.
class Nearest {
 public:
  explicit Nearest(std::size_t wanted_count) : wanted_count_(wanted_count) { distances_.reserve(wanted_count + 1); }
  bool is_complete() const { return farther_in_a_row_ >= kFartherMin; }
  void Offer(double distance) {
    disorder_ = std::max(disorder_, farthest_ - distance);
    farthest_ = std::max(farthest_, distance);
    if (distances_.size() == wanted_count_) {
      farther_in_a_row_ = distance > distances_.front() + disorder_ ? farther_in_a_row_ + 1 : 0;
      if (distance >= distances_.front()) return;
      std::pop_heap(distances_.begin(), distances_.end());
      distances_.pop_back();
    }
    distances_.push_back(distance);
    std::push_heap(distances_.begin(), distances_.end());
  }

 private:
  std::size_t wanted_count_;
  std::size_t farther_in_a_row_ = 0;
  double farthest_ = -std::numeric_limits<double>::infinity();
  double disorder_ = 0;
  std::vector<double> distances_;  // A heap, farthest on top.
};

}  // namespace

Status HnswIndex::Settle(const std::shared_ptr<const State>& now, const VectorQuery& query,
                         std::vector<std::uint32_t> slots, std::size_t wanted_count, std::uint64_t snapshot_sequence,
                         Candidates& candidates, bool may_stop) const {
  const std::size_t half = candidates.graph_exhausted ? slots.size() : (slots.size() + 1) / 2;
  const bool is_rough = now->graph->config().small_codes.has_value();
  // What comes behind the nearer half may be before its end by the query's own distances, which are finer than those
  // that led the walk. So some more are looked at than are settled, and where small codes led it all of them.
  const std::size_t looked_at_max =
      is_rough ? slots.size() : std::min(slots.size(), std::max(half, wanted_count) + half / 2);
  may_stop = may_stop && !is_rough && wanted_count > 0;
  const std::size_t ahead = may_stop ? wanted_count + kFartherMin : looked_at_max;
  for (std::size_t i = 0; i < std::min(ahead, looked_at_max); ++i) now->Prefetch(slots[i]);
  Nearest nearest(wanted_count);
  std::size_t settled_count = 0;
  candidates.settled.clear();
  candidates.settled.reserve(std::min(ahead, looked_at_max));
  bool has_stopped = false;
  for (std::size_t i = 0; i < slots.size() && candidates.settled.size() < looked_at_max && !has_stopped; ++i) {
    if (i + ahead < looked_at_max) now->Prefetch(slots[i + ahead]);
    const HnswEntry entry = now->entries[slots[i]];
    if (!entry.VisibleAt(snapshot_sequence)) continue;
    FORESHORE_RETURN_IF_ERROR(now->CheckCodes(slots[i]));
    candidates.settled.push_back({entry.docid, now->DistanceTo(query, slots[i])});
    if (i < half || settled_count < wanted_count) ++settled_count;
    if (!may_stop) continue;
    nearest.Offer(candidates.settled.back().distance);
    has_stopped = nearest.is_complete();
  }
  std::sort(candidates.settled.begin(), candidates.settled.end(), &IsNearer);
  candidates.settled.resize(has_stopped ? wanted_count : settled_count);
  candidates.unsettled.clear();
  if (!has_stopped) return Status::Ok();
  candidates.unsettled = std::move(slots);
  candidates.state = now;
  return Status::Ok();
}

Status HnswIndex::SettleAll(const VectorQuery& query, std::uint64_t snapshot_sequence, Candidates& candidates) const {
  FORESHORE_RETURN_IF_ERROR(CheckUsable());
  const std::shared_ptr<const State> state = std::move(candidates.state);
  const auto lock = state->graph->LockShared();
  return Settle(state, query, std::move(candidates.unsettled), 0, snapshot_sequence, candidates, false);
}

}  // namespace foreshore
