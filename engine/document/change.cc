#include <limits>
#include <map>
#include <set>

#include "engine/document/registers_internal.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kOpMax = std::numeric_limits<std::uint32_t>::max();

// Groups of one document under construction, in the order in which they are sent.
class GroupBuilder {
 public:
  void AddWrite(const std::string& path, const Register& content) {
    WriteGroup& group = GroupOf(content.stamp);
    group.life = std::max(group.life, content.life);
    if (!added_.insert(content.stamp).second) return;  // Kept both as a register and as a lost value.
    group.writes.emplace_back(path, content);
  }
  void AddLifeChange(std::uint32_t life, const Stamp& stamp) {
    WriteGroup& group = GroupOf(stamp);
    if (group.changes_life && group.life >= life) return;  // A later one covers what an earlier one covered.
    group.changes_life = true;
    group.life = std::max(group.life, life);
    group.life_op = stamp.op;
  }
  std::vector<WriteGroup> Finish() {
    std::vector<WriteGroup> ordered;
    for (auto& [key, group] : groups_) ordered.push_back(std::move(group));
    return ordered;
  }

 private:
  WriteGroup& GroupOf(const Stamp& stamp) {
    WriteGroup& group = groups_[{stamp.hlc, stamp.session}];
    group.hlc = stamp.hlc;
    group.session = stamp.session;
    group.op_last = std::max(group.op_last, stamp.op);
    return group;
  }
  std::map<std::pair<std::uint64_t, SessionKey>, WriteGroup> groups_;
  std::set<Stamp> added_;
};

void AddEntry(VersionVector& vector, const VersionVector::Entry& entry) {
  vector.Add({entry.hlc, entry.session, entry.op});
}

// What a local write at `hlc` had seen. The vector that stands for it may name later writes of our own, which must
// not count as seen: of its own session it had seen all before itself, of our other sessions, which never ran at the
// same time, those that had ended.
VersionVector SeenByLocal(const DocumentState& state, const WriteGroup& group,
                          const std::function<bool(const SessionKey&)>& is_local) {
  const VersionVector* vector = &state.seen;
  for (const auto& entry : state.seen_history) {
    if (group.hlc > entry.hlc_boundary) continue;
    vector = &entry.seen;
    break;
  }
  VersionVector seen;
  for (VersionVector::Entry entry : vector->entries()) {
    if (entry.hlc >= group.hlc && is_local(entry.session)) {
      if (entry.session != group.session) continue;
      entry.hlc = group.hlc - 1;
      entry.op = kOpMax;
    }
    AddEntry(seen, entry);
  }
  return seen;
}

// All in the vector that is older than `hlc`.
VersionVector SeenBefore(const VersionVector& vector, std::uint64_t hlc) {
  VersionVector seen;
  for (VersionVector::Entry entry : vector.entries()) {
    if (entry.hlc >= hlc) {
      entry.hlc = hlc - 1;
      entry.op = kOpMax;
    }
    AddEntry(seen, entry);
  }
  return seen;
}

}  // namespace

DocumentChange BuildChange(const DocumentState& state, const std::vector<LostValue>& unshared,
                           const std::function<bool(const SessionKey&)>& is_local, std::uint64_t acknowledged_hlc) {
  const auto is_unsent = [&](const Stamp& stamp) { return stamp.hlc > acknowledged_hlc && is_local(stamp.session); };
  GroupBuilder builder;
  if (state.life_stamp.hlc != 0 && is_unsent(state.life_stamp)) builder.AddLifeChange(state.life, state.life_stamp);
  for (const auto& [path, content] : state.registers) {
    if (is_unsent(content.stamp)) builder.AddWrite(path, content);
  }
  for (const LostValue& value : unshared) {
    if (is_unsent(value.value.stamp)) builder.AddWrite(value.path, value.value);
  }
  for (const auto& entry : state.overtaken) {
    if (!is_unsent(entry.write.stamp)) continue;
    if (entry.is_life_change) {
      builder.AddLifeChange(entry.write.life, entry.write.stamp);
    } else {
      builder.AddWrite(entry.path, entry.write);
    }
  }
  DocumentChange change{state.id, builder.Finish()};
  for (WriteGroup& group : change.groups) group.seen = SeenByLocal(state, group, is_local);
  return change;
}

DocumentChange BuildFullChange(const DocumentState& state) {
  GroupBuilder builder;
  if (state.life_stamp.hlc != 0) builder.AddLifeChange(state.life, state.life_stamp);
  for (const auto& [path, content] : state.registers) builder.AddWrite(path, content);
  DocumentChange change{state.id, builder.Finish()};
  // Nobody knows any more what each writer had seen. All that is older is right for a peer that has nothing, and takes
  // no value for lost that the sender knew. The last group carries the rest, so that the peer's vector becomes ours.
  for (WriteGroup& group : change.groups) group.seen = SeenBefore(state.seen, group.hlc);
  if (!change.groups.empty()) change.groups.back().seen = state.seen;
  return change;
}

}  // namespace foreshore
