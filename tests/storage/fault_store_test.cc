#include "storage/fault_store.h"

#include <doctest/doctest.h>

#include "tests/storage/store_backends.h"

namespace foreshore {
namespace {

using I = std::int64_t;

struct FaultFixture {
  TemporaryDirectory directory;
  FaultStore store = FaultStore(Take(OpenSqliteStore(directory.path() + "/store.db", [] {
    StoreOptions options;
    options.create = true;
    return options;
  }())));
  KeyspaceId keyspace = Take(store.OpenKeyspace("a", KeyspaceKind::kInteger));
};

TEST_CASE("fault: the chosen write fails, dooms its transaction and leaves nothing") {
  FaultFixture fixture;
  fixture.store.plan().FailAt(StoreOperation::kWrite, 1, ErrorCode::kNoSpace);
  {
    const auto txn = Take(fixture.store.BeginWrite());
    Ok(txn->Put(fixture.keyspace, I{1}, "1"));
    CHECK(txn->Put(fixture.keyspace, I{2}, "2").code() == ErrorCode::kNoSpace);
    CHECK(txn->Put(fixture.keyspace, I{3}, "3").code() == ErrorCode::kNoSpace);
    CHECK(txn->Commit().code() == ErrorCode::kNoSpace);
  }
  CHECK(fixture.store.plan().failed_count() == 1);
  CHECK(ValueIn(fixture.store, fixture.keyspace, I{1}) == "(none)");
  PutOne(fixture.store, fixture.keyspace, I{1}, "after");
  CHECK(ValueIn(fixture.store, fixture.keyspace, I{1}) == "after");
}

TEST_CASE("fault: a failed savepoint dooms its transaction") {
  FaultFixture fixture;
  fixture.store.plan().FailAt(StoreOperation::kSavepoint, 1, ErrorCode::kIo);
  {
    const auto txn = Take(fixture.store.BeginWrite());
    Ok(txn->MakeSavepoint());
    Ok(txn->Put(fixture.keyspace, I{1}, "1"));
    CHECK(txn->RollbackToSavepoint().code() == ErrorCode::kIo);
    CHECK(txn->Commit().code() == ErrorCode::kIo);
  }
  CHECK(ValueIn(fixture.store, fixture.keyspace, I{1}) == "(none)");
}

TEST_CASE("fault: a failed commit leaves nothing, and the next one goes through") {
  FaultFixture fixture;
  fixture.store.plan().FailAt(StoreOperation::kCommit, 0, ErrorCode::kIo);
  {
    const auto txn = Take(fixture.store.BeginWrite());
    Ok(txn->Put(fixture.keyspace, I{1}, "1"));
    CHECK(txn->Commit().code() == ErrorCode::kIo);
  }
  CHECK(ValueIn(fixture.store, fixture.keyspace, I{1}) == "(none)");
  PutOne(fixture.store, fixture.keyspace, I{1}, "1");
}

TEST_CASE("fault: reads, begins, syncs and keyspace calls fail on demand, once or for good") {
  FaultFixture fixture;
  FaultPlan& plan = fixture.store.plan();
  plan.FailAt(StoreOperation::kRead, 1, ErrorCode::kCorruption);
  {
    const auto txn = Take(fixture.store.BeginRead());
    Ok(txn->Get(fixture.keyspace, I{1}).status());
    CHECK(txn->NewCursor(fixture.keyspace).status().code() == ErrorCode::kCorruption);
    Ok(txn->Get(fixture.keyspace, I{1}).status());
    const auto cursor = Take(txn->NewCursor(fixture.keyspace));
    plan.FailAt(StoreOperation::kRead, 0, ErrorCode::kIo);
    CHECK(cursor->SeekFirst().code() == ErrorCode::kIo);
    plan.FailAt(StoreOperation::kRead, 0, ErrorCode::kIo);
    CHECK(cursor->Seek(I{1}).code() == ErrorCode::kIo);
  }
  plan.FailAt(StoreOperation::kBeginRead, 0, ErrorCode::kIo);
  plan.FailAt(StoreOperation::kBeginWrite, 0, ErrorCode::kBusy, true);
  plan.FailAt(StoreOperation::kSync, 0, ErrorCode::kIo);
  plan.FailAt(StoreOperation::kKeyspace, 0, ErrorCode::kNoSpace);
  CHECK(fixture.store.BeginRead().status().code() == ErrorCode::kIo);
  CHECK(fixture.store.BeginWrite().status().code() == ErrorCode::kBusy);
  CHECK(fixture.store.BeginWrite().status().code() == ErrorCode::kBusy);
  CHECK(fixture.store.Checkpoint().code() == ErrorCode::kIo);
  CHECK(fixture.store.OpenKeyspace("b", KeyspaceKind::kBytes).status().code() == ErrorCode::kNoSpace);
  plan.Clear();
  Ok(fixture.store.BeginWrite().status());
  CHECK(plan.count(StoreOperation::kBeginWrite) == 3);
}

}  // namespace
}  // namespace foreshore
