// An operator that no file can name: the approximation of GELU by tanh (Hendrycks and Gimpel 2016, arXiv:1606.08415),
//   x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2, which is x · sigmoid(2 · √(2/π) · (x + 0.044715 x³)).
//
// Threads: pure functions.
#pragma once

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

inline constexpr double kGeluTanhCubic = 0.044715;
inline constexpr double kGeluTanhScale = 0.79788456080286535588;  // √(2/π).

const Operator& GeluTanhOperator();

}  // namespace foreshore::graph
