#include "engine/query/sql_session.h"

#include <atomic>
#include <set>
#include <thread>

#include "tests/engine/query/sql_test_database.h"

using namespace foreshore;

namespace {

std::unique_ptr<Statement> MustPrepare(SqlSession& session, std::string_view sql) {
  auto statement = session.Prepare(sql);
  REQUIRE_MESSAGE(statement.ok(), statement.status().ToString());
  return std::move(statement).value();
}

bool MustStep(Statement& statement) {
  const auto stepped = statement.Step();
  REQUIRE_MESSAGE(stepped.ok(), stepped.status().ToString());
  return *stepped;
}

struct SessionFixture : SqlTestDatabase {
  SessionFixture() {
    Collection("t");
    Put("t", "a", R"({"n":1})");
    Put("t", "b", R"({"n":2})");
    auto created = SqlSession::Create(*core);
    REQUIRE(created.ok());
    other = std::move(created).value();
  }
  std::unique_ptr<SqlSession> other;
};

}  // namespace

TEST_CASE_FIXTURE(SessionFixture, "sql: an open statement keeps its snapshot while others commit") {
  const auto open = MustPrepare(*session, "SELECT id, n FROM t ORDER BY rowid");
  REQUIRE(MustStep(*open));
  CHECK(TextOfValue(open->Column(0)) == "a");
  std::thread writer([&] {
    CHECK(Rows(*other, "UPDATE t SET n = n + 10").empty());
    CHECK(Rows(*other, "INSERT INTO t (id, n) VALUES ('c', 3)").empty());
    CHECK(Rows(*other, "DELETE FROM t WHERE id = 'b'").empty());
  });
  writer.join();
  REQUIRE(MustStep(*open));
  CHECK(TextOfValue(open->Column(0)) == "b");
  CHECK(TextOfValue(open->Column(1)) == "2");
  CHECK_FALSE(MustStep(*open));
  CHECK_FALSE(MustStep(*open));
  REQUIRE(open->Reset().ok());
  REQUIRE(MustStep(*open));
  CHECK(TextOfValue(open->Column(1)) == "11");
}

TEST_CASE_FIXTURE(SessionFixture, "sql: both sides of a self-join read one state, whatever is committed in between") {
  const auto join = MustPrepare(*session, "SELECT x.n, y.n FROM t x CROSS JOIN t y WHERE x.id = y.id ORDER BY x.id");
  // The second side is opened for each row of the first, so commits fall between the openings.
  REQUIRE(MustStep(*join));
  CHECK(Rows(*other, "UPDATE t SET n = 100").empty());
  CHECK(TextOfValue(join->Column(1)) == "1");
  REQUIRE(MustStep(*join));
  CHECK(TextOfValue(join->Column(0)) == "2");
  CHECK(TextOfValue(join->Column(1)) == "2");
}

TEST_CASE_FIXTURE(SessionFixture, "sql: a transaction is seen by itself at once and by others at COMMIT") {
  CHECK(Rows(*session, "BEGIN").empty());
  CHECK(session->in_transaction());
  CHECK(Rows(*session, "INSERT INTO t (id, n) VALUES ('c', 3)").empty());
  CHECK(Rows(*session, "UPDATE t SET n = 0 WHERE id = 'a'").empty());
  CHECK(Rows(*session, "SELECT id, n FROM t ORDER BY id") == "a|0; b|2; c|3");
  CHECK(Rows(*other, "SELECT id, n FROM t ORDER BY id") == "a|1; b|2");
  CHECK(Rows(*session, "COMMIT").empty());
  CHECK_FALSE(session->in_transaction());
  CHECK(Rows(*other, "SELECT id, n FROM t ORDER BY id") == "a|0; b|2; c|3");
}

TEST_CASE_FIXTURE(SessionFixture, "sql: ROLLBACK and the end of the session leave nothing") {
  CHECK(Rows(*session, "BEGIN IMMEDIATE").empty());
  CHECK(Rows(*session, "DELETE FROM t").empty());
  CHECK(Rows(*session, "ROLLBACK").empty());
  CHECK(Rows(*session, "SELECT count(*) FROM t") == "2");
  CHECK(Rows(*session, "BEGIN").empty());
  CHECK(Rows(*session, "DELETE FROM t").empty());
  session.reset();
  CHECK(Rows(*other, "SELECT count(*) FROM t") == "2");
}

