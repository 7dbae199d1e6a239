#include "index/flat_graph.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <exception>
#include <string>
#include <thread>

#include "index/quantizer.h"

namespace foreshore {
namespace {

// L2 is exactly 0 between equal codes, and a cosine is so far from 1 by rounding; inner products say nothing.
float EqualOf(VectorMetric metric) {
  switch (metric) {
    case VectorMetric::kCosine: return 5e-7F;
    case VectorMetric::kL2: return 0.0F;
    case VectorMetric::kDot: break;
  }
  return -INFINITY;
}

constexpr std::size_t kCacheLineBytes = 64;
constexpr std::size_t kPageBytes = 4096;  // As small as they come: an estimate.

// Where rows lie: those that walks read are in memory, unless all are to be elsewhere.
std::string FolderOf(const HnswGraphConfig& config, bool is_walked) {
  return is_walked && !config.is_all_scratch ? std::string() : config.scratch_folder;
}

}  // namespace

Result<std::unique_ptr<HnswGraph>> CreateFlatGraph(const HnswGraphConfig& config, std::shared_ptr<HnswImage> image) {
  assert(config.dimension >= kVectorDimensionMin && config.dimension <= kVectorDimensionMax);
  assert(config.links_per_node >= 2);
  try {
    return std::unique_ptr<HnswGraph>(std::make_unique<FlatGraph>(config, std::move(image)));
  } catch (const std::exception& exception) {
    return GraphFailure("creating the graph", exception);
  }
}

FlatGraph::FlatGraph(const HnswGraphConfig& config, std::shared_ptr<HnswImage> image)
    : config_(config),
      space_(config.metric, config.dimension),
      small_(config.small_codes
                 ? std::make_optional<SmallCodeSpace>(config.metric, config.dimension, *config.small_codes)
                 : std::nullopt),
      equal_(EqualOf(config.metric)),
      image_(std::move(image)),
      codes_(space_.code_bytes(), kVectorCodeAlignment, FolderOf(config, !small_)),
      small_rows_(small_ ? small_->row_bytes() : 1, small_ ? small_->row_alignment() : 1, FolderOf(config, true)),
      base_links_(std::size_t{8} * config.links_per_node, kCacheLineBytes, FolderOf(config, true)),
      upper_links_(std::size_t{4} * config.links_per_node, sizeof(std::uint32_t), FolderOf(config, true)),
      nodes_(FolderOf(config, true)) {
  if (!image_) return;
  const std::uint32_t count = image_->node_count();
  codes_.Borrow(image_->rows(kCodeArea), count);
  base_links_.Borrow(image_->rows(kBaseLinkArea), count);
  upper_links_.Borrow(image_->rows(kUpperLinkArea), image_->upper_row_count());
  if (small_) small_rows_.Borrow(image_->rows(kSmallCodeArea), count);
  nodes_.Borrow(image_->nodes(), count);
  upper_row_count_ = image_->upper_row_count();
  touched_pages_.assign(count * base_links_.stride_bytes() / kPageBytes + 1, 0);
  node_count_ = count;
  if (count > 0) RestoreEntryPoint(image_->entry_point(), image_->knows_parents());
  MarkSaved();
}

std::uint32_t FlatGraph::links_max(int level) const {
  return level == 0 ? config_.links_per_node * 2 : config_.links_per_node;
}

std::span<const std::uint32_t> FlatGraph::links(std::uint32_t slot, int level) const {
  assert(slot < node_count() && level <= this->level(slot));
  const std::uint32_t* row = Row(slot, level);
  return {row, static_cast<std::size_t>(std::find(row, row + links_max(level), kNoSlot) - row)};
}

// Levels fall off geometrically, each with one node in links_per_node of the one below.
int FlatGraph::DrawLevel() {
  const double uniform = static_cast<double>((random_() >> 11) + 1) * 0x1p-53;
  return std::min(kHnswLevelMax, static_cast<int>(-std::log(uniform) / std::log(config_.links_per_node)));
}

// Makes the next slot, with a code and without links. Its small row is still to be packed.
void FlatGraph::AppendNode(const void* code, int level) {
  const std::uint32_t slot = node_count_.load(std::memory_order_relaxed);
  codes_.Reserve(slot + 1);
  if (small_) small_rows_.Reserve(slot + 1);
  base_links_.Reserve(slot + 1);
  upper_links_.Reserve(upper_row_count_ + static_cast<std::uint32_t>(level));
  HnswNode node;
  node.upper_first = upper_row_count_;
  node.level = static_cast<std::uint8_t>(level);
  node.is_linked = 0;
  nodes_.Put(slot, node);
  std::memcpy(codes_[slot], code, space_.code_bytes());
  for (int at = 0; at <= level; ++at) std::fill_n(Row(slot, at), links_max(at), kNoSlot);
  upper_row_count_ += static_cast<std::uint32_t>(level);
  node_count_.store(slot + 1, std::memory_order_release);
}

// Links the node of `slot` and those near it to each other, on every level that it reaches.
void FlatGraph::Insert(std::uint32_t slot, Scratch& scratch) {
  if (small_) small_->PackRow(codes_[slot], small_rows_[slot]);
  std::unique_lock<std::mutex> entry_lock;
  std::uint32_t near = entry_point();
  if (near == kNoSlot || level(slot) > level(near)) {
    entry_lock = std::unique_lock(entry_mutex_);
    near = entry_point();
  }
  if (near != kNoSlot) {
    const int top = level(near);
    const Target target = TargetOf(codes_[slot], scratch);
    near = Descend(target, near, top, std::min(top, level(slot)));
    for (int at = std::min(top, level(slot)); at >= 0; --at) {
      SearchLevel(target, near, at, config_.ef_construction, scratch);
      if (target.is_small) Rescore(codes_[slot], scratch.pool);
      near = scratch.pool.front().slot;
      ChooseLinks(slot, at, scratch);
    }
    SetLinked(slot);
    for (int at = 0; at <= std::min(top, level(slot)); ++at) LinkBack(slot, at, scratch);
    if (level(slot) <= top) return;
  }
  SetLinked(slot);
  entry_point_.store(slot, std::memory_order_release);
}

Status FlatGraph::AddMany(std::span<const void* const> codes, unsigned thread_count) {
  if (codes.empty()) return Status::Ok();
  const std::uint32_t first = node_count();
  if (first == 0 && codes.size() > 1 && thread_count > 1) {  // The root of the tree comes alone.
    FORESHORE_RETURN_IF_ERROR(AddMany(codes.first(1), 1));
    return AddMany(codes.subspan(1), thread_count);
  }
  if (codes.size() > kHnswNodeCountMax - first) {
    return Status::Limit("graph has " + std::to_string(first) + " nodes and is given " + std::to_string(codes.size()) +
                         " more, expected at most " + std::to_string(kHnswNodeCountMax));
  }
  try {
    if (!knows_parents_) FindParents();
    knows_parents_ = true;
    for (const void* code : codes) AppendNode(code, DrawLevel());
  } catch (const std::exception& exception) {
    return GraphFailure("inserting into the graph", exception);
  }
  const auto end = first + static_cast<std::uint32_t>(codes.size());
  std::atomic<std::uint32_t> next{first};
  std::mutex failure_mutex;
  Status failure = Status::Ok();
  const auto work = [&] {
    try {
      BorrowedScratch scratch(*this);
      for (std::uint32_t slot = next++; slot < end; slot = next++) Insert(slot, *scratch);
    } catch (const std::exception& exception) {
      const std::lock_guard lock(failure_mutex);
      failure = GraphFailure("inserting into the graph", exception);
      next = end;
    }
  };
  std::vector<std::thread> threads;
  try {
    const auto useful_count = static_cast<unsigned>(std::min<std::size_t>(thread_count, codes.size()));
    for (unsigned i = 1; i < useful_count; ++i) threads.emplace_back(work);
  } catch (const std::exception&) {
    // Fewer threads do as well.
  }
  work();
  for (std::thread& thread : threads) thread.join();
  return failure;
}

Status FlatGraph::RestoreNode(const void* code, int level, std::uint32_t parent) {
  assert(level >= 0 && level <= kHnswLevelMax && node_count() < kHnswNodeCountMax);
  try {
    const std::uint32_t slot = node_count();
    AppendNode(code, level);
    if (small_) small_->PackRow(code, small_rows_[slot]);
    nodes_[slot].is_linked = 1;
    if (parent == kNoSlot) return Status::Ok();
    nodes_[slot].parent = parent;
    if (nodes_[parent].children < UINT8_MAX) ++nodes_[parent].children;
    return Status::Ok();
  } catch (const std::exception& exception) {
    return GraphFailure("restoring the graph", exception);
  }
}

void FlatGraph::RestoreLinks(std::uint32_t slot, int level, std::span<const std::uint32_t> links) {
  assert(slot < node_count() && level <= this->level(slot) && links.size() <= links_max(level));
  std::uint32_t* row = Row(slot, level);
  std::fill(std::copy(links.begin(), links.end(), row), row + links_max(level), kNoSlot);
  if (level == 0 && slot < base_links_.borrowed_count())
    touched_pages_[slot * base_links_.stride_bytes() / kPageBytes] = 1;
}

void FlatGraph::RestoreEntryPoint(std::uint32_t slot, bool parents_are_known) {
  entry_point_ = slot;
  random_.seed(node_count());  // Else a restored graph would draw the levels of its first nodes again.
  knows_parents_ = parents_are_known;
}

void FlatGraph::MarkSaved() {
  row_states_.assign(node_count(), 0);
  upper_states_.assign(upper_row_count_, 0);
  knows_changes_ = knows_parents_;
}

void FlatGraph::NoteChange(std::uint32_t slot, int level, std::size_t kept_count) {
  if (slot >= row_states_.size()) return;
  std::uint8_t& state =
      level == 0 ? row_states_[slot] : upper_states_[nodes_[slot].upper_first + static_cast<std::uint32_t>(level) - 1];
  const auto changed = static_cast<std::uint8_t>(1 + kept_count);
  state = state == 0 ? changed : std::min(state, changed);
  if (level != 0 || slot >= base_links_.borrowed_count()) return;
  std::uint8_t& page = touched_pages_[slot * base_links_.stride_bytes() / kPageBytes];
  __atomic_store_n(&page, 1, __ATOMIC_RELAXED);  // Its neighbours have other locks.
}

void FlatGraph::ForEachChangedRow(const VisitRow& visit) const {
  for (std::uint32_t slot = 0; slot < row_states_.size(); ++slot) {
    if (row_states_[slot] != 0) visit(slot, 0, row_states_[slot] - std::size_t{1});
    const HnswNode& node = nodes_[slot];
    for (int level = 1; level <= node.level; ++level) {
      const std::uint8_t state = upper_states_[node.upper_first + static_cast<std::uint32_t>(level) - 1];
      if (state != 0) visit(slot, level, state - std::size_t{1});
    }
  }
}

std::uint64_t FlatGraph::memory_bytes() const {
  const std::uint32_t count = node_count();
  const std::uint64_t page_bytes =
      kPageBytes * static_cast<std::uint64_t>(std::count(touched_pages_.begin(), touched_pages_.end(), 1));
  return codes_.memory_bytes(count) + (small_ ? small_rows_.memory_bytes(count) : 0) + base_links_.memory_bytes(count) +
         upper_links_.memory_bytes(upper_row_count_) + nodes_.memory_bytes(count) + page_bytes + row_states_.size() +
         upper_states_.size();
}

std::uint64_t FlatGraph::scratch_bytes() const {
  const std::uint32_t count = node_count();
  return codes_.scratch_bytes(count) + (small_ ? small_rows_.scratch_bytes(count) : 0) +
         base_links_.scratch_bytes(count) + upper_links_.scratch_bytes(upper_row_count_) + nodes_.scratch_bytes(count);
}

}  // namespace foreshore
