// A set of documents that searches are restricted to. Made once, it may serve any number of searches of one index, in
// any snapshots: which slots of the index it means is found out by the first of them and kept.
//
// Threads: safe from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace foreshore {

struct SlotSet;

class VectorFilter {
 public:
  explicit VectorFilter(std::vector<std::int64_t> docids);  // In any order.
  VectorFilter(const VectorFilter&) = delete;
  VectorFilter& operator=(const VectorFilter&) = delete;

  // Ascending, each once.
  std::span<const std::int64_t> docids() const { return docids_; }
  std::size_t size() const { return docids_.size(); }
  bool Contains(std::int64_t docid) const;
  std::uint64_t memory_bytes() const;

 private:
  friend class HnswIndex;

  std::vector<std::int64_t> docids_;
  std::vector<std::uint64_t> bits_;  // By docid from the first on; empty where they lie too far apart.
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const SlotSet> slots_;  // Guarded by mutex_. Shared with searches that use it.
};

}  // namespace foreshore
