// Four lanes: SSE2 on x86-64, NEON on ARM64.
#include <cmath>
#include <cstring>

#include "engine/inference/graph/vector_kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#define FORESHORE_LANES 4
#include "engine/inference/graph/vector_kernels.inc"

namespace foreshore::graph {

const VectorKernels& VectorKernelsPortable() {
  static constexpr VectorKernels kKernels = MakeKernels(CpuLevel::kScalar);
  return kKernels;
}

}  // namespace foreshore::graph
