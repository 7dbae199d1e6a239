#include "storage/blob_store.h"

#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::size_t kIdBytes = 32;

Status CheckBlobBytes(const std::string& what, std::uint64_t size_bytes) {
  if (size_bytes <= kBlobBytesMax) return Status::Ok();
  return Status::Limit(what + ": " + std::to_string(size_bytes) + " bytes, expected at most " +
                       std::to_string(kBlobBytesMax));
}

Result<BlobId> HashFile(const std::string& path) {
  Sha256 hash;
  FORESHORE_RETURN_IF_ERROR(ReadFilePieces(path, [&](Bytes piece) {
    hash.Update(piece);
    return Status::Ok();
  }));
  return hash.Finish();
}

std::string NameOf(const BlobId& id) {
  return ToHex(AsBytes(id));
}

}  // namespace

Result<std::unique_ptr<BlobStore>> BlobStore::Open(const std::string& path) {
  for (const char* folder : {"", "/partial", "/tmp"}) FORESHORE_RETURN_IF_ERROR(CreateDirectories(path + folder));
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<std::string> leftovers, ListDirectory(path + "/tmp"));
  for (const std::string& name : leftovers) FORESHORE_RETURN_IF_ERROR(RemoveFile(path + "/tmp/" + name));
  return std::unique_ptr<BlobStore>(new BlobStore(path));
}

std::string BlobStore::FolderOf(const BlobId& id) const {
  return path_ + "/" + NameOf(id).substr(0, 2);
}

std::string BlobStore::PathOf(const BlobId& id) const {
  return FolderOf(id) + "/" + NameOf(id);
}

std::string BlobStore::PartialPath(const BlobId& id) const {
  return path_ + "/partial/" + NameOf(id);
}

std::string BlobStore::TemporaryPath() {
  return path_ + "/tmp/" + std::to_string(temporary_count_.fetch_add(1));
}

Status BlobStore::MoveIntoPlace(const std::string& from, const BlobId& id) {
  FORESHORE_RETURN_IF_ERROR(CreateDirectories(FolderOf(id)));
  const Status moved = RenameDurably(from, PathOf(id));
  certain_folders_[id[0]].store(moved.ok());
  arrival_count_.fetch_add(1);
  return moved;
}

Status BlobStore::MakeCertain(const BlobId& id) {
  if (certain_folders_[id[0]].load()) return Status::Ok();
  for (const std::string& folder : {path_, FolderOf(id)}) FORESHORE_RETURN_IF_ERROR(SyncDirectory(folder));
  certain_folders_[id[0]].store(true);
  return Status::Ok();
}

Result<BlobId> BlobStore::Put(Bytes content) {
  FORESHORE_RETURN_IF_ERROR(CheckBlobBytes("blob", content.size()));
  const BlobId id = Sha256Of(content);
  if (Contains(id)) {
    FORESHORE_RETURN_IF_ERROR(MakeCertain(id));
    return id;
  }
  const std::string temporary = TemporaryPath();
  const Status written = [&] {
    FORESHORE_ASSIGN_OR_RETURN(const auto file, File::Create(temporary));
    FORESHORE_RETURN_IF_ERROR(file->Append(content));
    FORESHORE_RETURN_IF_ERROR(file->Sync());
    FORESHORE_RETURN_IF_ERROR(file->Close());
    return MoveIntoPlace(temporary, id);
  }();
  if (written.ok()) return id;
  RemoveFile(temporary).IgnoreError();
  return written;
}

Result<BlobId> BlobStore::PutFile(const std::string& path) {
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t size_bytes, FileSizeBytes(path));
  FORESHORE_RETURN_IF_ERROR(CheckBlobBytes("file \"" + path + "\"", size_bytes));
  const std::string temporary = TemporaryPath();
  BlobId id{};
  const Status written = [&]() -> Status {
    FORESHORE_ASSIGN_OR_RETURN(const auto file, File::Create(temporary));
    Sha256 hash;
    std::uint64_t copied_bytes = 0;  // The file may grow while it is read.
    const Status copied = ReadFilePieces(path, [&](Bytes piece) -> Status {
      copied_bytes += piece.size();
      FORESHORE_RETURN_IF_ERROR(CheckBlobBytes("file \"" + path + "\"", copied_bytes));
      hash.Update(piece);
      return file->Append(piece);
    });
    FORESHORE_RETURN_IF_ERROR(copied);
    id = hash.Finish();
    FORESHORE_RETURN_IF_ERROR(file->Sync());
    FORESHORE_RETURN_IF_ERROR(file->Close());
    if (Contains(id)) {
      FORESHORE_RETURN_IF_ERROR(MakeCertain(id));
      return RemoveFile(temporary);
    }
    return MoveIntoPlace(temporary, id);
  }();
  if (written.ok()) return id;
  RemoveFile(temporary).IgnoreError();
  return written;
}

