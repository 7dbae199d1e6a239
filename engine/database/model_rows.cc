#include "engine/database/model_rows.h"

#include <map>

#include "engine/database/core.h"
#include "foreshore/bytes.h"

namespace foreshore {

Result<std::optional<std::string>> CollectionModelRows::Get(const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginRead());
  const CollectionDefinition* models = view->catalog().Find(kModelsCollection);
  if (models == nullptr) return std::optional<std::string>();
  FORESHORE_ASSIGN_OR_RETURN(const auto record, view->Get(*models, name));
  return record ? std::optional<std::string>(record->body) : std::nullopt;
}

Result<std::vector<std::string>> CollectionModelRows::List() {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginRead());
  const CollectionDefinition* models = view->catalog().Find(kModelsCollection);
  if (models == nullptr) return std::vector<std::string>();
  std::map<std::string, std::string> by_name;
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view->Scan(*models));
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool more, cursor->Next());
    if (!more) break;
    by_name.emplace(cursor->id(), cursor->body());
  }
  std::vector<std::string> bodies;
  for (auto& [name, body] : by_name) bodies.push_back(std::move(body));
  return bodies;
}

Status CollectionModelRows::Put(const std::string& name, std::string_view body) {
  FORESHORE_RETURN_IF_ERROR(core_.EnsureCollection(std::string(kModelsCollection)));
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite());
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* models, view->catalog().Require(kModelsCollection));
  FORESHORE_RETURN_IF_ERROR(view->Put(*models, name, body));
  return view->Commit();
}

Status CollectionModelRows::Delete(const std::string& name) {
  const Status missing = Status::NotFound("model \"" + name + "\" does not exist");
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite());
  const CollectionDefinition* models = view->catalog().Find(kModelsCollection);
  if (models == nullptr) return missing;
  for (const CollectionDefinition& collection : view->catalog().collections) {
    for (const VectorIndexDefinition& index : collection.vector_indexes) {
      if (index.options.model != name) continue;
      return Status::Conflict("model \"" + name + "\": vector index \"" + index.name + "\" uses it, drop that first");
    }
    for (const PredictiveIndexDefinition& index : collection.predictive_indexes) {
      if (index.options.model != name) continue;
      return Status::Conflict("model \"" + name + "\": index \"" + index.name + "\" predicts by it, drop that first");
    }
  }
  const Status deleted = view->Delete(*models, name);
  if (deleted.code() == ErrorCode::kNotFound) return missing;
  FORESHORE_RETURN_IF_ERROR(deleted);
  return view->Commit();
}

Result<std::string> CollectionModelRows::GetRegistered(const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const auto version, core_.GetSetting("runtime." + name));
  return version.value_or(std::string());
}

Status CollectionModelRows::PutRegistered(const std::string& name, std::string_view version) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite());
  FORESHORE_RETURN_IF_ERROR(view->PutSetting("runtime." + name, Bytes(version)));
  return view->Commit();
}

}  // namespace foreshore
