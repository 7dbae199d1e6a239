#include "engine/inference/bert_calibration.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>

#include "engine/inference/bert_executor.h"
#include "engine/inference/bert_quantize.h"
#include "tests/engine/inference/quantized_model.h"

namespace foreshore {
namespace {

std::vector<float> RandomFloats(std::size_t count, std::uint32_t seed, float deviation) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Everything that the linear layers read, rows of their own width.
class AllInputs : public LinearObserver {
 public:
  explicit AllInputs(const BertConfig& config) : config_(config) {}
  void OnInput(std::size_t layer, BertLinear linear, const float* rows, std::size_t stride,
               std::size_t row_count) override {
    std::vector<float>& all = rows_[{layer, linear}];
    for (std::size_t row = 0; row < row_count; ++row) {
      all.insert(all.end(), rows + row * stride, rows + row * stride + ShapeOf(config_, linear).in);
    }
  }
  const std::vector<float>& at(std::size_t layer, BertLinear linear) { return rows_[{layer, linear}]; }

 private:
  const BertConfig& config_;
  std::map<std::pair<std::size_t, BertLinear>, std::vector<float>> rows_;
};

// Two streams of rows of width 48, the exact one a mixture of the other and noise, each about a mean.
struct Streams {
  static constexpr std::size_t kWidth = 48;
  static constexpr std::size_t kCount = 300;
  std::vector<float> mixing = RandomFloats(kWidth * kWidth, 1, 0.05F);
  std::vector<float> quantized = RandomFloats(kCount * kWidth, 2, 1.0F);
  std::vector<float> exact;

  explicit Streams(float noise) {
    for (std::size_t i = 0; i < quantized.size(); ++i) quantized[i] += 0.3F * static_cast<float>(i % 5);
    exact = RandomFloats(quantized.size(), 3, noise);
    for (std::size_t i = 0; i < kWidth; ++i) mixing[i * kWidth + i] += 1.0F;
    for (std::size_t row = 0; row < kCount; ++row) {
      for (std::size_t i = 0; i < kWidth; ++i) {
        exact[row * kWidth + i] += 0.5F;
        for (std::size_t k = 0; k < kWidth; ++k) {
          exact[row * kWidth + i] += mixing[i * kWidth + k] * quantized[row * kWidth + k];
        }
      }
    }
  }
  CalibrationSums Sums() const {
    CalibrationSums sums(kWidth);
    sums.Add(quantized, exact, 170);
    sums.Add(std::span(quantized).subspan(170 * kWidth), std::span(exact).subspan(170 * kWidth), kCount - 170);
    sums.Finish();
    return sums;
  }
};

}  // namespace

TEST_CASE("calibration: a layer aims at what the float model's weights make of the float model's inputs") {
  const Streams streams(0.0F);
  constexpr std::size_t kWidth = Streams::kWidth;
  const std::vector<float> weights = RandomFloats(8 * kWidth, 4, 0.1F);
  const CalibrationSums sums = streams.Sums();
  for (const bool act_order : {false, true}) {
    const HessianFactor inverse = FactorInverse(sums.inputs(), act_order, 1e-7).value();
    CHECK(std::is_sorted(inverse.order.begin(), inverse.order.end()) == !act_order);
    const std::vector<float> aim = sums.AimOf(weights, 8, inverse);
    for (std::size_t n = 0; n < 8; ++n) {
      for (std::size_t k = 0; k < kWidth; ++k) {
        double expected = 0;  // W · mixing
        for (std::size_t i = 0; i < kWidth; ++i) expected += weights[n * kWidth + i] * streams.mixing[i * kWidth + k];
        CHECK(aim[n * kWidth + k] == doctest::Approx(expected).epsilon(0.002).scale(0.1));
      }
    }
  }
}

TEST_CASE("calibration: output error and bias are those of their definitions") {
  const Streams streams(0.2F);
  constexpr std::size_t kWidth = Streams::kWidth;
  const CalibrationSums sums = streams.Sums();
  const std::vector<float> weights = RandomFloats(8 * kWidth, 5, 0.1F);
  std::vector<float> rounded = weights;
  for (float& weight : rounded) weight = std::nearbyint(weight * 20.0F) / 20.0F;
  const std::vector<float> best = sums.BiasChange(weights, rounded);
  for (const bool with_bias : {false, true}) {
    const std::vector<float> change = with_bias ? best : std::vector<float>(8);
    double expected = 0;
    for (std::size_t row = 0; row < Streams::kCount; ++row) {
      for (std::size_t n = 0; n < 8; ++n) {
        double error = -change[n];
        for (std::size_t i = 0; i < kWidth; ++i) {
          error += static_cast<double>(weights[n * kWidth + i]) * streams.exact[row * kWidth + i] -
                   static_cast<double>(rounded[n * kWidth + i]) * streams.quantized[row * kWidth + i];
        }
        expected += error * error;
      }
    }
    CHECK(sums.OutputError(weights, rounded, change) == doctest::Approx(expected).epsilon(0.001));
  }
  CHECK(sums.OutputError(weights, rounded, best) < sums.OutputError(weights, rounded, std::vector<float>(8)));
}

TEST_CASE("executor: layers one at a time read and give what they do in the whole model, bit for bit") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 91);
  const RunningModel whole(f32, WeightFormat::Float());
  std::vector<std::vector<std::int32_t>> sequences;
  std::vector<std::size_t> lengths;
  for (std::uint32_t i = 0; i < 12; ++i) {
    sequences.push_back(RandomIds(f32.config, 3 + i * 2, i));
    lengths.push_back(sequences.back().size());
  }
  AllInputs expected(f32.config);
  BertExecutor::Options options;
  options.observer = &expected;
  whole.Embed(sequences, options);
  const RunningModel first(BertCalibration::LayerOf(f32, 0), WeightFormat::Float());
  const RunningModel second(BertCalibration::LayerOf(f32, 1), WeightFormat::Float());
  std::vector<float> hidden = expected.at(0, BertLinear::kQuery);
  const auto executor = BertExecutor::Create(first.packed, {}).value();
  REQUIRE(executor->RunLayers(lengths, hidden).ok());
  CHECK(hidden == expected.at(1, BertLinear::kQuery));
  for (const BertLinear linear : {BertLinear::kQuery, BertLinear::kOutput, BertLinear::kUp, BertLinear::kDown}) {
    AllInputs found(f32.config);
    BertExecutor::Options observed;
    observed.observer = &found;
    const auto shows = BertExecutor::Create(second.packed, observed).value();
    REQUIRE(shows->ShowInput(lengths, hidden, linear).ok());
    CHECK(found.at(0, linear) == expected.at(1, linear));
    CHECK(found.at(0, BertLinear::kDown).empty() == (linear != BertLinear::kDown));
  }
  CHECK(executor->RunLayers({}, {}).ok());
  const std::vector<std::size_t> too_long = {1, f32.config.token_count_max + std::size_t{1}};
  CHECK(executor->RunLayers(too_long, hidden).message().find("layers: sequence 1 has") != std::string_view::npos);
  CHECK(executor->RunLayers(lengths, std::span(hidden).subspan(1)).message().find("layers: found") !=
        std::string_view::npos);
}

