// Live queries with their thread. Waits are for conditions, never for time.
#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "engine/query/live_queries.h"
#include "foreshore/database.h"
#include "tests/temporary_directory.h"

namespace foreshore {

namespace {

std::unique_ptr<Database> OpenDatabase(const TemporaryDirectory& directory) {
  DatabaseOptions options;
  options.create = true;
  options.durability = Durability::kNormal;
  auto opened = Database::Open(directory.path() + "/db.foreshore", options);
  REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
  return std::move(opened).value();
}

// The result as the callbacks tell it, to be waited for.
class Watched {
 public:
  void Take(const ResultChanges& changes) {
    const std::lock_guard lock(mutex_);
    if (!changes.status.ok()) failure_ = changes.status;
    ordered_ = ordered_ && changes.sequence >= sequence_;
    sequence_ = changes.sequence;
    ApplyChanges(rows_, changes);
    ++delivery_count_;
    changed_.notify_all();
  }
  void WaitFor(const std::function<bool(const std::vector<SqlRow>&)>& wanted) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return wanted(rows_) || !failure_.ok(); });
    CHECK_MESSAGE(failure_.ok(), failure_.ToString());
    CHECK(ordered_);
  }
  std::size_t delivery_count() const {
    const std::lock_guard lock(mutex_);
    return delivery_count_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<SqlRow> rows_;
  Status failure_;
  std::int64_t sequence_ = 0;
  bool ordered_ = true;
  std::size_t delivery_count_ = 0;
};

std::unique_ptr<Subscription> Follow(Database& db, const std::string& sql, Watched& watched,
                                     const SubscriptionOptions& options = {}) {
  auto made = db.Subscribe(sql, {}, options, [&](const ResultChanges& changes) { watched.Take(changes); });
  REQUIRE_MESSAGE(made.ok(), made.status().ToString());
  return std::move(made).value();
}

}  // namespace

TEST_CASE("live threads: writers, readers, subscriptions that come and go, and checkpoints work together") {
  TemporaryDirectory directory;
  const auto db = OpenDatabase(directory);
  REQUIRE(db->CreateCollection("notes").ok());
  CHECK(db->Put("notes", "first", R"({"n":1})").ok());
  Watched all;
  Watched few;
  const auto first = Follow(*db, "SELECT count(*), sum(n) FROM notes", all);
  const auto second = Follow(*db, "SELECT id FROM notes WHERE n % 10 = 0", few);
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  for (int writer = 0; writer < 2; ++writer) {
    threads.emplace_back([&, writer] {
      for (int i = 0; i < 100; ++i) {
        const auto put =
            db->Put("notes", std::to_string(writer) + "-" + std::to_string(i), R"({"n":)" + std::to_string(i) + "}");
        CHECK(put.ok());
      }
    });
  }
  threads.emplace_back([&] {
    while (!done) CHECK(db->Query("SELECT count(*) FROM notes").ok());
  });
  threads.emplace_back([&] {
    while (!done) CHECK(db->Checkpoint().ok());
  });
  threads.emplace_back([&] {
    while (!done) {
      Watched brief;
      const auto passing = Follow(*db, "SELECT id, n FROM notes ORDER BY n DESC LIMIT 3", brief);
      passing->Cancel();  // `brief` goes: no callback may run after this.
    }
  });
  all.WaitFor([](const std::vector<SqlRow>& rows) {
    return rows.size() == 1 && rows[0] == SqlRow{std::int64_t{201}, std::int64_t{9901}};
  });
  few.WaitFor([](const std::vector<SqlRow>& rows) { return rows.size() == 20; });
  done = true;
  for (std::thread& thread : threads) thread.join();
  const auto stats = db->Stats();
  REQUIRE(stats.ok());
  CHECK(stats->subscription_count == 2);
  first->Cancel();
  second->Cancel();
  CHECK(db->Stats()->subscription_count == 0);
  CHECK(db->Close().ok());
}

