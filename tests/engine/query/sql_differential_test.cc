// The same generated statements against collections and against plain SQLite tables with the same content must give the
// same rows: whatever a plan pushes down, an index leaves out or a savepoint forgets shows here.
//
// FORESHORE_TEST_SEED chooses another run, FORESHORE_DIFFERENTIAL_STATEMENTS how many statements each variant runs. A
// new way to store or index the rows is one more entry of kVariants.

#include <sqlite3.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <random>

#include "tests/engine/query/sql_test_database.h"

using namespace foreshore;

namespace {

// A plain SQLite database, with the answers as texts like those of the tests' helpers.
class PlainDatabase {
 public:
  PlainDatabase() { REQUIRE(sqlite3_open(":memory:", &db_) == SQLITE_OK); }
  ~PlainDatabase() { sqlite3_close(db_); }
  PlainDatabase(const PlainDatabase&) = delete;
  PlainDatabase& operator=(const PlainDatabase&) = delete;

  Result<std::vector<std::string>> Run(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK) {
      return Status::InvalidArgument(sqlite3_errmsg(db_));
    }
    std::vector<std::string> rows;
    int code = SQLITE_OK;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
      std::string row;
      for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        if (i > 0) row += '|';
        row += TextOfValue(ValueOf(statement, i));
      }
      rows.push_back(std::move(row));
    }
    sqlite3_finalize(statement);
    if (code != SQLITE_DONE) return Status::InvalidArgument(sqlite3_errmsg(db_));
    return rows;
  }
  bool in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }

 private:
  static SqlValue ValueOf(sqlite3_stmt* statement, int i) {
    switch (sqlite3_column_type(statement, i)) {
      case SQLITE_INTEGER: return static_cast<std::int64_t>(sqlite3_column_int64(statement, i));
      case SQLITE_FLOAT: return sqlite3_column_double(statement, i);
      case SQLITE_TEXT: return std::string(reinterpret_cast<const char*>(sqlite3_column_text(statement, i)));
      default: return SqlValue();
    }
  }
  sqlite3* db_ = nullptr;
};

