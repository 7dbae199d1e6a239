#include "index/vector_query.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "index/quantizer.h"
#include "tests/index/synthetic_vectors.h"

namespace foreshore {
namespace {

constexpr VectorMetric kMetrics[] = {VectorMetric::kCosine, VectorMetric::kDot, VectorMetric::kL2};

}  // namespace

TEST_CASE("vector query: distances are within the stored side's quantization error of the float ones") {
  SyntheticVectors vectors(384, 10, 11);
  for (int round = 0; round < 50; ++round) {
    const std::vector<float> a = vectors.Next();
    const std::vector<float> b = vectors.Next();
    const ByteString fine_record = EncodeVectorRecord(b, 384, VectorPrecision::kInt16).value();
    const ByteString record = EncodeVectorRecord(b, 384).value();
    const VectorRecord decoded = DecodeVectorRecord(record, 384).value();
    std::vector<float> stored(384);
    DequantizeVector(decoded, stored);
    for (const VectorMetric metric : kMetrics) {
      CAPTURE(VectorMetricName(metric));
      const VectorQuery query = VectorQuery::Prepare(metric, 384, a).value();
      const double distance = query.DistanceToRecord(record).value();
      // Against the vector that the record stands for, only the query's 15 bits are lost.
      const double same = ExactVectorDistance(metric, a, stored).value();
      CHECK(std::fabs(distance - same) <= 1e-4 * (1.0 + std::fabs(same)));
      const double exact = ExactVectorDistance(metric, a, b).value();
      CHECK(std::fabs(distance - exact) <= 0.02 * (1.0 + std::fabs(exact)));
      const double fine_distance = query.DistanceToRecord(fine_record).value();
      CHECK(std::fabs(fine_distance - exact) <= 2e-4 * (1.0 + std::fabs(exact)));
    }
  }
}

TEST_CASE("vector query: a record and its code in the index have the same distance to the bit") {
  SyntheticVectors vectors(77, 3, 5);
  for (const VectorMetric metric : kMetrics) {
    const VectorQuery query = VectorQuery::Prepare(metric, 77, vectors.Next()).value();
    for (int round = 0; round < 20; ++round) {
      const ByteString record = EncodeVectorRecord(vectors.Next(), 77).value();
      const VectorRecord decoded = DecodeVectorRecord(record, 77).value();
      std::vector<char> code(VectorCodeBytes(77));
      PackVectorCode(decoded.scale, decoded.codes, code.data());
      CHECK(query.DistanceToRecord(record).value() == query.DistanceToCode(code.data()));
      const ByteString fine_record = EncodeVectorRecord(vectors.Next(), 77, VectorPrecision::kInt16).value();
      const VectorRecord fine = DecodeVectorRecord(fine_record, 77).value();
      PackVectorCode(fine.scale, fine.codes, code.data());
      CHECK(
          query.DistanceToRecord(fine_record).value() ==
          query.DistanceToFineCode(code.data(), fine.fine_codes.data(), FineSquaredNorm(fine.codes, fine.fine_codes)));
    }
  }
}

TEST_CASE("vector query: known distances") {
  const ByteString record = EncodeVectorRecord(std::vector<float>{0.0F, 2.0F}, 2).value();
  const std::vector<float> query = {3.0F, 2.0F};
  const auto distance = [&](VectorMetric metric) {
    return VectorQuery::Prepare(metric, 2, query).value().DistanceToRecord(record).value();
  };
  CHECK(distance(VectorMetric::kCosine) == doctest::Approx(1.0 - 2.0 / std::sqrt(13.0)).epsilon(1e-4));
  CHECK(distance(VectorMetric::kDot) == doctest::Approx(-4.0).epsilon(1e-4));
  CHECK(distance(VectorMetric::kL2) == doctest::Approx(3.0).epsilon(1e-4));
}

TEST_CASE("vector query: zeros have distance 1 under cosine when stored, and are refused as a query") {
  const std::vector<float> zeros(8, 0.0F);
  const std::vector<float> ones(8, 1.0F);
  const ByteString record = EncodeVectorRecord(zeros, 8).value();
  CHECK(VectorQuery::Prepare(VectorMetric::kCosine, 8, ones).value().DistanceToRecord(record).value() == 1.0);
  CHECK(VectorQuery::Prepare(VectorMetric::kL2, 8, zeros).value().DistanceToRecord(record).value() == 0.0);
  CHECK(VectorQuery::Prepare(VectorMetric::kDot, 8, zeros).value().DistanceToRecord(record).value() == 0.0);
  CHECK(VectorQuery::Prepare(VectorMetric::kCosine, 8, zeros).status().code() == ErrorCode::kInvalidArgument);
  CHECK(ExactVectorDistance(VectorMetric::kCosine, zeros, ones).value() == 1.0);
}

TEST_CASE("vector query: the largest floats have finite distances") {
  const float largest = std::numeric_limits<float>::max();
  const std::vector<float> values(4096, largest);
  const ByteString record = EncodeVectorRecord(std::vector<float>(4096, -largest), 4096).value();
  for (const VectorMetric metric : kMetrics) {
    const double distance = VectorQuery::Prepare(metric, 4096, values).value().DistanceToRecord(record).value();
    CHECK(std::isfinite(distance));
    CHECK(distance > 1.9);
  }
}

TEST_CASE("vector query: bad input and bad records are errors") {
  const std::vector<float> ones(8, 1.0F);
  const Result<VectorQuery> wrong = VectorQuery::Prepare(VectorMetric::kL2, 9, ones);
  REQUIRE(!wrong.ok());
  CHECK(wrong.status().message() == "query vector has 8 dimensions, expected 9");
  std::vector<float> nan = ones;
  nan[3] = std::numeric_limits<float>::quiet_NaN();
  CHECK(VectorQuery::Prepare(VectorMetric::kL2, 8, nan).status().code() == ErrorCode::kInvalidArgument);
  const VectorQuery query = VectorQuery::Prepare(VectorMetric::kL2, 8, ones).value();
  CHECK(query.DistanceToRecord("").status().code() == ErrorCode::kCorruption);
  CHECK(ExactVectorDistance(VectorMetric::kL2, ones, std::vector<float>(7, 1.0F)).status().code() ==
        ErrorCode::kInvalidArgument);
}

}  // namespace foreshore
