#include "engine/document/registers.h"

#include <doctest/doctest.h>

#include <functional>

#include "storage/base/coding.h"
#include "tests/engine/document/builders.h"

namespace foreshore {
namespace {

// One device: its state of the document and its rescued values.
struct Device {
  explicit Device(std::uint64_t number) : session(TestSession(number)) {}

  WriteGroup Put(const std::string& body, std::int64_t ms) { return PutFrom(Body(), state.seen, body, ms); }
  WriteGroup PutFrom(const std::string& base, const VersionVector& seen, const std::string& body, std::int64_t ms) {
    const WriteGroup group = DiffPut(state, base, seen, NormaliseDocument(body).value(), TestHlc(ms), session, 0);
    if (!group.empty()) Join(group);
    return group;
  }
  WriteGroup Delete(std::int64_t ms) {
    const WriteGroup group = MakeDelete(state, TestHlc(ms), session, 0);
    if (!group.empty()) Join(group);
    return group;
  }
  JoinOutcome Join(const WriteGroup& group) {
    auto outcome = JoinGroup(state, group, rescued, Local());
    REQUIRE_MESSAGE(outcome.ok(), outcome.status().ToString());
    for (const LostValue& value : outcome->recovered) std::erase(rescued, value);
    rescued.insert(rescued.end(), outcome->lost.begin(), outcome->lost.end());
    return *outcome;
  }
  LocalSessions Local() const {
    return {[own = session](const SessionKey& key) { return key == own; }, acknowledged_hlc};
  }
  DocumentChange Change() const { return BuildChange(state, rescued, Local().is_local, acknowledged_hlc); }
  std::string Body() const { return Materialise(state); }
  // "path=value" of each rescued value.
  std::string Rescued() const {
    std::string text;
    for (const LostValue& value : rescued) text += PathForPeople(value.path) + "=" + value.value.value + " ";
    return text;
  }

