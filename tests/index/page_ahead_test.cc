#include "index/page_ahead.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <vector>

#include "storage/base/file.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

const auto kPageBytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

// A mapped file of which nothing is in memory, where the file system lets go of it.
class EvictedFile {
 public:
  explicit EvictedFile(std::size_t page_count)
      : path_(directory_.path() + "/rows"), size_bytes_(page_count * kPageBytes) {
    auto file = File::Create(path_);
    REQUIRE(file.ok());
    REQUIRE((*file)->Append(ByteString(size_bytes_, 'r')).ok());
    REQUIRE((*file)->Sync().ok());
    Evict();
    const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    address_ = static_cast<char*>(::mmap(nullptr, size_bytes_, PROT_READ, MAP_PRIVATE, descriptor, 0));
    ::close(descriptor);
    REQUIRE(address_ != MAP_FAILED);
    ::madvise(address_, size_bytes_, MADV_RANDOM);
  }
  ~EvictedFile() { ::munmap(address_, size_bytes_); }
  EvictedFile(const EvictedFile&) = delete;
  EvictedFile& operator=(const EvictedFile&) = delete;
  void Evict() {
    const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    ::close(descriptor);
  }
  const char* page(std::size_t index) const { return address_ + index * kPageBytes; }
  std::vector<bool> Residents() const {
    std::vector<unsigned char> found(size_bytes_ / kPageBytes);
    ::mincore(address_, size_bytes_, found.data());
    std::vector<bool> residents;
    for (const unsigned char page : found) residents.push_back((page & 1) != 0);
    return residents;
  }

 private:
  const TemporaryDirectory directory_;
  const std::string path_;
  const std::size_t size_bytes_;
  char* address_ = nullptr;
};

TEST_CASE("page ahead: the pages of a row that is wanted come into memory, others do not") {
  const EvictedFile file(64);
  if (file.Residents() != std::vector<bool>(64)) {
    MESSAGE("skipped: the file system keeps its pages in memory");
    return;
  }
  const auto comes_to = [&](const std::vector<bool>& expected) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (file.Residents() != expected && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return file.Residents() == expected;
  };
  std::vector<bool> expected(64);
  expected[60] = true;
  ::madvise(const_cast<char*>(file.page(60)), kPageBytes, MADV_WILLNEED);
  if (!comes_to(expected)) {
    MESSAGE("skipped: the system does not read what it is asked for (QEMU in user mode)");
    return;
  }
  PageAhead pages(file.page(0), 64 * kPageBytes, 16 * kPageBytes);
  pages.Want(file.page(10) - 1, 2);  // Over an edge: two pages.
  pages.Want(file.page(40), kPageBytes);
  for (const std::size_t page : {9, 10, 40}) expected[page] = true;
  CHECK(comes_to(expected));
}

TEST_CASE("page ahead: a page is asked for once in a period, and periods grow while nothing is pushed out") {
  const EvictedFile file(64);
  PageAhead pages(file.page(0), 64 * kPageBytes, 10 * kPageBytes);
  const auto want = [&](int count) {
    for (int i = 0; i < count; ++i) pages.Want(file.page(7), 1);
    return pages.asked_count();
  };
  CHECK(want(9) == 1);
  CHECK(want(1) == 2);   // The tenth ends the period.
  CHECK(want(19) == 2);  // The next is of 20.
  CHECK(want(1) == 3);
  pages.Want(file.page(8) - 1, 2);  // Over an edge, to one that was not asked for.
  CHECK(pages.asked_count() == 4);
}

TEST_CASE("page ahead: pages that were pushed out are asked for again before their period ends") {
  EvictedFile file(64);
  PageAhead pages(file.page(0), 64 * kPageBytes, 64 * kPageBytes * 1000);
  pages.Want(file.page(7), 1);
  for (int i = 0; i < 1000; ++i) pages.Want(file.page(7), 1);
  if (pages.asked_count() == 1) {  // Else the device was slower than the loop: asked again in its place.
    file.Evict();
    if (file.Residents() != std::vector<bool>(64)) {
      MESSAGE("skipped: the file system keeps its pages in memory");
      return;
    }
    for (int i = 0; i < 300; ++i) pages.Want(file.page(7), 1);
  }
  CHECK(pages.asked_count() >= 2);
}

}  // namespace
}  // namespace foreshore
