#include "index/hnsw_graph.h"

#include <string>

namespace foreshore {
Result<std::unique_ptr<HnswGraph>> HnswGraph::Create(const HnswGraphConfig& config, std::uint32_t capacity) {
  return config.kind == VectorGraphKind::kHnswlib ? CreateHnswlibGraph(config, capacity) : CreateFlatGraph(config);
}

Result<std::vector<std::uint32_t>> HnswGraph::SearchAmong(const void*, std::size_t, std::size_t, const SlotSet&,
                                                          std::size_t) const {
  return Status::Unsupported("this kind of graph is not searched among some of its slots");
}

Status GraphFailure(const char* doing, const std::exception& exception) {
  return Status::Internal(std::string(doing) + ": " + exception.what());
}

}  // namespace foreshore
