#include "index/hnsw_graph.h"

#include <string>

namespace foreshore {

Result<std::unique_ptr<HnswGraph>> HnswGraph::Create(const HnswGraphConfig& config, std::uint32_t capacity) {
  return config.kind == VectorGraphKind::kHnswlib ? CreateHnswlibGraph(config, capacity) : CreateFlatGraph(config);
}

Status GraphFailure(const char* doing, const std::exception& exception) {
  return Status::Internal(std::string(doing) + ": " + exception.what());
}

}  // namespace foreshore
