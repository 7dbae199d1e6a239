// Expired documents and the indexes that still have them.
#include "engine/query/search_sql.h"
#include "storage/base/clock.h"
#include "tests/engine/database/core_test.h"
#include "tests/engine/query/sql_test_database.h"

namespace foreshore {

namespace {

constexpr std::int64_t kNow = 1'795'000'000'000;

// Three notes about pumps, one of which expires in ten seconds, in every kind of index.
struct ExpiryDatabase : CoreFixture {
  explicit ExpiryDatabase(StorageKind storage) : CoreFixture(storage) {
    environment.clock = clock;
    options.index_in_background = false;
    Open();
    REQUIRE(core->CreateCollection("notes").ok());
    REQUIRE(core->SetExpiryField("notes", "until").ok());
    VectorFieldOptions vector;
    vector.field = "v";
    vector.dimension = 2;
    vector.metric = VectorMetric::kL2;
    REQUIRE(core->CreateVectorIndex("notes", vector).ok());
    PutNotes();
    // So many others that plans take the indexes.
    auto view = core->BeginWrite();
    REQUIRE(view.ok());
    for (int i = 0; i < 500; ++i) {
      REQUIRE((*view)->Put(**(*view)->catalog().Require("notes"), "z" + std::to_string(i), "{\"n\":-1}").ok());
    }
    REQUIRE((*view)->Commit().ok());
    auto created = SqlSession::Create(*core);
    REQUIRE_MESSAGE(created.ok(), created.status().ToString());
    session = std::move(created).value();
  }
  void PutNotes() {
    REQUIRE(Put("notes", "a", R"({"n":1,"mail":"x@a","text":"pump pump pump","v":[0,1],"until":1795000010})").ok());
    REQUIRE(Put("notes", "b", R"({"n":2,"mail":"y@b","text":"the pump is hot","v":[0,2]})").ok());
    REQUIRE(Put("notes", "c", R"({"n":3,"mail":"z@c","text":"one pump of many more pumps in here","v":[0,3]})").ok());
  }
  void CreateIndexes() {
    REQUIRE(core->CreateTextIndex("notes", {.fields = {"text"}}).ok());
    for (FieldIndexOptions index :
         {FieldIndexOptions{.paths = {"n"}}, FieldIndexOptions{.paths = {"mail"}, .unique = true}}) {
      const Status created = core->CreateFieldIndex("notes", index);
      REQUIRE_MESSAGE(created.ok(), created.ToString());
    }
    const Status built = core->WaitIndexed(std::chrono::minutes(1), {});
    REQUIRE_MESSAGE(built.ok(), built.ToString());
  }
  std::string Rows(std::string_view sql) { return foreshore::Rows(*session, sql); }
  std::string Plan(const std::string& sql) { return Rows("EXPLAIN QUERY PLAN " + sql); }

  // What every way of asking finds, where `ids` are the notes that show.
  void CheckShown(const std::vector<std::string>& ids) {
    const auto joined = [&](const char* separator) {
      std::string text;
      for (const std::string& id : ids) text += (text.empty() ? "" : separator) + id;
      return text;
    };
    const std::string shown = joined("; ");
    const std::string count = std::to_string(ids.size());
    const std::string numbers = ids.size() == 3 ? "1; 2; 3" : "2; 3";
    CHECK(Rows("SELECT id FROM notes WHERE +id < 'z'") == shown);
    CHECK(Rows("SELECT id FROM notes WHERE id < 'z' ORDER BY id") == shown);
    CHECK(Rows("SELECT id FROM notes WHERE id IN ('a','b','c') ORDER BY id") == shown);
    CHECK(Rows("SELECT count(*) FROM notes WHERE id = 'a'") == (ids.size() == 3 ? "1" : "0"));
    // The index has all that these ask for.
    CHECK(Plan("SELECT n FROM notes WHERE n > 0").find("6:index") != std::string::npos);
    CHECK(Rows("SELECT n FROM notes WHERE n > 0") == numbers);
    CHECK(Rows("SELECT n FROM notes WHERE n > 0 ORDER BY n") == numbers);
    CHECK(Rows("SELECT n FROM notes WHERE n > 0 ORDER BY n DESC LIMIT 3") == (ids.size() == 3 ? "3; 2; 1" : "3; 2"));
    CHECK(Rows("SELECT count(*) FROM notes WHERE n > 0") == count);
    CHECK(Rows("SELECT count(*) FROM notes WHERE n = 1") == (ids.size() == 3 ? "1" : "0"));
    CHECK(Rows("SELECT mail FROM notes WHERE mail LIKE 'x@%'") == (ids.size() == 3 ? "x@a" : ""));
    CHECK(Rows("SELECT id FROM notes WHERE notes MATCH 'pump' ORDER BY rank") == shown);
    CHECK(Rows("SELECT count(*) FROM notes WHERE notes MATCH 'pump'") == count);
    CHECK(Rows("SELECT id FROM notes WHERE notes MATCH 'pump' AND k = 1 ORDER BY rank") == ids.front());
    CHECK(Rows("SELECT id FROM notes WHERE notes MATCH 'pump' AND id = 'a'") == (ids.size() == 3 ? "a" : ""));
    CHECK(Rows("SELECT id FROM notes WHERE notes MATCH hybrid('pump', '[0,0]') ORDER BY score DESC") == shown);
    // The best of both lists has the score of two first places, whoever stood before it.
    CHECK(
        Rows(
            "SELECT score = 2.0/61 FROM notes WHERE notes MATCH hybrid('pump', '[0,0]') ORDER BY score DESC LIMIT 1") ==
        "1");
    CHECK(Rows("SELECT id FROM notes WHERE v MATCH '[0,0]' ORDER BY distance LIMIT 3") == shown);
    CHECK(Rows("SELECT id FROM notes WHERE v MATCH '[0,0]' AND k = 1") == ids.front());
    CHECK(Rows("SELECT count(*) FROM notes WHERE v MATCH '[0,0]' AND id IN ('a','b','c')") == count);
    CheckVerified();
  }

  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>(kNow);  // Shared with the database.
  std::unique_ptr<SqlSession> session;
};

}  // namespace

TEST_CASE("SQL expiry: no index shows an expired document, and each shows it again when it is extended") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    ExpiryDatabase db(kind);
    db.CreateIndexes();
    db.CheckShown({"a", "b", "c"});
    db.clock->Advance(10'000);
    db.CheckShown({"b", "c"});
    CHECK(db.Plan("SELECT n FROM notes WHERE n > 0").find("without documents") == std::string::npos);
    db.clock->Advance(-1);
    db.CheckShown({"a", "b", "c"});
    db.clock->Advance(1);
    db.PutNotes();  // The same time: it stays hidden.
    db.CheckShown({"b", "c"});
    REQUIRE(db.Put("notes", "a", R"({"n":1,"mail":"x@a","text":"pump pump pump","v":[0,1],"until":1795000020})").ok());
    db.CheckShown({"a", "b", "c"});
  }
}

