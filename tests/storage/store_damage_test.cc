// Store files that were cut short or had bits flipped. Every use runs in a child, where a crash is seen; this process
// opens no store itself, because a backend's threads do not survive a fork.
#include <doctest/doctest.h>

#include <fstream>
#include <random>

#include "storage/base/file.h"
#include "tests/kill_harness.h"
#include "tests/storage/failing_sync.h"
#include "tests/storage/store_backends.h"
#include "tests/storage/store_load.h"

namespace foreshore {
namespace {

using I = std::int64_t;

// Everything a program does with a store, stopping at the first error.
template <typename Backend>
Status UseAll(const std::string& path) {
  FORESHORE_ASSIGN_OR_RETURN(const auto store, Backend::Open(path, StoreOptions()));
  FORESHORE_RETURN_IF_ERROR(store->Verify());
  FORESHORE_ASSIGN_OR_RETURN(const LoadKeyspaces keyspaces, OpenKeyspaces(*store));
  FORESHORE_ASSIGN_OR_RETURN(LoadModel model, ReadAll(*store, keyspaces));
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store->BeginWrite());
  for (I key = 0; key < 20; ++key) FORESHORE_RETURN_IF_ERROR(txn->Put(keyspaces.bodies, key, std::string(500, 'n')));
  FORESHORE_RETURN_IF_ERROR(txn->Commit());
  return store->Checkpoint();
}

// The biggest file in the store: the main file, or a table.
std::string BiggestFile(const std::string& path) {
  if (!std::filesystem::is_directory(path)) return path;
  std::string biggest;
  std::uint64_t most = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() != ".sst" || entry.file_size() <= most) continue;
    biggest = entry.path().string();
    most = entry.file_size();
  }
  return biggest;
}

// RocksDB opens slower, and each round opens twice.
template <typename Backend>
constexpr int kRounds = std::is_same_v<Backend, SqliteBackend> ? 30 : 12;

struct DamageCount {
  int refused = 0;
  int unnoticed = 0;
};

// Uses a copy of a store after `damage` in its biggest file, in a child, where a crash is seen.
template <typename Backend, typename Damage>
DamageCount UseDamaged(int rounds, const Damage& damage) {
  SkipSyncs();
  DamageCount count;
  TemporaryDirectory directory;
  const std::string sound = directory.path() + "/sound";
  const std::string made = RunForked([&]() -> std::string {
    StoreOptions options;
    options.create = true;
    const auto store = Take(Backend::Open(sound, options));
    const LoadKeyspaces keyspaces = Take(OpenKeyspaces(*store));
    LoadModel model;
    for (int step = 0; step < 60; ++step) {
      const auto txn = Take(store->BeginWrite());
      Ok(StoreLoad(5).Step(model, txn.get(), &keyspaces));
      Ok(txn->Commit());
    }
    return store->Checkpoint().ok() ? "" : "checkpoint";
  });
  REQUIRE(made == "");
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    const std::string copy = directory.path() + "/copy";
    std::filesystem::copy(sound, copy, std::filesystem::copy_options::recursive);
    const std::string file = BiggestFile(copy);
    ByteString content = Take(ReadFile(file));
    damage(content);
    std::ofstream(file, std::ios::binary) << content;
    const std::string finding = RunForked([&] {
      const Status status = UseAll<Backend>(copy);
      return std::string(ErrorCodeName(status.code()));
    });
    const bool expected = finding == "ok" || finding == "corruption" || finding == "io" || finding == "unsupported" ||
                          finding == "not_found";
    CHECK_MESSAGE(expected, finding);
    if (finding == "ok") {
      ++count.unnoticed;
    } else {
      ++count.refused;
    }
    std::filesystem::remove_all(copy);
    std::filesystem::remove_all(copy + "-wal");
    std::filesystem::remove_all(copy + "-shm");
  }
  return count;
}

TEST_CASE_TEMPLATE("damage: a store that was cut short is refused, never a crash", Backend, FORESHORE_STORE_BACKENDS) {
  std::mt19937_64 random(FromEnvironment("FORESHORE_TEST_SEED", 11));
  const DamageCount count =
      UseDamaged<Backend>(kRounds<Backend>, [&](ByteString& content) { content.resize(random() % content.size()); });
  CHECK(count.unnoticed == 0);
}

TEST_CASE_TEMPLATE("damage: flipped bits are an error or go unnoticed, never a crash", Backend,
                   FORESHORE_STORE_BACKENDS) {
  std::mt19937_64 random(FromEnvironment("FORESHORE_TEST_SEED", 12));
  const DamageCount count = UseDamaged<Backend>(kRounds<Backend>, [&](ByteString& content) {
    // Half of them in the first page, where the structure is.
    for (int flip = 0; flip < 8; ++flip) {
      const std::size_t bound = flip % 2 == 0 ? std::min<std::size_t>(content.size(), 4096) : content.size();
      content[random() % bound] ^= static_cast<char>(1 << random() % 8);
    }
  });
  CHECK(count.refused > 0);
}

TEST_CASE("damage: a flipped bit in a RocksDB table never goes unnoticed") {
#ifdef FORESHORE_WITH_ROCKSDB
  std::mt19937_64 random(FromEnvironment("FORESHORE_TEST_SEED", 13));
  const DamageCount count = UseDamaged<RocksdbBackend>(8, [&](ByteString& content) {
    content[random() % (content.size() / 2)] ^= static_cast<char>(1 << random() % 8);
  });
  CHECK(count.unnoticed == 0);
#endif
}

TEST_CASE("damage: another program's file is refused and left as it is") {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/other.db";
  for (const std::string& content : {std::string(5000, 'n'), std::string("short")}) {
    std::ofstream(path, std::ios::binary) << content;
    StoreOptions options;
    options.create = true;
    CHECK(OpenSqliteStore(path, options).status().code() == ErrorCode::kCorruption);
    CHECK(Take(ReadFile(path)) == content);
  }
}

}  // namespace
}  // namespace foreshore
