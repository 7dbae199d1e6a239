// Which blobs a document refers to: values {"$blob": "<64 hexadecimal digits>"} anywhere in it, and for a model's row
// all that its manifest lists.
//
// Threads: free functions; the registry is safe from any thread.
#pragma once

#include <string_view>
#include <vector>

#include "engine/database/core.h"
#include "storage/blob_store.h"

namespace foreshore {

// In order of appearance. `body` is normalised JSON.
std::vector<BlobId> FindBlobReferences(std::string_view body);
// Sorted, each once.
std::vector<BlobId> DistinctBlobReferences(std::string_view body);
// Both kinds, sorted, each once. A manifest that has not arrived yet hides what it lists.
Result<std::vector<BlobId>> BlobsOfDocument(DatabaseCore& core, const CollectionDefinition& collection,
                                            std::string_view body);

}  // namespace foreshore
