#include <algorithm>

#include "engine/document/json.h"
#include "engine/document/json_walk.h"
#include "engine/document/registers_internal.h"

namespace foreshore {
namespace {

// No document is deleted and re-created so often; the bound keeps the count from running over.
constexpr std::uint32_t kLifeMax = 1 << 30;

Status Refuse(const DocumentState& state, const std::string& what) {
  return Status::InvalidArgument("document \"" + state.id + "\": change: " + what);
}

// How many containers of a JSON text are open at once, at most. Any bytes are safe.
std::size_t NestingOf(std::string_view value) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  for (std::size_t i = 0; i < value.size();) {
    if (value[i] == '"') {
      i = SkipStringToken(value, i);
      continue;
    }
    if (value[i] == '[' || value[i] == '{') deepest = std::max(deepest, ++depth);
    if ((value[i] == ']' || value[i] == '}') && depth > 0) --depth;
    ++i;
  }
  return deepest;
}

Status ValidateWrite(const DocumentState& state, const WriteGroup& group, const std::string& path,
                     const Register& content) {
  const auto refuse = [&](const std::string& what) {
    return Refuse(state, "field \"" + PathForPeople(path.substr(0, kPathBytesMax)) + "\": " + what);
  };
  if (path.size() > kPathBytesMax) {
    return refuse("path has " + std::to_string(path.size()) + " bytes, limit is " + std::to_string(kPathBytesMax));
  }
  const auto key_count = static_cast<std::size_t>(std::count(path.begin(), path.end(), kPathSeparator)) + 1;
  const std::size_t depth = key_count + NestingOf(content.value);
  if (depth > kDocumentDepthMax) {
    return refuse("is " + std::to_string(depth) + " levels deep, limit is " + std::to_string(kDocumentDepthMax));
  }
  if (content.life > group.life || content.life % 2 == 0) {
    return refuse("written in life " + std::to_string(content.life) + ", expected an odd one up to " +
                  std::to_string(group.life));
  }
  if (content.stamp.hlc != group.hlc || content.stamp.session != group.session || content.stamp.op > group.op_last) {
    return refuse("its stamp is not one of its group's");
  }
  if (content.creation > content.stamp) return refuse("its key is younger than its value");
  if (content.is_tombstone) {
    if (content.creation != content.stamp)
      return refuse("a tombstone keeps the age of its key, expected its own stamp");
    return content.value.empty() ? Status::Ok() : refuse("a tombstone has a value, expected none");
  }
  auto normalised = NormaliseValue(content.value);
  if (!normalised.ok()) return refuse(normalised.status().message());
  if (*normalised != content.value) return refuse("its value is not in normal form");
  if (content.value.front() == '{' && content.value != "{}") {
    return refuse("found an object with fields, expected its fields one by one");
  }
  return Status::Ok();
}

// The keys of `path` as UTF-8; checked through the validator, quotes around each.
Status ValidatePathText(const DocumentState& state, std::string_view path) {
  while (true) {
    const std::size_t end = std::min(path.find(kPathSeparator), path.size());
    std::string token;
    AppendJsonString(token, path.substr(0, end));
    auto normalised = NormaliseValue(token);
    if (!normalised.ok()) return Refuse(state, "key of a field: " + normalised.status().message());
    if (end == path.size()) return Status::Ok();
    path.remove_prefix(end + 1);
  }
}

Status ValidateGroup(const DocumentState& state, const WriteGroup& group) {
  if (group.session.session == 0 || group.hlc == 0) return Refuse(state, "its stamp is zero");
  if (group.life == 0 || group.life > kLifeMax) {
    return Refuse(state, "its life is " + std::to_string(group.life) + ", expected 1 to " + std::to_string(kLifeMax));
  }
  if (group.changes_life && group.life_op > group.op_last) return Refuse(state, "its stamp is not one of its group's");
  std::vector<std::uint32_t> ops;
  if (group.changes_life) ops.push_back(group.life_op);
  for (const auto& [path, content] : group.writes) {
    FORESHORE_RETURN_IF_ERROR(ValidateWrite(state, group, path, content));
    FORESHORE_RETURN_IF_ERROR(ValidatePathText(state, path));
    ops.push_back(content.stamp.op);
  }
  std::sort(ops.begin(), ops.end());
  if (std::adjacent_find(ops.begin(), ops.end()) != ops.end()) return Refuse(state, "two writes have one stamp");
  return Status::Ok();
}

Stamp LifeStampOf(const WriteGroup& group) {
  return {group.hlc, group.session, group.life_op};
}

// What the writes of one group supersede.
class Superseder {
 public:
  explicit Superseder(const WriteGroup& group) : group_(group) {
    for (const auto& [path, content] : group.writes) newest_.emplace_back(path, content.stamp);
    std::sort(newest_.begin(), newest_.end());
  }

