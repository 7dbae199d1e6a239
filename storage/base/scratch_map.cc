#include "storage/base/scratch_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "storage/base/file.h"

namespace foreshore {
namespace {

// -1 with errno set where it fails.
int OpenUnnamed(const std::string& folder) {
#ifdef O_TMPFILE
  const int descriptor = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor >= 0 || errno == ENOENT || errno == EACCES || errno == ENOSPC) return descriptor;
#endif
  // A file system without unnamed files: it has a name for a moment.
  static std::atomic<unsigned> counter{0};
  const std::string path = folder + kScratchName + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  const int named = ::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (named >= 0) ::unlink(path.c_str());
  return named;
}

// 0, or the number of an error.
int TakeRoom(int descriptor, std::size_t size_bytes) {
#ifdef __APPLE__
  (void)descriptor, (void)size_bytes;
  return ENOTSUP;
#else
  return ::posix_fallocate(descriptor, 0, static_cast<off_t>(size_bytes));
#endif
}

}  // namespace

Result<char*> MapScratch(const std::string& folder, std::size_t size_bytes) {
  const int descriptor = OpenUnnamed(folder);
  if (descriptor < 0) return IoStatus("open an unnamed file", folder, errno);
  const int error_number = TakeRoom(descriptor, size_bytes);
  void* address = MAP_FAILED;
  if (error_number == 0) address = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  const int map_error_number = errno;
  ::close(descriptor);  // The map keeps the file.
  if (error_number != 0) return IoStatus("take room", folder, error_number);
  if (address == MAP_FAILED) return IoStatus("map", folder, map_error_number);
  // Rows are read here and there: what lies around one is not worth memory. Only a wish.
  ::madvise(address, size_bytes, MADV_RANDOM);
  return static_cast<char*>(address);
}

void ReleaseScratch(char* bytes, std::size_t size_bytes) {
  ::munmap(bytes, size_bytes);
}

}  // namespace foreshore
