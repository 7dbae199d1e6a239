// Statements are stopped while they run, wait and pause, and what comes after them works.

#include <thread>

#include "tests/engine/query/sql_test_database.h"

using namespace foreshore;

namespace {

// Ends for no reason of its own and yields no row.
constexpr const char* kEndless =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";

struct CancelFixture : SqlTestDatabase {
  CancelFixture() {
    Collection("t");
    Put("t", "a", R"({"n":1})");
    Put("t", "b", R"({"n":2})");
  }
  std::unique_ptr<SqlSession> Session(const SqlOptions& options) {
    auto created = SqlSession::Create(*core, options);
    REQUIRE(created.ok());
    return std::move(created).value();
  }
};

void CheckCancelled(const Status& status, std::string_view words) {
  CHECK(status.code() == ErrorCode::kCancelled);
  CHECK_MESSAGE(status.message().find(words) != std::string::npos, status.message());
}

}  // namespace

TEST_CASE_FIXTURE(CancelFixture, "cancel: a statement without rows stops at its time limit, and the next one runs") {
  SqlOptions options;
  options.time_limit = std::chrono::milliseconds(20);
  const auto limited = Session(options);
  for (int round = 0; round < 2; ++round) {
    CheckCancelled(FailureOf(*limited, kEndless), "longer than its time limit of 20 ms");
    CHECK(Rows(*limited, "SELECT n FROM t ORDER BY id") == "1; 2");
  }
  SqlSessions sessions(*core);
  const auto pooled = sessions.Prepare(kEndless, options);
  REQUIRE(pooled.ok());
  CheckCancelled((*pooled)->Step().status(), "time limit");
  // A session that is used again forgets the limit.
  CHECK(Rows(sessions, "SELECT n FROM t ORDER BY id") == "1; 2");
}

TEST_CASE_FIXTURE(CancelFixture, "cancel: a self-join of collections, a sort and an UPDATE stop at the time limit") {
  SqlOptions options;
  options.time_limit = std::chrono::milliseconds(20);
  const auto limited = Session(options);
  CHECK(Rows(*session,
             "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 300) INSERT INTO t "
             "(id, n) SELECT 'x' || x, x FROM c")
            .empty());
  const std::string before = Rows(*session, "SELECT count(*), total(n) FROM t");
  for (const char* sql : {"SELECT count(*) FROM t a, t b, t c, t d WHERE a.n + b.n + c.n + d.n = -1",
                          "SELECT a.n FROM t a, t b, t c ORDER BY a.n * b.n * c.n LIMIT 1",
                          "UPDATE t SET n = (SELECT count(*) FROM t b, t c, t d WHERE b.n + c.n = d.n - t.n)"}) {
    CAPTURE(sql);
    CheckCancelled(FailureOf(*limited, sql), "time limit");
    CHECK(Rows(*limited, "BEGIN").empty());
    CHECK(Rows(*limited, "INSERT INTO t (id, n) VALUES ('kept', 0)").empty());
    CheckCancelled(FailureOf(*limited, sql), "time limit");
    CHECK(limited->in_transaction());
    CHECK(Rows(*limited, "DELETE FROM t WHERE id = 'kept'").empty());
    CHECK(Rows(*limited, "COMMIT").empty());
    CHECK(Rows(*session, "SELECT count(*), total(n) FROM t") == before);
  }
}

TEST_CASE_FIXTURE(CancelFixture, "cancel: another thread stops a statement that runs") {
  std::atomic<bool> is_running{false};
  SqlOptions options;
  options.keep_going = [&] {
    is_running.store(true);
    return true;
  };
  const auto watched = Session(options);
  const auto endless = *watched->Prepare(kEndless);
  for (const bool all : {false, true}) {
    is_running.store(false);
    std::thread stopper([&] {
      while (!is_running.load()) std::this_thread::yield();
      if (all) {
        watched->Interrupt();
      } else {
        endless->Cancel();
      }
    });
    CheckCancelled(endless->Step().status(), all ? "interrupted" : "was cancelled");
    stopper.join();
    REQUIRE(endless->Reset().ok());
  }
}

TEST_CASE_FIXTURE(CancelFixture, "cancel: a statement between its steps is stopped, one that begins later is not") {
  const auto open = *session->Prepare("SELECT n FROM t ORDER BY id");
  const auto later = *session->Prepare("SELECT n FROM t ORDER BY id");
  REQUIRE(*open->Step());
  session->Interrupt();
  CHECK(*later->Step());
  CheckCancelled(open->Step().status(), "interrupted");
  REQUIRE(open->Reset().ok());
  CHECK(*open->Step());
  later->Cancel();
  CheckCancelled(later->Step().status(), "was cancelled");
  CHECK(*open->Step());
  later->Cancel();  // It is over already.
  REQUIRE(later->Reset().ok());
  CHECK(*later->Step());
}

TEST_CASE_FIXTURE(CancelFixture, "cancel: an interrupted write is undone alone and its transaction goes on") {
  int asked_count = 0;
  SqlOptions options;
  options.keep_going = [&] { return ++asked_count < 2; };
  const auto stopped = Session(options);
  CHECK(Rows(*stopped, "BEGIN").empty());
  CHECK(Rows(*stopped, "INSERT INTO t (id, n) VALUES ('c', 3)").empty());
  // Writes row after row until it is stopped.
  CheckCancelled(FailureOf(*stopped,
                           "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
                           "INSERT INTO t (id, n) SELECT 'x' || x, x FROM c"),
                 "stopped by its caller");
  CHECK(stopped->in_transaction());
  CHECK(Rows(*stopped, "COMMIT").empty());
  CHECK(Rows(*session, "SELECT id FROM t ORDER BY id") == "a; b; c");
}

TEST_CASE_FIXTURE(CancelFixture, "cancel: waiting for another writer ends at the time limit and on demand") {
  CHECK(Rows(*session, "BEGIN IMMEDIATE").empty());
  SqlOptions options;
  options.busy_timeout = std::chrono::hours(1);
  options.time_limit = std::chrono::milliseconds(30);
  CheckCancelled(FailureOf(*Session(options), "DELETE FROM t"), "time limit");
  options.time_limit = std::chrono::milliseconds(0);
  int asked_count = 0;
  options.keep_going = [&] { return ++asked_count < 2; };
  const auto waiting = Session(options);
  CheckCancelled(FailureOf(*waiting, "DELETE FROM t"), "stopped by its caller");
  asked_count = 0;
  CheckCancelled(FailureOf(*waiting, "BEGIN IMMEDIATE"), "stopped by its caller");
  CHECK(Rows(*session, "ROLLBACK").empty());
  asked_count = -1000;
  CHECK(Rows(*waiting, "DELETE FROM t").empty());
}

TEST_CASE_FIXTURE(CancelFixture, "cancel: rows of a write that is done are handed out in peace") {
  SqlOptions options;
  const auto writer = Session(options);
  CHECK(Rows(*writer, "BEGIN").empty());
  const auto insert = *writer->Prepare("INSERT INTO t (id, n) VALUES ('c', 3), ('d', 4) RETURNING id");
  REQUIRE(*insert->Step());
  writer->Interrupt();
  REQUIRE(*insert->Step());  // What it wrote is part of the transaction already.
  CHECK_FALSE(*insert->Step());
  CHECK(Rows(*writer, "COMMIT").empty());
  CHECK(Rows(*session, "SELECT count(*) FROM t") == "4");
}
