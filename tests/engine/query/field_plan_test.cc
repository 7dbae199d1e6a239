// Which plan runs: EXPLAIN QUERY PLAN names the index, its terms, and what it expects.

#include "engine/query/field_plan.h"

#include "engine/database/field_statistics.h"
#include "tests/engine/query/sql_test_database.h"

using namespace foreshore;

namespace {

struct PlanFixture : SqlTestDatabase {
  explicit PlanFixture(StorageKind storage = StorageKind::kSqlite) : SqlTestDatabase(storage) {
    Collection("notes");
    Collection("sites");
    auto view = core->BeginWrite();
    REQUIRE(view.ok());
    const CollectionDefinition& notes = *(*view)->catalog().Find("notes");
    for (int i = 0; i < 2000; ++i) {
      const std::string n = std::to_string(i);
      const std::string json = R"({"site":"s)" + std::to_string(i % 20) + R"(","n":)" + n + R"(,"code":"c)" + n +
                               R"(","tags":["t)" + std::to_string(i % 100) + R"("],"place":{"row":)" +
                               std::to_string(i % 50) + "}}";
      REQUIRE((*view)->Put(notes, "n" + n, json).ok());
    }
    for (int i = 0; i < 20; ++i) {
      const std::string name = "s" + std::to_string(i);
      REQUIRE((*view)->Put(*(*view)->catalog().Find("sites"), name, R"({"name":")" + name + R"("})").ok());
    }
    REQUIRE((*view)->Commit().ok());
  }
  std::string Plan(const std::string& sql) {
    const auto rows = RunSql(*session, "EXPLAIN QUERY PLAN " + sql);
    if (!rows.ok()) return rows.status().ToString();
    std::string plan;
    for (const std::string& row : *rows) plan += (plan.empty() ? "" : "; ") + row.substr(row.rfind('|') + 1);
    return plan;
  }
};

}  // namespace

TEST_CASE("plan: an index is named with the terms that narrow it and the share of documents it expects") {
  PlanFixture db;
  db.Index("notes", {.paths = {"site", "n"}});
  // The spread is known by some sixty samples.
  const std::string range = db.Plan("SELECT * FROM notes WHERE site = 's3' AND n > 1000");
  CHECK_MESSAGE(range.starts_with("SCAN notes VIRTUAL TABLE INDEX 6:index site,n (site = ? AND n > ?), ~"), range);
  CHECK_MESSAGE(range.ends_with(" % of 2000"), range);
  CHECK(db.Plan("SELECT * FROM notes WHERE site = ?") ==
        "SCAN notes VIRTUAL TABLE INDEX 6:index site,n (site = ?), ~5 % of 2000");
  CHECK(db.Plan("SELECT * FROM notes WHERE site IN ('s1', 's2') AND n BETWEEN 1 AND 5")
            .find("6:index site,n (site IN (?) AND n >= ? AND n <= ?)") != std::string::npos);
  CHECK(db.Plan("SELECT * FROM notes WHERE site IS NULL").find("(site IS NULL)") != std::string::npos);
  // The second path alone does not narrow the index.
  CHECK(db.Plan("SELECT * FROM notes WHERE n > 1000").find("1:full scan") != std::string::npos);
  // A wide range costs more than reading everything in order.
  CHECK(db.Plan("SELECT * FROM notes WHERE site > 's'").find("1:full scan") != std::string::npos);
}

