// What one run of a statement knows of predictive indexes: by which weights it predicts, what its snapshot lacks.
//
// Lifetime: as the run; before its view. Threads: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/database/predicted_rows.h"

namespace foreshore {

class SessionState;

class StatementPredictions {
 public:
  explicit StatementPredictions(SessionState& session) : session_(session) {}

  // The index as the snapshot has it, or, where that lacks it, as the tables were declared. kConflict where it is gone
  // from both.
  Result<const PredictiveIndexDefinition*> Find(const CollectionDefinition& collection, std::uint32_t index_id);
  // All that is missing, computed. `write_count` tells states of a transaction apart.
  Result<std::shared_ptr<const PredictedRows>> Rows(ReadView& view, const CollectionDefinition& collection,
                                                    std::uint32_t index_id, std::uint64_t write_count);
  // One document's value, a JSON number or nothing. `body` is the document's. `is_scan`: others will be asked for, so
  // that after some that had to be computed the rest is computed together.
  Result<std::string_view> Token(ReadView& view, const CollectionDefinition& collection, std::uint32_t index_id,
                                 std::int64_t docid, std::string_view body, bool is_scan, std::uint64_t write_count);

 private:
  struct Known {
    std::uint32_t index_id = 0;
    std::shared_ptr<const Catalog> declared;  // Keeps `index`, where it is not the view's. Shared with the session.
    const PredictiveIndexDefinition* index = nullptr;
    bool is_stored = false;
    std::shared_ptr<const Predictor> predictor;
    std::optional<PredictionLookup> lookup;
    std::shared_ptr<const PredictedRows> rows;
    std::uint64_t write_count = 0;  // Of lookup and rows.
    std::size_t computed_count = 0;
    // What Token() gave out last: it is asked for in the filter, and again in the result.
    std::int64_t last_docid = 0;
    std::string last_token;
  };
  Result<Known*> Know(const CollectionDefinition& collection, std::uint32_t index_id);
  Status Predict(Known& known);  // Sets its predictor.

  SessionState& session_;
  std::vector<std::unique_ptr<Known>> known_;
};

}  // namespace foreshore
