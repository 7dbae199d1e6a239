#include "engine/query/live_queries.h"

#include <doctest/doctest.h>

#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "storage/base/clock.h"
#include "tests/engine/database/core_test.h"
#include "tests/engine/query/prediction_database.h"
#include "tests/engine/query/sql_test_database.h"

namespace foreshore {

namespace {

std::string TextOfRow(const SqlRow& row) {
  std::string text;
  for (const SqlValue& value : row) text += (text.empty() ? "" : "|") + TextOfValue(value);
  return text;
}

// A subscription that keeps the result by applying what it is told, and what it was told last as text:
// "+0 a|1" inserted at 0, "-1 b|2" removed from 1, "0>2 a|1 = a|3" updated and moved from 0 to 2.
struct Follower {
  Follower(LiveQueries& live, const std::string& sql, const SqlRow& parameters = {}, SubscriptionOptions options = {}) {
    auto made = live.Subscribe(sql, parameters, options, [this](const ResultChanges& changes) { Take(changes); });
    REQUIRE_MESSAGE(made.ok(), made.status().ToString());
    subscription = std::move(made).value();
  }
  void Take(const ResultChanges& changes) {
    ++delivery_count;
    status = changes.status;
    if (!status.ok()) return;
    CHECK(changes.sequence >= sequence);
    sequence = changes.sequence;
    CHECK(changes.is_first == (delivery_count == 1));
    last.clear();
    for (const RowChange& change : changes.changes) {
      if (!last.empty()) last += "; ";
      switch (change.kind) {
        case RowChange::Kind::kInserted:
          last += "+" + std::to_string(change.new_position) + " " + TextOfRow(change.new_row);
          break;
        case RowChange::Kind::kRemoved:
          last += "-" + std::to_string(change.old_position) + " " + TextOfRow(change.old_row);
          break;
        case RowChange::Kind::kUpdated:
          last += std::to_string(change.old_position) + ">" + std::to_string(change.new_position) + " " +
                  TextOfRow(change.old_row) + " = " + TextOfRow(change.new_row);
          break;
      }
    }
    columns = changes.columns;
    ApplyChanges(rows, changes);
    CHECK(rows.size() == changes.row_count);
  }
  std::string TakeLast() { return std::exchange(last, ""); }
  std::string Text() const {
    std::string text;
    for (const SqlRow& row : rows) text += (text.empty() ? "" : "; ") + TextOfRow(row);
    return text;
  }

  std::unique_ptr<Subscription> subscription;
  Status status;
  std::string last;
  std::vector<SqlRow> rows;
  std::vector<std::string> columns;
  std::int64_t sequence = 0;
  int delivery_count = 0;
};

void Delete(SqlTestDatabase& test, const std::string& collection, const std::string& id) {
  auto view = test.core->BeginWrite();
  REQUIRE(view.ok());
  REQUIRE((*view)->Delete(**(*view)->catalog().Require(collection), id).ok());
  REQUIRE((*view)->Commit().ok());
}

}  // namespace

TEST_CASE("live: the rows that are there come first, then each difference with its positions, on both backends") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    SqlTestDatabase test(kind);
    test.Collection("notes");
    test.Put("notes", "a", R"({"site":"A","n":1})");
    test.Put("notes", "c", R"({"site":"A","n":3})");
    test.Put("notes", "x", R"({"site":"B","n":2})");
    LiveQueries live(*test.core, false);
    Follower follower(live, "SELECT id, n FROM notes WHERE site = ?1 ORDER BY n", {std::string("A")});
    CHECK(follower.delivery_count == 0);
    live.RunOnce();
    CHECK(follower.TakeLast() == "+0 a|1; +1 c|3");
    CHECK(follower.columns == std::vector<std::string>{"id", "n"});
    CHECK(follower.sequence == test.core->last_sequence());
    live.RunOnce();
    CHECK(follower.delivery_count == 1);

    test.Put("notes", "b", R"({"site":"A","n":2})");
    live.RunOnce();
    CHECK(follower.TakeLast() == "+1 b|2");
    test.Put("notes", "a", R"({"site":"A","n":9})");
    live.RunOnce();
    CHECK(follower.TakeLast() == "0>2 a|1 = a|9");
    CHECK(follower.Text() == "b|2; c|3; a|9");
    test.Put("notes", "c", R"({"site":"B","n":3})");
    live.RunOnce();
    CHECK(follower.TakeLast() == "-1 c|3");
    Delete(test, "notes", "b");
    live.RunOnce();
    CHECK(follower.TakeLast() == "-0 b|2");
    CHECK(follower.Text() == "a|9");
  }
}

