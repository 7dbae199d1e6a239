// Goal: three devices that edited apart, offline, hold the same bytes after synchronising in any order, any number of
// times; a fourth that was never there before holds them too; and on each of the four exactly the concurrently losing
// values are in rescue.
// Method: random edits of shared documents on real databases (one on RocksDB), a real gateway over HTTP, lost replies
// and unsent requests in between; then a comparison with a brute-force model that knows of every single write what its
// writer had seen (tests/engine/document/merge_model.h, which shares no code with the merge).
//
// Which values are expected in rescue: those that no write of anyone who had seen them covers, and that are not shown.
// A value that its own writer replaced is never among them, sent or not. At the end all devices know all writes, so the
// set is one and the same. The fourth device applies the log in its order, which is causal, so it finds the same set.
//
// FORESHORE_SYNC_EDITS sets the edits of each device, FORESHORE_SYNC_SEED the seed.
#include <cstdio>
#include <cstdlib>

#include "engine/document/json.h"
#include "tests/engine/document/merge_model.h"
#include "tests/sync/sync_fixture.h"

namespace foreshore {
namespace {

std::uint64_t FromEnvironment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

#ifdef FORESHORE_WITH_ROCKSDB
constexpr StorageKind kOtherStorage = StorageKind::kRocksdb;
#else
constexpr StorageKind kOtherStorage = StorageKind::kSqlite;
#endif

constexpr const char* kKeys[] = {"a", "b", "c", "d"};

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  std::size_t Below(std::size_t count) { return random_.Next64() % count; }
  bool Percent(std::size_t percent) { return Below(100) < percent; }

