// The same generated statements against collections and against plain SQLite tables with the same content must give the
// same rows: whatever a plan pushes down or a cursor leaves out shows here.

#include <sqlite3.h>

#include <algorithm>
#include <cstdlib>
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

// Statements over t(id, a, b, c, flag) and u(id, a, ref).
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
    switch (Below(6)) {
      case 0: return std::to_string(Below(9) - 2);
      case 1: return std::to_string(Below(6)) + ".5";
      case 2: return "NULL";
      case 3: return std::to_string(Below(5)) + ".0";
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
  std::string Predicate(const std::string& prefix, int depth) {
    switch (Below(depth > 0 ? 11 : 8)) {
      case 0: return Column(prefix) + Comparison() + Literal();
      case 1: return Column(prefix) + " IN (" + Literal() + ", " + Literal() + ")";
      case 2: return Column(prefix) + " BETWEEN " + Literal() + " AND " + Literal();
      case 3: return Column(prefix) + Pick({" IS NULL", " IS NOT NULL"});
      case 4: return "typeof(" + Column(prefix) + ") = " + Pick({"'integer'", "'text'", "'real'", "'null'"});
      case 5: return Column(prefix) + Comparison() + Column(prefix);
      case 6:
      case 7: return OnId(prefix);
      case 8: return "NOT (" + Predicate(prefix, depth - 1) + ")";
      case 9: return "(" + Predicate(prefix, depth - 1) + " OR " + Predicate(prefix, depth - 1) + ")";
      default: return "(" + Predicate(prefix, depth - 1) + " AND " + Predicate(prefix, depth - 1) + ")";
    }
  }
  // The order is total, so that both sides must agree on it and on every LIMIT.
  std::string OrderAndLimit(const std::string& prefix) {
    std::string sql = " ORDER BY ";
    if (Below(2) == 0) sql += Column(prefix) + Pick({" DESC, ", ", ", " NULLS LAST, "});
    sql += prefix + "id" + Pick({"", " DESC"});
    if (Below(2) == 0) sql += " LIMIT " + std::to_string(Below(12));
    if (sql.find("LIMIT") != std::string::npos && Below(2) == 0) sql += " OFFSET " + std::to_string(Below(6));
    return sql;
  }

  std::string Select() {
    switch (Below(9)) {
      case 0: return "SELECT id, a, b, c, flag FROM t WHERE " + Predicate("", 2) + OrderAndLimit("");
      case 1:
        return "SELECT count(*), min(a), max(b), total(c), group_concat(typeof(a)) FROM (SELECT * FROM t WHERE " +
               Predicate("", 1) + " ORDER BY id)";
      case 2: return "SELECT a, count(*), min(id) FROM t WHERE " + Predicate("", 1) + " GROUP BY a ORDER BY a";
      case 3:
        return "SELECT x.id, y.id, y.a FROM t x JOIN u y ON " + Join() + " WHERE " + Predicate("x.", 1) +
               " ORDER BY x.id, y.id";
      case 4:
        return "SELECT x.id, y.id FROM t x LEFT JOIN u y ON " + Join() + " WHERE " + Predicate("x.", 1) +
               " ORDER BY x.id, y.id LIMIT 20";
      case 5: return "SELECT x.id, y.id FROM t x, t y WHERE x.id = y.c AND " + Predicate("y.", 1) + " ORDER BY 1, 2";
      case 6: return "SELECT DISTINCT a, flag FROM t WHERE " + Predicate("", 1) + " ORDER BY a, flag LIMIT 5";
      case 7:
        return "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.ref = t.id AND " + Predicate("t.", 0) +
               ") UNION SELECT ref FROM u WHERE u.a > 1 ORDER BY 1";
      default:
        return "SELECT id FROM t WHERE a = (SELECT max(a) FROM t WHERE " + Predicate("", 1) + ")" + OrderAndLimit("");
    }
  }
  std::string Join() { return Pick({"y.ref = x.id", "y.a = x.a", "y.id = x.id", "x.id = y.ref AND y.a > 0"}); }

  std::string Write() {
    switch (Below(5)) {
      case 0: return "UPDATE t SET a = " + Literal() + " WHERE " + Predicate("", 1);
      case 1: return "UPDATE t SET b = a, c = coalesce(c, 0) || 'u' WHERE " + OnId("");
      case 2: return "DELETE FROM t WHERE id = " + Id() + " OR (" + Predicate("", 0) + " AND id < 'k3')";
      case 3: return "INSERT OR IGNORE INTO t (id, a, b) VALUES (" + Id() + ", " + Literal() + ", " + Literal() + ")";
      default: return "INSERT OR REPLACE INTO t (id, a, b, c, flag) SELECT id, b, a, c, flag FROM t WHERE " + OnId("");
    }
  }

 private:
  std::mt19937 random_;
};

