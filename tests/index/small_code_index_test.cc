// Goal: an index with codes of 4 bits or of 1 bit finds what it should, in the order of its int8 codes, through
// changes, the coming of its mean, compaction, saving and opening; and refuses what is damaged or cannot be.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "index/hnsw_index.h"
#include "index/hnsw_snapshot.h"
#include "storage/base/checksum.h"
#include "storage/base/file.h"
#include "tests/index/snapshot_bytes.h"
#include "tests/index/synthetic_vectors.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

constexpr VectorMetric kMetrics[] = {VectorMetric::kCosine, VectorMetric::kDot, VectorMetric::kL2};
constexpr VectorPrecision kSmallPrecisions[] = {VectorPrecision::kInt4, VectorPrecision::kInt1};
constexpr std::uint64_t kNow = 1'000'000;

std::vector<std::int64_t> DocidsOf(const std::vector<VectorMatch>& matches) {
  std::vector<std::int64_t> docids;
  for (const VectorMatch& match : matches) docids.push_back(match.docid);
  return docids;
}

std::vector<VectorMatch> SearchGraph(const VectorIndex& index, const std::vector<float>& query, std::size_t ef,
                                     std::size_t count, std::uint64_t snapshot = kNow) {
  VectorSearchOptions options;
  options.ef = ef;
  options.strategy = VectorStrategy::kGraph;
  return Take(*index.NewCursor(query, snapshot, options).value(), count);
}

double RecallOf(const VectorIndex& index, SyntheticVectors& vectors, std::size_t ef) {
  constexpr int kQueries = 50;
  int found_count = 0;
  for (int round = 0; round < kQueries; ++round) {
    const std::vector<float> query = vectors.Next();
    const auto found = DocidsOf(SearchGraph(index, query, ef, 10));
    for (const std::int64_t docid : DocidsOf(index.ExactSearch(query, kNow, 10).value())) {
      found_count += std::count(found.begin(), found.end(), docid) > 0 ? 1 : 0;
    }
  }
  return found_count / (10.0 * kQueries);
}

void Fill(VectorIndex& index, SyntheticVectors& vectors, std::int64_t first, std::int64_t end, std::uint64_t sequence) {
  for (std::int64_t docid = first; docid < end; ++docid) {
    REQUIRE(index.Upsert(docid, RecordOf(vectors.Next()), sequence).ok());
  }
}

// What SaveSnapshot() writes of the index, read back.
HnswSnapshot ReadBack(VectorIndex& index) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/saved";
  REQUIRE(index.SaveSnapshot(path).ok());
  const VectorPrecision precision = index.config().precision;
  auto image = HnswImage::Map("index", GraphConfigOf(index.config()).value(), precision, path).value();
  REQUIRE(image->CheckAll().ok());
  return std::move(SnapshotOf(precision, std::move(image))).value();
}

std::vector<float> MeanOf(VectorIndex& index) {
  return ReadBack(index).graph->config().small_codes->mean;
}

}  // namespace

TEST_CASE("small code index: recall@10 against the scan of int8 codes, and their distances") {
  constexpr std::uint32_t kDimension = 64;
  for (const VectorPrecision precision : kSmallPrecisions) {
    for (const VectorMetric metric : kMetrics) {
      CAPTURE(VectorPrecisionBits(precision));
      CAPTURE(VectorMetricName(metric));
      SyntheticVectors vectors(kDimension, 50, 42);
      const auto index = NewIndex(kDimension, metric, precision);
      Fill(*index, vectors, 0, 3000, 1);
      // 4 bits lose little of what 8 find. 1 bit needs a wider search, which it is cheaper for.
      CHECK(RecallOf(*index, vectors, 64) >= (precision == VectorPrecision::kInt4 ? 0.97 : 0.75));
      CHECK(RecallOf(*index, vectors, 256) >= (precision == VectorPrecision::kInt4 ? 0.99 : 0.95));
      const std::vector<float> query = vectors.Next();
      const auto prepared = VectorQuery::Prepare(metric, kDimension, query).value();
      const std::vector<float> target = vectors.Next();
      REQUIRE(index->Upsert(77, RecordOf(target), 2).ok());
      for (const VectorMatch& match : SearchGraph(*index, target, 256, 1)) {
        if (metric == VectorMetric::kDot) continue;  // There a longer vector may be nearer.
        CHECK(match.docid == 77);
        const auto of_target = VectorQuery::Prepare(metric, kDimension, target).value();
        CHECK(match.distance == of_target.DistanceToRecord(RecordOf(target)).value());
      }
      const auto matches = SearchGraph(*index, query, 256, 100);
      REQUIRE(matches.size() == 100);
      CHECK(std::is_sorted(matches.begin(), matches.end(),
                           [](const VectorMatch& a, const VectorMatch& b) { return a.distance < b.distance; }));
    }
  }
}

