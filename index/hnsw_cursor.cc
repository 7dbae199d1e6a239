#include "index/hnsw_cursor.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace foreshore {
namespace {

// A graph search at ef computes some 2M distances per candidate, in no order of memory, and keeps heaps; a scan
// computes node_count in order. Measured at 384 dimensions and M 16: 2.2 us per unit of ef, 0.07 us per code scanned.
constexpr std::size_t kScanFromFraction = 32;

// What searches among some documents cost, in ns. Measured on GloVe (340,479 vectors of 100 dimensions, M 24) and MNIST
// (60,000 of 784, M 16): a code of a scan 25 and 55; a candidate of a walk over all 1,300 and 1,700; one of a walk of
// two hops, where 10 % pass, 5,700 and 3,500, where 50 % pass 3,400 and 4,500.
struct AmongCosts {
  double code = 0;       // Of a scan.
  double candidate = 0;  // Of a walk over all.
  double two_hop = 0;    // Of a walk of two hops: a candidate.
  double visit = 0;      // The same: a row of links or a code.
  AmongCosts(const VectorIndexConfig& config, double share) {
    const double dimension = config.dimension;
    const double links = 2.0 * config.links_per_node;
    code = 20 + 0.05 * dimension;
    candidate = 1000 + 0.9 * dimension;
    two_hop = 1.3 * (candidate + (1 - share) * links * (20 + links));
    visit = 40 + 0.05 * dimension;
  }
};

// Where fewer than so many of a node's neighbours pass, a walk of two hops needs more candidates for the same recall.
constexpr double kPassingLinksMin = 1.5;
// And so many times the candidates where what passes is rare around the query: it then lies around it on all sides.
constexpr std::size_t kFarEfFactor = 6;

// A scan among some documents looks closely at so many of the nearest, where they are a small part.
constexpr std::size_t kNearestMin = 64;
constexpr std::size_t kNearestPerResult = 4;
constexpr std::size_t kNearestFraction = 4;

// Puts the nearest on top of a heap of std::push_heap.
bool Farther(const VectorMatch& a, const VectorMatch& b) {
  return IsNearer(b, a);
}

}  // namespace

HnswPlan PlanHnswSearch(const VectorSearchOptions& options, std::optional<std::size_t> among_count,
                        std::uint32_t node_count, const VectorIndexConfig& config) {
  HnswPlan plan;
  plan.ef = std::max(options.ef, std::min<std::size_t>(options.k_hint, UINT32_MAX));
  if (!among_count) {
    const bool is_auto_graph = node_count > config.exact_scan_entries_max && plan.ef <= node_count / kScanFromFraction;
    const bool walks =
        options.strategy == VectorStrategy::kGraph || (options.strategy == VectorStrategy::kAuto && is_auto_graph);
    plan.way = walks ? HnswWay::kGraph : HnswWay::kScan;
    return plan;
  }
  const double nodes = std::max(1.0, static_cast<double>(node_count));
  const double among = std::clamp(static_cast<double>(*among_count), 1.0, nodes);
  const double share = among / nodes;
  const AmongCosts costs(config, share);
  const double scan_cost = costs.code * among;
  const double all_cost = costs.candidate * static_cast<double>(plan.ef) / share;
  double two_hop_cost = INFINITY;
  if (config.graph == VectorGraphKind::kFlat) {
    const double widening = std::max(1.0, kPassingLinksMin / (share * 2.0 * config.links_per_node));
    const double two_hop_ef = static_cast<double>(plan.ef) * widening;
    two_hop_cost = costs.two_hop * two_hop_ef;
    if (two_hop_cost < all_cost) plan.ef = static_cast<std::size_t>(std::min(two_hop_ef, among));
    if (costs.two_hop * kFarEfFactor * static_cast<double>(plan.ef) < scan_cost) plan.far_ef = kFarEfFactor * plan.ef;
    plan.visits_max = static_cast<std::size_t>(scan_cost / costs.visit);
  }
  plan.way = two_hop_cost < all_cost ? HnswWay::kTwoHop : HnswWay::kGraph;
  const bool scans = options.strategy == VectorStrategy::kExact ||
                     (options.strategy == VectorStrategy::kAuto && scan_cost <= std::min(all_cost, two_hop_cost));
  if (scans) plan.way = HnswWay::kScan;
  return plan;
}

HnswCursor::HnswCursor(const HnswIndex& index, VectorQuery query, std::uint64_t snapshot_sequence,
                       VectorSearchOptions options)
    : index_(index), query_(std::move(query)), snapshot_sequence_(snapshot_sequence), options_(std::move(options)) {
  plan_ = Plan(options_.ef, options_.strategy);
  phase_ = plan_.way == HnswWay::kScan ? Phase::kNearest : Phase::kGraph;
}

HnswPlan HnswCursor::Plan(std::size_t ef, VectorStrategy strategy) const {
  VectorSearchOptions options;
  options.ef = ef;
  options.k_hint = options_.k_hint;
  options.strategy = strategy;
  std::optional<std::size_t> among_count;
  if (options_.among) among_count = options_.among->size();
  return PlanHnswSearch(options, among_count, index_.node_count(), index_.config());
}

