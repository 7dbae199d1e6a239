#include "engine/query/sql_transaction.h"

#include "storage/fault_store.h"
#include "tests/engine/query/sql_test_database.h"

using namespace foreshore;

namespace {

#ifdef FORESHORE_WITH_ROCKSDB
constexpr StorageKind kKinds[] = {StorageKind::kSqlite, StorageKind::kRocksdb};
#else
constexpr StorageKind kKinds[] = {StorageKind::kSqlite};
#endif

struct TwoSessions : SqlTestDatabase {
  explicit TwoSessions(StorageKind storage = StorageKind::kSqlite) : SqlTestDatabase(storage) {
    Collection("t");
    Put("t", "a", R"({"n":1})");
    Put("t", "b", R"({"n":2})");
    SqlOptions options;
    options.busy_timeout = std::chrono::milliseconds(0);
    other = *SqlSession::Create(*core, options);
  }
  std::unique_ptr<SqlSession> other;
};

constexpr const char* kAll = "SELECT id, n FROM t ORDER BY id";

}  // namespace

TEST_CASE("transaction: a deferred BEGIN reads one snapshot; it waits for no writer and holds none up") {
  for (const StorageKind kind : kKinds) {
    TwoSessions db(kind);
    CHECK(Rows(*db.other, "BEGIN IMMEDIATE").empty());
    CHECK(Rows(*db.other, "UPDATE t SET n = 10 WHERE id = 'a'").empty());
    // Beside a writer that has written and not committed.
    CHECK(Rows(*db.session, "BEGIN").empty());
    CHECK(Rows(*db.session, kAll) == "a|1; b|2");
    CHECK(Rows(*db.other, "COMMIT").empty());
    for (int round = 0; round < 3; ++round) {
      CHECK(Rows(*db.session, kAll) == "a|1; b|2");
      CHECK(Rows(*db.session, "SELECT sum(x.n * y.n) FROM t x, t y") == "9");
      CHECK(Rows(*db.other, "INSERT INTO t (id, n) VALUES ('c" + std::to_string(round) + "', 3)").empty());
    }
    CHECK(Rows(*db.session, "COMMIT").empty());
    CHECK(Rows(*db.session, kAll) == "a|10; b|2; c0|3; c1|3; c2|3");
  }
}

TEST_CASE("transaction: the snapshot is taken by the first statement that reads, not by BEGIN") {
  TwoSessions db;
  CHECK(Rows(*db.session, "BEGIN DEFERRED TRANSACTION").empty());
  CHECK(Rows(*db.other, "DELETE FROM t WHERE id = 'a'").empty());
  CHECK(Rows(*db.session, kAll) == "b|2");
  CHECK(Rows(*db.session, "ROLLBACK").empty());
}

TEST_CASE("transaction: writing after reading takes the lock, unless others committed in between") {
  for (const StorageKind kind : kKinds) {
    TwoSessions db(kind);
    CHECK(Rows(*db.session, "BEGIN").empty());
    CHECK(Rows(*db.session, kAll) == "a|1; b|2");
    CHECK(Rows(*db.session, "UPDATE t SET n = n + 1").empty());
    CHECK(Rows(*db.session, kAll) == "a|2; b|3");
    CHECK(FailureOf(*db.other, "DELETE FROM t").code() == ErrorCode::kBusy);
    CHECK(Rows(*db.session, "COMMIT").empty());

    CHECK(Rows(*db.session, "BEGIN").empty());
    CHECK(Rows(*db.session, kAll) == "a|2; b|3");
    CHECK(Rows(*db.other, "UPDATE t SET n = 7 WHERE id = 'b'").empty());
    const Status conflict = FailureOf(*db.session, "UPDATE t SET n = n + 1");
    CHECK(conflict.code() == ErrorCode::kConflict);
    CHECK_MESSAGE(conflict.message().find("in collection \"t\"; roll it back") != std::string::npos,
                  conflict.message());
    CHECK(db.session->in_transaction());
    CHECK(Rows(*db.session, kAll) == "a|2; b|3");
    CHECK(Rows(*db.other, "UPDATE t SET n = 8 WHERE id = 'b'").empty());  // The lock was not kept.
    CHECK(Rows(*db.session, "ROLLBACK").empty());
    CHECK(Rows(*db.session, "UPDATE t SET n = n + 1").empty());
    CHECK(Rows(*db.session, kAll) == "a|3; b|9");
  }
}

