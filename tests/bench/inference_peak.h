// How fast the int8 product runs, and how fast this core can run it at most.
//
// Threads: pure functions.
#pragma once

#include <cstdint>

namespace foreshore {

// Operations (a multiplication and an addition are two) a nanosecond of processor time, each the median of many runs.
struct GemmRates {
  double best = 0;       // 128 rows × 384 inputs × 1,536 outputs by the best kernel of this processor,
  double vnni = 0;       // and by that of AVX-512 VNNI.
  double vnni_peak = 0;  // VPDPBUSD on registers alone, between runs of the others.
};
GemmRates MeasureGemm();

}  // namespace foreshore
