#include "engine/inference/float_kernels.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace foreshore {
namespace {

std::vector<const FloatKernels*> KernelsToTest() {
  std::vector<const FloatKernels*> kernels = {&FloatKernelsPortable()};
  for (const CpuLevel level : {CpuLevel::kAvx2, CpuLevel::kAvx512Vnni}) {
    if (CpuSupports(level)) kernels.push_back(&FloatKernelsFor(level));
  }
  return kernels;
}

std::vector<float> RandomFloats(std::size_t count, std::uint32_t seed, float deviation = 1.0F) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace

TEST_CASE("float kernels: quantized rows are the nearest codes") {
  for (const FloatKernels* kernels : KernelsToTest()) {
    CAPTURE(CpuLevelName(kernels->level));
    for (const std::size_t count : {1, 3, 7, 8, 13, 64, 385}) {
      CAPTURE(count);
      const std::vector<float> values = RandomFloats(count, 7, 3.0F);
      std::vector<std::int8_t> codes(count);
      const RowCode row = kernels->quantize_row(values.data(), count, codes.data());
      for (std::size_t i = 0; i < count; ++i) {
        CHECK(std::fabs(values[i] - (row.offset + row.scale * static_cast<float>(codes[i]))) <= row.scale * 0.5001F);
      }
      if (count == 1) continue;
      CHECK(*std::max_element(codes.begin(), codes.end()) == 127);
      CHECK(*std::min_element(codes.begin(), codes.end()) == -127);
    }
  }
}

TEST_CASE("float kernels: every level gives the same codes") {
  const std::vector<float> values = RandomFloats(1001, 11, 2.0F);
  std::vector<std::int8_t> expected(values.size());
  const RowCode expected_row = FloatKernelsPortable().quantize_row(values.data(), values.size(), expected.data());
  for (const FloatKernels* kernels : KernelsToTest()) {
    std::vector<std::int8_t> codes(values.size());
    const RowCode row = kernels->quantize_row(values.data(), values.size(), codes.data());
    CHECK(row.scale == expected_row.scale);
    CHECK(row.offset == expected_row.offset);
    CHECK(codes == expected);
  }
}

TEST_CASE("float kernels: a row of equal values has scale 0, a row with NaN or infinity a scale that is not finite") {
  for (const FloatKernels* kernels : KernelsToTest()) {
    for (const std::size_t count : {5, 24, 29}) {
      std::vector<float> values(count, -2.5F);
      std::vector<std::int8_t> codes(count, 9);
      const RowCode equal = kernels->quantize_row(values.data(), count, codes.data());
      CHECK(equal.scale == 0.0F);
      CHECK(equal.offset == -2.5F);
      CHECK(codes == std::vector<std::int8_t>(count, 0));
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        for (const std::size_t position : {std::size_t{0}, count - 1}) {
          values.assign(count, 1.0F);
          values[position] = bad;
          CHECK_FALSE(std::isfinite(kernels->quantize_row(values.data(), count, codes.data()).scale));
        }
      }
    }
  }
}

// Steps through -12..12 by way of the integer sums, so that every lane is used.
TEST_CASE("float kernels: GELU stays within its bound") {
  constexpr int kCount = 64 * 400;
  std::vector<std::int32_t> sums(kCount);
  for (int i = 0; i < kCount; ++i) sums[i] = i - kCount / 2;
  const std::vector<RowCode> rows(400, {24.0F / kCount, 0.5F});
  const std::vector<float> column_scales(64, 1.0F);
  const std::vector<float> column_weights(64, 3.0F);
  const std::vector<float> bias(64, -1.5F);
  for (const FloatKernels* kernels : KernelsToTest()) {
    CAPTURE(CpuLevelName(kernels->level));
    std::vector<float> linear(kCount);
    std::vector<float> gelu(kCount);
    kernels->dequantize_panel(sums.data(), 400, 64, rows.data(), column_scales.data(), column_weights.data(),
                              bias.data(), {}, Activation::kNone, linear.data(), 64);
    kernels->dequantize_panel(sums.data(), 400, 64, rows.data(), column_scales.data(), column_weights.data(),
                              bias.data(), {}, Activation::kGelu, gelu.data(), 64);
    double max_error = 0;
    for (int i = 0; i < kCount; ++i) {
      const double x = linear[i];
      CHECK(std::fabs(x - 24.0 / kCount * (i - kCount / 2)) <= 1e-6);
      max_error = std::max(max_error, std::fabs(gelu[i] - 0.5 * x * std::erfc(-x / std::sqrt(2.0))));
    }
    CHECK(max_error <= 1.5e-6);
  }
}

