// Documents with several vectors. The oracle is the least of the distances to each.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/index/synthetic_vectors.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kDimension = 16;
constexpr std::size_t kK = 10;

struct Versions {
  std::uint64_t born = 0;
  std::vector<ByteString> records;  // None: removed.
};

// An index beside the oracle's own record of what was written when.
class MultiVectorIndex {
 public:
  explicit MultiVectorIndex(VectorPrecision precision = VectorPrecision::kInt8)
      : index_(NewIndex(kDimension, VectorMetric::kL2, precision)), precision_(precision) {}

  void Write(std::int64_t docid, std::size_t vector_count, std::uint64_t sequence) {
    Versions version{sequence, {}};
    for (std::size_t i = 0; i < vector_count; ++i) version.records.push_back(RecordOf(vectors_.Next(), precision_));
    std::vector<VectorUpsert> upserts;
    for (std::size_t i = 0; i < vector_count; ++i) upserts.push_back({docid, version.records[i], sequence, i > 0});
    if (vector_count == 0) {
      REQUIRE(index_->Remove(docid, sequence).ok());
    } else {
      REQUIRE(index_->UpsertMany(upserts, 1).ok());
    }
    written_[docid].push_back(std::move(version));
    last_sequence_ = sequence;
  }

  std::vector<VectorMatch> Expected(const VectorQuery& query, std::uint64_t snapshot) const {
    std::vector<VectorMatch> matches;
    for (const auto& [docid, versions] : written_) {
      const Versions* visible = nullptr;
      for (const Versions& version : versions) {
        if (version.born <= snapshot) visible = &version;
      }
      if (visible == nullptr || visible->records.empty()) continue;
      double nearest = query.DistanceToRecord(visible->records[0]).value();
      for (const ByteString& record : visible->records) {
        nearest = std::min(nearest, query.DistanceToRecord(record).value());
      }
      matches.push_back({docid, nearest});
    }
    std::sort(matches.begin(), matches.end(), [](const VectorMatch& a, const VectorMatch& b) {
      return a.distance != b.distance ? a.distance < b.distance : a.docid < b.docid;
    });
    return matches;
  }

  // Searches of every strategy, with a filter and without, in one snapshot.
  void Check(std::uint64_t snapshot, const std::shared_ptr<const VectorFilter>& filter) {
    CAPTURE(snapshot);
    const std::vector<float> query = vectors_.Next();
    std::size_t hit_count = 0;
    std::size_t expected_count = 0;
    for (const VectorStrategy strategy : {VectorStrategy::kAuto, VectorStrategy::kGraph, VectorStrategy::kExact}) {
      for (const bool is_filtered : {false, true}) {
        VectorSearchOptions options;
        options.strategy = strategy;
        if (is_filtered) options.among = filter;
        const auto cursor = index_->NewCursor(query, snapshot, options).value();
        auto expected = Expected(cursor->query(), snapshot);
        if (is_filtered)
          std::erase_if(expected, [&](const VectorMatch& match) { return !filter->Contains(match.docid); });
        auto found = Take(*cursor, kK);
        if (strategy == VectorStrategy::kExact && !is_filtered) {
          REQUIRE(found ==
                  std::vector<VectorMatch>(
                      expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(std::min(kK, expected.size()))));
        }
        for (std::size_t i = 0; i < std::min(kK, expected.size()); ++i, ++expected_count) {
          hit_count += std::count(found.begin(), found.end(), expected[i]) > 0 ? 1 : 0;
        }
        // In the end every document has come once.
        const auto rest = Take(*cursor, SIZE_MAX);
        found.insert(found.end(), rest.begin(), rest.end());
        std::set<std::int64_t> docids;
        for (const VectorMatch& match : found) docids.insert(match.docid);
        REQUIRE(docids.size() == found.size());
        REQUIRE(found.size() == expected.size());
        for (const VectorMatch& match : expected) REQUIRE(docids.contains(match.docid));
      }
    }
    CHECK(hit_count * 100 >= expected_count * 95);
  }

  VectorIndex& index() { return *index_; }
  void Reload(const std::string& path) {
    index_->SetAppliedSeq(std::max(index_->applied_seq(), last_sequence_));
    REQUIRE(index_->SaveSnapshot(path).ok());
    auto loaded = LoadHnswIndex(index_->config(), path);
    REQUIRE(loaded.ok());
    index_ = std::move(loaded).value();
  }
  std::mt19937& random() { return vectors_.random(); }

