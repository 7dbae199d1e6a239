// Goal: whatever ends the process or fills the disk while attachments are put and removed, no committed reference is
// without its content, and what is left over is collected.
//
// FORESHORE_KILLS sets how many kills per backend (default 6), FORESHORE_TEST_SEED repeats the choice of moments.
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <fstream>
#include <map>
#include <random>

#include "engine/database/attachments.h"
#include "tests/engine/database/attachment_source.h"
#include "tests/engine/database/core_test.h"
#include "tests/kill_harness.h"

using namespace foreshore;

namespace {

std::uint64_t FromEnvironment(const char* name, std::uint64_t fallback) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::strtoull(value, nullptr, 10) : fallback;
}

DatabaseOptions OptionsFor(StorageKind kind) {
  DatabaseOptions options;
  options.create = true;
  options.storage = kind;
  options.embed_in_background = false;
  return options;
}

// Content of step `i`: of one piece and of several, some equal to that of other steps.
ByteString ContentOf(std::uint64_t i) {
  return SeededRandom(i % 7).Generate(i % 3 == 0 ? 700'000 : 500 + i % 7);
}

Status Attach(DatabaseCore& core, const std::string& name, Bytes content) {
  FORESHORE_ASSIGN_OR_RETURN(const auto staged, AttachmentAccess::Stage(core, SourceOf(content)));
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core.BeginWrite());
  FORESHORE_ASSIGN_OR_RETURN(const auto* notes, view->catalog().Require("notes"));
  FORESHORE_RETURN_IF_ERROR(AttachmentAccess::Put(*view, *notes, "n1", name, "", staged).status());
  return view->Commit();
}

Status Prepare(DatabaseCore& core) {
  FORESHORE_RETURN_IF_ERROR(core.EnsureCollection("notes"));
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core.BeginWrite());
  FORESHORE_ASSIGN_OR_RETURN(const auto* notes, view->catalog().Require("notes"));
  FORESHORE_ASSIGN_OR_RETURN(const auto found, view->Get(*notes, "n1"));
  if (!found) FORESHORE_RETURN_IF_ERROR(view->Put(*notes, "n1", R"({"text":"pump"})"));
  return view->Commit();
}

Status Work(const std::string& path, StorageKind kind, std::uint64_t from, const Acknowledger& parent) {
  FORESHORE_ASSIGN_OR_RETURN(const auto core, DatabaseCore::Open(path, OptionsFor(kind)));
  FORESHORE_RETURN_IF_ERROR(Prepare(*core));
  for (std::uint64_t i = from;; ++i) {
    FORESHORE_RETURN_IF_ERROR(Attach(*core, "a" + std::to_string(i % 5), ContentOf(i)));
    parent.Acknowledge(i);
    if (i % 4 == 3) {
      FORESHORE_ASSIGN_OR_RETURN(const auto view, core->BeginWrite());
      FORESHORE_ASSIGN_OR_RETURN(const auto* notes, view->catalog().Require("notes"));
      const Status removed = AttachmentAccess::Remove(*view, *notes, "n1", "a" + std::to_string((i + 2) % 5));
      if (!removed.ok() && removed.code() != ErrorCode::kNotFound) return removed;
      FORESHORE_RETURN_IF_ERROR(view->Commit());
    }
    if (i % 6 == 5) FORESHORE_RETURN_IF_ERROR(core->Checkpoint());
  }
}

// Everything that is referred to is here and right; and after compaction nothing else is.
std::string Check(const std::string& path, StorageKind kind) {
  const auto core = DatabaseCore::Open(path, OptionsFor(kind));
  if (!core.ok()) return "open: " + core.status().ToString();
  const auto check = [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Prepare(**core));
    FORESHORE_ASSIGN_OR_RETURN(const VerifyReport before, (*core)->Verify());
    if (!before.problems.empty()) return Status::Corruption(before.problems.front());
    std::set<std::string> referenced;
    {
      FORESHORE_ASSIGN_OR_RETURN(const auto view, (*core)->BeginRead());
      FORESHORE_ASSIGN_OR_RETURN(const auto* notes, view->catalog().Require("notes"));
      FORESHORE_ASSIGN_OR_RETURN(const auto infos, AttachmentAccess::List(*view, *notes, "n1"));
      for (const AttachmentInfo& info : infos) {
        referenced.insert(info.sha256);
        FORESHORE_ASSIGN_OR_RETURN(const auto attachment, AttachmentAccess::Open(*view, *notes, "n1", info.name));
        std::string content(info.size_bytes, '\0');
        FORESHORE_RETURN_IF_ERROR(attachment->ReadAt(0, content.data(), content.size()).status());
      }
    }
    FORESHORE_RETURN_IF_ERROR((*core)->Compact());
    FORESHORE_ASSIGN_OR_RETURN(const auto left, (*core)->blobs().List());
    if (left.size() != referenced.size()) {
      return Status::Internal(std::to_string(left.size()) + " blobs are left of " + std::to_string(referenced.size()) +
                              " that are referred to");
    }
    FORESHORE_ASSIGN_OR_RETURN(const VerifyReport after, (*core)->Verify());
    return after.problems.empty() ? Status::Ok() : Status::Corruption(after.problems.front());
  };
  const Status status = check();
  return status.ok() ? "" : status.ToString();
}

