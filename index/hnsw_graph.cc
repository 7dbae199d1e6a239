#include "index/hnsw_graph.h"

#include <algorithm>
#include <string>
#include <utility>

#include "index/vector_code.h"

namespace foreshore {
namespace {

constexpr std::size_t kPrefetchAhead = 16;  // Slots, in a scan of some.

}  // namespace

Result<std::unique_ptr<HnswGraph>> HnswGraph::Create(const HnswGraphConfig& config, std::uint32_t capacity) {
  return config.kind == VectorGraphKind::kHnswlib ? CreateHnswlibGraph(config, capacity) : CreateFlatGraph(config);
}

Result<std::vector<std::uint32_t>> HnswGraph::SearchAmong(const void*, std::size_t, std::size_t, const SlotSet&,
                                                          std::size_t) const {
  return Status::Unsupported("this kind of graph is not searched among some of its slots");
}

Result<std::vector<std::uint32_t>> HnswGraph::NearestOf(const void* code, std::span<const std::uint32_t> slots,
                                                        std::size_t count) const {
  try {
    const CodeSpace space(config().metric, config().dimension);
    std::vector<std::pair<float, std::uint32_t>> heap;  // The farthest on top.
    heap.reserve(std::min(count, slots.size()) + 1);
    for (std::size_t first = 0; first < slots.size() && count > 0; first += 4) {
      for (std::size_t i = first + kPrefetchAhead; i < std::min(first + kPrefetchAhead + 4, slots.size()); ++i) {
        const char* ahead = this->code(slots[i]);
        for (std::size_t offset = 0; offset < space.code_bytes(); offset += 64) __builtin_prefetch(ahead + offset);
      }
      const std::size_t last = std::min(first + 3, slots.size() - 1);
      const void* codes[4];
      for (std::size_t i = 0; i < 4; ++i) codes[i] = this->code(slots[std::min(first + i, last)]);
      float proximities[4];
      space.ProximityOfFour(code, codes, proximities);
      for (std::size_t i = first; i <= last; ++i) {
        const std::pair<float, std::uint32_t> found(proximities[i - first], slots[i]);
        if (heap.size() >= count) {
          if (!(found < heap.front())) continue;
          std::pop_heap(heap.begin(), heap.end());
          heap.pop_back();
        }
        heap.push_back(found);
        std::push_heap(heap.begin(), heap.end());
      }
    }
    std::sort_heap(heap.begin(), heap.end());
    std::vector<std::uint32_t> nearest;
    nearest.reserve(heap.size());
    for (const auto& [proximity, slot] : heap) nearest.push_back(slot);
    return nearest;
  } catch (const std::exception& exception) {
    return GraphFailure("scanning codes", exception);
  }
}

Status GraphFailure(const char* doing, const std::exception& exception) {
  return Status::Internal(std::string(doing) + ": " + exception.what());
}

}  // namespace foreshore
