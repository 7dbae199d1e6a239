// Goal: the recall that an index tells is that of its own searches, of real queries where there are any, and is taken
// anew when it no longer holds.
// Method: the sampler is stepped by hand with a clock that stands still or jumps; a full recount is the oracle.
#include "engine/database/recall_sample.h"

#include <doctest/doctest.h>

#include <random>

#include "engine/database/derived_vector_index.h"
#include "tests/engine/database/core_test.h"

namespace foreshore {
namespace {

constexpr int kDimension = 16;

std::vector<float> Normal(std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(kDimension);
  for (float& value : values) value = normal(random);
  return values;
}

void PutMany(CoreFixture& db, int first, int count, unsigned seed) {
  std::mt19937 random(seed);
  auto view = db.core->BeginWrite().value();
  const auto* collection = view->catalog().Find("a");
  for (int i = first; i < first + count; ++i) {
    std::string body = R"({"v":[)";
    for (const float value : Normal(random)) body += (body.back() == '[' ? "" : ",") + std::to_string(value);
    REQUIRE(view->Put(*collection, std::to_string(i), body + "]}").ok());
  }
  REQUIRE(view->Commit().ok());
}

// Slices until there is nothing more to do.
int Sample(RecallSampler& sampler, std::int64_t budget_us) {
  int slice_count = 0;
  while (true) {
    const auto more = sampler.Step(budget_us);
    REQUIRE_MESSAGE(more.ok(), more.status().ToString());
    if (!*more) return slice_count;
    ++slice_count;
  }
}

}  // namespace

TEST_CASE("recall sample: estimates lie between the points that were measured") {
  RecallSample sample;
  CHECK(sample.EstimateAt(100) == 0);
  sample.points = {{50, 0.8}, {200, 0.9}};
  CHECK(sample.EstimateAt(10) == 0.8);
  CHECK(sample.EstimateAt(50) == 0.8);
  CHECK(sample.EstimateAt(100) == doctest::Approx(0.85));  // Half-way on a logarithmic scale.
  CHECK(sample.EstimateAt(200) == 0.9);
  CHECK(sample.EstimateAt(5000) == 0.9);
}

TEST_CASE("recall sample: what was encoded comes back, and nothing else does") {
  RecallSample sample;
  sample.ef = 96;
  sample.recall = 0.9375;
  sample.query_count = 32;
  sample.is_of_recent_queries = true;
  sample.taken_unix_ms = 1'700'000'000'000;
  sample.entry_count = 5000;
  sample.points = {{48, 0.75}, {96, 0.9375}};
  const ByteString bytes = sample.Encode();
  const auto decoded = RecallSample::Decode(bytes);
  REQUIRE(decoded.ok());
  CHECK(decoded->Encode() == bytes);
  CHECK(decoded->Describe(sample.taken_unix_ms + 5000) == "0.938 sampled at ef=96 by 32 recent queries, 5 s ago");
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    CHECK(RecallSample::Decode(Bytes(bytes).substr(0, length)).status().code() == ErrorCode::kCorruption);
  }
  CHECK(RecallSample::Decode(bytes + ByteString(1, '\0')).status().code() == ErrorCode::kCorruption);
  sample.recall = 1.5;
  CHECK(RecallSample::Decode(sample.Encode()).status().code() == ErrorCode::kCorruption);
  sample.recall = 0.5;
  std::swap(sample.points[0], sample.points[1]);
  CHECK(RecallSample::Decode(sample.Encode()).status().code() == ErrorCode::kCorruption);
}

TEST_CASE("recall sample: the reservoir is bounded, and its queries go on being replaced") {
  QueryReservoir reservoir;
  for (int i = 0; i < 64; ++i) reservoir.Note(std::vector<float>{0.0F, 1.0F});
  CHECK(reservoir.size() == QueryReservoir::kCapacity);
  for (int i = 0; i < 16 * 64 * 4; ++i) reservoir.Note(std::vector<float>{1.0F, 0.0F});  // By their number alone.
  CHECK(reservoir.size() == QueryReservoir::kCapacity);
  std::size_t new_count = 0;
  for (const RecallQuery& query : reservoir.Copy()) new_count += query.values[0] == 1.0F ? 1 : 0;
  CHECK(new_count > QueryReservoir::kCapacity / 2);
}

