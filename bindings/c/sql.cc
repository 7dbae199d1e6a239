// Statements and their rows.
#include "bindings/c/call.h"

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

}  // namespace

int32_t foreshore_prepare(foreshore_database* database, const char* sql, size_t sql_bytes,
                          foreshore_statement** statement, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", sql, "sql", statement, "statement"));
    auto handle = std::make_unique<foreshore_statement>();
    handle->owner = database;
    FORESHORE_ASSIGN_OR_RETURN(handle->statement, database->database->Prepare({sql, sql_bytes}));
    ++database->open_count;
    *statement = handle.release();
    return Status::Ok();
  });
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
