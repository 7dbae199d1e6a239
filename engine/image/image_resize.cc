#include "engine/image/image_resize.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace foreshore {

namespace {

// The sources of each result along one axis: weights[begin..] of sources first, first + 1, …
struct Taps {
  struct Place {
    std::uint32_t first = 0;
    std::uint32_t begin = 0;
    std::uint32_t count = 0;
  };
  std::vector<Place> places;
  std::vector<float> weights;
};

Taps TapsOf(std::uint32_t source, std::uint32_t result, ImageFilter filter) {
  Taps taps;
  const double scale = static_cast<double>(source) / static_cast<double>(result);
  const auto add = [&](std::uint32_t first, std::initializer_list<double> weights) {
    taps.places.push_back(
        {first, static_cast<std::uint32_t>(taps.weights.size()), static_cast<std::uint32_t>(weights.size())});
    for (const double weight : weights) taps.weights.push_back(static_cast<float>(weight));
  };
  for (std::uint32_t x = 0; x < result; ++x) {
    if (filter == ImageFilter::kNearest) {
      add(std::min(static_cast<std::uint32_t>((x + 0.5) * scale), source - 1), {1.0});
    } else if (filter == ImageFilter::kBilinear) {
      const double p = std::clamp((x + 0.5) * scale - 0.5, 0.0, static_cast<double>(source - 1));
      const double floor = std::floor(p);
      const auto first = static_cast<std::uint32_t>(floor);
      first + 1 < source ? add(first, {1.0 - (p - floor), p - floor}) : add(first, {1.0});
    } else {
      const double begin = x * scale;
      const double end = std::min((x + 1) * scale, static_cast<double>(source));
      const auto first = std::min(static_cast<std::uint32_t>(begin), source - 1);
      taps.places.push_back({first, static_cast<std::uint32_t>(taps.weights.size()), 0});
      for (std::uint32_t i = first; i < source && (i == first || static_cast<double>(i) < end); ++i) {
        const double covered = std::min<double>(i + 1, end) - std::max<double>(i, begin);
        // Rounding may leave a sliver of nothing behind the last pixel.
        if (covered <= 0 && i > first) break;
        taps.weights.push_back(static_cast<float>(covered / (end - begin)));
        ++taps.places.back().count;
      }
    }
  }
  return taps;
}

}  // namespace

std::vector<float> Resize(const Image& image, const ImageWindow& window, std::uint32_t width, std::uint32_t height,
                          ImageFilter filter) {
  const std::size_t channels = image.channels;
  const Taps xs = TapsOf(window.width, width, filter);
  const Taps ys = TapsOf(window.height, height, filter);
  const std::size_t row_floats = width * channels;
  std::vector<float> out(row_floats * height);
  // The last two rows of the source that were resized along x: no two results share more.
  std::vector<float> held(row_floats * 2);
  std::array<std::uint64_t, 2> held_rows{~std::uint64_t{0}, ~std::uint64_t{0}};
  const auto row_of = [&](std::uint32_t y) {
    float* row = held.data() + y % 2 * row_floats;
    if (held_rows[y % 2] == y) return row;
    held_rows[y % 2] = y;
    const std::uint8_t* from = image.pixels.data() + ((std::size_t{window.y} + y) * image.width + window.x) * channels;
    for (std::size_t x = 0; x < width; ++x) {
      const Taps::Place& place = xs.places[x];
      for (std::size_t c = 0; c < channels; ++c) {
        float sum = 0;
        for (std::uint32_t t = 0; t < place.count; ++t) {
          sum += static_cast<float>(from[(std::size_t{place.first} + t) * channels + c]) * xs.weights[place.begin + t];
        }
        row[x * channels + c] = sum;
      }
    }
    return row;
  };
  for (std::size_t y = 0; y < height; ++y) {
    float* to = out.data() + y * row_floats;
    const Taps::Place& place = ys.places[y];
    for (std::uint32_t t = 0; t < place.count; ++t) {
      const float* row = row_of(place.first + t);
      const float weight = ys.weights[place.begin + t];
      for (std::size_t i = 0; i < row_floats; ++i) to[i] += row[i] * weight;
    }
  }
  return out;
}

}  // namespace foreshore