// Statements over t(id, a, b, c, flag, doc) and u(id, a, ref). Where equal values may have two forms (3 and 3.0), what
// is shown does not depend on which row came first.
class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  int Below(int count) { return std::uniform_int_distribution<int>(0, count - 1)(random_); }
  template <std::size_t N>
  std::string Pick(const char* const (&options)[N]) {
    return options[static_cast<std::size_t>(Below(static_cast<int>(N)))];
  }

  std::string Id() { return "'k" + std::to_string(Below(70)) + "'"; }
  std::string Literal() {
    switch (Below(8)) {
      case 0: return std::to_string(Below(9) - 2);
      case 1: return std::to_string(Below(6)) + ".5";
      case 2: return "NULL";
      case 3: return std::to_string(Below(5)) + ".0";
      case 4: return Pick({"9007199254740993", "-0.25", "1e3", "-9223372036854775807", "'é'", "'x y'"});
      default: return Pick({"'x'", "'y'", "'3'", "''", "'Z'", "'-1'"});
    }
  }
  std::string Column(const std::string& prefix) { return prefix + Pick({"a", "b", "c", "flag", "a"}); }
  std::string Comparison() { return Pick({" = ", " < ", " > ", " <= ", " >= ", " <> ", " IS ", " IS NOT "}); }

  std::string OnId(const std::string& prefix) {
    const std::string id = prefix + "id";
    switch (Below(9)) {
      case 0: return id + " = " + Id();
      case 1: return id + " IN (" + Id() + ", " + Id() + ", " + Id() + ", NULL)";
      case 2: return id + " BETWEEN " + Id() + " AND " + Id();
      case 3: return id + " > " + Id() + " AND " + id + " <= " + Id();
      case 4: return id + " LIKE 'K1%'";
      case 5: return id + " = 'K" + std::to_string(Below(70)) + "' COLLATE NOCASE";
      case 6: return id + Comparison() + Literal();
      case 7: return id + " IN (SELECT ref FROM u)";
      default: return id + Comparison() + Id();
    }
  }
  std::string OnText(const std::string& prefix) {
    return Column(prefix) + Pick({" LIKE 'x%'", " LIKE '%Y'", " NOT LIKE '_'", " GLOB '[xy]*'", " LIKE '3%'",
                                  " LIKE ''", " || 'x' = 'xx'", " = 'X' COLLATE NOCASE", " > 'x' COLLATE NOCASE"});
  }
  std::string Predicate(const std::string& prefix, int depth) {
    switch (Below(depth > 0 ? 14 : 10)) {
      case 0: return Column(prefix) + Comparison() + Literal();
      case 1: return Column(prefix) + Pick({" IN (", " NOT IN ("}) + Literal() + ", " + Literal() + ")";
      case 2: return Column(prefix) + " BETWEEN " + Literal() + " AND " + Literal();
      case 3: return Column(prefix) + Pick({" IS NULL", " IS NOT NULL", "", " + 1 > 3", " % 2 = 0"});
      case 4: return "typeof(" + Column(prefix) + ") = " + Pick({"'integer'", "'text'", "'real'", "'null'"});
      case 5: return Column(prefix) + Comparison() + Column(prefix);
      case 6:
      case 7: return OnId(prefix);
      case 8: return OnText(prefix);
      case 9: return Column(prefix) + " = " + Literal();
      case 10: return "NOT (" + Predicate(prefix, depth - 1) + ")";
      case 11: return "(" + Predicate(prefix, depth - 1) + " OR " + Predicate(prefix, depth - 1) + ")";
      case 12: return "(" + Predicate(prefix, depth - 1) + ") IS " + Pick({"NULL", "TRUE", "NOT TRUE"});
      default: return "(" + Predicate(prefix, depth - 1) + " AND " + Predicate(prefix, depth - 1) + ")";
    }
  }
  std::string Where(int depth) { return " WHERE " + Predicate("", depth); }
  std::string Limit() {
    if (Below(2) == 0) return "";
    return " LIMIT " + std::to_string(Below(12)) + (Below(2) == 0 ? " OFFSET " + std::to_string(Below(6)) : "");
  }
  // The order is total, so that both sides must agree on it and on every LIMIT.
  std::string OrderAndLimit(const std::string& prefix) {
    std::string sql = " ORDER BY ";
    if (Below(2) == 0) sql += Column(prefix) + Pick({" DESC, ", ", ", " NULLS LAST, ", " COLLATE NOCASE, "});
    if (Below(6) == 0) sql += Column(prefix) + Pick({" DESC, ", ", "});
    return sql + prefix + "id" + Pick({"", " DESC"}) + Limit();
  }
  std::string Join() {
    return Pick({"y.ref = x.id", "y.a = x.a", "y.id = x.id", "x.id = y.ref AND y.a > 0", "y.a IS x.b"});
  }

  std::string Select() {
    switch (Below(4)) {
      case 0: return SelectRows();
      case 1: return SelectJoined();
      case 2: return SelectGrouped();
      default: return SelectJson();
    }
  }
  std::string SelectRows() {
    switch (Below(8)) {
      case 0:
      case 1: return "SELECT id, a, b, c, flag FROM t" + Where(2) + OrderAndLimit("");
      case 2: return "SELECT id FROM t WHERE a = (SELECT max(a) FROM t" + Where(1) + ")" + OrderAndLimit("");
      case 3: return "SELECT count(*) FROM (SELECT id FROM t" + Where(1) + " LIMIT 7 OFFSET " + Digit() + ")";
      case 4:
        return "SELECT id, CASE WHEN " + Predicate("", 1) + " THEN a ELSE b END FROM t ORDER BY " + Predicate("", 0) +
               ", id" + Limit();
      case 5:
        return "SELECT id FROM t" + Where(1) + " " + Set() + " SELECT id FROM t" + Where(1) + " ORDER BY 1" + Limit();
      case 6:
        return "SELECT id, rowid > 0, coalesce(c, b, a), nullif(a, b), iif(flag, a, c) FROM t" + Where(1) +
               OrderAndLimit("");
      default:
        return "SELECT id FROM t WHERE a " + std::string(Pick({"IN", "NOT IN"})) +
               " (SELECT a FROM u WHERE a IS NOT NULL AND " + OnId("u.") + ") AND " + Predicate("", 1) +
               OrderAndLimit("");
    }
  }
  std::string SelectJoined() {
    switch (Below(8)) {
      case 0:
        return "SELECT x.id, y.id, y.a FROM t x JOIN u y ON " + Join() + " WHERE " + Predicate("x.", 1) +
               " ORDER BY x.id, y.id" + Limit();
      case 1:
        return "SELECT x.id, y.id FROM t x LEFT JOIN u y ON " + Join() + " WHERE " + Predicate("x.", 1) +
               " ORDER BY x.id, y.id" + Limit();
      case 2:
        return "SELECT x.id, y.id FROM t x, t y WHERE x.id = y.c AND " + Predicate("y.", 1) + " ORDER BY 1, 2" +
               Limit();
      case 3:
        return "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.ref = t.id AND " + Predicate("t.", 0) +
               ") UNION SELECT ref FROM u WHERE u.a > 1 ORDER BY 1" + Limit();
      case 4:
        return "WITH x AS (SELECT id, a FROM t" + Where(1) +
               "), y AS (SELECT id, a FROM u) SELECT x.id, y.id FROM x JOIN y "
               "ON x.a = y.a ORDER BY 1, 2" +
               Limit();
      case 5:
        return "WITH RECURSIVE r(id, n) AS (SELECT id, 0 FROM t WHERE " + OnId("") +
               " UNION SELECT u.ref, n + 1 FROM r JOIN u ON u.id = r.id WHERE n < 4) SELECT id, n FROM r ORDER BY 1, "
               "2" +
               Limit();
      case 6:
        return "SELECT id, (SELECT count(*) FROM u WHERE u.a = t.a), (SELECT max(y.id) FROM t y WHERE y.flag = t.flag "
               "AND "
               "y.id < t.id) FROM t" +
               Where(1) + OrderAndLimit("");
      default:
        return "SELECT y.id, x.n FROM u y JOIN (SELECT flag, count(*) AS n FROM t" + Where(1) +
               " GROUP BY flag) x ON y.a = x.flag ORDER BY 1" + Limit();
    }
  }
  std::string SelectGrouped() {
    switch (Below(7)) {
      case 0:
        return "SELECT count(*), min(a), max(b), total(c), group_concat(typeof(a)) FROM (SELECT * FROM t" + Where(1) +
               " ORDER BY id)";
      case 1:
        return "SELECT quote(a), count(*), min(id) FROM t" + Where(1) + " GROUP BY quote(a)" +
               Pick({"", " HAVING count(*) > 1", " HAVING min(id) < 'k3'"}) + " ORDER BY 1" + Limit();
      case 2: return "SELECT DISTINCT quote(a), flag FROM t" + Where(1) + " ORDER BY 1, 2" + Limit();
      case 3:
        return "SELECT id, row_number() OVER (ORDER BY id DESC), rank() OVER (PARTITION BY flag ORDER BY a), lag(b, 2) "
               "OVER "
               "(ORDER BY id) FROM t" +
               Where(1) + " ORDER BY id" + Limit();
      case 4:
        return "SELECT id, sum(typeof(a) = 'integer') OVER (PARTITION BY flag ORDER BY id ROWS BETWEEN 2 PRECEDING AND "
               "CURRENT ROW), count(*) FILTER (WHERE " +
               Predicate("", 0) + ") OVER (ORDER BY id) FROM t" + Where(0) + " ORDER BY id" + Limit();
      case 5:
        return "SELECT flag, count(a), count(DISTINCT a), sum(a = b), avg(flag) FROM t" + Where(1) +
               " GROUP BY flag ORDER BY flag";
      default:
        return "SELECT typeof(a), count(*), max(id) FROM t" + Where(1) + " GROUP BY 1 ORDER BY 2 DESC, 1" + Limit();
    }
  }
  std::string SelectJson() {
    switch (Below(7)) {
      case 0:
        return "SELECT id, json_extract(doc, '$.n'), doc ->> '$.tags[0]', json_array_length(doc, '$.tags'), "
               "json_type(doc, "
               "'$.deep.k'), doc -> '$.deep' FROM t WHERE json_extract(doc, '$.n') > " +
               Digit() + " AND " + Predicate("", 1) + OrderAndLimit("");
      case 1:
        return "SELECT t.id, e.key, e.value FROM t, json_each(t.doc, '$.tags') e WHERE e.value = " +
               Pick({"'x'", "'y'", "2"}) + " AND " + Predicate("t.", 1) + " ORDER BY t.id, e.key" + Limit();
      case 2:
        return "SELECT flag, json_group_array(id), json_group_object(id, a) FROM (SELECT * FROM t" + Where(1) +
               " ORDER BY id) GROUP BY flag ORDER BY flag";
      case 3:
        return "SELECT id, body ->> '$.a', typeof(json_extract(body, '$.b')) FROM t WHERE body ->> '$.a'" +
               Comparison() + Literal() + " OR json_extract(body, '$.c') = " + Literal() + OrderAndLimit("");
      case 4:
        return "SELECT id, json_array(a, b, flag), json_object('c', c, 'id', id) FROM t" + Where(1) + OrderAndLimit("");
      case 5:
        return "SELECT e.atom, count(*) FROM t, json_tree(t.doc) e WHERE e.atom IS NOT NULL AND " + Predicate("t.", 0) +
               " GROUP BY quote(e.atom) ORDER BY quote(e.atom)" + Limit();
      default:
        return "SELECT id FROM t WHERE doc ->> '$.deep.k' = " + Literal() +
               " OR 'x' IN (SELECT value FROM json_each(doc, "
               "'$.tags'))" +
               OrderAndLimit("");
    }
  }

  std::string Write() {
    switch (Below(10)) {
      case 0: return "UPDATE t SET a = " + Literal() + Where(1);
      case 1: return "UPDATE t SET b = a, c = coalesce(c, 0) || 'u' WHERE length(c) < 20 AND " + OnId("");
      case 2: return "DELETE FROM t WHERE id = " + Id() + " OR (" + Predicate("", 0) + " AND id < 'k2')";
      case 3: return "INSERT OR IGNORE INTO t (id, a, b) VALUES (" + Id() + ", " + Literal() + ", " + Literal() + ")";
      case 4: return "INSERT OR REPLACE INTO t (id, a, b, c, flag) SELECT id, b, a, c, flag FROM t WHERE " + OnId("");
      case 5:
        return "UPDATE t SET a = iif(typeof(a) = 'integer', a % 100 + 1, " + Literal() + "), flag = NOT flag WHERE " +
               OnId("");
      case 6: return "UPDATE t SET b = (SELECT max(u.a) FROM u WHERE u.ref = t.id), a = b" + Where(1);
      case 7: return "UPDATE t SET c = u.ref FROM u WHERE u.id = t.id AND " + Predicate("t.", 0);
      case 8:
        return "INSERT OR REPLACE INTO u (id, a, ref) VALUES (" + Id() + ", " + Literal() + ", " + Id() + "), (" +
               Id() + ", " + Literal() + ", " + Id() + ")";
      default: return "DELETE FROM u WHERE a" + Comparison() + Literal() + " AND id > " + Id();
    }
  }
  // Fails after it wrote, on both sides.
  std::string FailingWrite() { return "INSERT INTO t (id, a) VALUES ('new1', 1), ('new2', 2), ('new1', 3)"; }
  std::string Control(bool in_transaction, int savepoint_count) {
    if (!in_transaction) return Pick({"BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT s"});
    switch (Below(savepoint_count > 0 ? 7 : 4)) {
      case 0: return "COMMIT";
      case 1: return "ROLLBACK";
      case 2:
      case 3: return "SAVEPOINT s";
      case 4: return "RELEASE s";
      default: return "ROLLBACK TO s";
    }
  }
  std::string Digit() { return std::to_string(Below(7)); }

 private:
  std::string Set() { return Pick({"UNION", "INTERSECT", "EXCEPT", "UNION ALL"}); }
  std::mt19937 random_;
};

