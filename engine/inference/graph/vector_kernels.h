// Float arithmetic of graphs by vectors: products of matrices, depthwise windows, functions of elements and of rows.
//
// One text (vector_kernels.inc) is compiled per instruction set: 4 lanes for any processor, 8 for AVX2 with FMA, 16 for
// AVX-512. The operators' own code is the specification. Stated bounds, against exact arithmetic on the same inputs:
//   products and sums of n terms: n · 2^-24 of the sum of the terms' magnitudes
//   exp: relative 4e-7 · sigmoid, tanh, erf: absolute 5e-7 · GELU, SiLU: 5e-7 · max(1, |x|)
//
// Threads: kernels are stateless; callers own every buffer. No alignment is needed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/base/cpu.h"

namespace foreshore::graph {

// Functions of one element; `a` and `b` are parameters of some.
enum class Unary : std::uint8_t {
  kNone,
  kClip,         // To a..b; NaN stays NaN.
  kLeakyRelu,    // a · x below 0.
  kSigmoid,      // 1 / (1 + e^-x)
  kTanh,         //
  kExp,          //
  kErf,          //
  kGelu,         // x · (1 + erf(x / √2)) / 2
  kSilu,         // x · sigmoid(x)
  kHardSigmoid,  // a · x + b, to 0..1
  kHardSwish,    // x · clip(x / 6 + 1/2, 0, 1)
  kSqrt,         //
  kAbs,          //
  kNeg,          //
};

struct Activation {
  Unary kind = Unary::kNone;
  float a = 0;
  float b = 0;
};

enum class Binary : std::uint8_t { kAdd, kSub, kMul, kDiv, kPrelu };

// A product's rows and columns lie packed: rows in groups [K][row_group], columns in panels [K][panel_columns], both
// filled up with zeros.
struct TileTarget {
  float* out = nullptr;
  std::ptrdiff_t stride = 0;           // From row to row.
  std::size_t column_count = 0;        // At most panel_columns.
  bool accumulates = false;            // Adds to what `out` holds.
  std::size_t row_step = 0;            // Of the packed rows, from one depth to the next; 0 for row_group.
  const float* row_bias = nullptr;     // One for each row; null for none.
  const float* column_bias = nullptr;  // One for each column; null for none.
  Activation activation;               // Of the sum and the biases.
};

// A channel of a depthwise convolution: out[x] = Σ weights[t] · rows[t][x], row after row.
struct DepthwisePlane {
  const float* const* taps = nullptr;  // Where each tap's values for the first output row begin.
  const float* weights = nullptr;
  std::size_t tap_count = 0;
  std::ptrdiff_t tap_row_step = 0;  // From one output row to the next. Readable: 16 floats beyond each row.
  std::size_t row_count = 0;
  std::size_t column_count = 0;
  float bias = 0;
  Activation activation;
  float* out = nullptr;  // Rows side by side.
};

// What becomes of a sum and its bias: activation(sum) · scale + shift.
struct Finish {
  Activation activation;
  float scale = 1;
  float shift = 0;
};

// The activations that kernels over pixels apply before they store; they take no others.
constexpr bool IsFinishedInRegisters(Unary kind) {
  return kind == Unary::kNone || kind == Unary::kClip || kind == Unary::kHardSigmoid || kind == Unary::kHardSwish ||
         kind == Unary::kSilu;
}

// Rows by constant columns, where rows lie anywhere, each in runs of consecutive floats: pixels of [height, width,
// channels] with the windows over them, or rows of a matrix. Columns lie in panels of one vector: [1 + depth][lanes],
// the biases first, filled up with zeros; depth is run_count · run_length.
struct PixelProduct {
  const float* const* runs = nullptr;  // [groups of pixel_group][run_count][pixel_group]: where each begins.
  float* const* out = nullptr;         // [groups of pixel_group]: where each row's columns go.
  std::size_t row_count = 0;  // Of a last group that is not full, the rest of both lists repeats one of its rows.
  std::size_t run_count = 0;
  std::size_t run_length = 0;
  const float* panels = nullptr;
  std::size_t column_count = 0;
  Finish finish;
};

// Pixels side by side of a depthwise convolution: out[x][c] = finish(bias[c] + Σ weights[t][c] · taps[t][x][c]).
struct DepthwiseRun {
  const float* const* taps = nullptr;     // Where each tap's channels for the first pixel begin.
  const float* const* weights = nullptr;  // Each tap's, filled up to a vector.
  std::size_t tap_count = 0;
  std::size_t pixel_step = 0;   // Floats from one pixel's input to the next one's.
  const float* bias = nullptr;  // Filled up to a vector.
  std::size_t pixel_count = 0;
  std::size_t channel_count = 0;
  Finish finish;
  float* out = nullptr;
};

// Sums of products of codes, [row_count][kSumColumns], before what zero points add is taken off:
//   sums[r][c] + offsets[c] − row_sums[r] · zeros[c], modulo 2^32
inline constexpr std::size_t kSumColumns = 64;
struct CodeSums {
  std::int32_t* sums = nullptr;
  std::size_t row_count = 0;
  const std::uint32_t* offsets = nullptr;   // [kSumColumns]
  const std::uint32_t* zeros = nullptr;     // [kSumColumns]; null where all are 0.
  const std::uint32_t* row_sums = nullptr;  // [row_count]
};

struct VectorKernels {
  CpuLevel level;
  std::size_t row_group;
  std::size_t panel_columns;
  std::size_t lanes;
  std::size_t pixel_group;

