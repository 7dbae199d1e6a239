// Searches among some documents. The oracle is a scan of every code with the filter as a predicate.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "index/hnsw_cursor.h"
#include "tests/index/synthetic_vectors.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kDimension = 24;
constexpr std::size_t kK = 10;

using Docids = std::vector<std::int64_t>;

Docids DocidsOf(const std::vector<VectorMatch>& matches) {
  Docids docids;
  for (const VectorMatch& match : matches) docids.push_back(match.docid);
  std::sort(docids.begin(), docids.end());
  return docids;
}

std::vector<VectorMatch> ExactAmong(const VectorIndex& index, std::span<const float> query, std::uint64_t snapshot,
                                    std::size_t k, const VectorFilter& filter) {
  return index.ExactSearch(query, snapshot, k, [&](std::int64_t docid) { return filter.Contains(docid); }).value();
}

std::unique_ptr<VectorCursor> CursorAmong(const VectorIndex& index, std::span<const float> query,
                                          std::uint64_t snapshot, std::shared_ptr<const VectorFilter> filter,
                                          VectorStrategy strategy) {
  VectorSearchOptions options;
  options.among = std::move(filter);
  options.strategy = strategy;
  options.k_hint = kK;
  return index.NewCursor(query, snapshot, options).value();
}

// Documents 0..count-1, number i with sequence i + 1.
std::unique_ptr<VectorIndex> FilledIndex(SyntheticVectors& vectors, std::int64_t count) {
  auto index = NewIndex(kDimension);
  std::vector<ByteString> records;
  for (std::int64_t docid = 0; docid < count; ++docid) records.push_back(RecordOf(vectors.Next()));
  std::vector<VectorUpsert> upserts;
  for (std::int64_t docid = 0; docid < count; ++docid) {
    upserts.push_back({docid, records[static_cast<std::size_t>(docid)], static_cast<std::uint64_t>(docid) + 1});
  }
  REQUIRE(index->UpsertMany(upserts, 1).ok());
  return index;
}

enum class Correlation { kNone, kNear, kFar };

// `share` of the documents: any, or those nearest to the query, or the farthest.
std::shared_ptr<const VectorFilter> FilterOf(const VectorIndex& index, std::span<const float> query,
                                             std::uint64_t snapshot, double share, Correlation correlation,
                                             std::mt19937& random) {
  Docids docids;
  if (correlation == Correlation::kNone) {
    std::bernoulli_distribution passes(share);
    for (std::uint64_t docid = 0; docid < snapshot; ++docid) {
      if (passes(random)) docids.push_back(static_cast<std::int64_t>(docid));
    }
  } else {
    const auto all = index.ExactSearch(query, snapshot, SIZE_MAX).value();
    const auto count = static_cast<std::size_t>(share * static_cast<double>(all.size()));
    for (std::size_t i = 0; i < count; ++i) {
      docids.push_back(all[correlation == Correlation::kNear ? i : all.size() - 1 - i].docid);
    }
  }
  return std::make_shared<VectorFilter>(std::move(docids));
}

}  // namespace

TEST_CASE("vector filter: holds its documents, near together or far apart, and nothing else") {
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  const std::vector<Docids> sets = {{}, {7}, {5, 3, 5, 9, 3}, {kMin, -1, 0, kMax}, {kMax}, {kMin}, {-70, -6, 58}};
  for (const Docids& docids : sets) {
    const VectorFilter filter(docids);
    const std::set<std::int64_t> expected(docids.begin(), docids.end());
    CHECK(std::equal(expected.begin(), expected.end(), filter.docids().begin(), filter.docids().end()));
    for (const std::int64_t docid : expected) {
      CHECK(filter.Contains(docid));
      for (const std::int64_t other : {docid == kMin ? kMax : docid - 1, docid == kMax ? kMin : docid + 1,
                                       static_cast<std::int64_t>(static_cast<std::uint64_t>(docid) ^ 64)}) {
        CHECK(filter.Contains(other) == expected.contains(other));
      }
    }
    CHECK(filter.Contains(1000) == expected.contains(1000));
  }
}

TEST_CASE("filtered search: of any share and correlation it finds nearly what a scan finds, and all in the end") {
  constexpr std::int64_t kCount = 8000;
  SyntheticVectors vectors(kDimension, 30, 41);
  const auto index = FilledIndex(vectors, kCount);
  for (const Correlation correlation : {Correlation::kNone, Correlation::kNear, Correlation::kFar}) {
    for (const double share : {0.002, 0.02, 0.1, 0.25, 0.5, 0.9, 1.0}) {
      CAPTURE(static_cast<int>(correlation));
      CAPTURE(share);
      std::size_t hit_count = 0;
      std::size_t expected_count = 0;
      for (int round = 0; round < 12; ++round) {
        const std::vector<float> query = vectors.Next();
        const auto filter = FilterOf(*index, query, kCount, share, correlation, vectors.random());
        const auto expected = ExactAmong(*index, query, kCount, kK, *filter);
        for (const VectorStrategy strategy : {VectorStrategy::kAuto, VectorStrategy::kGraph, VectorStrategy::kExact}) {
          const auto cursor = CursorAmong(*index, query, kCount, filter, strategy);
          auto found = Take(*cursor, kK);
          for (const VectorMatch& match : expected) {
            hit_count += std::count(found.begin(), found.end(), match) > 0 ? 1 : 0;
          }
          expected_count += expected.size();
          const auto rest = Take(*cursor, SIZE_MAX);
          found.insert(found.end(), rest.begin(), rest.end());
          REQUIRE(DocidsOf(found) == Docids(filter->docids().begin(), filter->docids().end()));
        }
      }
      CHECK(hit_count * 100 >= expected_count * 97);
    }
  }
}

