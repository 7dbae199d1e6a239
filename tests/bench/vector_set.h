// The vectors of one bench: base, queries, labels, and the true neighbours of each query.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "index/vector_metric.h"

namespace foreshore {

struct FloatRows {
  std::uint32_t dimension = 0;
  std::vector<float> values;
  std::size_t count() const { return dimension == 0 ? 0 : values.size() / dimension; }
  std::span<const float> operator[](std::size_t row) const { return {values.data() + row * dimension, dimension}; }
};

struct VectorSet {
  FloatRows base;
  FloatRows queries;
  std::vector<std::uint8_t> base_labels;  // Empty where the set has none.
  std::vector<std::uint8_t> query_labels;
};

inline constexpr std::size_t kTruthCount = 100;  // True neighbours kept per query.

// Reads base.fvecs, query.fvecs and, where there are labels, *.labels of `folder`; under cosine all are made unit
// vectors. Prints what is wrong and exits.
VectorSet ReadVectorSet(const std::string& folder, VectorMetric metric);

// The kTruthCount nearest rows of `base` to each query in float, nearest first; -1 where fewer rows pass. `passes` says
// which rows count; empty: all.
std::vector<std::vector<std::int64_t>> TrueNeighbors(const VectorSet& set, VectorMetric metric,
                                                     const std::vector<bool>& passes);
// The same of some of the queries.
std::vector<std::vector<std::int64_t>> TrueNeighbors(const VectorSet& set, VectorMetric metric,
                                                     const std::vector<bool>& passes,
                                                     std::span<const std::size_t> queries);

// TrueNeighbors() over all rows, kept in a file of `folder`.
std::vector<std::vector<std::int64_t>> CachedTrueNeighbors(const VectorSet& set, VectorMetric metric,
                                                           const std::string& folder);

}  // namespace foreshore
