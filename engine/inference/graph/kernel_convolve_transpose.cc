// Transposed convolutions over one or two spatial axes by vectors: a product of the weights, seen as [out channels ·
// window, in channels], by the inputs, whose tiles are added to where they belong in the output.
#include <algorithm>
#include <vector>

#include "engine/inference/graph/aligned_bytes.h"
#include "engine/inference/graph/step_kernel.h"
#include "engine/inference/graph/window.h"

namespace foreshore::graph {

namespace {

class ConvTransposeKernel : public StepKernel {
 public:
  ConvTransposeKernel(const KernelSource& source, const TensorRef& weights, const float* bias)
      : kernels_(source.kernels),
        activation_(source.finish.activation),
        bias_(bias),
        groups_(source.node.IntAttribute("group", 1)),
        per_group_(weights.info->shape[0] / groups_),
        out_per_group_(weights.info->shape[1]),
        taps_(InnerCount(weights.info->shape, 2)) {}

  Status Pack(const float* weights, ConstantStore& constants) {
    const auto group = static_cast<std::int64_t>(kernels_.row_group);
    const std::int64_t rows = out_per_group_ * taps_;
    group_floats_ = (rows + group - 1) / group * group * per_group_;
    FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block block, constants.Take("transposed", held_bytes()));
    packed_ = block.floats();
    for (std::int64_t g = 0; block.room != nullptr && g < groups_; ++g) {
      for (std::int64_t row = 0; row < rows; row += group) {
        kernels_.pack_rows(weights + g * per_group_ * rows + row, 1, rows,
                           static_cast<std::size_t>(std::min(group, rows - row)), static_cast<std::size_t>(per_group_),
                           block.float_room() + g * group_floats_ + row * per_group_);
      }
    }
    return Status::Ok();
  }
  std::uint64_t held_bytes() const override {
    return static_cast<std::uint64_t>(group_floats_ * groups_) * sizeof(float);
  }
  bool Holds(std::size_t input) const override { return input == 1; }

