// An SQLite VFS over the system's own whose writes fail as on a full disk while told so.
//
// Threads: safe from any thread. Lifetime: registered once, for the process.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace foreshore {

class FullDiskVfs {
 public:
  static constexpr const char* kName = "foreshore_full_disk";

  static FullDiskVfs& Get() {
    static FullDiskVfs vfs;
    return vfs;
  }
  std::atomic<bool> is_full{false};
  std::atomic<int> refused_count{0};

 private:
  struct Methods {
    sqlite3_io_methods patched;  // First, so that a file's methods lead here.
    const sqlite3_io_methods* original;
  };

  FullDiskVfs() : vfs_(*sqlite3_vfs_find(nullptr)) {
    vfs_.zName = kName;
    vfs_.pNext = nullptr;
    vfs_.xOpen = &Open;
    sqlite3_vfs_register(&vfs_, 0);
  }

  static int Open(sqlite3_vfs*, sqlite3_filename name, sqlite3_file* file, int flags, int* out_flags) {
    sqlite3_vfs* const system = sqlite3_vfs_find(nullptr);
    const int code = system->xOpen(system, name, file, flags, out_flags);
    if (code != SQLITE_OK || file->pMethods == nullptr) return code;
    FullDiskVfs& self = Get();
    const std::lock_guard lock(self.mutex_);
    auto& methods = self.methods_[file->pMethods];
    if (!methods) {
      methods = std::make_unique<Methods>(Methods{*file->pMethods, file->pMethods});
      methods->patched.xWrite = &Write;
    }
    file->pMethods = &methods->patched;
    return code;
  }

  static int Write(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 offset) {
    if (Get().is_full) {
      ++Get().refused_count;
      return SQLITE_FULL;
    }
    return reinterpret_cast<const Methods*>(file->pMethods)->original->xWrite(file, bytes, count, offset);
  }

  sqlite3_vfs vfs_;
  std::mutex mutex_;
  std::map<const sqlite3_io_methods*, std::unique_ptr<Methods>> methods_;  // Guarded by mutex_.
};

}  // namespace foreshore
