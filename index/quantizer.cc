#include "index/quantizer.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>
#include <string>

#include "index/kernels/dot_int8.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kFlagFine = 1;

// The bits of floats that are not negative are in the order of the floats, and compilers compare several at once.
float LargestMagnitude(std::span<const float> values) {
  std::int32_t largest = 0;
  for (const float value : values) largest = std::max(largest, std::bit_cast<std::int32_t>(value) & 0x7FFFFFFF);
  return std::bit_cast<float>(largest);
}

// The nearest whole number, ties to even, of one that is small, and that clamped to a code. Adding 1.5 * 2^52 leaves
// the whole number in the low bits of the sum; unlike a call of lrint() compilers do this for several at once.
inline std::int8_t RoundToCode(double value) {
  const auto bits = std::bit_cast<std::int64_t>(value + 0x1.8p52);
  const auto whole = static_cast<std::int32_t>(bits);
  return static_cast<std::int8_t>(std::clamp<std::int32_t>(whole, -kVectorCodeMax, kVectorCodeMax));
}

Status CheckDimension(std::string_view what, std::uint32_t dimension) {
  if (dimension >= kVectorDimensionMin && dimension <= kVectorDimensionMax) return Status::Ok();
  return Status::InvalidArgument(std::string(what) + ": dimension is " + std::to_string(dimension) + ", expected " +
                                 std::to_string(kVectorDimensionMin) + ".." + std::to_string(kVectorDimensionMax));
}

}  // namespace

Status CheckVector(std::string_view what, std::span<const float> values, std::uint32_t dimension) {
  FORESHORE_RETURN_IF_ERROR(CheckDimension(what, dimension));
  if (values.size() != dimension) {
    return Status::InvalidArgument(std::string(what) + " has " + std::to_string(values.size()) +
                                   " dimensions, expected " + std::to_string(dimension));
  }
  if (std::isfinite(LargestMagnitude(values))) return Status::Ok();  // What is not finite has the largest bits.
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    return Status::InvalidArgument(std::string(what) + ": component " + std::to_string(i) + " is " +
                                   (std::isnan(values[i]) ? "not a number" : "infinite") +
                                   ", expected a finite number");
  }
  return Status::Ok();
}

Status CheckVectorCode(float scale, std::span<const std::int8_t> codes) {
  const bool is_zero = scale == 0.0F && !std::signbit(scale);
  if (!is_zero && !(std::isfinite(scale) && scale >= std::numeric_limits<float>::min())) {
    return Status::Corruption("scale is " + std::to_string(scale) +
                              ", expected 0 or a finite number of at least 2^-126");
  }
  // Both checks in one branch-free pass: every vector that is read goes through here.
  std::int8_t lowest = 0;
  std::uint8_t any = 0;
  for (const std::int8_t code : codes) {
    lowest = std::min(lowest, code);
    any |= static_cast<std::uint8_t>(code);
  }
  if (lowest < -kVectorCodeMax) return Status::Corruption("a code is -128, expected -127..127");
  if (is_zero && any != 0) return Status::Corruption("scale is 0 and a code is not, expected every code 0");
  return Status::Ok();
}

float QuantizeVector(std::span<const float> values, std::span<std::int8_t> codes) {
  assert(values.size() == codes.size());
  const float largest = LargestMagnitude(values);
  const auto scale = static_cast<float>(static_cast<double>(largest) / kVectorCodeMax);
  if (scale < std::numeric_limits<float>::min()) {
    std::fill(codes.begin(), codes.end(), std::int8_t{0});
    return 0;
  }
  const double inverse = kVectorCodeMax / static_cast<double>(largest);
  for (std::size_t i = 0; i < values.size(); ++i) {
    codes[i] = RoundToCode(values[i] * inverse);
  }
  return scale;
}

