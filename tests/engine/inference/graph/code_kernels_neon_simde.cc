// The NEON kernels in portable C through SIMDe, for machines that lack the instructions.
#define FORESHORE_KERNELS_ON_SIMDE
#include "engine/inference/graph/code_kernels_neon.cc"  // NOLINT: the same text, another target.
