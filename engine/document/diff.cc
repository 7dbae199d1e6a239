#include "engine/document/json.h"
#include "engine/document/json_walk.h"
#include "engine/document/registers_internal.h"

namespace foreshore {
namespace {

// Collects the writes that turn one body into another.
class Differ {
 public:
  Differ(const DocumentState& current, WriteGroup& group, std::uint32_t next_op)
      : current_(current), group_(group), next_op_(next_op) {}

  // Both are object tokens. Removals of keys come after the writes, so that ops follow the new body's order.
  void DiffObjects(std::string_view base, std::string_view body) {
    JsonMemberIndex before(base);
    JsonMemberIndex after(body);
    for (const JsonMember& member : after.members()) {
      const JsonMember* old = before.Find(member.key);
      if (old != nullptr && old->value == member.value) continue;
      const std::size_t path_bytes = Enter(member.key);
      if (old == nullptr) {
        WriteLeaves(member.value);
      } else {
        DiffValues(old->value, member.value);
      }
      Leave(path_bytes);
    }
    for (const JsonMember& member : before.members()) {
      if (after.Find(member.key) != nullptr) continue;
      const std::size_t path_bytes = Enter(member.key);
      Write({}, true);
      Leave(path_bytes);
    }
  }

  // The value at path_ and all below it; path_ empty and depth_ 0 is the whole body.
  void WriteLeaves(std::string_view value) {
    if (!IsObjectToken(value) || (value.size() == 2 && depth_ > 0)) {
      Write(value, false);
      return;
    }
    JsonMembers members(value);
    for (JsonMember member; members.Next(member);) {
      const std::size_t path_bytes = Enter(member.key);
      WriteLeaves(member.value);
      Leave(path_bytes);
    }
  }

 private:
  void DiffValues(std::string_view old, std::string_view value) {
    if (!IsObjectToken(value) || value.size() == 2) {
      Write(value, false);
    } else if (IsObjectToken(old)) {
      DiffObjects(old, value);
    } else {
      Write("{}", false);
      WriteLeaves(value);
    }
  }

  std::size_t Enter(std::string_view key) {
    const std::size_t path_bytes = path_.size();
    if (depth_++ > 0) path_ += kPathSeparator;
    AppendUnescaped(path_, key);
    return path_bytes;
  }
  void Leave(std::size_t path_bytes) {
    --depth_;
    path_.resize(path_bytes);
  }

  void Write(std::string_view value, bool is_tombstone) {
    Register content;
    content.life = group_.life;
    content.stamp = {group_.hlc, group_.session, next_op_++};
    content.creation = content.stamp;
    content.is_tombstone = is_tombstone;
    content.value = value;
    if (!is_tombstone && !group_.changes_life) {
      const Stamp* creation = CreationOf(current_, path_);
      if (creation != nullptr && *creation < content.stamp) content.creation = *creation;
    }
    group_.op_last = content.stamp.op;
    group_.writes.emplace_back(path_, std::move(content));
  }

  const DocumentState& current_;
  WriteGroup& group_;
  std::uint32_t next_op_;
  std::string path_;
  std::size_t depth_ = 0;
};

}  // namespace

WriteGroup DiffPut(const DocumentState& current, std::string_view base_body, const VersionVector& base_seen,
                   std::string_view body, std::uint64_t hlc, const SessionKey& session, std::uint32_t first_op) {
  WriteGroup group;
  group.hlc = hlc;
  group.session = session;
  group.op_last = first_op;
  group.seen = base_seen;
  group.life = current.life;
  if (base_body == body) return group;
  if (!current.alive()) {
    ++group.life;
    group.changes_life = true;
    group.life_op = first_op;
    Differ(current, group, first_op + 1).WriteLeaves(body);
  } else {
    Differ(current, group, first_op).DiffObjects(base_body.empty() ? "{}" : base_body, body);
  }
  return group;
}

WriteGroup MakeDelete(const DocumentState& current, std::uint64_t hlc, const SessionKey& session,
                      std::uint32_t first_op) {
  WriteGroup group;
  group.hlc = hlc;
  group.session = session;
  group.op_last = first_op;
  group.seen = current.seen;
  group.life = current.life;
  if (!current.alive()) return group;
  ++group.life;
  group.changes_life = true;
  group.life_op = first_op;
  return group;
}

}  // namespace foreshore
