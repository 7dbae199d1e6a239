// The Store contract, the same on every backend.
#include <doctest/doctest.h>

#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/storage/store_backends.h"

namespace foreshore {
namespace {

using I = std::int64_t;
constexpr I kLowest = std::numeric_limits<I>::min();
constexpr I kHighest = std::numeric_limits<I>::max();

#define STORE_TEST(name) TEST_CASE_TEMPLATE(name, Backend, FORESHORE_STORE_BACKENDS, FaultBackend)

// All keys, by one walk in the given direction.
std::vector<I> IntegerKeys(ReadTxn& txn, KeyspaceId keyspace, bool forward) {
  std::vector<I> keys;
  const auto cursor = Take(txn.NewCursor(keyspace));
  Ok(forward ? cursor->SeekFirst() : cursor->SeekLast());
  while (cursor->valid()) {
    keys.push_back(cursor->integer_key());
    Ok(forward ? cursor->Next() : cursor->Previous());
  }
  return keys;
}

std::vector<std::string> BytesKeys(ReadTxn& txn, KeyspaceId keyspace, bool forward) {
  std::vector<std::string> keys;
  const auto cursor = Take(txn.NewCursor(keyspace));
  Ok(forward ? cursor->SeekFirst() : cursor->SeekLast());
  while (cursor->valid()) {
    keys.emplace_back(cursor->bytes_key());
    Ok(forward ? cursor->Next() : cursor->Previous());
  }
  return keys;
}

STORE_TEST("store: what was committed is read back after reopening") {
  for (const Durability durability : {Durability::kFull, Durability::kNormal}) {
    TestStore<Backend> store(durability);
    {
      const auto bodies = Take(store->OpenKeyspace("notes.body", KeyspaceKind::kInteger));
      const auto entries = Take(store->OpenKeyspace("notes.ids", KeyspaceKind::kBytes));
      const auto txn = Take(store->BeginWrite());
      Ok(txn->Put(bodies, I{7}, "seven"));
      Ok(txn->Put(entries, Bytes("id-7"), "7"));
      Ok(txn->Commit());
    }
    store.Reopen();
    CHECK(Take(store->ListKeyspaces()).size() == 2);
    const auto bodies = Take(store->OpenKeyspace("notes.body", KeyspaceKind::kInteger));
    const auto entries = Take(store->OpenKeyspace("notes.ids", KeyspaceKind::kBytes));
    CHECK(ValueIn(*store, bodies, I{7}) == "seven");
    CHECK(ValueIn(*store, entries, Bytes("id-7")) == "7");
    CHECK(ValueIn(*store, bodies, I{8}) == "(none)");
    CHECK(ValueIn(*store, entries, Bytes("id-")) == "(none)");
    Ok(store->Verify());
  }
}

STORE_TEST("store: opening what is not there is kNotFound and makes nothing") {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/" + Backend::kFile;
  CHECK(Backend::Open(path, StoreOptions()).status().code() == ErrorCode::kNotFound);
  CHECK(std::filesystem::is_empty(directory.path()));
}

STORE_TEST("txn: a writer reads its own writes and nobody else does before Commit") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  PutOne(*store, keyspace, I{1}, "old");
  {
    const auto writer = Take(store->BeginWrite());
    Ok(writer->Put(keyspace, I{1}, "new"));
    Ok(writer->Put(keyspace, I{2}, "two"));
    CHECK(ValueOf(*writer, keyspace, I{1}) == "new");
    CHECK(IntegerKeys(*writer, keyspace, true) == std::vector<I>{1, 2});
    Ok(writer->Delete(keyspace, I{1}));
    CHECK(ValueOf(*writer, keyspace, I{1}) == "(none)");
    CHECK(IntegerKeys(*writer, keyspace, true) == std::vector<I>{2});
    CHECK(ValueIn(*store, keyspace, I{1}) == "old");
    Ok(writer->Put(keyspace, I{1}, "again"));
    Ok(writer->Commit());
  }
  CHECK(ValueIn(*store, keyspace, I{1}) == "again");
}

STORE_TEST("txn: a reader keeps the state it began with, however many commits follow") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  PutOne(*store, keyspace, I{1}, "first");
  const auto reader = Take(store->BeginRead());  // Reads nothing yet: the state is pinned all the same.
  for (int round = 0; round < 50; ++round) PutOne(*store, keyspace, I{round % 3}, "later");
  CHECK(ValueOf(*reader, keyspace, I{1}) == "first");
  CHECK(IntegerKeys(*reader, keyspace, true) == std::vector<I>{1});
  CHECK(ValueIn(*store, keyspace, I{1}) == "later");
}