  // Whether a write covers what stands at `path` with `life` and `stamp`, and its writer had seen it. (A vector may
  // say more than "before the write"; nothing can have been seen before it was written.)
  bool Supersedes(std::string_view path, std::uint32_t life, const Stamp& stamp) const {
    if (!group_.seen.Contains(stamp)) return false;
    if (group_.changes_life && life < group_.life && stamp < LifeStampOf(group_)) return true;
    for (std::size_t end = 0; end != std::string_view::npos;) {
      end = path.find(kPathSeparator, end);
      if (IsOlderThanWriteAt(path.substr(0, end), stamp)) return true;
      if (end != std::string_view::npos) ++end;
    }
    return false;
  }

 private:
  bool IsOlderThanWriteAt(std::string_view path, const Stamp& stamp) const {
    // The first write at `path` that is newer, if the next one after (path, stamp) still is at `path`.
    auto found = std::upper_bound(newest_.begin(), newest_.end(), std::pair(path, stamp));
    return found != newest_.end() && found->first == path;
  }

  const WriteGroup& group_;
  std::vector<std::pair<std::string_view, Stamp>> newest_;  // Sorted.
};

// One call of JoinGroup.
class Joiner {
 public:
  Joiner(DocumentState& state, const WriteGroup& group, const std::vector<LostValue>& rescued,
         const LocalSessions& local)
      : state_(state), group_(group), rescued_(rescued), local_(local), superseder_(group) {}

  JoinOutcome Run() {
    visible_before_ = VisibleStamps();
    RememberSeen();
    ForgetOvertaken();
    MergeLife();
    for (const auto& [path, content] : group_.writes) MergeWrite(path, content);
    DropHidden();
    state_.seen.Join(group_.seen);
    state_.seen.Add(group_.dot());
    ReportLost();
    outcome_.changed = true;
    return std::move(outcome_);
  }

 private:
  bool MayBeOurs(const SessionKey& session, std::uint64_t hlc) const {
    return hlc > local_.acknowledged_hlc && (!local_.is_local || local_.is_local(session));
  }

  // Sorted stamps of the values that the body shows; a stamp names one write.
  std::vector<Stamp> VisibleStamps() const {
    const auto order = LiveRegistersInTreeOrder(state_);
    std::vector<Stamp> stamps;
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (HoldsValue(*order[i].content) && IsLeaf(order, i)) stamps.push_back(order[i].content->stamp);
    }
    std::sort(stamps.begin(), stamps.end());
    return stamps;
  }

  // Keeps what our unacknowledged writes had seen, where this group makes `seen` say more or says less itself.
  void RememberSeen() {
    auto& history = state_.seen_history;
    std::erase_if(history, [this](const auto& entry) { return entry.hlc_boundary <= local_.acknowledged_hlc; });
    if (group_.seen == state_.seen) return;  // The next local write, or the first remote one on top of all we have.
    std::uint64_t boundary = history.empty() ? 0 : history.back().hlc_boundary;
    std::uint64_t last_ours = 0;
    for (const auto& entry : state_.seen.entries()) {
      if (MayBeOurs(entry.session, entry.hlc)) last_ours = std::max(last_ours, entry.hlc);
    }
    if (last_ours > boundary) {
      history.push_back({last_ours, state_.seen});
      boundary = last_ours;
    }
    // A local write whose caller had read an older version.
    if (group_.hlc > boundary && MayBeOurs(group_.session, group_.hlc)) history.push_back({group_.hlc, group_.seen});
    DropIdleHistory();
  }

  // Entries that no remaining write falls under.
  void DropIdleHistory() {
    if (state_.seen_history.size() < kHistoryWorthSearching) return;
    std::vector<std::uint64_t> times = {state_.life_stamp.hlc, group_.hlc};
    for (const auto& [path, content] : state_.registers) times.push_back(content.stamp.hlc);
    for (const auto& entry : state_.overtaken) times.push_back(entry.write.stamp.hlc);
    for (const auto& value : rescued_) times.push_back(value.value.stamp.hlc);
    std::sort(times.begin(), times.end());
    std::uint64_t previous = 0;
    std::erase_if(state_.seen_history, [&](const auto& entry) {
      auto first = std::upper_bound(times.begin(), times.end(), previous);
      const bool is_idle = first == times.end() || *first > entry.hlc_boundary;
      previous = entry.hlc_boundary;
      return is_idle;
    });
  }

  // Acknowledged ones, and those that this group now speaks for.
  void ForgetOvertaken() {
    std::erase_if(state_.overtaken, [this](const DocumentState::Overtaken& entry) {
      const Stamp& stamp = entry.write.stamp;
      if (stamp.hlc <= local_.acknowledged_hlc) return true;
      if (!entry.is_life_change) return superseder_.Supersedes(entry.path, entry.write.life, stamp);
      return group_.changes_life && group_.life > entry.write.life && group_.seen.Contains(stamp);
    });
  }

