#include "tests/bench/sqlite_vec_side.h"

#include <sqlite3.h>

#include <cstdlib>
#include <iostream>

namespace foreshore {

SqliteVecSide::SqliteVecSide(const std::string& extension, VectorMetric metric, const FloatRows& rows) {
  if (sqlite3_open(":memory:", &connection_) != SQLITE_OK) Fail("opening");
  sqlite3_db_config(connection_, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, nullptr);
  if (sqlite3_load_extension(connection_, extension.c_str(), nullptr, nullptr) != SQLITE_OK) Fail("loading");
  const char* distance = metric == VectorMetric::kL2 ? "L2" : "cosine";
  Run("CREATE VIRTUAL TABLE points USING vec0(v float[" + std::to_string(rows.dimension) +
      "] distance_metric=" + distance + ")");
  Run("BEGIN");
  sqlite3_stmt* insert = nullptr;
  sqlite3_prepare_v2(connection_, "INSERT INTO points(rowid, v) VALUES (?, ?)", -1, &insert, nullptr);
  for (std::size_t row = 0; row < rows.count(); ++row) {
    const std::span<const float> values = rows[row];
    sqlite3_bind_int64(insert, 1, static_cast<std::int64_t>(row) + 1);
    sqlite3_bind_blob(insert, 2, values.data(), static_cast<int>(values.size_bytes()), SQLITE_STATIC);
    if (sqlite3_step(insert) != SQLITE_DONE) Fail("inserting");
    sqlite3_reset(insert);
  }
  sqlite3_finalize(insert);
  Run("COMMIT");
  const char* const sql = "SELECT rowid, distance FROM points WHERE v MATCH ? AND k = ? ORDER BY distance";
  if (sqlite3_prepare_v2(connection_, sql, -1, &search_, nullptr) != SQLITE_OK) Fail("preparing");
}

SqliteVecSide::~SqliteVecSide() {
  sqlite3_finalize(search_);
  sqlite3_close(connection_);
}

void SqliteVecSide::Search(std::span<const float> query, std::size_t k, std::vector<std::int64_t>& rows) {
  sqlite3_bind_blob(search_, 1, query.data(), static_cast<int>(query.size_bytes()), SQLITE_STATIC);
  sqlite3_bind_int64(search_, 2, static_cast<std::int64_t>(k));
  int step = sqlite3_step(search_);
  for (; step == SQLITE_ROW; step = sqlite3_step(search_)) rows.push_back(sqlite3_column_int64(search_, 0) - 1);
  if (step != SQLITE_DONE) Fail("searching");
  sqlite3_reset(search_);
}

void SqliteVecSide::Run(const std::string& sql) {
  if (sqlite3_exec(connection_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) Fail(sql.c_str());
}

void SqliteVecSide::Fail(const char* doing) {
  std::cerr << "bench_vectors: sqlite-vec: " << doing << ": " << sqlite3_errmsg(connection_) << '\n';
  std::exit(1);
}

}  // namespace foreshore
