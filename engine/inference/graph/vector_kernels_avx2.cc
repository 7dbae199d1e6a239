// Eight lanes with fused multiply-add. Everything that the pragma must not reach is included before it.
#include <cmath>
#include <cstring>

#include "engine/inference/graph/vector_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define FORESHORE_LANES 8
#include "engine/inference/graph/vector_kernels.inc"
#pragma GCC pop_options

namespace foreshore::graph {

const VectorKernels& VectorKernelsAvx2() {
  static constexpr VectorKernels kKernels = MakeKernels(CpuLevel::kAvx2);
  return kKernels;
}

}  // namespace foreshore::graph
#endif
