// Vectors as SQL carries them: a JSON array of numbers as text, or a blob of little-endian 32-bit floats (what embed()
// returns).
//
// Threads: free functions, safe from any thread.
#pragma once

#include <sqlite3.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

// `what` opens the message, such as: MATCH on "notes.embedding". kInvalidArgument for other types, other JSON, a blob
// whose size is no multiple of 4, or a number that is not a finite float; kLimit above kVectorDimensionMax.
Result<std::vector<float>> VectorFromValue(sqlite3_value* value, std::string_view what);

// The same, or several vectors: a JSON array of 1..64 such arrays, all of one length. For what documents hold.
Result<std::vector<std::vector<float>>> VectorsFromValue(sqlite3_value* value, std::string_view what);

ByteString BlobFromVector(std::span<const float> vector);
// A JSON array whose numbers read back as the same floats.
std::string JsonFromVector(std::span<const float> vector);

}  // namespace foreshore
