// The filtered part of bench_vectors: filters that let through 1 %, 10 % and 50 % of the rows whatever they are, and
// one of 10 % whose rows lie far from the queries; ours and hnswlib 0.8's.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "foreshore/database.h"
#include "index/vector_index.h"
#include "tests/bench/vector_set.h"

namespace foreshore {

struct FilterCase {
  std::string name;
  std::string where;                      // For SQL; its parameter is the number of the filter.
  std::vector<std::vector<bool>> passes;  // By filter, which rows.
  std::vector<std::size_t> queries;       // Numbers of the set's.
  std::vector<std::size_t> filter_of;     // By place in `queries`.
  std::vector<std::vector<std::int64_t>> truth;
};

// "bucket" of a row: 0..99, of no connection with its vector.
int BucketOf(std::size_t row);
// "team" of each row: its label or, where the set has none, 0 for the tenth that is farthest from the first query.
std::vector<int> TeamsOf(const VectorSet& set, VectorMetric metric);

std::vector<FilterCase> FilterCasesOf(const VectorSet& set, VectorMetric metric);

// Prints `, "filters": […]`: per case the queries per second of each round at the least ef that reaches recall 0.95.
void MeasureFilters(const VectorSet& set, VectorMetric metric, const VectorIndex& ours,
                    const std::vector<FilterCase>& cases, std::uint32_t peer_links, int thread_count, int rounds);

// Prints `, "sql_filters": […]`: the same cases by SQL, over documents with "n", "bucket" and "team".
void MeasureSqlFilters(Database& database, const VectorSet& set, const std::vector<FilterCase>& cases);

}  // namespace foreshore
