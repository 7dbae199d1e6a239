#include "engine/database/full_text_indexes.h"

#include <sqlite3.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "engine/document/json.h"
#include "storage/base/file.h"
#include "tests/engine/database/core_test.h"
#include "tests/engine/database/full_disk_vfs.h"

using namespace foreshore;

namespace {

struct TextFixture : CoreFixture {
  explicit TextFixture(StorageKind kind) : CoreFixture(kind) { options.durability = Durability::kNormal; }
  void Start(std::vector<std::string> fields = {"text"}) {
    Open();
    REQUIRE(core->CreateCollection("notes").ok());
    TextIndexOptions index;
    index.fields = std::move(fields);
    const Status created = core->CreateTextIndex("notes", index);
    REQUIRE_MESSAGE(created.ok(), created.ToString());
  }
  Status PutText(std::string_view id, const std::string& text) {
    std::string json = R"({"text":)";
    AppendJsonString(json, text);
    return Put("notes", id, json + "}");
  }
  std::unique_ptr<ReadView> TextRead() {
    const std::uint32_t id = core->catalog()->Find("notes")->id;
    auto view = core->BeginTextRead(std::span(&id, 1));
    REQUIRE_MESSAGE(view.ok(), view.status().ToString());
    return std::move(view).value();
  }
  // The ids that match, in order of docid, or the error.
  static std::string Match(ReadView& view, const std::string& match) {
    const CollectionDefinition* notes = view.catalog().Find("notes");
    TextQuery query;
    query.match = match;
    const auto cursor = view.MatchText(*notes, query);
    if (!cursor.ok()) return cursor.status().ToString();
    std::string ids;
    while (true) {
      const auto next = (*cursor)->Next();
      if (!next.ok()) return next.status().ToString();
      if (!*next) return ids;
      const auto record = view.GetByDocid(*notes, (*next)->docid);
      REQUIRE(record.ok());
      REQUIRE(record->has_value());
      ids += (ids.empty() ? "" : " ") + std::string((*record)->id);
    }
  }
  std::string Match(const std::string& match) {
    const auto view = TextRead();
    return Match(*view, match);
  }
  std::string file() const { return path() + "/index/fts.db"; }
};

}  // namespace

TEST_CASE("full text: documents are found by what they say now, on both backends") {
  for (const StorageKind kind : kKinds) {
    TextFixture database(kind);
    database.Start({"text", "site.name", "tags"});
    REQUIRE(database.Put("notes", "a", R"({"text":"pump bearing hot","site":{"name":"North"},"tags":["urgent","Öl"]})")
                .ok());
    REQUIRE(database.Put("notes", "b", R"({"text":"valve","site":{"name":"South"}})").ok());
    REQUIRE(database.Put("notes", "c", R"({"other":1})").ok());
    CHECK(database.Match("bearing") == "a");
    CHECK(database.Match("north OR south") == "a b");
    CHECK(database.Match("ol") == "a");
    CHECK(database.Match("\"site.name\" : valve") == "");
    REQUIRE(database.Put("notes", "a", R"({"text":"pump"})").ok());
    REQUIRE(database.Delete("notes", "b").ok());
    CHECK(database.Match("bearing OR valve OR north") == "");
    CHECK(database.Match("pump") == "a");
    database.CheckVerified();
    database.Reopen();
    CHECK(database.Match("pump") == "a");
    CHECK(database.core->ListTextIndexes()->at(0).document_count == 1);
    database.CheckVerified();
  }
}

TEST_CASE("full text: a long reader finds what its snapshot holds while a writer goes on") {
  for (const StorageKind kind : kKinds) {
    TextFixture database(kind);
    database.Start();
    for (int i = 0; i < 20; ++i) REQUIRE(database.PutText("d" + std::to_string(i), "old word").ok());
    const auto before = database.TextRead();
    for (int i = 0; i < 10; ++i) REQUIRE(database.PutText("d" + std::to_string(i), "new word").ok());
    const auto middle = database.TextRead();
    for (int i = 10; i < 15; ++i) REQUIRE(database.Delete("notes", "d" + std::to_string(i)).ok());
    REQUIRE(database.PutText("late", "new word").ok());
    CHECK(TextFixture::Match(*before, "new") == "");
    CHECK(TextFixture::Match(*before, "old").size() == TextFixture::Match(*before, "word").size());
    CHECK(TextFixture::Match(*middle, "new") == "d0 d1 d2 d3 d4 d5 d6 d7 d8 d9");
    CHECK(TextFixture::Match(*middle, "old") == "d10 d11 d12 d13 d14 d15 d16 d17 d18 d19");
    CHECK(database.Match("old") == "d15 d16 d17 d18 d19");
    CHECK(database.Match("new") == "d0 d1 d2 d3 d4 d5 d6 d7 d8 d9 late");
  }
}

