#include <atomic>
#include <chrono>
#include <cmath>
#include <map>
#include <random>
#include <thread>

#include "engine/database/derived_vector_index.h"
#include "engine/database/stored_vector.h"
#include "engine/database/vector_reader.h"
#include "index/quantizer.h"
#include "storage/base/file.h"
#include "tests/engine/database/core_test.h"

using namespace foreshore;

namespace {

using Ids = std::vector<std::string>;

std::string VectorJson(float x, float y) {
  return R"({"v":[)" + std::to_string(x) + "," + std::to_string(y) + "]}";
}

// A circle of `count` directions: document i points at angle i.
void PutCircle(CoreFixture& db, int count) {
  auto view = *db.core->BeginWrite();
  const auto* collection = view->catalog().Find("a");
  for (int i = 0; i < count; ++i) {
    const double angle = i * 6.28318 / count;
    REQUIRE(view->Put(*collection, std::to_string(i),
                      VectorJson(static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))))
                .ok());
  }
  REQUIRE(view->Commit().ok());
}

std::vector<std::string> SnapshotFiles(const CoreFixture& db) {
  std::vector<std::string> files;
  const auto names = ListDirectory(db.path() + "/index");
  REQUIRE(names.ok());
  for (const std::string& name : *names) {
    if (name.ends_with(".hnsw")) files.push_back(db.path() + "/index/" + name);
  }
  return files;
}

std::uint64_t RowCount(const CoreFixture& db) {
  const auto view = db.core->BeginRead().value();
  const auto cursor = view->txn().NewCursor(view->catalog().Find("a")->FindVectorIndex("v")->vectors).value();
  std::uint64_t count = 0;
  for (Status status = cursor->SeekFirst(); cursor->valid(); status = cursor->Next()) {
    REQUIRE(status.ok());
    ++count;
  }
  return count;
}

// What a reader goes over, each of which it also finds by itself.
std::map<std::int64_t, ByteString> StoredVectors(ReadView& view) {
  VectorReader vectors(view.txn(), *view.catalog().Find("a")->FindVectorIndex("v"));
  std::map<std::int64_t, ByteString> all;
  for (Status status = vectors.SeekFirst();; status = vectors.Next()) {
    REQUIRE(status.ok());
    if (!vectors.valid()) break;
    all[vectors.docid()] = vectors.value();
  }
  for (const auto& [docid, stored] : all) CHECK(vectors.Get(docid).value() == Bytes(stored));
  return all;
}

std::string OpenedFrom(const CoreFixture& db) {
  const auto indexes = db.core->ListIndexes();
  REQUIRE(indexes.ok());
  REQUIRE(indexes->size() == 1);
  return indexes->front().opened_from;
}

}  // namespace

TEST_CASE("vectors: put, change, removal and deletion are seen by the next search, on either backend") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    REQUIRE(db.Put("a", "before", VectorJson(1, 0.1F)).ok());
    REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
    REQUIRE(db.Put("a", "east", VectorJson(1, 0)).ok());
    REQUIRE(db.Put("a", "north", VectorJson(0, 1)).ok());
    const auto nearest = [&] {
      auto view = *db.core->BeginRead();
      return db.Nearest(*view, "a", "v", {1, 0}, 10);
    };
    CHECK(nearest() == Ids{"east", "before", "north"});
    REQUIRE(db.Put("a", "east", VectorJson(-1, 0)).ok());
    CHECK(nearest() == Ids{"before", "north", "east"});
    REQUIRE(db.Put("a", "before", R"({"v":null})").ok());
    CHECK(nearest() == Ids{"north", "east"});
    REQUIRE(db.Delete("a", "north").ok());
    CHECK(nearest() == Ids{"east"});
    db.CheckVerified();
    db.Reopen();
    CHECK(nearest() == Ids{"east"});
    CHECK(OpenedFrom(db) == "snapshot");
    db.CheckVerified();
  }
}

