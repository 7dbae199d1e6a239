// MatMul and Gemm by vectors. The right matrix lies in panels, packed once where it is constant, else for each call;
// the left one's rows are packed block by block.
#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/inference/graph/aligned_bytes.h"
#include "engine/inference/graph/step_kernel.h"

namespace foreshore::graph {

namespace {

constexpr std::int64_t kDepthBlock = 512;
// Row groups of the left that meet one panel before the next.
constexpr std::int64_t kGroupsPerBlock = 16;

// left[m,k] · right[k,n], seen through steps.
struct Sizes {
  std::int64_t m = 0;
  std::int64_t k = 0;
  std::int64_t n = 0;
  std::int64_t left_row_step = 0;
  std::int64_t left_depth_step = 1;
};

class MatrixKernel : public StepKernel {
 public:
  MatrixKernel(const KernelSource& source, const float* bias)
      : kernels_(source.kernels),
        bias_(bias),
        activation_(source.finish.activation),
        is_gemm_(source.node.op_type == "Gemm"),
        flips_left_(is_gemm_ && source.node.IntAttribute("transA", 0) != 0),
        flips_right_(is_gemm_ && source.node.IntAttribute("transB", 0) != 0),
        alpha_(is_gemm_ ? source.node.FloatAttribute("alpha", 1) : 1.0F) {}

  // The right matrix, if it is constant.
  Status Pack(const TensorRef& right, ConstantStore& constants) {
    const Shape& shape = right.info->shape;
    const std::int64_t depth = shape[flips_right_ ? 1 : 0];
    const std::int64_t columns = shape[flips_right_ ? 0 : 1];
    packed_bytes_ = PanelBytes(depth, columns);
    FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block block, constants.Take("matrix", packed_bytes_));
    if (block.room != nullptr) PackRight(right.as<float>(), depth, columns, block.float_room());
    packed_ = block.floats();
    return Status::Ok();
  }
  std::uint64_t held_bytes() const override { return packed_bytes_; }
  bool Holds(std::size_t input) const override { return packed_ != nullptr && input == 1; }

  // Of a constant right matrix the type and shape are known, and the left one's type with it.
  bool Fits(const NodeContext& context) const override {
    if (packed_ != nullptr) return true;
    return context.Info(0).type == OnnxType::kFloat && context.Rank(0) >= 2 && context.Rank(1) >= 2;
  }

  std::uint64_t WorkspaceBytes(const NodeContext& context) const override {
    const Sizes sizes = SizesOf(context);
    return BlockBytes(sizes) + (packed_ != nullptr ? 0 : PanelBytes(sizes.k, sizes.n));
  }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    if (outputs[0].count() == 0) return Status::Ok();
    const Sizes sizes = SizesOf(context);
    auto* rows = reinterpret_cast<float*>(workspace);
    auto* panels = reinterpret_cast<float*>(workspace + BlockBytes(sizes));
    const auto* left = context.inputs[0].as<float>();
    auto* out = outputs[0].as<float>();
    if (packed_ != nullptr) return Multiply(context, sizes, left, packed_, rows, out);
    if (is_gemm_) {
      PackRight(context.inputs[1].as<float>(), sizes.k, sizes.n, panels);
      return Multiply(context, sizes, left, panels, rows, out);
    }
    // Stacks that broadcast, each right matrix packed when it comes.
    const Shape& l = context.ShapeOf(0);
    const Shape& r = context.ShapeOf(1);
    const Shape left_lead(l.begin(), l.end() - 2);
    const Shape right_lead(r.begin(), r.end() - 2);
    FORESHORE_ASSIGN_OR_RETURN(const Shape lead, BroadcastShape(left_lead, right_lead));
    const std::array strides{BroadcastStrides(left_lead, lead), BroadcastStrides(right_lead, lead)};
    Status status;
    std::int64_t packed_at = -1;
    Walk(lead, strides, [&](std::int64_t i, const auto& offsets) {
      if (!status.ok()) return;
      if (offsets[1] != packed_at) {
        PackRight(context.inputs[1].as<float>() + offsets[1] * sizes.k * sizes.n, sizes.k, sizes.n, panels);
        packed_at = offsets[1];
      }
      status =
          Multiply(context, sizes, left + offsets[0] * sizes.m * sizes.k, panels, rows, out + i * sizes.m * sizes.n);
    });
    return status;
  }

 private:
  std::int64_t Panels(std::int64_t columns) const {
    const auto width = static_cast<std::int64_t>(kernels_.panel_columns);
    return (columns + width - 1) / width;
  }
  std::uint64_t PanelBytes(std::int64_t depth, std::int64_t columns) const {
    return static_cast<std::uint64_t>(Panels(columns)) * kernels_.panel_columns * static_cast<std::uint64_t>(depth) *
           sizeof(float);
  }
  std::uint64_t BlockBytes(const Sizes& sizes) const {
    const auto group = static_cast<std::int64_t>(kernels_.row_group);
    const std::int64_t groups = std::min((sizes.m + group - 1) / group, kGroupsPerBlock);
    const std::uint64_t size_bytes = static_cast<std::uint64_t>(groups * group * sizes.k) * sizeof(float);
    return AlignedBytes::RoundUp(size_bytes);
  }

