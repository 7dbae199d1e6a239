// Documents against a plain SQLite table with a JSON column: import, commits, reads, scans, bytes.
//
//   bench_store DOCUMENTS.jsonl WORK_DIRECTORY [DOCUMENT_COUNT] [ROUNDS] [PARTS [SIDES]]
//
// For a profile, PARTS names some of "gets,ranges,scans,commits" ("" for imports alone) and SIDES some of "012"
// (Foreshore on SQLite, plain SQLite, Foreshore on RocksDB).
//
// The file's documents are repeated until there are enough; a repetition has another id, name and size. Each has a
// "length" too, that of its text: a number without an index, behind the text. Every side
// works on the same documents in the same order, in turns of a block each. One JSON object on standard output: for each
// metric and side, nanoseconds per operation of every block, by the clock and on the processor. tests/bench/store.py
// makes the table of it. All sides must give the same answers, or the bench fails.
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/document/json.h"
#include "tests/bench/store_sides.h"

namespace foreshore {
namespace {

constexpr std::size_t kDocumentsPerTransaction = 1000;
constexpr int kReadBlocks = 25;
constexpr int kReadsPerBlock = 2000;
constexpr int kCommitBlocks = 25;
constexpr int kCommitsPerBlock = 40;
constexpr int kRangeBlocks = 21;
constexpr int kScanBlocks = 9;
constexpr unsigned kSeed = 20'251'125;

std::string TokenOf(const std::string& body, std::string_view key) {
  return std::string(FindValue(body, key));
}

struct Documents {
  std::vector<BenchDocument> all;
  std::vector<std::int64_t> sizes;
  std::size_t real_count = 0;
};

Documents MakeDocuments(const char* path, std::size_t count) {
  std::ifstream file(path);
  std::vector<std::string> bodies;
  for (std::string line; bodies.size() < count && std::getline(file, line);) {
    bodies.push_back(NormaliseDocument(line).value());
  }
  if (bodies.empty()) {
    std::cerr << "bench_store: \"" << path << "\" has no documents\n";
    std::exit(1);
  }
  Documents documents;
  documents.real_count = bodies.size();
  for (std::size_t i = 0; documents.all.size() < count; ++i) {
    const std::string& body = bodies[i % bodies.size()];
    const std::size_t copy = i / bodies.size();
    std::string id = UnescapeString(TokenOf(body, "id")).value();
    std::int64_t size = std::strtoll(TokenOf(body, "size").c_str(), nullptr, 10);
    if (copy > 0) id += "/" + std::to_string(copy);  // In no package's name.
    size += static_cast<std::int64_t>(copy) * 7;
    std::string quoted;
    AppendJsonString(quoted, id);
    std::string changed = R"({"id":)" + quoted + R"(,"name":)" + quoted + R"(,"section":)" + TokenOf(body, "section") +
                          R"(,"priority":)" + TokenOf(body, "priority") + R"(,"size":)" + std::to_string(size) +
                          R"(,"text":)" + TokenOf(body, "text") + R"(,"length":)" +
                          std::to_string(TokenOf(body, "text").size()) + "}";
    documents.all.push_back({std::move(id), std::move(changed)});
    documents.sizes.push_back(size);
  }
  return documents;
}

std::int64_t NowNs(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

struct Series {
  std::vector<double> wall_ns;
  std::vector<double> processor_ns;  // Of all the process's threads.
};

class Runner {
 public:
  Runner(const char* path, std::string folder, std::size_t count, int rounds, std::string parts, std::string sides)
      : documents_(MakeDocuments(path, count)),
        folder_(std::move(folder)),
        rounds_(rounds),
        parts_(std::move(parts)),
        side_kinds_(std::move(sides)),
        random_(kSeed) {
    std::vector<std::int64_t> sorted = documents_.sizes;
    std::sort(sorted.begin(), sorted.end());
    sorted_sizes_ = std::move(sorted);
  }

  void Run() {
    for (int round = 0; round < rounds_; ++round) Import(round);
    CompareAnswers();
    if (HasPart("gets")) PointReads();
    if (HasPart("ranges")) Ranges();
    if (HasPart("scans")) Scans();
    if (HasPart("commits")) Commits();
    sides_.clear();
    Print();
  }

 private:
  using Work = std::function<void(StoreSide&)>;

  bool HasPart(std::string_view part) const { return parts_.find(part) != std::string::npos; }

  static std::unique_ptr<StoreSide> OpenSide(char kind, const std::string& folder) {
    switch (kind) {
      case '0': return OpenForeshore(folder, StorageKind::kSqlite, true);
      case '1': return OpenPlainSqlite(folder, true);
      default: return OpenForeshore(folder, StorageKind::kRocksdb, true);
    }
  }

  void Time(const std::string& metric, StoreSide& side, std::size_t operations, const Work& work) {
    const std::int64_t wall = NowNs(CLOCK_MONOTONIC);
    const std::int64_t processor = NowNs(CLOCK_PROCESS_CPUTIME_ID);
    work(side);
    const double per = static_cast<double>(operations);
    Series& series = results_[metric][side.name()];
    series.processor_ns.push_back(static_cast<double>(NowNs(CLOCK_PROCESS_CPUTIME_ID) - processor) / per);
    series.wall_ns.push_back(static_cast<double>(NowNs(CLOCK_MONOTONIC) - wall) / per);
  }

  // One block of each side; the side that begins changes with the block.
  void TimeAll(const std::string& metric, int block, std::size_t operations, const Work& work) {
    for (std::size_t i = 0; i < sides_.size(); ++i) {
      Time(metric, *sides_[(i + static_cast<std::size_t>(block)) % sides_.size()], operations, work);
    }
  }

  void Import(int round) {
    const bool is_last = round + 1 == rounds_;
    if (is_last) sides_.resize(side_kinds_.size());
    for (std::size_t i = 0; i < side_kinds_.size(); ++i) {
      const std::size_t number = (i + static_cast<std::size_t>(round)) % side_kinds_.size();
      const std::string folder = folder_ + "/" + std::to_string(round) + "-" + std::to_string(number);
      std::filesystem::create_directories(folder);
      auto side = OpenSide(side_kinds_[number], folder);
      std::fprintf(stderr, "bench_store: import %d of %d: %s\n", round + 1, rounds_, side->name().c_str());
      Time("import", *side, documents_.all.size(), [&](StoreSide& target) {
        const std::span<const BenchDocument> all(documents_.all);
        for (std::size_t begin = 0; begin < all.size(); begin += kDocumentsPerTransaction) {
          target.Import(all.subspan(begin, std::min(kDocumentsPerTransaction, all.size() - begin)));
        }
      });
      if (is_last) {
        sides_[number] = std::move(side);
        continue;
      }
      const std::string name = side->name();
      side.reset();
      disk_bytes_[name] = BytesUnder(folder);
      std::filesystem::remove_all(folder);
    }
  }

  static std::uint64_t BytesUnder(const std::string& folder) {
    std::uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      struct stat info {};
      // What the file system has given, so that files made larger in advance do not count.
      if (entry.is_regular_file() && ::stat(entry.path().c_str(), &info) == 0) {
        bytes += std::min<std::uint64_t>(static_cast<std::uint64_t>(info.st_size),
                                         static_cast<std::uint64_t>(info.st_blocks) * 512);
      }
    }
    return bytes;
  }

  void CompareAnswers() {
    const std::size_t middle = documents_.all.size() / 2;
    for (const BenchQuery query : {BenchQuery::kPoint, BenchQuery::kRange, BenchQuery::kRangeFetched,
                                   BenchQuery::kSumOfNumber, BenchQuery::kSumOfTextLength, BenchQuery::kGroups}) {
      const auto ask = [&](StoreSide& side) {
        return side.Run(query, sorted_sizes_[middle], sorted_sizes_[middle + documents_.all.size() / 100],
                        documents_.all[middle].id);
      };
      const QueryAnswer expected = ask(*sides_.front());
      for (const auto& side : sides_) {
        const QueryAnswer answer = ask(*side);
        if (answer == expected && answer.rows > 0) continue;
        std::cerr << "bench_store: query " << static_cast<int>(query) << ": " << side->name() << " gives "
                  << answer.rows << " rows, sum " << answer.sum << ", expected " << expected.rows << " and "
                  << expected.sum << "\n";
        std::exit(1);
      }
    }
  }

  void PointReads() {
    std::uniform_int_distribution<std::size_t> any(0, documents_.all.size() - 1);
    std::vector<std::size_t> wanted(kReadsPerBlock);
    for (int block = 0; block < kReadBlocks; ++block) {
      for (std::size_t& each : wanted) each = any(random_);
      TimeAll("get", block, kReadsPerBlock, [&](StoreSide& side) {
        std::string body;
        for (const std::size_t each : wanted) {
          side.Get(documents_.all[each].id, body);
          if (body.size() != documents_.all[each].body.size()) std::abort();
        }
      });
      for (std::size_t& each : wanted) each = any(random_);
      TimeAll("sql_get", block, kReadsPerBlock, [&](StoreSide& side) {
        for (const std::size_t each : wanted) {
          if (side.Run(BenchQuery::kPoint, 0, 0, documents_.all[each].id).rows != 1) std::abort();
        }
      });
    }
  }

  void Ranges() {
    const std::size_t width = documents_.all.size() / 100;
    std::uniform_int_distribution<std::size_t> any(0, documents_.all.size() - width - 1);
    for (int block = 0; block < kRangeBlocks; ++block) {
      const std::size_t begin = any(random_);
      const auto run = [&](BenchQuery query) {
        return [&, query](StoreSide& side) {
          side.Run(query, sorted_sizes_[begin], sorted_sizes_[begin + width], documents_.all.front().id);
        };
      };
      TimeAll("range", block, 1, run(BenchQuery::kRange));
      TimeAll("range_fetched", block, 1, run(BenchQuery::kRangeFetched));
    }
  }

  void Scans() {
    for (int block = 0; block < kScanBlocks; ++block) {
      const auto run = [&](BenchQuery query) {
        return [&, query](StoreSide& side) { side.Run(query, 0, 0, documents_.all.front().id); };
      };
      TimeAll("scan_number", block, 1, run(BenchQuery::kSumOfNumber));
      TimeAll("scan_text", block, 1, run(BenchQuery::kSumOfTextLength));
      TimeAll("scan_groups", block, 1, run(BenchQuery::kGroups));
    }
  }

  void Commits() {
    std::uniform_int_distribution<std::size_t> any(0, documents_.all.size() - 1);
    for (int block = 0; block < kCommitBlocks; ++block) {
      std::vector<BenchDocument> fresh;
      std::vector<BenchDocument> changed;
      for (int i = 0; i < kCommitsPerBlock; ++i) {
        const std::size_t source = any(random_);
        fresh.push_back(documents_.all[source]);
        fresh.back().id = "new-" + std::to_string(random_()) + "-" + std::to_string(block);
        changed.push_back(documents_.all[any(random_)]);
        std::string& body = changed.back().body;
        const std::size_t at = body.find(R"("size":)") + 7;
        body.insert(at, "1");
      }
      const auto put = [](const std::vector<BenchDocument>& documents) {
        return [&documents](StoreSide& side) {
          for (const BenchDocument& document : documents) side.PutOne(document);
        };
      };
      TimeAll("commit_new", block, kCommitsPerBlock, put(fresh));
      TimeAll("commit_changed", block, kCommitsPerBlock, put(changed));
    }
  }

  static void PrintNumbers(const char* name, const std::vector<double>& values) {
    std::printf("\"%s\":[", name);
    for (std::size_t i = 0; i < values.size(); ++i) std::printf("%s%.1f", i > 0 ? "," : "", values[i]);
    std::printf("]");
  }

  void Print() const {
    std::uint64_t body_bytes = 0;
    for (const BenchDocument& document : documents_.all) body_bytes += document.body.size();
    std::printf("{\"documents\":%zu,\"real_documents\":%zu,\"body_bytes\":%llu,\"seed\":%u,\"disk_bytes\":{",
                documents_.all.size(), documents_.real_count, static_cast<unsigned long long>(body_bytes), kSeed);
    const char* comma = "";
    for (const auto& [name, bytes] : disk_bytes_) {
      std::printf("%s\"%s\":%llu", comma, name.c_str(), static_cast<unsigned long long>(bytes));
      comma = ",";
    }
    std::printf("},\"metrics\":{");
    comma = "";
    for (const auto& [metric, sides] : results_) {
      std::printf("%s\"%s\":{", comma, metric.c_str());
      comma = "";
      for (const auto& [name, series] : sides) {
        std::printf("%s\"%s\":{", comma, name.c_str());
        PrintNumbers("wall_ns", series.wall_ns);
        std::printf(",");
        PrintNumbers("processor_ns", series.processor_ns);
        std::printf("}");
        comma = ",";
      }
      std::printf("}");
      comma = ",";
    }
    std::printf("}}\n");
  }

  Documents documents_;
  std::vector<std::int64_t> sorted_sizes_;
  std::string folder_;
  int rounds_;
  std::string parts_;
  std::string side_kinds_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<StoreSide>> sides_;
  std::map<std::string, std::map<std::string, Series>> results_;
  std::map<std::string, std::uint64_t> disk_bytes_;
};

}  // namespace
}  // namespace foreshore

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: bench_store DOCUMENTS.jsonl WORK_DIRECTORY [DOCUMENT_COUNT] [ROUNDS] [PARTS [SIDES]]\n";
    return 2;
  }
  const std::size_t count = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 200'000;
  const int rounds = argc > 4 ? std::atoi(argv[4]) : 5;
  if (count < 1000 || rounds < 2) {
    std::cerr << "bench_store: " << count << " documents and " << rounds << " rounds, expected at least 1000 and 2\n";
    return 2;
  }
  const std::string parts = argc > 5 ? argv[5] : "gets,ranges,scans,commits";
  foreshore::Runner(argv[1], argv[2], count, rounds, parts, argc > 6 ? argv[6] : "012").Run();
  return 0;
}
