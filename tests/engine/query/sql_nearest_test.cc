#include <algorithm>
#include <cmath>
#include <random>

#include "tests/engine/query/sql_test_database.h"

using namespace foreshore;

namespace {

std::string Array(const std::vector<double>& values) {
  std::string text = "[";
  for (const double value : values) text += (text.size() > 1 ? "," : "") + std::to_string(value);
  return text + "]";
}

// 300 points of 4 dimensions; "group" is the number modulo 50, "n" the number.
struct NearestFixture : SqlTestDatabase {
  NearestFixture() {
    Collection("points");
    Vector("points", "v", 4);
    std::mt19937 generator(7);
    std::uniform_real_distribution<double> uniform(-1, 1);
    auto view = core->BeginWrite();
    REQUIRE(view.ok());
    const CollectionDefinition* definition = (*view)->catalog().Find("points");
    for (int i = 0; i < 300; ++i) {
      points.push_back({uniform(generator), uniform(generator), uniform(generator), uniform(generator)});
      const std::string body = R"({"n":)" + std::to_string(i) + R"(,"group":)" + std::to_string(i % 50) + R"(,"v":)" +
                               Array(points.back()) + "}";
      REQUIRE((*view)->Put(*definition, "p" + std::to_string(i), body).ok());
    }
    REQUIRE((*view)->Commit().ok());
  }
  std::string Plan(const std::string& sql) { return Rows(*session, "EXPLAIN QUERY PLAN " + sql); }
  std::vector<std::vector<double>> points;
};

}  // namespace

TEST_CASE_FIXTURE(NearestFixture, "k-NN: a filter that few documents pass still gives k, in order") {
  const std::string query = "'[0.1,0.2,0.3,0.4]'";
  const auto rows = RunSql(*session, "SELECT n, distance FROM points WHERE v MATCH " + query +
                                         " AND \"group\" = 17 ORDER BY distance LIMIT 6");
  REQUIRE(rows.ok());
  REQUIRE(rows->size() == 6);
  double before = 0;
  for (const std::string& row : *rows) {
    const int n = std::stoi(row);
    const double distance = std::stod(row.substr(row.find('|') + 1));
    CHECK(n % 50 == 17);
    CHECK(distance >= before);
    before = distance;
    const std::vector<double>& point = points[static_cast<std::size_t>(n)];
    const double exact =
        std::hypot(std::hypot(point[0] - 0.1, point[1] - 0.2), std::hypot(point[2] - 0.3, point[3] - 0.4));
    CHECK(distance == doctest::Approx(exact).epsilon(0.05));
  }
}

TEST_CASE_FIXTURE(NearestFixture, "k-NN: an index that finds few documents changes the plan and no answer") {
  const std::vector<std::string> filters = {
      "\"group\" = 17",
      "\"group\" = 17 AND n > 100",
      "\"group\" IN (3, 17, 3, 99)",
      "\"group\" = '17'",
      "\"group\" = NULL",
      "\"group\" = 99",
      "\"group\" > 47",
      "\"group\" BETWEEN 3 AND 4 AND n % 2 = 0",
      "\"group\" IS NULL",
  };
  const auto query_of = [](const std::string& filter) {
    return "SELECT id, distance FROM points WHERE v MATCH '[0.1,0.2,0.3,0.4]' AND " + filter + " ORDER BY distance";
  };
  const std::vector<std::string> changes = {
      "BEGIN",
      "UPDATE points SET \"group\" = 17 WHERE n = 4",
      "UPDATE points SET v = '[0.1,0.2,0.3,0.4]' WHERE n = 67",
      "UPDATE points SET \"group\" = 18 WHERE n = 117",
      "DELETE FROM points WHERE n = 167",
      "INSERT INTO points (id, v, \"group\", n) VALUES ('new', '[0.1,0.2,0.3,0.5]', 17, 1000)",
      "INSERT INTO points (id, \"group\", n) VALUES ('bare', 17, 1001)",
  };
  // Every answer three times: as it is, inside of a transaction that writes, and after it.
  const auto answers = [&](SqlSession& asked) {
    std::vector<std::string> all;
    for (const std::string& filter : filters) all.push_back(Rows(asked, query_of(filter)));
    for (const std::string& change : changes) REQUIRE(Rows(asked, change).empty());
    for (const std::string& filter : filters) all.push_back(Rows(asked, query_of(filter)));
    REQUIRE(Rows(asked, "ROLLBACK").empty());
    for (const std::string& filter : filters) all.push_back(Rows(asked, query_of(filter)));
    return all;
  };
  const std::vector<std::string> without = answers(*session);
  REQUIRE(core->CreateFieldIndex("points", {.paths = {"group"}}).ok());
  REQUIRE(core->WaitIndexed(std::chrono::seconds(60), nullptr).ok());
  const auto fresh = SqlSession::Create(*core);
  REQUIRE(fresh.ok());
  const std::string plan = Rows(**fresh, "EXPLAIN QUERY PLAN " + query_of(filters[0]));
  CHECK_MESSAGE(plan.find("k-NN v: exact scan of the codes of index group") != std::string::npos, plan);
  CHECK(answers(**fresh) == without);
  // k counts neighbours before any other term, so that no filter may come first.
  const std::string with_k = query_of("\"group\" = 17 AND k = 5");
  CHECK(Rows(**fresh, "EXPLAIN QUERY PLAN " + with_k).find("the codes of") == std::string::npos);
  CHECK(Rows(**fresh, with_k) == Rows(*session, with_k));
}

