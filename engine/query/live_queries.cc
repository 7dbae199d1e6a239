#include "engine/query/live_queries.h"

#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <vector>

#include "engine/database/core.h"
#include "engine/database/expiry.h"
#include "engine/query/live_query.h"
#include "engine/query/subscription_state.h"
#include "storage/base/log.h"

namespace foreshore {

class LiveDispatcher : public std::enable_shared_from_this<LiveDispatcher> {
 public:
  LiveDispatcher(DatabaseCore& core, bool has_thread) : core_(core), has_thread_(has_thread) {}

  Result<std::unique_ptr<Subscription>> Subscribe(std::string_view sql, std::span<const SqlValue> parameters,
                                                  const SubscriptionOptions& options, SubscriptionCallback callback);
  std::size_t Dispatch();
  void RunOnce();
  std::size_t subscription_count() const;
  std::uint64_t run_count() const { return run_count_.load(); }
  void Stop();

 private:
  struct Entry {
    std::shared_ptr<SubscriptionState> state;  // Shared with the application's Subscription.
    std::unique_ptr<LiveQuery> query;          // Guarded by session_mutex_.
    std::int64_t interval_us = 0;
    std::int64_t due_us = INT64_MIN;  // Guarded by session_mutex_: not evaluated before.
  };
  using Entries = std::vector<std::shared_ptr<Entry>>;

  Status OpenSession();
  void StartThread();
  void Run();
  // Evaluates what is pending. Returns how long nothing more can be due.
  std::chrono::microseconds Round();
  std::chrono::microseconds WaitFor(std::int64_t due_in_us) const;  // session_mutex_ is held, or this is the thread.
  void DropEnded();
  bool HasWork() const;
  Status ReadLog(ReadView& view);
  // What expired, or came back because the clock was set back, since the last round.
  Status ReadExpiries(ReadView& view);
  // True where a delivery became ready.
  bool EvaluateEntry(Entry& entry, ReadView& view, std::int64_t now_us);
  bool DeliverReady();
  void InterruptUntilExit();
  Entries TakeEntries() const;
  bool IsStopping() const {
    const std::lock_guard lock(signal_->mutex);
    return signal_->stopping;
  }

  DatabaseCore& core_;  // Not touched after Stop.
  const bool has_thread_;
  const std::shared_ptr<DispatcherSignal> signal_ = std::make_shared<DispatcherSignal>();  // Shared: they outlive us.
  std::atomic<std::uint64_t> run_count_{0};

  mutable std::mutex session_mutex_;          // Held while a statement is compiled or run, never while a callback runs.
  std::shared_ptr<SessionState> session_;     // Guarded by session_mutex_; shared with its statements.
  std::atomic<sqlite3*> front_end_{nullptr};  // session_'s, to interrupt it.
  std::int64_t read_unix_ms_ = INT64_MAX;     // Guarded by session_mutex_: the time of the last round.
  std::int64_t next_expiry_ms_ = INT64_MAX;   // The same: when the next document expires.
  std::int64_t read_sequence_ = 0;            // Guarded by session_mutex_: up to here the log was read.

  mutable std::mutex entries_mutex_;  // Taken after session_mutex_.
  Entries entries_;                   // Guarded by entries_mutex_; each shared with a round in progress.

