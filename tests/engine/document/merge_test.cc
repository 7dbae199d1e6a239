// Goal: replicas that received the same writes hold the same bytes, the same state and the same lost values, and those
// are what the rules say.
// Method: small random histories of several replicas over a shared log (as a gateway keeps it), with pushes and pulls
// at random moments, repeats, lost acknowledgements, reopened databases, stale readers and records that went through
// their stored form; then a comparison with the model.
//
// FORESHORE_MERGE_HISTORIES sets how many, FORESHORE_MERGE_SEED the first seed (failures print theirs).
#include <doctest/doctest.h>

#include <cstdio>
#include <deque>
#include <memory>

#include "tests/engine/document/builders.h"
#include "tests/engine/document/merge_model.h"

namespace foreshore {
namespace {

std::uint64_t FromEnvironment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  std::size_t Below(std::size_t count) { return random_.Next64() % count; }
  bool Percent(std::size_t percent) { return Below(100) < percent; }

 private:
  SeededRandom random_;
};

std::string RandomValue(Dice& dice, int depth);

std::string RandomObject(Dice& dice, int depth) {
  std::string text = "{";
  for (const char* key : {"a", "b", "c", "d"}) {
    if (!dice.Percent(45)) continue;
    if (text.size() > 1) text += ",";
    text += std::string("\"") + key + "\":" + RandomValue(dice, depth);
  }
  return text + "}";
}

std::string RandomValue(Dice& dice, int depth) {
  if (depth < 3 && dice.Percent(40)) return RandomObject(dice, depth + 1);
  if (dice.Percent(10)) return "[" + std::to_string(dice.Below(9)) + ",{\"a\":1}]";
  return std::to_string(dice.Below(1000));
}

// A merge patch: few fields, some of them removals.
std::string RandomPatch(Dice& dice, int depth) {
  std::string text = "{";
  for (const char* key : {"d", "a", "c", "b"}) {
    if (!dice.Percent(30)) continue;
    if (text.size() > 1) text += ",";
    text += std::string("\"") + key + "\":";
    if (dice.Percent(25)) {
      text += "null";
    } else if (depth < 3 && dice.Percent(50)) {
      text += RandomPatch(dice, depth + 1);
    } else {
      text += RandomValue(dice, depth);
    }
  }
  return text + "}";
}

// The same members whatever their order.
std::string SortedKeys(std::string_view object) {
  std::vector<std::pair<std::string, std::string>> leaves;
  for (JsonLeaf& leaf : FlattenDocument(object)) leaves.emplace_back(std::move(leaf.path), leaf.value);
  std::sort(leaves.begin(), leaves.end());
  std::string text;
  for (const auto& [path, value] : leaves) text += path + '=' + value + '\n';
  return text;
}

ModelPath SplitPath(const std::string& path) {
  ModelPath keys(1);
  for (const char c : path) {
    if (c == kPathSeparator) {
      keys.emplace_back();
    } else {
      keys.back() += c;
    }
  }
  return keys;
}

// What travelled: groups as the code made them, and which writes that stands for.
struct LogEntry {
  std::vector<WriteGroup> groups;
  WriteSet stands_for;
};

struct Replica {
  std::uint64_t number = 0;
  std::vector<SessionKey> sessions;  // The last is open.
  std::shared_ptr<ManualClock> wall;
  std::unique_ptr<HybridClock> clock;
  bool sends_each_write = false;  // Otherwise what BuildChange makes.
  bool tells_sessions = true;     // Otherwise JoinGroup must take any session for ours.
  DocumentState state;
  std::vector<LostValue> rescued;
  std::uint64_t acknowledged_hlc = 0;
  std::size_t cursor = 0;
  std::vector<WriteGroup> unsent;  // As written.
  WriteSet known;                  // For the model.
  WriteSet known_unsent;           // Own writes, with all that they had seen.
  // A version that some caller still holds.
  std::string stale_body;
  VersionVector stale_seen;
  WriteSet stale_known;

  LocalSessions Local() const {
    return {
        [this](const SessionKey& key) { return std::find(sessions.begin(), sessions.end(), key) != sessions.end(); },
        acknowledged_hlc};
  }
};

class History {
 public:
  explicit History(std::uint64_t seed) : dice_(seed) {
    const std::size_t count = 2 + dice_.Below(3);
    for (std::size_t i = 0; i < count; ++i) {
      Replica replica;
      replica.number = i + 1;
      replica.wall = std::make_shared<ManualClock>(1'790'000'000'000 + static_cast<std::int64_t>(dice_.Below(50)));
      replica.clock = std::make_unique<HybridClock>(replica.wall, 0);
      replica.sends_each_write = dice_.Percent(40);
      replica.tells_sessions = dice_.Percent(70);
      replica.state = EmptyState();
      replicas_.push_back(std::move(replica));
      OpenSession(replicas_.back());
    }
  }

