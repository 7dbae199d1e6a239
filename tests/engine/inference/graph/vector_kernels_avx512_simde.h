// The vector kernels of sixteen lanes, whether this machine has them or not.
#pragma once

#include "engine/inference/graph/vector_kernels.h"

namespace foreshore::graph {

const VectorKernels& VectorKernelsAvx512OnSimde();

}  // namespace foreshore::graph
