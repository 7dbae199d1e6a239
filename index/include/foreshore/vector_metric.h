// How two vectors are compared, and the bounds that every part of floor 2 shares.
//
// Distances, as users see them; smaller is nearer:
//   cosine  1 - cos(a, b), in 0..2. A stored vector of zeros has no direction: its distance is 1 to everything.
//   dot     -(a . b), any sign.
//   l2      the Euclidean distance (not squared), from 0.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace foreshore {

// Stored in snapshots and catalogs: never renumber one.
enum class VectorMetric : std::uint8_t { kCosine = 0, kDot = 1, kL2 = 2 };

// What is kept of each component. Documents keep 8 bits, or 16: with those the distances of what was found, and so its
// order, are about those of the float vectors. Graphs are walked over the 8 bits. With 4 bits or 1 they are walked over
// so many, made of the 8: a search reads fewer bytes near it, meets more that is not near, and puts what it found in
// order by the 8. Not over hnswlib's graph.
enum class VectorPrecision : std::uint8_t {  // Stored: never renumber.
  kInt8 = 0,
  kInt16 = 1,
  kInt4 = 2,
  kInt1 = 3,
};

// Which implementation of the graph an index has. What one saved the other opens.
enum class VectorGraphKind : std::uint8_t {  // Stored: never renumber.
  kFlat = 0,                                 // Ours (index/flat_graph.h).
  kHnswlib = 1,                              // hnswlib's: searches and changes wait for each other.
};

inline constexpr std::uint32_t kVectorLinksMin = 4;
inline constexpr std::uint32_t kVectorLinksMax = 64;
inline constexpr std::uint32_t kVectorDimensionMin = 2;
inline constexpr std::uint32_t kVectorDimensionMax = 4096;

constexpr int VectorPrecisionBits(VectorPrecision precision) {
  switch (precision) {
    case VectorPrecision::kInt16: return 16;
    case VectorPrecision::kInt4: return 4;
    case VectorPrecision::kInt1: return 1;
    case VectorPrecision::kInt8: break;
  }
  return 8;
}

// Whether graphs are walked over codes of fewer bits than the int8 ones that put in order what was found.
constexpr bool HasSmallCodes(VectorPrecision precision) {
  return VectorPrecisionBits(precision) < 8;
}

constexpr std::optional<VectorPrecision> VectorPrecisionFromBits(std::int64_t bits) {
  for (const VectorPrecision precision :
       {VectorPrecision::kInt8, VectorPrecision::kInt16, VectorPrecision::kInt4, VectorPrecision::kInt1}) {
    if (VectorPrecisionBits(precision) == bits) return precision;
  }
  return std::nullopt;
}

constexpr std::string_view VectorMetricName(VectorMetric metric) {
  switch (metric) {
    case VectorMetric::kCosine: return "cosine";
    case VectorMetric::kDot: return "dot";
    case VectorMetric::kL2: return "l2";
  }
  return "unknown";
}

constexpr std::optional<VectorMetric> VectorMetricFromName(std::string_view name) {
  for (const VectorMetric metric : {VectorMetric::kCosine, VectorMetric::kDot, VectorMetric::kL2}) {
    if (VectorMetricName(metric) == name) return metric;
  }
  return std::nullopt;
}

}  // namespace foreshore
