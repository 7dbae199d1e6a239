#include "index/small_code.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "index/quantizer.h"

namespace foreshore {
namespace {

constexpr std::size_t kTrailerBytes = 8;
constexpr std::uint8_t kFlagMean = 1;
constexpr std::size_t kConfigHeaderBytes = 12;
constexpr float kFarOffset = 2.0F;  // Of a vector without direction: the greatest distance under cosine.

// Opens a query. It is followed by what the kernel wants.
struct QueryHeader {
  float scale = 0;
  float offset = 0;
  std::int32_t bias = 0;  // Twice the kernel's sum less this is z . q, in units of the scale.
  std::uint32_t reserved = 0;
};

constexpr std::size_t RoundUp(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Floats beyond the range would make proximities that compare with nothing.
float Finite(double value) {
  constexpr double kMax = std::numeric_limits<float>::max() / 4;
  return static_cast<float>(value < kMax ? value : kMax);
}

double SquaredNorm(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return sum;
}

// The number of the step of 0..7 that holds a magnitude of so many steps.
inline std::int32_t StepOf(float steps) {
  return static_cast<std::int32_t>(steps < 7.5F ? steps : 7.5F);
}

// Steps in 1: of those tried, the one for which the odd numbers have the least angle with `magnitudes`.
float BestInverseStep(std::span<const float> magnitudes, float largest) {
  constexpr int kTried = 16;
  constexpr float kNarrower = 0.93F;  // 0.93^15 is a third: what few large components cost the others.
  constexpr std::size_t kLanes = 8;   // Sums in a fixed order that compilers can do at once.
  float best_inverse = 8.0F / largest;
  float best_quality = 0;
  float inverse = best_inverse;
  for (int i = 0; i < kTried; ++i, inverse /= kNarrower) {
    float dots[kLanes] = {};
    std::int32_t squares[kLanes] = {};
    const std::size_t whole_count = magnitudes.size() / kLanes * kLanes;
    for (std::size_t first = 0; first < whole_count; first += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        const float magnitude = magnitudes[first + lane];
        const std::int32_t odd = 2 * StepOf(magnitude * inverse) + 1;
        dots[lane] += static_cast<float>(odd) * magnitude;
        squares[lane] += odd * odd;
      }
    }
    for (std::size_t at = whole_count; at < magnitudes.size(); ++at) {
      const std::int32_t odd = 2 * StepOf(magnitudes[at] * inverse) + 1;
      dots[0] += static_cast<float>(odd) * magnitudes[at];
      squares[0] += odd * odd;
    }
    const float dot = ((dots[0] + dots[1]) + (dots[2] + dots[3])) + ((dots[4] + dots[5]) + (dots[6] + dots[7]));
    std::int32_t square = 0;
    for (const std::int32_t part : squares) square += part;
    // In units of the largest, or the square could leave the range of float.
    const float relative_dot = dot / largest;
    const float quality = relative_dot * relative_dot / static_cast<float>(square);
    if (quality <= best_quality) continue;
    best_quality = quality;
    best_inverse = inverse;
  }
  return best_inverse;
}

}  // namespace

ByteString SmallCodeConfig::Encode(std::uint32_t dimension) const {
  assert(mean.empty() || mean.size() == dimension);
  ByteString bytes;
  AppendFixed<std::uint8_t>(bytes, bits);
  AppendFixed<std::uint8_t>(bytes, mean.empty() ? 0 : kFlagMean);
  AppendFixed<std::uint16_t>(bytes, static_cast<std::uint16_t>(dimension));
  AppendFixed<std::uint64_t>(bytes, rotation_seed);
  for (const float value : mean) AppendFixed<float>(bytes, value);
  return bytes;
}

Result<SmallCodeConfig> SmallCodeConfig::Decode(Bytes bytes, VectorMetric metric, std::uint32_t dimension) {
  ByteReader reader(bytes);
  SmallCodeConfig config;
  config.bits = reader.Fixed<std::uint8_t>();
  const auto flags = reader.Fixed<std::uint8_t>();
  const auto stored_dimension = reader.Fixed<std::uint16_t>();
  config.rotation_seed = reader.Fixed<std::uint64_t>();
  const std::uint8_t flags_max = metric == VectorMetric::kL2 ? kFlagMean : 0;
  const std::size_t mean_bytes = flags == kFlagMean ? std::size_t{4} * dimension : 0;
  if (!reader.ok() || reader.remaining_bytes() != mean_bytes) {
    return Status::Corruption("small codes: " + std::to_string(bytes.size()) + " bytes, expected " +
                              std::to_string(kConfigHeaderBytes + mean_bytes));
  }
  if ((config.bits != 4 && config.bits != 1) || flags > flags_max || stored_dimension != dimension) {
    return Status::Corruption("small codes: " + std::to_string(config.bits) + " bits with flags " +
                              std::to_string(flags) + " and " + std::to_string(stored_dimension) +
                              " dimensions, expected 4 or 1 bits with flags of at most " + std::to_string(flags_max) +
                              " and " + std::to_string(dimension) + " dimensions");
  }
  for (std::size_t i = 0; i < mean_bytes / 4; ++i) {
    config.mean.push_back(reader.Fixed<float>());
    if (std::isfinite(config.mean.back())) continue;
    return Status::Corruption("small codes: component " + std::to_string(i) +
                              " of the mean is not finite, expected a finite number");
  }
  return config;
}

SmallCodeSpace::SmallCodeSpace(VectorMetric metric, std::uint32_t dimension, SmallCodeConfig config)
    : metric_(metric),
      dimension_(dimension),
      config_(std::move(config)),
      code_space_(metric, dimension),
      dot_of_four_(config_.bits == 4 ? BestDotNibblesOfFour() : BestDotBitsOfFour()),
      code_bytes_(config_.bits == 4 ? (dimension + std::size_t{1}) / 2 : (dimension + std::size_t{7}) / 8),
      row_alignment_(config_.bits == 4 ? kVectorCodeAlignment : 8),
      row_bytes_(RoundUp(code_bytes_ + kTrailerBytes, row_alignment_)),
      query_bytes_(sizeof(QueryHeader) + (config_.bits == 4 ? 2 * RoundUp(code_bytes_, kNibbleBlockBytes)
                                                            : kBitPlanes * RoundUp(code_bytes_, kBitBlockBytes))) {
  assert(config_.bits == 4 || config_.bits == 1);
  assert(config_.mean.empty() || (config_.mean.size() == dimension && metric == VectorMetric::kL2));
  if (config_.rotation_seed != 0) rotation_.emplace(dimension, config_.rotation_seed);
}

std::vector<float> SmallCodeSpace::Transformed(const void* code) const {
  const std::int8_t* codes = CodeValues(code);
  const float scale = metric_ == VectorMetric::kCosine ? code_space_.InverseNorm(code) : code_space_.Scale(code);
  std::vector<float> values(dimension_);
  for (std::uint32_t i = 0; i < dimension_; ++i) values[i] = scale * static_cast<float>(codes[i]);
  for (std::size_t i = 0; i < config_.mean.size(); ++i) values[i] -= config_.mean[i];
  if (rotation_) rotation_->Apply(values);
  return values;
}

void SmallCodeSpace::PackNibbles(std::span<const float> values, std::uint8_t* row) const {
  std::vector<float> magnitudes(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) magnitudes[i] = std::fabs(values[i]);
  const float inverse = BestInverseStep(magnitudes, *std::max_element(magnitudes.begin(), magnitudes.end()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::int32_t step = StepOf(magnitudes[i] * inverse);
    const std::int32_t code = values[i] < 0 ? 7 - step : 8 + step;
    const std::size_t byte = i < code_bytes_ ? i : i - code_bytes_;
    row[byte] = static_cast<std::uint8_t>(row[byte] | (i < code_bytes_ ? code : code << 4));
  }
}

void SmallCodeSpace::PackRow(const void* code, void* row) const {
  const std::vector<float> values = Transformed(code);
  auto* bytes = static_cast<std::uint8_t*>(row);
  std::memset(bytes, 0, row_bytes_);
  const double squared_norm = SquaredNorm(values);
  float factor = 0;
  float offset = 0;
  // A square out of the range of float is one of a vector that is as good as 0, or of one that is far from everything.
  if (squared_norm >= std::numeric_limits<float>::min() && std::isfinite(squared_norm)) {
    double dot = 0;  // z . x
    if (config_.bits == 4) {
      PackNibbles(values, bytes);
      for (std::size_t i = 0; i < dimension_; ++i) {
        const int code_of = i < code_bytes_ ? bytes[i] & 15 : bytes[i - code_bytes_] >> 4;
        dot += (2 * code_of - 15) * static_cast<double>(values[i]);
      }
    } else {
      for (std::size_t i = 0; i < dimension_; ++i) {
        if (values[i] >= 0) bytes[i / 8] = static_cast<std::uint8_t>(bytes[i / 8] | (1 << (i % 8)));
        dot += std::fabs(static_cast<double>(values[i]));
      }
    }
    factor = Finite((metric_ == VectorMetric::kL2 ? 2.0 : 1.0) * squared_norm / dot);
  }
  switch (metric_) {
    case VectorMetric::kCosine: offset = Finite(0.5 * squared_norm); break;
    case VectorMetric::kL2: offset = Finite(squared_norm); break;
    case VectorMetric::kDot: break;
  }
  if (metric_ == VectorMetric::kCosine && code_space_.SquaredNorm(code) == 0) {
    std::memset(bytes, 0, row_bytes_);
    factor = 0;
    offset = kFarOffset;
  }
  std::memcpy(bytes + trailer_offset(), &factor, 4);
  std::memcpy(bytes + trailer_offset() + 4, &offset, 4);
}

void SmallCodeSpace::PrepareQuery(const void* code, void* query) const {
  const std::vector<float> values = Transformed(code);
  QueryHeader header;
  switch (metric_) {
    case VectorMetric::kCosine: header.offset = Finite(0.5 * SquaredNorm(values)); break;
    case VectorMetric::kL2: header.offset = Finite(SquaredNorm(values)); break;
    case VectorMetric::kDot: break;
  }
  std::memset(query, 0, query_bytes_);
  auto* bytes = static_cast<std::int8_t*>(query) + sizeof(header);
  if (!std::isfinite(SquaredNorm(values))) {
    // Near the end of the range of float nothing is told apart here.
  } else if (config_.bits == 4) {
    std::vector<std::int8_t> codes(dimension_);
    header.scale = QuantizeVector(values, codes);
    for (std::size_t i = 0; i < dimension_; ++i) {
      const std::size_t byte = i < code_bytes_ ? i : i - code_bytes_;
      const std::size_t block = byte / kNibbleBlockBytes * (2 * kNibbleBlockBytes);
      bytes[block + byte % kNibbleBlockBytes + (i < code_bytes_ ? 0 : kNibbleBlockBytes)] = codes[i];
      header.bias += 15 * codes[i];
    }
  } else {
    float largest = 0;
    for (const float value : values) largest = std::max(largest, std::fabs(value));
    header.scale = largest / 7.0F;
    const double inverse = largest < std::numeric_limits<float>::min() ? 0.0 : 7.0 / static_cast<double>(largest);
    for (std::size_t i = 0; i < dimension_; ++i) {
      const auto component = static_cast<int>(std::floor(values[i] * inverse + 0.5));
      header.bias += component;
      for (std::size_t plane = 0; plane < kBitPlanes; ++plane) {
        if (((component >> plane) & 1) == 0) continue;
        const std::size_t block = i / (8 * kBitBlockBytes) * (kBitPlanes * kBitBlockBytes);
        std::int8_t& byte = bytes[block + plane * kBitBlockBytes + i / 8 % kBitBlockBytes];
        byte = static_cast<std::int8_t>(byte | (1 << (i % 8)));
      }
    }
  }
  std::memcpy(query, &header, sizeof(header));
}

void SmallCodeSpace::ProximityOfFour(const void* query, const void* const rows[4], float proximities[4]) const {
  QueryHeader header;
  std::memcpy(&header, query, sizeof(header));
  const std::uint8_t* const bytes[4] = {
      static_cast<const std::uint8_t*>(rows[0]), static_cast<const std::uint8_t*>(rows[1]),
      static_cast<const std::uint8_t*>(rows[2]), static_cast<const std::uint8_t*>(rows[3])};
  std::int32_t sums[4];
  dot_of_four_(static_cast<const std::int8_t*>(query) + sizeof(header), bytes, code_bytes_, sums);
  for (int i = 0; i < 4; ++i) {
    const auto factor = LoadFixed<float>(bytes[i] + trailer_offset());
    const auto offset = LoadFixed<float>(bytes[i] + trailer_offset() + 4);
    proximities[i] = (offset + header.offset) - factor * (header.scale * static_cast<float>(2 * sums[i] - header.bias));
  }
}

Status SmallCodeSpace::CheckRow(const void* row) const {
  const auto* bytes = static_cast<const std::uint8_t*>(row);
  const auto factor = LoadFixed<float>(bytes + trailer_offset());
  const auto offset = LoadFixed<float>(bytes + trailer_offset() + 4);
  const bool has_offset = metric_ != VectorMetric::kDot;
  if (!std::isfinite(factor) || std::signbit(factor) || !std::isfinite(offset) || std::signbit(offset) ||
      (!has_offset && offset != 0)) {
    return Status::Corruption("small code: factor is " + std::to_string(factor) + " and offset " +
                              std::to_string(offset) + ", expected finite numbers" +
                              (has_offset ? " of at least 0" : " of at least 0 and an offset of 0"));
  }
  std::uint8_t padding = 0;
  for (std::size_t i = code_bytes_; i < trailer_offset(); ++i) padding = static_cast<std::uint8_t>(padding | bytes[i]);
  if (config_.bits == 4 && dimension_ % 2 != 0) {
    padding = static_cast<std::uint8_t>(padding | (bytes[code_bytes_ - 1] & 0xF0));
  }
  if (config_.bits == 1 && dimension_ % 8 != 0) {
    padding = static_cast<std::uint8_t>(padding | (bytes[code_bytes_ - 1] >> (dimension_ % 8)));
  }
  if (padding != 0) return Status::Corruption("small code: padding is not 0, expected 0");
  if (factor == 0 && std::any_of(bytes, bytes + code_bytes_, [](std::uint8_t byte) { return byte != 0; })) {
    return Status::Corruption("small code: factor is 0 and a code is not, expected every code 0");
  }
  return Status::Ok();
}

std::vector<float> MeanOfCodes(std::uint32_t dimension, std::span<const void* const> codes) {
  const CodeSpace space(VectorMetric::kL2, dimension);
  std::vector<double> sums(dimension, 0.0);
  for (const void* code : codes) {
    const double scale = space.Scale(code);
    for (std::uint32_t i = 0; i < dimension; ++i) sums[i] += scale * CodeValues(code)[i];
  }
  std::vector<float> mean(dimension);
  if (codes.empty()) return mean;
  for (std::uint32_t i = 0; i < dimension; ++i) {
    mean[i] = static_cast<float>(sums[i] / static_cast<double>(codes.size()));
  }
  return mean;
}

}  // namespace foreshore