TEST_CASE("plan: an order is taken from the index where that is cheaper than sorting") {
  PlanFixture db;
  db.Index("notes", {.paths = {"site", "n"}});
  db.Index("notes", {.paths = {"n"}});
  const std::string by_n = db.Plan("SELECT * FROM notes ORDER BY n DESC LIMIT 10");
  CHECK(by_n == "SCAN notes VIRTUAL TABLE INDEX 6:index n, in order, backwards, ~0.5 % of 2000");
  CHECK(db.Plan("SELECT * FROM notes WHERE site = 's1' ORDER BY n").find("in order") != std::string::npos);
  CHECK(db.Plan("SELECT * FROM notes WHERE site = 's1' ORDER BY site, n DESC").find("backwards") != std::string::npos);
  CHECK(db.Plan("SELECT * FROM notes WHERE site = 's1' ORDER BY n, rowid").find("in order") != std::string::npos);
  CHECK(db.Plan("SELECT * FROM notes WHERE site = 's1' ORDER BY site DESC, n DESC LIMIT 1").find("B-TREE") ==
        std::string::npos);
  CHECK(db.Plan("SELECT * FROM notes ORDER BY site, n DESC LIMIT 1").find("B-TREE") != std::string::npos);
  CHECK(db.Plan("SELECT * FROM notes ORDER BY n COLLATE NOCASE LIMIT 1").find("B-TREE") != std::string::npos);
  CHECK(db.Plan("SELECT * FROM notes ORDER BY n NULLS LAST LIMIT 1").find("B-TREE") != std::string::npos);
}

TEST_CASE("plan: a query of indexed fields alone reads no documents") {
  PlanFixture db;
  db.Index("notes", {.paths = {"site", "n"}});
  const std::string count = "SELECT count(*) FROM notes WHERE site = 's1' AND n < 500";
  CHECK(db.Plan(count).find("without documents") != std::string::npos);
  CHECK(Rows(*db.session, count) == "25");
  CHECK(db.Plan("SELECT site, sum(n) FROM notes GROUP BY site").find("in order, without documents") !=
        std::string::npos);
  CHECK(Rows(*db.session, "SELECT site, sum(n) FROM notes GROUP BY site LIMIT 2") == "s0|99000; s1|99100");
  CHECK(db.Plan("SELECT id FROM notes WHERE site = 's1'").find("without documents") == std::string::npos);
}

TEST_CASE("plan: joins look the inner side up, OR takes one index for each term") {
  PlanFixture db;
  db.Index("notes", {.paths = {"site"}});
  db.Index("notes", {.paths = {"n"}});
  const std::string join = db.Plan("SELECT * FROM sites JOIN notes ON notes.site = sites.name WHERE sites.id = 's1'");
  CHECK(join.find("6:index site (site = ?)") != std::string::npos);
  const std::string either = db.Plan("SELECT * FROM notes WHERE site = 's1' OR n = 5");
  CHECK(either.find("MULTI-INDEX OR") != std::string::npos);
  CHECK(either.find("index site (site = ?)") != std::string::npos);
  CHECK(either.find("index n (n = ?)") != std::string::npos);
  CHECK(Rows(*db.session, "SELECT count(*) FROM notes WHERE site = 's1' OR n = 5 OR n = 21") == "101");
}

TEST_CASE("plan: a partial index serves only queries that imply its predicate") {
  PlanFixture db;
  db.Index("notes", {.paths = {"site"}, .where = "n >= 1900 AND code IS NOT NULL", .name = "late"});
  const auto uses = [&](const std::string& where) {
    return db.Plan("SELECT * FROM notes WHERE site = 's1' AND " + where).find("index late") != std::string::npos;
  };
  CHECK(uses("n >= 1900 AND code > ''"));
  CHECK(uses("n > 1950 AND code = 'c1951'"));
  CHECK(uses("n = 1901 AND code LIKE 'c%'"));
  CHECK_FALSE(uses("n >= 1899 AND code > ''"));
  CHECK_FALSE(uses("n >= ? AND code > ''"));
  CHECK_FALSE(uses("n >= 1900"));
  CHECK_FALSE(uses("n >= 1900 AND code IS 'x'  OR code IS NULL"));
  CHECK_FALSE(uses("n >= CAST(1900 AS INTEGER) AND code > ''"));
  CHECK(Rows(*db.session, "SELECT count(*) FROM notes WHERE site = 's1' AND n > 1950 AND code IS NOT NULL") == "2");
}

