#include "engine/query/session_state.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "engine/query/collection_table.h"
#include "engine/query/explain_inference.h"
#include "engine/query/predict_table.h"
#include "engine/query/predictions_in_sql.h"
#include "engine/query/readings_table.h"
#include "engine/query/sql_functions.h"
#include "engine/query/sql_statement.h"
#include "engine/query/sqlite_callback.h"
#include "engine/query/text_functions.h"
#include "engine/query/time_functions.h"
#include "engine/query/vector_sources_table.h"
#include "foreshore/sql_tokens.h"

namespace foreshore {

namespace {

// Memory may run out between a statement's preparation and its end.
// Read-only pragmas that tools ask for; every other pragma is refused.
// SQLite asks every so many operations of its machine whether to go on: some 20 us of work.
constexpr int kProgressOperations = 1000;
constexpr std::chrono::milliseconds kKeepGoingInterval(50);

constexpr std::string_view kPragmas[] = {"table_info",    "table_xinfo",   "table_list",
                                         "function_list", "database_list", "compile_options"};

// What SQLite refuses on virtual tables, and what does the same.
struct Advice {
  std::string_view refusal;
  std::string_view instead;
};
constexpr Advice kAdvice[] = {
    {"UPSERT not implemented", "use INSERT OR REPLACE, or UPDATE first and INSERT where it changed no document"},
    {"RETURNING is not available", "use SELECT in the same transaction, after an UPDATE or before a DELETE"}};

// Only CAST, rowid (also called oid) and SQLite's own tables have a numeric affinity here, with which a comparison
// takes texts for numbers. Where such a word stands in a string or a name, less is taken for granted than could be.
bool MayConvert(std::string_view sql) {
  const auto equal = [](char a, char b) { return a == b || (a | 0x20) == b; };
  constexpr std::string_view kWords[] = {"cast", "oid", "sqlite_"};
  return std::any_of(std::begin(kWords), std::end(kWords), [&](std::string_view word) {
    return std::search(sql.begin(), sql.end(), word.begin(), word.end(), equal) != sql.end();
  });
}

// What EXPLAIN QUERY PLAN explains.
std::string BehindExplain(std::string_view sql) {
  std::string upper(sql);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 0x20) : c; });
  std::size_t at = 0;
  for (const std::string_view word : {"EXPLAIN", "QUERY", "PLAN"}) {
    at = upper.find(word, at);
    if (at == std::string::npos) return {};
    at += word.size();
  }
  return std::string(sql.substr(at));
}

const char* ActionName(int action) {
  switch (action) {
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_TEMP_INDEX: return "CREATE INDEX";
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TEMP_TABLE: return "CREATE TABLE";
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_TEMP_TRIGGER: return "CREATE TRIGGER";
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_TEMP_VIEW: return "CREATE VIEW";
    case SQLITE_CREATE_VTABLE: return "CREATE VIRTUAL TABLE";
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_TEMP_INDEX: return "DROP INDEX";
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_TEMP_TABLE:
    case SQLITE_DROP_VTABLE: return "DROP TABLE";
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_TEMP_TRIGGER: return "DROP TRIGGER";
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_TEMP_VIEW: return "DROP VIEW";
    case SQLITE_ALTER_TABLE: return "ALTER TABLE";
    case SQLITE_REINDEX: return "REINDEX";
    case SQLITE_ANALYZE: return "ANALYZE";
    case SQLITE_ATTACH: return "ATTACH";
    case SQLITE_DETACH: return "DETACH";
    default: return "this statement";
  }
}

ErrorCode CodeOf(int sqlite_code) {
  switch (sqlite_code & 0xFF) {
    case SQLITE_CONSTRAINT: return ErrorCode::kConflict;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ErrorCode::kBusy;
    case SQLITE_INTERRUPT: return ErrorCode::kCancelled;
    case SQLITE_TOOBIG:
    case SQLITE_NOMEM: return ErrorCode::kLimit;
    case SQLITE_FULL: return ErrorCode::kNoSpace;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN: return ErrorCode::kIo;
    case SQLITE_AUTH: return ErrorCode::kUnsupported;
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE: return ErrorCode::kInvalidArgument;
    default: return ErrorCode::kInternal;
  }
}

}  // namespace

