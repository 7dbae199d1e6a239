// How one kernel source serves two builds. The library compiles it with a target attribute per function and the
// compiler's own intrinsics. The tests compile the same file once more with FORESHORE_KERNELS_WITH_SIMDE, which
// maps every intrinsic to SIMDe's portable code, so that the logic of each instruction set is checked bit for bit
// on machines that lack it.
#pragma once

#if defined(FORESHORE_KERNELS_WITH_SIMDE)
#define FORESHORE_KERNEL_TARGET(features)
#define FORESHORE_KERNEL_NAME(name) name##Simde
#else
#define FORESHORE_KERNEL_TARGET(features) __attribute__((target(features)))
#define FORESHORE_KERNEL_NAME(name) name
#endif
