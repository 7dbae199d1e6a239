// A compiled statement of one session; see sql_session.h for when it reads, commits and rolls back.
#pragma once

#include "engine/query/session_state.h"

namespace foreshore {

class SqlStatement : public Statement {
 public:
  // `plan_steps` are the details of further rows of EXPLAIN QUERY PLAN.
  SqlStatement(std::shared_ptr<SessionState> session, CompiledStatement compiled, std::vector<std::string> plan_steps);
  ~SqlStatement() override;

  Status Bind(int index, const SqlValue& value) override;
  Status BindNamed(const std::string& name, const SqlValue& value) override;
  Result<bool> Step() override;
  Status Reset() override;
  const std::vector<std::string>& columns() const override { return compiled_.columns; }
  SqlValue Column(int index) const override;
  std::int64_t changed_count() const override { return run_.changed_count; }
  void Cancel() override { is_cancelled_.store(true); }

  int parameter_count() const { return sqlite3_bind_parameter_count(sqlite()); }
  TransactionControl control() const { return compiled_.notes.control; }
  // For live queries. The view stays the caller's and must outlive the run, which Reset ends.
  void UseView(ReadView* view, const DocumentRestriction* only) {
    run_.borrowed_view = view;
    run_.only = only;
  }
  bool only_reads() const { return !run_.writes && sqlite3_stmt_isexplain(sqlite()) == 0; }
  int opened_cursor_count() const { return run_.opened_cursor_count; }
  // Whether a column of the result is the id of a collection, under whatever name.
  bool IsIdColumn(int index) const;
  // The session's transaction goes: nothing of this statement may touch it any more.
  void AbortRun(const Status& why);

 private:
  enum class Phase : std::uint8_t { kReady, kRunning, kDone, kFailed };
  void Start();
  void StartWatch();  // From here on the run can be stopped.
  void EndRun();      // Closes cursors, then the snapshot; rolls an own transaction back.
  int StepOnce();     // SQLite's code.
  Result<bool> Finish();
  Status Fail(Status status);
  Result<bool> NextPlanStep();
  void Take(CompiledStatement compiled);
  // Where columns of predictive indexes are in it and the tables have been declared otherwise since: the column of an
  // index that was dropped would be missing.
  Status RecompileIfOld();
  sqlite3_stmt* sqlite() const { return compiled_.statement.get(); }

  std::shared_ptr<SessionState> session_;  // Shared: the statement may outlive its SqlSession.
  CompiledStatement compiled_;
  const bool uses_indexes_;             // Predictive ones, when it was prepared.
  std::uint64_t declared_version_ = 0;  // Of the catalogue, when it was compiled.
  std::vector<std::string> plan_steps_;
  std::size_t plan_step_ = 0;  // How many of them were given out; above 0: the row is one of them.
  std::atomic<bool> is_cancelled_{false};
  StatementRun run_;
  Phase phase_ = Phase::kReady;
  bool has_row_ = false;
  Status failure_;
  int reprepare_count_ = 0;
};

}  // namespace foreshore
