// Table-valued functions: virtual tables without xCreate, whose arguments are their hidden columns. All but what a
// function is about is here.
//
// A Cursor is an sqlite3_vtab_cursor made of a SessionState&, with
//   kName, kDeclaration              its name, and the table that SQLite is told of;
//   kFirstArgument, kArgumentCount   the hidden columns, the last ones of that table,
//   kArgumentCountMin, kExpected     how many of them a call must give, and what is said where it does not;
//   Describe(session, info, terms)   what EXPLAIN QUERY PLAN says; terms[i] is the constraint of argument i, or -1;
//   Filter(arguments), Next(), at_end(), row_id(), Column(): the table's rows; an argument that is not given is null.
//   Column() may return a Status.
//
// Threads: as SqlSession.
#pragma once

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <string>
#include <type_traits>

#include "engine/query/session_state.h"
#include "engine/query/sqlite_callback.h"

namespace foreshore {

template <typename Cursor>
class TableFunction {
 public:
  static Status Register(SessionState& session) {
    static const sqlite3_module kModule = MakeModule();
    const int code = sqlite3_create_module_v2(session.db, Cursor::kName, &kModule, &session, nullptr);
    return code == SQLITE_OK ? Status::Ok() : session.ErrorOf(code);
  }

 private:
  struct Table : sqlite3_vtab {
    explicit Table(SessionState& session_state) : sqlite3_vtab{}, session(session_state) {}
    SessionState& session;
  };

  static Cursor& CursorOf(sqlite3_vtab_cursor* cursor) { return *static_cast<Cursor*>(cursor); }

  static int Finish(sqlite3_vtab* table, const Status& status) {
    return status.ok() ? SQLITE_OK : static_cast<Table*>(table)->session.Fail(table, status);
  }

  static int Connect(sqlite3* db, void* context, int, const char* const*, sqlite3_vtab** table, char**) {
    const int code = sqlite3_declare_vtab(db, Cursor::kDeclaration);
    if (code == SQLITE_OK) *table = new Table(*static_cast<SessionState*>(context));
    return code;
  }
  static int Disconnect(sqlite3_vtab* table) {
    delete static_cast<Table*>(table);
    return SQLITE_OK;
  }

  // All arguments that are given or nothing: a plan in which one is not known yet is no plan.
  static int BestIndex(sqlite3_vtab* table, sqlite3_index_info* info) {
    std::array<int, Cursor::kArgumentCount> terms;
    terms.fill(-1);
    bool has_unusable = false;
    for (int i = 0; i < info->nConstraint; ++i) {
      const auto& constraint = info->aConstraint[i];
      const int argument = constraint.iColumn - Cursor::kFirstArgument;
      if (constraint.op != SQLITE_INDEX_CONSTRAINT_EQ || argument < 0 || argument >= Cursor::kArgumentCount) continue;
      has_unusable = has_unusable || constraint.usable == 0;
      terms[static_cast<std::size_t>(argument)] = i;
    }
    if (has_unusable) return SQLITE_CONSTRAINT;
    if (std::find(terms.begin(), terms.begin() + Cursor::kArgumentCountMin, -1) !=
        terms.begin() + Cursor::kArgumentCountMin) {
      return Finish(table, Status::InvalidArgument(std::string(Cursor::kName) + ": expected " + Cursor::kExpected));
    }
    int place = 0;
    for (const int term : terms) {
      if (term >= 0) info->aConstraintUsage[term] = {++place, 1};
    }
    Cursor::Describe(static_cast<Table*>(table)->session, info, terms);
    info->estimatedCost = 1e6;
    info->estimatedRows = 100'000;
    return SQLITE_OK;
  }

  static int Open(sqlite3_vtab* table, sqlite3_vtab_cursor** cursor) {
    *cursor = new Cursor(static_cast<Table*>(table)->session);
    return SQLITE_OK;
  }
  static int Close(sqlite3_vtab_cursor* cursor) {
    delete &CursorOf(cursor);
    return SQLITE_OK;
  }
  // The arguments that may be missing are the last ones.
  static int Filter(sqlite3_vtab_cursor* cursor, int, const char*, int count, sqlite3_value** values) {
    if (count < Cursor::kArgumentCountMin || count > Cursor::kArgumentCount) return SQLITE_INTERNAL;
    std::array<sqlite3_value*, Cursor::kArgumentCount> arguments{};
    std::copy(values, values + count, arguments.begin());
    return Finish(cursor->pVtab, CursorOf(cursor).Filter(arguments));
  }
  static int Next(sqlite3_vtab_cursor* cursor) { return Finish(cursor->pVtab, CursorOf(cursor).Next()); }
  static int AtEnd(sqlite3_vtab_cursor* cursor) { return CursorOf(cursor).at_end() ? 1 : 0; }
  static int Column(sqlite3_vtab_cursor* cursor, sqlite3_context* context, int column) {
    if constexpr (std::is_void_v<decltype(CursorOf(cursor).Column(context, column))>) {
      CursorOf(cursor).Column(context, column);
      return SQLITE_OK;
    } else {
      return Finish(cursor->pVtab, CursorOf(cursor).Column(context, column));
    }
  }
  static int RowId(sqlite3_vtab_cursor* cursor, sqlite3_int64* row_id) {
    *row_id = CursorOf(cursor).row_id();
    return SQLITE_OK;
  }

  static sqlite3_module MakeModule() {
    sqlite3_module module{};
    module.iVersion = 1;
    module.xConnect = SqliteCallback<&Connect>;
    module.xBestIndex = SqliteCallback<&BestIndex>;
    module.xDisconnect = SqliteCallback<&Disconnect>;
    module.xOpen = SqliteCallback<&Open>;
    module.xClose = SqliteCallback<&Close>;
    module.xFilter = SqliteCallback<&Filter>;
    module.xNext = SqliteCallback<&Next>;
    module.xEof = SqliteCallback<&AtEnd>;
    module.xColumn = SqliteCallback<&Column>;
    module.xRowid = SqliteCallback<&RowId>;
    return module;
  }
};

}  // namespace foreshore
