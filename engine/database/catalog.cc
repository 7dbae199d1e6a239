#include "engine/database/catalog.h"

#include <algorithm>
#include <cctype>

#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint8_t kCollectionVersion = 1;
constexpr std::uint8_t kVectorIndexVersion =
    4;  // 1 ends before the precision, 2 before the adapter, 3 before the rows.
constexpr std::uint8_t kTextIndexVersion = 1;
constexpr std::size_t kTextFieldCountMax = 32;
constexpr std::size_t kPrefixLengthMax = 31;
// Options of a collection, behind its fields: a tag and prefixed bytes each. Never renumber; 1 is taken by readings.
constexpr std::uint64_t kExpiryTag = 2;
constexpr std::size_t kCollectionNameBytesMax = 48;
constexpr std::size_t kSourcePathCountMax = 16;
constexpr std::size_t kHashHexBytes = 64;

// What a collection is made for, behind its fields: tagged, so that more can be added. Never renumber.
constexpr std::uint64_t kReadingsTag = 1;

ByteString EncodeReadingsOptions(const CollectionOptions& options) {
  ByteString out;
  AppendPrefixed(out, options.time_field);
  AppendPrefixed(out, options.series_field);
  AppendFixed(out, static_cast<std::uint8_t>(options.time_unit));
  AppendVarint(out, static_cast<std::uint64_t>(options.retention_ms));
  return out;
}

