// A blob written from a stream: hashed on the way, in a temporary file until it is whole. Memory does not grow with the
// blob.
//
// Lifetime: goes before its store. Threads: one at a time.
#pragma once

#include <memory>
#include <string>

#include "storage/blob_store.h"
#include "storage/blob_sums.h"

namespace foreshore {

class BlobWriter {
 public:
  static Result<std::unique_ptr<BlobWriter>> Create(BlobStore& store);
  ~BlobWriter();  // Unless Finish returned ok, nothing is left.
  BlobWriter(const BlobWriter&) = delete;
  BlobWriter& operator=(const BlobWriter&) = delete;

  // kLimit above kBlobBytesMax, kNoSpace on a full disk.
  Status Append(Bytes bytes);
  // Synced and in place. The hold must last until the transaction that refers to the blob has ended.
  Result<BlobId> Finish();
  std::uint64_t size_bytes() const { return sums_.blob_bytes(); }
  const BlobHold& hold() const { return hold_; }

 private:
  BlobWriter(BlobStore& store, std::string path, std::unique_ptr<File> file)
      : store_(store), hold_(store.Hold()), path_(std::move(path)), file_(std::move(file)) {}

  BlobStore& store_;
  BlobHold hold_;
  std::string path_;  // Of the temporary; empty once it is in place.
  std::unique_ptr<File> file_;
  Sha256 hash_;
  BlobSums sums_;
};

}  // namespace foreshore
