// Arithmetic of channels-last 8-bit codes by vectors: products, depthwise windows, sums and products of elements,
// tables.
//
// Activations are unsigned codes, weights signed ones with zero point 0. Sums are exact 32-bit integers: a window of
// n terms stays within n · 255 · 128, so that 65,536 terms fit. What a sum becomes is
//   clip(round_to_even(float(sum + bias) · factor) + zero, low, high)
// in single precision without contraction. The scalar kernels are the specification; every other level gives the same
// bytes. Vectors: AVX2, AVX-512 with VNNI, and ARM64's dot product instructions.
//
// Threads: kernels are stateless; callers own every buffer. No alignment is needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "storage/base/cpu.h"

namespace foreshore::graph {

inline constexpr std::size_t kCodeBlock = 16;  // Columns of weights that lie together.
inline constexpr std::size_t kCodeDepthStep = 4;

// What the codes of a result stand for. low <= zero <= high, within 0..255.
struct CodeRange {
  float zero = 0;
  float low = 0;
  float high = 255;
};

// Biases and factors, one for each column; readable to a multiple of kCodeBlock.
struct CodeColumns {
  const std::int32_t* biases = nullptr;
  const float* factors = nullptr;
  CodeRange range;
};

// rows · weights: `row_count` rows of 4 · step_count codes, row_step apart; weights [columns / 16][step_count][16][4],
// filled up with zeros.
struct CodeProduct {
  const std::uint8_t* rows = nullptr;
  std::ptrdiff_t row_step = 0;
  std::size_t row_count = 0;
  std::size_t step_count = 0;
  const std::int8_t* weights = nullptr;
  std::size_t column_count = 0;
  CodeColumns columns;
  std::uint8_t* out = nullptr;
  std::ptrdiff_t out_step = 0;
};

// Weights of a depthwise convolution, repeated so that vectors may begin at any multiple of the block: of a row of
// outputs [x][channel], element i has the weights of i mod period.
struct DepthwiseCodeWeights {
  std::size_t period = 0;  // A multiple of the block and of the channels, or of the block alone (one pixel).
  std::span<const std::uint8_t> codes;   // As the level's kernel reads them.
  std::span<const std::int32_t> biases;  // [period], in the order of codes.
  std::span<const float> factors;
};

// out[i] = Σ taps[t][i] · weight[t][i mod period], for `count` elements. 64 bytes behind the last one of each tap are
// readable.
struct DepthwiseCodeRow {
  const std::uint8_t* const* taps = nullptr;
  std::size_t tap_count = 0;
  std::size_t count = 0;
  const DepthwiseCodeWeights* weights = nullptr;
  CodeRange range;
  std::uint8_t* out = nullptr;
};

// One of two operands: stands for (code − zero) · factor.
struct CodeOperand {
  const std::uint8_t* codes = nullptr;
  std::int32_t zero = 0;
  float factor = 1;
};

struct CodeKernels {
  CpuLevel level;
  // How the level wants depthwise weights: elements of a vector, taps that go together, bytes of a weight.
  std::size_t depthwise_block;
  std::size_t depthwise_taps;
  std::size_t depthwise_weight_bytes;

  void (*multiply)(const CodeProduct& product);
  void (*depthwise)(const DepthwiseCodeRow& row);
  // out[i] = clip(round(l · fl + r · fr) + zero) of l = left − zero and so on, each product rounded by itself.
  void (*add)(const CodeOperand& left, const CodeOperand& right, std::size_t count, const CodeRange& range,
              std::uint8_t* out);
  // out[i] = clip(round(float(l · r) · left.factor) + zero).
  void (*mul)(const CodeOperand& left, const CodeOperand& right, std::size_t count, const CodeRange& range,
              std::uint8_t* out);
  // out[i] = clip(round((in[i] − zero) · factors[i] + offsets[i]) + range.zero), product and sum rounded one by one.
  void (*scale)(const std::uint8_t* in, std::size_t count, std::int32_t zero, const float* factors,
                const float* offsets, const CodeRange& range, std::uint8_t* out);
  // out[i] = table[in[i]]; `table` has 256 codes; out may be in.
  void (*map)(const std::uint8_t* in, std::size_t count, const std::uint8_t* table, std::uint8_t* out);
  // out[i] = max(out[i], in[i]).
  void (*raise)(const std::uint8_t* in, std::size_t count, std::uint8_t* out);
  // sums[c] += Σ rows[r][c].
  void (*add_rows)(const std::uint8_t* rows, std::size_t row_count, std::size_t column_count, std::uint32_t* sums);
  // out[i] of `count` sums with biases and factors of their own.
  void (*to_codes)(const std::int32_t* sums, std::size_t count, const CodeColumns& columns, std::uint8_t* out);
};

// What such weights take, and those that lie in this memory. `period` as above.
std::size_t DepthwiseCodeBytes(const CodeKernels& kernels, std::size_t taps, std::size_t period);
DepthwiseCodeWeights DepthwiseCodesIn(const CodeKernels& kernels, std::size_t taps, std::size_t period,
                                      const std::byte* memory);
// Puts them there: weights [channels][taps]; per channel a bias and a factor.
void PackDepthwise(const CodeKernels& kernels, const std::int8_t* weights, std::size_t channels, std::size_t taps,
                   std::size_t period, const std::int32_t* biases, const float* factors, std::byte* memory);

// The kernels for `level`, or the best ones below it that this build has.
const CodeKernels& CodeKernelsFor(CpuLevel level);

const CodeKernels& CodeKernelsScalar();
#if defined(__x86_64__)
const CodeKernels& CodeKernelsAvx2();
const CodeKernels& CodeKernelsAvx512();
#endif
#if defined(__aarch64__)
const CodeKernels& CodeKernelsNeon();
#endif

}  // namespace foreshore::graph
