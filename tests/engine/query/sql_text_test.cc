#include <sqlite3.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "engine/document/json.h"
#include "engine/query/search_sql.h"
#include "storage/base/file.h"
#include "tests/engine/query/sql_test_database.h"

using namespace foreshore;

namespace {

#ifdef FORESHORE_WITH_ROCKSDB
constexpr StorageKind kStorageKinds[] = {StorageKind::kSqlite, StorageKind::kRocksdb};
#else
constexpr StorageKind kStorageKinds[] = {StorageKind::kSqlite};
#endif

struct TextDatabase : SqlTestDatabase {
  explicit TextDatabase(StorageKind kind = StorageKind::kSqlite) : SqlTestDatabase(kind) {}
  void Text(const std::string& collection, const TextIndexOptions& options) {
    const Status status = core->CreateTextIndex(collection, options);
    REQUIRE_MESSAGE(status.ok(), status.ToString());
  }
  // Six notes about pumps and gates, with vectors.
  void Notes() {
    Collection("notes");
    Text("notes", {.fields = {"text", "title"}});
    Vector("notes", "embedding", 2);
    Put("notes", "n1",
        R"({"title":"Pump","text":"the pump bearing is overheating","site":"A","n":1,"embedding":[1,0]})");
    Put("notes", "n2",
        R"({"title":"Gate","text":"the gate does not open, the bearing squeaks","site":"A","n":2,"embedding":[0,1]})");
    Put("notes", "n3", R"({"title":"Pump","text":"pump pump pump","site":"B","n":3,"embedding":[2,0]})");
    Put("notes", "n4", R"({"title":"Valve","text":"Überdruck am Ventil","site":"B","n":4,"embedding":[0,3]})");
    Put("notes", "n5", R"({"title":"Bearing","text":"replaced","site":"A","n":5,"embedding":[4,0]})");
    Put("notes", "n6", R"({"site":"A","n":6,"embedding":[1,1]})");
  }
};

std::string Escaped(std::string_view text) {
  std::string escaped = "'";
  for (const char c : text) {
    if (c == '\'') escaped += c;
    escaped += c;
  }
  return escaped + "'";
}

// Plain SQLite, as an oracle.
struct Plain {
  Plain() { REQUIRE(sqlite3_open(":memory:", &handle) == SQLITE_OK); }
  ~Plain() { sqlite3_close(handle); }
  void Run(const std::string& sql) {
    REQUIRE_MESSAGE(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK, sqlite3_errmsg(handle));
  }
  std::string Rows(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    REQUIRE_MESSAGE(sqlite3_prepare_v2(handle, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK,
                    sqlite3_errmsg(handle));
    std::string rows;
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
      if (!rows.empty()) rows += "; ";
      for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        if (i > 0) rows += '|';
        SqlValue value;
        if (sqlite3_column_type(statement, i) == SQLITE_FLOAT) value = sqlite3_column_double(statement, i);
        if (sqlite3_column_type(statement, i) == SQLITE_INTEGER) {
          value = static_cast<std::int64_t>(sqlite3_column_int64(statement, i));
        }
        if (sqlite3_column_type(statement, i) == SQLITE_TEXT) {
          value = std::string(reinterpret_cast<const char*>(sqlite3_column_text(statement, i)));
        }
        rows += TextOfValue(value);
      }
    }
    REQUIRE_MESSAGE(code == SQLITE_DONE, sqlite3_errmsg(handle));
    sqlite3_finalize(statement);
    return rows;
  }
  sqlite3* handle = nullptr;
};

std::uint64_t Seed() {
  const char* given = std::getenv("FORESHORE_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
}

}  // namespace

