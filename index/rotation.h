// A random rotation of vectors that takes n log n additions: it spreads what a vector holds evenly over its components,
// so that a code of few bits for each loses little whatever the vectors are like.
//
// Method: random signs, then a Walsh-Hadamard transform of the first 2^k components, then the same of the last 2^k,
// where 2^k is the greatest power of two up to the dimension; all of it twice. (Fast transforms in place of random
// matrices: Ailon and Chazelle, "The Fast Johnson-Lindenstrauss Transform and Approximate Nearest Neighbors", 2009.)
//
// The result is the same on every processor: each component is one fixed sequence of float additions and
// multiplications, and none are fused. Lengths and angles are kept but for float rounding.
//
// Threads: const members are safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace foreshore {

class Rotation {
 public:
  // `dimension` is at least 2. Equal seeds rotate alike.
  Rotation(std::uint32_t dimension, std::uint64_t seed);
  // `values` has `dimension` components.
  void Apply(std::span<float> values) const;

 private:
  std::size_t block_;           // 2^k.
  std::vector<float> factors_;  // For each transform, block_ times 1 / sqrt(block_) with a random sign.
};

}  // namespace foreshore