// Fills both sides with the same rows: mixed types, absent fields and JSON's null alike NULL, booleans 1 and 0.
void Fill(SqlTestDatabase& ours, PlainDatabase& plain, Generator& generator) {
  REQUIRE(plain.Run("CREATE TABLE t (id TEXT PRIMARY KEY, a, b, c, flag)").ok());
  REQUIRE(plain.Run("CREATE TABLE u (id TEXT PRIMARY KEY, a, ref)").ok());
  ours.Collection("t");
  ours.Collection("u");
  ours.Put("t", "first", R"({"a":1,"b":1,"c":1,"flag":true})");
  ours.Put("u", "first", R"({"a":1,"ref":"k1"})");
  REQUIRE(plain.Run("INSERT INTO t VALUES ('first', 1, 1, 1, 1)").ok());
  REQUIRE(plain.Run("INSERT INTO u VALUES ('first', 1, 'k1')").ok());
  const auto json = [](const std::string& literal) {
    if (literal == "NULL") return std::string("null");
    return literal.front() == '\'' ? "\"" + literal.substr(1, literal.size() - 2) + "\"" : literal;
  };
  for (int i = 0; i < 70; ++i) {
    const std::string id = "k" + std::to_string(i * 37 % 70);
    const std::string a = generator.Literal();
    const std::string b = generator.Literal();
    const std::string c = generator.Below(3) == 0 ? generator.Id() : generator.Literal();
    const bool has_b = b != "NULL";
    const bool flag = generator.Below(2) == 0;
    ours.Put("t", id,
             R"({"c":)" + json(c) + (has_b ? R"(,"b":)" + json(b) : "") + R"(,"a":)" + json(a) + R"(,"flag":)" +
                 (flag ? "true" : "false") + "}");
    REQUIRE(
        plain.Run("INSERT INTO t VALUES ('" + id + "', " + a + ", " + b + ", " + c + ", " + (flag ? "1)" : "0)")).ok());
    if (i % 3 != 0) continue;
    const std::string ref = generator.Id();
    ours.Put("u", id, R"({"a":)" + json(a) + R"(,"ref":)" + json(ref) + "}");
    REQUIRE(plain.Run("INSERT INTO u VALUES ('" + id + "', " + a + ", " + ref + ")").ok());
  }
}

unsigned Seed() {
  const char* given = std::getenv("FORESHORE_TEST_SEED");
  return given ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : 20260101U;
}

void Compare(SqlTestDatabase& ours, PlainDatabase& plain, const std::string& sql, int& failure_count) {
  const auto expected = plain.Run(sql);
  const auto found = RunSql(*ours.session, sql);
  CAPTURE(sql);
  REQUIRE_MESSAGE(expected.ok(), expected.status().ToString());  // The generator must write good SQL.
  if (!found.ok()) {
    ++failure_count;
    CHECK_MESSAGE(found.ok(), found.status().ToString());
  } else if (*found != *expected) {
    ++failure_count;
    CHECK(*found == *expected);
  }
}

void RunDifferential(StorageKind storage, int select_count, int write_count) {
  const unsigned seed = Seed();
  INFO("FORESHORE_TEST_SEED=", seed);
  Generator generator(seed);
  SqlTestDatabase ours(storage);
  PlainDatabase plain;
  Fill(ours, plain, generator);
  int failure_count = 0;
  for (int i = 0; i < select_count && failure_count < 5; ++i) Compare(ours, plain, generator.Select(), failure_count);
  for (int i = 0; i < write_count && failure_count < 5; ++i) {
    Compare(ours, plain, generator.Write(), failure_count);
    Compare(ours, plain, "SELECT id, a, b, c, flag FROM t ORDER BY id", failure_count);
    Compare(ours, plain, generator.Select(), failure_count);
  }
}

}  // namespace

TEST_CASE("differential: thousands of generated statements give what plain tables give, on SQLite storage") {
  RunDifferential(StorageKind::kSqlite, 3000, 150);
}

#ifdef FORESHORE_WITH_ROCKSDB
TEST_CASE("differential: generated statements give what plain tables give, on RocksDB storage") {
  RunDifferential(StorageKind::kRocksdb, 800, 60);
}
#endif
