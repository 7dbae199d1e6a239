// Channels-last convolutions of codes. One over a single tap is a product of the input as it lies; other ones gather
// patches, a block of rows at a time; a depthwise one slides over a copy with its padding, whose rows are split by
// phase of the stride so that outputs beside each other see inputs beside each other.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <vector>

#include "engine/inference/graph/aligned_bytes.h"
#include "engine/inference/graph/code_panels.h"
#include "engine/inference/graph/depthwise_window.h"
#include "engine/inference/graph/operators_codes.h"

namespace foreshore::graph {

namespace {

constexpr std::int64_t kPatchRows = 48;
constexpr std::size_t kSlackBytes = 64;                       // What vectors read behind the last element.
constexpr std::size_t kDepthwiseWeightBytesMax = 256 * 1024;  // Beyond this outputs are done one by one.

std::int64_t RoundUp(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// What both kinds have in common, read from the constants.
struct CodeConv {
  const CodeKernels* kernels = nullptr;
  const std::byte* weights = nullptr;  // [out][in of a group][taps].
  const std::byte* zeros = nullptr;    // One for all or one for each output.
  bool has_one_zero = true;
  OnnxType type = OnnxType::kInt8;
  bool is_plain = true;  // Signed, without zero points.
  std::int64_t out_channels = 0;
  std::int64_t per_group = 0;
  std::int64_t taps = 0;
  std::uint8_t zero = 0;
  CodeRange range;
  const std::uint8_t* table = nullptr;
  const std::int32_t* biases = nullptr;  // −zero · Σ w taken in; filled up to a block.
  const float* factors = nullptr;
  std::vector<std::int64_t> rests;  // Places where any output has a rest: those come twice.

  std::int64_t depth() const { return per_group * taps; }
  // Of output n at `at` in its weights, the zero point taken off: -255..254.
  std::int32_t Weight(std::int64_t n, std::int64_t at) const {
    return CodeValue(weights[n * depth() + at], type) - CodeValue(zeros[has_one_zero ? 0 : n], type);
  }
  // The part of it that kernels take in a byte, and what is left, which mostly is 0.
  std::int8_t Part(std::int64_t n, std::int64_t at) const {
    return static_cast<std::int8_t>(std::clamp(Weight(n, at), -128, 127));
  }
  std::int8_t Rest(std::int64_t n, std::int64_t at) const {
    return static_cast<std::int8_t>(Weight(n, at) - Part(n, at));
  }
  std::int64_t padded_channels() const { return RoundUp(out_channels, static_cast<std::int64_t>(kCodeBlock)); }
  std::uint64_t sums_bytes() const {
    return static_cast<std::uint64_t>(padded_channels()) * (sizeof(std::int32_t) + sizeof(float));
  }
  // Biases and factors, and a byte for each place, whether it has a rest: what else would need a walk over the weights.
  Status TakeSums(const KernelSource& source);
};

class ProductKernel : public StepKernel {
 public:
  explicit ProductKernel(CodeConv conv) : conv_(std::move(conv)) {
    const std::int64_t depth = conv_.depth() + static_cast<std::int64_t>(conv_.rests.size());
    steps_ = RoundUp(depth, kCodeDepthStep) / static_cast<std::int64_t>(kCodeDepthStep);
  }
  Status Pack(ConstantStore& constants) {
    FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block block, constants.Take("code convolution", PackedBytes()));
    packed_ = reinterpret_cast<const std::int8_t*>(block.data);
    auto* room = reinterpret_cast<std::int8_t*>(block.room);
    const auto put = [&](std::int64_t n, std::int64_t k, std::int8_t weight) {
      constexpr auto kBlock = static_cast<std::int64_t>(kCodeBlock);
      room[((n / kBlock * steps_ + k / 4) * kBlock + n % kBlock) * 4 + k % 4] = weight;
    };
    for (std::int64_t n = 0; room != nullptr && n < conv_.out_channels; ++n) {
      // Depth goes tap by tap here, channel by channel in the file.
      for (std::int64_t k = 0; k < conv_.depth(); ++k) {
        put(n, k, conv_.Part(n, k % conv_.per_group * conv_.taps + k / conv_.per_group));
      }
      for (std::size_t i = 0; i < conv_.rests.size(); ++i) {
        put(n, conv_.depth() + static_cast<std::int64_t>(i), conv_.Rest(n, conv_.rests[i]));
      }
    }
    return Status::Ok();
  }
  std::uint64_t held_bytes() const override { return PackedBytes() + conv_.sums_bytes(); }
  std::uint64_t WorkspaceBytes(const NodeContext&) const override {
    return static_cast<std::uint64_t>(kPatchRows * steps_) * kCodeDepthStep;
  }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanCodeConv(context));
    if (outputs[0].count() == 0) return Status::Ok();
    const auto* input = context.inputs[0].as<std::uint8_t>();
    auto* patches = reinterpret_cast<std::uint8_t*>(workspace);
    const bool is_plain = conv_.rests.empty() && conv_.taps == 1 && window[1].stride == 1 && window[2].stride == 1 &&
                          window.OutputCount() == window.InputCount() && conv_.per_group % 4 == 0;
    CodeProduct product;
    product.step_count = static_cast<std::size_t>(steps_);
    product.weights = packed_;
    product.column_count = static_cast<std::size_t>(conv_.out_channels);
    product.columns = {conv_.biases, conv_.factors, conv_.range};
    product.out_step = conv_.out_channels;
    Poller poller(context);
    const std::int64_t rows = outputs[0].count() / conv_.out_channels;
    for (std::int64_t first = 0; first < rows; first += kPatchRows) {
      const std::int64_t count = std::min(kPatchRows, rows - first);
      product.row_count = static_cast<std::size_t>(count);
      product.out = outputs[0].as<std::uint8_t>() + first * conv_.out_channels;
      product.rows = is_plain ? input + first * conv_.per_group : patches;
      product.row_step = is_plain ? conv_.per_group : steps_ * 4;
      if (!is_plain) Gather(input, window, first, count, patches);
      conv_.kernels->multiply(product);
      if (conv_.table != nullptr) {
        conv_.kernels->map(product.out, static_cast<std::size_t>(count * conv_.out_channels), conv_.table, product.out);
      }
      FORESHORE_RETURN_IF_ERROR(poller.Add(count * steps_ * conv_.out_channels));
    }
    return Status::Ok();
  }

