// MatMul, Gemm and Products by vectors. A right matrix lies in panels, packed once where it is constant, else for each
// call; the left one's rows are packed block by block, and meet all constant ones.
#include <algorithm>
#include <cstring>
#include <span>
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

// A right matrix in panels, and what becomes of its sums.
struct Right {
  const float* panels = nullptr;  // [panels][depth][panel_columns]
  std::int64_t columns = 0;
  const float* bias = nullptr;
  Activation activation;
};

class MatrixKernel : public StepKernel {
 public:
  explicit MatrixKernel(const KernelSource& source)
      : kernels_(source.kernels),
        is_gemm_(source.node.op_type == "Gemm"),
        flips_left_(is_gemm_ && source.node.IntAttribute("transA", 0) != 0),
        flips_right_(is_gemm_ && source.node.IntAttribute("transB", 0) != 0),
        alpha_(is_gemm_ ? source.node.FloatAttribute("alpha", 1) : 1.0F) {}

  // A constant right matrix.
  Status Pack(const TensorRef& right, const float* bias, const Activation& activation, ConstantStore& constants) {
    const Shape& shape = right.info->shape;
    const std::int64_t depth = shape[flips_right_ ? 1 : 0];
    const std::int64_t columns = shape[flips_right_ ? 0 : 1];
    const std::uint64_t size_bytes = PanelBytes(depth, columns);
    FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block block, constants.Take("matrix", size_bytes));
    if (block.room != nullptr) PackRight(right.as<float>(), depth, columns, block.float_room());
    packed_bytes_ += size_bytes;
    packed_.push_back({block.floats(), columns, bias, activation});
    return Status::Ok();
  }
  std::uint64_t held_bytes() const override { return packed_bytes_; }
  // Of joined products biases come between.
  bool Holds(std::size_t input) const override { return input % 2 == 1 && input / 2 < packed_.size(); }
  std::uint64_t PanelBytes(std::int64_t depth, std::int64_t columns) const {
    return static_cast<std::uint64_t>(Panels(columns)) * kernels_.panel_columns * static_cast<std::uint64_t>(depth) *
           sizeof(float);
  }

  // Of a constant right matrix the type and shape are known, and the left one's type with it.
  bool Fits(const NodeContext& context) const override {
    if (!packed_.empty()) return true;
    return context.Info(0).type == OnnxType::kFloat && context.Rank(0) >= 2 && context.Rank(1) >= 2;
  }

  std::uint64_t WorkspaceBytes(const NodeContext& context) const override {
    const Sizes sizes = SizesOf(context);
    return BlockBytes(sizes) + (!packed_.empty() ? 0 : PanelBytes(sizes.k, sizes.n));
  }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    const Sizes sizes = SizesOf(context);
    if (!packed_.empty()) {
      return Multiply(context, sizes, context.inputs[0].as<float>(), packed_, reinterpret_cast<float*>(workspace),
                      [&](std::size_t part) { return outputs[part].as<float>(); });
    }
    if (outputs[0].count() == 0) return Status::Ok();
    auto* rows = reinterpret_cast<float*>(workspace);
    auto* panels = reinterpret_cast<float*>(workspace + BlockBytes(sizes));
    const auto* left = context.inputs[0].as<float>();
    auto* out = outputs[0].as<float>();
    const Right right{panels, sizes.n, nullptr, {}};
    const auto multiply = [&](const float* from, float* to) {
      return Multiply(context, sizes, from, std::span(&right, 1), rows, [to](std::size_t) { return to; });
    };
    if (is_gemm_) {
      PackRight(context.inputs[1].as<float>(), sizes.k, sizes.n, panels);
      return multiply(left, out);
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
      status = multiply(left + offsets[0] * sizes.m * sizes.k, out + i * sizes.m * sizes.n);
    });
    return status;
  }

 private:
  std::int64_t Panels(std::int64_t columns) const {
    const auto width = static_cast<std::int64_t>(kernels_.panel_columns);
    return (columns + width - 1) / width;
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
    sizes.m = !packed_.empty() ? OuterCount(left, left.size() - 1) : left[left.size() - 2];
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

  // out(part) is where the product by that one of `rights` goes.
  template <typename Out>
  Status Multiply(const NodeContext& context, const Sizes& sizes, const float* left, std::span<const Right> rights,
                  float* rows, Out out) const {
    const auto group = static_cast<std::int64_t>(kernels_.row_group);
    if (sizes.k == 0) {
      for (std::size_t part = 0; part < rights.size(); ++part) FillEmpty(rights[part], sizes.m, out(part));
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
      for (std::size_t part = 0; part < rights.size(); ++part) {
        FORESHORE_RETURN_IF_ERROR(MultiplyBlock(context, sizes, rights[part], rows, block, block_end, out(part)));
      }
    }
    return Status::Ok();
  }

  // Without depth there is what is added.
  void FillEmpty(const Right& right, std::int64_t m, float* out) const {
    for (std::int64_t i = 0; i < m * right.columns; ++i) {
      out[i] = right.bias != nullptr ? right.bias[i % right.columns] : 0.0F;
    }
    kernels_.unary(right.activation, out, static_cast<std::size_t>(m * right.columns), out);
  }

  Status MultiplyBlock(const NodeContext& context, const Sizes& sizes, const Right& right, const float* rows,
                       std::int64_t block, std::int64_t block_end, float* out) const {
    const auto group = static_cast<std::int64_t>(kernels_.row_group);
    const auto width = static_cast<std::int64_t>(kernels_.panel_columns);
    for (std::int64_t k = 0; k < sizes.k; k += kDepthBlock) {
      const std::int64_t depth = std::min(kDepthBlock, sizes.k - k);
      const bool is_last = k + depth == sizes.k;
      for (std::int64_t first = 0; first < right.columns; first += width) {
        const float* panel = right.panels + first * sizes.k + k * width;
        for (std::int64_t row = block; row < block_end; row += group) {
          TileTarget target;
          target.out = out + row * right.columns + first;
          target.stride = right.columns;
          target.column_count = static_cast<std::size_t>(std::min(width, right.columns - first));
          target.accumulates = k > 0;
          if (is_last) {
            target.column_bias = right.bias != nullptr ? right.bias + first : nullptr;
            target.activation = right.activation;
          }
          kernels_.multiply_tile(rows + (row - block) * sizes.k + k * group, panel,
                                 static_cast<std::size_t>(std::min(group, block_end - row)),
                                 static_cast<std::size_t>(depth), target);
        }
      }
      // A block of 192 rows by 512 by the columns: some milliseconds at most where columns are many.
      FORESHORE_RETURN_IF_ERROR(context.Poll());
    }
    return Status::Ok();
  }

  const VectorKernels& kernels_;
  bool is_gemm_;
  bool flips_left_;
  bool flips_right_;
  float alpha_;
  std::vector<Right> packed_;  // Empty where the right matrix is no constant.
  std::uint64_t packed_bytes_ = 0;
};

}  // namespace

