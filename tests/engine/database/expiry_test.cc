#include "engine/database/expiry.h"

#include <doctest/doctest.h>

#include <random>

#include "storage/base/clock.h"
#include "tests/engine/database/core_test.h"

namespace foreshore {

namespace {

// 2026-11-25T20:26:40Z.
constexpr std::int64_t kNow = 1'795'638'400'000;
constexpr std::int64_t kDay = 86'400'000;

// A database whose collection "notes" expires by "expires_at", with a clock that tests move.
struct ExpiryFixture : CoreFixture {
  explicit ExpiryFixture(StorageKind storage) : CoreFixture(storage) {
    environment.clock = clock;
    options.durability = Durability::kNormal;
    options.expiry_grace = std::chrono::milliseconds(7 * kDay);
  }
  void Begin() {
    Open();
    REQUIRE(core->CreateCollection("notes").ok());
    const Status set = core->SetExpiryField("notes", "expires_at");
    REQUIRE_MESSAGE(set.ok(), set.ToString());
  }
  Status PutUntil(const std::string& id, std::int64_t unix_ms) {
    return Put("notes", id, R"({"expires_at":)" + std::to_string(unix_ms) + "}");
  }
  std::uint64_t Purge() {
    const auto purged = core->PurgeExpired();
    REQUIRE_MESSAGE(purged.ok(), purged.status().ToString());
    return *purged;
  }
  std::string Scan() {
    auto view = core->BeginRead();
    REQUIRE(view.ok());
    auto cursor = (*view)->Scan(**(*view)->catalog().Require("notes"));
    REQUIRE(cursor.ok());
    std::string ids;
    while (*(*cursor)->Next()) ids += std::string((*cursor)->id()) + " ";
    return ids;
  }
  // How many documents are alive in the store, hidden or not.
  std::size_t StoredCount() {
    auto view = core->BeginRead();
    REQUIRE(view.ok());
    (*view)->ShowExpired();
    auto cursor = (*view)->Scan(**(*view)->catalog().Require("notes"));
    REQUIRE(cursor.ok());
    std::size_t count = 0;
    while (*(*cursor)->Next()) ++count;
    return count;
  }

  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>(kNow);  // Shared with the database.
};

}  // namespace

TEST_CASE("expiry: times are read from seconds, milliseconds and ISO 8601, and from nothing else") {
  CHECK(ParseExpiry("1795638400") == kNow);
  CHECK(ParseExpiry("1795638400.25") == kNow + 250);
  CHECK(ParseExpiry("1795638400000") == kNow);
  CHECK(ParseExpiry("0") == 0);
  CHECK(ParseExpiry("-1") == -1000);
  CHECK(ParseExpiry(R"("2026-11-25T20:26:40Z")") == kNow);
  CHECK(ParseExpiry(R"("2026-11-25 20:26:40")") == kNow);
  CHECK(ParseExpiry(R"("2026-11-25T20:26:40.250Z")") == kNow + 250);
  CHECK(ParseExpiry(R"("2026-11-25T20:26:40.2504999")") == kNow + 250);
  CHECK(ParseExpiry(R"("2026-11-25T22:26:40+02:00")") == kNow);
  CHECK(ParseExpiry(R"("2026-11-25T15:56:40-0430")") == kNow);
  CHECK(ParseExpiry(R"("2026-11-25T20:26Z")") == kNow - 40'000);
  CHECK(ParseExpiry(R"("2026-11-25")") == kNow - (20 * 3600 + 26 * 60 + 40) * 1000LL);
  CHECK(ParseExpiry(R"("1970-01-01")") == 0);
  CHECK(ParseExpiry(R"("2024-02-29")").has_value());
  for (const char* token :
       {"", "null", "true", "{}", "[1]", R"("")", R"(")", R"("soon")", R"("2026-13-01")", R"("2026-02-29")",
        R"("2026-11-25T")", R"("2026-11-25T20")", R"("2026-11-25T20:60")", R"("2026-11-25T20:26:40X")",
        R"("2026-11-25T20:26:40.Z")", R"("2026-11-25T20:26:40+99:00")", R"("2026-1-5")", "1e300", "-1e300"}) {
    CAPTURE(token);
    CHECK_FALSE(ParseExpiry(token).has_value());
  }
}

TEST_CASE("expiry: a document is hidden from its time on, in every kind of read, and comes back when extended") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    ExpiryFixture fixture(kind);
    fixture.Begin();
    VectorFieldOptions vector;
    vector.field = "v";
    vector.dimension = 2;
    vector.metric = VectorMetric::kL2;
    REQUIRE(fixture.core->CreateVectorIndex("notes", vector).ok());
    const std::string soon = R"({"v":[0,1],"expires_at":)" + std::to_string((kNow + 5000) / 1000) + "}";
    REQUIRE(fixture.Put("notes", "soon", soon).ok());
    REQUIRE(fixture.Put("notes", "never", R"({"v":[3,3],"expires_at":null})").ok());
    REQUIRE(fixture.Put("notes", "odd", R"({"v":[9,9],"expires_at":"soon"})").ok());
    fixture.clock->Advance(4999);
    CHECK(fixture.Scan() == "soon never odd ");
    auto before = fixture.core->BeginRead();
    REQUIRE(before.ok());
    fixture.clock->Advance(1);
    CHECK(fixture.Get("notes", "soon").empty());
    CHECK(fixture.Scan() == "never odd ");
    auto view = fixture.core->BeginRead();
    REQUIRE(view.ok());
    const auto& notes = **(*view)->catalog().Require("notes");
    CHECK((*view)->Read(notes, "soon").status().code() == ErrorCode::kNotFound);
    CHECK(fixture.Nearest(**view, "notes", "v", {0, 0}, 3) == std::vector<std::string>{"never", "odd"});
    // A snapshot keeps the time that it was taken at.
    CHECK((*before)->Get(notes, "soon")->has_value());
    CHECK(fixture.Nearest(**before, "notes", "v", {0, 0}, 1) == std::vector<std::string>{"soon"});
    CHECK(fixture.Delete("notes", "soon").code() == ErrorCode::kNotFound);
    view->reset();
    before->reset();
    fixture.CheckVerified();
    fixture.Reopen();
    CHECK(fixture.Scan() == "never odd ");
    // Written again it is a document like any other, without fields of the hidden one.
    REQUIRE(fixture.Put("notes", "soon", R"({"n":1})").ok());
    CHECK(fixture.Get("notes", "soon") == R"({"n":1})");
    fixture.CheckVerified();
  }
}