TEST_CASE("small code index: the mean comes with the 1,024th vector, and nothing that was there is lost") {
  constexpr std::uint32_t kDimension = 24;
  for (const VectorPrecision precision : kSmallPrecisions) {
    SyntheticVectors vectors(kDimension, 5, 8);
    const auto index = NewIndex(kDimension, VectorMetric::kL2, precision);
    Fill(*index, vectors, 0, 1000, 1);
    for (std::int64_t docid = 0; docid < 1000; docid += 10) REQUIRE(index->Remove(docid, 5).ok());
    Fill(*index, vectors, 1000, 1023, 6);
    CHECK(MeanOf(*index).empty());
    const std::vector<float> query = vectors.Next();
    const auto cursor = index->NewCursor(query, 4, {}).value();  // Opened before, read across.
    const auto first = Take(*cursor, 10);
    const auto before = DocidsOf(index->ExactSearch(query, 4, 1000).value());
    CHECK(before.size() == 1000);
    Fill(*index, vectors, 1023, 1024, 7);
    const std::vector<float> mean = MeanOf(*index);
    CHECK(mean.size() == kDimension);
    CHECK(DocidsOf(index->ExactSearch(query, 4, 1000).value()) == before);
    CHECK(index->ExactSearch(query, 7, 2000).value().size() == 924);
    CHECK(index->entry_count() == 924);
    CHECK(first.size() + Take(*cursor, 2000).size() == 1000);
    CHECK(RecallOf(*index, vectors, 256) >= 0.95);
    // It stays while the graph does, and a compaction takes it anew.
    Fill(*index, vectors, 2000, 2500, 8);
    CHECK(MeanOf(*index) == mean);
    REQUIRE(index->Compact().ok());
    CHECK(MeanOf(*index) != mean);
    CHECK(index->entry_count() == 1424);
    CHECK(RecallOf(*index, vectors, 256) >= 0.95);
  }
  SyntheticVectors vectors(kDimension, 5, 8);
  const auto index = NewIndex(kDimension, VectorMetric::kCosine, VectorPrecision::kInt4);
  Fill(*index, vectors, 0, 1100, 1);
  CHECK(MeanOf(*index).empty());
}

TEST_CASE("small code index: a vector set that lies far from the origin is found by its mean") {
  constexpr std::uint32_t kDimension = 32;
  const auto recall_with = [&](bool is_centred) {
    VectorIndexConfig config;
    config.metric = VectorMetric::kL2;
    config.dimension = kDimension;
    config.precision = VectorPrecision::kInt1;
    config.small_codes_centred = is_centred;
    const auto index = CreateHnswIndex(config).value();
    SyntheticVectors vectors(kDimension, 20, 3);
    const auto next = [&] {
      std::vector<float> values = vectors.Next();
      for (float& value : values) value += 1.0F;
      return values;
    };
    std::vector<ByteString> records;
    std::vector<VectorUpsert> upserts;
    for (std::int64_t docid = 0; docid < 3000; ++docid) records.push_back(RecordOf(next()));
    for (std::int64_t docid = 0; docid < 3000; ++docid) {
      upserts.push_back({docid, records[static_cast<std::size_t>(docid)], 1});
    }
    REQUIRE(index->UpsertMany(upserts, 2).ok());
    int found_count = 0;
    for (int round = 0; round < 40; ++round) {
      const std::vector<float> query = next();
      const auto found = DocidsOf(SearchGraph(*index, query, 128, 10));
      for (const std::int64_t docid : DocidsOf(index->ExactSearch(query, kNow, 10).value())) {
        found_count += std::count(found.begin(), found.end(), docid) > 0 ? 1 : 0;
      }
    }
    return found_count / 400.0;
  };
  const double centred = recall_with(true);
  CHECK(centred >= 0.85);
  CHECK(centred > recall_with(false) + 0.1);
}

