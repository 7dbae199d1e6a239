// An operator that no file can name: tensors that are added and then normalised along the last axis.
//
//   Residual  a, b, gamma [N], beta [N] or none, bias [N] or none: LayerNormalization of a + b + bias, which broadcast;
//             attribute "epsilon". Floats.
//
// Threads: pure functions.
#pragma once

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

const Operator& ResidualOperator();

}  // namespace foreshore::graph
