// The stream of matches over an HnswIndex: graph searches with doubling ef, then a scan of what is left. Among some
// documents the scan comes in two parts: of their codes for what is nearest, and closely for all.
//
// Lifetime: must not outlive its index. Threads: one at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "index/hnsw_index.h"

namespace foreshore {

enum class HnswWay : std::uint8_t {
  kScan,    // Of the codes.
  kGraph,   // A walk over all nodes.
  kTwoHop,  // A walk over those of the documents that are looked for (index/flat_graph_among.cc).
};

// What the planner decides for a search over `node_count` codes, `among_count` of which are looked for, for the cursor
// and for EXPLAIN.
struct HnswPlan {
  HnswWay way = HnswWay::kScan;
  std::size_t ef = 0;          // Of the first graph search.
  std::size_t far_ef = 0;      // The same of a walk of two hops where what is looked for is rare around the query.
  std::size_t visits_max = 0;  // Of the walk of two hops, until a scan would have been done.
};
HnswPlan PlanHnswSearch(const VectorSearchOptions& options, std::optional<std::size_t> among_count,
                        std::uint32_t node_count, const VectorIndexConfig& config);

// A set of documents. Most searches take few, which looking at each finds without an allocation for each.
class SeenDocids {
 public:
  // False where it is there already.
  bool Insert(std::int64_t docid) {
    if (!many_.empty()) return many_.insert(docid).second;
    if (Contains(docid)) return false;
    few_.push_back(docid);
    if (few_.size() > kFewMax) many_.insert(few_.begin(), few_.end());
    return true;
  }
  bool Contains(std::int64_t docid) const {
    if (!many_.empty()) return many_.contains(docid);
    return std::find(few_.begin(), few_.end(), docid) != few_.end();
  }
  std::size_t size() const { return many_.empty() ? few_.size() : many_.size(); }

 private:
  static constexpr std::size_t kFewMax = 32;
  std::vector<std::int64_t> few_;
  std::unordered_set<std::int64_t> many_;  // Everything, once that is more than kFewMax.
};

class HnswCursor final : public VectorCursor {
 public:
  HnswCursor(const HnswIndex& index, VectorQuery query, std::uint64_t snapshot_sequence, VectorSearchOptions options);

  Result<std::optional<VectorMatch>> Next() override;
  std::string strategy() const override;
  const VectorQuery& query() const override { return query_; }

 private:
  enum class Phase { kGraph, kNearest, kScan, kDone };
  Status SearchGraph();
  Status SearchNearest();
  void Take(HnswIndex::Candidates found);
  HnswPlan Plan(std::size_t ef, VectorStrategy strategy) const;
  Status ScanRest();
  std::size_t WiderEf() const;

  const HnswIndex& index_;
  const VectorQuery query_;
  const std::uint64_t snapshot_sequence_;
  const VectorSearchOptions options_;

  Phase phase_;
  HnswPlan plan_;  // Of the next graph search.
  bool walked_two_hops_ = false;
  double share_met_ = 1;                      // How many passed where walks over all were, the least.
  std::size_t first_ef_ = 0;                  // Of the first graph search done, 0 where there was none.
  std::size_t last_ef_ = 0;                   // Of the latest.
  std::optional<std::size_t> scanned_count_;  // Codes of the scan.
  std::size_t accepted_count_ = 0;            // Matches yielded.
  HnswIndex::Candidates found_;               // By the latest, for who takes more than was wanted.
  std::vector<VectorMatch> pending_;          // A heap, nearest on top: found and not yet looked at.
  SeenDocids seen_;                           // Documents that were yielded or refused by the predicate.
};

}  // namespace foreshore
