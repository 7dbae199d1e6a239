// Goal: what is saved comes back whole, and no damaged or hostile file does harm.
// Method: round trips; truncation at every length and a flip of every bit of a small file; then random damage with
// checksums made right again, so that the checks behind them are met too.
#include "index/hnsw_snapshot.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "index/hnsw_index.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "tests/index/snapshot_bytes.h"
#include "tests/index/synthetic_vectors.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kDimension = 8;
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

ByteString SavedBytes(VectorIndex& index) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/saved";
  REQUIRE(index.SaveSnapshot(path).ok());
  return ReadFile(path).value();
}

// The image of a file with these bytes, all of it checked.
Result<std::shared_ptr<HnswImage>> CheckedImage(Bytes bytes, VectorPrecision precision) {
  FORESHORE_ASSIGN_OR_RETURN(auto image, HnswImage::Copy("index", kGraphConfig, precision, bytes));
  FORESHORE_RETURN_IF_ERROR(image->CheckAll());
  return image;
}

ErrorCode CheckedCode(Bytes bytes, VectorPrecision precision) {
  return CheckedImage(bytes, precision).status().code();
}

HnswLayout LayoutOf(Bytes bytes, VectorPrecision precision) {
  return HnswLayout(kGraphConfig, precision, CountsOf(bytes));
}

void RepairChecksums(ByteString& bytes, VectorPrecision precision) {
  RepairSnapshotSums(bytes, kGraphConfig, precision);
}

// Whether the byte lies in the header, the sums or an area.
bool IsUsed(const HnswLayout& layout, std::size_t offset) {
  if (offset < kHnswHeaderBytes) return true;
  if (offset >= layout.sums_offset() && offset < layout.sums_offset() + 4 * layout.sum_count()) return true;
  for (int i = 0; i < kHnswAreaCount; ++i) {
    const HnswLayout::Area& area = layout[static_cast<HnswArea>(i)];
    if (offset >= area.offset && offset < area.offset + area.bytes()) return true;
  }
  return false;
}

// Uses all of an index over an image that nobody checked, so that a bad link or count would be met. Returns whether all
// of it could be used.
bool Exercise(std::shared_ptr<HnswImage> image, const std::vector<float>& query, VectorPrecision precision,
              bool saves) {
  VectorIndexConfig config;
  config.dimension = kDimension;
  config.precision = precision;
  config.graph = kGraphUnderTest;
  Result<HnswSnapshot> snapshot = SnapshotOf(precision, std::move(image));
  if (!snapshot.ok()) return false;
  HnswIndex index(config, std::move(snapshot).value());
  VectorSearchOptions options;
  options.strategy = VectorStrategy::kGraph;
  bool is_ok = true;
  const auto cursor = index.NewCursor(query, 1000, options).value();
  while (true) {
    const auto match = cursor->Next();
    is_ok = is_ok && match.ok();
    if (!match.ok() || !match->has_value()) break;
    CHECK(!std::isnan((*match)->distance));
  }
  is_ok = index.Upsert(12345, RecordOf(query), 1000).ok() && is_ok;
  is_ok = index.Remove(3, 1001).ok() && is_ok;
  index.ForgetBefore(1001);
  if (saves) {
    const TemporaryDirectory directory;
    is_ok = index.SaveSnapshot(directory.path() + "/again").ok() && is_ok;
  }
  return index.Compact().ok() && is_ok;
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
      const std::uint64_t snapshot = saved->applied_seq() + (round % 2);
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
  CHECK(bytes.size() == kHnswHeaderBytes);
  const auto image = CheckedImage(bytes, VectorPrecision::kInt8);
  REQUIRE(image.ok());
  const Result<HnswSnapshot> snapshot = SnapshotOf(VectorPrecision::kInt8, *image);
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
  CHECK(status.message() == "vector index \"notes.embedding\": snapshot of 128 bytes: metric is 0, expected 2");
  other = index->config();
  other.dimension = 9;
  CHECK(LoadHnswIndex(other, path).status().code() == ErrorCode::kCorruption);
  other = index->config();
  other.precision = VectorPrecision::kInt16;
  CHECK(LoadHnswIndex(other, path).status().message().find("precision is 8, expected 16") != std::string::npos);
  other = index->config();
  other.ef_construction = 64;
  CHECK(LoadHnswIndex(other, path).status().code() == ErrorCode::kCorruption);
}