void QuantizeRest(std::span<const float> values, float scale, std::span<const std::int8_t> codes,
                  std::span<std::int8_t> fine_codes) {
  assert(values.size() == codes.size() && values.size() == fine_codes.size());
  std::fill(fine_codes.begin(), fine_codes.end(), std::int8_t{0});
  if (scale == 0.0F) return;
  const double wide_scale = scale;
  const double inverse = kFineCodesPerCode / wide_scale;
  for (std::size_t i = 0; i < values.size(); ++i) {
    // At most half a step is left over, give or take the rounding of the scale: the clamp costs at most that.
    fine_codes[i] = RoundToCode((values[i] - wide_scale * codes[i]) * inverse);
  }
}

double FineSquaredNorm(std::span<const std::int8_t> codes, std::span<const std::int8_t> fine_codes) {
  const DotInt8 dot = BestDotInt8();
  const double squared_norm = dot(codes.data(), codes.data(), codes.size());
  const double cross = dot(codes.data(), fine_codes.data(), codes.size());
  const double fine_squared_norm = dot(fine_codes.data(), fine_codes.data(), codes.size());
  return squared_norm + 2.0 * cross / kFineCodesPerCode + fine_squared_norm / (kFineCodesPerCode * kFineCodesPerCode);
}

Result<ByteString> EncodeVectorRecord(std::span<const float> values, std::uint32_t dimension,
                                      VectorPrecision precision) {
  FORESHORE_RETURN_IF_ERROR(CheckVector("vector", values, dimension));
  const bool is_fine = precision == VectorPrecision::kInt16;
  ByteString bytes(values.size() * (is_fine ? 2 : 1), '\0');
  const std::span<std::int8_t> codes(reinterpret_cast<std::int8_t*>(bytes.data()), values.size());
  const float scale = QuantizeVector(values, codes);
  if (is_fine) QuantizeRest(values, scale, codes, {codes.data() + codes.size(), codes.size()});
  ByteString record;
  record.reserve(kVectorRecordHeaderBytes + bytes.size());
  AppendFixed<std::uint8_t>(record, kVersion);
  AppendFixed<std::uint8_t>(record, is_fine ? kFlagFine : 0);
  AppendFixed<std::uint16_t>(record, static_cast<std::uint16_t>(dimension));
  AppendFixed<float>(record, scale);
  record += bytes;
  return record;
}

Result<VectorRecord> DecodeVectorRecord(Bytes record, std::uint32_t dimension) {
  FORESHORE_RETURN_IF_ERROR(CheckDimension("vector record", dimension));
  ByteReader reader(record);
  const auto version = reader.Fixed<std::uint8_t>();
  const auto flags = reader.Fixed<std::uint8_t>();
  const auto stored_dimension = reader.Fixed<std::uint16_t>();
  const auto scale = reader.Fixed<float>();
  if (!reader.ok()) {
    return Status::Corruption("vector record: " + std::to_string(record.size()) + " bytes, expected at least " +
                              std::to_string(kVectorRecordHeaderBytes));
  }
  if (version != kVersion || (flags & ~kFlagFine) != 0) {
    return Status::Unsupported("vector record: version " + std::to_string(version) + " with flags " +
                               std::to_string(flags) + ", expected version 1 with flags 0 or 1");
  }
  const bool is_fine = (flags & kFlagFine) != 0;
  const std::size_t code_count = is_fine ? std::size_t{2} * dimension : dimension;
  if (stored_dimension != dimension || reader.remaining_bytes() != code_count) {
    return Status::Corruption("vector record: " + std::to_string(stored_dimension) + " dimensions and " +
                              std::to_string(reader.remaining_bytes()) + " codes, expected " +
                              std::to_string(dimension) + " and " + std::to_string(code_count));
  }
  const Bytes rest = reader.Rest();
  const std::span<const std::int8_t> codes(reinterpret_cast<const std::int8_t*>(rest.data()), rest.size());
  FORESHORE_RETURN_IF_ERROR(CheckVectorCode(scale, codes).WithContext("vector record"));
  return VectorRecord{scale, codes.first(dimension), codes.subspan(dimension)};
}

void DequantizeVector(const VectorRecord& record, std::span<float> values) {
  assert(values.size() == record.codes.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double fine = record.fine_codes.empty() ? 0.0 : record.fine_codes[i] / kFineCodesPerCode;
    values[i] = static_cast<float>(record.scale * (record.codes[i] + fine));
  }
}

}  // namespace foreshore
