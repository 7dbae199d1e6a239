// Operators over floats in the layout [batch, height, width, channels] that no file can name: what the optimiser makes
// of convolutions and of what lies between them. Attributes are those of the operators whose names they bear.
//
//   LastConv           x, weights as Conv has them, biases or none
//   LastConvTranspose  x, weights as ConvTranspose has them, biases or none; the window is as large as its strides
//   LastMean           GlobalAveragePool
//   LastMaxPool, LastAveragePool
//   ToLast, ToFirst    from and to [N,C,H,W], floats or codes
//
// Threads: pure functions.
#pragma once

#include "engine/inference/graph/operator.h"
#include "engine/inference/graph/step_kernel.h"
#include "engine/inference/graph/window.h"

namespace foreshore::graph {

const Operator& LastConvOperator();
const Operator& LastConvTransposeOperator();
const Operator& LastMeanOperator();
const Operator& LastMaxPoolOperator();
const Operator& LastAveragePoolOperator();
const Operator& ToLastOperator();
const Operator& ToFirstOperator();

// The window of a LastConv, and of a LastConvTranspose, whose axes have input and output exchanged.
Result<Window> PlanLastConv(const NodeContext& context);
Result<Window> PlanLastConvTranspose(const NodeContext& context);

// Null where it is left to the operator: weights that are no constants, groups that are neither one nor depthwise.
StepKernelResult MakeLastConvKernel(const KernelSource& source, std::uint64_t bytes_max);
StepKernelResult MakeLastConvTransposeKernel(const KernelSource& source, std::uint64_t bytes_max);

}  // namespace foreshore::graph
