// Goal: a collection of readings holds exactly what a plain list of them would, through sealing, removing, reopening
// and open snapshots, on either backend.
#include "engine/database/readings.h"

#include <map>
#include <random>

#include "engine/document/json.h"
#include "tests/engine/database/core_test.h"

namespace foreshore {
namespace {

CollectionOptions SensorOptions() {
  CollectionOptions options;
  options.kind = CollectionKind::kReadings;
  options.time_field = "t";
  options.series_field = "sensor";
  return options;
}

std::string BodyOf(std::int64_t time, const std::string& sensor, const std::string& value) {
  return "{\"t\":" + std::to_string(time) + ",\"sensor\":\"" + sensor + "\",\"value\":" + value + "}";
}

class Fixture : public CoreFixture {
 public:
  explicit Fixture(StorageKind kind = StorageKind::kSqlite, CollectionOptions collection = SensorOptions())
      : CoreFixture(kind) {
    environment.clock = clock;
    Open();
    const Status created = core->CreateCollection("r", collection);
    REQUIRE_MESSAGE(created.ok(), created.ToString());
  }
  Result<std::string> PutNew(const std::string& body) {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core->BeginWrite());
    FORESHORE_ASSIGN_OR_RETURN(const std::string id, view->PutNew(**view->catalog().Require("r"), body));
    FORESHORE_RETURN_IF_ERROR(view->Commit());
    return id;
  }
  Result<std::uint64_t> Remove(const ReadingRange& range) {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core->BeginWrite());
    FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t count, view->DeleteReadings(**view->catalog().Require("r"), range));
    FORESHORE_RETURN_IF_ERROR(view->Commit());
    return count;
  }
  // "id body" of all, in the cursor's order.
  std::vector<std::string> All(ReadView& view, const ReadingsFilter& filter = {},
                               ReadingsOrder order = ReadingsOrder::kAny) {
    auto cursor = view.ScanReadings(**view.catalog().Require("r"), filter, order);
    REQUIRE_MESSAGE(cursor.ok(), cursor.status().ToString());
    std::vector<std::string> all;
    while (true) {
      const auto more = (*cursor)->Next();
      REQUIRE_MESSAGE(more.ok(), more.status().ToString());
      if (!*more) return all;
      std::string& line = all.emplace_back();
      (*cursor)->AppendId(line);
      line += ' ';
      REQUIRE((*cursor)->AppendBody(line).ok());
    }
  }
  std::vector<std::string> All(const ReadingsFilter& filter = {}, ReadingsOrder order = ReadingsOrder::kAny) {
    auto view = core->BeginRead();
    REQUIRE(view.ok());
    return All(**view, filter, order);
  }
  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>(1'795'000'000'000);  // Shared with the database.
};

TEST_CASE("readings: what is put is read by id, by time and by scan, and stays through reopening") {
  for (const StorageKind kind : kKinds) {
    Fixture fixture(kind);
    const std::string a = *fixture.PutNew(BodyOf(100, "pump", "1.50"));
    const std::string b = *fixture.PutNew(BodyOf(100, "pump", "2.50"));
    const std::string c = *fixture.PutNew(R"({"sensor":7,"t":-5,"state":"off"})");
    CHECK(a != b);
    CHECK(a.starts_with("pump@100."));
    CHECK(c.starts_with("7@-5."));
    fixture.Reopen();
    CHECK(fixture.Get("r", a) == BodyOf(100, "pump", "1.50"));
    CHECK(fixture.Get("r", b) == BodyOf(100, "pump", "2.50"));
    CHECK(fixture.Get("r", c) == R"({"sensor":7,"t":-5,"state":"off"})");
    CHECK(fixture.Get("r", "pump@100.99").empty());
    CHECK(fixture.Get("r", "nonsense").empty());
    CHECK(fixture.All().size() == 3);
    const std::string d = *fixture.PutNew(BodyOf(100, "pump", "3"));
    CHECK(d != a);
    CHECK(d != b);
    // Put under an id of its own replaces; another time or series under it does not fit.
    REQUIRE(fixture.Put("r", a, BodyOf(100, "pump", "9")).ok());
    CHECK(fixture.Get("r", a) == BodyOf(100, "pump", "9"));
    CHECK(fixture.Put("r", a, BodyOf(101, "pump", "9")).code() == ErrorCode::kInvalidArgument);
    CHECK(fixture.Put("r", "x", BodyOf(101, "pump", "9")).code() == ErrorCode::kInvalidArgument);
    REQUIRE(fixture.Delete("r", b).ok());
    CHECK(fixture.Delete("r", b).code() == ErrorCode::kNotFound);
    CHECK(fixture.Get("r", b).empty());
    CHECK(fixture.All().size() == 3);
    CHECK(fixture.PutNew(R"({"sensor":"x"})").status().code() == ErrorCode::kInvalidArgument);
    CHECK(fixture.core->Stats()->collections[0].document_count == 4);  // One of them twice until it is sealed.
    fixture.CheckVerified();
  }
}

