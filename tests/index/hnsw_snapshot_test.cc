// Goal: what is saved comes back whole, and no damaged or hostile file does harm.
// Method: round trips; truncation at every length and a flip of every bit of a small file; then random damage with
// checksums made right again, so that the checks behind them are met too.
#include "index/hnsw_snapshot.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "index/hnsw_index.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "tests/index/synthetic_vectors.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kDimension = 8;
constexpr std::size_t kHeaderBytes = 56;
constexpr HnswGraphConfig kGraphConfig{VectorMetric::kCosine, kDimension, 16, 128, kGraphUnderTest};

std::unique_ptr<VectorIndex> SmallIndex(std::int64_t count, SyntheticVectors& vectors, VectorPrecision precision) {
  auto index = NewIndex(kDimension, VectorMetric::kCosine, precision);
  std::uint64_t sequence = 0;
  for (std::int64_t docid = 0; docid < count; ++docid) {
    REQUIRE(index->Upsert(docid, RecordOf(vectors.Next(), precision), ++sequence).ok());
  }
  for (std::int64_t docid = 0; docid < count; docid += 5) REQUIRE(index->Remove(docid, ++sequence).ok());
  for (std::int64_t docid = 1; docid < count; docid += 5) {
    REQUIRE(index->Upsert(docid, RecordOf(vectors.Next(), precision), ++sequence).ok());
  }
  index->SetAppliedSeq(sequence);
  return index;
}

ByteString SavedBytes(const VectorIndex& index) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/saved";
  REQUIRE(index.SaveSnapshot(path).ok());
  return ReadFile(path).value();
}

ErrorCode DecodeCode(Bytes bytes, VectorPrecision precision) {
  const Result<HnswSnapshot> snapshot = DecodeHnswSnapshot("index", kGraphConfig, precision, bytes);
  return snapshot.ok() ? ErrorCode::kOk : snapshot.status().code();
}

void RepairChecksums(ByteString& bytes) {
  ByteString crc;
  AppendFixed<std::uint32_t>(crc, Crc32c(Bytes(bytes).substr(0, kHeaderBytes - 4)));
  AppendFixed<std::uint32_t>(crc, Crc32c(Bytes(bytes).substr(kHeaderBytes, bytes.size() - kHeaderBytes - 4)));
  bytes.replace(kHeaderBytes - 4, 4, crc, 0, 4);
  bytes.replace(bytes.size() - 4, 4, crc, 4, 4);
}

// Uses all of a decoded index, so that a bad link or count would be met.
void Exercise(HnswSnapshot snapshot, const std::vector<float>& query, VectorPrecision precision) {
  VectorIndexConfig config;
  config.dimension = kDimension;
  config.precision = precision;
  HnswIndex index(config, std::move(snapshot));
  VectorSearchOptions options;
  options.strategy = VectorStrategy::kGraph;
  Take(*index.NewCursor(query, 1000, options).value(), SIZE_MAX);
  REQUIRE(index.Upsert(12345, RecordOf(query), 1000).ok());
  REQUIRE(index.Remove(3, 1001).ok());
  index.ForgetBefore(1001);
  REQUIRE(index.Compact().ok());
}

}  // namespace

TEST_CASE("hnsw snapshot: a loaded index answers as the saved one did") {
  VectorPrecision precision = VectorPrecision::kInt8;
  SUBCASE("8 bits") {}
  SUBCASE("16 bits") {
    precision = VectorPrecision::kInt16;
  }
  SyntheticVectors vectors(kDimension, 5, 21);
  const auto saved = SmallIndex(2500, vectors, precision);
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/snapshot";
  REQUIRE(saved->SaveSnapshot(path).ok());
  CHECK(ListDirectory(directory.path()).value() == std::vector<std::string>{"snapshot"});

  Result<std::unique_ptr<VectorIndex>> loaded = LoadHnswIndex(saved->config(), path);
  REQUIRE(loaded.ok());
  CHECK((*loaded)->applied_seq() == saved->applied_seq());
  CHECK((*loaded)->entry_count() == saved->entry_count());
  for (const VectorStrategy strategy : {VectorStrategy::kGraph, VectorStrategy::kExact}) {
    VectorSearchOptions options;
    options.strategy = strategy;
    for (int round = 0; round < 20; ++round) {
      const std::vector<float> query = vectors.Next();
      const std::uint64_t snapshot = round % 2 == 0 ? saved->applied_seq() : 1234;
      CHECK(Take(*(*loaded)->NewCursor(query, snapshot, options).value(), 100) ==
            Take(*saved->NewCursor(query, snapshot, options).value(), 100));
    }
  }
  // It goes on from there: replayed and new changes, and a second generation of the file.
  REQUIRE((*loaded)->Remove(0, 2501).ok());
  const std::vector<float> fresh = vectors.Next();
  REQUIRE((*loaded)->Upsert(9999, RecordOf(fresh), 5000).ok());
  CHECK((*loaded)->ExactSearch(fresh, 5000, 1).value().front().docid == 9999);
  REQUIRE((*loaded)->SaveSnapshot(path).ok());
  CHECK(LoadHnswIndex(saved->config(), path).value()->entry_count() == saved->entry_count() + 1);
}

