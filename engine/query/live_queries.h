// The subscriptions of one database: after commits it runs those statements again that a change can matter to, and
// hands out what differs. All statements of one round read one snapshot.
//
// One thread evaluates, and runs the callbacks of subscriptions that have no `notify`. It starts with the first
// subscription. A subscription has at most one delivery waiting; until it was taken, what else changes is only noted.
//
// Threads: safe from any thread. Lifetime: goes (or Stop is called) before the core.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "foreshore/subscription.h"

namespace foreshore {

class DatabaseCore;
class LiveDispatcher;

class LiveQueries {
 public:
  // Without a thread everything happens inside RunOnce, for tests.
  explicit LiveQueries(DatabaseCore& core, bool has_thread = true);
  ~LiveQueries();
  LiveQueries(const LiveQueries&) = delete;
  LiveQueries& operator=(const LiveQueries&) = delete;

  Result<std::unique_ptr<Subscription>> Subscribe(std::string_view sql, std::span<const SqlValue> parameters,
                                                  const SubscriptionOptions& options, SubscriptionCallback callback);
  // Runs the callbacks of subscriptions with `notify` that have something ready, on this thread. Returns how many.
  std::size_t Dispatch();
  // One round of evaluation and the callbacks that are due. Only without a thread.
  void RunOnce();
  // Subscriptions that go on, and how often their statements were run in full: for statistics and tests.
  std::size_t subscription_count() const;
  std::uint64_t run_count() const;
  // Ends all subscriptions and the thread; a callback that runs is waited for, except from inside it.
  void Stop();

 private:
  std::shared_ptr<LiveDispatcher> dispatcher_;  // Shared with its thread.
};

}  // namespace foreshore