TEST_CASE("SQL full text: FTS5's query language finds rows, with other terms, joins, ids and limits") {
  for (const StorageKind kind : kStorageKinds) {
    TextDatabase db(kind);
    db.Notes();
    SqlSession& sql = *db.session;
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'bearing'") == "n1; n2; n5");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'bearing' ORDER BY rank LIMIT 1") == "n5");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'pump' ORDER BY rank") == "n3; n1");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'pump' ORDER BY rank DESC") == "n1; n3");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH '\"pump bearing\"'") == "n1");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'overh*'") == "n1");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'NEAR(gate bearing, 6)'") == "n2");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'NEAR(gate bearing, 2)'") == "");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'bearing NOT pump'") == "n2; n5");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'title : bearing'") == "n5");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE title MATCH 'bearing'") == "n5");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'uberdruck'") == "n4");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'bearing' AND site = 'A' AND n > 1") == "n2; n5");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'bearing' AND NOT n = 2 ORDER BY n DESC") == "n5; n1");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'bearing' AND id = 'n2'") == "n2");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'bearing' AND id = 'n3'") == "");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'bearing' AND id IN ('n3','n5','n2') ORDER BY rank") ==
          "n5; n2");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'bearing' ORDER BY rank LIMIT 1 OFFSET 1") == "n1");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'bearing' AND k = 2 ORDER BY id") == "n1; n5");
    CHECK(Rows(sql, "SELECT count(*) FROM notes WHERE notes MATCH 'bearing OR pump'") == "4");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH NULL") == "");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH any_word('What? squeaks!')") == "n2");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH any_word('?!')") == "");
    CHECK(Rows(sql, "SELECT DISTINCT typeof(rank), typeof(score), rank < 0 FROM notes WHERE notes MATCH 'pump'") ==
          "real|real|1");
    CHECK(Rows(sql, "SELECT rank, score, distance, notes FROM notes WHERE id = 'n1'") == "NULL|NULL|NULL|NULL");
    db.Collection("sites");
    db.Put("sites", "A", R"({"word":"gate"})");
    db.Put("sites", "B", R"({"word":"ventil"})");
    CHECK(Rows(sql,
               "SELECT sites.id, notes.id FROM sites JOIN notes ON notes MATCH sites.word AND notes.site = sites.id "
               "ORDER BY 1") == "A|n2; B|n4");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE id IN (SELECT id FROM notes WHERE notes MATCH 'pump') AND n < 3") ==
          "n1");
  }
}

TEST_CASE("SQL full text: a nested path that is a column is matched like a field") {
  TextDatabase db;
  db.Collection("notes");
  db.Text("notes", {.fields = {"text", "site.name"}});
  REQUIRE(db.core->CreateFieldIndex("notes", {.paths = {"site.name"}}).ok());
  db.Put("notes", "a", R"({"text":"north gate","site":{"name":"south"}})");
  db.Put("notes", "b", R"({"text":"south gate","site":{"name":"North Pier"}})");
  CHECK(Rows(*db.session, "SELECT id FROM notes WHERE \"site.name\" MATCH 'north'") == "b");
  CHECK(Rows(*db.session, "SELECT id FROM notes WHERE notes MATCH '\"site.name\" : south'") == "a");
  CHECK(Rows(*db.session, "SELECT id FROM notes WHERE notes MATCH 'north' AND \"site.name\" = 'south'") == "a");
}

