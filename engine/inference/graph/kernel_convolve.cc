// Convolutions over one or two spatial axes by vectors.
//
// A general one is a product: weights [out channels, K] by patches [K, outputs], K = channels · window. Weights are
// packed once; patches are gathered for one panel of outputs at a time, so they never lie in memory as a whole. A
// depthwise one slides over a copy of each channel with its padding, split by phase of the stride so that neighbours in
// the output are neighbours in the copy.
#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "engine/inference/graph/aligned_bytes.h"
#include "engine/inference/graph/conv_weights.h"
#include "engine/inference/graph/depthwise_window.h"
#include "engine/inference/graph/step_kernel.h"
#include "engine/inference/graph/window.h"

namespace foreshore::graph {

namespace {

// K is cut into blocks of this, so that a panel of patches and the rows that it meets stay in the first caches.
constexpr std::int64_t kDepthBlock = 384;
// With so few outputs panels would be mostly empty.
constexpr std::int64_t kFewOutputs = 4;

// Part of a panel that lies in one row of outputs.
struct Segment {
  std::int64_t y = 0;
  std::int64_t x = 0;
  std::int64_t count = 0;
};

// Runs of a few dozen: a call of memcpy costs more than what it copies.
inline void CopyRun(const float* from, std::int64_t count, float* to) {
  constexpr std::int64_t kStep = 8;
  std::int64_t i = 0;
  for (; i + kStep <= count; i += kStep) std::memcpy(to + i, from + i, kStep * sizeof(float));
  for (; i < count; ++i) to[i] = from[i];
}

// Rows first..first+depth of the patches at outputs start..start+count, as a panel.
void PackPatches(const float* input, const Window& window, std::int64_t first, std::int64_t depth, std::int64_t start,
                 std::int64_t count, std::size_t panel_columns, float* panel) {
  const Axis& ys = window[1];
  const Axis& xs = window[2];
  std::vector<Segment> segments;
  for (std::int64_t at = start; at < start + count;) {
    const std::int64_t x = at % xs.output;
    const std::int64_t length = std::min(xs.output - x, start + count - at);
    segments.push_back({at / xs.output, x, length});
    at += length;
  }
  // Counted on, since division is slow.
  std::int64_t kx = first % xs.kernel;
  std::int64_t ky = first / xs.kernel % ys.kernel;
  const float* plane = input + first / (ys.kernel * xs.kernel) * ys.input * xs.input;
  for (std::int64_t k = first; k < first + depth; ++k, panel += panel_columns) {
    // Outputs low..high-1 of a row see an input here.
    const std::int64_t shift = xs.before - kx * xs.dilation;
    const std::int64_t room = xs.input + shift;
    const std::int64_t low = shift <= 0 ? 0 : xs.stride == 1 ? shift : (shift + xs.stride - 1) / xs.stride;
    const std::int64_t high = room <= 0 ? 0 : xs.stride == 1 ? room : (room + xs.stride - 1) / xs.stride;
    float* to = panel;
    for (const Segment& segment : segments) {
      const std::int64_t y = ys.At(segment.y, ky);
      const std::int64_t end = segment.x + segment.count;
      const std::int64_t from = std::clamp(low, segment.x, end);
      const std::int64_t until = y < 0 || y >= ys.input ? from : std::clamp(high, from, end);
      std::int64_t x = segment.x;
      for (; x < from; ++x) *to++ = 0.0F;
      const float* row = plane + y * xs.input - shift;
      if (xs.stride == 1) {
        CopyRun(row + x, until - x, to);
        to += until - x;
        x = until;
      } else {
        for (; x < until; ++x) *to++ = row[x * xs.stride];
      }
      for (; x < end; ++x) *to++ = 0.0F;
    }
    std::fill(to, panel + panel_columns, 0.0F);
    if (++kx < xs.kernel) continue;
    kx = 0;
    if (++ky < ys.kernel) continue;
    ky = 0;
    plane += ys.input * xs.input;
  }
}

class ConvKernel : public StepKernel {
 public:
  ConvKernel(const VectorKernels& kernels, ConvWeights weights, Activation activation)
      : kernels_(kernels), weights_(weights), activation_(activation) {}