TEST_CASE("transaction: a statement that reads keeps its snapshot when the transaction begins to write") {
  TwoSessions db;
  CHECK(Rows(*db.session, "BEGIN").empty());
  auto join = *db.session->Prepare("SELECT x.n, y.n FROM t x CROSS JOIN t y WHERE x.id = y.id ORDER BY x.id");
  REQUIRE(*join->Step());
  CHECK(Rows(*db.session, "UPDATE t SET n = 100").empty());
  CHECK(Rows(*db.session, kAll) == "a|100; b|100");
  REQUIRE(*join->Step());
  CHECK(TextOfValue(join->Column(0)) == "2");
  CHECK(TextOfValue(join->Column(1)) == "2");
  CHECK_FALSE(*join->Step());
  CHECK(Rows(*db.session, "COMMIT").empty());
}

TEST_CASE("transaction: a busy writer is named, with how long it has been writing") {
  TwoSessions db;
  CHECK(Rows(*db.session, "BEGIN IMMEDIATE").empty());
  const Status busy = FailureOf(*db.other, "DELETE FROM t");
  CHECK(busy.code() == ErrorCode::kBusy);
  CHECK_MESSAGE(busy.message().find("a SQL statement waited 0 ms for the write lock: a SQL transaction has been "
                                    "writing for ") != std::string::npos,
                busy.message());
  CHECK(FailureOf(*db.other, "BEGIN IMMEDIATE").code() == ErrorCode::kBusy);
  CHECK(Rows(*db.other, "BEGIN").empty());
  CHECK(FailureOf(*db.other, "DELETE FROM t").code() == ErrorCode::kBusy);
  CHECK(Rows(*db.session, "ROLLBACK").empty());
  CHECK(Rows(*db.other, "DELETE FROM t").empty());
  CHECK(Rows(*db.other, "COMMIT").empty());
  CHECK(Rows(*db.session, "SELECT count(*) FROM t") == "0");
}

TEST_CASE("savepoint: SQL's savepoints nest, keep names apart by order, and end with COMMIT") {
  for (const StorageKind kind : kKinds) {
    TwoSessions db(kind);
    SqlSession& sql = *db.session;
    CHECK(Rows(sql, "BEGIN").empty());
    CHECK(Rows(sql, "SAVEPOINT before_any_write").empty());
    CHECK(Rows(sql, "INSERT INTO t (id, n) VALUES ('c', 3)").empty());
    CHECK(Rows(sql, "SAVEPOINT s").empty());
    CHECK(Rows(sql, "UPDATE t SET n = 0").empty());
    CHECK(Rows(sql, "SAVEPOINT S").empty());
    CHECK(Rows(sql, "DELETE FROM t").empty());
    CHECK(Rows(sql, "ROLLBACK TO s").empty());  // The later one.
    CHECK(Rows(sql, kAll) == "a|0; b|0; c|0");
    CHECK(Rows(sql, "RELEASE SAVEPOINT s").empty());
    CHECK(Rows(sql, "ROLLBACK TRANSACTION TO SAVEPOINT s").empty());
    CHECK(Rows(sql, kAll) == "a|1; b|2; c|3");
    CHECK(Rows(sql, "UPDATE t SET n = 5 WHERE id = 'a'").empty());
    CHECK(Rows(sql, "ROLLBACK TO before_any_write").empty());
    CHECK(Rows(sql, kAll) == "a|1; b|2");
    CHECK(FailureOf(sql, "RELEASE s").code() == ErrorCode::kNotFound);
    CHECK(FailureOf(sql, "ROLLBACK TO other").code() == ErrorCode::kNotFound);
    CHECK(Rows(sql, "DELETE FROM t WHERE id = 'a'").empty());
    CHECK(Rows(sql, "COMMIT").empty());
    CHECK(Rows(*db.other, kAll) == "b|2");
  }
}