bool DecodeReadingsOptions(Bytes bytes, CollectionOptions& options) {
  ByteReader reader(bytes);
  options.kind = CollectionKind::kReadings;
  options.time_field = reader.Prefixed();
  options.series_field = reader.Prefixed();
  const auto unit = reader.Fixed<std::uint8_t>();
  options.time_unit = static_cast<TimeUnit>(unit);
  options.retention_ms = static_cast<std::int64_t>(reader.VarintAtMost(INT64_MAX));
  return reader.ok() && reader.at_end() && !options.time_field.empty() && unit >= 1 && unit <= 4;
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

const VectorIndexDefinition* CollectionDefinition::FindVectorIndex(std::string_view field) const {
  for (const VectorIndexDefinition& index : vector_indexes) {
    if (index.options.field == field) return &index;
  }
  return nullptr;
}

const VectorIndexDefinition* CollectionDefinition::FindVectorIndexById(std::uint32_t index_id) const {
  for (const auto* list : {&vector_indexes, &next_vector_indexes}) {
    for (const VectorIndexDefinition& index : *list) {
      if (index.id == index_id) return &index;
    }
  }
  return nullptr;
}

const VectorIndexDefinition* CollectionDefinition::FindNextOf(std::uint32_t index_id) const {
  for (const VectorIndexDefinition& index : next_vector_indexes) {
    if (index.replaces == index_id) return &index;
  }
  return nullptr;
}

const FieldIndexDefinition* CollectionDefinition::FindFieldIndex(std::uint32_t index_id) const {
  for (const FieldIndexDefinition& index : field_indexes) {
    if (index.id == index_id) return &index;
  }
  const PredictiveIndexDefinition* predictive = FindPredictiveIndex(index_id);
  return predictive != nullptr ? &predictive->field : nullptr;
}

const PredictiveIndexDefinition* CollectionDefinition::FindPredictiveIndex(std::uint32_t index_id) const {
  for (const PredictiveIndexDefinition& index : predictive_indexes) {
    if (index.id == index_id) return &index;
  }
  return nullptr;
}

bool CollectionDefinition::HasIndex(std::string_view index_name) const {
  const auto same = [&](const auto& each) { return each.name == index_name; };
  return std::any_of(vector_indexes.begin(), vector_indexes.end(), same) ||
         std::any_of(field_indexes.begin(), field_indexes.end(), same) ||
         std::any_of(predictive_indexes.begin(), predictive_indexes.end(), same);
}

const CollectionDefinition* Catalog::Find(std::string_view name) const {
  for (const CollectionDefinition& collection : collections) {
    if (EqualIgnoringCase(collection.name, name)) return &collection;
  }
  return nullptr;
}

const CollectionDefinition* Catalog::FindById(std::uint32_t id) const {
  for (const CollectionDefinition& collection : collections) {
    if (collection.id == id) return &collection;
  }
  return nullptr;
}

Change CatalogChange(std::uint32_t collection_id, std::uint32_t index_id) {
  Change change;
  change.kind = ChangeKind::kCatalog;
  change.collection_id = collection_id;
  change.index_id = index_id;
  return change;
}

const VectorIndexDefinition* Catalog::FindByModel(std::string_view model, std::string_view adapter) const {
  for (const CollectionDefinition& collection : collections) {
    for (const VectorIndexDefinition& index : collection.vector_indexes) {
      if (index.has_model() && index.options.model == model && index.options.adapter == adapter) return &index;
    }
  }
  return nullptr;
}

Result<const CollectionDefinition*> Catalog::Require(std::string_view name) const {
  const CollectionDefinition* collection = Find(name);
  if (collection == nullptr) return Status::NotFound("collection \"" + std::string(name) + "\" does not exist");
  return collection;
}

Status ValidateCollectionOptions(const std::string& name, const CollectionOptions& options) {
  const auto refuse = [&](const std::string& what) {
    return Status::InvalidArgument("collection \"" + name + "\": " + what);
  };
  if (options.kind == CollectionKind::kDocuments) {
    if (options.time_field.empty() && options.series_field.empty() && options.retention_ms == 0) return Status::Ok();
    return refuse("time field, series field and retention are for readings");
  }
  static constexpr std::string_view kTaken[] = {"id", "body", "time_bucket", "bucket_width"};
  for (const std::string& field : {options.time_field, options.series_field}) {
    if (field.size() > 64)
      return refuse("field name of " + std::to_string(field.size()) + " bytes, expected at most 64");
    if (std::find(std::begin(kTaken), std::end(kTaken), field) != std::end(kTaken)) {
      return refuse("field name \"" + field + "\" is reserved, expected another");
    }
  }
  if (options.time_field.empty()) return refuse("readings without a time field, expected the name of one");
  if (EqualIgnoringCase(options.time_field, options.series_field)) return refuse("one field as both time and series");
  if (static_cast<int>(options.time_unit) < 1 || static_cast<int>(options.time_unit) > 4)
    return refuse("unknown unit of time");
  if (options.retention_ms < 0) return refuse("retention of less than 0 ms");
  return Status::Ok();
}

Status ValidateCollectionName(std::string_view name) {
  const auto refuse = [&](const std::string& expected) {
    return Status::InvalidArgument("collection name \"" + std::string(name.substr(0, 64)) + "\": expected " + expected);
  };
  if (name.empty() || name.size() > kCollectionNameBytesMax) return refuse("1 to 48 characters");
  if (std::isalpha(static_cast<unsigned char>(name[0])) == 0) return refuse("a letter first");
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') return refuse("letters, digits and '_'");
  }
  if (EqualIgnoringCase(name.substr(0, 7), "sqlite_")) return refuse("a name that does not begin with sqlite_");
  return Status::Ok();
}

ByteString EncodeCollection(const CollectionDefinition& collection) {
  ByteString out;
  AppendFixed(out, kCollectionVersion);
  AppendVarint(out, collection.id);
  AppendPrefixed(out, collection.name);
  AppendVarint(out, collection.fields.size());
  for (const std::string& field : collection.fields) AppendPrefixed(out, field);
  if (collection.is_readings()) {
    AppendVarint(out, kReadingsTag);
    AppendPrefixed(out, EncodeReadingsOptions(collection.options));
  }
  if (!collection.expiry_field.empty()) {
    AppendVarint(out, kExpiryTag);
    AppendPrefixed(out, collection.expiry_field);
  }
  return out;
}

