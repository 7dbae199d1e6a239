// Images resized in single precision, defined so that any implementation can be held to it.
//
// With s = size of the source along an axis, d = that of the result, and source pixel i covering [i, i+1):
//   nearest    result x is source floor((x + 0.5) · s / d)
//   bilinear   p = (x + 0.5) · s / d − 0.5, cut to 0..s−1; source floor(p) and the next one (the last where there is
//   none) by
//              1 − (p − floor(p)) and p − floor(p). No smoothing where it shrinks. What ONNX calls linear with half
//              pixels.
//   area       the mean of the source over [x · s / d, (x + 1) · s / d), pixels that lie in part counting in part
// Both axes apply one after the other, x first, in single precision; positions and weights are computed in double.
//
// Threads: pure functions.
#pragma once

#include "engine/image/image_decode.h"

namespace foreshore {

enum class ImageFilter : std::uint8_t { kNearest, kBilinear, kArea };

// Part of an image.
struct ImageWindow {
  std::uint32_t x = 0;
  std::uint32_t y = 0;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
};

// [height][width][channels] of the window, which lies inside the image. Sizes are at least 1.
std::vector<float> Resize(const Image& image, const ImageWindow& window, std::uint32_t width, std::uint32_t height,
                          ImageFilter filter);

}  // namespace foreshore