TEST_CASE("SQL full text: snippet, highlight and bm25 as FTS5 has them") {
  TextDatabase db;
  db.Notes();
  SqlSession& sql = *db.session;
  CHECK(Rows(sql, "SELECT highlight(notes, 0, '[', ']') FROM notes WHERE notes MATCH 'bearing' AND n < 3") ==
        "the pump [bearing] is overheating; the gate does not open, the [bearing] squeaks");
  CHECK(Rows(sql, "SELECT highlight(notes, 'title', '[', ']') FROM notes WHERE notes MATCH 'bearing' AND n = 5") ==
        "[Bearing]");
  CHECK(Rows(sql, "SELECT snippet(notes, 'text', '<', '>', '…', 3) FROM notes WHERE notes MATCH 'squeaks'") ==
        "…the bearing <squeaks>");
  CHECK(Rows(sql,
             "SELECT id, snippet(notes, -1, '<', '>', '…', 5) FROM notes WHERE notes MATCH 'bearing' AND site = 'A' "
             "ORDER BY n DESC LIMIT 2") == "n5|<Bearing>; n2|…not open, the <bearing> squeaks");
  CHECK(Rows(sql, "SELECT sum(bm25(notes) = rank) FROM notes WHERE notes MATCH 'bearing OR pump'") == "4");
  // The title counts for nothing, or for almost everything.
  CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'bearing' ORDER BY bm25(notes, 1.0, 0.0) LIMIT 1") == "n1");
  CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'pump' ORDER BY bm25(notes, 0.001, 10.0) DESC LIMIT 1") !=
        "");
  CHECK(
      Rows(sql,
           "SELECT id FROM notes WHERE notes MATCH 'bearing' AND rank MATCH 'bm25(1.0, 0.0)' ORDER BY rank LIMIT 1") ==
      "n1");
  for (const char* wrong :
       {"SELECT snippet(notes, 0, '<', '>', '…', 3) FROM notes", "SELECT bm25(notes) FROM notes WHERE id = 'n1'",
        "SELECT highlight('notes', 0, '<', '>') FROM notes WHERE notes MATCH 'pump'", "SELECT bm25()",
        "SELECT highlight(notes, 'site', '<', '>') FROM notes WHERE notes MATCH 'pump'",
        "SELECT bm25(notes, 'x') FROM notes WHERE notes MATCH 'pump'",
        "SELECT id FROM notes WHERE rank MATCH 'bm25(1.0)'",
        "SELECT id FROM notes WHERE notes MATCH 'pump' AND rank MATCH 'nonsense(' ORDER BY rank"}) {
    CAPTURE(wrong);
    const Status status = FailureOf(sql, wrong);
    CHECK_MESSAGE(status.code() == ErrorCode::kInvalidArgument, status.ToString());
  }
}

TEST_CASE("SQL full text: what cannot be asked is named") {
  TextDatabase db;
  db.Notes();
  db.Collection("plain");
  SqlSession& sql = *db.session;
  const auto check = [&](const char* statement, ErrorCode code, const char* words) {
    CAPTURE(statement);
    const Status status = FailureOf(sql, statement);
    CHECK_MESSAGE(status.code() == code, status.ToString());
    CHECK_MESSAGE(status.message().find(words) != std::string::npos, status.ToString());
  };
  check("SELECT id FROM notes WHERE notes MATCH '\"open'", ErrorCode::kInvalidArgument, "unterminated string");
  check("SELECT id FROM notes WHERE notes MATCH ''", ErrorCode::kInvalidArgument, "syntax error");
  check("SELECT id FROM notes WHERE notes MATCH 'a AND'", ErrorCode::kInvalidArgument, "syntax error");
  check("SELECT id FROM notes WHERE notes MATCH 'nowhere : x'", ErrorCode::kInvalidArgument, "nowhere");
  check("SELECT id FROM notes WHERE notes MATCH x'00'", ErrorCode::kInvalidArgument, "blob");
  check("SELECT id FROM notes WHERE notes = 'pump'", ErrorCode::kInvalidArgument, "expected MATCH");
  check("SELECT id FROM notes WHERE site MATCH 'pump'", ErrorCode::kInvalidArgument, "site");
  check("SELECT id FROM plain WHERE plain MATCH 'pump'", ErrorCode::kNotFound, "full-text");
  check("SELECT id FROM notes WHERE notes MATCH 'a' AND notes MATCH 'b'", ErrorCode::kUnsupported, "two MATCH");
  check("SELECT id FROM notes WHERE notes MATCH 'a' AND embedding MATCH '[1,0]'", ErrorCode::kUnsupported, "two MATCH");
  check("SELECT id FROM notes WHERE notes MATCH 'pump' OR n = 6", ErrorCode::kInvalidArgument, "MATCH");
  check("SELECT id FROM notes WHERE notes MATCH 'pump' OR id = 'n6'", ErrorCode::kInvalidArgument, "MATCH");
  check("SELECT id FROM notes WHERE NOT notes MATCH 'pump'", ErrorCode::kInvalidArgument, "MATCH");
  check("SELECT notes MATCH 'pump' FROM notes", ErrorCode::kInvalidArgument, "MATCH");
  check("SELECT id FROM notes WHERE notes MATCH hybrid('pump')", ErrorCode::kInvalidArgument, "hybrid");
  check("SELECT id FROM notes WHERE notes MATCH hybrid('pump', '[1]') ORDER BY score DESC", ErrorCode::kInvalidArgument,
        "dimensions");
  check("SELECT id FROM notes WHERE notes MATCH hybrid('pump', '[1,0]') ORDER BY rank", ErrorCode::kInvalidArgument,
        "ORDER BY score DESC");
  check("SELECT id FROM notes WHERE notes MATCH hybrid('pump', '[1,0]', 'nowhere')", ErrorCode::kNotFound, "nowhere");
  check("SELECT id FROM notes WHERE embedding MATCH hybrid('pump', '[1,0]')", ErrorCode::kInvalidArgument, "own name");
  check("INSERT INTO notes (id, rank) VALUES ('x', 1)", ErrorCode::kInvalidArgument, "rank");
  CHECK(Rows(sql, "EXPLAIN QUERY PLAN SELECT id FROM notes WHERE notes MATCH 'pump' ORDER BY rank")
            .find("full text notes(text, title), unicode, best first") != std::string::npos);
  CHECK(
      Rows(sql, "EXPLAIN QUERY PLAN SELECT id FROM notes WHERE notes MATCH 'pump' ORDER BY rank").find("TEMP B-TREE") ==
      std::string::npos);
  REQUIRE(db.core->DropTextIndex("notes").ok());
  check("SELECT id FROM notes WHERE notes MATCH 'pump'", ErrorCode::kNotFound, "full-text");
}