std::string JsonOf(const std::string& literal) {
  if (literal == "NULL") return "null";
  return literal.front() == '\'' ? "\"" + literal.substr(1, literal.size() - 2) + "\"" : literal;
}

// Fills both sides with the same rows: mixed types, absent fields and JSON's null alike NULL, booleans 1 and 0.
void Fill(SqlTestDatabase& ours, PlainDatabase& plain, Generator& generator) {
  REQUIRE(plain
              .Run("CREATE TABLE t (id TEXT PRIMARY KEY, a, b, c, flag, doc, body TEXT GENERATED ALWAYS AS "
                   "(json_object('a', a, 'b', b, 'c', c, 'flag', flag)) VIRTUAL)")
              .ok());
  REQUIRE(plain.Run("CREATE TABLE u (id TEXT PRIMARY KEY, a, ref)").ok());
  ours.Collection("t");
  ours.Collection("u");
  const auto put = [&](const std::string& id, const std::string& a, const std::string& b, const std::string& c,
                       bool flag, const std::string& doc) {
    ours.Put("t", id,
             R"({"c":)" + JsonOf(c) + (b != "NULL" ? R"(,"b":)" + JsonOf(b) : "") + R"(,"a":)" + JsonOf(a) +
                 R"(,"flag":)" + (flag ? "true" : "false") + (doc.empty() ? "" : R"(,"doc":)" + doc) + "}");
    REQUIRE(plain
                .Run("INSERT INTO t (id, a, b, c, flag, doc) VALUES ('" + id + "', " + a + ", " + b + ", " + c + ", " +
                     (flag ? "1, " : "0, ") + (doc.empty() ? "NULL" : "'" + doc + "'") + ")")
                .ok());
  };
  const auto put_reference = [&](const std::string& id, const std::string& a, const std::string& ref) {
    ours.Put("u", id, R"({"a":)" + JsonOf(a) + R"(,"ref":)" + JsonOf(ref) + "}");
    REQUIRE(plain.Run("INSERT INTO u VALUES ('" + id + "', " + a + ", " + ref + ")").ok());
  };
  put("first", "1", "1", "1", true, "{}");
  put_reference("first", "1", "'k1'");
  for (int i = 0; i < 70; ++i) {
    const std::string id = "k" + std::to_string(i * 37 % 70);
    const std::string a = generator.Literal();
    const std::string c = generator.Below(3) == 0 ? generator.Id() : generator.Literal();
    const std::string doc = R"({"n":)" + generator.Digit() + R"(,"tags":[)" +
                            generator.Pick({"", "\"x\"", "\"y\",\"x\"", "2,null,\"y\""}) + R"(],"deep":{"k":)" +
                            JsonOf(generator.Literal()) + "}}";
    put(id, a, generator.Literal(), c, generator.Below(2) == 0, generator.Below(5) == 0 ? "" : doc);
    if (i % 3 == 0) put_reference(id, a, generator.Id());
  }
}

