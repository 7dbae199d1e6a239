#include "engine/query/time_functions.h"

#include <charconv>
#include <new>

#include "engine/query/session_state.h"
#include "engine/query/sql_json.h"
#include "engine/query/sqlite_callback.h"

namespace foreshore {
namespace {

struct NamedUnit {
  std::string_view name;
  std::int64_t nanoseconds;
};
constexpr NamedUnit kUnits[] = {{"ns", 1},
                                {"us", 1'000},
                                {"ms", 1'000'000},
                                {"s", 1'000'000'000},
                                {"m", 60'000'000'000},
                                {"h", 3'600'000'000'000},
                                {"d", 86'400'000'000'000},
                                {"w", 604'800'000'000'000}};

std::int64_t NanosecondsOf(TimeUnit unit) {
  switch (unit) {
    case TimeUnit::kSeconds: return 1'000'000'000;
    case TimeUnit::kMilliseconds: return 1'000'000;
    case TimeUnit::kMicroseconds: return 1'000;
    case TimeUnit::kNanoseconds: return 1;
  }
  return 1;
}

SessionState& SessionOf(sqlite3_context* context) {
  return *static_cast<SessionState*>(sqlite3_user_data(context));
}

Result<TimeUnit> UnitNamed(std::string_view name) {
  if (name == "s") return TimeUnit::kSeconds;
  if (name == "ms") return TimeUnit::kMilliseconds;
  if (name == "us") return TimeUnit::kMicroseconds;
  if (name == "ns") return TimeUnit::kNanoseconds;
  return Status::InvalidArgument("time_bucket: unit is \"" + std::string(name) + "\", expected s, ms, us or ns");
}

void TimeBucket(sqlite3_context* context, int count, sqlite3_value** arguments) {
  for (int i = 0; i < count; ++i) {
    if (sqlite3_value_type(arguments[i]) == SQLITE_NULL) return;
  }
  const auto width = [&]() -> Result<std::int64_t> {
    TimeUnit unit = TimeUnit::kMilliseconds;
    if (count == 3) {
      FORESHORE_ASSIGN_OR_RETURN(unit, UnitNamed(TextOf(arguments[2])));
    }
    return ParseBucketWidth(TextOf(arguments[0]), unit);
  }();
  if (!width.ok()) return SessionOf(context).FailFunction(context, width.status());
  sqlite3_result_int64(context, BucketOf(sqlite3_value_int64(arguments[1]), *width));
}

// The value at the least or greatest time so far.
struct Extreme {
  sqlite3_value* value;
  sqlite3_value* time;
};

// Numbers as numbers, all else by its text; enough for times.
bool IsBefore(sqlite3_value* a, sqlite3_value* b) {
  const bool integers = sqlite3_value_type(a) == SQLITE_INTEGER && sqlite3_value_type(b) == SQLITE_INTEGER;
  if (integers) return sqlite3_value_int64(a) < sqlite3_value_int64(b);
  const bool texts = sqlite3_value_type(a) == SQLITE_TEXT && sqlite3_value_type(b) == SQLITE_TEXT;
  if (texts) return TextOf(a) < TextOf(b);
  return sqlite3_value_double(a) < sqlite3_value_double(b);
}

template <bool kFirst>
void ExtremeStep(sqlite3_context* context, int, sqlite3_value** arguments) {
  if (sqlite3_value_type(arguments[0]) == SQLITE_NULL || sqlite3_value_type(arguments[1]) == SQLITE_NULL) return;
  auto* extreme = static_cast<Extreme*>(sqlite3_aggregate_context(context, sizeof(Extreme)));
  if (extreme == nullptr) return sqlite3_result_error_nomem(context);
  if (extreme->time != nullptr) {
    // Of equal times the first that came is first, the last that came is last.
    const bool replaces = kFirst ? IsBefore(arguments[1], extreme->time) : !IsBefore(arguments[1], extreme->time);
    if (!replaces) return;
  }
  sqlite3_value_free(extreme->value);
  sqlite3_value_free(extreme->time);
  extreme->value = sqlite3_value_dup(arguments[0]);
  extreme->time = sqlite3_value_dup(arguments[1]);
}

void ExtremeFinal(sqlite3_context* context) {
  auto* extreme = static_cast<Extreme*>(sqlite3_aggregate_context(context, 0));
  if (extreme == nullptr || extreme->value == nullptr) return;
  sqlite3_result_value(context, extreme->value);
  sqlite3_value_free(extreme->value);
  sqlite3_value_free(extreme->time);
}

}  // namespace

Result<std::int64_t> ParseBucketWidth(std::string_view text, TimeUnit unit) {
  const auto refuse = [&] {
    return Status::InvalidArgument("width of a time bucket is \"" + std::string(text.substr(0, 40)) +
                                   "\", expected such as '15m': a whole number and ns, us, ms, s, m, h, d or w, "
                                   "no finer than the times");
  };
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || number < 1) return refuse();
  const std::string_view name = text.substr(static_cast<std::size_t>(parsed.ptr - text.data()));
  for (const NamedUnit& named : kUnits) {
    if (named.name != name) continue;
    if (number > INT64_MAX / named.nanoseconds) return refuse();
    const std::int64_t nanoseconds = number * named.nanoseconds;
    if (nanoseconds % NanosecondsOf(unit) != 0) return refuse();
    return nanoseconds / NanosecondsOf(unit);
  }
  return refuse();
}

std::int64_t BucketOf(std::int64_t time, std::int64_t width) {
  const std::int64_t rest = time % width;
  const std::int64_t down = rest < 0 ? rest + width : rest;
  return time < INT64_MIN + down ? INT64_MIN : time - down;
}

Status RegisterTimeFunctions(SessionState& session) {
  constexpr int kFlags = SQLITE_UTF8 | SQLITE_DETERMINISTIC;
  for (const int argument_count : {2, 3}) {
    const int code = sqlite3_create_function_v2(session.db, "time_bucket", argument_count, kFlags, &session,
                                                SqliteCallback<&TimeBucket>, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return session.ErrorOf(code);
  }
  const int first =
      sqlite3_create_function_v2(session.db, "first", 2, kFlags, &session, nullptr, SqliteCallback<&ExtremeStep<true>>,
                                 SqliteCallback<&ExtremeFinal>, nullptr);
  if (first != SQLITE_OK) return session.ErrorOf(first);
  const int last =
      sqlite3_create_function_v2(session.db, "last", 2, kFlags, &session, nullptr, SqliteCallback<&ExtremeStep<false>>,
                                 SqliteCallback<&ExtremeFinal>, nullptr);
  return last == SQLITE_OK ? Status::Ok() : session.ErrorOf(last);
}

}  // namespace foreshore