// Readings: commit `i` adds i % 5 + 1 of them, each with the number of its commit; sealed every so often, because many
// records are in the tail.
Status WorkOnReadings(const std::string& path, StorageKind kind, std::uint64_t from, const Acknowledger& parent) {
  FORESHORE_ASSIGN_OR_RETURN(const auto core, DatabaseCore::Open(path, OptionsFor(kind)));
  if (core->catalog()->Find("r") == nullptr) {
    CollectionOptions options;
    options.kind = CollectionKind::kReadings;
    options.time_field = "t";
    options.series_field = "s";
    FORESHORE_RETURN_IF_ERROR(core->CreateCollection("r", options));
  }
  for (std::uint64_t i = from;; ++i) {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core->BeginWrite());
    FORESHORE_ASSIGN_OR_RETURN(const auto* r, view->catalog().Require("r"));
    for (std::uint64_t n = 0; n < i % 5 + 1; ++n) {
      const std::string body = "{\"t\":" + std::to_string(i) + ",\"s\":" + std::to_string(n) + ",\"pad\":\"" +
                               std::string(i % 40, 'x') + "\"}";
      FORESHORE_RETURN_IF_ERROR(view->PutNew(*r, body).status());
    }
    FORESHORE_RETURN_IF_ERROR(view->Commit());
    parent.Acknowledge(i);
  }
}

// Whole commits from 0 up to the last acknowledged one, or one more.
std::string CheckReadings(const std::string& path, StorageKind kind, std::optional<std::uint64_t> acknowledged,
                          std::uint64_t* next) {
  const auto check = [&]() -> Status {
    FORESHORE_ASSIGN_OR_RETURN(const auto core, DatabaseCore::Open(path, OptionsFor(kind)));
    FORESHORE_ASSIGN_OR_RETURN(const VerifyReport report, core->Verify());
    if (!report.problems.empty()) return Status::Corruption(report.problems.front());
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core->BeginRead());
    const CollectionDefinition* r = view->catalog().Find("r");
    std::map<std::int64_t, std::uint64_t> counts;
    if (r != nullptr) {
      FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view->ScanReadings(*r, {}, ReadingsOrder::kTimeUp));
      while (true) {
        FORESHORE_ASSIGN_OR_RETURN(const bool more, cursor->Next());
        if (!more) break;
        ++counts[cursor->time()];
      }
    }
    std::int64_t expected = 0;
    for (const auto& [time, count] : counts) {
      if (time != expected++ || count != static_cast<std::uint64_t>(time) % 5 + 1) {
        return Status::Corruption("commit " + std::to_string(expected - 1) + " is missing or in part");
      }
    }
    if (acknowledged && counts.size() < *acknowledged + 1) return Status::Corruption("an acknowledged commit is lost");
    if (next != nullptr) *next = counts.size();
    return Status::Ok();
  };
  const Status status = check();
  return status.ok() ? (next != nullptr ? std::to_string(*next) : "") : status.ToString();
}

