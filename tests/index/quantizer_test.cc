#include "index/quantizer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "index/vector_metric.h"
#include "storage/base/coding.h"
#include "tests/index/synthetic_vectors.h"

namespace foreshore {
TEST_CASE("quantizer: every component comes back within half a step") {
  constexpr unsigned kSeed = 7;
  CAPTURE(kSeed);
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal;
  for (const std::uint32_t dimension : {2U, 3U, 100U, 384U, 4096U}) {
    for (const float magnitude : {1e-30F, 1e-3F, 1.0F, 1e6F, 1e35F}) {
      CAPTURE(dimension);
      CAPTURE(magnitude);
      std::vector<float> values(dimension);
      for (float& value : values) value = normal(random) * magnitude;
      const ByteString bytes = RecordOf(values);
      CHECK(bytes.size() == kVectorRecordHeaderBytes + dimension);
      const Result<VectorRecord> record = DecodeVectorRecord(bytes, dimension);
      REQUIRE(record.ok());
      std::vector<float> back(dimension);
      DequantizeVector(*record, back);
      for (std::uint32_t i = 0; i < dimension; ++i) {
        REQUIRE(std::fabs(back[i] - values[i]) <= record->scale * 0.5001F);
      }
    }
  }
}

TEST_CASE("quantizer: with 16 bits every component comes back within half a fine step") {
  std::mt19937 random(8);
  std::normal_distribution<float> normal;
  for (const std::uint32_t dimension : {2U, 100U, 4096U}) {
    for (const float magnitude : {1e-30F, 1.0F, 1e35F}) {
      std::vector<float> values(dimension);
      for (float& value : values) value = normal(random) * magnitude;
      const ByteString bytes = RecordOf(values, VectorPrecision::kInt16);
      CHECK(bytes.size() == kVectorRecordHeaderBytes + std::size_t{2} * dimension);
      const Result<VectorRecord> record = DecodeVectorRecord(bytes, dimension);
      REQUIRE(record.ok());
      std::vector<float> back(dimension);
      DequantizeVector(*record, back);
      double squared_norm = 0;
      for (std::uint32_t i = 0; i < dimension; ++i) {
        REQUIRE(std::fabs(back[i] - values[i]) <= record->scale / 508 * 1.01F);
        squared_norm += std::pow(back[i] / static_cast<double>(record->scale), 2);
      }
      CHECK(FineSquaredNorm(record->codes, record->fine_codes) == doctest::Approx(squared_norm));
    }
  }
  const ByteString zeros = RecordOf({0.0F, 0.0F}, VectorPrecision::kInt16);
  CHECK(DecodeVectorRecord(zeros, 2).value().fine_codes[1] == 0);
}

TEST_CASE("quantizer: the largest component gets the largest code") {
  const ByteString bytes = RecordOf({0.5F, -2.0F, 1.0F});
  const VectorRecord record = DecodeVectorRecord(bytes, 3).value();
  CHECK(record.codes[0] == 32);
  CHECK(record.codes[1] == -127);
  CHECK(record.codes[2] == 64);
  CHECK(record.scale == doctest::Approx(2.0 / 127));
}

TEST_CASE("quantizer: zeros and the smallest numbers become the zero record") {
  for (const float value : {0.0F, -0.0F, 1e-45F, -1e-37F}) {
    const ByteString bytes = RecordOf({value, 0.0F});
    const VectorRecord record = DecodeVectorRecord(bytes, 2).value();
    CHECK(record.scale == 0.0F);
    CHECK(record.codes[0] == 0);
  }
  const ByteString largest = RecordOf({std::numeric_limits<float>::max(), -std::numeric_limits<float>::max()});
  CHECK(DecodeVectorRecord(largest, 2).value().codes[1] == -127);
}

TEST_CASE("quantizer: what is no vector of the index is refused by name") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const auto message = [](const std::vector<float>& values, std::uint32_t dimension) {
    const Result<ByteString> record = EncodeVectorRecord(values, dimension);
    REQUIRE(!record.ok());
    CHECK(record.status().code() == ErrorCode::kInvalidArgument);
    return record.status().message();
  };
  CHECK(message({1, nan, 3}, 3) == "vector: component 1 is not a number, expected a finite number");
  CHECK(message({1, 2, -infinity}, 3) == "vector: component 2 is infinite, expected a finite number");
  CHECK(message({1, 2, 3}, 4) == "vector has 3 dimensions, expected 4");
  CHECK(message({1}, 1) == "vector: dimension is 1, expected 2..4096");
  CHECK(message(std::vector<float>(4097, 1.0F), 4097) == "vector: dimension is 4097, expected 2..4096");
}

TEST_CASE("vector record: the format is as documented") {
  CHECK(ToHex(RecordOf({1.0F, -1.0F})) == "01000200" + ToHex([] {
                                            ByteString scale;
                                            AppendFixed<float>(scale, static_cast<float>(1.0 / 127));
                                            return scale;
                                          }()) +
                                              "7f81");
}

TEST_CASE("vector record: bytes that are no record are an error of the right kind") {
  const ByteString good = RecordOf({1.0F, 0.5F, -1.0F});
  REQUIRE(DecodeVectorRecord(good, 3).ok());
  for (std::size_t length = 0; length < good.size(); ++length) {
    CHECK(DecodeVectorRecord(Bytes(good).substr(0, length), 3).status().code() == ErrorCode::kCorruption);
  }
  CHECK(DecodeVectorRecord(good + '\0', 3).status().code() == ErrorCode::kCorruption);
  CHECK(DecodeVectorRecord(good, 4).status().code() == ErrorCode::kCorruption);
  CHECK(DecodeVectorRecord(good, 1).status().code() == ErrorCode::kInvalidArgument);
  const auto code_with = [&good](std::size_t offset, const ByteString& bytes) {
    ByteString bad = good;
    bad.replace(offset, bytes.size(), bytes);
    const Result<VectorRecord> record = DecodeVectorRecord(bad, 3);
    return record.ok() ? ErrorCode::kOk : record.status().code();
  };
  CHECK(code_with(0, "\x02") == ErrorCode::kUnsupported);
  CHECK(code_with(1, "\x02") == ErrorCode::kUnsupported);
  CHECK(code_with(1, "\x01") == ErrorCode::kCorruption);  // Then there are too few codes.
  const ByteString fine = RecordOf({1.0F, 0.5F, -1.0F}, VectorPrecision::kInt16);
  for (std::size_t length = 0; length < fine.size(); ++length) {
    CHECK(DecodeVectorRecord(Bytes(fine).substr(0, length), 3).status().code() == ErrorCode::kCorruption);
  }
  ByteString bad_fine = fine;
  bad_fine.back() = '\x80';
  CHECK(DecodeVectorRecord(bad_fine, 3).status().code() == ErrorCode::kCorruption);
  CHECK(code_with(2, "\x04") == ErrorCode::kCorruption);
  CHECK(code_with(8, "\x80") == ErrorCode::kCorruption);
  for (const float scale :
       {0.0F, -0.0F, -1.0F, 1e-40F, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    CAPTURE(scale);
    ByteString bytes;
    AppendFixed<float>(bytes, scale);
    CHECK(code_with(4, bytes) == ErrorCode::kCorruption);
  }
}

TEST_CASE("vector metric: names round trip") {
  for (const VectorMetric metric : {VectorMetric::kCosine, VectorMetric::kDot, VectorMetric::kL2}) {
    CHECK(VectorMetricFromName(VectorMetricName(metric)) == metric);
  }
  CHECK(!VectorMetricFromName("Cosine").has_value());
}

}  // namespace foreshore