STORE_TEST("txn: rollback leaves nothing behind") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kBytes));
  PutOne(*store, keyspace, Bytes("kept"), "1");
  {
    const auto writer = Take(store->BeginWrite());
    Ok(writer->Put(keyspace, Bytes("dropped"), "2"));
    Ok(writer->Delete(keyspace, Bytes("kept")));
  }
  const auto reader = Take(store->BeginRead());
  CHECK(BytesKeys(*reader, keyspace, true) == std::vector<std::string>{"kept"});
}

STORE_TEST("savepoint: rolling back undoes what was written since, in every keyspace, and keeps what was before") {
  TestStore<Backend> store;
  const auto integers = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  const auto entries = Take(store->OpenKeyspace("b", KeyspaceKind::kBytes));
  PutOne(*store, integers, I{1}, "committed");
  PutOne(*store, entries, Bytes("committed"), "1");
  const auto writer = Take(store->BeginWrite());
  Ok(writer->Put(integers, I{2}, "before"));
  Ok(writer->MakeSavepoint());
  Ok(writer->Put(integers, I{1}, "since"));
  Ok(writer->Put(integers, I{2}, "since"));
  Ok(writer->Put(integers, I{3}, "since"));
  Ok(writer->Delete(entries, Bytes("committed")));
  Ok(writer->Put(entries, Bytes("since"), "1"));
  for (int round = 0; round < 2; ++round) {  // The savepoint stays, for a second rollback.
    Ok(writer->RollbackToSavepoint());
    CHECK(ValueOf(*writer, integers, I{1}) == "committed");
    CHECK(ValueOf(*writer, integers, I{2}) == "before");
    CHECK(IntegerKeys(*writer, integers, true) == std::vector<I>{1, 2});
    CHECK(BytesKeys(*writer, entries, false) == std::vector<std::string>{"committed"});
    Ok(writer->Put(integers, I{4}, "again"));
  }
  Ok(writer->ReleaseSavepoint());
  Ok(writer->Commit());
  CHECK(IntegerKeys(*Take(store->BeginRead()), integers, true) == std::vector<I>{1, 2, 4});
}

STORE_TEST("savepoint: they nest, and releasing one leaves its writes to the one around it") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  const auto writer = Take(store->BeginWrite());
  Ok(writer->MakeSavepoint());
  Ok(writer->Put(keyspace, I{1}, "outer"));
  Ok(writer->MakeSavepoint());
  Ok(writer->Put(keyspace, I{2}, "inner"));
  Ok(writer->ReleaseSavepoint());
  Ok(writer->MakeSavepoint());
  Ok(writer->Put(keyspace, I{3}, "inner"));
  Ok(writer->RollbackToSavepoint());
  CHECK(IntegerKeys(*writer, keyspace, true) == std::vector<I>{1, 2});
  Ok(writer->ReleaseSavepoint());
  Ok(writer->RollbackToSavepoint());
  CHECK(IntegerKeys(*writer, keyspace, true).empty());
  Ok(writer->ReleaseSavepoint());
  CHECK(writer->RollbackToSavepoint().code() == ErrorCode::kInvalidArgument);
  CHECK(writer->ReleaseSavepoint().code() == ErrorCode::kInvalidArgument);
  Ok(writer->Put(keyspace, I{5}, "kept"));  // The refused calls changed nothing.
  Ok(writer->MakeSavepoint());
  Ok(writer->Put(keyspace, I{6}, "kept too"));
  Ok(writer->Commit());  // With a savepoint open.
  CHECK_FALSE(writer->MakeSavepoint().ok());
  CHECK(IntegerKeys(*Take(store->BeginRead()), keyspace, true) == std::vector<I>{5, 6});
}

