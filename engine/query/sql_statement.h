// A compiled statement of one session; see sql_session.h for when it reads, commits and rolls back.
#pragma once

#include "engine/query/session_state.h"

namespace foreshore {

class SqlStatement : public Statement {
 public:
  // Takes `statement` over; null for BEGIN and its kin.
  SqlStatement(std::shared_ptr<SessionState> session, sqlite3_stmt* statement, TransactionControl control,
               std::string savepoint, bool converts);
  ~SqlStatement() override;

  Status Bind(int index, const SqlValue& value) override;
  Status BindNamed(const std::string& name, const SqlValue& value) override;
  Result<bool> Step() override;
  Status Reset() override;
  const std::vector<std::string>& columns() const override { return columns_; }
  SqlValue Column(int index) const override;
  std::int64_t changed_count() const override { return run_.changed_count; }
  void Cancel() override { is_cancelled_.store(true); }

  int parameter_count() const { return statement_ ? sqlite3_bind_parameter_count(statement_) : 0; }
  TransactionControl control() const { return control_; }
  // For live queries. The view stays the caller's and must outlive the run, which Reset ends.
  void UseView(ReadView* view, const DocumentRestriction* only) {
    run_.borrowed_view = view;
    run_.only = only;
  }
  bool only_reads() const { return !run_.writes && statement_ && sqlite3_stmt_isexplain(statement_) == 0; }
  int opened_cursor_count() const { return run_.opened_cursor_count; }
  // Whether a column of the result is the id of a collection, under whatever name.
  bool IsIdColumn(int index) const;
  // The session's transaction goes: nothing of this statement may touch it any more.
  void AbortRun(const Status& why);

  // Further rows of EXPLAIN QUERY PLAN, by their details.
  void AddPlanSteps(const std::vector<std::string>& details) {
    plan_steps_.insert(plan_steps_.end(), details.begin(), details.end());
  }
  // `statement` was made of another text, in which columns of predictive indexes stand for what `sql` says. It is
  // compiled anew where the tables are declared otherwise by then. `names` are the result's.
  void KeepOriginal(std::string sql, std::vector<std::string> names);

 private:
  Result<bool> NextPlanStep();
  std::vector<std::string> plan_steps_;
  std::size_t plan_step_ = 0;  // How many of them were given out; above 0: the row is one of them.
  enum class Phase : std::uint8_t { kReady, kRunning, kDone, kFailed };
  void Start();
  void StartWatch();  // From here on the run can be stopped.
  void EndRun();      // Closes cursors, then the snapshot; rolls an own transaction back.
  int StepOnce();     // SQLite's code.
  Result<bool> Finish();
  Status Fail(Status status);
  void NoteColumns();
  Status RecompileIfOld();

  std::shared_ptr<SessionState> session_;  // Shared: the statement may outlive its SqlSession.
  sqlite3_stmt* statement_;
  TransactionControl control_;
  std::string savepoint_;  // What SAVEPOINT and its kin name.
  std::atomic<bool> is_cancelled_{false};
  StatementRun run_;
  Phase phase_ = Phase::kReady;
  bool has_row_ = false;
  Status failure_;
  int reprepare_count_ = 0;
  std::vector<std::string> columns_;
  std::string original_sql_;            // Empty: what was compiled.
  std::uint64_t declared_version_ = 0;  // Of the catalogue, when it was.
};

}  // namespace foreshore
