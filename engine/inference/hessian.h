// The second-order statistics of what a linear layer reads, and the Cholesky factor of their inverse, which GPTQ is
// made of.
//
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <vector>

#include "foreshore/status.h"

namespace foreshore {

// Σ x·xᵀ over the calibration rows x that a layer reads.
struct Hessian {
  std::size_t width = 0;      // Inputs.
  std::size_t stride = 0;     // Padded to 16.
  std::size_t row_count = 0;  // Of x.
  std::vector<float> sums;    // [stride][stride], symmetric, zero in the padding.
};

inline constexpr std::size_t kHessianBlock = 64;

// A square matrix of blocks, so that nearly all of the work is products of blocks, which the float kernels do.
struct BlockedSquare {
  explicit BlockedSquare(std::size_t n) : size(n), values(n * n) {}
  float* at(std::size_t row, std::size_t column) { return values.data() + row * size + column; }
  const float* at(std::size_t row, std::size_t column) const { return values.data() + row * size + column; }

  std::size_t size;  // A multiple of kHessianBlock.
  std::vector<float> values;
};

// What is solved with: U, upper triangular, with (H + damping)⁻¹ = Uᵀ·U for the Hessian's columns in this order.
struct HessianFactor {
  std::vector<std::size_t> order;  // [width]
  BlockedSquare upper;
};

// `act_order`: columns in falling order of the diagonal, else in their own. Columns that no input touched count as 1.
// The damping is in parts of the mean diagonal, and ten times as much, and again, where that does not do.
// kInvalidArgument where the Hessian is not finite or stays singular.
Result<HessianFactor> FactorInverse(const Hessian& hessian, bool act_order, double damping);

}  // namespace foreshore
