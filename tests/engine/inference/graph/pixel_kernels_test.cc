// Goal: kernels over channels-last pixels compute what plain loops compute, up to rounding, at every level of
// instructions and at every count of rows, columns and channels, and write nothing beside it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/engine/inference/graph/kernel_levels.h"

namespace foreshore::graph {
namespace {

constexpr float kUntouched = 777.0F;
const std::vector<Activation> kActivations = {{Unary::kNone, 0, 0},
                                              {Unary::kClip, 0, 0.5F},
                                              {Unary::kHardSigmoid, 0.2F, 0.5F},
                                              {Unary::kHardSwish, 0, 0},
                                              {Unary::kSilu, 0, 0}};

double Finished(const Finish& finish, double x) {
  double y = x;
  const auto a = static_cast<double>(finish.activation.a);
  const auto b = static_cast<double>(finish.activation.b);
  if (finish.activation.kind == Unary::kClip) y = std::clamp(x, a, b);
  if (finish.activation.kind == Unary::kHardSigmoid) y = std::clamp(a * x + b, 0.0, 1.0);
  if (finish.activation.kind == Unary::kHardSwish) y = x * std::clamp(x / 6 + 0.5, 0.0, 1.0);
  if (finish.activation.kind == Unary::kSilu) y = x / (1 + std::exp(-x));
  return y * static_cast<double>(finish.scale) + static_cast<double>(finish.shift);
}

bool IsNear(float found, double expected) {
  return std::fabs(static_cast<double>(found) - expected) <= 2e-5 * std::max(1.0, std::fabs(expected));
}

void CheckProduct(const VectorKernels& kernels, std::size_t rows, std::size_t columns, std::size_t runs,
                  std::size_t length, const Finish& finish) {
  CAPTURE(rows);
  CAPTURE(columns);
  CAPTURE(runs);
  CAPTURE(length);
  const std::size_t depth = runs * length;
  const std::size_t lanes = kernels.lanes;
  const std::size_t vectors = (columns + lanes - 1) / lanes;
  const std::vector<float> weights = Random(columns * depth, 3);
  const std::vector<float> biases = Random(columns, 4);
  std::vector<float> panels(vectors * (1 + depth) * lanes, 0.0F);
  for (std::size_t c = 0; c < columns; ++c) {
    float* panel = panels.data() + c / lanes * (1 + depth) * lanes + c % lanes;
    panel[0] = biases[c];
    for (std::size_t k = 0; k < depth; ++k) panel[(1 + k) * lanes] = weights[c * depth + k];
  }
  // Runs lie apart, out of order; what lies between them is no number.
  const std::size_t step = length + 3;
  std::vector<float> input(rows * runs * step, std::nanf(""));
  const std::vector<float> values = Random(rows * depth, 5);
  const auto place = [&](std::size_t row, std::size_t run) { return (run * rows + (rows - 1 - row)) * step; };
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t k = 0; k < depth; ++k) input[place(row, k / length) + k % length] = values[row * depth + k];
  }
  const std::size_t group = kernels.pixel_group;
  const std::size_t padded = (rows + group - 1) / group * group;
  std::vector<const float*> begins(padded * runs);
  std::vector<float*> outs(padded);
  std::vector<float> out(rows * (columns + 1), kUntouched);
  for (std::size_t row = 0; row < padded; ++row) {
    const std::size_t real = std::min(row, rows - 1);
    outs[row] = out.data() + real * (columns + 1);
    for (std::size_t run = 0; run < runs; ++run) {
      begins[row / group * group * runs + run * group + row % group] = input.data() + place(real, run);
    }
  }
  PixelProduct product;
  product.runs = begins.data();
  product.out = outs.data();
  product.row_count = rows;
  product.run_count = runs;
  product.run_length = length;
  product.panels = panels.data();
  product.column_count = columns;
  product.finish = finish;
  kernels.multiply_pixels(product);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t c = 0; c < columns; ++c) {
      double sum = static_cast<double>(biases[c]);
      for (std::size_t k = 0; k < depth; ++k) {
        sum += static_cast<double>(values[row * depth + k]) * static_cast<double>(weights[c * depth + k]);
      }
      if (IsNear(out[row * (columns + 1) + c], Finished(finish, sum))) continue;
      CAPTURE(row);
      CAPTURE(c);
      REQUIRE(static_cast<double>(out[row * (columns + 1) + c]) == Finished(finish, sum));
    }
    REQUIRE(out[row * (columns + 1) + columns] == kUntouched);
  }
}

