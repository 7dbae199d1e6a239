// Floats to integers without the undefined cases of C++: cut towards zero, out of range to the nearest end, NaN to 0.
// (ONNX leaves what is out of range open.)
//
// Threads: pure functions.
#pragma once

#include <limits>
#include <type_traits>

namespace foreshore::graph {

template <typename T>
T Saturate(double value) {
  static_assert(std::is_integral_v<T>);
  // The highest of 64 bits is not a double: rounded up, it is the first that does not fit.
  constexpr auto kLowest = static_cast<double>(std::numeric_limits<T>::min());
  constexpr auto kHighest = static_cast<double>(std::numeric_limits<T>::max());
  if (value != value) return T{0};
  if (value <= kLowest) return std::numeric_limits<T>::min();
  if (value >= kHighest) return std::numeric_limits<T>::max();
  return static_cast<T>(value);
}

}  // namespace foreshore::graph
