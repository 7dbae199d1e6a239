// The vector index beside hnswlib over float32: build, bytes, queries per second by recall, opening, turnover, filters;
// and the same queries by SQL, with their documents, durable inserts and checkpoints.
//
//   bench_vectors FOLDER cosine|l2 [--parts search,filters,open,turnover,budget,sql,insert,checkpoint] [--rounds N]
//                 [--links M] [--ef-construction N] [--threads N] [--bits 1|4|8|16] [--no-centre] [--no-rotation]
//                 [--graph flat|hnswlib] [--count N] [--peer-links M] [--no-peer] [--serve [--sqlite-vec FILE]]
//
// FOLDER is one that scripts/make_vectors.py made. One JSON object on standard output; tests/bench/vectors.py makes the
// table of it. Both sides answer the same queries in turns, a round of all queries at a time. With --serve it builds
// ours alone, says {"build_s"} and takes commands (tests/bench/vector_bench.h), so that other processes have their
// turns too.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sstream>

#include "index/quantizer.h"
#include "storage/base/file.h"
#include "tests/bench/hnswlib_side.h"
#include "tests/bench/vector_bench.h"
#include "tests/bench/vector_filters.h"

namespace foreshore {

double RecallOf(const std::vector<std::int64_t>& found, const std::vector<std::int64_t>& truth) {
  std::size_t hits = 0;
  for (std::size_t i = 0; i < kK; ++i) hits += std::count(found.begin(), found.end(), truth[i]) > 0 ? 1 : 0;
  return static_cast<double>(hits) / kK;
}

void Measure(const SearchFunction& search, const Truth& truth, Point& point) {
  std::vector<std::vector<std::int64_t>> found(truth.size());
  const auto start = BenchClock::now();
  for (std::size_t query = 0; query < truth.size(); ++query) search(query, point.ef, found[query]);
  point.qps.push_back(static_cast<double>(truth.size()) / SecondsSince(start));
  double sum = 0;
  for (std::size_t query = 0; query < truth.size(); ++query) sum += RecallOf(found[query], truth[query]);
  point.recall = sum / static_cast<double>(truth.size());
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

double Quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
}

namespace {

const std::vector<std::size_t> kEfs = {10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 900};

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
    options.is_served = options.is_served || name == "--serve";
    options.is_centred = options.is_centred && name != "--no-centre";
    options.is_rotated = options.is_rotated && name != "--no-rotation";
    if (name == "--no-peer" || name == "--serve" || name == "--no-centre" || name == "--no-rotation") continue;
    const char* value = i + 1 < argc ? argv[++i] : "";
    if (name == "--rounds") options.rounds = std::atoi(value);
    if (name == "--links") options.links = static_cast<std::uint32_t>(std::atoi(value));
    if (name == "--ef-construction") options.ef_construction = static_cast<std::uint32_t>(std::atoi(value));
    if (name == "--bits") {
      const auto precision = VectorPrecisionFromBits(std::atoi(value));
      if (!precision) {
        std::cerr << "bench_vectors: bits are \"" << value << "\", expected 1, 4, 8 or 16\n";
        std::exit(2);
      }
      options.precision = *precision;
    }
    if (name == "--peer-links") options.peer_links = static_cast<std::uint32_t>(std::atoi(value));
    if (name == "--threads") options.threads = std::atoi(value);
    if (name == "--count") options.count = static_cast<std::size_t>(std::atoll(value));
    if (name == "--graph" && std::strcmp(value, "hnswlib") == 0) options.graph = VectorGraphKind::kHnswlib;
    if (name == "--sqlite-vec") options.sqlite_vec = value;
    if (name != "--parts") continue;
    options.parts.clear();
    std::istringstream parts(value);
    for (std::string part; std::getline(parts, part, ',');) options.parts.insert(part);
  }
  return options;
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
  config.small_codes_centred = options.is_centred;
  config.small_codes_rotated = options.is_rotated;
  if (HasSmallCodes(config.precision)) config.scratch_folder = options.folder;  // As a database does.
  std::vector<ByteString> records;
  for (std::size_t row = 0; row < set.base.count(); ++row) {
    records.push_back(Check(EncodeVectorRecord(set.base[row], config.dimension, config.precision)));
  }
  const auto start = BenchClock::now();
  auto index = Check(CreateHnswIndex(config));
  std::vector<VectorUpsert> upserts;
  for (std::size_t row = 0; row < set.base.count(); ++row) {
    upserts.push_back({static_cast<std::int64_t>(row), records[row], row + 1});
  }
  Check(index->UpsertMany(upserts, static_cast<unsigned>(options.threads)));
  seconds = SecondsSince(start);
  return index;
}