  Status Pack(ConstantStore& constants) {
    const std::int64_t group = RowGroup();
    const std::int64_t depth = weights_.depth();
    group_floats_ = (weights_.out_per_group() + group - 1) / group * group * depth;
    FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block block, constants.Take("convolution", held_bytes()));
    packed_ = block.floats();
    for (std::int64_t g = 0; block.room != nullptr && g < weights_.groups; ++g) {
      for (std::int64_t row = 0; row < weights_.out_per_group(); row += group) {
        const std::int64_t count = std::min(group, weights_.out_per_group() - row);
        kernels_.pack_rows(weights_.data + (g * weights_.out_per_group() + row) * depth, depth, 1,
                           static_cast<std::size_t>(count), static_cast<std::size_t>(depth),
                           block.float_room() + g * group_floats_ + row * depth);
      }
    }
    return Status::Ok();
  }
  std::uint64_t held_bytes() const override {
    return static_cast<std::uint64_t>(group_floats_ * weights_.groups) * sizeof(float);
  }

  std::uint64_t WorkspaceBytes(const NodeContext& context) const override {
    const auto window = PlanConv(context);
    if (!window.ok()) return 0;
    const std::int64_t panel =
        std::min(weights_.depth(), kDepthBlock) * static_cast<std::int64_t>(kernels_.panel_columns);
    const std::int64_t few = window->OutputCount() <= kFewOutputs ? weights_.out_per_group() : 0;
    return static_cast<std::uint64_t>(std::max(panel, weights_.depth() + few)) * sizeof(float);
  }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConv(context));
    if (outputs[0].count() == 0) return Status::Ok();
    auto* panel = reinterpret_cast<float*>(workspace);
    Poller poller(context);
    const std::int64_t out_per_group = weights_.out_per_group();
    for (std::int64_t image = 0; image < context.ShapeOf(0)[0]; ++image) {
      for (std::int64_t g = 0; g < weights_.groups; ++g) {
        const float* input =
            context.inputs[0].as<float>() + (image * weights_.groups + g) * weights_.per_group * window.InputCount();
        float* out =
            outputs[0].as<float>() + (image * weights_.out_channels + g * out_per_group) * window.OutputCount();
        if (window.OutputCount() <= kFewOutputs) {
          RunFew(window, input, g, panel, out);
          FORESHORE_RETURN_IF_ERROR(poller.Add(out_per_group * weights_.depth() * window.OutputCount()));
        } else {
          FORESHORE_RETURN_IF_ERROR(RunPanels(window, input, g, panel, out, poller));
        }
      }
    }
    return Status::Ok();
  }

 private:
  std::int64_t RowGroup() const { return static_cast<std::int64_t>(kernels_.row_group); }
  const float* Bias(std::int64_t channel) const { return weights_.bias != nullptr ? weights_.bias + channel : nullptr; }

  Status RunPanels(const Window& window, const float* input, std::int64_t g, float* panel, float* out,
                   Poller& poller) const {
    const std::int64_t outputs = window.OutputCount();
    const std::int64_t depth = weights_.depth();
    const auto columns = static_cast<std::int64_t>(kernels_.panel_columns);
    const bool is_plain =
        weights_.taps == 1 && window[1].stride == 1 && window[2].stride == 1 && outputs == window.InputCount();
    for (std::int64_t start = 0; start < outputs; start += columns) {
      const std::int64_t count = std::min(columns, outputs - start);
      for (std::int64_t k = 0; k < depth; k += kDepthBlock) {
        const std::int64_t block = std::min(kDepthBlock, depth - k);
        if (is_plain) {
          kernels_.pack_columns(input + k * outputs + start, outputs, 1, static_cast<std::size_t>(count),
                                static_cast<std::size_t>(block), panel);
        } else {
          PackPatches(input, window, k, block, start, count, kernels_.panel_columns, panel);
        }
        const bool is_last = k + block == depth;
        for (std::int64_t row = 0; row < weights_.out_per_group(); row += RowGroup()) {
          TileTarget target;
          target.out = out + row * outputs + start;
          target.stride = outputs;
          target.column_count = static_cast<std::size_t>(count);
          target.accumulates = k > 0;
          if (is_last) {
            target.row_bias = Bias(g * weights_.out_per_group() + row);
            target.activation = activation_;
          }
          const std::int64_t rows = std::min(RowGroup(), weights_.out_per_group() - row);
          kernels_.multiply_tile(packed_ + g * group_floats_ + row * depth + k * RowGroup(), panel,
                                 static_cast<std::size_t>(rows), static_cast<std::size_t>(block), target);
        }
        FORESHORE_RETURN_IF_ERROR(poller.Add(block * columns * weights_.out_per_group()));
      }
    }
    return Status::Ok();
  }

  // One patch at a time by every row of the weights as they lie in the file. The sums follow the patch.
  void RunFew(const Window& window, const float* input, std::int64_t g, float* patch, float* out) const {
    const std::int64_t outputs = window.OutputCount();
    const std::int64_t depth = weights_.depth();
    const std::span sums(patch + depth, static_cast<std::size_t>(weights_.out_per_group()));
    for (std::int64_t at = 0; at < outputs; ++at) {
      PackPatches(input, window, 0, depth, at, 1, 1, patch);
      const float* bias = Bias(g * weights_.out_per_group());
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = bias != nullptr ? bias[i] : 0.0F;
      kernels_.add_product(weights_.data + g * weights_.out_per_group() * depth, patch, sums.size(),
                           static_cast<std::size_t>(depth), sums.data());
      kernels_.unary(activation_, sums.data(), sums.size(), sums.data());
      for (std::size_t i = 0; i < sums.size(); ++i) out[static_cast<std::int64_t>(i) * outputs + at] = sums[i];
    }
  }

  const VectorKernels& kernels_;
  ConvWeights weights_;
  Activation activation_;
  const float* packed_ = nullptr;  // [groups][row groups][depth][row_group].
  std::int64_t group_floats_ = 0;
};