Result<CollectionDefinition> DecodeCollection(Bytes bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Fixed<std::uint8_t>();
  if (reader.ok() && version != kCollectionVersion) {
    return Status::Unsupported("catalogue row of a collection: version " + std::to_string(version) + ", expected 1");
  }
  CollectionDefinition collection;
  collection.id = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  collection.name = reader.Prefixed();
  const std::uint64_t field_count = reader.VarintAtMost(kColumnCountMax);
  for (std::uint64_t i = 0; i < field_count && reader.ok(); ++i) collection.fields.emplace_back(reader.Prefixed());
  while (reader.ok() && !reader.at_end()) {
    const std::uint64_t tag = reader.Varint();
    const Bytes option = reader.Prefixed();
    if (!reader.ok()) break;
    if (tag == kReadingsTag) {
      if (!DecodeReadingsOptions(option, collection.options)) reader.Fail();
    } else if (tag == kExpiryTag) {
      collection.expiry_field = option;
    } else {
      return Status::Unsupported("catalogue row of collection \"" + collection.name + "\": option " +
                                 std::to_string(tag) + ", which this version does not know");
    }
  }
  if (collection.is_readings() && !collection.expiry_field.empty()) reader.Fail();
  if (!reader.ok() || !reader.at_end() || collection.name.empty()) {
    return Status::Corruption("catalogue row of a collection: " + std::to_string(bytes.size()) +
                              " bytes do not follow the format");
  }
  return collection;
}

ByteString EncodeVectorIndex(const VectorIndexDefinition& index) {
  ByteString out;
  AppendFixed(out, kVectorIndexVersion);
  AppendVarint(out, index.id);
  AppendVarint(out, index.collection_id);
  AppendPrefixed(out, index.name);
  AppendPrefixed(out, index.options.field);
  AppendVarint(out, index.options.dimension);
  AppendFixed(out, static_cast<std::uint8_t>(index.options.metric));
  AppendPrefixed(out, index.options.model);
  AppendVarint(out, index.options.source_paths.size());
  for (std::size_t i = 0; i < index.options.source_paths.size(); ++i) {
    AppendPrefixed(out, index.options.source_paths[i]);
  }
  AppendVarint(out, index.paths.size());
  for (const std::string& path : index.paths) AppendPrefixed(out, path);
  AppendVarint(out, static_cast<std::uint64_t>(index.created_sequence));
  AppendFixed(out, static_cast<std::uint8_t>(index.options.precision));
  AppendVarint(out, index.options.links_per_node);
  AppendFixed(out, static_cast<std::uint8_t>(index.options.graph));
  AppendPrefixed(out, index.options.adapter);
  AppendPrefixed(out, FromHex(index.pin.version).value_or(ByteString()));
  AppendPrefixed(out, FromHex(index.pin.adapter_version).value_or(ByteString()));
  AppendVarint(out, index.replaces);
  AppendFixed<std::uint8_t>(out, index.has_rows ? 1 : 0);
  return out;
}

