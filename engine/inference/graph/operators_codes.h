// Operators over 8-bit codes that no file can name: what the optimiser makes of quantized models in the form of
// DequantizeLinear, an operator over floats, QuantizeLinear. Codes are unsigned. "Last" is the layout [batch, height,
// width, channels].
//
//   CodeConv      x, its scale, zero point, weights, their scales, zero points, scale and zero point of the result,
//   biases
//                 or none, a table of 256 codes for the result or none: QLinearConv over x [N,H,W,C], then the table
//   CodeAdd, CodeMul  x, scale, zero point, y, scale, zero point, scale and zero point of the result; they broadcast
//   CodeMap       x, a table of 256 codes
//   CodeScale     x, its zero point, factors and offsets by channel, zero point of the result, a table of 256 codes for
//   the
//                 result or none: clip(round((x − zero) · factor + offset) + zero of the result); attribute "last"
//   CodeMean      x, scale, zero point, scale and zero point of the result: means of the planes; attribute "last"
//   CodeMax       x, a table of 256 codes or none: MaxPool of them over two spatial axes; attribute "last"
//
// Threads: pure functions.
#pragma once

#include "engine/inference/graph/code_kernels.h"
#include "engine/inference/graph/operator.h"
#include "engine/inference/graph/step_kernel.h"
#include "engine/inference/graph/window.h"

namespace foreshore::graph {

const Operator& CodeConvOperator();
const Operator& CodeAddOperator();
const Operator& CodeMulOperator();
const Operator& CodeMapOperator();
const Operator& CodeScaleOperator();
const Operator& CodeMeanOperator();
const Operator& CodeMaxOperator();

// The window of a CodeConv, and of a CodeMax.
Result<Window> PlanCodeConv(const NodeContext& context);
Result<Window> PlanCodeMax(const NodeContext& context);
// A CodeConv with weights and scales that are constant; null where it is left to the operator.
StepKernelResult MakeCodeConvKernel(const KernelSource& source, std::uint64_t bytes_max);
// A CodeScale with constant factors.
StepKernelResult MakeCodeScaleKernel(const KernelSource& source, std::uint64_t bytes_max);

}  // namespace foreshore::graph
