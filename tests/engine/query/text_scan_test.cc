#include "engine/query/text_scan.h"

#include <doctest/doctest.h>

using namespace foreshore;

TEST_CASE("hybrid query: what was encoded comes back, and no damaged blob is taken") {
  HybridQuery query;
  query.match = "pump OR gate";
  query.vector = {1.5F, -2.0F, 0.0F};
  query.field = "embedding";
  query.options = {7.5, 33};
  const ByteString blob = EncodeHybridQuery(query);
  CHECK(IsHybridQuery(blob));
  const auto back = DecodeHybridQuery(blob);
  REQUIRE(back.ok());
  CHECK(back->match == query.match);
  CHECK(back->vector == query.vector);
  CHECK(back->field == query.field);
  CHECK(back->options.k == 7.5);
  CHECK(back->options.window == 33);
  for (std::size_t size = 0; size < blob.size(); ++size) CHECK(!DecodeHybridQuery(Bytes(blob).substr(0, size)).ok());
  CHECK(!DecodeHybridQuery(blob + "x").ok());
  CHECK(!IsHybridQuery("pump"));
}

TEST_CASE("any word: plain text becomes a query whatever is in it") {
  CHECK(AnyWordQuery("pump overheating") == R"("pump" OR "overheating")");
  CHECK(AnyWordQuery("it's \"hot\" (very)!") == R"("it" OR "s" OR "hot" OR "very")");
  CHECK(AnyWordQuery("Öl AND NOT") == R"("Öl" OR "AND" OR "NOT")");
  CHECK(AnyWordQuery(" ?! ") == R"("")");
}
