// The floating-point half of a transformer layer: everything between two integer products.
//
// One text (float_kernels.inc) is compiled per instruction set, with 4 lanes for any processor, 8 with FMA for AVX2 and
// 16 for AVX-512. Sums are taken lane by lane, so results differ between levels by rounding only; for one level they
// depend on nothing but the values of the row itself. Stated bounds, against exact arithmetic on the same inputs:
//   exp: relative 2e-7 · GELU: absolute 1.5e-6 for |x| ≤ 10, and 1e-6 + 1e-7·|x| beyond
//   layer norm: absolute 2e-5 per unit of gamma, for rows of at most 4,096 values of like magnitude
//
// Threads: kernels are stateless; callers own every buffer. No alignment is needed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/base/cpu.h"

namespace foreshore {

// One head of one sequence. query, key and value have `token_count` rows, `stride` floats apart, of which the first
// `width` belong to the head; so has `out`, `out_stride` apart.
struct AttentionHead {
  const float* query;
  const float* key;
  const float* value;
  std::size_t stride;
  std::size_t token_count;
  std::size_t width;
  float score_scale;  // 1 / √width.
  float* out;
  std::size_t out_stride;
};

enum class Activation { kNone, kGelu };

// A row of activations in 8 bits: value ≈ offset + scale · code.
struct RowCode {
  float scale;
  float offset;
};

// What a LoRA adapter adds to 64 outputs of a row: Σ_r in[r] · b[r][column].
struct LowRankTerm {
  const float* in = nullptr;  // Rows `in_stride` floats apart.
  std::size_t in_stride = 0;
  std::size_t rank = 0;      // A multiple of 4; 0 where nothing is added.
  const float* b = nullptr;  // [rank][64]
};

struct FloatKernels {
  CpuLevel level;

  // codes[i] = round_to_even((values[i] − offset) / scale) with offset in the middle between the row's smallest and
  // largest value and scale such that these become ∓127. (Activations after GELU or layer norm lean to one side: a
  // scale through zero would leave many codes unused.) Scale is 0 where all values are equal, and not finite where a
  // value is not finite.
  RowCode (*quantize_row)(const float* values, std::size_t count, std::int8_t* codes);

  // The product's value for `row_count` rows of 64, activation applied: out[r][c] =
  //   activation(sums[r][c] · rows[r].scale · column_scales[c] + rows[r].offset · column_weights[c] + bias[c] + term)
  // where column_weights[c] is the sum of the weights of output c and the term that of `low_rank`. sums lie 64 apart,
  // out lies `out_stride` apart. Only the first `column_count` of 64 need be made.
  void (*dequantize_panel)(const std::int32_t* sums, std::size_t row_count, std::size_t column_count,
                           const RowCode* rows, const float* column_scales, const float* column_weights,
                           const float* bias, const LowRankTerm& low_rank, Activation activation, float* out,
                           std::size_t out_stride);

  // acc[r][c] = sums[r][c] · scales[c], or += that where `add`; rows of 64.
  void (*scale_sums)(const std::int32_t* sums, std::size_t row_count, const float* scales, bool add, float* acc);

  // The last step of what scale_sums gathered: out[r][c] =
  //   activation(acc[r][c] · rows[r].scale + rows[r].offset · column_weights[c] + bias[c] + term)
  // With `rows` null the product is in f32 already: activation(acc[r][c] + bias[c] + term).
  void (*finish_panel)(const float* acc, std::size_t row_count, const RowCode* rows, const float* column_weights,
                       const float* bias, const LowRankTerm& low_rank, Activation activation, float* out,
                       std::size_t out_stride);

  // out[r][c] = Σ_k in[r][k] · weights[k][c], or += that where `add`, for `column_count` columns, a multiple of 16.
  void (*multiply)(const float* in, std::size_t in_stride, std::size_t row_count, std::size_t depth,
                   const float* weights, std::size_t weights_stride, std::size_t column_count, bool add, float* out,
                   std::size_t out_stride);

  // gram[i][j] += Σ_r rows[r][i] · rows[r][j] for j ≥ i / 4 · 4 at least. `width` and strides are multiples of 16.
  void (*accumulate_gram)(const float* rows, std::size_t row_count, std::size_t width, float* gram);

  // out = gamma · (values − mean) / √(variance + epsilon) + beta. out may alias values.
  void (*layer_norm)(const float* values, const float* gamma, const float* beta, float epsilon, std::size_t count,
                     float* out);

  // The same of values + residual. out may alias either.
  void (*add_layer_norm)(const float* values, const float* residual, const float* gamma, const float* beta,
                         float epsilon, std::size_t count, float* out);

  // out = scale · codes + position + type.
  void (*embed_token)(const std::int8_t* codes, float scale, const float* position, const float* type,
                      std::size_t count, float* out);

  // sum += values.
  void (*accumulate)(const float* values, std::size_t count, float* sum);

  // out = softmax(query · keyᵀ · score_scale) · value. `workspace` holds AttentionWorkspaceFloats(...).
  void (*attend)(const AttentionHead& head, float* workspace);
};

// Keys transposed, values, and the scores of four rows, all padded to 16 columns.
constexpr std::size_t AttentionWorkspaceFloats(std::size_t token_count, std::size_t width) {
  const std::size_t token_columns = (token_count + 15) / 16 * 16;
  const std::size_t width_columns = (width + 15) / 16 * 16;
  return width * token_columns + token_count * width_columns + 4 * token_columns;
}

const FloatKernels& FloatKernelsFor(CpuLevel level);

const FloatKernels& FloatKernelsPortable();
#if defined(__x86_64__)
const FloatKernels& FloatKernelsAvx2();
const FloatKernels& FloatKernelsAvx512();
#endif

}  // namespace foreshore
