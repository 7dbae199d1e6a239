/* The part of foreshore.h about SQL: connections, statements, live queries. Include foreshore.h, whose rules hold. */
#ifndef FORESHORE_C_SQL_H_
#define FORESHORE_C_SQL_H_

#include "foreshore/c_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- SQL ---- */

enum { FORESHORE_NULL = 0, FORESHORE_INTEGER = 1, FORESHORE_REAL = 2, FORESHORE_TEXT = 3, FORESHORE_BLOB = 4 };

/* A value of SQL. `data` and `data_bytes` are for text and blobs. */
typedef struct foreshore_value {
  int32_t type;
  int32_t reserved;
  int64_t integer;
  double real;
  const char* data;
  size_t data_bytes;
} foreshore_value;

/* What bounds the waiting and running of statements. NULL in place of it: 5,000 ms for the write lock, no other limit.
 */
typedef struct foreshore_sql_options {
  uint32_t size_bytes;
  uint32_t reserved;
  int64_t busy_timeout_ms; /* For the write lock, then FORESHORE_BUSY; 0: 5,000; negative: do not wait. */
  int64_t time_limit_ms;   /* For one statement's running and waiting, then FORESHORE_CANCELLED; 0: none. */
  /* Asked about every 50 ms while a statement runs or waits, on its thread; 0 stops it with FORESHORE_CANCELLED. May be
   * NULL. It must not use the database. */
  int32_t (*keep_going)(void* context);
  void* context;
} foreshore_sql_options;

/* A connection of one's own: its statements may share transactions (BEGIN, SAVEPOINT, COMMIT). One thread at a time,
 * but for foreshore_interrupt. */
FORESHORE_API int32_t foreshore_connect(foreshore_database* database, const foreshore_sql_options* options,
                                        foreshore_connection** connection, foreshore_error* error);
/* The first statement of `sql`. `consumed_bytes` says where the next one begins; `statement` becomes NULL where only
 * white space and comments were left. With NULL for `consumed_bytes` anything behind the statement is refused. */
FORESHORE_API int32_t foreshore_connection_prepare(foreshore_connection* connection, const char* sql, size_t sql_bytes,
                                                   size_t* consumed_bytes, foreshore_statement** statement,
                                                   foreshore_error* error);
/* 1 between BEGIN and COMMIT. */
FORESHORE_API int32_t foreshore_in_transaction(const foreshore_connection* connection);
/* From any thread: statements of the connection that are running, from their first step to their end, fail with
 * FORESHORE_CANCELLED. Those that begin later, and the transaction, go on. */
FORESHORE_API void foreshore_interrupt(foreshore_connection* connection);
/* Rolls an open transaction back. Statements of the connection may be freed later. */
FORESHORE_API void foreshore_connection_free(foreshore_connection* connection);

/* A statement that stands alone: it reads one snapshot, or is one transaction. */
FORESHORE_API int32_t foreshore_prepare(foreshore_database* database, const char* sql, size_t sql_bytes,
                                        foreshore_statement** statement, foreshore_error* error);
/* The same with options. */
FORESHORE_API int32_t foreshore_prepare_with(foreshore_database* database, const char* sql, size_t sql_bytes,
                                             const foreshore_sql_options* options, foreshore_statement** statement,
                                             foreshore_error* error);
/* From any thread while the statement lives: its run fails with FORESHORE_CANCELLED. Nothing where it does not run. */
FORESHORE_API void foreshore_statement_cancel(foreshore_statement* statement);
/* From 1. */
FORESHORE_API int32_t foreshore_bind(foreshore_statement* statement, int32_t index, const foreshore_value* value,
                                     foreshore_error* error);
/* `name` with its sign: ":site". */
FORESHORE_API int32_t foreshore_bind_named(foreshore_statement* statement, const char* name,
                                           const foreshore_value* value, foreshore_error* error);
/* `has_row` becomes 1 for a row, 0 at the end. A statement that writes commits at its end. */
FORESHORE_API int32_t foreshore_step(foreshore_statement* statement, int32_t* has_row, foreshore_error* error);
/* For another run; parameters stay bound. */
FORESHORE_API int32_t foreshore_reset(foreshore_statement* statement, foreshore_error* error);
FORESHORE_API int32_t foreshore_column_count(const foreshore_statement* statement);
/* Valid until foreshore_statement_free; NULL out of range. */
FORESHORE_API const char* foreshore_column_name(const foreshore_statement* statement, int32_t index);
/* Of the current row, from 0. What it points to is valid until the next step, reset or free. */
FORESHORE_API int32_t foreshore_column(foreshore_statement* statement, int32_t index, foreshore_value* value,
                                       foreshore_error* error);