TEST_CASE("savepoint: one outside a transaction begins one, and its release commits") {
  TwoSessions db;
  SqlSession& sql = *db.session;
  CHECK(FailureOf(sql, "RELEASE s").code() == ErrorCode::kInvalidArgument);
  CHECK(FailureOf(sql, "ROLLBACK TO s").code() == ErrorCode::kInvalidArgument);
  CHECK(Rows(sql, "SAVEPOINT outer_one").empty());
  CHECK(sql.in_transaction());
  CHECK(Rows(sql, "UPDATE t SET n = 5").empty());
  CHECK(Rows(sql, "SAVEPOINT inner_one").empty());
  CHECK(Rows(sql, "DELETE FROM t").empty());
  CHECK(Rows(sql, "ROLLBACK TO inner_one").empty());
  CHECK(Rows(sql, "RELEASE inner_one").empty());
  CHECK(sql.in_transaction());
  CHECK(Rows(*db.other, kAll) == "a|1; b|2");
  CHECK(Rows(sql, "RELEASE outer_one").empty());
  CHECK_FALSE(sql.in_transaction());
  CHECK(Rows(*db.other, kAll) == "a|5; b|5");
}

TEST_CASE("savepoint: open scans find their places after ROLLBACK TO") {
  for (const StorageKind kind : kKinds) {
    TwoSessions db(kind);
    SqlSession& sql = *db.session;
    CHECK(Rows(sql, "BEGIN IMMEDIATE").empty());
    for (const char* text : {"SELECT id FROM t", "SELECT id FROM t ORDER BY id"}) {
      CAPTURE(text);
      CHECK(Rows(sql, "SAVEPOINT s").empty());
      CHECK(Rows(sql, "INSERT INTO t (id, n) VALUES ('a1', 1), ('c', 3)").empty());
      auto scan = *sql.Prepare(text);
      REQUIRE(*scan->Step());
      CHECK(TextOfValue(scan->Column(0)) == "a");
      CHECK(Rows(sql, "ROLLBACK TO s").empty());
      REQUIRE(*scan->Step());
      CHECK(TextOfValue(scan->Column(0)) == "b");
      CHECK_FALSE(*scan->Step());
      CHECK(Rows(sql, "RELEASE s").empty());
    }
  }
}

TEST_CASE("transaction: INSERT OR ROLLBACK takes the whole transaction back") {
  TwoSessions db;
  CHECK(Rows(*db.session, "BEGIN").empty());
  CHECK(Rows(*db.session, "INSERT INTO t (id, n) VALUES ('c', 3)").empty());
  const Status status = FailureOf(*db.session, "INSERT OR ROLLBACK INTO t (id, n) VALUES ('d', 4), ('a', 9)");
  CHECK(status.code() == ErrorCode::kAlreadyExists);
  CHECK_MESSAGE(status.message().find("(the transaction was rolled back)") != std::string::npos, status.message());
  CHECK_FALSE(db.session->in_transaction());
  CHECK(Rows(*db.other, kAll) == "a|1; b|2");
}

TEST_CASE("transaction: where the store fails under a statement all of it is rolled back, and the error says so") {
  TemporaryDirectory directory;
  FaultStore* faults = nullptr;
  Environment environment;
  environment.wrap_store = [&](std::unique_ptr<Store> store) -> std::unique_ptr<Store> {
    auto wrapped = std::make_unique<FaultStore>(std::move(store));
    faults = wrapped.get();
    return wrapped;
  };
  DatabaseOptions options;
  options.create = true;
  const auto core = *DatabaseCore::Open(directory.path() + "/db.foreshore", options, environment);
  REQUIRE(core->CreateCollection("t").ok());
  const auto session = *SqlSession::Create(*core);
  for (const StoreOperation operation : {StoreOperation::kWrite, StoreOperation::kSavepoint}) {
    CHECK(Rows(*session, "BEGIN").empty());
    CHECK(Rows(*session, "INSERT INTO t (id, body) VALUES ('a', '{}')").empty());
    // A statement's savepoint is made and released; the second one fails at its release.
    faults->plan().FailAt(operation, 1, ErrorCode::kNoSpace);
    const Status status = FailureOf(*session, "INSERT INTO t (id, body) VALUES ('b', '{}')");
    faults->plan().Clear();
    CHECK(status.code() == ErrorCode::kNoSpace);
    CHECK_MESSAGE(status.message().find("(the transaction was rolled back)") != std::string::npos, status.message());
    CHECK_FALSE(session->in_transaction());
    CHECK(Rows(*session, "SELECT count(*) FROM t") == "0");
  }
}
