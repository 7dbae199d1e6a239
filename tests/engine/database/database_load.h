// A load for crash tests of whole databases: commit number n, over two collections with vectors and blobs, is a
// function of a seed and n, so that the state after any prefix can be computed again and compared with what is there.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/database/core.h"
#include "engine/document/json.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"

namespace foreshore {

// The documents of "a" after some number of commits; "b" holds one document, "last", with that number.
struct DatabaseModel {
  std::map<std::string, std::string> documents;
  std::int64_t count = 0;
};

struct DatabaseStep {
  enum class Kind { kPut, kPatch, kDelete };
  Kind kind = Kind::kPut;
  std::string id;
  std::string json;
  std::string blob;  // Empty for none; the document refers to it.
};

class DatabaseLoad {
 public:
  explicit DatabaseLoad(std::uint64_t seed) : seed_(seed) {}

  // Commit number model.count + 1, which is done to the model.
  std::vector<DatabaseStep> Next(DatabaseModel& model) const {
    std::mt19937_64 random(seed_ * 1000003 + static_cast<std::uint64_t>(model.count) + 1);
    const auto below = [&](std::uint64_t bound) { return random() % bound; };
    const std::string n = std::to_string(++model.count);
    std::vector<DatabaseStep> steps(1 + below(3));
    for (DatabaseStep& step : steps) {
      step.id = "d" + std::to_string(below(30));
      std::string& document = model.documents[step.id];
      const std::uint64_t choice = document.empty() ? 9 : below(10);
      const std::string vector = "[" + std::to_string(below(1000)) + "," + std::to_string(1 + below(1000)) + "]";
      if (choice == 0) {
        step.kind = DatabaseStep::Kind::kDelete;
        model.documents.erase(step.id);
        continue;
      }
      if (choice < 4) {
        step.kind = DatabaseStep::Kind::kPatch;
        step.json = R"({"n":)" + n + (choice == 1 ? R"(,"v":)" + vector : std::string()) + "}";
        document = *MergePatch(document, step.json);
        continue;
      }
      std::string reference = "null";
      if (below(3) == 0) {
        step.blob = n + step.id + std::string(below(10) == 0 ? 20000 : below(700), static_cast<char>('a' + below(26)));
        reference = R"({"$blob":")" + ToHex(AsBytes(Sha256Of(step.blob))) + R"("})";
      }
      step.json = R"({"n":)" + n + R"(,"pad":")" + std::string(below(12) == 0 ? 9000 : below(500), 'x') + R"(","v":)" +
                  vector + R"(,"file":)" + reference + "}";
      document = step.json;
    }
    return steps;
  }

  DatabaseModel After(std::int64_t count) const {
    DatabaseModel model;
    while (model.count < count) Next(model);
    return model;
  }

 private:
  const std::uint64_t seed_;
};

// The order in which a commit's blobs and references reach the disk; the second is a planted bug.
enum class BlobOrder { kBeforeReference, kAfterReference };

inline Status PrepareDatabase(DatabaseCore& core) {
  for (const char* name : {"a", "b"}) FORESHORE_RETURN_IF_ERROR(core.EnsureCollection(name));
  if (core.catalog()->Find("a")->FindVectorIndex("v") != nullptr) return Status::Ok();
  return core.CreateVectorIndex("a", {.field = "v", .dimension = 2, .metric = VectorMetric::kL2});
}

inline Status CommitSteps(DatabaseCore& core, const std::vector<DatabaseStep>& steps, std::int64_t number,
                          BlobOrder order = BlobOrder::kBeforeReference) {
  const auto put_blobs = [&]() -> Status {
    for (const DatabaseStep& step : steps) {
      if (!step.blob.empty()) FORESHORE_RETURN_IF_ERROR(core.blobs().Put(step.blob).status());
    }
    return Status::Ok();
  };
  if (order == BlobOrder::kBeforeReference) {
    FORESHORE_RETURN_IF_ERROR(put_blobs());
  } else {
    // A reference to what is not there at all is refused: only a file that is there, and not yet what it says, gets
    // this far.
    for (const DatabaseStep& step : steps) {
      const std::string path = core.blobs().PathOf(Sha256Of(step.blob));
      if (step.blob.empty() || FileExists(path)) continue;
      FORESHORE_RETURN_IF_ERROR(CreateDirectories(path.substr(0, path.rfind('/'))));
      FORESHORE_RETURN_IF_ERROR(File::Create(path).status());
    }
  }
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core.BeginWrite());
    const CollectionDefinition& a = *view->catalog().Find("a");
    for (const DatabaseStep& step : steps) {
      switch (step.kind) {
        case DatabaseStep::Kind::kPut: FORESHORE_RETURN_IF_ERROR(view->Put(a, step.id, step.json)); break;
        case DatabaseStep::Kind::kPatch: FORESHORE_RETURN_IF_ERROR(view->Patch(a, step.id, step.json)); break;
        case DatabaseStep::Kind::kDelete: FORESHORE_RETURN_IF_ERROR(view->Delete(a, step.id)); break;
      }
    }
    const std::string last = R"({"n":)" + std::to_string(number) + "}";
    FORESHORE_RETURN_IF_ERROR(view->Put(*view->catalog().Find("b"), "last", last));
    FORESHORE_RETURN_IF_ERROR(view->Commit());
  }
  if (order == BlobOrder::kBeforeReference) return Status::Ok();
  for (const DatabaseStep& step : steps) {
    if (!step.blob.empty()) FORESHORE_RETURN_IF_ERROR(core.blobs().Remove(Sha256Of(step.blob)));
  }
  return put_blobs();
}

