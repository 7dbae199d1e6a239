// Products of floats that are rounded to 8 bits as they come, by constant codes: what DynamicQuantizeLinear,
// MatMulInteger, Cast and Mul spell in files that were quantized dynamically, as one step.
//
//   DynamicProduct  x, codes [K,N], their zero points or none, their scales, biases [N] or none:
//                   float(Σ (q − zero)(w − zero of w)) · (scale of x · scale of w) + bias, in single precision
//
// q, its scale and its zero point are what DynamicQuantizeLinear makes of x. Sums are modulo 2^32, as MatMulInteger's.
// Threads: pure functions.
#pragma once

#include "engine/inference/graph/operator.h"
#include "engine/inference/graph/step_kernel.h"

namespace foreshore::graph {

const Operator& DynamicProductOperator();
StepKernelResult MakeDynamicProductKernel(const KernelSource& source, std::uint64_t bytes_max);

// The scale and zero point for which 0..255 covers the values and 0 is exact, as DynamicQuantizeLinear has them.
struct DynamicScale {
  float scale = 0;
  float divisor = 1;  // The scale, or 1 where all values are 0.
  std::uint8_t zero = 0;
};
DynamicScale DynamicScaleOf(const float* values, std::int64_t count);

}  // namespace foreshore::graph