STORE_TEST("savepoint: an open cursor finds its place again after a rollback") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  for (I key = 0; key < 10; ++key) PutOne(*store, keyspace, key, "old");
  const auto writer = Take(store->BeginWrite());
  Ok(writer->Put(keyspace, I{100}, "before"));
  Ok(writer->MakeSavepoint());
  for (I key = 0; key < 200; ++key) Ok(writer->Put(keyspace, key, "new"));
  const auto cursor = Take(writer->NewCursor(keyspace));
  Ok(cursor->Seek(I{5}));
  CHECK(cursor->value() == "new");
  Ok(writer->RollbackToSavepoint());
  Ok(cursor->Seek(I{5}));
  CHECK(cursor->value() == "old");
  Ok(cursor->SeekLast());
  REQUIRE(cursor->valid());
  CHECK(cursor->integer_key() == 100);
  Ok(cursor->Previous());
  CHECK(cursor->integer_key() == 9);
}

STORE_TEST("txn: a second writer waits, and is refused with kBusy after its timeout") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  {
    const auto writer = Take(store->BeginWrite());
    CHECK(store->BeginWrite(std::chrono::milliseconds(1)).status().code() == ErrorCode::kBusy);
    Ok(writer->Put(keyspace, I{1}, "one"));
  }
  auto first = Take(store->BeginWrite());
  std::thread second([&] { PutOne(*store, keyspace, I{2}, "second"); });
  Ok(first->Put(keyspace, I{2}, "first"));
  Ok(first->Commit());
  second.join();
  CHECK(ValueIn(*store, keyspace, I{2}) == "second");
}

STORE_TEST("txn: after Commit the next writer may begin while the old object still lives") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  const auto first = Take(store->BeginWrite());
  Ok(first->Put(keyspace, I{1}, "1"));
  Ok(first->Commit());
  const auto second = Take(store->BeginWrite(std::chrono::milliseconds(1)));
  Ok(second->Put(keyspace, I{2}, "2"));
  CHECK_FALSE(first->Put(keyspace, I{3}, "3").ok());
  CHECK_FALSE(first->Get(keyspace, I{1}).ok());
  CHECK_FALSE(first->Commit().ok());
  Ok(second->Commit());
  const auto reader = Take(store->BeginRead());
  CHECK(IntegerKeys(*reader, keyspace, true) == std::vector<I>{1, 2});
}

STORE_TEST("cursor: integer keys come in numeric order, both ways, with the extremes") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  const std::vector<I> keys = {kLowest, -1000000, -1, 0, 1, 255, 256, kHighest};
  const auto writer = Take(store->BeginWrite());
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) Ok(writer->Put(keyspace, *key, std::to_string(*key)));
  const std::vector<I> reversed(keys.rbegin(), keys.rend());
  CHECK(IntegerKeys(*writer, keyspace, true) == keys);
  CHECK(IntegerKeys(*writer, keyspace, false) == reversed);
  Ok(writer->Commit());
  const auto reader = Take(store->BeginRead());
  CHECK(IntegerKeys(*reader, keyspace, true) == keys);
  CHECK(IntegerKeys(*reader, keyspace, false) == reversed);

  const auto cursor = Take(reader->NewCursor(keyspace));
  Ok(cursor->Seek(I{2}));
  CHECK(cursor->integer_key() == 255);
  CHECK(cursor->value() == "255");
  Ok(cursor->SeekBackward(I{2}));
  CHECK(cursor->integer_key() == 1);
  Ok(cursor->SeekBackward(I{-1}));
  CHECK(cursor->integer_key() == -1);
  Ok(cursor->Seek(kHighest));
  CHECK(cursor->integer_key() == kHighest);
  Ok(cursor->Next());
  CHECK_FALSE(cursor->valid());
  Ok(cursor->SeekBackward(kLowest));
  CHECK(cursor->integer_key() == kLowest);
  Ok(cursor->Previous());
  CHECK_FALSE(cursor->valid());
}