TEST_CASE("vectors: a view sees the vectors of its own snapshot, a transaction its own writes") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
  PutCircle(db, 100);
  auto old_view = *db.core->BeginRead();
  REQUIRE(db.Put("a", "0", VectorJson(-1, 0)).ok());
  REQUIRE(db.Put("a", "new", VectorJson(1, 0.001F)).ok());
  REQUIRE(db.Delete("a", "1").ok());
  CHECK(db.Nearest(*old_view, "a", "v", {1, 0}, 1) == Ids{"0"});
  CHECK(db.Nearest(*old_view, "a", "v", {1, 0}, 200).size() == 100);
  auto new_view = *db.core->BeginRead();
  CHECK(db.Nearest(*new_view, "a", "v", {1, 0}, 1) == Ids{"new"});
  CHECK(db.Nearest(*new_view, "a", "v", {1, 0}, 200).size() == 100);

  auto writer = *db.core->BeginWrite();
  const auto* collection = writer->catalog().Find("a");
  REQUIRE(writer->Put(*collection, "mine", VectorJson(1, 0)).ok());
  REQUIRE(writer->Delete(*collection, "new").ok());
  CHECK(db.Nearest(*writer, "a", "v", {1, 0}, 1) == Ids{"mine"});
  CHECK(db.Nearest(*writer, "a", "v", {1, 0}, 200).size() == 100);
  writer.reset();
  auto after = *db.core->BeginRead();
  CHECK(db.Nearest(*after, "a", "v", {1, 0}, 1) == Ids{"new"});
}

TEST_CASE("vectors: a wrong dimension, a text and a huge number are refused and name the index") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
  for (const char* bad : {R"({"v":[1]})", R"({"v":[1,2,3]})", R"({"v":"x"})", R"({"v":[1,"2"]})", R"({"v":[1,1e999]})",
                          R"({"v":[[1,2],3]})", R"({"v":[1,null]})", R"({"v":[]})", R"({"v":[[]]})",
                          R"({"v":[[1,2],[3]]})", R"({"v":[[1,2],[3,4,5]]})", R"({"v":[[1,2],[3,"4"]]})",
                          R"({"v":[1,[2]]})", R"({"v":[[[1,2]]]})", R"({"v":[[1,2],{}]})"}) {
    CAPTURE(bad);
    const Status status = db.Put("a", "1", bad);
    CHECK(status.code() == ErrorCode::kInvalidArgument);
    CHECK(status.message().starts_with("vector index \"a.v\": "));
  }
  auto view = *db.core->BeginRead();
  const auto* index = view->catalog().Find("a")->FindVectorIndex("v");
  const float wrong[] = {1, 2, 3};
  CHECK(view->Nearest(*index, wrong, {}).status().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("vectors: a document with several is found by its nearest, once, also after a reopening and a rebuild") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    REQUIRE(db.Put("a", "before", R"({"v":[[0,3],[5,5],[0.5,0]]})").ok());
    REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2, .metric = VectorMetric::kL2}).ok());
    REQUIRE(db.Put("a", "one", R"({"v":[1,0]})").ok());
    REQUIRE(db.Put("a", "alone", R"({"v":[[0,2]]})").ok());
    REQUIRE(db.Put("a", "many", R"({"v":[[9,9],[0,1.5],[0,1.6]]})").ok());
    const auto nearest = [&](std::vector<float> query) {
      auto view = *db.core->BeginRead();
      return db.Nearest(*view, "a", "v", std::move(query), 10);
    };
    const auto check = [&] {
      CHECK(nearest({0, 0}) == Ids{"before", "one", "many", "alone"});
      CHECK(nearest({9, 9}) == Ids{"many", "before", "alone", "one"});
      CHECK(nearest({0, 3}) == Ids{"before", "alone", "many", "one"});
      db.CheckVerified();
    };
    check();
    db.Reopen();
    CHECK(OpenedFrom(db) == "snapshot");
    check();
    db.Close();
    for (const std::string& file : SnapshotFiles(db)) REQUIRE(RemoveFile(file).ok());
    db.Open();
    CHECK(OpenedFrom(db) == "rebuilt");
    check();
    REQUIRE(db.Put("a", "many", R"({"v":[[0.1,0]]})").ok());
    REQUIRE(db.Put("a", "one", R"({"v":[[9,9],[8,8]]})").ok());
    REQUIRE(db.Delete("a", "before").ok());
    CHECK(nearest({0, 0}) == Ids{"many", "alone", "one"});
    db.CheckVerified();
  }
}

