#include "engine/query/text_functions.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/query/collection_cursor.h"
#include "engine/query/sql_json.h"
#include "engine/query/sqlite_callback.h"
#include "engine/query/vector_argument.h"

namespace foreshore {
namespace {

SessionState& SessionOf(sqlite3_context* context) {
  return *static_cast<SessionState*>(sqlite3_user_data(context));
}

// The search whose row is being looked at.
Result<CollectionCursor*> CursorOf(SessionState& session, std::string_view function, sqlite3_value* value) {
  const auto number = reinterpret_cast<std::uintptr_t>(sqlite3_value_pointer(value, kTextCursorPointer));
  const auto found = session.text_cursors.find(number);
  if (found == session.text_cursors.end() || found->second->at_end()) {
    return Status::InvalidArgument("SQL: " + std::string(function) +
                                   " must stand beside a full-text MATCH, with the collection's own name as its first "
                                   "argument");
  }
  return found->second;
}

// A field's number, or its name.
Result<TextArgument> FieldArgument(const CollectionDefinition& collection, sqlite3_value* value) {
  if (sqlite3_value_type(value) == SQLITE_INTEGER) return TextArgument(sqlite3_value_int64(value));
  const std::string_view name = TextOf(value);
  const auto& fields = collection.text_index->options.fields;
  const auto found = std::find(fields.begin(), fields.end(), name);
  if (found == fields.end()) {
    return Status::InvalidArgument("collection \"" + collection.name + "\": \"" + std::string(name) +
                                   "\" is no field of its full-text index");
  }
  return TextArgument(static_cast<std::int64_t>(found - fields.begin()));
}

Status SetExcerpt(sqlite3_context* context, std::string_view function, int count, sqlite3_value** values) {
  FORESHORE_ASSIGN_OR_RETURN(CollectionCursor * cursor, CursorOf(SessionOf(context), function, values[0]));
  std::vector<TextArgument> arguments;
  FORESHORE_ASSIGN_OR_RETURN(TextArgument field, FieldArgument(cursor->text()->collection(), values[1]));
  arguments.push_back(std::move(field));
  for (int i = 2; i < count; ++i) {
    if (sqlite3_value_type(values[i]) == SQLITE_INTEGER) {
      arguments.emplace_back(static_cast<std::int64_t>(sqlite3_value_int64(values[i])));
    } else {
      arguments.emplace_back(std::string(TextOf(values[i])));
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto text, cursor->text()->Excerpt(cursor->docid(), function, arguments));
  if (text) sqlite3_result_text64(context, text->data(), text->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return Status::Ok();
}

void Snippet(sqlite3_context* context, int count, sqlite3_value** values) {
  const Status status = SetExcerpt(context, "snippet", count, values);
  if (!status.ok()) SessionOf(context).FailFunction(context, status);
}

void Highlight(sqlite3_context* context, int count, sqlite3_value** values) {
  const Status status = SetExcerpt(context, "highlight", count, values);
  if (!status.ok()) SessionOf(context).FailFunction(context, status);
}

Status SetRank(sqlite3_context* context, int count, sqlite3_value** values) {
  if (count == 0) return Status::InvalidArgument("SQL: bm25 needs the collection's own name as its first argument");
  FORESHORE_ASSIGN_OR_RETURN(CollectionCursor * cursor, CursorOf(SessionOf(context), "bm25", values[0]));
  std::string expression = "bm25(";
  for (int i = 1; i < count; ++i) {
    const double weight = sqlite3_value_double(values[i]);
    if (sqlite3_value_numeric_type(values[i]) == SQLITE_TEXT || !std::isfinite(weight)) {
      return Status::InvalidArgument("SQL: weight " + std::to_string(i) + " of bm25 is not a finite number");
    }
    char buffer[40];
    // Fixed, because FTS5's own grammar of these numbers has no exponent.
    const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), weight, std::chars_format::fixed, 6);
    if (error != std::errc()) return Status::InvalidArgument("SQL: a weight of bm25 is too large");
    if (i > 1) expression += ", ";
    expression.append(buffer, end);
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto rank, cursor->text()->RankBy(expression + ")", cursor->docid()));
  if (rank) sqlite3_result_double(context, *rank);
  return Status::Ok();
}

void Bm25(sqlite3_context* context, int count, sqlite3_value** values) {
  const Status status = SetRank(context, count, values);
  if (!status.ok()) SessionOf(context).FailFunction(context, status);
}

Status SetHybrid(sqlite3_context* context, int count, sqlite3_value** values) {
  if (count < 2 || count > 5) {
    return Status::InvalidArgument("SQL: hybrid has " + std::to_string(count) +
                                   " arguments, expected hybrid(text, vector[, field[, k[, window]]])");
  }
  if (sqlite3_value_type(values[0]) == SQLITE_NULL || sqlite3_value_type(values[1]) == SQLITE_NULL) return Status::Ok();
  HybridQuery query;
  query.match = TextOf(values[0]);
  FORESHORE_ASSIGN_OR_RETURN(query.vector, VectorFromValue(values[1], "hybrid: second argument"));
  if (count > 2 && sqlite3_value_type(values[2]) != SQLITE_NULL) query.field = TextOf(values[2]);
  if (count > 3) {
    query.options.k = sqlite3_value_double(values[3]);
    if (sqlite3_value_numeric_type(values[3]) == SQLITE_TEXT || !(query.options.k >= 0) ||
        !std::isfinite(query.options.k)) {
      return Status::InvalidArgument("SQL: k of hybrid is not a number from 0");
    }
  }
  if (count > 4) {
    const std::int64_t window = sqlite3_value_int64(values[4]);
    if (sqlite3_value_type(values[4]) != SQLITE_INTEGER || window < 1 || window > 100'000) {
      return Status::InvalidArgument("SQL: window of hybrid is " + std::string(TextOf(values[4])) +
                                     ", expected 1 to 100000");
    }
    query.options.window = static_cast<std::size_t>(window);
  }
  const ByteString blob = EncodeHybridQuery(query);
  sqlite3_result_blob64(context, blob.data(), blob.size(), SQLITE_TRANSIENT);
  return Status::Ok();
}

void Hybrid(sqlite3_context* context, int count, sqlite3_value** values) {
  const Status status = SetHybrid(context, count, values);
  if (!status.ok()) SessionOf(context).FailFunction(context, status);
}

void AnyWord(sqlite3_context* context, int /*count*/, sqlite3_value** values) {
  if (sqlite3_value_type(values[0]) == SQLITE_NULL) return;
  const std::string query = AnyWordQuery(TextOf(values[0]));
  sqlite3_result_text64(context, query.data(), query.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

}  // namespace

Status RegisterTextFunctions(SessionState& session) {
  struct Registration {
    const char* name;
    int argument_count;
    int flags;
    void (*function)(sqlite3_context*, int, sqlite3_value**);
  };
  // The first three depend on the row, which their arguments do not show.
  constexpr Registration kFunctions[] = {{"snippet", 6, 0, SqliteCallback<&Snippet>},
                                         {"highlight", 4, 0, SqliteCallback<&Highlight>},
                                         {"bm25", -1, 0, SqliteCallback<&Bm25>},
                                         {"hybrid", -1, SQLITE_DETERMINISTIC, SqliteCallback<&Hybrid>},
                                         {"any_word", 1, SQLITE_DETERMINISTIC, SqliteCallback<&AnyWord>}};
  for (const Registration& each : kFunctions) {
    const int code = sqlite3_create_function_v2(session.db, each.name, each.argument_count, SQLITE_UTF8 | each.flags,
                                                &session, each.function, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return session.ErrorOf(code);
  }
  return Status::Ok();
}

}  // namespace foreshore
