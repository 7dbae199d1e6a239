#include "engine/inference/hessian.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "engine/inference/float_kernels.h"
#include "storage/base/cpu.h"

namespace foreshore {
namespace {

constexpr double kDampingMax = 10.0;

// The kHessianBlock rows and columns from `first` on, of `matrix` = R·Rᵀ: R, upper triangular, from the last column
// back. False where they are not positive definite.
bool FactorDiagonal(BlockedSquare& matrix, std::size_t first) {
  for (std::size_t j = kHessianBlock; j-- > 0;) {
    float* row_j = matrix.at(first + j, first);
    double rest = row_j[j];
    for (std::size_t k = j + 1; k < kHessianBlock; ++k) rest -= static_cast<double>(row_j[k]) * row_j[k];
    if (!(rest > 0)) return false;
    const double diagonal = std::sqrt(rest);
    row_j[j] = static_cast<float>(diagonal);
    for (std::size_t i = 0; i < j; ++i) {
      float* row_i = matrix.at(first + i, first);
      double sum = row_i[j];
      for (std::size_t k = j + 1; k < kHessianBlock; ++k) sum -= static_cast<double>(row_i[k]) * row_j[k];
      row_i[j] = static_cast<float>(sum / diagonal);
    }
  }
  return true;
}

// In place: the upper triangle of `matrix` becomes R with matrix = R·Rᵀ. False where it is not positive definite.
bool FactorUpper(BlockedSquare& matrix, const FloatKernels& kernels) {
  std::vector<float> less(kHessianBlock * matrix.size);  // −(the block's columns above it)ᵀ, [kHessianBlock][first].
  for (std::size_t first = matrix.size; first > 0;) {
    first -= kHessianBlock;
    if (!FactorDiagonal(matrix, first)) return false;
    for (std::size_t row = 0; row < first; ++row) {
      float* values = matrix.at(row, first);
      for (std::size_t j = kHessianBlock; j-- > 0;) {
        const float* factors = matrix.at(first + j, first);
        double sum = values[j];
        for (std::size_t k = j + 1; k < kHessianBlock; ++k) sum -= static_cast<double>(values[k]) * factors[k];
        values[j] = static_cast<float>(sum / factors[j]);
        less[j * first + row] = -values[j];
      }
    }
    if (first > 0) {
      kernels.multiply(matrix.at(0, first), matrix.size, first, kHessianBlock, less.data(), first, first, true,
                       matrix.at(0, 0), matrix.size);
    }
  }
  return true;
}

// R⁻¹, upper triangular like R: the Cholesky factor U of the inverse Hessian, H⁻¹ = Uᵀ·U.
BlockedSquare InvertUpper(const BlockedSquare& r, const FloatKernels& kernels) {
  const std::size_t n = r.size;
  BlockedSquare inverse(n);
  for (std::size_t first = n; first > 0;) {
    first -= kHessianBlock;
    const std::size_t after = first + kHessianBlock;
    // R·U = I, solved for the block's rows: what the rows below contribute, then the block's own triangle.
    if (after < n) {
      kernels.multiply(r.at(first, after), n, kHessianBlock, n - after, inverse.at(after, after), n, n - after, false,
                       inverse.at(first, after), n);
    }
    for (std::size_t i = kHessianBlock; i-- > 0;) {
      float* row = inverse.at(first + i, 0);
      for (std::size_t j = after; j < n; ++j) row[j] = -row[j];
      row[first + i] = 1;
      for (std::size_t k = i + 1; k < kHessianBlock; ++k) {
        const float factor = *r.at(first + i, first + k);
        const float* other = inverse.at(first + k, 0);
        for (std::size_t j = first + k; j < n; ++j) row[j] -= factor * other[j];
      }
      const float scale = 1.0F / *r.at(first + i, first + i);
      for (std::size_t j = first + i; j < n; ++j) row[j] *= scale;
    }
  }
  return inverse;
}

Status CheckFinite(const Hessian& hessian) {
  for (std::size_t i = 0; i < hessian.width; ++i) {
    if (std::isfinite(hessian.sums[i * hessian.stride + i])) continue;
    return Status::InvalidArgument("GPTQ: calibration activations of input " + std::to_string(i) +
                                   " are not finite, expected finite numbers");
  }
  return Status::Ok();
}

}  // namespace

Result<HessianFactor> FactorInverse(const Hessian& hessian, bool act_order, double damping) {
  const std::size_t n = hessian.width;
  FORESHORE_RETURN_IF_ERROR(CheckFinite(hessian));
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (act_order) {
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return hessian.sums[a * hessian.stride + a] > hessian.sums[b * hessian.stride + b];
    });
  }
  const FloatKernels& kernels = FloatKernelsFor(DetectCpuLevel());
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) mean += hessian.sums[i * hessian.stride + i] / static_cast<double>(n);
  for (; damping <= kDampingMax; damping *= 10) {
    BlockedSquare matrix((n + kHessianBlock - 1) / kHessianBlock * kHessianBlock);
    for (std::size_t i = 0; i < matrix.size; ++i) *matrix.at(i, i) = 1;
    for (std::size_t i = 0; i < n; ++i) {
      const float* row = hessian.sums.data() + order[i] * hessian.stride;
      for (std::size_t j = 0; j < n; ++j) *matrix.at(i, j) = row[order[j]];
      if (*matrix.at(i, i) == 0) *matrix.at(i, i) = 1;
      *matrix.at(i, i) += static_cast<float>(damping * mean);
    }
    if (FactorUpper(matrix, kernels)) return HessianFactor{std::move(order), InvertUpper(matrix, kernels)};
  }
  return Status::InvalidArgument("GPTQ: the Hessian of " + std::to_string(hessian.row_count) +
                                 " calibration tokens is singular even when damped, expected more varied texts");
}

}  // namespace foreshore