TEST_CASE("vectors: those that the application writes are in its documents alone") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    REQUIRE(db.Put("a", "first", VectorJson(1, 0)).ok());
    REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
    PutCircle(db, 20);
    REQUIRE(db.Put("a", "none", R"({"v":null})").ok());
    REQUIRE(db.Put("a", "3", "{}").ok());
    REQUIRE(db.Delete("a", "4").ok());
    CHECK(RowCount(db) == 0);
    const auto check = [&] {
      auto view = *db.core->BeginRead();
      CHECK(db.Nearest(*view, "a", "v", {1, 0}, 100).size() == 19);
      CHECK(StoredVectors(*view).size() == 19);
      db.CheckVerified();
      CHECK(db.core->Verify()->vector_count == 19);
    };
    check();
    db.Close();
    for (const std::string& file : SnapshotFiles(db)) REQUIRE(RemoveFile(file).ok());
    db.Open();
    CHECK(OpenedFrom(db) == "rebuilt");
    check();
  }
}

TEST_CASE("vectors: an index from before, whose vectors are rows, goes on with them") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
  PutCircle(db, 20);
  std::map<std::int64_t, ByteString> rows;
  ByteString catalogue_row;
  std::uint32_t id = 0;
  {
    auto view = *db.core->BeginRead();
    const VectorIndexDefinition& index = *view->catalog().Find("a")->FindVectorIndex("v");
    id = index.id;
    catalogue_row = EncodeVectorIndex(index);
    rows = StoredVectors(*view);
  }
  db.Close();
  {  // Version 3 ended before it said whether there are rows.
    catalogue_row[0] = 3;
    catalogue_row.pop_back();
    const auto store = OpenSqliteStore(db.path() + "/store.db", StoreOptions()).value();
    const KeyspaceId catalogue = store->OpenKeyspace("catalog", KeyspaceKind::kBytes).value();
    const KeyspaceId vectors = store->OpenKeyspace("v" + std::to_string(id), KeyspaceKind::kInteger).value();
    const auto txn = store->BeginWrite().value();
    REQUIRE(txn->Put(catalogue, Bytes("x" + std::to_string(id)), catalogue_row).ok());
    for (const auto& [docid, row] : rows) REQUIRE(txn->Put(vectors, docid, row).ok());
    REQUIRE(txn->Commit().ok());
  }
  for (const std::string& file : SnapshotFiles(db)) REQUIRE(RemoveFile(file).ok());
  db.Open();
  CHECK(OpenedFrom(db) == "rebuilt");
  CHECK(RowCount(db) == 20);
  REQUIRE(db.Put("a", "more", VectorJson(1, 0)).ok());
  CHECK(RowCount(db) == 21);
  REQUIRE(db.Put("a", "3", "{}").ok());
  REQUIRE(db.Delete("a", "4").ok());
  CHECK(RowCount(db) == 19);
  const auto nearest = [&] {
    auto view = *db.core->BeginRead();
    return db.Nearest(*view, "a", "v", {1, 0}, 100);
  };
  const Ids before = nearest();
  CHECK(before.size() == 19);
  db.CheckVerified();
  db.Reopen();
  CHECK(nearest() == before);
  CHECK(RowCount(db) == 19);
}

TEST_CASE("catalogue: a row of a vector index says whether its vectors are rows, and nothing impossible") {
  VectorIndexDefinition index;
  index.id = 7;
  index.name = "a.v";
  index.options.field = "v";
  index.options.dimension = 2;
  index.paths = {"v"};
  for (const bool has_rows : {false, true}) {
    index.has_rows = has_rows;
    const ByteString row = EncodeVectorIndex(index);
    CHECK(DecodeVectorIndex(row)->has_rows == has_rows);
    ByteString older = row.substr(0, row.size() - 1);
    CHECK(DecodeVectorIndex(older).status().code() == ErrorCode::kCorruption);
    older[0] = 3;
    CHECK(DecodeVectorIndex(older)->has_rows);
    ByteString damaged = row;
    damaged.back() = 2;
    CHECK(DecodeVectorIndex(damaged).status().code() == ErrorCode::kCorruption);
    ByteString newer = row;
    newer[0] = 5;
    CHECK(DecodeVectorIndex(newer).status().code() == ErrorCode::kUnsupported);
  }
  index.options.model = "m";  // Whose vectors are nowhere but in rows.
  index.has_rows = false;
  CHECK(DecodeVectorIndex(EncodeVectorIndex(index)).status().code() == ErrorCode::kCorruption);
}

