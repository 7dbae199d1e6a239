// bench_vectors --serve.
#include <algorithm>
#include <filesystem>
#include <optional>
#include <sstream>

#include "tests/bench/sqlite_vec_side.h"
#include "tests/bench/vector_database.h"

namespace foreshore {
namespace {

constexpr std::size_t kScanQueries = 20;  // A scan takes long, and takes the same each time.

class Server {
 public:
  Server(const Options& options, const VectorSet& set, const Truth& truth, const VectorIndex& ours, std::string scratch)
      : options_(options), set_(set), truth_(truth), ours_(ours), scratch_(std::move(scratch)) {}
  ~Server() {
    database_.reset();
    std::filesystem::remove_all(scratch_);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void Answer(const std::string& command, double number) {
    if (command == "ours") {
      Point point{static_cast<std::size_t>(number), 0};
      Measure(SearchOf(ours_, set_, set_.base.count() + 1), truth_, point);
      return Print(point.qps.front(), point.recall);
    }
    if (command == "tune") return Tune(number);
    if (command == "sql" && database_) {
      double recall = 0;
      const double qps = TimeSql(*database_, set_, "", set_.queries.count(), truth_, recall);
      return Print(qps, recall);
    }
    if (command == "sqlite-vec" && !options_.sqlite_vec.empty()) return Scan();
    std::cerr << "bench_vectors: found the command \"" << command << "\", expected ours, tune, sql after it, or "
              << "sqlite-vec with --sqlite-vec\n";
    std::exit(1);
  }

 private:
  static void Print(double qps, double recall) {
    std::cout << R"({"qps": )" << qps << R"(, "recall": )" << recall << "}" << std::endl;
  }

  void Tune(double recall) {
    if (!database_) {
      const auto start = BenchClock::now();
      database_ = ImportSet(options_, set_, scratch_);
      import_seconds_ = SecondsSince(start);
    }
    const auto tuned = database_->TuneVectorIndex("points", "v", recall);
    if (!tuned.ok() && tuned.status().code() != ErrorCode::kLimit) Check(tuned.status());
    std::cout << R"({"ef": )" << (tuned.ok() ? tuned->ef : 0) << R"(, "import_s": )" << import_seconds_ << "}"
              << std::endl;
  }

  void Scan() {
    if (!scan_) scan_ = std::make_unique<SqliteVecSide>(options_.sqlite_vec, options_.metric, set_.base);
    const Truth truth(truth_.begin(),
                      truth_.begin() + static_cast<std::ptrdiff_t>(std::min(kScanQueries, truth_.size())));
    Point point;
    Measure([&](std::size_t query, std::size_t,
                std::vector<std::int64_t>& found) { scan_->Search(set_.queries[query], kK, found); },
            truth, point);
    Print(point.qps.front(), point.recall);
  }

  const Options& options_;
  const VectorSet& set_;
  const Truth& truth_;
  const VectorIndex& ours_;
  std::string scratch_;
  std::unique_ptr<Database> database_;
  double import_seconds_ = 0;
  std::unique_ptr<SqliteVecSide> scan_;
};

}  // namespace

void Serve(const Options& options, const VectorSet& set, const Truth& truth, const VectorIndex& ours,
           const std::string& scratch) {
  Server server(options, set, truth, ours, scratch + ".foreshore");
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    double number = 0;
    words >> command >> number;
    server.Answer(command, number);
  }
}

}  // namespace foreshore