 private:
  std::uint64_t PackedBytes() const {
    return static_cast<std::uint64_t>(conv_.padded_channels() * steps_) * kCodeDepthStep;
  }

  void Gather(const std::uint8_t* input, const Window& window, std::int64_t first, std::int64_t count,
              std::uint8_t* patches) const {
    const Axis& ys = window[1];
    const Axis& xs = window[2];
    const std::int64_t channels = conv_.per_group;
    for (std::int64_t row = first; row < first + count; ++row) {
      const std::int64_t x = row % xs.output;
      const std::int64_t y = row / xs.output % ys.output;
      const std::uint8_t* image = input + row / window.OutputCount() * window.InputCount() * channels;
      std::uint8_t* const patch = patches + (row - first) * steps_ * 4;
      std::uint8_t* to = patch;
      for (std::int64_t ky = 0; ky < ys.kernel; ++ky) {
        const std::int64_t from_y = ys.At(y, ky);
        const bool has_row = from_y >= 0 && from_y < ys.input;
        // Neighbours in the window are neighbours in the input.
        const std::int64_t start = has_row ? (xs.dilation == 1 ? xs.First(x) : 0) : xs.kernel;
        const std::int64_t end = has_row ? (xs.dilation == 1 ? xs.End(x) : 0) : xs.kernel;
        if (has_row && xs.dilation == 1 && end > start) {
          std::memset(to, conv_.zero, static_cast<std::size_t>(start * channels));
          std::memcpy(to + start * channels, image + (from_y * xs.input + xs.At(x, start)) * channels,
                      static_cast<std::size_t>((end - start) * channels));
          std::memset(to + end * channels, conv_.zero, static_cast<std::size_t>((xs.kernel - end) * channels));
        } else {
          for (std::int64_t kx = 0; kx < xs.kernel; ++kx) {
            const std::int64_t from_x = xs.At(x, kx);
            if (has_row && from_x >= 0 && from_x < xs.input) {
              std::memcpy(to + kx * channels, image + (from_y * xs.input + from_x) * channels,
                          static_cast<std::size_t>(channels));
            } else {
              std::memset(to + kx * channels, conv_.zero, static_cast<std::size_t>(channels));
            }
          }
        }
        to += xs.kernel * channels;
      }
      for (const std::int64_t at : conv_.rests) *to++ = patch[at % conv_.taps * channels + at / conv_.taps];
      std::memset(to, 0, static_cast<std::size_t>(patch + steps_ * 4 - to));
    }
  }

