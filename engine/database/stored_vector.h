// What the store keeps per document and vector field: where the vector came from, and its int8 record, or several.
//
//   Stored vector, little-endian              code: engine/database/stored_vector.cc
//     OFFSET SIZE FIELD
//          0    1 version: 2 for a vector made by a model, else 1; 1 of those made before there was 2
//          1    1 flags: bit 0 set for a vector made by a model, bit 1 for several vectors, the others 0
//          2    8 hash of the source text or array (FNV-1a), so that an unchanged source is not embedded again
//         10    8 tag of the weights (engine/model/model_pin.h); 0 without a model
//                 with version 2, here:
//              8 when it was made, Unix milliseconds
//              8 revision of the document that it was made from: the newest hlc that it had seen
//                 then:
//              n vector record (index/quantizer.h); with bit 1 instead:
//              2 vector_count, 2..64
//              n vector records, all of n / vector_count bytes
//   Reader: an unknown version or flag is kUnsupported; any other mismatch is kCorruption.
//
// Threads: free functions, safe from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/database/catalog.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "index/vector_query.h"

namespace foreshore {

inline constexpr std::size_t kVectorsPerDocumentMax = 64;

struct StoredVector {
  bool is_from_model = false;
  std::uint64_t source_hash = 0;
  std::uint64_t model_tag = 0;
  std::int64_t made_unix_ms = 0;        // 0: not known, or a vector that the application wrote.
  std::uint64_t document_revision = 0;  // The same.
  std::vector<Bytes> records;           // 1..kVectorsPerDocumentMax of equal sizes, into the bytes that were decoded.
};

ByteString EncodeStoredVector(const StoredVector& vector);
Result<StoredVector> DecodeStoredVector(Bytes bytes);  // kCorruption, kUnsupported

// The distance to the nearest of the records; the errors of DecodeVectorRecord().
Result<double> NearestRecord(const VectorQuery& query, const StoredVector& stored);

// The text that an index's model embeds for a document: the values at its paths, strings unescaped and other values as
// JSON, joined by line breaks; empty where all are absent or null.
std::string SourceTextOf(const VectorIndexDefinition& index, std::string_view body);

// The token of a document's own vector, or array of vectors, in its body; empty where there is none, or null.
std::string_view FindOwnVectors(std::string_view body, const VectorIndexDefinition& index);

// What a document's own vector, or array of vectors, is stored as: a JSON token of a valid body. kInvalidArgument
// unless it is an array of `dimension` finite floats, or one of 1..kVectorsPerDocumentMax such arrays.
Result<ByteString> EncodeOwnVectors(std::string_view token, const VectorIndexDefinition& index);

}  // namespace foreshore