TEST_CASE("live threads: Cancel waits for a callback that runs on another thread") {
  TemporaryDirectory directory;
  const auto db = OpenDatabase(directory);
  REQUIRE(db->CreateCollection("notes").ok());
  std::promise<void> entered;
  std::promise<void> leave;
  std::atomic<bool> left = false;
  auto made = db->Subscribe("SELECT id FROM notes", {}, {}, [&](const ResultChanges&) {
    entered.set_value();
    leave.get_future().wait();
    left = true;
  });
  REQUIRE(made.ok());
  entered.get_future().wait();
  std::promise<void> cancelling;
  std::thread canceller([&] {
    cancelling.set_value();
    (*made)->Cancel();
    CHECK(left);
  });
  cancelling.get_future().wait();
  leave.set_value();
  canceller.join();
  CHECK_FALSE((*made)->active());
}

TEST_CASE("live threads: closing ends live subscriptions, which may outlive the database") {
  TemporaryDirectory directory;
  std::unique_ptr<Subscription> subscription;
  std::unique_ptr<Subscription> queued;
  Watched watched;
  {
    const auto db = OpenDatabase(directory);
    REQUIRE(db->CreateCollection("notes").ok());
    subscription = Follow(*db, "SELECT count(*) FROM notes", watched);
    SubscriptionOptions options;
    options.notify = [] {};
    queued = Follow(*db, "SELECT id FROM notes", watched, options);
    watched.WaitFor([](const std::vector<SqlRow>& rows) { return rows.size() == 1; });
    CHECK(db->Put("notes", "a", "{}").ok());
    CHECK(db->Close().ok());
    CHECK_FALSE(subscription->active());
    CHECK(db->Subscribe("SELECT 1", {}, {}, [](const ResultChanges&) {}).status().code() == ErrorCode::kCancelled);
  }
  CHECK_FALSE(queued->Dispatch());
  subscription->Cancel();
}

TEST_CASE("live threads: closing does not wait for a statement that runs long") {
  TemporaryDirectory directory;
  const auto db = OpenDatabase(directory);
  auto made = db->Subscribe(
      "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100000000000) SELECT count(*) FROM c",
      {}, {}, [](const ResultChanges&) { CHECK(false); });
  REQUIRE(made.ok());
  CHECK(db->Close().ok());  // It would take hours.
  CHECK_FALSE((*made)->active());
}

TEST_CASE("live threads: a callback may close the database") {
  TemporaryDirectory directory;
  const auto db = OpenDatabase(directory);
  REQUIRE(db->CreateCollection("notes").ok());
  std::promise<Status> closed;
  auto made =
      db->Subscribe("SELECT id FROM notes", {}, {}, [&](const ResultChanges&) { closed.set_value(db->Close()); });
  REQUIRE(made.ok());
  CHECK(closed.get_future().get().ok());
  (*made)->Cancel();
  CHECK_FALSE((*made)->active());
}

TEST_CASE("live threads: deliveries reach the application's own loop through notify") {
  TemporaryDirectory directory;
  const auto db = OpenDatabase(directory);
  REQUIRE(db->CreateCollection("notes").ok());
  std::mutex mutex;
  std::condition_variable ready;
  int ready_count = 0;
  SubscriptionOptions options;
  options.notify = [&] {
    const std::lock_guard lock(mutex);
    ++ready_count;
    ready.notify_all();
  };
  const std::thread::id loop = std::this_thread::get_id();
  std::vector<SqlRow> rows;
  auto made = db->Subscribe("SELECT id FROM notes ORDER BY id", {}, options, [&](const ResultChanges& changes) {
    CHECK(std::this_thread::get_id() == loop);
    ApplyChanges(rows, changes);
  });
  REQUIRE(made.ok());
  std::thread writer([&] {
    for (int i = 0; i < 20; ++i) CHECK(db->Put("notes", "n" + std::to_string(i), "{}").ok());
  });
  while (rows.size() < 20) {
    {
      std::unique_lock lock(mutex);
      ready.wait(lock, [&] { return ready_count > 0; });
      --ready_count;
    }
    db->DispatchSubscriptions();
  }
  writer.join();
  (*made)->Cancel();
}

}  // namespace foreshore