// Readers of the SQLite backend take entries many at a time.
STORE_TEST("cursor: long scans with large values, turned round anywhere, meet every entry") {
  TestStore<Backend> store;
  const KeyspaceId keyspace = Take(store->OpenKeyspace("many", KeyspaceKind::kInteger));
  constexpr I kCount = 700;
  const auto value_of = [](I key) {
    return ByteString(key % 50 == 7 ? 40'000 : static_cast<std::size_t>(key % 9), 'v');
  };
  {
    const auto writer = Take(store->BeginWrite());
    for (I key = 0; key < kCount; ++key) Ok(writer->Put(keyspace, key, value_of(key)));
    Ok(writer->Commit());
  }
  const auto reader = Take(store->BeginRead());
  const auto cursor = Take(reader->NewCursor(keyspace));
  const auto other = Take(reader->NewCursor(keyspace));  // Stands in another place meanwhile.
  Ok(other->Seek(I{3}));
  std::mt19937 random(11);
  I at = 0;
  Ok(cursor->SeekFirst());
  for (int run = 0; run < 40; ++run) {
    const bool forward = run % 2 == 0;
    for (auto steps = random() % 300; steps > 0; --steps) {
      REQUIRE(cursor->valid());
      REQUIRE(cursor->integer_key() == at);
      REQUIRE(cursor->value() == value_of(at));
      const I next = at + (forward ? 1 : -1);
      if (next < 0 || next >= kCount) break;
      at = next;
      Ok(forward ? cursor->Next() : cursor->Previous());
    }
    REQUIRE(other->integer_key() == 3 + run);
    Ok(other->Next());
  }
  Ok(cursor->Seek(kCount - 1));
  Ok(cursor->Next());
  CHECK_FALSE(cursor->valid());
}

STORE_TEST("cursor: byte keys come in order of unsigned bytes, zero bytes and the empty key included") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kBytes));
  const std::vector<std::string> keys = {"",
                                         std::string(1, '\0'),
                                         std::string("\0a", 2),
                                         "A",
                                         std::string("a\0", 2),
                                         "a\1",
                                         "aa",
                                         "b",
                                         "\x7f",
                                         "\x80",
                                         "\xff",
                                         "\xff\xff"};
  {
    const auto writer = Take(store->BeginWrite());
    for (auto key = keys.rbegin(); key != keys.rend(); ++key) Ok(writer->Put(keyspace, Bytes(*key), *key + "!"));
    Ok(writer->Commit());
  }
  const auto reader = Take(store->BeginRead());
  CHECK(BytesKeys(*reader, keyspace, true) == keys);
  CHECK(BytesKeys(*reader, keyspace, false) == std::vector<std::string>(keys.rbegin(), keys.rend()));
  for (const std::string& key : keys) CHECK(ValueOf(*reader, keyspace, Bytes(key)) == key + "!");
  const auto cursor = Take(reader->NewCursor(keyspace));
  Ok(cursor->Seek(Bytes("a")));
  CHECK(cursor->bytes_key() == Bytes("a\0", 2));
  Ok(cursor->SeekBackward(Bytes("a")));
  CHECK(cursor->bytes_key() == "A");
  Ok(cursor->Seek(Bytes("\xff\xff\xff")));
  CHECK_FALSE(cursor->valid());
}

