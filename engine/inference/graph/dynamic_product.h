// Products of codes of 8 bits by constant ones, with results in floats, several of the same rows side by side. No file
// can name them.
//
//   DynamicProduct  x, then for each product codes [K,N], their zero points or none, their scales, biases [N] or none:
//                   what DynamicQuantizeLinear, MatMulInteger, Cast and Mul spell in files that were quantized
//                   dynamically: q, its scale and its zero point are what DynamicQuantizeLinear makes of x
//   CodeProduct     q, its scale, its zero point, then the same: a product of DequantizeLinear by DequantizeLinear
//
//                   float(Σ (q − zero)(w − zero of w)) · (scale of q · scale of w) + bias, in single precision
//
// Sums are modulo 2^32, as MatMulInteger's; of a CodeProduct none reaches it. One zero point or scale is for all
// columns. There are as many outputs as products.
// Threads: pure functions.
#pragma once

#include "engine/inference/graph/operator.h"
#include "engine/inference/graph/step_kernel.h"

namespace foreshore::graph {

const Operator& DynamicProductOperator();
const Operator& CodeProductOperator();
// Of either, with constant codes, zero points, scales and biases.
StepKernelResult MakeDynamicProductKernel(const KernelSource& source, std::uint64_t bytes_max);
// What the kernel holds for one product.
std::uint64_t DynamicProductBytes(std::int64_t depth, std::int64_t columns);

// Inputs of one product.
inline constexpr std::size_t kProductParts = 4;
inline constexpr std::size_t kJoinedProductsMax = 16;

// The scale and zero point for which 0..255 covers the values and 0 is exact, as DynamicQuantizeLinear has them.
struct DynamicScale {
  float scale = 0;
  float divisor = 1;  // The scale, or 1 where all values are 0.
  std::uint8_t zero = 0;
};
DynamicScale DynamicScaleOf(const float* values, std::int64_t count);

}  // namespace foreshore::graph