TEST_CASE("expiry: naming, changing and dropping the field takes in documents that are there") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    ExpiryFixture fixture(kind);
    fixture.Open();
    REQUIRE(fixture.core->CreateCollection("notes").ok());
    REQUIRE(fixture.Put("notes", "a", R"({"x":1,"y":"2030-01-01"})").ok());
    REQUIRE(fixture.Put("notes", "b", R"({"x":"2030-01-01","y":1})").ok());
    CHECK(fixture.Scan() == "a b ");
    REQUIRE(fixture.core->SetExpiryField("notes", "x").ok());
    CHECK(fixture.Scan() == "b ");
    fixture.CheckVerified();
    fixture.Reopen();
    CHECK(fixture.Scan() == "b ");
    REQUIRE(fixture.core->SetExpiryField("notes", "y").ok());
    CHECK(fixture.Scan() == "a ");
    fixture.CheckVerified();
    REQUIRE(fixture.core->SetExpiryField("notes", "").ok());
    CHECK(fixture.Scan() == "a b ");
    fixture.CheckVerified();
    CHECK(fixture.core->SetExpiryField("nowhere", "x").code() == ErrorCode::kNotFound);
    CHECK(fixture.core->SetExpiryField("notes", "id").code() == ErrorCode::kInvalidArgument);
    CHECK(fixture.core->SetExpiryField("notes", std::string(65, 'x')).code() == ErrorCode::kInvalidArgument);
  }
}

TEST_CASE("expiry: a database that never synced deletes expired documents after a whole grace period") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    ExpiryFixture fixture(kind);
    fixture.Begin();
    for (int i = 0; i < 2500; ++i) REQUIRE(fixture.PutUntil("a" + std::to_string(i), kNow - 1).ok());
    REQUIRE(fixture.PutUntil("later", kNow + kDay).ok());
    REQUIRE(fixture.Put("notes", "kept", "{}").ok());
    CHECK(fixture.Purge() == 0);  // Sets the mark.
    fixture.clock->Advance(7 * kDay - 1);
    CHECK(fixture.Purge() == 0);
    fixture.Reopen();  // The mark is kept.
    fixture.clock->Advance(1);
    CHECK(fixture.Purge() == 2500);
    CHECK(fixture.StoredCount() == 2);  // "later" had not expired when the mark was set.
    CHECK(fixture.Purge() == 0);
    fixture.clock->Advance(7 * kDay);
    CHECK(fixture.Purge() == 1);
    CHECK(fixture.StoredCount() == 1);
    CHECK(fixture.Scan() == "kept ");
    fixture.CheckVerified();
  }
}

