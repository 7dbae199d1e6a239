// Goal: what hnswlib saved is read as it was, and no damaged or hostile file does harm.
// Method: files of hnswlib itself; its own search as oracle; truncation at every length and a flip of every bit of a
// small file; single fields made wrong.
#include "index/hnswlib_file.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "storage/base/coding.h"
#include "tests/index/hnswlib_writer.h"
#include "tests/index/synthetic_vectors.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kDimension = 12;
constexpr std::size_t kHeaderBytes = 96;
constexpr std::size_t kLinks = 4;
constexpr std::size_t kElementBytes = 4 + 4 * 2 * kLinks + 4 * kDimension + 8;

// Labels that are not the elements' numbers.
std::uint64_t LabelOf(std::size_t i) {
  return (std::uint64_t{1} << 40) + i * 7;
}

struct Sample {
  std::map<std::uint64_t, std::vector<float>> vectors;  // By label.
  std::set<std::uint64_t> deleted;
  std::unique_ptr<HnswlibWriter> writer;
};

Sample MakeSample(std::size_t count, VectorMetric metric, std::size_t links, unsigned seed) {
  Sample sample;
  SyntheticVectors vectors(kDimension, 20, seed);
  sample.writer = std::make_unique<HnswlibWriter>(metric, kDimension, count + 5, links);
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<float> values = vectors.Next();
    if (metric != VectorMetric::kCosine) {
      for (float& value : values) value *= 1.0F + static_cast<float>(i % 10) / 10;
    }
    sample.writer->Add(values, LabelOf(i));
    sample.vectors[LabelOf(i)] = std::move(values);
  }
  for (std::size_t i = 3; i < count; i += 9) {
    sample.writer->Delete(LabelOf(i));
    sample.deleted.insert(LabelOf(i));
  }
  return sample;
}

// The documents are the labels.
std::vector<std::optional<std::int64_t>> DocidsOf(const HnswlibFile& file) {
  std::vector<std::optional<std::int64_t>> docids(file.element_count());
  for (std::uint32_t element = 0; element < file.element_count(); ++element) {
    if (!file.is_deleted(element)) docids[element] = static_cast<std::int64_t>(file.label(element));
  }
  return docids;
}

VectorIndexConfig ConfigOf(const HnswlibFile& file, VectorMetric metric, VectorGraphKind kind,
                           VectorPrecision precision) {
  VectorIndexConfig config;
  config.name = "vector index \"notes.embedding\"";
  config.metric = metric;
  config.dimension = file.dimension();
  config.links_per_node = file.links_per_node();
  config.precision = precision;
  config.graph = kind;
  return config;
}

Status ReadStatus(Bytes bytes) {
  return HnswlibFile::Read("file", bytes).status();
}

template <typename T>
ByteString With(ByteString bytes, std::size_t offset, T value) {
  ByteString field;
  AppendFixed(field, value);
  bytes.replace(offset, field.size(), field);
  return bytes;
}

}  // namespace