// SQLite leaves these terms to the scan of the index; a round looks at the changed documents instead.
TEST_CASE("live: the terms that an index decides hold for changed documents as well") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    SqlTestDatabase test(kind);
    test.Collection("notes");
    test.Index("notes", {.paths = {"site", "n"}});
    const std::string beginning(300, 'x');
    for (int i = 0; i < 200; ++i) {
      test.Put("notes", "o" + std::to_string(i), R"({"site":"other","n":)" + std::to_string(i) + "}");
    }
    LiveQueries live(*test.core, false);
    Follower range(live, "SELECT id, n FROM notes WHERE site = 'A' AND n > 1 AND n <= 5", {});
    Follower text(live, "SELECT id FROM notes WHERE site >= ?1 AND site < ?2", {beginning + "b", beginning + "d"});
    live.RunOnce();
    const std::uint64_t runs = live.run_count();
    test.Put("notes", "low", R"({"site":"A","n":1})");
    test.Put("notes", "high", R"({"site":"A","n":6})");
    test.Put("notes", "text", R"({"site":"A","n":"5"})");
    test.Put("notes", "absent", R"({"site":"A"})");
    for (const char last : {'a', 'd'}) {
      test.Put("notes", std::string(1, last), R"({"site":")" + beginning + last + R"("})");
    }
    live.RunOnce();
    CHECK(live.run_count() == runs);  // None of them is in either result.
    test.Put("notes", "in", R"({"site":"A","n":5})");
    for (const char last : {'b', 'c'}) {
      test.Put("notes", std::string(1, last), R"({"site":")" + beginning + last + R"("})");
    }
    live.RunOnce();
    CHECK(range.Text() == "in|5");
    CHECK(text.Text() == "b; c");
    CHECK(Rows(*test.session, "SELECT id, n FROM notes WHERE site = 'A' AND n > 1 AND n <= 5") == "in|5");
  }
}

TEST_CASE("live: several commits before a round come as one difference, and a change that was undone as none") {
  SqlTestDatabase test;
  test.Collection("notes");
  test.Put("notes", "z", R"({"n":0})");
  LiveQueries live(*test.core, false);
  Follower follower(live, "SELECT id, n FROM notes WHERE id <> 'z' ORDER BY id");
  live.RunOnce();
  CHECK(follower.delivery_count == 1);
  CHECK(follower.rows.empty());
  for (int i = 0; i < 5; ++i) test.Put("notes", std::string(1, static_cast<char>('a' + i)), R"({"n":1})");
  test.Put("notes", "a", R"({"n":2})");
  live.RunOnce();
  CHECK(follower.delivery_count == 2);
  CHECK(follower.TakeLast() == "+0 a|2; +1 b|1; +2 c|1; +3 d|1; +4 e|1");
  test.Put("notes", "a", R"({"n":3})");
  test.Put("notes", "a", R"({"n":2})");
  live.RunOnce();
  CHECK(follower.delivery_count == 2);
}

TEST_CASE("live: a commit that cannot matter does not run the statement") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    SqlTestDatabase test(kind);
    test.Collection("notes");
    test.Collection("other");
    for (int i = 0; i < 20; ++i) {
      test.Put("notes", "n" + std::to_string(i), R"({"site":"A","n":)" + std::to_string(i) + "}");
    }
    LiveQueries live(*test.core, false);
    Follower follower(live, "SELECT id, n FROM notes WHERE site = 'A' ORDER BY n LIMIT 5");
    live.RunOnce();
    const std::uint64_t runs = live.run_count();
    test.Put("other", "o", R"({"site":"A","n":0})");
    test.Put("notes", "b1", R"({"site":"B","n":0})");
    live.RunOnce();
    test.Put("notes", "b1", R"({"site":"C","n":0})");
    live.RunOnce();
    Delete(test, "notes", "b1");
    live.RunOnce();
    CHECK(live.run_count() == runs);
    CHECK(follower.delivery_count == 1);
    // One that matches, and one that no longer does: each is a run.
    test.Put("notes", "a1", R"({"site":"A","n":-1})");
    live.RunOnce();
    CHECK(live.run_count() == runs + 1);
    CHECK(follower.TakeLast() == "-4 n4|4; +0 a1|-1");
    test.Put("notes", "a1", R"({"site":"B","n":-1})");
    live.RunOnce();
    CHECK(live.run_count() == runs + 2);
    CHECK(follower.TakeLast() == "-0 a1|-1; +4 n4|4");
  }
}

