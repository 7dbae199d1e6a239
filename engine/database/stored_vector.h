// What the store keeps per document and vector field: where the vector came from, and its int8 record.
//
//   Stored vector, little-endian              code: engine/database/stored_vector.cc
//     OFFSET SIZE FIELD
//          0    1 version = 1
//          1    1 flags: bit 0 set for a vector made by a model, the others 0
//          2    8 hash of the source text or array (FNV-1a), so that an unchanged source is not embedded again
//         10    8 first bytes of the model's version; 0 without a model
//         18    n vector record (index/quantizer.h)
//
// Threads: free functions, safe from any thread.
#pragma once

#include <cstdint>
#include <string>

#include "engine/database/catalog.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

struct StoredVector {
  bool is_from_model = false;
  std::uint64_t source_hash = 0;
  std::uint64_t model_tag = 0;
  Bytes record;  // Into the bytes that were decoded.
};

ByteString EncodeStoredVector(const StoredVector& vector);
Result<StoredVector> DecodeStoredVector(Bytes bytes);  // kCorruption, kUnsupported

// The tag of a model version in hexadecimal.
std::uint64_t ModelTagOf(std::string_view version_hex);

// The text that an index's model embeds for a document: the values at its paths, strings unescaped and other values as
// JSON, joined by line breaks; empty where all are absent or null.
std::string SourceTextOf(const VectorIndexDefinition& index, std::string_view body);

// The numbers of a JSON array token. kInvalidArgument unless they are `dimension` finite floats.
Result<std::vector<float>> ParseVectorArray(std::string_view token, const VectorIndexDefinition& index);

}  // namespace foreshore