TEST_CASE("float kernels: what an adapter adds comes before the activation, for every rank, in 8 bits and floats") {
  constexpr std::size_t kRows = 7;
  const std::vector<float> acc = RandomFloats(kRows * 64, 11, 50.0F);
  const std::vector<float> column_scales = RandomFloats(64, 12, 0.02F);
  const std::vector<float> column_weights = RandomFloats(64, 13);
  const std::vector<float> bias = RandomFloats(64, 14);
  std::vector<std::int32_t> sums(acc.begin(), acc.end());
  const std::vector<float> whole(sums.begin(), sums.end());
  std::vector<RowCode> rows;
  for (std::size_t row = 0; row < kRows; ++row) rows.push_back({0.01F * static_cast<float>(row + 1), 0.25F});
  for (const FloatKernels* kernels : KernelsToTest()) {
    for (const std::size_t rank : {0, 4, 8, 12, 16, 28}) {
      const std::vector<float> low = RandomFloats(kRows * 40, 15);
      const std::vector<float> b = RandomFloats(rank * 64 + 1, 16, 0.3F);
      const LowRankTerm term{low.data() + 3, 40, rank, b.data()};
      for (const Activation activation : {Activation::kNone, Activation::kGelu}) {
        CAPTURE(CpuLevelName(kernels->level));
        CAPTURE(rank);
        std::vector<float> from_codes(kRows * 70);
        std::vector<float> from_scaled(kRows * 70);
        std::vector<float> from_floats(kRows * 70);
        kernels->dequantize_panel(sums.data(), kRows, 64, rows.data(), column_scales.data(), column_weights.data(),
                                  bias.data(), term, activation, from_codes.data(), 70);
        // Of some columns alone the same, and nothing where a vector does not reach.
        for (const std::size_t column_count : {8, 24, 64}) {
          constexpr float kUntouched = -12345.0F;
          std::vector<float> part(kRows * 70, kUntouched);
          kernels->dequantize_panel(sums.data(), kRows, column_count, rows.data(), column_scales.data(),
                                    column_weights.data(), bias.data(), term, activation, part.data(), 70);
          for (std::size_t i = 0; i < kRows * 64; ++i) {
            const std::size_t at = i / 64 * 70 + i % 64;
            if (i % 64 < column_count) CHECK(part[at] == from_codes[at]);
            if (i % 64 >= (column_count + 15) / 16 * 16) CHECK(part[at] == kUntouched);
          }
        }
        kernels->finish_panel(whole.data(), kRows, rows.data(), column_weights.data(), bias.data(), term, activation,
                              from_scaled.data(), 70);
        kernels->finish_panel(whole.data(), kRows, nullptr, nullptr, bias.data(), term, activation, from_floats.data(),
                              70);
        for (std::size_t i = 0; i < kRows * 64; ++i) {
          const std::size_t row = i / 64;
          const std::size_t column = i % 64;
          double added = bias[column];
          for (std::size_t r = 0; r < rank; ++r)
            added += static_cast<double>(low[row * 40 + 3 + r]) * b[r * 64 + column];
          const double offset = static_cast<double>(rows[row].offset) * column_weights[column];
          const double scaled = static_cast<double>(whole[i]) * rows[row].scale;
          const auto finished = [&](double x) {
            return activation == Activation::kGelu ? 0.5 * x * std::erfc(-x / std::sqrt(2.0)) : x;
          };
          CHECK(from_codes[row * 70 + column] ==
                doctest::Approx(finished(scaled * column_scales[column] + offset + added)).epsilon(2e-5).scale(1));
          CHECK(from_scaled[row * 70 + column] ==
                doctest::Approx(finished(scaled + offset + added)).epsilon(2e-5).scale(1));
          CHECK(from_floats[row * 70 + column] == doctest::Approx(finished(whole[i] + added)).epsilon(2e-5).scale(1));
        }
      }
    }
  }
}