TEST_CASE("live: what a statement reads is found through joins, subqueries, aggregates and count(*)") {
  SqlTestDatabase test;
  test.Collection("notes");
  test.Collection("sites");
  test.Collection("other");
  test.Put("sites", "A", R"({"name":"harbour"})");
  test.Put("notes", "n1", R"({"site":"A","n":1})");
  LiveQueries live(*test.core, false);
  Follower joined(live, "SELECT notes.id, sites.name FROM notes JOIN sites ON sites.id = notes.site");
  Follower nested(live, "SELECT id FROM notes WHERE site IN (SELECT id FROM sites WHERE name = 'quay')");
  Follower counted(live, "SELECT count(*) FROM notes");
  Follower paired(live, "SELECT a.id AS id, (a.n = b.n) AS same FROM notes a, notes b WHERE a.id < b.id");
  Follower each(live, "SELECT notes.id, value FROM notes, json_each(notes.body, '$.tags')");
  live.RunOnce();
  CHECK(joined.TakeLast() == "+0 n1|harbour");
  CHECK(nested.TakeLast().empty());
  CHECK(counted.TakeLast() == "+0 1");
  test.Put("sites", "A", R"({"name":"quay"})");
  live.RunOnce();
  CHECK(joined.TakeLast() == "0>0 n1|harbour = n1|quay");
  CHECK(nested.TakeLast() == "+0 n1");
  CHECK(counted.delivery_count == 1);
  test.Put("notes", "n2", R"({"site":"B","tags":["x","y"]})");
  live.RunOnce();
  CHECK(counted.TakeLast() == "-0 1; +0 2");
  CHECK(paired.TakeLast() == "+0 n1|NULL");
  CHECK(each.TakeLast() == "+0 n2|x; +1 n2|y");
  const std::uint64_t runs = live.run_count();
  test.Put("other", "o", "{}");
  live.RunOnce();
  CHECK(live.run_count() == runs);
}

TEST_CASE("live: SELECT * follows fields that appear later") {
  SqlTestDatabase test;
  test.Collection("notes");
  test.Put("notes", "a", R"({"n":1})");
  LiveQueries live(*test.core, false);
  Follower follower(live, "SELECT * FROM notes");
  live.RunOnce();
  const std::size_t before = follower.columns.size();
  test.Put("notes", "b", R"({"n":2,"fresh":true})");
  live.RunOnce();
  CHECK(follower.columns.size() == before + 1);
  CHECK(follower.Text().find("|2|1") != std::string::npos);
}

TEST_CASE("live: a k-NN statement follows vectors, and its order") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    SqlTestDatabase test(kind);
    test.Collection("notes");
    test.Vector("notes", "v", 2);
    test.Put("notes", "far", R"({"v":[9,9]})");
    test.Put("notes", "near", R"({"v":[1,0]})");
    LiveQueries live(*test.core, false);
    Follower follower(live, "SELECT id FROM notes WHERE v MATCH '[0,0]' ORDER BY distance LIMIT 2");
    live.RunOnce();
    CHECK(follower.TakeLast() == "+0 near; +1 far");
    test.Put("notes", "mid", R"({"v":[3,3]})");
    live.RunOnce();
    CHECK(follower.TakeLast() == "-1 far; +1 mid");
    test.Put("notes", "near", R"({"v":[4,4]})");
    live.RunOnce();
    CHECK(follower.Text() == "mid; near");
    test.Put("notes", "far", R"({"v":[[9,9],[0,1]]})");  // Several vectors: the nearest counts.
    live.RunOnce();
    CHECK(follower.Text() == "far; mid");
    test.Put("notes", "far", R"({"v":[[9,9]]})");
    live.RunOnce();
    CHECK(follower.Text() == "mid; near");
    CHECK(follower.delivery_count == 5);
    CHECK(test.core->DropVectorIndex("notes", "v").ok());
    live.RunOnce();
    CHECK_FALSE(follower.status.ok());
    CHECK_FALSE(follower.subscription->active());
    CHECK(follower.delivery_count == 6);
    CHECK(live.subscription_count() == 0);
  }
}

