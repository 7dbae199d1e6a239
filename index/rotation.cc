#include "index/rotation.h"

#include <bit>
#include <cassert>
#include <cmath>

namespace foreshore {
namespace {

constexpr std::size_t kRounds = 2;
constexpr std::size_t kWidth = 8;  // Compilers do so many at once.

// Of Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
std::uint64_t NextRandom(std::uint64_t& state) {
  state += 0x9E3779B97F4A7C15;
  std::uint64_t value = state;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
  return value ^ (value >> 31);
}

inline void AddAndSubtract(float& a, float& b) {
  const float sum = a + b;
  b = a - b;
  a = sum;
}

// Unscaled, in place; `count` is a power of two.
void WalshHadamard(float* values, std::size_t count) {
  for (std::size_t half = 1; half < count && half < kWidth; half *= 2) {
    for (std::size_t first = 0; first < count; first += 2 * half) {
      for (std::size_t i = first; i < first + half; ++i) AddAndSubtract(values[i], values[i + half]);
    }
  }
  for (std::size_t half = kWidth; half < count; half *= 2) {
    for (std::size_t first = 0; first < count; first += 2 * half) {
      for (std::size_t i = first; i < first + half; i += kWidth) {
        float* a = values + i;
        float* b = a + half;
        float sums[kWidth];
        float differences[kWidth];
        for (std::size_t lane = 0; lane < kWidth; ++lane) sums[lane] = a[lane] + b[lane];
        for (std::size_t lane = 0; lane < kWidth; ++lane) differences[lane] = a[lane] - b[lane];
        for (std::size_t lane = 0; lane < kWidth; ++lane) a[lane] = sums[lane];
        for (std::size_t lane = 0; lane < kWidth; ++lane) b[lane] = differences[lane];
      }
    }
  }
}

}  // namespace

Rotation::Rotation(std::uint32_t dimension, std::uint64_t seed) : block_(std::bit_floor(std::size_t{dimension})) {
  assert(dimension >= 2);
  const std::size_t transform_count = kRounds * (block_ == dimension ? 1 : 2);
  const auto factor = static_cast<float>(1.0 / std::sqrt(static_cast<double>(block_)));
  std::uint64_t state = seed;
  for (std::size_t i = 0; i < transform_count * block_; ++i) {
    factors_.push_back((NextRandom(state) >> 63) == 0 ? factor : -factor);
  }
}

void Rotation::Apply(std::span<float> values) const {
  assert(std::bit_floor(values.size()) == block_);
  const std::size_t last_first = values.size() - block_;  // Where the last 2^k begin.
  for (std::size_t transform = 0; transform * block_ < factors_.size(); ++transform) {
    float* block = values.data() + (transform % 2 == 0 ? 0 : last_first);
    const float* factors = factors_.data() + transform * block_;
    for (std::size_t i = 0; i < block_; ++i) block[i] *= factors[i];
    WalshHadamard(block, block_);
  }
}

}  // namespace foreshore
