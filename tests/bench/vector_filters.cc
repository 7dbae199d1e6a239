#include "tests/bench/vector_filters.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <numeric>
#include <utility>

#include "tests/bench/hnswlib08_side.h"
#include "tests/bench/vector_bench.h"

namespace foreshore {
namespace {

constexpr std::size_t kQueryCount = 200;
constexpr double kRecall = 0.95;
const std::vector<std::size_t> kEfs = {10,  14,  20,  28,  40,  56,   80,   112,  160,
                                       224, 320, 448, 640, 900, 1280, 1800, 2560, 3600};

// Nearest first by inner product, or by its opposite.
std::vector<std::size_t> OrderByDot(const FloatRows& rows, std::span<const float> to, bool farthest_first) {
  std::vector<std::pair<float, std::size_t>> order(rows.count());
  for (std::size_t row = 0; row < rows.count(); ++row) {
    const std::span<const float> values = rows[row];
    const float dot = std::inner_product(values.begin(), values.end(), to.begin(), 0.0F);
    order[row] = {farthest_first ? dot : -dot, row};
  }
  std::sort(order.begin(), order.end());
  std::vector<std::size_t> numbers;
  for (const auto& [dot, row] : order) numbers.push_back(row);
  return numbers;
}

void FindTruth(const VectorSet& set, VectorMetric metric, FilterCase& filter) {
  filter.truth.resize(filter.queries.size());
  for (std::size_t number = 0; number < filter.passes.size(); ++number) {
    std::vector<std::size_t> queries;
    for (std::size_t i = 0; i < filter.queries.size(); ++i) {
      if (filter.filter_of[i] == number) queries.push_back(filter.queries[i]);
    }
    auto truth = TrueNeighbors(set, metric, filter.passes[number], queries);
    std::size_t next = 0;
    for (std::size_t i = 0; i < filter.queries.size(); ++i) {
      if (filter.filter_of[i] == number) filter.truth[i] = std::move(truth[next++]);
    }
  }
}

using Search = std::function<std::vector<std::int64_t>(std::size_t place, std::size_t ef)>;

struct Measured {
  double qps = 0;
  double recall = 0;
};

Measured Run(const FilterCase& filter, const Search& search, std::size_t ef) {
  std::vector<std::vector<std::int64_t>> found(filter.queries.size());
  const auto start = BenchClock::now();
  for (std::size_t i = 0; i < found.size(); ++i) found[i] = search(i, ef);
  const double seconds = SecondsSince(start);
  std::size_t hits = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (std::size_t rank = 0; rank < kK; ++rank) {
      hits += std::count(found[i].begin(), found[i].end(), filter.truth[i][rank]) > 0 ? 1 : 0;
    }
  }
  const auto count = static_cast<double>(found.size());
  return {count / seconds, static_cast<double>(hits) / (count * kK)};
}

struct Side {
  const char* name = "";
  Search search;
  std::size_t ef = 0;  // The least that reaches the recall, or the greatest.
  double recall = 0;
  std::vector<double> qps;
};

void FindEf(const FilterCase& filter, Side& side) {
  for (const std::size_t ef : kEfs) {
    side.ef = ef;
    side.recall = Run(filter, side.search, ef).recall;
    if (side.recall >= kRecall) return;
  }
}

Search SearchOf(const VectorIndex& index, const VectorSet& set, const FilterCase& filter,
                const std::vector<std::shared_ptr<const VectorFilter>>& among, VectorStrategy strategy,
                std::string& strategy_text) {
  return [&, strategy](std::size_t place, std::size_t ef) {
    VectorSearchOptions options;
    options.ef = ef;
    options.k_hint = kK;
    options.strategy = strategy;
    options.among = among[filter.filter_of[place]];
    const auto cursor = Check(index.NewCursor(set.queries[filter.queries[place]], set.base.count() + 1, options));
    std::vector<std::int64_t> found;
    for (std::size_t i = 0; i < kK; ++i) {
      const auto match = Check(cursor->Next());
      if (!match) break;
      found.push_back(match->docid);
    }
    strategy_text = cursor->strategy();
    return found;
  };
}

}  // namespace

int BucketOf(std::size_t row) {
  return static_cast<int>(row * 7919 % 100);
}

std::vector<int> TeamsOf(const VectorSet& set, VectorMetric) {
  if (!set.base_labels.empty()) return {set.base_labels.begin(), set.base_labels.end()};
  std::vector<int> teams(set.base.count(), 1);
  const std::vector<std::size_t> order = OrderByDot(set.base, set.queries[0], true);
  for (std::size_t i = 0; i < order.size() / 10; ++i) teams[order[i]] = 0;
  return teams;
}

