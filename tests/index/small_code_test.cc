// Goal: codes of 4 bits and of 1 bit are as small as said, estimate distances as well as their paper promises, are the
// same on every processor, and no damaged row or configuration passes for a good one where it could be told.
#include "index/small_code.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "index/quantizer.h"
#include "index/rotation.h"
#include "tests/index/synthetic_vectors.h"

namespace foreshore {
namespace {

constexpr VectorMetric kMetrics[] = {VectorMetric::kCosine, VectorMetric::kDot, VectorMetric::kL2};
constexpr std::uint8_t kBits[] = {4, 1};

std::vector<char> CodeOf(const std::vector<float>& values) {
  std::vector<std::int8_t> codes(values.size());
  const float scale = QuantizeVector(values, codes);
  std::vector<char> code(VectorCodeBytes(static_cast<std::uint32_t>(values.size())));
  PackVectorCode(scale, codes, code.data());
  return code;
}

std::vector<char> RowOf(const SmallCodeSpace& space, const std::vector<char>& code) {
  std::vector<char> row(space.row_bytes(), '\x55');
  space.PackRow(code.data(), row.data());
  return row;
}

std::vector<char> QueryOf(const SmallCodeSpace& space, const std::vector<char>& code) {
  std::vector<char> query(space.query_bytes(), '\x55');
  space.PrepareQuery(code.data(), query.data());
  return query;
}

float ProximityOf(const SmallCodeSpace& space, const std::vector<char>& query, const std::vector<char>& row) {
  const void* const rows[4] = {row.data(), row.data(), row.data(), row.data()};
  float proximities[4];
  space.ProximityOfFour(query.data(), rows, proximities);
  CHECK(std::bit_cast<std::uint32_t>(proximities[0]) == std::bit_cast<std::uint32_t>(proximities[3]));
  return proximities[0];
}

// Numbers without <random>'s distributions, whose results libraries may choose.
std::vector<float> PlainVector(std::uint32_t dimension, std::uint32_t& state) {
  std::vector<float> values(dimension);
  for (float& value : values) {
    state = state * 1664525 + 1013904223;
    value = static_cast<float>(static_cast<int>(state >> 22) - 400) / 64.0F;
  }
  return values;
}

double Norm(const std::vector<float>& values) {
  return std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
}

}  // namespace

TEST_CASE("rotation: lengths and angles stay, and one large component is spread over many") {
  std::uint32_t state = 7;
  for (std::uint32_t dimension = 2; dimension <= 300; ++dimension) {
    CAPTURE(dimension);
    const Rotation rotation(dimension, kRotationSeed);
    std::vector<float> a = PlainVector(dimension, state);
    std::vector<float> b = PlainVector(dimension, state);
    const double norm = Norm(a);
    const double dot = std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
    const std::vector<float> before = a;
    rotation.Apply(a);
    rotation.Apply(b);
    CHECK(Norm(a) == doctest::Approx(norm).epsilon(1e-5));
    CHECK(std::fabs(std::inner_product(a.begin(), a.end(), b.begin(), 0.0) - dot) <= 1e-5 * norm * Norm(b));
    CHECK(a != before);
    if (dimension < 32) continue;
    std::vector<float> spike(dimension, 0.0F);
    spike[dimension / 2] = 1.0F;
    rotation.Apply(spike);
    for (const float value : spike) REQUIRE(std::fabs(value) < 6.0 / std::sqrt(dimension));
  }
}

TEST_CASE("small code: a row of 100 components takes one line of 64 bytes with 4 bits, 24 bytes with 1 bit") {
  CHECK(SmallCodeSpace(VectorMetric::kCosine, 100, {4, 0, {}}).row_bytes() == 64);
  CHECK(SmallCodeSpace(VectorMetric::kCosine, 112, {4, 0, {}}).row_bytes() == 64);
  CHECK(SmallCodeSpace(VectorMetric::kCosine, 113, {4, 0, {}}).row_bytes() == 128);
  CHECK(SmallCodeSpace(VectorMetric::kCosine, 784, {4, 0, {}}).row_bytes() == 448);
  CHECK(SmallCodeSpace(VectorMetric::kCosine, 100, {1, 0, {}}).row_bytes() == 24);
  CHECK(SmallCodeSpace(VectorMetric::kCosine, 784, {1, 0, {}}).row_bytes() == 112);
}

// RaBitQ's bound: the error of an estimated dot product is about normal, with |x| |q| tan(angle of z and x) /
// sqrt(n - 1) as its deviation. Measured here against what the int8 codes of both say, over random rotations of one
// pair, since the promise is over rotations and not over pairs.
TEST_CASE("small code: over random rotations estimates are right on average and err as little as promised") {
  constexpr int kRotations = 400;
  std::uint32_t state = 11;
  for (const std::uint8_t bits : kBits) {
    // The tangent for normal components: sqrt(pi / 2 - 1) with 1 bit, and a little over the least that 16 levels can
    // have with 4, with the query's own rounding.
    const double tangent = bits == 1 ? std::sqrt(std::acos(-1.0) / 2 - 1) : 0.115;
    for (const std::uint32_t dimension : {64U, 100U, 384U, 784U}) {
      const std::vector<char> a = CodeOf(PlainVector(dimension, state));
      const std::vector<char> b = CodeOf(PlainVector(dimension, state));
      const CodeSpace codes(VectorMetric::kCosine, dimension);
      const double exact = codes.Proximity(a.data(), b.data());
      double sum = 0;
      double squares = 0;
      for (int round = 0; round < kRotations; ++round) {
        const SmallCodeSpace space(VectorMetric::kCosine, dimension, {bits, static_cast<std::uint64_t>(round + 1), {}});
        const double error = ProximityOf(space, QueryOf(space, a), RowOf(space, b)) - exact;
        sum += error;
        squares += error * error;
      }
      const double deviation = std::sqrt(squares / kRotations);
      const double promised = tangent / std::sqrt(dimension - 1.0);
      CAPTURE(bits);
      CAPTURE(dimension);
      CHECK(deviation < 1.15 * promised);
      CHECK(std::fabs(sum / kRotations) < 4 * promised / std::sqrt(kRotations));
    }
  }
}

TEST_CASE("small code: estimates under every metric, with and without mean and rotation, are near the code's own") {
  constexpr std::uint32_t kDimension = 128;
  SyntheticVectors vectors(kDimension, 20, 5);
  std::vector<std::vector<char>> codes;
  for (int i = 0; i < 200; ++i) codes.push_back(CodeOf(vectors.Next()));
  std::vector<const void*> pointers;
  for (const auto& code : codes) pointers.push_back(code.data());
  const std::vector<float> mean = MeanOfCodes(kDimension, pointers);
  for (const std::uint8_t bits : kBits) {
    for (const VectorMetric metric : kMetrics) {
      for (const std::uint64_t seed : {std::uint64_t{0}, kRotationSeed}) {
        const SmallCodeSpace space(metric, kDimension,
                                   {bits, seed, metric == VectorMetric::kL2 ? mean : std::vector<float>()});
        const CodeSpace exact(metric, kDimension);
        CAPTURE(bits);
        CAPTURE(VectorMetricName(metric));
        CAPTURE(seed);
        // Six deviations; a squared distance counts the dot product twice. All are unit vectors.
        const double bound = (metric == VectorMetric::kL2 ? 12 : 6) * (bits == 4 ? 0.12 : 0.78) / std::sqrt(127.0);
        for (std::size_t i = 0; i + 1 < codes.size(); ++i) {
          const std::vector<char> row = RowOf(space, codes[i]);
          REQUIRE(space.CheckRow(row.data()).ok());
          const double estimate = ProximityOf(space, QueryOf(space, codes[i + 1]), row);
          REQUIRE(std::fabs(estimate - exact.Proximity(codes[i + 1].data(), codes[i].data())) < bound);
          // With itself only the query's rounding is left.
          const double self = ProximityOf(space, QueryOf(space, codes[i]), row);
          REQUIRE(std::fabs(self - exact.Proximity(codes[i].data(), codes[i].data())) < (bits == 4 ? 0.005 : 0.15));
        }
      }
    }
  }
}

TEST_CASE("small code: rows and proximities are the same on every processor") {
  std::uint64_t hash = 14695981039346656037ULL;
  const auto mix = [&hash](const char* bytes, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      hash = (hash ^ static_cast<std::uint8_t>(bytes[i])) * 1099511628211ULL;
    }
  };
  std::uint32_t state = 3;
  for (const std::uint8_t bits : kBits) {
    for (const VectorMetric metric : kMetrics) {
      for (const std::uint32_t dimension : {2U, 3U, 7U, 64U, 65U, 100U, 129U, 300U, 784U}) {
        const std::vector<float> mean = PlainVector(dimension, state);
        const SmallCodeSpace space(metric, dimension,
                                   {bits, kRotationSeed, metric == VectorMetric::kL2 ? mean : std::vector<float>()});
        for (int round = 0; round < 10; ++round) {
          const std::vector<char> row = RowOf(space, CodeOf(PlainVector(dimension, state)));
          const std::vector<char> query = QueryOf(space, CodeOf(PlainVector(dimension, state)));
          const float proximity = ProximityOf(space, query, row);
          mix(row.data(), row.size());
          mix(query.data(), query.size());
          mix(reinterpret_cast<const char*>(&proximity), sizeof(proximity));
        }
      }
    }
  }
  CHECK(hash == 8546957586902219508ULL);
}

