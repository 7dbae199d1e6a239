// Database::ImportHnswlib(): documents first, in batches, then the index in one transaction, with the file's graph.
#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "engine/database/core.h"
#include "engine/document/json.h"
#include "index/hnswlib_file.h"
#include "storage/base/file.h"

namespace foreshore {
namespace {

constexpr std::size_t kBatchCountMax = 1000;
constexpr std::size_t kBatchBytesMax = 4 << 20;
constexpr std::size_t kNumberBytesMax = 32;

// By element; empty where it is deleted.
Result<std::vector<std::string>> IdsOf(const HnswlibFile& file, const HnswlibImportOptions& options) {
  std::vector<std::string> ids(file.element_count());
  std::unordered_set<std::string_view> seen;
  for (std::uint32_t element = 0; element < file.element_count(); ++element) {
    if (file.is_deleted(element)) continue;
    const std::uint64_t label = file.label(element);
    ids[element] = std::to_string(label);
    if (options.id_of) {
      FORESHORE_ASSIGN_OR_RETURN(ids[element], options.id_of(label));
    }
    const std::string context = file.name() + ": label " + std::to_string(label);
    FORESHORE_RETURN_IF_ERROR(ValidateDocumentId(ids[element]).WithContext(context));
    if (seen.insert(ids[element]).second) continue;
    return Status::InvalidArgument(context + ": another label has the id \"" + ids[element] + "\", expected one each");
  }
  return ids;
}

// {"field":[…]}, from which exactly these floats are read again.
void WriteVectorObject(const std::string& field, std::span<const float> values, std::string& json) {
  json = "{";
  AppendJsonString(json, field);
  json += ":[";
  char number[kNumberBytesMax];
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) json += ',';
    json.append(number, std::to_chars(number, number + sizeof(number), values[i]).ptr);
  }
  json += "]}";
}

// What a new index of the field would be, or what the one that is there must be.
Status CheckIndex(const VectorIndexDefinition& index, const HnswlibFile& file, const HnswlibImportOptions& options) {
  const std::string name = "vector index \"" + index.name + "\"";
  if (index.has_model()) {
    return Status::InvalidArgument(name + ": is filled by model \"" + index.options.model +
                                   "\", expected a field that documents carry");
  }
  if (index.options.dimension != file.dimension()) {
    return Status::InvalidArgument(name + ": has " + std::to_string(index.options.dimension) + " dimensions, " +
                                   file.name() + " has " + std::to_string(file.dimension()));
  }
  if (options.metric && *options.metric != index.options.metric) {
    return Status::InvalidArgument(name + ": metric is " + std::string(VectorMetricName(index.options.metric)) +
                                   ", asked for " + std::string(VectorMetricName(*options.metric)));
  }
  return Status::Ok();
}

Result<VectorFieldOptions> NewFieldOptions(const std::string& name, const HnswlibFile& file,
                                           const HnswlibImportOptions& options) {
  if (!options.metric) {
    return Status::InvalidArgument(name + ": no metric given, expected that of " + file.name() +
                                   ", which does not say it");
  }
  VectorFieldOptions field;
  field.field = options.field;
  field.dimension = file.dimension();
  field.metric = *options.metric;
  field.precision = options.precision;
  field.graph = options.graph;
  const std::uint32_t links = file.links_per_node();
  if (options.keep_links) {
    const bool fits = links >= kVectorLinksMin && links <= kVectorLinksMax;
    if (!fits || (options.links_per_node != 0 && options.links_per_node != links)) {
      const std::string expected = fits ? std::to_string(options.links_per_node) : std::string("4 to 64");
      return Status::InvalidArgument(name + ": " + file.name() + " has " + std::to_string(links) +
                                     " links for each vector, expected " + expected +
                                     " to keep them; without keeping them the vectors are inserted anew");
    }
    field.links_per_node = links;
  } else {
    field.links_per_node =
        options.links_per_node != 0 ? options.links_per_node : std::clamp(links, kVectorLinksMin, kVectorLinksMax);
  }
  return field;
}

}  // namespace

