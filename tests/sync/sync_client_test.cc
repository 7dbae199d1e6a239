// Goal: what is written on one device arrives on the others, whatever fails on the way, once.
// Method: real gateways and databases; a transport that fails at each call in turn.
#include "tests/sync/sync_fixture.h"

namespace foreshore {
namespace {

struct Pair {
  Pair() : a((gateway.Start(), gateway)), b(gateway) {
    a.Open();
    b.Open();
  }
  GatewayFixture gateway;
  Device a;
  Device b;
};

TEST_CASE("sync: documents reach the other device, and an empty device gets all") {
  Pair pair;
  pair.a.Put("n1", R"({"text":"pump","site":{"name":"A"}})");
  pair.a.Put("n2", R"({"text":"valve"})");
  pair.a.Delete("n2");
  const SyncReport pushed = pair.a.Sync();
  CHECK(pushed.totals.documents_pushed == 2);
  CHECK(pushed.totals.documents_pulled == 0);
  const SyncReport pulled = pair.b.Sync();
  CHECK(pulled.totals.documents_pushed == 0);
  CHECK(pulled.totals.documents_pulled == 2);
  CHECK(pair.b.Get("n1") == R"({"text":"pump","site":{"name":"A"}})");
  CHECK(pair.b.Export() == pair.a.Export());
}

TEST_CASE("sync: a second call moves nothing") {
  Pair pair;
  pair.a.Put("n1", R"({"a":1})");
  pair.a.Sync();
  pair.b.Sync();
  for (Device* device : {&pair.a, &pair.b}) {
    const SyncReport again = device->Sync();
    CHECK(again.totals.documents_pushed == 0);
    CHECK(again.totals.documents_pulled == 0);
  }
  CHECK(pair.gateway.gateway->Stats().head == 1);
}

TEST_CASE("sync: edits of different fields are both kept, of one field the loser is rescued on every device") {
  Pair pair;
  pair.a.Put("n1", R"({"x":0,"y":0})");
  pair.a.Sync();
  pair.b.Sync();
  pair.b.clock->Advance(10);
  pair.a.Patch("n1", R"({"x":1,"z":1})");
  pair.b.Patch("n1", R"({"y":2,"z":2})");
  pair.a.Sync();
  pair.b.Sync();
  pair.a.Sync();
  CHECK(pair.a.Get("n1") == pair.b.Get("n1"));
  CHECK(pair.a.Get("n1") == R"({"x":1,"y":2,"z":2})");
  for (Device* device : {&pair.a, &pair.b}) {
    const auto lost = device->Rescued("n1");
    REQUIRE(lost.size() == 1);
    CHECK(lost[0].path == "z");
    CHECK(lost[0].value.value == "1");
  }
}

TEST_CASE("sync: a transaction becomes visible whole") {
  Pair pair;
  pair.a.sync_options.batch_change_count_max = 4;
  for (int round = 0; round < 3; ++round) {
    pair.a.Write([&](WriteView& view, const CollectionDefinition& notes) {
      for (const char* id : {"x", "y", "z"}) {
        FORESHORE_RETURN_IF_ERROR(view.Put(notes, id, "{\"round\":" + std::to_string(round) + "}"));
      }
      return Status::Ok();
    });
    pair.a.Sync();
  }
  // One page at a time, as small as they come.
  pair.b.sync_options.page_change_count_max = 1;
  std::set<std::string> exports;
  pair.b.transport->after = [&](std::size_t) { exports.insert(pair.b.Export()); };
  pair.b.Sync();
  exports.insert(pair.b.Export());
  CHECK(pair.b.Export() == pair.a.Export());
  for (const std::string& text : exports) {
    CAPTURE(text);
    CHECK((text.empty() || std::count(text.begin(), text.end(), '\n') == 3));
  }
}

TEST_CASE("sync: a transaction larger than a batch arrives all the same") {
  Pair pair;
  pair.a.sync_options.batch_change_count_max = 7;
  pair.a.Write([&](WriteView& view, const CollectionDefinition& notes) {
    for (int i = 0; i < 50; ++i) FORESHORE_RETURN_IF_ERROR(view.Put(notes, "n" + std::to_string(i), "{\"i\":1}"));
    return Status::Ok();
  });
  pair.a.Sync();
  pair.b.Sync();
  CHECK(pair.b.Export() == pair.a.Export());
  CHECK(pair.gateway.gateway->Stats().head == 50);
}

}  // namespace
}  // namespace foreshore
