#include "index/vector_index.h"

#include <utility>

namespace foreshore {

Result<std::vector<VectorMatch>> VectorIndex::ExactSearch(std::span<const float> query, std::uint64_t snapshot_sequence,
                                                          std::size_t k,
                                                          std::function<bool(std::int64_t docid)> predicate) const {
  VectorSearchOptions options;
  options.strategy = VectorStrategy::kExact;
  options.predicate = std::move(predicate);
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, NewCursor(query, snapshot_sequence, std::move(options)));
  std::vector<VectorMatch> matches;
  while (matches.size() < k) {
    FORESHORE_ASSIGN_OR_RETURN(const std::optional<VectorMatch> match, cursor->Next());
    if (!match.has_value()) break;
    matches.push_back(*match);
  }
  return matches;
}

}  // namespace foreshore