TEST_CASE("hnswlib file: its graph finds what hnswlib finds, with every metric, over both graphs") {
  for (const VectorMetric metric : {VectorMetric::kL2, VectorMetric::kDot, VectorMetric::kCosine}) {
    for (const std::size_t links : {std::size_t{4}, std::size_t{16}}) {
      Sample sample = MakeSample(3000, metric, links, 11);
      const ByteString bytes = sample.writer->Bytes();
      auto file = HnswlibFile::Read("file", bytes);
      REQUIRE_MESSAGE(file.ok(), file.status().ToString());
      CHECK(file->dimension() == kDimension);
      CHECK(file->links_per_node() == links);
      CHECK(file->element_count() == 3000);
      std::vector<float> values(kDimension);
      for (std::uint32_t element = 0; element < file->element_count(); ++element) {
        file->CopyVector(element, values);
        REQUIRE(sample.vectors.at(file->label(element)) == values);
        REQUIRE(file->is_deleted(element) == sample.deleted.contains(file->label(element)));
      }
      for (const VectorGraphKind kind : {VectorGraphKind::kFlat, VectorGraphKind::kHnswlib}) {
        CAPTURE(VectorMetricName(metric));
        CAPTURE(links);
        CAPTURE(static_cast<int>(kind));
        const auto index =
            RestoreHnswlibIndex(ConfigOf(*file, metric, kind, VectorPrecision::kInt16), *file, DocidsOf(*file), 5);
        REQUIRE_MESSAGE(index.ok(), index.status().ToString());
        CHECK((*index)->entry_count() == 3000 - sample.deleted.size());
        CHECK((*index)->garbage_count() == sample.deleted.size());
        SyntheticVectors queries(kDimension, 20, 11);
        std::size_t equal_count = 0;
        for (int i = 0; i < 50; ++i) {
          std::vector<float> query = queries.Next();
          query[0] += 0.05F;
          const std::vector<std::uint64_t> expected = sample.writer->Search(query, 10, 100);
          VectorSearchOptions options;
          options.strategy = VectorStrategy::kGraph;
          options.ef = 200;
          const auto cursor = (*index)->NewCursor(query, 5, options);
          REQUIRE(cursor.ok());
          for (const VectorMatch& match : Take(**cursor, 10)) {
            REQUIRE_FALSE(sample.deleted.contains(static_cast<std::uint64_t>(match.docid)));
            equal_count += static_cast<std::size_t>(
                std::count(expected.begin(), expected.end(), static_cast<std::uint64_t>(match.docid)));
          }
          CHECK((*(*index)->NewCursor(query, 4, options))->Next()->has_value() == false);  // Before it was born.
        }
        CHECK(equal_count >= 490);  // Of 500.
      }
    }
  }
}

TEST_CASE("hnswlib file: the links come over as they are, and the graph grows and is compacted after that") {
  Sample sample = MakeSample(1500, VectorMetric::kCosine, kLinks, 12);
  const ByteString bytes = sample.writer->Bytes();
  const auto file = HnswlibFile::Read("file", bytes);
  REQUIRE(file.ok());
  const auto config = ConfigOf(*file, VectorMetric::kCosine, VectorGraphKind::kFlat, VectorPrecision::kInt8);
  auto index = RestoreHnswlibIndex(config, *file, DocidsOf(*file), 1);
  REQUIRE(index.ok());
  int level_max = 0;
  std::size_t link_count = 0;
  std::vector<std::uint32_t> links;
  for (std::uint32_t element = 0; element < file->element_count(); ++element) {
    level_max = std::max(level_max, file->level(element));
    for (int level = 0; level <= file->level(element); ++level) {
      file->CopyLinks(element, level, links);
      link_count += links.size();
    }
  }
  CHECK(level_max >= 2);
  CHECK(link_count > 1500 * kLinks);
  SyntheticVectors vectors(kDimension, 20, 13);
  for (std::int64_t docid = 0; docid < 500; ++docid) {
    REQUIRE((*index)->Upsert(docid, RecordOf(vectors.Next()), static_cast<std::uint64_t>(docid) + 2).ok());
  }
  REQUIRE((*index)->Compact().ok());
  CHECK((*index)->garbage_count() == 0);
  CHECK((*index)->entry_count() == 2000 - sample.deleted.size());
  const TemporaryDirectory directory;
  REQUIRE((*index)->SaveSnapshot(directory.path() + "/saved").ok());
  CHECK(LoadHnswIndex(config, directory.path() + "/saved").ok());
}