TEST_CASE("small code: rows of zeros, of equal components and of the largest floats are sound") {
  for (const std::uint8_t bits : kBits) {
    for (const VectorMetric metric : kMetrics) {
      for (const float value : {0.0F, 1e-36F, 1e-20F, 1.0F, -3.0F, 1e19F, std::numeric_limits<float>::max()}) {
        const SmallCodeSpace space(metric, 33, {bits, kRotationSeed, {}});
        const std::vector<char> code = CodeOf(std::vector<float>(33, value));
        const std::vector<char> row = RowOf(space, code);
        CAPTURE(value);
        CHECK(space.CheckRow(row.data()).ok());
        const float proximity = ProximityOf(space, QueryOf(space, CodeOf(std::vector<float>(33, 1.0F))), row);
        CHECK(!std::isnan(proximity));
      }
    }
  }
  const SmallCodeSpace space(VectorMetric::kCosine, 33, {4, kRotationSeed, {}});
  const std::vector<char> query = QueryOf(space, CodeOf(std::vector<float>(33, 1.0F)));
  const float far = ProximityOf(space, query, RowOf(space, CodeOf(std::vector<float>(33, 0.0F))));
  CHECK(far > ProximityOf(space, query, RowOf(space, CodeOf(std::vector<float>(33, -1.0F)))));
}