TEST_CASE_FIXTURE(SessionFixture, "sql: transaction control out of place is refused") {
  CHECK(FailureOf(*session, "COMMIT").code() == ErrorCode::kInvalidArgument);
  CHECK(FailureOf(*session, "ROLLBACK").code() == ErrorCode::kInvalidArgument);
  CHECK(Rows(*session, "BEGIN").empty());
  CHECK(FailureOf(*session, "BEGIN").code() == ErrorCode::kInvalidArgument);
  CHECK(session->in_transaction());
  {
    const auto open = MustPrepare(*session, "SELECT id FROM t");
    REQUIRE(MustStep(*open));
    CHECK(FailureOf(*session, "COMMIT").code() == ErrorCode::kBusy);
    CHECK(Rows(*session, "ROLLBACK").empty());
    const auto after = open->Step();
    REQUIRE_FALSE(after.ok());
    CHECK(after.status().code() == ErrorCode::kCancelled);
    REQUIRE(open->Reset().ok());
    CHECK(MustStep(*open));
  }
  SqlSessions sessions(*core);
  CHECK(FailureOf(sessions, "BEGIN").code() == ErrorCode::kUnsupported);
  CHECK(FailureOf(sessions, "COMMIT").code() == ErrorCode::kUnsupported);
  CHECK(FailureOf(sessions, "SAVEPOINT s").code() == ErrorCode::kUnsupported);
}

TEST_CASE_FIXTURE(SessionFixture, "sql: a failing statement outside a transaction leaves nothing behind") {
  CHECK(FailureOf(*session, "INSERT INTO t (id, n) VALUES ('x', 1), ('y', 2), ('a', 3)").code() ==
        ErrorCode::kAlreadyExists);
  // The second row's JSON is wrong only at run time.
  CHECK_FALSE(FailureOf(*session, "UPDATE t SET body = CASE id WHEN 'a' THEN '{\"n\":5}' ELSE '[' END").ok());
  CHECK(Rows(*session, "SELECT id, n FROM t ORDER BY id") == "a|1; b|2");
}

TEST_CASE_FIXTURE(SessionFixture, "sql: in a transaction a refused statement that wrote nothing lets it go on") {
  CHECK(Rows(*session, "BEGIN").empty());
  CHECK(Rows(*session, "INSERT INTO t (id, n) VALUES ('c', 3)").empty());
  CHECK(FailureOf(*session, "INSERT INTO t (id, n) VALUES ('a', 9)").code() == ErrorCode::kAlreadyExists);
  CHECK(FailureOf(*session, "INSERT INTO t (id, body) VALUES ('z', '{')").code() == ErrorCode::kInvalidArgument);
  CHECK_FALSE(FailureOf(*session, "SELECT nothing FROM t").ok());
  CHECK(session->in_transaction());
  CHECK(Rows(*session, "COMMIT").empty());
  CHECK(Rows(*other, "SELECT id, n FROM t ORDER BY id") == "a|1; b|2; c|3");
}

TEST_CASE_FIXTURE(SessionFixture,
                  "sql: in a transaction a statement that fails after writing is undone alone, and scans go on") {
  CHECK(Rows(*session, "BEGIN IMMEDIATE").empty());
  CHECK(Rows(*session, "INSERT INTO t (id, n) VALUES ('c', 3)").empty());
  const auto scan = MustPrepare(*session, "SELECT id FROM t");
  const auto in_order = MustPrepare(*session, "SELECT id FROM t ORDER BY id");
  REQUIRE(MustStep(*scan));
  REQUIRE(MustStep(*in_order));
  CHECK(FailureOf(*session, "INSERT INTO t (id, n) VALUES ('b1', 4), ('b2', 5), ('a', 9)").code() ==
        ErrorCode::kAlreadyExists);
  CHECK_FALSE(FailureOf(*session, "UPDATE t SET body = CASE id WHEN 'c' THEN '[' ELSE '{\"n\":7}' END").ok());
  CHECK(session->in_transaction());
  for (const auto* statement : {&scan, &in_order}) {
    REQUIRE(MustStep(**statement));
    CHECK(TextOfValue((*statement)->Column(0)) == "b");
    REQUIRE(MustStep(**statement));
    CHECK(TextOfValue((*statement)->Column(0)) == "c");
    CHECK_FALSE(MustStep(**statement));
  }
  CHECK(Rows(*session, "COMMIT").empty());
  CHECK(Rows(*other, "SELECT id, n FROM t ORDER BY id") == "a|1; b|2; c|3");
}

TEST_CASE_FIXTURE(SessionFixture, "sql: a vector that does not fit is undone with its document, and nothing else is") {
  Vector("t", "v", 2);
  CHECK(Rows(*session, "BEGIN").empty());
  CHECK(Rows(*session, "INSERT INTO t (id, n) VALUES ('c', 3)").empty());
  CHECK_FALSE(FailureOf(*session, "INSERT INTO t (id, body) VALUES ('d', '{\"v\":[1,2,3]}')").ok());
  CHECK(session->in_transaction());
  CHECK(Rows(*session, "INSERT INTO t (id, body) VALUES ('e', '{\"v\":[1,2]}')").empty());
  CHECK(Rows(*session, "SELECT id FROM t WHERE v MATCH '[1,2]'") == "e");
  CHECK(Rows(*session, "COMMIT").empty());
  CHECK(Rows(*session, "SELECT id FROM t ORDER BY id") == "a; b; c; e");
}

