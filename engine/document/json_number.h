// A JSON number token as SQL sees it: INTEGER where it has neither point nor exponent and fits 64 bits, else REAL.
//
// Threads: free functions, safe from any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace foreshore {

struct JsonNumber {
  bool is_integer = false;
  std::int64_t integer = 0;  // Where it is one.
  double real = 0;           // Else; infinite where the token is beyond what a double holds.
};

// `token` is a valid JSON number.
JsonNumber ParseJsonNumber(std::string_view token);

}  // namespace foreshore