  // A panel of inputs and a tile of results.
  std::uint64_t WorkspaceBytes(const NodeContext&) const override {
    return kernels_.panel_columns * (static_cast<std::uint64_t>(per_group_) + kernels_.row_group) * sizeof(float);
  }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConvTranspose(context));
    if (outputs[0].count() == 0) return Status::Ok();
    auto* panel = reinterpret_cast<float*>(workspace);
    const std::int64_t inputs = window.OutputCount();  // The window has the two exchanged.
    const std::int64_t size = window.InputCount();
    Poller poller(context);
    for (std::int64_t image = 0; image < context.ShapeOf(0)[0]; ++image) {
      float* out = outputs[0].as<float>() + image * groups_ * out_per_group_ * size;
      for (std::int64_t channel = 0; channel < groups_ * out_per_group_; ++channel) {
        std::fill_n(out + channel * size, size, bias_ != nullptr ? bias_[channel] : 0.0F);
      }
      for (std::int64_t g = 0; g < groups_; ++g) {
        const float* input = context.inputs[0].as<float>() + (image * groups_ + g) * per_group_ * inputs;
        FORESHORE_RETURN_IF_ERROR(RunGroup(window, input, g, panel, out + g * out_per_group_ * size, poller));
      }
      const auto count = static_cast<std::size_t>(groups_ * out_per_group_ * size);
      if (activation_.kind != Unary::kNone) kernels_.unary(activation_, out, count, out);
    }
    return Status::Ok();
  }

 private:
  Status RunGroup(const Window& window, const float* input, std::int64_t g, float* panel, float* out,
                  Poller& poller) const {
    const auto group = static_cast<std::int64_t>(kernels_.row_group);
    const auto columns = static_cast<std::int64_t>(kernels_.panel_columns);
    const std::int64_t inputs = window.OutputCount();
    const std::int64_t rows = out_per_group_ * taps_;
    float* tile = panel + columns * per_group_;
    for (std::int64_t start = 0; start < inputs; start += columns) {
      const std::int64_t count = std::min(columns, inputs - start);
      kernels_.pack_columns(input + start, inputs, 1, static_cast<std::size_t>(count),
                            static_cast<std::size_t>(per_group_), panel);
      for (std::int64_t row = 0; row < rows; row += group) {
        const std::int64_t row_count = std::min(group, rows - row);
        TileTarget target;
        target.out = tile;
        target.stride = columns;
        target.column_count = static_cast<std::size_t>(columns);
        kernels_.multiply_tile(packed_ + g * group_floats_ + row * per_group_, panel,
                               static_cast<std::size_t>(row_count), static_cast<std::size_t>(per_group_), target);
        for (std::int64_t r = 0; r < row_count; ++r) {
          AddRow(window, tile + r * columns, (row + r) % taps_, start, count,
                 out + (row + r) / taps_ * window.InputCount());
        }
      }
      FORESHORE_RETURN_IF_ERROR(poller.Add(rows * per_group_ * columns));
    }
    return Status::Ok();
  }

  // Adds what inputs start..start+count give through one place of the window to an output channel.
  static void AddRow(const Window& window, const float* values, std::int64_t tap, std::int64_t start,
                     std::int64_t count, float* plane) {
    const Axis& ys = window[1];
    const Axis& xs = window[2];
    const std::int64_t ky = tap / xs.kernel;
    const std::int64_t kx = tap % xs.kernel;
    for (std::int64_t at = start; at < start + count;) {
      const std::int64_t y = ys.At(at / xs.output, ky);
      const std::int64_t x = at % xs.output;
      const std::int64_t end = std::min(xs.output, x + start + count - at);
      if (y >= 0 && y < ys.input) {
        for (std::int64_t i = x; i < end; ++i) {
          const std::int64_t place = xs.At(i, kx);
          if (place >= 0 && place < xs.input) plane[y * xs.input + place] += values[at - start + i - x];
        }
      }
      at += end - x;
    }
  }

  const VectorKernels& kernels_;
  Activation activation_;
  const float* bias_;
  std::int64_t groups_;
  std::int64_t per_group_;
  std::int64_t out_per_group_;
  std::int64_t taps_;
  const float* packed_ = nullptr;  // [groups][row groups][in channels][row_group].
  std::int64_t group_floats_ = 0;
};

}  // namespace

StepKernelResult MakeConvTransposeKernel(const KernelSource& source, std::uint64_t bytes_max) {
  const TensorRef& weights = source.inputs[1];
  const bool has_bias = source.inputs.size() > 2 && source.inputs[2].info != nullptr;
  const std::int64_t groups = source.node.IntAttribute("group", 1);
  if (!source.IsConstant(1) || weights.info->type != OnnxType::kFloat) return std::unique_ptr<StepKernel>();
  const Shape& shape = weights.info->shape;
  if (shape.size() < 3 || shape.size() > 4 || groups < 1 || ElementCount(shape) < 1 || shape[0] % groups != 0) {
    return std::unique_ptr<StepKernel>();
  }
  const TensorRef bias = has_bias ? source.inputs[2] : TensorRef();
  if (has_bias && (bias.data == nullptr || bias.info->type != OnnxType::kFloat || bias.count() != shape[1] * groups)) {
    return std::unique_ptr<StepKernel>();
  }
  const auto group = static_cast<std::int64_t>(source.kernels.row_group);
  const std::int64_t rows = (InnerCount(shape, 1) + group - 1) / group * group;
  if (static_cast<std::uint64_t>(rows * shape[0]) * sizeof(float) > bytes_max) return std::unique_ptr<StepKernel>();
  auto kernel = std::make_unique<ConvTransposeKernel>(source, weights, has_bias ? bias.as<float>() : nullptr);
  FORESHORE_RETURN_IF_ERROR(kernel->Pack(weights.as<float>(), source.constants));
  return std::unique_ptr<StepKernel>(std::move(kernel));
}

}  // namespace foreshore::graph
