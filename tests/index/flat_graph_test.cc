// Goal: in our own graph no vector is out of reach, whatever was inserted, and a snapshot keeps it so.
// Method: walk level 0 from the entry point and count.
#include "index/flat_graph.h"

#include <doctest/doctest.h>

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

void Add(HnswGraph& graph, const std::vector<float>& values) {
  std::vector<std::int8_t> codes(kDimension);
  const float scale = QuantizeVector(values, codes);
  std::vector<char> code(VectorCodeBytes(kDimension));
  PackVectorCode(scale, codes, code.data());
  REQUIRE(graph.Add(code.data()).ok());
}

}  // namespace

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
    std::vector<HnswEntry> entries(graph->node_count());
    for (std::size_t i = 0; i < entries.size(); ++i) entries[i].docid = static_cast<std::int64_t>(i);
    REQUIRE(WriteHnswSnapshot(path, *graph, entries, 1).ok());
    Result<HnswSnapshot> restored = ReadHnswSnapshot("index", config, path);
    REQUIRE(restored.ok());
    for (int i = 0; i < 1000; ++i) Add(*restored->graph, i % 2 == 0 ? equal : vectors.Next());
    CHECK(ReachableCount(*restored->graph) == restored->graph->node_count());
  }
}

}  // namespace foreshore