Result<std::optional<VectorMatch>> HnswCursor::Next() {
  while (true) {
    while (!pending_.empty()) {
      std::pop_heap(pending_.begin(), pending_.end(), &Farther);
      const VectorMatch match = pending_.back();
      pending_.pop_back();
      if (match.distance > options_.distance_max) {
        pending_.clear();
        break;
      }
      if (!seen_.Insert(match.docid)) continue;
      if (options_.predicate && !options_.predicate(match.docid)) continue;
      ++accepted_count_;
      return std::optional<VectorMatch>(match);
    }
    if (!found_.unsettled.empty()) {
      FORESHORE_RETURN_IF_ERROR(index_.SettleAll(query_, snapshot_sequence_, found_));
      Take(std::move(found_));
      continue;
    }
    switch (phase_) {
      case Phase::kGraph: FORESHORE_RETURN_IF_ERROR(SearchGraph()); break;
      case Phase::kNearest: FORESHORE_RETURN_IF_ERROR(SearchNearest()); break;
      case Phase::kScan: FORESHORE_RETURN_IF_ERROR(ScanRest()); break;
      case Phase::kDone: return std::optional<VectorMatch>();
    }
  }
}

Status HnswCursor::SearchGraph() {
  // After the first search every widening is weighed anew against the scan.
  if (last_ef_ != 0) {
    plan_ = Plan(WiderEf(), options_.among ? VectorStrategy::kAuto : VectorStrategy::kGraph);
    if (plan_.way == HnswWay::kScan || (!options_.among && plan_.ef > index_.node_count() / kScanFromFraction)) {
      phase_ = Phase::kScan;
      return Status::Ok();
    }
  }
  const std::size_t wanted_count = first_ef_ == 0 ? options_.k_hint : 0;
  const bool is_two_hop = plan_.way == HnswWay::kTwoHop;
  HnswIndex::Candidates found;
  if (is_two_hop) {
    FORESHORE_ASSIGN_OR_RETURN(found,
                               index_.SearchAmong(query_, *options_.among, plan_, wanted_count, snapshot_sequence_));
  } else {
    FORESHORE_ASSIGN_OR_RETURN(
        found, index_.SearchGraph(query_, options_.among.get(), plan_.ef, wanted_count, snapshot_sequence_));
  }
  if (first_ef_ == 0) first_ef_ = plan_.ef;
  last_ef_ = plan_.ef;
  walked_two_hops_ |= is_two_hop;
  // For nodes that no path leads to; and where what passes is so spread that only a scan of it can tell.
  if (found.graph_exhausted) phase_ = Phase::kScan;
  if (found.gave_up) phase_ = wanted_count > 0 ? Phase::kNearest : Phase::kScan;
  Take(std::move(found));
  return Status::Ok();
}

void HnswCursor::Take(HnswIndex::Candidates found) {
  found_ = std::move(found);
  pending_ = std::move(found_.settled);
  // An eighth of them lies beyond the bound: then a wider search would hardly find more that lie within.
  if (!pending_.empty() && pending_[pending_.size() * 7 / 8].distance > options_.distance_max) {
    phase_ = Phase::kDone;
    found_.unsettled.clear();
  }
  std::make_heap(pending_.begin(), pending_.end(), &Farther);
}

// All codes among which to search are compared, but only the nearest are looked at closely, for who wants just those.
Status HnswCursor::SearchNearest() {
  phase_ = Phase::kScan;
  const std::size_t count = std::max(kNearestMin, kNearestPerResult * options_.k_hint);
  if (!options_.among || options_.among->size() < kNearestFraction * count) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(HnswIndex::Candidates found,
                             index_.NearestAmong(query_, *options_.among, count, options_.k_hint, snapshot_sequence_));
  scanned_count_ = options_.among->size();
  Take(std::move(found));
  return Status::Ok();
}

// Twice the last, or at once what the share of documents that pass the predicate suggests for k_hint results.
std::size_t HnswCursor::WiderEf() const {
  const std::size_t doubled = 2 * last_ef_;
  if (!options_.predicate || seen_.size() == 0 || accepted_count_ >= options_.k_hint) return doubled;
  const double share = std::max<double>(static_cast<double>(accepted_count_), 0.5) / static_cast<double>(seen_.size());
  const double needed = 2.0 * static_cast<double>(options_.k_hint) / share;
  return std::max(doubled, static_cast<std::size_t>(std::min(needed, 4e9)));
}

Status HnswCursor::ScanRest() {
  if (options_.among) {
    FORESHORE_ASSIGN_OR_RETURN(pending_, index_.ScanAmong(query_, *options_.among, snapshot_sequence_));
  } else {
    FORESHORE_ASSIGN_OR_RETURN(pending_, index_.ScanAll(query_, snapshot_sequence_));
  }
  scanned_count_ = pending_.size();
  std::erase_if(pending_, [this](const VectorMatch& match) { return seen_.Contains(match.docid); });
  std::make_heap(pending_.begin(), pending_.end(), &Farther);
  phase_ = Phase::kDone;
  return Status::Ok();
}

std::string HnswCursor::strategy() const {
  std::string text;
  if (first_ef_ != 0) {
    text = "hnsw ef=" + std::to_string(first_ef_);
    if (last_ef_ != first_ef_) text += ".." + std::to_string(last_ef_);
    if (walked_two_hops_) text += ", two hops";
  }
  if (scanned_count_) {
    if (!text.empty()) text += ", then ";
    text += "exact scan of " + std::to_string(*scanned_count_) + " codes";
  }
  return text.empty() ? "not started" : text;
}

}  // namespace foreshore
