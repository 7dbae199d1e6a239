// kill -9 in the middle of a mixed load on a whole database, then: it opens, verifies clean, holds exactly the state
// after some commit at or after the last acknowledged one, and searches find what that state holds.
//
// FORESHORE_KILLS sets how many kills per backend (default 12), FORESHORE_TEST_SEED repeats the choice of moments.
#include "tests/kill_harness.h"

#include <map>
#include <random>

#include "engine/document/json.h"
#include "tests/engine/database/core_test.h"

using namespace foreshore;

namespace {

std::uint64_t FromEnvironment(const char* name, std::uint64_t fallback) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::strtoull(value, nullptr, 10) : fallback;
}

// What commit `i` does to the documents of "a"; the same for the load and for the model it is checked against.
struct Step {
  enum class Kind { kPut, kPatch, kDelete } kind;
  std::string id;
  std::string json;
};

Step StepAt(std::int64_t i, const std::map<std::string, std::string>& documents) {
  Step step{Step::Kind::kPut, "d" + std::to_string(i * 7919 % 60), ""};
  const bool exists = documents.contains(step.id);
  const std::string n = std::to_string(i);
  if (i % 11 == 5 && exists) {
    step.kind = Step::Kind::kDelete;
  } else if (i % 5 == 3 && exists) {
    step.kind = Step::Kind::kPatch;
    step.json = R"({"n":)" + n + "}";
  } else {
    step.json = R"({"n":)" + n + R"(,"pad":")" + std::string(static_cast<std::size_t>(i % 900), 'x') + R"(","v":[)" +
                n + ",1]}";
  }
  return step;
}

// The model's bodies: keys keep the order of the first put, as the store does.
void ApplyTo(std::map<std::string, std::string>& documents, const Step& step) {
  if (step.kind == Step::Kind::kDelete) {
    documents.erase(step.id);
  } else if (step.kind == Step::Kind::kPatch) {
    documents[step.id] = *MergePatch(documents[step.id], step.json);
  } else {
    documents[step.id] = step.json;
  }
}

DatabaseOptions OptionsFor(StorageKind kind, std::uint64_t kill) {
  DatabaseOptions options;
  options.create = true;
  options.storage = kind;
  options.durability = kill % 2 == 0 ? Durability::kFull : Durability::kNormal;
  options.embed_in_background = false;
  options.index_in_background = false;
  return options;
}

// The number of the last commit that the database holds; 0 for none.
Result<std::int64_t> LastCommit(DatabaseCore& core) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core.BeginRead());
  const CollectionDefinition* collection = view->catalog().Find("b");
  if (collection == nullptr) return std::int64_t{0};
  FORESHORE_ASSIGN_OR_RETURN(const auto record, view->Get(*collection, "last"));
  if (!record) return std::int64_t{0};
  return std::strtoll(std::string(FindValue(record->body, "n")).c_str(), nullptr, 10);
}

Status Work(const std::string& path, StorageKind kind, std::uint64_t kill, const Acknowledger& parent) {
  FORESHORE_ASSIGN_OR_RETURN(const auto core, DatabaseCore::Open(path, OptionsFor(kind, kill)));
  for (const char* name : {"a", "b"}) FORESHORE_RETURN_IF_ERROR(core->EnsureCollection(name));
  if (!core->catalog()->Find("a")->text_index) {
    FORESHORE_RETURN_IF_ERROR(core->CreateTextIndex("a", {.fields = {"n"}}));
  }
  if (core->catalog()->Find("a")->FindVectorIndex("v") == nullptr) {
    FORESHORE_RETURN_IF_ERROR(
        core->CreateVectorIndex("a", {.field = "v", .dimension = 2, .metric = VectorMetric::kL2}));
  }
  if (core->catalog()->Find("a")->field_indexes.empty()) {
    FORESHORE_RETURN_IF_ERROR(core->CreateFieldIndex("a", {.paths = {"n"}, .unique = true}));
    FORESHORE_RETURN_IF_ERROR(core->CreateFieldIndex("a", {.paths = {"pad", "v[]"}, .where = "n > 3"}));
  }
  FORESHORE_ASSIGN_OR_RETURN(std::int64_t i, LastCommit(*core));
  std::map<std::string, std::string> documents;
  for (std::int64_t done = 1; done <= i; ++done) ApplyTo(documents, StepAt(done, documents));
  parent.Acknowledge(static_cast<std::uint64_t>(i));
  while (true) {
    const Step step = StepAt(++i, documents);
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core->BeginWrite());
    const CollectionDefinition& a = *view->catalog().Find("a");
    if (step.kind == Step::Kind::kDelete) FORESHORE_RETURN_IF_ERROR(view->Delete(a, step.id));
    if (step.kind == Step::Kind::kPatch) FORESHORE_RETURN_IF_ERROR(view->Patch(a, step.id, step.json));
    if (step.kind == Step::Kind::kPut) FORESHORE_RETURN_IF_ERROR(view->Put(a, step.id, step.json));
    FORESHORE_RETURN_IF_ERROR(view->Put(*view->catalog().Find("b"), "last", R"({"n":)" + std::to_string(i) + "}"));
    FORESHORE_RETURN_IF_ERROR(view->Commit());
    parent.Acknowledge(static_cast<std::uint64_t>(i));
    ApplyTo(documents, step);
    if (i % 41 == 0) FORESHORE_RETURN_IF_ERROR(core->Checkpoint());
  }
}

