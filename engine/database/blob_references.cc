#include "engine/database/blob_references.h"

#include <algorithm>

#include "engine/model/model_registry.h"
#include "storage/base/coding.h"

namespace foreshore {

// In normalised JSON a key "$blob" can be written only so; inside a string its quotes would be escaped. The search is
// for
// '$', which is rare: every document that is written is searched.
std::vector<BlobId> FindBlobReferences(std::string_view body) {
  constexpr std::string_view kKey = "$blob\":\"";
  constexpr std::size_t kHexBytes = 64;
  std::vector<BlobId> found;
  for (std::size_t at = body.find('$'); at != body.npos; at = body.find('$', at + 1)) {
    const std::string_view rest = body.substr(at);
    if (!rest.starts_with(kKey) || at == 0 || body[at - 1] != '"' || (at > 1 && body[at - 2] == '\\')) continue;
    const std::string_view hex = rest.substr(kKey.size());
    if (hex.size() <= kHexBytes || hex[kHexBytes] != '"') continue;
    const auto bytes = FromHex(hex.substr(0, kHexBytes));
    if (!bytes || bytes->size() != BlobId{}.size()) continue;
    std::copy(bytes->begin(), bytes->end(), found.emplace_back().begin());
  }
  return found;
}

std::vector<BlobId> DistinctBlobReferences(std::string_view body) {
  std::vector<BlobId> blobs = FindBlobReferences(body);
  std::sort(blobs.begin(), blobs.end());
  blobs.erase(std::unique(blobs.begin(), blobs.end()), blobs.end());
  return blobs;
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