TEST_CASE("expiry: a clock that jumps ahead and back deletes nothing that had not expired") {
  ExpiryFixture fixture(StorageKind::kSqlite);
  fixture.Begin();
  REQUIRE(fixture.PutUntil("gone", kNow - 1).ok());
  REQUIRE(fixture.PutUntil("tomorrow", kNow + kDay).ok());
  CHECK(fixture.Purge() == 0);
  fixture.clock->Advance(1000 * kDay);
  CHECK(fixture.Scan().empty());
  CHECK(fixture.Purge() == 1);  // What had expired before the jump.
  CHECK(fixture.StoredCount() == 1);
  fixture.clock->Advance(-1000 * kDay);
  CHECK(fixture.Scan() == "tomorrow ");
  CHECK(fixture.Purge() == 0);  // The mark lay in the future, and is set anew.
  fixture.clock->Advance(7 * kDay - 1);
  CHECK(fixture.Purge() == 0);
  CHECK(fixture.StoredCount() == 1);
}

TEST_CASE("expiry: a database that has synced, or is told not to, deletes nothing") {
  ExpiryFixture fixture(StorageKind::kSqlite);
  fixture.Begin();
  REQUIRE(fixture.PutUntil("a", kNow - 1).ok());
  CHECK(fixture.Purge() == 0);
  {
    auto view = fixture.core->BeginWrite();
    REQUIRE(view.ok());
    REQUIRE((*view)->PutSetting(std::string(kAcknowledgedHlcSetting), Bytes("\x01", 1)).ok());
    REQUIRE((*view)->Commit().ok());
  }
  fixture.clock->Advance(100 * kDay);
  CHECK(fixture.Purge() == 0);
  fixture.options.expiry_purge = ExpiryPurge::kNever;
  fixture.Reopen();
  CHECK(fixture.Purge() == 0);
  CHECK(fixture.StoredCount() == 1);
  fixture.options.expiry_purge = ExpiryPurge::kAlways;
  fixture.Reopen();
  CHECK(fixture.Purge() == 1);
  CHECK(fixture.StoredCount() == 0);
}

// Goal: the entries by time always agree with the documents.
// Method: random puts, patches of the time, deletions, moves of the clock, purges and changes of the field; verify.
TEST_CASE("expiry: entries agree with documents after random histories, on both backends") {
  for (const StorageKind kind : kKinds) {
    const unsigned seed = 99;
    CAPTURE(seed);
    CAPTURE(static_cast<int>(kind));
    std::mt19937 random(seed);
    ExpiryFixture fixture(kind);
    fixture.Begin();
    const auto time = [&] {
      return std::to_string(fixture.clock->NowUnixMs() + (static_cast<std::int64_t>(random() % 20) - 10) * kDay);
    };
    for (int step = 0; step < 400; ++step) {
      CAPTURE(step);
      const std::string id = "d" + std::to_string(random() % 20);
      switch (random() % 8) {
        case 0: static_cast<void>(fixture.Delete("notes", id).code()); break;
        case 1: REQUIRE(fixture.Put("notes", id, R"({"other":)" + time() + "}").ok()); break;
        case 2: fixture.clock->Advance(static_cast<std::int64_t>(random() % 5) * kDay); break;
        case 3: fixture.Purge(); break;
        case 4:
          if (random() % 10 == 0) {
            REQUIRE(fixture.core->SetExpiryField("notes", random() % 2 == 0 ? "other" : "expires_at").ok());
          }
          break;
        default: REQUIRE(fixture.Put("notes", id, R"({"expires_at":)" + time() + "}").ok());
      }
      if (step % 40 == 0) fixture.CheckVerified();
    }
    fixture.Reopen();
    fixture.CheckVerified();
  }
}

}  // namespace foreshore