  // packed[k][row_group] of `row_count` ≤ row_group rows: element (r, k) is a[r · row_step + k · depth_step].
  void (*pack_rows)(const float* a, std::ptrdiff_t row_step, std::ptrdiff_t depth_step, std::size_t row_count,
                    std::size_t depth, float* packed);
  // packed[k][panel_columns] of `column_count` ≤ panel_columns columns: element (k, c) is b[k · depth_step + c ·
  // column_step].
  void (*pack_columns)(const float* b, std::ptrdiff_t depth_step, std::ptrdiff_t column_step, std::size_t column_count,
                       std::size_t depth, float* packed);
  // `row_count` ≤ row_group rows by one panel.
  void (*multiply_tile)(const float* rows, const float* panel, std::size_t row_count, std::size_t depth,
                        const TileTarget& target);

  void (*depthwise)(const DepthwisePlane& plane);

  void (*multiply_pixels)(const PixelProduct& product);
  void (*depthwise_pixels)(const DepthwiseRun& run);
  // sums[c] += Σ rows[r][c], rows side by side.
  void (*add_rows)(const float* rows, std::size_t row_count, std::size_t column_count, float* sums);

  // out may be in.
  void (*unary)(const Activation& function, const float* in, std::size_t count, float* out);
  // Steps of 0 repeat one element, steps of 1 go on.
  void (*binary)(Binary function, const float* left, std::size_t left_step, const float* right, std::size_t right_step,
                 std::size_t count, float* out);
  // In place.
  void (*correct_sums)(const CodeSums& sums);
  // out[r · stride + c] = float(what correct_sums gives) · factors[c] + biases[c], product and sum rounded one by one,
  // of `column_count` columns; biases may be null. factors and biases hold kSumColumns.
  void (*sums_to_floats)(const CodeSums& sums, const float* factors, const float* biases, std::size_t column_count,
                         float* out, std::ptrdiff_t stride);
  // out[i] = round_to_even(sums[i] · factors[i]) + zero, to low..high, as the low 8 bits of the integer.
  void (*to_codes)(const std::int32_t* sums, const float* factors, std::size_t count, float zero, float low, float high,
                   std::uint8_t* out);
  // The same of floats, each divided by `scale` first.
  void (*quantize)(const float* values, std::size_t count, float scale, float zero, float low, float high,
                   std::uint8_t* out);
  // out[i] = (code − zero) · scale; `is_signed` says how the codes are read.
  void (*dequantize)(const std::uint8_t* codes, std::size_t count, bool is_signed, float zero, float scale, float* out);
  float (*sum)(const float* values, std::size_t count);
  // out[r] += Σ weights[r][i] · x[i].
  void (*add_product)(const float* weights, const float* x, std::size_t row_count, std::size_t depth, float* out);
  void (*softmax)(const float* in, std::size_t count, float* out);
  // In place, of columns that lie as a panel does, values[row_count][panel_columns]: e to the power of each less its
  // column's largest. inverse[c] is 1 over the sum of column c; a column with a NaN has NaN, as has one of -infinity.
  void (*softmax_columns)(float* values, std::size_t row_count, float* inverse);
  // out = gamma · (in − mean) / √(variance + epsilon) + beta; beta may be null.
  void (*layer_norm)(const float* in, const float* gamma, const float* beta, float epsilon, std::size_t count,
                     float* out);
};

// The kernels for `level`, or the best ones below it that this build has.
const VectorKernels& VectorKernelsFor(CpuLevel level);

const VectorKernels& VectorKernelsPortable();
#if defined(__x86_64__)
const VectorKernels& VectorKernelsAvx2();
const VectorKernels& VectorKernelsAvx512();
#endif

}  // namespace foreshore::graph
