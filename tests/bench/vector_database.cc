#include "tests/bench/vector_database.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/bench/vector_filters.h"

namespace foreshore {
namespace {

constexpr std::size_t kDocumentsPerCommit = 1000;
constexpr std::size_t kInserts = 1000;  // Of each kind.
constexpr std::size_t kRowsPerChange = 100;
constexpr std::size_t kPeerLinks = 16;

std::string DocumentOf(const VectorSet& set, std::size_t row, int team, const char* field) {
  return R"({"n":)" + std::to_string(row) + R"(,"bucket":)" + std::to_string(BucketOf(row)) + R"(,"team":)" +
         std::to_string(team) + R"(,")" + field + R"(":)" + ArrayOf(set.base[row % set.base.count()]) + "}";
}

// Bytes that this process has sent to the device, or will: Linux counts pages as they become dirty.
std::uint64_t WrittenBytes() {
  std::ifstream file("/proc/self/io");
  for (std::string name; file >> name;) {
    std::uint64_t value = 0;
    file >> value;
    if (name == "write_bytes:") return value;
  }
  std::cerr << "bench_vectors: /proc/self/io: found no write_bytes\n";
  std::exit(1);
}

std::uint64_t SnapshotBytes(const std::string& folder) {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/index")) {
    if (entry.is_regular_file() && entry.path().filename().string().starts_with("v")) bytes += entry.file_size();
  }
  return bytes;
}

struct SqlRate {
  double qps = 0;  // Median of the rounds.
  double recall = 0;
};

SqlRate MeasureRounds(const Options& options, const VectorSet& set, const Truth& truth, Database& database) {
  SqlRate rate;
  std::vector<double> qps;
  for (int round = 0; round < options.rounds; ++round) {
    qps.push_back(TimeSql(database, set, "", set.queries.count(), truth, rate.recall));
  }
  rate.qps = Quantile(std::move(qps), 0.5);
  return rate;
}

// For reading documents as much as hnswlib keeps of the set in memory; half of a store's cache is its readers'.
std::uint64_t LargeCacheBytes(const VectorSet& set) {
  const std::uint64_t peer_node_bytes = set.base.dimension * sizeof(float) + 2 * kPeerLinks * sizeof(std::uint32_t);
  return 2 * set.base.count() * peer_node_bytes;
}

std::unique_ptr<Database> OpenAgain(std::unique_ptr<Database> database, const std::string& folder,
                                    std::uint64_t cache_bytes) {
  Check(database->Close());
  database.reset();
  DatabaseOptions options;
  if (cache_bytes != 0) options.cache_bytes = cache_bytes;
  return Check(Database::Open(folder, options));
}

std::unique_ptr<Database> MeasureSql(const Options& options, const VectorSet& set, const Truth& truth,
                                     const std::string& folder, std::unique_ptr<Database> database) {
  // As it comes, and tuned with queries of the first round, as far as all of them need.
  const SqlRate first = MeasureRounds(options, set, truth, *database);
  SqlRate tuned;
  for (const double target : {0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999}) {
    if (!database->TuneVectorIndex("points", "v", target).ok()) break;  // Out of reach.
    TimeSql(*database, set, "", set.queries.count(), truth, tuned.recall);
    if (tuned.recall >= 0.95) break;
  }
  tuned = MeasureRounds(options, set, truth, *database);
  database = OpenAgain(std::move(database), folder, LargeCacheBytes(set));
  const SqlRate cached = MeasureRounds(options, set, truth, *database);
  database = OpenAgain(std::move(database), folder, 0);
  std::vector<bool> passes(set.base.count());
  for (std::size_t row = 0; row < passes.size(); ++row) passes[row] = BucketOf(row) == 17;
  const Truth filtered_truth = TrueNeighbors(set, options.metric, passes);
  double filtered_recall = 0;
  const double filtered_qps = TimeSql(*database, set, "AND bucket = 17", 200, filtered_truth, filtered_recall);
  // The same filter as a term that no index serves: neighbours are streamed until enough pass.
  double streamed_recall = 0;
  const double streamed_qps = TimeSql(*database, set, "AND +bucket = 17", 20, filtered_truth, streamed_recall);
  std::cout << R"(, "qps": )" << first.qps << R"(, "recall": )" << first.recall << R"(, "tuned_qps": )" << tuned.qps
            << R"(, "tuned_recall": )" << tuned.recall << R"(, "cached_qps": )" << cached.qps << R"(, "cache_bytes": )"
            << LargeCacheBytes(set) << R"(, "filtered_qps": )" << filtered_qps << R"(, "filtered_recall": )"
            << filtered_recall << R"(, "streamed_qps": )" << streamed_qps << R"(, "streamed_recall": )"
            << streamed_recall << "}";
  return database;
}

// Single puts with full durability: a document with its vector, and one of the same size whose numbers are in a field
// without an index. Their times are taken in turns. Their bytes are not: about every 180th commit moves the write-ahead
// log into the main file and writes 1 MB more, and in turns it may be the same kind's each time. So each kind has a run
// of its own, which begins with an empty write-ahead log.
void MeasureInserts(const VectorSet& set, Database& database) {
  struct Kind {
    const char* field;
    std::vector<double> ms = {};
    std::uint64_t written_bytes = 0;
  };
  Kind kinds[] = {{"v"}, {"w"}};
  const auto put = [&](const char* prefix, const Kind& kind, std::size_t i) {
    const std::string id = std::string(prefix) + kind.field + std::to_string(i);
    const std::string body = DocumentOf(set, set.base.count() + i, 0, kind.field);
    const auto start = BenchClock::now();
    Check(database.Put("points", id, body));
    return SecondsSince(start) * 1000;
  };
  for (std::size_t i = 0; i < kInserts; ++i) {
    for (Kind& kind : kinds) kind.ms.push_back(put("new-", kind, i));
  }
  for (Kind& kind : kinds) {
    Check(database.Checkpoint());
    const std::uint64_t before = WrittenBytes();
    for (std::size_t i = 0; i < kInserts; ++i) put("more-", kind, i);
    kind.written_bytes = WrittenBytes() - before;
  }
  std::cout << R"(, "insert": {"count": )" << kInserts;
  for (const Kind& kind : kinds) {
    const std::string name = kind.field == std::string("v") ? "indexed" : "plain";
    std::cout << R"(, ")" << name << R"(_p50_ms": )" << Quantile(kind.ms, 0.5) << R"(, ")" << name << R"(_p99_ms": )"
              << Quantile(kind.ms, 0.99) << R"(, ")" << name << R"(_bytes": )"
              << static_cast<double>(kind.written_bytes) / static_cast<double>(kInserts);
  }
  std::cout << "}";
}

// Patches 1 % of the documents, evenly spread, with the vector of the one that is `offset` rows farther, and returns
// what a checkpoint then writes.
std::uint64_t CheckpointBytesAfterChange(const VectorSet& set, Database& database, std::size_t offset,
                                         std::size_t& changed_count) {
  Check(database.Checkpoint());
  changed_count = 0;
  auto transaction = Check(database.Begin());
  for (std::size_t row = 0; row < set.base.count(); row += kRowsPerChange, ++changed_count) {
    const std::size_t other = (row + offset) % set.base.count();
    Check(transaction->Patch("points", std::to_string(row), R"({"v":)" + ArrayOf(set.base[other]) + "}"));
  }
  Check(transaction->Commit());
  Check(database.WaitIndexed());
  const std::uint64_t before = WrittenBytes();
  Check(database.Checkpoint());
  return WrittenBytes() - before;
}

// The store's part of a checkpoint is what the same changes cost once the vector index is gone.
void MeasureCheckpoint(const VectorSet& set, Database& database, const std::string& folder) {
  std::size_t changed_count = 0;
  const std::size_t offset = set.base.count() / 2;
  const std::uint64_t indexed_bytes = CheckpointBytesAfterChange(set, database, offset, changed_count);
  const std::uint64_t snapshot_bytes = SnapshotBytes(folder);
  Check(database.DropVectorIndex("points", "v"));
  const std::uint64_t plain_bytes = CheckpointBytesAfterChange(set, database, offset + 1, changed_count);
  std::cout << R"(, "checkpoint": {"changed_count": )" << changed_count << R"(, "plain_bytes": )" << plain_bytes
            << R"(, "indexed_bytes": )" << indexed_bytes << R"(, "snapshot_bytes": )" << snapshot_bytes << "}";
}

}  // namespace