class DepthwiseKernel : public StepKernel {
 public:
  DepthwiseKernel(const VectorKernels& kernels, ConvWeights weights, Activation activation)
      : kernels_(kernels), weights_(weights), activation_(activation) {}

  std::uint64_t held_bytes() const override { return 0; }
  bool Fits(const NodeContext& context) const override {
    const auto window = PlanConv(context);
    return window.ok() && DepthwiseLayout(*window).size_bytes() <= kDepthwiseCopyBytesMax;
  }

  std::uint64_t WorkspaceBytes(const NodeContext& context) const override {
    const auto window = PlanConv(context);
    if (!window.ok()) return 0;
    return DepthwiseLayout(*window).size_bytes();
  }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConv(context));
    if (outputs[0].count() == 0) return Status::Ok();
    const DepthwiseLayout layout(window);
    auto* copy = reinterpret_cast<float*>(workspace);
    std::memset(copy, 0, layout.size_bytes());
    const std::vector<const float*> taps = TapsOf(window, layout, copy);
    DepthwisePlane plane = PlaneOf(window, layout, taps);
    plane.activation = activation_;
    Poller poller(context);
    const std::int64_t multiplier = weights_.out_per_group();
    for (std::int64_t image = 0; image < context.ShapeOf(0)[0]; ++image) {
      for (std::int64_t channel = 0; channel < weights_.out_channels; ++channel) {
        const std::int64_t from = image * weights_.groups + channel / multiplier;
        if (channel % multiplier == 0) {
          CopyChannel(
              context.inputs[0].as<float>() + from * window.InputCount(), window, layout, copy,
              [](const float* row, std::size_t count, float* to) { std::memcpy(to, row, count * sizeof(float)); });
        }
        plane.weights = weights_.data + channel * weights_.taps;
        plane.bias = weights_.bias != nullptr ? weights_.bias[channel] : 0.0F;
        plane.out = outputs[0].as<float>() + (image * weights_.out_channels + channel) * window.OutputCount();
        kernels_.depthwise(plane);
        FORESHORE_RETURN_IF_ERROR(poller.Add(window.OutputCount() * weights_.taps));
      }
    }
    return Status::Ok();
  }

 private:
  const VectorKernels& kernels_;
  ConvWeights weights_;
  Activation activation_;
};

}  // namespace

StepKernelResult MakeConvKernel(const KernelSource& source, std::uint64_t bytes_max) {
  ConvWeights weights;
  if (!ReadConvWeights(source, weights)) return std::unique_ptr<StepKernel>();
  if (weights.per_group == 1 && weights.groups > 1 && weights.taps <= kDepthwiseTapsMax) {
    return std::unique_ptr<StepKernel>(
        std::make_unique<DepthwiseKernel>(source.kernels, weights, source.finish.activation));
  }
  const auto group = static_cast<std::int64_t>(source.kernels.row_group);
  const std::int64_t rows = (weights.out_per_group() + group - 1) / group * group * weights.groups;
  if (static_cast<std::uint64_t>(rows * weights.depth()) * sizeof(float) > bytes_max) {
    return std::unique_ptr<StepKernel>();
  }
  auto kernel = std::make_unique<ConvKernel>(source.kernels, weights, source.finish.activation);
  FORESHORE_RETURN_IF_ERROR(kernel->Pack(source.constants));
  return std::unique_ptr<StepKernel>(std::move(kernel));
}

}  // namespace foreshore::graph
