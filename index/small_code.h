// Codes of 4 bits and of 1 bit for each component: what a graph is walked over where its int8 codes
// (index/vector_code.h) are too many bytes to be near. They find candidates; int8 codes put those in order.
//
// A vector v becomes x: under cosine a unit vector, under L2 what the mean of the index leaves of it, rotated
// (index/rotation.h) where the index says so. (Under cosine a mean gained nothing with 4 bits and cost recall with 1,
// on GloVe's word vectors.) Its codes stand for z, whose components are odd numbers, -15..15 or -1 and 1, near to x in
// direction: with 4 bits the step is the one of some tried that makes the angle least. A dot product with a query q is
// estimated as (z . q) * |x|^2 / (z . x), which is exact for q = x and, under random rotations, right on average (Gao
// and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for Approximate Nearest
// Neighbor Search", 2024). The query is finer than the rows: int8 beside 4 bits, int4 beside 1 bit; only integers are
// summed.
//
//   Row of a vector, little-endian
//     OFFSET SIZE FIELD
//          0    b codes. 4 bits: b = ceil(n / 2), byte j has component j in its low half and j + b in its high half,
//                 as (z + 15) / 2. 1 bit: b = ceil(n / 8), bit i % 8 of byte i / 8 is set where z[i] is 1. Then zeros.
//      end-8    4 factor, float: of z . q in the proximity; f = |x|^2 / (z . x), twice that under L2; 0 where x is 0
//      end-4    4 offset, float: |x|^2 under L2, half of that under cosine, 0 for dot products
//   Whole cache lines with 4 bits (100 components take one), a multiple of 8 bytes with 1 bit (100 take 24).
//   A vector of zeros, which under cosine is far from everything, has factor 0 and offset 2 there.
//
// Rows and proximities are the same on every processor.
//
// Threads: const members are safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "index/kernels/dot_small.h"
#include "index/rotation.h"
#include "index/vector_code.h"
#include "index/vector_metric.h"

namespace foreshore {

// What all rows of an index have in common. Stored with them: other values would make other rows.
//
//   OFFSET SIZE FIELD                           code: index/small_code.cc
//        0    1 bits: 4 or 1
//        1    1 flags: 1 with a mean, else 0
//        2    2 dimension, 2..4096
//        4    8 rotation_seed; 0 where nothing is rotated
//       12  4*n mean with flag 1, under L2 alone: n = dimension, finite floats
//   Reader: anything else is kCorruption.
struct SmallCodeConfig {
  std::uint8_t bits = 4;
  std::uint64_t rotation_seed = 0;
  std::vector<float> mean;  // Of the vectors, under L2. Empty: nothing is subtracted.
  friend bool operator==(const SmallCodeConfig&, const SmallCodeConfig&) = default;

  ByteString Encode(std::uint32_t dimension) const;
  static Result<SmallCodeConfig> Decode(Bytes bytes, VectorMetric metric, std::uint32_t dimension);
};

// Where an index rotates, it does so by this seed: any would do.
inline constexpr std::uint64_t kRotationSeed = 0x666F726573686F72;

class SmallCodeSpace {
 public:
  // `config` is one that Decode() would return for the same metric and dimension.
  SmallCodeSpace(VectorMetric metric, std::uint32_t dimension, SmallCodeConfig config);

  const SmallCodeConfig& config() const { return config_; }
  std::size_t row_bytes() const { return row_bytes_; }
  std::size_t row_alignment() const { return row_alignment_; }
  std::size_t query_bytes() const { return query_bytes_; }

  // Writes row_bytes() for a vector given as a code of index/vector_code.h.
  void PackRow(const void* code, void* row) const;
  // Writes query_bytes(): what ProximityOfFour() compares rows with.
  void PrepareQuery(const void* code, void* query) const;
  // An estimate of CodeSpace::Proximity() to each. Rows start at row_alignment() and are row_bytes() long.
  void ProximityOfFour(const void* query, const void* const rows[4], float proximities[4]) const;
  // kCorruption unless PackRow() could have written `row`: padding is 0, numbers are finite and have the signs that
  // they must have.
  Status CheckRow(const void* row) const;

 private:
  std::vector<float> Transformed(const void* code) const;
  void PackNibbles(std::span<const float> values, std::uint8_t* row) const;
  std::size_t trailer_offset() const { return row_bytes_ - 8; }

  VectorMetric metric_;
  std::uint32_t dimension_;
  SmallCodeConfig config_;
  std::optional<Rotation> rotation_;
  CodeSpace code_space_;
  DotSmallOfFour dot_of_four_;
  std::size_t code_bytes_;  // Of a row, without trailer and padding.
  std::size_t row_alignment_;
  std::size_t row_bytes_;
  std::size_t query_bytes_;
};

// The mean of the vectors of some codes of index/vector_code.h, summed in their order.
std::vector<float> MeanOfCodes(std::uint32_t dimension, std::span<const void* const> codes);

}  // namespace foreshore
