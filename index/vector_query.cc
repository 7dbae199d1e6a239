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
  query.residual_.assign(dimension, 0);
  query.scale_ = scale;
  query.residual_scale_ = query.scale_ / (2.0 * kVectorCodeMax);
  if (scale > 0.0F) {
    for (std::uint32_t i = 0; i < dimension; ++i) {
      // At most half a step is left over, give or take the rounding of the scale: the clamp costs at most that.
      const long rest = std::lrint((values[i] - query.scale_ * codes[i]) / query.residual_scale_);
      query.residual_[i] = static_cast<std::int8_t>(std::clamp<long>(rest, -kVectorCodeMax, kVectorCodeMax));
    }
  }
  const double cross = query.dot_(codes.data(), query.residual_.data(), dimension);
  const double residual_squared_norm = query.dot_(query.residual_.data(), query.residual_.data(), dimension);
  query.squared_norm_ = query.scale_ * query.scale_ * query.space_.SquaredNorm(query.code_.data()) +
                        2.0 * query.scale_ * query.residual_scale_ * cross +
                        query.residual_scale_ * query.residual_scale_ * residual_squared_norm;
  return query;
}

Result<double> VectorQuery::DistanceToRecord(Bytes record) const {
  FORESHORE_ASSIGN_OR_RETURN(const VectorRecord decoded, DecodeVectorRecord(record, space_.dimension()));
  const std::int32_t squared_norm = dot_(decoded.codes.data(), decoded.codes.data(), space_.dimension());
  return Distance(decoded.scale, squared_norm, decoded.codes.data());
}

double VectorQuery::Distance(float scale, std::int32_t squared_norm, const std::int8_t* codes) const {
  const double dot = scale_ * dot_(CodeValues(code_.data()), codes, space_.dimension()) +
                     residual_scale_ * dot_(residual_.data(), codes, space_.dimension());
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