TEST_CASE("recall sample: queries are saved once enough are new, and come back") {
  const auto query_of = [](int i) { return std::vector<float>{static_cast<float>(i), 1.0F, -0.25F}; };
  QueryReservoir reservoir;
  CHECK(!reservoir.TakeUnsaved(true));
  for (int i = 0; i < 15; ++i) reservoir.Note(query_of(i));
  CHECK(!reservoir.TakeUnsaved(false));
  reservoir.Note(query_of(15));
  const ByteString saved = reservoir.TakeUnsaved(false).value();
  CHECK(saved.size() == 4 + 16 * (8 + 2 * 3));
  CHECK(!reservoir.TakeUnsaved(true));
  QueryReservoir other;
  REQUIRE(other.Restore(saved, 3).ok());
  CHECK(!other.TakeUnsaved(true));
  const auto queries = other.Copy();
  REQUIRE(queries.size() == 16);
  for (int i = 0; i < 16; ++i) {
    for (std::size_t n = 0; n < 3; ++n) {
      CHECK(queries[static_cast<std::size_t>(i)].values[n] == doctest::Approx(query_of(i)[n]).epsilon(0.001));
    }
  }
  other.Note(query_of(16));
  CHECK(other.size() == 17);
  CHECK(other.TakeUnsaved(true).has_value());
  // What is no such thing is refused, and changes nothing.
  for (std::size_t size = 0; size < saved.size(); ++size) {
    CHECK(other.Restore(Bytes(saved).substr(0, size), 3).code() == ErrorCode::kCorruption);
  }
  CHECK(other.Restore(saved + "x", 3).code() == ErrorCode::kCorruption);
  CHECK(other.Restore(saved, 4).code() == ErrorCode::kCorruption);
  ByteString changed = saved;
  changed[0] = 2;
  CHECK(other.Restore(changed, 3).code() == ErrorCode::kUnsupported);
  for (const char count : {'\0', '\17', '\101'}) {
    changed = saved;
    changed[3] = count;
    CHECK(other.Restore(changed, 3).code() == ErrorCode::kCorruption);
  }
  changed = saved;
  changed[4 + 8] = '\200';  // A code of -128.
  CHECK(other.Restore(changed, 3).code() == ErrorCode::kCorruption);
  CHECK(other.size() == 17);
}

TEST_CASE("recall sample: of long queries so many are saved as 256 KiB hold, and one session each brings new ones") {
  QueryReservoir reservoir;
  for (int i = 0; i < 64; ++i) reservoir.Note(std::vector<float>(4096, 1.0F));
  ByteString saved = reservoir.TakeUnsaved(true).value();
  CHECK(saved.size() <= QueryReservoir::kSavedBytesMax + 4);
  CHECK(saved.size() == 4 + 31 * (8 + 2 * 4096));
  // Sessions of one query: about one of 16 is taken.
  QueryReservoir full;
  for (int i = 0; i < 64; ++i) full.Note(std::vector<float>{0.0F, 1.0F});
  saved = full.TakeUnsaved(true).value();
  int taken_count = 0;
  for (int session = 0; session < 1600; ++session) {
    QueryReservoir each;
    REQUIRE(each.Restore(saved, 2).ok());
    each.Note(std::vector<float>{1.0F, static_cast<float>(session)});
    if (auto next = each.TakeUnsaved(true)) {
      ++taken_count;
      saved = std::move(*next);
    }
  }
  CHECK(taken_count > 50);
  CHECK(taken_count < 200);
}

TEST_CASE("recall sample: recent queries survive a restart, damage of them does not, and they go with their index") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
    for (int i = 0; i < 20; ++i) {
      REQUIRE(db.Put("a", std::to_string(i), R"({"v":[1,)" + std::to_string(i) + "]}").ok());
    }
    const auto id = [&] { return db.core->BeginRead().value()->catalog().Find("a")->FindVectorIndex("v")->id; };
    // As tuning tells them; fewer than 16 it does not use.
    const auto noted_count = [&]() -> std::size_t {
      const auto tuned = db.core->TuneVectorIndex("a", "v", 0.5, 1000);
      REQUIRE_MESSAGE(tuned.ok(), tuned.status().ToString());
      return tuned->sample_kind == "recent queries" ? tuned->sample_count : 0;
    };
    const auto ask = [&](int count) {
      const auto view = db.core->BeginRead().value();
      for (int i = 0; i < count; ++i) db.Nearest(*view, "a", "v", {1.0F, static_cast<float>(i)}, 1);
    };
    ask(20);
    db.Reopen();
    CHECK(noted_count() == 20);
    ask(30);
    REQUIRE(db.core->Checkpoint().ok());
    CHECK(noted_count() == 50);
    const std::uint32_t first = id();
    if (kind == StorageKind::kSqlite) {
      db.Close();
      const auto store = OpenSqliteStore(db.path() + "/store.db", StoreOptions()).value();
      const KeyspaceId queries = store->OpenKeyspace("queries", KeyspaceKind::kInteger).value();
      const auto txn = store->BeginWrite().value();
      ByteString damaged(txn->Get(queries, first).value().value());
      damaged[20] = static_cast<char>(damaged[20] ^ 0x80);
      damaged.resize(damaged.size() - 1);
      REQUIRE(txn->Put(queries, first, damaged).ok());
      REQUIRE(txn->Commit().ok());
    } else {
      db.Close();
    }
    db.Open();
    CHECK(noted_count() == (kind == StorageKind::kSqlite ? 0 : 50));
    ask(20);
    db.Reopen();
    CHECK(noted_count() >= 20);
    REQUIRE(db.core->DropVectorIndex("a", "v").ok());
    REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
    CHECK(noted_count() == 0);
    db.Close();
    if (kind != StorageKind::kSqlite) continue;
    const auto store = OpenSqliteStore(db.path() + "/store.db", StoreOptions()).value();
    const KeyspaceId queries = store->OpenKeyspace("queries", KeyspaceKind::kInteger).value();
    CHECK(!store->BeginRead().value()->Get(queries, first).value().has_value());
  }
}