Status DatabaseCore::PutHnswlibVectors(const std::string& collection_name, const HnswlibFile& file,
                                       const std::vector<std::string>& ids, const HnswlibImportOptions& options,
                                       HnswlibImportResult& result) {
  std::vector<float> values(file.dimension());
  std::string json;
  std::uint32_t element = 0;
  while (element < file.element_count()) {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(1)));
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, view->catalog().Require(collection_name));
    std::size_t count = 0;
    for (std::size_t bytes = 0; element < file.element_count() && count < kBatchCountMax && bytes < kBatchBytesMax;
         ++element) {
      if (ids[element].empty()) continue;
      file.CopyVector(element, values);
      WriteVectorObject(options.field, values, json);
      FORESHORE_ASSIGN_OR_RETURN(const auto present, view->Get(*collection, ids[element]));
      FORESHORE_RETURN_IF_ERROR(present ? view->Patch(*collection, ids[element], json)
                                        : view->Put(*collection, ids[element], json));
      ++count;
      bytes += json.size();
    }
    FORESHORE_RETURN_IF_ERROR(view->Commit());
    result.document_count += count;
    if (options.progress) options.progress(element, file.element_count());
  }
  return Status::Ok();
}

Result<HnswlibImportResult> DatabaseCore::ImportHnswlib(const std::string& collection_name,
                                                        const HnswlibImportOptions& options) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  if (!FileExists(options.file)) return Status::NotFound("file \"" + options.file + "\": not found");
  FORESHORE_ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(options.file));
  FORESHORE_ASSIGN_OR_RETURN(const HnswlibFile file,
                             HnswlibFile::Read("file \"" + options.file + "\"", mapped->bytes()));
  const std::string name = "vector index \"" + collection_name + "." + options.field + "\"";
  std::optional<VectorFieldOptions> new_field;
  HnswlibImportResult result;
  {
    const auto present = catalog();
    CollectionDefinition to_be_made;
    to_be_made.name = collection_name;
    const CollectionDefinition* collection = present->Find(collection_name);
    if (collection == nullptr && options.create_collection) collection = &to_be_made;
    if (collection == nullptr) return present->Require(collection_name).status();
    if (const VectorIndexDefinition* index = collection->FindVectorIndex(options.field)) {
      FORESHORE_RETURN_IF_ERROR(CheckIndex(*index, file, options));
      result.links_per_node = index->options.links_per_node;
    } else {
      FORESHORE_ASSIGN_OR_RETURN(new_field, NewFieldOptions(name, file, options));
      FORESHORE_RETURN_IF_ERROR(RefuseBadField(*collection, *new_field));
      result.links_per_node = new_field->links_per_node;
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<std::string> ids, IdsOf(file, options));
  if (options.create_collection && catalog()->Find(collection_name) == nullptr)
    FORESHORE_RETURN_IF_ERROR(CreateCollection(collection_name));
  const Status written = PutHnswlibVectors(collection_name, file, ids, options, result);
  const std::string context = std::to_string(result.document_count) + " documents were imported and kept";
  FORESHORE_RETURN_IF_ERROR(written.WithContext(context));
  result.dimension = file.dimension();
  for (std::uint32_t element = 0; element < file.element_count(); ++element) {
    result.deleted_count += file.is_deleted(element) ? 1 : 0;
  }
  if (!new_field) return result;

  GraphMaker take_over;
  if (options.keep_links) {
    take_over = [&](VectorIndexConfig config, const std::unordered_map<std::string, std::int64_t>& docids,
                    std::int64_t sequence) {
      std::vector<std::optional<std::int64_t>> by_element(file.element_count());
      for (std::uint32_t element = 0; element < file.element_count(); ++element) {
        const auto found = docids.find(ids[element]);
        if (found != docids.end()) by_element[element] = found->second;
      }
      return RestoreHnswlibIndex(std::move(config), file, by_element, static_cast<std::uint64_t>(sequence));
    };
  }
  FORESHORE_RETURN_IF_ERROR(CreateVectorIndex(collection_name, *new_field, take_over).WithContext(context));
  result.has_kept_links = options.keep_links;
  return result;
}

}  // namespace foreshore