std::vector<std::string> ColumnNamesOf(sqlite3_stmt* statement) {
  std::vector<std::string> names;
  const int count = sqlite3_column_count(statement);
  for (int i = 0; i < count; ++i) {
    const char* name = sqlite3_column_name(statement, i);
    names.emplace_back(name ? name : "");
  }
  return names;
}

SessionState::~SessionState() {
  sqlite3_close_v2(db);
}

Status SessionState::Open() {
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX;
  if (const int code = sqlite3_open_v2(":memory:", &db, flags, nullptr); code != SQLITE_OK) {
    return Status::Internal(std::string("SQL: the front end does not open: ") + sqlite3_errstr(code));
  }
  sqlite3_extended_result_codes(db, 1);
  // A misspelt "name" in double quotes must be an error, not a string.
  sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_set_authorizer(db, SqliteCallback<&SessionState::Authorize>, this);
  sqlite3_progress_handler(db, kProgressOperations, SqliteCallback<&SessionState::OnProgress>, this);
  FORESHORE_RETURN_IF_ERROR(RegisterCollectionModule(*this));
  FORESHORE_RETURN_IF_ERROR(RegisterReadingsModule(*this));
  FORESHORE_RETURN_IF_ERROR(RegisterPredictTable(*this));
  FORESHORE_RETURN_IF_ERROR(RegisterVectorSourcesTable(*this));
  FORESHORE_RETURN_IF_ERROR(RegisterTimeFunctions(*this));
  FORESHORE_RETURN_IF_ERROR(RegisterSqlFunctions(*this));
  FORESHORE_RETURN_IF_ERROR(RegisterTextFunctions(*this));
  return DeclareTables();
}

Status SessionState::Execute(const std::string& sql) {
  declaring_ = true;
  const int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
  declaring_ = false;
  return code == SQLITE_OK ? Status::Ok() : ErrorOf(code);
}

Status SessionState::DeclareTables() {
  auto catalog = core.catalog();
  if (declared && declared->version == catalog->version) return Status::Ok();
  declared = std::move(catalog);
  std::vector<std::string> created;
  bool changed = false;
  for (const CollectionDefinition& collection : declared->collections) {
    if (EqualsIgnoringCase(collection.name.substr(0, 7), "sqlite_")) continue;  // SQLite keeps such names for itself.
    std::string declaration = collection.is_readings() ? ReadingsDeclarationOf(collection) : DeclarationOf(collection);
    auto [place, is_new] = declarations_.try_emplace(collection.id);
    if (is_new) {
      created.push_back(collection.name);
    } else if (place->second != declaration) {
      changed = true;
    }
    place->second = std::move(declaration);
  }
  // Forgets every table's columns; they are declared again when next used. Unlike DROP it works under open statements.
  if (changed) FORESHORE_RETURN_IF_ERROR(Execute("PRAGMA writable_schema=RESET"));
  for (const std::string& name : created) {
    const std::string quoted = QuoteIdentifier(name);
    const bool is_readings = declared->Find(name)->is_readings();
    const char* module = is_readings ? " USING foreshore_readings" : " USING foreshore_collection";
    if (const Status status = Execute("CREATE VIRTUAL TABLE " + quoted + module); !status.ok()) {
      declared.reset();
      declarations_.erase(core.catalog()->Find(name)->id);
      return status.WithContext("SQL: table of collection \"" + name + "\"");
    }
  }
  return Status::Ok();
}

