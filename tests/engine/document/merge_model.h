// What a document must be, computed by brute force from the list of all writes: an independent statement of the rules
// in engine/document/registers.h, that shares no code with it. Slow and simple on purpose.
#pragma once

#include <algorithm>
#include <bitset>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/document/registers.h"

namespace foreshore {

using ModelPath = std::vector<std::string>;
// A set of single writes, by their number in the list of all.
inline constexpr std::size_t kModelWritesMax = 2048;
using WriteSet = std::bitset<kModelWritesMax>;

struct ModelWrite {
  std::size_t number = 0;
  bool is_life_change = false;
  ModelPath path;
  bool is_tombstone = false;
  std::string value;
  std::uint32_t life = 0;
  Stamp stamp;
  Stamp creation;
  WriteSet seen;  // Every single write that the writer had seen.

  bool is_value() const { return !is_life_change && !is_tombstone && value != "{}"; }
};

class MergeModel {
 public:
  // `all` may hold writes that the replica in question does not know; `known` are those that count.
  MergeModel(const std::vector<ModelWrite>& all, const WriteSet& known) {
    for (const ModelWrite& write : all) {
      if (known[write.number]) writes_.push_back(&write);
    }
    for (const ModelWrite* write : writes_) life_ = std::max(life_, write->life);
    for (const ModelWrite* write : writes_) {
      if (IsStanding(*write)) standing_.push_back(write);
    }
  }

  std::string Body() const { return life_ % 2 == 1 ? Object({}) : std::string(); }

  std::set<Stamp> Lost() const {
    std::set<Stamp> lost;
    for (const ModelWrite* value : writes_) {
      if (!value->is_value() || IsShown(*value)) continue;
      const bool is_superseded = std::any_of(writes_.begin(), writes_.end(), [&](const ModelWrite* write) {
        return write->seen[value->number] && Covers(*write, *value);
      });
      if (!is_superseded) lost.insert(value->stamp);
    }
    return lost;
  }

 private:
  static bool IsAtOrAbove(const ModelPath& upper, const ModelPath& path) {
    return upper.size() <= path.size() && std::equal(upper.begin(), upper.end(), path.begin());
  }
  static bool Covers(const ModelWrite& write, const ModelWrite& value) {
    return write.is_life_change ? write.life > value.life : IsAtOrAbove(write.path, value.path);
  }

  // Of the present life, no tombstone, and nothing newer at its path or above it.
  bool IsStanding(const ModelWrite& write) const {
    if (write.is_life_change || write.is_tombstone || write.life != life_ || life_ % 2 == 0) return false;
    return std::none_of(writes_.begin(), writes_.end(), [&](const ModelWrite* other) {
      return !other->is_life_change && other->life == life_ && other->stamp > write.stamp &&
             IsAtOrAbove(other->path, write.path);
    });
  }

  bool IsShown(const ModelWrite& write) const {
    bool stands = false;
    for (const ModelWrite* other : standing_) {
      if (other == &write) {
        stands = true;
      } else if (IsAtOrAbove(write.path, other->path)) {
        return false;  // Something stands below it.
      }
    }
    return stands;
  }

  std::string Object(const ModelPath& at) const {
    std::map<std::string, Stamp> ages;
    for (const ModelWrite* write : standing_) {
      if (write->path.size() <= at.size() || !IsAtOrAbove(at, write->path)) continue;
      ages.emplace(write->path[at.size()], Stamp{});
    }
    std::vector<std::pair<Stamp, std::string>> keys;
    for (const auto& [key, unused] : ages) keys.emplace_back(KeyAge(Below(at, key)), key);
    std::sort(keys.begin(), keys.end());
    std::string text = "{";
    for (const auto& [age, key] : keys) {
      if (text.size() > 1) text += ",";
      text += "\"" + key + "\":";  // Test keys need no escapes.
      const ModelPath path = Below(at, key);
      const ModelWrite* own = StandingAt(path);
      text += own != nullptr && IsShown(*own) ? own->value : Object(path);
    }
    return text + "}";
  }

  Stamp KeyAge(const ModelPath& path) const {
    if (const ModelWrite* own = StandingAt(path)) return own->creation;
    std::set<Stamp> ages;
    for (const ModelWrite* write : standing_) {
      if (IsAtOrAbove(path, write->path)) ages.insert(write->creation);
    }
    return *ages.begin();
  }

  const ModelWrite* StandingAt(const ModelPath& path) const {
    for (const ModelWrite* write : standing_) {
      if (write->path == path) return write;
    }
    return nullptr;
  }

  static ModelPath Below(ModelPath path, const std::string& key) {
    path.push_back(key);
    return path;
  }

  std::vector<const ModelWrite*> writes_;
  std::vector<const ModelWrite*> standing_;
  std::uint32_t life_ = 0;
};

}  // namespace foreshore