  CodeConv conv_;
  std::int64_t steps_ = 0;
  const std::int8_t* packed_ = nullptr;
};

// The copy of one image: rows with their padding, each split by phase.
struct CodeCopy {
  CodeCopy(const Window& window, std::int64_t channels) {
    const Axis& ys = window[1];
    const Axis& xs = window[2];
    rows = (ys.output - 1) * ys.stride + (ys.kernel - 1) * ys.dilation + 1;
    phase_pixels = xs.output + (xs.kernel - 1) * xs.dilation / xs.stride + 1;
    row_bytes = phase_pixels * xs.stride * channels;
  }
  // Strides and dilations are bounded one by one only: their product is compared before it is taken.
  std::uint64_t size_bytes() const {
    const double size = static_cast<double>(rows) * static_cast<double>(row_bytes) + kSlackBytes;
    return static_cast<std::uint64_t>(std::min(size, 1e15));
  }
  std::int64_t rows = 0;
  std::int64_t phase_pixels = 0;
  std::int64_t row_bytes = 0;
};

class DepthwiseKernel : public StepKernel {
 public:
  explicit DepthwiseKernel(CodeConv conv) : conv_(std::move(conv)) {
    const auto channels = static_cast<std::size_t>(conv_.out_channels);
    const std::size_t block = conv_.kernels->depthwise_block;
    period_ = std::lcm(channels, block);
    is_by_pixel_ = period_ * static_cast<std::size_t>(TapCount()) > kDepthwiseWeightBytesMax;
    if (is_by_pixel_) period_ = (channels + block - 1) / block * block;
  }

