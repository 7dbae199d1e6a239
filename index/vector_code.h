// A quantized vector as the index holds it in memory: what the record says, plus the two norms that turn one
// integer dot product into any distance. One flat run of bytes, because graph nodes carry their vector inline.
//
//   OFFSET SIZE FIELD
//        0    4 scale, float
//        4    4 squared norm of the codes, at most 4096 * 127 * 127 = 66,064,384
//        8    8 1 / sqrt(squared norm), double; 0 for the zero vector
//       16    n codes, then zeros up to a multiple of 4
//
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "index/kernels/dot_int8.h"
#include "index/vector_metric.h"
#include "storage/base/coding.h"

namespace foreshore {

inline constexpr std::size_t kVectorCodeHeaderBytes = 16;

constexpr std::size_t VectorCodeBytes(std::uint32_t dimension) {
  return kVectorCodeHeaderBytes + (static_cast<std::size_t>(dimension) + 3) / 4 * 4;
}

inline float CodeScale(const void* code) {
  return LoadFixed<float>(code);
}
inline std::int32_t CodeSquaredNorm(const void* code) {
  return LoadFixed<std::int32_t>(static_cast<const char*>(code) + 4);
}
inline double CodeInverseNorm(const void* code) {
  return LoadFixed<double>(static_cast<const char*>(code) + 8);
}
inline const std::int8_t* CodeValues(const void* code) {
  return static_cast<const std::int8_t*>(code) + kVectorCodeHeaderBytes;
}

// Writes VectorCodeBytes(codes.size()) bytes to `code`.
void PackVectorCode(float scale, std::span<const std::int8_t> codes, void* code);

// What a distance between two codes needs to know. `dot` is never null.
struct CodeSpace {
  VectorMetric metric;
  std::uint32_t dimension;
  DotInt8 dot;
};

// A number that orders codes as the metric does, cheaper than the distance: L2 is left squared. For walking graphs;
// what users see comes from VectorQuery.
double CodeProximity(const CodeSpace& space, const void* a, const void* b);
// The same where the integer dot product of the two is known.
double CodeProximityOfDot(VectorMetric metric, std::int32_t dot, const void* a, const void* b);

}  // namespace foreshore