  // Empty where all is well.
  std::string Run() {
    const std::size_t steps = 6 + dice_.Below(30);
    for (std::size_t i = 0; i < steps && failure_.empty(); ++i) Step(replicas_[dice_.Below(replicas_.size())]);
    for (int round = 0; round < 2; ++round) {
      for (Replica& replica : replicas_) Push(replica, false);
      for (Replica& replica : replicas_) Pull(replica, log_.size());
    }
    if (failure_.empty()) CheckEnd();
    return failure_;
  }

  std::size_t lost_count() const { return lost_count_; }
  std::size_t overtaken_count() const { return overtaken_count_; }
  std::size_t history_count() const { return history_count_; }

 private:
  void Fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }

  void OpenSession(Replica& replica) {
    SessionKey key = TestSession(replica.number);
    key.session = replica.number * 100 + replica.sessions.size() + 1;
    replica.sessions.push_back(key);
    sessions_.AddLocal(key);
  }

  void Step(Replica& replica) {
    const std::size_t choice = dice_.Below(100);
    if (dice_.Percent(60)) replica.wall->Advance(static_cast<std::int64_t>(dice_.Below(20)));
    if (choice < 18) {
      Write(replica, RandomObject(dice_, 1), false);
    } else if (choice < 45) {
      auto patched = MergePatch(Materialise(replica.state), NormaliseDocument(RandomPatch(dice_, 1)).value());
      Write(replica, *patched, false);
    } else if (choice < 50) {
      auto patched = MergePatch(replica.stale_body, NormaliseDocument(RandomPatch(dice_, 1)).value());
      Write(replica, *patched, true);
    } else if (choice < 56) {
      Commit(replica, MakeDelete(replica.state, replica.clock->Tick(), replica.sessions.back(), 0), replica.known);
    } else if (choice < 68) {
      Push(replica, dice_.Percent(25));
    } else if (choice < 90) {
      Pull(replica, replica.cursor + 1 + dice_.Below(log_.size() + 1));
    } else if (choice < 93) {
      replica.cursor = dice_.Below(replica.cursor + 1);  // Everything from there comes again.
    } else if (choice < 95) {
      OpenSession(replica);
    } else if (choice < 97) {
      replica.stale_body = Materialise(replica.state);
      replica.stale_seen = replica.state.seen;
      replica.stale_known = replica.known;
    } else {
      Restore(replica);
    }
    if (dice_.Percent(10)) CheckAgainstModel(replica);
  }

  void Write(Replica& replica, const std::string& body, bool is_stale) {
    const std::uint64_t hlc = replica.clock->Tick();
    const SessionKey& session = replica.sessions.back();
    const std::string base = is_stale ? replica.stale_body : Materialise(replica.state);
    const bool was_alive = replica.state.alive();
    const WriteGroup group =
        DiffPut(replica.state, base, is_stale ? replica.stale_seen : replica.state.seen, body, hlc, session, 0);
    Commit(replica, group, is_stale ? replica.stale_known : replica.known);
    if (!is_stale || !was_alive) {
      const bool reads_back = SortedKeys(Materialise(replica.state)) == SortedKeys(body) || (is_stale && base == body);
      if (!reads_back) Fail("put " + body + " over " + base + " reads back " + Materialise(replica.state));
    }
    if (is_stale || !dice_.Percent(15)) return;
    // A second put in the same transaction.
    const std::string again = RandomObject(dice_, 1);
    const WriteGroup second =
        DiffPut(replica.state, Materialise(replica.state), replica.state.seen, again, hlc, session, group.op_last + 1);
    Commit(replica, second, replica.known);
    if (SortedKeys(Materialise(replica.state)) != SortedKeys(again)) Fail("second put reads back differently");
  }

  void Commit(Replica& replica, const WriteGroup& group, const WriteSet& seen) {
    if (group.empty()) return;
    const std::size_t first_number = all_.size();
    if (group.changes_life) {
      ModelWrite change;
      change.is_life_change = true;
      change.life = group.life;
      change.stamp = {group.hlc, group.session, group.life_op};
      all_.push_back(std::move(change));
    }
    for (const auto& [path, content] : group.writes) {
      all_.push_back({0,
                      false,
                      SplitPath(path),
                      content.is_tombstone,
                      content.value,
                      content.life,
                      content.stamp,
                      content.creation,
                      {}});
    }
    const WriteSet seen_before = seen;
    const WriteSet known_before = replica.known;
    replica.known_unsent |= seen_before;
    for (std::size_t number = first_number; number < all_.size(); ++number) {
      all_[number].number = number;
      all_[number].seen = seen_before;
      replica.known.set(number);
      replica.known_unsent.set(number);
    }
    replica.unsent.push_back(group);
    const std::size_t rescued_count = replica.rescued.size();
    Join(replica, group);
    if (seen_before == known_before && replica.rescued.size() > rescued_count) Fail("a writer lost what it had seen");
  }

