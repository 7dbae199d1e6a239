// Expiry across devices, and live queries over what sync applies.
#include <doctest/doctest.h>

#include "engine/query/live_queries.h"
#include "tests/sync/sync_fixture.h"

namespace foreshore {

namespace {

constexpr std::int64_t kDay = 86'400'000;

std::string Until(std::int64_t unix_ms) {
  return R"({"until":)" + std::to_string(unix_ms) + "}";
}

// The two apps, and the replica beside the gateway that deletes.
struct Shore {
  Shore() {
    keeper.options.expiry_purge = ExpiryPurge::kAlways;
    keeper.options.expiry_grace = std::chrono::milliseconds(7 * kDay);
    for (Device* device : {&a, &b, &keeper}) {
      device->Open();
      REQUIRE(device->core->EnsureCollection("notes").ok());
      REQUIRE(device->core->SetExpiryField("notes", "until").ok());
    }
  }
  void Advance(std::int64_t ms) {
    gateway.now_unix_ms += ms;
    for (Device* device : {&a, &b, &keeper}) device->clock->Advance(ms);
  }
  void SyncAll() {
    for (int round = 0; round < 2; ++round) {
      for (Device* device : {&a, &b, &keeper}) device->Sync();
    }
  }
  std::uint64_t Purge(Device& device) {
    const auto purged = device.core->PurgeExpired();
    REQUIRE_MESSAGE(purged.ok(), purged.status().ToString());
    return *purged;
  }

  // Devices ask for the gateway's port when they are made.
  static GatewayFixture& Started(GatewayFixture& gateway) {
    if (!gateway.gateway) gateway.Start();
    return gateway;
  }

  GatewayFixture gateway;
  Device a{Started(gateway)};
  Device b{gateway};
  Device keeper{gateway};
};

}  // namespace

TEST_CASE("sync expiry: an extension made on another device before the purge wins everywhere") {
  Shore shore;
  shore.a.Put("n", Until(kTestUnixMs + kDay));
  shore.a.Put("m", Until(kTestUnixMs + kDay));
  shore.SyncAll();
  CHECK(shore.Purge(shore.keeper) == 0);  // Sets the mark.
  // B extends one while it is offline; A and the keeper see both expire.
  shore.b.Patch("n", Until(kTestUnixMs + 100 * kDay));
  shore.Advance(2 * kDay);
  CHECK(shore.a.Get("n").empty());
  CHECK(shore.keeper.Get("n").empty());
  CHECK(shore.Purge(shore.a) == 0);  // A has a peer: it only hides.
  shore.SyncAll();
  CHECK(shore.a.Get("n") == Until(kTestUnixMs + 100 * kDay));
  // Two grace periods later the other one is deleted, by the keeper alone.
  std::uint64_t purged = 0;
  for (int week = 0; week < 3; ++week) {
    shore.Advance(7 * kDay);
    CHECK(shore.Purge(shore.b) == 0);
    purged += shore.Purge(shore.keeper);
  }
  CHECK(purged == 1);
  shore.SyncAll();
  for (Device* device : {&shore.a, &shore.b, &shore.keeper}) {
    CHECK(device->Export() == "n " + Until(kTestUnixMs + 100 * kDay) + "\n");
    auto view = device->core->BeginRead();
    REQUIRE(view.ok());
    (*view)->ShowExpired();
    const auto hidden = (*view)->Get(**(*view)->catalog().Require("notes"), "m");
    REQUIRE(hidden.ok());
    CHECK_FALSE(hidden->has_value());
    const auto report = device->core->Verify();
    REQUIRE(report.ok());
    CHECK(report->problems.empty());
  }
}

TEST_CASE("sync expiry: live queries tell what sync applies, and what expires") {
  Shore shore;
  shore.a.Put("n", R"({"until":1,"text":"x"})");
  shore.SyncAll();
  LiveQueries live(*shore.b.core, false);
  std::vector<SqlRow> rows;
  std::size_t delivery_count = 0;
  auto subscription =
      live.Subscribe("SELECT id, text FROM notes ORDER BY id", {}, {}, [&](const ResultChanges& changes) {
        REQUIRE(changes.status.ok());
        ++delivery_count;
        ApplyChanges(rows, changes);
      });
  REQUIRE_MESSAGE(subscription.ok(), subscription.status().ToString());
  live.RunOnce();
  CHECK(rows.empty());
  shore.a.Put("n", R"({"until":)" + std::to_string(kTestUnixMs + kDay) + R"(,"text":"y"})");
  shore.a.Put("o", R"({"text":"z"})");
  shore.SyncAll();
  live.RunOnce();
  CHECK(rows == std::vector<SqlRow>{{std::string("n"), std::string("y")}, {std::string("o"), std::string("z")}});
  shore.a.Delete("o");
  shore.SyncAll();
  live.RunOnce();
  CHECK(rows.size() == 1);
  shore.Advance(kDay);
  live.RunOnce();
  CHECK(rows.empty());
  CHECK(delivery_count == 4);
}

}  // namespace foreshore
