// What readers see of writers while their snapshots stay open between two of them. Through the Store alone.
#include <doctest/doctest.h>

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
