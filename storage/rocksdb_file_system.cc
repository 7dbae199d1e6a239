#include "storage/rocksdb_file_system.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <mutex>

#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "storage/rocksdb_manifest.h"

namespace foreshore {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

// Follows the fragments of what is appended, which may be cut anywhere.
class ManifestFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  explicit ManifestFile(std::unique_ptr<rocksdb::FSWritableFile> file) : FSWritableFileOwnerWrapper(std::move(file)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* context) override {
    std::size_t at = 0;
    while (at < data.size()) {
      // The zeros that fill a block need no sync: nobody reads them.
      const bool is_filler = begins_fragment() && block_left() < kManifestHeaderBytes;
      if (is_unsynced_ && begins_fragment() && !is_filler) {
        if (IOStatus synced = Sync(options, context); !synced.ok()) return synced;
      }
      const Bytes rest(data.data() + at, data.size() - at);
      const std::size_t length = is_filler ? std::min(block_left(), rest.size()) : Follow(rest);
      IOStatus appended = FSWritableFileOwnerWrapper::Append(rocksdb::Slice(rest.data(), length), options, context);
      if (!appended.ok()) return appended;
      if (!is_filler) is_unsynced_ = was_synced_;
      position_ += length;
      at += length;
    }
    return IOStatus::OK();
  }
  // RocksDB's sums are of all of `data`; it hands them on only to file systems that ask for them.
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* context) override {
    return Append(data, options, context);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* context) override {
    return Synced(FSWritableFileOwnerWrapper::Sync(options, context));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* context) override {
    return Synced(FSWritableFileOwnerWrapper::Fsync(options, context));
  }

 private:
  bool begins_fragment() const { return header_bytes_ == 0 && payload_left_ == 0; }
  std::size_t block_left() const { return kManifestBlockBytes - position_ % kManifestBlockBytes; }
  IOStatus Synced(IOStatus status) {
    if (status.ok()) {
      was_synced_ = true;
      is_unsynced_ = false;
    }
    return status;
  }
  // How many of the bytes belong to the present fragment.
  std::size_t Follow(Bytes data) {
    std::size_t taken = 0;
    if (payload_left_ == 0) {
      taken = std::min(kManifestHeaderBytes - header_bytes_, data.size());
      std::copy_n(data.data(), taken, header_.data() + header_bytes_);
      header_bytes_ += taken;
      if (header_bytes_ < kManifestHeaderBytes) return taken;
      header_bytes_ = 0;
      payload_left_ = LoadFixed<std::uint16_t>(header_.data() + kManifestLengthOffset);
    }
    const std::size_t payload = std::min(payload_left_, data.size() - taken);
    payload_left_ -= payload;
    return taken + payload;
  }

  std::size_t position_ = 0;
  std::array<char, kManifestHeaderBytes> header_{};
  std::size_t header_bytes_ = 0;  // Of an unfinished header.
  std::size_t payload_left_ = 0;
  bool was_synced_ = false;
  bool is_unsynced_ = false;
};

class OrderedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit OrderedFileSystem(std::shared_ptr<rocksdb::FileSystem> base) : FileSystemWrapper(std::move(base)) {}
  const char* Name() const override { return "foreshore.OrderedFileSystem"; }

  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* context) override {
    const Status synced = SyncDirectory(std::filesystem::path(from).parent_path().string());
    if (!synced.ok()) return IOStatus::IOError(synced.message());
    return FileSystemWrapper::RenameFile(from, to, options, context);
  }
  IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* context) override {
    const std::filesystem::path name = std::filesystem::path(path).filename();
    const bool is_log = name.extension() == ".log";
    const std::unique_lock lock = is_log ? std::unique_lock(mutex_) : std::unique_lock<std::mutex>();
    if (is_log) {
      if (const Status synced = SyncLogLocked(); !synced.ok()) return IOStatus::IOError(synced.message());
    }
    IOStatus status = FileSystemWrapper::NewWritableFile(path, options, file, context);
    if (!status.ok()) return status;  // RocksDB may go on in the log file of before.
    if (is_log) log_path_ = path;
    if (name.string().starts_with("MANIFEST-")) *file = std::make_unique<ManifestFile>(std::move(*file));
    return status;
  }

 private:
  // Makes the log file that was begun last, and its name, certain.
  Status SyncLogLocked() {
    if (log_path_.empty() || !foreshore::FileExists(log_path_)) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(const auto file, File::OpenForAppend(log_path_));
    FORESHORE_RETURN_IF_ERROR(file->Sync());
    return SyncDirectory(std::filesystem::path(log_path_).parent_path().string());
  }

  std::mutex mutex_;      // Held while a log file is begun.
  std::string log_path_;  // Guarded by mutex_; empty before the first.
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> MakeOrderedFileSystem(std::shared_ptr<rocksdb::FileSystem> base) {
  return std::make_shared<OrderedFileSystem>(std::move(base));
}

}  // namespace foreshore