TEST_CASE("vectors: a document has 64 at most") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
  std::string vectors = "[1,1]";
  for (int i = 1; i < 64; ++i) vectors += ",[1," + std::to_string(i) + "]";
  CHECK(db.Put("a", "1", R"({"v":[)" + vectors + "]}").ok());
  const Status refused = db.Put("a", "2", R"({"v":[)" + vectors + ",[2,2]]}");
  CHECK(refused.code() == ErrorCode::kInvalidArgument);
  CHECK(refused.message() ==
        "vector index \"a.v\": array has more than 64 vectors, expected an array of 2 numbers, or of "
        "1 to 64 such arrays");
  db.CheckVerified();
}

TEST_CASE("stored vectors: what was encoded is decoded, and damage is an error") {
  const ByteString record = EncodeVectorRecord(std::vector<float>{1, 2}, 2).value();
  const ByteString other = EncodeVectorRecord(std::vector<float>{3, -1}, 2).value();
  for (const bool is_several : {false, true}) {
    StoredVector stored;
    stored.source_hash = 77;
    stored.records.push_back(record);
    if (is_several) stored.records.push_back(other);
    const ByteString bytes = EncodeStoredVector(stored);
    CHECK(bytes.size() == (is_several ? 20 + 2 * record.size() : 18 + record.size()));
    const auto decoded = DecodeStoredVector(bytes);
    REQUIRE(decoded.ok());
    CHECK(decoded->records == stored.records);
    CHECK(decoded->source_hash == 77);
    for (std::size_t size = 0; size < (is_several ? 20U : 18U); ++size) {
      CHECK(DecodeStoredVector(Bytes(bytes).substr(0, size)).status().code() == ErrorCode::kCorruption);
    }
    ByteString flagged = bytes;
    flagged[1] = 4;
    CHECK(DecodeStoredVector(flagged).status().code() == ErrorCode::kUnsupported);
    if (!is_several) continue;
    for (const char count : {'\0', '\1', '\3', '\101'}) {
      ByteString miscounted = bytes;
      miscounted[18] = count;
      CHECK(DecodeStoredVector(miscounted).status().code() == ErrorCode::kCorruption);
    }
  }
}

TEST_CASE("derived index: a snapshot that is missing, torn or flipped is rebuilt from the store") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
  PutCircle(db, 50);
  for (const char* damage : {"remove", "truncate", "flip"}) {
    CAPTURE(damage);
    db.Close();
    const auto files = SnapshotFiles(db);
    REQUIRE(files.size() == 1);
    ByteString content = *ReadFile(files[0]);
    if (damage == std::string("remove")) {
      REQUIRE(RemoveFile(files[0]).ok());
    } else {
      if (damage == std::string("truncate")) content.resize(content.size() / 2);
      if (damage == std::string("flip")) content[130] ^= 0x10;  // A node's parent: checked at the open.
      REQUIRE(WriteFileAtomic(files[0], content).ok());
    }
    db.Open();
    CHECK(OpenedFrom(db) == "rebuilt");
    auto view = *db.core->BeginRead();
    CHECK(db.Nearest(*view, "a", "v", {1, 0}, 1) == Ids{"0"});
    CHECK(db.Nearest(*view, "a", "v", {1, 0}, 100).size() == 50);
    view.reset();
    db.CheckVerified();
  }
}

