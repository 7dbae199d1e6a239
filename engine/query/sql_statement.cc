#include "engine/query/sql_statement.h"

#include <utility>

namespace foreshore {
namespace {

constexpr std::size_t kPlanStepIdMin = 1'000'000;  // Above those of SQLite's own steps.

}  // namespace

SqlStatement::SqlStatement(std::shared_ptr<SessionState> session, CompiledStatement compiled,
                           std::vector<std::string> plan_steps)
    : session_(std::move(session)), uses_indexes_(!compiled.indexes.empty()), plan_steps_(std::move(plan_steps)) {
  Take(std::move(compiled));
}

SqlStatement::~SqlStatement() {
  EndRun();
}

void SqlStatement::Take(CompiledStatement compiled) {
  compiled_ = std::move(compiled);
  declared_version_ = session_->declared->version;
  reprepare_count_ = 0;
  run_.converts = compiled_.notes.converts;
  run_.writes = sqlite3_stmt_readonly(sqlite()) == 0;
  run_.text_collections = compiled_.notes.text_collections;
}

Status SqlStatement::RecompileIfOld() {
  if (!uses_indexes_ || declared_version_ == session_->declared->version) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(CompiledStatement fresh, session_->Compile(compiled_.written));
  sqlite3_transfer_bindings(sqlite(), fresh.statement.get());
  Take(std::move(fresh));
  return Status::Ok();
}

bool SqlStatement::IsIdColumn(int index) const {
  const char* table = sqlite3_column_table_name(sqlite(), index);
  const char* column = sqlite3_column_origin_name(sqlite(), index);
  return table != nullptr && column != nullptr && std::string_view(column) == "id" &&
         session_->declared->Find(table) != nullptr;
}

Status SqlStatement::Bind(int index, const SqlValue& value) {
  if (phase_ == Phase::kRunning) return Status::InvalidArgument("SQL: bind to a running statement: call Reset first");
  if (index < 1 || index > parameter_count()) {
    return Status::InvalidArgument("SQL: parameter " + std::to_string(index) + " of a statement with " +
                                   std::to_string(parameter_count()));
  }
  if (phase_ != Phase::kReady) FORESHORE_RETURN_IF_ERROR(Reset());
  int code = SQLITE_OK;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    code = sqlite3_bind_int64(sqlite(), index, *integer);
  } else if (const auto* real = std::get_if<double>(&value)) {
    code = sqlite3_bind_double(sqlite(), index, *real);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    code = sqlite3_bind_text64(sqlite(), index, text->data(), text->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  } else if (const auto* blob = std::get_if<SqlBlob>(&value)) {
    // A null pointer would bind NULL, and an empty string may have one.
    const char* bytes = blob->bytes.empty() ? "" : blob->bytes.data();
    code = sqlite3_bind_blob64(sqlite(), index, bytes, blob->bytes.size(), SQLITE_TRANSIENT);
  } else {
    code = sqlite3_bind_null(sqlite(), index);
  }
  return code == SQLITE_OK ? Status::Ok() : session_->ErrorOf(code);
}

Status SqlStatement::BindNamed(const std::string& name, const SqlValue& value) {
  const int index = sqlite3_bind_parameter_index(sqlite(), name.c_str());
  if (index == 0) return Status::NotFound("SQL: the statement has no parameter \"" + name + "\"");
  return Bind(index, value);
}

void SqlStatement::StartWatch() {
  run_.used = {};
  run_.step_begun = run_.last_asked = std::chrono::steady_clock::now();
  run_.seen_interrupt_count = session_->interrupt_count();
  is_cancelled_.store(false);
  run_.is_cancelled = &is_cancelled_;
}

void SqlStatement::Start() {
  StartWatch();
  run_.changed_count = 0;
  run_.opened_cursor_count = 0;
  run_.rolls_transaction_back = false;
  run_.has_yielded = false;
  run_.in_transaction = session_->transaction != nullptr;
  if (run_.in_transaction) session_->sharing.insert(this);
  phase_ = Phase::kRunning;
}

void SqlStatement::EndRun() {
  has_row_ = false;
  plan_step_ = 0;
  sqlite3_reset(sqlite());
  run_.predictions.reset();
  run_.view.reset();
  run_.shared_view = nullptr;
  run_.models.clear();
  session_->sharing.erase(this);
}

Result<bool> SqlStatement::Step() {
  if (phase_ == Phase::kFailed) return failure_;
  if (phase_ == Phase::kDone) return false;
  if (control() != TransactionControl::kNone) {
    StartWatch();
    session_->running = &run_;  // BEGIN IMMEDIATE may wait.
    const Status status = session_->Control(control(), compiled_.notes.savepoint);
    session_->running = nullptr;
    FORESHORE_RETURN_IF_ERROR(status);
    phase_ = Phase::kDone;
    return false;
  }
  if (phase_ == Phase::kReady) {
    FORESHORE_RETURN_IF_ERROR(RecompileIfOld());
    Start();
  }
  if (plan_step_ > 0) return NextPlanStep();
  const int code = StepOnce();
  if (const int count = sqlite3_stmt_status(sqlite(), SQLITE_STMTSTATUS_REPREPARE, 0); count != reprepare_count_) {
    reprepare_count_ = count;  // The tables were declared anew: "*" may mean more columns now.
    if (!uses_indexes_) compiled_.columns = ColumnNamesOf(sqlite());
  }
  if (code != SQLITE_ROW && code != SQLITE_DONE) return Fail(session_->ErrorOf(code));
  // A statement writes everything before its first row, so nothing of it needs undoing from here on.
  if (Status settled = session_->SettleSavepoint(run_, true); !settled.ok()) {
    run_.rolls_transaction_back = true;
    return Fail(std::move(settled));
  }
  if (code == SQLITE_DONE) return plan_steps_.empty() ? Finish() : NextPlanStep();
  run_.has_yielded = true;
  has_row_ = true;
  return true;
}

// Behind SQLite's own rows of EXPLAIN QUERY PLAN.
Result<bool> SqlStatement::NextPlanStep() {
  has_row_ = plan_step_ < plan_steps_.size();
  ++plan_step_;
  return has_row_ ? Result<bool>(true) : Finish();
}

int SqlStatement::StepOnce() {
  has_row_ = false;
  session_->ClearError();
  session_->last_array = {};
  session_->running = &run_;
  const bool is_timed = session_->options.time_limit.count() != 0;
  if (is_timed) run_.step_begun = std::chrono::steady_clock::now();
  int code = SQLITE_INTERRUPT;
  if (const Status stopped = session_->CheckInterrupted(); stopped.ok()) {
    session_->notes = {};
    code = sqlite3_step(sqlite());
    // It was compiled anew in this step; its snapshot may be taken in a later one.
    auto& texts = session_->notes.text_collections;
    if (!texts.empty()) run_.text_collections = std::move(texts);
  } else {
    session_->Fail(nullptr, stopped);
  }
  if (is_timed) run_.used += std::chrono::steady_clock::now() - run_.step_begun;
  session_->running = nullptr;
  return code;
}

Result<bool> SqlStatement::Finish() {
  sqlite3_reset(sqlite());  // Closes the cursors, which must go before their snapshot.
  Status committed;
  if (run_.view && run_.writes) committed = static_cast<WriteView&>(*run_.view).Commit();
  EndRun();
  if (!committed.ok()) return Fail(std::move(committed));
  phase_ = Phase::kDone;
  return false;
}

Status SqlStatement::Fail(Status status) {
  EndRun();
  if (!session_->SettleSavepoint(run_, false).ok()) run_.rolls_transaction_back = true;
  if (run_.in_transaction && run_.rolls_transaction_back) {
    session_->AbortTransaction();
    status = Status(status.code(), status.message() + " (the transaction was rolled back)");
  }
  run_.changed_count = 0;
  failure_ = status;
  phase_ = Phase::kFailed;
  return status;
}

void SqlStatement::AbortRun(const Status& why) {
  if (phase_ != Phase::kRunning) return;
  has_row_ = false;
  sqlite3_reset(sqlite());
  run_.shared_view = nullptr;
  failure_ = why;
  phase_ = Phase::kFailed;
}

Status SqlStatement::Reset() {
  EndRun();
  phase_ = Phase::kReady;
  return Status::Ok();
}

SqlValue SqlStatement::Column(int index) const {
  if (has_row_ && plan_step_ > 0) {
    // id, parent, notused, detail.
    if (index == 3) return plan_steps_[plan_step_ - 1];
    return static_cast<std::int64_t>(index == 0 ? kPlanStepIdMin + plan_step_ : 0);
  }
  if (!has_row_ || index < 0 || index >= sqlite3_data_count(sqlite())) return SqlValue();
  switch (sqlite3_column_type(sqlite(), index)) {
    case SQLITE_INTEGER: return static_cast<std::int64_t>(sqlite3_column_int64(sqlite(), index));
    case SQLITE_FLOAT: return sqlite3_column_double(sqlite(), index);
    case SQLITE_TEXT: {
      const auto* text = static_cast<const char*>(sqlite3_column_blob(sqlite(), index));  // No zero is needed.
      const int size = sqlite3_column_bytes(sqlite(), index);
      return text ? std::string(text, static_cast<std::size_t>(size)) : std::string();
    }
    case SQLITE_BLOB: {
      const void* bytes = sqlite3_column_blob(sqlite(), index);
      const int size = sqlite3_column_bytes(sqlite(), index);
      return SqlBlob{bytes ? ByteString(static_cast<const char*>(bytes), static_cast<std::size_t>(size))
                           : ByteString()};
    }
    default: return SqlValue();
  }
}

}  // namespace foreshore
