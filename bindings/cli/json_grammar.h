// Whether a text is one JSON value: RFC 8259's grammar, nested 60 deep at most. Repeated names and broken UTF-8 are
// left to the engine, which refuses them.
//
// Threads: free functions.
#pragma once

#include <string_view>

namespace foreshore::cli {

bool IsJsonNumber(std::string_view text);
bool IsJsonValue(std::string_view text);

}  // namespace foreshore::cli