  SessionKey session;
  DocumentState state = EmptyState();
  std::vector<LostValue> rescued;
  std::uint64_t acknowledged_hlc = 0;
};

// "path=value" of each write, "path-" for a tombstone.
std::string WritesOf(const WriteGroup& group) {
  std::string text;
  for (const auto& [path, content] : group.writes) {
    text += PathForPeople(path) + (content.is_tombstone ? "-" : "=" + content.value) + " ";
  }
  return text;
}

// Two devices that start from one document.
struct Pair {
  explicit Pair(const std::string& body) { b.Join(a.Put(body, 1)); }
  // Each device gets the other's groups.
  void Exchange(const std::vector<WriteGroup>& of_a, const std::vector<WriteGroup>& of_b) {
    for (const WriteGroup& group : of_b) a.Join(group);
    for (const WriteGroup& group : of_a) b.Join(group);
    CHECK(a.Body() == b.Body());
    CHECK(a.state.registers == b.state.registers);
    CHECK(a.state.seen == b.state.seen);
    CHECK(a.rescued.size() == b.rescued.size());
  }
  Device a{1};
  Device b{2};
};

TEST_CASE("put: a new document comes back as it was, keys in its order") {
  Device a(1);
  const std::string body = R"({"z":1,"a":{"y":[1,{"k":2}],"b":{}},"m":"x","":null,"ab":0,"é":{"":{"":1}}})";
  const WriteGroup group = a.Put(body, 1);
  CHECK(group.changes_life);
  CHECK(group.life == 1);
  CHECK(group.life_op == 0);
  CHECK(group.op_last == 7);
  CHECK(a.Body() == body);
  CHECK(a.rescued.empty());
}

TEST_CASE("put: an empty document is alive, a deleted one has no body") {
  Device a(1);
  a.Put("{}", 1);
  CHECK(a.Body() == "{}");
  CHECK(a.state.alive());
  a.Delete(2);
  CHECK(a.Body().empty());
  CHECK_FALSE(a.state.alive());
  CHECK(a.Delete(3).empty());
}

TEST_CASE("put: the same body again writes nothing, in whatever order its keys come") {
  Device a(1);
  a.Put(R"({"a":1,"b":{"c":2,"d":[1]}})", 1);
  CHECK(a.Put(R"({"a":1,"b":{"c":2,"d":[1]}})", 2).empty());
  CHECK(a.Put(R"({"b":{"d":[1],"c":2},"a":1})", 3).empty());
  CHECK(a.Body() == R"({"a":1,"b":{"c":2,"d":[1]}})");
}

TEST_CASE("put: only what differs is written") {
  const struct {
    const char* before;
    const char* after;
    const char* writes;
  } cases[] = {
      {R"({"a":1,"b":2})", R"({"a":1,"b":3})", "b=3 "},
      {R"({"a":1,"b":2})", R"({"a":1})", "b- "},
      {R"({"a":1,"b":2})", "{}", "a- b- "},
      {R"({"a":{"b":1,"c":2}})", R"({"a":{"c":2}})", "a.b- "},
      {R"({"a":{"b":1,"c":2}})", R"({"a":{}})", "a={} "},
      {R"({"a":{"b":{"c":1}}})", R"({"a":{"b":{}}})", "a.b={} "},
      {R"({"a":{"b":{"c":1},"d":2}})", R"({"x":1})", "x=1 a- "},
      {R"({"a":1})", R"({"a":{"b":2,"c":{"d":3}}})", "a={} a.b=2 a.c.d=3 "},
      {R"({"a":[1]})", R"({"a":{}})", "a={} "},
      {R"({"a":{}})", R"({"a":{"b":1}})", "a.b=1 "},
      {R"({"a":{"b":1}})", R"({"a":5})", "a=5 "},
      {R"({"a":[1,2]})", R"({"a":[1,2,3]})", "a=[1,2,3] "},
      {R"({"a":1})", R"({"a":1.0})", "a=1.0 "},
      {R"({})", R"({"a":{"b":{}}})", "a.b={} "},
      {R"({"a":1,"b":{"x":1}})", R"({"c":1,"b":{"y":1},"a":2})", "c=1 b.y=1 b.x- a=2 "},
  };
  for (const auto& c : cases) {
    CAPTURE(c.before);
    CAPTURE(c.after);
    Device a(1);
    a.Put(c.before, 1);
    CHECK(WritesOf(a.Put(c.after, 2)) == c.writes);
    CHECK(a.rescued.empty());
    // What it reads back as writes nothing.
    CHECK(a.Put(c.after, 3).empty());
  }
}

TEST_CASE("put: a changed key keeps its place, a removed one comes back last") {
  Device a(1);
  a.Put(R"({"a":1,"b":{"x":1,"y":2},"c":3})", 1);
  a.Put(R"({"a":9,"b":{"x":1,"y":2},"c":3})", 2);
  CHECK(a.Body() == R"({"a":9,"b":{"x":1,"y":2},"c":3})");
  a.Put(R"({"a":9,"b":5,"c":3})", 3);
  CHECK(a.Body() == R"({"a":9,"b":5,"c":3})");
  a.Put(R"({"a":9,"b":{"z":1},"c":3})", 4);
  CHECK(a.Body() == R"({"a":9,"b":{"z":1},"c":3})");
  a.Put(R"({"a":9,"b":{},"c":3})", 5);
  CHECK(a.Body() == R"({"a":9,"b":{},"c":3})");
  a.Put(R"({"b":{},"c":3})", 6);
  a.Put(R"({"a":9,"b":{},"c":3})", 7);
  CHECK(a.Body() == R"({"b":{},"c":3,"a":9})");
}

TEST_CASE("put: an object's key keeps its place when its first field is removed and another comes") {
  Device a(1);
  a.Put(R"({"a":{"x":1,"y":2},"b":3})", 1);
  a.Put(R"({"a":{"y":2},"b":3})", 2);
  CHECK(a.Body() == R"({"a":{"y":2},"b":3})");
  a.Put(R"({"a":{"y":2,"z":1},"b":3})", 3);
  CHECK(a.Body() == R"({"a":{"y":2,"z":1},"b":3})");
}

TEST_CASE("merge: two devices change two fields and both stay") {
  Pair pair(R"({"a":1,"b":2})");
  const WriteGroup of_a = pair.a.Put(R"({"a":10,"b":2})", 2);
  const WriteGroup of_b = pair.b.Put(R"({"a":1,"b":20})", 3);
  pair.Exchange({of_a}, {of_b});
  CHECK(pair.a.Body() == R"({"a":10,"b":20})");
  CHECK(pair.a.rescued.empty());
}

TEST_CASE("merge: replacing a document does not erase another device's field") {
  Pair pair(R"({"a":1,"b":2,"c":3})");
  const WriteGroup of_a = pair.a.Put(R"({"a":5})", 2);
  const WriteGroup of_b = pair.b.Put(R"({"a":1,"b":2,"c":3,"d":{"e":4}})", 3);
  pair.Exchange({of_a}, {of_b});
  CHECK(pair.a.Body() == R"({"a":5,"d":{"e":4}})");
}

TEST_CASE("merge: of two values for one field the later stays and the other is rescued on both") {
  Pair pair(R"({"a":1})");
  const WriteGroup of_a = pair.a.Put(R"({"a":2})", 2);
  const WriteGroup of_b = pair.b.Put(R"({"a":3})", 3);
  pair.Exchange({of_a}, {of_b});
  CHECK(pair.a.Body() == R"({"a":3})");
  CHECK(pair.a.Rescued() == "a=2 ");
  CHECK(pair.b.Rescued() == "a=2 ");
  // Whoever writes there next has seen both: nothing is left to rescue.
  pair.Exchange({pair.a.Put(R"({"a":4})", 4)}, {});
  CHECK(pair.a.Rescued().empty());
  CHECK(pair.b.Rescued().empty());
}

TEST_CASE("merge: at equal times the session decides, the same way on both") {
  Pair pair(R"({"a":1})");
  const WriteGroup of_a = pair.a.Put(R"({"a":2})", 2);
  const WriteGroup of_b = pair.b.Put(R"({"a":3})", 2);
  pair.Exchange({of_a}, {of_b});
  CHECK(pair.a.Body() == R"({"a":3})");
  CHECK(pair.a.Rescued() == "a=2 ");
}

TEST_CASE("merge: a field added below a value that another device replaced by a scalar makes it an object") {
  Pair pair(R"({"a":{"x":1}})");
  const WriteGroup of_a = pair.a.Put(R"({"a":5})", 2);
  const WriteGroup of_b = pair.b.Put(R"({"a":{"x":1,"y":2}})", 3);
  pair.Exchange({of_a}, {of_b});
  CHECK(pair.a.Body() == R"({"a":{"y":2}})");
  CHECK(pair.a.Rescued() == "a=5 ");
  // The scalar was kept below; it comes back when a device that never saw it removes the field.
  const WriteGroup removal = pair.b.Put(R"({"a":{}})", 4);
  CHECK(WritesOf(removal) == "a={} ");
  pair.Exchange({}, {removal});
  CHECK(pair.a.Body() == R"({"a":{}})");
  CHECK(pair.a.Rescued().empty());
}

TEST_CASE("merge: a hidden scalar shows again once the fields below it are gone") {
  Pair pair(R"({"a":{"x":1,"y":2}})");
  Device c(3);
  for (const WriteGroup& group : BuildFullChange(pair.a.state).groups) c.Join(group);
  const WriteGroup scalar = pair.a.Put(R"({"a":5})", 2);
  const WriteGroup field = pair.b.Put(R"({"a":{"x":1,"y":2,"z":3}})", 3);
  pair.Exchange({scalar}, {field});
  CHECK(pair.a.Body() == R"({"a":{"z":3}})");
  CHECK(pair.a.Rescued() == "a=5 ");
  // c saw the field and not the scalar, and removes the field alone.
  c.Join(field);
  const WriteGroup removal = c.Put(R"({"a":{"x":1,"y":2}})", 4);
  CHECK(WritesOf(removal) == "a.z- ");
  const JoinOutcome outcome = pair.a.Join(removal);
  CHECK(outcome.recovered.size() == 1);
  CHECK(pair.a.Body() == R"({"a":5})");
  CHECK(pair.a.Rescued().empty());
}

TEST_CASE("merge: removing an object hides older fields that arrive later, and rescues unseen ones") {
  Pair pair(R"({"a":{"x":1},"b":1})");
  const WriteGroup of_b = pair.b.Put(R"({"a":{"x":2},"b":1})", 2);
  const WriteGroup of_a = pair.a.Put(R"({"b":1})", 3);
  pair.Exchange({of_a}, {of_b});
  CHECK(pair.a.Body() == R"({"b":1})");
  CHECK(pair.a.Rescued() == "a.x=2 ");
}

TEST_CASE("merge: an edit concurrent with a deletion is rescued, and the deletion stays") {
  Pair pair(R"({"a":1,"b":2})");
  const WriteGroup of_a = pair.a.Delete(2);
  const WriteGroup of_b = pair.b.Put(R"({"a":1,"b":3})", 9);
  pair.Exchange({of_a}, {of_b});
  CHECK(pair.a.Body().empty());
  CHECK(pair.a.Rescued() == "b=3 ");
}

TEST_CASE("merge: a re-created document holds nothing of its former life") {
  Pair pair(R"({"a":1,"b":2})");
  std::vector<WriteGroup> of_a = {pair.a.Delete(2), pair.a.Put(R"({"c":1})", 3)};
  const WriteGroup of_b = pair.b.Put(R"({"a":7,"b":2})", 9);
  CHECK(of_a[1].life == 3);
  pair.Exchange(of_a, {of_b});
  CHECK(pair.a.Body() == R"({"c":1})");
  CHECK(pair.a.Rescued() == "a=7 ");
}

TEST_CASE("merge: two devices create one id apart and their fields join") {
  Device a(1);
  Device b(2);
  const WriteGroup of_a = a.Put(R"({"a":1,"x":1})", 1);
  const WriteGroup of_b = b.Put(R"({"b":2,"x":2})", 2);
  a.Join(of_b);
  b.Join(of_a);
  CHECK(a.Body() == R"({"a":1,"b":2,"x":2})");
  CHECK(b.Body() == a.Body());
  CHECK(a.Rescued() == "x=1 ");
  CHECK(b.Rescued() == "x=1 ");
}

TEST_CASE("merge: a caller that read an older version loses nothing it had not seen") {
  Device a(1);
  a.Put(R"({"a":1,"b":1})", 1);
  const std::string old_body = a.Body();
  const VersionVector old_seen = a.state.seen;
  a.Put(R"({"a":2,"b":2})", 2);
  const WriteGroup stale = a.PutFrom(old_body, old_seen, R"({"a":1,"b":9})", 3);
  CHECK(WritesOf(stale) == "b=9 ");
  CHECK(a.Body() == R"({"a":2,"b":9})");
  CHECK(a.Rescued() == "b=2 ");
  // A peer that gets all at once agrees.
  Device b(2);
  for (const WriteGroup& group : a.Change().groups) b.Join(group);
  CHECK(b.Body() == a.Body());
  CHECK(b.Rescued() == "b=2 ");
}

TEST_CASE("merge: a put over a document deleted meanwhile re-creates all of it") {
  Device a(1);
  a.Put(R"({"a":1,"b":1})", 1);
  const std::string old_body = a.Body();
  const VersionVector old_seen = a.state.seen;
  a.Delete(2);
  CHECK(a.PutFrom(old_body, old_seen, old_body, 3).empty());
  const WriteGroup group = a.PutFrom(old_body, old_seen, R"({"a":1,"b":2})", 4);
  CHECK(group.life == 3);
  CHECK(a.Body() == R"({"a":1,"b":2})");
}

TEST_CASE("merge: the examples of docs/merge.md") {
  Pair first(R"({"state":"ok","floor":2})");
  const WriteGroup hot = first.a.Put(R"({"state":"hot","floor":2})", 1000);
  const WriteGroup off = first.b.Put(R"({"state":"off","floor":2})", 1005);
  const WriteGroup floor = first.b.Put(R"({"state":"off","floor":3})", 1006);
  first.Exchange({hot}, {off, floor});
  CHECK(first.a.Body() == R"({"state":"off","floor":3})");
  CHECK(first.b.Rescued() == "state=\"hot\" ");
  first.Exchange({first.a.Put(R"({"state":"checked","floor":3})", 1010)}, {});
  CHECK(first.b.Rescued().empty());

  for (const bool removed_later : {false, true}) {
    Pair second(R"({"pump":{"id":7,"speed":40}})");
    const WriteGroup removal = second.a.Put("{}", removed_later ? 1104 : 1100);
    const WriteGroup addition = second.b.Put(R"({"pump":{"id":7,"speed":50,"oil":"low"}})", 1102);
    second.Exchange({removal}, {addition});
    CHECK(second.a.Body() == (removed_later ? "{}" : R"({"pump":{"speed":50,"oil":"low"}})"));
    CHECK(second.a.rescued.size() == (removed_later ? 2 : 0));
  }
}

TEST_CASE("join: a repeat changes nothing, and concurrent groups may come in either order") {
  Pair pair(R"({"a":1})");
  const WriteGroup of_a = pair.a.Put(R"({"a":2,"k":1})", 2);
  const WriteGroup of_b = pair.b.Put(R"({"a":{"x":1}})", 3);
  pair.Exchange({of_a}, {of_b});
  const DocumentState before = pair.a.state;
  for (const WriteGroup& group : {of_a, of_b}) {
    const JoinOutcome outcome = pair.a.Join(group);
    CHECK_FALSE(outcome.changed);
    CHECK(outcome.lost.empty());
  }
  CHECK(pair.a.state == before);
}

TEST_CASE("change: a value overwritten by its own writer before it was sent is superseded, not lost") {
  Device a(1);
  a.Put(R"({"a":1,"b":1})", 1);
  a.Put(R"({"a":2,"b":1})", 2);
  a.Put(R"({"a":3,"b":1})", 3);
  const DocumentChange change = a.Change();
  REQUIRE(change.groups.size() == 2);
  CHECK(WritesOf(change.groups[0]) == "b=1 ");
  CHECK(change.groups[0].changes_life);
  CHECK(WritesOf(change.groups[1]) == "a=3 ");
  Device b(2);
  for (const WriteGroup& group : change.groups) b.Join(group);
  CHECK(b.Body() == a.Body());
  CHECK(b.state.seen == a.state.seen);
  CHECK(b.rescued.empty());
}

TEST_CASE("change: what a peer has acknowledged is not sent again") {
  Device a(1);
  a.Put(R"({"a":1,"b":1})", 1);
  a.acknowledged_hlc = TestHlc(1);
  CHECK(a.Change().groups.empty());
  a.Put(R"({"a":1,"b":2})", 2);
  const DocumentChange change = a.Change();
  REQUIRE(change.groups.size() == 1);
  CHECK_FALSE(change.groups[0].changes_life);
  CHECK(WritesOf(change.groups[0]) == "b=2 ");
  CHECK(change.id == "d");
}

TEST_CASE("change: a write says what it had seen, though a remote one arrived before it was sent") {
  Pair pair(R"({"a":1,"b":1})");
  pair.a.acknowledged_hlc = TestHlc(1);
  const WriteGroup of_a = pair.a.Put(R"({"a":2,"b":1})", 2);
  const WriteGroup of_b = pair.b.Put(R"({"a":3,"b":1})", 3);
  pair.a.Join(of_b);
  CHECK(pair.a.Body() == R"({"a":3,"b":1})");
  const WriteGroup later = pair.a.Put(R"({"a":3,"b":4})", 4);
  // `a` lost its own value, so the change still carries it, in its own group.
  const DocumentChange change = pair.a.Change();
  REQUIRE(change.groups.size() == 2);
  CHECK(WritesOf(change.groups[0]) == "a=2 ");
  CHECK_FALSE(change.groups[0].seen.Contains(of_b.dot()));
  CHECK(change.groups[1].seen.Contains(of_b.dot()));
  for (const WriteGroup& group : change.groups) pair.b.Join(group);
  CHECK(pair.b.Rescued() == "a=2 ");
  CHECK(pair.b.state.registers == pair.a.state.registers);
  CHECK(pair.b.state.seen == pair.a.state.seen);
}

TEST_CASE("change: a removal that lost against a concurrent one still says what it removed") {
  Pair pair(R"({"k":1})");
  pair.a.acknowledged_hlc = TestHlc(1);
  Device c(3);
  for (const WriteGroup& group : BuildFullChange(pair.a.state).groups) c.Join(group);
  const WriteGroup of_c = c.Put(R"({"k":1,"a":{"x":7}})", 2);
  pair.a.Join(of_c);
  const WriteGroup removal = pair.a.Put(R"({"k":1})", 3);  // Had seen 7.
  CHECK(WritesOf(removal) == "a- ");
  const WriteGroup rival = pair.b.Put(R"({"k":1,"a":4})", 4);  // Had not.
  pair.b.Join(of_c);
  CHECK(pair.b.Rescued() == "a.x=7 ");
  pair.a.Join(rival);
  CHECK(pair.a.rescued.empty());
  CHECK(pair.a.state.overtaken.size() == 1);
  for (const WriteGroup& group : pair.a.Change().groups) pair.b.Join(group);
  CHECK(pair.b.rescued.empty());
  // Once acknowledged, it is forgotten with the next write.
  pair.a.acknowledged_hlc = TestHlc(5);
  pair.a.Put(R"({"k":2,"a":4})", 6);
  CHECK(pair.a.state.overtaken.empty());
  CHECK(pair.a.state.seen_history.empty());
}

TEST_CASE("change: of a document that never existed there is nothing to send") {
  Device a(1);
  CHECK(a.Change().groups.empty());
  CHECK(BuildFullChange(a.state).groups.empty());
}

TEST_CASE("full change: a deleted document stays deleted for a newcomer") {
  Device a(1);
  a.Put(R"({"a":1})", 1);
  const WriteGroup edit = a.Put(R"({"a":2})", 2);
  a.Delete(3);
  Device b(2);
  for (const WriteGroup& group : BuildFullChange(a.state).groups) b.Join(group);
  CHECK(b.state.life == 2);
  CHECK_FALSE(b.Join(edit).changed);
}

TEST_CASE("rescue id: differs with each of its parts and never changes") {
  const Stamp stamp{TestHlc(1), TestSession(1), 2};
  const ByteString id = RescueId("notes", "d", P("a.b"), stamp);
  CHECK(id.size() == 32);
  CHECK(ToHex(id) == "b31c037a95fd4648365b3b7a92b7d05e02120de39219ed38fb5bb1c5fced8f70");
  Stamp other = stamp;
  ++other.op;
  CHECK(RescueId("notes", "d", P("a.b"), other) != id);
  CHECK(RescueId("note", "sd", P("a.b"), stamp) != id);
  CHECK(RescueId("notes", "d", P("a.c"), stamp) != id);
}

TEST_CASE("join: a group that contradicts itself is refused and changes nothing") {
  Device a(1);
  a.Put(R"({"a":1})", 1);
  const DocumentState before = a.state;
  WriteGroup good = DiffPut(a.state, a.Body(), a.state.seen, R"({"a":2,"b":3})", TestHlc(2), TestSession(2), 0);
  const std::pair<const char*, std::function<void(WriteGroup&)>> cases[] = {
      {"its stamp is zero", [](WriteGroup& g) { g.hlc = 0; }},
      {"its stamp is zero", [](WriteGroup& g) { g.session.session = 0; }},
      {"life is 0", [](WriteGroup& g) { g.life = 0; }},
      {"life is 4294967295", [](WriteGroup& g) { g.life = 0xFFFFFFFF; }},
      {"not one of its group's", [](WriteGroup& g) { g.changes_life = true, g.life_op = 9; }},
      {"not one of its group's", [](WriteGroup& g) { g.op_last = 0; }},
      {"not one of its group's", [](WriteGroup& g) { g.writes[0].second.stamp.hlc += 1; }},
      {"not one of its group's", [](WriteGroup& g) { g.writes[0].second.stamp.session = TestSession(5); }},
      {"two writes have one stamp", [](WriteGroup& g) { g.writes[0].second.stamp.op = g.writes[1].second.stamp.op; }},
      {"written in life 2", [](WriteGroup& g) { g.life = 2, g.writes[0].second.life = 2; }},
      {"written in life 3", [](WriteGroup& g) { g.writes[0].second.life = 3; }},
      {"younger than its value", [](WriteGroup& g) { g.writes[0].second.creation.hlc = TestHlc(9); }},
      {"a tombstone has a value", [](WriteGroup& g) { g.writes[1].second.is_tombstone = true; }},
      {"a tombstone keeps the age",
       [](WriteGroup& g) { g.writes[0].second.is_tombstone = true, g.writes[0].second.value.clear(); }},
      {"JSON: byte 0", [](WriteGroup& g) { g.writes[0].second.value = ""; }},
      {"JSON: byte 4", [](WriteGroup& g) { g.writes[0].second.value = "[1,2"; }},
      {"not in normal form", [](WriteGroup& g) { g.writes[0].second.value = "[1, 2]"; }},
      {"an object with fields", [](WriteGroup& g) { g.writes[0].second.value = R"({"a":1})"; }},
      {"limit is 512", [](WriteGroup& g) { g.writes[0].first = std::string(513, 'a'); }},
      {"levels deep", [](WriteGroup& g) { g.writes[0].first = std::string(64, kPathSeparator); }},
      {"levels deep",
       [](WriteGroup& g) {
         g.writes[0].first = P("a.b");
         g.writes[0].second.value = std::string(63, '[') + std::string(63, ']');
       }},
      {"expected UTF-8", [](WriteGroup& g) { g.writes[0].first = "a\x80"; }},
  };
  for (const auto& [message, damage] : cases) {
    CAPTURE(message);
    WriteGroup bad = good;
    damage(bad);
    const auto outcome = JoinGroup(a.state, bad, {}, {});
    REQUIRE_FALSE(outcome.ok());
    CHECK(outcome.status().code() == ErrorCode::kInvalidArgument);
    CHECK_MESSAGE(outcome.status().message().find(message) != std::string::npos, outcome.status().message());
    CHECK(a.state == before);
  }
  CHECK(JoinGroup(a.state, good, {}, {}).ok());
}

}  // namespace
}  // namespace foreshore
