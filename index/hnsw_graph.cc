#include "index/hnsw_graph.h"

namespace foreshore {

Result<std::unique_ptr<HnswGraph>> HnswGraph::Create(const HnswGraphConfig& config, std::uint32_t capacity) {
  return config.kind == VectorGraphKind::kHnswlib ? CreateHnswlibGraph(config, capacity) : CreateFlatGraph(config);
}

}  // namespace foreshore