  void MergeLife() {
    if (!group_.changes_life) {
      // The change of life that these writes follow was overtaken before it was sent; its rival is still to come.
      for (const auto& [path, content] : group_.writes) {
        if (content.life > state_.life) ChangeLife(content.life, Stamp{});
      }
      return;
    }
    const Stamp stamp = LifeStampOf(group_);
    if (group_.life > state_.life || (group_.life == state_.life && stamp > state_.life_stamp)) {
      ChangeLife(group_.life, stamp);
    } else {
      OvertakeLife(group_.life, stamp);
    }
  }

  void ChangeLife(std::uint32_t life, const Stamp& stamp) {
    const bool is_seen = group_.changes_life && life > state_.life && group_.seen.Contains(state_.life_stamp);
    if (!is_seen) OvertakeLife(state_.life, state_.life_stamp);
    state_.life = life;
    state_.life_stamp = stamp;
  }

  void OvertakeLife(std::uint32_t life, const Stamp& stamp) {
    if (stamp.hlc == 0 || !MayBeOurs(stamp.session, stamp.hlc)) return;
    Register change;
    change.life = life;
    change.stamp = stamp;
    state_.overtaken.push_back({true, {}, std::move(change)});
  }

  void MergeWrite(const std::string& path, const Register& content) {
    auto [place, is_new] = state_.registers.try_emplace(path, content);
    if (is_new) return;
    if (IsNewer(content, place->second)) {
      Drop(path, std::move(place->second));
      place->second = content;
    } else {
      Drop(path, content);
    }
  }

  void DropHidden() {
    for (auto place = state_.registers.begin(); place != state_.registers.end();) {
      if (place->second.life < state_.life) {
        Drop(place->first, std::move(place->second));
        place = state_.registers.erase(place);
      } else {
        ++place;
      }
    }
    // A register that hides others may be hidden itself; then the one above it hides them too, so order is free.
    for (auto place = state_.registers.begin(); place != state_.registers.end();) {
      if (IsHiddenByAncestor(state_.registers, place->first, place->second.stamp)) {
        Drop(place->first, std::move(place->second));
        place = state_.registers.erase(place);
      } else {
        ++place;
      }
    }
  }

  // `content` can never be seen again.
  void Drop(const std::string& path, Register content) {
    if (superseder_.Supersedes(path, content.life, content.stamp)) return;
    if (HoldsValue(content)) {
      if (WasVisible(content) || IsIncoming(content)) AddLost(path, content);
    } else if (MayBeOurs(content.stamp.session, content.stamp.hlc)) {
      state_.overtaken.push_back({false, path, std::move(content)});
    }
  }

  // Values that stay in the state and that a field below them hides from now on; and what needs no rescue any more.
  void ReportLost() {
    const std::vector<Stamp> visible = VisibleStamps();
    const auto is_visible = [&visible](const Stamp& stamp) {
      return std::binary_search(visible.begin(), visible.end(), stamp);
    };
    for (const auto& [path, content] : state_.registers) {
      if (!HoldsValue(content) || is_visible(content.stamp)) continue;
      if (WasVisible(content) || IsIncoming(content)) AddLost(path, content);
    }
    for (const LostValue& value : rescued_) {
      const Stamp& stamp = value.value.stamp;
      if (is_visible(stamp) || superseder_.Supersedes(value.path, value.value.life, stamp)) {
        outcome_.recovered.push_back(value);
      }
    }
  }

  void AddLost(const std::string& path, const Register& content) {
    LostValue value{path, content};
    if (std::find(rescued_.begin(), rescued_.end(), value) == rescued_.end()) outcome_.lost.push_back(std::move(value));
  }

  bool WasVisible(const Register& content) const {
    return std::binary_search(visible_before_.begin(), visible_before_.end(), content.stamp);
  }
  bool IsIncoming(const Register& content) const {
    if (content.stamp.hlc != group_.hlc || content.stamp.session != group_.session) return false;
    return std::any_of(group_.writes.begin(), group_.writes.end(),
                       [&](const auto& write) { return write.second.stamp == content.stamp; });
  }

  static constexpr std::size_t kHistoryWorthSearching = 4;

  DocumentState& state_;
  const WriteGroup& group_;
  const std::vector<LostValue>& rescued_;
  const LocalSessions& local_;
  Superseder superseder_;
  std::vector<Stamp> visible_before_;
  JoinOutcome outcome_;
};

}  // namespace

Result<JoinOutcome> JoinGroup(DocumentState& state, const WriteGroup& group, const std::vector<LostValue>& rescued,
                              const LocalSessions& local) {
  FORESHORE_RETURN_IF_ERROR(ValidateGroup(state, group));
  if (state.seen.Contains(group.dot())) return JoinOutcome{};  // A repeat.
  return Joiner(state, group, rescued, local).Run();
}

}  // namespace foreshore