TEST_CASE("small code index: saved and opened it has the same rows and finds the same") {
  constexpr std::uint32_t kDimension = 33;
  for (const VectorPrecision precision : kSmallPrecisions) {
    for (const VectorMetric metric : kMetrics) {
      SyntheticVectors vectors(kDimension, 10, 21);
      const auto saved = NewIndex(kDimension, metric, precision);
      Fill(*saved, vectors, 0, 2200, 1);
      const TemporaryDirectory directory;
      const std::string path = directory.path() + "/snapshot";
      REQUIRE(saved->SaveSnapshot(path).ok());
      const auto loaded = LoadHnswIndex(saved->config(), path).value();
      for (int round = 0; round < 20; ++round) {
        const std::vector<float> query = vectors.Next();
        CHECK(SearchGraph(*loaded, query, 64, 50) == SearchGraph(*saved, query, 64, 50));
      }
      const HnswSnapshot first = ReadBack(*saved);
      const HnswSnapshot second = ReadBack(*loaded);
      const SmallCodeSpace space(metric, kDimension, *first.graph->config().small_codes);
      CHECK(first.graph->config().small_codes == second.graph->config().small_codes);
      CHECK(first.graph->config().small_codes->mean.empty() == (metric != VectorMetric::kL2));
      for (std::uint32_t slot = 0; slot < first.graph->node_count(); ++slot) {
        REQUIRE(space.CheckRow(first.graph->walked_row(slot)).ok());
        REQUIRE(std::memcmp(first.graph->walked_row(slot), second.graph->walked_row(slot), space.row_bytes()) == 0);
      }
      Fill(*loaded, vectors, 3000, 3100, 2);
      CHECK(RecallOf(*loaded, vectors, 256) >= 0.9);
    }
  }
}