TEST_CASE("full text: a transaction finds its own writes, others do not, and a rollback leaves nothing") {
  for (const StorageKind kind : kKinds) {
    TextFixture database(kind);
    database.Start();
    REQUIRE(database.PutText("a", "first").ok());
    REQUIRE(database.PutText("b", "first").ok());
    {
      auto opened = database.core->BeginWrite();
      REQUIRE(opened.ok());
      WriteView& view = **opened;
      const CollectionDefinition& notes = *view.catalog().Find("notes");
      CHECK(TextFixture::Match(view, "first") == "a b");
      REQUIRE(view.Put(notes, "a", R"({"text":"second"})").ok());
      REQUIRE(view.Put(notes, "c", R"({"text":"first"})").ok());
      CHECK(TextFixture::Match(view, "first") == "b c");
      CHECK(TextFixture::Match(view, "second") == "a");
      REQUIRE(view.Delete(notes, "c").ok());
      REQUIRE(view.Put(notes, "a", R"({"text":"third"})").ok());
      CHECK(TextFixture::Match(view, "first OR second OR third") == "a b");
      CHECK(database.Match("first OR third") == "a b");  // Another reader, at the same time.
    }
    CHECK(database.Match("first") == "a b");
    CHECK(database.Match("second OR third") == "");
    auto opened = database.core->BeginWrite();
    REQUIRE(opened.ok());
    REQUIRE((*opened)->Put(*(*opened)->catalog().Find("notes"), "d", R"({"text":"fourth"})").ok());
    CHECK(TextFixture::Match(**opened, "fourth") == "d");
    REQUIRE((*opened)->Commit().ok());
    opened->reset();
    CHECK(database.Match("fourth") == "d");
    database.CheckVerified();
  }
}

TEST_CASE("full text: readers see one state while a writer commits without pause") {
  // Every commit moves one word from one document to the other: exactly one has it in every state.
  TextFixture database(StorageKind::kSqlite);
  database.Start();
  REQUIRE(database.PutText("a", "ball").ok());
  REQUIRE(database.PutText("b", "none").ok());
  std::atomic<bool> stop{false};
  std::atomic<int> failures{0};
  std::thread writer([&] {
    for (int i = 0; i < 300; ++i) {
      auto view = database.core->BeginWrite();
      if (!view.ok()) break;
      const CollectionDefinition& notes = *(*view)->catalog().Find("notes");
      const bool to_a = i % 2 != 0;
      const bool ok = (*view)->Put(notes, "a", to_a ? R"({"text":"ball"})" : R"({"text":"none"})").ok() &&
                      (*view)->Put(notes, "b", to_a ? R"({"text":"none"})" : R"({"text":"ball"})").ok() &&
                      (*view)->Commit().ok();
      if (!ok) ++failures;
    }
    stop = true;
  });
  int looks = 0;
  while (!stop || looks == 0) {
    const auto view = database.TextRead();
    const std::string found = TextFixture::Match(*view, "ball");
    const auto record = view->Get(*view->catalog().Find("notes"), found);
    const bool is_right = record.ok() && record->has_value() && (*record)->body == R"({"text":"ball"})";
    if (!is_right) ++failures;
    ++looks;
  }
  writer.join();
  CHECK(failures == 0);
  database.CheckVerified();
}

TEST_CASE("full text: a missing, damaged or foreign file is made again") {
  for (const StorageKind kind : kKinds) {
    TextFixture database(kind);
    database.Start();
    for (int i = 0; i < 700; ++i)
      REQUIRE(database.PutText("d" + std::to_string(i), "common n" + std::to_string(i)).ok());
    const auto damage = [&](const std::function<void()>& how) {
      database.Close();
      how();
      database.Open();
      CHECK(database.Match("n17") == "d17");
      CHECK(database.core->ListTextIndexes()->at(0).document_count == 700);
      database.CheckVerified();
    };
    damage([&] { REQUIRE(RemoveFile(database.file()).ok()); });
    damage([&] {
      REQUIRE(WriteFileAtomic(database.file(), "this is no database, and long enough to be looked at").ok());
    });
    damage([&] { REQUIRE(WriteFileAtomic(database.file(), "").ok()); });
    damage([&] {
      auto bytes = ReadFile(database.file());
      REQUIRE(bytes.ok());
      REQUIRE(WriteFileAtomic(database.file(), Bytes(*bytes).substr(0, 5000)).ok());
    });
    damage([&] {  // A table that another program took away.
      sqlite3* handle = nullptr;
      REQUIRE(sqlite3_open(database.file().c_str(), &handle) == SQLITE_OK);
      REQUIRE(sqlite3_exec(handle, "UPDATE state SET value = 'elsewhere' WHERE name = 'lineage'", nullptr, nullptr,
                           nullptr) == SQLITE_OK);
      sqlite3_close(handle);
    });
  }
}

