// JSON tokens to SQL values and back.
//
//   JSON            SQL                       SQL written to a field       JSON
//   null, absent    NULL                      NULL                         absent
//   true, false     1, 0                      INTEGER                      number
//   integer         INTEGER; REAL beyond 64   REAL                         number with point or exponent
//   other number    REAL                      TEXT                         string, or JSON where it has the subtype
//   string          TEXT                      BLOB                         refused
//   array, object   TEXT with JSON's subtype
//
// Threads: free functions, safe from any thread.
#pragma once

#include <sqlite3.h>

#include <string>
#include <string_view>

#include "foreshore/status.h"

namespace foreshore {

// As SQLite's own JSON functions mark their results, so that one nests in another.
inline constexpr unsigned kJsonSubtype = 'J';

// Sets the result to the value of one normalised token; an empty token is NULL.
void SetResultFromJson(sqlite3_context* context, std::string_view token);

// The token for a value that is not NULL. `keep_subtype`: text that carries JSON's subtype is JSON. kInvalidArgument
// for a blob, infinity, text that is not UTF-8 or not the JSON it claims to be.
Result<std::string> JsonFromValue(sqlite3_value* value, bool keep_subtype);

// Whether the value is what reading `token` gives: then writing it changes nothing, and the token keeps its type.
bool ReadsAs(sqlite3_value* value, std::string_view token);

// The text of a value as SQLite converts it; empty for NULL.
std::string_view TextOf(sqlite3_value* value);

// A JSON number's token from a double: the shortest that reads back as the same number.
std::string JsonFromDouble(double number);

}  // namespace foreshore
