// Convolutions of floats over channels-last pixels by vectors.
//
// A whole one is a product of rows by packed weights: a row is the window at an output, which lies in the input as a
// few runs of consecutive floats, one for each row of the window where it is not dilated. Only windows that reach over
// the border are copied, with zeros around. A depthwise one goes along a row of outputs with those taps of the window
// that exist there. Transposed ones whose windows lie side by side are a product for each row of the window.
#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "engine/inference/graph/aligned_bytes.h"
#include "engine/inference/graph/conv_weights.h"
#include "engine/inference/graph/depthwise_window.h"
#include "engine/inference/graph/operators_last.h"

namespace foreshore::graph {

namespace {

// Rows that meet a panel one after the other: as many as stay in the second cache, and no more than the first cache's
// share of their places.
constexpr std::int64_t kBlockFloats = 96 * 1024;
constexpr std::int64_t kBlockRowsMax = 96;

std::int64_t RoundUp(std::int64_t count, std::size_t multiple) {
  const auto step = static_cast<std::int64_t>(multiple);
  return (count + step - 1) / step * step;
}

// Panels of [1 + depth][lanes]; weight(column, k) and bias(column).
template <typename Weight, typename Bias>
void PackPanels(std::int64_t columns, std::int64_t depth, std::size_t lanes, float* to, Weight weight, Bias bias) {
  const auto width = static_cast<std::int64_t>(lanes);
  for (std::int64_t first = 0; first < columns; first += width, to += (1 + depth) * width) {
    for (std::int64_t lane = 0; lane < std::min(width, columns - first); ++lane) {
      to[lane] = bias(first + lane);
      for (std::int64_t k = 0; k < depth; ++k) to[(1 + k) * width + lane] = weight(first + lane, k);
    }
  }
}

// An activation that is not applied in registers comes after it all, over what lies side by side.
class SplitFinish {
 public:
  explicit SplitFinish(const Finish& finish)
      : all_(finish), inside_(IsFinishedInRegisters(finish.activation.kind) ? finish : Finish()) {}
  const Finish& inside() const { return inside_; }
  void After(const VectorKernels& kernels, std::int64_t count, float* out) const {
    if (all_.activation.kind == inside_.activation.kind) return;
    const auto size = static_cast<std::size_t>(count);
    kernels.unary(all_.activation, out, size, out);
    if (all_.scale != 1) kernels.binary(Binary::kMul, out, 1, &all_.scale, 0, size, out);
    if (all_.shift != 0) kernels.binary(Binary::kAdd, out, 1, &all_.shift, 0, size, out);
  }

 private:
  Finish all_;
  Finish inside_;
};

// Where rows of a block begin and where their outputs go.
class RowBlock {
 public:
  RowBlock(const VectorKernels& kernels, std::int64_t run_count, std::int64_t depth)
      : group_(static_cast<std::int64_t>(kernels.pixel_group)), run_count_(run_count) {
    rows_ = std::clamp(kBlockFloats / std::max<std::int64_t>(depth, 1) / group_ * group_, group_, kBlockRowsMax);
  }
  std::int64_t rows() const { return rows_; }
  std::uint64_t size_bytes() const {
    return AlignedBytes::RoundUp(static_cast<std::uint64_t>(rows_ * (run_count_ + 1)) * sizeof(float*));
  }
  void Use(std::byte* memory) {
    runs_ = reinterpret_cast<const float**>(memory);
    outs_ = reinterpret_cast<float**>(memory) + rows_ * run_count_;
  }
  const float** Runs(std::int64_t row) { return runs_ + row / group_ * group_ * run_count_ + row % group_; }
  std::int64_t run_step() const { return group_; }
  // Run `run` of rows first..first+count, `step` floats apart.
  void PlaceRun(std::int64_t run, std::int64_t first, std::int64_t count, const float* from, std::int64_t step) {
    const float** to = Runs(first) + run * group_;
    for (std::int64_t lane = first % group_; count > 0; --count, from += step) {
      *to++ = from;
      if (++lane < group_) continue;
      lane = 0;
      to += (run_count_ - 1) * group_;
    }
  }
  float*& Out(std::int64_t row) { return outs_[row]; }
  // The last group's rest repeats its last row.
  void Fill(std::int64_t count) {
    for (std::int64_t row = count; row % group_ != 0; ++row) {
      for (std::int64_t run = 0; run < run_count_; ++run) Runs(row)[run * group_] = Runs(count - 1)[run * group_];
      Out(row) = Out(count - 1);
    }
  }
  PixelProduct Product(std::int64_t count, std::int64_t run_length) const {
    PixelProduct product;
    product.runs = runs_;
    product.out = outs_;
    product.row_count = static_cast<std::size_t>(count);
    product.run_count = static_cast<std::size_t>(run_count_);
    product.run_length = static_cast<std::size_t>(run_length);
    return product;
  }

