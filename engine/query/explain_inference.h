// What EXPLAIN QUERY PLAN says of models: which calls of predict() and embed() a statement makes, for about how many
// rows, by which path, and what a row has cost on this device.
//
// Threads: one at a time, as SqlSession.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/query/session_state.h"

namespace foreshore {

// One line for each call in the statement, which comes without its "EXPLAIN QUERY PLAN"; none where it does not
// compile.
std::vector<std::string> ExplainInference(SessionState& session, const std::string& sql);

// "0.21 us a row, measured", or that it was not measured yet.
std::string InferenceCostText(SessionState& session, const std::string& model, bool is_batch);

}  // namespace foreshore