Result<VectorIndexDefinition> DecodeVectorIndex(Bytes bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Fixed<std::uint8_t>();
  if (reader.ok() && (version == 0 || version > kVectorIndexVersion)) {
    return Status::Unsupported("catalogue row of a vector index: version " + std::to_string(version) +
                               ", expected 1 to " + std::to_string(kVectorIndexVersion));
  }
  VectorIndexDefinition index;
  index.id = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  index.collection_id = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  index.name = reader.Prefixed();
  index.options.field = reader.Prefixed();
  index.options.dimension = static_cast<std::uint32_t>(reader.VarintAtMost(kVectorDimensionMax));
  const auto metric = reader.Fixed<std::uint8_t>();
  index.options.metric = static_cast<VectorMetric>(metric);
  index.options.model = reader.Prefixed();
  const std::uint64_t source_count = reader.VarintAtMost(kSourcePathCountMax);
  for (std::uint64_t i = 0; i < source_count && reader.ok(); ++i) {
    index.options.source_paths.emplace_back(reader.Prefixed());
  }
  const std::uint64_t path_count = reader.VarintAtMost(kSourcePathCountMax);
  for (std::uint64_t i = 0; i < path_count && reader.ok(); ++i) index.paths.emplace_back(reader.Prefixed());
  index.created_sequence = static_cast<std::int64_t>(reader.VarintAtMost(INT64_MAX));
  if (version > 1) {
    const auto precision = reader.Fixed<std::uint8_t>();
    index.options.precision = static_cast<VectorPrecision>(precision);
    index.options.links_per_node = static_cast<std::uint32_t>(reader.VarintAtMost(kVectorLinksMax));
    const auto graph = reader.Fixed<std::uint8_t>();
    index.options.graph = static_cast<VectorGraphKind>(graph);
    if (precision > static_cast<std::uint8_t>(VectorPrecision::kInt1) || graph > 1 ||
        index.options.links_per_node < kVectorLinksMin)
      reader.Fail();
  }
  if (version > 2) {
    index.options.adapter = reader.Prefixed();
    index.pin.version = ToHex(reader.Prefixed());
    index.pin.adapter_version = ToHex(reader.Prefixed());
    index.replaces = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
    for (const std::string* hash : {&index.pin.version, &index.pin.adapter_version}) {
      if (!hash->empty() && hash->size() != kHashHexBytes) reader.Fail();
    }
  }
  if (version > 3) {
    const auto has_rows = reader.Fixed<std::uint8_t>();
    index.has_rows = has_rows == 1;
    // What a model made is nowhere else.
    if (has_rows > 1 || (has_rows == 0 && index.has_model())) reader.Fail();
  }
  index.pin.model = index.options.model;
  index.pin.adapter = index.options.adapter;
  if (!reader.ok() || !reader.at_end() || metric > static_cast<std::uint8_t>(VectorMetric::kL2) ||
      index.options.dimension < kVectorDimensionMin || index.paths.empty()) {
    return Status::Corruption("catalogue row of a vector index: " + std::to_string(bytes.size()) +
                              " bytes do not follow the format");
  }
  return index;
}

ByteString EncodeTextIndex(const TextIndexDefinition& index) {
  ByteString out;
  AppendFixed(out, kTextIndexVersion);
  AppendVarint(out, index.id);
  AppendVarint(out, index.collection_id);
  AppendFixed(out, static_cast<std::uint8_t>(index.options.tokenizer));
  AppendFixed(out, static_cast<std::uint8_t>(index.options.keep_diacritics ? 1 : 0));
  AppendVarint(out, index.options.prefix_lengths.size());
  for (const std::uint32_t length : index.options.prefix_lengths) AppendVarint(out, length);
  AppendVarint(out, index.paths.size());
  for (std::size_t i = 0; i < index.paths.size(); ++i) {
    AppendPrefixed(out, index.options.fields[i]);
    AppendPrefixed(out, index.paths[i]);
  }
  return out;
}

Result<TextIndexDefinition> DecodeTextIndex(Bytes bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Fixed<std::uint8_t>();
  if (reader.ok() && version != kTextIndexVersion) {
    return Status::Unsupported("catalogue row of a full-text index: version " + std::to_string(version) +
                               ", expected 1");
  }
  TextIndexDefinition index;
  index.id = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  index.collection_id = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  const auto tokenizer = reader.Fixed<std::uint8_t>();
  index.options.tokenizer = static_cast<TextTokenizer>(tokenizer);
  const auto keeps_diacritics = reader.Fixed<std::uint8_t>();
  index.options.keep_diacritics = keeps_diacritics != 0;
  const std::uint64_t prefix_count = reader.VarintAtMost(kPrefixLengthMax);
  for (std::uint64_t i = 0; i < prefix_count && reader.ok(); ++i) {
    index.options.prefix_lengths.push_back(static_cast<std::uint32_t>(reader.VarintAtMost(kPrefixLengthMax)));
  }
  const std::uint64_t field_count = reader.VarintAtMost(kTextFieldCountMax);
  for (std::uint64_t i = 0; i < field_count && reader.ok(); ++i) {
    index.options.fields.emplace_back(reader.Prefixed());
    index.paths.emplace_back(reader.Prefixed());
  }
  if (!reader.ok() || !reader.at_end() || tokenizer > static_cast<std::uint8_t>(TextTokenizer::kTrigram) ||
      keeps_diacritics > 1 || index.paths.empty()) {
    return Status::Corruption("catalogue row of a full-text index: " + std::to_string(bytes.size()) +
                              " bytes do not follow the format");
  }
  return index;
}

}  // namespace foreshore