double RecallAt(const VectorIndex& index, const VectorSet& set, const Truth& truth, std::uint64_t snapshot) {
  constexpr std::size_t kEf = 112;
  Point point{kEf, 0, {}};
  Measure(SearchOf(index, set, snapshot), truth, point);
  return point.recall;
}

// How many of up to 20,000 vectors, evenly spread, are not among the ten nearest to themselves: hints at what is out of
// reach. Vectors that are there more often than ten times are rightly missed.
std::size_t SelfMissedCount(const VectorIndex& index, const VectorSet& set, std::uint64_t snapshot) {
  const std::size_t step = set.base.count() / 20'000 + 1;
  std::size_t missed_count = 0;
  for (std::size_t row = 0; row < set.base.count(); row += step) {
    VectorSearchOptions search;
    search.ef = 112;
    search.k_hint = kK;
    search.strategy = VectorStrategy::kGraph;
    const auto cursor = Check(index.NewCursor(set.base[row], snapshot, search));
    bool is_found = false;
    for (std::size_t i = 0; i < kK && !is_found; ++i) {
      const auto match = Check(cursor->Next());
      is_found = match && match->docid == static_cast<std::int64_t>(row);
    }
    missed_count += is_found ? 0 : 1;
  }
  return missed_count;
}

// Every document is written anew with its own vector in twenty rounds, so that the truth stays; each round's old
// entries are garbage at its end. What is there before is the fresh build that is compared with.
void MeasureTurnover(const Options& options, const VectorSet& set, VectorIndex& index, const Truth& truth) {
  constexpr std::size_t kRoundCount = 20;
  std::uint64_t sequence = set.base.count() + 1;
  const double recall_before = RecallAt(index, set, truth, sequence);
  const std::size_t missed_before = SelfMissedCount(index, set, sequence);
  const std::uint64_t memory_before = index.memory_bytes();
  double write_seconds = 0;
  double compact_seconds = 0;
  for (std::size_t round = 0; round < kRoundCount; ++round) {
    auto start = BenchClock::now();
    for (std::size_t row = round; row < set.base.count(); row += kRoundCount) {
      const auto docid = static_cast<std::int64_t>(row);
      Check(index.Remove(docid, ++sequence));
      const ByteString record = Check(EncodeVectorRecord(set.base[row], set.base.dimension, options.precision));
      Check(index.Upsert(docid, record, ++sequence));
    }
    write_seconds += SecondsSince(start);
    index.ForgetBefore(sequence);
    start = BenchClock::now();
    if (index.ShouldCompact()) Check(index.Compact());
    compact_seconds += SecondsSince(start);
  }
  std::cout << R"(, "turnover": {"recall_before": )" << recall_before << R"(, "recall_after": )"
            << RecallAt(index, set, truth, sequence) << R"(, "write_us": )"
            << write_seconds * 1e6 / static_cast<double>(set.base.count()) << R"(, "compact_s": )" << compact_seconds
            << R"(, "self_missed_before": )" << missed_before << R"(, "self_missed_after": )"
            << SelfMissedCount(index, set, sequence) << R"(, "memory_before": )" << memory_before
            << R"(, "memory_after": )" << index.memory_bytes() << "}";
}

// The indexes of both sides and the files that they saved.
struct Sides {
  std::unique_ptr<VectorIndex> ours;
  std::string our_file;
  double our_build_seconds = 0;
  std::unique_ptr<HnswlibSide> peer;
  std::string peer_file;
  double peer_build_seconds = 0;
};

