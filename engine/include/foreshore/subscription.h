// Live queries: a statement whose result an application follows.
//
//   auto subscription = *db->Subscribe("SELECT id, text FROM notes WHERE site = ?1 ORDER BY text", {{"A"}}, {},
//                                      [](const foreshore::ResultChanges& changes) { … });
//
// The first delivery holds the rows that are there. After commits that touch what the statement reads (local writes,
// changes that came by sync, vectors that a model filled in) a delivery says what differs from the one before. Commits
// that follow one another closely are told together. Each delivery shows one snapshot, and names its log sequence;
// deliveries come in order, one at a time.
//
// Which row is which: rows are the same where the result's id columns are (columns that are the `id` of a collection,
// under whatever name). Where there is none, or where several rows have the same ids, equal rows are the same; what is
// then left over of one id is paired in order. So without an id column there are no updates, only removals and
// insertions.
//
// What the statement reads is found when it is prepared. A change is looked at by itself where the statement reads one
// collection row by row (no aggregate, DISTINCT, OFFSET, MATCH or subquery) and shows its id: the statement is then run
// again only if a changed document is in the result or now belongs there. Otherwise every change to a collection that
// it reads runs it again. Time (`datetime('now')`) and random() count for nothing: they change a result when something
// else makes the statement run.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "foreshore/sql.h"
#include "foreshore/status.h"

namespace foreshore {

using SqlRow = std::vector<SqlValue>;

struct RowChange {
  enum class Kind : std::uint8_t { kInserted = 1, kUpdated = 2, kRemoved = 3 };
  Kind kind = Kind::kInserted;
  std::size_t old_position = 0;  // kUpdated, kRemoved: in the result before.
  std::size_t new_position = 0;  // kInserted, kUpdated: in the result now.
  SqlRow old_row = {};           // kUpdated, kRemoved.
  SqlRow new_row = {};           // kInserted, kUpdated. Equal to old_row: the row only moved.
};

// To come from the result before to the one now: take out all rows at old positions, then put rows in at their new
// positions, lowest first. Rows that are not named keep their order.
struct ResultChanges {
  Status status;              // Not ok: the statement can no longer be run; the subscription has ended.
  bool is_first = false;      // The whole result, as insertions.
  std::int64_t sequence = 0;  // Of the change log: what was committed up to here is in.
  std::vector<std::string> columns;
  std::vector<RowChange> changes;  // Removals by old position, then the others by new position.
  std::size_t row_count = 0;       // Of the result now.
};

// Does what the comment above says. `rows` must be the result before.
void ApplyChanges(std::vector<SqlRow>& rows, const ResultChanges& changes);

using SubscriptionCallback = std::function<void(const ResultChanges&)>;

struct SubscriptionOptions {
  std::chrono::milliseconds interval_min{0};   // Between two deliveries; what happens in between comes together.
  std::size_t row_count_max = 10'000;          // A larger result ends the subscription with kLimit.
  std::size_t result_bytes_max = 16ULL << 20;  // The same for the bytes of the values.
  // Empty: callbacks run on one background thread that all subscriptions of the database share, so a slow callback
  // holds up the others. Set: nothing runs by itself; `notify` is called, on any thread, when a delivery is ready, and
  // the callback runs inside Subscription::Dispatch or Database::DispatchSubscriptions, on the application's thread.
  std::function<void()> notify = {};
};

class SubscriptionState;

// Ends when it goes. Callbacks may use the database, read and write, and may cancel, this subscription included.
// Closing the database ends its subscriptions without a further callback.
// Threads: any; may outlive its Database.
class Subscription {
 public:
  explicit Subscription(std::shared_ptr<SubscriptionState> state) : state_(std::move(state)) {}
  ~Subscription();
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

  // No callback begins after this; returns once none is running, or at once where it is called from inside its own.
  void Cancel();
  // False after Cancel, after an error was delivered, and after the database closed.
  bool active() const;
  // Only with `notify`: runs the callback for what is ready. False where nothing was.
  bool Dispatch();

 private:
  std::shared_ptr<SubscriptionState> state_;  // Shared with the database.
};

}  // namespace foreshore
