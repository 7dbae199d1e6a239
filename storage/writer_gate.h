// Lets one writer at a time into a store, and others wait for it with a limit.
//
// Not a mutex: a transaction may end on another thread than the one that began it.
// Threads: safe from any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace foreshore {

class WriterGate {
 public:
  // False when the current writer did not leave within `timeout`.
  bool Enter(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    if (!left_.wait_for(lock, timeout, [this] { return !occupied_; })) return false;
    occupied_ = true;
    return true;
  }
  void Leave() {
    {
      const std::lock_guard lock(mutex_);
      occupied_ = false;
    }
    left_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable left_;
  bool occupied_ = false;  // Guarded by mutex_.
};

// Leaves the gate with the scope that entered it.
class WriterGatePass {
 public:
  explicit WriterGatePass(WriterGate& gate) : gate_(&gate) {}
  ~WriterGatePass() { Leave(); }
  WriterGatePass(WriterGatePass&& other) noexcept : gate_(other.gate_) { other.gate_ = nullptr; }
  WriterGatePass& operator=(WriterGatePass&&) = delete;

  // Who calls this takes over the duty to leave.
  void Hand() { gate_ = nullptr; }
  void Leave() {
    if (gate_ != nullptr) gate_->Leave();
    gate_ = nullptr;
  }

 private:
  WriterGate* gate_;  // Null once left.
};

}  // namespace foreshore
