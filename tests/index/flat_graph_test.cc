// Goal: in our own graph no vector is out of reach, whatever was inserted, and a snapshot keeps it so.
// Method: walk level 0 from the entry point and count.
#include "index/flat_graph.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "index/hnsw_snapshot.h"
#include "storage/base/file.h"
#include "tests/index/synthetic_vectors.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kDimension = 16;

std::size_t ReachableCount(const HnswGraph& graph) {
  std::vector<bool> met(graph.node_count(), false);
  std::vector<std::uint32_t> left = {graph.entry_point()};
  met[graph.entry_point()] = true;
  std::size_t count = 0;
  while (!left.empty()) {
    const std::uint32_t slot = left.back();
    left.pop_back();
    ++count;
    for (const std::uint32_t link : graph.links(slot, 0)) {
      if (met[link]) continue;
      met[link] = true;
      left.push_back(link);
    }
  }
  return count;
}

std::vector<char> CodeOf(const std::vector<float>& values) {
  std::vector<std::int8_t> codes(kDimension);
  const float scale = QuantizeVector(values, codes);
  std::vector<char> code(VectorCodeBytes(kDimension));
  PackVectorCode(scale, codes, code.data());
  return code;
}

void Add(HnswGraph& graph, const std::vector<float>& values) {
  REQUIRE(graph.Add(CodeOf(values).data()).ok());
}

}  // namespace

TEST_CASE("flat graph: the nearest of some slots are those that are nearest, in order, and no number comes last") {
  for (const VectorMetric metric : {VectorMetric::kCosine, VectorMetric::kDot, VectorMetric::kL2}) {
    CAPTURE(VectorMetricName(metric));
    const CodeSpace space(metric, kDimension);
    const auto graph = HnswGraph::Create({metric, kDimension, 8, 32, VectorGraphKind::kFlat}, 0).value();
    SyntheticVectors vectors(kDimension, 5, 3);
    for (int i = 0; i < 500; ++i) Add(*graph, i % 50 == 0 ? std::vector<float>(kDimension, 0.25F) : vectors.Next());
    std::vector<char> damaged = CodeOf(vectors.Next());
    const std::uint32_t nan = 0xFFC00000;  // In place of scale and inverse norm. Negative, as processors make it.
    std::memcpy(damaged.data() + damaged.size() - 16, &nan, 4);
    std::memcpy(damaged.data() + damaged.size() - 12, &nan, 4);
    REQUIRE(graph->Add(damaged.data()).ok());
    std::vector<std::uint32_t> slots;
    for (std::uint32_t slot = 0; slot < graph->node_count(); ++slot) {
      if (slot % 3 != 0 || slot == 500) slots.push_back(slot);
    }
    const auto query = CodeOf(vectors.Next());
    std::vector<std::uint32_t> expected = slots;
    const auto rank = [&](std::uint32_t slot) {
      return std::pair(slot == 500 ? 1e30F : space.Proximity(query.data(), graph->code(slot)), slot);
    };
    std::sort(expected.begin(), expected.end(), [&](auto a, auto b) { return rank(a) < rank(b); });
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{10}, std::size_t{64}, slots.size() - 1,
                                    slots.size(), slots.size() + 100}) {
      CAPTURE(count);
      const auto found = graph->NearestOf(query.data(), slots, count).value();
      const auto end = expected.begin() + static_cast<std::ptrdiff_t>(std::min(count, expected.size()));
      CHECK(found == std::vector<std::uint32_t>(expected.begin(), end));
    }
  }
}

TEST_CASE("flat graph: thousands of equal vectors, first, last or in between, leave every vector in reach") {
  for (const VectorMetric metric : {VectorMetric::kCosine, VectorMetric::kDot, VectorMetric::kL2}) {
    CAPTURE(VectorMetricName(metric));
    const HnswGraphConfig config{metric, kDimension, 4, 32, VectorGraphKind::kFlat};
    const auto graph = HnswGraph::Create(config, 0).value();
    SyntheticVectors vectors(kDimension, 10, 20261126);
    const std::vector<float> equal = vectors.Next();
    for (int i = 0; i < 2000; ++i) Add(*graph, equal);
    for (int i = 0; i < 2000; ++i) Add(*graph, vectors.Next());
    const std::vector<float> zeros(kDimension, 0.0F);
    for (int i = 0; i < 500; ++i) Add(*graph, zeros);
    for (int i = 0; i < 2000; ++i) Add(*graph, i % 2 == 0 ? equal : vectors.Next());
    CHECK(ReachableCount(*graph) == graph->node_count());

    const TemporaryDirectory directory;
    const std::string path = directory.path() + "/saved";
    HnswEntries entries;
    for (std::uint32_t i = 0; i < graph->node_count(); ++i) entries.Put(i, {i, 0, kNeverDied});
    REQUIRE(WriteHnswSnapshot(path, {*graph, entries, nullptr, 1}).ok());
    Result<HnswSnapshot> restored =
        SnapshotOf(VectorPrecision::kInt8, HnswImage::Map("index", config, VectorPrecision::kInt8, path).value());
    REQUIRE(restored.ok());
    for (int i = 0; i < 1000; ++i) Add(*restored->graph, i % 2 == 0 ? equal : vectors.Next());
    CHECK(ReachableCount(*restored->graph) == restored->graph->node_count());
  }
}

