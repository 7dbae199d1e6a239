// What a Subscription and the database share: the callback, the delivery that waits for it, and whether it goes on.
//
// Threads: safe from any thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "foreshore/subscription.h"

namespace foreshore {

// Wakes the thread that evaluates; outlives it where subscriptions do.
struct DispatcherSignal {
  std::mutex mutex;
  std::condition_variable changed;
  bool wake = false;      // Guarded by mutex.
  bool stopping = false;  // Guarded by mutex.
  bool exited = false;    // Guarded by mutex: the thread has ended.

  void Wake() {
    const std::lock_guard lock(mutex);
    wake = true;
    changed.notify_all();
  }
};

class SubscriptionState {
 public:
  SubscriptionState(std::shared_ptr<DispatcherSignal> signal, SubscriptionCallback callback,
                    std::function<void()> notify)
      : signal_(std::move(signal)),
        is_queued_(static_cast<bool>(notify)),
        callback_(std::move(callback)),
        notify_(std::move(notify)) {}

  bool is_queued() const { return is_queued_; }
  bool active() const;
  // Whether nothing waits to be delivered.
  bool can_take() const;
  void Offer(ResultChanges changes);
  // Tells the application that something is ready; no lock of the database may be held.
  void Notify();
  // Runs the callback for what is ready; false where nothing was.
  bool Deliver();
  // No callback begins after this; waits for one that runs, unless it is the caller's own.
  void Cancel();
  // The same without waiting.
  void End();

 private:
  void EndLocked();

  const std::shared_ptr<DispatcherSignal> signal_;  // Shared with the dispatcher.
  const bool is_queued_;
  mutable std::mutex mutex_;
  std::condition_variable finished_;
  // All guarded by mutex_. The functions live until no call of them runs.
  SubscriptionCallback callback_;
  std::function<void()> notify_;
  std::optional<ResultChanges> ready_;
  bool active_ = true;
  bool is_running_ = false;
  std::thread::id runner_;
};

}  // namespace foreshore
