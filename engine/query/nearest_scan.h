// k-NN among the documents that a scan of a secondary index finds.
//
// To know these documents costs a walk over the index, and a search that streams neighbours until enough of them pass
// the terms needs none. Which is cheaper depends on how near to the query the documents lie, and nobody knows that
// before. So where many are expected, neighbours are streamed until that has cost as much as the walk would; then the
// walk is done, and the search goes on among what it found: never more than twice the cheaper of the two. What it found
// is kept for later searches in the same snapshot, and so is what was spent without it.
//
// Lifetime: a NearestScan ends before its view. Threads: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <unordered_set>
#include <vector>

#include "engine/database/read_view.h"
#include "engine/query/field_scan.h"
#include "index/vector_filter.h"

namespace foreshore {

struct NearestFilterKey {
  std::uint32_t index_id = 0;  // Of the secondary index.
  std::int64_t sequence = 0;   // Of the snapshot.
  std::vector<KeyRange> ranges;
  bool operator==(const NearestFilterKey&) const = default;
};

struct NearestFilter {
  NearestFilterKey key;
  std::shared_ptr<const VectorFilter> documents;  // Null: not known yet. Shared with searches.
  bool is_too_large = false;                      // Then they never will be.
  std::size_t streamed_count = 0;                 // Neighbours that searches without it looked at.
};

// The filters that one session used last.
class NearestFilters {
 public:
  // Shared with the searches that use it, which may outlast its place here.
  std::shared_ptr<NearestFilter> Of(const NearestFilterKey& key);

 private:
  std::list<std::shared_ptr<NearestFilter>> kept_;  // The last used first.
};

class NearestScan : public NeighbourCursor {
 public:
  // What the scan of the secondary index finds, in any order; nothing where that is more than `count_max`.
  using Gather = std::function<Result<std::optional<std::vector<std::int64_t>>>(std::size_t count_max)>;
  struct Request {
    const VectorIndexDefinition* index = nullptr;
    std::vector<float> query;
    NeighbourOptions options;
    std::shared_ptr<NearestFilter> filter;  // Not null. Shared as NearestFilters says.
    Gather gather;
    std::size_t expected_count = 0;  // Documents that pass; 0: few, or not known.
    std::size_t vector_count = 0;    // Of the index.
  };
  static Result<std::unique_ptr<NearestScan>> Start(ReadView& view, Request request);

  Result<std::optional<Neighbour>> Next() override;

 private:
  NearestScan(ReadView& view, Request request) : view_(view), request_(std::move(request)) {}
  Status SearchAmong(std::size_t count_max);

  ReadView& view_;
  Request request_;
  std::unique_ptr<NeighbourCursor> neighbours_;
  bool may_gather_ = false;                   // Neighbours of all documents are streamed, and that may change.
  std::unordered_set<std::int64_t> yielded_;  // While they were.
};

// How many neighbours are streamed before `expected_count` documents are gathered instead.
std::size_t StreamedNeighboursMax(std::size_t expected_count);

}  // namespace foreshore
