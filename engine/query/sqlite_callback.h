// Functions that SQLite calls: no exception may pass through its C frames, which would leave its locks and its memory
// as they were. What can be thrown is std::bad_alloc.
//
//   module.xNext = SqliteCallback<&NextOfCursor>;
//
// Threads: as SQLite calls them.
#pragma once

#include <sqlite3.h>

#include <new>

namespace foreshore {

template <auto Function>
struct SqliteCallbackOf;

// A method of a module: SQLITE_NOMEM where memory runs out.
template <typename... Arguments, int (*Function)(Arguments...)>
struct SqliteCallbackOf<Function> {
  static int Call(Arguments... arguments) noexcept {
    try {
      return Function(arguments...);
    } catch (const std::bad_alloc&) {
      return SQLITE_NOMEM;
    } catch (...) {
      return SQLITE_INTERNAL;
    }
  }
};

// A scalar function, or the step or end of an aggregate.
template <typename... Arguments, void (*Function)(sqlite3_context*, Arguments...)>
struct SqliteCallbackOf<Function> {
  static void Call(sqlite3_context* context, Arguments... arguments) noexcept {
    try {
      Function(context, arguments...);
    } catch (const std::bad_alloc&) {
      sqlite3_result_error_nomem(context);
    } catch (...) {
      sqlite3_result_error_code(context, SQLITE_INTERNAL);
    }
  }
};

template <auto Function>
inline constexpr auto SqliteCallback = &SqliteCallbackOf<Function>::Call;

}  // namespace foreshore