TEST_CASE("filtered search: each share has its strategy") {
  constexpr std::int64_t kCount = 20'000;
  SyntheticVectors vectors(kDimension, 30, 42);
  const auto index = FilledIndex(vectors, kCount);
  const auto strategy_of = [&](double share) {
    const std::vector<float> query = vectors.Next();
    const auto filter = FilterOf(*index, query, kCount, share, Correlation::kNone, vectors.random());
    VectorSearchOptions options;
    options.ef = 16;
    const std::string expected = index->DescribeStrategy(options, filter->size());
    options.among = filter;
    CHECK(index->DescribeStrategy(options) == expected);
    const auto cursor = index->NewCursor(query, kCount, options).value();
    CHECK(Take(*cursor, kK).size() == kK);
    CHECK(expected.find(cursor->strategy()) == 0);
    return cursor->strategy();
  };
  CHECK(strategy_of(0.01).find("exact scan of ") == 0);
  if (kGraphUnderTest == VectorGraphKind::kFlat) CHECK(strategy_of(0.2) == "hnsw ef=16, two hops");
  CHECK(strategy_of(0.95) == "hnsw ef=16");
}

// Documents that pass lie by themselves, one in each of many clusters, so that no two of them are two links apart.
TEST_CASE("filtered search: where the walk finds too little it gives up, and a scan answers exactly") {
  constexpr std::int64_t kCount = 20'000;
  constexpr std::size_t kClusterCount = 1000;
  SyntheticVectors centres(kDimension, 1, 43);
  std::normal_distribution<float> noise(0.0F, 0.01F);
  std::normal_distribution<float> wide(0.0F, 1.0F);
  const auto index = NewIndex(kDimension);
  std::vector<std::vector<float>> clusters(kClusterCount, std::vector<float>(kDimension));
  for (auto& centre : clusters) {
    for (float& value : centre) value = wide(centres.random());
  }
  const auto near_cluster = [&](std::size_t cluster) {
    std::vector<float> values = clusters[cluster];
    for (float& value : values) value += noise(centres.random());
    return values;
  };
  std::vector<ByteString> records;
  for (std::int64_t docid = 0; docid < kCount; ++docid) {
    records.push_back(RecordOf(near_cluster(static_cast<std::size_t>(docid) % kClusterCount)));
  }
  std::vector<VectorUpsert> upserts;
  for (std::int64_t docid = 0; docid < kCount; ++docid) {
    upserts.push_back({docid, records[static_cast<std::size_t>(docid)], 1});
  }
  REQUIRE(index->UpsertMany(upserts, 1).ok());
  Docids docids;
  for (std::int64_t docid = 0; docid < static_cast<std::int64_t>(kClusterCount); ++docid) docids.push_back(docid);
  const auto filter = std::make_shared<VectorFilter>(std::move(docids));
  for (int round = 0; round < 50; ++round) {
    const std::vector<float> query = near_cluster(static_cast<std::size_t>(round));
    const auto cursor = CursorAmong(*index, query, 1, filter, VectorStrategy::kGraph);
    CHECK(Take(*cursor, kK) == ExactAmong(*index, query, 1, kK, *filter));
    if (kGraphUnderTest == VectorGraphKind::kFlat) {
      CHECK(cursor->strategy() == "hnsw ef=64, two hops, then exact scan of 1000 codes");
    }
  }
}