  std::mutex thread_mutex_;
  std::thread thread_;             // Guarded by thread_mutex_.
  std::uint64_t listener_id_ = 0;  // Guarded by thread_mutex_; 0: none.
};

Status LiveDispatcher::OpenSession() {
  if (session_) return Status::Ok();
  auto session = std::make_shared<SessionState>(core_);
  FORESHORE_RETURN_IF_ERROR(session->Open());
  front_end_ = session->db;
  session_ = std::move(session);
  return Status::Ok();
}

void LiveDispatcher::StartThread() {
  const std::lock_guard lock(thread_mutex_);
  if (listener_id_ != 0 || IsStopping()) return;
  listener_id_ = core_.AddCommitListener([signal = signal_] { signal->Wake(); });
  if (!has_thread_) return;
  thread_ = std::thread([self = shared_from_this()] {
    self->Run();
    const std::lock_guard signal_lock(self->signal_->mutex);
    self->signal_->exited = true;
    self->signal_->changed.notify_all();
  });
}

Result<std::unique_ptr<Subscription>> LiveDispatcher::Subscribe(std::string_view sql,
                                                                std::span<const SqlValue> parameters,
                                                                const SubscriptionOptions& options,
                                                                SubscriptionCallback callback) {
  if (!callback) return Status::InvalidArgument("subscription: there is no callback");
  if (options.row_count_max == 0 || options.interval_min.count() < 0) {
    return Status::InvalidArgument("subscription: row_count_max is " + std::to_string(options.row_count_max) +
                                   " and interval_min " + std::to_string(options.interval_min.count()) +
                                   " ms, expected at least 1 and 0");
  }
  auto entry = std::make_shared<Entry>();
  {
    const std::lock_guard lock(session_mutex_);
    if (IsStopping()) return Status::Cancelled("database: closed, expected an open one");
    FORESHORE_RETURN_IF_ERROR(OpenSession());
    FORESHORE_ASSIGN_OR_RETURN(entry->query, LiveQuery::Prepare(*session_, std::string(sql),
                                                                SqlRow(parameters.begin(), parameters.end()), options));
    entry->interval_us = std::chrono::microseconds(options.interval_min).count();
    entry->state = std::make_shared<SubscriptionState>(signal_, std::move(callback), options.notify);
    const std::lock_guard entries_lock(entries_mutex_);
    entries_.push_back(entry);
  }
  StartThread();
  signal_->Wake();
  return std::make_unique<Subscription>(entry->state);
}

void LiveDispatcher::Run() {
  std::chrono::microseconds wait = std::chrono::microseconds::zero();
  while (true) {
    {
      std::unique_lock lock(signal_->mutex);
      const auto is_woken = [&] { return signal_->wake || signal_->stopping; };
      if (wait == std::chrono::microseconds::max()) {
        signal_->changed.wait(lock, is_woken);
      } else {
        signal_->changed.wait_for(lock, wait, is_woken);
      }
      if (signal_->stopping) return;
      signal_->wake = false;
    }
    wait = Round();
    // Nothing of the database may be touched after a callback without looking whether it was closed inside.
    DeliverReady();
  }
}

void LiveDispatcher::RunOnce() {
  Round();
  DeliverReady();
}

LiveDispatcher::Entries LiveDispatcher::TakeEntries() const {
  const std::lock_guard lock(entries_mutex_);
  return entries_;
}

std::size_t LiveDispatcher::subscription_count() const {
  const Entries entries = TakeEntries();
  return static_cast<std::size_t>(
      std::count_if(entries.begin(), entries.end(), [](const auto& entry) { return entry->state->active(); }));
}

// The statements go here, under the session's lock: the application's threads may hold the entries a little longer.
void LiveDispatcher::DropEnded() {
  std::erase_if(entries_, [](const auto& entry) {
    if (entry->state->active()) return false;
    entry->query.reset();
    return true;
  });
}

bool LiveDispatcher::HasWork() const {
  const std::int64_t now_ms = core_.clock().NowUnixMs();
  return core_.last_sequence() != read_sequence_ || now_ms >= next_expiry_ms_ || now_ms < read_unix_ms_ ||
         std::any_of(entries_.begin(), entries_.end(), [](const auto& entry) { return entry->query->has_pending(); });
}

std::chrono::microseconds LiveDispatcher::Round() {
  constexpr auto kNothingDue = std::chrono::microseconds::max();
  std::vector<std::shared_ptr<SubscriptionState>> to_notify;
  std::int64_t next_due_us = INT64_MAX;
  const std::int64_t now_us = core_.clock().NowMonotonicUs();
  {
    const std::lock_guard lock(session_mutex_);
    if (IsStopping()) return kNothingDue;
    Entries entries;
    {
      const std::lock_guard entries_lock(entries_mutex_);
      DropEnded();
      if (entries_.empty() || !HasWork()) return WaitFor(INT64_MAX);
      entries = entries_;
    }
    auto view = core_.BeginTextRead({});
    // Where the full-text file cannot be read, only the statements that search it fail.
    if (!view.ok()) view = core_.BeginRead();
    Status read = view.ok() ? ReadExpiries(**view) : view.status();
    if (read.ok()) read = ReadLog(**view);
    for (const auto& entry : entries) {
      if (!entry->query->has_pending() || !entry->state->can_take()) continue;
      if (!read.ok()) {
        if (IsStopping()) return kNothingDue;
        ResultChanges failure;
        failure.status = read;
        entry->state->Offer(std::move(failure));
        to_notify.push_back(entry->state);
      } else if (entry->due_us > now_us) {
        next_due_us = std::min(next_due_us, entry->due_us);
      } else if (EvaluateEntry(*entry, **view, now_us)) {
        to_notify.push_back(entry->state);
      }
    }
  }
  for (const auto& state : to_notify) state->Notify();
  return WaitFor(next_due_us == INT64_MAX ? INT64_MAX : next_due_us - now_us);
}

// Until the next statement is due or the next document expires. The wall clock may be set meanwhile, so where documents
// expire at all it is looked at now and then.
std::chrono::microseconds LiveDispatcher::WaitFor(std::int64_t due_in_us) const {
  constexpr std::int64_t kLookAtClockUs = 60'000'000;
  if (next_expiry_ms_ != INT64_MAX) {
    const std::int64_t left_ms = std::max<std::int64_t>(next_expiry_ms_ - core_.clock().NowUnixMs(), 0);
    due_in_us =
        std::min({due_in_us, left_ms > kLookAtClockUs / 1000 ? kLookAtClockUs : left_ms * 1000 + 500, kLookAtClockUs});
  }
  return due_in_us == INT64_MAX ? std::chrono::microseconds::max() : std::chrono::microseconds(due_in_us);
}

Status LiveDispatcher::ReadExpiries(ReadView& view) {
  const std::int64_t now_ms = view.now_unix_ms();
  const std::int64_t before_ms = std::exchange(read_unix_ms_, now_ms);
  const Entries entries = TakeEntries();
  next_expiry_ms_ = INT64_MAX;
  for (const CollectionDefinition& collection : view.catalog().collections) {
    if (collection.expiry_field.empty()) continue;
    Change change;
    change.collection_id = collection.id;
    if (before_ms != INT64_MAX) {
      FORESHORE_RETURN_IF_ERROR(VisitExpiries(view.txn(), collection, std::min(before_ms, now_ms),
                                              std::max(before_ms, now_ms), [&](const ExpiryEntry& entry) {
                                                change.docid = entry.docid;
                                                for (const auto& each : entries) each->query->NoteChange(change);
                                                return true;
                                              }));
    }
    FORESHORE_ASSIGN_OR_RETURN(const auto next, NextExpiry(view.txn(), collection, now_ms));
    if (next) next_expiry_ms_ = std::min(next_expiry_ms_, *next);
  }
  return Status::Ok();
}

Status LiveDispatcher::ReadLog(ReadView& view) {
  const Entries entries = TakeEntries();
  const bool all_are_new =
      std::all_of(entries.begin(), entries.end(), [](const auto& entry) { return entry->query->is_first(); });
  const std::int64_t after = std::exchange(read_sequence_, view.sequence());
  if (all_are_new) return Status::Ok();
  const Status read = core_.log().ReadAfter(view.txn(), after, [&](const Change& change) {
    for (const auto& entry : entries) entry->query->NoteChange(change);
    return true;
  });
  // Checkpoints trim what indexes and sync have passed, and do not ask us.
  if (read.code() != ErrorCode::kConflict) return read;
  for (const auto& entry : entries) entry->query->NoteEverything();
  return Status::Ok();
}

bool LiveDispatcher::EvaluateEntry(Entry& entry, ReadView& view, std::int64_t now_us) {
  const std::uint64_t before = entry.query->run_count();
  auto changes = entry.query->Evaluate(view);
  if (entry.query->run_count() != before) {
    ++run_count_;
    entry.due_us = now_us + entry.interval_us;
  }
  if (changes.ok()) {
    if (!*changes) return false;
    entry.state->Offer(std::move(**changes));
    return true;
  }
  if (IsStopping()) return false;
  ResultChanges failure;
  failure.status = changes.status();
  failure.sequence = view.sequence();
  entry.state->Offer(std::move(failure));
  return true;
}

bool LiveDispatcher::DeliverReady() {
  bool delivered = false;
  for (const auto& entry : TakeEntries()) {
    if (IsStopping()) break;
    if (!entry->state->is_queued() && entry->state->Deliver()) delivered = true;
  }
  return delivered;
}

std::size_t LiveDispatcher::Dispatch() {
  std::size_t count = 0;
  for (const auto& entry : TakeEntries()) {
    if (entry->state->is_queued() && entry->state->Deliver()) ++count;
  }
  return count;
}

void LiveDispatcher::Stop() {
  {
    const std::lock_guard lock(signal_->mutex);
    signal_->stopping = true;
    signal_->changed.notify_all();
  }
  std::thread thread;
  {
    const std::lock_guard lock(thread_mutex_);
    if (listener_id_ != 0) core_.RemoveCommitListener(listener_id_);
    listener_id_ = 0;
    thread = std::move(thread_);
  }
  for (const auto& entry : TakeEntries()) entry->state->End();
  if (thread.joinable()) {
    if (thread.get_id() == std::this_thread::get_id()) {
      thread.detach();  // Closed from inside a callback: the thread ends when it returns, and touches nothing more.
    } else {
      InterruptUntilExit();
      thread.join();
    }
  }
  const std::lock_guard lock(session_mutex_);
  const std::lock_guard entries_lock(entries_mutex_);
  DropEnded();
  front_end_ = nullptr;
  session_.reset();
}

// A statement that is being stepped ends; again and again, since one may begin just after an interrupt.
void LiveDispatcher::InterruptUntilExit() {
  std::unique_lock lock(signal_->mutex);
  while (!signal_->exited) {
    if (sqlite3* front_end = front_end_.load()) sqlite3_interrupt(front_end);
    signal_->changed.wait_for(lock, std::chrono::milliseconds(5));
  }
}

LiveQueries::LiveQueries(DatabaseCore& core, bool has_thread)
    : dispatcher_(std::make_shared<LiveDispatcher>(core, has_thread)) {}

LiveQueries::~LiveQueries() {
  Stop();
}

Result<std::unique_ptr<Subscription>> LiveQueries::Subscribe(std::string_view sql, std::span<const SqlValue> parameters,
                                                             const SubscriptionOptions& options,
                                                             SubscriptionCallback callback) {
  return dispatcher_->Subscribe(sql, parameters, options, std::move(callback));
}

std::size_t LiveQueries::Dispatch() {
  return dispatcher_->Dispatch();
}

void LiveQueries::RunOnce() {
  dispatcher_->RunOnce();
}

std::size_t LiveQueries::subscription_count() const {
  return dispatcher_->subscription_count();
}

std::uint64_t LiveQueries::run_count() const {
  return dispatcher_->run_count();
}

void LiveQueries::Stop() {
  dispatcher_->Stop();
}

}  // namespace foreshore