TEST_CASE("hnsw snapshot: truncated at any length it is corrupt") {
  for (const VectorPrecision precision : kPrecisions) {
    SyntheticVectors vectors(kDimension, 5, 22);
    const ByteString good = SavedBytes(*SmallIndex(20, vectors, precision));
    REQUIRE(CheckedCode(good, precision) == ErrorCode::kOk);
    for (std::size_t length = 0; length < good.size(); ++length) {
      REQUIRE(CheckedCode(Bytes(good).substr(0, length), precision) == ErrorCode::kCorruption);
    }
    CHECK(CheckedCode(good + '\0', precision) == ErrorCode::kCorruption);
  }
}

TEST_CASE("hnsw snapshot: with any one bit flipped that means something it is corrupt") {
  for (const VectorPrecision precision : kPrecisions) {
    SyntheticVectors vectors(kDimension, 5, 23);
    ByteString bytes = SavedBytes(*SmallIndex(12, vectors, precision));
    const HnswLayout layout = LayoutOf(bytes, precision);
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
      const ErrorCode code = CheckedCode(bytes, precision);
      const bool is_refused = code == ErrorCode::kCorruption || (code == ErrorCode::kUnsupported && bit / 8 < 16);
      REQUIRE(is_refused == IsUsed(layout, bit / 8));
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    }
    CHECK(CheckedCode(bytes, precision) == ErrorCode::kOk);
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
  int late_count = 0;
  for (int round = 0; round < 3000; ++round) {
    CAPTURE(round);
    ByteString bytes = good;
    const int change_count = 1 + static_cast<int>(random() % 3);
    for (int change = 0; change < change_count; ++change) {
      // A tenth of the damage to the header, where the counts are.
      const std::size_t range = random() % 10 == 0 ? kHnswHeaderBytes : bytes.size();
      bytes[random() % range] = static_cast<char>(random() % 3 == 0 ? 0xFF : random());
    }
    if (random() % 8 == 0) bytes.resize(kHnswHeaderBytes + random() % (bytes.size() - kHnswHeaderBytes));
    RepairChecksums(bytes, precision);
    auto image = HnswImage::Copy("index", kGraphConfig, precision, bytes);
    if (!image.ok()) {
      ++refused_count;
    } else if (!Exercise(*image, query, precision, round % 20 == 0)) {
      ++late_count;
      CHECK((*image)->is_damaged());
    }
  }
  CHECK(refused_count > 300);
  CHECK(late_count > 300);
}

TEST_CASE("hnsw snapshot: damage that nobody met at the open is met before anything of it is told") {
  constexpr VectorPrecision kPrecision = VectorPrecision::kInt16;
  SyntheticVectors vectors(kDimension, 5, 26);
  const auto saved = SmallIndex(3000, vectors, kPrecision);
  const ByteString good = SavedBytes(*saved);
  const HnswLayout layout = LayoutOf(good, kPrecision);
  std::vector<std::vector<float>> queries;
  std::vector<std::vector<VectorMatch>> expected;
  VectorSearchOptions options;
  options.strategy = VectorStrategy::kGraph;
  for (int i = 0; i < 30; ++i) {
    queries.push_back(vectors.Next());
    expected.push_back(Take(*saved->NewCursor(queries.back(), saved->applied_seq(), options).value(), 10));
  }
  std::mt19937 random(26);
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/saved";
  int met_count = 0;
  for (int round = 0; round < 60; ++round) {
    CAPTURE(round);
    const HnswArea area = round % 3 == 0 ? kBaseLinkArea : round % 3 == 1 ? kCodeArea : kFineCodeArea;
    ByteString bytes = good;
    bytes[layout[area].offset + random() % layout[area].bytes()] ^= static_cast<char>(1 << (random() % 8));
    REQUIRE(WriteFileAtomic(path, bytes).ok());
    auto loaded = LoadHnswIndex(saved->config(), path);
    if (kGraphUnderTest == VectorGraphKind::kHnswlib) {
      CHECK(loaded.status().code() == ErrorCode::kCorruption);  // It is copied, and so it is checked.
      continue;
    }
    REQUIRE(loaded.ok());
    for (std::size_t i = 0; i < queries.size(); ++i) {
      const auto cursor = (*loaded)->NewCursor(queries[i], saved->applied_seq(), options).value();
      std::vector<VectorMatch> found;
      Result<std::optional<VectorMatch>> match = cursor->Next();
      for (; match.ok() && match->has_value() && found.size() < 10; match = cursor->Next()) found.push_back(**match);
      if (!match.ok()) {
        ++met_count;
        CHECK(match.status().code() == ErrorCode::kCorruption);
        CHECK((*loaded)->CheckUsable().code() == ErrorCode::kCorruption);
        break;
      }
      if (area != kBaseLinkArea) CHECK(found == expected[i]);  // Of links, another way may be as good.
    }
    // Nor does it come under new checksums.
    CHECK((*loaded)->SaveSnapshot(directory.path() + "/other").code() == ErrorCode::kCorruption);
  }
  CHECK((met_count > 10 || kGraphUnderTest == VectorGraphKind::kHnswlib));
}