Result<std::unique_ptr<SqlStatement>> SessionState::Prepare(std::string_view sql, std::size_t* consumed_bytes) {
  FORESHORE_RETURN_IF_ERROR(DeclareTables());
  if (sql.find('\0') != std::string_view::npos) return Status::InvalidArgument("SQL: the text contains a zero byte");
  if (sql.size() > (16U << 20)) {
    return Status::Limit("SQL: the text has " + std::to_string(sql.size()) + " bytes, at most 16777216 are read");
  }
  FORESHORE_ASSIGN_OR_RETURN(CompiledStatement compiled, Compile(sql));
  const std::size_t used = compiled.written.size();
  if (consumed_bytes) *consumed_bytes = used;
  if (compiled.statement == nullptr) {
    if (consumed_bytes) return std::unique_ptr<SqlStatement>();
    return Status::InvalidArgument("SQL: the text holds no statement");
  }
  const bool is_plan = sqlite3_stmt_isexplain(compiled.statement.get()) == 2;
  std::vector<std::string> plan_steps;
  if (is_plan && compiled.notes.calls_models) plan_steps = ExplainInference(*this, BehindExplain(compiled.sql));
  if (is_plan) {
    for (std::string& line : ExplainPredictiveIndexes(*this, compiled)) plan_steps.push_back(std::move(line));
  }
  if (!compiled.notes.misplaced_match.empty()) {
    return Status::InvalidArgument("SQL: MATCH on collection \"" + compiled.notes.misplaced_match +
                                   "\" must be an AND term of WHERE or of a join's ON, not under OR or NOT, not in the "
                                   "result, and not on the optional side of an outer join");
  }
  if (compiled.notes.plans_nearest && sqlite3_stmt_isexplain(compiled.statement.get()) == 0) {
    FORESHORE_RETURN_IF_ERROR(CheckNearestPlacement(compiled.sql));
  }
  if (consumed_bytes == nullptr) FORESHORE_RETURN_IF_ERROR(RefuseMore(sql, used));
  return std::make_unique<SqlStatement>(shared_from_this(), std::move(compiled), std::move(plan_steps));
}

Result<CompiledStatement> SessionState::Compile(std::string_view sql) {
  const auto& collections = declared->collections;
  const bool has_indexes =
      std::any_of(collections.begin(), collections.end(),
                  [](const CollectionDefinition& collection) { return !collection.predictive_indexes.empty(); });
  ColumnReads traced;
  FORESHORE_ASSIGN_OR_RETURN(CompiledStatement compiled, CompileAsWritten(sql, traced));
  if (!compiled.notes.calls_models || !has_indexes) return compiled;
  StatementReads* const told = std::exchange(reads, nullptr);  // They are told of what is written.
  auto indexed = UsePredictiveIndexes(*this, compiled.sql, std::move(traced));
  reads = told;
  if (!indexed) return compiled;
  indexed->written = std::move(compiled.written);
  indexed->columns = std::move(compiled.columns);
  return std::move(*indexed);
}

Result<CompiledStatement> SessionState::CompileAsWritten(std::string_view sql, ColumnReads& traced) {
  error_ = Status::Ok();
  notes = {};
  notes.converts = MayConvert(sql);
  sqlite3_stmt* statement = nullptr;
  const char* tail = nullptr;
  traced_reads_ = &traced;
  const int code = sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()), 0, &statement, &tail);
  traced_reads_ = nullptr;
  if (code != SQLITE_OK) return ErrorOf(code);
  CompiledStatement compiled;
  compiled.statement.reset(statement);
  compiled.sql = sql.substr(0, static_cast<std::size_t>(tail - sql.data()));
  compiled.written = compiled.sql;
  if (statement == nullptr) return compiled;
  compiled.columns = ColumnNamesOf(statement);
  compiled.notes = std::move(notes);
  // The authorizer hears BEGIN of any kind; only those that take locks touch the file.
  TransactionControl& control = compiled.notes.control;
  if (control == TransactionControl::kBegin && sqlite3_stmt_readonly(statement) == 0) {
    control = TransactionControl::kBeginImmediate;
  }
  if (sqlite3_stmt_isexplain(statement) != 0) control = TransactionControl::kNone;
  return compiled;
}

