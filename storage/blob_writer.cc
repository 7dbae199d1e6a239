#include "storage/blob_writer.h"

#include <utility>

namespace foreshore {

Result<std::unique_ptr<BlobWriter>> BlobWriter::Create(BlobStore& store) {
  const std::string path = store.TemporaryPath();
  FORESHORE_ASSIGN_OR_RETURN(auto file, File::Create(path));
  return std::unique_ptr<BlobWriter>(new BlobWriter(store, path, std::move(file)));
}

BlobWriter::~BlobWriter() {
  file_.reset();
  if (!path_.empty()) RemoveFile(path_).IgnoreError();
}

Status BlobWriter::Append(Bytes bytes) {
  if (bytes.size() > kBlobBytesMax - sums_.blob_bytes()) {
    return Status::Limit("blob: more than " + std::to_string(kBlobBytesMax) + " bytes, expected at most so many");
  }
  hash_.Update(bytes);
  sums_.Update(bytes);
  return file_->Append(bytes);
}

Result<BlobId> BlobWriter::Finish() {
  const BlobId id = hash_.Finish();
  FORESHORE_RETURN_IF_ERROR(file_->Sync());
  FORESHORE_RETURN_IF_ERROR(file_->Close());
  // The hold was taken before this look, so what is here stays.
  if (store_.Contains(id)) {
    FORESHORE_RETURN_IF_ERROR(store_.MakeCertain(id));
    return id;  // The temporary goes with the writer.
  }
  FORESHORE_RETURN_IF_ERROR(store_.MoveIntoPlace(std::exchange(path_, std::string()), id));
  // A reader makes them where they are missing.
  if (size_bytes() > kBlobPieceBytes) WriteFileAtomic(store_.SumsPathOf(id), sums_.Encode(id)).IgnoreError();
  return id;
}

}  // namespace foreshore
