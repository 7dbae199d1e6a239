// Runs every file of cases/ against both storage kinds. A file is a list of blocks, separated by empty lines:
//
//   collection NAME
//   vector COLLECTION FIELD DIMENSION l2|cosine|dot
//   index COLLECTION PATH[,PATH] [unique] [where EXPRESSION]
//   put COLLECTION ID JSON
//
//   ok                       the statement runs
//   UPDATE …
//
//   changed 2                it writes so many documents
//   DELETE …
//
//   query                    it yields these rows, columns joined by '|'
//   SELECT …
//   ----
//   a|1
//
//   error CODE some words    it fails with the code and a message that contains the words
//   SELECT …
//
// Lines that begin with '#' are comments.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/engine/query/sql_test_database.h"

using namespace foreshore;

namespace {

struct Block {
  int line = 0;
  std::vector<std::string> lines;
};

std::vector<Block> ReadBlocks(const std::filesystem::path& path) {
  std::ifstream file(path);
  REQUIRE(file.is_open());
  std::vector<Block> blocks;
  Block block;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.starts_with('#')) continue;
    if (!line.empty()) {
      if (block.lines.empty()) block.line = number;
      block.lines.push_back(line);
    } else if (!block.lines.empty()) {
      blocks.push_back(std::exchange(block, {}));
    }
  }
  if (!block.lines.empty()) blocks.push_back(block);
  return blocks;
}

FieldIndexOptions IndexOptions(std::istringstream& words) {
  FieldIndexOptions options;
  std::string paths;
  words >> paths;
  std::istringstream each(paths);
  for (std::string path; std::getline(each, path, ',');) options.paths.push_back(path);
  for (std::string word; words >> word;) {
    if (word == "unique") options.unique = true;
    if (word == "where") std::getline(words >> std::ws, options.where);
  }
  if (!options.where.empty()) options.name = paths + " where " + options.where;
  return options;
}

void RunSetUp(SqlTestDatabase& database, const Block& block) {
  for (const std::string& line : block.lines) {
    std::istringstream words(line);
    std::string verb;
    std::string collection;
    words >> verb >> collection;
    if (verb == "collection") {
      database.Collection(collection);
    } else if (verb == "vector") {
      std::string field;
      std::uint32_t dimension = 0;
      std::string metric;
      words >> field >> dimension >> metric;
      database.Vector(collection, field, dimension, *VectorMetricFromName(metric));
    } else if (verb == "index") {
      database.Index(collection, IndexOptions(words));
    } else {
      REQUIRE_MESSAGE(verb == "put", "line ", block.line, ": unknown verb ", verb);
      std::string id;
      std::string json;
      words >> id >> std::ws;
      std::getline(words, json);
      database.Put(collection, id, json);
    }
  }
}

// One text, so that a failure shows both sides.
std::string Joined(std::vector<std::string>::const_iterator begin, std::vector<std::string>::const_iterator end) {
  std::string text;
  for (auto line = begin; line != end; ++line) text += *line + "\n";
  return text;
}

void RunStatement(SqlTestDatabase& database, const Block& block) {
  std::istringstream words(block.lines[0]);
  std::string verb;
  words >> verb;
  const auto rule = std::find(block.lines.begin(), block.lines.end(), "----");
  std::string sql;
  for (auto line = block.lines.begin() + 1; line != rule; ++line) sql += *line + "\n";
  CAPTURE(sql);
  std::int64_t changed_count = 0;
  const auto rows = RunSql(*database.session, sql, &changed_count);
  if (verb == "error") {
    std::string code;
    std::string message;
    words >> code >> std::ws;
    std::getline(words, message);
    REQUIRE_FALSE(rows.ok());
    CHECK(ErrorCodeName(rows.status().code()) == code);
    CHECK_MESSAGE(rows.status().message().find(message) != std::string::npos, rows.status().message());
    return;
  }
  REQUIRE_MESSAGE(rows.ok(), rows.status().ToString());
  if (verb == "query") {
    CHECK(Joined(rows->begin(), rows->end()) == Joined(rule == block.lines.end() ? rule : rule + 1, block.lines.end()));
  } else if (verb == "changed") {
    std::int64_t expected = 0;
    words >> expected;
    CHECK(changed_count == expected);
  } else {
    REQUIRE_MESSAGE(verb == "ok", "unknown verb ", verb);
  }
}

void RunFile(const std::filesystem::path& path, StorageKind storage) {
  SqlTestDatabase database(storage);
  int statement_count = 0;
  for (const Block& block : ReadBlocks(path)) {
    const std::string at = path.filename().string() + ":" + std::to_string(block.line);
    CAPTURE(at);
    const std::string verb = block.lines[0].substr(0, block.lines[0].find(' '));
    if (verb == "collection" || verb == "vector" || verb == "index" || verb == "put") {
      RunSetUp(database, block);
    } else {
      RunStatement(database, block);
      ++statement_count;
    }
  }
  CHECK(statement_count > 0);
}

void RunAll(StorageKind storage) {
  int file_count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(FORESHORE_SQL_CASES)) {
    if (entry.path().extension() != ".test") continue;
    ++file_count;
    RunFile(entry.path(), storage);
  }
  CHECK(file_count > 0);
}

}  // namespace

TEST_CASE("sql: the cases give their rows on SQLite storage") {
  RunAll(StorageKind::kSqlite);
}

#ifdef FORESHORE_WITH_ROCKSDB
TEST_CASE("sql: the cases give their rows on RocksDB storage") {
  RunAll(StorageKind::kRocksdb);
}
#endif
