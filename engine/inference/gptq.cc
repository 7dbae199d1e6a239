#include "engine/inference/gptq.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/inference/float_kernels.h"
#include "storage/base/cpu.h"

namespace foreshore {
namespace {

constexpr std::size_t kBlock = kHessianBlock;

float CodeOf(float value, float scale, std::uint8_t zero, float code_max) {
  if (scale == 0) return zero;
  return std::clamp(std::nearbyint(value / scale) + static_cast<float>(zero), 0.0F, code_max);
}

// Parts of the range from a group's smallest to its largest weight that a grid may cover.
constexpr float kShrinkSteps[] = {1.0F, 0.95F, 0.9F, 0.85F, 0.8F, 0.75F, 0.7F};

struct Grid {
  float scale = 0;
  std::uint8_t zero = 0;
};

// A grid through zero from `low` to `high`.
Grid GridOf(float low, float high, float code_max) {
  Grid grid;
  grid.scale = (high - low) / code_max;
  if (grid.scale > 0) grid.zero = static_cast<std::uint8_t>(std::nearbyint(-low / grid.scale));
  return grid;
}

double GridError(std::span<const float> group, std::span<const float> importance, const Grid& grid, float code_max) {
  double error = 0;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const float code = CodeOf(group[i], grid.scale, grid.zero, code_max);
    const float difference = group[i] - grid.scale * (code - static_cast<float>(grid.zero));
    error += static_cast<double>(importance[i]) * difference * difference;
  }
  return error;
}

// A grid for each group from its smallest to its largest weight, or with `importance` (of each input) the part of that
// range that leaves the smallest weighted error. Codes are left zero.
GroupedWeights MakeGrids(std::span<const float> weights, std::size_t row_count, std::size_t column_count,
                         std::uint32_t bits, std::uint32_t group_size, std::span<const float> importance) {
  GroupedWeights grids;
  grids.row_count = row_count;
  grids.column_count = column_count;
  grids.group_size = std::min<std::size_t>(group_size, column_count);
  grids.codes.resize(row_count * column_count);
  grids.scales.resize(row_count * grids.group_count());
  grids.zeros.resize(grids.scales.size());
  const auto code_max = static_cast<float>((1U << bits) - 1);
  for (std::size_t i = 0; i < grids.scales.size(); ++i) {
    const std::size_t first = i % grids.group_count() * grids.group_size;
    const std::size_t count = std::min(grids.group_size, column_count - first);
    const auto group = weights.subspan(i / grids.group_count() * column_count + first, count);
    float low = 0;
    float high = 0;
    for (const float value : group) {
      low = std::min(low, value);
      high = std::max(high, value);
    }
    Grid best = GridOf(low, high, code_max);
    if (!importance.empty() && best.scale > 0) {
      double best_error = GridError(group, importance.subspan(first, count), best, code_max);
      for (const float shrink : kShrinkSteps) {
        const Grid grid = GridOf(low * shrink, high * shrink, code_max);
        const double error = GridError(group, importance.subspan(first, count), grid, code_max);
        if (error >= best_error) continue;
        best_error = error;
        best = grid;
      }
    }
    grids.scales[i] = best.scale;
    grids.zeros[i] = best.zero;
  }
  return grids;
}

// Lowers Σ e·(H + damping)·eᵀ over rows e of W − Q, round by round.
class Refiner {
 public:
  Refiner(std::span<const float> weights, const Hessian& hessian, double damping, float code_max,
          GroupedWeights& quantized)
      : hessian_(hessian),
        code_max_(code_max),
        quantized_(quantized),
        error_(quantized.row_count * hessian.stride),
        slope_(error_.size()) {
    const std::size_t width = hessian.width;
    double mean = 0;
    for (std::size_t i = 0; i < width; ++i) mean += hessian.sums[i * hessian.stride + i] / static_cast<double>(width);
    ridge_ = static_cast<float>(damping * mean);
    for (std::size_t row = 0; row < quantized.row_count; ++row) {
      for (std::size_t i = 0; i < width; ++i) {
        // What no input touches is left alone.
        const bool is_dead = hessian.sums[i * hessian.stride + i] == 0;
        error_[row * hessian.stride + i] = is_dead ? 0.0F : weights[row * width + i] - quantized.ValueAt(row, i);
      }
    }
    slope_ = Times(error_);
  }