 private:
  std::int64_t group_;
  std::int64_t run_count_;
  std::int64_t rows_ = 0;
  const float** runs_ = nullptr;
  float** outs_ = nullptr;
};

// The images of a step's input and output.
struct Images {
  Images(const NodeContext& context, std::span<const OutputRef> outputs)
      : count(context.ShapeOf(0)[0]),
        channels(context.ShapeOf(0)[3]),
        input_floats(ElementCount(context.ShapeOf(0)) / std::max<std::int64_t>(count, 1)),
        output_floats(outputs[0].count() / std::max<std::int64_t>(count, 1)),
        input(context.inputs[0].as<float>()),
        output(outputs[0].as<float>()) {}
  std::int64_t count;
  std::int64_t channels;
  std::int64_t input_floats;
  std::int64_t output_floats;
  const float* input;
  float* output;
};

class LastConvKernel : public StepKernel {
 public:
  LastConvKernel(const KernelSource& source, const ConvWeights& weights)
      : kernels_(source.kernels), weights_(weights), finish_(source.finish) {}

  Status Pack(const KernelSource& source) {
    const std::int64_t columns = RoundUp(weights_.out_channels, kernels_.lanes);
    packed_bytes_ = static_cast<std::uint64_t>(columns * (1 + weights_.depth())) * sizeof(float);
    FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block block, source.constants.Take("pixels", packed_bytes_));
    panels_ = block.floats();
    if (block.room == nullptr) return Status::Ok();
    // Of a window's floats the channels run fastest.
    PackPanels(
        weights_.out_channels, weights_.depth(), kernels_.lanes, block.float_room(),
        [&](std::int64_t column, std::int64_t k) {
          const std::int64_t tap = k / weights_.per_group;
          return weights_.data[column * weights_.depth() + k % weights_.per_group * weights_.taps + tap];
        },
        [&](std::int64_t column) { return weights_.bias != nullptr ? weights_.bias[column] : 0.0F; });
    return Status::Ok();
  }
  std::uint64_t held_bytes() const override { return packed_bytes_; }
  bool Holds(std::size_t input) const override { return input == 1; }

