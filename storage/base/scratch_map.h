// Memory of an unnamed file: the system writes out what it has no room for and takes it back when it is read, so that
// what lies there and is seldom read occupies no memory. Nothing of it outlives the process.
//
// Threads: as memory.
#pragma once

#include <cstddef>
#include <string>

#include "foreshore/status.h"

namespace foreshore {

// What stands between the folder and a number in the name that such a file has for a moment where a file system has no
// unnamed ones: a crash then may leave an empty file.
inline constexpr char kScratchName[] = "/v-scratch-";

// `size_bytes` bytes of zeros, page-aligned, in a file of `folder` that goes with ReleaseScratch(). Room on the disk is
// taken at once, so that no later write can fail for lack of it. kNoSpace, kIo, kNotFound.
Result<char*> MapScratch(const std::string& folder, std::size_t size_bytes);
void ReleaseScratch(char* bytes, std::size_t size_bytes);

}  // namespace foreshore