  void MoveScales() {
    const std::size_t stride = hessian_.stride;
    std::vector<float> direction(error_.size());
    std::vector<float> steps(quantized_.scales.size());
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const std::size_t row = i / quantized_.group_count();
      const Range range = RangeOf(i % quantized_.group_count());
      double along = 0;
      double curve = 0;
      for (std::size_t k = range.first; k < range.end; ++k) {
        const double level = LevelAt(row, k);
        along += level * slope_[row * stride + k];
        curve += level * level * (hessian_.sums[k * stride + k] + ridge_);
      }
      if (curve > 0) steps[i] = static_cast<float>(along / curve);
      for (std::size_t k = range.first; k < range.end; ++k) direction[row * stride + k] = steps[i] * LevelAt(row, k);
    }
    const std::vector<float> bent = Times(direction);
    for (std::size_t row = 0; row < quantized_.row_count; ++row) {
      double along = 0;
      double curve = 0;
      for (std::size_t k = row * stride; k < (row + 1) * stride; ++k) {
        along += static_cast<double>(direction[k]) * slope_[k];
        curve += static_cast<double>(direction[k]) * bent[k];
      }
      // Exactly as far as the error falls, unless a scale would turn round.
      const auto length = static_cast<float>(curve > 0 ? along / curve : 0);
      bool is_sound = length > 0;
      const std::size_t first = row * quantized_.group_count();
      for (std::size_t i = first; i < first + quantized_.group_count(); ++i) {
        is_sound = is_sound && quantized_.scales[i] + length * steps[i] >= 0;
      }
      if (!is_sound) continue;
      for (std::size_t i = first; i < first + quantized_.group_count(); ++i) quantized_.scales[i] += length * steps[i];
      for (std::size_t k = row * stride; k < (row + 1) * stride; ++k) {
        error_[k] -= length * direction[k];
        slope_[k] -= length * bent[k];
      }
    }
  }

  void MoveCodes() {
    const std::size_t stride = hessian_.stride;
    for (std::size_t row = 0; row < quantized_.row_count; ++row) {
      float* slope = slope_.data() + row * stride;
      for (std::size_t i = 0; i < hessian_.width; ++i) {
        const float* curves = hessian_.sums.data() + i * stride;
        const std::size_t group = row * quantized_.group_count() + i / quantized_.group_size;
        const float scale = quantized_.scales[group];
        if (curves[i] == 0 || scale == 0) continue;
        const std::uint8_t zero = quantized_.zeros[group];
        std::uint8_t& code = quantized_.codes[row * hessian_.width + i];
        const float value = scale * (static_cast<float>(code) - static_cast<float>(zero));
        const float best = CodeOf(value + slope[i] / (curves[i] + ridge_), scale, zero, code_max_);
        if (best == static_cast<float>(code)) continue;
        const float change = scale * (best - static_cast<float>(code));
        code = static_cast<std::uint8_t>(best);
        error_[row * stride + i] -= change;
        for (std::size_t k = 0; k < stride; ++k) slope[k] -= change * curves[k];
        slope[i] -= change * ridge_;
      }
    }
  }

 private:
  struct Range {
    std::size_t first;
    std::size_t end;
  };
  Range RangeOf(std::size_t group) const {
    const std::size_t first = group * quantized_.group_size;
    return {first, std::min(hessian_.width, first + quantized_.group_size)};
  }
  float LevelAt(std::size_t row, std::size_t k) const {
    const std::size_t group = row * quantized_.group_count() + k / quantized_.group_size;
    return static_cast<float>(quantized_.codes[row * hessian_.width + k]) - static_cast<float>(quantized_.zeros[group]);
  }
  // rows · (H + ridge).
  std::vector<float> Times(const std::vector<float>& rows) const {
    std::vector<float> product(rows.size());
    FloatKernelsFor(DetectCpuLevel())
        .multiply(rows.data(), hessian_.stride, quantized_.row_count, hessian_.stride, hessian_.sums.data(),
                  hessian_.stride, hessian_.stride, false, product.data(), hessian_.stride);
    for (std::size_t i = 0; i < rows.size(); ++i) product[i] += ridge_ * rows[i];
    return product;
  }

  const Hessian& hessian_;
  float code_max_;
  float ridge_ = 0;
  GroupedWeights& quantized_;
  std::vector<float> error_;  // [rows][stride], W − Q.
  std::vector<float> slope_;  // error_ · (H + ridge).
};

Status CheckWeights(std::span<const float> weights) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (std::isfinite(weights[i])) continue;
    return Status::InvalidArgument("GPTQ: weight " + std::to_string(i) + " is not finite, expected a finite number");
  }
  return Status::Ok();
}

}  // namespace