std::vector<FilterCase> FilterCasesOf(const VectorSet& set, VectorMetric metric) {
  const std::size_t query_count = std::min(kQueryCount, set.queries.count());
  std::vector<FilterCase> cases;
  for (const int percent : {1, 10, 50}) {
    FilterCase filter;
    filter.name = std::to_string(percent) + " %";
    filter.where = "bucket < " + std::to_string(percent) + " + ?";
    filter.passes.emplace_back(set.base.count());
    for (std::size_t row = 0; row < set.base.count(); ++row) filter.passes[0][row] = BucketOf(row) < percent;
    for (std::size_t query = 0; query < query_count; ++query) filter.queries.push_back(query);
    filter.filter_of.assign(query_count, 0);
    cases.push_back(std::move(filter));
  }
  FilterCase far;
  far.name = "10 %, far from the queries";
  far.where = "team = ?";
  const std::vector<int> teams = TeamsOf(set, metric);
  const int team_count = set.base_labels.empty() ? 1 : 10;
  for (int team = 0; team < team_count; ++team) {
    far.passes.emplace_back(set.base.count());
    for (std::size_t row = 0; row < set.base.count(); ++row) far.passes.back()[row] = teams[row] == team;
  }
  if (set.base_labels.empty()) {
    far.queries = OrderByDot(set.queries, set.queries[0], false);
    far.queries.resize(query_count);
    far.filter_of.assign(query_count, 0);
  } else {
    for (std::size_t query = 0; query < query_count; ++query) {
      far.queries.push_back(query);
      far.filter_of.push_back((set.query_labels[query] + 5U) % 10);
    }
  }
  cases.push_back(std::move(far));
  for (FilterCase& filter : cases) FindTruth(set, metric, filter);
  return cases;
}

void MeasureFilters(const VectorSet& set, VectorMetric metric, const VectorIndex& ours,
                    const std::vector<FilterCase>& cases, std::uint32_t peer_links, int thread_count, int rounds) {
  std::unique_ptr<Hnswlib08Side> peer;
  if (peer_links != 0) peer = std::make_unique<Hnswlib08Side>(metric, set.base, peer_links, 200, thread_count);
  std::cout << R"(, "filters": [)";
  for (const FilterCase& filter : cases) {
    std::vector<std::shared_ptr<const VectorFilter>> among;
    for (const std::vector<bool>& passes : filter.passes) {
      std::vector<std::int64_t> docids;
      for (std::size_t row = 0; row < passes.size(); ++row) {
        if (passes[row]) docids.push_back(static_cast<std::int64_t>(row));
      }
      among.push_back(std::make_shared<VectorFilter>(std::move(docids)));
    }
    std::string strategy;
    std::string scan;
    std::vector<Side> sides;
    sides.push_back({"ours", SearchOf(ours, set, filter, among, VectorStrategy::kAuto, strategy), 0, 0, {}});
    sides.push_back({"scan", SearchOf(ours, set, filter, among, VectorStrategy::kExact, scan), 0, 0, {}});
    if (peer) {
      sides.push_back({"hnswlib",
                       [&](std::size_t place, std::size_t ef) {
                         std::vector<std::int64_t> found;
                         peer->Search(set.queries[filter.queries[place]].data(), kK, ef,
                                      filter.passes[filter.filter_of[place]], found);
                         return found;
                       },
                       0,
                       0,
                       {}});
    }
    for (Side& side : sides) FindEf(filter, side);
    for (int round = 0; round < rounds; ++round) {
      for (Side& side : sides) side.qps.push_back(Run(filter, side.search, side.ef).qps);
    }
    std::cout << (&filter == cases.data() ? "" : ", ") << R"({"name": ")" << filter.name << '"';
    for (const Side& side : sides) {
      std::cout << R"(, ")" << side.name << R"(": {"ef": )" << side.ef << R"(, "recall": )" << side.recall
                << R"(, "qps": [)";
      for (std::size_t i = 0; i < side.qps.size(); ++i) std::cout << (i == 0 ? "" : ", ") << side.qps[i];
      std::cout << "]}";
    }
    Run(filter, sides[0].search, sides[0].ef);
    std::cout << R"(, "strategy": ")" << strategy << "\"}";
  }
  std::cout << ']';
}

void MeasureSqlFilters(Database& database, const VectorSet& set, const std::vector<FilterCase>& cases) {
  std::cout << R"(, "sql_filters": [)";
  for (const FilterCase& filter : cases) {
    const auto statement = Check(database.Prepare("SELECT n, body, distance FROM points WHERE v MATCH ? AND " +
                                                  filter.where + " ORDER BY distance LIMIT 10"));
    const auto search = [&](std::size_t place, std::size_t) {
      const std::span<const float> values = set.queries[filter.queries[place]];
      Check(
          statement->Bind(1, SqlBlob{std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes())}));
      Check(statement->Bind(2, static_cast<std::int64_t>(filter.filter_of[place])));
      std::vector<std::int64_t> found;
      while (Check(statement->Step())) found.push_back(std::get<std::int64_t>(statement->Column(0)));
      Check(statement->Reset());
      return found;
    };
    const Measured first = Run(filter, search, 0);
    const Measured again = Run(filter, search, 0);
    std::cout << (&filter == cases.data() ? "" : ", ") << R"({"name": ")" << filter.name << R"(", "first_qps": )"
              << first.qps << R"(, "qps": )" << again.qps << R"(, "recall": )" << again.recall << "}";
  }
  std::cout << ']';
}

}  // namespace foreshore