TEST_CASE("flat graph: in a file larger than its memory, each kind of walk asks for pages, and finds the same") {
  const HnswGraphConfig config{.metric = VectorMetric::kCosine, .dimension = kDimension};
  const auto graph = CreateFlatGraph(config, nullptr).value();
  SyntheticVectors vectors(kDimension, 10, 5);
  HnswEntries entries;
  SlotSet some;
  for (std::uint32_t i = 0; i < 3000; ++i) {
    Add(*graph, vectors.Next());
    entries.Put(i, {i, 0, kNeverDied});
    if (i % 3 == 0) some.slots.push_back(i);
  }
  some.end = graph->node_count();
  some.bits.assign((some.end + 63) / 64, 0);
  for (const std::uint32_t slot : some.slots) some.bits[slot / 64] |= std::uint64_t{1} << (slot % 64);
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/saved";
  REQUIRE(WriteHnswSnapshot(path, {*graph, entries, nullptr, 1}).ok());
  const std::vector<char> query = CodeOf(vectors.Next());
  for (const bool exceeds : {true, false}) {
    CAPTURE(exceeds);
    const auto image = HnswImage::Map("index", config, VectorPrecision::kInt8, path).value();
    image->Advise(exceeds ? image->layout().file_bytes() / 4 : image->layout().file_bytes());
    CHECK(image->exceeds_memory() == exceeds);
    const HnswSnapshot restored = SnapshotOf(VectorPrecision::kInt8, image).value();
    CHECK(*restored.graph->Search(query.data(), 50) == *graph->Search(query.data(), 50));
    const std::uint64_t asked = image->pages_asked();
    CHECK((asked > 10) == exceeds);
    CHECK(*restored.graph->SearchAmong(query.data(), 50, 50, some, 3000) ==
          *graph->SearchAmong(query.data(), 50, 50, some, 3000));
    CHECK((image->pages_asked() > asked) == exceeds);
  }
  // The scan of some asks for the pages of each.
  const auto image = HnswImage::Map("index", config, VectorPrecision::kInt8, path).value();
  image->Advise(image->layout().file_bytes() - 1);
  const HnswSnapshot restored = SnapshotOf(VectorPrecision::kInt8, image).value();
  const std::vector<std::uint32_t> few = {0, 1500, 2999};
  CHECK(*restored.graph->NearestOf(query.data(), few, 3) == *graph->NearestOf(query.data(), few, 3));
  CHECK(image->pages_asked() == few.size());
}

TEST_CASE("flat graph: an insertion that walks over small codes asks for the codes of what it found") {
  constexpr std::uint32_t kManyDimensions = 512;
  VectorIndexConfig index_config;
  index_config.dimension = kManyDimensions;
  index_config.precision = VectorPrecision::kInt1;
  index_config.links_per_node = 4;
  index_config.ef_construction = 16;
  const HnswGraphConfig config = GraphConfigOf(index_config).value();
  const auto index = CreateHnswIndex(index_config).value();
  SyntheticVectors vectors(kManyDimensions, 10, 5);
  for (std::int64_t docid = 0; docid < 2000; ++docid) REQUIRE(index->Upsert(docid, RecordOf(vectors.Next()), 1).ok());
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/saved";
  REQUIRE(index->SaveSnapshot(path).ok());
  const auto image = HnswImage::Map("index", config, VectorPrecision::kInt1, path).value();
  image->Advise(image->layout().file_bytes() - 1);  // So that no page is asked for twice soon.
  const HnswSnapshot restored = SnapshotOf(VectorPrecision::kInt1, image).value();
  const std::vector<float> values = vectors.Next();
  std::vector<std::int8_t> codes(kManyDimensions);
  const float scale = QuantizeVector(values, codes);
  std::vector<char> code(VectorCodeBytes(kManyDimensions));
  PackVectorCode(scale, codes, code.data());
  REQUIRE(restored.graph->Add(code.data()).ok());
  const auto near = restored.graph->Search(code.data(), 8).value();
  const std::uint64_t asked_by_both = image->pages_asked();
  for (const std::uint32_t slot : near) image->WantRow(kCodeArea, slot);
  CHECK(asked_by_both > 0);
  CHECK(image->pages_asked() <= asked_by_both + 2);  // The search may meet one that the insertion did not.
}

