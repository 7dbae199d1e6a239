// Eight lanes with fused multiply-add. Everything that the pragma must not reach is included before it.
#include <cmath>
#include <cstring>

#include "engine/inference/float_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define FORESHORE_LANES 8
#include "engine/inference/float_kernels.inc"
#pragma GCC pop_options

namespace foreshore {

const FloatKernels& FloatKernelsAvx2() {
  static constexpr FloatKernels kKernels{CpuLevel::kAvx2, QuantizeRow, DequantizePanel, ScaleSums,
                                         FinishPanel,     Multiply,    AccumulateGram,  LayerNorm,
                                         AddLayerNorm,    EmbedToken,  Accumulate,      Attend};
  return kKernels;
}

}  // namespace foreshore
#endif