 private:
  SeededRandom random_;
};

std::string RandomObject(Dice& dice, int depth, bool is_patch) {
  std::string text = "{";
  for (const char* key : kKeys) {
    if (!dice.Percent(is_patch ? 30 : 50)) continue;
    if (text.size() > 1) text += ",";
    text += std::string("\"") + key + "\":";
    if (is_patch && dice.Percent(25)) {
      text += "null";
    } else if (depth < 3 && dice.Percent(35)) {
      text += RandomObject(dice, depth + 1, is_patch);
    } else if (dice.Percent(10)) {
      text += "[" + std::to_string(dice.Below(9)) + ",{\"a\":1}]";
    } else {
      text += std::to_string(dice.Below(1000));
    }
  }
  return text + "}";
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

// Edits documents and writes down, for the model, every single write and what its writer had seen.
class Fleet {
 public:
  Fleet(std::uint64_t seed, GatewayFixture& gateway, std::size_t document_count)
      : dice_(seed), gateway_(gateway), documents_(document_count) {}

  void AddDevice(StorageKind storage) {
    devices_.push_back(std::make_unique<Device>(gateway_, storage));
    Device& device = *devices_.back();
    device.clock->Advance(static_cast<std::int64_t>(dice_.Below(5'000)));
    device.sync_options.batch_change_count_max = 20 + dice_.Below(300);
    device.sync_options.page_change_count_max = 20 + dice_.Below(300);
    device.Open();
    REQUIRE(device.core->EnsureCollection("notes").ok());
    known_.emplace_back(documents_.size());
  }
  Device& device(std::size_t index) { return *devices_[index]; }
  std::size_t device_count() const { return devices_.size(); }

  void Edit(std::size_t index) {
    const std::size_t document = dice_.Below(documents_.size());
    const DocumentState before = StateOf(index, document);
    LearnDocument(index, document, before);
    Device& device = *devices_[index];
    const std::string id = IdOf(document);
    const std::size_t choice = dice_.Below(100);
    if (before.alive() && choice < 12) {
      device.Delete(id);
    } else if (before.alive() && choice < 65) {
      device.Patch(id, RandomObject(dice_, 1, true));
    } else {
      device.Put(id, RandomObject(dice_, 1, false));
    }
    Note(index, document, before, StateOf(index, document));
  }

  // True where it went through. `is_busy`: it may break off, and edits go on between its calls, so that some lose
  // against what arrives before they were sent.
  bool Sync(std::size_t index, bool is_busy) {
    Device& device = *devices_[index];
    const std::size_t failing = device.transport->call_count + dice_.Below(8);
    const auto fault = dice_.Percent(50) ? FaultyTransport::Fault::kReplyLost : FaultyTransport::Fault::kBeforeSending;
    const bool may_fail = is_busy && dice_.Percent(40);
    if (may_fail) {
      device.transport->fail = [=](std::size_t number) {
        return number == failing ? fault : FaultyTransport::Fault::kNone;
      };
    }
    if (is_busy) {
      device.transport->after = [this, index, left = 100](std::size_t) mutable {
        for (std::size_t i = dice_.Below(20); i > 0 && left > 0; --i, --left) Edit(index);
      };
    }
    const Result<SyncReport> report = device.TrySync();
    device.transport->fail = {};
    device.transport->after = {};
    if (!report.ok()) {
      REQUIRE_MESSAGE(report.status().code() == ErrorCode::kNetwork, report.status().ToString());
      REQUIRE(may_fail);
      if (dice_.Percent(50)) device.Reopen();
    }
    return report.ok();
  }

  // Which single writes have arrived follows from the stamps in the document's version vector. That is the one thing
  // the model takes from the code under test, and CheckAll checks it at the end: all must have arrived.
  void Learn(std::size_t index) {
    for (std::size_t document = 0; document < documents_.size(); ++document) {
      LearnDocument(index, document, StateOf(index, document));
    }
  }

  struct Counts {
    std::size_t lost = 0;
    std::size_t deleted = 0;
    std::size_t writes = 0;
  };
  // Compares every device with the model of all writes.
  Counts CheckAll() {
    Counts counts;
    for (std::size_t document = 0; document < documents_.size(); ++document) {
      CAPTURE(document);
      const std::vector<ModelWrite>& all = documents_[document];
      if (all.empty()) continue;
      WriteSet every;
      for (const ModelWrite& write : all) every.set(write.number);
      const MergeModel model(all, every);
      const std::set<Stamp> lost = model.Lost();
      for (std::size_t index = 0; index < devices_.size(); ++index) {
        CAPTURE(index);
        CHECK(known_[index][document] == every);
        CHECK(devices_[index]->Get(IdOf(document)) == model.Body());
        std::set<Stamp> rescued;
        for (const LostValue& value : devices_[index]->Rescued(IdOf(document))) rescued.insert(value.value.stamp);
        CHECK(rescued == lost);
      }
      counts.lost += lost.size();
      counts.deleted += model.Body().empty() ? 1 : 0;
      counts.writes += all.size();
    }
    return counts;
  }

 private:
  static std::string IdOf(std::size_t document) { return "doc-" + std::to_string(document); }

  DocumentState StateOf(std::size_t index, std::size_t document) {
    auto view = devices_[index]->core->BeginRead();
    REQUIRE(view.ok());
    auto notes = (*view)->catalog().Require("notes");
    REQUIRE(notes.ok());
    auto state = (*view)->LoadState(**notes, IdOf(document));
    REQUIRE_MESSAGE(state.ok(), state.status().ToString());
    return *state;
  }

  void LearnDocument(std::size_t index, std::size_t document, const DocumentState& state) {
    for (const ModelWrite& write : documents_[document]) {
      if (state.seen.Contains(write.stamp)) known_[index][document].set(write.number);
    }
  }

  void Note(std::size_t index, std::size_t document, const DocumentState& before, const DocumentState& after) {
    std::vector<ModelWrite>& all = documents_[document];
    WriteSet& known = known_[index][document];
    const WriteSet seen = known;
    std::vector<ModelWrite> fresh;
    if (after.life != before.life) {
      ModelWrite change;
      change.is_life_change = true;
      change.life = after.life;
      change.stamp = after.life_stamp;
      fresh.push_back(change);
    }
    for (const auto& [path, content] : after.registers) {
      const auto old = before.registers.find(path);
      if (old != before.registers.end() && old->second.stamp == content.stamp) continue;
      fresh.push_back({0,
                       false,
                       SplitPath(path),
                       content.is_tombstone,
                       content.value,
                       content.life,
                       content.stamp,
                       content.creation,
                       {}});
    }
    for (ModelWrite& write : fresh) {
      write.number = all.size();
      write.seen = seen;
      REQUIRE(write.number < kModelWritesMax);
      known.set(write.number);
      all.push_back(std::move(write));
    }
  }

  Dice dice_;
  GatewayFixture& gateway_;
  std::vector<std::vector<ModelWrite>> documents_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<std::vector<WriteSet>> known_;  // By device and document.
};

TEST_CASE("sync: three devices that edited apart converge with the model, and so does a newcomer") {
  const std::uint64_t seed = FromEnvironment("FORESHORE_SYNC_SEED", 20261122);
  const std::size_t edits = FromEnvironment("FORESHORE_SYNC_EDITS", 2'000);
  constexpr std::size_t kRounds = 4;
  CAPTURE(seed);
  GatewayFixture gateway;
  gateway.Start();
  Dice dice(seed + 1);
  Fleet fleet(seed, gateway, 500);
  fleet.AddDevice(StorageKind::kSqlite);
  fleet.AddDevice(kOtherStorage);
  fleet.AddDevice(StorageKind::kSqlite);

  std::size_t failed_count = 0;
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < edits / kRounds; ++i) {
      for (std::size_t index = 0; index < 3; ++index) fleet.Edit(index);
    }
    // Some meet, in random order, some of them several times; some calls break off.
    for (std::size_t i = 0; i < 2 + dice.Below(4); ++i) {
      const std::size_t index = dice.Below(3);
      failed_count += fleet.Sync(index, true) ? 0 : 1;
    }
  }
  for (int repeat = 0; repeat < 2; ++repeat) {
    for (const std::size_t index : {2, 0, 1, 0}) fleet.Sync(index, false);
  }
  fleet.AddDevice(kOtherStorage);
  fleet.Sync(3, false);
  for (std::size_t index = 0; index < fleet.device_count(); ++index) {
    fleet.Sync(index, false);
    fleet.Learn(index);
  }

  const std::string expected = fleet.device(0).Export();
  for (std::size_t index = 1; index < fleet.device_count(); ++index) {
    CAPTURE(index);
    CHECK(fleet.device(index).Export() == expected);
  }
  const Fleet::Counts counts = fleet.CheckAll();
  CHECK(counts.lost > 0);
  CHECK(counts.deleted > 0);
  std::printf(
      "%zu single writes, %zu values in rescue, %zu documents deleted, %zu synchronisations broken off, %zu bytes\n",
      counts.writes, counts.lost, counts.deleted, failed_count, expected.size());
}

}  // namespace
}  // namespace foreshore
