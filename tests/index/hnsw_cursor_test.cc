#include "index/hnsw_cursor.h"

#include <doctest/doctest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/index/synthetic_vectors.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kDimension = 24;
constexpr std::int64_t kCount = 3000;

// kCount documents, number i with sequence i + 1.
std::unique_ptr<VectorIndex> FilledIndex(SyntheticVectors& vectors) {
  auto index = NewIndex(kDimension);
  for (std::int64_t docid = 0; docid < kCount; ++docid) {
    REQUIRE(index->Upsert(docid, RecordOf(vectors.Next()), static_cast<std::uint64_t>(docid) + 1).ok());
  }
  return index;
}

std::set<std::int64_t> Docids(const std::vector<VectorMatch>& matches) {
  std::set<std::int64_t> docids;
  for (const VectorMatch& match : matches) docids.insert(match.docid);
  return docids;
}

}  // namespace

TEST_CASE("vector cursor: yields every visible entry once, then ends") {
  SyntheticVectors vectors(kDimension, 20, 1);
  const auto index = FilledIndex(vectors);
  for (std::int64_t docid = 0; docid < kCount; docid += 3) REQUIRE(index->Remove(docid, kCount + 1).ok());
  const std::vector<float> query = vectors.Next();
  for (const VectorStrategy strategy : {VectorStrategy::kAuto, VectorStrategy::kGraph, VectorStrategy::kExact}) {
    for (const std::uint64_t snapshot :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1500}, std::uint64_t{kCount}, std::uint64_t{kCount + 1}}) {
      CAPTURE(static_cast<int>(strategy));
      CAPTURE(snapshot);
      VectorSearchOptions options;
      options.strategy = strategy;
      const auto cursor = index->NewCursor(query, snapshot, options).value();
      const std::vector<VectorMatch> matches = Take(*cursor, SIZE_MAX);
      const std::size_t expected = snapshot > kCount ? kCount - 1000 : snapshot;
      CHECK(matches.size() == expected);
      CHECK(Docids(matches).size() == expected);
      CHECK(!cursor->Next().value().has_value());
    }
  }
}

TEST_CASE("vector cursor: distances grow, and a late match is rare") {
  SyntheticVectors vectors(kDimension, 20, 2);
  const auto index = FilledIndex(vectors);
  VectorSearchOptions options;
  options.strategy = VectorStrategy::kGraph;
  const auto cursor = index->NewCursor(vectors.Next(), kCount, options).value();
  const std::vector<VectorMatch> matches = Take(*cursor, SIZE_MAX);
  int late_count = 0;
  for (std::size_t i = 1; i < matches.size(); ++i) late_count += matches[i].distance < matches[i - 1].distance;
  CHECK(late_count <= 5);

  const std::vector<VectorMatch> exact = [&] {
    options.strategy = VectorStrategy::kExact;
    return Take(*index->NewCursor(vectors.Next(), kCount, options).value(), SIZE_MAX);
  }();
  for (std::size_t i = 1; i < exact.size(); ++i) REQUIRE(exact[i - 1].distance <= exact[i].distance);
}

TEST_CASE("vector cursor: a predicate that 3 of 3000 pass still gets its 3, nearest first") {
  SyntheticVectors vectors(kDimension, 20, 3);
  const auto index = FilledIndex(vectors);
  for (const VectorStrategy strategy : {VectorStrategy::kAuto, VectorStrategy::kGraph, VectorStrategy::kExact}) {
    for (int round = 0; round < 10; ++round) {
      VectorSearchOptions options;
      options.strategy = strategy;
      options.k_hint = 3;
      std::set<std::int64_t> asked;
      options.predicate = [&asked](std::int64_t docid) {
        CHECK(asked.insert(docid).second);  // Once per document.
        return docid % 1000 == 17;
      };
      const std::vector<float> query = vectors.Next();
      const auto cursor = index->NewCursor(query, kCount, options).value();
      const std::vector<VectorMatch> matches = Take(*cursor, 10);
      CHECK(Docids(matches) == std::set<std::int64_t>{17, 1017, 2017});
      CHECK(matches[0].distance <= matches[1].distance);
      CHECK(matches[1].distance <= matches[2].distance);
    }
  }
}

