#include "engine/query/nearest_scan.h"

#include <algorithm>
#include <utility>

#include "engine/query/collection_plan.h"

namespace foreshore {
namespace {

// A neighbour with its document costs about as much as so many entries of a secondary index: 8 and 0.3 us on GloVe,
// with documents of 1 KB.
constexpr std::size_t kEntriesPerNeighbour = 25;
constexpr std::size_t kStreamedMin = 32;

constexpr std::size_t kFiltersMax = 16;
constexpr std::size_t kFilterDocumentsMax = 2'000'000;  // Of all filters that are kept: 24 MB or so.

}  // namespace

std::size_t StreamedNeighboursMax(std::size_t expected_count) {
  return std::max(kStreamedMin, expected_count / kEntriesPerNeighbour);
}

std::shared_ptr<NearestFilter> NearestFilters::Of(const NearestFilterKey& key) {
  const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const auto& each) { return each->key == key; });
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    return kept_.front();
  }
  auto filter = std::make_shared<NearestFilter>();
  filter->key = key;
  std::size_t document_count = 0;
  std::size_t filter_count = 1;
  for (auto each = kept_.begin(); each != kept_.end();) {
    document_count += (*each)->documents ? (*each)->documents->size() : 0;
    ++filter_count;
    const bool stays = filter_count <= kFiltersMax && document_count <= kFilterDocumentsMax;
    each = stays ? std::next(each) : kept_.erase(each);
  }
  kept_.push_front(filter);
  return filter;
}

Result<std::unique_ptr<NearestScan>> NearestScan::Start(ReadView& view, Request request) {
  std::unique_ptr<NearestScan> scan(new NearestScan(view, std::move(request)));
  const Request& asked = scan->request_;
  const bool is_few = asked.expected_count == 0;
  if (asked.filter->documents || is_few) {
    // Estimates may be far off: above so many, neighbours are streamed, and SQLite tests the terms as it does anyway.
    const double rows_max = NearestFilterRowsMax(static_cast<double>(asked.vector_count));
    FORESHORE_RETURN_IF_ERROR(scan->SearchAmong(1000 + static_cast<std::size_t>(2 * rows_max)));
  }
  if (!scan->neighbours_) {
    scan->may_gather_ = !is_few;
    FORESHORE_ASSIGN_OR_RETURN(scan->neighbours_, view.Nearest(*asked.index, asked.query, asked.options));
  }
  return scan;
}

// Leaves neighbours_ as it is where more than `count_max` documents pass.
Status NearestScan::SearchAmong(std::size_t count_max) {
  NearestFilter& filter = *request_.filter;
  if (filter.is_too_large) return Status::Ok();
  if (!filter.documents) {
    FORESHORE_ASSIGN_OR_RETURN(auto docids, request_.gather(count_max));
    filter.is_too_large = !docids.has_value();
    if (!docids) return Status::Ok();
    filter.documents = std::make_shared<VectorFilter>(std::move(*docids));
  }
  NeighbourOptions options = request_.options;
  options.among = filter.documents;
  FORESHORE_ASSIGN_OR_RETURN(neighbours_, view_.Nearest(*request_.index, request_.query, options));
  return Status::Ok();
}

Result<std::optional<Neighbour>> NearestScan::Next() {
  if (may_gather_ && request_.filter->streamed_count >= StreamedNeighboursMax(request_.expected_count)) {
    may_gather_ = false;
    const auto share_max =
        static_cast<std::size_t>(2 * kNearestFilterShareMax * static_cast<double>(request_.vector_count));
    FORESHORE_RETURN_IF_ERROR(SearchAmong(share_max));
  }
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const auto neighbour, neighbours_->Next());
    if (!neighbour) return neighbour;
    if (may_gather_) {
      ++request_.filter->streamed_count;
      yielded_.insert(neighbour->docid);
      return neighbour;
    }
    if (yielded_.empty() || !yielded_.contains(neighbour->docid)) return neighbour;
  }
}

}  // namespace foreshore