StepKernelResult MakeMatrixKernel(const KernelSource& source, std::uint64_t bytes_max) {
  auto kernel = std::make_unique<MatrixKernel>(source);
  const bool is_joined = source.node.op_type == "Products";
  if (!source.IsConstant(1)) return std::unique_ptr<StepKernel>(std::move(kernel));
  const bool flips = source.node.op_type == "Gemm" && source.node.IntAttribute("transB", 0) != 0;
  std::uint64_t held_bytes = 0;
  for (std::size_t i = 1; i < (is_joined ? source.inputs.size() : 2); i += 2) {
    const TensorRef& right = source.inputs[i];
    if (right.info->type != OnnxType::kFloat || right.info->shape.size() != 2) return std::unique_ptr<StepKernel>();
    held_bytes += kernel->PanelBytes(right.info->shape[flips ? 1 : 0], right.info->shape[flips ? 0 : 1]);
  }
  if (held_bytes > bytes_max) return std::unique_ptr<StepKernel>();
  const auto pack = [&](std::size_t index, const TensorRef& bias) {
    return kernel->Pack(source.inputs[index], bias.info != nullptr ? bias.as<float>() : nullptr,
                        source.finish.activation, source.constants);
  };
  if (!is_joined) FORESHORE_RETURN_IF_ERROR(pack(1, source.bias));
  for (std::size_t i = 1; is_joined && i < source.inputs.size(); i += 2) {
    FORESHORE_RETURN_IF_ERROR(pack(i, i + 1 < source.inputs.size() ? source.inputs[i + 1] : TensorRef()));
  }
  return std::unique_ptr<StepKernel>(std::move(kernel));
}

}  // namespace foreshore::graph
