// array_contains(array, value): whether an element of the JSON array equals the value, as SQL's = compares without
// affinities. 0 for text that is no array; NULL where an argument is NULL. An index on "path[]" answers it.
#pragma once

#include <sqlite3.h>

namespace foreshore {

void ArrayContains(sqlite3_context* context, int argument_count, sqlite3_value** arguments);

}  // namespace foreshore