// One way to store and index the rows.
struct Variant {
  std::string name;
  StorageKind storage;
  int statement_count;
  std::function<void(SqlTestDatabase&)> prepare = nullptr;  // Before the rows come; may be empty.
};

class Differential {
 public:
  Differential(const Variant& variant, unsigned seed) : generator_(seed), ours_(variant.storage) {
    Fill(ours_, plain_, generator_);
    if (variant.prepare) variant.prepare(ours_);
  }

  // Until so many statements were compared, or five differed.
  void Run(int statement_count) {
    while (compared_count_ < statement_count && failure_count_ < 5) {
      const int choice = generator_.Below(100);
      if (choice < 80) {
        Compare(generator_.Select());
      } else if (choice < 90) {
        Compare(generator_.Write());
        Compare("SELECT id, a, b, c, flag, json_extract(doc, '$.n') FROM t ORDER BY id");
      } else if (choice < 98) {
        MoveTransaction();
      } else {
        CompareFailure(generator_.FailingWrite());
      }
    }
    if (plain_.in_transaction()) Compare("COMMIT");
    Compare("SELECT count(*), total(length(id)) FROM t");
    const auto report = ours_.core->Verify();
    REQUIRE_MESSAGE(report.ok(), report.status().ToString());
    for (const std::string& problem : report->problems) FAIL_CHECK(problem);
  }
  int compared_count() const { return compared_count_; }

