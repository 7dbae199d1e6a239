#include "index/hnsw_graph.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <fstream>
#include <iostream>
#include <list>
#include <mutex>
#include <queue>
#include <random>
#include <string>
#include <unordered_map>
#include <unordered_set>

// The pool of visited lists, which searches share, keeps its lock; what follows is for the graph alone.
#include <hnswlib/visited_list_pool.h>

// hnswlib gives every node a lock and takes it at every hop of an insertion. Here an insertion is always alone and a
// search takes none of them, so that they only cost 40 bytes a node and a lock a hop, and take each other in an order
// that the thread sanitizer rightly calls a deadlock between two insertions. So hnswlib gets a lock that does nothing.
// Everything from the standard library that hnswlib includes is included above, before the name changes.
namespace foreshore {
struct NoMutex {
  void lock() {}
  void unlock() {}
};
}  // namespace foreshore
namespace std {
using foreshore_no_mutex = ::foreshore::NoMutex;  // NOLINT(cert-dcl58-cpp): hnswlib says std::.
}
#define mutex foreshore_no_mutex
// Its prefetches read up to three bytes beyond a full list of links; without its vector code there are none, and
// none of its globals either. Distances come from our own space below.
#define NO_MANUAL_VECTORIZATION
#include <hnswlib/hnswlib.h>
#undef mutex

#include "index/vector_code.h"

namespace foreshore {
namespace {

using Hnsw = hnswlib::HierarchicalNSW<float>;

float Proximity(const void* a, const void* b, const void* space) {
  return static_cast<const CodeSpace*>(space)->Proximity(a, b);
}

class CodeSpaceForHnswlib : public hnswlib::SpaceInterface<float> {
 public:
  explicit CodeSpaceForHnswlib(const CodeSpace& space) : space_(space) {}
  std::size_t get_data_size() override { return space_.code_bytes(); }
  hnswlib::DISTFUNC<float> get_dist_func() override { return &Proximity; }
  void* get_dist_func_param() override { return &space_; }

 private:
  CodeSpace space_;
};

constexpr std::uint32_t kCapacityMin = 64;

}  // namespace

class HnswlibGraph final : public HnswGraph {
 public:
  struct Impl;
  explicit HnswlibGraph(std::unique_ptr<Impl> impl);
  ~HnswlibGraph() override;
  Status AddMany(std::span<const void* const> codes, unsigned thread_count) override;
  std::shared_lock<FairSharedMutex> LockShared() const override;
  Result<std::vector<std::uint32_t>> Search(const void* code, std::size_t ef) const override;
  const HnswGraphConfig& config() const override;
  std::uint32_t node_count() const override;
  std::uint32_t entry_point() const override;
  int level(std::uint32_t slot) const override;
  std::span<const std::uint32_t> links(std::uint32_t slot, int level) const override;
  std::uint32_t links_max(int level) const override;
  const char* code(std::uint32_t slot) const override;
  void CodesOf(std::span<const std::uint32_t> slots, const char** codes) const override {
    for (std::size_t i = 0; i < slots.size(); ++i) codes[i] = code(slots[i]);
  }
  HnswNode node(std::uint32_t slot) const override;
  Status RestoreNode(const void* code, int level, std::uint32_t parent) override;
  void RestoreLinks(std::uint32_t slot, int level, std::span<const std::uint32_t> links) override;
  void RestoreEntryPoint(std::uint32_t slot, bool parents_are_known) override;
  std::uint64_t memory_bytes() const override;

 private:
  std::unique_ptr<Impl> impl_;
};

struct HnswlibGraph::Impl {
  Impl(const HnswGraphConfig& graph_config, std::uint32_t capacity)
      : config(graph_config),
        space(CodeSpace(graph_config.metric, graph_config.dimension)),
        hnsw(&space, std::max(capacity, kCapacityMin), graph_config.links_per_node, graph_config.ef_construction) {
    hnsw.setEf(1);  // Search() passes its own.
  }

  void MakeRoom() {
    if (hnsw.cur_element_count < hnsw.max_elements_) return;
    const std::size_t wanted = hnsw.max_elements_ + hnsw.max_elements_ / 2;
    hnsw.resizeIndex(std::min<std::size_t>(wanted, kHnswNodeCountMax));
  }

