// What is known of how well a vector index finds, and of what was deleted from it: a part of IndexInfo.
#pragma once

#include <cstdint>
#include <string>

namespace foreshore {

struct VectorUpkeepInfo {
  // Recall@10 of a search for ten as it runs now: from the last sample where there is one, else as tuned; 0: unknown.
  double estimated_recall = 0;
  // What a sample in the background measured: of how many queries, "recent queries" or "stored vectors" (which are
  // easier to find), with which search, and how long ago. An ef of 0: none was taken. Taken anew once a tenth of the
  // vectors has changed, or the search was tuned.
  double sampled_recall = 0;
  std::uint32_t sampled_ef = 0;
  std::uint32_t sample_count = 0;
  std::string sample_kind;
  std::int64_t sample_age_ms = 0;
  // Vectors that were deleted or replaced, and still take places in the graph; how far the background is with making it
  // anew without them (0 of 0: it does not at present), and what it did since the open.
  std::uint64_t garbage_count = 0;
  std::uint64_t repair_done_count = 0;
  std::uint64_t repair_total_count = 0;
  std::uint64_t repair_slice_count = 0;
  std::int64_t repair_slice_us_max = 0;
  std::uint64_t repair_reclaimed_count = 0;
};

}  // namespace foreshore