// The codes that only the last ranking reads are all of what memory has less.
TEST_CASE("small code index: its int8 codes lie in files, of which no name is seen, and all else is the same") {
  constexpr std::uint32_t kDimension = 100;
  const TemporaryDirectory directory;
  for (const VectorPrecision precision : kSmallPrecisions) {
    VectorIndexConfig config = NewIndex(kDimension, VectorMetric::kL2, precision)->config();
    const auto in_memory = CreateHnswIndex(config).value();
    config.scratch_folder = directory.path() + "/absent";
    const auto without_folder = CreateHnswIndex(config).value();
    config.scratch_folder = directory.path();
    const auto outside = CreateHnswIndex(config).value();
    VectorIndex* const all[] = {in_memory.get(), without_folder.get(), outside.get()};
    for (VectorIndex* index : all) {
      SyntheticVectors vectors(kDimension, 20, 77);
      Fill(*index, vectors, 0, 3000, 1);
    }
    CHECK(ListDirectory(directory.path())->empty());
    constexpr std::uint64_t kCodeBytes = 3000 * VectorCodeBytes(kDimension);
    CHECK(outside->memory_bytes() == in_memory->memory_bytes() - kCodeBytes);
    CHECK(outside->mapped_bytes() == kCodeBytes);
    CHECK(in_memory->mapped_bytes() == 0);
    CHECK(without_folder->memory_bytes() == in_memory->memory_bytes());
    const auto check_same = [&] {
      SyntheticVectors queries(kDimension, 20, 78);
      for (int i = 0; i < 20; ++i) {
        const std::vector<float> query = queries.Next();
        const auto expected = SearchGraph(*in_memory, query, 64, 50);
        CHECK(SearchGraph(*without_folder, query, 64, 50) == expected);
        CHECK(SearchGraph(*outside, query, 64, 50) == expected);
      }
    };
    check_same();
    for (VectorIndex* index : all) {
      SyntheticVectors vectors(kDimension, 20, 79);
      for (std::int64_t docid = 0; docid < 3000; docid += 2) REQUIRE(index->Remove(docid, 5).ok());
      index->SetAppliedSeq(5);
      index->ForgetBefore(5);
      REQUIRE(index->Compact().ok());
      Fill(*index, vectors, 4000, 4100, 6);
    }
    check_same();
    constexpr std::uint64_t kCodeBytesAfter = 1600 * VectorCodeBytes(kDimension);
    CHECK(outside->memory_bytes() == in_memory->memory_bytes() - kCodeBytesAfter);
    CHECK(outside->mapped_bytes() == kCodeBytesAfter);
    // Opened from its file, what is added behind it is outside as well.
    const TemporaryDirectory saved;
    REQUIRE(outside->SaveSnapshot(saved.path() + "/saved").ok());
    const auto loaded = LoadHnswIndex(config, saved.path() + "/saved").value();
    const std::uint64_t file_bytes = FileSizeBytes(saved.path() + "/saved").value();
    CHECK(loaded->mapped_bytes() == file_bytes);
    SyntheticVectors vectors(kDimension, 20, 80);
    Fill(*loaded, vectors, 5000, 5100, 7);
    CHECK(loaded->mapped_bytes() == file_bytes + 100 * VectorCodeBytes(kDimension));
    CHECK(RecallOf(*loaded, vectors, 256) >= 0.9);
  }
}

TEST_CASE("small code index: a damaged snapshot is refused") {
  for (const VectorPrecision precision : kSmallPrecisions) {
    SyntheticVectors vectors(8, 5, 23);
    const auto index = NewIndex(8, VectorMetric::kL2, precision);
    Fill(*index, vectors, 0, 1024, 1);
    const TemporaryDirectory directory;
    const std::string path = directory.path() + "/saved";
    REQUIRE(index->SaveSnapshot(path).ok());
    ByteString bytes = ReadFile(path).value();
    const auto decode = [&](Bytes changed, VectorPrecision as) -> Status {
      VectorIndexConfig config = index->config();
      config.precision = as;
      FORESHORE_ASSIGN_OR_RETURN(const auto image,
                                 HnswImage::Copy("index", GraphConfigOf(config).value(), as, changed));
      return image->CheckAll();
    };
    REQUIRE(decode(bytes, precision).ok());
    for (const VectorPrecision other : {VectorPrecision::kInt8, VectorPrecision::kInt4, VectorPrecision::kInt1}) {
      if (other != precision) CHECK(decode(bytes, other).code() == ErrorCode::kCorruption);
    }
    HnswGraphConfig graph_config = GraphConfigOf(index->config()).value();
    graph_config.small_codes->mean.resize(8);
    const HnswLayout layout(graph_config, precision, CountsOf(bytes));
    REQUIRE(layout.file_bytes() == bytes.size());
    // Every bit of the flags and of what the codes have in common, and some of each row.
    const HnswLayout::Area& common = layout[kSmallConfigArea];
    const HnswLayout::Area& rows = layout[kSmallCodeArea];
    REQUIRE(common.bytes() == 12 + 4 * 8);
    std::vector<std::size_t> bits;
    for (std::size_t bit = 0; bit < 8; ++bit) bits.push_back(13 * 8 + bit);
    for (std::size_t bit = 0; bit < common.bytes() * 8; ++bit) bits.push_back(common.offset * 8 + bit);
    for (std::size_t bit = 0; bit < rows.bytes() * 8; bit += 1001) bits.push_back(rows.offset * 8 + bit);
    for (const std::size_t bit : bits) {
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
      const ErrorCode code = decode(bytes, precision).code();
      REQUIRE((code == ErrorCode::kCorruption || (code == ErrorCode::kUnsupported && bit / 8 == 13)));
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    }
    // Under right checksums.
    bytes[common.offset] = 3;
    Overwrite(bytes, layout.sums_offset() + 4 * common.first_group,
              Crc32c(Bytes(bytes).substr(common.offset, common.bytes())));
    Overwrite(bytes, 64, Crc32c(Bytes(bytes).substr(layout.sums_offset(), 4 * layout.sum_count())));
    Overwrite(bytes, 68, Crc32c(Bytes(bytes).substr(0, 68)));
    CHECK(decode(bytes, precision).message().find("small codes: 3 bits with flags 1") != std::string::npos);
  }
}

