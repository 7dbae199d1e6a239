// The top-level members of a JSON object as slices, so that an import can take the id out of a line and an export put
// it in, without reading values. Nested values are copied as they are; the engine validates what is built from them.
//
// Threads: free functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/status.h"

namespace foreshore::cli {

struct JsonMember {
  std::string_view name;   // With quotes and escapes, as written.
  std::string_view value;  // As written, without white space around it.
};

// Views into `json`. kInvalidArgument where the object's own braces, commas, colons and strings are wrong.
Result<std::vector<JsonMember>> TopLevelMembers(std::string_view json);

// The text of a JSON string token. kInvalidArgument for a broken escape.
Result<std::string> DecodeJsonString(std::string_view token);

struct ImportDocument {
  std::optional<std::string> id;
  std::string body;
};

// One line of JSON lines. The member `id_field`, a string or integer, is the id; under the name "id" it is taken out of
// the body, since every document has its id beside the body. {"id": …, "$body": {…}} is a document whose body has
// an "id" of its own.
Result<ImportDocument> ParseImportLine(std::string_view line, std::string_view id_field);
// The inverse: a line that ParseImportLine reads back to the same id and body.
Result<std::string> FormatExportLine(std::string_view id, std::string_view body);

}  // namespace foreshore::cli
