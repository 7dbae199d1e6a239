#include "index/vector_code.h"

#include <cmath>
#include <cstring>

namespace foreshore {

void PackVectorCode(float scale, std::span<const std::int8_t> codes, void* code) {
  const std::int32_t squared_norm = BestDotInt8()(codes.data(), codes.data(), codes.size());
  const double inverse_norm = squared_norm == 0 ? 0.0 : 1.0 / std::sqrt(static_cast<double>(squared_norm));
  auto* bytes = static_cast<char*>(code);
  std::memset(bytes, 0, VectorCodeBytes(static_cast<std::uint32_t>(codes.size())));
  std::memcpy(bytes, &scale, sizeof(scale));
  std::memcpy(bytes + 4, &squared_norm, sizeof(squared_norm));
  std::memcpy(bytes + 8, &inverse_norm, sizeof(inverse_norm));
  std::memcpy(bytes + kVectorCodeHeaderBytes, codes.data(), codes.size());
}

double CodeProximity(const CodeSpace& space, const void* a, const void* b) {
  return CodeProximityOfDot(space.metric, space.dot(CodeValues(a), CodeValues(b), space.dimension), a, b);
}

double CodeProximityOfDot(VectorMetric metric, std::int32_t integer_dot, const void* a, const void* b) {
  const double dot = integer_dot;
  switch (metric) {
    case VectorMetric::kCosine: return 1.0 - dot * CodeInverseNorm(a) * CodeInverseNorm(b);
    case VectorMetric::kDot: return -dot * CodeScale(a) * CodeScale(b);
    case VectorMetric::kL2: break;
  }
  const double scale_a = CodeScale(a);
  const double scale_b = CodeScale(b);
  return scale_a * scale_a * CodeSquaredNorm(a) + scale_b * scale_b * CodeSquaredNorm(b) -
         2.0 * scale_a * scale_b * dot;
}

}  // namespace foreshore