TEST_CASE("hnswlib file: empty, of one element, and with every element deleted") {
  HnswlibWriter empty(VectorMetric::kL2, kDimension, 10, kLinks);
  const ByteString empty_bytes = empty.Bytes();
  const auto empty_file = HnswlibFile::Read("file", empty_bytes);
  REQUIRE_MESSAGE(empty_file.ok(), empty_file.status().ToString());
  CHECK(empty_file->element_count() == 0);
  const auto config = ConfigOf(*empty_file, VectorMetric::kL2, VectorGraphKind::kFlat, VectorPrecision::kInt8);
  CHECK(RestoreHnswlibIndex(config, *empty_file, {}, 1).ok());

  HnswlibWriter one(VectorMetric::kL2, kDimension, 10, kLinks);
  one.Add(std::vector<float>(kDimension, 0.5F), 77);
  for (const bool is_deleted : {false, true}) {
    if (is_deleted) one.Delete(77);
    const ByteString bytes = one.Bytes();
    const auto file = HnswlibFile::Read("file", bytes);
    REQUIRE(file.ok());
    const auto index = RestoreHnswlibIndex(config, *file, DocidsOf(*file), 1);
    REQUIRE(index.ok());
    CHECK((*index)->entry_count() == (is_deleted ? 0 : 1));
    const auto found = (*index)->ExactSearch(std::vector<float>(kDimension, 0.5F), 1, 5);
    REQUIRE(found.ok());
    CHECK(found->size() == (is_deleted ? 0 : 1));
  }
}

TEST_CASE("hnswlib file: truncated anywhere or with a byte too many it is refused") {
  const ByteString bytes = MakeSample(40, VectorMetric::kL2, kLinks, 14).writer->Bytes();
  REQUIRE(ReadStatus(bytes).ok());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    // A copy of its own, so that a read beyond its end is seen by the address sanitizer.
    const std::vector<char> part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
    REQUIRE(ReadStatus(Bytes(part.data(), part.size())).code() == ErrorCode::kCorruption);
  }
  CHECK(ReadStatus(bytes + "x").code() == ErrorCode::kCorruption);
}

TEST_CASE("hnswlib file: any bit flipped, it is refused or an index that can be searched") {
  const ByteString bytes = MakeSample(40, VectorMetric::kL2, kLinks, 15).writer->Bytes();
  const auto whole = HnswlibFile::Read("file", bytes);
  REQUIRE(whole.ok());
  // What says nothing of what is there: max_elements, the factor of levels, ef_construction.
  const auto is_unused = [](std::size_t at) { return (at >= 8 && at < 16) || (at >= 80 && at < kHeaderBytes); };
  std::size_t accepted_count = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      CAPTURE(at);
      CAPTURE(bit);
      ByteString damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      const auto file = HnswlibFile::Read("file", damaged);
      if (!file.ok()) {
        REQUIRE(file.status().code() == ErrorCode::kCorruption);
        continue;
      }
      ++accepted_count;
      if (at < kHeaderBytes) REQUIRE(is_unused(at));
      const auto config = ConfigOf(*file, VectorMetric::kL2, VectorGraphKind::kFlat, VectorPrecision::kInt8);
      const auto index = RestoreHnswlibIndex(config, *file, DocidsOf(*file), 1);
      REQUIRE_MESSAGE(index.ok(), index.status().ToString());
      VectorSearchOptions options;
      options.strategy = VectorStrategy::kGraph;
      const auto cursor = (*index)->NewCursor(std::vector<float>(kDimension, 0.1F), 1, options);
      REQUIRE(cursor.ok());
      REQUIRE(Take(**cursor, 100).size() == (*index)->entry_count());
    }
  }
  CHECK(accepted_count > 1000);  // Most bits of floats and labels are as good as any.
}

