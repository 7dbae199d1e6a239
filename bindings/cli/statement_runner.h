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
};

// Stops with kCancelled once `interrupted`, which may be null, is true; the connection's keep_going should look at it
// too, for statements that yield no rows.
Result<StatementOutcome> RunStatement(SqlConnection& connection, std::string_view sql, Format format,
                                      const volatile std::sig_atomic_t* interrupted = nullptr);

}  // namespace foreshore::cli
