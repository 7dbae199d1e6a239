// Every allocation of the executable through operator new, counted: it is linked with counted_allocations.cc.
//
// Threads: counts are of the whole process; a test measures while nothing else runs.
#pragma once

#include <cstdint>

namespace foreshore {

// What is allocated now, and the most since the last ResetPeak(), in bytes as the allocator rounds them.
std::int64_t LiveBytes();
std::int64_t PeakBytes();
void ResetPeak();

}  // namespace foreshore
