#include "engine/query/subscription_state.h"

#include "storage/base/log.h"

namespace foreshore {

bool SubscriptionState::active() const {
  const std::lock_guard lock(mutex_);
  return active_;
}

bool SubscriptionState::can_take() const {
  const std::lock_guard lock(mutex_);
  return active_ && !ready_;
}

void SubscriptionState::Offer(ResultChanges changes) {
  const std::lock_guard lock(mutex_);
  if (active_) ready_ = std::move(changes);
}

void SubscriptionState::Notify() {
  std::function<void()> notify;
  {
    const std::lock_guard lock(mutex_);
    if (active_ && ready_) notify = notify_;
  }
  if (!notify) return;
  try {
    notify();
  } catch (...) {
    Log(LogLevel::kError, "subscription", "the application's notify function threw");
  }
}

bool SubscriptionState::Deliver() {
  std::optional<ResultChanges> changes;
  {
    const std::lock_guard lock(mutex_);
    // A callback that calls Dispatch must not be entered a second time; it is told at the next call.
    if (!active_ || !ready_ || is_running_) return false;
    changes = std::exchange(ready_, std::nullopt);
    is_running_ = true;
    runner_ = std::this_thread::get_id();
  }
  try {
    callback_(*changes);
  } catch (...) {
    // No exception crosses the library, and a callback that throws has no one else to tell.
    Log(LogLevel::kError, "subscription", "the callback threw");
  }
  SubscriptionCallback gone;
  {
    const std::lock_guard lock(mutex_);
    is_running_ = false;
    runner_ = {};
    if (!changes->status.ok()) EndLocked();
    if (!active_) gone = std::exchange(callback_, nullptr);
    finished_.notify_all();
  }
  signal_->Wake();
  return true;
}

void SubscriptionState::EndLocked() {
  active_ = false;
  ready_.reset();
}

void SubscriptionState::Cancel() {
  SubscriptionCallback gone;
  std::function<void()> gone_notify;
  {
    std::unique_lock lock(mutex_);
    EndLocked();
    gone_notify = std::exchange(notify_, nullptr);
    if (is_running_ && runner_ == std::this_thread::get_id()) return;
    finished_.wait(lock, [&] { return !is_running_; });
    gone = std::exchange(callback_, nullptr);
  }
  signal_->Wake();
}

void SubscriptionState::End() {
  const std::lock_guard lock(mutex_);
  EndLocked();
}

Subscription::~Subscription() {
  Cancel();
}

void Subscription::Cancel() {
  state_->Cancel();
}

bool Subscription::active() const {
  return state_->active();
}

bool Subscription::Dispatch() {
  return state_->is_queued() && state_->Deliver();
}

}  // namespace foreshore