TEST_CASE("live: a vector that changes without its document concerns only statements that read vectors") {
  SqlTestDatabase test;
  test.Collection("notes");
  test.Vector("notes", "v", 2);
  test.Put("notes", "a", R"({"v":[9,9],"n":1})");
  LiveQueries live(*test.core, false);
  Follower nearest(live, "SELECT id, distance FROM notes WHERE v MATCH '[0,0]' ORDER BY distance LIMIT 2");
  Follower plain(live, "SELECT count(*) FROM notes");
  live.RunOnce();
  CHECK(nearest.delivery_count == 1);
  const std::uint64_t runs = live.run_count();
  // As the embedding worker writes it.
  auto view = test.core->BeginWrite();
  REQUIRE(view.ok());
  const auto& notes = **(*view)->catalog().Require("notes");
  REQUIRE((*view)->PutVector(notes.vector_indexes[0], **(*view)->FindDocid(notes, "a"), {}).ok());
  REQUIRE((*view)->Commit().ok());
  live.RunOnce();
  CHECK(nearest.Text().empty());
  CHECK(live.run_count() == runs + 1);
}

TEST_CASE("live: statements that cannot be followed are refused at once") {
  SqlTestDatabase test;
  test.Collection("notes");
  LiveQueries live(*test.core, false);
  const auto code = [&](const std::string& sql, SubscriptionOptions options = {}) {
    return live.Subscribe(sql, {}, options, [](const ResultChanges&) {}).status().code();
  };
  CHECK(code("DELETE FROM notes") == ErrorCode::kInvalidArgument);
  CHECK(code("INSERT INTO notes(id) VALUES ('a')") == ErrorCode::kInvalidArgument);
  CHECK(code("BEGIN") == ErrorCode::kInvalidArgument);
  CHECK(code("EXPLAIN QUERY PLAN SELECT id FROM notes") == ErrorCode::kInvalidArgument);
  CHECK(code("SELECT id FROM nowhere") == ErrorCode::kNotFound);
  CHECK(code("SELECT id FROM") == ErrorCode::kInvalidArgument);
  CHECK(code("SELECT 1; SELECT 2") == ErrorCode::kInvalidArgument);
  CHECK(code("SELECT id FROM notes", {.row_count_max = 0}) == ErrorCode::kInvalidArgument);
  const SqlValue one = std::int64_t{1};
  CHECK(live.Subscribe("SELECT id FROM notes", {&one, 1}, {}, [](const ResultChanges&) {}).status().code() ==
        ErrorCode::kInvalidArgument);
  CHECK(live.Subscribe("SELECT id FROM notes", {}, {}, nullptr).status().code() == ErrorCode::kInvalidArgument);
  CHECK(live.subscription_count() == 0);
}

TEST_CASE("live: a result that grows beyond its limit ends the subscription with that error") {
  SqlTestDatabase test;
  test.Collection("notes");
  LiveQueries live(*test.core, false);
  Follower rows(live, "SELECT id FROM notes", {}, {.row_count_max = 2});
  Follower bytes(live, "SELECT body FROM notes", {}, {.result_bytes_max = 2000});
  for (const char* id : {"a", "b"}) test.Put("notes", id, "{}");
  live.RunOnce();
  CHECK(rows.rows.size() == 2);
  test.Put("notes", "c", R"({"t":")" + std::string(3000, 'x') + "\"}");
  live.RunOnce();
  CHECK(rows.status.code() == ErrorCode::kLimit);
  CHECK(rows.status.message().find("more than 2 rows") != std::string::npos);
  CHECK(bytes.status.code() == ErrorCode::kLimit);
  CHECK_FALSE(rows.subscription->active());
  test.Put("notes", "d", "{}");
  live.RunOnce();
  CHECK(rows.delivery_count == 2);
}

TEST_CASE("live: deliveries keep the interval that was asked for, by the database's clock") {
  auto clock = std::make_shared<ManualClock>(1'795'000'000'000);
  CoreFixture fixture;
  fixture.environment.clock = clock;
  fixture.Open();
  REQUIRE(fixture.core->CreateCollection("notes").ok());
  LiveQueries live(*fixture.core, false);
  Follower follower(live, "SELECT id FROM notes", {}, {.interval_min = std::chrono::milliseconds(100)});
  live.RunOnce();
  CHECK(follower.delivery_count == 1);
  for (int i = 0; i < 10; ++i) {
    REQUIRE(fixture.Put("notes", "a" + std::to_string(i), "{}").ok());
    live.RunOnce();
    CHECK(follower.delivery_count == 1);
    clock->Advance(9);
  }
  clock->Advance(10);
  live.RunOnce();
  CHECK(follower.delivery_count == 2);
  CHECK(follower.rows.size() == 10);
}

