// Files and directories, with errors that name the path, and the one recipe for replacing a file so that a
// power cut leaves the old or the new content: write a temporary, sync it, rename it, sync the directory.
//
// Threads: free functions are safe from any thread; a File belongs to one thread at a time; a MappedFile is
// read-only and may be shared, a RandomAccessFile too.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

// The Status for a failed system call: kNotFound, kNoSpace (ENOSPC, EDQUOT) or kIo.
Status IoStatus(std::string_view what, const std::string& path, int error_number);

bool FileExists(const std::string& path);
Result<std::uint64_t> FileSizeBytes(const std::string& path);
// Creates the directory and its missing parents, and syncs the parent of what it made.
Status CreateDirectories(const std::string& path);
// Names in the directory without "." and "..", sorted.
Result<std::vector<std::string>> ListDirectory(const std::string& path);
Status RemoveFile(const std::string& path);  // kNotFound where there is none.
Status RemoveTree(const std::string& path);
Status SyncDirectory(const std::string& path);
// Whole file; kLimit above `size_bytes_max`.
Result<ByteString> ReadFile(const std::string& path, std::uint64_t size_bytes_max = 1ULL << 32);
// Replaces `path` atomically and durably.
Status WriteFileAtomic(const std::string& path, Bytes content);
// Calls `visit` for the content piece by piece, each at most 1 MiB and living during the call only; stops at the
// first error of `visit` and returns it.
Status ReadFilePieces(const std::string& path, const std::function<Status(Bytes)>& visit);
// Moves `from` over `to` and syncs the directory of `to`.
Status RenameDurably(const std::string& from, const std::string& to);

// A file being written from its start, or from its end. Close() says whether everything arrived; the destructor closes
// silently.
class File {
 public:
  static Result<std::unique_ptr<File>> Create(const std::string& path);
  // Keeps what is there; creates the file where it is missing.
  static Result<std::unique_ptr<File>> OpenForAppend(const std::string& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  Status Append(Bytes bytes);
  Status Sync();
  Status Close();

 private:
  File(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::string path_;
  int descriptor_;
};

// A file read at any place, for content that is too large to map on every device.
class RandomAccessFile {
 public:
  static Result<std::unique_ptr<RandomAccessFile>> Open(const std::string& path);
  ~RandomAccessFile();
  RandomAccessFile(const RandomAccessFile&) = delete;
  RandomAccessFile& operator=(const RandomAccessFile&) = delete;

  std::uint64_t size_bytes() const { return size_bytes_; }  // When it was opened.
  // Fills `out` with what is there at `offset`: fewer than `count` bytes only at the end of the file.
  Status ReadAt(std::uint64_t offset, std::size_t count, ByteString* out) const;

 private:
  RandomAccessFile(std::string path, int descriptor, std::uint64_t size_bytes)
      : path_(std::move(path)), descriptor_(descriptor), size_bytes_(size_bytes) {}
  std::string path_;
  int descriptor_;
  std::uint64_t size_bytes_;
};

// A whole file mapped read-only. The bytes live as long as this object.
class MappedFile {
 public:
  static Result<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  Bytes bytes() const { return {static_cast<const char*>(address_), size_bytes_}; }

 private:
  MappedFile(void* address, std::size_t size_bytes) : address_(address), size_bytes_(size_bytes) {}
  void* address_;
  std::size_t size_bytes_;
};

// A whole file mapped twice: as it is, and as memory of this process that begins as what the file says. Pages of the
// latter take memory once they are written to; the file never changes. Both live as long as this object.
class OverlaidFile {
 public:
  static Result<std::unique_ptr<OverlaidFile>> Open(const std::string& path);
  ~OverlaidFile();
  OverlaidFile(const OverlaidFile&) = delete;
  OverlaidFile& operator=(const OverlaidFile&) = delete;

  Bytes bytes() const { return {static_cast<const char*>(address_), size_bytes_}; }
  char* overlay() const { return static_cast<char*>(overlay_); }

 private:
  OverlaidFile(void* address, void* overlay, std::size_t size_bytes)
      : address_(address), overlay_(overlay), size_bytes_(size_bytes) {}
  void* address_;
  void* overlay_;
  std::size_t size_bytes_;
};

}  // namespace foreshore
