// Keys of secondary indexes, the file of full text, rows and manifests of models, and SQL.
#include <memory>
#include <string>

#include "engine/database/core.h"
#include "engine/database/field_key.h"
#include "engine/database/recall_sample.h"
#include "engine/model/model_manifest.h"
#include "engine/model/model_row.h"
#include "engine/query/sql_session.h"
#include "index/full_text_file.h"
#include "storage/base/file.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

std::vector<ByteString> KeySeeds() {
  ByteString all;
  AppendNullKey(all);
  AppendIntegerKey(all, 0);
  AppendIntegerKey(all, (1LL << 60) + 1);
  AppendRealKey(all, -2.5e-300);
  AppendTextKey(all, {"a\0b", 3});
  AppendTextKey(all, std::string(300, 'x'));
  return {all};
}

// Both readers move alike, and a value that is read is written back to the same bytes, or to the shorter ones that
// Append… gives.
bool RunKey(Bytes input) {
  DocidOfKey(input);
  std::string buffer;
  while (!input.empty()) {
    Bytes skipped = input;
    Bytes rest = input;
    const auto value = ReadKeyValue(rest, buffer);
    bool is_cut = false;
    const bool is_value = SkipKeyValue(skipped, &is_cut);
    if (!value) return false;
    FuzzCheck(is_value && skipped.data() == rest.data(), "reading and skipping move alike");
    FuzzCheck(rest.size() < input.size(), "a value has bytes");
    FuzzCheck(is_cut == (value->kind == KeyValue::Kind::kCutText), "both know a cut text");
    input = rest;
  }
  return true;
}

constexpr std::uint32_t kQueryDimension = 3;

// What is restored is saved again as the same queries, each within half a step of its codes.
bool RunQueries(Bytes input) {
  QueryReservoir reservoir;
  if (!reservoir.Restore(input, kQueryDimension).ok()) return false;
  FuzzCheck(reservoir.size() >= 1 && reservoir.size() <= QueryReservoir::kCapacity, "it is bounded");
  FuzzCheck(!reservoir.TakeUnsaved(true), "what was restored is saved");
  reservoir.Note(std::vector<float>(kQueryDimension, 1.0F));
  const auto saved = reservoir.TakeUnsaved(true);
  FuzzCheck(!saved || QueryReservoir().Restore(*saved, kQueryDimension).ok(), "what is saved can be restored");
  return true;
}

std::vector<ByteString> QueriesSeeds() {
  QueryReservoir reservoir;
  for (int i = 0; i < 20; ++i) reservoir.Note(std::vector<float>{1.0F, 0.0F, static_cast<float>(-i)});
  return {reservoir.TakeUnsaved(true).value()};
}

bool RunVectorIndexRow(Bytes input) {
  const auto index = DecodeVectorIndex(input);
  if (!index.ok()) return false;
  const ByteString again = EncodeVectorIndex(*index);
  FuzzCheck(EncodeVectorIndex(DecodeVectorIndex(again).value()) == again, "a row comes back");
  return true;
}

std::vector<ByteString> VectorIndexRowSeeds() {
  VectorIndexDefinition own;
  own.id = 7;
  own.name = "a.v";
  own.options.field = "v";
  own.options.dimension = 2;
  own.paths = {"v"};
  own.has_rows = false;
  VectorIndexDefinition made = own;
  made.has_rows = true;
  made.options.model = "m";
  made.options.source_paths = {"$.text"};
  made.paths = {"text"};
  return {EncodeVectorIndex(own), EncodeVectorIndex(made)};
}

struct TextFile {
  TemporaryDirectory directory;
  std::string path = directory.path() + "/fts.db";
  TextTable table{1, {{"text"}}};
};

std::vector<ByteString> TextFileSeeds() {
  const TextFile file;
  {
    auto opened = FullTextFile::Open(file.path, "lineage", {}).value();
    FuzzCheck(opened->Begin().ok() && opened->CreateTable(file.table).ok(), "a seed's table is made");
    for (std::int64_t docid = 1; docid < 6; ++docid) {
      const std::string text = "pump bearing " + std::to_string(docid);
      FuzzCheck(opened->Upsert(file.table, docid, std::span(&text, 1)).ok(), "a seed's row is written");
    }
    FuzzCheck(opened->WriteTableState(1, {10, true, 5}).ok() && opened->WriteSequence(5).ok() &&
                  opened->Commit().ok() && opened->Checkpoint().ok(),
              "a seed is written");
  }
  return {ReadFile(file.path).value()};
}

bool RunTextFile(Bytes input) {
  static const TextFile file;
  FullTextFile::Remove(file.path).IgnoreError();
  {
    const auto created = File::Create(file.path).value();
    FuzzCheck(created->Append(input).ok() && created->Close().ok(), "the input is written");
  }
  const auto opened = FullTextFile::Open(file.path, "lineage", {});
  if (!opened.ok()) return false;
  (*opened)->CheckIntegrity().IgnoreError();
  (*opened)->ListTables().status().IgnoreError();
  const auto pinned = (*opened)->Pin();
  if (!pinned.ok()) return false;
  (*pinned)->State(file.table).status().IgnoreError();
  (*pinned)->VisitRows(file.table, [](auto, auto) { return Status::Ok(); }).IgnoreError();
  TextQuery query;
  query.match = "pump OR bea*";
  query.with_rank = true;
  const auto cursor = (*pinned)->Match(file.table, query);
  for (int i = 0; cursor.ok() && i < 100; ++i) {
    const auto match = (*cursor)->Next();
    if (!match.ok() || !*match) break;
  }
  return cursor.ok();
}

