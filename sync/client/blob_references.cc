#include "sync/client/blob_references.h"

#include <algorithm>

#include "engine/model/model_registry.h"
#include "storage/base/coding.h"

namespace foreshore {

// In normalised JSON a key "$blob" can be written only so; inside a string its quotes would be escaped.
std::vector<BlobId> FindBlobReferences(std::string_view body) {
  constexpr std::string_view kKey = "\"$blob\":\"";
  constexpr std::size_t kHexBytes = 64;
  std::vector<BlobId> found;
  for (std::size_t at = body.find(kKey); at != body.npos; at = body.find(kKey, at + kKey.size())) {
    const std::string_view rest = body.substr(at + kKey.size());
    if (rest.size() <= kHexBytes || rest[kHexBytes] != '"') continue;
    const auto bytes = FromHex(rest.substr(0, kHexBytes));
    if (!bytes || bytes->size() != BlobId{}.size()) continue;
    std::copy(bytes->begin(), bytes->end(), found.emplace_back().begin());
  }
  return found;
}

Result<std::vector<BlobId>> BlobsOfDocument(DatabaseCore& core, const CollectionDefinition& collection,
                                            std::string_view body) {
  if (body.empty()) return std::vector<BlobId>();
  std::vector<BlobId> blobs = FindBlobReferences(body);
  if (collection.name == kModelsCollection) {
    FORESHORE_ASSIGN_OR_RETURN(const std::vector<BlobId> listed, core.models().BlobsOf(body));
    blobs.insert(blobs.end(), listed.begin(), listed.end());
  }
  std::sort(blobs.begin(), blobs.end());
  blobs.erase(std::unique(blobs.begin(), blobs.end()), blobs.end());
  return blobs;
}

}  // namespace foreshore