  // With a constant right matrix all rows of a stack on the left are rows of one product.
  Sizes SizesOf(const NodeContext& context) const {
    const Shape& left = context.ShapeOf(0);
    const Shape& right = context.ShapeOf(1);
    Sizes sizes;
    if (is_gemm_) {
      sizes.m = left[flips_left_ ? 1 : 0];
      sizes.k = left[flips_left_ ? 0 : 1];
      sizes.n = right[flips_right_ ? 0 : 1];
      sizes.left_row_step = flips_left_ ? 1 : sizes.k;
      sizes.left_depth_step = flips_left_ ? sizes.m : 1;
      return sizes;
    }
    sizes.k = left.back();
    sizes.n = right.back();
    sizes.m = packed_ != nullptr ? OuterCount(left, left.size() - 1) : left[left.size() - 2];
    sizes.left_row_step = sizes.k;
    return sizes;
  }

  void PackRight(const float* right, std::int64_t depth, std::int64_t columns, float* to) const {
    const std::int64_t depth_step = flips_right_ ? 1 : columns;
    const std::int64_t column_step = flips_right_ ? depth : 1;
    const auto width = static_cast<std::int64_t>(kernels_.panel_columns);
    for (std::int64_t first = 0; first < columns; first += width) {
      const std::int64_t count = std::min(width, columns - first);
      kernels_.pack_columns(right + first * column_step, depth_step, column_step, static_cast<std::size_t>(count),
                            static_cast<std::size_t>(depth), to);
      to += width * depth;
    }
  }

  Status Multiply(const NodeContext& context, const Sizes& sizes, const float* left, const float* panels, float* rows,
                  float* out) const {
    const auto group = static_cast<std::int64_t>(kernels_.row_group);
    const auto width = static_cast<std::int64_t>(kernels_.panel_columns);
    if (sizes.k == 0) {
      for (std::int64_t i = 0; i < sizes.m * sizes.n; ++i) out[i] = bias_ != nullptr ? bias_[i % sizes.n] : 0.0F;
      kernels_.unary(activation_, out, static_cast<std::size_t>(sizes.m * sizes.n), out);
      return Status::Ok();
    }
    for (std::int64_t block = 0; block < sizes.m; block += kGroupsPerBlock * group) {
      const std::int64_t block_end = std::min(block + kGroupsPerBlock * group, sizes.m);
      for (std::int64_t row = block; row < block_end; row += group) {
        kernels_.pack_rows(left + row * sizes.left_row_step, sizes.left_row_step, sizes.left_depth_step,
                           static_cast<std::size_t>(std::min(group, block_end - row)),
                           static_cast<std::size_t>(sizes.k), rows + (row - block) * sizes.k);
      }
      if (alpha_ != 1.0F) {
        const auto count = static_cast<std::size_t>((block_end - block + group - 1) / group * group * sizes.k);
        kernels_.binary(Binary::kMul, rows, 1, &alpha_, 0, count, rows);
      }
      for (std::int64_t k = 0; k < sizes.k; k += kDepthBlock) {
        const std::int64_t depth = std::min(kDepthBlock, sizes.k - k);
        const bool is_last = k + depth == sizes.k;
        for (std::int64_t first = 0; first < sizes.n; first += width) {
          const float* panel = panels + first * sizes.k + k * width;
          for (std::int64_t row = block; row < block_end; row += group) {
            TileTarget target;
            target.out = out + row * sizes.n + first;
            target.stride = sizes.n;
            target.column_count = static_cast<std::size_t>(std::min(width, sizes.n - first));
            target.accumulates = k > 0;
            if (is_last) {
              target.column_bias = bias_ != nullptr ? bias_ + first : nullptr;
              target.activation = activation_;
            }
            kernels_.multiply_tile(rows + (row - block) * sizes.k + k * group, panel,
                                   static_cast<std::size_t>(std::min(group, block_end - row)),
                                   static_cast<std::size_t>(depth), target);
          }
        }
        // A block of 192 rows by 512 by the columns: some milliseconds at most where columns are many.
        FORESHORE_RETURN_IF_ERROR(context.Poll());
      }
    }
    return Status::Ok();
  }

  const VectorKernels& kernels_;
  const float* bias_;
  Activation activation_;
  bool is_gemm_;
  bool flips_left_;
  bool flips_right_;
  float alpha_;
  const float* packed_ = nullptr;  // [panels][depth][panel_columns]; null where the right matrix is no constant.
  std::uint64_t packed_bytes_ = 0;
};

}  // namespace

StepKernelResult MakeMatrixKernel(const KernelSource& source, std::uint64_t bytes_max) {
  const bool is_gemm = source.node.op_type == "Gemm";
  const TensorRef& right = source.inputs[1];
  const float* bias_row = source.bias.info != nullptr ? source.bias.as<float>() : nullptr;
  auto kernel = std::make_unique<MatrixKernel>(source, bias_row);
  if (!source.IsConstant(1)) return std::unique_ptr<StepKernel>(std::move(kernel));
  if (right.info->type != OnnxType::kFloat || right.info->shape.size() != 2) return std::unique_ptr<StepKernel>();
  const Shape& shape = right.info->shape;
  const bool flips = is_gemm && source.node.IntAttribute("transB", 0) != 0;
  const std::int64_t columns = shape[flips ? 0 : 1];
  const auto width = static_cast<std::int64_t>(source.kernels.panel_columns);
  const std::int64_t padded = (columns + width - 1) / width * width;
  if (static_cast<std::uint64_t>(padded) * static_cast<std::uint64_t>(shape[flips ? 1 : 0]) * sizeof(float) >
      bytes_max) {
    return std::unique_ptr<StepKernel>();
  }
  FORESHORE_RETURN_IF_ERROR(kernel->Pack(right, source.constants));
  return std::unique_ptr<StepKernel>(std::move(kernel));
}

}  // namespace foreshore::graph