TEST_CASE("vector cursor: a predicate that half pass is answered by the graph alone") {
  SyntheticVectors vectors(kDimension, 20, 4);
  const auto index = FilledIndex(vectors);
  VectorSearchOptions options;
  options.predicate = [](std::int64_t docid) { return docid % 2 == 0; };
  const auto cursor = index->NewCursor(vectors.Next(), kCount, options).value();
  CHECK(cursor->strategy() == "not started");
  CHECK(Take(*cursor, 10).size() == 10);
  CHECK(cursor->strategy().find("scan") == std::string::npos);
  CHECK(cursor->strategy().find("hnsw ef=64") == 0);
}

TEST_CASE("vector cursor: changes and a compaction between two steps are not seen") {
  SyntheticVectors vectors(kDimension, 20, 5);
  const auto index = FilledIndex(vectors);
  const std::vector<float> query = vectors.Next();
  VectorSearchOptions options;
  options.strategy = VectorStrategy::kGraph;
  const auto cursor = index->NewCursor(query, kCount, options).value();
  std::vector<VectorMatch> matches = Take(*cursor, 40);

  std::uint64_t sequence = kCount;
  for (std::int64_t docid = 0; docid < kCount; docid += 10) {
    REQUIRE(index->Upsert(docid, RecordOf(query), ++sequence).ok());
    REQUIRE(index->Remove(docid + 1, ++sequence).ok());
  }
  REQUIRE(index->Upsert(kCount + 5, RecordOf(query), ++sequence).ok());
  const std::vector<VectorMatch> more = Take(*cursor, 200);
  matches.insert(matches.end(), more.begin(), more.end());
  index->ForgetBefore(kCount);  // The cursor's own snapshot is the oldest.
  REQUIRE(index->Compact().ok());
  const std::vector<VectorMatch> rest = Take(*cursor, SIZE_MAX);
  matches.insert(matches.end(), rest.begin(), rest.end());

  CHECK(matches.size() == kCount);
  CHECK(Docids(matches).size() == kCount);
  CHECK(*Docids(matches).rbegin() == kCount - 1);
}

TEST_CASE("vector cursor: a search among some documents is exact in every snapshot") {
  SyntheticVectors vectors(kDimension, 20, 9);
  const auto index = FilledIndex(vectors);
  std::vector<std::int64_t> some;
  for (std::int64_t docid = 0; docid < kCount + 500; docid += 7) some.push_back(docid);
  std::uint64_t sequence = kCount;
  for (int round = 0; round < 3; ++round) {
    for (std::int64_t docid = 0; docid < kCount; docid += 14) {
      REQUIRE(index->Upsert(docid, RecordOf(vectors.Next()), ++sequence).ok());
    }
    for (std::int64_t docid = 21; docid < kCount; docid += 700) REQUIRE(index->Remove(docid, ++sequence).ok());
  }
  const auto check_all = [&](std::uint64_t from) {
    for (std::uint64_t snapshot = from; snapshot <= sequence; snapshot += 97) {
      CAPTURE(snapshot);
      const std::vector<float> query = vectors.Next();
      VectorSearchOptions options;
      options.among = std::make_shared<VectorFilter>(some);
      const auto cursor = index->NewCursor(query, snapshot, options).value();
      const auto found = Take(*cursor, SIZE_MAX);
      const auto passes = [](std::int64_t docid) { return docid % 7 == 0; };
      REQUIRE(found == index->ExactSearch(query, snapshot, SIZE_MAX, passes).value());
    }
  };
  check_all(1);
  index->ForgetBefore(kCount + 300);
  check_all(kCount + 300);
  REQUIRE(index->Compact().ok());
  check_all(kCount + 300);
}

