// Clustered vectors that look more like embeddings than uniform noise does: centres on the unit sphere, and points
// around them, normalised.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "index/quantizer.h"
#include "index/vector_index.h"

namespace foreshore {

class SyntheticVectors {
 public:
  SyntheticVectors(std::uint32_t dimension, std::size_t cluster_count, unsigned seed)
      : dimension_(dimension), random_(seed) {
    for (std::size_t i = 0; i < cluster_count; ++i) centres_.push_back(Around(std::vector<float>(dimension, 0.0F), 1));
  }

  std::vector<float> Next() {
    return Around(centres_[std::uniform_int_distribution<std::size_t>(0, centres_.size() - 1)(random_)], 0.7F);
  }
  std::mt19937& random() { return random_; }

 private:
  std::vector<float> Around(const std::vector<float>& centre, float spread) {
    std::normal_distribution<float> normal(0.0F, spread / std::sqrt(static_cast<float>(dimension_)));
    std::vector<float> values(dimension_);
    double squared_norm = 0;
    for (std::uint32_t i = 0; i < dimension_; ++i) {
      values[i] = centre[i] + normal(random_);
      squared_norm += static_cast<double>(values[i]) * values[i];
    }
    for (float& value : values) value = static_cast<float>(value / std::sqrt(squared_norm));
    return values;
  }

  std::uint32_t dimension_;
  std::mt19937 random_;
  std::vector<std::vector<float>> centres_;
};

inline constexpr VectorPrecision kPrecisions[] = {VectorPrecision::kInt8, VectorPrecision::kInt16};

inline ByteString RecordOf(const std::vector<float>& values, VectorPrecision precision = VectorPrecision::kInt8) {
  Result<ByteString> record = EncodeVectorRecord(values, static_cast<std::uint32_t>(values.size()), precision);
  REQUIRE(record.ok());
  return std::move(record).value();
}

// Which graph NewIndex() takes: the same tests are built once for each.
#if defined(FORESHORE_TEST_HNSWLIB)
inline constexpr VectorGraphKind kGraphUnderTest = VectorGraphKind::kHnswlib;
#else
inline constexpr VectorGraphKind kGraphUnderTest = VectorGraphKind::kFlat;
#endif

inline std::unique_ptr<VectorIndex> NewIndex(std::uint32_t dimension, VectorMetric metric = VectorMetric::kCosine,
                                             VectorPrecision precision = VectorPrecision::kInt8) {
  VectorIndexConfig config;
  config.name = "vector index \"notes.embedding\"";
  config.metric = metric;
  config.dimension = dimension;
  config.precision = precision;
  config.graph = kGraphUnderTest;
  Result<std::unique_ptr<VectorIndex>> index = CreateHnswIndex(config);
  REQUIRE(index.ok());
  return std::move(index).value();
}

// Up to `count` matches of a cursor.
inline std::vector<VectorMatch> Take(VectorCursor& cursor, std::size_t count) {
  std::vector<VectorMatch> matches;
  while (matches.size() < count) {
    Result<std::optional<VectorMatch>> match = cursor.Next();
    REQUIRE(match.ok());
    if (!match->has_value()) break;
    matches.push_back(**match);
  }
  return matches;
}

}  // namespace foreshore