TEST_CASE("readings: a collection that takes them says what it does not take") {
  Fixture fixture;
  CHECK(fixture.core->CreateCollection("x", {.kind = CollectionKind::kReadings}).code() == ErrorCode::kInvalidArgument);
  CHECK(fixture.core->CreateCollection("x", {.kind = CollectionKind::kReadings, .time_field = "t", .series_field = "T"})
            .code() == ErrorCode::kInvalidArgument);
  CHECK(fixture.core->CreateCollection("x", {.time_field = "t"}).code() == ErrorCode::kInvalidArgument);
  CHECK(fixture.core->CreateVectorIndex("r", {.field = "v", .dimension = 2}).code() == ErrorCode::kUnsupported);
  CHECK(fixture.core->CreateFieldIndex("r", {.paths = {"value"}}).code() == ErrorCode::kUnsupported);
  const auto view = fixture.core->BeginWrite();
  DocumentChange change;
  change.id = "x";
  CHECK((*view)->Apply(**(*view)->catalog().Require("r"), change).status().code() == ErrorCode::kUnsupported);
  REQUIRE(fixture.core->catalog()->Find("r")->is_readings());
}

TEST_CASE("readings: numbers are never given out again, whatever was removed") {
  for (const StorageKind kind : kKinds) {
    Fixture fixture(kind);
    const std::string a = *fixture.PutNew(BodyOf(1, "s", "1"));
    REQUIRE(*fixture.Remove({}) == 1);
    fixture.Reopen();
    const std::string b = *fixture.PutNew(BodyOf(1, "s", "1"));
    CHECK(a != b);
    CHECK(fixture.All().size() == 1);
    fixture.CheckVerified();
  }
}

TEST_CASE("readings: a transaction sees its own, and a snapshot none of those after it") {
  for (const StorageKind kind : kKinds) {
    Fixture fixture(kind);
    REQUIRE(fixture.PutNew(BodyOf(1, "s", "1")).ok());
    const auto before = fixture.core->BeginRead();
    {
      const auto view = fixture.core->BeginWrite();
      const CollectionDefinition& r = **(*view)->catalog().Require("r");
      const std::string id = *(*view)->PutNew(r, BodyOf(2, "s", "2"));
      CHECK((*view)->Get(r, id)->has_value());
      CHECK(fixture.All(**view).size() == 2);
      REQUIRE((*view)->PutNew(r, BodyOf(3, "s", "3")).ok());
      CHECK(fixture.All(**view).size() == 3);
    }
    CHECK(fixture.All().size() == 1);  // Rolled back.
    REQUIRE(fixture.PutNew(BodyOf(4, "s", "4")).ok());
    CHECK(fixture.All(**before).size() == 1);
    CHECK(fixture.All().size() == 2);
  }
}

TEST_CASE("readings: going back to a savepoint undoes what came after it, in memory and in the store") {
  for (const StorageKind kind : kKinds) {
    Fixture fixture(kind);
    {
      const auto view = fixture.core->BeginWrite();
      const CollectionDefinition& r = **(*view)->catalog().Require("r");
      REQUIRE((*view)->MakeSavepoint().ok());
      REQUIRE((*view)->PutNew(r, BodyOf(1, "s", "1")).ok());
      REQUIRE((*view)->RollbackToSavepoint().ok());
      CHECK(fixture.All(**view).empty());
      REQUIRE((*view)->PutNew(r, BodyOf(2, "s", "2")).ok());
      REQUIRE((*view)->MakeSavepoint().ok());
      REQUIRE((*view)->PutNew(r, BodyOf(3, "s", "3")).ok());
      CHECK(fixture.All(**view).size() == 2);  // Which brings it to the store.
      REQUIRE((*view)->PutNew(r, BodyOf(4, "s", "4")).ok());
      REQUIRE((*view)->RollbackToSavepoint().ok());
      REQUIRE((*view)->ReleaseSavepoint().ok());
      CHECK(fixture.All(**view).size() == 1);
      REQUIRE((*view)->PutNew(r, BodyOf(5, "s", "5")).ok());
      REQUIRE((*view)->Commit().ok());
    }
    const auto all = fixture.All({}, ReadingsOrder::kTimeUp);
    REQUIRE(all.size() == 2);
    CHECK(all[0].starts_with("s@2."));
    CHECK(all[1].starts_with("s@5."));
    fixture.CheckVerified();
  }
}

