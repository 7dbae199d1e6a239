// JSON text as documents hold it: validated in full, minified, number tokens kept to the digit.
//
// simdjson's On-Demand alone accepts broken input ("[1,2}", "nul", duplicate keys), so everything that enters is
// first checked here; what is stored may then be read with On-Demand.
//
// Threads: free functions, safe from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

// Design section 8.
inline constexpr std::size_t kDocumentBytesMax = 1 << 20;
inline constexpr std::size_t kDocumentDepthMax = 64;
inline constexpr std::size_t kPathBytesMax = 512;
inline constexpr std::size_t kFieldCountMax = 4096;  // Object members in the whole document.
inline constexpr std::size_t kDocumentIdBytesMax = 255;

// 1..255 bytes of UTF-8 without control characters.
Status ValidateDocumentId(std::string_view id);

// The whole of RFC 8259 for one object: grammar, UTF-8, surrogate pairs, depth, no duplicate keys (after
// unescaping), limits. Returns it minified: no white space, strings with only the escapes JSON demands, so that equal
// texts have equal bytes; number tokens unchanged. kInvalidArgument says the byte offset and what was expected;
// kLimit says which limit. The text with its white space may have 16 times kDocumentBytesMax.
Result<std::string> NormaliseDocument(std::string_view text);
// The same for any single JSON value.
Result<std::string> NormaliseValue(std::string_view text);

// Paths join object keys (unescaped UTF-8) with the byte 0xFF, which UTF-8 never contains: "site\xFFname".
inline constexpr char kPathSeparator = '\xFF';
inline bool IsAncestorPath(std::string_view ancestor, std::string_view path) {
  return path.size() > ancestor.size() && path[ancestor.size()] == kPathSeparator && path.starts_with(ancestor);
}
// For people: "site.name".
std::string PathForPeople(std::string_view path);
// "site.name" as users write it, with backslash before a dot that belongs to a key. kInvalidArgument if empty or too
// long.
Result<std::string> ParsePath(std::string_view dotted);

// A register's place and value: a scalar token, an array's whole text, or "{}" for an empty object.
struct JsonLeaf {
  std::string path;
  std::string_view value;  // Into the text that was flattened.
};

// The leaves of a normalised object in document order. `text` must come from NormaliseDocument.
std::vector<JsonLeaf> FlattenDocument(std::string_view text);

// JSON merge patch (RFC 7396) of two normalised texts; the result is normalised. `patch` must be an object.
Result<std::string> MergePatch(std::string_view document, std::string_view patch);

// Appends `text` as a JSON string with quotes and the least escapes.
void AppendJsonString(std::string& out, std::string_view text);

// The raw token at `path` (as in JsonLeaf; objects too) in a normalised document; empty where absent. For scans: no
// allocation.
std::string_view FindValue(std::string_view document, std::string_view path);
// The text of a JSON string token without quotes and escapes; kInvalidArgument where it is not a string.
Result<std::string> UnescapeString(std::string_view token);

}  // namespace foreshore