TEST_CASE("small code index: hnswlib's graph is refused by name") {
  VectorIndexConfig config;
  config.dimension = 8;
  config.graph = VectorGraphKind::kHnswlib;
  config.precision = VectorPrecision::kInt4;
  const Status status = CreateHnswIndex(config).status();
  CHECK(status.code() == ErrorCode::kInvalidArgument);
  CHECK(status.message() == "vector index: precision is 4 bits over the graph of hnswlib, expected 8 or 16 there");
  config.precision = VectorPrecision::kInt1;
  CHECK(LoadHnswIndex(config, "/nowhere").status().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("small code index: thousands of equal vectors, zeros and extremes are all found") {
  for (const VectorPrecision precision : kSmallPrecisions) {
    for (const VectorMetric metric : kMetrics) {
      SyntheticVectors vectors(16, 5, 30);
      const auto index = NewIndex(16, metric, precision);
      const std::vector<float> equal = vectors.Next();
      for (std::int64_t docid = 0; docid < 1500; ++docid) REQUIRE(index->Upsert(docid, RecordOf(equal), 1).ok());
      for (const float value : {0.0F, 1e-37F, 1e20F, -1e30F, 3e38F}) {
        REQUIRE(index
                    ->Upsert(2000 + static_cast<std::int64_t>(index->entry_count()),
                             RecordOf(std::vector<float>(16, value)), 1)
                    .ok());
      }
      const auto all = SearchGraph(*index, equal, 64, SIZE_MAX);
      CHECK(all.size() == 1505);
    }
  }
}

TEST_CASE("small code index: the same on every processor") {
  std::uint32_t state = 1;
  std::uint64_t hash = 14695981039346656037ULL;
  const auto mix = [&hash](std::uint64_t value) {
    for (int byte = 0; byte < 8; ++byte) hash = (hash ^ (value >> (8 * byte) & 0xFF)) * 1099511628211ULL;
  };
  const auto next_vector = [&state](std::uint32_t dimension) {
    std::vector<float> values(dimension);
    for (float& value : values) {
      state = state * 1664525 + 1013904223;
      value = static_cast<float>(static_cast<int>(state >> 22) - 512) / 64.0F;
    }
    return values;
  };
  for (const VectorPrecision precision : kSmallPrecisions) {
    for (const VectorMetric metric : kMetrics) {
      for (const std::uint32_t dimension : {7U, 100U}) {
        const auto index = NewIndex(dimension, metric, precision);
        for (std::int64_t docid = 0; docid < 1200; ++docid) {
          REQUIRE(index->Upsert(docid, RecordOf(next_vector(dimension)), 1).ok());
        }
        for (int query = 0; query < 20; ++query) {
          for (const VectorMatch& match : SearchGraph(*index, next_vector(dimension), 40, 10)) {
            mix(static_cast<std::uint64_t>(match.docid));
            mix(std::bit_cast<std::uint64_t>(match.distance));
          }
        }
      }
    }
  }
  CHECK(hash == 10502308718017921655ULL);
}

}  // namespace foreshore
