#include "index/page_ahead.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "index/hnsw_snapshot.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "tests/index/synthetic_vectors.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

const auto kPageBytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

// Where the file system lets go of it.
void EvictFile(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  ::close(descriptor);
}

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
  void Evict() { EvictFile(path_); }
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

TEST_CASE("pages in order: a pass asks ahead of itself, and again once half of that was reached") {
  const EvictedFile file(1024);
  if (file.Residents() != std::vector<bool>(1024)) {
    MESSAGE("skipped: the file system keeps its pages in memory");
    return;
  }
  const auto comes_to = [&](std::size_t expected) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    const auto count = [&] {
      const std::vector<bool> residents = file.Residents();
      return static_cast<std::size_t>(std::count(residents.begin(), residents.end(), true));
    };
    while (count() < expected && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return count() == expected;
  };
  const std::size_t ahead = (std::size_t{512} << 10) / kPageBytes;
  PagesInOrder pass;
  pass.Reach(file.page(100), kPageBytes);
  if (!comes_to(ahead + 1)) {
    MESSAGE("skipped: the system does not read what it is asked for (QEMU in user mode)");
    return;
  }
  pass.Reach(file.page(100 + ahead / 2), kPageBytes);
  CHECK(comes_to(ahead + 1));
  pass.Reach(file.page(100 + ahead / 2 + 1), kPageBytes);
  CHECK(comes_to(ahead + ahead / 2 + 2));
  pass.Reach(file.page(900), kPageBytes);  // Beyond what was asked for.
  CHECK(comes_to(ahead + ahead / 2 + 2 + 124));
  pass.Reach(file.page(0), kPageBytes);  // And back.
  CHECK(comes_to(ahead + ahead / 2 + 2 + 124 + 100));
}

// Method: how often the kernel had to wait for the device. Without a wish each page is such a fault.
TEST_CASE("pages in order: passes over all of an index larger than its memory seldom wait for the device") {
  constexpr std::uint32_t kDimension = 2048;
  constexpr std::uint64_t kSequence = 1500;
  VectorIndexConfig config;
  config.dimension = kDimension;
  config.precision = VectorPrecision::kInt16;
  config.ef_construction = 16;
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/saved";
  SyntheticVectors vectors(kDimension, 10, 5);
  {
    const auto index = CreateHnswIndex(config).value();
    for (std::int64_t docid = 0; docid < static_cast<std::int64_t>(kSequence); ++docid) {
      REQUIRE(index->Upsert(docid, RecordOf(vectors.Next(), config.precision), kSequence).ok());
    }
    index->SetAppliedSeq(kSequence);
    REQUIRE(index->SaveSnapshot(path).ok());
  }
  const std::vector<float> query = vectors.Next();
  const std::uint64_t file_bytes = FileSizeBytes(path).value();
  const HnswGraphConfig graph_config = GraphConfigOf(config).value();
  config.memory_bytes_max = file_bytes / 4;
  const auto faults_of = [&](auto pass) {
    EvictFile(path);  // What an open touched stays, but not what was read around that.
    const auto now = [] {
      rusage usage{};
      ::getrusage(RUSAGE_SELF, &usage);
      return usage.ru_majflt;
    };
    const long before = now();
    pass();
    return now() - before;
  };
  const auto open_image = [&] {
    auto image = HnswImage::Map("index", graph_config, config.precision, path).value();
    image->Advise(config.memory_bytes_max);
    return image;
  };
  {
    const auto image = open_image();
    const std::uint64_t row_bytes = image->layout()[kCodeArea].row_bytes;
    unsigned sum = 0;
    const long without = faults_of([&] {
      for (std::uint64_t row = 0; row < kSequence; ++row) {
        sum += static_cast<unsigned char>(image->rows(kCodeArea)[row * row_bytes]);
      }
    });
    CHECK(sum > 0);
    if (without < 100) {
      MESSAGE("skipped: the file system keeps its pages in memory");
      return;
    }
  }
  constexpr long kFew = 20;
  const auto check_few = [&](const std::string& name, auto pass) {
    CAPTURE(name);
    const auto index = LoadHnswIndex(config, path).value();
    CHECK(faults_of([&] { pass(*index); }) < kFew);
  };
  check_few("CheckMapped", [](VectorIndex& index) { CHECK(index.CheckMapped().ok()); });
  check_few("ExactSearch", [&](VectorIndex& index) { CHECK(index.ExactSearch(query, kSequence, 10).ok()); });
  check_few("NewScan", [&](VectorIndex& index) {
    const auto scan = index.NewScan(std::vector<std::vector<float>>{query}, kSequence, 10).value();
    const auto clock = SystemClock();
    while (scan->Step(*clock, 1'000'000).value()) {
    }
  });
  check_few("Compact", [](VectorIndex& index) { CHECK(index.Compact().ok()); });
  const HnswSnapshot snapshot = SnapshotOf(config.precision, open_image()).value();
  const HnswContent content = {*snapshot.graph, snapshot.entries, &*snapshot.fine_codes, kSequence, true};
  CHECK(faults_of([&] { CHECK(WriteHnswSnapshot(directory.path() + "/other", content).ok()); }) < kFew);
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