TEST_CASE("small code: a row that no vector makes is found out") {
  std::uint32_t state = 19;
  for (const std::uint8_t bits : kBits) {
    for (const VectorMetric metric : kMetrics) {
      const SmallCodeSpace space(metric, 33, {bits, kRotationSeed, {}});
      const std::vector<char> good = RowOf(space, CodeOf(PlainVector(33, state)));
      REQUIRE(space.CheckRow(good.data()).ok());
      const std::size_t code_bits = bits * std::size_t{33};
      const auto is_good = [&](const std::vector<char>& row) { return space.CheckRow(row.data()).ok(); };
      const std::size_t trailer = good.size() - 8;
      for (std::size_t bit = 0; bit < trailer * 8; ++bit) {
        std::vector<char> row = good;
        row[bit / 8] = static_cast<char>(row[bit / 8] ^ (1 << (bit % 8)));
        // 4 bits: low halves first, so that the odd component out is in a low half too, and one high half is padding.
        const bool is_padding = bits == 1 ? bit >= code_bits : bit / 8 > 16 || (bit / 8 == 16 && bit % 8 >= 4);
        REQUIRE(is_good(row) == !is_padding);
      }
      const auto with = [&](std::size_t offset, float value) {
        std::vector<char> row = good;
        std::memcpy(row.data() + trailer + offset, &value, 4);
        return row;
      };
      for (const float value : {-1.0F, -0.0F, INFINITY, NAN}) {
        CHECK(!is_good(with(0, value)));
        CHECK(!is_good(with(4, value)));
      }
      CHECK(!is_good(with(0, 0.0F)));  // With codes that are not 0.
      CHECK(is_good(with(4, 1.0F)) == (metric != VectorMetric::kDot));
      CHECK(space.CheckRow(with(0, NAN).data()).code() == ErrorCode::kCorruption);
    }
  }
}

TEST_CASE("small code: a configuration reads back, and damage to it is refused") {
  const SmallCodeConfig config{1, kRotationSeed, {0.5F, -2.0F, 0.0F}};
  const ByteString bytes = config.Encode(3);
  CHECK(bytes.size() == 24);
  CHECK(SmallCodeConfig::Decode(bytes, VectorMetric::kL2, 3).value() == config);
  const SmallCodeConfig plain{4, 0, {}};
  CHECK(SmallCodeConfig::Decode(plain.Encode(3), VectorMetric::kCosine, 3).value() == plain);
  CHECK(SmallCodeConfig::Decode(bytes, VectorMetric::kCosine, 3).status().message() ==
        "small codes: 1 bits with flags 1 and 3 dimensions, expected 4 or 1 bits with flags of at most 0 and 3 "
        "dimensions");
  CHECK(!SmallCodeConfig::Decode(bytes, VectorMetric::kL2, 4).ok());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    CHECK(!SmallCodeConfig::Decode(Bytes(bytes).substr(0, length), VectorMetric::kL2, 3).ok());
  }
  CHECK(!SmallCodeConfig::Decode(bytes + '\0', VectorMetric::kL2, 3).ok());
  for (const std::uint8_t bits : {0, 2, 3, 8, 255}) {
    ByteString other = bytes;
    other[0] = static_cast<char>(bits);
    CHECK(!SmallCodeConfig::Decode(other, VectorMetric::kL2, 3).ok());
  }
  ByteString infinite = bytes;
  infinite.replace(16, 4, ByteString("\0\0\x80\x7F", 4));
  CHECK(SmallCodeConfig::Decode(infinite, VectorMetric::kL2, 3).status().message() ==
        "small codes: component 1 of the mean is not finite, expected a finite number");
}

}  // namespace foreshore
