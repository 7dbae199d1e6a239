#include "storage/fault_store.h"
#include "tests/engine/database/core_test.h"

using namespace foreshore;

namespace {

using Ids = std::vector<std::string>;

struct Writing {
  explicit Writing(CoreFixture& db) : view(*db.core->BeginWrite()), a(*view->catalog().Find("a")) {}
  Status Put(std::string_view id, std::string_view json) { return view->Put(a, id, json); }
  std::string Get(std::string_view id) {
    const auto record = view->Get(a, id);
    REQUIRE_MESSAGE(record.ok(), record.status().ToString());
    return *record ? std::string((*record)->body) : "";
  }
  std::unique_ptr<WriteView> view;
  const CollectionDefinition& a;
};

std::int64_t LogEntries(CoreFixture& db) {
  const auto stats = db.core->Stats();
  REQUIRE(stats.ok());
  return stats->log_entry_count;
}

Ids Fields(CoreFixture& db) {
  return db.core->catalog()->Find("a")->fields;
}

}  // namespace

TEST_CASE("savepoint: what was written since is gone from documents, vectors, fields and the log, on either backend") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
    REQUIRE(db.Put("a", "1", R"({"v":[1,0]})").ok());
    REQUIRE(db.Put("a", "2", R"({"v":[0,1]})").ok());
    const Ids fields = Fields(db);
    const std::int64_t entries = LogEntries(db);
    {
      Writing writing(db);
      REQUIRE(writing.Put("2", R"({"v":[0,-1]})").ok());
      REQUIRE(writing.view->MakeSavepoint().ok());
      REQUIRE(writing.Put("1", R"({"v":[-1,0],"fresh":1})").ok());
      REQUIRE(writing.Put("2", R"({"v":[0.5,0.5]})").ok());
      REQUIRE(writing.Put("3", R"({"v":[0,1]})").ok());
      REQUIRE(writing.view->Delete(writing.a, "1").ok());
      CHECK(db.Nearest(*writing.view, "a", "v", {0, 1}, 5) == Ids{"3", "2"});
      REQUIRE(writing.view->RollbackToSavepoint().ok());
      CHECK(writing.Get("1") == R"({"v":[1,0]})");
      CHECK(writing.Get("2") == R"({"v":[0,-1]})");
      CHECK(writing.Get("3").empty());
      CHECK(db.Nearest(*writing.view, "a", "v", {1, 0.1F}, 5) == Ids{"1", "2"});
      CHECK(writing.view->changed_count() == 1);
      REQUIRE(writing.view->ReleaseSavepoint().ok());
      REQUIRE(writing.Put("4", R"({"v":[0,1]})").ok());
      REQUIRE(writing.view->Commit().ok());
    }
    CHECK(Fields(db) == fields);
    CHECK(LogEntries(db) == entries + 4);  // Two documents with their vectors.
    CHECK(db.Nearest(**db.core->BeginRead(), "a", "v", {0, 1}, 5) == Ids{"4", "1", "2"});
    db.CheckVerified();
    db.Reopen();
    CHECK(db.Nearest(**db.core->BeginRead(), "a", "v", {0, 1}, 5) == Ids{"4", "1", "2"});
    CHECK(db.Get("a", "3").empty());
    db.CheckVerified();
  }
}

TEST_CASE("savepoint: they nest, and a rollback that leaves nothing commits nothing") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  const std::int64_t sequence = db.core->last_sequence();
  Writing writing(db);
  CHECK(writing.view->RollbackToSavepoint().code() == ErrorCode::kInvalidArgument);
  CHECK(writing.view->ReleaseSavepoint().code() == ErrorCode::kInvalidArgument);
  REQUIRE(writing.view->MakeSavepoint().ok());
  REQUIRE(writing.Put("1", R"({"n":1})").ok());
  REQUIRE(writing.view->MakeSavepoint().ok());
  REQUIRE(writing.Put("2", R"({"n":2})").ok());
  REQUIRE(writing.view->ReleaseSavepoint().ok());
  REQUIRE(writing.view->MakeSavepoint().ok());
  REQUIRE(writing.Put("1", R"({"n":3})").ok());
  REQUIRE(writing.view->RollbackToSavepoint().ok());
  CHECK(writing.Get("1") == R"({"n":1})");
  CHECK(writing.Get("2") == R"({"n":2})");
  REQUIRE(writing.view->ReleaseSavepoint().ok());
  REQUIRE(writing.view->RollbackToSavepoint().ok());
  CHECK(writing.Get("2").empty());
  REQUIRE(writing.view->Commit().ok());
  CHECK(writing.view->MakeSavepoint().code() == ErrorCode::kCancelled);
  CHECK(writing.view->RollbackToSavepoint().code() == ErrorCode::kCancelled);
  CHECK(db.core->last_sequence() == sequence);
}

TEST_CASE("savepoint: a write that fails half-way is undone and the transaction goes on") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
    Writing writing(db);
    REQUIRE(writing.Put("1", R"({"v":[1,0]})").ok());
    REQUIRE(writing.view->MakeSavepoint().ok());
    CHECK(writing.Put("2", R"({"v":[1,2,3]})").code() == ErrorCode::kInvalidArgument);
    CHECK(writing.view->finished());
    CHECK_FALSE(writing.view->ReleaseSavepoint().ok());
    REQUIRE(writing.view->RollbackToSavepoint().ok());
    REQUIRE(writing.view->ReleaseSavepoint().ok());
    REQUIRE(writing.Put("3", R"({"v":[0,1]})").ok());
    REQUIRE(writing.view->Commit().ok());
    CHECK(db.Get("a", "2").empty());
    CHECK(db.Nearest(**db.core->BeginRead(), "a", "v", {0, 1}, 5) == Ids{"3", "1"});
    db.CheckVerified();
  }
}

TEST_CASE("savepoint: where the store itself fails the transaction stays over and leaves nothing") {
  for (const StoreOperation operation : {StoreOperation::kWrite, StoreOperation::kSavepoint}) {
    CoreFixture db;
    FaultStore* faults = nullptr;
    db.environment.wrap_store = [&](std::unique_ptr<Store> store) -> std::unique_ptr<Store> {
      auto wrapped = std::make_unique<FaultStore>(std::move(store));
      faults = wrapped.get();
      return wrapped;
    };
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    {
      Writing writing(db);
      REQUIRE(writing.Put("1", R"({"n":1})").ok());
      REQUIRE(writing.view->MakeSavepoint().ok());
      faults->plan().FailAt(operation, 0, ErrorCode::kNoSpace);
      if (operation == StoreOperation::kWrite) CHECK(writing.Put("2", "{}").code() == ErrorCode::kNoSpace);
      CHECK(writing.view->RollbackToSavepoint().code() == ErrorCode::kNoSpace);
      CHECK_FALSE(writing.Put("3", "{}").ok());
      CHECK_FALSE(writing.view->Commit().ok());
    }
    CHECK(db.Get("a", "1").empty());
    CHECK(db.Put("a", "4", "{}").ok());
    db.CheckVerified();
  }
}
