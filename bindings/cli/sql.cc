#include <unistd.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <iterator>

#include "bindings/cli/command.h"
#include "bindings/cli/error_hint.h"
#include "bindings/cli/plan_tree.h"
#include "bindings/cli/progress.h"
#include "bindings/cli/sql_text.h"
#include "bindings/cli/sql_tokens.h"
#include "bindings/cli/statement_runner.h"

namespace foreshore::cli {

namespace {

constexpr std::array<std::string_view, 6> kTransactionWords = {"BEGIN",    "COMMIT",    "END",
                                                               "ROLLBACK", "SAVEPOINT", "RELEASE"};

bool BeginsWith(const std::vector<SqlToken>& tokens, std::initializer_list<std::string_view> words) {
  std::size_t index = 0;
  for (const std::string_view word : words) {
    if (index >= tokens.size() || !EqualsIgnoringCase(tokens[index++].name, word)) return false;
  }
  return true;
}

Result<StatementOutcome> ShowPlan(Statement& statement) {
  std::vector<PlanStep> steps;
  StatementOutcome outcome;
  outcome.has_columns = true;
  for (;;) {
    FORESHORE_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) break;
    // id, parent, notused, detail
    const SqlValue id = statement.Column(0);
    const SqlValue parent = statement.Column(1);
    const SqlValue detail = statement.Column(3);
    const auto* text = std::get_if<std::string>(&detail);
    steps.push_back({std::holds_alternative<std::int64_t>(id) ? std::get<std::int64_t>(id) : 0,
                     std::holds_alternative<std::int64_t>(parent) ? std::get<std::int64_t>(parent) : 0,
                     text != nullptr ? *text : std::string()});
    ++outcome.row_count;
  }
  FORESHORE_RETURN_IF_ERROR(WriteText(stdout, PlanTree(steps)));
  FORESHORE_RETURN_IF_ERROR(FlushFile(stdout));
  return outcome;
}

// Stops at the first row that the printer does not take if the statement only reads; others may write, and do so only
// when they are stepped to the end.
Result<StatementOutcome> ShowRows(Statement& statement, const PrintOptions& options, bool only_reads,
                                  const volatile std::sig_atomic_t* interrupted) {
  StatementOutcome outcome;
  outcome.has_columns = !statement.columns().empty();
  RowPrinter printer(stdout, options);
  printer.Begin(statement.columns());
  const auto column_count = static_cast<int>(statement.columns().size());
  for (;;) {
    Result<bool> has_row = statement.Step();
    const bool may_stop = has_row.ok() ? *has_row : has_row.status().code() == ErrorCode::kCancelled;
    if (may_stop && interrupted != nullptr && *interrupted != 0) has_row = Status::Cancelled("statement: interrupted");
    if (!has_row.ok()) {
      // What was read before the error is shown, and the error is the result.
      if (outcome.row_count > 0 || options.format != Format::kTable) printer.End().IgnoreError();
      return has_row.status();
    }
    if (!*has_row) break;
    if (printer.is_full()) {
      outcome.is_cut = true;
      if (only_reads) break;
      continue;
    }
    std::vector<SqlValue> values;
    values.reserve(statement.columns().size());
    for (int index = 0; index < column_count; ++index) values.push_back(statement.Column(index));
    printer.Row(std::move(values));
    ++outcome.row_count;
  }
  FORESHORE_RETURN_IF_ERROR(printer.End());
  outcome.changed_count = statement.changed_count();
  return outcome;
}

}  // namespace

Result<StatementOutcome> RunStatement(SqlConnection& connection, std::string_view sql, const PrintOptions& options,
                                      const volatile std::sig_atomic_t* interrupted) {
  FORESHORE_ASSIGN_OR_RETURN(const auto statement, connection.Prepare(sql));
  const std::vector<SqlToken> tokens = TokenizeSql(sql);
  const bool is_plan = options.format == Format::kTable && BeginsWith(tokens, {"EXPLAIN", "QUERY", "PLAN"});
  if (is_plan && statement->columns().size() == 4) return ShowPlan(*statement);
  const bool only_reads = BeginsWith(tokens, {"SELECT"}) || BeginsWith(tokens, {"VALUES"});
  FORESHORE_ASSIGN_OR_RETURN(StatementOutcome outcome, ShowRows(*statement, options, only_reads, interrupted));
  outcome.may_change = !tokens.empty() && std::ranges::none_of(kTransactionWords, [&](std::string_view word) {
    return EqualsIgnoringCase(tokens.front().name, word);
  });
  return outcome;
}

Status ReportSqlError(Database& database, std::string_view sql, const Status& status) {
  if (!status.message().starts_with("SQL: ")) return status;
  // Without names there is still the place.
  const auto names = ReadDatabaseNames(database);
  const ErrorHint hint = ExplainSqlError(sql, status.message(), names.ok() ? *names : DatabaseNames());
  if (isatty(STDERR_FILENO) != 0) {
    std::fflush(stdout);
    std::fputs(hint.place.c_str(), stderr);
  }
  return {status.code(), hint.message};
}

Status RunSql(const SqlArguments& arguments) {
  std::string sql = arguments.sql;
  if (sql == "-") sql.assign(std::istreambuf_iterator<char>(std::cin), {});
  SqlSplit split = SplitSql(sql);
  if (!IsBlankSql(split.rest)) split.statements.push_back(split.rest);
  if (split.statements.empty()) return Status::InvalidArgument("sql: found nothing to run, expected a statement");
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto connection, database->Connect());
    for (const std::string_view statement : split.statements) {
      const auto outcome = RunStatement(*connection, statement, {.format = arguments.format});
      if (!outcome.ok()) return ReportSqlError(*database, statement, outcome.status());
      if (!outcome->has_columns && outcome->may_change)
        Say(GroupedCount(static_cast<std::uint64_t>(outcome->changed_count)) + " documents changed");
    }
    if (connection->in_transaction()) {
      return Status::InvalidArgument("sql: the text ends inside a transaction, which is rolled back; expected COMMIT");
    }
  }
  return database->Close();
}

Status RunIndexSources(const NameArguments& arguments) {
  const std::size_t dot = arguments.name.find('.');
  const std::string collection = arguments.name.substr(0, dot);
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_RETURN_IF_ERROR(RequireCollection(*database, collection));
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto connection, database->Connect());
    const bool has_field = dot != std::string::npos;
    FORESHORE_ASSIGN_OR_RETURN(const auto statement, connection->Prepare(has_field  //
                                                                             ? "SELECT * FROM vector_sources(?1, ?2)"
                                                                             : "SELECT * FROM vector_sources(?1)"));
    FORESHORE_RETURN_IF_ERROR(statement->Bind(1, collection));
    if (has_field) FORESHORE_RETURN_IF_ERROR(statement->Bind(2, arguments.name.substr(dot + 1)));
    FORESHORE_RETURN_IF_ERROR(ShowRows(*statement, {.format = arguments.format}, true, nullptr).status());
  }
  return database->Close();
}

}  // namespace foreshore::cli
