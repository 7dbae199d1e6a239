// The rows of EXPLAIN QUERY PLAN as a tree, as SQLite's own shell draws it.
//
// Threads: free functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace foreshore::cli {

struct PlanStep {
  std::int64_t id = 0;
  std::int64_t parent = 0;  // 0: none.
  std::string detail;
};
std::string PlanTree(std::span<const PlanStep> steps);

}  // namespace foreshore::cli