Status SessionState::RefuseMore(std::string_view sql, std::size_t used) {
  if (used == sql.size()) return Status::Ok();
  sqlite3_stmt* more = nullptr;
  const std::string_view rest = sql.substr(used);
  const int code = sqlite3_prepare_v3(db, rest.data(), static_cast<int>(rest.size()), 0, &more, nullptr);
  sqlite3_finalize(more);
  if (code == SQLITE_OK && more == nullptr) return Status::Ok();
  return Status::InvalidArgument("SQL: text follows the statement at byte " + std::to_string(used) +
                                 ", expected one statement");
}

Result<const StatementModel*> SessionState::ModelOf(std::string_view name, std::string_view adapter) {
  for (const StatementModel& known : running->models) {
    if (known.name == name && known.adapter == adapter) return &known;
  }
  FORESHORE_ASSIGN_OR_RETURN(auto predictor, core.models().LoadPredictor(std::string(name), std::string(adapter)));
  const std::size_t width = predictor->numbers() ? predictor->numbers()->row_width().value_or(0) : 0;
  running->models.push_back({std::string(name), std::string(adapter), std::move(predictor), width});
  return &running->models.back();
}

StatementPredictions& SessionState::Predictions() {
  if (!running->predictions) running->predictions = std::make_unique<StatementPredictions>(*this);
  return *running->predictions;
}

// SQLite may read the branches of an OR one after the other and so push a MATCH into one of them, where the result
// would depend on the plan. Its plan says so: such branches hang below a "MULTI-INDEX OR".
Status SessionState::CheckNearestPlacement(const std::string& sql) {
  const std::string explain = "EXPLAIN QUERY PLAN " + sql;
  sqlite3_stmt* compiled = nullptr;
  if (const int code = sqlite3_prepare_v3(db, explain.c_str(), -1, 0, &compiled, nullptr); code != SQLITE_OK) {
    return ErrorOf(code);
  }
  const OwnedStatement owner(compiled, &sqlite3_finalize);
  std::set<int> under_or;
  while (sqlite3_step(compiled) == SQLITE_ROW) {
    const int id = sqlite3_column_int(compiled, 0);
    const int parent = sqlite3_column_int(compiled, 1);
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(compiled, 3));
    const std::string_view detail = text ? text : "";
    if (detail == "MULTI-INDEX OR" || under_or.contains(parent)) under_or.insert(id);
    if (under_or.contains(parent) &&
        (detail.find(kNearestMarker) != std::string_view::npos || detail.find(kTextMarker) != std::string_view::npos)) {
      return Status::InvalidArgument("SQL: MATCH must be an AND term of WHERE or of a join's ON, not under OR");
    }
  }
  return Status::Ok();
}

Result<ReadView*> SessionState::View() {
  if (running == nullptr) return Status::Internal("SQL: a table was read outside a statement");
  if (running->borrowed_view) return running->borrowed_view;
  if (running->in_transaction) {
    if (running->shared_view == nullptr && running->writes) {
      FORESHORE_ASSIGN_OR_RETURN(running->shared_view, transaction->Writer(options.busy_timeout, sharing.size() > 1));
    } else if (running->shared_view == nullptr) {
      FORESHORE_ASSIGN_OR_RETURN(running->shared_view, transaction->Reader());
    }
    return running->shared_view;
  }
  if (!running->view) {
    if (running->writes) {
      FORESHORE_ASSIGN_OR_RETURN(running->view, core.BeginWrite(options.busy_timeout, "a SQL statement", this));
    } else {
      // Where SQLite has compiled the statement anew in this step, what it told then counts.
      auto& texts = notes.text_collections.empty() ? running->text_collections : notes.text_collections;
      FORESHORE_ASSIGN_OR_RETURN(running->view, texts.empty() ? core.BeginRead() : core.BeginTextRead(texts));
    }
    running->view->set_cancellation(this);
  }
  return running->view.get();
}