TEST_CASE("derived index: a snapshot whose damage is met by a search is never told of, and is made anew") {
  for (const bool in_background : {true, false}) {
    CAPTURE(in_background);
    CoreFixture db;
    db.options.embed_in_background = in_background;
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
    PutCircle(db, 50);
    db.Close();
    const std::string file = SnapshotFiles(db)[0];
    ByteString content = *ReadFile(file);
    content.back() ^= 0x10;  // Of the last code.
    REQUIRE(WriteFileAtomic(file, content).ok());
    db.Open();
    CHECK(OpenedFrom(db) == "snapshot");
    const float query[] = {1, 0};
    const auto search = [&]() -> Status {
      const auto view = *db.core->BeginRead();
      const auto* index = view->catalog().Find("a")->FindVectorIndex("v");
      FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view->Nearest(*index, query, {}));
      return cursor->Next().status();
    };
    CHECK(search().code() == ErrorCode::kCorruption);
    if (in_background) {
      for (int i = 0; i < 1000 && !search().ok(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    } else {
      db.Close();
      CHECK(SnapshotFiles(db).empty());
      db.Open();
    }
    CHECK(OpenedFrom(db) == "rebuilt");
    {
      const auto view = *db.core->BeginRead();
      CHECK(db.Nearest(*view, "a", "v", {1, 0}, 1) == Ids{"0"});
      CHECK(db.Nearest(*view, "a", "v", {1, 0}, 100).size() == 50);
    }
    REQUIRE(db.Put("a", "late", VectorJson(1, 0)).ok());  // It follows what is committed.
    {
      const auto view = *db.core->BeginRead();
      CHECK(db.Nearest(*view, "a", "v", {1, 0}, 100).size() == 51);
    }
    db.CheckVerified();
  }
}

TEST_CASE("derived index: made anew beside commits it lacks none, and who began before is told to begin again") {
  CoreFixture db;
  db.options.embed_in_background = false;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
  PutCircle(db, 3000);
  const auto before = *db.core->BeginRead();
  const auto* index = before->catalog().Find("a")->FindVectorIndex("v");
  std::atomic<bool> is_done{false};
  int written_count = 0;
  std::thread writer([&] {
    for (; !is_done; ++written_count) {
      if (!db.Put("a", "new" + std::to_string(written_count), VectorJson(1, 0)).ok()) break;
    }
  });
  for (int i = 0; i < 5; ++i) CHECK(db.core->RebuildVectorIndex(index->id).ok());
  is_done = true;
  writer.join();
  REQUIRE(db.Put("a", "last", VectorJson(1, 0)).ok());
  const float query[] = {1, 0};
  CHECK(before->Nearest(*index, query, {}).status().code() == ErrorCode::kBusy);
  const auto after = *db.core->BeginRead();
  CHECK(db.Nearest(*after, "a", "v", {1, 0}, 1'000'000).size() == static_cast<std::size_t>(3001 + written_count));
  db.CheckVerified();
}

TEST_CASE("derived index: verify names damage that no search has met") {
  CoreFixture db;
  db.options.embed_in_background = false;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
  PutCircle(db, 50);
  db.Close();
  const std::string file = SnapshotFiles(db)[0];
  ByteString content = *ReadFile(file);
  content.back() ^= 0x10;
  REQUIRE(WriteFileAtomic(file, content).ok());
  db.Open();
  const auto report = db.core->Verify();
  REQUIRE(report.ok());
  REQUIRE(report->problems.size() == 1);
  CHECK(report->problems[0].find("vector index \"a.v\": snapshot of ") == 0);
}

TEST_CASE("derived index: after a crash it catches up from its snapshot and the log") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
  PutCircle(db, 50);
  db.Close();
  const std::string file = SnapshotFiles(db)[0];
  const ByteString snapshot = *ReadFile(file);
  db.Open();
  REQUIRE(db.Put("a", "0", VectorJson(-1, 0)).ok());
  REQUIRE(db.Put("a", "late", VectorJson(1, 0)).ok());
  REQUIRE(db.Delete("a", "1").ok());
  db.Close();
  // As if the process had died before it wrote the newer snapshot.
  REQUIRE(WriteFileAtomic(file, snapshot).ok());
  db.Open();
  CHECK(OpenedFrom(db) == "snapshot and log");
  {
    auto view = *db.core->BeginRead();
    CHECK(db.Nearest(*view, "a", "v", {1, 0}, 1) == Ids{"late"});
    CHECK(db.Nearest(*view, "a", "v", {1, 0}, 100).size() == 50);
  }
  db.CheckVerified();
}

TEST_CASE("compact: replaced vectors leave the graph, and searches find the same") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
  for (int round = 0; round < 5; ++round) {
    PutCircle(db, 20 + round);
    PutCircle(db, 30);
  }
  const auto nearest = [&] {
    auto view = *db.core->BeginRead();
    return db.Nearest(*view, "a", "v", {0.3F, 1}, 30);
  };
  const Ids before = nearest();
  const auto memory = [&] { return db.core->ListIndexes()->at(0).memory_bytes; };
  const std::uint64_t memory_before = memory();
  REQUIRE(db.core->Compact().ok());
  CHECK(memory() < memory_before);
  CHECK(nearest() == before);
  db.CheckVerified();
}

