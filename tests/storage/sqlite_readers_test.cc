// What readers see of writers while their snapshots stay open between two of them. Through the Store alone.
#include <doctest/doctest.h>
#include <sqlite3.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/storage/store_backends.h"

namespace foreshore {
namespace {

struct ReadersFixture {
  TestStore<SqliteBackend> store;
  KeyspaceId keyspace = Take(store->OpenKeyspace("k", KeyspaceKind::kInteger));

  void Put(const std::string& value, std::int64_t key = 1) {
    const auto txn = Take(store->BeginWrite());
    Ok(txn->Put(keyspace, key, Bytes(value)));
    Ok(txn->Commit());
  }
  std::string Get() { return Get(*Take(store->BeginRead())); }
  std::string Get(ReadTxn& txn) { return std::string(Take(txn.Get(keyspace, std::int64_t{1})).value_or("none")); }
};

TEST_CASE("sqlite readers: the next reader sees a commit though the one before it left its snapshot open") {
  ReadersFixture fixture;
  CHECK(fixture.Get() == "none");
  for (int i = 0; i < 5; ++i) {
    fixture.Put(std::to_string(i));
    CHECK(fixture.Get() == std::to_string(i));
    CHECK(fixture.Get() == std::to_string(i));
  }
}

TEST_CASE("sqlite store: verify names a keyspace that is listed and has no table") {
  TestStore<SqliteBackend> store;
  Take(store->OpenKeyspace("notes", KeyspaceKind::kInteger));
  Ok(store->Verify());
  store.Close();
  sqlite3* handle = nullptr;
  REQUIRE(sqlite3_open(store.path().c_str(), &handle) == SQLITE_OK);
  REQUIRE(sqlite3_exec(handle, "DROP TABLE k1_notes", nullptr, nullptr, nullptr) == SQLITE_OK);
  REQUIRE(sqlite3_close(handle) == SQLITE_OK);
  store.Reopen();
  const Status status = store->Verify();
  CHECK(status.code() == ErrorCode::kCorruption);
  CHECK(status.message() == "store \"" + store.path() + "\": keyspace \"notes\" is listed and has no table");
}

TEST_CASE("sqlite readers: a snapshot taken beside a writer is not handed on") {
  ReadersFixture fixture;
  fixture.Put("before");
  auto writer = Take(fixture.store->BeginWrite());
  Ok(writer->Put(fixture.keyspace, 1, Bytes("after")));
  auto beside = Take(fixture.store->BeginRead());
  CHECK(fixture.Get(*beside) == "before");
  CHECK(fixture.Get() == "before");
  Ok(writer->Commit());
  // Acknowledged: seen at once, while the older reader goes on with what it saw.
  CHECK(fixture.Get() == "after");
  CHECK(fixture.Get(*beside) == "before");
  writer.reset();
  beside.reset();
  CHECK(fixture.Get() == "after");
}

TEST_CASE("sqlite readers: a snapshot taken before a writer and given back after it is not handed on") {
  ReadersFixture fixture;
  fixture.Put("before");
  auto early = Take(fixture.store->BeginRead());
  CHECK(fixture.Get(*early) == "before");
  fixture.Put("after");
  early.reset();
  CHECK(fixture.Get() == "after");
}

TEST_CASE("sqlite readers: a keyspace made after an idle snapshot is seen") {
  ReadersFixture fixture;
  CHECK(fixture.Get() == "none");
  const KeyspaceId later = Take(fixture.store->OpenKeyspace("later", KeyspaceKind::kInteger));
  const auto writer = Take(fixture.store->BeginWrite());
  Ok(writer->Put(later, 1, Bytes("x")));
  Ok(writer->Commit());
  CHECK(Take(Take(fixture.store->BeginRead())->Get(later, std::int64_t{1})).has_value());
}

TEST_CASE("sqlite readers: idle snapshots do not keep the log from being used anew") {
  ReadersFixture fixture;
  const std::string value(3000, 'v');
  for (int i = 0; i < 6000; ++i) {
    fixture.Put(value, i);
    if (i % 50 == 0) fixture.Get();
  }
  CHECK(fixture.store->Stats().open_reader_count == 0);
  // A log that could never begin anew would have 36 MB or more.
  CHECK(fixture.store->Stats().write_ahead_bytes < (12U << 20));
  Ok(fixture.store->Checkpoint());
}

// More keyspaces than statements go on at once, in turns, with keys that are absent and values of every size.
TEST_CASE("sqlite readers: look-ups by number in many keyspaces find what is there, in each snapshot") {
  ReadersFixture fixture;
  std::vector<KeyspaceId> keyspaces;
  for (int i = 0; i < 7; ++i) {
    keyspaces.push_back(Take(fixture.store->OpenKeyspace("n" + std::to_string(i), KeyspaceKind::kInteger)));
  }
  const auto value_of = [](std::size_t keyspace, std::int64_t key, int version) {
    const auto number = static_cast<std::size_t>(key) * 7 + keyspace;
    return std::string(number % 3 == 0 ? 0 : number * 97 % 20'000, static_cast<char>('a' + version));
  };
  const auto put_all = [&](int version) {
    const auto txn = Take(fixture.store->BeginWrite());
    for (std::size_t i = 0; i < keyspaces.size(); ++i) {
      for (std::int64_t key = 0; key < 40; key += 2) {
        const std::string value = value_of(i, key, version);
        Ok(txn->Put(keyspaces[i], key - 10, Bytes(value)));
      }
    }
    Ok(txn->Commit());
  };
  const auto check_all = [&](ReadTxn& txn, int version) {
    for (const std::size_t step : {1U, 3U, 5U}) {
      for (std::int64_t key = 0; key < 40; ++key) {
        for (std::size_t i = 0; i < keyspaces.size(); ++i) {
          const std::size_t keyspace = (i * step + static_cast<std::size_t>(key)) % keyspaces.size();
          const auto found = Take(txn.Get(keyspaces[keyspace], key - 10));
          REQUIRE(found.has_value() == (key % 2 == 0));
          if (found) REQUIRE(*found == value_of(keyspace, key, version));
        }
      }
    }
  };
  put_all(0);
  const auto first = Take(fixture.store->BeginRead());
  check_all(*first, 0);
  put_all(1);
  check_all(*first, 0);  // The same statements go on in the same snapshot.
  const auto second = Take(fixture.store->BeginRead());
  check_all(*second, 1);
  // A cursor beside them stays where it is.
  const auto cursor = Take(second->NewCursor(keyspaces[2]));
  Ok(cursor->Seek(std::int64_t{-10}));
  check_all(*second, 1);
  CHECK(cursor->value() == value_of(2, 0, 1));
  Ok(cursor->Next());
  CHECK(cursor->value() == value_of(2, 2, 1));
}

TEST_CASE("sqlite readers: a reader that looked up leaves nothing that keeps the log from being emptied") {
  ReadersFixture fixture;
  fixture.Put("before");
  CHECK(fixture.Get() == "before");
  fixture.Put(std::string(100'000, 'v'));
  CHECK(fixture.Get().size() == 100'000);
  Ok(fixture.store->Checkpoint());
  CHECK(fixture.store->Stats().write_ahead_bytes == 0);
  CHECK(fixture.Get().size() == 100'000);
}

TEST_CASE("sqlite readers: a table that poses as the keys of look-ups is an error") {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/store.db";
  StoreOptions options;
  options.create = true;
  {
    const auto store = Take(OpenSqliteStore(path, options));
    const KeyspaceId keyspace = Take(store->OpenKeyspace("k", KeyspaceKind::kInteger));
    const auto txn = Take(store->BeginWrite());
    Ok(txn->Put(keyspace, 1, Bytes("one")));
    Ok(txn->Put(keyspace, 2, Bytes("two")));
    Ok(txn->Commit());
  }
  sqlite3* handle = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &handle) == SQLITE_OK);
  const char* sql = "CREATE TABLE foreshore_keys (k INTEGER); INSERT INTO foreshore_keys VALUES (2), (7)";
  CHECK(sqlite3_exec(handle, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  REQUIRE(sqlite3_close(handle) == SQLITE_OK);
  const auto store = Take(OpenSqliteStore(path, options));
  const KeyspaceId keyspace = Take(store->OpenKeyspace("k", KeyspaceKind::kInteger));
  for (const std::int64_t key : {1, 3}) {
    const auto txn = Take(store->BeginRead());
    CHECK(txn->Get(keyspace, key).status().code() == ErrorCode::kCorruption);
  }
}

// Goal: no reader misses a commit that was acknowledged before it began, and none goes back in time.
TEST_CASE("sqlite readers: with readers on several threads every acknowledged commit is seen") {
  ReadersFixture fixture;
  fixture.Put("0");
  std::atomic<std::int64_t> acknowledged{0};
  std::atomic<bool> done{false};
  std::atomic<int> failures{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      std::int64_t last = 0;
      while (!done.load()) {
        const std::int64_t expected = acknowledged.load();
        const std::int64_t found = std::stoll(fixture.Get());
        if (found < expected || found < last) ++failures;
        last = found;
      }
    });
  }
  for (std::int64_t i = 1; i <= 1500; ++i) {
    fixture.Put(std::to_string(i));
    acknowledged.store(i);
  }
  done.store(true);
  for (std::thread& reader : readers) reader.join();
  CHECK(failures.load() == 0);
}

}  // namespace
}  // namespace foreshore
