#include "storage/base/file.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "tests/temporary_directory.h"

using namespace foreshore;

TEST_CASE("write atomic: the new content replaces the old and no temporary stays") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/value";
  REQUIRE(WriteFileAtomic(path, "one").ok());
  REQUIRE(WriteFileAtomic(path, "two").ok());
  CHECK(*ReadFile(path) == "two");
  CHECK(ListDirectory(directory.path())->size() == 1);
}

TEST_CASE("read: a missing file and one above the limit are named errors") {
  const TemporaryDirectory directory;
  CHECK(ReadFile(directory.path() + "/absent").status().code() == ErrorCode::kNotFound);
  REQUIRE(WriteFileAtomic(directory.path() + "/big", std::string(100, 'x')).ok());
  CHECK(ReadFile(directory.path() + "/big", 99).status().code() == ErrorCode::kLimit);
}

TEST_CASE("write: a full disk is kNoSpace") {
  // /dev/full fails every write with ENOSPC.
  auto file = File::Create("/dev/full");
  REQUIRE(file.ok());
  CHECK((*file)->Append("x").code() == ErrorCode::kNoSpace);
}

TEST_CASE("map: the bytes of the file, and an empty file is empty") {
  const TemporaryDirectory directory;
  REQUIRE(WriteFileAtomic(directory.path() + "/full", "abc").ok());
  REQUIRE(WriteFileAtomic(directory.path() + "/empty", "").ok());
  CHECK((*MappedFile::Open(directory.path() + "/full"))->bytes() == "abc");
  CHECK((*MappedFile::Open(directory.path() + "/empty"))->bytes().empty());
}
