// How a depthwise convolution slides: each channel is copied with its padding, every row split by phase of the stride,
// so that neighbours in the output are neighbours in the copy.
//
// Threads: values and pure functions.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/inference/graph/vector_kernels.h"
#include "engine/inference/graph/window.h"

namespace foreshore::graph {

inline constexpr std::int64_t kDepthwiseTapsMax = 64;
// Strides and padding that are far larger than the input would fill a copy with zeros: those are left to the operator.
inline constexpr std::uint64_t kDepthwiseCopyBytesMax = 64 << 20;

// Of the padded copy: each row holds `stride` phases, one after the other.
struct DepthwiseLayout {
  explicit DepthwiseLayout(const Window& window) {
    const Axis& ys = window[1];
    const Axis& xs = window[2];
    rows = (ys.output - 1) * ys.stride + (ys.kernel - 1) * ys.dilation + 1;
    // Kernels read whole vectors: at most two of 16 from an output on.
    phase_floats = xs.output + (xs.kernel - 1) * xs.dilation / xs.stride + 1 + 32;
    row_floats = phase_floats * xs.stride;
    input_floats = xs.stride == 1 ? 0 : xs.input;
  }
  std::int64_t rows = 0;
  std::int64_t phase_floats = 0;
  std::int64_t row_floats = 0;
  std::int64_t input_floats = 0;  // Behind the rows: one of the input, before it is split.

  // Strides and dilations are bounded one by one only: their product is compared before it is taken.
  std::uint64_t size_bytes() const {
    const double floats =
        static_cast<double>(rows) * static_cast<double>(row_floats) + static_cast<double>(input_floats);
    return static_cast<std::uint64_t>(std::min(floats * sizeof(float), 1e15));
  }
};

// Where each tap's values for the first output row begin in the copy.
inline std::vector<const float*> TapsOf(const Window& window, const DepthwiseLayout& layout, const float* copy) {
  std::vector<const float*> taps;
  for (std::int64_t ky = 0; ky < window[1].kernel; ++ky) {
    for (std::int64_t kx = 0; kx < window[2].kernel; ++kx) {
      const std::int64_t shift = kx * window[2].dilation;
      taps.push_back(copy + ky * window[1].dilation * layout.row_floats +
                     shift % window[2].stride * layout.phase_floats + shift / window[2].stride);
    }
  }
  return taps;
}

inline DepthwisePlane PlaneOf(const Window& window, const DepthwiseLayout& layout,
                              const std::vector<const float*>& taps) {
  DepthwisePlane plane;
  plane.taps = taps.data();
  plane.tap_count = taps.size();
  plane.tap_row_step = window[1].stride * layout.row_floats;
  plane.row_count = static_cast<std::size_t>(window[1].output);
  plane.column_count = static_cast<std::size_t>(window[2].output);
  return plane;
}

// read(from, count, to) makes floats of a row. The padding around stays zero from channel to channel.
template <typename T, typename Read>
void CopyChannel(const T* input, const Window& window, const DepthwiseLayout& layout, float* copy, Read read) {
  const Axis& ys = window[1];
  const Axis& xs = window[2];
  float* whole_row = copy + layout.rows * layout.row_floats;
  for (std::int64_t y = 0; y < ys.input; ++y) {
    const std::int64_t row = y + ys.before;
    if (row >= layout.rows) break;
    const T* from = input + y * xs.input;
    float* to = copy + row * layout.row_floats;
    if (xs.stride == 1) {
      const std::int64_t count = std::min(xs.input, layout.phase_floats - xs.before);
      if (count > 0) read(from, static_cast<std::size_t>(count), to + xs.before);
      continue;
    }
    read(from, static_cast<std::size_t>(xs.input), whole_row);
    // Phase by phase, so that each is written in order.
    for (std::int64_t phase = 0; phase < xs.stride; ++phase) {
      const std::int64_t first = (phase - xs.before % xs.stride + xs.stride) % xs.stride;
      float* place = to + phase * layout.phase_floats;
      std::int64_t at = (first + xs.before) / xs.stride;
      for (std::int64_t x = first; x < xs.input && at < layout.phase_floats; x += xs.stride) {
        place[at++] = whole_row[x];
      }
    }
  }
}

}  // namespace foreshore::graph