  Status Pack(ConstantStore& constants) {
    FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block memory, constants.Take("code depthwise", PackedBytes()));
    const auto taps = static_cast<std::size_t>(TapCount());
    weights_ = DepthwiseCodesIn(*conv_.kernels, taps, period_, memory.data);
    if (memory.room == nullptr) return Status::Ok();
    std::vector<std::int8_t> weights;
    for (std::int64_t n = 0; n < conv_.out_channels; ++n) {
      for (std::int64_t t = 0; t < conv_.taps; ++t) weights.push_back(conv_.Part(n, t));
      for (const std::int64_t t : conv_.rests) weights.push_back(conv_.Rest(n, t));
    }
    PackDepthwise(*conv_.kernels, weights.data(), static_cast<std::size_t>(conv_.out_channels), taps, period_,
                  conv_.biases, conv_.factors, memory.room);
    return Status::Ok();
  }
  // Known before anything is packed.
  std::uint64_t held_bytes() const override { return PackedBytes() + conv_.sums_bytes(); }
  bool Fits(const NodeContext& context) const override {
    const auto window = PlanCodeConv(context);
    return window.ok() && CodeCopy(*window, conv_.out_channels).size_bytes() <= kDepthwiseCopyBytesMax;
  }
  std::uint64_t WorkspaceBytes(const NodeContext& context) const override {
    const auto window = PlanCodeConv(context);
    if (!window.ok()) return 0;
    return TapsBytes() + CodeCopy(*window, conv_.out_channels).size_bytes();
  }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanCodeConv(context));
    if (outputs[0].count() == 0) return Status::Ok();
    const Axis& ys = window[1];
    const Axis& xs = window[2];
    const std::int64_t channels = conv_.out_channels;
    const CodeCopy layout(window, channels);
    auto* copy = reinterpret_cast<std::uint8_t*>(workspace) + TapsBytes();
    std::memset(copy, conv_.zero, layout.size_bytes());
    const std::span taps(reinterpret_cast<const std::uint8_t**>(workspace), static_cast<std::size_t>(TapCount()));
    DepthwiseCodeRow row;
    row.taps = taps.data();
    row.tap_count = taps.size();
    row.weights = &weights_;
    row.range = conv_.range;
    row.count = static_cast<std::size_t>(is_by_pixel_ ? channels : xs.output * channels);
    const std::int64_t calls = is_by_pixel_ ? xs.output : 1;
    row.out = outputs[0].as<std::uint8_t>();
    Poller poller(context);
    for (std::int64_t image = 0; image < context.ShapeOf(0)[0]; ++image) {
      Copy(context.inputs[0].as<std::uint8_t>() + image * window.InputCount() * channels, window, layout, copy);
      for (std::int64_t y = 0; y < ys.output; ++y) {
        for (std::int64_t call = 0; call < calls; ++call) {
          for (std::int64_t t = 0; t < conv_.taps; ++t) {
            const std::int64_t shift = t % xs.kernel * xs.dilation;
            const std::int64_t pixel = shift % xs.stride * layout.phase_pixels + shift / xs.stride + call;
            taps[static_cast<std::size_t>(t)] =
                copy + (y * ys.stride + t / xs.kernel * ys.dilation) * layout.row_bytes + pixel * channels;
          }
          for (std::size_t i = 0; i < conv_.rests.size(); ++i) {
            taps[static_cast<std::size_t>(conv_.taps) + i] = taps[static_cast<std::size_t>(conv_.rests[i])];
          }
          conv_.kernels->depthwise(row);
          if (conv_.table != nullptr) conv_.kernels->map(row.out, row.count, conv_.table, row.out);
          row.out += row.count;
        }
        FORESHORE_RETURN_IF_ERROR(poller.Add(xs.output * channels * conv_.taps / 4));
      }
    }
    return Status::Ok();
  }

 private:
  std::uint64_t PackedBytes() const {
    return DepthwiseCodeBytes(*conv_.kernels, static_cast<std::size_t>(TapCount()), period_);
  }
  std::int64_t TapCount() const { return conv_.taps + static_cast<std::int64_t>(conv_.rests.size()); }
  std::uint64_t TapsBytes() const {
    return static_cast<std::uint64_t>(RoundUp(TapCount() * static_cast<std::int64_t>(sizeof(void*)),
                                              static_cast<std::int64_t>(AlignedBytes::kAlignment)));
  }
  // The padding around stays from image to image.
  static void Copy(const std::uint8_t* input, const Window& window, const CodeCopy& layout, std::uint8_t* copy) {
    const Axis& ys = window[1];
    const Axis& xs = window[2];
    const std::int64_t channels = layout.row_bytes / (layout.phase_pixels * xs.stride);
    for (std::int64_t y = 0; y < ys.input && y + ys.before < layout.rows; ++y) {
      const std::uint8_t* from = input + y * xs.input * channels;
      std::uint8_t* to = copy + (y + ys.before) * layout.row_bytes;
      if (xs.stride == 1) {
        const std::int64_t count = std::min(xs.input, layout.phase_pixels - xs.before);
        if (count > 0) std::memcpy(to + xs.before * channels, from, static_cast<std::size_t>(count * channels));
        continue;
      }
      for (std::int64_t x = 0; x < xs.input; ++x) {
        const std::int64_t at = x + xs.before;
        if (at / xs.stride >= layout.phase_pixels) break;
        std::memcpy(to + (at % xs.stride * layout.phase_pixels + at / xs.stride) * channels, from + x * channels,
                    static_cast<std::size_t>(channels));
      }
    }
  }

  CodeConv conv_;
  std::size_t period_ = 0;
  bool is_by_pixel_ = false;
  DepthwiseCodeWeights weights_;
};

