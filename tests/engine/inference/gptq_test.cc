#include "engine/inference/gptq.h"

#include <doctest/doctest.h>

#include <limits>
#include <random>

#include "engine/inference/bert_gptq.h"
#include "engine/inference/float_kernels.h"
#include "tests/engine/inference/quantized_model.h"

namespace foreshore {
namespace {

// Rows whose inputs are mixtures of a few sources, of unequal strength: what GPTQ makes use of.
std::vector<float> CorrelatedRows(std::size_t row_count, std::size_t width, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const std::size_t source_count = width / 4;
  std::vector<float> mixing(source_count * width);
  for (float& value : mixing) value = normal(random);
  std::vector<float> rows(row_count * width);
  std::vector<float> sources(source_count);
  for (std::size_t row = 0; row < row_count; ++row) {
    for (float& source : sources) source = normal(random);
    for (std::size_t i = 0; i < width; ++i) {
      float value = 0.3F * normal(random);
      for (std::size_t k = 0; k < source_count; ++k) value += sources[k] * mixing[k * width + i];
      rows[row * width + i] = value * (i % 11 == 0 ? 4.0F : 1.0F);
    }
  }
  return rows;
}

Hessian HessianOf(const std::vector<float>& rows, std::size_t width) {
  Hessian hessian;
  hessian.width = width;
  hessian.stride = (width + 15) / 16 * 16;
  hessian.row_count = rows.size() / width;
  hessian.sums.resize(hessian.stride * hessian.stride);
  for (std::size_t row = 0; row < hessian.row_count; ++row) {
    for (std::size_t i = 0; i < width; ++i) {
      for (std::size_t j = 0; j < width; ++j) {
        hessian.sums[i * hessian.stride + j] += rows[row * width + i] * rows[row * width + j];
      }
    }
  }
  return hessian;
}

std::vector<float> RandomWeights(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, 0.05F);
  std::vector<float> weights(count);
  for (float& weight : weights) weight = normal(random);
  return weights;
}

// Σ‖(W − Q)x‖² by its definition.
double PlainError(const std::vector<float>& weights, const GroupedWeights& quantized, const std::vector<float>& rows) {
  const std::size_t width = quantized.column_count;
  const std::vector<float> values = quantized.Dequantize();
  double error = 0;
  for (std::size_t row = 0; row < rows.size() / width; ++row) {
    for (std::size_t n = 0; n < quantized.row_count; ++n) {
      double sum = 0;
      for (std::size_t i = 0; i < width; ++i) {
        sum += static_cast<double>(weights[n * width + i] - values[n * width + i]) * rows[row * width + i];
      }
      error += sum * sum;
    }
  }
  return error;
}

}  // namespace

TEST_CASE("gptq: on correlated inputs the output error is well below rounding to nearest, seen and unseen") {
  constexpr std::size_t kWidth = 192;
  constexpr std::size_t kOutputs = 48;
  const std::vector<float> weights = RandomWeights(kOutputs * kWidth, 51);
  const std::vector<float> all = CorrelatedRows(900, kWidth, 52);
  const std::vector<float> seen(all.begin(), all.begin() + 600 * kWidth);
  const std::vector<float> unseen(all.begin() + 600 * kWidth, all.end());
  const Hessian hessian = HessianOf(seen, kWidth);
  for (const std::uint32_t bits : {4U, 3U}) {
    const GroupedWeights nearest = QuantizeToNearest(weights, kOutputs, kWidth, bits, 64);
    for (const bool act_order : {false, true}) {
      CAPTURE(bits);
      CAPTURE(act_order);
      const auto gptq =
          QuantizeGptq(weights, kOutputs, hessian, {.bits = bits, .group_size = 64, .act_order = act_order});
      REQUIRE(gptq.ok());
      CHECK(gptq->order.empty());  // Static groups: inputs stay in their own order.
      CHECK(*std::max_element(gptq->codes.begin(), gptq->codes.end()) < 1U << bits);
      const double error = PlainError(weights, *gptq, seen);
      CHECK(OutputError(weights, *gptq, hessian) == doctest::Approx(error).epsilon(0.01));
      CHECK(error < 0.6 * PlainError(weights, nearest, seen));
      CHECK(PlainError(weights, *gptq, unseen) < 0.6 * PlainError(weights, nearest, unseen));
    }
  }
}

TEST_CASE("gptq: taking columns by their weight on the output helps") {
  constexpr std::size_t kWidth = 192;
  const std::vector<float> weights = RandomWeights(48 * kWidth, 53);
  const std::vector<float> rows = CorrelatedRows(600, kWidth, 54);
  const Hessian hessian = HessianOf(rows, kWidth);
  const auto ordered = QuantizeGptq(weights, 48, hessian, {.group_size = 64, .act_order = true});
  const auto plain = QuantizeGptq(weights, 48, hessian, {.group_size = 64, .act_order = false});
  CHECK(OutputError(weights, *ordered, hessian) < OutputError(weights, *plain, hessian));
}

TEST_CASE("gptq: refinement lowers the error, seen and unseen") {
  constexpr std::size_t kWidth = 192;
  const std::vector<float> weights = RandomWeights(48 * kWidth, 62);
  const std::vector<float> all = CorrelatedRows(1200, kWidth, 63);
  const std::vector<float> seen(all.begin(), all.begin() + 900 * kWidth);
  const std::vector<float> unseen(all.begin() + 900 * kWidth, all.end());
  const Hessian hessian = HessianOf(seen, kWidth);
  double before = 1e30;
  for (const std::uint32_t refinement_count : {0U, 1U, 3U}) {
    CAPTURE(refinement_count);
    const auto gptq =
        QuantizeGptq(weights, 48, hessian, {.group_size = 64, .refinement_count = refinement_count}).value();
    const double error = PlainError(weights, gptq, seen) + PlainError(weights, gptq, unseen);
    CHECK(error < before);
    before = error;
  }
}