TEST_CASE("hnswlib file: every wrong field is named, with what was found and expected") {
  const ByteString bytes = MakeSample(40, VectorMetric::kL2, kLinks, 16).writer->Bytes();
  const std::size_t element = kHeaderBytes + 5 * kElementBytes;
  const std::size_t vector = element + 4 + 4 * 2 * kLinks;
  const std::size_t upper = kHeaderBytes + 40 * kElementBytes;
  const std::uint64_t huge = std::uint64_t{1} << 62;
  const struct {
    ByteString bytes;
    const char* expected;
  } cases[] = {
      {With<std::uint64_t>(bytes, 0, 8), "offset of links is 8, expected 0"},
      {With<std::uint64_t>(bytes, 8, 39), "max_elements is 39, expected 40.."},
      {With<std::uint64_t>(bytes, 16, huge), "element_count is 4611686018427387904, expected 0.."},
      {With<std::uint64_t>(bytes, 16, 39), "ends in the upper links of element 0, expected 39 elements"},
      {With<std::uint64_t>(bytes, 24, huge), "element_bytes is 4611686018427387904, expected 92"},
      {With<std::uint64_t>(bytes, 32, huge), "label_offset is 4611686018427387904, expected 44..16420"},
      {With<std::uint64_t>(bytes, 32, 85), "vectors have 49 bytes, expected whole floats"},
      {With<std::uint64_t>(bytes, 40, huge), "vector_offset is 4611686018427387904, expected 36"},
      {With<std::int32_t>(bytes, 48, -1), "level is -1, expected 0..63"},
      {With<std::int32_t>(bytes, 48, 64), "level is 64, expected 0..63"},
      {With<std::int32_t>(bytes, 48, 60), "level of the entry point is"},
      {With<std::uint32_t>(bytes, 52, 40), "entry point is 40, expected 0..39"},
      {With<std::uint64_t>(bytes, 56, huge), "links above level 0 is 4611686018427387904, expected 4"},
      {With<std::uint64_t>(bytes, 64, 9), "links on level 0 is 9, expected 8"},
      {With<std::uint64_t>(bytes, 72, huge), "M is 4611686018427387904, expected 2..10000"},
      {With<double>(bytes, 80, std::numeric_limits<double>::quiet_NaN()), "factor of levels is"},
      {With<std::uint64_t>(bytes, 88, 0), "ef_construction is 0, expected 1.."},
      {With<std::uint16_t>(bytes, element, 9), "element 5 has 9 links on level 0 and flags 0, expected at most 8"},
      {With<std::uint16_t>(bytes, element + 2, 2), "and flags 2, expected at most 8 and flags 0 or 1"},
      {With<std::uint32_t>(bytes, element + 4, 40), "element 5 links to 40 on level 0"},
      {With<std::uint32_t>(bytes, element + 4, 5), "element 5 links to 5 on level 0"},
      {With<float>(bytes, vector + 8, std::numeric_limits<float>::quiet_NaN()), "has nan at 2, expected numbers"},
      {With<float>(bytes, vector, std::numeric_limits<float>::infinity()), "has inf at 0, expected numbers"},
      {With<std::uint64_t>(bytes, vector + 4 * kDimension, LabelOf(0)), "is there twice, expected it once"},
      {With<std::uint32_t>(bytes, upper, 0xFFFFFFFF), "ends in the upper links of element 0, expected 40 elements"},
      {With<std::uint32_t>(bytes, upper, 21), "element 0 has 21 bytes of upper links, expected 20 for each"},
  };
  for (const auto& each : cases) {
    const Status status = ReadStatus(each.bytes);
    CAPTURE(each.expected);
    CHECK(status.code() == ErrorCode::kCorruption);
    CHECK_MESSAGE(status.message().find(each.expected) != std::string::npos, status.message());
    CHECK(status.message().starts_with("file: hnswlib index of "));
  }
}

TEST_CASE("hnswlib file: an index of other dimensions or links does not take it") {
  const ByteString bytes = MakeSample(40, VectorMetric::kL2, kLinks, 17).writer->Bytes();
  const auto file = HnswlibFile::Read("file", bytes);
  REQUIRE(file.ok());
  const auto config = ConfigOf(*file, VectorMetric::kL2, VectorGraphKind::kFlat, VectorPrecision::kInt8);
  auto other_links = config;
  other_links.links_per_node = 16;
  auto other_dimension = config;
  other_dimension.dimension = 13;
  for (const auto& other : {other_links, other_dimension}) {
    const Status status = RestoreHnswlibIndex(other, *file, DocidsOf(*file), 1).status();
    CHECK(status.code() == ErrorCode::kInvalidArgument);
    CHECK_MESSAGE(status.message().find("expected those of file: 12 and 4") != std::string::npos, status.message());
  }
}

}  // namespace foreshore
