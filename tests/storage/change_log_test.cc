#include "storage/change_log.h"

#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <vector>

#include "storage/base/checksum.h"
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

TEST_CASE("log: every kind of entry comes back, whatever its neighbours and its docid") {
  LogFixture<SqliteBackend> fixture;
  std::mt19937_64 random(20'251'125);
  CAPTURE(20'251'125);
  std::vector<Change> expected;
  for (const std::size_t count : {1, 2, 1024, 1025, 3000}) {
    std::vector<Change> changes;
    std::int64_t docid = std::numeric_limits<std::int64_t>::max();
    for (std::size_t index = 0; index < count; ++index) {
      Change change;
      change.kind = static_cast<ChangeKind>(1 + random() % 4 / (random() % 3 + 1));
      change.origin = static_cast<ChangeOrigin>(1 + random() % 50 / 49);
      change.collection_id = random() % 40 == 0 ? 0xffffffff : 7;
      change.index_id = change.kind == ChangeKind::kVector ? static_cast<std::uint32_t>(random() % 2) : 0;
      docid = static_cast<std::int64_t>(static_cast<std::uint64_t>(docid) + (random() % 20 == 0 ? random() : 1));
      change.docid = docid;
      changes.push_back(change);
    }
    const auto txn = Take(fixture.store->BeginWrite());
    expected.insert(expected.end(), changes.begin(), changes.end());
    CHECK(Take(fixture.log->Append(*txn, changes)) == static_cast<std::int64_t>(expected.size()));
    expected.back().ends_transaction = true;
    Ok(txn->Commit());
  }
  for (const std::int64_t after : {0, 1, 2, 3, 1026, 1027, 1028, 2051, 2052, 5051, 5052}) {
    CAPTURE(after);
    const std::vector<Change> found = Take(fixture.ReadAfter(after));
    REQUIRE(found.size() == expected.size() - static_cast<std::size_t>(after));
    for (std::size_t index = 0; index < found.size(); ++index) {
      const Change& wanted = expected[index + static_cast<std::size_t>(after)];
      REQUIRE(found[index].sequence == static_cast<std::int64_t>(index) + after + 1);
      REQUIRE(found[index].kind == wanted.kind);
      REQUIRE(found[index].origin == wanted.origin);
      REQUIRE(found[index].collection_id == wanted.collection_id);
      REQUIRE(found[index].index_id == wanted.index_id);
      REQUIRE(found[index].docid == wanted.docid);
      REQUIRE(found[index].ends_transaction == wanted.ends_transaction);
    }
  }
}

TEST_CASE_TEMPLATE("log: trimming inside a row keeps the rest of it", Backend, FORESHORE_STORE_BACKENDS) {
  LogFixture<Backend> fixture;
  fixture.Append(100, 2500);
  for (std::int64_t tail = 1; tail < 2500;) {
    const std::int64_t count = Take(fixture.ReadAfter(tail - 1)).size() % 7 * 100 + 1;
    const std::int64_t trimmed = fixture.Trim(count);
    CHECK(trimmed == std::min(count, 2501 - tail));
    tail += trimmed;
    CHECK(fixture.Tail() == tail);
    CHECK(fixture.Head() == 2500);
    const std::vector<Change> left = Take(fixture.ReadAfter(tail - 1));
    REQUIRE(left.size() == static_cast<std::size_t>(2501 - tail));
    if (left.empty()) break;
    CHECK(left.front().docid == 99 + tail);
    CHECK(left.back().docid == 2599);
    CHECK(left.back().ends_transaction);
  }
}

TEST_CASE("log: a large transaction takes few bytes") {
  LogFixture<SqliteBackend> fixture;
  fixture.Append(1, 1000);
  const auto keyspace = Take(fixture.store->OpenKeyspace("log", KeyspaceKind::kInteger));
  const auto txn = Take(fixture.store->BeginRead());
  CHECK(Take(txn->Get(keyspace, 1000)).value().size() < 30);
}

TEST_CASE("log: a damaged, short or missing row is kCorruption") {
  LogFixture<SqliteBackend> fixture;
  fixture.Append(1, 3);
  fixture.Append(4, 2);
  fixture.Append(7, 1);
  const auto keyspace = Take(fixture.store->OpenKeyspace("log", KeyspaceKind::kInteger));
  const ByteString good(*Take(Take(fixture.store->BeginRead())->Get(keyspace, 5)));
  const auto read_with = [&](const std::optional<ByteString>& row) {
    const auto txn = Take(fixture.store->BeginWrite());
    Ok(row ? txn->Put(keyspace, 5, Bytes(*row)) : txn->Delete(keyspace, 5));
    Ok(txn->Commit());
    return fixture.ReadAfter(0).status().code();
  };
  CHECK(read_with(good) == ErrorCode::kOk);
  CHECK(read_with(std::nullopt) == ErrorCode::kCorruption);
  CHECK(read_with(good + "x") == ErrorCode::kCorruption);
  for (std::size_t size = 0; size < good.size(); ++size) {
    CAPTURE(size);
    CHECK(read_with(good.substr(0, size)) == ErrorCode::kCorruption);
  }
  for (std::size_t bit = 8; bit < good.size() * 8; ++bit) {
    CAPTURE(bit);
    ByteString row = good;
    row[bit / 8] = static_cast<char>(row[bit / 8] ^ (1 << bit % 8));
    CHECK(read_with(row) == ErrorCode::kCorruption);
  }
  // With a checksum that holds, what it covers is checked all the same.
  const auto resealed = [&](std::size_t offset, char byte) {
    ByteString row = good;
    row[offset] = byte;
    const std::uint32_t checksum = Crc32c(Bytes(row).substr(6), Crc32c(Bytes(row).substr(0, 2)));
    std::memcpy(row.data() + 2, &checksum, sizeof(checksum));
    return row;
  };
  CHECK(read_with(resealed(0, 3)) == ErrorCode::kUnsupported);
  CHECK(read_with(resealed(0, 1)) == ErrorCode::kCorruption);
  CHECK(read_with(resealed(1, 2)) == ErrorCode::kCorruption);     // Flags.
  CHECK(read_with(resealed(6, 1)) == ErrorCode::kCorruption);     // Fewer entries than the run.
  CHECK(read_with(resealed(6, 3)) == ErrorCode::kCorruption);     // More.
  CHECK(read_with(resealed(7, 1)) == ErrorCode::kCorruption);     // An empty run.
  CHECK(read_with(resealed(8, 0x20)) == ErrorCode::kCorruption);  // Kind 0.
  CHECK(read_with(resealed(8, 0x26)) == ErrorCode::kCorruption);  // Kind 6.
  CHECK(read_with(resealed(8, 0x32)) == ErrorCode::kCorruption);  // Origin 3.
  CHECK(read_with(good) == ErrorCode::kOk);
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
