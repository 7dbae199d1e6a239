// Reciprocal rank fusion (Cormack, Clarke, Büttcher 2009) of a full-text ranking with a stream of nearest neighbours.
//
// A document's score is the sum of 1 / (k + place) over the rankings that it is in, places counted from 1. All text
// matches count, and the nearest `window` neighbours. Behind these the stream goes on: a farther neighbour that does
// not match the text comes with what its place alone is worth. So every document of either ranking is yielded once, in
// decreasing score (ties by docid), and whoever filters the rows gets as many as there are.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/database/read_view.h"
#include "foreshore/status.h"

namespace foreshore {

struct FusedRow {
  std::int64_t docid = 0;
  double score = 0;
  std::optional<double> rank;      // Of the text, where it matches.
  std::optional<double> distance;  // Where it is among the neighbours that counted.
};

class RankFusion {
 public:
  using NextNeighbour = std::function<Result<std::optional<Neighbour>>()>;
  struct Options {
    double k = 60;
    std::size_t window = 200;
  };
  // `matches` best first.
  RankFusion(std::vector<TextMatch> matches, NextNeighbour next, Options options)
      : matches_(std::move(matches)), next_neighbour_(std::move(next)), options_(options) {}

  Result<std::optional<FusedRow>> Next();

 private:
  Status Fuse();
  Status AdvanceTail();
  double WorthOf(std::size_t place) const { return 1.0 / (options_.k + static_cast<double>(place)); }

  std::vector<TextMatch> matches_;
  NextNeighbour next_neighbour_;
  Options options_;
  bool is_fused_ = false;
  std::vector<FusedRow> fused_;                             // Best last.
  std::unordered_map<std::int64_t, std::size_t> place_of_;  // Of text matches.
  std::size_t neighbour_count_ = 0;
  std::optional<FusedRow> tail_;  // The next farther neighbour.
  bool is_tail_done_ = false;
};

}  // namespace foreshore
