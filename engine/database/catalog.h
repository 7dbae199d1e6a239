// Which collections and indexes there are. A Catalog is immutable: a change makes a new one, so that a
// statement keeps the one its snapshot began with.
//
// Threads: values; share by shared_ptr<const Catalog>.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/database/field_entries.h"
#include "engine/database/field_index.h"
#include "engine/database/predictive_index.h"
#include "engine/model/model_pin.h"
#include "foreshore/database.h"
#include "storage/change_log.h"
#include "storage/store.h"

namespace foreshore {

struct VectorIndexDefinition {
  std::uint32_t id = 0;
  std::uint32_t collection_id = 0;
  std::string name;                // "notes.embedding"
  VectorFieldOptions options;      // dimension is filled in.
  std::vector<std::string> paths;  // source_paths in internal form; for a field without a model, the field's own path.
  std::int64_t created_sequence = 0;  // Documents changed up to here are found by a scan, later ones by the log.
  KeyspaceId vectors = 0;             // "v{id}": docid -> StoredVector, where the index has rows.
  KeyspaceId documents = 0;           // The collection's.
  // False: its vectors are read from the documents that carry them (vector_reader.h).
  bool has_rows = true;
  // With a model: what all of its vectors are made by. Another version of the model gets another index, which takes
  // this one's place, and with it the field, once it is filled.
  ModelPin pin = {};
  std::uint32_t replaces = 0;  // The id of the index whose place this one is to take; 0: it has its place.

  bool has_model() const { return !options.model.empty(); }
};

struct TextIndexDefinition {
  std::uint32_t id = 0;
  std::uint32_t collection_id = 0;
  TextIndexOptions options;
  std::vector<std::string> paths;  // options.fields in internal form.
};

struct CollectionDefinition {
  std::uint32_t id = 0;
  std::string name;
  std::vector<std::string> fields;  // Top-level fields in the order first seen, at most kColumnCountMax.
  std::vector<VectorIndexDefinition> vector_indexes;
  std::vector<VectorIndexDefinition> next_vector_indexes;  // Being filled, to replace one above; nobody reads them.
  std::vector<FieldIndexDefinition> field_indexes;
  std::vector<PredictiveIndexDefinition> predictive_indexes;
  std::optional<TextIndexDefinition> text_index;
  std::shared_ptr<const IndexedPaths> indexed_paths;  // Of field_indexes; shared with other versions of the catalogue.
  KeyspaceId documents = 0;                           // "d{id}": docid -> record.
  KeyspaceId ids = 0;                                 // "i{id}": document id -> docid.
  CollectionOptions options;
  KeyspaceId tail = 0;  // "t{id}", of readings only (readings.h, where the two above hold something else too).
  std::string expiry_field = {};  // Top-level; empty: documents do not expire.
  KeyspaceId expiries = 0;        // "e{id}": time and docid -> nothing; only with expiry_field.

  bool is_readings() const { return options.kind == CollectionKind::kReadings; }

  const VectorIndexDefinition* FindVectorIndex(std::string_view field) const;  // By field name; nullptr.
  // Among those that are being filled too; nullptr.
  const VectorIndexDefinition* FindVectorIndexById(std::uint32_t index_id) const;
  const VectorIndexDefinition* FindNextOf(std::uint32_t index_id) const;     // What is to replace it; nullptr.
  const FieldIndexDefinition* FindFieldIndex(std::uint32_t index_id) const;  // That of a predictive index too.
  const PredictiveIndexDefinition* FindPredictiveIndex(std::uint32_t index_id) const;
  bool HasIndex(std::string_view name) const;  // Of any kind but full text: "notes.site".
  // After field_indexes changed.
  void ArrangeFieldIndexes() { indexed_paths = std::make_shared<const IndexedPaths>(field_indexes); }
};

inline constexpr std::size_t kColumnCountMax = 500;
// Collections whose name begins with '_' belong to the library: "_models" holds model rows and syncs like any other.
inline constexpr std::string_view kModelsCollection = "_models";

class Catalog {
 public:
  std::uint64_t version = 0;  // Grows with every change; 0 is the empty catalogue.
  std::vector<CollectionDefinition> collections;

  const CollectionDefinition* Find(std::string_view name) const;  // Case-insensitive; nullptr.
  const CollectionDefinition* FindById(std::uint32_t id) const;
  CollectionDefinition* FindById(std::uint32_t id) {
    return const_cast<CollectionDefinition*>(static_cast<const Catalog*>(this)->FindById(id));
  }
  // The first field with this model and adapter; all of them are made by the same weights. nullptr.
  const VectorIndexDefinition* FindByModel(std::string_view model, std::string_view adapter) const;
  // kNotFound: collection "x" does not exist.
  Result<const CollectionDefinition*> Require(std::string_view name) const;
};

// What the log says of a change to a collection, or to an index of it.
Change CatalogChange(std::uint32_t collection_id, std::uint32_t index_id = 0);

// kInvalidArgument where the options do not fit together.
Status ValidateCollectionOptions(const std::string& name, const CollectionOptions& options);
Status ValidateCollectionName(std::string_view name);  // Reserved names are refused.

// The stored forms: rows of the keyspace "catalog", without keyspace ids. Decoding bounds every length.
ByteString EncodeCollection(const CollectionDefinition& collection);
Result<CollectionDefinition> DecodeCollection(Bytes bytes);
ByteString EncodeVectorIndex(const VectorIndexDefinition& index);
Result<VectorIndexDefinition> DecodeVectorIndex(Bytes bytes);
ByteString EncodeTextIndex(const TextIndexDefinition& index);
Result<TextIndexDefinition> DecodeTextIndex(Bytes bytes);

}  // namespace foreshore
