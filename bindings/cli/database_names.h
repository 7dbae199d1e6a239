// The names that a statement may use, for completion and for "did you mean".
//
// Threads: one at a time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "foreshore/database.h"

namespace foreshore::cli {

struct CollectionNames {
  std::string name;
  std::vector<std::string> columns;  // As SELECT * shows them, then the hidden ones.
  std::vector<std::string> paths;    // "site.name": nested, seen in some documents.
};

struct DatabaseNames {
  std::vector<CollectionNames> collections;
  std::vector<std::string> functions;
  std::vector<std::string> models;

  const CollectionNames* Find(std::string_view collection) const;
};

Result<DatabaseNames> ReadDatabaseNames(Database& database);

// A field of a collection as its documents have it.
struct FieldSummary {
  std::string path;                // "site.name"; elements of arrays are "tags[]".
  std::vector<std::string> types;  // JSON's: "text", "integer", "real", "boolean", "null", "object", "array".
  std::uint64_t document_count = 0;
};
struct CollectionSummary {
  std::vector<FieldSummary> fields;  // In order of first sight.
  std::uint64_t document_count = 0;  // Looked at.
  bool is_complete = true;           // These are all.
};
Result<CollectionSummary> SummariseCollection(Database& database, const std::string& collection,
                                              std::uint64_t document_count_max);

}  // namespace foreshore::cli