TEST_CASE("filtered search: one filter serves every snapshot, beside updates, removals, garbage and a compaction") {
  constexpr std::int64_t kCount = 5000;
  SyntheticVectors vectors(kDimension, 20, 44);
  const auto index = FilledIndex(vectors, kCount);
  Docids docids;
  for (std::int64_t docid = 0; docid < kCount + 3000; ++docid) {
    if (docid % 5 == 0) docids.push_back(docid);
  }
  const auto filter = std::make_shared<VectorFilter>(docids);
  std::uint64_t sequence = kCount;
  std::size_t hit_count = 0;
  std::size_t expected_count = 0;
  const auto check_snapshots = [&](std::uint64_t from) {
    for (std::uint64_t snapshot = from; snapshot <= sequence; snapshot += (sequence - from) / 5 + 1) {
      CAPTURE(snapshot);
      const std::vector<float> query = vectors.Next();
      const auto expected = ExactAmong(*index, query, snapshot, SIZE_MAX, *filter);
      for (const VectorStrategy strategy : {VectorStrategy::kAuto, VectorStrategy::kGraph, VectorStrategy::kExact}) {
        const auto cursor = CursorAmong(*index, query, snapshot, filter, strategy);
        auto found = Take(*cursor, kK);
        for (std::size_t i = 0; i < std::min(kK, expected.size()); ++i) {
          hit_count += std::count(found.begin(), found.end(), expected[i]) > 0 ? 1 : 0;
          ++expected_count;
        }
        const auto rest = Take(*cursor, SIZE_MAX);
        found.insert(found.end(), rest.begin(), rest.end());
        REQUIRE(DocidsOf(found) == DocidsOf(expected));
        for (const VectorMatch& match : found) {
          REQUIRE(std::count(expected.begin(), expected.end(), match) == 1);
        }
      }
    }
  };
  check_snapshots(1);
  for (int round = 0; round < 4; ++round) {
    // New documents, new vectors of old ones, and removals, of those that pass and of others.
    for (std::int64_t i = 0; i < 700; ++i) {
      const std::int64_t docid = kCount + round * 700 + i;
      REQUIRE(index->Upsert(docid, RecordOf(vectors.Next()), ++sequence).ok());
      REQUIRE(index->Upsert(i * 7 % kCount, RecordOf(vectors.Next()), ++sequence).ok());
      if (i % 3 == 0) REQUIRE(index->Remove((i * 11 + round) % kCount, ++sequence).ok());
    }
    check_snapshots(kCount);
  }
  index->ForgetBefore(sequence - 500);
  check_snapshots(sequence - 500);
  REQUIRE(index->Compact().ok());
  check_snapshots(sequence - 500);
  CHECK(hit_count * 100 >= expected_count * 97);
}

TEST_CASE("filtered search: where most of what passes is garbage or not visible, all that is visible comes") {
  constexpr std::int64_t kCount = 3000;
  SyntheticVectors vectors(kDimension, 20, 45);
  const auto index = FilledIndex(vectors, kCount);
  Docids docids;
  for (std::int64_t docid = 0; docid < kCount; docid += 3) docids.push_back(docid);
  const auto filter = std::make_shared<VectorFilter>(docids);
  std::uint64_t sequence = kCount;
  for (std::size_t i = 20; i < docids.size(); ++i) REQUIRE(index->Remove(docids[i], ++sequence).ok());
  for (const bool is_forgotten : {false, true}) {
    if (is_forgotten) index->ForgetBefore(sequence);
    for (const VectorStrategy strategy : {VectorStrategy::kAuto, VectorStrategy::kGraph, VectorStrategy::kExact}) {
      const std::vector<float> query = vectors.Next();
      const auto cursor = CursorAmong(*index, query, sequence, filter, strategy);
      CHECK(Take(*cursor, kK) == ExactAmong(*index, query, sequence, kK, *filter));
      CHECK(Take(*cursor, SIZE_MAX).size() == 10);
    }
  }
}

TEST_CASE("filtered search: a predicate and a distance narrow it further") {
  constexpr std::int64_t kCount = 6000;
  SyntheticVectors vectors(kDimension, 20, 46);
  const auto index = FilledIndex(vectors, kCount);
  for (const double share : {0.05, 0.3, 0.8}) {
    for (const VectorStrategy strategy : {VectorStrategy::kAuto, VectorStrategy::kGraph, VectorStrategy::kExact}) {
      const std::vector<float> query = vectors.Next();
      const auto filter = FilterOf(*index, query, kCount, share, Correlation::kNone, vectors.random());
      const auto passes = [&](std::int64_t docid) { return docid % 4 != 1; };
      const auto expected =
          index
              ->ExactSearch(query, kCount, 30,
                            [&](std::int64_t docid) { return filter->Contains(docid) && passes(docid); })
              .value();
      VectorSearchOptions options;
      options.among = filter;
      options.predicate = passes;
      options.distance_max = expected.back().distance;
      options.strategy = strategy;
      const auto found = Take(*index->NewCursor(query, kCount, options).value(), SIZE_MAX);
      std::size_t hit_count = 0;
      for (const VectorMatch& match : found) {
        REQUIRE(std::count(expected.begin(), expected.end(), match) == 1);
        ++hit_count;
      }
      CHECK(hit_count >= 28);
    }
  }
}

TEST_CASE("filtered search: among no documents, or none that the index has, nothing is found") {
  SyntheticVectors vectors(kDimension, 20, 47);
  const auto index = FilledIndex(vectors, 3000);
  for (const auto& docids : {Docids{}, Docids{-5, 5000, 1 << 30}}) {
    const auto filter = std::make_shared<VectorFilter>(docids);
    for (const VectorStrategy strategy : {VectorStrategy::kAuto, VectorStrategy::kGraph, VectorStrategy::kExact}) {
      CHECK(Take(*CursorAmong(*index, vectors.Next(), 3000, filter, strategy), kK).empty());
    }
  }
  const auto empty = NewIndex(kDimension);
  const auto filter = std::make_shared<VectorFilter>(Docids{1, 2});
  CHECK(Take(*CursorAmong(*empty, vectors.Next(), 1, filter, VectorStrategy::kGraph), kK).empty());
}

}  // namespace foreshore
