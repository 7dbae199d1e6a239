// Indexes that hnswlib saved.
#include <unordered_map>

#include "bindings/c/call.h"
#include "bindings/json/reports.h"

using foreshore::Status;
using foreshore::c::Call;
using foreshore::c::CopyOut;
using foreshore::c::ReadOptions;
using foreshore::c::Required;

namespace {

using IdsByLabel = std::unordered_map<std::uint64_t, std::string>;

foreshore::Result<IdsByLabel> ReadIds(const foreshore_hnswlib_import_options& given) {
  FORESHORE_RETURN_IF_ERROR(Required(given.labels, "labels", given.ids, "ids"));
  IdsByLabel ids;
  for (std::size_t i = 0; i < given.id_count; ++i) {
    FORESHORE_RETURN_IF_ERROR(Required(given.ids[i], "ids"));
    if (!ids.emplace(given.labels[i], given.ids[i]).second) {
      return Status::InvalidArgument("labels: " + std::to_string(given.labels[i]) +
                                     " is there twice, expected it once");
    }
  }
  return ids;
}

foreshore::Result<foreshore::HnswlibImportOptions> ToImport(const foreshore_hnswlib_import_options& given) {
  foreshore::HnswlibImportOptions import;
  if (given.metric < FORESHORE_METRIC_COSINE || given.metric > FORESHORE_METRIC_L2) {
    return Status::InvalidArgument("metric is " + std::to_string(given.metric) + ", expected 0 to 2");
  }
  if (given.has_metric != 0) import.metric = static_cast<foreshore::VectorMetric>(given.metric);
  if (given.bits != 0 && given.bits != 8 && given.bits != 16) {
    return Status::InvalidArgument("bits is " + std::to_string(given.bits) + ", expected 8 or 16");
  }
  if (given.bits == 16) import.precision = foreshore::VectorPrecision::kInt16;
  if (given.graph < FORESHORE_GRAPH_FLAT || given.graph > FORESHORE_GRAPH_HNSWLIB) {
    return Status::InvalidArgument("graph is " + std::to_string(given.graph) + ", expected 0 or 1");
  }
  import.graph = static_cast<foreshore::VectorGraphKind>(given.graph);
  import.keep_links = given.rebuild == 0;
  import.links_per_node = given.links_per_node;
  return import;
}

}  // namespace

int32_t foreshore_import_hnswlib(foreshore_database* database, const char* collection, const char* field,
                                 const char* file, const foreshore_hnswlib_import_options* options, char** json,
                                 foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", field, "field", file, "file",
                                       options, "options", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const auto given, ReadOptions(options, "foreshore_hnswlib_import_options"));
    FORESHORE_ASSIGN_OR_RETURN(auto import, ToImport(given));
    import.file = file;
    import.field = field;
    IdsByLabel ids;
    if (given.labels != nullptr || given.ids != nullptr || given.id_count > 0) {
      FORESHORE_ASSIGN_OR_RETURN(ids, ReadIds(given));
      import.id_of = [&ids](std::uint64_t label)->foreshore::Result<std::string> { const auto found = ids.find(label);
      if (found != ids.end()) return found->second;
      return Status::NotFound("labels: no id for " + std::to_string(label) + ", expected one for each label");
    };
    }
    FORESHORE_ASSIGN_OR_RETURN(const auto result, database->database->ImportHnswlib(collection, import));
    return CopyOut(foreshore::HnswlibImportJson(result), json);
});
}
