#include "index/hnsw_index.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "tests/index/synthetic_vectors.h"

namespace foreshore {
namespace {

constexpr std::uint64_t kNow = UINT64_MAX - 1;  // A snapshot after everything.

std::vector<std::int64_t> DocidsAt(const VectorIndex& index, const std::vector<float>& query, std::uint64_t sequence) {
  const std::vector<VectorMatch> matches = index.ExactSearch(query, sequence, SIZE_MAX).value();
  std::vector<std::int64_t> docids;
  for (const VectorMatch& match : matches) docids.push_back(match.docid);
  std::sort(docids.begin(), docids.end());
  return docids;
}

using Docids = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("hnsw index: a search sees exactly what was born and had not died at its snapshot") {
  const auto index = NewIndex(4);
  const std::vector<float> x = {1, 0, 0, 0};
  const std::vector<float> y = {0, 1, 0, 0};
  REQUIRE(index->Upsert(1, RecordOf(x), 10).ok());
  REQUIRE(index->Upsert(2, RecordOf(y), 20).ok());
  REQUIRE(index->Upsert(1, RecordOf(y), 30).ok());
  REQUIRE(index->Remove(2, 40).ok());
  REQUIRE(index->Remove(77, 41).ok());

  CHECK(DocidsAt(*index, x, 9) == Docids{});
  CHECK(DocidsAt(*index, x, 10) == Docids{1});
  CHECK(DocidsAt(*index, x, 20) == Docids{1, 2});
  CHECK(DocidsAt(*index, x, 39) == Docids{1, 2});
  CHECK(DocidsAt(*index, x, 40) == Docids{1});
  CHECK(index->ExactSearch(x, 29, 1).value().front().distance == doctest::Approx(0.0));
  CHECK(index->ExactSearch(x, 30, 1).value().front().distance == doctest::Approx(1.0));
  CHECK(index->entry_count() == 1);
}

TEST_CASE("hnsw index: applying a part of the log again changes nothing") {
  const auto index = NewIndex(2);
  const std::vector<float> x = {1, 0};
  const std::vector<float> y = {0, 1};
  const auto apply = [&] {
    REQUIRE(index->Upsert(1, RecordOf(x), 1).ok());
    REQUIRE(index->Upsert(2, RecordOf(x), 2).ok());
    REQUIRE(index->Upsert(1, RecordOf(y), 3).ok());
    REQUIRE(index->Remove(2, 4).ok());
    REQUIRE(index->Upsert(2, RecordOf(y), 5).ok());
  };
  apply();
  apply();
  CHECK(index->entry_count() == 2);
  const std::vector<VectorMatch> matches = index->ExactSearch(x, 5, 10).value();
  for (const VectorMatch& match : matches) {
    CHECK(match.distance == doctest::Approx(1.0));
  }
  CHECK(DocidsAt(*index, x, 5) == Docids{1, 2});
  CHECK(DocidsAt(*index, x, 4) == Docids{1});
}

TEST_CASE("hnsw index: a document written again with the same vector keeps its entry") {
  const auto index = NewIndex(2);
  for (std::uint64_t sequence = 1; sequence <= 50; ++sequence) {
    REQUIRE(index->Upsert(1, RecordOf({1, 2}), sequence).ok());
  }
  index->ForgetBefore(50);
  CHECK(index->garbage_count() == 0);
  CHECK(DocidsAt(*index, {1, 1}, 1) == Docids{1});
}

TEST_CASE("hnsw index: two changes in one transaction leave only the last to see") {
  const auto index = NewIndex(2);
  REQUIRE(index->Upsert(1, RecordOf({1, 0}), 7).ok());
  REQUIRE(index->Upsert(1, RecordOf({0, 1}), 7).ok());
  CHECK(DocidsAt(*index, {1, 0}, 7) == Docids{1});
  CHECK(index->ExactSearch(std::vector<float>{1, 0}, 7, 1).value().front().distance == doctest::Approx(1.0));
  REQUIRE(index->Remove(1, 7).ok());
  CHECK(DocidsAt(*index, {1, 0}, 7) == Docids{});
}

TEST_CASE("hnsw index: recall@10 of the graph against exact float search is at least 0.95, and 0.995 with 16 bits") {
  constexpr std::uint32_t kDimension = 64;
  constexpr std::int64_t kCount = 2500;
  VectorPrecision precision = VectorPrecision::kInt8;
  double recall_min = 0.95;
  SUBCASE("8 bits") {}
  SUBCASE("16 bits") {
    precision = VectorPrecision::kInt16;
    recall_min = 0.995;
  }
  for (const VectorMetric metric : {VectorMetric::kCosine, VectorMetric::kDot, VectorMetric::kL2}) {
    CAPTURE(VectorMetricName(metric));
    SyntheticVectors vectors(kDimension, 50, 42);
    const auto index = NewIndex(kDimension, metric, precision);
    std::vector<std::vector<float>> originals;
    for (std::int64_t docid = 0; docid < kCount; ++docid) {
      originals.push_back(vectors.Next());
      REQUIRE(index->Upsert(docid, RecordOf(originals.back(), precision), 1).ok());
    }
    int found = 0;
    constexpr int kQueries = 50;
    for (int round = 0; round < kQueries; ++round) {
      const std::vector<float> query = vectors.Next();
      std::vector<std::pair<double, std::int64_t>> exact;
      for (std::int64_t docid = 0; docid < kCount; ++docid) {
        exact.emplace_back(ExactVectorDistance(metric, query, originals[static_cast<std::size_t>(docid)]).value(),
                           docid);
      }
      std::partial_sort(exact.begin(), exact.begin() + 10, exact.end());
      VectorSearchOptions options;
      options.strategy = VectorStrategy::kGraph;
      const auto cursor = index->NewCursor(query, kNow, options).value();
      const std::vector<VectorMatch> matches = Take(*cursor, 10);
      REQUIRE(cursor->strategy() == "hnsw ef=64");
      for (const VectorMatch& match : matches) {
        found += std::any_of(exact.begin(), exact.begin() + 10,
                             [&](const auto& expected) { return expected.second == match.docid; });
      }
    }
    const double recall = found / (10.0 * kQueries);
    MESSAGE(std::string(VectorMetricName(metric)) << ": recall@10 " << recall);
    CHECK(recall >= recall_min);
  }
}

TEST_CASE("hnsw index: the exact search gives the exact order of the codes") {
  SyntheticVectors vectors(32, 5, 3);
  const auto index = NewIndex(32, VectorMetric::kL2);
  std::vector<ByteString> records;
  for (std::int64_t docid = 0; docid < 300; ++docid) {
    records.push_back(RecordOf(vectors.Next()));
    REQUIRE(index->Upsert(docid, records.back(), 1).ok());
  }
  const std::vector<float> values = vectors.Next();
  const VectorQuery query = VectorQuery::Prepare(VectorMetric::kL2, 32, values).value();
  std::vector<VectorMatch> expected;
  for (std::int64_t docid = 0; docid < 300; ++docid) {
    expected.push_back({docid, query.DistanceToRecord(records[static_cast<std::size_t>(docid)]).value()});
  }
  std::sort(expected.begin(), expected.end(),
            [](const VectorMatch& a, const VectorMatch& b) { return a.distance < b.distance; });
  CHECK(index->ExactSearch(values, 1, 300).value() == expected);
}

TEST_CASE("hnsw index: churn makes garbage, compaction removes it, and every snapshot that may be read stays") {
  constexpr std::int64_t kCount = 400;
  SyntheticVectors vectors(16, 5, 9);
  const auto index = NewIndex(16);
  std::uint64_t sequence = 0;
  for (int round = 0; round < 5; ++round) {
    for (std::int64_t docid = 0; docid < kCount; ++docid) {
      REQUIRE(index->Upsert(docid, RecordOf(vectors.Next()), ++sequence).ok());
    }
  }
  CHECK(index->garbage_count() == 0);
  CHECK(!index->ShouldCompact());
  const std::uint64_t oldest_reader = 3 * kCount + 100;  // In the fourth round.
  const std::vector<float> query = vectors.Next();
  const std::vector<VectorMatch> old_state = index->ExactSearch(query, oldest_reader, SIZE_MAX).value();
  const std::vector<VectorMatch> new_state = index->ExactSearch(query, sequence, SIZE_MAX).value();
  REQUIRE(old_state.size() == kCount);

  index->ForgetBefore(oldest_reader);
  CHECK(index->garbage_count() == 2 * kCount + 100);
  CHECK(index->ShouldCompact());
  const std::uint64_t memory_before = index->memory_bytes();
  REQUIRE(index->Compact().ok());
  CHECK(index->garbage_count() == 0);
  CHECK(index->entry_count() == kCount);
  CHECK(index->memory_bytes() < memory_before);
  CHECK(index->ExactSearch(query, oldest_reader, SIZE_MAX).value() == old_state);
  CHECK(index->ExactSearch(query, sequence, SIZE_MAX).value() == new_state);

  index->ForgetBefore(sequence);
  REQUIRE(index->Compact().ok());
  CHECK(index->ExactSearch(query, sequence, SIZE_MAX).value() == new_state);
  CHECK(index->ExactSearch(query, oldest_reader, SIZE_MAX).value().size() < kCount);
  for (std::int64_t docid = 0; docid < kCount; ++docid) REQUIRE(index->Remove(docid, ++sequence).ok());
  index->ForgetBefore(sequence);
  REQUIRE(index->Compact().ok());
  CHECK(index->entry_count() == 0);
  REQUIRE(index->Upsert(5, RecordOf(vectors.Next()), ++sequence).ok());
  CHECK(DocidsAt(*index, query, sequence) == Docids{5});
}

TEST_CASE("hnsw index: garbage that was not compacted away takes no place from what is found") {
  constexpr std::uint32_t kDimension = 32;
  constexpr std::int64_t kCount = 1500;
  SyntheticVectors vectors(kDimension, 1, 12);  // One cluster, so that a little search is not enough.
  const auto index = NewIndex(kDimension);
  std::vector<std::vector<float>> stored;
  for (std::int64_t docid = 0; docid < kCount; ++docid) {
    stored.push_back(vectors.Next());
    REQUIRE(index->Upsert(docid, RecordOf(stored.back()), 1).ok());
  }
  std::vector<std::vector<float>> queries;
  for (int i = 0; i < 100; ++i) queries.push_back(vectors.Next());
  const auto hit_count = [&] {
    int hits = 0;
    for (const std::vector<float>& query : queries) {
      const auto exact = index->ExactSearch(query, kNow, 10).value();
      VectorSearchOptions options;
      options.ef = 16;
      options.strategy = VectorStrategy::kGraph;
      const auto cursor = index->NewCursor(query, kNow, options).value();
      for (const VectorMatch& match : Take(*cursor, 10)) {
        hits += std::find(exact.begin(), exact.end(), match) != exact.end() ? 1 : 0;
      }
      CHECK(cursor->strategy() == "hnsw ef=16");
    }
    return hits;
  };
  const int before = hit_count();
  // The same documents with the same vectors again, twice over: two thirds of the graph are then dead.
  std::uint64_t sequence = 1;
  for (int round = 0; round < 2; ++round) {
    for (std::int64_t docid = 0; docid < kCount; ++docid) {
      REQUIRE(index->Remove(docid, ++sequence).ok());
      REQUIRE(index->Upsert(docid, RecordOf(stored[static_cast<std::size_t>(docid)]), ++sequence).ok());
    }
  }
  index->ForgetBefore(sequence);
  CHECK(index->garbage_count() == 2 * kCount);
  const int after = hit_count();
  MESSAGE("of 1000 found " << before << " without garbage and " << after << " with it");
  CHECK(after >= before - 30);
}

TEST_CASE("hnsw index: input that does not fit is refused and names the index") {
  const auto index = NewIndex(4);
  Status status = index->Upsert(9, RecordOf({1, 2, 3}), 1);
  CHECK(status.code() == ErrorCode::kCorruption);
  CHECK(status.message() ==
        "vector index \"notes.embedding\": document 9: vector record: 3 dimensions and 3 codes, expected 4 and 4");
  CHECK(index->entry_count() == 0);
  status = index->NewCursor(std::vector<float>{1, 2}, 1, {}).status();
  CHECK(status.code() == ErrorCode::kInvalidArgument);
  CHECK(status.message() == "vector index \"notes.embedding\": query vector has 2 dimensions, expected 4");
  VectorSearchOptions options;
  options.ef = 0;
  CHECK(index->NewCursor(std::vector<float>{1, 2, 3, 4}, 1, options).status().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("hnsw index: a configuration out of range is refused") {
  const auto code_with = [](auto change) {
    VectorIndexConfig config;
    config.dimension = 8;
    change(config);
    const auto index = CreateHnswIndex(config);
    return index.ok() ? ErrorCode::kOk : index.status().code();
  };
  CHECK(code_with([](VectorIndexConfig&) {}) == ErrorCode::kOk);
  CHECK(code_with([](VectorIndexConfig& config) { config.dimension = 1; }) == ErrorCode::kInvalidArgument);
  CHECK(code_with([](VectorIndexConfig& config) { config.dimension = 4097; }) == ErrorCode::kInvalidArgument);
  CHECK(code_with([](VectorIndexConfig& config) { config.links_per_node = 3; }) == ErrorCode::kInvalidArgument);
  CHECK(code_with([](VectorIndexConfig& config) { config.links_per_node = 65; }) == ErrorCode::kInvalidArgument);
  CHECK(code_with([](VectorIndexConfig& config) { config.ef_construction = 7; }) == ErrorCode::kInvalidArgument);
  CHECK(code_with([](VectorIndexConfig& config) { config.metric = static_cast<VectorMetric>(3); }) ==
        ErrorCode::kInvalidArgument);
}

}  // namespace foreshore