TEST_CASE("pixel kernels: products of every count of rows and columns") {
  for (const VectorKernels* kernels : AllLevels()) {
    CAPTURE(kernels->lanes);
    for (std::size_t columns = 1; columns <= 9 * kernels->lanes + 1; ++columns) {
      const std::size_t rows = 1 + columns * 7 % (2 * kernels->pixel_group + 5);
      const Finish finish{kActivations[columns % 5], 1.5F, -0.25F};
      CheckProduct(*kernels, rows, columns, 1 + columns % 3, 1 + columns % 11, finish);
    }
    for (std::size_t rows = 1; rows <= 2 * kernels->pixel_group + 1; ++rows) {
      for (const std::size_t vectors : {1U, 2U, 3U, 4U, 5U}) {
        CheckProduct(*kernels, rows, vectors * kernels->lanes, 2, 5, {});
      }
    }
  }
}

TEST_CASE("pixel kernels: depthwise runs of every count of pixels and channels") {
  for (const VectorKernels* kernels : AllLevels()) {
    CAPTURE(kernels->lanes);
    for (std::size_t channels = 1; channels <= 5 * kernels->lanes + 1; ++channels) {
      CAPTURE(channels);
      const std::size_t pixels = 1 + channels % 9;
      const std::size_t tap_count = channels % 4 == 0 ? 0 : channels % 7 + 1;
      const std::size_t step = (1 + channels % 2) * channels;
      const std::size_t width = (channels + kernels->lanes - 1) / kernels->lanes * kernels->lanes;
      const Finish finish{kActivations[channels % 5], 0.5F, 2};
      // The last tap's last channel is the last float that may be read.
      const std::vector<float> input = Random((pixels - 1) * step + (tap_count + 1) * channels, 6);
      const std::vector<float> weights = Random(tap_count * width, 7);
      const std::vector<float> bias = Random(width, 8);
      std::vector<const float*> taps;
      std::vector<const float*> tap_weights;
      for (std::size_t t = 0; t < tap_count; ++t) {
        taps.push_back(input.data() + (t + 1) * channels);
        tap_weights.push_back(weights.data() + t * width);
      }
      std::vector<float> out(pixels * channels + 1, kUntouched);
      DepthwiseRun run;
      run.taps = taps.data();
      run.weights = tap_weights.data();
      run.tap_count = tap_count;
      run.pixel_step = step;
      run.bias = bias.data();
      run.pixel_count = pixels;
      run.channel_count = channels;
      run.finish = finish;
      run.out = out.data();
      kernels->depthwise_pixels(run);
      for (std::size_t x = 0; x < pixels; ++x) {
        for (std::size_t c = 0; c < channels; ++c) {
          double sum = static_cast<double>(bias[c]);
          for (std::size_t t = 0; t < tap_count; ++t) {
            sum += static_cast<double>(taps[t][x * step + c]) * static_cast<double>(weights[t * width + c]);
          }
          CAPTURE(x);
          CAPTURE(c);
          REQUIRE(IsNear(out[x * channels + c], Finished(finish, sum)));
        }
      }
      CHECK(out.back() == kUntouched);
    }
  }
}

TEST_CASE("pixel kernels: sums of rows of every width") {
  for (const VectorKernels* kernels : AllLevels()) {
    CAPTURE(kernels->lanes);
    for (std::size_t columns = 1; columns <= 9 * kernels->lanes; ++columns) {
      CAPTURE(columns);
      const std::size_t rows = columns % 6;
      const std::vector<float> values = Random(rows * columns, 9);
      std::vector<float> sums = Random(columns, 10);
      const std::vector<float> before = sums;
      sums.push_back(kUntouched);
      kernels->add_rows(values.data(), rows, columns, sums.data());
      for (std::size_t c = 0; c < columns; ++c) {
        double sum = static_cast<double>(before[c]);
        for (std::size_t r = 0; r < rows; ++r) sum += static_cast<double>(values[r * columns + c]);
        REQUIRE(IsNear(sums[c], sum));
      }
      CHECK(sums.back() == kUntouched);
    }
  }
}

}  // namespace
}  // namespace foreshore::graph
