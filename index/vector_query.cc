#include "index/vector_query.h"

#include <algorithm>
#include <cmath>

#include "index/quantizer.h"

namespace foreshore {

Result<VectorQuery> VectorQuery::Prepare(VectorMetric metric, std::uint32_t dimension, std::span<const float> values) {
  FORESHORE_RETURN_IF_ERROR(CheckVector("query vector", values, dimension));
  VectorQuery query(metric, dimension);
  std::vector<std::int8_t> codes(dimension);
  const float scale = QuantizeVector(values, codes);
  if (scale == 0.0F && metric == VectorMetric::kCosine) {
    return Status::InvalidArgument("query vector: every component is 0, expected a direction for the cosine metric");
  }
  query.code_.resize(VectorCodeBytes(dimension));
  PackVectorCode(scale, codes, query.code_.data());
  query.fine_codes_.resize(dimension);
  QuantizeRest(values, scale, codes, query.fine_codes_);
  query.scale_ = scale;
  query.squared_norm_ = query.scale_ * query.scale_ * FineSquaredNorm(codes, query.fine_codes_);
  return query;
}

Result<double> VectorQuery::DistanceToRecord(Bytes record) const {
  FORESHORE_ASSIGN_OR_RETURN(const VectorRecord decoded, DecodeVectorRecord(record, space_.dimension()));
  const std::int8_t* codes = decoded.codes.data();
  if (decoded.fine_codes.empty()) {
    return Distance(decoded.scale, dot_(codes, codes, decoded.codes.size()), DotOf(codes));
  }
  return Distance(decoded.scale, FineSquaredNorm(decoded.codes, decoded.fine_codes),
                  DotOf(codes) + DotOf(decoded.fine_codes.data()) / kFineCodesPerCode);
}

double VectorQuery::DotOf(const std::int8_t* codes) const {
  const std::uint32_t dimension = space_.dimension();
  const double fine = dot_(fine_codes_.data(), codes, dimension);
  return scale_ * (dot_(CodeValues(code_.data()), codes, dimension) + fine / kFineCodesPerCode);
}

double VectorQuery::Distance(float scale, double squared_norm, double dot) const {
  switch (space_.metric()) {
    case VectorMetric::kCosine: {
      if (squared_norm == 0) return 1.0;
      return std::clamp(1.0 - dot / std::sqrt(squared_norm_ * squared_norm), 0.0, 2.0);
    }
    case VectorMetric::kDot: return -dot * scale;
    case VectorMetric::kL2: break;
  }
  const double stored_scale = scale;
  return std::sqrt(
      std::max(0.0, squared_norm_ + stored_scale * stored_scale * squared_norm - 2.0 * dot * stored_scale));
}

Result<double> ExactVectorDistance(VectorMetric metric, std::span<const float> a, std::span<const float> b) {
  const auto dimension = static_cast<std::uint32_t>(std::min<std::size_t>(a.size(), UINT32_MAX));
  FORESHORE_RETURN_IF_ERROR(CheckVector("first vector", a, dimension));
  FORESHORE_RETURN_IF_ERROR(CheckVector("second vector", b, dimension));
  double dot = 0;
  double norm_a = 0;
  double norm_b = 0;
  double squared_distance = 0;
  for (std::uint32_t i = 0; i < dimension; ++i) {
    const double x = a[i];
    const double y = b[i];
    dot += x * y;
    norm_a += x * x;
    norm_b += y * y;
    squared_distance += (x - y) * (x - y);
  }
  switch (metric) {
    case VectorMetric::kCosine:
      if (norm_a == 0 || norm_b == 0) return 1.0;
      return std::clamp(1.0 - dot / (std::sqrt(norm_a) * std::sqrt(norm_b)), 0.0, 2.0);
    case VectorMetric::kDot: return -dot;
    case VectorMetric::kL2: break;
  }
  return std::sqrt(squared_distance);
}

}  // namespace foreshore
