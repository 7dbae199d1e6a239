#include "storage/rocksdb_manifest.h"

#include <random>

#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "storage/rocksdb_file_system.h"
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

// A file that tells how many bytes it had at each sync.
struct SyncPlaces final : rocksdb::FSWritableFileOwnerWrapper {
  SyncPlaces(std::unique_ptr<rocksdb::FSWritableFile> file, std::vector<std::size_t>& into)
      : FSWritableFileOwnerWrapper(std::move(file)), places(into) {}
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* context) override {
    bytes += data.size();
    return FSWritableFileOwnerWrapper::Append(data, options, context);
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    places.push_back(bytes);
    return rocksdb::IOStatus::OK();
  }
  std::size_t bytes = 0;
  std::vector<std::size_t>& places;
};

struct SyncPlacesFileSystem final : rocksdb::FileSystemWrapper {
  SyncPlacesFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "SyncPlacesFileSystem"; }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* context) override {
    rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(path, options, file, context);
    if (status.ok()) *file = std::make_unique<SyncPlaces>(std::move(*file), places);
    return status;
  }
  std::vector<std::size_t> places;
};

// Goal: of fragments that are not synced yet there is one at most, however RocksDB cuts what it appends.
// Method: fragments of many sizes, the zeros at a block's end among them, appended in pieces of random sizes.
TEST_CASE("manifest: once it was synced, every fragment is synced before the next") {
  std::mt19937_64 random(7);
  ByteString content;
  std::vector<std::size_t> begins;
  while (content.size() < 5 * kManifestBlockBytes) {
    const std::size_t block_left = kManifestBlockBytes - content.size() % kManifestBlockBytes;
    if (block_left < kManifestHeaderBytes) {
      content.append(block_left, '\0');
      continue;
    }
    const std::size_t payload_max = block_left - kManifestHeaderBytes;
    const std::size_t payload = begins.size() % 3 == 2
                                    ? payload_max - random() % std::min<std::size_t>(7, payload_max + 1)
                                    : random() % (payload_max + 1);
    begins.push_back(content.size());
    content.append(4, '\x5a');
    AppendFixed(content, static_cast<std::uint16_t>(payload));
    content.push_back('\1');
    content.append(payload, '\7');
  }
  const auto base = std::make_shared<SyncPlacesFileSystem>();
  const auto ordered = MakeOrderedFileSystem(base);
  const TemporaryDirectory directory;
  std::unique_ptr<rocksdb::FSWritableFile> file;
  const rocksdb::IOOptions options;
  REQUIRE(ordered->NewWritableFile(directory.path() + "/MANIFEST-000001", {}, &file, nullptr).ok());
  const auto append = [&](std::size_t from, std::size_t to) {
    while (from < to) {
      const std::size_t length = std::min<std::size_t>(to - from, 1 + random() % 20000);
      REQUIRE(file->Append(rocksdb::Slice(content.data() + from, length), options, nullptr).ok());
      from += length;
    }
  };
  append(0, begins[3]);
  CHECK(base->places.empty());  // No CURRENT names it yet.
  REQUIRE(file->Sync(options, nullptr).ok());
  append(begins[3], content.size());
  // The first fragment behind a sync needs none before it; the zeros that fill a block come after one.
  REQUIRE(base->places.size() == begins.size() - 3);
  for (std::size_t fragment = 4; fragment < begins.size(); ++fragment) {
    CAPTURE(fragment);
    CHECK(base->places[fragment - 3] <= begins[fragment]);
    CHECK(base->places[fragment - 3] + kManifestHeaderBytes > begins[fragment]);
  }
  file.reset();
  CHECK(Take(ReadFile(directory.path() + "/MANIFEST-000001")) == content);
}

}  // namespace
}  // namespace foreshore