TEST_CASE("plan: nested paths are columns, array elements are found by array_contains") {
  PlanFixture db;
  db.Index("notes", {.paths = {"place.row"}});
  db.Index("notes", {.paths = {"tags[]"}});
  CHECK(db.Plan("SELECT * FROM notes WHERE \"place.row\" = 7") ==
        "SCAN notes VIRTUAL TABLE INDEX 6:index place.row (\"place.row\" = ?), ~2 % of 2000");
  CHECK(db.Plan("SELECT * FROM notes WHERE array_contains(tags, 't7')") ==
        "SCAN notes VIRTUAL TABLE INDEX 6:index tags[] (array_contains(tags, ?)), ~1 % of 2000");
  CHECK(Rows(*db.session, "SELECT count(*), min(n) FROM notes WHERE array_contains(tags, 't7')") == "20|7");
  CHECK(Rows(*db.session, "SELECT count(*) FROM notes WHERE \"place.row\" = 7") == "40");
}

TEST_CASE("plan: statements prepared before an index came or went go on") {
  PlanFixture db;
  const auto before = *db.session->Prepare("SELECT count(*) FROM notes WHERE n = 7");
  db.Index("notes", {.paths = {"n"}});
  CHECK(*StepAll(*before) == std::vector<std::string>{"1"});
  CHECK(db.Plan("SELECT * FROM notes WHERE n = 7").find("index n") != std::string::npos);
  const auto with_index = *db.session->Prepare("SELECT count(*) FROM notes WHERE n = 7");
  const auto in_order = *db.session->Prepare("SELECT n FROM notes ORDER BY n DESC LIMIT 2");
  REQUIRE(db.core->DropFieldIndex("notes", "n").ok());
  CHECK(*StepAll(*with_index) == std::vector<std::string>{"1"});
  CHECK(*StepAll(*in_order) == std::vector<std::string>{"1999", "1998"});
  CHECK(db.Plan("SELECT * FROM notes WHERE n = 7").find("full scan") != std::string::npos);
}

TEST_CASE("plan: texts beyond what an index holds keep their order and their equality") {
  for (const bool backwards : {false, true}) {
    SqlTestDatabase db;
    db.Collection("t");
    db.Index("t", {.paths = {"a", "b"}});
    const std::string beginning(300, 'x');
    for (int i = 0; i < 40; ++i) {
      const std::string a = beginning + std::to_string(i * 7 % 10) + "\\u0000";
      db.Put("t", "k" + std::to_string(i), R"({"a":")" + a + R"(","b":)" + std::to_string(i * 3 % 11) + "}");
    }
    db.Put("t", "short", R"({"a":")" + beginning.substr(0, 200) + R"(","b":0})");
    db.Put("t", "long", R"({"a":")" + beginning + R"(:","b":0})");
    const std::string direction = backwards ? " DESC" : "";
    const std::string order = " ORDER BY a" + direction + ", b" + direction;
    const auto indexed = RunSql(*db.session, "SELECT a, b FROM t" + order + " LIMIT 50");
    const auto sorted = RunSql(*db.session, "SELECT a, b FROM t ORDER BY +a" + direction + ", +b" + direction);
    REQUIRE(indexed.ok());
    REQUIRE(sorted.ok());
    CHECK(*indexed == *sorted);
    CHECK(Rows(*db.session, "SELECT count(*) FROM t WHERE a = '" + beginning + "3' || char(0)") == "4");
    CHECK(Rows(*db.session, "SELECT count(*) FROM t WHERE a > '" + beginning + "8'") == "9");
    CHECK(Rows(*db.session, "SELECT count(*) FROM t WHERE a < '" + beginning + "1'") == "5");
    CHECK(Rows(*db.session, "SELECT id FROM t WHERE a = '" + beginning.substr(0, 200) + "'") == "short");
  }
}

TEST_CASE("plan: a scan in a transaction goes on while rows are written, and sees its own") {
  for (const bool backwards : {false, true}) {
    SqlTestDatabase db;
    db.Collection("t");
    db.Index("t", {.paths = {"a"}});
    for (int i = 0; i < 20; ++i) db.Put("t", "k" + std::to_string(i), R"({"a":)" + std::to_string(i) + "}");
    REQUIRE(RunSql(*db.session, "BEGIN").ok());
    const auto scan =
        *db.session->Prepare(std::string("SELECT id, a FROM t WHERE a >= 0 ORDER BY a") + (backwards ? " DESC" : ""));
    int count = 0;
    while (*scan->Step()) {
      ++count;
      const std::string id = TextOfValue(scan->Column(0));
      REQUIRE(RunSql(*db.session, "UPDATE t SET a = a - 100 WHERE id = '" + id + "'").ok());
    }
    CHECK(count == 20);
    CHECK(Rows(*db.session, "SELECT count(*) FROM t WHERE a < 0") == "20");
    REQUIRE(RunSql(*db.session, "COMMIT").ok());
    CHECK(db.core->Verify()->problems.empty());
  }
}