TEST_CASE("vectors: an index is tuned to the recall that is asked for, and stays so") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    VectorFieldOptions field;
    field.field = "v";
    field.dimension = 16;
    field.precision = VectorPrecision::kInt16;
    field.links_per_node = 4;  // Few, so that little search is not enough.
    REQUIRE(db.core->CreateVectorIndex("a", field).ok());
    const auto tune = [&](double recall) { return db.core->TuneVectorIndex("a", "v", recall, 50); };
    CHECK(tune(0.9).status().code() == ErrorCode::kInvalidArgument);  // There is nothing to measure.
    {
      std::mt19937 random(3);
      std::normal_distribution<float> normal;
      auto view = *db.core->BeginWrite();
      const auto* collection = view->catalog().Find("a");
      for (int i = 0; i < 4000; ++i) {
        std::string body = R"({"v":[)";
        for (int n = 0; n < 16; ++n) body += (n == 0 ? "" : ",") + std::to_string(normal(random));
        REQUIRE(view->Put(*collection, std::to_string(i), body + "]}").ok());
      }
      REQUIRE(view->Commit().ok());
    }
    const auto strategy = [&] { return db.core->ListIndexes()->at(0).strategy; };
    CHECK(strategy() == "hnsw ef=96 over 4000 codes");
    const auto little = tune(0.6);
    REQUIRE_MESSAGE(little.ok(), little.status().ToString());
    const auto much = tune(0.98);
    REQUIRE_MESSAGE(much.ok(), much.status().ToString());
    CHECK(little->recall >= 0.6);
    CHECK(much->recall >= 0.98);
    CHECK(much->ef > little->ef);
    CHECK(much->sample_count == 50);
    CHECK(tune(0.3).status().code() == ErrorCode::kInvalidArgument);
    CHECK(tune(NAN).status().code() == ErrorCode::kInvalidArgument);
    CHECK(db.core->TuneVectorIndex("a", "w", 0.9, 50).status().code() == ErrorCode::kNotFound);
    CHECK(db.core->TuneVectorIndex("b", "v", 0.9, 50).status().code() == ErrorCode::kNotFound);
    for (int round = 0; round < 2; ++round) {
      const IndexInfo info = db.core->ListIndexes()->at(0);
      CHECK(info.ef == much->ef);
      CHECK(info.recall == much->recall);
      if (much->ef <= 4000 / 32) {
        CHECK(info.strategy.find("hnsw ef=" + std::to_string(much->ef) + " over 4000 codes, recall 0.9") == 0);
      }
      CHECK(info.options.precision == VectorPrecision::kInt16);
      CHECK(info.options.links_per_node == 4);
      db.Reopen();
    }
    // Another index of that name knows nothing of it.
    REQUIRE(db.core->DropVectorIndex("a", "v").ok());
    field.graph = VectorGraphKind::kHnswlib;
    REQUIRE(db.core->CreateVectorIndex("a", field).ok());
    CHECK(strategy() == "hnsw ef=96 over 4000 codes");
    CHECK(tune(0.6).ok());
    db.Reopen();
    CHECK(db.core->ListIndexes()->at(0).options.graph == VectorGraphKind::kHnswlib);
    db.CheckVerified();
  }
}

TEST_CASE("backup: the copy opens as a new replica with the same documents and vectors") {
  for (const StorageKind kind : kKinds) {
    CoreFixture db(kind);
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    REQUIRE(db.core->CreateVectorIndex("a", {.field = "v", .dimension = 2}).ok());
    PutCircle(db, 20);
    const TemporaryDirectory target;
    const std::string copy_path = target.path() + "/copy";
    const Status saved = db.core->Backup(copy_path);
    REQUIRE_MESSAGE(saved.ok(), saved.ToString());
    CHECK(db.core->Backup(copy_path).code() == ErrorCode::kAlreadyExists);
    DatabaseOptions options = db.options;
    options.create = false;
    auto copy = DatabaseCore::Open(copy_path, options);
    REQUIRE_MESSAGE(copy.ok(), copy.status().ToString());
    CHECK((*copy)->identity_forked());
    CHECK((*copy)->replica() != db.core->replica());
    auto report = (*copy)->Verify();
    REQUIRE(report.ok());
    CHECK(report->problems.empty());
    CHECK(report->document_count == 20);
    CHECK(report->vector_count == 20);
  }
}

