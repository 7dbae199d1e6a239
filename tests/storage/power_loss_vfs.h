// A disk in memory under SQLite whose power can be cut: a SQLite VFS that knows what was synced and what was not.
//
// The model. Bytes become durable when their file is synced; names when the directory is, which happens as in SQLite's
// own Unix VFS: with the first sync of a new journal or log, and with a delete that asks for it. At the cut an unsynced
// creation or deletion is kept or lost, and unsynced content is what UnsyncedFile leaves of it (SQLite relies on bytes
// that no write touched: POWERSAFE_OVERWRITE). Shared memory and locks live as long as the power does, so a store works
// with all its connections.
//
// Lifetime: the disk outlives every connection on it. Threads: safe from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace foreshore {

class PowerLossDisk {
 public:
  // `name` is what the VFS is registered as, so it differs between disks that live together.
  PowerLossDisk(const std::string& name, std::uint64_t seed);
  ~PowerLossDisk();
  PowerLossDisk(const PowerLossDisk&) = delete;
  PowerLossDisk& operator=(const PowerLossDisk&) = delete;

  const std::string& vfs_name() const;

  // Cuts the power during the changing operation (write, truncate, sync, delete) number `operation_count` from now;
  // 1 is the next. From then on every call fails.
  void CutAfter(std::uint64_t operation_count);
  void CutNow();
  bool is_off() const;
  // Changing operations so far.
  std::uint64_t operation_count() const;
  // The power returns: files are what survived. Handles from before stay dead.
  void PowerOn();

  enum class FileKind { kDatabase, kWriteAheadLog };
  // A planted bug: syncs of such files say ok and do nothing.
  void IgnoreSyncs(FileKind kind);
  // The next sync of such a file fails with an I/O error and makes nothing durable.
  void FailNextSync(FileKind kind);
  // Instead of a random choice, the next cut keeps all that was written, as the death of the process would.
  void KeepEverythingAtNextCut();

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace foreshore
