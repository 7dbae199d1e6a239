// What differs between two results of one statement, as foreshore/subscription.h describes it.
//
// Threads: free functions, safe from any thread.
#pragma once

#include <span>
#include <vector>

#include "foreshore/subscription.h"

namespace foreshore {

// `key_columns` are those that identify a row; none: the whole row does. O(n log n).
std::vector<RowChange> DiffResults(std::span<const SqlRow> before, std::span<const SqlRow> after,
                                   std::span<const std::size_t> key_columns);

}  // namespace foreshore