TEST_CASE_FIXTURE(SessionFixture, "sql: a scan inside a transaction goes on after other statements wrote") {
  CHECK(Rows(*session, "BEGIN IMMEDIATE").empty());
  for (const char* scan :
       {"SELECT id, n FROM t", "SELECT id, n FROM t ORDER BY id", "SELECT id, n FROM t ORDER BY rowid"}) {
    CAPTURE(scan);
    const auto open = MustPrepare(*session, scan);
    REQUIRE(MustStep(*open));
    CHECK(TextOfValue(open->Column(0)) == "a");
    CHECK(Rows(*session, "UPDATE t SET n = n + 1 WHERE id = 'a'").empty());
    CHECK(Rows(*session, "UPDATE t SET n = 70 WHERE id = 'b'").empty());
    CHECK(TextOfValue(open->Column(0)) == "a");
    REQUIRE(MustStep(*open));
    CHECK(TextOfValue(open->Column(0)) == "b");
    CHECK(TextOfValue(open->Column(1)) == "70");
    CHECK(Rows(*session, "UPDATE t SET n = 2 WHERE id = 'b'").empty());
    CHECK_FALSE(MustStep(*open));
  }
  CHECK(Rows(*session, "COMMIT").empty());
}

TEST_CASE_FIXTURE(SessionFixture, "sql: a loop that writes what it reads meets each document once") {
  CHECK(Rows(*session, "BEGIN").empty());
  const auto scan = MustPrepare(*session, "SELECT id FROM t ORDER BY id");
  const auto update = MustPrepare(*session, "UPDATE t SET n = n + 1 WHERE id = ?1");
  int step_count = 0;
  while (MustStep(*scan)) {
    REQUIRE(update->Bind(1, scan->Column(0)).ok());
    CHECK_FALSE(MustStep(*update));
    REQUIRE(++step_count <= 2);
  }
  CHECK(Rows(*session, "COMMIT").empty());
  CHECK(Rows(*session, "SELECT n FROM t ORDER BY id") == "2; 3");
}

TEST_CASE_FIXTURE(SessionFixture, "sql: a writing statement that is not stepped to its end writes nothing") {
  {
    const auto insert = MustPrepare(*session, "INSERT INTO t (id, n) VALUES ('c', 3), ('d', 4) RETURNING id");
    REQUIRE(MustStep(*insert));
    CHECK(TextOfValue(insert->Column(0)) == "c");
    CHECK(Rows(*other, "SELECT count(*) FROM t") == "2");
    REQUIRE(insert->Reset().ok());
    CHECK(Rows(*other, "SELECT count(*) FROM t") == "2");
    REQUIRE(MustStep(*insert));
  }
  CHECK(Rows(*other, "SELECT count(*) FROM t") == "2");
}

TEST_CASE_FIXTURE(SessionFixture,
                  "sql: new fields and collections appear at the next prepare, under open statements too") {
  const auto open = MustPrepare(*session, "SELECT * FROM t ORDER BY id");
  CHECK(open->columns() == std::vector<std::string>{"id", "body", "n"});
  REQUIRE(MustStep(*open));
  Put("t", "c", R"({"n":3,"fresh":"yes"})");
  Collection("u");
  CHECK(Rows(*session, "SELECT fresh FROM t WHERE id = 'c'") == "yes");
  CHECK(Rows(*session, "SELECT count(*) FROM u") == "0");
  REQUIRE(MustStep(*open));
  CHECK(TextOfValue(open->Column(0)) == "b");
  CHECK_FALSE(MustStep(*open));
  // Run again it is compiled anew, with the new column.
  REQUIRE(open->Reset().ok());
  REQUIRE(MustStep(*open));
  CHECK(open->columns() == std::vector<std::string>{"id", "body", "n", "fresh"});
}