Result<GroupedWeights> QuantizeGptq(std::span<const float> weights, std::size_t row_count, const Hessian& hessian,
                                    const GptqOptions& options) {
  FORESHORE_ASSIGN_OR_RETURN(const HessianFactor factor, FactorInverse(hessian, options.act_order, options.damping));
  return QuantizeGptq(weights, row_count, hessian, factor, options);
}

Result<GroupedWeights> QuantizeGptq(std::span<const float> weights, std::size_t row_count, const Hessian& hessian,
                                    const HessianFactor& inverse, const GptqOptions& options) {
  const std::size_t n = hessian.width;
  FORESHORE_RETURN_IF_ERROR(CheckWeights(weights));
  const std::vector<std::size_t>& order = inverse.order;
  const BlockedSquare& factor = inverse.upper;
  std::vector<float> importance(n);
  for (std::size_t i = 0; i < n; ++i) importance[i] = hessian.sums[i * hessian.stride + i];
  GroupedWeights result = MakeGrids(weights, row_count, n, options.bits, options.group_size, importance);
  const auto code_max = static_cast<float>((1U << options.bits) - 1);
  const std::size_t stride = factor.size;
  std::vector<float> rest(row_count * stride);  // What is left of each weight, in order.
  for (std::size_t row = 0; row < row_count; ++row) {
    for (std::size_t j = 0; j < n; ++j) {
      // What no input touches may as well be zero.
      const bool is_dead = hessian.sums[order[j] * hessian.stride + order[j]] == 0;
      rest[row * stride + j] = is_dead ? 0.0F : weights[row * n + order[j]];
    }
  }
  std::vector<float> errors(row_count * kBlock);  // Negated.
  for (std::size_t first = 0; first < stride; first += kBlock) {
    for (std::size_t row = 0; row < row_count; ++row) {
      float* values = rest.data() + row * stride + first;
      float* block_errors = errors.data() + row * kBlock;
      std::fill_n(block_errors, kBlock, 0.0F);
      for (std::size_t j = 0; j < kBlock && first + j < n; ++j) {
        const float* factors = factor.at(first + j, first);
        const std::size_t input = order[first + j];
        const std::size_t group = row * result.group_count() + input / result.group_size;
        const float code = CodeOf(values[j], result.scales[group], result.zeros[group], code_max);
        result.codes[row * n + input] = static_cast<std::uint8_t>(code);
        const float value = result.scales[group] * (code - static_cast<float>(result.zeros[group]));
        block_errors[j] = (value - values[j]) / factors[j];
        for (std::size_t k = j + 1; k < kBlock; ++k) values[k] += block_errors[j] * factors[k];
      }
    }
    // The columns beyond the block learn of its errors at once.
    const std::size_t end = first + kBlock;
    if (end == stride) break;
    FloatKernelsFor(DetectCpuLevel())
        .multiply(errors.data(), kBlock, row_count, kBlock, factor.at(first, end), stride, stride - end, true,
                  rest.data() + end, stride);
  }
  Refiner refiner(weights, hessian, options.damping, code_max, result);
  for (std::uint32_t round = 0; round < options.refinement_count; ++round) {
    refiner.MoveScales();
    refiner.MoveCodes();
  }
  return result;
}

GroupedWeights QuantizeToNearest(std::span<const float> weights, std::size_t row_count, std::size_t column_count,
                                 std::uint32_t bits, std::uint32_t group_size) {
  GroupedWeights result = MakeGrids(weights, row_count, column_count, bits, group_size, {});
  const auto code_max = static_cast<float>((1U << bits) - 1);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::size_t group = i / column_count * result.group_count() + i % column_count / result.group_size;
    result.codes[i] =
        static_cast<std::uint8_t>(CodeOf(weights[i], result.scales[group], result.zeros[group], code_max));
  }
  return result;
}

double OutputError(std::span<const float> weights, const GroupedWeights& quantized, const Hessian& hessian) {
  const std::size_t width = hessian.width;
  const std::size_t stride = hessian.stride;
  const std::vector<float> values = quantized.Dequantize();
  const std::size_t row_count = quantized.row_count;
  std::vector<float> difference(row_count * stride);
  std::vector<float> product(row_count * stride);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    difference[i / width * stride + i % width] = weights[i] - values[i];
  }
  FloatKernelsFor(DetectCpuLevel())
      .multiply(difference.data(), stride, row_count, stride, hessian.sums.data(), stride, stride, false,
                product.data(), stride);
  double error = 0;
  for (std::size_t i = 0; i < product.size(); ++i) error += static_cast<double>(product[i]) * difference[i];
  return error;
}

}  // namespace foreshore