TEST_CASE("hnsw snapshot: either kind of graph opens what the other saved, and goes on") {
  SyntheticVectors vectors(kDimension, 5, 31);
  const auto saved = SmallIndex(2500, vectors, VectorPrecision::kInt16);
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/snapshot";
  REQUIRE(saved->SaveSnapshot(path).ok());
  VectorIndexConfig other = saved->config();
  other.graph = kGraphUnderTest == VectorGraphKind::kFlat ? VectorGraphKind::kHnswlib : VectorGraphKind::kFlat;
  const auto loaded = LoadHnswIndex(other, path).value();
  VectorSearchOptions options;
  options.strategy = VectorStrategy::kGraph;
  int same_count = 0;
  for (int round = 0; round < 100; ++round) {
    const std::vector<float> query = vectors.Next();
    const auto expected = Take(*saved->NewCursor(query, saved->applied_seq(), options).value(), 10);
    const auto found = Take(*loaded->NewCursor(query, saved->applied_seq(), options).value(), 10);
    REQUIRE(found.size() == expected.size());
    for (const VectorMatch& match : found) {
      same_count += std::find(expected.begin(), expected.end(), match) != expected.end() ? 1 : 0;
    }
  }
  CHECK(same_count >= 980);  // They walk the same links, each in its own way.
  for (std::int64_t docid = 10'000; docid < 10'300; ++docid) {
    REQUIRE(loaded->Upsert(docid, RecordOf(vectors.Next(), VectorPrecision::kInt16), 6000).ok());
  }
  REQUIRE(loaded->SaveSnapshot(path).ok());
  CHECK(LoadHnswIndex(saved->config(), path).value()->entry_count() == saved->entry_count() + 300);
}

TEST_CASE("hnsw snapshot: an empty index round trips") {
  const auto index = NewIndex(kDimension);
  index->SetAppliedSeq(17);
  const ByteString bytes = SavedBytes(*index);
  CHECK(bytes.size() == 60);
  const Result<HnswSnapshot> snapshot = DecodeHnswSnapshot("index", kGraphConfig, VectorPrecision::kInt8, bytes);
  REQUIRE(snapshot.ok());
  CHECK(snapshot->applied_seq == 17);
  CHECK(snapshot->graph->node_count() == 0);
}

TEST_CASE("hnsw snapshot: a file that is not there, or of another index, is said to be so") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/snapshot";
  const auto index = NewIndex(kDimension);
  CHECK(LoadHnswIndex(index->config(), path).status().code() == ErrorCode::kNotFound);
  CHECK(index->SaveSnapshot(directory.path() + "/missing/snapshot").code() == ErrorCode::kNotFound);
  REQUIRE(index->SaveSnapshot(path).ok());
  VectorIndexConfig other = index->config();
  other.metric = VectorMetric::kL2;
  const Status status = LoadHnswIndex(other, path).status();
  CHECK(status.code() == ErrorCode::kCorruption);
  CHECK(status.message() == "vector index \"notes.embedding\": snapshot of 60 bytes: metric is 0, expected 2");
  other = index->config();
  other.dimension = 9;
  CHECK(LoadHnswIndex(other, path).status().code() == ErrorCode::kCorruption);
  other = index->config();
  other.precision = VectorPrecision::kInt16;
  CHECK(LoadHnswIndex(other, path).status().message().find("precision is 0, expected 1") != std::string::npos);
  other = index->config();
  other.ef_construction = 64;
  CHECK(LoadHnswIndex(other, path).status().code() == ErrorCode::kCorruption);
}

TEST_CASE("hnsw snapshot: truncated at any length it is corrupt") {
  for (const VectorPrecision precision : kPrecisions) {
    SyntheticVectors vectors(kDimension, 5, 22);
    const ByteString good = SavedBytes(*SmallIndex(20, vectors, precision));
    REQUIRE(DecodeCode(good, precision) == ErrorCode::kOk);
    for (std::size_t length = 0; length < good.size(); ++length) {
      REQUIRE(DecodeCode(Bytes(good).substr(0, length), precision) == ErrorCode::kCorruption);
    }
    CHECK(DecodeCode(good + '\0', precision) == ErrorCode::kCorruption);
  }
}

TEST_CASE("hnsw snapshot: with any one bit flipped it is corrupt") {
  for (const VectorPrecision precision : kPrecisions) {
    SyntheticVectors vectors(kDimension, 5, 23);
    ByteString bytes = SavedBytes(*SmallIndex(12, vectors, precision));
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
      REQUIRE(DecodeCode(bytes, precision) == ErrorCode::kCorruption);
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    }
    CHECK(DecodeCode(bytes, precision) == ErrorCode::kOk);
  }
}

