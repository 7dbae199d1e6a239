#include "engine/database/field_index.h"

#include <cstdlib>
#include <random>

#include "engine/database/field_key.h"
#include "storage/base/log.h"
#include "storage/fault_store.h"
#include "tests/engine/database/core_test.h"

using namespace foreshore;

namespace {

struct IndexFixture : CoreFixture {
  explicit IndexFixture(StorageKind storage = StorageKind::kSqlite) : CoreFixture(storage) {
    options.index_in_background = false;
    Open();
    REQUIRE(core->CreateCollection("notes").ok());
  }
  Status Create(const FieldIndexOptions& index) { return core->CreateFieldIndex("notes", index); }
  const FieldIndexDefinition& Index(std::size_t number = 0) {
    catalog_ = core->catalog();
    return catalog_->Find("notes")->field_indexes.at(number);
  }
  // The documents of the index's entries in their order, one id for each entry.
  std::string Ids(std::size_t number = 0) {
    const FieldIndexDefinition index = Index(number);
    const auto view = *core->BeginRead();
    return IdsIn(*view, index);
  }
  static std::string IdsIn(ReadView& view, const FieldIndexDefinition& index) {
    const CollectionDefinition& notes = *view.catalog().Find("notes");
    std::vector<std::int64_t> docids;
    {
      const auto cursor = *view.ScanFieldIndex(index);
      for (Status status = cursor->SeekFirst(); status.ok() && cursor->valid(); status = cursor->Next()) {
        docids.push_back(DocidOfKey(cursor->bytes_key()));
      }
    }
    std::string ids;
    for (const std::int64_t docid : docids) {
      const auto record = *view.GetByDocid(notes, docid);
      ids += (ids.empty() ? "" : " ") + (record ? std::string(record->id) : "?");
    }
    return ids;
  }
  DocumentChange ChangeOf(const std::string& id) {
    const auto view = *core->BeginRead();
    return BuildFullChange(*view->LoadState(*view->catalog().Find("notes"), id));
  }
  void Merge(const DocumentChange& change) {
    const auto view = *core->BeginWrite();
    const auto applied = view->Apply(*view->catalog().Find("notes"), change);
    REQUIRE_MESSAGE(applied.ok(), applied.status().ToString());
    REQUIRE(view->Commit().ok());
  }

 private:
  std::shared_ptr<const Catalog> catalog_;
};

}  // namespace

TEST_CASE("index: entries follow every write, in SQL's order, on either backend") {
  for (const StorageKind kind : kKinds) {
    IndexFixture db(kind);
    REQUIRE(db.Put("notes", "text", R"({"n":"a"})").ok());
    REQUIRE(db.Put("notes", "null", R"({"n":null})").ok());
    REQUIRE(db.Create({.paths = {"n"}}).ok());
    CHECK(db.Index().is_ready);
    REQUIRE(db.Put("notes", "real", R"({"n":1.5})").ok());
    REQUIRE(db.Put("notes", "true", R"({"n":true})").ok());
    REQUIRE(db.Put("notes", "absent", R"({"x":1})").ok());
    REQUIRE(db.Put("notes", "array", R"({"n":[1]})").ok());
    CHECK(db.Ids() == "null absent true real array text");
    db.CheckVerified();
    REQUIRE(db.Put("notes", "real", R"({"n":-2})").ok());
    REQUIRE(db.Delete("notes", "null").ok());
    CHECK(db.Ids() == "absent real true array text");
    db.CheckVerified();
    db.Reopen();
    CHECK(db.Ids() == "absent real true array text");
    REQUIRE(db.Put("notes", "null", R"({"n":"b"})").ok());
    CHECK(db.Ids() == "absent real true array text null");
    db.CheckVerified();
    REQUIRE(db.core->DropFieldIndex("notes", "n").ok());
    CHECK(db.core->catalog()->Find("notes")->field_indexes.empty());
    REQUIRE(db.Put("notes", "null", R"({"n":"c"})").ok());
    db.Reopen();
    db.CheckVerified();
    CHECK(db.core->DropFieldIndex("notes", "n").code() == ErrorCode::kNotFound);
  }
}