TEST_CASE("SQL expiry: indexes that are made while a document is hidden have it when it comes back") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    ExpiryDatabase db(kind);
    db.clock->Advance(10'000);
    db.CreateIndexes();
    db.CheckShown({"b", "c"});
    REQUIRE(db.core->SetExpiryField("notes", "").ok());
    db.CheckShown({"a", "b", "c"});
    CHECK(db.Plan("SELECT n FROM notes WHERE n > 0").find("without documents") != std::string::npos);
  }
}

TEST_CASE("SQL expiry: inside a transaction, expired documents are neither changed nor found") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    ExpiryDatabase db(kind);
    db.CreateIndexes();
    db.clock->Advance(10'000);
    CHECK(db.Rows("BEGIN IMMEDIATE") == "");
    CHECK(db.Rows("UPDATE notes SET text = 'a new pump' WHERE n > 0") == "");
    CHECK(db.Rows("INSERT INTO notes(id, n, text, until) VALUES ('d', 4, 'a pump', 1795000010)") == "");
    CHECK(db.Rows("SELECT id FROM notes WHERE text = 'a new pump'") == "b; c");
    CHECK(db.Rows("SELECT n FROM notes WHERE n > 0 ORDER BY n") == "2; 3");
    CHECK(db.Rows("SELECT id FROM notes WHERE notes MATCH 'pump' ORDER BY id") == "b; c");
    CHECK(db.Rows("INSERT OR REPLACE INTO notes(id, n, text) VALUES ('a', 9, 'pump again')") == "");
    CHECK(db.Rows("SELECT id FROM notes WHERE notes MATCH 'pump' ORDER BY id") == "a; b; c");
    CHECK(db.Rows("SELECT n FROM notes WHERE n > 0 ORDER BY n") == "2; 3; 9");
    CHECK(db.Rows("COMMIT") == "");
    CHECK(db.Rows("SELECT body FROM notes WHERE id = 'a'") == R"({"n":9,"text":"pump again"})");
    db.CheckVerified();
  }
}

TEST_CASE("SQL expiry: an expired document keeps its unique values until it is replaced or deleted") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    ExpiryDatabase db(kind);
    db.CreateIndexes();
    db.clock->Advance(10'000);
    CHECK(FailureOf(*db.session, "INSERT INTO notes(id, mail) VALUES ('d', 'x@a')").code() ==
          ErrorCode::kAlreadyExists);
    CHECK(db.Rows("INSERT OR REPLACE INTO notes(id, mail) VALUES ('d', 'x@a')") == "");
    CHECK(db.Rows("SELECT id FROM notes WHERE mail = 'x@a'") == "d");
    db.clock->Advance(-1);
    CHECK(db.Rows("SELECT id FROM notes WHERE id < 'z' ORDER BY id") == "b; c; d");
    db.CheckVerified();
  }
}

TEST_CASE("SQL expiry: readings take no expiry field") {
  ExpiryDatabase db(StorageKind::kSqlite);
  CollectionOptions readings;
  readings.kind = CollectionKind::kReadings;
  readings.time_field = "t";
  REQUIRE(db.core->CreateCollection("temperatures", readings).ok());
  CHECK(db.core->SetExpiryField("temperatures", "t").code() == ErrorCode::kUnsupported);
  db.session.reset();
  db.Reopen();
  db.CheckVerified();
}

}  // namespace foreshore
