#include "engine/query/sql_json.h"

#include <charconv>
#include <cmath>
#include <cstdint>

#include "engine/document/json.h"
#include "engine/document/json_number.h"

namespace foreshore {

namespace {

// The string's text without a copy where it has no escapes.
std::string_view StringText(std::string_view token, std::string& buffer) {
  const std::string_view inside = token.substr(1, token.size() - 2);
  if (inside.find('\\') == std::string_view::npos) return inside;
  auto text = UnescapeString(token);
  buffer = text.ok() ? std::move(text).value() : std::string(inside);
  return buffer;
}

}  // namespace

void SetResultFromJson(sqlite3_context* context, std::string_view token) {
  const auto set_text = [&](std::string_view text) {
    sqlite3_result_text64(context, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  };
  if (token.empty()) return sqlite3_result_null(context);
  switch (token.front()) {
    case 'n': return sqlite3_result_null(context);
    case 't': return sqlite3_result_int(context, 1);
    case 'f': return sqlite3_result_int(context, 0);
    case '"': {
      std::string buffer;
      return set_text(StringText(token, buffer));
    }
    case '{':
    case '[': set_text(token); return sqlite3_result_subtype(context, kJsonSubtype);
    default: {
      const JsonNumber number = ParseJsonNumber(token);
      if (number.is_integer) return sqlite3_result_int64(context, number.integer);
      return sqlite3_result_double(context, number.real);
    }
  }
}

std::string_view TextOf(sqlite3_value* value) {
  // A text's bytes as they are: sqlite3_value_text() would move them to where a zero fits behind them.
  const auto* text = static_cast<const char*>(sqlite3_value_blob(value));
  return text ? std::string_view(text, static_cast<std::size_t>(sqlite3_value_bytes(value))) : std::string_view();
}

std::string JsonFromDouble(double number) {
  char buffer[40];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), number);
  static_cast<void>(error);
  std::string token(buffer, end);
  if (token.find_first_of(".e") == std::string::npos) token += ".0";  // It was REAL and stays so.
  return token;
}

Result<std::string> JsonFromValue(sqlite3_value* value, bool keep_subtype) {
  switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER: return std::to_string(sqlite3_value_int64(value));
    case SQLITE_FLOAT: {
      const double number = sqlite3_value_double(value);
      if (!std::isfinite(number)) return Status::InvalidArgument("infinity has no form in JSON");
      return JsonFromDouble(number);
    }
    case SQLITE_TEXT: {
      const std::string_view text = TextOf(value);
      if (keep_subtype && sqlite3_value_subtype(value) == kJsonSubtype) return NormaliseValue(text);
      std::string token;
      AppendJsonString(token, text);
      return token;
    }
    case SQLITE_BLOB:
      return Status::InvalidArgument("a blob of " + std::to_string(sqlite3_value_bytes(value)) +
                                     " bytes has no form in JSON");
    default: return std::string("null");
  }
}

bool ReadsAs(sqlite3_value* value, std::string_view token) {
  if (token.empty()) return sqlite3_value_type(value) == SQLITE_NULL;
  const bool is_integer = sqlite3_value_type(value) == SQLITE_INTEGER;
  const bool is_text = sqlite3_value_type(value) == SQLITE_TEXT;
  switch (token.front()) {
    case 'n': return false;  // NULL written to a field removes it, JSON's null too.
    case 't': return is_integer && sqlite3_value_int64(value) == 1;
    case 'f': return is_integer && sqlite3_value_int64(value) == 0;
    case '"': {
      std::string buffer;
      return is_text && TextOf(value) == StringText(token, buffer);
    }
    case '{':
    case '[': return is_text && TextOf(value) == token;
    default: {
      const JsonNumber number = ParseJsonNumber(token);
      if (number.is_integer) return is_integer && sqlite3_value_int64(value) == number.integer;
      return sqlite3_value_type(value) == SQLITE_FLOAT && sqlite3_value_double(value) == number.real;
    }
  }
}

}  // namespace foreshore