 private:
  void Compare(const std::string& sql) {
    ++compared_count_;
    const auto expected = plain_.Run(sql);
    const auto found = RunSql(*ours_.session, sql);
    CAPTURE(sql);
    REQUIRE_MESSAGE(expected.ok(), expected.status().ToString());  // The generator must write good SQL.
    if (!found.ok()) {
      ++failure_count_;
      CHECK_MESSAGE(found.ok(), found.status().ToString());
    } else if (*found != *expected) {
      ++failure_count_;
      CHECK(*found == *expected);
    }
  }

  void CompareFailure(const std::string& sql) {
    ++compared_count_;
    CAPTURE(sql);
    CHECK_FALSE(plain_.Run(sql).ok());
    CHECK_FALSE(RunSql(*ours_.session, sql).ok());
    CHECK(plain_.in_transaction() == ours_.session->in_transaction());
  }

  void MoveTransaction() {
    const std::string sql = generator_.Control(plain_.in_transaction(), savepoint_count_);
    Compare(sql);
    if (sql == "SAVEPOINT s") ++savepoint_count_;
    if (sql == "RELEASE s") --savepoint_count_;
    if (!plain_.in_transaction()) savepoint_count_ = 0;
    CHECK(plain_.in_transaction() == ours_.session->in_transaction());
  }

