#include <algorithm>
#include <random>

#include "tests/storage/store_backends.h"

namespace foreshore {
namespace {

// Goal: blocks, indexes, filters and write buffers together stay in the budget, whatever is written and read.
// Method: six times the budget in bytes that do not compress, over keyspaces of which some are written seldom, with
// reads from everywhere and checkpoints in between; the store's own count of what it holds is taken after each commit.
TEST_CASE("rocksdb: one memory budget holds for blocks, indexes and write buffers together") {
  constexpr std::uint64_t kBudgetBytes = 12ULL << 20;
  constexpr int kKeyspaceCount = 6;
  TestStore<RocksdbBackend> store(Durability::kNormal, kBudgetBytes);
  std::vector<KeyspaceId> keyspaces;
  for (int i = 0; i < kKeyspaceCount; ++i) {
    keyspaces.push_back(Take(store->OpenKeyspace("k" + std::to_string(i), KeyspaceKind::kInteger)));
  }
  std::mt19937_64 random(3);
  std::uint64_t memory_bytes_max = 0;
  std::int64_t written = 0;
  for (int commit = 0; commit < 300; ++commit) {
    const auto writer = Take(store->BeginWrite());
    for (int i = 0; i < 240; ++i) {
      ByteString value(1000, '\0');
      for (char& byte : value) byte = static_cast<char>(random());
      Ok(writer->Put(keyspaces[i % (commit % 10 == 0 ? kKeyspaceCount : 2)], written++, value));
    }
    Ok(writer->Commit());
    if (commit % 50 == 49) Ok(store->Checkpoint());
    const auto reader = Take(store->BeginRead());
    for (int i = 0; i < 60; ++i) {
      const auto key = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(written));
      Take(reader->Get(keyspaces[static_cast<std::size_t>(key % 2)], key));
    }
    memory_bytes_max = std::max(memory_bytes_max, store->Stats().memory_bytes);
  }
  CHECK(store->Stats().disk_bytes > 5 * kBudgetBytes);
  CHECK(memory_bytes_max > kBudgetBytes / 2);  // It is used, and counted.
  CHECK(memory_bytes_max <= kBudgetBytes + kBudgetBytes / 10);
  MESSAGE("at most " << (memory_bytes_max >> 10) << " KiB of " << (kBudgetBytes >> 10));
}

}  // namespace
}  // namespace foreshore
