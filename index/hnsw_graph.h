// A hierarchical navigable small world graph (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor
// search using Hierarchical Navigable Small World graphs", 2016) over int8 codes, or beside them. Two implementations:
// ours (index/flat_graph.h) and hnswlib, which hnswlib_graph.cc alone knows.
//
// A node is a slot: 0, 1, 2 … in order of insertion, for ever. Nodes are never removed and never change; what is dead
// is known one level up, so that the graph keeps its paths.
//
// Threads: Search(), code(), level(), node_count() and entry_point() may run beside AddMany(), with LockShared() held;
// whatever else is not const must be alone, and so must links(), and AddMany() among changes.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "foreshore/status.h"
#include "index/fair_shared_mutex.h"
#include "index/slot_set.h"
#include "index/small_code.h"
#include "index/vector_index.h"
#include "index/vector_metric.h"

namespace foreshore {

struct HnswGraphConfig {
  VectorMetric metric = VectorMetric::kCosine;
  std::uint32_t dimension = 0;
  std::uint32_t links_per_node = 16;  // On level 0, twice as many.
  std::uint32_t ef_construction = 128;
  VectorGraphKind kind = VectorGraphKind::kFlat;  // No part of snapshots: each kind reads what the other wrote.
  // Where set, searches walk over codes of so few bits that the graph makes of those it is given. Not over hnswlib.
  std::optional<SmallCodeConfig> small_codes = {};
  // Where what no walk reads lies in unnamed files (index/row_memory.h), and with `is_all_scratch` every row; empty:
  // all lies in memory. No part of snapshots; not over hnswlib.
  std::string scratch_folder = {};
  bool is_all_scratch = false;
  friend bool operator==(const HnswGraphConfig&, const HnswGraphConfig&) = default;
};

inline constexpr std::uint32_t kNoSlot = 0xFFFFFFFF;
inline constexpr std::uint32_t kHnswNodeCountMax = 0x7FFFFFF0;  // hnswlib holds slots in int in one place.
inline constexpr int kHnswLevelMax = 63;

// A node as snapshots keep it, and our graph too.
struct HnswNode {
  std::uint32_t parent = kNoSlot;  // See index/flat_graph.h; none for the first node, and for all of hnswlib's.
  std::uint32_t upper_first = 0;   // Its row of links on level 1; those above follow.
  std::uint8_t level = 0;
  std::uint8_t children = 0;   // Whose parent it is, counted.
  std::uint8_t is_linked = 1;  // 0 while it is being inserted.
  std::uint8_t reserved = 0;
};

class HnswImage;

class HnswGraph {
 public:
  // `capacity` nodes fit without growing. kInternal where memory is short, here and below.
  static Result<std::unique_ptr<HnswGraph>> Create(const HnswGraphConfig& config, std::uint32_t capacity);
  virtual ~HnswGraph() = default;
  HnswGraph() = default;
  HnswGraph(const HnswGraph&) = delete;
  HnswGraph& operator=(const HnswGraph&) = delete;

  // Inserts codes (index/vector_code.h) as the slots from node_count() on, on up to `thread_count` threads where the
  // kind can. kLimit when the graph is full. After kInternal the graph may only be destroyed.
  virtual Status AddMany(std::span<const void* const> codes, unsigned thread_count) = 0;
  Status Add(const void* code) { return AddMany({&code, 1}, 1); }

  // Held by readers while they search and look at what they found. Empty where the graph does not make them wait.
  virtual std::shared_lock<FairSharedMutex> LockShared() const { return {}; }

  // About `ef` slots near `code`, nearest first; all of them where the graph is smaller and connected.
  virtual Result<std::vector<std::uint32_t>> Search(const void* code, std::size_t ef) const = 0;

