// The order that storage/rocksdb_file_system.h promises for log files, over a power cut.
#include <doctest/doctest.h>

#include "storage/base/file.h"
#include "storage/rocksdb_file_system.h"
#include "tests/storage/simulated_disk.h"
#include "tests/storage/store_backends.h"

namespace foreshore {
namespace {

TEST_CASE("log file: what the one before holds is certain before the next is begun") {
  const std::string content(5000, 'c');
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    SimulatedDisk disk(seed);
    const auto ordered = MakeOrderedFileSystem();
    const rocksdb::IOOptions options;
    for (const char* name : {"/000004.log", "/000007.log", "/000009.log"}) {
      std::unique_ptr<rocksdb::FSWritableFile> file;
      REQUIRE(ordered->NewWritableFile(disk.root() + name, {}, &file, nullptr).ok());
      REQUIRE(file->Append(content, options, nullptr).ok());
      REQUIRE(file->Close(options, nullptr).ok());
    }
    disk.CutNow();
    disk.PowerOn();
    for (const char* name : {"/000004.log", "/000007.log"}) {
      CAPTURE(name);
      CHECK(Take(ReadFile(disk.root() + name)) == content);
    }
  }
}

TEST_CASE("log file: where the next cannot be begun, what comes behind in this one is certain before another is") {
  const std::string content(5000, 'c');
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    SimulatedDisk disk(seed);
    const auto ordered = MakeOrderedFileSystem();
    const rocksdb::IOOptions options;
    std::unique_ptr<rocksdb::FSWritableFile> first;
    REQUIRE(ordered->NewWritableFile(disk.root() + "/000004.log", {}, &first, nullptr).ok());
    REQUIRE(first->Append(content, options, nullptr).ok());
    std::unique_ptr<rocksdb::FSWritableFile> next;
    disk.FailAt(DiskOperation::kCreate, 0, EMFILE);
    CHECK(!ordered->NewWritableFile(disk.root() + "/000007.log", {}, &next, nullptr).ok());
    REQUIRE(first->Append(content, options, nullptr).ok());
    REQUIRE(first->Close(options, nullptr).ok());
    REQUIRE(ordered->NewWritableFile(disk.root() + "/000009.log", {}, &next, nullptr).ok());
    REQUIRE(next->Close(options, nullptr).ok());
    disk.CutNow();
    disk.PowerOn();
    CHECK(Take(ReadFile(disk.root() + "/000004.log")) == content + content);
  }
}

TEST_CASE("log file: none is begun where the one before cannot be made certain") {
  SimulatedDisk disk(1);
  const auto ordered = MakeOrderedFileSystem();
  std::unique_ptr<rocksdb::FSWritableFile> first;
  REQUIRE(ordered->NewWritableFile(disk.root() + "/000004.log", {}, &first, nullptr).ok());
  disk.FailAt(DiskOperation::kSync, 0, EIO);
  std::unique_ptr<rocksdb::FSWritableFile> next;
  CHECK(ordered->NewWritableFile(disk.root() + "/000007.log", {}, &next, nullptr).IsIOError());
  CHECK(!FileExists(disk.root() + "/000007.log"));
  CHECK(ordered->NewWritableFile(disk.root() + "/000007.log", {}, &next, nullptr).ok());
}

}  // namespace
}  // namespace foreshore
