// What the parts of one SQL session share: the SQLite connection, the open transaction, the statement that is being
// stepped, and the last error with its code (SQLite carries only text).
//
// Threads: one at a time, as SqlSession.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/database/core.h"
#include "engine/model/model_registry.h"
#include "engine/model/predictor.h"
#include "engine/query/sql_transaction.h"
#include "engine/query/statement_predictions.h"
#include "engine/query/statement_reads.h"
#include "foreshore/sql.h"

namespace foreshore {

class CollectionCursor;
class SqlStatement;

// What BEGIN and its kin ask for; they never reach SQLite's own transactions.
enum class TransactionControl : std::uint8_t {
  kNone,
  kBegin,
  kBeginImmediate,
  kCommit,
  kRollback,
  kSavepoint,
  kRelease,
  kRollbackTo
};

// Makes the scans of one collection yield these documents only; its other terms still hold.
struct DocumentRestriction {
  std::uint32_t collection_id = 0;
  std::vector<std::int64_t> docids;
};

// A model as one run of a statement sees it: the same for all of its rows.
struct StatementModel {
  std::string name;
  std::string adapter;
  std::shared_ptr<const Predictor> predictor;  // Shared with what the run knows of predictive indexes.
  std::size_t row_width = 0;                   // Where it takes rows; else 0.
};

using OwnedStatement = std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)>;

// Tables and columns, in the order in which SQLite meets them.
using ColumnReads = std::vector<std::pair<std::string, std::string>>;

// What SQLite tells while it compiles a statement.
struct CompilerNotes {
  TransactionControl control = TransactionControl::kNone;
  std::string savepoint;                             // Named by SAVEPOINT and its kin.
  std::string misplaced_match;                       // The collection whose MATCH would have to be computed row by row.
  bool plans_nearest = false;                        // Full text included.
  bool calls_models = false;                         // predict() or embed() is in it.
  std::map<std::string, std::int64_t> planned_rows;  // By plan as EXPLAIN QUERY PLAN has it, where calls_models.
  std::vector<std::uint32_t> text_collections;       // Whose full text it searches, by id.
  bool converts = false;                             // It may compare with something of a numeric affinity.
};

// A statement as it runs, which is not always what was written.
struct CompiledStatement {
  OwnedStatement statement{nullptr, &sqlite3_finalize};
  CompilerNotes notes;
  std::vector<std::string> columns;  // The result's, named by what was written.
  std::string written;
  std::string sql;  // What `statement` was made of.
  // Predictive indexes whose columns stand in `sql` for what was written: of a collection, by ids.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> indexes;
};

std::vector<std::string> ColumnNamesOf(sqlite3_stmt* statement);

// The state of one statement between its first Step and its end.
struct StatementRun {
  bool writes = false;              // Decided at prepare.
  bool in_transaction = false;      // Shares the session's transaction.
  std::unique_ptr<ReadView> view;   // Its own snapshot, or a WriteView where it writes; made when first needed.
  ReadView* shared_view = nullptr;  // What it reads of the session's transaction, the same to its end.
  std::int64_t changed_count = 0;
  std::vector<std::uint32_t> text_collections;  // Whose full text it searches, by id; decided when it is compiled.
  ReadView* borrowed_view = nullptr;            // Set: read instead of a snapshot of its own.
  const DocumentRestriction* only = nullptr;    // May be null.
  int opened_cursor_count = 0;                  // Of collections.
  bool has_savepoint = false;           // Made before its first write in a transaction; gone when the step ends.
  bool rolls_transaction_back = false;  // It failed under OR ROLLBACK.
  std::vector<StatementModel> models;   // That predict() has met.
  std::unique_ptr<StatementPredictions> predictions;
  bool has_yielded = false;  // A row was handed out: a writing statement has written everything by then.

  // See SessionState::Check.
  std::uint64_t seen_interrupt_count = 0;
  const std::atomic<bool>* is_cancelled = nullptr;
  std::chrono::steady_clock::duration used{};  // In earlier steps.
  std::chrono::steady_clock::time_point step_begun{};
  std::chrono::steady_clock::time_point last_asked{};
  bool converts = false;  // May compare with something of a numeric affinity.
};

class SessionState : public std::enable_shared_from_this<SessionState>, public Cancellation {
 public:
  explicit SessionState(DatabaseCore& core_reference) : core(core_reference) {}
  ~SessionState() override;
  SessionState(const SessionState&) = delete;
  SessionState& operator=(const SessionState&) = delete;
  Status Open();

