#include "engine/inference/graph/vector_kernels.h"

namespace foreshore::graph {

const VectorKernels& VectorKernelsFor(CpuLevel level) {
#if defined(__x86_64__)
  if (level == CpuLevel::kAmxInt8 || level == CpuLevel::kAvx512Vnni) return VectorKernelsAvx512();
  if (level == CpuLevel::kAvx2) return VectorKernelsAvx2();
#endif
  (void)level;
  return VectorKernelsPortable();
}

}  // namespace foreshore::graph