  // The same restricted to `among`: about `ef` slots of it, or `far_ef` where the set is rare around `code`. None where
  // that is 0 then, or more than `visits_max` rows of links and codes would have to be read. kUnsupported but for
  // VectorGraphKind::kFlat.
  virtual Result<std::vector<std::uint32_t>> SearchAmong(const void* code, std::size_t ef, std::size_t far_ef,
                                                         const SlotSet& among, std::size_t visits_max) const;
  // The `count` of `slots` that are nearest to `code`, or all, nearest first.
  Result<std::vector<std::uint32_t>> NearestOf(const void* code, std::span<const std::uint32_t> slots,
                                               std::size_t count) const;

  // For snapshots.
  virtual const HnswGraphConfig& config() const = 0;
  virtual std::uint32_t node_count() const = 0;
  virtual std::uint32_t entry_point() const = 0;  // kNoSlot where the graph is empty.
  virtual int level(std::uint32_t slot) const = 0;
  // The slots that `slot` links to on `level`, at most links_per_node of them, or twice that on level 0.
  virtual std::span<const std::uint32_t> links(std::uint32_t slot, int level) const = 0;
  virtual std::uint32_t links_max(int level) const = 0;
  // What a snapshot says of a slot, but for upper_first.
  virtual HnswNode node(std::uint32_t slot) const = 0;
  // The code of a slot, valid while LockShared() is held, or until the next non-const call.
  virtual const char* code(std::uint32_t slot) const = 0;
  // The same of many: codes[i] is that of slots[i]. What of them lies in a file is asked for.
  virtual void CodesOf(std::span<const std::uint32_t> slots, const char** codes) const = 0;
  // What searches walk over: a row of SmallCodeSpace where the graph has small codes, else the code. Valid as long.
  virtual const char* walked_row(std::uint32_t slot) const { return code(slot); }

  // Rebuild a stored graph, or bring it on: every new node in order, then links, then the entry point. The caller has
  // checked that levels, counts, slots and entry point are in range and that each link's target reaches up to its
  // level. `parent` is a lower slot, or kNoSlot.
  virtual Status RestoreNode(const void* code, int level, std::uint32_t parent) = 0;
  virtual void RestoreLinks(std::uint32_t slot, int level, std::span<const std::uint32_t> links) = 0;
  // `parents_are_known`: as far as there are any, the nodes were restored with them.
  virtual void RestoreEntryPoint(std::uint32_t slot, bool parents_are_known) = 0;
  virtual bool knows_parents() const { return false; }

  // For snapshots of what changed. Whether the graph remembers it since MarkSaved(), or since it came from an image.
  virtual bool knows_changes() const { return false; }
  // Calls visit(slot, level, kept_count) for each row of links, of slots that were there then, whose links behind the
  // first `kept_count` are others now; in order of slots, then of levels.
  using VisitRow = std::function<void(std::uint32_t slot, int level, std::size_t kept_count)>;
  virtual void ForEachChangedRow(const VisitRow& /*visit*/) const {}
  virtual void MarkSaved() {}

  // An estimate, allocator overhead included; of what is mapped, the pages that were changed.
  virtual std::uint64_t memory_bytes() const = 0;
  // What of that a graph opened from a snapshot of this one would occupy.
  virtual std::uint64_t reopened_bytes() const { return memory_bytes(); }
  // What lies in unnamed files.
  virtual std::uint64_t scratch_bytes() const { return 0; }
};

// What of an index's configuration its graph is made of. kInvalidArgument where a number is out of its range.
Result<HnswGraphConfig> GraphConfigOf(const VectorIndexConfig& config);

// kInternal, for what an exception cut short.
Status GraphFailure(const char* doing, const std::exception& exception);

// What HnswGraph::Create() chooses from.
Result<std::unique_ptr<HnswGraph>> CreateHnswlibGraph(const HnswGraphConfig& config, std::uint32_t capacity);
Result<std::unique_ptr<HnswGraph>> CreateFlatGraph(const HnswGraphConfig& config,
                                                   std::shared_ptr<HnswImage> image = nullptr);  // Begins as it.

}  // namespace foreshore
