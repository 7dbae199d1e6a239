// What the parts of the register module share.
//
// Threads: free functions, safe from any thread.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "engine/document/json.h"
#include "engine/document/registers.h"

namespace foreshore {

// A register in place; the views live as long as the state is unchanged.
struct PlacedRegister {
  std::string_view path;
  const Register* content;
};

// Registers that are no tombstones, in tree order: every register directly before those below it.
std::vector<PlacedRegister> LiveRegistersInTreeOrder(const DocumentState& state);

// Whether `order[i]` is a leaf of the body: nothing live is below it.
inline bool IsLeaf(const std::vector<PlacedRegister>& order, std::size_t i) {
  return i + 1 == order.size() || !IsAncestorPath(order[i].path, order[i + 1].path);
}

// A register that holds something a user could miss.
inline bool HoldsValue(const Register& content) {
  return !content.is_tombstone && content.value != "{}";
}

// The total order that decides one path: (life, stamp, hash of the value), and the rest against equal hashes.
bool IsNewer(const Register& a, const Register& b);

// Whether an ancestor's register hides one at `path`.
bool IsHiddenByAncestor(const std::map<std::string, Register>& registers, std::string_view path, const Stamp& stamp);

// The stamp at which the key at `path` was created; nullptr where the state has no such key.
const Stamp* CreationOf(const DocumentState& state, const std::string& path);

}  // namespace foreshore