  std::uint64_t WorkspaceBytes(const NodeContext& context) const override {
    const auto window = PlanLastConv(context);
    if (!window.ok()) return 0;
    const RowBlock block(kernels_, RunCount(*window), weights_.depth());
    return block.size_bytes() + static_cast<std::uint64_t>(PatchFloats(*window, block)) * sizeof(float);
  }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanLastConv(context));
    if (outputs[0].count() == 0) return Status::Ok();
    RowBlock block(kernels_, RunCount(window), weights_.depth());
    block.Use(workspace);
    auto* patches = reinterpret_cast<float*>(workspace + block.size_bytes());
    Poller poller(context);
    Images images(context, outputs);
    for (std::int64_t image = 0; image < images.count; ++image) {
      const float* input = images.input + image * images.input_floats;
      float* out = images.output + image * images.output_floats;
      for (std::int64_t start = 0; start < window.OutputCount(); start += block.rows()) {
        const std::int64_t count = std::min(block.rows(), window.OutputCount() - start);
        PlaceRows(window, input, start, count, patches, block);
        for (std::int64_t row = 0; row < count; ++row) block.Out(row) = out + (start + row) * weights_.out_channels;
        block.Fill(count);
        PixelProduct product = block.Product(count, weights_.depth() / RunCount(window));
        product.panels = panels_;
        product.column_count = static_cast<std::size_t>(weights_.out_channels);
        product.finish = finish_.inside();
        kernels_.multiply_pixels(product);
        finish_.After(kernels_, count * weights_.out_channels, out + start * weights_.out_channels);
        FORESHORE_RETURN_IF_ERROR(poller.Add(count * weights_.depth() * weights_.out_channels));
      }
    }
    return Status::Ok();
  }

 private:
  static bool IsWhole(const Window& window) { return window[2].dilation == 1 || window[2].kernel == 1; }
  static std::int64_t RunCount(const Window& window) {
    return IsWhole(window) ? window[1].kernel : window.KernelCount();
  }
  static bool HasBorder(const Window& window) {
    return window[1].before > 0 || window[1].after > 0 || window[2].before > 0 || window[2].after > 0;
  }
  // Windows over the border, and a run of zeros.
  std::int64_t PatchFloats(const Window& window, const RowBlock& block) const {
    return HasBorder(window) ? (block.rows() + 1) * weights_.depth() : 0;
  }

  void PlaceRows(const Window& window, const float* input, std::int64_t start, std::int64_t count, float* patches,
                 RowBlock& block) const {
    const Axis& xs = window[2];
    if (HasBorder(window)) std::fill_n(patches, weights_.depth() / RunCount(window), 0.0F);
    float* patch = patches + weights_.depth();
    // Outputs low..high-1 of a row see the whole width of the window.
    const std::int64_t room = xs.input - 1 - (xs.kernel - 1) * xs.dilation + xs.before;
    const std::int64_t low = std::min((xs.before + xs.stride - 1) / xs.stride, xs.output);
    const std::int64_t high = room < 0 ? low : std::clamp(room / xs.stride + 1, low, xs.output);
    for (std::int64_t row = 0; row < count;) {
      const std::int64_t y = (start + row) / xs.output;
      const std::int64_t x = (start + row) % xs.output;
      const std::int64_t end = std::min(xs.output, x + count - row);
      for (std::int64_t at = x; at < end;) {
        const bool is_inside = at >= low && at < high;
        const std::int64_t until = is_inside ? std::min(end, high) : at + 1;
        const std::int64_t first = row + at - x;
        if (is_inside) {
          PlaceInside(window, input, y, at, until - at, patches, first, block);
        } else {
          PlaceBorder(window, input, y, at, patches, patch, block.Runs(first), block.run_step());
        }
        at = until;
      }
      row += end - x;
    }
  }

  // Outputs of row y from x on.
  void PlaceInside(const Window& window, const float* input, std::int64_t y, std::int64_t x, std::int64_t count,
                   const float* zeros, std::int64_t first, RowBlock& block) const {
    const Axis& ys = window[1];
    const Axis& xs = window[2];
    const std::int64_t channels = weights_.per_group;
    const std::int64_t runs_of_row = RunCount(window) / ys.kernel;
    const std::int64_t step = xs.stride * channels;
    for (std::int64_t run = 0; run < RunCount(window); ++run) {
      const std::int64_t at = ys.At(y, run / runs_of_row);
      const bool exists = at >= 0 && at < ys.input;
      const float* from = exists ? input + (at * xs.input + xs.At(x, run % runs_of_row)) * channels : zeros;
      block.PlaceRun(run, first, count, from, exists ? step : 0);
    }
  }

  // One output whose window reaches over the side: its rows are copied.
  void PlaceBorder(const Window& window, const float* input, std::int64_t y, std::int64_t x, const float* zeros,
                   float*& patch, const float** next, std::int64_t run_step) const {
    const Axis& ys = window[1];
    const Axis& xs = window[2];
    const std::int64_t runs_of_row = RunCount(window) / ys.kernel;
    const std::int64_t run_floats = weights_.depth() / RunCount(window);
    for (std::int64_t ky = 0; ky < ys.kernel; ++ky) {
      const std::int64_t at = ys.At(y, ky);
      const bool exists = at >= 0 && at < ys.input;
      if (exists) CopyBorder(xs, input + at * xs.input * weights_.per_group, x, patch);
      for (std::int64_t run = 0; run < runs_of_row; ++run, next += run_step) {
        *next = exists ? patch + run * run_floats : zeros;
      }
      if (exists) patch += runs_of_row * run_floats;
    }
  }

  // One row of a window that reaches over the border.
  void CopyBorder(const Axis& xs, const float* row, std::int64_t x, float* to) const {
    const auto channels = static_cast<std::size_t>(weights_.per_group);
    for (std::int64_t kx = 0; kx < xs.kernel; ++kx, to += channels) {
      const std::int64_t at = xs.At(x, kx);
      if (at >= 0 && at < xs.input) {
        std::memcpy(to, row + at * weights_.per_group, channels * sizeof(float));
      } else {
        std::fill_n(to, channels, 0.0F);
      }
    }
  }

  const VectorKernels& kernels_;
  ConvWeights weights_;
  SplitFinish finish_;
  const float* panels_ = nullptr;
  std::uint64_t packed_bytes_ = 0;
};

class LastDepthwiseKernel : public StepKernel {
 public:
  LastDepthwiseKernel(const KernelSource& source, const ConvWeights& weights)
      : kernels_(source.kernels),
        weights_(weights),
        finish_(source.finish),
        width_(RoundUp(weights.out_channels, source.kernels.lanes)) {}