TEST_CASE("gptq: uncorrelated inputs of equal strength leave no more than the nearest codes do") {
  constexpr std::size_t kWidth = 64;
  const std::vector<float> weights = RandomWeights(16 * kWidth, 55);
  Hessian hessian;
  hessian.width = hessian.stride = kWidth;
  hessian.sums.resize(kWidth * kWidth);
  for (std::size_t i = 0; i < kWidth; ++i) hessian.sums[i * kWidth + i] = 3.0F;
  const auto gptq = QuantizeGptq(weights, 16, hessian, {.group_size = 32});
  const double error = OutputError(weights, *gptq, hessian);
  const double nearest_error = OutputError(weights, QuantizeToNearest(weights, 16, kWidth, 4, 32), hessian);
  CHECK(error <= nearest_error);
  CHECK(error > 0.8 * nearest_error);  // There is nothing to gain but by narrower grids.
}

TEST_CASE("gptq: an input that nothing touched, a constant group and a rank below the width are fine") {
  constexpr std::size_t kWidth = 64;
  std::vector<float> weights = RandomWeights(16 * kWidth, 56);
  for (std::size_t i = 0; i < 32; ++i) weights[i] = 0.0F;
  std::vector<float> rows = CorrelatedRows(20, kWidth, 57);
  for (std::size_t row = 0; row < 20; ++row) rows[row * kWidth + 40] = 0.0F;
  const auto gptq = QuantizeGptq(weights, 16, HessianOf(rows, kWidth), {.group_size = 32});
  REQUIRE(gptq.ok());
  for (std::size_t n = 0; n < 16; ++n) CHECK(gptq->ValueAt(n, 40) == 0.0F);
  for (std::size_t i = 0; i < 32; ++i) CHECK(gptq->ValueAt(0, i) == 0.0F);
}

TEST_CASE("gptq: numbers that are not finite are refused by input and weight") {
  std::vector<float> weights = RandomWeights(16 * 64, 58);
  Hessian hessian = HessianOf(CorrelatedRows(100, 64, 59), 64);
  hessian.sums[7 * 64 + 7] = std::numeric_limits<float>::quiet_NaN();
  CHECK(QuantizeGptq(weights, 16, hessian, {}).status().message() ==
        "GPTQ: calibration activations of input 7 are not finite, expected finite numbers");
  hessian = HessianOf(CorrelatedRows(100, 64, 59), 64);
  weights[3] = std::numeric_limits<float>::infinity();
  CHECK(QuantizeGptq(weights, 16, hessian, {}).status().message() ==
        "GPTQ: weight 3 is not finite, expected a finite number");
}

TEST_CASE("gptq: a whole model through its own activations is better than at the nearest codes") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 60);
  const RunningModel source(f32, WeightFormat::Float());
  std::vector<std::vector<std::int32_t>> sequences;
  for (std::uint32_t i = 0; i < 60; ++i) sequences.push_back(RandomIds(f32.config, 20 + i % 20, i));
  GptqReport report;
  for (const std::uint32_t bits : {4U, 3U}) {
    CAPTURE(bits);
    const GptqOptions options{.bits = bits, .group_size = 32};
    const WeightFormat format = WeightFormat::Gptq(bits, 32);
    const auto gptq = QuantizeBertGptq(f32, sequences, options, &report);
    REQUIRE_MESSAGE(gptq.ok(), gptq.status().ToString());
    CHECK(ValidateBertTensors(f32.config, format, ViewsOf(*gptq)).ok());
    CHECK(report.layers.size() == 12);
    CHECK(report.layers[3].name == "layer.0.output");
    CHECK(report.ErrorRatio() < 0.9);
    std::vector<std::vector<std::int32_t>> unseen;
    for (std::uint32_t i = 0; i < 30; ++i) unseen.push_back(RandomIds(f32.config, 10 + i, 1000 + i));
    const std::vector<float> expected = source.Embed(unseen);
    const double gptq_cosine = CosineOf(RunningModel(*gptq, format).Embed(unseen), expected);
    const double nearest_cosine = CosineOf(RunningModel(GroupedModel(f32, format), format).Embed(unseen), expected);
    CHECK(gptq_cosine > nearest_cosine);
  }
}

TEST_CASE("gptq: too few calibration tokens and a model that yields NaN are named") {
  BertModel f32 = RandomBert(SmallBertConfig(), 61);
  {
    const auto few = QuantizeBertGptq(f32, {RandomIds(f32.config, 40, 1)}, {});
    CHECK(few.status().code() == ErrorCode::kInvalidArgument);
    CHECK(few.status().message() ==
          "GPTQ: calibration texts have 40 tokens, expected at least 160, the inputs of the widest layer");
  }
  for (Tensor& tensor : f32.tensors) {
    if (tensor.name != "layer.0.norm.gamma") continue;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(tensor.bytes.data() + 12, &nan, sizeof(nan));
  }
  std::vector<std::vector<std::int32_t>> sequences(8, RandomIds(f32.config, 40, 1));
  const auto nan = QuantizeBertGptq(f32, sequences, {});
  CHECK(nan.status().code() == ErrorCode::kInvalidArgument);
  CHECK(nan.status().message() ==
        "layer.1.query.weight: GPTQ: calibration activations of input 3 are not finite, expected finite numbers");
}

}  // namespace foreshore
