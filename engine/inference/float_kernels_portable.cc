// Four lanes: SSE2 on x86-64, NEON on ARM64.
#include <cmath>
#include <cstring>

#include "engine/inference/float_kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#define FORESHORE_LANES 4
#include "engine/inference/float_kernels.inc"

namespace foreshore {

const FloatKernels& FloatKernelsPortable() {
  static constexpr FloatKernels kKernels{CpuLevel::kScalar, QuantizeRow, DequantizePanel, ScaleSums,
                                         FinishPanel,       Multiply,    AccumulateGram,  LayerNorm,
                                         AddLayerNorm,      EmbedToken,  Accumulate,      Attend};
  return kKernels;
}

}  // namespace foreshore