  HnswGraphConfig config;
  CodeSpaceForHnswlib space;
  Hnsw hnsw;
  mutable FairSharedMutex mutex;  // Held by Add(), which moves what readers look at.
};

HnswlibGraph::HnswlibGraph(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HnswlibGraph::~HnswlibGraph() = default;

Result<std::unique_ptr<HnswGraph>> CreateHnswlibGraph(const HnswGraphConfig& config, std::uint32_t capacity) {
  assert(config.dimension >= kVectorDimensionMin && config.dimension <= kVectorDimensionMax);
  assert(config.links_per_node >= 2 && !config.small_codes);
  try {
    return std::unique_ptr<HnswGraph>(new HnswlibGraph(std::make_unique<HnswlibGraph::Impl>(config, capacity)));
  } catch (const std::exception& exception) {
    return GraphFailure("creating the graph", exception);
  }
}

Status HnswlibGraph::AddMany(std::span<const void* const> codes, unsigned /*thread_count*/) {
  try {
    for (const void* code : codes) {
      if (node_count() >= kHnswNodeCountMax) {
        return Status::Limit("graph has " + std::to_string(node_count()) + " nodes, expected fewer than " +
                             std::to_string(kHnswNodeCountMax));
      }
      const std::unique_lock lock(impl_->mutex);  // For one at a time: searches come in between.
      impl_->MakeRoom();
      impl_->hnsw.addPoint(code, node_count());
    }
    return Status::Ok();
  } catch (const std::exception& exception) {
    return GraphFailure("inserting into the graph", exception);
  }
}

std::shared_lock<FairSharedMutex> HnswlibGraph::LockShared() const {
  return std::shared_lock(impl_->mutex);
}

Result<std::vector<std::uint32_t>> HnswlibGraph::Search(const void* code, std::size_t ef) const {
  try {
    auto farthest_first = impl_->hnsw.searchKnn(code, std::min<std::size_t>(ef, node_count()));
    std::vector<std::uint32_t> slots(farthest_first.size());
    for (std::size_t i = slots.size(); i > 0; --i, farthest_first.pop()) {
      slots[i - 1] = static_cast<std::uint32_t>(farthest_first.top().second);
    }
    return slots;
  } catch (const std::exception& exception) {
    return GraphFailure("searching the graph", exception);
  }
}

const HnswGraphConfig& HnswlibGraph::config() const {
  return impl_->config;
}

std::uint32_t HnswlibGraph::node_count() const {
  return static_cast<std::uint32_t>(impl_->hnsw.cur_element_count);
}

std::uint32_t HnswlibGraph::entry_point() const {
  return impl_->hnsw.enterpoint_node_;
}

int HnswlibGraph::level(std::uint32_t slot) const {
  assert(slot < node_count());
  return impl_->hnsw.element_levels_[slot];
}

std::uint32_t HnswlibGraph::links_max(int level) const {
  return level == 0 ? impl_->config.links_per_node * 2 : impl_->config.links_per_node;
}

std::span<const std::uint32_t> HnswlibGraph::links(std::uint32_t slot, int level) const {
  assert(slot < node_count() && level <= this->level(slot));
  hnswlib::linklistsizeint* list = impl_->hnsw.get_linklist_at_level(slot, level);
  return {list + 1, impl_->hnsw.getListCount(list)};
}

const char* HnswlibGraph::code(std::uint32_t slot) const {
  assert(slot < node_count());
  return impl_->hnsw.getDataByInternalId(slot);
}

HnswNode HnswlibGraph::node(std::uint32_t slot) const {
  HnswNode node;
  node.level = static_cast<std::uint8_t>(level(slot));
  return node;
}

Status HnswlibGraph::RestoreNode(const void* code, int level, std::uint32_t /*parent*/) {
  assert(level >= 0 && level <= kHnswLevelMax && node_count() < kHnswNodeCountMax);
  Hnsw& hnsw = impl_->hnsw;
  try {
    impl_->MakeRoom();
    const std::uint32_t slot = node_count();
    hnsw.label_lookup_[slot] = slot;
    char* upper_links = nullptr;
    if (level > 0) {
      const std::size_t size_bytes = hnsw.size_links_per_element_ * static_cast<std::size_t>(level);
      upper_links = static_cast<char*>(std::calloc(1, size_bytes));  // hnswlib frees it with free().
      if (upper_links == nullptr) throw std::bad_alloc();
    }
    std::memset(hnsw.data_level0_memory_ + slot * hnsw.size_data_per_element_, 0, hnsw.size_data_per_element_);
    std::memcpy(hnsw.getDataByInternalId(slot), code, hnsw.data_size_);
    hnsw.setExternalLabel(slot, slot);
    hnsw.element_levels_[slot] = level;
    hnsw.linkLists_[slot] = upper_links;
    ++hnsw.cur_element_count;
    return Status::Ok();
  } catch (const std::exception& exception) {
    return GraphFailure("restoring the graph", exception);
  }
}

void HnswlibGraph::RestoreLinks(std::uint32_t slot, int level, std::span<const std::uint32_t> links) {
  assert(slot < node_count() && level <= this->level(slot) && links.size() <= links_max(level));
  hnswlib::linklistsizeint* list = impl_->hnsw.get_linklist_at_level(slot, level);
  impl_->hnsw.setListCount(list, static_cast<unsigned short>(links.size()));
  std::copy(links.begin(), links.end(), list + 1);
}

void HnswlibGraph::RestoreEntryPoint(std::uint32_t slot, bool /*parents_are_known*/) {
  Hnsw& hnsw = impl_->hnsw;
  hnsw.enterpoint_node_ = slot;
  hnsw.maxlevel_ = level(slot);
  // Else a restored graph would draw the levels of its first nodes again.
  hnsw.level_generator_.seed(node_count());
}

std::uint64_t HnswlibGraph::memory_bytes() const {
  const Hnsw& hnsw = impl_->hnsw;
  // Per place: the node, its lock, level, pointer to upper links and visited mark.
  const std::uint64_t place_bytes =
      hnsw.size_data_per_element_ + sizeof(NoMutex) + sizeof(int) + sizeof(char*) + sizeof(hnswlib::vl_type);
  // Per node: its place in the label table, and on average 1 / (M - 1) upper levels.
  const std::uint64_t node_bytes = 48 + hnsw.size_links_per_element_ / (impl_->config.links_per_node - 1);
  return hnsw.max_elements_ * place_bytes + hnsw.cur_element_count * node_bytes;
}

}  // namespace foreshore
