#include "tests/bench/vector_set.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <numeric>
#include <thread>

namespace foreshore {
namespace {

[[noreturn]] void Fail(const std::string& what) {
  std::cerr << "bench_vectors: " << what << '\n';
  std::exit(1);
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return {};
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

FloatRows ReadFvecs(const std::string& path) {
  const std::string bytes = ReadAll(path);
  std::int32_t dimension = 0;
  if (bytes.size() < sizeof(dimension)) Fail(path + ": expected vectors");
  std::memcpy(&dimension, bytes.data(), sizeof(dimension));
  const std::size_t row_bytes = 4 + 4 * static_cast<std::size_t>(dimension);
  if (dimension < 2 || bytes.size() % row_bytes != 0) Fail(path + ": expected rows of one dimension");
  FloatRows rows;
  rows.dimension = static_cast<std::uint32_t>(dimension);
  rows.values.resize(bytes.size() / row_bytes * rows.dimension);
  for (std::size_t row = 0; row < rows.count(); ++row) {
    std::memcpy(rows.values.data() + row * rows.dimension, bytes.data() + row * row_bytes + 4, row_bytes - 4);
  }
  return rows;
}

void Normalise(FloatRows& rows) {
  for (std::size_t row = 0; row < rows.count(); ++row) {
    float* values = rows.values.data() + row * rows.dimension;
    double sum = 0;
    for (std::uint32_t i = 0; i < rows.dimension; ++i) sum += static_cast<double>(values[i]) * values[i];
    if (sum == 0) continue;
    const double factor = 1 / std::sqrt(sum);
    for (std::uint32_t i = 0; i < rows.dimension; ++i) values[i] = static_cast<float>(values[i] * factor);
  }
}

float Distance(VectorMetric metric, std::span<const float> a, std::span<const float> b) {
  float sums[8] = {};
  std::size_t i = 0;
  for (; i + 8 <= a.size(); i += 8) {
    for (std::size_t lane = 0; lane < 8; ++lane) {
      const float difference = a[i + lane] - b[i + lane];
      sums[lane] += metric == VectorMetric::kL2 ? difference * difference : -a[i + lane] * b[i + lane];
    }
  }
  for (; i < a.size(); ++i) {
    const float difference = a[i] - b[i];
    sums[0] += metric == VectorMetric::kL2 ? difference * difference : -a[i] * b[i];
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

std::vector<std::int64_t> NearestRows(const VectorSet& set, VectorMetric metric, std::span<const float> query,
                                      const std::vector<bool>& passes) {
  std::vector<std::pair<float, std::int64_t>> heap;  // Farthest on top.
  for (std::size_t row = 0; row < set.base.count(); ++row) {
    if (!passes.empty() && !passes[row]) continue;
    const float distance = Distance(metric, query, set.base[row]);
    if (heap.size() >= kTruthCount && distance >= heap.front().first) continue;
    heap.emplace_back(distance, row);
    std::push_heap(heap.begin(), heap.end());
    if (heap.size() <= kTruthCount) continue;
    std::pop_heap(heap.begin(), heap.end());
    heap.pop_back();
  }
  std::sort(heap.begin(), heap.end());
  std::vector<std::int64_t> rows;
  for (const auto& [distance, row] : heap) rows.push_back(row);
  rows.resize(kTruthCount, -1);
  return rows;
}

}  // namespace

VectorSet ReadVectorSet(const std::string& folder, VectorMetric metric) {
  VectorSet set;
  set.base = ReadFvecs(folder + "/base.fvecs");
  set.queries = ReadFvecs(folder + "/query.fvecs");
  if (set.base.dimension != set.queries.dimension) Fail(folder + ": base and queries differ in dimension");
  const std::string base_labels = ReadAll(folder + "/base.labels");
  const std::string query_labels = ReadAll(folder + "/query.labels");
  set.base_labels.assign(base_labels.begin(), base_labels.end());
  set.query_labels.assign(query_labels.begin(), query_labels.end());
  if (!base_labels.empty() && (base_labels.size() != set.base.count() || query_labels.size() != set.queries.count())) {
    Fail(folder + ": expected a label per vector");
  }
  if (metric == VectorMetric::kCosine) {
    Normalise(set.base);
    Normalise(set.queries);
  }
  return set;
}

std::vector<std::vector<std::int64_t>> TrueNeighbors(const VectorSet& set, VectorMetric metric,
                                                     const std::vector<bool>& passes) {
  std::vector<std::size_t> all(set.queries.count());
  std::iota(all.begin(), all.end(), 0);
  return TrueNeighbors(set, metric, passes, all);
}

std::vector<std::vector<std::int64_t>> TrueNeighbors(const VectorSet& set, VectorMetric metric,
                                                     const std::vector<bool>& passes,
                                                     std::span<const std::size_t> queries) {
  std::vector<std::vector<std::int64_t>> truth(queries.size());
  const std::size_t thread_count = std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < thread_count; ++thread) {
    threads.emplace_back([&, thread] {
      for (std::size_t query = thread; query < truth.size(); query += thread_count) {
        truth[query] = NearestRows(set, metric, set.queries[queries[query]], passes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return truth;
}

std::vector<std::vector<std::int64_t>> CachedTrueNeighbors(const VectorSet& set, VectorMetric metric,
                                                           const std::string& folder) {
  const std::string path = folder + "/truth-" + std::to_string(static_cast<int>(metric)) + "-" +
                           std::to_string(set.base.count()) + "-" + std::to_string(set.queries.count());
  const std::size_t row_bytes = kTruthCount * sizeof(std::int64_t);
  const std::string kept = ReadAll(path);
  std::vector<std::vector<std::int64_t>> truth;
  if (kept.size() == set.queries.count() * row_bytes) {
    truth.assign(set.queries.count(), std::vector<std::int64_t>(kTruthCount));
    for (std::size_t i = 0; i < truth.size(); ++i) std::memcpy(truth[i].data(), kept.data() + i * row_bytes, row_bytes);
    return truth;
  }
  truth = TrueNeighbors(set, metric, {});
  std::ofstream file(path, std::ios::binary);
  for (const auto& rows : truth) {
    file.write(reinterpret_cast<const char*>(rows.data()), static_cast<std::streamsize>(row_bytes));
  }
  return truth;
}

}  // namespace foreshore
