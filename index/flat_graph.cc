#include "index/flat_graph.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <exception>
#include <string>

#include "index/quantizer.h"

namespace foreshore {
namespace {

// L2 is compared squared. An inner product has no slack that a factor could express: it may be of either sign.
double AlphaOf(VectorMetric metric) {
  constexpr double kAlpha = 1.1;
  switch (metric) {
    case VectorMetric::kCosine: return kAlpha;
    case VectorMetric::kL2: return kAlpha * kAlpha;
    case VectorMetric::kDot: break;
  }
  return 1.0;
}

Status FromException(const char* doing, const std::exception& exception) {
  return Status::Internal(std::string(doing) + ": " + exception.what());
}

}  // namespace

Result<std::unique_ptr<HnswGraph>> CreateFlatGraph(const HnswGraphConfig& config, std::uint32_t /*capacity*/) {
  assert(config.dimension >= kVectorDimensionMin && config.dimension <= kVectorDimensionMax);
  assert(config.links_per_node >= 2);
  try {
    return std::unique_ptr<HnswGraph>(std::make_unique<FlatGraph>(config));
  } catch (const std::exception& exception) {
    return FromException("creating the graph", exception);
  }
}

FlatGraph::FlatGraph(const HnswGraphConfig& config)
    : config_(config),
      space_{config.metric, config.dimension, BestDotInt8()},
      dot4_(BestDotInt8x4()),
      alpha_(AlphaOf(config.metric)),
      codes_(VectorCodeBytes(config.dimension)),
      base_links_(std::size_t{8} * config.links_per_node) {}

std::uint32_t FlatGraph::links_max(int level) const {
  return level == 0 ? config_.links_per_node * 2 : config_.links_per_node;
}

std::uint32_t* FlatGraph::Row(std::uint32_t slot, int level) {
  if (level == 0) return reinterpret_cast<std::uint32_t*>(base_links_[slot]);
  const std::size_t row = upper_first_[slot] + static_cast<std::size_t>(level - 1);
  return upper_links_.data() + row * config_.links_per_node;
}

std::span<const std::uint32_t> FlatGraph::links(std::uint32_t slot, int level) const {
  assert(slot < node_count() && level <= this->level(slot));
  const std::uint32_t* row =
      level == 0
          ? reinterpret_cast<const std::uint32_t*>(base_links_[slot])
          : upper_links_.data() + (upper_first_[slot] + static_cast<std::size_t>(level) - 1) * config_.links_per_node;
  return {row, static_cast<std::size_t>(std::find(row, row + links_max(level), kNoSlot) - row)};
}

// Levels fall off geometrically, each with one node in links_per_node of the one below.
int FlatGraph::DrawLevel() {
  const double uniform = static_cast<double>((random_() >> 11) + 1) * 0x1p-53;
  return std::min(kHnswLevelMax, static_cast<int>(-std::log(uniform) / std::log(config_.links_per_node)));
}

void FlatGraph::AppendNode(const void* code, int level) {
  const std::uint32_t slot = node_count();
  codes_.Add();
  base_links_.Add();
  std::memcpy(codes_[slot], code, VectorCodeBytes(config_.dimension));
  std::fill_n(reinterpret_cast<std::uint32_t*>(base_links_[slot]), links_max(0), kNoSlot);
  upper_first_.push_back(static_cast<std::uint32_t>(upper_links_.size() / config_.links_per_node));
  upper_links_.resize(upper_links_.size() + static_cast<std::size_t>(level) * config_.links_per_node, kNoSlot);
  parent_.push_back(kNoSlot);
  children_.push_back(0);
  levels_.push_back(static_cast<std::uint8_t>(level));
}

Status FlatGraph::Add(const void* code) {
  if (node_count() >= kHnswNodeCountMax) {
    return Status::Limit("graph has " + std::to_string(node_count()) + " nodes, expected fewer than " +
                         std::to_string(kHnswNodeCountMax));
  }
  try {
    const std::uint32_t slot = node_count();
    AppendNode(code, DrawLevel());
    if (entry_point_ == kNoSlot) {
      entry_point_ = slot;
      return Status::Ok();
    }
    BorrowedScratch scratch(*this);
    const int top = level(entry_point_);
    std::uint32_t near = Descend(codes_[slot], entry_point_, top, std::min(top, level(slot)));
    for (int at = std::min(top, level(slot)); at >= 0; --at) {
      SearchLevel(codes_[slot], near, at, config_.ef_construction, *scratch);
      near = (*scratch).pool.front().slot;
      Connect(slot, at, (*scratch).pool);
    }
    if (level(slot) > top) entry_point_ = slot;
    return Status::Ok();
  } catch (const std::exception& exception) {
    return FromException("inserting into the graph", exception);
  }
}

Status FlatGraph::RestoreNode(const void* code, int level) {
  assert(level >= 0 && level <= kHnswLevelMax && node_count() < kHnswNodeCountMax);
  try {
    AppendNode(code, level);
    return Status::Ok();
  } catch (const std::exception& exception) {
    return FromException("restoring the graph", exception);
  }
}

void FlatGraph::RestoreLinks(std::uint32_t slot, int level, std::span<const std::uint32_t> links) {
  assert(slot < node_count() && level <= this->level(slot) && links.size() <= links_max(level));
  std::copy(links.begin(), links.end(), Row(slot, level));
}

void FlatGraph::RestoreEntryPoint(std::uint32_t slot) {
  entry_point_ = slot;
  random_.seed(node_count());  // Else a restored graph would draw the levels of its first nodes again.
  FindParents();
}

std::uint64_t FlatGraph::memory_bytes() const {
  return codes_.memory_bytes() + base_links_.memory_bytes() + upper_links_.capacity() * 4 + parent_.capacity() * 4 +
         upper_first_.capacity() * 4 + levels_.capacity() + children_.capacity();
}

}  // namespace foreshore
