// The stream of matches over an HnswIndex: graph searches with doubling ef, then a scan of what is left.
//
// Lifetime: must not outlive its index. Threads: one at a time.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "index/hnsw_index.h"

namespace foreshore {

// What the planner decides for a search over `node_count` codes, for the cursor and for EXPLAIN.
struct HnswPlan {
  bool starts_with_graph = false;
  std::size_t ef = 0;  // Of the first graph search.
};
HnswPlan PlanHnswSearch(const VectorSearchOptions& options, std::uint32_t node_count,
                        std::uint32_t exact_scan_entries_max);

class HnswCursor final : public VectorCursor {
 public:
  HnswCursor(const HnswIndex& index, VectorQuery query, std::uint64_t snapshot_sequence, VectorSearchOptions options);

  Result<std::optional<VectorMatch>> Next() override;
  std::string strategy() const override;
  const VectorQuery& query() const override { return query_; }

 private:
  enum class Phase { kGraph, kScan, kDone };
  Status SearchGraph();
  Status ScanRest();
  std::size_t WiderEf() const;

  const HnswIndex& index_;
  const VectorQuery query_;
  const std::uint64_t snapshot_sequence_;
  const VectorSearchOptions options_;

  Phase phase_;
  std::size_t ef_;                         // Of the next graph search.
  std::size_t first_ef_ = 0;               // Of the first graph search done, 0 where there was none.
  std::size_t last_ef_ = 0;                // Of the latest.
  std::size_t scanned_count_ = 0;          // Codes of the scan.
  std::size_t accepted_count_ = 0;         // Matches yielded.
  std::vector<VectorMatch> pending_;       // A heap, nearest on top: found and not yet looked at.
  bool pending_was_cleared_ = false;       // Of what was seen.
  std::unordered_set<std::int64_t> seen_;  // Documents that were yielded or refused by the predicate.
};

}  // namespace foreshore
