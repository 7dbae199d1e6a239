// What helps a person with a failed statement: where it is wrong, and what may have been meant.
//
// Threads: free functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/cli/database_names.h"

namespace foreshore::cli {

struct ErrorHint {
  std::string place;    // The line with a caret under it, in two lines; empty where no token is to blame.
  std::string message;  // The message, with "did you mean" where something near is there.
};

// `message` is that of the status that preparing or running `sql` gave.
ErrorHint ExplainSqlError(std::string_view sql, std::string_view message, const DatabaseNames& names);

// The insertions, deletions, replacements and exchanges of neighbours that turn one into the other, without regard to
// the case of ASCII letters (optimal string alignment).
std::size_t EditDistance(std::string_view left, std::string_view right);
// The nearest candidate, where it is near: one edit for three letters, up to a third of the letters beyond.
std::optional<std::string> NearestName(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace foreshore::cli
