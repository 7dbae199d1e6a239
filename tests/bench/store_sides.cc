#include "tests/bench/store_sides.h"

#include <sqlite3.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <vector>

#include "foreshore/database.h"

namespace foreshore {
namespace {

void Check(const Status& status) {
  if (status.ok()) return;
  std::cerr << "bench_store: " << status.ToString() << "\n";
  std::exit(1);
}

template <typename T>
T Take(Result<T> result) {
  Check(result.status());
  return std::move(result).value();
}

class ForeshoreSide final : public StoreSide {
 public:
  ForeshoreSide(const std::string& folder, StorageKind storage, bool indexed) : storage_(storage) {
    DatabaseOptions options;
    options.create = true;
    options.storage = storage;
    options.durability = Durability::kFull;
    options.cache_bytes = kBenchCacheBytes;
    database_ = Take(Database::Open(folder + "/bench.foreshore", options));
    Check(database_->CreateCollection("packages"));
    if (indexed) CreateIndexes();
    connection_ = Take(database_->Connect());
  }
  ~ForeshoreSide() override {
    statements_.clear();
    connection_.reset();
    Check(database_->Close());
  }

  std::string name() const override {
    return storage_ == StorageKind::kSqlite ? "Foreshore on SQLite" : "Foreshore on RocksDB";
  }

  void Import(std::span<const BenchDocument> documents) override {
    const auto transaction = Take(database_->Begin(std::chrono::minutes(1)));
    for (const BenchDocument& document : documents) {
      Check(transaction->Put("packages", document.id, document.body));
    }
    Check(transaction->Commit());
  }

  void PutOne(const BenchDocument& document) override { Check(database_->Put("packages", document.id, document.body)); }

  void Get(const std::string& id, std::string& body) override { body = Take(database_->Get("packages", id)); }

  QueryAnswer Run(BenchQuery query, std::int64_t low, std::int64_t high, const std::string& id) override {
    Statement& statement = Prepared(query);
    if (query == BenchQuery::kPoint) Check(statement.Bind(1, SqlValue(id)));
    if (query == BenchQuery::kRange || query == BenchQuery::kRangeFetched) {
      Check(statement.Bind(1, SqlValue(low)));
      Check(statement.Bind(2, SqlValue(high)));
    }
    QueryAnswer answer;
    while (Take(statement.Step())) {
      ++answer.rows;
      for (int i = 0; i < static_cast<int>(statement.columns().size()); ++i) {
        const SqlValue value = statement.Column(i);
        if (const auto* number = std::get_if<std::int64_t>(&value)) answer.sum += *number;
        if (const auto* text = std::get_if<std::string>(&value)) answer.sum += static_cast<std::int64_t>(text->size());
      }
    }
    Check(statement.Reset());
    return answer;
  }

 private:
  void CreateIndexes() {
    for (const char* path : {"section", "size"}) Check(database_->CreateFieldIndex("packages", {.paths = {path}}));
  }

  Statement& Prepared(BenchQuery query) {
    std::unique_ptr<Statement>& statement = statements_[query];
    if (!statement) statement = Take(connection_->Prepare(SqlOf(query)));
    return *statement;
  }

  static std::string_view SqlOf(BenchQuery query) {
    switch (query) {
      case BenchQuery::kPoint: return "SELECT body FROM packages WHERE id = ?1";
      case BenchQuery::kRange: return "SELECT count(*), sum(size) FROM packages WHERE size >= ?1 AND size < ?2";
      case BenchQuery::kRangeFetched: return "SELECT id, body FROM packages WHERE size >= ?1 AND size < ?2";
      case BenchQuery::kSumOfNumber: return "SELECT sum(length) FROM packages";
      case BenchQuery::kSumOfTextLength: return "SELECT sum(length(text)) FROM packages";
      case BenchQuery::kGroups: return "SELECT priority, count(*) FROM packages GROUP BY priority";
    }
    std::abort();
  }

  StorageKind storage_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<SqlConnection> connection_;
  std::map<BenchQuery, std::unique_ptr<Statement>> statements_;
};

// One connection, as an app has it, with the whole cache.
class PlainSqliteSide final : public StoreSide {
 public:
  PlainSqliteSide(const std::string& folder, bool indexed) {
    CheckCode(sqlite3_open_v2((folder + "/bench.db").c_str(), &handle_,
                              SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr));
    Execute(
        "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
        "PRAGMA cache_size = -" +
        std::to_string(kBenchCacheBytes >> 10) +
        "; PRAGMA wal_autocheckpoint = " + std::to_string(kBenchCheckpointBytes / 4096) +
        "; CREATE TABLE packages (id TEXT PRIMARY KEY, body TEXT NOT NULL)");
    if (indexed) {
      Execute(
          "CREATE INDEX packages_section ON packages (body ->> '$.section');"
          "CREATE INDEX packages_size ON packages (body ->> '$.size')");
    }
    put_ = Prepare("INSERT OR REPLACE INTO packages (id, body) VALUES (?1, ?2)");
    begin_ = Prepare("BEGIN IMMEDIATE");
    commit_ = Prepare("COMMIT");
  }
  ~PlainSqliteSide() override {
    for (sqlite3_stmt* statement : {put_, begin_, commit_}) sqlite3_finalize(statement);
    for (const auto& [query, statement] : queries_) sqlite3_finalize(statement);
    Execute("PRAGMA wal_checkpoint(TRUNCATE)");
    CheckCode(sqlite3_close(handle_));
  }

