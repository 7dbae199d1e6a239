// A constant matrix of 8-bit codes in the panels of the integer product (int8_gemm.h), and products with it.
//
// Codes of either type are taken as signed: an unsigned one less 128, its zero point too. The product's bounds on codes
// are those of int8_gemm.h, with -128 allowed, for depths of at most half of kInt8DepthMax.
// Lifetime: borrows the store that it was packed into. Threads: immutable once made.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/inference/graph/constant_store.h"
#include "engine/inference/graph/operator.h"
#include "engine/inference/int8_gemm.h"

namespace foreshore::graph {

inline constexpr std::int64_t kCodeDepthMax = static_cast<std::int64_t>(kInt8DepthMax / 2);

// The signed code of the byte.
inline std::int8_t SignedCode(std::byte code, OnnxType type) {
  const auto bits = static_cast<std::uint8_t>(code);
  return static_cast<std::int8_t>(type == OnnxType::kUint8 ? bits ^ 0x80U : bits);
}

// The zero point of signed codes at `at` of a list of one for all or one for each; none stands for a code of 0.
inline std::int32_t SignedZero(const TensorRef& zero, std::int64_t at, OnnxType type) {
  if (zero.info == nullptr) return type == OnnxType::kUint8 ? -128 : 0;
  return SignedCode(zero.data[zero.count() == 1 ? 0 : at], type);
}

class CodePanels {
 public:
  // Element (n, k) of the matrix is codes[n · column_step + k · depth_step].
  static Result<CodePanels> Make(const Int8Gemm& gemm, ConstantStore& constants, const std::byte* codes, OnnxType type,
                                 std::int64_t columns, std::int64_t depth, std::int64_t column_step,
                                 std::int64_t depth_step);
  static std::uint64_t Bytes(std::int64_t columns, std::int64_t depth);

  std::int64_t panel_count() const { return (columns_ + kWidth - 1) / kWidth; }
  std::int64_t columns() const { return columns_; }
  std::int64_t padded_depth() const { return padded_depth_; }
  std::uint64_t held_bytes() const { return Bytes(columns_, padded_depth_); }
  std::int32_t column_sum(std::int64_t column) const { return Sums()[column]; }

  // For Multiply(): rows packed, and the kernel's own room.
  std::uint64_t PackedBytes(std::int64_t rows) const;
  std::uint64_t WorkspaceBytes() const;
  // `rows` rows of padded_depth() signed codes, of which those past the depth are 0.
  void PackRows(const std::int8_t* codes, std::int64_t rows, std::byte* packed) const;
  // sums[rows][64] of one panel; columns past the matrix's are 0.
  void Multiply(const std::byte* packed, std::int64_t rows, std::int64_t panel, std::byte* workspace,
                std::int32_t* sums) const;

  static constexpr std::int64_t kWidth = static_cast<std::int64_t>(kInt8PanelColumns);

 private:
  const std::int32_t* Sums() const { return reinterpret_cast<const std::int32_t*>(bytes_ + sums_offset_); }

  const Int8Gemm* gemm_ = nullptr;
  std::int64_t columns_ = 0;
  std::int64_t padded_depth_ = 0;
  std::uint64_t sums_offset_ = 0;
  const std::byte* bytes_ = nullptr;  // Panels, then the sums of columns and of pairs.
};

}  // namespace foreshore::graph