void BuildBoth(const Options& options, const VectorSet& set, const std::string& scratch, Sides& sides) {
  sides.ours = BuildOurs(options, set, sides.our_build_seconds);
  sides.our_file = scratch + ".ours";
  Check(sides.ours->SaveSnapshot(sides.our_file));
  std::cerr << "ours built in " << sides.our_build_seconds << " s, memory "
            << static_cast<double>(sides.ours->memory_bytes()) / static_cast<double>(set.base.count())
            << " B a vector\n";
  if (!options.peer) return;
  sides.peer =
      std::make_unique<HnswlibSide>(options.metric, set.base.dimension, set.base.count(), options.peer_links, 200);
  const auto start = BenchClock::now();
  sides.peer->Build(set.base, options.threads);
  sides.peer_build_seconds = SecondsSince(start);
  sides.peer_file = scratch + ".hnswlib";
  sides.peer->Save(sides.peer_file);
  std::cerr << "hnswlib built in " << sides.peer_build_seconds << " s\n";
}

void MeasureSearches(const Options& options, const VectorSet& set, const Truth& truth, const Sides& sides) {
  const SearchFunction search_ours = SearchOf(*sides.ours, set, set.base.count() + 1);
  const SearchFunction search_peer = [&](std::size_t query, std::size_t ef, std::vector<std::int64_t>& found) {
    sides.peer->Search(set.queries[query].data(), kK, std::max(ef, kK), found);
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
  const std::uint64_t peer_bytes = options.peer ? Check(FileSizeBytes(sides.peer_file)) : 0;
  std::cout << R"(, "ours": {"build_s": )" << sides.our_build_seconds << R"(, "file_bytes": )"
            << Check(FileSizeBytes(sides.our_file)) << R"(, "memory_bytes": )" << sides.ours->memory_bytes()
            << R"(, "mapped_bytes": )" << sides.ours->mapped_bytes() << R"(, "points": )";
  PrintPoints(our_points);
  std::cout << R"(}, "hnswlib": {"build_s": )" << sides.peer_build_seconds << R"(, "file_bytes": )" << peer_bytes
            << R"(, "points": )";
  PrintPoints(peer_points);
  std::cout << "}";
}

int Run(Options options) {
  VectorSet set = ReadVectorSet(options.folder, options.metric);
  if (options.count != 0 && options.count < set.base.count()) {
    set.base.values.resize(options.count * set.base.dimension);
  }
  const Truth truth = CachedTrueNeighbors(set, options.metric, options.folder);
  const std::string scratch = options.folder + "/bench-" + std::to_string(::getpid());
  Sides sides;
  if (options.is_served) {
    sides.ours = BuildOurs(options, set, sides.our_build_seconds);
    std::cout << R"({"build_s": )" << sides.our_build_seconds << "}" << std::endl;
    Serve(options, set, truth, *sides.ours, scratch);
    return 0;
  }
  std::cout << R"({"count": )" << set.base.count() << R"(, "dimension": )" << set.base.dimension;
  if (options.Has("search") || options.Has("filters") || options.Has("open") || options.Has("turnover") ||
      options.Has("budget")) {
    const bool with_peer = options.peer;
    options.peer = options.peer && (options.Has("search") || options.Has("open"));
    BuildBoth(options, set, scratch, sides);
    if (options.Has("search")) MeasureSearches(options, set, truth, sides);
    const VectorIndexConfig config = sides.ours->config();
    sides.peer.reset();
    if (options.Has("filters")) {
      const std::vector<FilterCase> filters = FilterCasesOf(set, options.metric);
      const std::uint32_t peer_links = with_peer ? options.peer_links : 0;
      MeasureFilters(set, options.metric, *sides.ours, filters, peer_links, options.threads, options.rounds);
    }
    if (options.Has("turnover")) MeasureTurnover(options, set, *sides.ours, truth);
    sides.ours.reset();  // Else it might keep pages of its file where they are.
    if (options.Has("open")) MeasureOpen(options, set, config, sides.our_file, sides.peer_file);
    if (options.Has("budget")) {
      // Turnover leaves the file as it was.
      MeasureBudget(options, set, truth, config, sides.our_file);
    }
    Check(RemoveFile(sides.our_file));
    if (!sides.peer_file.empty()) Check(RemoveFile(sides.peer_file));
  }
  MeasureDatabase(options, set, truth, scratch + ".foreshore");
  std::cout << "}\n";
  return 0;
}

}  // namespace
}  // namespace foreshore

int main(int argc, char** argv) {
  return foreshore::Run(foreshore::ParseOptions(argc, argv));
}
