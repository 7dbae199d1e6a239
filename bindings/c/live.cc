// Subscriptions and what they deliver.
#include "bindings/c/call.h"

using foreshore::ResultChanges;
using foreshore::RowChange;
using foreshore::SqlRow;
using foreshore::Status;
using foreshore::c::Call;
using foreshore::c::FromValue;
using foreshore::c::ReadOptions;
using foreshore::c::Required;
using foreshore::c::ToValue;

struct foreshore_subscription {
  std::unique_ptr<foreshore::Subscription> subscription;
};

struct foreshore_changes {
  const ResultChanges& changes;
};

static_assert(static_cast<int>(RowChange::Kind::kInserted) == FORESHORE_ROW_INSERTED);
static_assert(static_cast<int>(RowChange::Kind::kUpdated) == FORESHORE_ROW_UPDATED);
static_assert(static_cast<int>(RowChange::Kind::kRemoved) == FORESHORE_ROW_REMOVED);

int32_t foreshore_subscribe(foreshore_database* database, const char* sql, size_t sql_bytes,
                            const foreshore_value* parameters, size_t parameter_count,
                            const foreshore_subscribe_options* options, foreshore_changes_callback callback,
                            foreshore_subscription** subscription, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", sql, "sql", subscription, "subscription"));
    if (callback == nullptr) return foreshore::c::Require(nullptr, "callback");
    if (parameter_count > 0) FORESHORE_RETURN_IF_ERROR(Required(parameters, "parameters"));
    FORESHORE_ASSIGN_OR_RETURN(const auto given, ReadOptions(options, "foreshore_subscribe_options"));
    SqlRow values;
    for (std::size_t i = 0; i < parameter_count; ++i) {
      FORESHORE_ASSIGN_OR_RETURN(auto value, FromValue(parameters[i]));
      values.push_back(std::move(value));
    }
    foreshore::SubscriptionOptions wanted;
    wanted.interval_min = std::chrono::milliseconds(given.interval_ms_min);
    if (given.row_count_max != 0) wanted.row_count_max = static_cast<std::size_t>(given.row_count_max);
    if (given.result_bytes_max != 0) wanted.result_bytes_max = static_cast<std::size_t>(given.result_bytes_max);
    if (given.notify != nullptr) {
      wanted.notify = [notify = given.notify, context = given.context] { notify(context); };
    }
    auto handle = std::make_unique<foreshore_subscription>();
    FORESHORE_ASSIGN_OR_RETURN(handle->subscription,
                               database->database->Subscribe({sql, sql_bytes}, values, wanted,
                                                             [callback, context = given.context](const auto& changes) {
                                                               const foreshore_changes shown{changes};
                                                               callback(&shown, context);
                                                             }));
    *subscription = handle.release();
    return Status::Ok();
  });
}

int32_t foreshore_subscription_active(const foreshore_subscription* subscription) {
  return subscription != nullptr && subscription->subscription->active() ? 1 : 0;
}

int32_t foreshore_subscription_dispatch(foreshore_subscription* subscription) {
  return subscription != nullptr && subscription->subscription->Dispatch() ? 1 : 0;
}

size_t foreshore_dispatch_subscriptions(foreshore_database* database) {
  return database == nullptr ? 0 : database->database->DispatchSubscriptions();
}

void foreshore_subscription_free(foreshore_subscription* subscription) {
  delete subscription;
}

int32_t foreshore_changes_status(const foreshore_changes* changes, foreshore_error* error) {
  return foreshore::c::Report(changes->changes.status, error);
}

int32_t foreshore_changes_is_first(const foreshore_changes* changes) {
  return changes->changes.is_first ? 1 : 0;
}

int64_t foreshore_changes_sequence(const foreshore_changes* changes) {
  return changes->changes.sequence;
}

size_t foreshore_changes_count(const foreshore_changes* changes) {
  return changes->changes.changes.size();
}

size_t foreshore_changes_row_count(const foreshore_changes* changes) {
  return changes->changes.row_count;
}

int32_t foreshore_changes_column_count(const foreshore_changes* changes) {
  return static_cast<int32_t>(changes->changes.columns.size());
}

const char* foreshore_changes_column_name(const foreshore_changes* changes, int32_t column) {
  const auto& columns = changes->changes.columns;
  if (column < 0 || static_cast<std::size_t>(column) >= columns.size()) return nullptr;
  return columns[static_cast<std::size_t>(column)].c_str();
}

int32_t foreshore_changes_at(const foreshore_changes* changes, size_t index, foreshore_row_change* change) {
  if (change == nullptr || index >= changes->changes.changes.size()) return FORESHORE_INVALID_ARGUMENT;
  const RowChange& row = changes->changes.changes[index];
  *change = {static_cast<int32_t>(row.kind), 0, row.old_position, row.new_position};
  return FORESHORE_OK;
}

int32_t foreshore_changes_value(const foreshore_changes* changes, size_t index, int32_t of_old_row, int32_t column,
                                foreshore_value* value) {
  if (value == nullptr || column < 0 || index >= changes->changes.changes.size()) return FORESHORE_INVALID_ARGUMENT;
  const RowChange& change = changes->changes.changes[index];
  const SqlRow& row = of_old_row != 0 ? change.old_row : change.new_row;
  if (static_cast<std::size_t>(column) >= row.size()) return FORESHORE_INVALID_ARGUMENT;
  *value = ToValue(row[static_cast<std::size_t>(column)]);
  return FORESHORE_OK;
}
