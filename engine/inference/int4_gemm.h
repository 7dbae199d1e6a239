// The integer matrix product under every 4-bit layer: activations as signed 8-bit codes per token, weights as 4-bit
// codes with a zero point per output channel and group of inputs, sums of one group as exact 32-bit integers.
//
// sums[m][n] = Σ_k a[m][k] · (level(w[n][k]) − zero[n]) over the inputs k of the group, with a in -127..127, w in 0..15
// and level(w) either w itself or one of 16 levels in 0..127. The scalar kernel is the specification; every instruction
// set returns the same integers. Overflow: |Σ a · level| and |zero · Σ a| are each at most depth · 127², their
// difference at most depth · 127 · 127 too, and so below 2^31 for depth ≤ kInt8DepthMax.
//
// Weights lie in panels of 64 output channels, [depth/8][64][4] bytes: the low halves of a channel's four bytes are
// four consecutive k, the high halves the four k after them. One 64-byte line thus gives two operands of VPDPBUSD or
// eight of SDOT by a mask and a shift.
//
// Threads: kernels are stateless; callers own every buffer.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/inference/int8_gemm.h"
#include "storage/base/cpu.h"

namespace foreshore {

inline constexpr std::size_t kInt4PanelBytesPerStep = kInt8PanelColumns * 4;  // Of eight k.
inline constexpr std::size_t kInt4GroupMultiple = 32;                         // Group sizes are multiples of this.
inline constexpr std::uint8_t kInt4LevelMax = 127;
inline constexpr std::size_t kInt4BytesPastRows = 64;  // Of packed rows, which kernels may read.

// 64 output channels, the inputs of one group. Borrowed: from a packed model, or from a caller's buffers.
struct Int4Panel {
  const std::uint8_t* codes;   // [depth/8][64][4], of the group alone.
  const std::uint8_t* zeros;   // [64], 0..127.
  const std::uint8_t* levels;  // [16], 0..127; null where a code is its own level.
};

// 64 output channels with all of their groups of inputs, each but the last of `group_size`.
struct Int4GroupedPanel {
  const std::uint8_t* codes;   // [depth/8][64][4]
  const std::uint8_t* zeros;   // [group_count][64], 0..127.
  const float* scales;         // [group_count][64]
  const std::uint8_t* levels;  // As in Int4Panel.
  std::size_t group_size;
  std::size_t group_count;
};

// A group of inputs: where it begins and how many there are, both multiples of 8.
struct Int4Group {
  std::size_t first;
  std::size_t depth;
};

struct Int4Gemm {
  CpuLevel level;
  std::size_t row_group;  // Rows of activations that are packed together.

  // Rearranges `row_count` rows of `depth` codes (contiguous) for multiply_group. `packed` is 64-byte aligned and holds
  // PackedBytes(row_count, depth).
  void (*pack_rows)(const std::int8_t* codes, std::size_t row_count, std::size_t depth, void* packed);

  // sums[row_count][64] of one group from packed rows of `depth` codes, the sum of each row's codes in the group
  // (SumInt4Codes) and the group's panel. Null where multiply_panel is there.
  void (*multiply_group)(const void* packed, std::size_t row_count, std::size_t depth, Int4Group group,
                         const std::int32_t* code_sums, const Int4Panel& panel, std::int32_t* sums);

  // acc[row_count][64] = Σ over groups of a group's sums times its scales, in f32 and in their order, each step fused:
  // what the scalar multiply_group and FloatKernels::scale_sums give, bit for bit. `workspace` is 64-byte aligned
  // and holds WorkspaceBytes(depth). Null where the kernel has nothing to gain by taking groups together; where it is
  // not, nothing reads code sums.
  void (*multiply_panel)(const void* packed, std::size_t row_count, std::size_t depth, const Int4GroupedPanel& panel,
                         void* workspace, float* acc);

  // A panel's levels in 8 bits, each group filled up to 64 inputs.
  static std::size_t WorkspaceBytes(std::size_t depth) { return (2 * depth + 64) * kInt8PanelColumns; }
  std::size_t PackedBytes(std::size_t row_count, std::size_t depth) const {
    return (row_count + row_group - 1) / row_group * row_group * depth + kInt4BytesPastRows;
  }
};

// code_sums[row] = Σ of the row's codes in the group.
void SumInt4Codes(const std::int8_t* codes, std::size_t row_count, std::size_t depth, Int4Group group,
                  std::int32_t* code_sums);

// The kernel for `level`, or the best one below it that this build has.
const Int4Gemm& Int4GemmFor(CpuLevel level);

const Int4Gemm& Int4GemmScalar();
#if defined(__x86_64__)
const Int4Gemm& Int4GemmAvx2();
const Int4Gemm& Int4GemmAvx512Vnni();
const Int4Gemm& Int4GemmAmx();
#endif
#if defined(__aarch64__)
const Int4Gemm& Int4GemmNeonDot();
#endif

}  // namespace foreshore