TEST_CASE("full text: verify names what disagrees, and the file is made again") {
  TextFixture database(StorageKind::kSqlite);
  database.Start();
  for (int i = 0; i < 30; ++i) REQUIRE(database.PutText("d" + std::to_string(i), "common n" + std::to_string(i)).ok());
  const std::string table = "foreshore_text_" + std::to_string(database.core->catalog()->Find("notes")->text_index->id);
  for (const std::string& harm :
       {"DELETE FROM " + table + " WHERE rowid = (SELECT min(rowid) FROM " + table + ")",
        "UPDATE " + table + " SET text = 'other' WHERE rowid = (SELECT min(rowid) FROM " + table + ")",
        "INSERT INTO " + table + "(rowid, text) VALUES (100000, 'nobody')",
        "UPDATE " + table + "_content SET c0 = 'unseen' WHERE id = (SELECT min(rowid) FROM " + table + ")"}) {
    CAPTURE(harm);
    database.Close();
    sqlite3* handle = nullptr;
    REQUIRE(sqlite3_open(database.file().c_str(), &handle) == SQLITE_OK);
    REQUIRE(sqlite3_exec(handle, harm.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(handle);
    database.Open();
    const auto report = database.core->Verify();
    REQUIRE(report.ok());
    CHECK(!report->problems.empty());
    CHECK(database.Match("n17") == "d17");
    database.CheckVerified();
  }
}

TEST_CASE("full text: an index over documents that are there is filled in steps, and commits go on meanwhile") {
  for (const StorageKind kind : kKinds) {
    TextFixture database(kind);
    database.Open();
    REQUIRE(database.core->CreateCollection("notes").ok());
    {
      auto view = database.core->BeginWrite();
      REQUIRE(view.ok());
      for (int i = 0; i < 3000; ++i) {
        REQUIRE((*view)
                    ->Put(*(*view)->catalog().Find("notes"), "d" + std::to_string(i),
                          R"({"text":"common n)" + std::to_string(i) + "\"}")
                    .ok());
      }
      REQUIRE((*view)->Commit().ok());
    }
    // The file cannot be written: so the index is there, and nothing is in it.
    database.Close();
    database.environment.text_vfs = FullDiskVfs::kName;
    FullDiskVfs::Get().is_full = true;
    database.Open();
    REQUIRE(database.core->CreateTextIndex("notes", {.fields = {"text"}}).ok());
    CHECK(database.core->CreateTextIndex("notes", {.fields = {"text"}}).code() == ErrorCode::kAlreadyExists);
    CHECK(database.core->ListTextIndexes()->at(0).pending_count == 3000);
    FullDiskVfs::Get().is_full = false;
    FullTextIndexes& text = database.core->text();
    const std::uint32_t id = database.core->catalog()->Find("notes")->text_index->id;
    const Status busy = text.WaitFilled(id, std::chrono::milliseconds(-1));
    CHECK_MESSAGE(busy.code() == ErrorCode::kBusy, busy.ToString());
    CHECK(text.Fill(std::chrono::milliseconds(0)).ok());  // One step.
    const auto begun = database.core->ListTextIndexes()->at(0);
    CHECK(begun.document_count > 0);
    CHECK(begun.pending_count > 0);
    {
      auto early = database.core->BeginRead();
      REQUIRE(early.ok());
      const std::string answer = TextFixture::Match(**early, "common");
      CHECK_MESSAGE(answer.find("busy") == 0, answer);
    }
    // One change before the place that the filling has come to, one behind it, one new document.
    REQUIRE(database.PutText("d0", "changed early").ok());
    REQUIRE(database.PutText("d2999", "changed late").ok());
    REQUIRE(database.Delete("notes", "d1").ok());
    REQUIRE(database.PutText("new", "changed anew").ok());
    database.Reopen();  // The filling goes on from where it was.
    CHECK(database.core->ListTextIndexes()->at(0).document_count >= begun.document_count - 1);
    std::uint64_t reported = 1;
    REQUIRE(database.core
                ->WaitTextIndex("notes", std::chrono::minutes(1), [&](std::uint64_t pending) { reported = pending; })
                .ok());
    CHECK(reported == 0);
    CHECK(database.Match("changed") == "d0 d2999 new");
    CHECK(database.Match("n0 OR n1 OR n2 OR n2999") == "d2");
    database.CheckVerified();
  }
}

TEST_CASE("full text: a full disk fails no commit, searches name it, and it catches up") {
  for (const StorageKind kind : kKinds) {
    TextFixture database(kind);
    database.environment.text_vfs = FullDiskVfs::kName;
    FullDiskVfs::Get().is_full = false;
    database.Start();
    REQUIRE(database.PutText("a", "before").ok());
    FullDiskVfs::Get().is_full = true;
    const int refused = FullDiskVfs::Get().refused_count;
    REQUIRE(database.PutText("b", "during").ok());
    REQUIRE(database.Delete("notes", "a").ok());
    CHECK(FullDiskVfs::Get().refused_count > refused);
    CHECK(database.Get("notes", "b") == R"({"text":"during"})");
    {
      const std::uint32_t id = database.core->catalog()->Find("notes")->id;
      const auto view = database.core->BeginTextRead(std::span(&id, 1));
      CHECK_MESSAGE(view.status().code() == ErrorCode::kNoSpace, view.status().ToString());
    }
    CHECK(database.core->Checkpoint().ok());
    FullDiskVfs::Get().is_full = false;
    REQUIRE(database.PutText("c", "after").ok());
    CHECK(database.Match("before OR during OR after") == "b c");
    database.CheckVerified();
    database.Reopen();
    CHECK(database.Match("before OR during OR after") == "b c");
    database.CheckVerified();
  }
}

TEST_CASE("full text: what arrives by sync is found, and what it takes away is not") {
  TextFixture here(StorageKind::kSqlite);
  here.Start();
  TextFixture there(StorageKind::kSqlite);
  there.Start();
  const auto exchange = [](TextFixture& from, TextFixture& to, const std::string& id) {
    auto read = from.core->BeginRead();
    REQUIRE(read.ok());
    const auto state = (*read)->LoadState(*(*read)->catalog().Find("notes"), id);
    REQUIRE(state.ok());
    const DocumentChange change = BuildFullChange(*state);
    auto write = to.core->BeginWrite();
    REQUIRE(write.ok());
    REQUIRE((*write)->Apply(*(*write)->catalog().Find("notes"), change).ok());
    REQUIRE((*write)->Commit().ok());
  };
  REQUIRE(here.PutText("a", "travels").ok());
  exchange(here, there, "a");
  CHECK(there.Match("travels") == "a");
  REQUIRE(here.PutText("a", "rests").ok());
  exchange(here, there, "a");
  CHECK(there.Match("travels") == "");
  CHECK(there.Match("rests") == "a");
  REQUIRE(here.Delete("notes", "a").ok());
  exchange(here, there, "a");
  CHECK(there.Match("rests") == "");
  there.CheckVerified();
}

TEST_CASE("full text: the log is kept until the file has what it says") {
  TextFixture database(StorageKind::kSqlite);
  database.environment.text_vfs = FullDiskVfs::kName;
  FullDiskVfs::Get().is_full = false;
  database.Start();
  REQUIRE(database.PutText("a", "one").ok());
  REQUIRE(database.core->Checkpoint().ok());
  const auto cursor_of = [&] {
    auto view = database.core->BeginRead();
    REQUIRE(view.ok());
    return database.core->log().GetCursor((*view)->txn(), "index.text")->value_or(-1);
  };
  CHECK(cursor_of() == database.core->last_sequence());
  const std::int64_t saved = cursor_of();
  FullDiskVfs::Get().is_full = true;
  REQUIRE(database.PutText("b", "two").ok());
  REQUIRE(database.core->Checkpoint().ok());
  CHECK(cursor_of() == saved);
  FullDiskVfs::Get().is_full = false;
  REQUIRE(database.core->Checkpoint().ok());
  CHECK(cursor_of() == database.core->last_sequence());
  REQUIRE(database.core->DropTextIndex("notes").ok());
  CHECK(cursor_of() == -1);
  CHECK(!FileExists(database.file()));
  CHECK(database.core->DropTextIndex("notes").code() == ErrorCode::kNotFound);
}

// Method: the checkpoint is run by another thread while the commit of the drop tells its listeners; it has saved the
// indexes once it has come to trim the log, which gives sync its cursor.
TEST_CASE("full text: a checkpoint beside the drop of the last index does not bring its cursor back") {
  for (const StorageKind kind : kKinds) {
    TextFixture db(kind);
    db.Start();
    REQUIRE(db.PutText("a", "pump").ok());
    const auto cursor = [&](std::string_view name) {
      const auto view = db.core->BeginRead();
      REQUIRE(view.ok());
      return db.core->log().GetCursor((*view)->txn(), std::string(name)).value();
    };
    REQUIRE(cursor(FullTextIndexes::kCursorName).has_value());
    REQUIRE_FALSE(cursor("sync.push").has_value());
    std::thread checkpoint;
    const std::uint64_t listener = db.core->AddCommitListener([&] {
      if (checkpoint.joinable()) return;
      checkpoint = std::thread([&] { CHECK(db.core->Checkpoint().ok()); });
      while (!cursor("sync.push").has_value()) std::this_thread::yield();
    });
    CHECK(db.core->DropTextIndex("notes").ok());
    checkpoint.join();
    db.core->RemoveCommitListener(listener);
    CHECK_FALSE(cursor(FullTextIndexes::kCursorName).has_value());
    CHECK(db.core->Checkpoint().ok());
    CHECK_FALSE(cursor(FullTextIndexes::kCursorName).has_value());
  }
}

TEST_CASE("full text: options that FTS5 does not take are refused when the index is made") {
  TextFixture database(StorageKind::kSqlite);
  database.Open();
  REQUIRE(database.core->CreateCollection("notes").ok());
  const auto code = [&](TextIndexOptions options) { return database.core->CreateTextIndex("notes", options).code(); };
  CHECK(code({}) == ErrorCode::kInvalidArgument);
  CHECK(code({.fields = {"text", "TEXT"}}) == ErrorCode::kInvalidArgument);
  CHECK(code({.fields = {"rank"}}) == ErrorCode::kInvalidArgument);
  CHECK(code({.fields = {"a..b"}}) == ErrorCode::kInvalidArgument);
  CHECK(code({.fields = {"text"}, .prefix_lengths = {3, 2}}) == ErrorCode::kInvalidArgument);
  CHECK(code({.fields = {"text"}, .prefix_lengths = {0}}) == ErrorCode::kInvalidArgument);
  CHECK(code({.fields = {"text"}, .tokenizer = TextTokenizer::kTrigram, .prefix_lengths = {2}}) ==
        ErrorCode::kInvalidArgument);
  CHECK(database.core->CreateTextIndex("nowhere", {.fields = {"text"}}).code() == ErrorCode::kNotFound);
  CHECK(database.core->catalog()->Find("notes")->text_index.has_value() == false);
}

TEST_CASE("full text: random histories agree with a scan of the documents, across reopening") {
  std::random_device device;
  const char* given = std::getenv("FORESHORE_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : device();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const StorageKind kind : kKinds) {
    TextFixture database(kind);
    database.Start();
    std::map<std::string, std::string> model;
    for (int step = 0; step < 120; ++step) {
      auto view = database.core->BeginWrite();
      REQUIRE(view.ok());
      const CollectionDefinition& notes = *(*view)->catalog().Find("notes");
      auto next = model;
      const int count = 1 + static_cast<int>(random() % 5);
      for (int i = 0; i < count; ++i) {
        const std::string id = "d" + std::to_string(random() % 30);
        const std::string word = "w" + std::to_string(random() % 6);
        if (random() % 4 == 0 && next.contains(id)) {
          REQUIRE((*view)->Delete(notes, id).ok());
          next.erase(id);
        } else {
          const std::string text = word + " w" + std::to_string(random() % 6);
          REQUIRE((*view)->Put(notes, id, R"({"text":")" + text + R"(","n":)" + std::to_string(step) + "}").ok());
          next[id] = text;
        }
      }
      const auto check = [&](ReadView& reader, const std::map<std::string, std::string>& expected) {
        const std::string word = "w" + std::to_string(random() % 6);
        std::set<std::string> wanted;
        for (const auto& [id, text] : expected) {
          if ((" " + text + " ").find(" " + word + " ") != std::string::npos) wanted.insert(id);
        }
        std::istringstream found(TextFixture::Match(reader, word));
        CHECK(std::set<std::string>(std::istream_iterator<std::string>(found), {}) == wanted);
      };
      if (random() % 3 == 0) check(**view, next);
      if (random() % 5 != 0) {
        REQUIRE((*view)->Commit().ok());
        model = next;
      }
      view->reset();
      auto reader = database.TextRead();
      check(*reader, model);
      if (step % 40 == 39) {
        // Only readers that are gone let the database close.
        reader.reset();
        database.Reopen();
      }
    }
    database.CheckVerified();
  }
}