bool ReadCodeConv(const KernelSource& source, CodeConv& conv) {
  const auto& inputs = source.inputs;
  for (std::size_t i = 1; i < inputs.size(); ++i) {
    if (inputs[i].info != nullptr && inputs[i].data == nullptr) return false;
  }
  const Shape& shape = inputs[3].info->shape;
  if (shape.size() != 4) return false;
  conv.kernels = &CodeKernelsFor(source.kernels.level);
  conv.weights = inputs[3].data;
  conv.type = inputs[3].info->type;
  conv.zeros = inputs[5].data;
  conv.has_one_zero = inputs[5].count() == 1;
  conv.is_plain = conv.type == OnnxType::kInt8 && std::all_of(conv.zeros, conv.zeros + inputs[5].count(),
                                                              [](std::byte zero) { return zero == std::byte{0}; });
  conv.out_channels = shape[0];
  conv.per_group = shape[1];
  conv.taps = shape[2] * shape[3];
  conv.zero = *inputs[2].as<std::uint8_t>();
  conv.range.zero = static_cast<float>(*inputs[7].as<std::uint8_t>());
  const std::int64_t depth = conv.per_group * conv.taps;
  if (conv.out_channels < 1 || depth < 1 || depth > kCodeDepthMax) return false;
  if (inputs.size() > 9) conv.table = inputs[9].as<std::uint8_t>();
  return true;
}

Status CodeConv::TakeSums(const KernelSource& source) {
  const auto& inputs = source.inputs;
  FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block sums, source.constants.Take("code sums", sums_bytes()));
  biases = reinterpret_cast<const std::int32_t*>(sums.data);
  factors = reinterpret_cast<const float*>(biases + padded_channels());
  const bool has_bias = inputs.size() > 8 && inputs[8].info != nullptr;
  for (std::int64_t n = 0; sums.room != nullptr && n < out_channels; ++n) {
    std::int64_t sum = 0;
    for (std::int64_t k = 0; k < depth(); ++k) sum += Weight(n, k);
    // Modulo 2^32, as the operator's sums are.
    const std::int64_t bias = has_bias ? inputs[8].as<std::int32_t>()[n] : 0;
    auto* room = reinterpret_cast<std::int32_t*>(sums.room);
    room[n] = static_cast<std::int32_t>(static_cast<std::uint32_t>(bias - zero * sum));
    const float scale = inputs[4].as<float>()[inputs[4].count() == 1 ? 0 : n];
    reinterpret_cast<float*>(room + padded_channels())[n] = *inputs[1].as<float>() * scale / *inputs[6].as<float>();
  }
  if (is_plain) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const ConstantStore::Block marks,
                             source.constants.Take("code rests", static_cast<std::uint64_t>(depth())));
  for (std::int64_t at = 0; at < depth(); ++at) {
    for (std::int64_t n = 0; marks.room != nullptr && n < out_channels; ++n) {
      if (Rest(n, at) != 0) marks.room[at] = std::byte{1};
    }
    if (marks.data[at] != std::byte{0}) rests.push_back(at);
  }
  return Status::Ok();
}

}  // namespace

StepKernelResult MakeCodeConvKernel(const KernelSource& source, std::uint64_t bytes_max) {
  CodeConv conv;
  if (!ReadCodeConv(source, conv)) return std::unique_ptr<StepKernel>();
  const std::int64_t groups = source.node.IntAttribute("group", 1);
  const bool is_depthwise = groups > 1 && groups == conv.out_channels && conv.per_group == 1;
  if ((!is_depthwise && groups != 1) || conv.sums_bytes() + static_cast<std::uint64_t>(conv.depth()) > bytes_max) {
    return std::unique_ptr<StepKernel>();
  }
  FORESHORE_RETURN_IF_ERROR(conv.TakeSums(source));
  if (is_depthwise) {
    auto kernel = std::make_unique<DepthwiseKernel>(std::move(conv));
    if (kernel->held_bytes() > bytes_max) return std::unique_ptr<StepKernel>();
    FORESHORE_RETURN_IF_ERROR(kernel->Pack(source.constants));
    return std::unique_ptr<StepKernel>(std::move(kernel));
  }
  auto kernel = std::make_unique<ProductKernel>(std::move(conv));
  if (kernel->held_bytes() > bytes_max) return std::unique_ptr<StepKernel>();
  FORESHORE_RETURN_IF_ERROR(kernel->Pack(source.constants));
  return std::unique_ptr<StepKernel>(std::move(kernel));
}

}  // namespace foreshore::graph