// The number of the last commit that the database holds; 0 for none.
inline Result<std::int64_t> LastCommit(DatabaseCore& core) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core.BeginRead());
  const CollectionDefinition* collection = view->catalog().Find("b");
  if (collection == nullptr) return std::int64_t{0};
  FORESHORE_ASSIGN_OR_RETURN(const auto record, view->Get(*collection, "last"));
  if (!record) return std::int64_t{0};
  return std::strtoll(std::string(FindValue(record->body, "n")).c_str(), nullptr, 10);
}

// Neighbours of one point in order, all of them.
inline Result<std::vector<std::pair<std::int64_t, double>>> AllNeighbours(DatabaseCore& core) {
  std::vector<std::pair<std::int64_t, double>> found;
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core.BeginRead());
  const CollectionDefinition* a = view->catalog().Find("a");
  const VectorIndexDefinition* index = a == nullptr ? nullptr : a->FindVectorIndex("v");
  if (index == nullptr) return found;
  const float query[] = {0, 1};
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view->Nearest(*index, query, {.k_hint = 100, .ef = 0}));
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const auto next, cursor->Next());
    if (!next) break;
    found.emplace_back(next->docid, next->distance);
  }
  std::sort(found.begin(), found.end());  // Equal distances may come in any order.
  return found;
}

// The documents, the log and the graph against the model; empty where all agree.
inline std::string CompareDatabase(DatabaseCore& core, const DatabaseModel& model) {
  const std::string commit = " of commit " + std::to_string(model.count);
  const auto view = core.BeginRead();
  if (!view.ok()) return view.status().ToString();
  const CollectionDefinition* a = (*view)->catalog().Find("a");
  const CollectionDefinition* b = (*view)->catalog().Find("b");
  if (a == nullptr || b == nullptr) return model.count == 0 ? "" : "a collection" + commit + " is gone";
  std::size_t count = 0;
  const auto cursor = (*view)->Scan(*a);
  while (cursor.ok()) {
    const auto more = (*cursor)->Next();
    if (!more.ok()) return more.status().ToString();
    if (!*more) break;
    ++count;
    const auto expected = model.documents.find(std::string((*cursor)->id()));
    if (expected == model.documents.end()) return "document " + std::string((*cursor)->id()) + " is none" + commit;
    for (const char* field : {"n", "v", "pad", "file"}) {
      if (FindValue((*cursor)->body(), field) == FindValue(expected->second, field)) continue;
      return "document " + expected->first + " is not that" + commit + ", field " + field;
    }
  }
  if (count != model.documents.size()) return "documents differ in number from those" + commit;
  // Every commit writes b/last, so the log has as many entries for it.
  const auto last = (*view)->FindDocid(*b, "last");
  if (!last.ok()) return last.status().ToString();
  std::int64_t logged = 0;
  const Status read = core.log().ReadAfter((*view)->txn(), 0, [&](const Change& change) {
    if (*last && change.kind == ChangeKind::kDocument && change.collection_id == b->id && change.docid == **last) {
      ++logged;
    }
    return true;
  });
  if (!read.ok()) return read.ToString();
  if (logged != model.count) return "the log has " + std::to_string(logged) + " commits, expected those" + commit;
  const auto neighbours = AllNeighbours(core);
  if (!neighbours.ok()) return neighbours.status().ToString();
  if (a->FindVectorIndex("v") == nullptr) return model.count == 0 ? "" : "the vector index" + commit + " is gone";
  return neighbours->size() == count
             ? ""
             : "search finds " + std::to_string(neighbours->size()) + " of the " + std::to_string(count) + commit;
}

}  // namespace foreshore
