#include "bindings/cli/database_names.h"

#include <simdjson.h>

#include <algorithm>
#include <map>

#include "bindings/cli/sql_tokens.h"

namespace foreshore::cli {
namespace {

// Paths for completion come from so many documents: enough to know the shape, quick on any collection.
constexpr std::uint64_t kSampleCountMax = 200;
constexpr std::size_t kPathCountMax = 1000;

const char* TypeName(const simdjson::dom::element& value) {
  switch (value.type()) {
    case simdjson::dom::element_type::ARRAY: return "array";
    case simdjson::dom::element_type::OBJECT: return "object";
    case simdjson::dom::element_type::INT64:
    case simdjson::dom::element_type::UINT64: return "integer";
    case simdjson::dom::element_type::DOUBLE: return "real";
    case simdjson::dom::element_type::STRING: return "text";
    case simdjson::dom::element_type::BOOL: return "boolean";
    default: return "null";
  }
}

class Summary {
 public:
  void AddDocument(simdjson::dom::element document) {
    ++document_number_;
    ++result.document_count;
    Add(document, {});
  }
  CollectionSummary result;

 private:
  void Add(simdjson::dom::element value, const std::string& path) {
    if (!path.empty()) Note(path, TypeName(value));
    if (value.is_object()) {
      for (const auto& member : simdjson::dom::object(value)) {
        Add(member.value, path + (path.empty() ? "" : ".") + std::string(member.key));
      }
    } else if (value.is_array()) {
      for (const auto& element : simdjson::dom::array(value)) Add(element, path + "[]");
    }
  }

  void Note(const std::string& path, const char* type) {
    auto found = places_.find(path);
    if (found == places_.end()) {
      if (result.fields.size() >= kPathCountMax) return;
      found = places_.emplace(path, result.fields.size()).first;
      result.fields.push_back({path, {}, 0});
      last_documents_.push_back(0);
    }
    FieldSummary& field = result.fields[found->second];
    if (std::find(field.types.begin(), field.types.end(), type) == field.types.end()) field.types.emplace_back(type);
    if (std::exchange(last_documents_[found->second], document_number_) != document_number_) ++field.document_count;
  }

  std::map<std::string, std::size_t> places_;
  std::vector<std::uint64_t> last_documents_;  // By field: the last one it was in.
  std::uint64_t document_number_ = 0;
};

Result<std::vector<std::string>> FirstColumn(Database& database, const std::string& sql) {
  FORESHORE_ASSIGN_OR_RETURN(const Table table, database.Query(sql));
  std::vector<std::string> names;
  for (const auto& row : table.rows) {
    if (const auto* text = std::get_if<std::string>(&row[0])) names.push_back(*text);
  }
  return names;
}

}  // namespace

const CollectionNames* DatabaseNames::Find(std::string_view collection) const {
  const auto found = std::find_if(collections.begin(), collections.end(), [&](const CollectionNames& names) {
    return EqualsIgnoringCase(names.name, collection);
  });
  return found == collections.end() ? nullptr : &*found;
}

Result<CollectionSummary> SummariseCollection(Database& database, const std::string& collection,
                                              std::uint64_t document_count_max) {
  Summary summary;
  simdjson::dom::parser parser;
  FORESHORE_RETURN_IF_ERROR(database.Scan(collection, [&](std::string_view, std::string_view body) {
    if (summary.result.document_count == document_count_max) {
      summary.result.is_complete = false;
      return false;
    }
    // What the parser does not take, such as integers beyond 64 bits, is passed over: this is a summary.
    simdjson::dom::element document;
    if (parser.parse(body.data(), body.size()).get(document) == simdjson::SUCCESS) summary.AddDocument(document);
    return true;
  }));
  return std::move(summary.result);
}

Result<DatabaseNames> ReadDatabaseNames(Database& database) {
  DatabaseNames names;
  FORESHORE_ASSIGN_OR_RETURN(const auto collections, database.ListCollections());
  for (const std::string& name : collections) {
    CollectionNames& collection = names.collections.emplace_back();
    collection.name = name;
    std::string quoted;
    for (const char character : name) quoted += character == '\'' ? "''" : std::string(1, character);
    FORESHORE_ASSIGN_OR_RETURN(collection.columns,
                               FirstColumn(database, "SELECT name FROM pragma_table_xinfo('" + quoted +
                                                         "') WHERE name NOT GLOB 'predict(*) ->> *'"));
    FORESHORE_ASSIGN_OR_RETURN(const CollectionSummary summary, SummariseCollection(database, name, kSampleCountMax));
    for (const FieldSummary& field : summary.fields) {
      const bool is_nested = field.path.find('.') != std::string::npos && field.path.find("[]") == std::string::npos;
      if (is_nested) collection.paths.push_back(field.path);
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(
      names.functions,
      FirstColumn(database, "SELECT DISTINCT name FROM pragma_function_list WHERE name GLOB '[a-z]*'"));
  FORESHORE_ASSIGN_OR_RETURN(const auto models, database.ListModels());
  for (const ModelInfo& model : models) names.models.push_back(model.name);
  return names;
}

}  // namespace foreshore::cli
