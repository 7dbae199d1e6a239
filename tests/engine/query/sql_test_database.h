// A fresh database for one SQL test, with short ways to put documents in and rows out.
#pragma once

#include <doctest/doctest.h>

#include <charconv>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/database/core.h"
#include "engine/query/sql_session.h"
#include "tests/temporary_directory.h"

namespace foreshore {

// NULL, 1, 1.5, text, x'00ff'.
inline std::string TextOfValue(const SqlValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* real = std::get_if<double>(&value)) {
    char buffer[40];
    const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), *real);
    static_cast<void>(error);
    std::string digits(buffer, end);
    if (digits.find_first_of(".en") == std::string::npos) digits += ".0";
    return digits;
  }
  if (const auto* blob = std::get_if<SqlBlob>(&value)) {
    std::string hex = "x'";
    for (const char byte : blob->bytes) {
      constexpr char kDigits[] = "0123456789abcdef";
      hex += kDigits[static_cast<unsigned char>(byte) >> 4];
      hex += kDigits[static_cast<unsigned char>(byte) & 15];
    }
    return hex + "'";
  }
  return "NULL";
}

// The rows that are left, columns joined by '|'.
inline Result<std::vector<std::string>> StepAll(Statement& statement) {
  std::vector<std::string> rows;
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return rows;
    std::string row;
    for (std::size_t i = 0; i < statement.columns().size(); ++i) {
      if (i > 0) row += '|';
      row += TextOfValue(statement.Column(static_cast<int>(i)));
    }
    rows.push_back(std::move(row));
  }
}

template <typename Session>
Result<std::vector<std::string>> RunSql(Session& session, std::string_view sql, std::int64_t* changed_count = nullptr) {
  FORESHORE_ASSIGN_OR_RETURN(const auto statement, session.Prepare(sql));
  auto rows = StepAll(*statement);
  if (changed_count) *changed_count = statement->changed_count();
  return rows;
}

// The status of a statement that must fail, or ok.
template <typename Session>
Status FailureOf(Session& session, std::string_view sql) {
  const auto rows = RunSql(session, sql);
  return rows.ok() ? Status::Ok() : rows.status();
}

// All rows as one text: "a|1; b|2".
template <typename Session>
std::string Rows(Session& session, std::string_view sql) {
  const auto rows = RunSql(session, sql);
  if (!rows.ok()) return "error: " + rows.status().ToString();
  std::string joined;
  for (const std::string& row : *rows) joined += (joined.empty() ? "" : "; ") + row;
  return joined;
}

struct SqlTestDatabase {
  // `works_in_background`: models fill what they have to fill by themselves.
  explicit SqlTestDatabase(StorageKind storage = StorageKind::kSqlite, bool works_in_background = true) {
    DatabaseOptions options;
    options.create = true;
    options.storage = storage;
    options.durability = Durability::kNormal;
    options.embed_in_background = works_in_background;
    Open(options);
  }
  void Open(const DatabaseOptions& options) {
    auto opened = DatabaseCore::Open(directory.path() + "/db.foreshore", options);
    REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
    core = std::move(opened).value();
    auto created = SqlSession::Create(*core);
    REQUIRE_MESSAGE(created.ok(), created.status().ToString());
    session = std::move(created).value();
  }

  void Collection(const std::string& name) {
    const Status status = core->CreateCollection(name);
    REQUIRE_MESSAGE(status.ok(), status.ToString());
  }
  void Vector(const std::string& collection, const std::string& field, std::uint32_t dimension,
              VectorMetric metric = VectorMetric::kL2) {
    VectorFieldOptions options;
    options.field = field;
    options.dimension = dimension;
    options.metric = metric;
    const Status status = core->CreateVectorIndex(collection, options);
    REQUIRE_MESSAGE(status.ok(), status.ToString());
  }
  void Index(const std::string& collection, const FieldIndexOptions& options) {
    const Status status = core->CreateFieldIndex(collection, options);
    REQUIRE_MESSAGE(status.ok(), status.ToString());
    // On a busy machine the creation may return before the index is whole, and plans leave it out until then.
    const Status built = core->WaitIndexed(std::chrono::minutes(1), {});
    REQUIRE_MESSAGE(built.ok(), built.ToString());
  }
  void Put(const std::string& collection, const std::string& id, const std::string& json) {
    auto view = core->BeginWrite();
    REQUIRE_MESSAGE(view.ok(), view.status().ToString());
    const Status put = (*view)->Put(**(*view)->catalog().Require(collection), id, json);
    REQUIRE_MESSAGE(put.ok(), put.ToString());
    const Status committed = (*view)->Commit();
    REQUIRE_MESSAGE(committed.ok(), committed.ToString());
  }

  TemporaryDirectory directory;
  std::unique_ptr<DatabaseCore> core;
  std::unique_ptr<SqlSession> session;
};

}  // namespace foreshore