#if !defined(FORESHORE_TEST_HNSWLIB)
TEST_CASE(
    "hnsw snapshot: damaged links are met before they are changed, and damaged norms lead no walk astray for ever") {
  SyntheticVectors vectors(kDimension, 5, 27);
  const auto saved = SmallIndex(3000, vectors, VectorPrecision::kInt8);
  const ByteString good = SavedBytes(*saved);
  const HnswLayout layout = LayoutOf(good, VectorPrecision::kInt8);
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/saved";
  {
    ByteString bytes = good;
    const HnswLayout::Area& links = layout[kBaseLinkArea];
    for (std::uint64_t row = 0; row < links.row_count; ++row) {
      Overwrite(bytes, links.offset + row * links.row_bytes, std::uint32_t{0x7FFFFFEF});
    }
    REQUIRE(WriteFileAtomic(path, bytes).ok());
    const auto loaded = LoadHnswIndex(saved->config(), path).value();
    const Status inserted = loaded->Upsert(12345, RecordOf(vectors.Next()), 9000);
    CHECK(inserted.message().find("a checksum is") != std::string::npos);
    CHECK(!loaded->CheckUsable().ok());
  }
  ByteString bytes = good;
  const HnswLayout::Area& codes = layout[kCodeArea];
  for (std::uint64_t row = 0; row < codes.row_count; ++row) {
    const std::size_t trailer = codes.offset + (row + 1) * codes.row_bytes - kVectorCodeTrailerBytes;
    Overwrite(bytes, trailer + 4, std::numeric_limits<float>::quiet_NaN());
  }
  REQUIRE(WriteFileAtomic(path, bytes).ok());
  const auto loaded = LoadHnswIndex(saved->config(), path).value();
  VectorSearchOptions options;
  options.strategy = VectorStrategy::kGraph;
  const auto cursor = loaded->NewCursor(vectors.Next(), saved->applied_seq(), options).value();
  CHECK(cursor->Next().status().code() == ErrorCode::kCorruption);
}
#endif

#if !defined(FORESHORE_TEST_HNSWLIB)
TEST_CASE("hnsw snapshot: in a file larger than its memory a check asks for all that it reads, once and together") {
  SyntheticVectors vectors(kDimension, 5, 28);
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/saved";
  REQUIRE(SmallIndex(3000, vectors, VectorPrecision::kInt16)->SaveSnapshot(path).ok());
  const auto image = HnswImage::Map("index", kGraphConfig, VectorPrecision::kInt16, path).value();
  image->Advise(image->layout().file_bytes() - 1);
  const std::uint32_t group_rows = 1U << image->layout()[kCodeArea].group_shift;
  REQUIRE(group_rows * image->layout()[kCodeArea].row_bytes > 3 * 4096);
  REQUIRE(image->CheckCodes(0).ok());
  CHECK(image->pages_asked() == 2);  // For codes and for fine codes.
  image->WantRow(kCodeArea, group_rows / 2);
  image->WantCodes(group_rows - 1);
  CHECK(image->pages_asked() == 2);
  REQUIRE(image->CheckLinks(0).ok());
  CHECK(image->pages_asked() == 3);
  // What is asked for ahead of the check is not asked for by it.
  image->WantCodes(5 * group_rows);
  CHECK(image->pages_asked() == 5);
  REQUIRE(image->CheckCodes(5 * group_rows).ok());
  CHECK(image->pages_asked() == 5);
}
#endif

