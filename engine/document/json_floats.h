// Arrays of numbers straight to floats, without a tree in between.
//
// Threads: free functions, safe from any thread.
#pragma once

#include <span>
#include <string_view>

namespace foreshore {

// Whether `json` is one array of exactly `out.size()` numbers, without white space; then `out` holds them, each as
// simdjson and a cast make it: an integer of 64 bits is rounded once, any other number to the nearest double and then
// to a float. False too for numbers that need a closer look: integers of 19 digits and more, and doubles out of range.
bool ReadFloatArray(std::string_view json, std::span<float> out);

}  // namespace foreshore