TEST_CASE_FIXTURE(SessionFixture, "sql: parameters of every type are bound and kept over Reset") {
  const auto echo = MustPrepare(*session, "SELECT ?1, typeof(?1), :name, typeof(:name)");
  REQUIRE(echo->Bind(1, std::string("x\0y", 3)).ok());
  REQUIRE(echo->BindNamed(":name", SqlBlob{ByteString("\0\1", 2)}).ok());
  for (int round = 0; round < 2; ++round) {
    REQUIRE(MustStep(*echo));
    CHECK(std::get<std::string>(echo->Column(0)) == std::string("x\0y", 3));
    CHECK(std::get<SqlBlob>(echo->Column(2)).bytes == ByteString("\0\1", 2));
    REQUIRE(echo->Reset().ok());
  }
  REQUIRE(echo->Bind(1, SqlBlob{}).ok());
  REQUIRE(echo->BindNamed(":name", 2.5).ok());
  REQUIRE(MustStep(*echo));
  CHECK(TextOfValue(echo->Column(1)) == "blob");
  CHECK(TextOfValue(echo->Column(2)) == "2.5");
  CHECK(echo->Bind(1, SqlValue()).code() == ErrorCode::kInvalidArgument);  // While it runs.
  REQUIRE(echo->Reset().ok());
  CHECK(echo->Bind(0, SqlValue()).code() == ErrorCode::kInvalidArgument);
  CHECK(echo->Bind(3, SqlValue()).code() == ErrorCode::kInvalidArgument);
  CHECK(echo->BindNamed(":other", SqlValue()).code() == ErrorCode::kNotFound);
}

TEST_CASE_FIXTURE(SessionFixture, "sql: a script is prepared statement by statement") {
  const std::string script = "SELECT 1; -- first\n ; SELECT 2 ;  \n";
  std::vector<std::string> rows;
  for (std::size_t at = 0; at < script.size();) {
    std::size_t used = 0;
    auto statement = session->Prepare(std::string_view(script).substr(at), &used);
    REQUIRE(statement.ok());
    REQUIRE(used > 0);
    at += used;
    if (*statement == nullptr) continue;
    const auto found = StepAll(**statement);
    REQUIRE(found.ok());
    rows.insert(rows.end(), found->begin(), found->end());
  }
  CHECK(rows == std::vector<std::string>{"1", "2"});
  CHECK(session->Prepare(std::string_view("SELECT '\0'", 10)).status().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE_FIXTURE(SessionFixture, "sql: statements may outlive their session and their pool") {
  auto statement = MustPrepare(*session, "SELECT id FROM t ORDER BY id");
  session.reset();
  REQUIRE(MustStep(*statement));
  auto sessions = std::make_unique<SqlSessions>(*core);
  auto pooled = sessions->Prepare("SELECT id FROM t ORDER BY id");
  REQUIRE(pooled.ok());
  sessions.reset();
  REQUIRE(MustStep(**pooled));
  CHECK(TextOfValue((*pooled)->Column(0)) == "a");
}

TEST_CASE_FIXTURE(SessionFixture, "sql: names for completion hold collections, columns and functions") {
  const auto names = session->Names();
  REQUIRE(names.ok());
  const std::set<std::string> set(names->begin(), names->end());
  CHECK(set.size() == names->size());
  for (const std::string name :
       {"t", "id", "body", "n", "distance", "embed", "predict", "vector_distance", "json_extract"}) {
    CHECK_MESSAGE(set.contains(name), name);
  }
}

TEST_CASE_FIXTURE(SessionFixture, "sql: threads read and write side by side, each statement in one state") {
  // Goal: no reader ever sees half of a statement that moves an amount from one document to another.
  SqlSessions sessions(*core);
  REQUIRE(Rows(sessions, "UPDATE t SET n = 500").empty());
  std::atomic<bool> stop{false};
  std::atomic<int> wrong_count{0};
  std::atomic<int> read_count{0};
  std::vector<std::thread> threads;
  for (int reader = 0; reader < 3; ++reader) {
    threads.emplace_back([&] {
      while (!stop.load()) {
        const std::string sum = Rows(sessions, "SELECT sum(x.n) FROM t x JOIN t y ON y.id = x.id AND y.n = x.n");
        if (sum != "1000") wrong_count.fetch_add(1);
        read_count.fetch_add(1);
      }
    });
  }
  for (int writer = 0; writer < 2; ++writer) {
    threads.emplace_back([&, writer] {
      for (int i = 0; i < 40; ++i) {
        const std::string amount = std::to_string(i % 7 + writer);
        const std::string sql = "UPDATE t SET n = CASE id WHEN 'a' THEN n - " + amount + " ELSE n + " + amount + " END";
        if (!FailureOf(sessions, sql).ok()) wrong_count.fetch_add(1);
      }
    });
  }
  threads[3].join();
  threads[4].join();
  stop.store(true);
  for (int reader = 0; reader < 3; ++reader) threads[static_cast<std::size_t>(reader)].join();
  CHECK(wrong_count.load() == 0);
  CHECK(read_count.load() > 0);
  CHECK(Rows(sessions, "SELECT sum(n) FROM t") == "1000");
}
