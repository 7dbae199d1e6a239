// A disk under the whole process whose power can be cut and whose calls can be made to fail: the C library's functions
// that change files are replaced in the test's executable, so that SQLite's own Unix VFS, RocksDB's own Posix file
// system and our files (INSTANCE, blobs, snapshots) run unchanged on one disk and lose their power in the same moment.
//
// Files below root() are real ones in memory (/dev/shm); the disk keeps beside each what is certain. Content becomes
// certain when its file is synced, a name (made, renamed or removed) when its directory is, and nothing else does it:
// neither closing, nor syncing a file for its own name, nor the order of calls. At the cut every uncertain name by
// itself is there or not, and uncertain content is what UnsyncedFile leaves of it. Lock files and SQLite's shared
// memory are no content: the first go, the second stay or go. What is not seen: std::ofstream, RemoveTree and mmapped
// writes.
//
// Lifetime: one disk at a time in a process. Threads: safe from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace foreshore {

enum class DiskOperation : std::uint8_t { kCreate, kWrite, kTruncate, kSync, kSyncDirectory, kRename, kRemove };
inline constexpr std::size_t kDiskOperationCount = 7;
const char* DiskOperationName(DiskOperation operation);

class SimulatedDisk {
 public:
  explicit SimulatedDisk(std::uint64_t seed);
  ~SimulatedDisk();
  SimulatedDisk(const SimulatedDisk&) = delete;
  SimulatedDisk& operator=(const SimulatedDisk&) = delete;

  const std::string& root() const;  // An empty directory at first, which is certain.

  // Cuts the power during the changing operation number `operation_count` from now; 1 is the next. From then on every
  // change fails with EIO.
  void CutAfter(std::uint64_t operation_count);
  void CutNow();
  bool is_off() const;
  // The power returns: the files are what survived. Every file must have been closed; descriptors from before stay
  // dead.
  void PowerOn();
  // Instead of a random choice, the next cut keeps all that was written, as the death of the process would.
  void KeepEverythingAtNextCut();

  // Changing operations so far.
  std::uint64_t operation_count() const;
  std::uint64_t operation_count(DiskOperation operation) const;
  // The operation number `index` of this kind from now (0 is the next) fails with `error_number` and changes nothing,
  // and so do the `count` - 1 after it.
  void FailAt(DiskOperation operation, std::uint64_t index, int error_number, std::uint64_t count = 1);
  std::uint64_t failed_count() const;
  // Writes that would make the files larger than this together fail with ENOSPC.
  void SetCapacityBytes(std::uint64_t bytes);
  std::uint64_t used_bytes() const;

  // A planted bug: syncs of paths (relative to the root, of files or directories) that match say ok and do nothing.
  void IgnoreSyncs(std::function<bool(std::string_view path)> matches);

  // Syncs of paths that match take this long before they begin, as on a busy device; the other threads go on meanwhile.
  void DelaySyncs(std::function<bool(std::string_view path)> matches, std::uint32_t milliseconds);

  // The last operations, for the report of a failure.
  std::string Trace() const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace foreshore
