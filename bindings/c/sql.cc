// Statements and their rows.
#include "bindings/c/call.h"

using foreshore::Result;
using foreshore::SqlOptions;
using foreshore::SqlValue;
using foreshore::Status;
using foreshore::c::Call;
using foreshore::c::FromValue;
using foreshore::c::Required;
using foreshore::c::ToValue;

namespace {

void ForgetRow(foreshore_statement& statement) {
  statement.has_row = false;
  for (auto& value : statement.row) value.reset();
}

Result<SqlOptions> FromOptions(const foreshore_sql_options* given) {
  FORESHORE_ASSIGN_OR_RETURN(const auto read, foreshore::c::ReadOptions(given, "foreshore_sql_options"));
  SqlOptions options;
  if (read.busy_timeout_ms != 0) {
    options.busy_timeout = std::chrono::milliseconds(std::max<std::int64_t>(read.busy_timeout_ms, 0));
  }
  if (read.time_limit_ms < 0) {
    return Status::InvalidArgument("foreshore_sql_options: time_limit_ms is " + std::to_string(read.time_limit_ms) +
                                   ", expected 0 or more");
  }
  options.time_limit = std::chrono::milliseconds(read.time_limit_ms);
  if (read.keep_going != nullptr) {
    options.keep_going = [keep_going = read.keep_going, context = read.context] { return keep_going(context) != 0; };
  }
  return options;
}

void HandOut(foreshore_database* owner, std::unique_ptr<foreshore::Statement> prepared,
             foreshore_statement** statement) {
  auto handle = std::make_unique<foreshore_statement>();
  handle->owner = owner;
  handle->statement = std::move(prepared);
  ++owner->open_count;
  *statement = handle.release();
}

}  // namespace

int32_t foreshore_connect(foreshore_database* database, const foreshore_sql_options* options,
                          foreshore_connection** connection, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", connection, "connection"));
    FORESHORE_ASSIGN_OR_RETURN(const SqlOptions bounds, FromOptions(options));
    auto handle = std::make_unique<foreshore_connection>();
    handle->owner = database;
    FORESHORE_ASSIGN_OR_RETURN(handle->connection, database->database->Connect(bounds));
    ++database->open_count;
    *connection = handle.release();
    return Status::Ok();
  });
}

int32_t foreshore_connection_prepare(foreshore_connection* connection, const char* sql, size_t sql_bytes,
                                     size_t* consumed_bytes, foreshore_statement** statement, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(connection, "connection", sql, "sql", statement, "statement"));
    *statement = nullptr;
    FORESHORE_ASSIGN_OR_RETURN(auto prepared, connection->connection->Prepare({sql, sql_bytes}, consumed_bytes));
    if (prepared != nullptr) HandOut(connection->owner, std::move(prepared), statement);
    return Status::Ok();
  });
}

int32_t foreshore_in_transaction(const foreshore_connection* connection) {
  return connection != nullptr && connection->connection->in_transaction() ? 1 : 0;
}

void foreshore_interrupt(foreshore_connection* connection) {
  if (connection != nullptr) connection->connection->Interrupt();
}

void foreshore_connection_free(foreshore_connection* connection) {
  if (connection == nullptr) return;
  foreshore_database* owner = connection->owner;
  delete connection;
  --owner->open_count;
}

int32_t foreshore_prepare(foreshore_database* database, const char* sql, size_t sql_bytes,
                          foreshore_statement** statement, foreshore_error* error) {
  return foreshore_prepare_with(database, sql, sql_bytes, nullptr, statement, error);
}

int32_t foreshore_prepare_with(foreshore_database* database, const char* sql, size_t sql_bytes,
                               const foreshore_sql_options* options, foreshore_statement** statement,
                               foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", sql, "sql", statement, "statement"));
    FORESHORE_ASSIGN_OR_RETURN(const SqlOptions bounds, FromOptions(options));
    FORESHORE_ASSIGN_OR_RETURN(auto prepared, database->database->Prepare({sql, sql_bytes}, bounds));
    HandOut(database, std::move(prepared), statement);
    return Status::Ok();
  });
}

void foreshore_statement_cancel(foreshore_statement* statement) {
  if (statement != nullptr) statement->statement->Cancel();
}

int32_t foreshore_bind(foreshore_statement* statement, int32_t index, const foreshore_value* value,
                       foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(statement, "statement", value, "value"));
    FORESHORE_ASSIGN_OR_RETURN(const SqlValue bound, FromValue(*value));
    return statement->statement->Bind(index, bound);
  });
}

int32_t foreshore_bind_named(foreshore_statement* statement, const char* name, const foreshore_value* value,
                             foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(statement, "statement", name, "name", value, "value"));
    FORESHORE_ASSIGN_OR_RETURN(const SqlValue bound, FromValue(*value));
    return statement->statement->BindNamed(name, bound);
  });
}

int32_t foreshore_step(foreshore_statement* statement, int32_t* has_row, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(statement, "statement", has_row, "has_row"));
    ForgetRow(*statement);
    FORESHORE_ASSIGN_OR_RETURN(statement->has_row, statement->statement->Step());
    *has_row = statement->has_row ? 1 : 0;
    return Status::Ok();
  });
}

int32_t foreshore_reset(foreshore_statement* statement, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(statement, "statement"));
    ForgetRow(*statement);
    return statement->statement->Reset();
  });
}

int32_t foreshore_column_count(const foreshore_statement* statement) {
  return statement == nullptr ? 0 : static_cast<int32_t>(statement->statement->columns().size());
}

const char* foreshore_column_name(const foreshore_statement* statement, int32_t index) {
  if (index < 0 || index >= foreshore_column_count(statement)) return nullptr;
  return statement->statement->columns()[static_cast<std::size_t>(index)].c_str();
}

int32_t foreshore_column(foreshore_statement* statement, int32_t index, foreshore_value* value,
                         foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(statement, "statement", value, "value"));
    const int32_t column_count = foreshore_column_count(statement);
    if (!statement->has_row) return Status::InvalidArgument("statement: found no current row, expected one after step");
    if (index < 0 || index >= column_count) {
      return Status::InvalidArgument("column " + std::to_string(index) + ": the row has " +
                                     std::to_string(column_count) + " columns");
    }
    statement->row.resize(static_cast<std::size_t>(column_count));
    auto& kept = statement->row[static_cast<std::size_t>(index)];
    if (kept == nullptr) kept = std::make_unique<SqlValue>(statement->statement->Column(index));
    *value = ToValue(*kept);
    return Status::Ok();
  });
}

int64_t foreshore_changed_count(const foreshore_statement* statement) {
  return statement == nullptr ? 0 : statement->statement->changed_count();
}

void foreshore_statement_free(foreshore_statement* statement) {
  if (statement == nullptr) return;
  foreshore_database* owner = statement->owner;
  delete statement;
  --owner->open_count;
}