TEST_CASE("recall sample: it is taken in slices, told, kept, and taken anew when it no longer holds") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    const auto clock = std::make_shared<ManualClock>(1'700'000'000'000);
    db.environment.clock = clock;
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    VectorFieldOptions field;
    field.field = "v";
    field.dimension = kDimension;
    field.links_per_node = 4;  // Few, so that recall is not 1.
    REQUIRE(db.core->CreateVectorIndex("a", field).ok());
    const auto info = [&] { return db.core->ListIndexes()->at(0); };
    {
      RecallSampler sampler(*db.core);
      PutMany(db, 0, 500, 1);
      CHECK(Sample(sampler, 0) == 0);  // So few are scanned: recall is 1.
      PutMany(db, 500, 4500, 2);
      CHECK(info().sampled_ef == 0);
      // With no time a slice does one piece: 64 codes, or one search.
      CHECK(Sample(sampler, 0) >= 5000 / 64);
      CHECK(info().sample_kind == "stored vectors");
      CHECK(Sample(sampler, 0) == 0);  // Nothing has changed.
    }
    const IndexInfo first = info();
    CHECK(first.sampled_ef == 96);
    CHECK(first.sample_count == 32);
    CHECK(first.sampled_recall > 0.3);
    CHECK(first.sampled_recall < 1);
    CHECK(first.estimated_recall == first.sampled_recall);
    clock->Advance(5000);
    CHECK(info().sample_age_ms == 5000);
    CHECK(info().strategy.find(" by 32 stored vectors, 5 s ago") != std::string::npos);
    db.Reopen();
    CHECK(info().sampled_recall == first.sampled_recall);
    CHECK(info().sample_age_ms == 5000);

    RecallSampler sampler(*db.core);
    CHECK(Sample(sampler, 1000) == 0);
    // A tenth of the vectors are others.
    PutMany(db, 0, 500, 3);
    Sample(sampler, 1000);
    CHECK(info().sample_age_ms == 0);
    // Queries that are unlike what is stored: all components positive.
    clock->Advance(1000);
    std::mt19937 random(9);
    {
      const auto view = db.core->BeginRead().value();
      for (std::size_t i = 0; i < kRecentQueriesMin; ++i) {
        std::vector<float> query = Normal(random);
        for (float& value : query) value = std::abs(value);
        db.Nearest(*view, "a", "v", query, 10);
      }
    }
    Sample(sampler, 1000);
    CHECK(info().sample_kind == "recent queries");
    CHECK(info().sample_count == kRecentQueriesMin);
    CHECK(info().sample_age_ms == 0);
    // The settings change. What died was forgotten by then: searches become wider by as much as garbage takes.
    REQUIRE(db.Put("a", "x", "{}").ok());
    const auto tuned = db.core->TuneVectorIndex("a", "v", 0.6, 50);
    REQUIRE_MESSAGE(tuned.ok(), tuned.status().ToString());
    CHECK(tuned->sample_kind == "recent queries");
    CHECK(tuned->sample_count == kRecentQueriesMin);
    CHECK(tuned->ef != 96);
    Sample(sampler, 1000);
    CHECK(info().sampled_ef == tuned->ef);
    CHECK(info().sampled_recall == doctest::Approx(tuned->recall).epsilon(1e-9));
    db.CheckVerified();
    // It goes with its index.
    const std::string id = std::to_string(db.core->catalog()->Find("a")->FindVectorIndex("v")->id);
    REQUIRE(db.core->Checkpoint().ok());
    REQUIRE(db.core->GetSetting("recall." + id).value().has_value());
    REQUIRE(db.core->GetSetting("tuning." + id).value().has_value());
    REQUIRE(db.core->DropVectorIndex("a", "v").ok());
    REQUIRE(db.core->Checkpoint().ok());
    CHECK_FALSE(db.core->GetSetting("recall." + id).value().has_value());
    CHECK_FALSE(db.core->GetSetting("tuning." + id).value().has_value());
  }
}

TEST_CASE("recall sample: a database closes while one is being taken, and no snapshot outlives it") {
  for (int round = 0; round < 5; ++round) {
    CoreFixture db;
    db.options.embed_in_background = round > 0;  // Taken by the test's own sampler, or by the database's.
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = kDimension}).ok());
    PutMany(db, 0, 20'000, 1);
    RecallSampler sampler(*db.core);
    if (round == 0) REQUIRE(sampler.Step(0).value());
    sampler.Drop();
    db.Close();
  }
}

TEST_CASE("recall sample: a setting that is damaged is as none") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
  {
    auto view = db.core->BeginWrite().value();
    const std::uint32_t id = view->catalog().Find("a")->FindVectorIndex("v")->id;
    REQUIRE(view->PutSetting("recall." + std::to_string(id), "damaged").ok());
    REQUIRE(view->Commit().ok());
  }
  db.Reopen();
  CHECK(db.core->ListIndexes()->at(0).sampled_ef == 0);
}

}  // namespace foreshore
