#include "engine/document/json.h"
#include "storage/fault_store.h"
#include "tests/engine/database/core_test.h"

using namespace foreshore;

namespace {}  // namespace

TEST_CASE("put: documents, their order of keys and their numbers survive a reopen on either backend") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    db.Open();
    REQUIRE(db.core->CreateCollection("notes").ok());
    REQUIRE(db.Put("notes", "n1", R"({ "z" : 1.50, "a" : {"b":[1,2,{"c":null}]}, "t":"x\u00e9" })").ok());
    const std::string body = R"({"z":1.50,"a":{"b":[1,2,{"c":null}]},"t":"xé"})";
    CHECK(db.Get("notes", "n1") == body);
    db.CheckVerified();
    db.Reopen();
    CHECK(db.Get("notes", "n1") == body);
    CHECK(db.Get("notes", "absent").empty());
    db.CheckVerified();
  }
}

TEST_CASE("transaction: several collections commit together or not at all") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    REQUIRE(db.core->CreateCollection("b").ok());
    {
      auto view = *db.core->BeginWrite();
      REQUIRE(view->Put(*view->catalog().Find("a"), "1", R"({"x":1})").ok());
      REQUIRE(view->Put(*view->catalog().Find("b"), "1", R"({"x":2})").ok());
      CHECK((*view->Get(*view->catalog().Find("b"), "1"))->body == R"({"x":2})");
    }
    CHECK(db.Get("a", "1").empty());
    CHECK(db.Get("b", "1").empty());
    {
      auto view = *db.core->BeginWrite();
      REQUIRE(view->Put(*view->catalog().Find("a"), "1", R"({"x":1})").ok());
      REQUIRE(view->Put(*view->catalog().Find("b"), "1", R"({"x":2})").ok());
      REQUIRE(view->Commit().ok());
    }
    CHECK(db.Get("a", "1") == R"({"x":1})");
    CHECK(db.Get("b", "1") == R"({"x":2})");
  }
}

TEST_CASE("snapshot: a view keeps its state while others commit") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    REQUIRE(db.Put("a", "1", R"({"v":1})").ok());
    auto view = *db.core->BeginRead();
    REQUIRE(db.Put("a", "1", R"({"v":2})").ok());
    REQUIRE(db.Put("a", "2", R"({"v":9})").ok());
    CHECK((*view->Get(*view->catalog().Find("a"), "1"))->body == R"({"v":1})");
    CHECK_FALSE((*view->Get(*view->catalog().Find("a"), "2")).has_value());
    CHECK(db.Get("a", "1") == R"({"v":2})");
  }
}

TEST_CASE("put with a base: a field that changed since the base was read is kept") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.Put("a", "1", R"({"x":1,"y":1})").ok());
  Document base;
  {
    auto view = *db.core->BeginRead();
    base = *view->Read(*view->catalog().Find("a"), "1");
  }
  REQUIRE(db.Put("a", "1", R"({"x":1,"y":2})").ok());
  auto view = *db.core->BeginWrite();
  REQUIRE(view->Put(*view->catalog().Find("a"), "1", R"({"x":5,"y":1})", &base).ok());
  REQUIRE(view->Commit().ok());
  CHECK(db.Get("a", "1") == R"({"x":5,"y":2})");
}

TEST_CASE("delete and re-creation: the new document has nothing of the old one") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.Put("a", "1", R"({"x":1,"old":true})").ok());
  REQUIRE(db.Delete("a", "1").ok());
  CHECK(db.Get("a", "1").empty());
  CHECK(db.Delete("a", "1").code() == ErrorCode::kNotFound);
  REQUIRE(db.Put("a", "1", R"({"x":2})").ok());
  CHECK(db.Get("a", "1") == R"({"x":2})");
  db.CheckVerified();
}

TEST_CASE("refusals: each names its object and changes nothing") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  CHECK(db.core->CreateCollection("A").code() == ErrorCode::kAlreadyExists);
  CHECK(db.core->CreateCollection("1a").code() == ErrorCode::kInvalidArgument);
  CHECK(db.core->CreateCollection("_private").code() == ErrorCode::kInvalidArgument);
  CHECK(db.Put("absent", "1", "{}").message() == "collection \"absent\" does not exist");
  CHECK(db.Put("a", "", "{}").code() == ErrorCode::kInvalidArgument);
  CHECK(db.Put("a", "1", "[1]").code() == ErrorCode::kInvalidArgument);
  CHECK(db.Put("a", "1", R"({"x":1,"x":2})").code() == ErrorCode::kInvalidArgument);
  CHECK(db.Put("a", "1", "{\"x\":\"" + std::string(kDocumentBytesMax, 'x') + "\"}").code() == ErrorCode::kLimit);
  CHECK(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 1}).code() == ErrorCode::kInvalidArgument);
  CHECK(db.core->CreateVectorIndex("a", {.field = "v", .model = "m", .source_paths = {"t"}}).code() ==
        ErrorCode::kNotFound);
  CHECK(db.Get("a", "1").empty());
  const auto stats = db.core->Stats();
  REQUIRE(stats.ok());
  CHECK(stats->collections.at(0).document_count == 0);
}

TEST_CASE("open: a second open of the directory is busy and says so") {
  CoreFixture db;
  db.Open();
  const auto second = DatabaseCore::Open(db.path(), db.options);
  CHECK(second.status().code() == ErrorCode::kBusy);
  db.Close();
  CHECK(DatabaseCore::Open(db.path(), db.options).ok());
}

TEST_CASE("put: a failed write leaves nothing behind, whichever write fails") {
  for (int failing = 0;; ++failing) {
    CAPTURE(failing);
    CoreFixture db;
    FaultStore* faults = nullptr;
    db.environment.wrap_store = [&](std::unique_ptr<Store> store) -> std::unique_ptr<Store> {
      auto wrapped = std::make_unique<FaultStore>(std::move(store));
      faults = wrapped.get();
      return wrapped;
    };
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
    REQUIRE(db.Put("a", "1", R"({"v":[1,0]})").ok());
    const std::int64_t sequence = db.core->last_sequence();
    faults->plan().FailAt(StoreOperation::kWrite, static_cast<std::uint64_t>(failing), ErrorCode::kIo);
    const Status put = db.Put("a", "2", R"({"v":[0,1],"n":1})");
    faults->plan().Clear();
    if (put.ok()) {
      CHECK(failing > 4);
      break;
    }
    CHECK(put.code() == ErrorCode::kIo);
    CHECK(db.Get("a", "2").empty());
    CHECK(db.core->last_sequence() == sequence);
    {
      auto view = *db.core->BeginRead();
      CHECK(db.Nearest(*view, "a", "v", {0, 1}, 5) == std::vector<std::string>{"1"});
    }
    db.CheckVerified();
    CHECK(db.Put("a", "3", R"({"v":[0,1]})").ok());
    db.CheckVerified();
  }
}
