#include "engine/document/record.h"

#include <doctest/doctest.h>

#include "tests/engine/document/builders.h"

namespace foreshore {
namespace {

TEST_CASE("new document: the fast path writes the bytes of the general path") {
  for (const char* body :
       {"{}", R"({"a":1})", R"({"a":{"b":{},"c":[1,{"x":2}],"d":{"e":"t:{"}},"f":"q\"{:","g":[]})"}) {
    CAPTURE(body);
    for (const std::uint32_t first_op : {0u, 6u, 7u, 1000u}) {
      SessionTable sessions;
      sessions.AddLocal(TestSession(9));
      sessions.AddLocal(TestSession(1));
      DocumentState state = EmptyState("some id");
      const WriteGroup group = DiffPut(state, "", state.seen, body, TestHlc(5) + 3, TestSession(1), first_op);
      REQUIRE(JoinGroup(state, group, {}).ok());
      const ByteString general = EncodeRecord(state, Materialise(state), sessions);
      const NewRecord direct = EncodeNewDocument("some id", body, TestHlc(5) + 3, TestSession(1), first_op, sessions);
      CHECK(direct.record == general);
      CHECK(direct.op_last == group.op_last);
      const auto decoded = DecodeRecord(general, sessions);
      REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
      CHECK(*decoded == state);
      CHECK(ViewRecord(general)->header_bytes <= 32);
    }
  }
}

}  // namespace
}  // namespace foreshore