namespace {

// 6,000 points of 8 dimensions, enough for a graph search. "any" is a number below 100 of no connection with the point,
// "side" tells in which of four quarters by two of its coordinates it lies.
struct WideFixture : SqlTestDatabase {
  static constexpr int kCount = 6000;
  WideFixture() {
    Collection("points");
    Vector("points", "v", 8);
    REQUIRE(core->CreateFieldIndex("points", {.paths = {"any"}}).ok());
    REQUIRE(core->CreateFieldIndex("points", {.paths = {"side"}}).ok());
    auto view = core->BeginWrite();
    REQUIRE(view.ok());
    const CollectionDefinition* definition = (*view)->catalog().Find("points");
    for (int i = 0; i < kCount; ++i) {
      const std::vector<double> point = Point();
      const int side = (point[0] > 0 ? 1 : 0) + (point[1] > 0 ? 2 : 0);
      const std::string body = R"({"any":)" + std::to_string(generator() % 100) + R"(,"side":)" + std::to_string(side) +
                               R"(,"v":)" + Array(point) + "}";
      REQUIRE((*view)->Put(*definition, "p" + std::to_string(i), body).ok());
    }
    REQUIRE((*view)->Commit().ok());
    REQUIRE(core->WaitIndexed(std::chrono::seconds(60), nullptr).ok());
  }
  std::vector<double> Point() {
    std::vector<double> point(8);
    for (double& value : point) value = uniform(generator);
    return point;
  }
  // In the first quarter, and deep in it.
  std::string Query() {
    std::vector<double> point = Point();
    point[0] = -1;
    point[1] = -1;
    return Array(point);
  }
  // How many of the ten nearest by a sort of all are found, over some queries; all rows have to be there in the end.
  int CountFound(SqlSession& asked, const std::string& filter, int query_count) {
    int found_count = 0;
    for (int i = 0; i < query_count; ++i) {
      const std::string query = "'" + Query() + "'";
      const std::string nearest = "SELECT id FROM points WHERE v MATCH " + query + " AND " + filter;
      const auto found = RunSql(asked, nearest + " ORDER BY distance LIMIT 10");
      const auto exact = RunSql(asked, "SELECT id FROM points WHERE +" + filter + " ORDER BY vector_distance(v, " +
                                           query + ", 'l2') LIMIT 10");
      REQUIRE(found.ok());
      REQUIRE(exact.ok());
      REQUIRE(found->size() == 10);
      for (const std::string& id : *exact) {
        found_count += std::count(found->begin(), found->end(), id) > 0 ? 1 : 0;
      }
    }
    return found_count;
  }
  std::mt19937 generator{11};
  std::uniform_real_distribution<double> uniform{-1, 1};
};

}  // namespace