TEST_CASE("identity: it stays over clean opens, and a restored store is noticed") {
  CoreFixture db;
  db.Open();
  REQUIRE(db.core->CreateCollection("a").ok());
  REQUIRE(db.Put("a", "1", R"({"x":1})").ok());
  const ReplicaId replica = db.core->replica();
  db.Close();
  const ByteString old_store = *ReadFile(db.path() + "/store.db");
  db.Open();
  CHECK(db.core->replica() == replica);
  CHECK_FALSE(db.core->identity_forked());
  REQUIRE(db.Put("a", "1", R"({"x":2})").ok());
  db.Close();
  REQUIRE(WriteFileAtomic(db.path() + "/store.db", old_store).ok());
  db.Open();
  CHECK(db.core->identity_forked());
  CHECK(db.core->replica() != replica);
  CHECK(db.Get("a", "1") == R"({"x":1})");
  const ReplicaId forked = db.core->replica();
  db.Reopen();
  CHECK_FALSE(db.core->identity_forked());
  CHECK(db.core->replica() == forked);
}

TEST_CASE("vectors: fields of 4 bits and of 1 bit are searched, tuned, changed and opened again") {
  for (const VectorPrecision precision : {VectorPrecision::kInt4, VectorPrecision::kInt1}) {
    CoreFixture db(StorageKind::kSqlite);
    db.Open();
    REQUIRE(db.core->CreateCollection("a").ok());
    VectorFieldOptions field;
    field.field = "v";
    field.dimension = 32;
    field.metric = VectorMetric::kL2;
    field.precision = precision;
    field.graph = VectorGraphKind::kHnswlib;
    const Status refused = db.core->CreateVectorIndex("a", field);
    CHECK(refused.code() == ErrorCode::kInvalidArgument);
    CHECK(refused.message() == "vector index \"a.v\": " + std::to_string(VectorPrecisionBits(precision)) +
                                   " bits over the graph of hnswlib, expected 8 or 16 there");
    field.graph = VectorGraphKind::kFlat;
    REQUIRE(db.core->CreateVectorIndex("a", field).ok());
    std::mt19937 random(3);
    std::normal_distribution<float> normal(1.0F);
    std::vector<std::vector<float>> vectors;
    for (int first = 0; first < 12000; first += 4000) {  // The mean comes with the first.
      auto view = *db.core->BeginWrite();
      const auto* collection = view->catalog().Find("a");
      for (int i = first; i < first + 4000; ++i) {
        vectors.emplace_back();
        std::string body = R"({"v":[)";
        for (int n = 0; n < 32; ++n) {
          vectors.back().push_back(normal(random));
          body += (n == 0 ? "" : ",") + std::to_string(vectors.back().back());
        }
        REQUIRE(view->Put(*collection, std::to_string(i), body + "]}").ok());
      }
      REQUIRE(view->Commit().ok());
    }
    REQUIRE(db.core->ListIndexes()->at(0).strategy.find("hnsw ef=") == 0);
    // Rows of int8 codes, 48 bytes that fill a line, lie outside of memory.
    CHECK(db.core->ListIndexes()->at(0).mapped_bytes == 12000 * 64);
    const auto nearest = [&](int i) {
      auto view = *db.core->BeginRead();
      return db.Nearest(*view, "a", "v", vectors[static_cast<std::size_t>(i)], 3);
    };
    for (int i = 0; i < 12000; i += 1000) CHECK(nearest(i).front() == std::to_string(i));
    const auto tuned = db.core->TuneVectorIndex("a", "v", 0.9, 30);
    REQUIRE_MESSAGE(tuned.ok(), tuned.status().ToString());
    CHECK(tuned->recall >= 0.9);
    REQUIRE(db.Delete("a", "1000").ok());
    const Ids before = nearest(1000);
    CHECK(before.front() != "1000");
    db.CheckVerified();
    db.Reopen();
    CHECK(OpenedFrom(db) == "snapshot");
    CHECK(nearest(1000) == before);
    CHECK(db.core->ListIndexes()->at(0).options.precision == precision);
    CHECK(db.core->ListIndexes()->at(0).mapped_bytes > 12000 * 48);  // The snapshot.
    db.CheckVerified();
  }
}
