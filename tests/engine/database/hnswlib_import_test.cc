// Goal: an index that hnswlib saved is, after its import, an index like any other, over documents like any others.
// Method: hnswlib's own files and search; the database reopened, rebuilt and verified after it.
#include <algorithm>
#include <map>

#include "storage/base/file.h"
#include "tests/engine/database/core_test.h"
#include "tests/index/hnswlib_writer.h"
#include "tests/index/synthetic_vectors.h"

using namespace foreshore;

namespace {

constexpr std::uint32_t kDimension = 16;
constexpr std::size_t kCount = 2500;

class ImportFixture : public CoreFixture {
 public:
  explicit ImportFixture(StorageKind kind = StorageKind::kSqlite, std::size_t links = 8)
      : CoreFixture(kind), writer(VectorMetric::kCosine, kDimension, kCount, links) {
    SyntheticVectors vectors(kDimension, 30, 21);
    for (std::size_t i = 0; i < kCount; ++i) {
      rows.push_back(vectors.Next());
      writer.Add(rows.back(), 1000 + i);
    }
    for (std::size_t i = 0; i < kCount; i += 10) writer.Delete(1000 + i);
    for (int i = 0; i < 20; ++i) queries.push_back(vectors.Next());
    file = scratch.path() + "/saved.bin";
    writer.Save(file);
    Open();
    REQUIRE(core->CreateCollection("notes").ok());
  }
  HnswlibImportOptions Options() const {
    HnswlibImportOptions import;
    import.file = file;
    import.field = "embedding";
    import.metric = VectorMetric::kCosine;
    return import;
  }
  std::vector<std::string> Nearest(const std::vector<float>& query, std::size_t k) {
    const auto view = *core->BeginRead();
    const auto& collection = *view->catalog().Find("notes");
    NeighbourOptions search;
    search.ef = 200;
    const auto cursor = view->Nearest(*collection.FindVectorIndex("embedding"), query, search);
    REQUIRE_MESSAGE(cursor.ok(), cursor.status().ToString());
    std::vector<std::string> ids;
    while (ids.size() < k) {
      const auto neighbour = *(*cursor)->Next();
      if (!neighbour) break;
      ids.emplace_back((*view->GetByDocid(collection, neighbour->docid))->id);
    }
    return ids;
  }
  // How many of hnswlib's own ten nearest are found, over all queries.
  std::size_t EqualCount() {
    std::size_t count = 0;
    for (const auto& query : queries) {
      const auto ids = Nearest(query, 10);
      for (const std::uint64_t label : writer.Search(query, 10, 200)) {
        count += std::count(ids.begin(), ids.end(), std::to_string(label)) > 0 ? 1 : 0;
      }
    }
    return count;
  }
  IndexInfo Index() const {
    const auto indexes = core->ListIndexes();
    REQUIRE(indexes.ok());
    REQUIRE(indexes->size() == 1);
    return indexes->front();
  }

  TemporaryDirectory scratch;
  std::string file;
  HnswlibWriter writer;
  std::vector<std::vector<float>> rows;
  std::vector<std::vector<float>> queries;
};

std::string ReadBody(const CoreFixture& db, const std::string& id) {
  const auto view = *db.core->BeginRead();
  const auto found = view->Get(*view->catalog().Find("notes"), id);
  REQUIRE(found.ok());
  return found->has_value() ? std::string((*found)->body) : std::string();
}

}  // namespace

TEST_CASE("import from hnswlib: labels become documents, and its graph the index, on either backend") {
  for (const StorageKind kind : kKinds) {
    ImportFixture db(kind);
    // One document has the id of a label already, one has a vector and no label, one has no vector.
    REQUIRE(db.Put("notes", "1001", R"({"site":"A"})").ok());
    REQUIRE(db.Put("notes", "bare", R"({"site":"B"})").ok());
    std::string own = R"({"embedding":[1)";
    for (std::uint32_t i = 1; i < kDimension; ++i) own += ",0";
    REQUIRE(db.Put("notes", "own", own + "]}").ok());

    auto import = db.Options();
    std::uint64_t last_done = 0;
    import.progress = [&](std::uint64_t done, std::uint64_t total) { CHECK(total == kCount);
    last_done = done;
  };
  const auto result = db.core->ImportHnswlib("notes", import);
  REQUIRE_MESSAGE(result.ok(), result.status().ToString());
  CHECK(last_done == kCount);
  CHECK(result->document_count == kCount - kCount / 10);
  CHECK(result->deleted_count == kCount / 10);
  CHECK(result->dimension == kDimension);
  CHECK(result->links_per_node == 8);
  CHECK(result->has_kept_links);
  CHECK(db.Index().opened_from == "imported");
  CHECK(db.Index().vector_count == kCount - kCount / 10 + 1);
  CHECK(db.Index().options.links_per_node == 8);
  CHECK(ReadBody(db, "1001").starts_with(R"({"site":"A","embedding":[)"));
  CHECK(ReadBody(db, "1000").empty());  // It was deleted.
  CHECK(db.EqualCount() >= 190);        // Of 200.

  // The index lives on: a document changes, one goes, and everything is so after reopening.
  REQUIRE(db.Put("notes", "1002", own + "]}").ok());
  CHECK(db.Nearest(db.rows[2], 1).front() != "1002");
  REQUIRE(db.Put("notes", "1002", R"({"embedding":null})").ok());
  db.Reopen();
  CHECK(db.Index().opened_from == "snapshot");
  CHECK(db.Index().vector_count == kCount - kCount / 10);
  CHECK(db.EqualCount() >= 188);
  const auto report = db.core->Verify();
  REQUIRE(report.ok());
  CHECK_MESSAGE(report->problems.empty(), report->problems.front());
}
}

