// Allocations fail in turn, those of our own code and those of SQLite: what was begun throws std::bad_alloc or returns
// an error (the C interface turns the first into the second), nothing that was acknowledged is lost, and the database
// opens again, verifies clean and goes on.
//
// FORESHORE_ALLOCATION_STRIDE takes every so manyth allocation only; the default takes every one of ours, as those that
// follow a commit are few among them, and about 400 of SQLite's. Threads of the database's own are off, as what they do
// is not in a fixed order.
#include <doctest/doctest.h>
#include <sqlite3.h>

#include <cstdlib>
#include <new>

#include "tests/engine/query/sql_test_database.h"
#include "tests/storage/quiet_log.h"

namespace {

// Counts down while it is armed, on the thread that armed it.
struct FailingAllocator {
  std::int64_t countdown = -1;  // -1: not armed.
  std::uint64_t count = 0;      // While armed.
  bool has_failed = false;

  bool Fails() {
    if (countdown < 0) return false;
    ++count;
    if (countdown-- > 0) return false;
    has_failed = true;
    return true;
  }
};
thread_local FailingAllocator of_cpp;
thread_local FailingAllocator of_sqlite;

void* Allocate(std::size_t bytes) {
  if (of_cpp.Fails()) throw std::bad_alloc();
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* AllocateAligned(std::size_t bytes, std::align_val_t alignment) {
  if (of_cpp.Fails()) throw std::bad_alloc();
  const auto boundary = static_cast<std::size_t>(alignment);
  void* memory = std::aligned_alloc(boundary, (bytes + boundary - 1) / boundary * boundary);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

sqlite3_mem_methods sqlite_memory;  // SQLite's own.

}  // namespace

void* operator new(std::size_t bytes) {
  return Allocate(bytes);
}
void* operator new[](std::size_t bytes) {
  return Allocate(bytes);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return AllocateAligned(bytes, alignment);
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return AllocateAligned(bytes, alignment);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace foreshore {
namespace {

// Before anything uses SQLite.
const bool is_installed = [] {
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory);
  sqlite3_mem_methods failing = sqlite_memory;
  failing.xMalloc = [](int bytes) -> void* { return of_sqlite.Fails() ? nullptr : sqlite_memory.xMalloc(bytes); };
  failing.xRealloc = [](void* memory, int bytes) -> void* {
    return of_sqlite.Fails() ? nullptr : sqlite_memory.xRealloc(memory, bytes);
  };
  return sqlite3_config(SQLITE_CONFIG_MALLOC, &failing) == SQLITE_OK;
}();

class Scenario {
 public:
  explicit Scenario(FailingAllocator& allocator) : allocator_(allocator) {
    options_.create = true;
    options_.durability = Durability::kNormal;
    options_.embed_in_background = false;
    options_.index_in_background = false;
  }

  // Allocation number `index` fails; -1: none. Returns what is wrong.
  std::string Run(std::int64_t index) {
    allocator_ = {};
    if (index >= 0) allocator_.countdown = index;
    if (index < 0) allocator_.countdown = INT64_MAX;
    const Status status = Guarded([this] { return Work(); });
    allocator_.countdown = -1;
    if (index < 0 && !status.ok()) return status.ToString();
    return Check();
  }

 private:
  // As the C interface does it.
  template <typename Body>
  static Status Guarded(const Body& body) {
    try {
      return body();
    } catch (const std::bad_alloc&) {
      return Status(ErrorCode::kLimit, "memory: none left");
    }
  }

  Status Work() {
    FORESHORE_ASSIGN_OR_RETURN(const auto core, DatabaseCore::Open(path(), options_));
    // After a failure the work goes on where it can, with the same objects.
    Guarded([&] { return Prepare(*core); }).IgnoreError();
    FORESHORE_ASSIGN_OR_RETURN(const auto session, SqlSession::Create(*core));
    Status first_failure;
    for (int round = 0; round < 3; ++round) {
      const std::string id = "d" + std::to_string(round);
      const Status written = Guarded([&] { return Write(*session, id, round); });
      if (written.ok()) acknowledged_.push_back(id);
      const Status read = Guarded([&] { return Read(*session); });
      if (first_failure.ok()) first_failure = written.ok() ? read : written;
    }
    const Status closed = core->Close();
    return first_failure.ok() ? closed : first_failure;
  }

  static Status Prepare(DatabaseCore& core) {
    FORESHORE_RETURN_IF_ERROR(core.EnsureCollection("notes"));
    FORESHORE_RETURN_IF_ERROR(core.CreateVectorIndex("notes", {.field = "v", .dimension = 2}));
    FORESHORE_RETURN_IF_ERROR(core.CreateFieldIndex("notes", {.paths = {"n"}}));
    return core.WaitIndexed(std::chrono::minutes(1), {});
  }

  static Status Write(SqlSession& session, const std::string& id, int round) {
    const std::string n = std::to_string(round);
    const std::string long_text(600, 'x');
    return RunSql(session, "INSERT INTO notes (id, body) VALUES ('" + id + "', '{\"n\":" + n + ",\"text\":\"" +
                               long_text + "\",\"tags\":[\"a\",\"b\"],\"v\":[1," + n + "]}')")
        .status();
  }

  static Status Read(SqlSession& session) {
    for (const char* sql : {"SELECT id, n FROM notes WHERE n >= 0 AND n < 10 ORDER BY n",
                            "SELECT count(*), max(text) FROM notes GROUP BY tags",
                            "SELECT id FROM notes WHERE v MATCH '[1,1]' ORDER BY distance LIMIT 2",
                            "UPDATE notes SET n = n + 0 WHERE id = 'd0'"}) {
      FORESHORE_RETURN_IF_ERROR(RunSql(session, sql).status());
    }
    return Status::Ok();
  }

  std::string Check() {
    const auto core = DatabaseCore::Open(path(), options_);
    if (!core.ok()) return "open: " + core.status().ToString();
    const auto report = (*core)->Verify();
    if (!report.ok()) return "verify: " + report.status().ToString();
    if (!report->problems.empty()) return "verify: " + report->problems.front();
    const auto session = SqlSession::Create(**core);
    if (!session.ok()) return session.status().ToString();
    for (const std::string& id : acknowledged_) {
      const std::string n = Rows(**session, "SELECT n FROM notes WHERE id = '" + id + "'");
      if (n != id.substr(1)) return "document " + id + " has n " + n;
    }
    if (const Status more = Prepared(**core); !more.ok()) return "after the failure: " + more.ToString();
    const auto fresh = SqlSession::Create(**core);
    const Status written = fresh.ok() ? Write(**fresh, "more", 7) : fresh.status();
    if (!written.ok()) return "after the failure: " + written.ToString();
    return Rows(**fresh, "SELECT n FROM notes WHERE id = 'more'") == "7" ? "" : "a new document is not there";
  }
  static Status Prepared(DatabaseCore& core) { return core.EnsureCollection("notes"); }
  std::string path() const { return directory_.path() + "/db.foreshore"; }

  FailingAllocator& allocator_;
  TemporaryDirectory directory_;
  DatabaseOptions options_;
  std::vector<std::string> acknowledged_;
};

void FailInTurn(FailingAllocator& allocator, std::int64_t runs_max) {
  const QuietLog quiet;
  REQUIRE(is_installed);
  REQUIRE(Scenario(allocator).Run(-1) == "");
  const auto total = static_cast<std::int64_t>(allocator.count);
  const char* given = std::getenv("FORESHORE_ALLOCATION_STRIDE");
  const std::int64_t stride = given != nullptr ? std::strtoll(given, nullptr, 10) : total / runs_max + 1;
  int failed_count = 0;
  for (std::int64_t index = 0; index < total; index += stride) {
    CAPTURE(index);
    const std::string problem = Scenario(allocator).Run(index);
    CHECK(problem == "");
    if (allocator.has_failed) ++failed_count;
  }
  CHECK(failed_count > 100);
  MESSAGE(failed_count << " of " << total << " allocations failed in turn");
}

}  // namespace

TEST_CASE("allocation: one of our own fails in turn") {
  FailInTurn(of_cpp, 5000);
}

TEST_CASE("allocation: one of SQLite's fails in turn") {
  FailInTurn(of_sqlite, 400);
}

}  // namespace foreshore
