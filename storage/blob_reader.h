// A blob read at any place, each byte checked before it is given out: blobs of one piece against their name, larger
// ones piece by piece against their sums (blob_sums.h).
//
// Lifetime: independent of the store; a blob that is collected meanwhile stays readable. Threads: one at a time.
#pragma once

#include <memory>

#include "storage/blob_store.h"
#include "storage/blob_sums.h"

namespace foreshore {

class BlobReader {
 public:
  // kNotFound where it is missing. Where a large blob has no sums yet, this reads all of it once; kCorruption where the
  // content no longer has its name.
  static Result<std::unique_ptr<BlobReader>> Open(const BlobStore& store, const BlobId& id);

  std::uint64_t size_bytes() const { return file_->size_bytes(); }
  // At most `count` bytes from `offset`, fewer at the end, none behind it; within one piece at a time, so that memory
  // is bounded. kCorruption where the piece is damaged.
  Result<Bytes> ReadAt(std::uint64_t offset, std::size_t count);  // Valid until the next call.

 private:
  BlobReader(BlobId id, std::string path, std::unique_ptr<RandomAccessFile> file)
      : id_(id), path_(std::move(path)), file_(std::move(file)) {}
  Status LoadPiece(std::uint64_t index);

  BlobId id_;
  std::string path_;
  std::unique_ptr<RandomAccessFile> file_;
  BlobSums sums_;  // Of blobs with more than one piece.
  ByteString piece_;
  std::uint64_t piece_index_ = UINT64_MAX;
};

}  // namespace foreshore
