#include "engine/query/sql_statement.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace foreshore {
namespace {

constexpr std::size_t kPlanStepIdMin = 1'000'000;  // Above those of SQLite's own steps.

}  // namespace

SqlStatement::SqlStatement(std::shared_ptr<SessionState> session, sqlite3_stmt* statement, TransactionControl control,
                           std::string savepoint, bool converts)
    : session_(std::move(session)), statement_(statement), control_(control), savepoint_(std::move(savepoint)) {
  if (statement_ == nullptr) return;
  run_.converts = converts;
  run_.writes = sqlite3_stmt_readonly(statement_) == 0;
  std::sort(session_->text_collections.begin(), session_->text_collections.end());
  std::unique_copy(session_->text_collections.begin(), session_->text_collections.end(),
                   std::back_inserter(run_.text_collections));
  NoteColumns();
}

SqlStatement::~SqlStatement() {
  EndRun();
  sqlite3_finalize(statement_);
}

void SqlStatement::NoteColumns() {
  columns_.clear();
  const int count = sqlite3_column_count(statement_);
  for (int i = 0; i < count; ++i) {
    const char* name = sqlite3_column_name(statement_, i);
    columns_.emplace_back(name ? name : "");
  }
}

void SqlStatement::KeepOriginal(std::string sql, std::vector<std::string> names) {
  original_sql_ = std::move(sql);
  if (names.size() == columns_.size()) columns_ = std::move(names);
  declared_version_ = session_->declared->version;
}

// The column of an index that was dropped would be missing.
Status SqlStatement::RecompileIfOld() {
  if (original_sql_.empty() || declared_version_ == session_->declared->version) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(sqlite3_stmt* const fresh, session_->Recompile(original_sql_));
  sqlite3_transfer_bindings(statement_, fresh);
  sqlite3_finalize(std::exchange(statement_, fresh));
  declared_version_ = session_->declared->version;
  reprepare_count_ = 0;
  return Status::Ok();
}

bool SqlStatement::IsIdColumn(int index) const {
  const char* table = sqlite3_column_table_name(statement_, index);
  const char* column = sqlite3_column_origin_name(statement_, index);
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
    code = sqlite3_bind_int64(statement_, index, *integer);
  } else if (const auto* real = std::get_if<double>(&value)) {
    code = sqlite3_bind_double(statement_, index, *real);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    code = sqlite3_bind_text64(statement_, index, text->data(), text->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  } else if (const auto* blob = std::get_if<SqlBlob>(&value)) {
    // A null pointer would bind NULL, and an empty string may have one.
    const char* bytes = blob->bytes.empty() ? "" : blob->bytes.data();
    code = sqlite3_bind_blob64(statement_, index, bytes, blob->bytes.size(), SQLITE_TRANSIENT);
  } else {
    code = sqlite3_bind_null(statement_, index);
  }
  return code == SQLITE_OK ? Status::Ok() : session_->ErrorOf(code);
}

Status SqlStatement::BindNamed(const std::string& name, const SqlValue& value) {
  const int index = statement_ ? sqlite3_bind_parameter_index(statement_, name.c_str()) : 0;
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
  if (statement_) sqlite3_reset(statement_);
  run_.predictions.reset();
  run_.view.reset();
  run_.shared_view = nullptr;
  run_.models.clear();
  session_->sharing.erase(this);
}

Result<bool> SqlStatement::Step() {
  if (phase_ == Phase::kFailed) return failure_;
  if (phase_ == Phase::kDone) return false;
  if (control_ != TransactionControl::kNone) {
    StartWatch();
    session_->running = &run_;  // BEGIN IMMEDIATE may wait.
    const Status status = session_->Control(control_, savepoint_);
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
  if (const int count = sqlite3_stmt_status(statement_, SQLITE_STMTSTATUS_REPREPARE, 0); count != reprepare_count_) {
    reprepare_count_ = count;  // The tables were declared anew: "*" may mean more columns now.
    if (original_sql_.empty() || sqlite3_column_count(statement_) != static_cast<int>(columns_.size())) NoteColumns();
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
    code = sqlite3_step(statement_);
  } else {
    session_->Fail(nullptr, stopped);
  }
  if (is_timed) run_.used += std::chrono::steady_clock::now() - run_.step_begun;
  session_->running = nullptr;
  return code;
}

Result<bool> SqlStatement::Finish() {
  sqlite3_reset(statement_);  // Closes the cursors, which must go before their snapshot.
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
  sqlite3_reset(statement_);
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
  if (!has_row_ || index < 0 || index >= sqlite3_data_count(statement_)) return SqlValue();
  switch (sqlite3_column_type(statement_, index)) {
    case SQLITE_INTEGER: return static_cast<std::int64_t>(sqlite3_column_int64(statement_, index));
    case SQLITE_FLOAT: return sqlite3_column_double(statement_, index);
    case SQLITE_TEXT: {
      const auto* text = static_cast<const char*>(sqlite3_column_blob(statement_, index));  // No zero is needed.
      const int size = sqlite3_column_bytes(statement_, index);
      return text ? std::string(text, static_cast<std::size_t>(size)) : std::string();
    }
    case SQLITE_BLOB: {
      const void* bytes = sqlite3_column_blob(statement_, index);
      const int size = sqlite3_column_bytes(statement_, index);
      return SqlBlob{bytes ? ByteString(static_cast<const char*>(bytes), static_cast<std::size_t>(size))
                           : ByteString()};
    }
    default: return SqlValue();
  }
}

}  // namespace foreshore