TEST_CASE("vector cursor: a search within a distance yields what lies within, and looks at little more") {
  SyntheticVectors vectors(kDimension, 20, 10);
  const auto index = FilledIndex(vectors);
  std::size_t expected_count = 0;
  std::size_t found_count = 0;
  for (int round = 0; round < 40; ++round) {
    const std::vector<float> query = vectors.Next();
    const auto exact = index->ExactSearch(query, kCount, SIZE_MAX).value();
    for (const std::size_t size : {std::size_t{3}, std::size_t{20}}) {
      VectorSearchOptions options;
      options.strategy = VectorStrategy::kGraph;
      options.distance_max = exact[size].distance;
      const auto cursor = index->NewCursor(query, kCount, options).value();
      const auto found = Take(*cursor, SIZE_MAX);
      for (const VectorMatch& match : found) REQUIRE(match.distance <= options.distance_max);
      REQUIRE(Docids(found).size() == found.size());
      found_count += found.size();
      expected_count += size + 1;
      CHECK(cursor->strategy().find("scan") == std::string::npos);
    }
  }
  CHECK(found_count <= expected_count);
  CHECK(found_count * 100 >= expected_count * 99);
  VectorSearchOptions nothing;
  nothing.distance_max = -1;
  CHECK(Take(*index->NewCursor(vectors.Next(), kCount, nothing).value(), SIZE_MAX).empty());
}

TEST_CASE("vector cursor: many equal vectors are all found") {
  const auto index = NewIndex(kDimension);
  const std::vector<float> same(kDimension, 0.25F);
  for (std::int64_t docid = 0; docid < 500; ++docid) REQUIRE(index->Upsert(docid, RecordOf(same), 1).ok());
  VectorSearchOptions options;
  options.strategy = VectorStrategy::kGraph;
  CHECK(Docids(Take(*index->NewCursor(same, 1, options).value(), SIZE_MAX)).size() == 500);
}

TEST_CASE("vector cursor: who wants a few is told what who wants many is told first, also where all lie close") {
  SyntheticVectors vectors(kDimension, 1, 7);
  const std::vector<float> centre = vectors.Next();
  std::normal_distribution<float> normal(0.0F, 0.005F);  // So that codes hardly tell them apart.
  const auto next = [&] {
    std::vector<float> values = centre;
    for (float& value : values) value += normal(vectors.random());
    return values;
  };
  const auto index = NewIndex(kDimension);
  for (std::int64_t docid = 0; docid < kCount; ++docid) REQUIRE(index->Upsert(docid, RecordOf(next()), 1).ok());
  std::size_t same_count = 0;
  for (int round = 0; round < 50; ++round) {
    const std::vector<float> query = next();
    VectorSearchOptions options;
    options.ef = 100;
    options.strategy = VectorStrategy::kGraph;
    const auto few = Docids(Take(*index->NewCursor(query, 1, options).value(), 10));
    options.k_hint = 100;
    for (const VectorMatch& match : Take(*index->NewCursor(query, 1, options).value(), 10)) {
      same_count += few.count(match.docid);
    }
  }
  CHECK(same_count >= 495);
}

TEST_CASE("vector cursor: an empty index yields nothing") {
  const auto index = NewIndex(kDimension);
  const std::vector<float> query(kDimension, 1.0F);
  for (const VectorStrategy strategy : {VectorStrategy::kAuto, VectorStrategy::kGraph, VectorStrategy::kExact}) {
    VectorSearchOptions options;
    options.strategy = strategy;
    CHECK(Take(*index->NewCursor(query, 1, options).value(), 10).empty());
  }
}

TEST_CASE("vector strategy: small indexes and large requests are scanned, the rest goes by the graph") {
  SyntheticVectors vectors(kDimension, 20, 6);
  const auto small = NewIndex(kDimension);
  CHECK(small->DescribeStrategy({}) == "exact scan of 0 codes");
  const auto index = FilledIndex(vectors);
  CHECK(index->DescribeStrategy({}) == "hnsw ef=64 over 3000 codes");
  VectorSearchOptions options;
  options.k_hint = 1000;
  CHECK(index->DescribeStrategy(options) == "exact scan of 3000 codes");
  options.strategy = VectorStrategy::kGraph;
  CHECK(index->DescribeStrategy(options) == "hnsw ef=1000 over 3000 codes");

  const auto cursor = index->NewCursor(vectors.Next(), kCount, {}).value();
  Take(*cursor, 10);
  CHECK(cursor->strategy() == "hnsw ef=64");
  Take(*cursor, SIZE_MAX);
  CHECK(cursor->strategy() == "hnsw ef=64, then exact scan of 3000 codes");
}

}  // namespace foreshore