Result<WriteView*> SessionState::Writer() {
  FORESHORE_ASSIGN_OR_RETURN(ReadView * view, View());
  if (!running->writes) return Status::Internal("SQL: a statement that only reads tried to write");
  auto* writer = static_cast<WriteView*>(view);
  if (running->in_transaction && !running->has_savepoint) {
    FORESHORE_RETURN_IF_ERROR(writer->MakeSavepoint());
    running->has_savepoint = true;
  }
  return writer;
}

Status SessionState::SettleSavepoint(StatementRun& run, bool keeps) {
  if (!run.has_savepoint) return Status::Ok();
  run.has_savepoint = false;
  WriteView& writer = *transaction->writer();
  if (!keeps) {
    FORESHORE_RETURN_IF_ERROR(writer.RollbackToSavepoint());
    ++rollback_count;
  }
  return writer.ReleaseSavepoint();
}

int SessionState::OnProgress(void* self) {
  auto& session = *static_cast<SessionState*>(self);
  const Status status = session.Check();
  if (status.ok()) return 0;
  session.error_ = status;
  return 1;
}

Status SessionState::CheckInterrupted() const {
  if (running == nullptr) return Status::Ok();
  const StatementRun& run = *running;
  // What it wrote is settled in the transaction; failing now would be no undoing.
  if (run.in_transaction && run.writes && run.has_yielded) return Status::Ok();
  if (run.seen_interrupt_count != interrupt_count_.load()) {
    return Status::Cancelled("SQL: the connection's statements were interrupted");
  }
  if (run.is_cancelled != nullptr && run.is_cancelled->load()) {
    return Status::Cancelled("SQL: the statement was cancelled");
  }
  return Status::Ok();
}

Status SessionState::Check() {
  if (running == nullptr) return Status::Ok();
  StatementRun& run = *running;
  if (run.in_transaction && run.writes && run.has_yielded) return Status::Ok();
  FORESHORE_RETURN_IF_ERROR(CheckInterrupted());
  if (options.time_limit.count() == 0 && !options.keep_going) return Status::Ok();
  const auto now = std::chrono::steady_clock::now();
  if (options.time_limit.count() != 0 && run.used + (now - run.step_begun) > options.time_limit) {
    return Status::Cancelled("SQL: the statement ran longer than its time limit of " +
                             std::to_string(options.time_limit.count()) + " ms");
  }
  if (options.keep_going && now - run.last_asked >= kKeepGoingInterval) {
    run.last_asked = now;
    if (!options.keep_going()) return Status::Cancelled("SQL: the statement was stopped by its caller");
  }
  return Status::Ok();
}

Status SessionState::Control(TransactionControl wanted, const std::string& savepoint) {
  if (wanted == TransactionControl::kBegin || wanted == TransactionControl::kBeginImmediate) {
    if (transaction) return Status::InvalidArgument("SQL: BEGIN inside a transaction");
    auto begun = std::make_unique<SqlTransaction>(core, *this, false);
    if (wanted == TransactionControl::kBeginImmediate) {
      FORESHORE_RETURN_IF_ERROR(begun->Writer(options.busy_timeout, false).status());
    }
    transaction = std::move(begun);
    return Status::Ok();
  }
  if (wanted == TransactionControl::kSavepoint) {
    if (!transaction) transaction = std::make_unique<SqlTransaction>(core, *this, true);
    return transaction->MakeSavepoint(savepoint);
  }
  if (!transaction) {
    const std::string_view name = wanted == TransactionControl::kCommit     ? "COMMIT"
                                  : wanted == TransactionControl::kRollback ? "ROLLBACK"
                                  : wanted == TransactionControl::kRelease  ? "RELEASE"
                                                                            : "ROLLBACK TO";
    return Status::InvalidArgument("SQL: " + std::string(name) + " outside a transaction");
  }
  switch (wanted) {
    case TransactionControl::kRollback: AbortTransaction(); return Status::Ok();
    case TransactionControl::kRollbackTo: ++rollback_count; return transaction->RollbackTo(savepoint);
    case TransactionControl::kRelease:
      return transaction->EndsWith(savepoint) ? EndTransaction() : transaction->Release(savepoint);
    default: return EndTransaction();
  }
}

