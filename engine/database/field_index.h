// A secondary index: which paths of a collection's documents it orders, and its row in the catalogue.
//
// Threads: values; no sharing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/database/field_predicate.h"
#include "foreshore/database.h"
#include "storage/store.h"

namespace foreshore {

inline constexpr std::size_t kFieldIndexPathCountMax = 8;

struct IndexedPath {
  std::string path;              // In internal form, without the brackets.
  bool is_each_element = false;  // "tags[]": an entry for each distinct element.
};

struct FieldIndexDefinition {
  std::uint32_t id = 0;
  std::uint32_t collection_id = 0;
  std::string name;           // "notes.site,size"
  FieldIndexOptions options;  // As they were given; options.name is filled in.
  std::vector<IndexedPath> paths;
  std::vector<FieldTerm> predicate;  // All must hold; empty: every document.
  bool is_ready = false;             // Holds the entries of every document. Until then plans leave it alone.
  KeyspaceId entries = 0;            // "f{id}": key of field_key.h -> marks of field_entries.h.
};

// Checks the options and fills in all but id, collection_id and entries. Errors name the index.
Result<FieldIndexDefinition> DefineFieldIndex(const std::string& collection, const FieldIndexOptions& options);

// kInvalidArgument unless `own` is a name that an index of fields or of predictions may have; `name` is with the
// collection's.
Status CheckIndexName(const std::string& name, const std::string& own);

// The stored form: a row of the keyspace "catalog", without the keyspace id.
ByteString EncodeFieldIndex(const FieldIndexDefinition& index);
Result<FieldIndexDefinition> DecodeFieldIndex(Bytes bytes);

}  // namespace foreshore
