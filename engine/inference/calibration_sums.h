// What a linear layer reads while its model is quantized layer by layer, in sums over the calibration tokens: x̃, what
// the layers before it give as they are quantized already, beside x, what they give in the float model.
//
// A layer is to answer x̃ as the float model's answers x, so its weights aim at W + W·(Σ(x−x̃)x̃ᵀ)·(Σx̃x̃ᵀ)⁻¹, the least
// squares fit of Wx by x̃ (Li et al. 2025, "GPTAQ", arXiv:2504.02692), and GPTQ rounds those by the Hessian of x̃.
//
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/inference/hessian.h"
#include "foreshore/status.h"

namespace foreshore {

class CalibrationSums {
 public:
  explicit CalibrationSums(std::size_t width);

  // `row_count` tokens: what the layer reads in the quantized model and in the float one, rows of width() floats padded
  // with zeros to stride().
  void Add(std::span<const float> quantized, std::span<const float> exact, std::size_t row_count);
  // Once, after the last Add: takes off the means, which biases take up.
  void Finish();

  std::size_t width() const { return inputs_.width; }
  std::size_t stride() const { return inputs_.stride; }
  std::size_t row_count() const { return inputs_.row_count; }
  const Hessian& inputs() const { return inputs_; }  // Of x̃ less its mean.

  // The least squares fit described above, by the factor of inputs()'s inverse.
  std::vector<float> AimOf(std::span<const float> weights, std::size_t row_count, const HessianFactor& inverse) const;

  // b' − b: the mean of Wx − Qx̃ over the tokens, of each output. `quantized` is Q, [outputs][width].
  std::vector<float> BiasChange(std::span<const float> weights, std::span<const float> quantized) const;

  // Σ‖(Wx + b) − (Qx̃ + b')‖², given b' − b.
  double OutputError(std::span<const float> weights, std::span<const float> quantized,
                     std::span<const float> bias_change) const;

 private:
  std::vector<float> Product(std::span<const float> rows, const std::vector<float>& square) const;

  Hessian inputs_;
  std::vector<float> drift_;  // Σ (x − x̃)·(x − x̃)ᵀ, [stride][stride].
  std::vector<float> cross_;  // Σ (x − x̃)·x̃ᵀ, [stride][stride].
  std::vector<double> input_totals_;
  std::vector<double> drift_totals_;
  std::vector<float> input_means_;
  std::vector<float> drift_means_;
  std::vector<float> differences_;  // Of the rows being added, and these transposed.
  std::vector<float> transposed_;
};

}  // namespace foreshore
