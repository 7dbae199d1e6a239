// The vector index beside hnswlib over float32: build, bytes, queries per second by recall, opening, turnover, filters;
// and the same queries by SQL, with their documents.
//
//   bench_vectors FOLDER cosine|l2 [--rounds N] [--links M] [--ef-construction N] [--threads N] [--bits 8|16]
//                 [--graph flat|hnswlib] [--count N] [--peer-links M] [--no-peer] [--turnover] [--sql]
//
// FOLDER is one that scripts/make_vectors.py made. One JSON object on standard output; tests/bench/vectors.py makes the
// table of it. Both sides answer the same queries in turns, a round of all queries at a time.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "foreshore/database.h"
#include "index/quantizer.h"
#include "index/vector_index.h"
#include "storage/base/file.h"
#include "tests/bench/hnswlib_side.h"
#include "tests/bench/vector_set.h"

namespace foreshore {
namespace {

constexpr std::size_t kK = 10;
const std::vector<std::size_t> kEfs = {10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 900};

struct Options {
  std::string folder;
  VectorMetric metric = VectorMetric::kCosine;
  int rounds = 5;
  std::uint32_t links = 16;
  std::uint32_t ef_construction = 200;
  int threads = 2;
  VectorGraphKind graph = VectorGraphKind::kFlat;
  std::size_t count = 0;  // Of the base; 0 for all.
  bool peer = true;
  std::uint32_t peer_links = 16;
  bool turnover = false;
  bool sql = false;
  VectorPrecision precision = VectorPrecision::kInt16;
};

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <typename T>
T Check(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  std::cerr << "bench_vectors: " << result.status().ToString() << '\n';
  std::exit(1);
}

void Check(const Status& status) {
  if (status.ok()) return;
  std::cerr << "bench_vectors: " << status.ToString() << '\n';
  std::exit(1);
}

Options ParseOptions(int argc, char** argv) {
  Options options;
  if (argc < 3) {
    std::cerr << "usage: bench_vectors FOLDER cosine|l2 [OPTION…]\n";
    std::exit(2);
  }
  options.folder = argv[1];
  options.metric = std::strcmp(argv[2], "l2") == 0 ? VectorMetric::kL2 : VectorMetric::kCosine;
  for (int i = 3; i < argc; ++i) {
    const std::string name = argv[i];
    options.peer = options.peer && name != "--no-peer";
    options.turnover = options.turnover || name == "--turnover";
    options.sql = options.sql || name == "--sql";
    if (name == "--no-peer" || name == "--turnover" || name == "--sql") continue;
    const char* value = i + 1 < argc ? argv[++i] : "";
    if (name == "--rounds") options.rounds = std::atoi(value);
    if (name == "--links") options.links = static_cast<std::uint32_t>(std::atoi(value));
    if (name == "--ef-construction") options.ef_construction = static_cast<std::uint32_t>(std::atoi(value));
    if (name == "--bits" && std::strcmp(value, "8") == 0) options.precision = VectorPrecision::kInt8;
    if (name == "--peer-links") options.peer_links = static_cast<std::uint32_t>(std::atoi(value));
    if (name == "--threads") options.threads = std::atoi(value);
    if (name == "--count") options.count = static_cast<std::size_t>(std::atoll(value));
    if (name == "--graph" && std::strcmp(value, "hnswlib") == 0) options.graph = VectorGraphKind::kHnswlib;
  }
  return options;
}

using SearchFunction = std::function<void(std::size_t query, std::size_t ef, std::vector<std::int64_t>& found)>;

struct Point {
  std::size_t ef = 0;
  double recall = 0;
  std::vector<double> qps;  // One per round.
};

double RecallOf(const std::vector<std::int64_t>& found, const std::vector<std::int64_t>& truth) {
  std::size_t hits = 0;
  for (std::size_t i = 0; i < kK; ++i) hits += std::count(found.begin(), found.end(), truth[i]) > 0 ? 1 : 0;
  return static_cast<double>(hits) / kK;
}

void Measure(const SearchFunction& search, const std::vector<std::vector<std::int64_t>>& truth, Point& point) {
  std::vector<std::vector<std::int64_t>> found(truth.size());
  const auto start = Clock::now();
  for (std::size_t query = 0; query < truth.size(); ++query) search(query, point.ef, found[query]);
  point.qps.push_back(static_cast<double>(truth.size()) / SecondsSince(start));
  double sum = 0;
  for (std::size_t query = 0; query < truth.size(); ++query) sum += RecallOf(found[query], truth[query]);
  point.recall = sum / static_cast<double>(truth.size());
}

void PrintPoints(const std::vector<Point>& points) {
  std::cout << '[';
  for (std::size_t i = 0; i < points.size(); ++i) {
    std::cout << (i == 0 ? "" : ", ") << R"({"ef": )" << points[i].ef << R"(, "recall": )" << points[i].recall
              << R"(, "qps": [)";
    for (std::size_t round = 0; round < points[i].qps.size(); ++round) {
      std::cout << (round == 0 ? "" : ", ") << points[i].qps[round];
    }
    std::cout << "]}";
  }
  std::cout << ']';
}

std::unique_ptr<VectorIndex> BuildOurs(const Options& options, const VectorSet& set, double& seconds) {
  VectorIndexConfig config;
  config.metric = options.metric;
  config.dimension = set.base.dimension;
  config.links_per_node = options.links;
  config.ef_construction = options.ef_construction;
  config.graph = options.graph;
  config.precision = options.precision;
  std::vector<ByteString> records;
  for (std::size_t row = 0; row < set.base.count(); ++row) {
    records.push_back(Check(EncodeVectorRecord(set.base[row], config.dimension, config.precision)));
  }
  const auto start = Clock::now();
  auto index = Check(CreateHnswIndex(config));
  std::vector<VectorUpsert> upserts;
  for (std::size_t row = 0; row < set.base.count(); ++row) {
    upserts.push_back({static_cast<std::int64_t>(row), records[row], row + 1});
  }
  Check(index->UpsertMany(upserts, static_cast<unsigned>(options.threads)));
  seconds = SecondsSince(start);
  return index;
}

SearchFunction SearchOf(const VectorIndex& index, const VectorSet& set, std::uint64_t snapshot) {
  return [&index, &set, snapshot](std::size_t query, std::size_t ef, std::vector<std::int64_t>& found) {
    VectorSearchOptions search;
    search.ef = ef;
    search.k_hint = kK;
    search.strategy = VectorStrategy::kGraph;
    const auto cursor = Check(index.NewCursor(set.queries[query], snapshot, search));
    for (std::size_t i = 0; i < kK; ++i) {
      const auto match = Check(cursor->Next());
      if (!match) break;
      found.push_back(match->docid);
    }
  };
}

double RecallAt(const VectorIndex& index, const VectorSet& set, const std::vector<std::vector<std::int64_t>>& truth,
                std::uint64_t snapshot) {
  constexpr std::size_t kEf = 112;
  Point point{kEf, 0, {}};
  Measure(SearchOf(index, set, snapshot), truth, point);
  return point.recall;
}

// Every document is written anew with its own vector in twenty rounds, so that the truth stays; each round's old
// entries are garbage at its end.
void MeasureTurnover(const Options& options, const VectorSet& set, VectorIndex& index,
                     const std::vector<std::vector<std::int64_t>>& truth) {
  constexpr std::size_t kRoundCount = 20;
  std::uint64_t sequence = set.base.count() + 1;
  const double recall_before = RecallAt(index, set, truth, sequence);
  const std::uint64_t memory_before = index.memory_bytes();
  double write_seconds = 0;
  double compact_seconds = 0;
  for (std::size_t round = 0; round < kRoundCount; ++round) {
    auto start = Clock::now();
    for (std::size_t row = round; row < set.base.count(); row += kRoundCount) {
      const auto docid = static_cast<std::int64_t>(row);
      Check(index.Remove(docid, ++sequence));
      const ByteString record = Check(EncodeVectorRecord(set.base[row], set.base.dimension, options.precision));
      Check(index.Upsert(docid, record, ++sequence));
    }
    write_seconds += SecondsSince(start);
    index.ForgetBefore(sequence);
    start = Clock::now();
    if (index.ShouldCompact()) Check(index.Compact());
    compact_seconds += SecondsSince(start);
  }
  std::cout << R"(, "turnover": {"recall_before": )" << recall_before << R"(, "recall_after": )"
            << RecallAt(index, set, truth, sequence) << R"(, "write_us": )"
            << write_seconds * 1e6 / static_cast<double>(set.base.count()) << R"(, "compact_s": )" << compact_seconds
            << R"(, "memory_before": )" << memory_before << R"(, "memory_after": )" << index.memory_bytes() << "}";
}

std::string ArrayOf(std::span<const float> values) {
  std::string text = "[";
  char number[32];
  for (const float value : values) {
    std::snprintf(number, sizeof(number), "%.7g", static_cast<double>(value));
    if (text.size() > 1) text += ',';
    text += number;
  }
  return text + "]";
}

// The database's own way: documents that carry their vector, "bucket" 0..99 with an index on it, and SQL for the
// search.
void MeasureSql(const Options& options, const VectorSet& set, const std::vector<std::vector<std::int64_t>>& truth,
                const std::string& folder) {
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
  auto start = Clock::now();
  constexpr std::size_t kDocumentsPerCommit = 1000;
  for (std::size_t first = 0; first < set.base.count(); first += kDocumentsPerCommit) {
    auto transaction = Check(database->Begin());
    for (std::size_t row = first; row < std::min(first + kDocumentsPerCommit, set.base.count()); ++row) {
      const std::string body = R"({"n":)" + std::to_string(row) + R"(,"bucket":)" + std::to_string(row * 7919 % 100) +
                               R"(,"v":)" + ArrayOf(set.base[row]) + "}";
      Check(transaction->Put("points", std::to_string(row), body));
    }
    Check(transaction->Commit());
  }
  Check(database->WaitIndexed(std::chrono::hours(1)));
  const double import_seconds = SecondsSince(start);
  std::cerr << "imported in " << import_seconds << " s\n";
  start = Clock::now();
  Check(database->Close());
  database.reset();
  const double close_seconds = SecondsSince(start);
  start = Clock::now();
  database = Check(Database::Open(folder, {}));
  const double open_seconds = SecondsSince(start);

  const auto time_queries = [&](const std::string& where, std::size_t query_count, double& recall,
                                const std::vector<std::vector<std::int64_t>>& expected) {
    const auto statement = Check(database->Prepare("SELECT n, body, distance FROM points WHERE v MATCH ? " + where +
                                                   " ORDER BY distance LIMIT 10"));
    double hits = 0;
    const auto begun = Clock::now();
    for (std::size_t query = 0; query < query_count; ++query) {
      const std::span<const float> values = set.queries[query];
      Check(
          statement->Bind(1, SqlBlob{std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes())}));
      std::vector<std::int64_t> found;
      while (Check(statement->Step())) found.push_back(std::get<std::int64_t>(statement->Column(0)));
      Check(statement->Reset());
      hits += RecallOf(found, expected[query]);
    }
    recall = hits / static_cast<double>(query_count);
    return static_cast<double>(query_count) / SecondsSince(begun);
  };
  double recall = 0;
  const double qps = time_queries("", set.queries.count(), recall, truth);
  std::vector<bool> passes(set.base.count());
  for (std::size_t row = 0; row < passes.size(); ++row) passes[row] = row * 7919 % 100 == 17;
  const auto filtered_truth = TrueNeighbors(set, options.metric, passes);
  double filtered_recall = 0;
  const double filtered_qps = time_queries("AND bucket = 17", 200, filtered_recall, filtered_truth);
  // The same filter as a term that no index serves: neighbours are streamed until enough pass.
  double streamed_recall = 0;
  const double streamed_qps = time_queries("AND +bucket = 17", 20, streamed_recall, filtered_truth);
  std::cout << R"(, "sql": {"import_s": )" << import_seconds << R"(, "close_s": )" << close_seconds << R"(, "open_s": )"
            << open_seconds << R"(, "qps": )" << qps << R"(, "recall": )" << recall << R"(, "filtered_qps": )"
            << filtered_qps << R"(, "filtered_recall": )" << filtered_recall << R"(, "streamed_qps": )" << streamed_qps
            << R"(, "streamed_recall": )" << streamed_recall << "}";
  Check(database->Close());
  database.reset();
  std::filesystem::remove_all(folder);
}

int Run(const Options& options) {
  VectorSet set = ReadVectorSet(options.folder, options.metric);
  if (options.count != 0 && options.count < set.base.count()) {
    set.base.values.resize(options.count * set.base.dimension);
  }
  const auto truth = CachedTrueNeighbors(set, options.metric, options.folder);
  const std::string scratch = options.folder + "/bench-" + std::to_string(::getpid());

  double our_seconds = 0;
  const auto ours = BuildOurs(options, set, our_seconds);
  Check(ours->SaveSnapshot(scratch));
  const std::uint64_t our_file_bytes = Check(FileSizeBytes(scratch));
  const auto open_start = Clock::now();
  Check(LoadHnswIndex(ours->config(), scratch));
  const double our_open_seconds = SecondsSince(open_start);
  Check(RemoveFile(scratch));
  std::cerr << "ours built in " << our_seconds << " s, file "
            << static_cast<double>(our_file_bytes) / static_cast<double>(set.base.count()) << " B a vector, memory "
            << static_cast<double>(ours->memory_bytes()) / static_cast<double>(set.base.count()) << '\n';

  std::unique_ptr<HnswlibSide> peer;
  double peer_seconds = 0;
  double peer_open_seconds = 0;
  std::uint64_t peer_file_bytes = 0;
  if (options.peer) {
    peer = std::make_unique<HnswlibSide>(options.metric, set.base.dimension, set.base.count(), options.peer_links, 200);
    const auto start = Clock::now();
    peer->Build(set.base, options.threads);
    peer_seconds = SecondsSince(start);
    peer->Save(scratch);
    peer_file_bytes = Check(FileSizeBytes(scratch));
    const auto peer_open_start = Clock::now();
    HnswlibSide::Load(options.metric, set.base.dimension, scratch);
    peer_open_seconds = SecondsSince(peer_open_start);
    Check(RemoveFile(scratch));
    std::cerr << "hnswlib built in " << peer_seconds << " s\n";
  }

  const SearchFunction search_ours = SearchOf(*ours, set, set.base.count() + 1);
  const SearchFunction search_peer = [&](std::size_t query, std::size_t ef, std::vector<std::int64_t>& found) {
    peer->Search(set.queries[query].data(), kK, std::max(ef, kK), found);
  };
  std::vector<Point> our_points;
  std::vector<Point> peer_points;
  for (const std::size_t ef : kEfs) {
    our_points.push_back({ef, 0, {}});
    if (options.peer) peer_points.push_back({ef, 0, {}});
  }
  for (int round = 0; round < options.rounds; ++round) {
    for (std::size_t i = 0; i < kEfs.size(); ++i) {
      Measure(search_ours, truth, our_points[i]);
      if (options.peer) Measure(search_peer, truth, peer_points[i]);
    }
  }
  std::cout << R"({"count": )" << set.base.count() << R"(, "dimension": )" << set.base.dimension
            << R"(, "ours": {"build_s": )" << our_seconds << R"(, "open_s": )" << our_open_seconds
            << R"(, "file_bytes": )" << our_file_bytes << R"(, "memory_bytes": )" << ours->memory_bytes()
            << R"(, "points": )";
  PrintPoints(our_points);
  std::cout << R"(}, "hnswlib": {"build_s": )" << peer_seconds << R"(, "open_s": )" << peer_open_seconds
            << R"(, "file_bytes": )" << peer_file_bytes << R"(, "points": )";
  PrintPoints(peer_points);
  std::cout << "}";
  peer.reset();
  if (options.turnover) MeasureTurnover(options, set, *ours, truth);
  if (options.sql) MeasureSql(options, set, truth, scratch + ".foreshore");
  std::cout << "}\n";
  return 0;
}

}  // namespace
}  // namespace foreshore

int main(int argc, char** argv) {
  return foreshore::Run(foreshore::ParseOptions(argc, argv));
}