TEST_CASE("index: a transaction reads its own entries, and they go with it") {
  for (const StorageKind kind : kKinds) {
    IndexFixture db(kind);
    REQUIRE(db.Create({.paths = {"n"}}).ok());
    REQUIRE(db.Put("notes", "b", R"({"n":2})").ok());
    {
      const auto view = *db.core->BeginWrite();
      const CollectionDefinition& notes = *view->catalog().Find("notes");
      REQUIRE(view->Put(notes, "a", R"({"n":1})").ok());
      REQUIRE(view->Put(notes, "b", R"({"n":0})").ok());
      CHECK(IndexFixture::IdsIn(*view, notes.field_indexes[0]) == "b a");
      REQUIRE(view->Put(notes, "b", R"({"n":3})").ok());
      REQUIRE(view->Delete(notes, "a").ok());
      REQUIRE(view->Put(notes, "a", R"({"n":4})").ok());
      CHECK(IndexFixture::IdsIn(*view, notes.field_indexes[0]) == "b a");
    }
    CHECK(db.Ids() == "b");
    db.CheckVerified();
  }
}

TEST_CASE("index: nested paths, several paths, escaped keys, elements and predicates") {
  IndexFixture db;
  REQUIRE(db.Create({.paths = {"site.name", "n"}}).ok());
  REQUIRE(db.Create({.paths = {"tags[]"}}).ok());
  REQUIRE(db.Create({.paths = {"n"}, .where = "n >= 2 AND \"site.name\" IS NOT NULL", .name = "some"}).ok());
  REQUIRE(db.Create({.paths = {R"(a\.b)", "q\"uote"}}).ok());
  REQUIRE(db.Put("notes", "1", R"({"site":{"name":"B"},"n":1,"tags":["x","y","x"]})").ok());
  REQUIRE(db.Put("notes", "2", R"({"site":{"name":"A"},"n":2,"tags":["y",1,1.0,null,true]})").ok());
  REQUIRE(db.Put("notes", "3", R"({"site":"A","n":3,"tags":"x","a.b":1,"q\"uote":"\u0001"})").ok());
  REQUIRE(db.Put("notes", "4", R"({"n":1,"site":{"name":"A","x":{}},"tags":[]})").ok());
  CHECK(db.Ids(0) == "3 4 2 1");
  CHECK(db.Ids(1) == "2 1 1 2");
  CHECK(db.Ids(2) == "2");
  CHECK(db.Ids(3) == "1 2 4 3");
  db.CheckVerified();
  REQUIRE(db.Put("notes", "2", R"({"n":1,"site":{"name":"A"},"tags":["z"]})").ok());
  REQUIRE(db.Put("notes", "4", R"({"n":5,"site":{"name":"A"},"tags":"[\"w\", \"z\"]"})").ok());
  CHECK(db.Ids(1) == "4 1 1 2 4");
  CHECK(db.Ids(2) == "4");
  db.CheckVerified();
}

TEST_CASE("index: an update writes only the entries that change") {
  IndexFixture db;
  FaultStore* store = nullptr;
  db.Close();
  db.environment.wrap_store = [&](std::unique_ptr<Store> inner) {
    auto wrapped = std::make_unique<FaultStore>(std::move(inner));
    store = wrapped.get();
    return wrapped;
  };
  db.Open();
  REQUIRE(db.Create({.paths = {"a"}}).ok());
  REQUIRE(db.Create({.paths = {"b"}}).ok());
  REQUIRE(db.Create({.paths = {"tags[]"}}).ok());
  REQUIRE(db.Put("notes", "1", R"({"a":1,"b":1,"c":1,"tags":[1,2,3]})").ok());
  const auto writes_of = [&](const std::string& json) {
    const std::uint64_t before = store->plan().count(StoreOperation::kWrite);
    REQUIRE(db.Put("notes", "1", json).ok());
    return store->plan().count(StoreOperation::kWrite) - before;
  };
  const std::uint64_t document_alone = writes_of(R"({"a":1,"b":1,"c":2,"tags":[1,2,3]})");
  CHECK(writes_of(R"({"a":1,"b":2,"c":3,"tags":[1,2,3]})") == document_alone + 2);
  CHECK(writes_of(R"({"a":1,"b":2,"c":4,"tags":[3,1]})") == document_alone + 1);
  CHECK(writes_of(R"({"a":1.0,"b":2,"c":4,"tags":[3,1]})") == document_alone + 1);  // One key, another mark.
  CHECK(writes_of(R"({"a":1.0,"b":2,"c":5,"tags":[1,3,3]})") == document_alone);
  db.CheckVerified();
}

TEST_CASE("unique index: a local write is refused before it writes anything, and the transaction goes on") {
  for (const StorageKind kind : kKinds) {
    IndexFixture db(kind);
    REQUIRE(db.Create({.paths = {"mail"}, .unique = true}).ok());
    REQUIRE(db.Put("notes", "a", R"({"mail":"x"})").ok());
    REQUIRE(db.Put("notes", "b", R"({"mail":null})").ok());
    REQUIRE(db.Put("notes", "c", R"({})").ok());  // NULLs never clash.
    REQUIRE(db.Put("notes", "a", R"({"mail":"x","n":1})").ok());
    {
      const auto view = *db.core->BeginWrite();
      const CollectionDefinition& notes = *view->catalog().Find("notes");
      const Status refused = view->Put(notes, "d", R"({"mail":"x"})");
      CHECK(refused.code() == ErrorCode::kAlreadyExists);
      CHECK(refused.message() == "unique index \"notes.mail\": document \"a\" has the same value already");
      CHECK(view->Put(notes, "b", R"({"mail":"x"})").code() == ErrorCode::kAlreadyExists);
      REQUIRE(view->Put(notes, "d", R"({"mail":"y"})").ok());
      CHECK(view->Put(notes, "e", R"({"mail":"y"})").code() == ErrorCode::kAlreadyExists);
      REQUIRE(view->Delete(notes, "d").ok());
      REQUIRE(view->Put(notes, "e", R"({"mail":"y"})").ok());
      REQUIRE(view->Commit().ok());
    }
    CHECK(db.Get("notes", "b") == R"({"mail":null})");
    CHECK(db.Get("notes", "d").empty());
    const std::string longer(500, 'x');
    REQUIRE(db.Put("notes", "f", R"({"mail":")" + longer + R"(1"})").ok());
    REQUIRE(db.Put("notes", "g", R"({"mail":")" + longer + R"(2"})").ok());
    CHECK(db.Put("notes", "h", R"({"mail":")" + longer + R"(2"})").code() == ErrorCode::kAlreadyExists);
    db.CheckVerified();
  }
}

TEST_CASE("unique index: two documents with one value refuse it, and leave no index") {
  IndexFixture db;
  for (int i = 0; i < 300; ++i) {
    REQUIRE(db.Put("notes", "d" + std::to_string(i), R"({"n":)" + std::to_string(i % 299) + "}").ok());
  }
  const Status refused = db.Create({.paths = {"n"}, .unique = true});
  CHECK(refused.code() == ErrorCode::kAlreadyExists);
  CHECK(refused.message().find("\"d0\"") != std::string::npos);
  CHECK(db.core->catalog()->Find("notes")->field_indexes.empty());
  REQUIRE(db.Delete("notes", "d299").ok());
  REQUIRE(db.Create({.paths = {"n"}, .unique = true}).ok());
  db.CheckVerified();
}

TEST_CASE("unique index: a merge always applies, and the conflict is listed until a document leaves the value") {
  IndexFixture remote;
  REQUIRE(remote.Put("notes", "far", R"({"mail":"x"})").ok());
  IndexFixture db;
  REQUIRE(db.Create({.paths = {"mail"}, .unique = true}).ok());
  REQUIRE(db.Put("notes", "near", R"({"mail":"x"})").ok());
  db.Merge(remote.ChangeOf("far"));
  CHECK(db.Get("notes", "far") == R"({"mail":"x"})");
  CHECK(db.Ids() == "near far");
  db.CheckVerified();
  auto conflicts = *db.core->ListUniqueConflicts("");
  REQUIRE(conflicts.size() == 1);
  CHECK(conflicts[0].index == "notes.mail");
  CHECK(conflicts[0].document_id == "far");
  CHECK(conflicts[0].other_document_id == "near");
  CHECK(db.core->ListIndexes()->at(0).conflict_count == 1);
  db.Reopen();
  CHECK(db.core->ListUniqueConflicts("notes")->size() == 1);
  CHECK(db.Put("notes", "third", R"({"mail":"x"})").code() == ErrorCode::kAlreadyExists);
  REQUIRE(db.Put("notes", "near", R"({"mail":"y"})").ok());
  CHECK(db.core->ListUniqueConflicts("")->empty());
  REQUIRE(db.Put("notes", "near", R"({"mail":"z"})").ok());
  db.CheckVerified();
}

TEST_CASE("index build: goes on after a failure at any commit and after a reopen") {
  for (const StorageKind kind : kKinds) {
    IndexFixture db(kind);
    {
      const auto view = *db.core->BeginWrite();
      const CollectionDefinition& notes = *view->catalog().Find("notes");
      for (int i = 0; i < 25'000; ++i) {
        REQUIRE(view->Put(notes, "d" + std::to_string(i), R"({"n":)" + std::to_string(i * 7 % 100) + "}").ok());
      }
      REQUIRE(view->Commit().ok());
    }
    FaultStore* store = nullptr;
    db.Close();
    db.environment.wrap_store = [&](std::unique_ptr<Store> inner) {
      auto wrapped = std::make_unique<FaultStore>(std::move(inner));
      store = wrapped.get();
      return wrapped;
    };
    db.Open();
    // The first commit takes an id, the second makes the index, the third is that of the first batch.
    store->plan().FailAt(StoreOperation::kCommit, 2, ErrorCode::kIo);
    CHECK(db.Create({.paths = {"n"}}).code() == ErrorCode::kIo);
    REQUIRE_FALSE(db.Index().is_ready);
    REQUIRE(db.Put("notes", "new", R"({"n":-1})").ok());
    REQUIRE(db.Put("notes", "d24999", R"({"n":-2})").ok());
    REQUIRE(db.Delete("notes", "d24998").ok());
    int failure_count = 0;
    while (!db.Index().is_ready) {
      REQUIRE(++failure_count < 1000);
      db.CheckVerified();
      store->plan().FailAt(StoreOperation::kCommit, 1, ErrorCode::kIo);
      const Status status = db.core->WaitIndexed(std::chrono::hours(1), {});
      store->plan().Clear();
      if (failure_count % 2 == 0) db.Reopen();
      if (status.ok()) break;
    }
    CHECK(db.Index().is_ready);
    CHECK(db.Ids().starts_with("d24999 new "));
    db.CheckVerified();
  }
}

TEST_CASE("index build: the background thread finishes it, and closing in the middle keeps the place") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("notes").ok());
  {
    const auto view = *db.core->BeginWrite();
    for (int i = 0; i < 30'000; ++i) {
      REQUIRE(view->Put(*view->catalog().Find("notes"), "d" + std::to_string(i), R"({"n":1})").ok());
    }
    REQUIRE(view->Commit().ok());
  }
  REQUIRE(db.core->CreateFieldIndex("notes", {.paths = {"n"}}).ok());
  db.Reopen();
  REQUIRE(db.core->WaitIndexed(std::chrono::hours(1), {}).ok());
  CHECK(db.core->catalog()->Find("notes")->field_indexes[0].is_ready);
  db.CheckVerified();
}