Status SessionState::EndTransaction() {
  if (!sharing.empty()) {
    return Status::Busy("SQL: COMMIT while " + std::to_string(sharing.size()) +
                        " statements of the transaction are still running: step them to the end or reset them");
  }
  const auto ending = std::move(transaction);
  return ending->Commit();
}

void SessionState::AbortTransaction() {
  const auto ending = std::exchange(sharing, {});
  for (SqlStatement* statement : ending) {
    statement->AbortRun(Status::Cancelled("SQL: the statement's transaction was rolled back"));
  }
  transaction.reset();
}

int SessionState::Fail(sqlite3_vtab* table, const Status& status) {
  error_ = status;
  if (table) {
    sqlite3_free(table->zErrMsg);
    table->zErrMsg = sqlite3_mprintf("%s", status.message().c_str());
  }
  return SQLITE_ERROR;
}

void SessionState::FailFunction(sqlite3_context* context, const Status& status) {
  error_ = status;
  sqlite3_result_error(context, status.message().c_str(), -1);
}

Status SessionState::ErrorOf(int sqlite_code) {
  if (!error_.ok()) return std::exchange(error_, Status::Ok());
  const char* text = sqlite3_errmsg(db);
  std::string message = text ? text : "unknown error";
  constexpr std::string_view kNoTable = "no such table: ";
  if (message.starts_with(kNoTable)) {
    return Status::NotFound("SQL: collection \"" + message.substr(kNoTable.size()) + "\" does not exist");
  }
  for (const Advice& advice : kAdvice) {
    if (message.find(advice.refusal) == std::string::npos) continue;
    return Status::Unsupported("SQL: " + message + ": " + std::string(advice.instead));
  }
  if (const int offset = sqlite3_error_offset(db); offset >= 0) message += " (at byte " + std::to_string(offset) + ")";
  return Status(CodeOf(sqlite_code), "SQL: " + message);
}

int SessionState::Refuse(const std::string& what) {
  error_ = Status::Unsupported("SQL: " + what);
  return SQLITE_DENY;
}

void SessionState::NoteSavepoint(std::string_view operation, std::string_view name) {
  notes.control = operation == "BEGIN"     ? TransactionControl::kSavepoint
                  : operation == "RELEASE" ? TransactionControl::kRelease
                                           : TransactionControl::kRollbackTo;
  notes.savepoint = name;
}

