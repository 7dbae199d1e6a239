#include "engine/inference/int8_gemm.h"

namespace foreshore {

const Int8Gemm& Int8GemmFor(CpuLevel level) {
  switch (level) {
#if defined(__x86_64__)
    case CpuLevel::kAmxInt8: return Int8GemmAmx();
    case CpuLevel::kAvx512Vnni: return Int8GemmAvx512Vnni();
    case CpuLevel::kAvx2: return Int8GemmAvx2();
#elif defined(__aarch64__)
    case CpuLevel::kNeonDot: return Int8GemmNeonDot();
#endif
    default: return Int8GemmScalar();
  }
}

}  // namespace foreshore
