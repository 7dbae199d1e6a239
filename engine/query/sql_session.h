// SQL over a DatabaseCore. SQLite parses, plans and evaluates; every collection is a virtual table on the store of
// either backend. docs/sql.md says what the language offers.
//
// Snapshots. Outside a transaction each statement that reads has one snapshot, shared by all its cursors, so that a
// join sees one state; a statement that writes is one transaction of its own, which commits when Step returns false
// and is rolled back by an error, by Reset before the end, or when the Statement goes. After BEGIN or SAVEPOINT all
// statements of the session share one transaction (sql_transaction.h) until COMMIT or ROLLBACK; one that fails is
// undone alone, by a savepoint that is made before its first write.
//
// Columns follow the catalogue: new collections and fields appear in the next Prepare.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/sql.h"
#include "foreshore/status.h"

namespace foreshore {

class DatabaseCore;
class SessionState;

// One connection, with its own transaction.
// Threads: one at a time, its statements included, but for Interrupt and Statement::Cancel.
// Lifetime: must go before the core, and so must its statements. A statement may outlive its session.
class SqlSession : public SqlConnection {
 public:
  static Result<std::unique_ptr<SqlSession>> Create(DatabaseCore& core, const SqlOptions& options = {});
  ~SqlSession() override;  // Rolls an open transaction back.
  SqlSession(const SqlSession&) = delete;
  SqlSession& operator=(const SqlSession&) = delete;

  Result<std::unique_ptr<Statement>> Prepare(std::string_view sql, std::size_t* consumed_bytes = nullptr) override;
  bool in_transaction() const override;
  void Interrupt() override;
  // What a shell can complete: collections, columns and functions, sorted, each once.
  Result<std::vector<std::string>> Names();

 private:
  friend class SqlSessions;
  explicit SqlSession(std::shared_ptr<SessionState> state);
  std::shared_ptr<SessionState> state_;  // Shared with the statements, which may outlive the session.
};

// Sessions for statements that stand alone: each Prepare takes an idle session or makes one, and the Statement gives
// it back when it goes. So statements of several threads run side by side. BEGIN, SAVEPOINT and their kin are refused,
// because two statements need not meet in one session.
// Threads: safe from any thread. Lifetime: must go before the core; statements may outlive it, but not the core.
class SqlSessions {
 public:
  explicit SqlSessions(DatabaseCore& core);
  ~SqlSessions();
  SqlSessions(const SqlSessions&) = delete;
  SqlSessions& operator=(const SqlSessions&) = delete;

  Result<std::unique_ptr<Statement>> Prepare(std::string_view sql, const SqlOptions& options = {});
  Result<std::vector<std::string>> Names();

 private:
  struct Idle;
  class PooledStatement;
  Result<std::unique_ptr<SqlSession>> Take();
  DatabaseCore& core_;
  std::shared_ptr<Idle> idle_;  // Shared with the statements, which may outlive this object.
};

}  // namespace foreshore
