// Windows that slide over one to three spatial axes, of convolutions and poolings: where they lie and what they see.
//
// Threads: values and pure functions.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

inline constexpr std::size_t kSpatialMax = 3;
inline constexpr std::int64_t kWindowMax = std::int64_t{1} << 30;

// One spatial axis. Output `o` sees inputs o·stride − before + k·dilation for k in 0..kernel-1, where they exist.
struct Axis {
  std::int64_t input = 1;
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::int64_t dilation = 1;
  std::int64_t before = 0;
  std::int64_t after = 0;
  std::int64_t output = 1;

  std::int64_t At(std::int64_t o, std::int64_t k) const { return o * stride - before + k * dilation; }
  // The first k inside the input and the one after the last.
  std::int64_t First(std::int64_t o) const {
    const std::int64_t start = At(o, 0);
    return start >= 0 ? 0 : std::min((-start + dilation - 1) / dilation, kernel);
  }
  std::int64_t End(std::int64_t o) const {
    const std::int64_t room = input - At(o, 0);
    return room <= 0 ? 0 : std::min((room + dilation - 1) / dilation, kernel);
  }
  // How many k lie in the padded axis; what ceil_mode lets hang over is in none.
  std::int64_t PaddedCount(std::int64_t o) const { return std::min(kernel, input + after - At(o, 0)); }
};

// Fewer axes than three have axes of size 1 before them.
struct Window {
  std::array<Axis, kSpatialMax> axes;
  std::size_t rank = 0;

  const Axis& operator[](std::size_t i) const { return axes[i]; }
  std::int64_t InputCount() const { return axes[0].input * axes[1].input * axes[2].input; }
  std::int64_t KernelCount() const { return axes[0].kernel * axes[1].kernel * axes[2].kernel; }
  std::int64_t OutputCount() const { return axes[0].output * axes[1].output * axes[2].output; }
};

// The window of that shape over input 0, by the node's strides, dilations, pads, auto_pad and ceil_mode.
// kInvalidArgument or kUnsupported where they make none.
Result<Window> PlanWindow(const NodeContext& context, const Shape& kernel);
// The window of a convolution, whose shape is that of input `weights_index` after its two channel axes.
Result<Window> PlanConv(const NodeContext& context, std::size_t weights_index = 1);
// A transposed convolution spreads each input over a window of outputs: the axes of the window have input and output
// exchanged.
Result<Window> PlanConvTranspose(const NodeContext& context);
// What convolutions have in common: groups that divide channels and weights, and a bias of one number each.
Status CheckConv(const NodeContext& context, std::size_t weights_index, std::size_t bias_index);
// [batch, channels, …] of the window's outputs.
TensorInfo OutputInfo(const NodeContext& context, const Window& window, std::int64_t channels, OnnxType type);

// Calls body(input offset, kernel offset) for each element of the window at an output that exists.
template <typename Body>
void EachInWindow(const Window& window, const std::array<std::int64_t, kSpatialMax>& at, Body body) {
  const auto& [x, y, z] = window.axes;
  for (std::int64_t i = x.First(at[0]); i < x.End(at[0]); ++i) {
    for (std::int64_t j = y.First(at[1]); j < y.End(at[1]); ++j) {
      const std::int64_t row = (x.At(at[0], i) * y.input + y.At(at[1], j)) * z.input;
      for (std::int64_t k = z.First(at[2]); k < z.End(at[2]); ++k) {
        body(row + z.At(at[2], k), (i * y.kernel + j) * z.kernel + k);
      }
    }
  }
}

// Calls body(output offset, place) for each output of one channel.
template <typename Body>
void EachOutput(const Window& window, Body body) {
  std::int64_t offset = 0;
  for (std::int64_t i = 0; i < window[0].output; ++i) {
    for (std::int64_t j = 0; j < window[1].output; ++j) {
      for (std::int64_t k = 0; k < window[2].output; ++k) body(offset++, std::array{i, j, k});
    }
  }
}

}  // namespace foreshore::graph