TEST_CASE("plan: rows that a transaction deletes or moves ahead of its scan are not met where they were") {
  for (const bool backwards : {false, true}) {
    SqlTestDatabase db;
    db.Collection("t");
    db.Index("t", {.paths = {"a"}});
    // The index cuts the texts, so that their documents say the order: 0 to 5, or back.
    const std::string beginning(300, 'x');
    for (int i = 0; i < 6; ++i) {
      db.Put("t", "k" + std::to_string(i), R"({"a":")" + beginning + std::to_string(i) + "\"}");
    }
    for (int i = 0; i < 300; ++i) db.Put("t", "z" + std::to_string(i), R"({"a":"z"})");
    REQUIRE(RunSql(*db.session, "BEGIN IMMEDIATE").ok());
    const auto scan =
        *db.session->Prepare(std::string("SELECT id FROM t WHERE a < 'y' ORDER BY a") + (backwards ? " DESC" : ""));
    REQUIRE(*scan->Step());
    CHECK(TextOfValue(scan->Column(0)) == (backwards ? "k5" : "k0"));
    REQUIRE(RunSql(*db.session, "DELETE FROM t WHERE id IN ('k1', 'k4')").ok());
    REQUIRE(RunSql(*db.session, "UPDATE t SET a = 'z' WHERE id = 'k2'").ok());
    REQUIRE(RunSql(*db.session, backwards ? "DELETE FROM t WHERE id = 'k0'" : "DELETE FROM t WHERE id = 'k5'").ok());
    const auto rest = StepAll(*scan);
    REQUIRE_MESSAGE(rest.ok(), rest.status().ToString());
    std::string ids;
    for (const std::string& id : *rest) ids += id + " ";
    CHECK(ids == "k3 ");
    REQUIRE(RunSql(*db.session, "COMMIT").ok());
    CHECK(db.core->Verify()->problems.empty());
  }
}

TEST_CASE("statistics: count, differing values and spread are taken, kept over a reopen, and taken anew") {
  PlanFixture db;
  db.Index("notes", {.paths = {"site", "n"}});
  const auto definition = db.core->catalog()->Find("notes")->field_indexes.at(0);
  const auto statistics = db.core->field_statistics().Of(definition);
  REQUIRE(statistics != nullptr);
  CHECK(statistics->entry_count == 2000);
  CHECK(statistics->distinct_counts == std::vector<std::uint64_t>{20, 2000});
  const auto decoded = DecodeFieldStatistics(EncodeFieldStatistics(*statistics), 2);
  REQUIRE(decoded.ok());
  CHECK(decoded->samples == statistics->samples);
  CHECK(decoded->distinct_counts == statistics->distinct_counts);
  CHECK(EncodeFieldStatistics(*statistics).size() <= 2048);
  const ByteString row = EncodeFieldStatistics(*statistics);
  for (std::size_t size = 0; size < row.size(); ++size) CHECK_FALSE(DecodeFieldStatistics(row.substr(0, size), 2).ok());
  CHECK_FALSE(DecodeFieldStatistics(row, 1).ok());
  ByteString begin;
  AppendTextKey(begin, "s1");
  CHECK(statistics->FractionBetween(begin, begin + kKeyEnd) == doctest::Approx(0.05).epsilon(0.5));
  CHECK(statistics->FractionBetween("", "") == 1);
  REQUIRE(RunSql(*db.session, "DELETE FROM notes WHERE n >= 100").ok());
  CHECK(db.core->field_statistics().Of(definition)->entry_count == 100);
}