namespace {

// The wall clock can be set; what measures intervals goes on.
class SettableClock : public ManualClock {
 public:
  using ManualClock::ManualClock;
  std::int64_t NowMonotonicUs() override { return (NowUnixMs() + set_back_ms_) * 1000; }
  void SetBack(std::int64_t ms) {
    Advance(-ms);
    set_back_ms_ += ms;
  }

 private:
  std::int64_t set_back_ms_ = 0;
};

}  // namespace

TEST_CASE(
    "live: a document leaves the result when it expires, and comes back when it is extended or the clock set back") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    auto clock = std::make_shared<SettableClock>(1'795'000'000'000);
    CoreFixture fixture(kind);
    fixture.environment.clock = clock;
    fixture.Open();
    REQUIRE(fixture.core->CreateCollection("notes").ok());
    REQUIRE(fixture.core->CreateCollection("other").ok());
    REQUIRE(fixture.core->SetExpiryField("notes", "until").ok());
    REQUIRE(fixture.Put("notes", "a", R"({"until":1795000010})").ok());
    REQUIRE(fixture.Put("notes", "b", R"({"until":1795000020})").ok());
    REQUIRE(fixture.Put("other", "c", R"({"until":1795000010})").ok());
    LiveQueries live(*fixture.core, false);
    Follower follower(live, "SELECT id FROM notes ORDER BY id");
    Follower counted(live, "SELECT count(*) FROM notes");
    Follower other(live, "SELECT id FROM other");
    live.RunOnce();
    CHECK(follower.TakeLast() == "+0 a; +1 b");
    CHECK(counted.TakeLast() == "+0 2");
    clock->Advance(9'999);
    live.RunOnce();
    CHECK(follower.delivery_count == 1);
    clock->Advance(1);
    live.RunOnce();
    CHECK(follower.TakeLast() == "-0 a");
    CHECK(counted.TakeLast() == "-0 2; +0 1");
    REQUIRE(fixture.Put("notes", "b", R"({"until":1795000030})").ok());
    live.RunOnce();
    clock->Advance(10'000);
    live.RunOnce();
    CHECK(follower.delivery_count == 2);
    clock->Advance(10'000);
    live.RunOnce();
    CHECK(follower.TakeLast() == "-0 b");
    clock->SetBack(10'000);
    live.RunOnce();
    CHECK(follower.TakeLast() == "+0 b");
    CHECK(other.delivery_count == 1);
  }
}

TEST_CASE("live: changes are not missed when a checkpoint trims the log before they were read") {
  CoreFixture fixture;
  fixture.Open();
  REQUIRE(fixture.core->CreateCollection("notes").ok());
  REQUIRE(fixture.Put("notes", "a", "{}").ok());
  LiveQueries live(*fixture.core, false);
  Follower follower(live, "SELECT id FROM notes");
  live.RunOnce();
  REQUIRE(fixture.Put("notes", "b", "{}").ok());
  REQUIRE(fixture.Put("notes", "c", "{}").ok());
  auto view = fixture.core->BeginWrite();
  REQUIRE(view.ok());
  REQUIRE((*view)->MoveLogCursor("sync.push", fixture.core->last_sequence()).ok());
  REQUIRE((*view)->Commit().ok());
  REQUIRE(fixture.core->Checkpoint().ok());
  live.RunOnce();
  CHECK(follower.Text() == "a; b; c");
}

TEST_CASE("live: with notify nothing runs until the application dispatches, and what changed meanwhile is merged") {
  SqlTestDatabase test;
  test.Collection("notes");
  test.Put("notes", "a0", R"({"n":0})");
  LiveQueries live(*test.core, false);
  int notified = 0;
  SubscriptionOptions options;
  options.notify = [&] { ++notified; };
  Follower follower(live, "SELECT id, n FROM notes ORDER BY id", {}, options);
  live.RunOnce();
  CHECK(notified == 1);
  CHECK(follower.delivery_count == 0);
  for (int i = 0; i < 3; ++i) {
    test.Put("notes", "a" + std::to_string(i), R"({"n":1})");
    live.RunOnce();
  }
  CHECK(notified == 1);  // The first one waits still.
  CHECK(follower.subscription->Dispatch());
  CHECK(follower.Text() == "a0|0");
  CHECK_FALSE(follower.subscription->Dispatch());
  live.RunOnce();
  CHECK(notified == 2);
  CHECK(live.Dispatch() == 1);
  CHECK(follower.last == "0>0 a0|0 = a0|1; +1 a1|1; +2 a2|1");
  CHECK(live.Dispatch() == 0);
}

TEST_CASE("live: a callback may write, subscribe and cancel itself or another") {
  SqlTestDatabase test;
  test.Collection("notes");
  test.Put("notes", "a", R"({"n":1})");
  LiveQueries live(*test.core, false);
  std::unique_ptr<Subscription> first;
  std::unique_ptr<Subscription> second;
  std::unique_ptr<Subscription> third;
  int first_count = 0;
  int third_count = 0;
  auto made = live.Subscribe("SELECT id FROM notes", {}, {}, [&](const ResultChanges& changes) {
    ++first_count;
    if (changes.is_first) {
      test.Put("notes", "b", R"({"n":2})");
      auto more = live.Subscribe("SELECT count(*) FROM notes", {}, {}, [&](const ResultChanges&) { ++third_count; });
      REQUIRE(more.ok());
      third = std::move(more).value();
      second->Cancel();
      CHECK_FALSE(second->active());
    } else {
      first->Cancel();
      first.reset();
    }
  });
  REQUIRE(made.ok());
  first = std::move(made).value();
  Follower other(live, "SELECT id FROM notes WHERE n = 7");
  second = std::move(other.subscription);
  live.RunOnce();
  CHECK(first_count == 1);
  live.RunOnce();
  CHECK(first_count == 2);
  CHECK(first == nullptr);
  CHECK(third_count == 1);
  test.Put("notes", "c", R"({"n":7})");
  live.RunOnce();
  CHECK(first_count == 2);
  CHECK(other.delivery_count == 0);
  CHECK(live.subscription_count() == 1);
}

// Goal: applying the differences to the previous result always gives the fresh result.
// Method: random writes, some in transactions and some in several collections; after some of them the followed result
// must equal the statement run anew.
TEST_CASE("live: followed results equal the statements run again, on both backends") {
  for (const StorageKind kind : kKinds) {
    const unsigned seed = 4711;
    CAPTURE(seed);
    CAPTURE(static_cast<int>(kind));
    std::mt19937 random(seed);
    SqlTestDatabase test(kind);
    test.Collection("notes");
    test.Collection("sites");
    test.Vector("notes", "v", 2);
    test.Put("notes", "d0", R"({"n":1,"site":"S1"})");  // So that the columns are there.
    test.Put("sites", "S1", R"({"label":"d0"})");
    // Orders are total, so that there is one right answer.
    const std::string statements[] = {
        "SELECT id, n, site FROM notes WHERE site = 'S1' ORDER BY n, id",
        "SELECT id, n FROM notes WHERE n > 50 ORDER BY n DESC, id LIMIT 5",
        "SELECT id FROM notes WHERE site <> 'S0' ORDER BY n, id LIMIT 4 OFFSET 3",
        "SELECT id, n FROM notes ORDER BY n, id LIMIT 2, 6",
        "SELECT n FROM notes WHERE site = 'S2' ORDER BY n",
        "SELECT site, count(*), sum(n) FROM notes GROUP BY site ORDER BY site",
        "SELECT DISTINCT n / 10 FROM notes ORDER BY 1",
        "SELECT notes.id AS id, sites.id AS site, label FROM notes JOIN sites ON sites.id = notes.site ORDER BY 1",
        "SELECT a.id, b.id FROM notes a, notes b WHERE a.n = b.n AND a.id < b.id ORDER BY 1, 2",
        "SELECT id, distance FROM notes WHERE v MATCH '[5,5]' ORDER BY distance LIMIT 5",
        "SELECT id, (SELECT label FROM sites WHERE sites.id = notes.site) FROM notes ORDER BY id",
        "SELECT id FROM notes WHERE id = 'd3' OR id > 'd6' ORDER BY id",
        "SELECT id FROM notes UNION SELECT label FROM sites ORDER BY 1",
        "SELECT id, row_number() OVER (ORDER BY n, id) FROM notes ORDER BY 2",
    };
    LiveQueries live(*test.core, false);
    std::vector<std::unique_ptr<Follower>> followers;
    for (const std::string& sql : statements) followers.push_back(std::make_unique<Follower>(live, sql));
    const auto write = [&](WriteView& view) {
      const auto& notes = **view.catalog().Require("notes");
      const auto& sites = **view.catalog().Require("sites");
      const std::string id = "d" + std::to_string(random() % 12);
      switch (random() % 6) {
        case 0: view.Delete(notes, id).IgnoreError(); break;
        case 1: REQUIRE(view.Put(sites, "S" + std::to_string(random() % 3), R"({"label":")" + id + "\"}").ok()); break;
        default: {
          const std::string body = R"({"n":)" + std::to_string(random() % 100) + R"(,"site":"S)" +
                                   std::to_string(random() % 3) + R"(","v":[)" + std::to_string(random() % 1000) + "," +
                                   std::to_string(random() % 1000) + "]}";
          REQUIRE(view.Put(notes, id, body).ok());
        }
      }
    };
    for (int round = 0; round < 300; ++round) {
      CAPTURE(round);
      auto view = test.core->BeginWrite();
      REQUIRE(view.ok());
      for (unsigned i = 0; i <= random() % 3; ++i) write(**view);
      REQUIRE((*view)->Commit().ok());
      if (random() % 3 == 0) continue;
      live.RunOnce();
      for (std::size_t i = 0; i < followers.size(); ++i) {
        CAPTURE(statements[i]);
        REQUIRE(followers[i]->status.ok());
        REQUIRE(followers[i]->Text() == Rows(*test.session, statements[i]));
      }
    }
    // Some were spared: the differences above were not found by running everything every time.
    CHECK(live.run_count() < followers.size() * 200);
  }
}