TEST_CASE_FIXTURE(WideFixture, "k-NN: among the many documents that an index finds, near the query and far from it") {
  // About 1,500 documents each.
  const std::vector<std::string> filters = {"any < 25", "any BETWEEN 40 AND 64", "side = 0", "side = 3"};
  const auto fresh = SqlSession::Create(*core);
  REQUIRE(fresh.ok());
  for (const std::string& filter : filters) {
    CAPTURE(filter);
    const std::string all = "SELECT id FROM points WHERE v MATCH '" + Query() + "' AND " + filter;
    const std::string plan = Rows(**fresh, "EXPLAIN QUERY PLAN " + all + " ORDER BY distance LIMIT 10");
    CHECK_MESSAGE(plan.find("k-NN v: after ") != std::string::npos, plan);
    CHECK_MESSAGE(plan.find(" neighbours of all ") != std::string::npos, plan);
    CHECK_MESSAGE(plan.find(" of index ") != std::string::npos, plan);
    CHECK(CountFound(**fresh, filter, 20) >= 195);
    const std::string wanted = Rows(**fresh, "SELECT id FROM points WHERE +" + filter + " ORDER BY id");
    CHECK(Rows(**fresh, "SELECT id FROM (" + all + ") ORDER BY id") == wanted);
    CHECK(Rows(**fresh, "SELECT id FROM (" + all + ") ORDER BY id") == wanted);  // From what was kept.

    // The transaction's own writes, and its snapshot.
    REQUIRE(Rows(**fresh, "BEGIN").empty());
    REQUIRE(Rows(**fresh, "UPDATE points SET any = 99 - any, side = 3 - side WHERE id < 'p3'").empty());
    REQUIRE(Rows(**fresh, "UPDATE points SET v = '" + Array(Point()) + "' WHERE id BETWEEN 'p4' AND 'p45'").empty());
    REQUIRE(Rows(**fresh, "DELETE FROM points WHERE id BETWEEN 'p5' AND 'p52'").empty());
    const std::string changed = Rows(**fresh, "SELECT id FROM points WHERE +" + filter + " ORDER BY id");
    CHECK(changed != wanted);
    CHECK(Rows(**fresh, "SELECT id FROM (" + all + ") ORDER BY id") == changed);
    CHECK(Rows(*session, "SELECT id FROM (" + all + ") ORDER BY id") == wanted);
    REQUIRE(Rows(**fresh, "ROLLBACK").empty());
    CHECK(Rows(**fresh, "SELECT id FROM (" + all + ") ORDER BY id") == wanted);
  }
  // After a commit, what was kept of the snapshots before it is of no use.
  REQUIRE(Rows(*session, "UPDATE points SET side = 3 WHERE id < 'p2'").empty());
  const std::string moved = "SELECT id FROM points WHERE v MATCH '" + Query() + "' AND side = 3";
  CHECK(Rows(**fresh, "SELECT id FROM (" + moved + ") ORDER BY id") ==
        Rows(**fresh, "SELECT id FROM points WHERE +side = 3 ORDER BY id"));
  CHECK(CountFound(**fresh, "side = 3", 10) >= 97);
  // Where about every second neighbour passes, they are streamed.
  const std::string most = Rows(**fresh, "EXPLAIN QUERY PLAN SELECT id FROM points WHERE v MATCH '" + Query() +
                                             "' AND any < 60 ORDER BY distance");
  CHECK_MESSAGE(most.find("of index") == std::string::npos, most);
}

TEST_CASE_FIXTURE(SqlTestDatabase, "k-NN: documents with several vectors, with filters and inside a transaction") {
  Collection("notes");
  Vector("notes", "v", 4);
  Index("notes", {.paths = {"group"}});
  std::mt19937 generator(19);
  std::uniform_real_distribution<double> uniform(-1, 1);
  const auto point = [&] {
    return Array({uniform(generator), uniform(generator), uniform(generator), uniform(generator)});
  };
  const auto points = [&] {
    const auto count = static_cast<int>(generator() % 5);
    if (count == 0) return point();
    std::string text = "[" + point();
    for (int i = 1; i < count; ++i) text += "," + point();
    return text + "]";
  };
  const auto id = [](int number) { return "n" + std::to_string(number); };
  for (int i = 0; i < 600; ++i) {
    Put("notes", id(i), R"({"group":)" + std::to_string(i % 7) + R"(,"v":)" + points() + "}");
  }
  // Rows by MATCH and by a sort of all rows. Codes are no floats, so that neighbours at nearly one distance may change
  // places; these are counted.
  int found_count = 0;
  int expected_count = 0;
  const auto check = [&](SqlSession& asked) {
    for (const char* filter :
         {"", " AND \"group\" = 3", " AND \"group\" < 5", " AND +\"group\" = 2", " AND id > 'n4'"}) {
      CAPTURE(filter);
      const std::string query = "'" + point() + "'";
      const std::string matched = "FROM notes WHERE v MATCH " + query + filter;
      const std::string every = std::string("FROM notes WHERE v IS NOT NULL") + filter;
      CHECK(Rows(asked, "SELECT id " + matched + " ORDER BY +id") ==
            Rows(asked, "SELECT id " + every + " ORDER BY +id"));
      const auto found = RunSql(asked, "SELECT id " + matched + " ORDER BY distance LIMIT 10");
      const auto exact =
          RunSql(asked, "SELECT id " + every + " ORDER BY vector_distance(v, " + query + ", 'l2') LIMIT 10");
      REQUIRE(found.ok());
      REQUIRE(exact.ok());
      REQUIRE(found->size() == exact->size());
      for (const std::string& each : *exact) {
        found_count += std::count(found->begin(), found->end(), each) > 0 ? 1 : 0;
        ++expected_count;
      }
      const auto worst =
          Rows(asked, "SELECT max(abs(distance - vector_distance(v, " + query + ", 'l2'))) < 0.02 " + matched);
      CHECK(worst == "1");
      const std::string named = "SELECT distance FROM notes WHERE v MATCH " + query + " AND id = 'n17'";
      CHECK(Rows(asked, named) ==
            Rows(asked, "SELECT distance FROM notes WHERE v MATCH " + query + " AND +id = 'n17'"));
    }
  };
  for (int round = 0; round < 4; ++round) check(*session);
  REQUIRE(Rows(*session, "BEGIN").empty());
  for (int i = 0; i < 200; ++i) {
    const std::string changed = id(static_cast<int>(generator() % 700));
    const std::string vectors = i % 9 == 0 ? "NULL" : "'" + points() + "'";
    REQUIRE(Rows(*session, "UPDATE notes SET v = " + vectors + " WHERE id = '" + changed + "'").empty());
  }
  REQUIRE(Rows(*session, "INSERT INTO notes (id, v, \"group\") VALUES ('n900', '" + points() + "', 3)").empty());
  REQUIRE(Rows(*session, "DELETE FROM notes WHERE id = 'n33'").empty());
  for (int round = 0; round < 3; ++round) check(*session);
  const auto other = SqlSession::Create(*core);
  REQUIRE(other.ok());
  check(**other);
  REQUIRE(Rows(*session, "COMMIT").empty());
  for (int round = 0; round < 3; ++round) check(**other);
  CHECK(found_count * 100 >= expected_count * 97);
}