// Against a plain map, with tails long enough that they are sealed many times.
TEST_CASE("readings: random writes, removals and range scans agree with a plain map") {
  const char* asked = std::getenv("FORESHORE_TEST_SEED");
  const std::uint64_t seed = asked != nullptr ? std::strtoull(asked, nullptr, 10) : std::random_device{}();
  INFO("FORESHORE_TEST_SEED=" << seed);
  for (const StorageKind kind : kKinds) {
    std::mt19937_64 random(seed);
    Fixture fixture(kind);
    std::map<std::tuple<std::int64_t, std::string, std::int64_t>, std::string> model;  // (time, series token, number)
    std::vector<std::string> ids;
    const auto key_of = [](const std::string& id) {
      const ReadingId parsed = ParseReadingId(id)[0];
      return std::make_tuple(parsed.time, parsed.series, parsed.number);
    };
    std::int64_t now = 0;
    for (int round = 0; round < 700; ++round) {
      auto view = fixture.core->BeginWrite();
      const CollectionDefinition& r = **(*view)->catalog().Require("r");
      const bool commits = random() % 10 != 0;
      auto next = model;
      const std::size_t id_count = ids.size();
      for (std::uint64_t i = random() % 6; i-- > 0;) {
        now += static_cast<std::int64_t>(random() % 30);
        const std::int64_t time = random() % 8 == 0 ? now - static_cast<std::int64_t>(random() % 5000) : now;
        const std::string sensor = "s" + std::to_string(random() % 5);
        std::string body = BodyOf(time, sensor, std::to_string(random() % 100) + ".25");
        if (random() % 9 == 0) body.insert(body.size() - 1, ",\"note\":\"x\"");
        const auto id = (*view)->PutNew(r, body);
        REQUIRE_MESSAGE(id.ok(), id.status().ToString());
        next[key_of(*id)] = body;
        ids.push_back(*id);
      }
      if (!ids.empty() && random() % 7 == 0) {
        const std::string& id = ids[random() % ids.size()];
        if (next.contains(key_of(id))) {
          const ReadingId parsed = ParseReadingId(id)[0];
          const std::string sensor = parsed.series.substr(1, parsed.series.size() - 2);
          if (random() % 2 == 0) {
            REQUIRE((*view)->Delete(r, id).ok());
            next.erase(key_of(id));
          } else {
            const std::string body = BodyOf(parsed.time, sensor, "777");
            REQUIRE((*view)->Put(r, id, body).ok());
            next[key_of(id)] = body;
          }
        }
      }
      if (random() % 60 == 0) {
        const std::int64_t cut = now - 3000;
        const bool one = random() % 2 == 0;
        REQUIRE((*view)->DeleteReadings(r, {.series = one ? "s1" : "", .from = INT64_MIN, .to = cut}).ok());
        std::erase_if(next, [&](const auto& entry) {
          return std::get<0>(entry.first) < cut && (!one || std::get<1>(entry.first) == "\"s1\"");
        });
      }
      if (!commits) {
        ids.resize(id_count);
        continue;
      }
      REQUIRE((*view)->Commit().ok());
      view->reset();  // A view goes before its core.
      model = std::move(next);
      if (round % 20 != 0 && round != 699) continue;
      if (round % 200 == 100) fixture.Reopen();
      ReadingsFilter filter;
      if (random() % 2 == 0) filter.time_min = now - static_cast<std::int64_t>(random() % 4000);
      if (random() % 2 == 0) filter.time_max = now - static_cast<std::int64_t>(random() % 2000);
      if (random() % 2 == 0) filter.series = "\"s2\"";
      std::vector<std::string> expected;
      for (const auto& [key, body] : model) {
        const auto& [time, series, number] = key;
        if (time < filter.time_min || time > filter.time_max || (filter.series && *filter.series != series)) continue;
        std::string& line = expected.emplace_back();
        AppendReadingId(line, series, time, number);
        line += " " + body;
      }
      CHECK(fixture.All(filter, ReadingsOrder::kTimeUp) == expected);
      std::vector<std::string> in_series_order = fixture.All(filter);
      std::sort(in_series_order.begin(), in_series_order.end());
      std::vector<std::string> sorted = expected;
      std::sort(sorted.begin(), sorted.end());
      CHECK(in_series_order == sorted);
      // Downwards the times fall; equal times may come in any order of series.
      std::vector<std::string> down = fixture.All(filter, ReadingsOrder::kTimeDown);
      CHECK(std::is_sorted(down.begin(), down.end(), [&](const std::string& a, const std::string& b) {
        return ParseReadingId(a.substr(0, a.find(' ')))[0].time > ParseReadingId(b.substr(0, b.find(' ')))[0].time;
      }));
      std::sort(down.begin(), down.end());
      CHECK(down == sorted);
    }
    fixture.CheckVerified();
  }
}

