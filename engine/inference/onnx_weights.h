// Weights of an ONNX graph as floats, also where the graph stores them packed and unpacks them on the way: casts,
// scales and zero points, transpositions.
//
// Threads: pure functions.
#pragma once

#include <vector>

#include "engine/inference/onnx_graph.h"
#include "foreshore/status.h"

namespace foreshore {

// The elements of a constant value in row-major order of its shape. kUnsupported for an operator that is not folded or
// a tensor type that is not read, kLimit for a constant that is larger than the file it comes from (`file_bytes`) or
// made in more than 16 steps. Cast, Add, Sub, Mul, Div, Identity, DequantizeLinear and the layout operators are folded,
// in binary32 as a runtime would.
Result<std::vector<float>> FoldWeight(const OnnxGraph& graph, ValueId id, std::size_t file_bytes);

}  // namespace foreshore
