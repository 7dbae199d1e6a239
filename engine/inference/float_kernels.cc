#include "engine/inference/float_kernels.h"

namespace foreshore {

const FloatKernels& FloatKernelsFor(CpuLevel level) {
#if defined(__x86_64__)
  if (level == CpuLevel::kAmxInt8 || level == CpuLevel::kAvx512Vnni) return FloatKernelsAvx512();
  if (level == CpuLevel::kAvx2) return FloatKernelsAvx2();
#endif
  (void)level;
  return FloatKernelsPortable();
}

}  // namespace foreshore
