#include "storage/base/cpu.h"

#include <cstdlib>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace foreshore {
namespace {

constexpr CpuLevel kLevelsBestFirst[] = {CpuLevel::kNeonDot, CpuLevel::kAmxInt8, CpuLevel::kAvx512Vnni, CpuLevel::kAvx2,
                                         CpuLevel::kScalar};

#if defined(__x86_64__)
// Linux keeps tiles from a process until it asks for them (Documentation/arch/x86/xstate.rst).
bool AskForTiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}
#endif

CpuLevel Detect() {
  if (const char* wanted = std::getenv("FORESHORE_CPU"); wanted != nullptr) {
    for (const CpuLevel level : kLevelsBestFirst) {
      if (CpuLevelName(level) == wanted && CpuSupports(level)) return level;
    }
  }
  for (const CpuLevel level : kLevelsBestFirst) {
    if (CpuSupports(level)) return level;
  }
  return CpuLevel::kScalar;
}

#if defined(__x86_64__)
// Clang 16 knows neither the name "f16c" nor those of AMX yet.
bool HasF16c() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

// Whether the system saves tiles is asked by AskForTiles(), which it refuses where it does not.
bool HasInt8Tiles() {
  constexpr unsigned kTile = 1U << 24;  // Intel's manual, volume 2, CPUID: leaf 7, EDX.
  constexpr unsigned kInt8 = 1U << 25;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kTile) != 0 && (d & kInt8) != 0;
}
#endif

}  // namespace

bool CpuSupports(CpuLevel level) {
  switch (level) {
    case CpuLevel::kScalar: return true;
#if defined(__x86_64__)
    case CpuLevel::kAvx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16c();
    case CpuLevel::kAvx512Vnni:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512vnni");
    case CpuLevel::kAmxInt8: return CpuSupports(CpuLevel::kAvx512Vnni) && HasInt8Tiles() && AskForTiles();
#elif defined(__aarch64__)
    case CpuLevel::kNeonDot: return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
    default: return false;
  }
}

CpuLevel DetectCpuLevel() {
  static const CpuLevel level = Detect();
  return level;
}

std::string_view CpuLevelName(CpuLevel level) {
  switch (level) {
    case CpuLevel::kScalar: return "scalar";
    case CpuLevel::kAvx2: return "avx2";
    case CpuLevel::kAvx512Vnni: return "avx512vnni";
    case CpuLevel::kNeonDot: return "neondot";
    case CpuLevel::kAmxInt8: return "amxint8";
  }
  return "unknown";
}

}  // namespace foreshore