  // [1 + taps][channels], the biases first.
  Status Pack(const KernelSource& source) {
    FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block block, source.constants.Take("depthwise", held_bytes()));
    packed_ = block.floats();
    float* to = block.float_room();
    for (std::int64_t c = 0; to != nullptr && c < weights_.out_channels; ++c) {
      to[c] = weights_.bias != nullptr ? weights_.bias[c] : 0.0F;
      for (std::int64_t t = 0; t < weights_.taps; ++t) to[(1 + t) * width_ + c] = weights_.data[c * weights_.taps + t];
    }
    return Status::Ok();
  }
  std::uint64_t held_bytes() const override {
    return static_cast<std::uint64_t>(width_ * (1 + weights_.taps)) * sizeof(float);
  }
  bool Holds(std::size_t input) const override { return input == 1; }
  std::uint64_t WorkspaceBytes(const NodeContext&) const override { return 0; }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte*) const override {
    FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanLastConv(context));
    if (outputs[0].count() == 0) return Status::Ok();
    const Axis& xs = window[2];
    // Outputs low..high-1 of a row see the whole width of the window.
    const std::int64_t room = xs.input - 1 - (xs.kernel - 1) * xs.dilation + xs.before;
    const std::int64_t low = std::min((xs.before + xs.stride - 1) / xs.stride, xs.output);
    const std::int64_t high = room < 0 ? low : std::clamp(room / xs.stride + 1, low, xs.output);
    Poller poller(context);
    Images images(context, outputs);
    for (std::int64_t image = 0; image < images.count; ++image) {
      const float* input = images.input + image * images.input_floats;
      float* out = images.output + image * images.output_floats;
      for (std::int64_t y = 0; y < window[1].output; ++y, out += xs.output * images.channels) {
        for (std::int64_t x = 0; x < low; ++x) RunPixels(window, input, y, x, 1, out);
        if (high > low) RunPixels(window, input, y, low, high - low, out);
        for (std::int64_t x = high; x < xs.output; ++x) RunPixels(window, input, y, x, 1, out);
        finish_.After(kernels_, xs.output * images.channels, out);
        FORESHORE_RETURN_IF_ERROR(poller.Add(xs.output * images.channels * weights_.taps));
      }
    }
    return Status::Ok();
  }

 private:
  // Outputs of row y from x on, all of which see the same taps.
  void RunPixels(const Window& window, const float* input, std::int64_t y, std::int64_t x, std::int64_t count,
                 float* out) const {
    const std::int64_t channels = weights_.out_channels;
    std::array<const float*, kDepthwiseTapsMax> taps;
    std::array<const float*, kDepthwiseTapsMax> weights;
    DepthwiseRun run;
    for (std::int64_t ky = window[1].First(y); ky < window[1].End(y); ++ky) {
      const float* row = input + window[1].At(y, ky) * window[2].input * channels;
      for (std::int64_t kx = window[2].First(x); kx < window[2].End(x); ++kx) {
        taps[run.tap_count] = row + window[2].At(x, kx) * channels;
        weights[run.tap_count++] = packed_ + (1 + ky * window[2].kernel + kx) * width_;
      }
    }
    run.taps = taps.data();
    run.weights = weights.data();
    run.pixel_step = static_cast<std::size_t>(window[2].stride * channels);
    run.bias = packed_;
    run.pixel_count = static_cast<std::size_t>(count);
    run.channel_count = static_cast<std::size_t>(channels);
    run.finish = finish_.inside();
    run.out = out + x * channels;
    kernels_.depthwise_pixels(run);
  }

  const VectorKernels& kernels_;
  ConvWeights weights_;
  SplitFinish finish_;
  std::int64_t width_;
  const float* packed_ = nullptr;
};

class LastConvTransposeKernel : public StepKernel {
 public:
  LastConvTransposeKernel(const KernelSource& source, const float* bias)
      : kernels_(source.kernels),
        finish_(source.finish),
        bias_(bias),
        depth_(source.inputs[1].info->shape[0]),
        out_channels_(source.inputs[1].info->shape[1]),
        window_rows_(source.inputs[1].info->shape[2]),
        columns_(source.inputs[1].info->shape[3] * out_channels_) {}