TEST_CASE("flat graph: built on several threads while it is searched, it keeps every vector in reach and finds it") {
  constexpr std::size_t kBatch = 500;
  const HnswGraphConfig config{VectorMetric::kCosine, kDimension, 8, 64, VectorGraphKind::kFlat};
  const auto graph = HnswGraph::Create(config, 0).value();
  SyntheticVectors vectors(kDimension, 40, 5);
  const std::vector<float> equal = vectors.Next();
  std::vector<std::vector<char>> codes;
  for (int i = 0; i < 4000; ++i) codes.push_back(CodeOf(i % 4 == 0 ? equal : vectors.Next()));
  std::vector<const void*> pointers;
  for (const std::vector<char>& code : codes) pointers.push_back(code.data());

  std::atomic<bool> is_building{true};
  std::atomic<int> failure_count{0};
  std::thread searcher([&] {
    for (std::size_t i = 1; is_building; i = (i + 4) % codes.size()) {
      const auto found = graph->Search(pointers[i], 20);
      if (!found.ok()) ++failure_count;
      for (const std::uint32_t slot : found.value()) {
        if (slot >= codes.size() || std::memcmp(graph->code(slot), pointers[slot], codes[slot].size()) != 0)
          ++failure_count;
      }
    }
  });
  for (std::size_t first = 0; first < codes.size(); first += kBatch) {
    CHECK(graph->AddMany(std::span(pointers).subspan(first, kBatch), 3).ok());
  }
  is_building = false;
  searcher.join();
  CHECK(failure_count == 0);
  REQUIRE(graph->node_count() == codes.size());
  CHECK(ReachableCount(*graph) == codes.size());
  std::size_t found_count = 0;
  std::size_t asked_count = 0;
  for (std::uint32_t slot = 1; slot < codes.size(); slot += 2, ++asked_count) {
    const auto found = graph->Search(pointers[slot], 20).value();
    found_count += std::find(found.begin(), found.end(), slot) != found.end() ? 1 : 0;
  }
  // Of those asked for, those of number 4 n + 1 and 4 n + 3 are no copies.
  CHECK(found_count * 100 >= asked_count * 99);
}

TEST_CASE("flat graph: what is found, and its distances, are the same bits on every processor") {
  // Multiples of 1/64 from a linear congruence, so that the input is the same everywhere too.
  std::uint32_t state = 12345;
  const auto next_vector = [&state](std::uint32_t dimension) {
    std::vector<float> values(dimension);
    for (float& value : values) {
      state = state * 1664525 + 1013904223;
      value = static_cast<float>(static_cast<int>(state >> 22) - 512) / 64.0F;
    }
    return values;
  };
  std::uint64_t hash = 14695981039346656037ULL;
  const auto mix = [&hash](std::uint64_t value) {
    for (int byte = 0; byte < 8; ++byte) hash = (hash ^ (value >> (8 * byte) & 0xFF)) * 1099511628211ULL;
  };
  for (const VectorMetric metric : {VectorMetric::kCosine, VectorMetric::kDot, VectorMetric::kL2}) {
    for (const VectorPrecision precision : kPrecisions) {
      for (const std::uint32_t dimension : {7U, 64U, 100U}) {
        const auto index = NewIndex(dimension, metric, precision);
        for (std::int64_t docid = 0; docid < 600; ++docid) {
          REQUIRE(index->Upsert(docid, RecordOf(next_vector(dimension), precision), 1).ok());
        }
        for (int query = 0; query < 20; ++query) {
          VectorSearchOptions options;
          options.ef = 20;
          options.strategy = VectorStrategy::kGraph;
          const auto cursor = index->NewCursor(next_vector(dimension), 1, options).value();
          for (int k = 0; k < 10; ++k) {
            const auto match = cursor->Next().value();
            REQUIRE(match.has_value());
            mix(static_cast<std::uint64_t>(match->docid));
            mix(std::bit_cast<std::uint64_t>(match->distance));
          }
        }
      }
    }
  }
  CHECK(hash == 13331981958802442232ULL);
}

}  // namespace foreshore
