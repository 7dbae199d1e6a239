#include "engine/inference/graph/code_panels.h"

namespace foreshore::graph {

namespace {

std::int64_t RoundUp(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

std::uint64_t CodePanels::Bytes(std::int64_t columns, std::int64_t depth) {
  const auto padded = static_cast<std::uint64_t>(RoundUp(columns, kWidth));
  return padded * (static_cast<std::uint64_t>(RoundUp(depth, kInt8DepthMultiple)) + 2 * sizeof(std::int32_t));
}

Result<CodePanels> CodePanels::Make(const Int8Gemm& gemm, ConstantStore& constants, const std::byte* codes,
                                    OnnxType type, std::int64_t columns, std::int64_t depth, std::int64_t column_step,
                                    std::int64_t depth_step) {
  CodePanels panels;
  panels.gemm_ = &gemm;
  panels.columns_ = columns;
  panels.padded_depth_ = RoundUp(depth, kInt8DepthMultiple);
  FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block block, constants.Take("panels", Bytes(columns, depth)));
  panels.bytes_ = block.data;
  const std::int64_t padded_columns = RoundUp(columns, kWidth);
  panels.sums_offset_ = static_cast<std::uint64_t>(padded_columns * panels.padded_depth_);
  if (block.room == nullptr) return panels;
  auto* out = reinterpret_cast<std::int8_t*>(block.room);
  auto* column_sums = reinterpret_cast<std::int32_t*>(block.room + panels.sums_offset_);
  std::int32_t* pair_sums = column_sums + padded_columns;
  constexpr auto kStep = static_cast<std::int64_t>(kInt8DepthStep);
  const auto code = [&](std::int64_t n, std::int64_t k) -> std::int32_t {
    return k < depth ? SignedCode(codes[n * column_step + k * depth_step], type) : 0;
  };
  for (std::int64_t n = 0; n < columns; ++n) {
    std::int8_t* panel = out + n / kWidth * kWidth * panels.padded_depth_;
    for (std::int64_t k = 0; k < depth; ++k) {
      panel[(k / kStep * kWidth + n % kWidth) * kStep + k % kStep] = static_cast<std::int8_t>(code(n, k));
      column_sums[n] += code(n, k);
      if (k % 8 < 4) pair_sums[n] += code(n, k) * code(n, k + 4);
    }
  }
  return panels;
}

std::uint64_t CodePanels::PackedBytes(std::int64_t rows) const {
  return gemm_->PackedBytes(static_cast<std::size_t>(rows), static_cast<std::size_t>(padded_depth_));
}

std::uint64_t CodePanels::WorkspaceBytes() const {
  return Int8Gemm::WorkspaceBytes(static_cast<std::size_t>(padded_depth_));
}

void CodePanels::PackRows(const std::int8_t* codes, std::int64_t rows, std::byte* packed) const {
  gemm_->pack_rows(codes, static_cast<std::size_t>(rows), static_cast<std::size_t>(padded_depth_), packed);
}

void CodePanels::Multiply(const std::byte* packed, std::int64_t rows, std::int64_t panel, std::byte* workspace,
                          std::int32_t* sums) const {
  const std::int64_t padded_columns = RoundUp(columns_, kWidth);
  const Int8Panel view{reinterpret_cast<const std::int8_t*>(bytes_) + panel * kWidth * padded_depth_,
                       Sums() + panel * kWidth, Sums() + padded_columns + panel * kWidth};
  gemm_->multiply_panel(packed, static_cast<std::size_t>(rows), static_cast<std::size_t>(padded_depth_), view,
                        workspace, sums);
}

}  // namespace foreshore::graph
