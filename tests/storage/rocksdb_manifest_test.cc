#include "storage/rocksdb_manifest.h"

#include <random>

#include "storage/base/file.h"
#include "tests/storage/store_backends.h"
#include "tests/storage/store_load.h"

namespace foreshore {
namespace {

// A store with a MANIFEST of many records, and their bytes.
struct ManifestFixture {
  ManifestFixture() {
    store->Close();
    const ByteString current = Take(ReadFile(store->path() + "/CURRENT"));
    path = store->path() + "/" + current.substr(0, current.find('\n'));
    content = Take(ReadFile(path));
  }
  std::unique_ptr<TestStore<RocksdbBackend>> store = [] {
    auto made = std::make_unique<TestStore<RocksdbBackend>>();
    const LoadKeyspaces keyspaces = Take(OpenKeyspaces(**made));
    LoadModel model;
    for (int step = 0; step < 8; ++step) {
      const auto txn = Take((*made)->BeginWrite());
      Ok(StoreLoad(3).Step(model, txn.get(), &keyspaces));
      Ok(txn->Commit());
      Ok((*made)->Checkpoint());
    }
    return made;
  }();
  std::string path;
  ByteString content;
};

TEST_CASE("manifest: a whole one is left as it is, and so is one that is only too short") {
  const ManifestFixture fixture;
  REQUIRE(fixture.content.size() > 300);
  for (std::size_t size = fixture.content.size() - 200; size <= fixture.content.size(); ++size) {
    CHECK(SoundManifestBytes(Bytes(fixture.content).substr(0, size)) == size);
  }
}

TEST_CASE("manifest: an end that was never completed is cut off, and the store opens") {
  ManifestFixture fixture;
  std::mt19937_64 random(5);
  ByteString torn = fixture.content;
  torn += ByteString("\x11\x22\x33\x44\x60\x00\x01", 7);  // A header for 96 bytes, whose checksum is wrong.
  for (int byte = 0; byte < 200; ++byte) torn.push_back(static_cast<char>(random()));
  CHECK(SoundManifestBytes(torn) == fixture.content.size());
  Ok(WriteFileAtomic(fixture.path, torn));
  fixture.store->Reopen();
  Ok((*fixture.store)->Verify());
  CHECK(Take(ReadAll(**fixture.store, Take(OpenKeyspaces(**fixture.store)))).count == 8);
}

// Cutting there would make RocksDB forget tables, and delete them.
TEST_CASE("manifest: damage that has sound records behind it is kept and refused") {
  ManifestFixture fixture;
  ByteString damaged = fixture.content;
  damaged[damaged.size() / 2] ^= 0x10;
  CHECK(SoundManifestBytes(damaged) == damaged.size());
  Ok(WriteFileAtomic(fixture.path, damaged));
  CHECK(OpenRocksdbStore(fixture.store->path(), fixture.store->options()).status().code() == ErrorCode::kCorruption);
  CHECK(Take(ReadFile(fixture.path)) == damaged);
}

}  // namespace
}  // namespace foreshore
