// Some of the slots of a graph, for searches that are restricted to them.
//
// Threads: a value.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace foreshore {

struct SlotSet {
  std::weak_ptr<const void> of;      // Whose slots they are; the graph's owner may go before the set.
  std::uint32_t end = 0;             // Slots from here on were not looked at.
  std::vector<std::uint32_t> slots;  // Ascending.
  std::vector<std::uint64_t> bits;   // The same, a bit per slot below `end`.

  bool Contains(std::uint32_t slot) const { return slot < end && (bits[slot / 64] >> (slot % 64) & 1) != 0; }
};

}  // namespace foreshore