TEST_CASE("import from hnswlib: a database that lost its graph builds it again from the documents") {
  ImportFixture db;
  REQUIRE(db.core->ImportHnswlib("notes", db.Options()).ok());
  const std::size_t equal_count = db.EqualCount();
  db.Close();
  const std::string folder = db.path() + "/index";
  const auto names = ListDirectory(folder);
  REQUIRE(names.ok());
  for (const std::string& name : *names) {
    if (name.ends_with(".hnsw")) REQUIRE(RemoveFile(folder + "/" + name).ok());
  }
  db.Open();
  CHECK(db.Index().opened_from == "rebuilt");
  CHECK(db.Index().vector_count == kCount - kCount / 10);
  CHECK(db.EqualCount() + 6 >= equal_count);
}

TEST_CASE("import from hnswlib: into an index that is there, and again, nothing is there twice") {
  ImportFixture db;
  REQUIRE(db.core->CreateVectorIndex("notes", {.field = "embedding", .dimension = kDimension}).ok());
  auto import = db.Options();
  import.metric.reset();
  for (int i = 0; i < 2; ++i) {
    const auto result = db.core->ImportHnswlib("notes", import);
    REQUIRE_MESSAGE(result.ok(), result.status().ToString());
    CHECK_FALSE(result->has_kept_links);
    CHECK(result->links_per_node == 16);
    CHECK(db.Index().vector_count == kCount - kCount / 10);
    CHECK(db.EqualCount() >= 190);
  }
}

TEST_CASE("import from hnswlib: inserted anew where links are not to be kept, with 16 bits and hnswlib's graph too") {
  ImportFixture db;
  auto import = db.Options();
  import.keep_links = false;
  import.links_per_node = 12;
  import.precision = VectorPrecision::kInt16;
  import.graph = VectorGraphKind::kHnswlib;
  const auto result = db.core->ImportHnswlib("notes", import);
  REQUIRE_MESSAGE(result.ok(), result.status().ToString());
  CHECK_FALSE(result->has_kept_links);
  CHECK(db.Index().options.links_per_node == 12);
  CHECK(db.Index().options.precision == VectorPrecision::kInt16);
  CHECK(db.EqualCount() >= 192);
}

TEST_CASE("import from hnswlib: ids as the caller maps labels to them") {
  ImportFixture db;
  auto import = db.Options();
  import.id_of = [](std::uint64_t label)->Result<std::string> { return "note-" + std::to_string(label);
};
REQUIRE(db.core->ImportHnswlib("notes", import).ok());
CHECK(db.Nearest(db.rows[7], 1).front() == "note-1007");
}

TEST_CASE("import from hnswlib: what does not fit is refused before anything is written") {
  ImportFixture db;
  const auto refused = [&](const HnswlibImportOptions& import, ErrorCode code, const char* says) {
    const Status status = db.core->ImportHnswlib("notes", import).status();
    CHECK_MESSAGE(status.code() == code, status.ToString());
    CHECK_MESSAGE(status.message().find(says) != std::string::npos, status.message());
    CHECK(ReadBody(db, "1001").empty());
  };
  auto import = db.Options();
  import.file = db.scratch.path() + "/nowhere";
  refused(import, ErrorCode::kNotFound, "not found");
  import = db.Options();
  import.metric.reset();
  refused(import, ErrorCode::kInvalidArgument, "vector index \"notes.embedding\": no metric given, expected that of");
  import = db.Options();
  import.links_per_node = 16;
  refused(import, ErrorCode::kInvalidArgument, "has 8 links for each vector, expected 16 to keep them");
  import = db.Options();
  import.field = "";
  refused(import, ErrorCode::kInvalidArgument, "field name has 0 bytes");
  import = db.Options();
  import.id_of = [](std::uint64_t)->Result<std::string> { return std::string("same");
};
refused(import, ErrorCode::kInvalidArgument, "another label has the id \"same\"");
import.id_of = [](std::uint64_t)->Result<std::string> { return std::string();
}
;
refused(import, ErrorCode::kInvalidArgument, "label 1001");
import.id_of = [](std::uint64_t label)
                   ->Result<std::string> {
                     return Status::NotFound("label " + std::to_string(label) + ": no id");
}
;
refused(import, ErrorCode::kNotFound, "label 1001: no id");

ByteString bytes = ReadFile(db.file).value();
REQUIRE(WriteFileAtomic(db.scratch.path() + "/cut", Bytes(bytes).substr(0, bytes.size() - 1)).ok());
import = db.Options();
import.file = db.scratch.path() + "/cut";
refused(import, ErrorCode::kCorruption, "expected");

ImportFixture many_links(StorageKind::kSqlite, 2);
const Status status = many_links.core->ImportHnswlib("notes", many_links.Options()).status();
CHECK_MESSAGE(status.message().find("has 2 links for each vector, expected 4 to 64") != std::string::npos,
              status.message());
CHECK(db.core->ImportHnswlib("nowhere", db.Options()).status().code() == ErrorCode::kNotFound);

REQUIRE(db.core->CreateVectorIndex("notes", {.field = "embedding", .dimension = 8}).ok());
refused(db.Options(), ErrorCode::kInvalidArgument, "has 8 dimensions, file");
REQUIRE(db.core->DropVectorIndex("notes", "embedding").ok());
REQUIRE(db.core
            ->CreateVectorIndex("notes", {.field = "embedding", .dimension = kDimension, .metric = VectorMetric::kL2})
            .ok());
refused(db.Options(), ErrorCode::kInvalidArgument, "metric is l2, asked for cosine");
}
