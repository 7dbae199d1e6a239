#include "engine/document/registers.h"

#include <doctest/doctest.h>

#include "tests/engine/document/builders.h"

namespace foreshore {
namespace {

// One device: its state of the document, its rescued values and its clock.
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

  SessionKey session;
  DocumentState state = EmptyState();
  std::vector<LostValue> rescued;
  std::uint64_t acknowledged_hlc = 0;
};

TEST_CASE("put: a new document comes back as it was, keys in its order") {
  Device a(1);
  const std::string body = R"({"z":1,"a":{"y":[1,{"k":2}],"b":{}},"m":"x","":null})";
  const WriteGroup group = a.Put(body, 1);
  CHECK(group.changes_life);
  CHECK(group.life == 1);
  CHECK(group.op_last == 5);
  CHECK(a.Body() == body);
  CHECK(a.rescued.empty());
}

}  // namespace
}  // namespace foreshore
