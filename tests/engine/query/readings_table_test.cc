// Goal: SQL over a collection of readings answers as over a plain table with the same rows, and scans no more than it
// must.
#include <sqlite3.h>

#include <random>

#include "tests/engine/query/sql_test_database.h"

namespace foreshore {
namespace {

#ifdef FORESHORE_WITH_ROCKSDB
constexpr StorageKind kKinds[] = {StorageKind::kSqlite, StorageKind::kRocksdb};
#else
constexpr StorageKind kKinds[] = {StorageKind::kSqlite};
#endif

struct ReadingsDatabase : SqlTestDatabase {
  explicit ReadingsDatabase(StorageKind kind = StorageKind::kSqlite) : SqlTestDatabase(kind) {
    CollectionOptions options;
    options.kind = CollectionKind::kReadings;
    options.time_field = "t";
    options.series_field = "sensor";
    const Status created = core->CreateCollection("r", options);
    REQUIRE_MESSAGE(created.ok(), created.ToString());
  }
  std::string Run(std::string_view sql) { return Rows(*session, sql); }
  std::string Plan(const std::string& sql) { return Run("EXPLAIN QUERY PLAN " + sql); }
};

TEST_CASE("readings in SQL: insert, read, update and delete") {
  ReadingsDatabase database;
  CHECK(database.Run("INSERT INTO r (t, sensor, body) VALUES (60000, 'a', '{\"value\":1.5,\"ok\":true}')") == "");
  CHECK(database.Run("INSERT INTO r (t, sensor) VALUES (61000, 'a'), (59999, 'b')") == "");
  CHECK(database.Run("SELECT t, sensor, value, ok FROM r ORDER BY t") ==
        "59999|b|NULL|NULL; 60000|a|1.5|1; 61000|a|NULL|NULL");
  CHECK(database.Run("INSERT INTO r (t, sensor, value) VALUES (60500, 'a', 2)") == "");
  CHECK(database.Run("SELECT body FROM r WHERE sensor = 'a' AND t BETWEEN 60000 AND 60500 ORDER BY t DESC") ==
        R"({"t":60500,"sensor":"a","value":2}; {"value":1.5,"ok":true,"t":60000,"sensor":"a"})");
  CHECK(database.Run("UPDATE r SET value = value + 1 WHERE value IS NOT NULL") == "");
  CHECK(database.Run("SELECT t, value FROM r WHERE value > 0 ORDER BY t") == "60000|2.5; 60500|3");
  CHECK(database.Run("UPDATE r SET ok = NULL WHERE t = 60000") == "");
  CHECK(database.Run("SELECT body FROM r WHERE t = 60000") == R"({"value":2.5,"t":60000,"sensor":"a"})");
  CHECK(database.Run("DELETE FROM r WHERE sensor = 'b'") == "");
  CHECK(database.Run("SELECT count(*) FROM r") == "3");
  const std::string id = database.Run("SELECT id FROM r WHERE t = 61000");
  CHECK(id.starts_with("a@61000."));
  CHECK(database.Run("SELECT t FROM r WHERE id = '" + id + "'") == "61000");
  CHECK(FailureOf(*database.session, "INSERT INTO r (id, t, sensor) VALUES ('" + id + "', 61000, 'a')").code() ==
        ErrorCode::kAlreadyExists);
  CHECK(database.Run("INSERT OR REPLACE INTO r (id, t, sensor, value) VALUES ('" + id + "', 61000, 'a', 9)") == "");
  CHECK(database.Run("SELECT value FROM r WHERE id = '" + id + "'") == "9");
  CHECK(FailureOf(*database.session, "INSERT INTO r (id, t, sensor) VALUES ('mine', 1, 'a')").code() ==
        ErrorCode::kInvalidArgument);
  CHECK(FailureOf(*database.session, "INSERT INTO r (sensor) VALUES ('a')").code() == ErrorCode::kInvalidArgument);
  CHECK(FailureOf(*database.session, "UPDATE r SET t = t + 1").code() == ErrorCode::kInvalidArgument);
  CHECK(FailureOf(*database.session, "SELECT time_bucket FROM r WHERE bucket_width = '1x'").code() ==
        ErrorCode::kInvalidArgument);
  const auto report = database.core->Verify();
  REQUIRE(report.ok());
  CHECK(report->problems.empty());
}

TEST_CASE("readings in SQL: values keep their types and their digits") {
  ReadingsDatabase database;
  const std::vector<std::pair<std::string, std::string>> cases = {{"1", "1"},
                                                                  {"1.0", "1.0"},
                                                                  {"1.50", "1.5"},
                                                                  {"-0.25", "-0.25"},
                                                                  {"123456789.125", "123456789.125"},
                                                                  {"1e3", "1000.0"},
                                                                  {"\"x\"", "x"},
                                                                  {"null", "NULL"},
                                                                  {"true", "1"},
                                                                  {"[1,2]", "[1,2]"},
                                                                  {"0.1", "0.1"},
                                                                  {"1234567890.1234567", "1234567890.1234567"},
                                                                  {"12345678901234567", "12345678901234567"}};
  int time = 0;
  for (const auto& [token, value] : cases) {
    const std::string insert =
        "INSERT INTO r (t, sensor, body) VALUES (" + std::to_string(++time) + ", 'a', '{\"v\":" + token + "}')";
    REQUIRE(database.Run(insert) == "");
  }
  time = 0;
  for (const auto& [token, value] : cases) {
    CAPTURE(token);
    CHECK(database.Run("SELECT v FROM r WHERE t = " + std::to_string(++time)) == value);
    CHECK(database.Run("SELECT body ->> '$.sensor', body FROM r WHERE t = " + std::to_string(time)) ==
          "a|{\"v\":" + token + ",\"t\":" + std::to_string(time) + ",\"sensor\":\"a\"}");
  }
}

TEST_CASE("readings in SQL: time, series and id are pushed down, and the order of time is not sorted") {
  ReadingsDatabase database;
  database.Run("INSERT INTO r (t, sensor) VALUES (1, 'a')");
  CHECK(database.Plan("SELECT * FROM r WHERE sensor = 'a' AND t >= 5 AND t < 9 ORDER BY t")
            .find("readings: one series, from time, to time, in order of time") != std::string::npos);
  CHECK(database.Plan("SELECT * FROM r ORDER BY t DESC LIMIT 3").find("latest first") != std::string::npos);
  CHECK(database.Plan("SELECT * FROM r WHERE id = 'a@1.1'").find("readings: id") != std::string::npos);
  const std::string down_sampling =
      "SELECT time_bucket, avg(value) FROM r WHERE bucket_width = '1m' AND sensor = 'a' GROUP BY time_bucket";
  CHECK(database.Plan(down_sampling).find("TEMP B-TREE") == std::string::npos);
  CHECK(database.Plan("SELECT t FROM r WHERE t > 5 ORDER BY t").find("TEMP B-TREE") == std::string::npos);
}

TEST_CASE("readings in SQL: buckets, first and last") {
  ReadingsDatabase database;
  database.Run(
      "INSERT INTO r (t, sensor, body) SELECT column1, 'a', json_object('value', column2) FROM "
      "(VALUES (-1, 5), (0, 1), (59999, 2), (60000, 3), (150000, 4))");
  CHECK(database.Run("SELECT time_bucket('1m', t), count(*), first(value, t), last(value, t) FROM r GROUP BY 1") ==
        "-60000|1|5|5; 0|2|1|2; 60000|1|3|3; 120000|1|4|4");
  CHECK(database.Run("SELECT time_bucket, min(value), max(value) FROM r WHERE bucket_width = '1m' GROUP BY time_bucket "
                     "ORDER BY time_bucket DESC") == "120000|4|4; 60000|3|3; 0|1|2; -60000|5|5");
  CHECK(database.Run("SELECT time_bucket('1h', 7200, 's'), time_bucket('1ms', 1500, 'us'), time_bucket('1d', NULL)") ==
        "7200|1000|NULL");
  CHECK(FailureOf(*database.session, "SELECT time_bucket('1ms', 5, 's')").code() == ErrorCode::kInvalidArgument);
  CHECK(FailureOf(*database.session, "SELECT time_bucket('0s', 5)").code() == ErrorCode::kInvalidArgument);
}

// Generated statements over the same rows in a plain table.
TEST_CASE("readings in SQL: generated statements agree with a plain SQLite table") {
  const char* asked = std::getenv("FORESHORE_TEST_SEED");
  const std::uint64_t seed = asked != nullptr ? std::strtoull(asked, nullptr, 10) : std::random_device{}();
  INFO("FORESHORE_TEST_SEED=" << seed);
  for (const StorageKind kind : kKinds) {
    std::mt19937_64 random(seed);
    ReadingsDatabase database(kind);
    sqlite3* plain = nullptr;
    REQUIRE(sqlite3_open(":memory:", &plain) == SQLITE_OK);
    REQUIRE(sqlite3_exec(plain, "CREATE TABLE r (t, sensor, value, note)", nullptr, nullptr, nullptr) == SQLITE_OK);
    const auto pick = [&](std::initializer_list<const char*> options) {
      return std::string(options.begin()[random() % options.size()]);
    };
    for (int commit = 0; commit < 600; ++commit) {
      std::string values;
      for (std::uint64_t i = random() % 3 + 1; i-- > 0;) {
        values += values.empty() ? "" : ", ";
        values += "(" + std::to_string(static_cast<int>(random() % 2000) - 100) + ", " +
                  pick({"'a'", "'b'", "'b c'", "'b!'", "7", "'7'"}) + ", " +
                  pick({"1", "1.5", "-2.25", "0.0", "'x'", "NULL", "3.125", "100"}) + ", " + pick({"NULL", "'n'"}) +
                  ")";
      }
      const std::string insert = "INSERT INTO r (t, sensor, value, note) VALUES " + values;
      REQUIRE(sqlite3_exec(plain, insert.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
      // Through the body at first, so that the columns come to be.
      const std::string through_body =
          "INSERT INTO r (t, sensor, body) SELECT column1, column2, CASE WHEN column3 IS NULL THEN CASE WHEN column4 "
          "IS NULL THEN '{}' ELSE json_object('note', column4) END ELSE CASE WHEN column4 IS NULL THEN "
          "json_object('value', column3) ELSE json_object('value', column3, 'note', column4) END END FROM (VALUES " +
          values + ")";
      REQUIRE(database.Run(through_body) == "");
    }
    const auto plain_rows = [&](const std::string& sql) {
      std::string rows;
      sqlite3_stmt* statement = nullptr;
      REQUIRE_MESSAGE(sqlite3_prepare_v2(plain, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK, sql);
      while (sqlite3_step(statement) == SQLITE_ROW) {
        if (!rows.empty()) rows += "; ";
        for (int i = 0; i < sqlite3_column_count(statement); ++i) {
          if (i > 0) rows += '|';
          switch (sqlite3_column_type(statement, i)) {
            case SQLITE_INTEGER: rows += TextOfValue(SqlValue(std::int64_t{sqlite3_column_int64(statement, i)})); break;
            case SQLITE_FLOAT: rows += TextOfValue(SqlValue(sqlite3_column_double(statement, i))); break;
            case SQLITE_TEXT: rows += reinterpret_cast<const char*>(sqlite3_column_text(statement, i)); break;
            default: rows += "NULL";
          }
        }
      }
      sqlite3_finalize(statement);
      return rows;
    };
    const auto number = [&] { return std::to_string(static_cast<int>(random() % 2200) - 200); };
    for (int round = 0; round < 1500; ++round) {
      std::string where;
      for (std::uint64_t i = random() % 4; i-- > 0;) {
        where += where.empty() ? " WHERE " : " AND ";
        switch (random() % 8) {
          case 0: where += "t BETWEEN " + number() + " AND " + number(); break;
          case 1: where += "t " + pick({"<", "<=", ">", ">=", "=", "<>"}) + " " + number(); break;
          case 2: where += "t " + pick({"<", ">=", "="}) + " " + number() + ".5"; break;
          case 3: where += "sensor = " + pick({"'a'", "'b'", "'b c'", "7", "'7'", "7.0", "NULL"}); break;
          case 4: where += "sensor IN ('a', 7, 'b!')"; break;
          case 5: where += "sensor = 'A' COLLATE NOCASE"; break;
          case 6: where += "value " + pick({"> 0", "IS NULL", "= 'x'", "<> 1.5"}); break;
          default: where += "t " + pick({"< 'text'", "> 'text'", "> NULL", "IS NULL", "IN (5, 700, 1200)"}); break;
        }
      }
      std::string sql;
      switch (random() % 5) {
        case 0: sql = "SELECT count(*), sum(t), min(t), max(t) FROM r" + where; break;
        case 1:
          sql = "SELECT t, sensor, value, note FROM r" + where + " ORDER BY t" + pick({"", " DESC"}) +
                ", sensor, value, note LIMIT " + std::to_string(random() % 50);
          break;
        case 2:
          sql = "SELECT DISTINCT t FROM r" + where + " ORDER BY t" + pick({"", " DESC"}) + " LIMIT 20 OFFSET 3";
          break;
        case 3: sql = "SELECT sensor, count(*), max(t) FROM r" + where + " GROUP BY sensor ORDER BY 1, 2, 3"; break;
        default:
          sql = "SELECT a.t, count(*) FROM r a JOIN r b ON a.t = b.t" + (where.empty() ? "" : where + " AND 1") +
                " GROUP BY a.t ORDER BY a.t LIMIT 7";
          for (std::size_t at = 0; (at = sql.find(" t ", at)) != sql.npos; at += 4) sql.replace(at, 3, " a.t ");
          if (sql.find("sensor") != sql.npos || sql.find("value") != sql.npos) continue;
      }
      CAPTURE(sql);
      REQUIRE(database.Run(sql) == plain_rows(sql));
    }
    // Down-sampling, both ways, against the plain table's arithmetic.
    const std::string expected = plain_rows(
        "SELECT (t + 1000) / 100 * 100 - 1000 AS minute, count(*), sum(t) FROM r WHERE sensor = 'a' GROUP BY 1 ORDER "
        "BY 1");
    CHECK(database.Run(
              "SELECT time_bucket, count(*), sum(t) FROM r WHERE sensor = 'a' AND bucket_width = '100ms' GROUP BY "
              "time_bucket ORDER BY time_bucket") == expected);
    CHECK(database.Run(
              "SELECT time_bucket('100ms', t) AS minute, count(*), sum(t) FROM r WHERE sensor = 'a' GROUP BY 1") ==
          expected);
    sqlite3_close(plain);
  }
}

}  // namespace
}  // namespace foreshore