TEST_CASE("hnsw snapshot: damage under right checksums is refused or harmless") {
  constexpr unsigned kSeed = 24;
  CAPTURE(kSeed);
  SyntheticVectors vectors(kDimension, 5, kSeed);
  VectorPrecision precision = VectorPrecision::kInt8;
  SUBCASE("8 bits") {}
  SUBCASE("16 bits") {
    precision = VectorPrecision::kInt16;
  }
  const ByteString good = SavedBytes(*SmallIndex(40, vectors, precision));
  const std::vector<float> query = vectors.Next();
  std::mt19937 random(kSeed);
  int refused_count = 0;
  for (int round = 0; round < 2000; ++round) {
    CAPTURE(round);
    ByteString bytes = good;
    const int change_count = 1 + static_cast<int>(random() % 3);
    for (int change = 0; change < change_count; ++change) {
      // Half of the damage to the header, levels and first nodes, where the counts are.
      const std::size_t range = random() % 2 == 0 ? 200 : bytes.size();
      bytes[random() % range] = static_cast<char>(random() % 3 == 0 ? 0xFF : random());
    }
    if (random() % 4 == 0) bytes.resize(60 + random() % (bytes.size() - 60));
    RepairChecksums(bytes);
    Result<HnswSnapshot> snapshot = DecodeHnswSnapshot("index", kGraphConfig, precision, bytes);
    if (!snapshot.ok()) {
      ++refused_count;
      continue;
    }
    Exercise(std::move(snapshot).value(), query, precision);
  }
  CHECK(refused_count > 500);
}

TEST_CASE("hnsw snapshot: each check says what it found") {
  SyntheticVectors vectors(kDimension, 5, 25);
  const ByteString good = SavedBytes(*SmallIndex(40, vectors, VectorPrecision::kInt8));
  const auto node_count = LoadFixed<std::uint32_t>(good.data() + 32);
  const auto entry_point = LoadFixed<std::uint32_t>(good.data() + 36);
  const std::size_t first_node = kHeaderBytes + node_count;
  const auto message_with = [&good](std::size_t offset, auto value) {
    ByteString bytes = good;
    ByteString piece;
    AppendFixed(piece, value);
    bytes.replace(offset, piece.size(), piece);
    RepairChecksums(bytes);
    const Result<HnswSnapshot> snapshot = DecodeHnswSnapshot("index", kGraphConfig, VectorPrecision::kInt8, bytes);
    REQUIRE(!snapshot.ok());
    const std::string prefix = "index: snapshot of " + std::to_string(good.size()) + " bytes: ";
    const std::string message = snapshot.status().message();
    return message.rfind(prefix, 0) == 0 ? message.substr(prefix.size()) : message;
  };
  CHECK(message_with(0, std::uint8_t{'X'}) == "expected the magic \"FSVINDEX\"");
  CHECK(message_with(8, std::uint32_t{2}) ==
        "index: snapshot of version 2 with flags 0, expected version 1 with flags 0 or 1");
  CHECK(message_with(13, std::uint8_t{2}) ==
        "index: snapshot of version 1 with flags 2, expected version 1 with flags 0 or 1");
  CHECK(message_with(13, std::uint8_t{1}) == "precision is 1, expected 0");
  CHECK(message_with(14, std::uint16_t{9}) == "dimension is 9, expected 8");
  CHECK(message_with(16, std::uint32_t{64}) == "links_per_node is 64, expected 16");
  CHECK(message_with(32, std::uint32_t{0x7FFFFFFF}).find("node_count is 2147483647, expected at most") == 0);
  CHECK(message_with(36, node_count) ==
        "entry_point is " + std::to_string(node_count) + " of " + std::to_string(node_count) + " nodes");
  CHECK(message_with(40, std::uint64_t{0}) == "file_bytes is 0, expected " + std::to_string(good.size()));
  CHECK(message_with(48, std::uint32_t{1}) == "reserved is 1, expected 0");
  const std::uint32_t other = entry_point == 0 ? 1 : 0;
  CHECK(message_with(kHeaderBytes + other, std::uint8_t{62}).find("has level 62, expected at most") !=
        std::string::npos);
  CHECK(message_with(first_node + 8, UINT64_MAX).find("node 0 is born at 18446744073709551615") == 0);
  CHECK(message_with(first_node + 24, -1.0F).find("node 0: scale is -1.0") == 0);
  CHECK(message_with(first_node + 28, std::int8_t{-128}) == "node 0: a code is -128, expected -127..127");
  CHECK(message_with(first_node + 28 + kDimension, std::uint16_t{33}) ==
        "node 0 has 33 links on level 0, expected at most 32");
  CHECK(message_with(first_node + 30 + kDimension, std::uint32_t{0}) ==
        "node 0 links to 0 on level 0, expected another node that reaches it");
  CHECK(message_with(first_node + 30 + kDimension, node_count).find("node 0 links to") == 0);
}

}  // namespace foreshore
