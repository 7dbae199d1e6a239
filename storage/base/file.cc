#include "storage/base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace foreshore {
namespace {

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

Status WriteAll(int descriptor, Bytes bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      return IoStatus("write", path, errno);
    }
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return Status::Ok();
}

}  // namespace

Status IoStatus(std::string_view what, const std::string& path, int error_number) {
  const std::string message = "file \"" + path + "\": " + std::string(what) + " failed: " + std::strerror(error_number);
  if (error_number == ENOENT) return Status::NotFound(message);
  if (error_number == ENOSPC || error_number == EDQUOT) return Status::NoSpace(message);
  return Status::Io(message);
}

bool FileExists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

Result<std::uint64_t> FileSizeBytes(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return IoStatus("stat", path, errno);
  return static_cast<std::uint64_t>(info.st_size);
}

Status CreateDirectories(const std::string& path) {
  std::error_code error;
  std::vector<std::filesystem::path> missing;
  for (std::filesystem::path at = path; !at.empty() && !std::filesystem::exists(at, error) && !error;) {
    missing.push_back(at);
    if (at == at.parent_path()) break;
    at = at.parent_path();
  }
  // Each one's name has to be certain before anything in it can be.
  for (auto at = missing.rbegin(); at != missing.rend() && !error; ++at) {
    if (!std::filesystem::create_directory(*at, error)) continue;
    const Status certain = SyncDirectory(ParentOf(at->string()));
    if (certain.ok()) continue;
    // The next call must not take it for one whose name is certain.
    std::filesystem::remove(*at, error);
    return certain;
  }
  if (error) return IoStatus("create directory", path, error.value());
  // Else something that is no directory has the name.
  return std::filesystem::is_directory(path) ? Status::Ok() : IoStatus("create directory", path, ENOTDIR);
}

// Not by std::filesystem's iterators: libstdc++ allocates in their noexcept constructors.
Result<std::vector<std::string>> ListDirectory(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
  if (directory == nullptr) return IoStatus("list directory", path, errno);
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return IoStatus("list directory", path, errno);
  std::sort(names.begin(), names.end());
  return names;
}

Status RemoveFile(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return IoStatus("remove", path, errno);
  return Status::Ok();
}

Status RemoveTree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return IoStatus("remove tree", path, error.value());
  return Status::Ok();
}

Status SyncDirectory(const std::string& path) {
  const int descriptor = ::open(path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return IoStatus("open directory", path, errno);
  const int result = ::fsync(descriptor);
  const int error_number = errno;
  ::close(descriptor);
  return result == 0 ? Status::Ok() : IoStatus("sync directory", path, error_number);
}

Result<ByteString> ReadFile(const std::string& path, std::uint64_t size_bytes_max) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return IoStatus("open", path, errno);
  ByteString content;
  char buffer[1 << 16];
  Status status;
  while (true) {
    const ssize_t count = ::read(descriptor, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) status = IoStatus("read", path, errno);
    if (count <= 0) break;
    if (content.size() + static_cast<std::size_t>(count) > size_bytes_max) {
      status = Status::Limit("file \"" + path + "\": larger than " + std::to_string(size_bytes_max) + " bytes");
      break;
    }
    content.append(buffer, static_cast<std::size_t>(count));
  }
  ::close(descriptor);
  if (!status.ok()) return status;
  return content;
}

Status ReadFilePieces(const std::string& path, const std::function<Status(Bytes)>& visit) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return IoStatus("open", path, errno);
  ByteString buffer(1 << 20, '\0');
  Status status;
  while (status.ok()) {
    const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) status = IoStatus("read", path, errno);
    if (count <= 0) break;
    status = visit(Bytes(buffer).substr(0, static_cast<std::size_t>(count)));
  }
  ::close(descriptor);
  return status;
}

Status WriteFileAtomic(const std::string& path, Bytes content) {
  static std::atomic<unsigned> counter{0};  // Two writers of one path must not share a temporary.
  const std::string temporary =
      path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1));
  const Status written = [&] {
    FORESHORE_ASSIGN_OR_RETURN(auto file, File::Create(temporary));
    FORESHORE_RETURN_IF_ERROR(file->Append(content));
    FORESHORE_RETURN_IF_ERROR(file->Sync());
    FORESHORE_RETURN_IF_ERROR(file->Close());
    return RenameDurably(temporary, path);
  }();
  if (!written.ok()) RemoveFile(temporary).IgnoreError();
  return written;
}

