// An index of four times the memory that it may have: searches with the page cache warm, and with no more of it than
// a quarter of the file. The limit is a memory cgroup (version 1 or 2) that this process moves into once the set is
// read, with nothing of the file in memory: from then on what it faults in counts. Where none can be made, the file is
// evicted between blocks of queries instead, and the method says so: that is a cache that is emptied, not a small one.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "storage/base/file.h"
#include "tests/bench/vector_bench.h"

namespace foreshore {
namespace {

constexpr std::uint64_t kShare = 4;
// For what is no page of the file: the walk's marks, tables of entries, the C library.
constexpr std::uint64_t kAllowanceBytes = 16 << 20;
constexpr std::size_t kBlockQueries = 100;
const std::size_t kBudgetEfs[] = {40, 80, 160, 320, 640};

bool WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  return file.good();
}

// A child of this process's memory cgroup with this limit, and this process in it.
class MemoryLimit {
 public:
  explicit MemoryLimit(std::uint64_t bytes) {
    const std::string name = "/foreshore-bench-" + std::to_string(::getpid());
    for (const auto& [root, file] :
         {std::pair<std::string, std::string>("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
          std::pair<std::string, std::string>("/sys/fs/cgroup", "memory.max")}) {
      std::error_code error;
      if (!std::filesystem::exists(root + "/cgroup.procs", error)) continue;
      folder_ = root + name;
      root_ = root;
      if (std::filesystem::create_directory(folder_, error) && WriteText(folder_ + "/" + file, std::to_string(bytes)) &&
          WriteText(folder_ + "/cgroup.procs", std::to_string(::getpid()))) {
        is_set_ = true;
        method_ = file;
        return;
      }
      std::filesystem::remove(folder_, error);
    }
  }
  ~MemoryLimit() {
    if (!is_set_) return;
    WriteText(root_ + "/cgroup.procs", std::to_string(::getpid()));
    std::error_code error;
    std::filesystem::remove(folder_, error);
  }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;
  bool is_set() const { return is_set_; }
  const std::string& method() const { return method_; }

 private:
  std::string root_;
  std::string folder_;
  std::string method_ = "posix_fadvise between blocks of " + std::to_string(kBlockQueries) + " queries";
  bool is_set_ = false;
};

void Drop(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ::fsync(file);
  ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  ::close(file);
}

struct Round {
  double recall = 0;
  double qps = 0;
};

// All queries once. With `evict` the index is opened anew, with nothing of the file in memory, before each block.
Round Answer(const VectorIndexConfig& config, const std::string& path, const VectorSet& set, const Truth& truth,
             std::size_t ef, bool evict, std::unique_ptr<VectorIndex>& index) {
  double seconds = 0;
  Round round;
  for (std::size_t first = 0; first < truth.size(); first += kBlockQueries) {
    if (evict) {
      index.reset();
      Drop(path);
      index = Check(LoadHnswIndex(config, path));
    }
    const SearchFunction search = SearchOf(*index, set, set.base.count() + 1);
    std::vector<std::vector<std::int64_t>> found(std::min(kBlockQueries, truth.size() - first));
    const auto start = BenchClock::now();
    for (std::size_t i = 0; i < found.size(); ++i) search(first + i, ef, found[i]);
    seconds += SecondsSince(start);
    for (std::size_t i = 0; i < found.size(); ++i) round.recall += RecallOf(found[i], truth[first + i]);
  }
  round.recall /= static_cast<double>(truth.size());
  round.qps = static_cast<double>(truth.size()) / seconds;
  return round;
}

void PrintSide(const char* name, const VectorIndexConfig& config, const std::string& path, const VectorSet& set,
               const Truth& truth, int rounds, bool evict) {
  auto index = Check(LoadHnswIndex(config, path));
  std::cout << R"(, ")" << name << R"(": {"points": [)";
  bool is_first = true;
  for (const std::size_t ef : kBudgetEfs) {
    if (!evict) Answer(config, path, set, truth, ef, false, index);  // What this search reads is where it stays.
    Round round;
    std::vector<double> qps;
    for (int i = 0; i < rounds; ++i) {
      round = Answer(config, path, set, truth, ef, evict, index);
      qps.push_back(round.qps);
    }
    std::cout << (is_first ? "" : ", ") << R"({"ef": )" << ef << R"(, "recall": )" << round.recall << R"(, "qps": [)"
              << Quantile(qps, 0.5) << "]}";
    is_first = false;
    if (round.recall >= 0.95) break;
  }
  std::cout << R"(], "memory_bytes": )" << index->memory_bytes() << "}";
}

}  // namespace

void MeasureBudget(const Options& options, const VectorSet& set, const Truth& truth, const VectorIndexConfig& config,
                   const std::string& path) {
  const std::uint64_t file_bytes = Check(FileSizeBytes(path));
  VectorIndexConfig bounded = config;
  bounded.memory_bytes_max = file_bytes / kShare;
  std::cout << R"(, "budget": {"file_bytes": )" << file_bytes << R"(, "limit_bytes": )" << bounded.memory_bytes_max
            << R"(, "allowance_bytes": )" << kAllowanceBytes;
  PrintSide("unbounded", config, path, set, truth, options.rounds, false);
  PrintSide("warm", bounded, path, set, truth, options.rounds, false);
  Drop(path);
  const MemoryLimit limit(bounded.memory_bytes_max + kAllowanceBytes);
  PrintSide("limited", bounded, path, set, truth, options.rounds, !limit.is_set());
  std::cout << R"(, "method": ")" << limit.method() << R"("})";
}

}  // namespace foreshore
