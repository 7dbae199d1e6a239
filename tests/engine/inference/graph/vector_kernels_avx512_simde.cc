// The vector kernels of sixteen lanes in portable C through SIMDe, for machines that lack AVX-512.
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <cmath>
#include <cstring>

#include "tests/engine/inference/graph/vector_kernels_avx512_simde.h"

// What SIMDe 0.7.4 has not.
using __mmask16 = simde__mmask16;
inline simde__m512 _mm512_maskz_loadu_ps(__mmask16 mask, const float* source) {
  simde__m512 value = {};
  for (int lane = 0; lane < 16; ++lane) {
    if (((mask >> lane) & 1) != 0) value[lane] = source[lane];
  }
  return value;
}
inline void _mm512_mask_storeu_ps(float* target, __mmask16 mask, simde__m512 value) {
  for (int lane = 0; lane < 16; ++lane) {
    if (((mask >> lane) & 1) != 0) target[lane] = value[lane];
  }
}
template <typename Code>
simde__m512i Widen(__mmask16 mask, simde__m128i bytes) {
  Code codes[16];
  std::memcpy(codes, &bytes, sizeof(codes));
  std::int32_t wide[16];
  for (int lane = 0; lane < 16; ++lane) wide[lane] = ((mask >> lane) & 1) != 0 ? codes[lane] : 0;
  return simde_mm512_loadu_si512(wide);
}
inline simde__m512i _mm512_maskz_cvtepi8_epi32(__mmask16 mask, simde__m128i bytes) {
  return Widen<std::int8_t>(mask, bytes);
}
inline simde__m512i _mm512_maskz_cvtepu8_epi32(__mmask16 mask, simde__m128i bytes) {
  return Widen<std::uint8_t>(mask, bytes);
}
inline simde__m128i _mm512_maskz_cvtepi32_epi8(__mmask16 mask, simde__m512i wide) {
  std::int32_t values[16];
  simde_mm512_storeu_si512(values, wide);
  std::uint8_t codes[16];
  for (int lane = 0; lane < 16; ++lane)
    codes[lane] = ((mask >> lane) & 1) != 0 ? static_cast<std::uint8_t>(values[lane]) : 0;
  simde__m128i bytes;
  std::memcpy(&bytes, codes, sizeof(bytes));
  return bytes;
}

#define FORESHORE_LANES 16
#include "engine/inference/graph/vector_kernels.inc"

namespace foreshore::graph {

const VectorKernels& VectorKernelsAvx512OnSimde() {
  static constexpr VectorKernels kKernels = MakeKernels(CpuLevel::kAvx512Vnni);
  return kKernels;
}

}  // namespace foreshore::graph
