#include "engine/inference/calibration_sums.h"

#include <algorithm>

#include "engine/inference/float_kernels.h"
#include "storage/base/cpu.h"

namespace foreshore {
namespace {

// Rows that are multiplied together: enough to amortise reading the sums, few enough for a second-level cache.
constexpr std::size_t kRowsPerGram = 128;

const FloatKernels& Kernels() {
  return FloatKernelsFor(DetectCpuLevel());
}

// The half that accumulate_gram leaves out.
void Mirror(std::vector<float>& sums, std::size_t stride) {
  for (std::size_t i = 0; i < stride; ++i) {
    for (std::size_t j = 0; j < i; ++j) sums[i * stride + j] = sums[j * stride + i];
  }
}

// sums −= left · rightᵀ / row_count.
void TakeMeansOff(const std::vector<double>& left, const std::vector<double>& right, std::size_t row_count,
                  std::vector<float>& sums) {
  const std::size_t stride = left.size();
  for (std::size_t i = 0; i < stride; ++i) {
    const double scaled = left[i] / static_cast<double>(row_count);
    for (std::size_t j = 0; j < stride; ++j) sums[i * stride + j] -= static_cast<float>(scaled * right[j]);
  }
}

double Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

}  // namespace

CalibrationSums::CalibrationSums(std::size_t width) {
  inputs_.width = width;
  inputs_.stride = (width + 15) / 16 * 16;
  const std::size_t stride = inputs_.stride;
  inputs_.sums.resize(stride * stride);
  drift_.resize(stride * stride);
  cross_.resize(stride * stride);
  input_totals_.resize(stride);
  drift_totals_.resize(stride);
  differences_.resize(kRowsPerGram * stride);
  transposed_.resize(kRowsPerGram * stride);
}

void CalibrationSums::Add(std::span<const float> quantized, std::span<const float> exact, std::size_t row_count) {
  const std::size_t stride = inputs_.stride;
  for (std::size_t first = 0; first < row_count; first += kRowsPerGram) {
    const std::size_t count = std::min(kRowsPerGram, row_count - first);
    const float* rows = quantized.data() + first * stride;
    const float* exact_rows = exact.data() + first * stride;
    for (std::size_t row = 0; row < count; ++row) {
      for (std::size_t i = 0; i < stride; ++i) {
        const float value = rows[row * stride + i];
        const float difference = exact_rows[row * stride + i] - value;
        input_totals_[i] += value;
        drift_totals_[i] += difference;
        differences_[row * stride + i] = difference;
        transposed_[i * kRowsPerGram + row] = difference;
      }
    }
    Kernels().accumulate_gram(rows, count, stride, inputs_.sums.data());
    Kernels().accumulate_gram(differences_.data(), count, stride, drift_.data());
    Kernels().multiply(transposed_.data(), kRowsPerGram, stride, count, rows, stride, stride, true, cross_.data(),
                       stride);
  }
  inputs_.row_count += row_count;
}

void CalibrationSums::Finish() {
  const std::size_t stride = inputs_.stride;
  Mirror(inputs_.sums, stride);
  Mirror(drift_, stride);
  TakeMeansOff(input_totals_, input_totals_, row_count(), inputs_.sums);
  TakeMeansOff(drift_totals_, drift_totals_, row_count(), drift_);
  TakeMeansOff(drift_totals_, input_totals_, row_count(), cross_);
  // An input that never varies leaves a rounding error.
  for (std::size_t i = 0; i < stride; ++i) inputs_.sums[i * stride + i] = std::max(inputs_.sums[i * stride + i], 0.0F);
  const auto mean = [&](double total) { return static_cast<float>(total / static_cast<double>(row_count())); };
  input_means_.resize(width());
  drift_means_.resize(width());
  std::transform(input_totals_.begin(), input_totals_.begin() + static_cast<std::ptrdiff_t>(width()),
                 input_means_.begin(), mean);
  std::transform(drift_totals_.begin(), drift_totals_.begin() + static_cast<std::ptrdiff_t>(width()),
                 drift_means_.begin(), mean);
}

// rows · square, rows padded to the stride.
std::vector<float> CalibrationSums::Product(std::span<const float> rows, const std::vector<float>& square) const {
  const std::size_t stride = inputs_.stride;
  const std::size_t count = rows.size() / width();
  std::vector<float> product(count * stride);
  // Columns beyond the width are zero in `square`, so that its first `width` rows are all there is.
  Kernels().multiply(rows.data(), width(), count, width(), square.data(), stride, stride, false, product.data(),
                     stride);
  return product;
}

std::vector<float> CalibrationSums::AimOf(std::span<const float> weights, std::size_t row_count,
                                          const HessianFactor& inverse) const {
  const BlockedSquare& upper = inverse.upper;
  const std::size_t size = upper.size;
  BlockedSquare transposed(size);
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t j = i; j < size; ++j) *transposed.at(j, i) = *upper.at(i, j);
  }
  const std::vector<float> wanted = Product(weights, cross_);
  // From here on inputs are in the factor's order.
  std::vector<float> change(row_count * size);
  for (std::size_t row = 0; row < row_count; ++row) {
    for (std::size_t j = 0; j < width(); ++j) change[row * size + j] = wanted[row * stride() + inverse.order[j]];
  }
  std::vector<float> half(change.size());
  Kernels().multiply(change.data(), size, row_count, size, transposed.values.data(), size, size, false, half.data(),
                     size);
  Kernels().multiply(half.data(), size, row_count, size, upper.values.data(), size, size, false, change.data(), size);
  std::vector<float> aim(weights.begin(), weights.end());
  for (std::size_t j = 0; j < width(); ++j) {
    const std::size_t input = inverse.order[j];
    // What no input touches is left alone.
    if (!(inputs_.sums[input * stride() + input] > 0)) continue;
    for (std::size_t row = 0; row < row_count; ++row) aim[row * width() + input] += change[row * size + j];
  }
  return aim;
}

std::vector<float> CalibrationSums::BiasChange(std::span<const float> weights, std::span<const float> quantized) const {
  std::vector<float> change(weights.size() / width());
  for (std::size_t row = 0; row < change.size(); ++row) {
    const std::span<const float> w = weights.subspan(row * width(), width());
    const std::span<const float> q = quantized.subspan(row * width(), width());
    change[row] = static_cast<float>(Dot(w, input_means_) - Dot(q, input_means_) + Dot(w, drift_means_));
  }
  return change;
}

double CalibrationSums::OutputError(std::span<const float> weights, std::span<const float> quantized,
                                    std::span<const float> bias_change) const {
  std::vector<float> difference(weights.begin(), weights.end());
  for (std::size_t i = 0; i < difference.size(); ++i) difference[i] -= quantized[i];
  const std::vector<float> of_difference = Product(difference, inputs_.sums);
  const std::vector<float> of_cross = Product(weights, cross_);
  const std::vector<float> of_drift = Product(weights, drift_);
  const std::vector<float> means = BiasChange(weights, quantized);
  double error = 0;
  for (std::size_t row = 0; row < means.size(); ++row) {
    const std::span<const float> w = weights.subspan(row * width(), width());
    const std::span<const float> d = std::span(difference).subspan(row * width(), width());
    const auto row_of = [&](const std::vector<float>& rows) {
      return std::span(rows).subspan(row * stride(), width());
    };
    error += Dot(d, row_of(of_difference)) + 2 * Dot(d, row_of(of_cross)) + Dot(w, row_of(of_drift));
    const double mean = static_cast<double>(means[row]) - bias_change[row];
    error += mean * mean * static_cast<double>(row_count());
  }
  return error;
}

}  // namespace foreshore
