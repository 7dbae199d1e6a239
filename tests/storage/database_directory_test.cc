#include "storage/database_directory.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "storage/base/file.h"
#include "tests/storage/store_backends.h"

namespace foreshore {
namespace {

void WriteRaw(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

Result<std::unique_ptr<DatabaseDirectory>> OpenAt(const std::string& path, bool create,
                                                  StorageKind kind = StorageKind::kSqlite) {
  SeededRandom random(7);
  return DatabaseDirectory::Open(path, create, kind, random);
}

TEST_CASE("directory: it is made once, and opens again with what it had") {
  TemporaryDirectory parent;
  const std::string path = parent.path() + "/plant.foreshore";
  CHECK(OpenAt(path, false).status().code() == ErrorCode::kNotFound);
  CHECK_FALSE(FileExists(path));
  InstanceRecord record;
  {
    const auto directory = Take(OpenAt(path, true));
    CHECK(directory->created());
    CHECK(Take(ReadFile(path + "/FORMAT")) == "foreshore 1 sqlite\n");
    record = Take(directory->ReadInstance()).value();
    CHECK(record.epoch == 0);
    record.epoch = 41;
    Ok(directory->WriteInstance(record));
    const auto store = Take(directory->OpenStore(StoreOptions()));
    CHECK(store->kind() == StorageKind::kSqlite);
  }
  const auto directory = Take(OpenAt(path, false));
  CHECK_FALSE(directory->created());
  CHECK(Take(directory->ReadInstance())->epoch == 41);
  CHECK(Take(directory->ReadInstance())->replica == record.replica);
}

TEST_CASE("directory: a second open in this process is kBusy, and works after the first has gone") {
  TemporaryDirectory parent;
  const std::string path = parent.path() + "/db";
  {
    const auto first = Take(OpenAt(path, true));
    const Status second = OpenAt(path + "/../db", false).status();  // Another spelling of the same place.
    CHECK(second.code() == ErrorCode::kBusy);
    CHECK(second.message().find("this process") != std::string::npos);
  }
  Ok(OpenAt(path, false).status());
}

TEST_CASE("directory: another process is told who holds it") {
  TemporaryDirectory parent;
  const std::string path = parent.path() + "/db";
  int ready[2];
  int release[2];
  REQUIRE(::pipe(ready) == 0);
  REQUIRE(::pipe(release) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto held = OpenAt(path, true);
    char byte = held.ok() ? 'y' : 'n';
    if (::write(ready[1], &byte, 1) != 1 || ::read(release[0], &byte, 1) != 1) ::_exit(2);
    ::_exit(0);  // Without the destructor: the lock must go with the process.
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  REQUIRE(byte == 'y');
  const Status refused = OpenAt(path, false).status();
  CHECK(refused.code() == ErrorCode::kBusy);
  CHECK(refused.message().find("process " + std::to_string(child)) != std::string::npos);
  REQUIRE(::write(release[1], "x", 1) == 1);
  int exit_status = 0;
  REQUIRE(::waitpid(child, &exit_status, 0) == child);
  CHECK(exit_status == 0);
  Ok(OpenAt(path, false).status());
  for (const int descriptor : {ready[0], ready[1], release[0], release[1]}) ::close(descriptor);
}

TEST_CASE("directory: an odd FORMAT is refused by its kind") {
  TemporaryDirectory parent;
  const std::string path = parent.path() + "/db";
  Ok(OpenAt(path, true).status());
  const auto code_with = [&](const std::string& format) {
    WriteRaw(path + "/FORMAT", format);
    return OpenAt(path, false).status().code();
  };
  CHECK(code_with("foreshore 2 sqlite\n") == ErrorCode::kUnsupported);
  CHECK(code_with("foreshore 1 lmdb\n") == ErrorCode::kUnsupported);
  for (const char* bad : {"", "foreshore", "foreshore \n", "foreshore 1 sqlite", "other 1 sqlite\n", "foreshore 1\n"}) {
    CAPTURE(bad);
    CHECK(code_with(bad) == ErrorCode::kCorruption);
  }
  CHECK(code_with("foreshore 1 sqlite\n") == ErrorCode::kOk);
  CHECK(OpenAt(path, true, StorageKind::kRocksdb).status().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("directory: somebody else's directory is not taken over") {
  TemporaryDirectory parent;
  WriteRaw(parent.path() + "/thesis.txt", "mine");
  CHECK(OpenAt(parent.path(), true).status().code() == ErrorCode::kInvalidArgument);
  CHECK_FALSE(FileExists(parent.path() + "/FORMAT"));
}

TEST_CASE("directory: an interrupted creation is finished by the next one") {
  TemporaryDirectory parent;
  const std::string path = parent.path() + "/db";
  Ok(OpenAt(path, true).status());
  Ok(RemoveFile(path + "/FORMAT"));
  CHECK(OpenAt(path, false).status().code() == ErrorCode::kNotFound);
  CHECK(Take(OpenAt(path, true))->created());
}

TEST_CASE("directory: a lost FORMAT beside a store in use is damage, not a new database") {
  TemporaryDirectory parent;
  const std::string path = parent.path() + "/db";
  {
    const auto directory = Take(OpenAt(path, true));
    Take(Take(directory->OpenStore(StoreOptions()))->OpenKeyspace("notes", KeyspaceKind::kInteger));
  }
  Ok(RemoveFile(path + "/FORMAT"));
  CHECK(OpenAt(path, true).status().code() == ErrorCode::kCorruption);
}

TEST_CASE("directory: a missing store is damage, not a new store") {
  TemporaryDirectory parent;
  const std::string path = parent.path() + "/db";
  const auto directory = Take(OpenAt(path, true));
  Ok(RemoveFile(path + "/store.db"));
  StoreOptions options;
  options.create = true;
  CHECK(directory->OpenStore(options).status().code() == ErrorCode::kCorruption);
}

TEST_CASE("instance: missing is nullopt, any flipped bit or lost byte is an error") {
  TemporaryDirectory parent;
  const std::string path = parent.path() + "/db";
  const auto directory = Take(OpenAt(path, true));
  const ByteString good = Take(ReadFile(path + "/INSTANCE"));
  REQUIRE(good.size() == 40);
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    CAPTURE(bit);
    ByteString bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    WriteRaw(path + "/INSTANCE", bad);
    CHECK_FALSE(directory->ReadInstance().ok());
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    WriteRaw(path + "/INSTANCE", good.substr(0, size));
    CHECK(directory->ReadInstance().status().code() == ErrorCode::kCorruption);
  }
  WriteRaw(path + "/INSTANCE", good + "x");
  CHECK(directory->ReadInstance().status().code() == ErrorCode::kCorruption);
  Ok(RemoveFile(path + "/INSTANCE"));
  CHECK_FALSE(Take(directory->ReadInstance()).has_value());
}

#ifdef FORESHORE_WITH_ROCKSDB
TEST_CASE("directory: RocksDB is remembered in FORMAT") {
  TemporaryDirectory parent;
  const std::string path = parent.path() + "/db";
  Ok(OpenAt(path, true, StorageKind::kRocksdb).status());
  const auto directory = Take(OpenAt(path, false));
  CHECK(directory->storage_kind() == StorageKind::kRocksdb);
  CHECK(Take(directory->OpenStore(StoreOptions()))->kind() == StorageKind::kRocksdb);
}
#endif

}  // namespace
}  // namespace foreshore