TEST_CASE("float kernels: layer norm matches double arithmetic, with and without a residual") {
  for (const FloatKernels* kernels : KernelsToTest()) {
    for (const std::size_t count : {1, 6, 64, 385}) {
      CAPTURE(count);
      const std::vector<float> values = RandomFloats(count, 1, 3.0F);
      const std::vector<float> residual = RandomFloats(count, 2, 3.0F);
      const std::vector<float> gamma = RandomFloats(count, 3);
      const std::vector<float> beta = RandomFloats(count, 4);
      for (const bool with_residual : {false, true}) {
        double mean = 0;
        double variance = 0;
        std::vector<double> sum(count);
        for (std::size_t i = 0; i < count; ++i) sum[i] = values[i] + (with_residual ? residual[i] : 0.0F);
        for (const double value : sum) mean += value / static_cast<double>(count);
        for (const double value : sum) variance += (value - mean) * (value - mean) / static_cast<double>(count);
        std::vector<float> out(count);
        if (with_residual) {
          kernels->add_layer_norm(values.data(), residual.data(), gamma.data(), beta.data(), 1e-5F, count, out.data());
        } else {
          kernels->layer_norm(values.data(), gamma.data(), beta.data(), 1e-5F, count, out.data());
        }
        for (std::size_t i = 0; i < count; ++i) {
          const double expected = (sum[i] - mean) / std::sqrt(variance + 1e-5F) * gamma[i] + beta[i];
          CHECK(std::fabs(out[i] - expected) <= 2e-5 * (1.0 + std::fabs(gamma[i])));
        }
      }
    }
  }
}

TEST_CASE(
    "float kernels: attention matches double arithmetic for any length and head width, and writes only its columns") {
  for (const FloatKernels* kernels : KernelsToTest()) {
    CAPTURE(CpuLevelName(kernels->level));
    for (const std::size_t width : {1, 5, 16, 32, 40}) {
      for (const std::size_t token_count : {1, 2, 5, 16, 17, 33}) {
        CAPTURE(width);
        CAPTURE(token_count);
        const std::size_t stride = 3 * width + 2;
        const std::vector<float> qkv = RandomFloats(token_count * stride, 5, 2.0F);
        std::vector<float> out(token_count * (width + 3), -77.0F);
        std::vector<float> workspace(AttentionWorkspaceFloats(token_count, width));
        const float score_scale = 1.0F / std::sqrt(static_cast<float>(width));
        kernels->attend({qkv.data(), qkv.data() + width, qkv.data() + 2 * width, stride, token_count, width,
                         score_scale, out.data(), width + 3},
                        workspace.data());
        for (std::size_t t = 0; t < token_count; ++t) {
          std::vector<double> expected(width);
          double sum = 0;
          for (std::size_t u = 0; u < token_count; ++u) {
            double score = 0;
            for (std::size_t i = 0; i < width; ++i) {
              score += static_cast<double>(qkv[t * stride + i]) * qkv[u * stride + width + i];
            }
            const double weight = std::exp(score * score_scale);
            sum += weight;
            for (std::size_t i = 0; i < width; ++i) expected[i] += weight * qkv[u * stride + 2 * width + i];
          }
          for (std::size_t i = 0; i < width; ++i) {
            CHECK(std::fabs(out[t * (width + 3) + i] - expected[i] / sum) <= 2e-5);
          }
          for (std::size_t i = width; i < width + 3; ++i) CHECK(out[t * (width + 3) + i] == -77.0F);
        }
      }
    }
  }
}

TEST_CASE("float kernels: scores far apart leave the largest alone") {
  const std::vector<float> query = {1.0F, 1.0F};
  const std::vector<float> key = {-3000.0F, 3000.0F};
  const std::vector<float> value = {5.0F, 7.0F};
  for (const FloatKernels* kernels : KernelsToTest()) {
    std::vector<float> out(2);
    std::vector<float> workspace(AttentionWorkspaceFloats(2, 1));
    kernels->attend({query.data(), key.data(), value.data(), 1, 2, 1, 1.0F, out.data(), 1}, workspace.data());
    CHECK(out == std::vector<float>{7.0F, 7.0F});
  }
}

}  // namespace foreshore