TEST_CASE("readings: a long tail is sealed into few records, and all of it is still there") {
  for (const StorageKind kind : kKinds) {
    Fixture fixture(kind);
    constexpr int kCount = 140'000;
    for (int from = 0; from < kCount; from += 20'000) {
      const auto view = fixture.core->BeginWrite();
      const CollectionDefinition& r = **(*view)->catalog().Require("r");
      for (int i = from; i < from + 20'000; ++i) {
        REQUIRE((*view)->PutNew(r, BodyOf(i * 100, "s" + std::to_string(i % 7), std::to_string(i % 50))).ok());
      }
      REQUIRE((*view)->Commit().ok());
    }
    const auto view = fixture.core->BeginRead();
    const CollectionDefinition& r = **(*view)->catalog().Require("r");
    const auto sealed = (*view)->txn().NewCursor(r.documents);
    std::size_t record_count = 0;
    std::size_t record_bytes = 0;
    REQUIRE((*sealed)->SeekFirst().ok());
    while ((*sealed)->valid()) {
      ++record_count;
      record_bytes += (*sealed)->value().size();
      REQUIRE((*sealed)->Next().ok());
    }
    CHECK(record_count >= kCount / 1024);
    CHECK(record_count < 200);
    CHECK(record_bytes < kCount * 3);
    CHECK(*CountReadings((*view)->txn(), r) == kCount);
    const auto one =
        fixture.All(**view, {.series = "\"s3\"", .time_min = 1'000'300, .time_max = 1'001'700, .number = {}});
    REQUIRE(one.size() == 2);  // Numbers 10,006 and 10,013.
    CHECK(one[0].find("\"t\":1000600,") != std::string::npos);
  }
}

TEST_CASE("readings: retention removes what is too old, by the database's clock") {
  CollectionOptions options = SensorOptions();
  options.retention_ms = 86'400'000;
  options.time_unit = TimeUnit::kSeconds;
  Fixture fixture(StorageKind::kSqlite, options);
  const std::int64_t now = fixture.clock->NowUnixMs() / 1000;
  for (const std::int64_t age : {0, 86'399, 86'401, 200'000}) REQUIRE(fixture.PutNew(BodyOf(now - age, "s", "1")).ok());
  REQUIRE(fixture.core->Checkpoint().ok());
  CHECK(fixture.All().size() == 2);
  fixture.clock->Advance(86'400'000);
  REQUIRE(fixture.core->Checkpoint().ok());
  CHECK(fixture.All().size() == 1);
  fixture.CheckVerified();
}

TEST_CASE("readings: a damaged record and a lost index entry are found by verify, and reading says which") {
  Fixture fixture;
  REQUIRE(fixture.PutNew(BodyOf(1, "s", "1")).ok());
  const CollectionDefinition r = *fixture.core->catalog()->Find("r");
  {
    const auto txn = fixture.core->store().BeginWrite();
    ByteString record(**(*txn)->Get(r.tail, 2));
    record[10] = static_cast<char>(record[10] ^ 1);
    REQUIRE((*txn)->Put(r.tail, 2, record).ok());
    REQUIRE((*txn)->Put(r.ids, Bytes("c\"s\""), Bytes("x")).ok());
    REQUIRE((*txn)->Commit().ok());
  }
  const auto report = fixture.core->Verify();
  REQUIRE(report.ok());
  CHECK(report->problems.size() == 2);
  const auto view = fixture.core->BeginRead();
  const auto cursor = (*view)->ScanReadings(r, {}, ReadingsOrder::kAny);
  CHECK(cursor.status().code() == ErrorCode::kCorruption);
  CHECK(cursor.status().message().find("record 2") != std::string::npos);
}

}  // namespace
}  // namespace foreshore