  // Panels for each row of the window, of its pixels' channels side by side.
  Status Pack(const KernelSource& source) {
    FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block block, source.constants.Take("spread", held_bytes()));
    panels_ = block.floats();
    const auto* weights = source.inputs[1].as<float>();
    const std::int64_t width = columns_ / out_channels_;
    for (std::int64_t ky = 0; block.room != nullptr && ky < window_rows_; ++ky) {
      PackPanels(
          columns_, depth_, kernels_.lanes, block.float_room() + ky * RowFloats(),
          [&](std::int64_t column, std::int64_t k) {
            const std::int64_t out = column % out_channels_;
            return weights[((k * out_channels_ + out) * window_rows_ + ky) * width + column / out_channels_];
          },
          [&](std::int64_t column) { return bias_ != nullptr ? bias_[column % out_channels_] : 0.0F; });
    }
    return Status::Ok();
  }
  std::uint64_t held_bytes() const override {
    return static_cast<std::uint64_t>(window_rows_ * RowFloats()) * sizeof(float);
  }
  bool Holds(std::size_t input) const override { return input == 1; }
  std::uint64_t WorkspaceBytes(const NodeContext&) const override { return RowBlock(kernels_, 1, depth_).size_bytes(); }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanLastConvTranspose(context));
    if (outputs[0].count() == 0) return Status::Ok();
    RowBlock block(kernels_, 1, depth_);
    block.Use(workspace);
    const std::int64_t inputs = window.OutputCount();
    Poller poller(context);
    Images images(context, outputs);
    for (std::int64_t start = 0; start < images.count * inputs; start += block.rows()) {
      const std::int64_t count = std::min(block.rows(), images.count * inputs - start);
      for (std::int64_t ky = 0; ky < window_rows_; ++ky) {
        for (std::int64_t row = 0; row < count; ++row) {
          // Rows of images follow one another.
          const std::int64_t y = (start + row) / window[2].output * window_rows_ + ky;
          *block.Runs(row) = images.input + (start + row) * depth_;
          block.Out(row) =
              images.output + y * window[2].input * out_channels_ + (start + row) % window[2].output * columns_;
        }
        block.Fill(count);
        PixelProduct product = block.Product(count, depth_);
        product.panels = panels_ + ky * RowFloats();
        product.column_count = static_cast<std::size_t>(columns_);
        product.finish = finish_.inside();
        kernels_.multiply_pixels(product);
      }
      FORESHORE_RETURN_IF_ERROR(poller.Add(count * depth_ * columns_ * window_rows_));
    }
    finish_.After(kernels_, outputs[0].count(), images.output);
    return Status::Ok();
  }

 private:
  std::int64_t RowFloats() const { return RoundUp(columns_, kernels_.lanes) * (1 + depth_); }

  const VectorKernels& kernels_;
  SplitFinish finish_;
  const float* bias_;
  std::int64_t depth_;
  std::int64_t out_channels_;
  std::int64_t window_rows_;
  std::int64_t columns_;
  const float* panels_ = nullptr;
};

}  // namespace

StepKernelResult MakeLastConvKernel(const KernelSource& source, std::uint64_t bytes_max) {
  ConvWeights weights;
  if (!ReadConvWeights(source, weights) || source.inputs[1].info->shape.size() != 4) {
    return std::unique_ptr<StepKernel>();
  }
  const auto width = static_cast<std::uint64_t>(RoundUp(weights.out_channels, source.kernels.lanes)) * sizeof(float);
  if (weights.groups == 1) {
    if (static_cast<std::uint64_t>(1 + weights.depth()) * width > bytes_max) return std::unique_ptr<StepKernel>();
    auto kernel = std::make_unique<LastConvKernel>(source, weights);
    FORESHORE_RETURN_IF_ERROR(kernel->Pack(source));
    return std::unique_ptr<StepKernel>(std::move(kernel));
  }
  if (weights.per_group != 1 || weights.groups != weights.out_channels || weights.taps > kDepthwiseTapsMax ||
      static_cast<std::uint64_t>(1 + weights.taps) * width > bytes_max) {
    return std::unique_ptr<StepKernel>();
  }
  auto kernel = std::make_unique<LastDepthwiseKernel>(source, weights);
  FORESHORE_RETURN_IF_ERROR(kernel->Pack(source));
  return std::unique_ptr<StepKernel>(std::move(kernel));
}

StepKernelResult MakeLastConvTransposeKernel(const KernelSource& source, std::uint64_t bytes_max) {
  const bool has_bias = source.inputs.size() > 2 && source.inputs[2].info != nullptr;
  const float* bias = has_bias ? source.inputs[2].as<float>() : nullptr;
  auto kernel = std::make_unique<LastConvTransposeKernel>(source, bias);
  if (kernel->held_bytes() > bytes_max) return std::unique_ptr<StepKernel>();
  FORESHORE_RETURN_IF_ERROR(kernel->Pack(source));
  return std::unique_ptr<StepKernel>(std::move(kernel));
}

}  // namespace foreshore::graph