STORE_TEST("cursor: it turns round in the middle") {
  TestStore<Backend> store;
  const auto integers = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  const auto bytes = Take(store->OpenKeyspace("b", KeyspaceKind::kBytes));
  const auto writer = Take(store->BeginWrite());
  for (I key = 0; key < 10; ++key) {
    Ok(writer->Put(integers, key, "x"));
    Ok(writer->Put(bytes, Bytes(std::to_string(key)), "x"));
  }
  const auto cursor = Take(writer->NewCursor(integers));
  Ok(cursor->Seek(I{4}));
  Ok(cursor->Next());
  Ok(cursor->Previous());
  Ok(cursor->Previous());
  CHECK(cursor->integer_key() == 3);
  Ok(cursor->Next());
  CHECK(cursor->integer_key() == 4);
  const auto other = Take(writer->NewCursor(bytes));
  Ok(other->SeekBackward(Bytes("45")));
  CHECK(other->bytes_key() == "4");
  Ok(other->Next());
  CHECK(other->bytes_key() == "5");
  Ok(other->Seek(other->bytes_key()));  // A cursor's own key as the target.
  CHECK(other->bytes_key() == "5");
  Ok(other->Previous());
  CHECK(other->bytes_key() == "4");
}

STORE_TEST("cursor: an empty keyspace has no first and no last") {
  TestStore<Backend> store;
  for (const KeyspaceKind kind : {KeyspaceKind::kInteger, KeyspaceKind::kBytes}) {
    const auto keyspace = Take(store->OpenKeyspace(kind == KeyspaceKind::kInteger ? "a" : "b", kind));
    const auto reader = Take(store->BeginRead());
    const auto cursor = Take(reader->NewCursor(keyspace));
    CHECK_FALSE(cursor->valid());
    Ok(cursor->SeekFirst());
    CHECK_FALSE(cursor->valid());
    Ok(cursor->SeekLast());
    CHECK_FALSE(cursor->valid());
  }
}

STORE_TEST("cursor: several over one keyspace do not disturb each other") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  const auto writer = Take(store->BeginWrite());
  for (I key = 0; key < 6; ++key) Ok(writer->Put(keyspace, key, std::to_string(key)));
  const auto first = Take(writer->NewCursor(keyspace));
  const auto second = Take(writer->NewCursor(keyspace));
  Ok(first->SeekFirst());
  Ok(second->SeekFirst());
  for (I key = 0; key < 3; ++key) Ok(first->Next());
  CHECK(first->value() == "3");
  CHECK(second->value() == "0");
  CHECK(ValueOf(*writer, keyspace, I{5}) == "5");
  CHECK(first->value() == "3");
}

STORE_TEST("cursor: it sees uncommitted puts, replacements and deletes between committed entries") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kBytes));
  {
    const auto writer = Take(store->BeginWrite());
    for (const char* key : {"b", "d", "f"}) Ok(writer->Put(keyspace, Bytes(key), "old"));
    Ok(writer->Commit());
  }
  const auto writer = Take(store->BeginWrite());
  Ok(writer->Put(keyspace, Bytes("a"), "new"));
  Ok(writer->Put(keyspace, Bytes("d"), "new"));
  Ok(writer->Delete(keyspace, Bytes("f")));
  Ok(writer->Put(keyspace, Bytes("g"), "new"));
  CHECK(BytesKeys(*writer, keyspace, true) == std::vector<std::string>{"a", "b", "d", "g"});
  CHECK(BytesKeys(*writer, keyspace, false) == std::vector<std::string>{"g", "d", "b", "a"});
  const auto cursor = Take(writer->NewCursor(keyspace));
  Ok(cursor->SeekBackward(Bytes("f")));
  CHECK(cursor->bytes_key() == "d");
  CHECK(cursor->value() == "new");
}

STORE_TEST("cursor: values of 1 MiB stay whole, and the value lives until the next move") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  const std::string large(1 << 20, 'L');
  {
    const auto writer = Take(store->BeginWrite());
    for (I key = 0; key < 4; ++key) Ok(writer->Put(keyspace, key, large + std::to_string(key)));
    Ok(writer->Commit());
  }
  const auto reader = Take(store->BeginRead());
  const auto cursor = Take(reader->NewCursor(keyspace));
  Ok(cursor->SeekFirst());
  for (I key = 0; key < 4; ++key) {
    CHECK(cursor->value() == large + std::to_string(key));
    Ok(cursor->Next());
  }
  CHECK(ValueOf(*reader, keyspace, I{2}) == large + "2");
}

