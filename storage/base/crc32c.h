// The two ways to compute Crc32c (checksum.h); the table is the specification.
//
// Threads: free functions, safe from any thread.
#pragma once

#include <cstdint>

#include "foreshore/bytes.h"

namespace foreshore {

// Without the processor's own instruction; for tests and for processors that have none.
std::uint32_t Crc32cByTable(Bytes bytes, std::uint32_t seed = 0);

}  // namespace foreshore
