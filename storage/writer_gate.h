// Lets one writer at a time into a store, and others wait for it with a limit; who waits in vain learns who is inside.
//
// Not a mutex: a transaction may end on another thread than the one that began it.
// Threads: safe from any thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace foreshore {

class WriterGate {
 public:
  // `purpose` says what the writer does, for those who wait. False when the current writer did not leave within
  // `timeout`, or once `should_stop`, which is asked now and then on this thread, says so.
  bool Enter(std::chrono::milliseconds timeout, std::string_view purpose,
             const std::function<bool()>& should_stop = nullptr) {
    const auto deadline = Clock::now() + std::min<std::chrono::milliseconds>(timeout, kTimeoutMax);
    std::unique_lock lock(mutex_);
    while (occupied_) {
      const auto until = should_stop ? std::min(deadline, Clock::now() + kAskInterval) : deadline;
      if (left_.wait_until(lock, until, [this] { return !occupied_; })) break;
      if (Clock::now() >= deadline) return false;
      if (should_stop) {
        lock.unlock();
        if (should_stop()) return false;
        lock.lock();
      }
    }
    occupied_ = true;
    purpose_ = purpose;
    since_ = Clock::now();
    return true;
  }
  // However long it takes.
  void Enter(std::string_view purpose) {
    while (!Enter(kTimeoutMax, purpose)) continue;
  }
  void Leave() {
    {
      const std::lock_guard lock(mutex_);
      occupied_ = false;
    }
    left_.notify_one();
  }
  // Who is inside and for how long, such as "a checkpoint has been writing for 312 ms".
  std::string DescribeHolder() const {
    const std::lock_guard lock(mutex_);
    if (!occupied_) return "another writer has just left";
    const auto held = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - since_);
    return purpose_ + " has been writing for " + std::to_string(held.count()) + " ms";
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kAskInterval{20};
  static constexpr std::chrono::hours kTimeoutMax{24 * 365};  // What a deadline can hold with room to spare.

  mutable std::mutex mutex_;
  std::condition_variable left_;
  bool occupied_ = false;  // Guarded by mutex_, like what follows.
  std::string purpose_;    // Of who is inside.
  Clock::time_point since_{};
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
