// A quantized vector as the index holds it in memory: what the record says, plus what turns one integer dot product
// into any distance. One flat run of whole cache lines, because graphs keep their vectors in rows.
//
//   OFFSET  SIZE FIELD
//        0     n codes, then zeros
//   end-16     4 scale, float
//   end-12     4 1 / norm of the codes, float; 0 for the zero vector
//    end-8     4 squared norm of the codes, at most 4096 * 127 * 127 = 66,064,384
//    end-4     4 sum of the codes
//
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "index/kernels/dot_int8.h"
#include "index/vector_metric.h"
#include "storage/base/coding.h"

namespace foreshore {

inline constexpr std::size_t kVectorCodeAlignment = 64;
inline constexpr std::size_t kVectorCodeTrailerBytes = 16;

constexpr std::size_t VectorCodeBytes(std::uint32_t dimension) {
  return (dimension + kVectorCodeTrailerBytes + kVectorCodeAlignment - 1) / kVectorCodeAlignment * kVectorCodeAlignment;
}

inline const std::int8_t* CodeValues(const void* code) {
  return static_cast<const std::int8_t*>(code);
}

// Writes VectorCodeBytes(codes.size()) bytes to `code`.
void PackVectorCode(float scale, std::span<const std::int8_t> codes, void* code);

// How to read codes of one dimension, and what a distance between two of them needs to know.
class CodeSpace {
 public:
  CodeSpace(VectorMetric metric, std::uint32_t dimension);

  VectorMetric metric() const { return metric_; }
  std::uint32_t dimension() const { return dimension_; }
  std::size_t code_bytes() const { return trailer_offset_ + kVectorCodeTrailerBytes; }
  float Scale(const void* code) const { return LoadFixed<float>(Trailer(code)); }
  float InverseNorm(const void* code) const { return LoadFixed<float>(Trailer(code) + 4); }
  std::int32_t SquaredNorm(const void* code) const { return LoadFixed<std::int32_t>(Trailer(code) + 8); }
  std::int32_t Sum(const void* code) const { return LoadFixed<std::int32_t>(Trailer(code) + 12); }

  // A number that orders codes as the metric does, cheaper than the distance: L2 is left squared. For walking graphs;
  // what users see comes from VectorQuery. The same on every processor, and the same whichever of the two computes it.
  float Proximity(const void* a, const void* b) const;
  void ProximityOfFour(const void* a, const void* const codes[4], float proximities[4]) const;

 private:
  const char* Trailer(const void* code) const { return static_cast<const char*>(code) + trailer_offset_; }
  float ProximityOfDot(std::int32_t dot, const void* a, const void* b) const;

  VectorMetric metric_;
  std::uint32_t dimension_;
  std::size_t trailer_offset_;
  DotInt8 dot_;
  DotCodesOfFour dot_of_four_;
};

}  // namespace foreshore
