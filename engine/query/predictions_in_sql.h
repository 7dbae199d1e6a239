// Statements whose predictions an index holds: the expressions predict('m', x) ->> '$[0][0]' and
// json_extract(predict('m', x), '$[0][0]') become the hidden column of that name, which plans narrow and order by like
// any column.
//
// SQLite itself says what a name means: the statement is compiled as it was written and with the columns in place, and
// counts only where both read the same columns of the same tables one after the other, but for the input's becoming the
// hidden one's. Where that is not so, as for an `x` of another table of the same name, the expression stays.
//
// Threads: as the session.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/query/session_state.h"

namespace foreshore {

struct IndexedStatement {
  std::string sql;
  // Indexes whose columns are in it: of a collection, by ids.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> indexes;
};

// `sql` is one statement that compiles. nullopt where no index holds anything of it.
std::optional<IndexedStatement> UsePredictiveIndexes(SessionState& session, std::string_view sql);

// A line of EXPLAIN QUERY PLAN for each of the indexes.
std::vector<std::string> ExplainPredictiveIndexes(SessionState& session, const IndexedStatement& statement);

}  // namespace foreshore