  Generator generator_;
  SqlTestDatabase ours_;
  PlainDatabase plain_;
  int compared_count_ = 0;
  int failure_count_ = 0;
  int savepoint_count_ = 0;
};

unsigned Seed() {
  const char* given = std::getenv("FORESHORE_TEST_SEED");
  return given ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : 20260101U;
}

// Indexes of every kind, so that plans over them take part.
void AddIndexes(SqlTestDatabase& ours) {
  ours.Index("t", {.paths = {"a"}});
  ours.Index("t", {.paths = {"a", "b"}});
  ours.Index("t", {.paths = {"b", "a", "flag"}});
  ours.Index("t", {.paths = {"c"}, .where = "c IS NOT NULL"});
  ours.Index("t", {.paths = {"flag", "c"}});
  ours.Index("t", {.paths = {"a"}, .where = "a > 1", .name = "large"});
  ours.Index("t", {.paths = {"doc"}});
  ours.Index("u", {.paths = {"ref"}});
  ours.Index("u", {.paths = {"a", "ref"}});
}

// All variants together run at least 20,000 statements.
const Variant kVariants[] = {
    {"SQLite storage", StorageKind::kSqlite, 12'000},
    {"SQLite storage with indexes", StorageKind::kSqlite, 8'000, &AddIndexes},
#ifdef FORESHORE_WITH_ROCKSDB
    {"RocksDB storage", StorageKind::kRocksdb, 9'000},
    {"RocksDB storage with indexes", StorageKind::kRocksdb, 3'000, &AddIndexes},
#endif
};

}  // namespace

TEST_CASE("differential: generated statements give what plain tables give, however the rows are stored") {
  const unsigned seed = Seed();
  const char* count = std::getenv("FORESHORE_DIFFERENTIAL_STATEMENTS");
  for (const Variant& variant : kVariants) {
    INFO("FORESHORE_TEST_SEED=", seed, ", ", variant.name);
    const auto begun = std::chrono::steady_clock::now();
    Differential differential(variant, seed);
    differential.Run(count ? std::atoi(count) : variant.statement_count);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begun;
    MESSAGE(variant.name, ": ", differential.compared_count(), " statements compared in ", elapsed.count(),
            " s, FORESHORE_TEST_SEED=", seed);
  }
}