STORE_TEST("put: empty values are values") {
  TestStore<Backend> store;
  const auto integers = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  const auto bytes = Take(store->OpenKeyspace("b", KeyspaceKind::kBytes));
  PutOne(*store, integers, I{1}, Bytes());
  PutOne(*store, bytes, Bytes("k"), "");
  CHECK(ValueIn(*store, integers, I{1}) == "");
  CHECK(ValueIn(*store, bytes, Bytes("k")) == "");
}

STORE_TEST("put: an entry above its limit is refused with kLimit and the transaction goes on") {
  TestStore<Backend> store;
  const auto integers = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  const auto bytes = Take(store->OpenKeyspace("b", KeyspaceKind::kBytes));
  const auto writer = Take(store->BeginWrite());
  const std::string key(kEntryBytesMax - 10, 'k');
  CHECK(writer->Put(bytes, Bytes(key), std::string(11, 'v')).code() == ErrorCode::kLimit);
  CHECK(writer->Put(bytes, Bytes(std::string(kEntryBytesMax + 1, 'k')), "").code() == ErrorCode::kLimit);
  CHECK(writer->Put(integers, I{1}, std::string(kValueBytesMax + 1, 'v')).code() == ErrorCode::kLimit);
  Ok(writer->Put(bytes, Bytes(key), std::string(10, 'v')));
  Ok(writer->Commit());
  CHECK(ValueIn(*store, bytes, Bytes(key)) == std::string(10, 'v'));
  CHECK(ValueIn(*store, integers, I{1}) == "(none)");
}

STORE_TEST("keyspace: the other kind of key is kInvalidArgument everywhere, and changes nothing") {
  TestStore<Backend> store;
  const auto integers = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  const auto bytes = Take(store->OpenKeyspace("b", KeyspaceKind::kBytes));
  CHECK(store->OpenKeyspace("a", KeyspaceKind::kBytes).status().code() == ErrorCode::kInvalidArgument);
  CHECK(store->OpenKeyspace("b", KeyspaceKind::kInteger).status().code() == ErrorCode::kInvalidArgument);
  const auto writer = Take(store->BeginWrite());
  Ok(writer->Put(integers, I{1}, "1"));
  CHECK(writer->Get(integers, Bytes("1")).status().code() == ErrorCode::kInvalidArgument);
  CHECK(writer->Get(bytes, I{1}).status().code() == ErrorCode::kInvalidArgument);
  CHECK(writer->Put(integers, Bytes("1"), "x").code() == ErrorCode::kInvalidArgument);
  CHECK(writer->Delete(bytes, I{1}).code() == ErrorCode::kInvalidArgument);
  CHECK(writer->Get(99, I{1}).status().code() == ErrorCode::kInvalidArgument);
  CHECK(writer->NewCursor(99).status().code() == ErrorCode::kInvalidArgument);
  {
    const auto cursor = Take(writer->NewCursor(integers));
    CHECK(cursor->Seek(Bytes("1")).code() == ErrorCode::kInvalidArgument);
    CHECK_FALSE(cursor->valid());
  }
  Ok(writer->Commit());
  CHECK(ValueIn(*store, integers, I{1}) == "1");
}

