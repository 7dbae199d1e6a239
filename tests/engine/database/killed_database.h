// A database that is killed at random moments, again and again, each time in a directory of its own.
//
// FORESHORE_KILLS sets how many kills (default 12).
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <iterator>
#include <random>
#include <string>

#include "tests/engine/database/core_test.h"
#include "tests/kill_harness.h"
#include "tests/storage/store_load.h"

namespace foreshore {

struct KilledDatabase {
  // Makes what is in the directory.
  std::function<void(StorageKind kind, const std::string& path)> prepare;
  // Acknowledges 0 once it is open, and goes on until it is killed; returns what failed.
  std::function<std::string(StorageKind kind, const std::string& path, const Acknowledger& parent)> work;
  // After the kill; returns what is wrong, else an empty text.
  std::function<std::string(StorageKind kind, const std::string& path)> check;
};

// On each backend in turn.
inline void KillAtAnyMoment(const KilledDatabase& database, std::uint32_t seed) {
  // What doctest's requirements throw may not leave the child.
  const auto run = [](const std::function<std::string()>& body) {
    return RunForked([&]() -> std::string {
      try {
        return body();
      } catch (...) {
        return "a requirement failed";
      }
    });
  };
  std::mt19937 random(seed);
  const std::uint64_t kill_count = FromEnvironment("FORESHORE_KILLS", 12);
  for (std::uint64_t kill = 0; kill < kill_count; ++kill) {
    CAPTURE(kill);
    const TemporaryDirectory directory;
    const StorageKind kind = kKinds[kill % std::size(kKinds)];
    const std::string prepared = run([&] {
      database.prepare(kind, directory.path());
      return std::string();
    });
    REQUIRE(prepared == "");
    const auto work = [&](const Acknowledger& parent) { return database.work(kind, directory.path(), parent); };
    const KilledRun killed =
        RunAndKill(work, std::chrono::microseconds(random() % 60'000), KillAfter::kFirstAcknowledgement);
    REQUIRE_MESSAGE(killed.early_end.empty(), killed.early_end);
    const std::string checked = run([&] { return database.check(kind, directory.path()); });
    CHECK(checked == "");
  }
}

}  // namespace foreshore