  void Join(Replica& replica, const WriteGroup& group) {
    auto outcome =
        JoinGroup(replica.state, group, replica.rescued, replica.tells_sessions ? replica.Local() : LocalSessions{});
    if (!outcome.ok()) return Fail(outcome.status().ToString());
    for (const LostValue& value : outcome->recovered) {
      if (std::erase(replica.rescued, value) != 1) Fail("recovered a value that was not rescued");
    }
    for (LostValue& value : outcome->lost) {
      if (std::find(replica.rescued.begin(), replica.rescued.end(), value) != replica.rescued.end()) {
        Fail("lost the same value twice");
      }
      replica.rescued.push_back(std::move(value));
    }
    overtaken_count_ += replica.state.overtaken.size();
    history_count_ += replica.state.seen_history.size();
  }

  void Push(Replica& replica, bool acknowledgement_is_lost) {
    LogEntry entry;
    if (replica.sends_each_write) {
      entry.groups = replica.unsent;
    } else {
      entry.groups =
          BuildChange(replica.state, replica.rescued, replica.Local().is_local, replica.acknowledged_hlc).groups;
    }
    entry.stands_for = replica.known_unsent;
    if (entry.stands_for.any()) log_.push_back(std::move(entry));
    if (acknowledgement_is_lost) return;
    replica.acknowledged_hlc = replica.clock->last();
    replica.unsent.clear();
    replica.known_unsent.reset();
  }

  void Pull(Replica& replica, std::size_t end) {
    for (; replica.cursor < std::min(end, log_.size()); ++replica.cursor) {
      const LogEntry& entry = log_[replica.cursor];
      for (const WriteGroup& group : entry.groups) {
        replica.clock->Observe(group.hlc);
        Join(replica, group);
      }
      replica.known |= entry.stands_for;
    }
  }

  // Through the stored form and back.
  void Restore(Replica& replica) {
    if (replica.state.life == 0) return;
    const ByteString record = EncodeRecord(replica.state, Materialise(replica.state), sessions_);
    auto decoded = DecodeRecord(record, sessions_);
    if (!decoded.ok()) return Fail(decoded.status().ToString());
    if (*decoded != replica.state) Fail("a record decodes to another state");
    replica.state = std::move(*decoded);
  }

  void CheckAgainstModel(Replica& replica) {
    const MergeModel model(all_, replica.known);
    const std::string body = Materialise(replica.state);
    if (body != model.Body()) Fail("body is " + body + ", expected " + model.Body());
    std::set<Stamp> rescued;
    for (const LostValue& value : replica.rescued) rescued.insert(value.value.stamp);
    const std::set<Stamp> lost = model.Lost();
    if (rescued != lost) {
      Fail("replica " + std::to_string(replica.number) + " rescued " + std::to_string(rescued.size()) +
           " values, expected " + std::to_string(lost.size()));
    }
    lost_count_ += lost.size();
  }

  void CheckEnd() {
    for (Replica& replica : replicas_) {
      CheckAgainstModel(replica);
      Restore(replica);
      DocumentState& state = replica.state;
      DocumentState& first = replicas_.front().state;
      if (state.registers != first.registers) Fail("registers differ");
      if (state.life != first.life || state.life_stamp != first.life_stamp) Fail("lives differ");
      if (state.seen != first.seen) Fail("version vectors differ");
    }
    const DocumentState& first = replicas_.front().state;
    DocumentState newcomer = EmptyState();
    for (const WriteGroup& group : BuildFullChange(first).groups) {
      auto outcome = JoinGroup(newcomer, group, {}, {[](const SessionKey&) { return false; }, 0});
      if (!outcome.ok()) return Fail(outcome.status().ToString());
    }
    if (newcomer.registers != first.registers || newcomer.life != first.life || newcomer.seen != first.seen ||
        newcomer.life_stamp != first.life_stamp) {
      Fail("a newcomer's state differs");
    }
    if (!newcomer.overtaken.empty() || !newcomer.seen_history.empty()) Fail("a newcomer remembers what is not its own");
  }

  Dice dice_;
  std::vector<Replica> replicas_;
  std::vector<LogEntry> log_;
  std::vector<ModelWrite> all_;
  SessionTable sessions_;
  std::string failure_;
  std::size_t lost_count_ = 0;
  std::size_t overtaken_count_ = 0;
  std::size_t history_count_ = 0;
};

TEST_CASE("merge: random histories agree on every replica and with the model") {
  const std::uint64_t first_seed = FromEnvironment("FORESHORE_MERGE_SEED", 1);
  const std::uint64_t count = FromEnvironment("FORESHORE_MERGE_HISTORIES", 20'000);
  std::size_t lost_count = 0;
  std::size_t overtaken_count = 0;
  std::size_t history_count = 0;
  std::uint64_t failed_count = 0;
  for (std::uint64_t seed = first_seed; seed < first_seed + count && failed_count < 5; ++seed) {
    History history(seed);
    const std::string failure = history.Run();
    lost_count += history.lost_count();
    overtaken_count += history.overtaken_count();
    history_count += history.history_count();
    if (failure.empty()) continue;
    ++failed_count;
    FAIL_CHECK("FORESHORE_MERGE_SEED=" << seed << ": " << failure);
  }
  // The histories must reach the corners they are meant for.
  CHECK(lost_count > count);
  CHECK(overtaken_count > count / 20);
  CHECK(history_count > count / 2);
}

}  // namespace
}  // namespace foreshore
