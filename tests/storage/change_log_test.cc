#include "storage/change_log.h"

#include <doctest/doctest.h>

#include <vector>

#include "tests/storage/store_backends.h"

namespace foreshore {
namespace {

Change ChangeOf(std::int64_t docid) {
  Change change;
  change.kind = ChangeKind::kVector;
  change.origin = ChangeOrigin::kSync;
  change.collection_id = 0xfffffffe;
  change.index_id = 3;
  change.docid = docid;
  return change;
}

template <typename Backend>
struct LogFixture {
  TestStore<Backend> store;
  std::unique_ptr<ChangeLog> log = Take(ChangeLog::Open(*store));

  std::int64_t Append(std::int64_t first_docid, int count) {
    std::vector<Change> changes;
    for (int index = 0; index < count; ++index) changes.push_back(ChangeOf(first_docid + index));
    const auto txn = Take(store->BeginWrite());
    const std::int64_t last = Take(log->Append(*txn, changes));
    Ok(txn->Commit());
    return last;
  }
  std::int64_t Head() { return Take(log->Head(*Take(store->BeginRead()))); }
  std::int64_t Tail() { return Take(log->Tail(*Take(store->BeginRead()))); }
  void SetCursor(const std::string& name, std::int64_t sequence) {
    const auto txn = Take(store->BeginWrite());
    Ok(log->SetCursor(*txn, name, sequence));
    Ok(txn->Commit());
  }
  std::int64_t Trim(std::int64_t count_max) {
    const auto txn = Take(store->BeginWrite());
    const std::int64_t trimmed = Take(log->Trim(*txn, count_max));
    Ok(txn->Commit());
    return trimmed;
  }
  Result<std::vector<Change>> ReadAfter(std::int64_t after) {
    std::vector<Change> changes;
    const auto txn = Take(store->BeginRead());
    FORESHORE_RETURN_IF_ERROR(log->ReadAfter(*txn, after, [&](const Change& change) {
      changes.push_back(change);
      return true;
    }));
    return changes;
  }
};

TEST_CASE_TEMPLATE("log: entries come back whole, in order, and say where a transaction ends", Backend,
                   FORESHORE_STORE_BACKENDS) {
  LogFixture<Backend> fixture;
  CHECK(fixture.Head() == 0);
  CHECK(fixture.Tail() == 1);
  CHECK(Take(fixture.ReadAfter(0)).empty());
  CHECK(fixture.Append(-10, 3) == 3);
  CHECK(fixture.Append(0, 0) == 3);
  CHECK(fixture.Append(50, 1) == 4);
  const std::vector<Change> changes = Take(fixture.ReadAfter(0));
  REQUIRE(changes.size() == 4);
  for (std::size_t index = 0; index < 4; ++index) {
    CHECK(changes[index].sequence == static_cast<std::int64_t>(index) + 1);
    CHECK(changes[index].ends_transaction == (index >= 2));
    CHECK(changes[index].kind == ChangeKind::kVector);
    CHECK(changes[index].origin == ChangeOrigin::kSync);
    CHECK(changes[index].collection_id == 0xfffffffe);
    CHECK(changes[index].index_id == 3);
  }
  CHECK(changes[0].docid == -10);
  CHECK(changes[3].docid == 50);
  CHECK(Take(fixture.ReadAfter(3)).size() == 1);
  CHECK(Take(fixture.ReadAfter(4)).empty());
}

TEST_CASE("log: a transaction that rolls back gives its numbers back") {
  LogFixture<SqliteBackend> fixture;
  fixture.Append(1, 2);
  {
    const auto txn = Take(fixture.store->BeginWrite());
    const Change change = ChangeOf(9);
    CHECK(Take(fixture.log->Append(*txn, std::span(&change, 1))) == 3);
    CHECK(Take(fixture.log->Head(*txn)) == 3);
  }
  CHECK(fixture.Head() == 2);
  CHECK(fixture.Append(1, 1) == 3);
}

TEST_CASE_TEMPLATE("log: trimming stops at the slowest cursor and sequences go on after it", Backend,
                   FORESHORE_STORE_BACKENDS) {
  LogFixture<Backend> fixture;
  fixture.Append(1, 10);
  fixture.SetCursor("index.3", 8);
  fixture.SetCursor("sync.push", 4);
  CHECK(fixture.Trim(3) == 3);
  CHECK(fixture.Tail() == 4);
  CHECK(fixture.Trim(100) == 1);
  CHECK(fixture.Trim(100) == 0);
  CHECK(fixture.ReadAfter(3).status().code() == ErrorCode::kConflict);
  CHECK(Take(fixture.ReadAfter(4)).size() == 6);
  {
    const auto txn = Take(fixture.store->BeginWrite());
    CHECK(Take(fixture.log->GetCursor(*txn, "sync.push")) == std::optional<std::int64_t>(4));
    Ok(fixture.log->DropCursor(*txn, "sync.push"));
    CHECK(Take(fixture.log->GetCursor(*txn, "sync.push")) == std::nullopt);
    Ok(txn->Commit());
  }
  CHECK(fixture.Trim(1LL << 62) == 4);
  fixture.SetCursor("index.3", 10);
  CHECK(fixture.Trim(1LL << 62) == 2);
  // Empty now: what comes next must not begin at 1 again.
  fixture.store.Reopen();
  fixture.log = Take(ChangeLog::Open(*fixture.store));
  CHECK(fixture.Head() == 10);
  CHECK(fixture.Tail() == 11);
  CHECK(Take(fixture.ReadAfter(10)).empty());
  CHECK(fixture.Append(1, 1) == 11);
}

TEST_CASE("log: a reader ahead of the head is told to rebuild") {
  LogFixture<SqliteBackend> fixture;
  fixture.Append(1, 2);
  CHECK(fixture.ReadAfter(3).status().code() == ErrorCode::kConflict);
  CHECK(fixture.ReadAfter(-1).status().code() == ErrorCode::kConflict);
}

TEST_CASE("log: a damaged, short or missing entry is kCorruption") {
  const auto read_with = [](Bytes entry, std::int64_t sequence) {
    LogFixture<SqliteBackend> fixture;
    fixture.Append(1, 3);
    const auto keyspace = Take(fixture.store->OpenKeyspace("log", KeyspaceKind::kInteger));
    const auto txn = Take(fixture.store->BeginWrite());
    Ok(entry.empty() ? txn->Delete(keyspace, sequence) : txn->Put(keyspace, sequence, entry));
    Ok(txn->Commit());
    return fixture.ReadAfter(0).status().code();
  };
  const std::string good = std::string("\1\1\1\0", 4) + std::string(16, '\0');
  const auto with = [&](std::size_t offset, char byte) {
    std::string entry = good;
    entry[offset] = byte;
    return entry;
  };
  CHECK(read_with(good, 2) == ErrorCode::kOk);
  CHECK(read_with("", 2) == ErrorCode::kCorruption);
  CHECK(read_with(good.substr(1), 2) == ErrorCode::kCorruption);
  CHECK(read_with(good + "x", 2) == ErrorCode::kCorruption);
  CHECK(read_with(with(0, 0), 2) == ErrorCode::kCorruption);
  CHECK(read_with(with(0, 5), 2) == ErrorCode::kCorruption);
  CHECK(read_with(with(1, 3), 2) == ErrorCode::kCorruption);
  CHECK(read_with(with(2, 2), 2) == ErrorCode::kCorruption);
  CHECK(read_with(with(3, 1), 2) == ErrorCode::kCorruption);
}

TEST_CASE("log: a cursor's name may not be empty or begin with a zero byte") {
  LogFixture<SqliteBackend> fixture;
  const auto txn = Take(fixture.store->BeginWrite());
  CHECK(fixture.log->SetCursor(*txn, "", 1).code() == ErrorCode::kInvalidArgument);
  CHECK(fixture.log->SetCursor(*txn, std::string("\0tail", 5), 1).code() == ErrorCode::kInvalidArgument);
  CHECK(fixture.log->SetCursor(*txn, std::string(256, 'n'), 1).code() == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace foreshore
