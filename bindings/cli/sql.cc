#include <unistd.h>

#include <iostream>
#include <iterator>

#include "bindings/cli/command.h"
#include "bindings/cli/progress.h"
#include "bindings/cli/sql_text.h"
#include "bindings/cli/statement_runner.h"

namespace foreshore::cli {

Result<StatementOutcome> RunStatement(SqlConnection& connection, std::string_view sql, Format format,
                                      const volatile std::sig_atomic_t* interrupted) {
  FORESHORE_ASSIGN_OR_RETURN(const auto statement, connection.Prepare(sql));
  StatementOutcome outcome;
  outcome.has_columns = !statement->columns().empty();
  RowPrinter printer(stdout, format);
  printer.Begin(statement->columns());
  const auto column_count = static_cast<int>(statement->columns().size());
  for (;;) {
    Result<bool> has_row = statement->Step();
    const bool may_stop = has_row.ok() ? *has_row : has_row.status().code() == ErrorCode::kCancelled;
    if (may_stop && interrupted != nullptr && *interrupted != 0) has_row = Status::Cancelled("statement: interrupted");
    if (!has_row.ok()) {
      // What was read before the error is shown, and the error is the result.
      printer.End().IgnoreError();
      return has_row.status();
    }
    if (!*has_row) break;
    std::vector<SqlValue> values;
    values.reserve(statement->columns().size());
    for (int index = 0; index < column_count; ++index) values.push_back(statement->Column(index));
    printer.Row(std::move(values));
    ++outcome.row_count;
  }
  FORESHORE_RETURN_IF_ERROR(printer.End());
  outcome.changed_count = statement->changed_count();
  return outcome;
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
      FORESHORE_ASSIGN_OR_RETURN(const StatementOutcome outcome,
                                 RunStatement(*connection, statement, arguments.format));
      if (!outcome.has_columns) Say(std::to_string(outcome.changed_count) + " documents changed");
    }
    if (connection->in_transaction()) {
      return Status::InvalidArgument("sql: the text ends inside a transaction, which is rolled back; expected COMMIT");
    }
  }
  return database->Close();
}

}  // namespace foreshore::cli
