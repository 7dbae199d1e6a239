// A database of one set: documents that carry their vector, by number; "bucket" 0..99 with an index on it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "foreshore/database.h"
#include "tests/bench/vector_bench.h"

namespace foreshore {

// In a new folder; returns once all is indexed.
std::unique_ptr<Database> ImportSet(const Options& options, const VectorSet& set, const std::string& folder);

// Queries per second of the first `query_count` queries by SQL, documents included, in the terms of `where`.
double TimeSql(Database& database, const VectorSet& set, const std::string& where, std::size_t query_count,
               const Truth& expected, double& recall);

}  // namespace foreshore
