// A shared mutex that cannot starve its writer: whoever waits to write keeps new readers out. (std::shared_mutex on
// Linux prefers readers, so overlapping searches could hold up a commit for ever.) For std::unique_lock and
// std::shared_lock.
//
// Threads: every member is safe from any thread; a reader must not lock again while it holds the lock.
#pragma once

#include <mutex>
#include <shared_mutex>

namespace foreshore {

class FairSharedMutex {
 public:
  void lock() {
    const std::lock_guard<std::mutex> gate(gate_);
    mutex_.lock();
  }
  void unlock() { mutex_.unlock(); }
  void lock_shared() {
    const std::lock_guard<std::mutex> gate(gate_);
    mutex_.lock_shared();
  }
  void unlock_shared() { mutex_.unlock_shared(); }

 private:
  std::mutex gate_;  // Held while waiting for mutex_, so that all wait in one line.
  std::shared_mutex mutex_;
};

}  // namespace foreshore