TEST_CASE("hnsw snapshot: each check says what it found") {
  SyntheticVectors vectors(kDimension, 5, 25);
  const ByteString good = SavedBytes(*SmallIndex(40, vectors, VectorPrecision::kInt8));
  const HnswLayout layout = LayoutOf(good, VectorPrecision::kInt8);
  const auto node_count = LoadFixed<std::uint32_t>(good.data() + 32);
  const auto entry_point = LoadFixed<std::uint32_t>(good.data() + 36);
  const auto message_with = [&good](std::size_t offset, auto value) {
    ByteString bytes = good;
    Overwrite(bytes, offset, value);
    RepairChecksums(bytes, VectorPrecision::kInt8);
    const auto image = CheckedImage(bytes, VectorPrecision::kInt8);
    REQUIRE(!image.ok());
    const std::string prefix = "index: snapshot of " + std::to_string(good.size()) + " bytes: ";
    const std::string message = image.status().message();
    return message.rfind(prefix, 0) == 0 ? message.substr(prefix.size()) : message;
  };
  CHECK(message_with(0, std::uint8_t{'X'}) == "expected the magic \"FSVINDEX\"");
  CHECK(message_with(8, std::uint32_t{1}).find("index: snapshot of version 1 with flags ") == 0);
  CHECK(message_with(13, std::uint8_t{64}) ==
        "index: snapshot of version 2 with flags 64, expected version 2 with flags 0..31");
  CHECK(message_with(13, std::uint8_t{1}) == "precision is 16, expected 8");
  CHECK(message_with(14, std::uint16_t{9}) == "dimension is 9, expected 8");
  CHECK(message_with(16, std::uint32_t{64}) == "links_per_node is 64, expected 16");
  CHECK(message_with(32, std::uint32_t{0x7FFFFFFF}) == "node_count is 2147483647, expected at most 2147483632");
  CHECK(message_with(32, std::uint32_t{50}).find("50 nodes, ") == 0);
  CHECK(message_with(36, node_count) ==
        "entry_point is " + std::to_string(node_count) + " of " + std::to_string(node_count) + " nodes");
  CHECK(message_with(40, std::uint64_t{0}) == "file_bytes is 0, expected " + std::to_string(good.size()));
  CHECK(message_with(60, std::uint32_t{5}) == "place_count is 5, expected 0 or a power of two");
  CHECK(message_with(80, std::uint8_t{7}) == "a reserved byte is 7, expected 0");
  const std::uint32_t other = entry_point == 0 ? 1 : 0;
  const std::size_t node = layout[kNodeArea].offset + other * sizeof(HnswNode);
  CHECK(message_with(node + 8, std::uint8_t{62}).find("has level 62, expected at most") != std::string::npos);
  CHECK(message_with(node, std::uint32_t{39}) ==
        "node " + std::to_string(other) + " has parent 39, expected a lower slot or none");
  CHECK(message_with(node + 10, std::uint8_t{0}).find("node " + std::to_string(other) + " has upper row") == 0);
  CHECK(message_with(layout[kDeadArea].offset, UINT64_MAX).find("are dead, expected them not to be there") !=
        std::string::npos);
  CHECK(message_with(layout[kPlaceArea].offset, std::uint32_t{4000}).find("place 0 names slot 4000 of") == 0);
  CHECK(message_with(layout[kCodeArea].offset, std::int8_t{-128}) == "node 0: a code is -128, expected -127..127");
  CHECK(
      message_with(layout[kCodeArea].offset + VectorCodeBytes(kDimension) - 16, -1.0F).find("node 0: scale is -1.0") ==
      0);
  CHECK(message_with(layout[kCodeArea].offset + VectorCodeBytes(kDimension) - 4, std::uint32_t{77777}) ==
        "node 0: what follows its codes is not of them");
  CHECK(message_with(layout[kBaseLinkArea].offset, std::uint32_t{0}) ==
        "node 0 links to 0 on level 0, expected another node that reaches it");
  CHECK(message_with(layout[kBaseLinkArea].offset, node_count).find("node 0 links to") == 0);
  CHECK(message_with(layout[kBaseLinkArea].offset + 4 * 31, std::uint32_t{2}) ==
        "node 0 links to 2 on level 0, expected another node that reaches it, and none behind the end");
}

}  // namespace foreshore