 private:
  SyntheticVectors vectors_{kDimension, 20, 51};
  std::unique_ptr<VectorIndex> index_;
  VectorPrecision precision_;
  std::uint64_t last_sequence_ = 0;
  std::map<std::int64_t, std::vector<Versions>> written_;
};

}  // namespace

TEST_CASE("several vectors: a document comes once, with its nearest, in every snapshot and after every change") {
  for (const VectorPrecision precision : kPrecisions) {
    MultiVectorIndex tested(precision);
    const TemporaryDirectory directory;
    std::vector<std::int64_t> docids;
    for (std::int64_t docid = 0; docid < 700; docid += 3) docids.push_back(docid);
    const auto filter = std::make_shared<VectorFilter>(docids);
    std::uint64_t sequence = 0;
    for (std::int64_t docid = 0; docid < 700; ++docid) tested.Write(docid, 1 + tested.random()() % 8, ++sequence);
    CHECK(tested.index().entry_count() == 700);
    for (const std::uint64_t snapshot : {1ULL, 100ULL, 500ULL, 700ULL}) tested.Check(snapshot, filter);
    for (int i = 0; i < 900; ++i) {
      tested.Write(static_cast<std::int64_t>(tested.random()() % 700), tested.random()() % 6, ++sequence);
      if (i % 150 == 0) tested.Check(600 + tested.random()() % (sequence - 600), filter);
    }
    tested.Check(sequence, filter);
    tested.Check(sequence - 300, filter);
    tested.index().ForgetBefore(sequence - 50);
    tested.Check(sequence - 50, filter);
    REQUIRE(tested.index().Compact().ok());
    tested.Check(sequence - 50, filter);
    tested.Reload(directory.path() + "/snapshot");
    tested.Check(sequence, filter);
    for (int i = 0; i < 50; ++i) {
      tested.Write(static_cast<std::int64_t>(tested.random()() % 700), tested.random()() % 6, ++sequence);
    }
    tested.Check(sequence, filter);
    tested.Reload(directory.path() + "/snapshot");  // By its delta.
    tested.Check(sequence, filter);
  }
}

TEST_CASE("several vectors: the same ones again change nothing, others replace all, older ones are ignored") {
  const auto index = NewIndex(kDimension);
  SyntheticVectors vectors(kDimension, 5, 52);
  const ByteString a = RecordOf(vectors.Next());
  const ByteString b = RecordOf(vectors.Next());
  const ByteString c = RecordOf(vectors.Next());
  const auto node_count = [&] { return index->entry_count() + index->garbage_count(); };
  const auto write = [&](std::vector<ByteString> records, std::uint64_t sequence) {
    std::vector<VectorUpsert> upserts;
    for (std::size_t i = 0; i < records.size(); ++i) upserts.push_back({7, records[i], sequence, i > 0});
    REQUIRE(index->UpsertMany(upserts, 1).ok());
  };
  index->ForgetBefore(100);
  write({a, b}, 10);
  write({a, b}, 11);
  CHECK(node_count() == 1);
  write({a, b, c}, 12);
  CHECK(index->garbage_count() == 2);
  write({b, a, c}, 13);
  CHECK(index->garbage_count() == 5);
  write({a}, 4);
  CHECK(index->garbage_count() == 5);
  write({a}, 14);
  CHECK(index->garbage_count() == 8);
  REQUIRE(index->Remove(7, 15).ok());
  CHECK(index->garbage_count() == 9);
  CHECK(index->entry_count() == 0);
}

TEST_CASE("several vectors: a further one of nothing is refused, and nothing is done") {
  const auto index = NewIndex(kDimension);
  SyntheticVectors vectors(kDimension, 5, 53);
  const ByteString record = RecordOf(vectors.Next());
  for (const auto& upserts : std::vector<std::vector<VectorUpsert>>{
           {{1, record, 5, true}}, {{1, record, 5}, {2, record, 5, true}}, {{1, record, 5}, {1, record, 6, true}}}) {
    const Status status = index->UpsertMany(upserts, 1);
    CHECK(status.code() == ErrorCode::kInvalidArgument);
    CHECK(status.message().find("a further vector of document ") != std::string::npos);
    CHECK(index->entry_count() == 0);
  }
}

}  // namespace foreshore
