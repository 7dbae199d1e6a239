#include "engine/query/sql_session.h"

#include "engine/query/session_state.h"
#include "engine/query/sql_statement.h"

namespace foreshore {

SqlSession::SqlSession(std::shared_ptr<SessionState> state) : state_(std::move(state)) {}

SqlSession::~SqlSession() {
  if (state_->transaction) state_->AbortTransaction();
}

Result<std::unique_ptr<SqlSession>> SqlSession::Create(DatabaseCore& core, const SqlOptions& options) {
  auto state = std::make_shared<SessionState>(core);
  state->options = options;
  FORESHORE_RETURN_IF_ERROR(state->Open());
  return std::unique_ptr<SqlSession>(new SqlSession(std::move(state)));
}

Result<std::unique_ptr<Statement>> SqlSession::Prepare(std::string_view sql, std::size_t* consumed_bytes) {
  FORESHORE_ASSIGN_OR_RETURN(auto statement, state_->Prepare(sql, consumed_bytes));
  return std::unique_ptr<Statement>(std::move(statement));
}

bool SqlSession::in_transaction() const {
  return state_->transaction != nullptr;
}

void SqlSession::Interrupt() {
  state_->Interrupt();
}

Result<std::vector<std::string>> SqlSession::Names() {
  return state_->Names();
}

// Enough for a few threads with a few statements each; more are made and dropped as needed.
constexpr std::size_t kIdleSessionsMax = 8;

struct SqlSessions::Idle {
  std::mutex mutex;
  std::vector<std::unique_ptr<SqlSession>> sessions;  // Guarded by mutex.
  bool closed = false;                                // Guarded by mutex.

  void GiveBack(std::unique_ptr<SqlSession> session) {
    const std::lock_guard lock(mutex);
    if (!closed && sessions.size() < kIdleSessionsMax) sessions.push_back(std::move(session));
  }
};

class SqlSessions::PooledStatement : public Statement {
 public:
  PooledStatement(std::shared_ptr<Idle> idle, std::unique_ptr<SqlSession> session, std::unique_ptr<Statement> inner)
      : idle_(std::move(idle)), session_(std::move(session)), inner_(std::move(inner)) {}
  ~PooledStatement() override {
    inner_.reset();
    idle_->GiveBack(std::move(session_));
  }
  Status Bind(int index, const SqlValue& value) override { return inner_->Bind(index, value); }
  Status BindNamed(const std::string& name, const SqlValue& value) override { return inner_->BindNamed(name, value); }
  Result<bool> Step() override { return inner_->Step(); }
  Status Reset() override { return inner_->Reset(); }
  const std::vector<std::string>& columns() const override { return inner_->columns(); }
  SqlValue Column(int index) const override { return inner_->Column(index); }
  std::int64_t changed_count() const override { return inner_->changed_count(); }
  void Cancel() override { inner_->Cancel(); }

 private:
  std::shared_ptr<Idle> idle_;  // Shared with the pool, which may go first.
  std::unique_ptr<SqlSession> session_;
  std::unique_ptr<Statement> inner_;
};

SqlSessions::SqlSessions(DatabaseCore& core) : core_(core), idle_(std::make_shared<Idle>()) {}

SqlSessions::~SqlSessions() {
  const std::lock_guard lock(idle_->mutex);
  idle_->closed = true;
  idle_->sessions.clear();
}

Result<std::unique_ptr<SqlSession>> SqlSessions::Take() {
  {
    const std::lock_guard lock(idle_->mutex);
    if (!idle_->sessions.empty()) {
      auto session = std::move(idle_->sessions.back());
      idle_->sessions.pop_back();
      return session;
    }
  }
  return SqlSession::Create(core_);
}

Result<std::unique_ptr<Statement>> SqlSessions::Prepare(std::string_view sql, const SqlOptions& options) {
  FORESHORE_ASSIGN_OR_RETURN(auto session, Take());
  session->state_->options = options;
  auto prepared = session->state_->Prepare(sql, nullptr);
  if (!prepared.ok()) {
    idle_->GiveBack(std::move(session));
    return prepared.status();
  }
  if ((*prepared)->control() != TransactionControl::kNone) {
    return Status::Unsupported(
        "SQL: BEGIN, COMMIT, ROLLBACK, SAVEPOINT and RELEASE need a connection of their own (Database::Connect); a "
        "statement that stands alone is one transaction");
  }
  return std::unique_ptr<Statement>(
      std::make_unique<PooledStatement>(idle_, std::move(session), std::move(prepared).value()));
}

Result<std::vector<std::string>> SqlSessions::Names() {
  FORESHORE_ASSIGN_OR_RETURN(auto session, Take());
  auto names = session->Names();
  idle_->GiveBack(std::move(session));
  return names;
}

}  // namespace foreshore