Status RenameDurably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return IoStatus("rename", from, errno);
  return SyncDirectory(ParentOf(to));
}

Result<std::unique_ptr<File>> File::Create(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor < 0) return IoStatus("create", path, errno);
  return std::unique_ptr<File>(new File(path, descriptor));
}

Result<std::unique_ptr<File>> File::OpenForAppend(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor < 0) return IoStatus("open", path, errno);
  return std::unique_ptr<File>(new File(path, descriptor));
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status File::Append(Bytes bytes) {
  return WriteAll(descriptor_, bytes, path_);
}

Status File::Sync() {
  if (::fsync(descriptor_) != 0) return IoStatus("sync", path_, errno);
  return Status::Ok();
}

Status File::Close() {
  if (descriptor_ < 0) return Status::Ok();
  const int result = ::close(descriptor_);
  descriptor_ = -1;
  return result == 0 ? Status::Ok() : IoStatus("close", path_, errno);
}

Result<std::unique_ptr<RandomAccessFile>> RandomAccessFile::Open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return IoStatus("open", path, errno);
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) {
    const int error_number = errno;
    ::close(descriptor);
    return IoStatus("stat", path, error_number);
  }
  return std::unique_ptr<RandomAccessFile>(
      new RandomAccessFile(path, descriptor, static_cast<std::uint64_t>(info.st_size)));
}

RandomAccessFile::~RandomAccessFile() {
  ::close(descriptor_);
}

Status RandomAccessFile::ReadAt(std::uint64_t offset, std::size_t count, ByteString* out) const {
  out->resize(count);
  std::size_t done = 0;
  while (done < count) {
    const ssize_t got = ::pread(descriptor_, out->data() + done, count - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return IoStatus("read", path_, errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  out->resize(done);
  return Status::Ok();
}

namespace {

// A file opened for reading, and its size.
struct OpenedFile {
  int descriptor = -1;
  std::size_t size_bytes = 0;
  OpenedFile() = default;
  OpenedFile(OpenedFile&& other) noexcept
      : descriptor(std::exchange(other.descriptor, -1)), size_bytes(other.size_bytes) {}
  OpenedFile& operator=(OpenedFile&&) = delete;
  ~OpenedFile() {
    if (descriptor >= 0) ::close(descriptor);
  }
};

Result<OpenedFile> OpenToMap(const std::string& path) {
  OpenedFile file;
  file.descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file.descriptor < 0) return IoStatus("open", path, errno);
  struct stat info {};
  if (::fstat(file.descriptor, &info) != 0) return IoStatus("stat", path, errno);
  file.size_bytes = static_cast<std::size_t>(info.st_size);
  return file;
}

// nullptr for an empty file.
Result<void*> Map(const OpenedFile& file, int protection, int flags, const std::string& path) {
  if (file.size_bytes == 0) return static_cast<void*>(nullptr);
  void* address = ::mmap(nullptr, file.size_bytes, protection, flags, file.descriptor, 0);
  if (address == MAP_FAILED) return IoStatus("map", path, errno);
  return address;
}

}  // namespace

Result<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  FORESHORE_ASSIGN_OR_RETURN(const OpenedFile file, OpenToMap(path));
  FORESHORE_ASSIGN_OR_RETURN(void* const address, Map(file, PROT_READ, MAP_SHARED, path));
  return std::unique_ptr<MappedFile>(new MappedFile(address, file.size_bytes));
}

MappedFile::~MappedFile() {
  if (address_ != nullptr) ::munmap(address_, size_bytes_);
}

Result<std::unique_ptr<OverlaidFile>> OverlaidFile::Open(const std::string& path) {
  FORESHORE_ASSIGN_OR_RETURN(const OpenedFile file, OpenToMap(path));
  FORESHORE_ASSIGN_OR_RETURN(void* const address, Map(file, PROT_READ, MAP_SHARED, path));
  const Result<void*> overlay = Map(file, PROT_READ | PROT_WRITE, MAP_PRIVATE, path);
  if (!overlay.ok()) {
    if (address != nullptr) ::munmap(address, file.size_bytes);
    return overlay.status();
  }
  return std::unique_ptr<OverlaidFile>(new OverlaidFile(address, *overlay, file.size_bytes));
}

OverlaidFile::~OverlaidFile() {
  if (address_ == nullptr) return;
  ::munmap(address_, size_bytes_);
  ::munmap(overlay_, size_bytes_);
}

}  // namespace foreshore