TEST_CASE("SQL full text: writes in a transaction are found in it, and statements write what they find") {
  for (const StorageKind kind : kStorageKinds) {
    TextDatabase db(kind);
    db.Notes();
    SqlSession& sql = *db.session;
    REQUIRE(FailureOf(sql, "BEGIN").ok());
    REQUIRE(FailureOf(sql, "INSERT INTO notes (id, text) VALUES ('n7', 'pump from within')").ok());
    CHECK(Rows(sql, "SELECT id, highlight(notes, 0, '[', ']') FROM notes WHERE notes MATCH 'within'") ==
          "n7|pump from [within]");
    std::int64_t changed = 0;
    REQUIRE(RunSql(sql, "UPDATE notes SET text = 'silent' WHERE notes MATCH 'pump'", &changed).ok());
    CHECK(changed == 3);
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'text : pump'") == "");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'silent'") == "n1; n3; n7");
    REQUIRE(FailureOf(sql, "SAVEPOINT here").ok());
    REQUIRE(FailureOf(sql, "UPDATE notes SET text = 'loud' WHERE id = 'n3'").ok());
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'silent OR loud'") == "n1; n3; n7");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'loud'") == "n3");
    REQUIRE(FailureOf(sql, "ROLLBACK TO here").ok());
    REQUIRE(FailureOf(sql, "INSERT INTO notes (id, text) VALUES ('n8', 'silent too')").ok());
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'silent OR loud'") == "n1; n3; n7; n8");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'loud'") == "");
    REQUIRE(FailureOf(sql, "ROLLBACK").ok());
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'silent OR within'") == "");
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'text : pump'") == "n1; n3");
    REQUIRE(RunSql(sql, "DELETE FROM notes WHERE notes MATCH 'pump'", &changed).ok());
    CHECK(changed == 2);
    CHECK(Rows(sql, "SELECT id FROM notes WHERE notes MATCH 'pump'") == "");
  }
}