TEST_CASE("index: a failed write anywhere leaves documents and entries in step") {
  for (const StorageKind kind : kKinds) {
    IndexFixture db(kind);
    FaultStore* store = nullptr;
    db.Close();
    db.environment.wrap_store = [&](std::unique_ptr<Store> inner) {
      auto wrapped = std::make_unique<FaultStore>(std::move(inner));
      store = wrapped.get();
      return wrapped;
    };
    db.Open();
    REQUIRE(db.Create({.paths = {"n"}}).ok());
    REQUIRE(db.Create({.paths = {"m"}, .unique = true}).ok());
    REQUIRE(db.Put("notes", "1", R"({"n":1,"m":1})").ok());
    for (const StoreOperation operation : {StoreOperation::kWrite, StoreOperation::kRead, StoreOperation::kCommit}) {
      for (std::uint64_t index = 0; index < 40; ++index) {
        CAPTURE(index);
        store->plan().FailAt(operation, index, ErrorCode::kNoSpace);
        const Status put = db.Put("notes", "1", R"({"n":2,"m":2})");
        const bool failed = store->plan().failed_count() > 0 && !put.ok();
        store->plan().Clear();
        CHECK((put.ok() || put.code() == ErrorCode::kNoSpace));
        db.CheckVerified();
        if (!failed) break;
        CHECK(db.Get("notes", "1") == R"({"n":1,"m":1})");
      }
      REQUIRE(db.Put("notes", "1", R"({"n":1,"m":1})").ok());
    }
  }
}