int SessionState::Authorize(void* self, int action, const char* first, const char* second, const char* /*database*/,
                            const char* /*trigger*/) {
  auto& session = *static_cast<SessionState*>(self);
  if (session.declaring_) return SQLITE_OK;
  if (session.traced_reads_ && action == SQLITE_READ) {
    session.traced_reads_->emplace_back(first ? first : "", second ? second : "");
  }
  if (session.reads) session.reads->Note(action, first, second);
  const std::string_view name = first ? first : "";
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE: return SQLITE_OK;
    case SQLITE_FUNCTION:
      if (second && (EqualsIgnoringCase(second, "predict") || EqualsIgnoringCase(second, "embed"))) {
        session.notes.calls_models = true;
      }
      if (second && EqualsIgnoringCase(second, "load_extension")) return session.Refuse("load_extension is refused");
      return SQLITE_OK;
    case SQLITE_TRANSACTION:
      session.notes.control = name == "BEGIN"    ? TransactionControl::kBegin
                              : name == "COMMIT" ? TransactionControl::kCommit
                                                 : TransactionControl::kRollback;
      return SQLITE_OK;
    case SQLITE_SAVEPOINT: session.NoteSavepoint(name, second ? second : ""); return SQLITE_OK;
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
      if (name.starts_with("_")) {
        return session.Refuse("collection \"" + std::string(name) + "\" belongs to the library and is read-only");
      }
      if (session.declared->Find(name) != nullptr) return SQLITE_OK;
      // Every DDL statement asks for this first and for itself next, where it is refused by name; connecting a virtual
      // table asks for it too. SQLite itself refuses to let users write these tables.
      if (EqualsIgnoringCase(name, "sqlite_master") || EqualsIgnoringCase(name, "sqlite_temp_master")) return SQLITE_OK;
      return session.Refuse("table \"" + std::string(name) + "\" is not a collection");
    case SQLITE_PRAGMA:
      if (std::any_of(std::begin(kPragmas), std::end(kPragmas),
                      [&](std::string_view allowed) { return EqualsIgnoringCase(name, allowed); })) {
        return SQLITE_OK;
      }
      return session.Refuse("PRAGMA " + std::string(name) + " is not supported");
    default:
      return session.Refuse(std::string(ActionName(action)) +
                            " is not supported: collections, vector fields and models are made through the API or the "
                            "command line");
  }
}

std::uint64_t SessionState::EstimateRows(const CollectionDefinition& collection) {
  const std::int64_t sequence = core.last_sequence();
  auto [place, is_new] = estimates_.try_emplace(collection.id);
  Estimate& estimate = place->second;
  const auto moved = static_cast<std::uint64_t>(sequence - estimate.sequence);
  if (!is_new && moved <= std::max<std::uint64_t>(1000, estimate.rows / 8)) return estimate.rows;
  const auto count = [&]() -> Result<std::uint64_t> {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core.BeginRead());
    return view->GuessCount(collection, INT64_MIN);
  };
  const auto rows = count();
  estimate = {sequence, rows.ok() ? *rows : 1000};
  return estimate.rows;
}

bool SessionState::IsAggregate(const std::string& function) {
  if (aggregates_.empty()) {
    sqlite3_stmt* compiled = nullptr;
    constexpr char kAggregates[] = "SELECT DISTINCT name FROM pragma_function_list WHERE type <> 's'";
    if (sqlite3_prepare_v3(db, kAggregates, -1, 0, &compiled, nullptr) != SQLITE_OK) return true;
    const OwnedStatement owner(compiled, &sqlite3_finalize);
    while (sqlite3_step(compiled) == SQLITE_ROW) {
      aggregates_.insert(reinterpret_cast<const char*>(sqlite3_column_text(compiled, 0)));
    }
  }
  return aggregates_.contains(function);
}

std::vector<std::string> SessionState::Names() {
  std::set<std::string> names;
  DeclareTables().IgnoreError();  // Completion shows what there was.
  if (declared) {
    for (const CollectionDefinition& collection : declared->collections) {
      names.insert(collection.name);
      for (const TableColumn& column : ColumnsOf(collection)) {
        if (column.kind != ColumnKind::kPredicted) names.insert(column.name);  // Nobody writes it as a name.
      }
    }
  }
  sqlite3_stmt* compiled = nullptr;
  constexpr char kFunctions[] = "SELECT DISTINCT name FROM pragma_function_list WHERE name GLOB '[a-z]*'";
  if (sqlite3_prepare_v3(db, kFunctions, -1, 0, &compiled, nullptr) == SQLITE_OK) {
    const OwnedStatement owner(compiled, &sqlite3_finalize);
    while (sqlite3_step(compiled) == SQLITE_ROW) {
      names.insert(reinterpret_cast<const char*>(sqlite3_column_text(compiled, 0)));
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace foreshore