TEST_CASE("SQL full text: rows, ranks, snippets and their order are those of a plain FTS5 table") {
  const std::uint64_t seed = Seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  static constexpr const char* kWords[] = {"pump",   "gate",  "valve", "bearing", "hot",   "cold",   "motor", "öl",
                                           "Straße", "naïve", "seal",  "leak",    "noise", "sensor", "cable", "it's"};
  const auto text_of = [&](std::size_t length_max) {
    std::string text;
    const std::size_t length = random() % (length_max + 1);
    for (std::size_t i = 0; i < length; ++i) {
      // Small numbers more often, as words are in texts.
      const std::size_t word = std::min(random() % std::size(kWords), random() % std::size(kWords));
      text += (i == 0 ? "" : i % 7 == 0 ? ". " : " ") + std::string(kWords[word]);
    }
    return text;
  };
  for (const TextTokenizer tokenizer : {TextTokenizer::kUnicode, TextTokenizer::kPorter, TextTokenizer::kTrigram}) {
    TextDatabase db;
    Plain plain;
    db.Collection("notes");
    TextIndexOptions options{.fields = {"title", "text"}, .tokenizer = tokenizer};
    if (tokenizer == TextTokenizer::kUnicode) options.prefix_lengths = {2, 3};
    db.Text("notes", options);
    const char* const how = tokenizer == TextTokenizer::kTrigram  ? "trigram"
                            : tokenizer == TextTokenizer::kPorter ? "porter unicode61 remove_diacritics 2"
                                                                  : "unicode61 remove_diacritics 2";
    plain.Run("CREATE VIRTUAL TABLE notes USING fts5(title, text, tokenize='" + std::string(how) + "')");
    auto view = db.core->BeginWrite();
    REQUIRE(view.ok());
    for (int i = 0; i < 250; ++i) {
      const std::string title = "t " + text_of(3);
      const std::string text = text_of(30);
      std::string json = R"({"title":)";
      AppendJsonString(json, title);
      json += R"(,"text":)";
      AppendJsonString(json, text);
      REQUIRE((*view)->Put(*(*view)->catalog().Find("notes"), std::to_string(i), json + "}").ok());
      plain.Run("INSERT INTO notes(rowid, title, text) VALUES (" + std::to_string(i) + ", " + Escaped(title) + ", " +
                Escaped(text) + ")");
    }
    REQUIRE((*view)->Commit().ok());
    view->reset();
    for (int i = 0; i < 80; ++i) {
      const std::string id = std::to_string(random() % 250);
      if (i % 4 == 0) {
        RunSql(*db.session, "DELETE FROM notes WHERE id = '" + id + "'").status().IgnoreError();
        plain.Run("DELETE FROM notes WHERE rowid = " + id);
      } else {
        const std::string text = text_of(20);
        RunSql(*db.session, "UPDATE notes SET text = " + Escaped(text) + " WHERE id = '" + id + "'")
            .status()
            .IgnoreError();
        plain.Run("UPDATE notes SET text = " + Escaped(text) + " WHERE rowid = " + id);
      }
    }
    for (const char* query :
         {"pump", "pump gate", "pump OR seal", "\"pump gate\"", "val*", "p* NOT gate", "NEAR(pump seal, 4)",
          "title : pump", "{title text} : (hot OR cold) AND motor", "oel OR ol", "strasse OR straße", "\"it's\"",
          "(leak AND noise) NOT (cable OR sensor)", "^pump", "title : ^t", "pump + gate", "bearing bearing"}) {
      CAPTURE(query);
      const std::string match = Escaped(query);
      CHECK(Rows(*db.session, "SELECT id, rank FROM notes WHERE notes MATCH " + match + " ORDER BY rank") ==
            plain.Rows("SELECT rowid, rank FROM notes WHERE notes MATCH " + match + " ORDER BY rank"));
      CHECK(Rows(*db.session, "SELECT id FROM notes WHERE notes MATCH " + match) ==
            plain.Rows("SELECT rowid FROM notes WHERE notes MATCH " + match + " ORDER BY rowid"));
      CHECK(
          Rows(*db.session, "SELECT id, bm25(notes, 5.0, 0.5) FROM notes WHERE notes MATCH " + match) ==
          plain.Rows("SELECT rowid, bm25(notes, 5.0, 0.5) FROM notes WHERE notes MATCH " + match + " ORDER BY rowid"));
      CHECK(Rows(*db.session,
                 "SELECT snippet(notes, -1, '<', '>', '~', 6), highlight(notes, 1, '<', '>') FROM notes WHERE notes "
                 "MATCH " +
                     match + " ORDER BY rank LIMIT 10") ==
            plain.Rows("SELECT snippet(notes, -1, '<', '>', '~', 6), highlight(notes, 1, '<', '>') FROM notes WHERE "
                       "notes MATCH " +
                       match + " ORDER BY rank LIMIT 10"));
    }
  }
}