  Result<std::unique_ptr<SqlStatement>> Prepare(std::string_view sql, std::size_t* consumed_bytes);
  // The first statement of the text, as the tables are declared now; null where there is none. Expressions that a
  // predictive index holds become its columns.
  Result<CompiledStatement> Compile(std::string_view sql);
  // The same without that. `traced` gets the columns that are read.
  Result<CompiledStatement> CompileAsWritten(std::string_view sql, ColumnReads& traced);

  // The snapshot of the statement that is being stepped.
  Result<ReadView*> View();
  // The same for a statement that writes, with a savepoint to go back to where it fails.
  Result<WriteView*> Writer();
  // At the end of each step of `run`: keeps what it wrote or takes it back. An error has ended the transaction.
  Status SettleSavepoint(StatementRun& run, bool keeps);

  // The model for all rows of the statement that is being stepped; valid until the next call.
  Result<const StatementModel*> ModelOf(std::string_view name, std::string_view adapter);
  StatementPredictions& Predictions();  // Of the same.

  // Whether the statement that is being stepped has to stop: interrupted, out of time, or told so by its caller.
  Status Check() override;
  // The first of these alone: for short statements, which would end before SQLite asks.
  Status CheckInterrupted() const;
  void Interrupt() { interrupt_count_.fetch_add(1); }  // From any thread.
  std::uint64_t interrupt_count() const { return interrupt_count_.load(); }

  // Whether the statement that is being planned may compare with something of a numeric affinity. SQLite plans inside a
  // step too, where tables changed.
  bool statement_converts() const { return running ? running->converts : notes.converts; }

  // Forgets the error of an earlier call.
  void ClearError() { error_ = Status::Ok(); }

  Status Control(TransactionControl control, const std::string& savepoint);
  // Ends the transaction and every statement that shares it.
  void AbortTransaction();
  std::vector<std::string> Names();

  // Keeps the status for the wrapper and returns the code that makes SQLite stop.
  int Fail(sqlite3_vtab* table, const Status& status);
  void FailFunction(sqlite3_context* context, const Status& status);
  // The status of a failed SQLite call: what was kept above, else SQLite's own words.
  Status ErrorOf(int sqlite_code);

  // A guess at the number of documents, for plans.
  std::uint64_t EstimateRows(const CollectionDefinition& collection);

  DatabaseCore& core;
  sqlite3* db = nullptr;
  std::shared_ptr<const Catalog> declared;  // What the virtual tables show. Shared with the core.
  SqlOptions options;
  std::unique_ptr<SqlTransaction> transaction;  // Between BEGIN and COMMIT.
  StatementRun* running = nullptr;              // Only inside sqlite3_step.
  std::set<SqlStatement*> sharing;              // Statements that run inside the transaction.
  // Writes of this session to each collection, by its id: open cursors look whether their number moved.
  std::map<std::uint32_t, std::uint64_t> write_counts;
  std::uint64_t rollback_count = 0;  // To savepoints; open cursors look at this too.

  CompilerNotes notes;              // Of the statement that is being compiled; SQLite does so inside a step too.
  StatementReads* reads = nullptr;  // Set: is told what the statement reads.

  // Of SQLite's functions; "max" and "min" count, although with two arguments they are none.
  bool IsAggregate(const std::string& function);

  // The array that a scan of a collection gave out last, for predict(): is it what the argument was made of?
  struct LastArray {
    CollectionCursor* cursor = nullptr;
    int column = 0;
    std::string_view token = {};  // Valid while the cursor stays on its row.
  };
  LastArray last_array;

  // Open full-text searches by their numbers, for functions that look at their rows.
  std::map<std::uintptr_t, CollectionCursor*> text_cursors;
  std::uintptr_t last_text_cursor = 0;

 private:
  struct Estimate {
    std::int64_t sequence = 0;
    std::uint64_t rows = 0;
  };
  Status DeclareTables();
  Status Execute(const std::string& sql);
  Status CheckNearestPlacement(const std::string& sql);
  Status RefuseMore(std::string_view sql, std::size_t used);
  Status EndTransaction();
  void NoteSavepoint(std::string_view operation, std::string_view name);
  static int OnProgress(void* self);
  static int Authorize(void* self, int action, const char* first, const char* second, const char* database,
                       const char* trigger);
  int Refuse(const std::string& what);

  Status error_;
  std::atomic<std::uint64_t> interrupt_count_{0};
  bool declaring_ = false;                             // Our own DDL passes the authorizer.
  std::map<std::uint32_t, std::string> declarations_;  // Collection id -> what its table was declared as.
  std::map<std::uint32_t, Estimate> estimates_;        // By collection id.
  ColumnReads* traced_reads_ = nullptr;                // Set while a statement is compiled.
  std::set<std::string> aggregates_;                   // Read when first asked for.
};

}  // namespace foreshore
