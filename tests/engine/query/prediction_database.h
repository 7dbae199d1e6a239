// A database with two collections of the same documents, "a" with a predictive index and "b" without, and a model that
// counts the rows that it is asked for.
#pragma once

#include <atomic>
#include <string>

#include "engine/database/predictive_worker.h"
#include "engine/model/model_registry.h"
#include "tests/engine/query/sql_test_database.h"

namespace foreshore {

#if defined(FORESHORE_WITH_ROCKSDB)
inline constexpr StorageKind kPredictionKinds[] = {StorageKind::kSqlite, StorageKind::kRocksdb};
#else
inline constexpr StorageKind kPredictionKinds[] = {StorageKind::kSqlite};
#endif

struct PredictionDatabase : SqlTestDatabase {
  explicit PredictionDatabase(StorageKind kind = StorageKind::kSqlite, int document_count = 300,
                              bool works_in_background = false)
      : SqlTestDatabase(kind, works_in_background) {
    Register("1", 1);
    Collection("a");
    Collection("b");
    for (int i = 0; i < document_count; ++i) PutBoth(i, i);
  }
  ~PredictionDatabase() {
    session.reset();
    core.reset();  // Its callback counts here.
  }

  // The first number times `factor` and the second; rows whose first number is 9999 are refused.
  void Register(const std::string& version, float factor) {
    const auto registered =
        core->models().Register("sum", {.version = version, .input_shape = {2}, .output_shape = {2}},
                                [this, factor](const RuntimeBatch& batch, std::span<float> output) {
                                  for (std::size_t row = 0; row < batch.row_count; ++row) {
                                    if (batch.values[row * 2] == 9999)
                                      return Status::InvalidArgument("9999 is refused");
                                    ++row_count;
                                    output[row * 2] = batch.values[row * 2] * factor + batch.values[row * 2 + 1];
                                    output[row * 2 + 1] = -output[row * 2];
                                  }
                                  return Status::Ok();
                                });
    REQUIRE_MESSAGE(registered.ok(), registered.status().ToString());
  }
  static std::string Name(int i) {
    const std::string digits = std::to_string(i);
    return "p" + std::string(4 - digits.size(), '0') + digits;
  }
  void PutBoth(int i, int value) {
    for (const char* collection : {"a", "b"}) {
      Put(collection, Name(i),
          "{\"n\":" + std::to_string(i) + ",\"site\":\"s" + std::to_string(i % 7) + "\",\"x\":[" +
              std::to_string(value) + ",0.5]}");
    }
  }
  void Create(const PredictiveIndexOptions& options = {.model = "sum", .path = "x", .output = "$[0][0]"}) {
    const Status created = core->CreatePredictiveIndex("a", options);
    REQUIRE_MESSAGE(created.ok(), created.ToString());
  }
  void Fill() {
    const Status filled = core->WaitIndexed(std::chrono::minutes(1), {});
    REQUIRE_MESSAGE(filled.ok(), filled.ToString());
  }
  // The rows that a statement gives of "a", which must be those of "b"; '@' stands for the collection.
  std::string Same(const std::string& sql) { return Same(*session, sql); }
  template <typename Session>
  std::string Same(Session& on, const std::string& sql) {
    CAPTURE(sql);
    const std::string found = Rows(on, On(sql, "a"));
    CHECK(found == Rows(on, On(sql, "b")));
    return found;
  }
  static std::string On(std::string sql, const std::string& collection) {
    for (std::size_t at = sql.find('@'); at != std::string::npos; at = sql.find('@')) sql.replace(at, 1, collection);
    return sql;
  }
  // How many rows the model was asked for by a statement over "a".
  std::size_t Cost(const std::string& sql) {
    const std::size_t before = row_count;
    const std::string rows = Rows(*session, On(sql, "a"));
    CHECK_MESSAGE(rows.find("error") == std::string::npos, rows);
    return row_count - before;
  }
  std::string Plan(const std::string& sql) { return Rows(*session, "EXPLAIN QUERY PLAN " + On(sql, "a")); }
  void CheckSound() {
    const auto report = core->Verify();
    REQUIRE_MESSAGE(report.ok(), report.status().ToString());
    for (const std::string& problem : report->problems) FAIL_CHECK(problem);
  }
  IndexInfo Info() {
    const auto indexes = core->ListIndexes();
    REQUIRE_MESSAGE(indexes.ok(), indexes.status().ToString());
    for (const IndexInfo& index : *indexes) {
      if (index.kind == IndexKind::kPredictive) return index;
    }
    return {};
  }
  std::size_t PredictionKeyspaceCount() {
    const auto keyspaces = core->store().ListKeyspaces();
    REQUIRE(keyspaces.ok());
    return static_cast<std::size_t>(std::count_if(keyspaces->begin(), keyspaces->end(), [](const KeyspaceInfo& each) {
      return std::string_view("qpw").find(each.name.front()) != std::string_view::npos && each.name.size() > 1 &&
             each.name.find_first_not_of("0123456789", 1) == std::string::npos;
    }));
  }

  std::atomic<std::size_t> row_count{0};
};

}  // namespace foreshore
