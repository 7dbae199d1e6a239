// Statements whose predictions an index holds: the expressions predict('m', x) ->> '$[0][0]' and
// json_extract(predict('m', x), '$[0][0]') become the hidden column of that name, which plans narrow and order by like
// any column. In the place of x there may be what else an index predicts from (engine/database/predicted_input.h).
//
// SQLite itself says what a name means: the statement is compiled as it was written and with the columns in place, and
// counts only where both read the same columns of the same tables one after the other, but for those of the input's
// becoming the hidden one. Where that is not so, as for an `x` of another table of the same name, the expression stays.
//
// Threads: as the session.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/query/session_state.h"

namespace foreshore {

// `sql` is one statement that compiles and reads the columns `reads`. nullopt where no index holds anything of it; else
// compiled, without `written`. The session's notes are of what was compiled last.
std::optional<CompiledStatement> UsePredictiveIndexes(SessionState& session, const std::string& sql, ColumnReads reads);

// A line of EXPLAIN QUERY PLAN for each of the indexes.
std::vector<std::string> ExplainPredictiveIndexes(SessionState& session, const CompiledStatement& statement);

}  // namespace foreshore