/* Documents written by INSERT, UPDATE or DELETE. */
FORESHORE_API int64_t foreshore_changed_count(const foreshore_statement* statement);
FORESHORE_API void foreshore_statement_free(foreshore_statement* statement);

/* ---- Live queries: a statement whose result is followed ---- */

typedef struct foreshore_subscription foreshore_subscription;
typedef struct foreshore_changes foreshore_changes;

enum { FORESHORE_ROW_INSERTED = 1, FORESHORE_ROW_UPDATED = 2, FORESHORE_ROW_REMOVED = 3 };

/* One difference between the result before and the one now. Take out all rows at old positions, then put rows in at
 * their new positions, lowest first; rows that are not named keep their order. */
typedef struct foreshore_row_change {
  int32_t kind;
  int32_t reserved;
  size_t old_position; /* Updated and removed rows. */
  size_t new_position; /* Inserted and updated rows. */
} foreshore_row_change;

/* `changes` is valid during the call. The callback may use the database and may free its subscription. */
typedef void (*foreshore_changes_callback)(const foreshore_changes* changes, void* context);

typedef struct foreshore_subscribe_options {
  uint32_t size_bytes;
  uint32_t interval_ms_min;      /* Between two deliveries. */
  uint64_t row_count_max;        /* 0: 10,000. A larger result ends the subscription with FORESHORE_LIMIT. */
  uint64_t result_bytes_max;     /* 0: 16 MiB. */
  void (*notify)(void* context); /* NULL: callbacks run on a thread of the library. Else it is called, on any thread,
                                  * when a delivery is ready, and the callback runs inside a dispatch function. */
  void* context;                 /* Handed to notify and to the callback. */
} foreshore_subscribe_options;

/* The callback gets the rows that are there, then what differs after each commit that matters. `options` may be NULL;
 * `parameters` are for ?1, ?2 and so on. Closing the database ends its subscriptions, which are freed all the same. */
FORESHORE_API int32_t foreshore_subscribe(foreshore_database* database, const char* sql, size_t sql_bytes,
                                          const foreshore_value* parameters, size_t parameter_count,
                                          const foreshore_subscribe_options* options,
                                          foreshore_changes_callback callback, foreshore_subscription** subscription,
                                          foreshore_error* error);
/* 0 after an error was delivered and after the database closed. */
FORESHORE_API int32_t foreshore_subscription_active(const foreshore_subscription* subscription);
/* With `notify`: runs the callback for what is ready and returns 1; 0 where nothing was. */
FORESHORE_API int32_t foreshore_subscription_dispatch(foreshore_subscription* subscription);
/* The same for all subscriptions with `notify`; returns how many. */
FORESHORE_API size_t foreshore_dispatch_subscriptions(foreshore_database* database);
/* Returns once its callback no longer runs, or at once from inside it. */
FORESHORE_API void foreshore_subscription_free(foreshore_subscription* subscription);

/* Not FORESHORE_OK: the statement can no longer be run, and this is the last delivery. */
FORESHORE_API int32_t foreshore_changes_status(const foreshore_changes* changes, foreshore_error* error);
/* 1 for the whole result, as insertions. */
FORESHORE_API int32_t foreshore_changes_is_first(const foreshore_changes* changes);
/* Of the change log: what was committed up to here is in. */
FORESHORE_API int64_t foreshore_changes_sequence(const foreshore_changes* changes);
FORESHORE_API size_t foreshore_changes_count(const foreshore_changes* changes);
/* Rows of the result now. */
FORESHORE_API size_t foreshore_changes_row_count(const foreshore_changes* changes);
FORESHORE_API int32_t foreshore_changes_column_count(const foreshore_changes* changes);
FORESHORE_API const char* foreshore_changes_column_name(const foreshore_changes* changes, int32_t column);
/* FORESHORE_INVALID_ARGUMENT out of range. */
FORESHORE_API int32_t foreshore_changes_at(const foreshore_changes* changes, size_t index,
                                           foreshore_row_change* change);
/* A value of the row as it is now, or with `of_old_row` 1 as it was. */
FORESHORE_API int32_t foreshore_changes_value(const foreshore_changes* changes, size_t index, int32_t of_old_row,
                                              int32_t column, foreshore_value* value);

#ifdef __cplusplus
}
#endif

#endif /* FORESHORE_C_SQL_H_ */