// Goal: hundreds of subscriptions on a collection that changes all the time cost little where they are not concerned.
TEST_CASE("live: 100 subscriptions and 1,000 commits run only the statements that are concerned") {
  SqlTestDatabase test;
  test.Collection("notes");
  test.Put("notes", "none", R"({"site":"","n":0})");
  LiveQueries live(*test.core, false);
  std::vector<std::unique_ptr<Follower>> followers;
  for (int i = 0; i < 100; ++i) {
    followers.push_back(
        std::make_unique<Follower>(live, "SELECT id, n FROM notes WHERE site = ?1", SqlRow{"S" + std::to_string(i)}));
  }
  live.RunOnce();
  CHECK(live.run_count() == 100);
  for (int i = 0; i < 1000; ++i) {
    test.Put("notes", "d" + std::to_string(i),
             R"({"site":"S)" + std::to_string(i % 100) + R"(","n":)" + std::to_string(i) + "}");
    live.RunOnce();
  }
  CHECK(live.run_count() == 1100);
  for (const auto& follower : followers) {
    CHECK(follower->delivery_count == 11);
    CHECK(follower->rows.size() == 10);
  }
}

TEST_CASE("live: a predicate over predictions follows documents and the model, and asks it about what changed alone") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PredictionDatabase test(kind, 50);
    test.Create();
    test.Fill();
    LiveQueries live(*test.core, false);
    Follower follower(live,
                      "SELECT id, predict('sum', x) ->> '$[0][0]' AS s FROM a "
                      "WHERE predict('sum', x) ->> '$[0][0]' > 48 ORDER BY s",
                      {});
    live.RunOnce();
    CHECK(follower.TakeLast() == "+0 p0048|48.5; +1 p0049|49.5");
    CHECK(follower.columns == std::vector<std::string>{"id", "s"});
    const std::size_t before = test.row_count;
    test.Put("a", "p0001", R"({"x":[100,0]})");
    live.RunOnce();
    CHECK(follower.TakeLast() == "+2 p0001|100");
    CHECK(test.row_count == before + 1);
    test.Fill();
    live.RunOnce();
    CHECK(follower.TakeLast() == "");  // What was pending is what was told.
    test.Put("a", "p0049", R"({"x":[1,0]})");
    Delete(test, "a", "p0048");
    live.RunOnce();
    CHECK(follower.Text() == "p0001|100");
    test.Register("2", 2);
    live.RunOnce();
    CHECK(follower.rows.size() == 25);  // 2 i + 0.5 above 48 from 24 on, but for 48 and 49, and 200.
    CHECK(follower.Text().ends_with("p0001|200"));
    test.Fill();
    live.RunOnce();
    CHECK(follower.rows.size() == 25);
  }
}

}  // namespace foreshore
