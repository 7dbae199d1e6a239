#include "engine/query/array_contains.h"

#include "engine/database/field_entries.h"
#include "engine/database/field_key.h"
#include "engine/document/json.h"
#include "engine/query/sql_json.h"

namespace foreshore {
namespace {

// Keys hold only the beginning of a long text.
bool IsText(std::string_view element, std::string_view text) {
  if (element.front() != '"') return element == text;
  const auto unescaped = UnescapeString(element);
  return unescaped.ok() && *unescaped == text;
}

bool Contains(std::string_view array, sqlite3_value* value) {
  ByteString key;
  switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER: AppendIntegerKey(key, sqlite3_value_int64(value)); break;
    case SQLITE_FLOAT: AppendRealKey(key, sqlite3_value_double(value)); break;
    case SQLITE_TEXT: AppendTextKey(key, TextOf(value)); break;
    default: return false;
  }
  const bool is_long = key.front() == kTextTag && TextOf(value).size() > kIndexedTextBytesMax;
  bool found = false;
  ByteString element_key;
  std::string buffer;
  ForEachElement(array, [&](std::string_view element) {
    if (found || element == "null") return;
    element_key.clear();
    AppendTokenKey(element_key, element, buffer);
    found = element_key == key && (!is_long || IsText(element, TextOf(value)));
  });
  return found;
}

}  // namespace

void ArrayContains(sqlite3_context* context, int /*argument_count*/, sqlite3_value** arguments) {
  if (sqlite3_value_type(arguments[0]) == SQLITE_NULL || sqlite3_value_type(arguments[1]) == SQLITE_NULL) return;
  const std::string_view text =
      sqlite3_value_type(arguments[0]) == SQLITE_TEXT ? TextOf(arguments[0]) : std::string_view();
  if (!text.starts_with('[')) return sqlite3_result_int(context, 0);
  // The mark of JSON may have got lost on the way, and others' JSON may have white space.
  const auto parsed = NormaliseValue(text);
  sqlite3_result_int(context, parsed.ok() && Contains(*parsed, arguments[1]) ? 1 : 0);
}

}  // namespace foreshore
