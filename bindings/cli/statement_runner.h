// Runs one SQL statement and prints its rows as they come.
#pragma once

#include <csignal>
#include <cstdint>
#include <string_view>

#include "bindings/cli/output.h"
#include "foreshore/database.h"

namespace foreshore::cli {

struct StatementOutcome {
  bool has_columns = false;
  std::uint64_t row_count = 0;
  std::int64_t changed_count = 0;
  bool may_change = true;  // Unlike BEGIN, COMMIT and their kind, which change nothing themselves.
  bool is_cut = false;     // There are rows behind those that were shown.
};

// Stops with kCancelled once `interrupted`, which may be null, is true; the connection's keep_going should look at it
// too, for statements that yield no rows. A table of EXPLAIN QUERY PLAN is shown as a tree.
Result<StatementOutcome> RunStatement(SqlConnection& connection, std::string_view sql, const PrintOptions& options,
                                      const volatile std::sig_atomic_t* interrupted = nullptr);
// A failed statement's status with what may have been meant; on a terminal its place is shown on standard error.
Status ReportSqlError(Database& database, std::string_view sql, const Status& status);

}  // namespace foreshore::cli
