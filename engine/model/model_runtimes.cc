// ModelRegistry's registrations: callbacks that run models in the application.
#include "engine/model/model_manifest.h"
#include "engine/model/model_registry.h"
#include "engine/model/model_row.h"
#include "engine/model/runtime.h"
#include "storage/base/coding.h"

namespace foreshore {

Result<ModelInfo> ModelRegistry::Register(const std::string& name, const RuntimeOptions& options,
                                          RuntimeCallback callback) {
  FORESHORE_RETURN_IF_ERROR(ValidateModelName("model", name));
  FORESHORE_RETURN_IF_ERROR(ValidateRuntimeOptions(name, options));
  const std::string where = "model \"" + name + "\"";
  if (!callback) return Status::InvalidArgument(where + ": its runtime has no callback");
  if (Runtime::IsInside(this)) return Status::Conflict(where + ": registering inside a runtime's callback");
  ModelManifest manifest;
  manifest.architecture = "runtime";
  manifest.quantization = "none";
  manifest.runtime = options;
  const std::lock_guard register_lock(register_mutex_);
  const BlobHold hold = blobs_.Hold();  // Until the row refers to what is written here.
  FORESHORE_ASSIGN_OR_RETURN(const BlobId blob, blobs_.Put(EncodeManifest(manifest)));
  const std::string version = ToHex(AsBytes(blob));
  FORESHORE_ASSIGN_OR_RETURN(const auto before, rows_.Get(name));
  FORESHORE_ASSIGN_OR_RETURN(const std::string registered, rows_.GetRegistered(name));
  bool activates = !before;
  if (before) {
    FORESHORE_ASSIGN_OR_RETURN(const ModelRow row, DecodeModelRow(*before));
    if (row.info.architecture != "runtime") {
      return Status::AlreadyExists(where + ": has weights here (" + row.info.architecture +
                                   "), expected another name, or that it is removed first");
    }
    activates = row.info.version != version && registered != version;
  }
  if (activates) {
    ModelInfo info;
    info.name = name;
    info.dimension = options.dimension;
    info.runtime_version = options.version;
    FORESHORE_RETURN_IF_ERROR(Activate(manifest, info));
  }
  if (registered != version) FORESHORE_RETURN_IF_ERROR(rows_.PutRegistered(name, version));
  auto runtime = std::make_shared<Runtime>(this, name, version, options, std::move(callback));
  {
    const std::lock_guard lock(mutex_);
    std::swap(runtimes_[name], runtime);
  }
  if (runtime) runtime->Retire();
  return Get(name);
}

Status ModelRegistry::Unregister(const std::string& name) {
  if (Runtime::IsInside(this)) {
    return Status::Conflict("model \"" + name + "\": unregistering inside a runtime's callback");
  }
  std::shared_ptr<Runtime> runtime;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = runtimes_.find(name); found != runtimes_.end()) {
      runtime = std::move(found->second);
      runtimes_.erase(found);
    }
  }
  if (!runtime) return Status::NotFound("model \"" + name + "\": no runtime is registered");
  runtime->Retire();
  return Status::Ok();
}

void ModelRegistry::Release() {
  std::map<std::string, std::shared_ptr<Runtime>> runtimes;
  {
    const std::lock_guard lock(mutex_);
    loaded_.clear();
    adapters_.clear();
    pinned_.clear();
    pinned_adapters_.clear();
    runtimes.swap(runtimes_);
  }
  for (const auto& [name, runtime] : runtimes) runtime->Retire();
}

Result<std::shared_ptr<Runtime>> ModelRegistry::FindRuntime(const ModelInfo& info) {
  const std::lock_guard lock(mutex_);
  const auto found = runtimes_.find(info.name);
  if (info.architecture != "runtime" || found == runtimes_.end()) {
    return Status::Unsupported("model \"" + info.name + "\": runs in the application, and its runtime, version \"" +
                               info.runtime_version + "\", is not registered here");
  }
  if (found->second->version() == info.version) return found->second;
  return Status::Conflict("model \"" + info.name + "\": asks for version \"" + info.runtime_version +
                          "\" of its runtime, registered here is \"" + found->second->options().version +
                          (found->second->options().version == info.runtime_version ? "\" with other shapes" : "\""));
}

}  // namespace foreshore
