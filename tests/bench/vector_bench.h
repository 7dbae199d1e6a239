// What the parts of bench_vectors share.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "foreshore/status.h"
#include "index/vector_index.h"
#include "tests/bench/vector_set.h"

namespace foreshore {

inline constexpr std::size_t kK = 10;

struct Options {
  std::string folder;
  VectorMetric metric = VectorMetric::kCosine;
  std::set<std::string> parts = {"search", "open", "turnover", "sql"};
  int rounds = 5;
  std::uint32_t links = 16;
  std::uint32_t ef_construction = 200;
  int threads = 2;
  VectorGraphKind graph = VectorGraphKind::kFlat;
  std::size_t count = 0;  // Of the base; 0 for all.
  bool peer = true;
  std::uint32_t peer_links = 16;
  VectorPrecision precision = VectorPrecision::kInt16;
  bool is_centred = true;
  bool is_rotated = true;
  bool is_served = false;
  std::string sqlite_vec;  // The extension's file; empty: not served.
  bool Has(const char* part) const { return parts.contains(part); }
};

using Truth = std::vector<std::vector<std::int64_t>>;
using BenchClock = std::chrono::steady_clock;

inline double SecondsSince(BenchClock::time_point start) {
  return std::chrono::duration<double>(BenchClock::now() - start).count();
}

inline void Check(const Status& status) {
  if (status.ok()) return;
  std::cerr << "bench_vectors: " << status.ToString() << '\n';
  std::exit(1);
}

template <typename T>
T Check(Result<T> result) {
  Check(result.status());
  return std::move(result).value();
}

using SearchFunction = std::function<void(std::size_t query, std::size_t ef, std::vector<std::int64_t>& found)>;

struct Point {
  std::size_t ef = 0;
  double recall = 0;
  std::vector<double> qps = {};  // One per round.
};

// Of the ten nearest.
double RecallOf(const std::vector<std::int64_t>& found, const std::vector<std::int64_t>& truth);
// One round of all queries.
void Measure(const SearchFunction& search, const Truth& truth, Point& point);
// Searches of the graph, in the snapshot named.
SearchFunction SearchOf(const VectorIndex& index, const VectorSet& set, std::uint64_t snapshot);
// A JSON array, from which nearly these numbers are read again.
std::string ArrayOf(std::span<const float> values);
double Quantile(std::vector<double> values, double share);

// vector_database.cc: the database's own way. Prints the members "sql", "insert" and "checkpoint", those that are
// asked for, of the JSON object that is being written.
void MeasureDatabase(const Options& options, const VectorSet& set, const Truth& truth, const std::string& folder);

// vector_opening.cc: ours from the snapshot `ours`, and hnswlib's from `peer` unless it is empty: opened and asked
// once, from files that are not in the page cache, and from files that are. Prints the member "open".
void MeasureOpen(const Options& options, const VectorSet& set, const VectorIndexConfig& config, const std::string& ours,
                 const std::string& peer);

// vector_budget.cc: the snapshot `path` searched with as much memory as there is, with vector_memory_bytes a quarter of
// it, and with the page cache limited to that as well. Prints the member "budget".
void MeasureBudget(const Options& options, const VectorSet& set, const Truth& truth, const VectorIndexConfig& config,
                   const std::string& path);

// vector_serve.cc: answers commands on standard input, a line each, until it ends. A round of all queries each, as
// {"qps", "recall"}:
//   ours EF        by the graph
//   sql EF         by SQL with the documents' bodies, at the ef that "tune" found; EF is not used
//   sqlite-vec EF  by a scan, of fewer queries; EF is not used
//   tune RECALL    imports the set into a database where that has not happened, and tunes it: {"ef", "import_s"}; an ef
//                  of 0 where the recall is out of reach
void Serve(const Options& options, const VectorSet& set, const Truth& truth, const VectorIndex& ours,
           const std::string& scratch);

}  // namespace foreshore
