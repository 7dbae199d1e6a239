// What this processor can do, asked once. Kernels are chosen from this and never from compiler flags.
#pragma once

#include <string_view>

namespace foreshore {

// Ordered: a later level of the same architecture includes the earlier ones.
enum class CpuLevel {
  kScalar = 0,
  kAvx2 = 1,        // x86-64 with AVX2, FMA and F16C.
  kAvx512Vnni = 2,  // x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
  kNeonDot = 3,     // ARM64 with the dot product extension.
  kAmxInt8 = 4,     // x86-64 with the above and AMX tiles of 8-bit integers, which Linux hands out when asked.
};

// The best level of this machine, or the one that the environment variable FORESHORE_CPU names ("scalar",
// "avx2", "avx512vnni", "amxint8", "neondot") if the machine has it. Constant for the life of the process.
CpuLevel DetectCpuLevel();
std::string_view CpuLevelName(CpuLevel level);
// Whether this machine can run `level`, whatever FORESHORE_CPU says. For kAmxInt8 this asks the kernel, once, to let
// the process use tiles: from then on a new alternative signal stack must have room for their 8 KiB (AT_MINSIGSTKSZ).
bool CpuSupports(CpuLevel level);

}  // namespace foreshore
