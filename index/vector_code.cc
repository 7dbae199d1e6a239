#include "index/vector_code.h"

#include <cmath>
#include <cstring>
#include <numeric>

namespace foreshore {

void PackVectorCode(float scale, std::span<const std::int8_t> codes, void* code) {
  const std::int32_t squared_norm = BestDotInt8()(codes.data(), codes.data(), codes.size());
  const auto inverse_norm =
      squared_norm == 0 ? 0.0F : static_cast<float>(1.0 / std::sqrt(static_cast<double>(squared_norm)));
  const std::int32_t sum = std::accumulate(codes.begin(), codes.end(), std::int32_t{0});
  const std::size_t size_bytes = VectorCodeBytes(static_cast<std::uint32_t>(codes.size()));
  auto* bytes = static_cast<char*>(code);
  std::memset(bytes, 0, size_bytes);
  std::memcpy(bytes, codes.data(), codes.size());
  char* trailer = bytes + size_bytes - kVectorCodeTrailerBytes;
  std::memcpy(trailer, &scale, 4);
  std::memcpy(trailer + 4, &inverse_norm, 4);
  std::memcpy(trailer + 8, &squared_norm, 4);
  std::memcpy(trailer + 12, &sum, 4);
}

CodeSpace::CodeSpace(VectorMetric metric, std::uint32_t dimension)
    : metric_(metric),
      dimension_(dimension),
      trailer_offset_(VectorCodeBytes(dimension) - kVectorCodeTrailerBytes),
      dot_(BestDotInt8()),
      dot_of_four_(BestDotCodesOfFour()) {}

float CodeSpace::ProximityOfDot(std::int32_t integer_dot, const void* a, const void* b) const {
  const auto dot = static_cast<float>(integer_dot);
  switch (metric_) {
    // The factors of a and b change places without a trace: each product is rounded once.
    case VectorMetric::kCosine: return 1.0F - dot * (InverseNorm(a) * InverseNorm(b));
    case VectorMetric::kDot: return -dot * (Scale(a) * Scale(b));
    case VectorMetric::kL2: break;
  }
  const float scale_a = Scale(a);
  const float scale_b = Scale(b);
  return (scale_a * scale_a * static_cast<float>(SquaredNorm(a)) +
          scale_b * scale_b * static_cast<float>(SquaredNorm(b))) -
         2.0F * (scale_a * scale_b) * dot;
}

float CodeSpace::Proximity(const void* a, const void* b) const {
  return ProximityOfDot(dot_(CodeValues(a), CodeValues(b), dimension_), a, b);
}

void CodeSpace::ProximityOfFour(const void* a, const void* const codes[4], float proximities[4]) const {
  const std::int8_t* const rows[4] = {CodeValues(codes[0]), CodeValues(codes[1]), CodeValues(codes[2]),
                                      CodeValues(codes[3])};
  const std::int32_t row_sums[4] = {Sum(codes[0]), Sum(codes[1]), Sum(codes[2]), Sum(codes[3])};
  std::int32_t dots[4];
  dot_of_four_(CodeValues(a), rows, row_sums, dimension_, dots);
  for (int i = 0; i < 4; ++i) proximities[i] = ProximityOfDot(dots[i], a, codes[i]);
}

}  // namespace foreshore
