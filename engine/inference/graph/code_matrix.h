// A constant matrix of 8-bit codes with its zero points, and the loop of every product with such: blocks of rows of
// codes are gathered and packed, meet each panel, and what the zero points add is taken off.
//
//   Σ (a − za)(w − zw) = Σ a·w − za · Σ w − zw · Σ a + depth · za · zw
//
// over signed codes (code_panels.h), modulo 2^32. Several matrices of one depth share the rows of a block.
// Lifetime: borrows the store that it was packed into. Threads: immutable once made; callers own the workspace.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "engine/inference/graph/aligned_bytes.h"
#include "engine/inference/graph/code_panels.h"
#include "engine/inference/graph/step_kernel.h"

namespace foreshore::graph {

// Rows that are gathered and multiplied together.
inline constexpr std::int64_t kCodeBlockRows = 96;

struct CodeMatrix {
  CodePanels panels;
  std::int64_t depth = 0;
  std::vector<std::int32_t> zeros;   // Of signed codes, by column; empty where all are 0.
  std::vector<std::int32_t> biases;  // By column; empty for none. Added to the sums.

  // What the panels and lists of such a matrix take at most.
  static std::uint64_t Bytes(std::int64_t columns, std::int64_t depth) {
    return CodePanels::Bytes(columns, depth) + 2 * static_cast<std::uint64_t>(columns) * sizeof(std::int32_t);
  }
  std::uint64_t held_bytes() const {
    return panels.held_bytes() + (zeros.size() + biases.size()) * sizeof(std::int32_t);
  }
  // `zero` gives a column's zero point.
  template <typename Zero>
  void SetZeros(Zero zero) {
    for (std::int64_t c = 0; c < panels.columns(); ++c) zeros.push_back(zero(c));
    if (std::all_of(zeros.begin(), zeros.end(), [](std::int32_t each) { return each == 0; })) zeros.clear();
  }
};

// Where the parts of the workspace begin, for matrices of one depth.
struct CodeProductPlaces {
  explicit CodeProductPlaces(const CodePanels& panels) {
    constexpr auto aligned = &AlignedBytes::RoundUp;
    const auto rows = static_cast<std::uint64_t>(kCodeBlockRows);
    packed = aligned(rows * static_cast<std::uint64_t>(panels.padded_depth()));
    kernel = packed + aligned(panels.PackedBytes(kCodeBlockRows));
    sums = kernel + aligned(panels.WorkspaceBytes());
    end = sums + aligned(rows * kSumColumns * sizeof(std::int32_t));
  }
  std::uint64_t packed = 0;  // Codes lie before it.
  std::uint64_t kernel = 0;
  std::uint64_t sums = 0;
  std::uint64_t end = 0;
};

// gather(first, count, codes) makes `count` rows of padded_depth() signed codes, zeros past the depth.
// emit(matrix, first, column, width, sums) takes the sums of these rows and of `width` columns from `column` on, from
// which it takes the zero points' part off (vector_kernels.h). `zero` is that of the rows' signed codes.
template <typename Gather, typename Emit>
Status MultiplyCodes(std::span<const CodeMatrix> matrices, std::int32_t zero, std::int64_t rows, std::byte* workspace,
                     Poller& poller, Gather gather, Emit emit) {
  static_assert(CodePanels::kWidth == static_cast<std::int64_t>(kSumColumns));
  const std::int64_t depth = matrices[0].depth;
  const std::int64_t padded = matrices[0].panels.padded_depth();
  const CodeProductPlaces places(matrices[0].panels);
  auto* codes = reinterpret_cast<std::int8_t*>(workspace);
  auto* sums = reinterpret_cast<std::int32_t*>(workspace + places.sums);
  const bool needs_row_sums =
      std::any_of(matrices.begin(), matrices.end(), [](const CodeMatrix& matrix) { return !matrix.zeros.empty(); });
  std::uint32_t row_sums[kCodeBlockRows] = {};
  for (std::int64_t first = 0; first < rows; first += kCodeBlockRows) {
    const std::int64_t count = std::min(kCodeBlockRows, rows - first);
    gather(first, count, codes);
    for (std::int64_t r = 0; r < count && needs_row_sums; ++r) {
      std::int32_t sum = 0;
      for (std::int64_t k = 0; k < depth; ++k) sum += codes[r * padded + k];
      row_sums[r] = static_cast<std::uint32_t>(sum);
    }
    matrices[0].panels.PackRows(codes, count, workspace + places.packed);
    for (std::size_t m = 0; m < matrices.size(); ++m) {
      const CodeMatrix& matrix = matrices[m];
      const std::int64_t columns = matrix.panels.columns();
      for (std::int64_t panel = 0; panel < matrix.panels.panel_count(); ++panel) {
        matrix.panels.Multiply(workspace + places.packed, count, panel, workspace + places.kernel, sums);
        const std::int64_t column = panel * CodePanels::kWidth;
        const std::int64_t width = std::min(CodePanels::kWidth, columns - column);
        std::uint32_t offsets[kSumColumns] = {};
        std::uint32_t zeros[kSumColumns] = {};
        for (std::int64_t c = 0; c < width; ++c) {
          const auto at = static_cast<std::size_t>(column + c);
          const std::int64_t right_zero = matrix.zeros.empty() ? 0 : matrix.zeros[at];
          const std::int64_t taken =
              static_cast<std::int64_t>(zero) * (matrix.panels.column_sum(column + c) - depth * right_zero);
          offsets[c] = static_cast<std::uint32_t>((matrix.biases.empty() ? 0 : matrix.biases[at]) - taken);
          zeros[c] = static_cast<std::uint32_t>(right_zero);
        }
        emit(
            m, first, column, width,
            CodeSums{sums, static_cast<std::size_t>(count), offsets, matrix.zeros.empty() ? nullptr : zeros, row_sums});
      }
      FORESHORE_RETURN_IF_ERROR(poller.Add(count * padded * columns / 4));
    }
  }
  return Status::Ok();
}

}  // namespace foreshore::graph
