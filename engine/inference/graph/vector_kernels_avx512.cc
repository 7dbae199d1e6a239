// Sixteen lanes with fused multiply-add. Everything that the pragma must not reach is included before it.
#include <cmath>
#include <cstring>

#include "engine/inference/graph/vector_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#define FORESHORE_LANES 16
#include "engine/inference/graph/vector_kernels.inc"
#pragma GCC pop_options

namespace foreshore::graph {

const VectorKernels& VectorKernelsAvx512() {
  static constexpr VectorKernels kKernels = MakeKernels(CpuLevel::kAvx512Vnni);
  return kKernels;
}

}  // namespace foreshore::graph
#endif