STORE_TEST("keyspace: names are checked, kept apart by case and hold no SQL") {
  TestStore<Backend> store;
  for (const char* bad : {"", "a b", "a\"b", "a'; DROP TABLE x; --", "ä", "a/b", "a:b"}) {
    CAPTURE(bad);
    CHECK(store->OpenKeyspace(bad, KeyspaceKind::kInteger).status().code() == ErrorCode::kInvalidArgument);
    CHECK(store->DropKeyspace(bad).code() == ErrorCode::kInvalidArgument);
  }
  CHECK(store->OpenKeyspace(std::string(65, 'a'), KeyspaceKind::kInteger).status().code() ==
        ErrorCode::kInvalidArgument);
  const auto lower = Take(store->OpenKeyspace("select", KeyspaceKind::kInteger));
  const auto upper = Take(store->OpenKeyspace("SELECT", KeyspaceKind::kInteger));
  CHECK(lower != upper);
  PutOne(*store, lower, I{1}, "lower");
  CHECK(ValueIn(*store, upper, I{1}) == "(none)");
  CHECK(Take(store->OpenKeyspace("select", KeyspaceKind::kInteger)) == lower);
}

STORE_TEST("keyspace: a dropped one is gone at once, and a new one of its name is empty") {
  TestStore<Backend> store;
  const auto old_id = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  PutOne(*store, old_id, I{1}, "1");
  CHECK(store->DropKeyspace("other").code() == ErrorCode::kNotFound);
  Ok(store->DropKeyspace("a"));
  CHECK(store->DropKeyspace("a").code() == ErrorCode::kNotFound);
  CHECK(Take(store->ListKeyspaces()).empty());
  CHECK(Take(store->BeginRead())->Get(old_id, I{1}).status().code() == ErrorCode::kNotFound);
  {
    const auto writer = Take(store->BeginWrite());
    CHECK(writer->Put(old_id, I{1}, "1").code() == ErrorCode::kNotFound);
  }
  const auto new_id = Take(store->OpenKeyspace("a", KeyspaceKind::kBytes));
  CHECK(new_id != old_id);
  CHECK(ValueIn(*store, new_id, Bytes("1")) == "(none)");
  store.Reopen();
  const auto infos = Take(store->ListKeyspaces());
  REQUIRE(infos.size() == 1);
  CHECK(infos[0].name == "a");
  CHECK(infos[0].kind == KeyspaceKind::kBytes);
  Ok(store->Verify());
}

STORE_TEST("keyspace: dropping it under an open reader harms neither") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  PutOne(*store, keyspace, I{1}, "1");
  const auto reader = Take(store->BeginRead());
  CHECK(ValueOf(*reader, keyspace, I{1}) == "1");
  Ok(store->DropKeyspace("a"));
  // It may still see it, or be told that it is gone.
  const auto value = reader->Get(keyspace, I{1});
  CHECK((value.ok() || value.status().code() == ErrorCode::kNotFound));
}

STORE_TEST("keyspace: one made after a reader began is empty for that reader, whatever is in it") {
  TestStore<Backend> store;
  const auto first = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  PutOne(*store, first, I{1}, "1");
  const auto reader = Take(store->BeginRead());
  CHECK(ValueOf(*reader, first, I{1}) == "1");
  const auto integers = Take(store->OpenKeyspace("b", KeyspaceKind::kInteger));
  const auto bytes = Take(store->OpenKeyspace("c", KeyspaceKind::kBytes));
  PutOne(*store, integers, I{1}, "1");
  PutOne(*store, bytes, Bytes("k"), "1");
  CHECK(ValueOf(*reader, integers, I{1}) == "(none)");
  CHECK(ValueOf(*reader, bytes, Bytes("k")) == "(none)");
  CHECK(IntegerKeys(*reader, integers, true).empty());
  CHECK(BytesKeys(*reader, bytes, false).empty());
  CHECK(ValueIn(*store, integers, I{1}) == "1");
}

STORE_TEST("keyspace: sixty of them commit together") {
  TestStore<Backend> store;
  std::vector<KeyspaceId> ids;
  for (int index = 0; index < 60; ++index) {
    ids.push_back(Take(store->OpenKeyspace("k" + std::to_string(index), KeyspaceKind::kInteger)));
  }
  {
    const auto writer = Take(store->BeginWrite());
    for (const KeyspaceId id : ids) Ok(writer->Put(id, I{id}, std::to_string(id)));
    Ok(writer->Commit());
  }
  const auto reader = Take(store->BeginRead());
  for (const KeyspaceId id : ids) CHECK(ValueOf(*reader, id, I{id}) == std::to_string(id));
  CHECK(Take(store->ListKeyspaces()).size() == 60);
}

