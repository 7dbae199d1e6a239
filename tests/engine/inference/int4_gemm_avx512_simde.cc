// The AVX-512 kernel in portable C through SIMDe, for machines that lack the instructions.
#define FORESHORE_KERNELS_ON_SIMDE
#include "engine/inference/int4_gemm_avx512.cc"  // NOLINT: the same text, another target.