TEST_CASE("SQL hybrid: scores and order are those of reciprocal rank fusion by hand, filters included") {
  const std::uint64_t seed = Seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const StorageKind kind : kStorageKinds) {
    TextDatabase db(kind);
    db.Collection("notes");
    db.Text("notes", {.fields = {"text"}});
    db.Vector("notes", "embedding", 2);
    static constexpr const char* kWords[] = {"pump", "gate", "valve", "hot", "cold", "seal"};
    auto view = db.core->BeginWrite();
    REQUIRE(view.ok());
    constexpr int kCount = 90;
    for (int i = 0; i < kCount; ++i) {
      std::string json = R"({"site":")" + std::string(random() % 4 == 0 ? "A" : "B") + "\"";
      if (random() % 5 != 0) {
        std::string text;
        for (std::size_t word = 0; word < 1 + random() % 8; ++word) text += std::string(kWords[random() % 6]) + " ";
        json += R"(,"text":")" + text + "\"";
      }
      if (random() % 6 != 0) {
        json += R"(,"embedding":[)" + std::to_string(random() % 10000) + "," + std::to_string(random() % 10000) + "]";
      }
      REQUIRE((*view)->Put(*(*view)->catalog().Find("notes"), "d" + std::to_string(i), json + "}").ok());
    }
    REQUIRE((*view)->Commit().ok());
    view->reset();
    const auto ids_of = [&](const std::string& sql) {
      const auto rows = RunSql(*db.session, sql);
      REQUIRE_MESSAGE(rows.ok(), rows.status().ToString());
      return *rows;
    };
    const auto all = ids_of("SELECT id FROM notes WHERE site = 'A'");
    for (const std::size_t window : {200, 10, 1}) {
      for (const double k : {60.0, 0.0}) {
        const auto words = ids_of("SELECT id FROM notes WHERE notes MATCH 'pump OR seal' ORDER BY rank");
        const auto near = ids_of("SELECT id FROM notes WHERE embedding MATCH '[5000,5000]' ORDER BY distance");
        std::map<std::string, double> scores;
        for (std::size_t i = 0; i < words.size(); ++i) scores[words[i]] = 1 / (k + static_cast<double>(i + 1));
        for (std::size_t i = 0; i < near.size(); ++i) {
          const bool counts = i < window || std::find(words.begin(), words.end(), near[i]) == words.end();
          if (counts) scores[near[i]] += 1 / (k + static_cast<double>(i + 1));
        }
        std::vector<std::pair<double, int>> expected;  // Ties go by docid, which is the order of the names' numbers.
        for (const auto& [id, score] : scores) {
          if (std::find(all.begin(), all.end(), id) != all.end())
            expected.emplace_back(-score, std::stoi(id.substr(1)));
        }
        std::sort(expected.begin(), expected.end());
        std::string wanted;
        for (const auto& [score, number] : expected) {
          wanted += (wanted.empty() ? "d" : "; d") + std::to_string(number) + "|" + TextOfValue(-score);
        }
        const std::string call =
            "hybrid('pump OR seal', '[5000,5000]', NULL, " + TextOfValue(k) + ", " + std::to_string(window) + ")";
        CHECK(Rows(*db.session, "SELECT id, score FROM notes WHERE notes MATCH " + call +
                                    " AND site = 'A' ORDER BY score DESC") == wanted);
        // As many as were asked for come back, though none of them matches the words.
        CHECK(ids_of("SELECT id FROM notes WHERE notes MATCH hybrid('nothing', '[5000,5000]', 'embedding', 60, " +
                     std::to_string(window) + ") AND site = 'A' ORDER BY score DESC LIMIT 7")
                  .size() == 7);
      }
    }
    CHECK(Rows(*db.session,
               "SELECT id FROM notes WHERE notes MATCH hybrid('pump', '[5000,5000]') AND id IN ('d1', "
               "'d2') AND 0 ORDER BY score DESC") == "");
    CHECK(Rows(*db.session, "SELECT count(*) FROM notes WHERE notes MATCH hybrid('pump', NULL)") == "0");
    // What is new and not committed counts in both rankings.
    REQUIRE(FailureOf(*db.session, "BEGIN").ok());
    REQUIRE(FailureOf(*db.session,
                      "INSERT INTO notes (id, body) VALUES ('own', "
                      "'{\"text\":\"pump unique\",\"embedding\":[5000,5000]}')")
                .ok());
    CHECK(Rows(*db.session,
               "SELECT id, round(score, 9) FROM notes WHERE notes MATCH hybrid('unique', '[5000,5000]') "
               "ORDER BY score DESC LIMIT 1") == "own|" + TextOfValue(std::round(2e9 / 61) / 1e9));
    REQUIRE(FailureOf(*db.session, "ROLLBACK").ok());
  }
}

