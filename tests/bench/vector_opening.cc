// Opening: from the device, and from the page cache, to the first answer.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "tests/bench/hnswlib_side.h"
#include "tests/bench/vector_bench.h"

namespace foreshore {
namespace {

constexpr int kOpenings = 5;  // Of which the median counts.

// Takes the file out of the page cache and returns the share of its pages that stayed.
double Evict(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (file < 0 || ::fstat(file, &status) != 0) {
    std::cerr << "bench_vectors: " << path << ": cannot be opened\n";
    std::exit(1);
  }
  ::fsync(file);  // What is not written yet would stay.
  ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  const auto size_bytes = static_cast<std::size_t>(status.st_size);
  const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* address = ::mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, file, 0);
  std::vector<unsigned char> pages((size_bytes + page_bytes - 1) / page_bytes);
  ::mincore(address, size_bytes, pages.data());
  ::munmap(address, size_bytes);
  ::close(file);
  const auto resident = std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; });
  return static_cast<double>(resident) / static_cast<double>(pages.size());
}

struct OpenTimes {
  std::vector<double> open_ms = {};
  std::vector<double> answer_ms = {};  // From before opening to the first ten neighbours.
};

// `open` returns a search.
using OpenFunction = std::function<std::function<void()>()>;

OpenTimes TimeOpenings(const std::string& path, bool is_cold, const OpenFunction& open, double& resident) {
  OpenTimes times;
  for (int i = 0; i < kOpenings; ++i) {
    if (is_cold) resident = std::max(resident, Evict(path));
    const auto start = BenchClock::now();
    const std::function<void()> search = open();
    times.open_ms.push_back(SecondsSince(start) * 1000);
    search();
    times.answer_ms.push_back(SecondsSince(start) * 1000);
  }
  return times;
}

void PrintSide(const char* name, const std::string& path, const OpenFunction& open) {
  double resident = 0;
  const OpenTimes cold = TimeOpenings(path, true, open, resident);
  const OpenTimes warm = TimeOpenings(path, false, open, resident);
  if (resident > 0.01) {
    std::cerr << "bench_vectors: " << path << ": " << resident * 100
              << " % stayed in the page cache: the cold figures are not cold\n";
  }
  std::cout << '"' << name << R"(": {"cold_open_ms": )" << Quantile(cold.open_ms, 0.5) << R"(, "cold_answer_ms": )"
            << Quantile(cold.answer_ms, 0.5) << R"(, "warm_open_ms": )" << Quantile(warm.open_ms, 0.5)
            << R"(, "warm_answer_ms": )" << Quantile(warm.answer_ms, 0.5) << R"(, "resident_share": )" << resident
            << "}";
}

}  // namespace

void MeasureOpen(const Options& options, const VectorSet& set, const VectorIndexConfig& config, const std::string& ours,
                 const std::string& peer) {
  std::cout << R"(, "open": {)";
  PrintSide("ours", ours, [&] {
    const std::shared_ptr<VectorIndex> index = Check(LoadHnswIndex(config, ours));
    return [&set, index] {
      std::vector<std::int64_t> found;
      SearchOf(*index, set, set.base.count() + 1)(0, 64, found);
    };
  });
  if (!peer.empty()) {
    std::cout << ", ";
    PrintSide("hnswlib", peer, [&] {
      const std::shared_ptr<HnswlibSide> side = HnswlibSide::Load(options.metric, set.base.dimension, peer);
      return [&set, side] {
        std::vector<std::int64_t> found;
        side->Search(set.queries[0].data(), kK, 64, found);
      };
    });
  }
  std::cout << "}";
}

}  // namespace foreshore