std::unique_ptr<Database> ImportSet(const Options& options, const VectorSet& set, const std::string& folder) {
  std::filesystem::remove_all(folder);
  auto database = Check(Database::Open(folder, {.create = true}));
  Check(database->CreateCollection("points"));
  VectorFieldOptions field;
  field.field = "v";
  field.dimension = set.base.dimension;
  field.metric = options.metric;
  field.precision = options.precision;
  field.links_per_node = options.links;
  Check(database->CreateVectorIndex("points", field));
  Check(database->CreateFieldIndex("points", {.paths = {"bucket"}}));
  Check(database->CreateFieldIndex("points", {.paths = {"team"}}));
  const std::vector<int> teams = TeamsOf(set, options.metric);
  for (std::size_t first = 0; first < set.base.count(); first += kDocumentsPerCommit) {
    auto transaction = Check(database->Begin());
    for (std::size_t row = first; row < std::min(first + kDocumentsPerCommit, set.base.count()); ++row) {
      Check(transaction->Put("points", std::to_string(row), DocumentOf(set, row, teams[row], "v")));
    }
    Check(transaction->Commit());
  }
  Check(database->WaitIndexed(std::chrono::hours(1)));
  return database;
}

double TimeSql(Database& database, const VectorSet& set, const std::string& where, std::size_t query_count,
               const Truth& expected, double& recall) {
  const auto statement = Check(database.Prepare("SELECT n, body, distance FROM points WHERE v MATCH ? " + where +
                                                " ORDER BY distance LIMIT 10"));
  double hits = 0;
  const auto begun = BenchClock::now();
  for (std::size_t query = 0; query < query_count; ++query) {
    const std::span<const float> values = set.queries[query];
    Check(statement->Bind(1, SqlBlob{std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes())}));
    std::vector<std::int64_t> found;
    while (Check(statement->Step())) found.push_back(std::get<std::int64_t>(statement->Column(0)));
    Check(statement->Reset());
    hits += RecallOf(found, expected[query]);
  }
  recall = hits / static_cast<double>(query_count);
  return static_cast<double>(query_count) / SecondsSince(begun);
}

void MeasureDatabase(const Options& options, const VectorSet& set, const Truth& truth, const std::string& folder) {
  if (!options.Has("sql") && !options.Has("insert") && !options.Has("checkpoint")) return;
  auto start = BenchClock::now();
  auto database = ImportSet(options, set, folder);
  const double import_seconds = SecondsSince(start);
  std::cerr << "imported in " << import_seconds << " s\n";
  if (options.Has("sql")) {
    start = BenchClock::now();
    Check(database->Close());
    database.reset();
    const double close_seconds = SecondsSince(start);
    start = BenchClock::now();
    database = Check(Database::Open(folder, {}));
    std::cout << R"(, "sql": {"import_s": )" << import_seconds << R"(, "close_s": )" << close_seconds
              << R"(, "open_s": )" << SecondsSince(start);
    database = MeasureSql(options, set, truth, folder, std::move(database));
    if (options.Has("filters")) MeasureSqlFilters(*database, set, FilterCasesOf(set, options.metric));
  }
  if (options.Has("insert")) MeasureInserts(set, *database);
  if (options.Has("checkpoint")) MeasureCheckpoint(set, *database, folder);
  Check(database->Close());
  database.reset();
  std::filesystem::remove_all(folder);
}

}  // namespace foreshore