bool BlobStore::Contains(const BlobId& id) const {
  return FileExists(PathOf(id));
}

Result<std::uint64_t> BlobStore::SizeBytes(const BlobId& id) const {
  return FileSizeBytes(PathOf(id));
}

Result<std::unique_ptr<MappedFile>> BlobStore::Open(const BlobId& id) const {
  return MappedFile::Open(PathOf(id));
}

Status BlobStore::Remove(const BlobId& id) {
  RemoveFile(SumsPathOf(id)).IgnoreError();
  return RemoveFile(PathOf(id));
}

BlobHold BlobStore::Hold() {
  const std::lock_guard lock(hold_mutex_);
  BlobHold hold = hold_.lock();
  if (hold == nullptr) {
    hold = std::make_shared<int>(0);
    hold_ = hold;
  }
  return hold;
}

Result<bool> BlobStore::Collect(const BlobId& id) {
  const std::lock_guard lock(hold_mutex_);
  if (!hold_.expired()) return false;
  const Status removed = Remove(id);
  if (!removed.ok() && removed.code() != ErrorCode::kNotFound) return removed;
  const Status partial = RemoveFile(PartialPath(id));
  if (!partial.ok() && partial.code() != ErrorCode::kNotFound) return partial;
  return true;
}

Result<std::vector<BlobId>> BlobStore::ListPartial() const {
  std::vector<BlobId> ids;
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(path_ + "/partial"));
  for (const std::string& name : names) {
    const std::optional<ByteString> bytes = FromHex(name);
    if (!bytes.has_value() || bytes->size() != kIdBytes) continue;
    std::memcpy(ids.emplace_back().data(), bytes->data(), kIdBytes);
  }
  return ids;
}

Result<std::vector<BlobId>> BlobStore::List() const {
  std::vector<BlobId> ids;
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<std::string> folders, ListDirectory(path_));
  for (const std::string& folder : folders) {
    if (folder.size() != 2) continue;
    FORESHORE_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(path_ + "/" + folder));
    for (const std::string& name : names) {
      const std::optional<ByteString> bytes = FromHex(name);
      // What is not named like a blob was put there by somebody else and is left alone.
      if (!bytes.has_value() || bytes->size() != kIdBytes || name.substr(0, 2) != folder) continue;
      BlobId id{};
      std::memcpy(id.data(), bytes->data(), kIdBytes);
      ids.push_back(id);
    }
  }
  return ids;
}

Status BlobStore::Verify(const BlobId& id) const {
  FORESHORE_ASSIGN_OR_RETURN(const BlobId found, HashFile(PathOf(id)));
  if (found == id) return Status::Ok();
  return Status::Corruption("blob \"" + PathOf(id) + "\": content has SHA-256 " + NameOf(found) + ", expected " +
                            NameOf(id));
}

Result<std::uint64_t> BlobStore::PartialBytes(const BlobId& id) const {
  const std::string path = PartialPath(id);
  if (!FileExists(path)) return std::uint64_t{0};
  return FileSizeBytes(path);
}

Status BlobStore::AppendPartial(const BlobId& id, std::uint64_t offset, Bytes chunk) {
  const std::lock_guard lock(partial_mutex_);
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t present, PartialBytes(id));
  const std::string what = "partial blob " + NameOf(id);
  if (offset != present) {
    return Status::Conflict(what + ": chunk at " + std::to_string(offset) + ", expected " + std::to_string(present));
  }
  if (chunk.size() > kBlobBytesMax - std::min(present, kBlobBytesMax)) {
    return CheckBlobBytes(what, present + chunk.size());
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto file, File::OpenForAppend(PartialPath(id)));
  FORESHORE_RETURN_IF_ERROR(file->Append(chunk));
  return file->Close();
}

Status BlobStore::FinishPartial(const BlobId& id) {
  const std::lock_guard lock(partial_mutex_);
  const std::string path = PartialPath(id);
  if (Contains(id)) {
    FORESHORE_RETURN_IF_ERROR(MakeCertain(id));
    return FileExists(path) ? RemoveFile(path) : Status::Ok();
  }
  FORESHORE_ASSIGN_OR_RETURN(const BlobId found, HashFile(path));
  if (found != id) {
    FORESHORE_RETURN_IF_ERROR(RemoveFile(path));
    return Status::Corruption("partial blob " + NameOf(id) + ": content has SHA-256 " + NameOf(found));
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto file, File::OpenForAppend(path));
  FORESHORE_RETURN_IF_ERROR(file->Sync());
  FORESHORE_RETURN_IF_ERROR(file->Close());
  return MoveIntoPlace(path, id);
}

}  // namespace foreshore
