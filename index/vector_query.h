// A query vector prepared once and compared with many stored vectors. The one place where the distances that users
// see are made: the index, the scan of what is not yet indexed and a transaction's own writes all come here, so that
// equal vectors have equal distances wherever they are found.
//
// The query keeps about 15 bits per component, as codes and fine codes (index/quantizer.h); the dot product with a
// stored vector is then two exact integer sums, or four where it has fine codes too, and one rounding each. So
// distances carry the error of the stored side only, and are the same on every processor. A vector stored and then
// searched for is found at a small distance that need not be 0.
//
// Threads: const members are safe from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "index/quantizer.h"
#include "index/vector_code.h"
#include "index/vector_metric.h"

namespace foreshore {

class VectorQuery {
 public:
  // kInvalidArgument for a wrong length, NaN, infinity, or, under cosine, a query of zeros, which has no direction.
  static Result<VectorQuery> Prepare(VectorMetric metric, std::uint32_t dimension, std::span<const float> values);

  // The distance (index/vector_metric.h) to a stored record; the errors of DecodeVectorRecord().
  Result<double> DistanceToRecord(Bytes record) const;
  // The same for a code of index/vector_code.h with this dimension.
  double DistanceToCode(const void* code) const {
    return Distance(space_.Scale(code), space_.SquaredNorm(code), DotOf(CodeValues(code)));
  }
  // The same with its fine codes; `squared_norm` is FineSquaredNorm() of the two.
  double DistanceToFineCode(const void* code, const std::int8_t* fine_codes, double squared_norm) const {
    return Distance(space_.Scale(code), squared_norm, DotOf(CodeValues(code)) + DotOf(fine_codes) / kFineCodesPerCode);
  }

  VectorMetric metric() const { return space_.metric(); }
  std::uint32_t dimension() const { return space_.dimension(); }
  // The query as a code, for walking graphs. Lives as long as this object stays where it is.
  const void* code() const { return code_.data(); }

 private:
  VectorQuery(VectorMetric metric, std::uint32_t dimension) : space_(metric, dimension), dot_(BestDotInt8()) {}
  // With codes, in units of their scale.
  double DotOf(const std::int8_t* codes) const;
  double Distance(float scale, double squared_norm, double dot) const;

  CodeSpace space_;
  DotInt8 dot_;
  std::vector<char> code_;  // The query, as a code.
  std::vector<std::int8_t> fine_codes_;
  double scale_ = 0;         // Of code_.
  double squared_norm_ = 0;  // Of the query as represented.
};

// The distance between two float vectors without quantization, in double: for SQL's vector_distance() and as the
// oracle of tests. Under cosine, 1 when either is zero. The errors of CheckVector(), both against a.size().
Result<double> ExactVectorDistance(VectorMetric metric, std::span<const float> a, std::span<const float> b);

}  // namespace foreshore