TEST_CASE_FIXTURE(NearestFixture, "k-NN: a filtered search that is open keeps its snapshot while documents change") {
  REQUIRE(core->CreateFieldIndex("points", {.paths = {"group"}}).ok());
  REQUIRE(core->WaitIndexed(std::chrono::seconds(60), nullptr).ok());
  const auto reader = SqlSession::Create(*core);
  REQUIRE(reader.ok());
  const std::string query =
      "SELECT id, distance FROM points WHERE v MATCH '[0.1,0.2,0.3,0.4]' AND \"group\" = 17 ORDER BY distance";
  REQUIRE(Rows(**reader, "BEGIN").empty());
  const std::string before = Rows(**reader, query);
  for (int round = 0; round < 3; ++round) {
    REQUIRE(
        Rows(*session, "UPDATE points SET v = '[" + std::to_string(round) + ",0,0,0.5]' WHERE \"group\" = 17").empty());
  }
  REQUIRE(Rows(*session, "DELETE FROM points WHERE n = 17").empty());
  CHECK(Rows(**reader, query) == before);
  REQUIRE(Rows(**reader, "COMMIT").empty());
  CHECK(Rows(**reader, query) != before);
}

TEST_CASE_FIXTURE(NearestFixture, "k-NN: a bound on the distance ends the search and changes no answer") {
  for (const char* bound : {"0.5", "1", "0", "-1", "9", "NULL", "'x'", "x'00'", "0.3 + 0.4"}) {
    CAPTURE(bound);
    for (const char* comparison : {" < ", " <= "}) {
      const std::string sql = "SELECT id, distance FROM points WHERE v MATCH '[0.1,0.2,0.3,0.4]' AND ";
      const std::string bounded = sql + "distance" + comparison + bound + " ORDER BY distance";
      const std::string tested = sql + "+distance" + comparison + bound + " ORDER BY distance";
      CHECK(Rows(*session, bounded) == Rows(*session, tested));
      CHECK(Plan(bounded).find("k-NN v: within a distance: ") != std::string::npos);
      CHECK(Plan(tested).find("within a distance") == std::string::npos);
    }
  }
  // An integer bound of a column without affinity: text is never less.
  CHECK(Rows(*session, "SELECT count(*) FROM points WHERE v MATCH '[0,0,0,0]' AND k = 7 AND distance < 100") == "7");
}

TEST_CASE_FIXTURE(NearestFixture, "k-NN: the stream holds every document once") {
  CHECK(Rows(*session, "SELECT count(*), count(DISTINCT id) FROM points WHERE v MATCH '[0,0,0,0]'") == "300|300");
}

