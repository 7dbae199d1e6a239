// A random load on a store beside the same load on std::map; both must agree at every step.
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/storage/store_backends.h"

namespace foreshore {
namespace {

using I = std::int64_t;

std::uint64_t Seed() {
  const char* given = std::getenv("FORESHORE_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

struct Model {
  std::map<I, std::string> integers;
  std::map<std::string, std::string> bytes;
};

template <typename Key>
Key KeyAt(const Cursor& cursor) {
  if constexpr (std::is_same_v<Key, I>) {
    return cursor.integer_key();
  } else {
    return std::string(cursor.bytes_key());
  }
}

auto Argument(I key) {
  return key;
}
auto Argument(const std::string& key) {
  return Bytes(key);
}

class Load {
 public:
  explicit Load(std::uint64_t seed) : random_(seed) {}

  std::size_t Below(std::size_t bound) { return random_() % bound; }
  // Few distinct keys, so that replacing, deleting and hitting happen often.
  void Make(I& key) { key = static_cast<I>(Below(40)) * 7 - 140; }
  void Make(std::string& key) {
    key.resize(Below(4));
    for (char& byte : key) byte = "\0a\x7f\xff"[Below(4)];
  }
  std::string Value() { return std::string(Below(20) == 0 ? 20000 : Below(60), static_cast<char>('a' + Below(26))); }

  template <typename Key>
  void Write(WriteTxn& txn, KeyspaceId keyspace, std::map<Key, std::string>& model) {
    Key key{};
    Make(key);
    if (Below(3) == 0) {
      Ok(txn.Delete(keyspace, Argument(key)));
      model.erase(key);
    } else {
      std::string value = Value().substr(0, std::is_same_v<Key, I> ? std::string::npos : 100);
      Ok(txn.Put(keyspace, Argument(key), Bytes(value)));
      model[key] = std::move(value);
    }
  }

  // Makes, releases or goes back to a savepoint now and then; `savepoints` holds what the model was at each.
  void MoveSavepoints(WriteTxn& txn, Model& model, std::vector<Model>& savepoints) {
    const std::size_t choice = Below(8);
    if (choice < 2) {
      Ok(txn.MakeSavepoint());
      savepoints.push_back(model);
    } else if (choice == 2 && !savepoints.empty()) {
      Ok(txn.RollbackToSavepoint());
      model = savepoints.back();
    } else if (choice == 3 && !savepoints.empty()) {
      Ok(txn.ReleaseSavepoint());
      savepoints.pop_back();
    }
  }

  template <typename Key>
  void Compare(ReadTxn& txn, KeyspaceId keyspace, const std::map<Key, std::string>& model) {
    Key key{};
    Make(key);
    const auto expected = model.find(key);
    CHECK(ValueOf(txn, keyspace, Argument(key)) == (expected == model.end() ? "(none)" : expected->second));
    Walk(*Take(txn.NewCursor(keyspace)), model);
  }

  // A random walk; `at` is where the model's cursor stands.
  template <typename Key>
  void Walk(Cursor& cursor, const std::map<Key, std::string>& model) {
    auto at = model.end();
    for (int step = 0; step < 12; ++step) {
      Key key{};
      Make(key);
      switch (at == model.end() ? Below(4) : Below(6)) {
        case 0:
          Ok(cursor.SeekFirst());
          at = model.begin();
          break;
        case 1:
          Ok(cursor.SeekLast());
          at = model.empty() ? model.end() : std::prev(model.end());
          break;
        case 2:
          Ok(cursor.Seek(Argument(key)));
          at = model.lower_bound(key);
          break;
        case 3:
          Ok(cursor.SeekBackward(Argument(key)));
          at = model.upper_bound(key);
          at = at == model.begin() ? model.end() : std::prev(at);
          break;
        case 4:
          Ok(cursor.Next());
          ++at;
          break;
        default: Ok(cursor.Previous()); at = at == model.begin() ? model.end() : std::prev(at);
      }
      REQUIRE(cursor.valid() == (at != model.end()));
      if (!cursor.valid()) continue;
      REQUIRE(KeyAt<Key>(cursor) == at->first);
      REQUIRE(cursor.value() == at->second);
    }
  }

 private:
  std::mt19937_64 random_;
};

TEST_CASE_TEMPLATE("store: a random load agrees with std::map", Backend, FORESHORE_STORE_BACKENDS) {
  const std::uint64_t seed = Seed();
  INFO("FORESHORE_TEST_SEED=" << seed);
  Load load(seed);
  TestStore<Backend> store;
  Model committed;
  for (int round = 0; round < 120; ++round) {
    if (round % 40 == 39) store.Reopen();
    const auto integers = Take(store->OpenKeyspace("integers", KeyspaceKind::kInteger));
    const auto bytes = Take(store->OpenKeyspace("bytes", KeyspaceKind::kBytes));
    const auto reader = Take(store->BeginRead());
    Model changed = committed;
    std::vector<Model> savepoints;
    {
      const auto writer = Take(store->BeginWrite());
      for (std::size_t writes = load.Below(12); writes > 0; --writes) {
        load.Write(*writer, integers, changed.integers);
        load.Write(*writer, bytes, changed.bytes);
        load.Compare(*writer, integers, changed.integers);
        load.Compare(*writer, bytes, changed.bytes);
        load.MoveSavepoints(*writer, changed, savepoints);
      }
      load.Compare(*reader, integers, committed.integers);
      if (load.Below(4) != 0) {
        Ok(writer->Commit());
      } else {
        changed = committed;
      }
    }
    load.Compare(*reader, integers, committed.integers);
    load.Compare(*reader, bytes, committed.bytes);
    committed = changed;
    const auto after = Take(store->BeginRead());
    load.Compare(*after, integers, committed.integers);
    load.Compare(*after, bytes, committed.bytes);
  }
  Ok(store->Verify());
}

}  // namespace
}  // namespace foreshore