std::string Check(const std::string& path, StorageKind kind, std::int64_t acknowledged) {
  const auto core = DatabaseCore::Open(path, OptionsFor(kind, 0));
  if (!core.ok()) return "open: " + core.status().ToString();
  const auto report = (*core)->Verify();
  if (!report.ok()) return "verify: " + report.status().ToString();
  if (!report->problems.empty()) return "verify: " + report->problems.front();
  const auto last = LastCommit(**core);
  if (!last.ok()) return "last: " + last.status().ToString();
  if (*last < acknowledged || *last > acknowledged + 1) {
    return "holds commit " + std::to_string(*last) + ", acknowledged was " + std::to_string(acknowledged);
  }
  std::map<std::string, std::string> expected;
  for (std::int64_t i = 1; i <= *last; ++i) ApplyTo(expected, StepAt(i, expected));
  const auto view = (*core)->BeginRead();
  if (!view.ok()) return view.status().ToString();
  const CollectionDefinition* a = (*view)->catalog().Find("a");
  if (a == nullptr) return expected.empty() ? "" : "collection \"a\" is gone";
  std::map<std::string, std::string> found;
  const auto cursor = (*view)->Scan(*a);
  while (cursor.ok()) {
    const auto more = (*cursor)->Next();
    if (!more.ok()) return more.status().ToString();
    if (!*more) break;
    found.emplace((*cursor)->id(), (*cursor)->body());
  }
  if (found.size() != expected.size()) return "documents differ in number from commit " + std::to_string(*last);
  for (const auto& [id, body] : expected) {
    // A patched document keeps its keys' order; a put one may order them by when each was first seen.
    for (const char* field : {"n", "v", "pad"}) {
      if (FindValue(found[id], field) != FindValue(body, field)) {
        return "document " + id + " differs from commit " + std::to_string(*last) + ": " + found[id].substr(0, 60);
      }
    }
  }
  const VectorIndexDefinition* index = a->FindVectorIndex("v");
  if (index == nullptr) return expected.empty() ? "" : "index \"a.v\" is gone";
  const float query[] = {0, 1};
  const auto nearest = (*view)->Nearest(*index, query, {.k_hint = 100, .ef = 0});
  if (!nearest.ok()) return nearest.status().ToString();
  std::size_t count = 0;
  while (true) {
    const auto next = (*nearest)->Next();
    if (!next.ok()) return next.status().ToString();
    if (!*next) break;
    ++count;
  }
  return count == expected.size() ? ""
                                  : "search finds " + std::to_string(count) + " of " + std::to_string(expected.size());
}

void KillAgainAndAgain(StorageKind kind) {
  const std::uint64_t seed = FromEnvironment("FORESHORE_TEST_SEED", std::random_device{}());
  INFO("FORESHORE_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/db.foreshore";
  const std::uint64_t kill_count = FromEnvironment("FORESHORE_KILLS", 12);
  std::int64_t acknowledged = 0;
  std::uint64_t commit_count = 0;
  for (std::uint64_t kill = 0; kill < kill_count; ++kill) {
    CAPTURE(kill);
    const auto after = std::chrono::microseconds(random() % 60'000);
    const KillAfter from = random() % 4 == 0 ? KillAfter::kFork : KillAfter::kFirstAcknowledgement;
    const KilledRun run = RunAndKill(
        [&](const Acknowledger& parent) { return Work(path, kind, kill, parent).ToString() + "\n"; }, after, from);
    CHECK(run.early_end == "");
    if (run.last_acknowledged) {
      CHECK(static_cast<std::int64_t>(*run.last_acknowledged) >= acknowledged);
      acknowledged = static_cast<std::int64_t>(*run.last_acknowledged);
    }
    commit_count += run.acknowledged_count;
    REQUIRE(RunForked([&] { return Check(path, kind, acknowledged); }) == "");
  }
  MESSAGE(kill_count << " kills, " << commit_count << " acknowledged commits, none lost");
}

}  // namespace

TEST_CASE("kill: a database on SQLite holds every acknowledged commit and verifies clean") {
  KillAgainAndAgain(StorageKind::kSqlite);
}

#ifdef FORESHORE_WITH_ROCKSDB
TEST_CASE("kill: a database on RocksDB holds every acknowledged commit and verifies clean") {
  KillAgainAndAgain(StorageKind::kRocksdb);
}
#endif