STORE_TEST("store: checkpoint, compact and verify keep the content; the log shrinks") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  for (I key = 0; key < 200; ++key) PutOne(*store, keyspace, key, std::string(5000, 'x'));
  const std::uint64_t log_bytes = store->Stats().write_ahead_bytes;
  CHECK(log_bytes > 100000);
  Ok(store->Checkpoint());
  CHECK(store->Stats().write_ahead_bytes < log_bytes / 10);
  {
    const auto writer = Take(store->BeginWrite());
    for (I key = 0; key < 190; ++key) Ok(writer->Delete(keyspace, key));
    Ok(writer->Commit());
  }
  Ok(store->Checkpoint());
  const std::uint64_t disk_bytes = store->Stats().disk_bytes;
  Ok(store->Compact());
  CHECK(store->Stats().disk_bytes < disk_bytes);
  Ok(store->Verify());
  const auto reader = Take(store->BeginRead());
  CHECK(IntegerKeys(*reader, keyspace, true).size() == 10);
}

STORE_TEST("store: a backup holds the last commit and opens as a store") {
  TestStore<Backend> store;
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  PutOne(*store, keyspace, I{1}, "committed");
  const std::string copy = store.directory() + "/copy";
  {
    const auto writer = Take(store->BeginWrite());  // In use while it is copied.
    Ok(writer->Put(keyspace, I{1}, "not committed"));
    Ok(store->Backup(copy));
  }
  PutOne(*store, keyspace, I{1}, "later");
  CHECK(store->Backup(copy).code() == ErrorCode::kAlreadyExists);
  const auto restored = Take(Backend::Open(copy, StoreOptions()));
  CHECK(ValueIn(*restored, Take(restored->OpenKeyspace("a", KeyspaceKind::kInteger)), I{1}) == "committed");
  Ok(restored->Verify());
}

STORE_TEST("stats: open readers are counted and have an age") {
  TestStore<Backend> store;
  CHECK(store->Stats().open_reader_count == 0);
  {
    const auto first = Take(store->BeginRead());
    const auto second = Take(store->BeginRead());
    CHECK(store->Stats().open_reader_count == 2);
    CHECK(store->Stats().oldest_reader_age_ms >= 0);
  }
  CHECK(store->Stats().open_reader_count == 0);
  CHECK(store->Stats().disk_bytes > 0);
}

STORE_TEST("threads: readers beside a writer see whole commits only") {
  TestStore<Backend> store;
  const auto left = Take(store->OpenKeyspace("left", KeyspaceKind::kInteger));
  const auto right = Take(store->OpenKeyspace("right", KeyspaceKind::kBytes));
  constexpr int kCommits = 200;
  std::atomic<bool> done{false};
  std::atomic<int> torn{0};
  const auto read = [&] {
    std::string last;
    while (!done.load()) {
      auto txn = store->BeginRead();
      if (!txn.ok()) {
        ++torn;
        return;
      }
      const auto a = (*txn)->Get(left, I{1});
      const std::string seen = a.ok() && a->has_value() ? std::string(**a) : "";
      const auto b = (*txn)->Get(right, Bytes("k"));
      const std::string other = b.ok() && b->has_value() ? std::string(**b) : "";
      if (!a.ok() || !b.ok() || seen != other) ++torn;
    }
  };
  std::thread first(read);
  std::thread second(read);
  for (int commit = 0; commit < kCommits; ++commit) {
    const auto writer = Take(store->BeginWrite());
    Ok(writer->Put(left, I{1}, std::to_string(commit)));
    Ok(writer->Put(right, Bytes("k"), std::to_string(commit)));
    Ok(writer->Commit());
  }
  done = true;
  first.join();
  second.join();
  CHECK(torn.load() == 0);
}

}  // namespace
}  // namespace foreshore