TEST_CASE("calibration: texts begin as the embeddings of the float model and of the one with words in 8 bits") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 93);
  std::vector<std::vector<std::int32_t>> sequences;
  for (std::uint32_t i = 0; i < 10; ++i) sequences.push_back(RandomIds(f32.config, 5 + i * 3, i));
  AllInputs exact(f32.config);
  AllInputs quantized(f32.config);
  BertExecutor::Options options;
  options.observer = &exact;
  RunningModel(f32, WeightFormat::Float()).Embed(sequences, options);
  options.observer = &quantized;
  RunningModel(QuantizeBertInt8(f32).value(), WeightFormat::Int8()).Embed(sequences, options);
  const std::vector<float>& rows = quantized.at(0, BertLinear::kQuery);
  CalibrationSums expected(f32.config.hidden_size);
  REQUIRE(expected.stride() == f32.config.hidden_size);
  expected.Add(rows, exact.at(0, BertLinear::kQuery), rows.size() / expected.stride());
  expected.Finish();
  const auto layer = PackedBertInMemory::Make(BertCalibration::LayerOf(f32, 0), WeightFormat::Float()).value();
  const BertCalibration texts = BertCalibration::Create(f32, sequences).value();
  const CalibrationSums found = texts.Collect(layer, layer, BertLinear::kQuery).value();
  CHECK(found.inputs().sums == expected.inputs().sums);
  const std::vector<float> weights = RandomFloats(8 * expected.width(), 94, 0.1F);
  CHECK(found.BiasChange(weights, weights) == expected.BiasChange(weights, weights));
  CHECK(found.OutputError(weights, weights, std::vector<float>(8)) ==
        expected.OutputError(weights, weights, std::vector<float>(8)));
  CHECK(found.OutputError(weights, weights, std::vector<float>(8)) > 0);
}

TEST_CASE("calibration: texts that do not fit the model are named") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 92);
  CHECK(BertCalibration::Create(f32, {{1, 2}, {}})
            .status()
            .message()
            .starts_with("calibration: sequence 1 has 0 tokens, expected 1.."));
  CHECK(BertCalibration::Create(f32, {{1, -2}})
            .status()
            .message()
            .starts_with("calibration: sequence 0 has token -2, expected 0.."));
}

}  // namespace foreshore
