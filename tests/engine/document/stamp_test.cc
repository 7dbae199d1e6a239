#include "engine/document/stamp.h"

#include <doctest/doctest.h>

#include "tests/engine/document/builders.h"

namespace foreshore {
namespace {

TEST_CASE("hybrid clock: every tick is later than all before, though the wall clock steps back") {
  auto wall = std::make_shared<ManualClock>(1'000'000);
  HybridClock clock(wall, 0);
  const std::uint64_t first = clock.Tick();
  CHECK(HlcUnixMs(first) == 1'000'000);
  wall->Advance(-5'000);
  const std::uint64_t second = clock.Tick();
  CHECK(second == first + 1);
  wall->Advance(10'000);
  CHECK(HlcUnixMs(clock.Tick()) == 1'005'000);
}

TEST_CASE("hybrid clock: ticks follow what was observed, stored and offset") {
  auto wall = std::make_shared<ManualClock>(1'000'000);
  HybridClock clock(wall, HlcFromUnixMs(2'000'000));
  CHECK(clock.Tick() == HlcFromUnixMs(2'000'000) + 1);
  clock.Observe(HlcFromUnixMs(3'000'000));
  clock.Observe(HlcFromUnixMs(1));
  CHECK(clock.Tick() == HlcFromUnixMs(3'000'000) + 1);
  clock.SetOffsetMs(4'000'000);
  CHECK(clock.Tick() == HlcFromUnixMs(5'000'000));
  clock.SetOffsetMs(-100'000'000);
  CHECK(clock.Tick() == HlcFromUnixMs(5'000'000) + 1);
}

TEST_CASE("hybrid clock: more ticks in a millisecond than the counter holds run into the next") {
  auto wall = std::make_shared<ManualClock>(1'000);
  HybridClock clock(wall, HlcFromUnixMs(1'000) | 0xFFFF);
  CHECK(clock.Tick() == HlcFromUnixMs(1'001));
}

TEST_CASE("version vector: contains all of a session up to its newest") {
  VersionVector vector;
  CHECK(vector.empty());
  vector.Add({10, TestSession(2), 5});
  vector.Add({7, TestSession(1), 0});
  CHECK(vector.Contains({10, TestSession(2), 5}));
  CHECK(vector.Contains({9, TestSession(2), 99}));
  CHECK_FALSE(vector.Contains({10, TestSession(2), 6}));
  CHECK_FALSE(vector.Contains({11, TestSession(2), 0}));
  CHECK_FALSE(vector.Contains({1, TestSession(3), 0}));
  vector.Add({9, TestSession(2), 9});  // Older: changes nothing.
  CHECK_FALSE(vector.Contains({10, TestSession(2), 6}));
  REQUIRE(vector.entries().size() == 2);
  CHECK(vector.entries()[0].session == TestSession(1));
}

TEST_CASE("version vector: join is the maximum of each session, in either order") {
  VersionVector a;
  a.Add({10, TestSession(1), 1});
  a.Add({3, TestSession(2), 1});
  VersionVector b;
  b.Add({10, TestSession(1), 2});
  b.Add({4, TestSession(3), 1});
  VersionVector ab = a;
  ab.Join(b);
  VersionVector ba = b;
  ba.Join(a);
  CHECK(ab == ba);
  CHECK(ab.entries().size() == 3);
  CHECK(ab.Contains({10, TestSession(1), 2}));
  VersionVector again = ab;
  again.Join(a);
  CHECK(again == ab);
}

}  // namespace
}  // namespace foreshore