TEST_CASE("SQL full text: a file damaged in the middle is named by a search and made again") {
  TextDatabase db;
  db.Collection("notes");
  db.Text("notes", {.fields = {"text"}});
  auto view = db.core->BeginWrite();
  REQUIRE(view.ok());
  for (int i = 0; i < 2000; ++i) {
    REQUIRE((*view)
                ->Put(*(*view)->catalog().Find("notes"), std::to_string(i),
                      R"({"text":"common word and number n)" + std::to_string(i) + "\"}")
                .ok());
  }
  REQUIRE((*view)->Commit().ok());
  view->reset();
  const std::string path = db.core->path();
  db.session.reset();
  REQUIRE(db.core->Close().ok());
  db.core.reset();
  auto bytes = ReadFile(path + "/index/fts.db");
  REQUIRE(bytes.ok());
  REQUIRE(bytes->size() > 100'000);
  // All but the first pages, which are read at open.
  for (std::size_t i = 32'768; i < bytes->size(); ++i) (*bytes)[i] = static_cast<char>(i * 7);
  REQUIRE(WriteFileAtomic(path + "/index/fts.db", *bytes).ok());
  auto opened = DatabaseCore::Open(path, {});
  REQUIRE(opened.ok());
  db.core = std::move(opened).value();
  db.session = std::move(SqlSession::Create(*db.core)).value();
  constexpr char kStatement[] = "SELECT id FROM notes WHERE notes MATCH 'n1234'";
  const Status first = FailureOf(*db.session, kStatement);
  CHECK_MESSAGE((first.ok() || first.code() == ErrorCode::kCorruption), first.ToString());
  CHECK(Rows(*db.session, kStatement) == "1234");
  CHECK(Rows(*db.session, "SELECT count(*) FROM notes WHERE notes MATCH 'common'") == "2000");
}

TEST_CASE("SQL full text: the search behind Database::Search") {
  TextDatabase db;
  db.Notes();
  SqlSessions sessions(*db.core);
  const auto ids = [](const Result<std::vector<SearchHit>>& hits) {
    if (!hits.ok()) return hits.status().ToString();
    std::string joined;
    for (const SearchHit& hit : *hits) joined += (joined.empty() ? "" : " ") + hit.id;
    return joined;
  };
  const std::vector<float> near_gate{0.0F, 1.0F};
  CHECK(ids(SearchTextSql(sessions, "notes", "bearing", 2, "")) == "n5 n1");
  CHECK(ids(SearchTextSql(sessions, "notes", "bearing", 2, "n < 5")) == "n1 n2");
  CHECK(ids(SearchHybridSql(sessions, "notes", "bearing", "embedding", near_gate, 1, "site = 'A'")) == "n2");
  CHECK(ids(SearchHybridSql(sessions, "notes", "bearing", "embedding", near_gate, 10, "")).size() == 17);
  const auto hits = SearchTextSql(sessions, "notes", "bearing", 1, "");
  REQUIRE(hits.ok());
  CHECK(hits->at(0).score > 0);
}
