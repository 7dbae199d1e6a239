// The integer matrix product under every int8 layer: activations as signed codes per token, weights as signed
// codes per output channel, sums as exact 32-bit integers.
//
// sums[m][n] = Σ_k a[m][k] · w[n][k], with a and w in -127..127. The scalar kernel is the specification; every
// instruction set returns the same integers. Overflow: the widest intermediate of any kernel is depth · 2 · 127²
// (AVX2) or depth · 255 · 127 (VNNI); both fit 32 bits for depth ≤ kInt8DepthMax.
//
// Weights lie in panels of 64 output channels, [depth/4][64][4]: one 64-byte line holds four consecutive k of 16
// channels, which is what one VPDPBUSD or four SDOT consume.
//
// Threads: kernels are stateless; callers own every buffer.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/base/cpu.h"

namespace foreshore {

inline constexpr std::size_t kInt8PanelColumns = 64;
inline constexpr std::size_t kInt8DepthStep = 4;      // Consecutive k of one channel in a panel.
inline constexpr std::size_t kInt8DepthMultiple = 8;  // Depths are padded with zero codes to a multiple of this.
inline constexpr std::size_t kInt8DepthMax = 65'536;

// 64 output channels. Borrowed: from a packed model, or from a caller's buffers.
struct Int8Panel {
  const std::int8_t* codes;                      // [depth/4][64][4], 64-byte aligned.
  const std::int32_t* column_sums;               // [64], Σ_k w[n][k].
  const std::int32_t* pair_sums;                 // [64], Σ w[n][k] · w[n][k + 4] over k with k mod 8 < 4.
  std::size_t column_count = kInt8PanelColumns;  // A multiple of 8: sums of later channels need not be made.
};

struct Int8Gemm {
  CpuLevel level;
  std::size_t row_group;        // Rows of activations that are packed together.
  std::size_t bytes_per_code;   // Of packed activations.
  std::size_t bytes_per_group;  // Before the codes of each group.

  // Rearranges `row_count` rows of `depth` codes (contiguous) for multiply_panel; rows that fill up the last group
  // are zero. `packed` is 64-byte aligned and holds PackedBytes(row_count, depth).
  void (*pack_rows)(const std::int8_t* codes, std::size_t row_count, std::size_t depth, void* packed);

  // sums[row_count][64] from packed rows and one panel. `workspace` is 64-byte aligned and holds
  // WorkspaceBytes(depth).
  void (*multiply_panel)(const void* packed, std::size_t row_count, std::size_t depth, const Int8Panel& panel,
                         void* workspace, std::int32_t* sums);

  std::size_t PackedBytes(std::size_t row_count, std::size_t depth) const {
    return (row_count + row_group - 1) / row_group * (row_group * depth * bytes_per_code + bytes_per_group);
  }
  static std::size_t WorkspaceBytes(std::size_t depth) { return depth * 16; }
};

// The kernel for `level`, or the best one below it that this build has.
const Int8Gemm& Int8GemmFor(CpuLevel level);

const Int8Gemm& Int8GemmScalar();
#if defined(__x86_64__)
const Int8Gemm& Int8GemmAvx2();
const Int8Gemm& Int8GemmAvx512Vnni();
const Int8Gemm& Int8GemmAmx();
#endif
#if defined(__aarch64__)
const Int8Gemm& Int8GemmNeonDot();
#endif

}  // namespace foreshore
