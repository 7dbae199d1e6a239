// The two clocks of benches.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>

namespace foreshore {

inline std::int64_t ClockNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Time that the process was given: what a call costs on a machine that others use as well.
inline std::int64_t ProcessorNs() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace foreshore