void KillReadings(StorageKind kind) {
  const std::uint64_t seed = FromEnvironment("FORESHORE_TEST_SEED", std::random_device{}());
  INFO("FORESHORE_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/db.foreshore";
  std::uint64_t next = 0;
  std::uint64_t commit_count = 0;
  for (std::uint64_t kill = 0; kill < FromEnvironment("FORESHORE_KILLS", 6); ++kill) {
    CAPTURE(kill);
    const auto after = std::chrono::microseconds(random() % 200'000);
    const KilledRun run = RunAndKill(
        [&](const Acknowledger& parent) { return WorkOnReadings(path, kind, next, parent).ToString() + "\n"; }, after,
        KillAfter::kFirstAcknowledgement);
    CHECK(run.early_end == "");
    commit_count += run.acknowledged_count;
    const std::string found = RunForked([&] {
      std::uint64_t count = 0;
      return CheckReadings(path, kind, run.last_acknowledged, &count);
    });
    REQUIRE_MESSAGE(found.find_first_not_of("0123456789") == std::string::npos, found);
    next = std::strtoull(found.c_str(), nullptr, 10);
  }
  MESSAGE(commit_count << " acknowledged commits of readings, none lost");
}

void KillAgainAndAgain(StorageKind kind) {
  const std::uint64_t seed = FromEnvironment("FORESHORE_TEST_SEED", std::random_device{}());
  INFO("FORESHORE_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/db.foreshore";
  std::uint64_t next = 0;
  std::uint64_t commit_count = 0;
  const std::uint64_t kill_count = FromEnvironment("FORESHORE_KILLS", 6);
  for (std::uint64_t kill = 0; kill < kill_count; ++kill) {
    CAPTURE(kill);
    const auto after = std::chrono::microseconds(random() % 60'000);
    const KilledRun run =
        RunAndKill([&](const Acknowledger& parent) { return Work(path, kind, next, parent).ToString() + "\n"; }, after,
                   KillAfter::kFirstAcknowledgement);
    CHECK(run.early_end == "");
    if (run.last_acknowledged) next = *run.last_acknowledged + 1;
    commit_count += run.acknowledged_count;
    REQUIRE(RunForked([&] { return Check(path, kind); }) == "");
  }
  MESSAGE(kill_count << " kills, " << commit_count << " acknowledged attachments");
}

// Puts a small one, fills up, puts a large one, makes room, puts it again.
std::string LiveThroughFullDisk(const std::string& path, const std::function<void()>& fill,
                                const std::function<void()>& make_room) {
  const auto run = [&]() -> Status {
    FORESHORE_ASSIGN_OR_RETURN(const auto core, DatabaseCore::Open(path, OptionsFor(StorageKind::kSqlite)));
    FORESHORE_RETURN_IF_ERROR(Prepare(*core));
    FORESHORE_RETURN_IF_ERROR(Attach(*core, "small", "before"));
    fill();
    const ByteString large = SeededRandom(1).Generate(2 << 20);
    const Status refused = Attach(*core, "large", large);
    if (refused.code() != ErrorCode::kNoSpace && refused.code() != ErrorCode::kIo) {
      return Status::Internal("a full disk gave " + refused.ToString());
    }
    make_room();
    FORESHORE_ASSIGN_OR_RETURN(const auto left, ListDirectory(path + "/blobs/tmp"));
    if (!left.empty()) return Status::Internal("a temporary file is left");
    FORESHORE_ASSIGN_OR_RETURN(const VerifyReport report, core->Verify());
    if (!report.problems.empty()) return Status::Corruption(report.problems.front());
    FORESHORE_RETURN_IF_ERROR(Attach(*core, "large", large));
    return core->Close();
  };
  const Status status = run();
  return status.ok() ? Check(path, StorageKind::kSqlite) : status.ToString();
}

}  // namespace

TEST_CASE("attachments: killed at any moment, no reference is without its content (SQLite)") {
  KillAgainAndAgain(StorageKind::kSqlite);
}

TEST_CASE("readings: killed at any moment, they are whole commits up to the last acknowledged (SQLite)") {
  KillReadings(StorageKind::kSqlite);
}

#ifdef FORESHORE_WITH_ROCKSDB
TEST_CASE("readings: killed at any moment, they are whole commits up to the last acknowledged (RocksDB)") {
  KillReadings(StorageKind::kRocksdb);
}

TEST_CASE("attachments: killed at any moment, no reference is without its content (RocksDB)") {
  KillAgainAndAgain(StorageKind::kRocksdb);
}
#endif

TEST_CASE("attachments: a disk that fills up in the middle refuses the attachment and loses nothing") {
  const TemporaryDirectory directory;
  if (::mount("tmpfs", directory.path().c_str(), "tmpfs", 0, "size=6m") == 0) {
    const std::string filler = directory.path() + "/filler";
    const std::string problem = RunForked([&] {
      return LiveThroughFullDisk(
          directory.path() + "/db.foreshore",
          [&] {
            std::ofstream file(filler, std::ios::binary);
            const std::string block(4096, 'x');
            while (file.write(block.data(), 4096).flush()) {
            }
          },
          [&] { std::filesystem::remove(filler); });
    });
    ::umount2(directory.path().c_str(), MNT_DETACH);
    CHECK(problem == "");
  } else {
    MESSAGE("mounting is not allowed here: only the file that may not grow is tested");
  }
}

TEST_CASE("attachments: a file that may not grow refuses the attachment and loses nothing") {
  const TemporaryDirectory directory;
  CHECK(RunForked([&] {
          ::signal(SIGXFSZ, SIG_IGN);
          const auto limit = [](rlim_t bytes) {
            struct rlimit value {};
            ::getrlimit(RLIMIT_FSIZE, &value);
            value.rlim_cur = bytes;
            ::setrlimit(RLIMIT_FSIZE, &value);
          };
          return LiveThroughFullDisk(
              directory.path() + "/db.foreshore", [&] { limit(1 << 20); }, [&] { limit(RLIM_INFINITY); });
        }) == "");
}
