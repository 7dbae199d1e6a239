// Checksums of a blob's pieces, beside it in <blob>.sums, so that a part of a large blob can be checked without reading
// the whole. They are made while the blob is hashed and bound to its name; a file that is missing or damaged is made
// again from the blob after its SHA-256 was found right.
//
//   OFFSET SIZE FIELD
//        0    8 magic "FSSUMS1\n"
//        8    4 piece_bytes
//       12    8 blob_bytes
//       20   32 SHA-256 of the blob
//       52  4·n crc32c of each piece, n = ceil(blob_bytes / piece_bytes)
//        …    4 crc32c of all before
//
// Threads: values; no sharing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "storage/blob_store.h"

namespace foreshore {

inline constexpr std::size_t kBlobPieceBytes = 256 << 10;

class BlobSums {
 public:
  // The next bytes of the blob, in order.
  void Update(Bytes bytes);
  std::uint64_t blob_bytes() const { return blob_bytes_; }
  // After the last Update.
  ByteString Encode(const BlobId& id) const;
  // kCorruption unless it is for this blob of this size.
  static Result<BlobSums> Decode(Bytes encoded, const BlobId& id, std::uint64_t blob_bytes);
  bool Matches(std::size_t piece_index, Bytes piece) const;

 private:
  std::uint64_t blob_bytes_ = 0;
  std::vector<std::uint32_t> sums_;  // The last one may be of a piece that is not whole yet.
};

}  // namespace foreshore
