// The specification, and what any processor runs.
#include "engine/inference/graph/code_kernels.h"

#include <algorithm>

namespace foreshore::graph {

#include "engine/inference/graph/code_kernels.inc"

namespace {

void Multiply(const CodeProduct& product) {
  for (std::size_t r = 0; r < product.row_count; ++r) {
    const std::uint8_t* row = product.rows + static_cast<std::ptrdiff_t>(r) * product.row_step;
    for (std::size_t first = 0; first < product.column_count; first += kCodeBlock) {
      const std::int8_t* weights = product.weights + first * product.step_count * kCodeDepthStep;
      std::int32_t sums[kCodeBlock] = {};
      for (std::size_t step = 0; step < product.step_count; ++step) {
        for (std::size_t c = 0; c < kCodeBlock; ++c) {
          for (std::size_t k = 0; k < kCodeDepthStep; ++k) {
            sums[c] += row[step * kCodeDepthStep + k] * weights[(step * kCodeBlock + c) * kCodeDepthStep + k];
          }
        }
      }
      CodeColumns columns = product.columns;
      columns.biases += first;
      columns.factors += first;
      SumsToCodes(sums, std::min(kCodeBlock, product.column_count - first), columns,
                  product.out + static_cast<std::ptrdiff_t>(r) * product.out_step + first);
    }
  }
}

void Depthwise(const DepthwiseCodeRow& row) {
  const DepthwiseCodeWeights& weights = *row.weights;
  const auto* codes = reinterpret_cast<const std::int16_t*>(weights.codes.data());
  std::size_t phase = 0;
  for (std::size_t first = 0; first < row.count; first += kCodeBlock) {
    const std::int16_t* block = codes + phase * row.tap_count;
    std::int32_t sums[kCodeBlock] = {};
    for (std::size_t t = 0; t < row.tap_count; ++t) {
      for (std::size_t c = 0; c < kCodeBlock; ++c) sums[c] += row.taps[t][first + c] * block[t * kCodeBlock + c];
    }
    SumsToCodes(sums, std::min(kCodeBlock, row.count - first),
                {weights.biases.data() + phase, weights.factors.data() + phase, row.range}, row.out + first);
    phase = phase + kCodeBlock == weights.period ? 0 : phase + kCodeBlock;
  }
}

void Map(const std::uint8_t* in, std::size_t count, const std::uint8_t* table, std::uint8_t* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = table[in[i]];
}

// Of the weights alone: a multiple of 16, as the period is.
std::size_t CodeBytes(const CodeKernels& kernels, std::size_t taps, std::size_t period) {
  const std::size_t group = kernels.depthwise_taps;
  return period * ((taps + group - 1) / group) * group * kernels.depthwise_weight_bytes;
}

}  // namespace

std::size_t DepthwiseCodeBytes(const CodeKernels& kernels, std::size_t taps, std::size_t period) {
  return CodeBytes(kernels, taps, period) + period * (sizeof(std::int32_t) + sizeof(float));
}

DepthwiseCodeWeights DepthwiseCodesIn(const CodeKernels& kernels, std::size_t taps, std::size_t period,
                                      const std::byte* memory) {
  const std::size_t code_bytes = CodeBytes(kernels, taps, period);
  const auto* biases = reinterpret_cast<const std::int32_t*>(memory + code_bytes);
  return {period,
          {reinterpret_cast<const std::uint8_t*>(memory), code_bytes},
          {biases, period},
          {reinterpret_cast<const float*>(biases + period), period}};
}

// Vectors are unpacked in lanes of 16 bytes: register j holds, of each lane, elements 4j..4j+3, so that packing them
// again restores the order.
void PackDepthwise(const CodeKernels& kernels, const std::int8_t* weights, std::size_t channels, std::size_t taps,
                   std::size_t period, const std::int32_t* biases, const float* factors, std::byte* memory) {
  const std::size_t block = kernels.depthwise_block;
  const std::size_t group = kernels.depthwise_taps;
  const std::size_t lanes = block / kCodeBlock;
  const std::size_t group_count = (taps + group - 1) / group;
  auto* codes = reinterpret_cast<std::uint8_t*>(memory);
  auto* packed_biases = reinterpret_cast<std::int32_t*>(memory + CodeBytes(kernels, taps, period));
  auto* packed_factors = reinterpret_cast<float*>(packed_biases + period);
  for (std::size_t first = 0; first < period; first += block) {
    for (std::size_t place = 0; place < block; ++place) {
      // Element of the vector that comes at `place`: register, lane, quarter.
      const std::size_t element = place / (4 * lanes) * 4 + place / 4 % lanes * 16 + place % 4;
      const std::size_t channel = (first + element) % channels;
      // In a period of the block alone what lies behind the channels is not used.
      packed_biases[first + place] = biases[channel];
      packed_factors[first + place] = factors[channel];
      for (std::size_t t = 0; t < taps; ++t) {
        const std::size_t at = ((first * group_count + t / group * block) + place) * group + t % group;
        if (kernels.depthwise_weight_bytes == 1) {
          codes[at] = static_cast<std::uint8_t>(weights[channel * taps + t]);
        } else {
          reinterpret_cast<std::int16_t*>(codes)[at] = weights[channel * taps + t];
        }
      }
    }
  }
}

const CodeKernels& CodeKernelsScalar() {
  static constexpr CodeKernels kKernels = {CpuLevel::kScalar, kCodeBlock,  1,          2,          Multiply,
                                           Depthwise,         AddCodes,    MulCodes,   ScaleCodes, Map,
                                           RaiseCodes,        AddCodeRows, SumsToCodes};
  return kKernels;
}

const CodeKernels& CodeKernelsFor(CpuLevel level) {
#if defined(__x86_64__)
  if (level == CpuLevel::kAvx512Vnni) return CodeKernelsAvx512();
  if (level == CpuLevel::kAvx2) return CodeKernelsAvx2();
#endif
#if defined(__aarch64__)
  // Float vectors have no level of their own there.
  if (level == CpuLevel::kNeonDot || DetectCpuLevel() == CpuLevel::kNeonDot) return CodeKernelsNeon();
#endif
  (void)level;
  return CodeKernelsScalar();
}

}  // namespace foreshore::graph