  std::string name() const override { return "plain SQLite " SQLITE_VERSION; }

  void Import(std::span<const BenchDocument> documents) override {
    RunOnce(begin_);
    for (const BenchDocument& document : documents) PutOne(document);
    RunOnce(commit_);
  }

  void PutOne(const BenchDocument& document) override {
    BindText(put_, 1, document.id);
    BindText(put_, 2, document.body);
    RunOnce(put_);
  }

  void Get(const std::string& id, std::string& body) override {
    sqlite3_stmt* statement = Prepared(BenchQuery::kPoint);
    BindText(statement, 1, id);
    if (sqlite3_step(statement) != SQLITE_ROW) Fail();
    body.assign(reinterpret_cast<const char*>(sqlite3_column_text(statement, 0)),
                static_cast<std::size_t>(sqlite3_column_bytes(statement, 0)));
    sqlite3_reset(statement);
  }

  QueryAnswer Run(BenchQuery query, std::int64_t low, std::int64_t high, const std::string& id) override {
    sqlite3_stmt* statement = Prepared(query);
    if (query == BenchQuery::kPoint) BindText(statement, 1, id);
    if (query == BenchQuery::kRange || query == BenchQuery::kRangeFetched) {
      sqlite3_bind_int64(statement, 1, low);
      sqlite3_bind_int64(statement, 2, high);
    }
    QueryAnswer answer;
    int code = sqlite3_step(statement);
    for (; code == SQLITE_ROW; code = sqlite3_step(statement)) {
      ++answer.rows;
      for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        if (sqlite3_column_type(statement, i) == SQLITE_INTEGER) {
          answer.sum += sqlite3_column_int64(statement, i);
        } else {
          // Copied out, as the other side's API does.
          const std::string text(reinterpret_cast<const char*>(sqlite3_column_text(statement, i)),
                                 static_cast<std::size_t>(sqlite3_column_bytes(statement, i)));
          answer.sum += static_cast<std::int64_t>(text.size());
        }
      }
    }
    if (code != SQLITE_DONE) Fail();
    sqlite3_reset(statement);
    return answer;
  }

 private:
  [[noreturn]] void Fail() {
    std::cerr << "bench_store: plain SQLite: " << sqlite3_errmsg(handle_) << "\n";
    std::exit(1);
  }
  void CheckCode(int code) {
    if (code != SQLITE_OK) Fail();
  }
  void Execute(const std::string& sql) { CheckCode(sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr)); }
  sqlite3_stmt* Prepare(std::string_view sql) {
    sqlite3_stmt* statement = nullptr;
    CheckCode(sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                 &statement, nullptr));
    return statement;
  }
  void RunOnce(sqlite3_stmt* statement) {
    if (sqlite3_step(statement) != SQLITE_DONE) Fail();
    sqlite3_reset(statement);
  }
  static void BindText(sqlite3_stmt* statement, int parameter, const std::string& text) {
    sqlite3_bind_text64(statement, parameter, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  sqlite3_stmt* Prepared(BenchQuery query) {
    sqlite3_stmt*& statement = queries_[query];
    if (statement == nullptr) statement = Prepare(SqlOf(query));
    return statement;
  }

  static std::string_view SqlOf(BenchQuery query) {
    switch (query) {
      case BenchQuery::kPoint: return "SELECT body FROM packages WHERE id = ?1";
      case BenchQuery::kRange:
        return "SELECT count(*), sum(body ->> '$.size') FROM packages "
               "WHERE body ->> '$.size' >= ?1 AND body ->> '$.size' < ?2";
      case BenchQuery::kRangeFetched:
        return "SELECT id, body FROM packages WHERE body ->> '$.size' >= ?1 AND body ->> '$.size' < ?2";
      case BenchQuery::kSumOfNumber: return "SELECT sum(body ->> '$.length') FROM packages NOT INDEXED";
      case BenchQuery::kSumOfTextLength: return "SELECT sum(length(body ->> '$.text')) FROM packages NOT INDEXED";
      case BenchQuery::kGroups:
        return "SELECT body ->> '$.priority', count(*) FROM packages NOT INDEXED GROUP BY body ->> '$.priority'";
    }
    std::abort();
  }

  sqlite3* handle_ = nullptr;
  sqlite3_stmt* put_ = nullptr;
  sqlite3_stmt* begin_ = nullptr;
  sqlite3_stmt* commit_ = nullptr;
  std::map<BenchQuery, sqlite3_stmt*> queries_;
};

}  // namespace

std::unique_ptr<StoreSide> OpenForeshore(const std::string& folder, StorageKind storage, bool indexed) {
  return std::make_unique<ForeshoreSide>(folder, storage, indexed);
}

std::unique_ptr<StoreSide> OpenPlainSqlite(const std::string& folder, bool indexed) {
  return std::make_unique<PlainSqliteSide>(folder, indexed);
}

}  // namespace foreshore