TEST_CASE_FIXTURE(NearestFixture, "k-NN: a named document has the distance that the search gives it") {
  const auto all = RunSql(*session, "SELECT id, distance FROM points WHERE v MATCH '[0.1,0.2,0.3,0.4]' LIMIT 5");
  REQUIRE(all.ok());
  for (const std::string& row : *all) {
    const std::string id = row.substr(0, row.find('|'));
    CHECK(Rows(*session, "SELECT id, distance FROM points WHERE v MATCH '[0.1,0.2,0.3,0.4]' AND id = '" + id + "'") ==
          row);
  }
}

TEST_CASE_FIXTURE(NearestFixture, "plans: EXPLAIN QUERY PLAN names the strategy") {
  CHECK(Plan("SELECT * FROM points").find("VIRTUAL TABLE INDEX 1:full scan") != std::string::npos);
  CHECK(Plan("SELECT * FROM points WHERE id = 'p1'").find("VIRTUAL TABLE INDEX 2:id") != std::string::npos);
  const std::string nearest = Plan("SELECT * FROM points WHERE v MATCH '[0,0,0,0]' ORDER BY distance LIMIT 3");
  CHECK_MESSAGE(nearest.find("SCAN points VIRTUAL TABLE INDEX 3:k-NN v: ") != std::string::npos, nearest);
  CHECK_MESSAGE(nearest.find("300") != std::string::npos, nearest);
  CHECK_MESSAGE(nearest.find("TEMP B-TREE") == std::string::npos, nearest);
  CHECK(Plan("SELECT * FROM points WHERE v MATCH '[0,0,0,0]' ORDER BY distance DESC").find("TEMP B-TREE") !=
        std::string::npos);
  CHECK(Plan("SELECT * FROM points WHERE v MATCH '[0,0,0,0]' ORDER BY distance, n").find("TEMP B-TREE") !=
        std::string::npos);
  CHECK(Plan("SELECT * FROM points WHERE id > 'p2' ORDER BY id").find("ids in order, from id") != std::string::npos);
  CHECK(Plan("SELECT * FROM points ORDER BY id DESC").find("TEMP B-TREE") == std::string::npos);
  CHECK(Plan("SELECT * FROM points ORDER BY rowid").find("TEMP B-TREE") == std::string::npos);
  CHECK(Plan("SELECT * FROM points WHERE rowid = 5").find("docid") != std::string::npos);
  CHECK(Plan("SELECT * FROM points WHERE id = 'P1' COLLATE NOCASE").find("full scan") != std::string::npos);
}

TEST_CASE_FIXTURE(NearestFixture, "plans: a join puts the search outside and the look-up by id inside") {
  Collection("names");
  Put("names", "p3", R"({"name":"three"})");
  const std::string plan =
      Plan("SELECT * FROM names JOIN points ON names.id = points.id WHERE v MATCH '[0,0,0,0]' AND points.k = 5");
  const std::size_t search = plan.find("k-NN v");
  const std::size_t look_up = plan.find("names VIRTUAL TABLE INDEX 2:id");
  REQUIRE_MESSAGE(search != std::string::npos, plan);
  REQUIRE_MESSAGE(look_up != std::string::npos, plan);
  CHECK(search < look_up);
}

TEST_CASE_FIXTURE(NearestFixture, "k-NN: a transaction finds its own writes, and an open search keeps its snapshot") {
  const auto other = SqlSession::Create(*core);
  REQUIRE(other.ok());
  auto open = session->Prepare("SELECT count(*) FROM points WHERE v MATCH '[9,9,9,9]' AND distance < 3");
  REQUIRE(open.ok());
  auto stream = session->Prepare("SELECT id FROM points WHERE v MATCH '[9,9,9,9]'");
  REQUIRE(stream.ok());
  REQUIRE(*(*stream)->Step());
  CHECK(Rows(**other, "BEGIN").empty());
  CHECK(Rows(**other, "INSERT INTO points (id, v) VALUES ('far', '[9,9,9,9]')").empty());
  CHECK(Rows(**other, "SELECT id FROM points WHERE v MATCH '[9,9,9,9]' LIMIT 1") == "far");
  CHECK(Rows(**other, "SELECT id FROM points WHERE id = 'far' AND v MATCH '[9,9,9,9]'") == "far");
  CHECK(Rows(**other, "COMMIT").empty());
  std::size_t count = 1;
  while (true) {
    const auto stepped = (*stream)->Step();
    REQUIRE(stepped.ok());
    if (!*stepped) break;
    CHECK(TextOfValue((*stream)->Column(0)) != "far");
    ++count;
  }
  CHECK(count == 300);
  REQUIRE(*(*open)->Step());
  CHECK(TextOfValue((*open)->Column(0)) == "1");
}
