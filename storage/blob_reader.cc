#include "storage/blob_reader.h"

#include <algorithm>

#include "storage/base/coding.h"

namespace foreshore {
namespace {

Status Damaged(const std::string& path, const BlobId& id, const std::string& found) {
  return Status::Corruption("blob \"" + path + "\": " + found + ", expected content with SHA-256 " +
                            ToHex(AsBytes(id)));
}

// The sums that are stored, or those of the content, which then is checked against its name.
Result<BlobSums> LoadSums(const BlobStore& store, const BlobId& id, std::uint64_t size_bytes) {
  const std::string path = store.SumsPathOf(id);
  if (const auto stored = ReadFile(path, 1 << 20); stored.ok()) {
    auto sums = BlobSums::Decode(*stored, id, size_bytes);
    if (sums.ok()) return sums;
  }
  Sha256 hash;
  BlobSums sums;
  FORESHORE_RETURN_IF_ERROR(ReadFilePieces(store.PathOf(id), [&](Bytes piece) {
    hash.Update(piece);
    sums.Update(piece);
    return Status::Ok();
  }));
  if (const BlobId found = hash.Finish(); found != id) {
    return Damaged(store.PathOf(id), id, "content has SHA-256 " + ToHex(AsBytes(found)));
  }
  WriteFileAtomic(path, sums.Encode(id)).IgnoreError();  // Reading does not need room on the disk.
  return sums;
}

}  // namespace

Result<std::unique_ptr<BlobReader>> BlobReader::Open(const BlobStore& store, const BlobId& id) {
  FORESHORE_ASSIGN_OR_RETURN(auto file, RandomAccessFile::Open(store.PathOf(id)));
  std::unique_ptr<BlobReader> reader(new BlobReader(id, store.PathOf(id), std::move(file)));
  if (reader->size_bytes() > kBlobPieceBytes) {
    FORESHORE_ASSIGN_OR_RETURN(reader->sums_, LoadSums(store, id, reader->size_bytes()));
  }
  return reader;
}

Status BlobReader::LoadPiece(std::uint64_t index) {
  if (index == piece_index_) return Status::Ok();
  piece_index_ = UINT64_MAX;
  const std::uint64_t begin = index * kBlobPieceBytes;
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(kBlobPieceBytes, size_bytes() - begin));
  FORESHORE_RETURN_IF_ERROR(file_->ReadAt(begin, count, &piece_));
  const bool is_right =
      size_bytes() > kBlobPieceBytes ? sums_.Matches(static_cast<std::size_t>(index), piece_) : Sha256Of(piece_) == id_;
  if (piece_.size() != count || !is_right)
    return Damaged(path_, id_, "damage at byte " + std::to_string(begin) + " on");
  piece_index_ = index;
  return Status::Ok();
}

Result<Bytes> BlobReader::ReadAt(std::uint64_t offset, std::size_t count) {
  // An empty blob has nothing to check but its name.
  if (size_bytes() == 0 && Sha256Of(Bytes()) != id_) return Damaged(path_, id_, "an empty file");
  if (offset >= size_bytes() || count == 0) return Bytes();
  FORESHORE_RETURN_IF_ERROR(LoadPiece(offset / kBlobPieceBytes));
  return Bytes(piece_).substr(static_cast<std::size_t>(offset % kBlobPieceBytes), count);
}

}  // namespace foreshore
