// Arrays of numbers straight to floats, without a tree in between, and floats to text.
//
// Threads: free functions, safe from any thread.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "storage/base/cpu.h"

namespace foreshore {

// Whether `json` is one array of exactly `out.size()` numbers, without white space; then `out` holds them, each as
// simdjson and a cast make it: an integer of 64 bits is rounded once, any other number to the nearest double and then
// to a float. False too for numbers that need a closer look: integers of 19 digits and more, and doubles out of range.
// The result is the same at every level, which is one that this machine has.
bool ReadFloatArray(std::string_view json, std::span<float> out, CpuLevel level = DetectCpuLevel());

inline constexpr std::size_t kFloatCharsMax = 24;
// A finite float as std::to_chars writes it, in less time: the fewest digits that read back as the same float, in fixed
// or scientific form, whichever is shorter. Returns the end; `out` has room for kFloatCharsMax.
char* WriteFloat(char* out, float value);

}  // namespace foreshore
