#include "storage/base/scratch_map.h"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <algorithm>
#include <vector>

#include "storage/base/file.h"
#include "tests/temporary_directory.h"

namespace foreshore {

TEST_CASE("scratch map: zeros that can be written, without a name, and of their own") {
  const TemporaryDirectory directory;
  constexpr std::size_t kBytes = 100'001;
  char* first = MapScratch(directory.path(), kBytes).value();
  char* second = MapScratch(directory.path(), kBytes).value();
  CHECK(std::all_of(first, first + kBytes, [](char byte) { return byte == 0; }));
  std::fill_n(first, kBytes, 'x');
  CHECK(second[0] == 0);
  CHECK(ListDirectory(directory.path())->empty());
  // The system may take the memory, and gives back what was written.
  REQUIRE(::msync(first, kBytes, MS_SYNC) == 0);
  REQUIRE(::madvise(first, kBytes, MADV_DONTNEED) == 0);
  CHECK(std::all_of(first, first + kBytes, [](char byte) { return byte == 'x'; }));
  ReleaseScratch(first, kBytes);
  ReleaseScratch(second, kBytes);
}

TEST_CASE("scratch map: a folder that is not there, and room that the disk has not, are errors") {
  const TemporaryDirectory directory;
  const auto absent = MapScratch(directory.path() + "/absent", 4096);
  CHECK(absent.status().code() == ErrorCode::kNotFound);
  CHECK(absent.status().message().find("/absent") != std::string::npos);
  CHECK(!MapScratch(directory.path(), std::size_t{1} << 62).ok());
}

}  // namespace foreshore
