// sqlite-vec over float32, by SQL, in memory: a table of its virtual module, searched by its scan.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tests/bench/vector_set.h"

struct sqlite3;
struct sqlite3_stmt;

namespace foreshore {

class SqliteVecSide {
 public:
  // `extension` is the file vec0.so. Prints what is wrong and exits.
  SqliteVecSide(const std::string& extension, VectorMetric metric, const FloatRows& rows);
  ~SqliteVecSide();
  SqliteVecSide(const SqliteVecSide&) = delete;
  SqliteVecSide& operator=(const SqliteVecSide&) = delete;
  // The rows of the `k` nearest.
  void Search(std::span<const float> query, std::size_t k, std::vector<std::int64_t>& rows);

 private:
  void Run(const std::string& sql);
  void Fail(const char* doing);
  sqlite3* connection_ = nullptr;
  sqlite3_stmt* search_ = nullptr;
};

}  // namespace foreshore