struct SqlDatabase {
  SqlDatabase() {
    DatabaseOptions options;
    options.create = true;
    options.durability = Durability::kNormal;
    core = DatabaseCore::Open(directory.path() + "/db.foreshore", options).value();
    FuzzCheck(core->CreateCollection("notes").ok(), "the collection is made");
    VectorFieldOptions vector;
    vector.field = "embedding";
    vector.dimension = 2;
    FuzzCheck(core->CreateVectorIndex("notes", vector).ok(), "the vector index is made");
    SqlOptions sql_options;
    sql_options.time_limit = std::chrono::milliseconds(50);
    session = SqlSession::Create(*core, sql_options).value();
    for (const char* sql : {R"(INSERT INTO notes(id, body) VALUES ('a', '{"site":"A","n":1,"embedding":[1,2]}'))",
                            R"(INSERT INTO notes(id, body) VALUES ('b', '{"site":"B","tags":["x"],"n":2.5}'))"}) {
      FuzzCheck(session->Prepare(sql).value()->Step().ok(), "a document is written");
    }
  }
  TemporaryDirectory directory;
  std::unique_ptr<DatabaseCore> core;
  std::unique_ptr<SqlSession> session;
};

// Up to four statements, each up to 200 rows, for 50 ms, rolled back where they leave a transaction open. Inputs that
// commit change what later ones find.
bool RunSql(Bytes input) {
  static const SqlDatabase database;
  std::string_view rest = input;
  bool is_sql = false;
  for (int i = 0; i < 4 && !rest.empty(); ++i) {
    std::size_t consumed_bytes = 0;
    const auto statement = database.session->Prepare(rest, &consumed_bytes);
    if (!statement.ok() || *statement == nullptr) break;
    is_sql = true;
    FuzzCheck(consumed_bytes <= rest.size(), "a statement lies inside its text");
    rest.remove_prefix(consumed_bytes);
    for (int row = 0; row < 200; ++row) {
      const auto has_row = (*statement)->Step();
      if (!has_row.ok() || !*has_row) break;
      for (std::size_t column = 0; column < (*statement)->columns().size(); ++column) {
        (*statement)->Column(static_cast<int>(column));
      }
    }
  }
  if (!database.session->in_transaction()) return is_sql;
  const auto rollback = database.session->Prepare("ROLLBACK");
  FuzzCheck(rollback.ok() && (*rollback)->Step().ok(), "an open transaction is rolled back");
  return is_sql;
}

std::vector<ByteString> SqlSeeds() {
  return {"SELECT id, distance FROM notes WHERE embedding MATCH '[1,2]' AND site = 'A' ORDER BY distance LIMIT 3",
          "BEGIN; UPDATE notes SET site = 'C', n = n + 1 WHERE id = 'a'; SELECT * FROM notes; ROLLBACK",
          "SELECT body ->> '$.tags[0]', json_extract(body, '$.n'), typeof(n) FROM notes ORDER BY n DESC, id",
          "EXPLAIN QUERY PLAN SELECT a.id FROM notes a JOIN notes b ON a.site = b.site WHERE b.n > 1 GROUP BY 1",
          "BEGIN; DELETE FROM notes WHERE n IS NULL OR site IN ('A', NULL); INSERT INTO notes(id, n) VALUES (x'00', 1)",
          "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 9) SELECT vector_distance('[1,2]', "
          "'[2,3]'), x FROM c"};
}

bool RunManifest(Bytes input) {
  const auto manifest = DecodeManifest(input);
  if (manifest.ok()) {
    const auto again = DecodeManifest(EncodeManifest(*manifest));
    FuzzCheck(again.ok() && EncodeManifest(*again) == EncodeManifest(*manifest), "a manifest comes back");
  }
  return DecodeModelRow(input).ok() || manifest.ok();
}

std::vector<ByteString> ManifestSeeds() {
  ModelManifest text;
  SetFormat(text, WeightFormat::Gptq(4, 64));
  text.config.hidden_size = 32;
  text.config.layer_count = 1;
  text.config.head_count = 2;
  text.config.intermediate_size = 32;
  text.config.vocabulary_size = 8;
  text.config.position_count = 8;
  text.config.type_count = 2;
  text.config.token_count_max = 8;
  text.tensors.push_back({"a", TensorType::kI8, {2, 3}, BlobId{}});
  ModelManifest general;
  general.architecture = "graph";
  general.quantization = "none";
  ModelRow row;
  row.info.name = "m";
  row.info.version = std::string(64, 'a');
  row.info.licence = "mit";
  row.adapters["a"] = std::string(64, 'b');
  return {EncodeManifest(text), EncodeManifest(general), EncodeModelRow(row)};
}

}  // namespace

std::vector<FuzzTarget> DatabaseFuzzTargets() {
  return {
      {"field_key", KeySeeds, RunKey, 0, 10'000}, {"full_text_file", TextFileSeeds, RunTextFile, 0, 100},
      {"manifest", ManifestSeeds, RunManifest},   {"recent_queries", QueriesSeeds, RunQueries},
      {"sql", SqlSeeds, RunSql, 0, 500, 4'096},   {"vector_index_row", VectorIndexRowSeeds, RunVectorIndexRow},
  };
}

}  // namespace foreshore
