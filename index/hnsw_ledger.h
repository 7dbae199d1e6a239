// Which slots of one graph live, and which died that some reader may still see.
//
// Invariant: the slots of a document that live follow each other.
//
// Threads: a value; HnswIndex says what guards it.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <unordered_map>
#include <vector>

#include "index/hnsw_entries.h"

namespace foreshore {

struct HnswLedger {
  struct Death {
    std::uint64_t sequence = 0;
    std::uint32_t slot = 0;
    bool operator>(const Death& other) const { return sequence > other.sequence; }
  };

  std::uint64_t document_count = 0;                      // Documents with an entry that has not died.
  std::uint64_t garbage_count = 0;                       // Entries that died at the forgotten sequence or before.
  std::unordered_map<std::int64_t, std::uint32_t> live;  // The first live slot of each; none of the image.
  std::unordered_multimap<std::int64_t, std::uint32_t> superseded;  // Slots of it that are in `deaths`.
  // The deaths that some reader may still see past, earliest first.
  std::priority_queue<Death, std::vector<Death>, std::greater<>> deaths;

  // The slot is new here; it may have died already. No reader sees `forgotten_seq` or before.
  void Add(std::uint32_t slot, const HnswEntry& entry, std::uint64_t forgotten_seq);
  // The document's live slots, first..end-1, die at `sequence`.
  void Kill(std::int64_t docid, std::uint32_t first, std::uint32_t end, std::uint64_t sequence,
            std::uint64_t forgotten_seq);
  // Deaths up to the sequence become garbage.
  void Forget(std::uint64_t forgotten_seq, const HnswEntries& entries);

  std::uint64_t memory_bytes() const {
    constexpr std::uint64_t kMapNodeBytes = 40;  // Key, value, link, and the share of the buckets.
    return (live.size() + superseded.size()) * kMapNodeBytes + deaths.size() * sizeof(Death);
  }
};

}  // namespace foreshore
