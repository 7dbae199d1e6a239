// Writes JSON for people's programs: minified, members in the order they are written, text always valid UTF-8.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "foreshore/sql.h"

namespace foreshore {

// A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD.
std::string JsonString(std::string_view text);

// Text and numbers as they are; a blob as base64 text; NaN and infinities, which JSON lacks, as null.
std::string JsonValue(const SqlValue& value);

// The writer puts the commas; the caller keeps the nesting right.
class JsonWriter {
 public:
  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Key(std::string_view name);
  JsonWriter& Value(const SqlValue& value) { return Raw(JsonValue(value)); }
  JsonWriter& Text(std::string_view text) { return Raw(JsonString(text)); }
  JsonWriter& Count(std::uint64_t count) { return Raw(std::to_string(count)); }
  JsonWriter& Integer(std::int64_t integer) { return Raw(std::to_string(integer)); }
  JsonWriter& Bool(bool value) { return Raw(value ? "true" : "false"); }
  // Already JSON.
  JsonWriter& Raw(std::string_view json);

  std::string Take() { return std::move(json_); }

 private:
  JsonWriter& Open(char bracket);
  JsonWriter& Close(char bracket);
  void Separate();

  std::string json_;
  bool needs_comma_ = false;
};

}  // namespace foreshore
