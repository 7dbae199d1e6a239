// Immutable content-addressed files: blobs/ab/abcd…, named by the SHA-256 of their content. A blob is written,
// synced and renamed into place before the transaction that refers to it commits, so a reference never dangles
// after a crash; a blob that no transaction came to refer to is garbage, found by comparing with the references.
//
//   blobs/ab/abcd…      the blob
//   blobs/ab/abcd….sums checksums of its pieces (storage/blob_sums.h), derived: made again where they are missing
//   blobs/tmp/…         being written; removed at open
//   blobs/partial/…     arriving in pieces; kept at open
//
// Threads: safe from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "storage/base/checksum.h"
#include "storage/base/file.h"

namespace foreshore {

using BlobId = Sha256Digest;
inline constexpr std::uint64_t kBlobBytesMax = 8ULL << 30;

// While one is alive nothing is collected: it covers the time from writing a blob, or finding that it is there already,
// until the transaction that refers to it has ended, and a transfer in pieces.
using BlobHold = std::shared_ptr<const void>;

class BlobStore {
 public:
  // `path` is the blobs directory; created where missing. Temporaries of a crashed writer are removed. One BlobStore
  // per directory: the database's lock sees to that.
  static Result<std::unique_ptr<BlobStore>> Open(const std::string& path);

  // Writes the bytes durably; does nothing where the blob exists.
  Result<BlobId> Put(Bytes content);
  // Copies a file in, hashing on the way; kLimit above kBlobBytesMax.
  Result<BlobId> PutFile(const std::string& path);

  bool Contains(const BlobId& id) const;
  // Grows with each blob that comes to be here, once it is.
  std::uint64_t arrival_count() const { return arrival_count_.load(); }
  // kNotFound where it is missing.
  Result<std::uint64_t> SizeBytes(const BlobId& id) const;
  Result<std::unique_ptr<MappedFile>> Open(const BlobId& id) const;
  Status Remove(const BlobId& id);
  BlobHold Hold();
  // Removes the blob, its sums and what of it arrived in pieces, unless somebody holds. Absent is ok. False: held.
  Result<bool> Collect(const BlobId& id);
  Result<std::vector<BlobId>> List() const;
  // Reads it all; kCorruption where the content no longer has its name.
  Status Verify(const BlobId& id) const;

  // A blob that arrives in pieces and may be resumed after a restart: bytes gather under partial/<id>.
  // How many bytes are already there (0 where none).
  Result<std::uint64_t> PartialBytes(const BlobId& id) const;
  Result<std::vector<BlobId>> ListPartial() const;
  // Appends at `offset`, which must equal PartialBytes (kConflict otherwise). kLimit above kBlobBytesMax. Not synced:
  // after a power cut the pieces may be damaged, which FinishPartial finds.
  Status AppendPartial(const BlobId& id, std::uint64_t offset, Bytes chunk);
  // Verifies the hash, syncs and renames into place; kCorruption where the hash differs (the partial is removed).
  Status FinishPartial(const BlobId& id);

  // Where the blob's file is, for error messages and tests.
  std::string PathOf(const BlobId& id) const;
  std::string SumsPathOf(const BlobId& id) const { return PathOf(id) + ".sums"; }

 private:
  friend class BlobWriter;
  explicit BlobStore(std::string path) : path_(std::move(path)) {}
  std::string TemporaryPath();
  std::string PartialPath(const BlobId& id) const;
  std::string FolderOf(const BlobId& id) const;
  // Moves a finished, synced file to its name.
  Status MoveIntoPlace(const std::string& from, const BlobId& id);
  // For a blob that is there already: its name may be from a process that ended, or a sync that failed, before it was
  // certain to outlast a power cut.
  Status MakeCertain(const BlobId& id);

  std::string path_;
  std::atomic<std::uint64_t> temporary_count_{0};
  std::atomic<std::uint64_t> arrival_count_{0};
  // By an id's first byte, which names its folder: the folder was synced since the last name that is not certain.
  std::array<std::atomic<bool>, 256> certain_folders_{};
  std::mutex hold_mutex_;           // Held while a blob is collected.
  std::weak_ptr<const void> hold_;  // Guarded by hold_mutex_: what all holders share.
  std::mutex partial_mutex_;        // Held while a partial file is measured, written or finished.
};

}  // namespace foreshore