TEST_CASE("index: what cannot be one is refused by name") {
  IndexFixture db;
  const auto refused = [&](const FieldIndexOptions& options) { return db.Create(options).ToString(); };
  CHECK(db.core->CreateFieldIndex("absent", {.paths = {"a"}}).code() == ErrorCode::kNotFound);
  CHECK(refused({.paths = {}}).find("name of 0 bytes") != std::string::npos);
  CHECK(refused({.paths = {"a", "a"}}).find("is named twice") != std::string::npos);
  CHECK(refused({.paths = {"a..b"}}).find("empty key") != std::string::npos);
  CHECK(refused({.paths = {"id"}}).find("a column of its own") != std::string::npos);
  CHECK(refused({.paths = {"a[]", "b[]"}}).find("at most one") != std::string::npos);
  CHECK(refused({.paths = {"a[]"}, .unique = true}).find("unique array elements") != std::string::npos);
  CHECK(refused({.paths = {"a", "b", "c", "d", "e", "f", "g", "h", "i"}}).find("expected 1 to 8") != std::string::npos);
  CHECK(refused({.paths = {"a"}, .where = "a > b"}).find("at byte 4") != std::string::npos);
  CHECK(refused({.paths = {"a"}, .where = "a"}).find("the end") != std::string::npos);
  CHECK(refused({.paths = {"a"}, .where = "a = 1 OR b = 2"}).find("AND or the end") != std::string::npos);
  REQUIRE(db.Create({.paths = {"a"}}).ok());
  CHECK(db.Create({.paths = {"a"}}).code() == ErrorCode::kAlreadyExists);
  REQUIRE(db.Create({.paths = {"a"}, .name = "again"}).ok());
}

TEST_CASE("index row: reads back, and damage is refused") {
  auto index = *DefineFieldIndex("notes", {.paths = {"site.name", "tags[]"}, .where = "n > 1.5 and t <> 'it''s'"});
  index.id = 7;
  index.collection_id = 3;
  index.is_ready = true;
  const ByteString row = EncodeFieldIndex(index);
  const auto back = DecodeFieldIndex(row);
  REQUIRE_MESSAGE(back.ok(), back.status().ToString());
  CHECK(back->id == 7);
  CHECK(back->collection_id == 3);
  CHECK(back->name == "notes.site.name,tags[]");
  CHECK(back->is_ready);
  CHECK(back->paths[1].is_each_element);
  CHECK(back->predicate.size() == 2);
  CHECK(EncodeFieldIndex(*back) == row);
  for (std::size_t size = 0; size < row.size(); ++size) CHECK_FALSE(DecodeFieldIndex(Bytes(row).substr(0, size)).ok());
  ByteString newer = row;
  newer[0] = 9;
  CHECK(DecodeFieldIndex(newer).status().code() == ErrorCode::kUnsupported);
}
