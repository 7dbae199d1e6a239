// Numbers of JSON and SQL into elements of tensors. An integer takes whole numbers within its range, a boolean 0 and 1;
// a float takes any number, rounded to the nearest.
//
// Threads: pure functions.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "engine/inference/graph/tensor_value.h"

namespace foreshore {

// False where the element cannot hold the number. `is_truth`: the element is a boolean.
template <typename T, typename Integer>
bool CastInteger(Integer number, bool is_truth, T& out) {
  static_assert(std::is_integral_v<Integer>);
  if constexpr (std::is_integral_v<T>) {
    if (!std::in_range<T>(number) || (is_truth && number > 1)) return false;
  }
  out = static_cast<T>(static_cast<graph::Wide<T>>(number));
  return true;
}

template <typename T>
bool CastReal(double number, bool is_truth, T& out) {
  if constexpr (std::is_integral_v<T>) {
    // 2^63 and 2^64 are the first doubles beyond what 64 bits hold, and what their highest number is rounded to.
    constexpr bool kIsRounded = sizeof(T) == sizeof(std::uint64_t);
    constexpr auto kLowest = static_cast<double>(std::numeric_limits<T>::min());
    constexpr auto kHighest = static_cast<double>(std::numeric_limits<T>::max());
    if (!(number >= kLowest) || (kIsRounded ? number >= kHighest : number > kHighest)) return false;
    if (std::trunc(number) != number || (is_truth && number > 1)) return false;
    out = static_cast<T>(number);
  } else {
    out = static_cast<T>(static_cast<graph::Wide<T>>(number));
  }
  return true;
}

}  // namespace foreshore
