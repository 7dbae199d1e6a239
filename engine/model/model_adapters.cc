// ModelRegistry's LoRA adapters: a blob each, named in the model's row.
#include "engine/inference/bert_adapter.h"
#include "engine/inference/peft_adapter.h"
#include "engine/inference/safetensors.h"
#include "engine/model/bert_text_model.h"
#include "engine/model/model_manifest.h"
#include "engine/model/model_registry.h"
#include "engine/model/model_row.h"
#include "storage/base/coding.h"

namespace foreshore {

Result<ModelInfo> ModelRegistry::AddAdapter(const std::string& name, const std::string& adapter,
                                            const std::string& path) {
  FORESHORE_RETURN_IF_ERROR(ValidateModelName("adapter", adapter));
  FORESHORE_ASSIGN_OR_RETURN(const auto base, LoadBert(name));
  FORESHORE_ASSIGN_OR_RETURN(const PeftAdapter imported, ImportPeftAdapter(path));
  const std::string where = "adapter \"" + adapter + "\" of model \"" + name + "\"";
  if (!IsSameBase(imported.base, base->info().origin)) {
    return Status::InvalidArgument(where + ": was trained for \"" + imported.base + "\", the model comes from \"" +
                                   base->info().origin + "\"");
  }
  std::vector<TensorView> views;
  for (const Tensor& tensor : imported.tensors) views.push_back(tensor.view());
  const auto fits = BertAdapter::Create(base->packed().config(), views);
  if (!fits.ok()) return fits.status().WithContext(where);
  const BlobHold hold = blobs_.Hold();  // Until the row refers to what is written here.
  FORESHORE_ASSIGN_OR_RETURN(const BlobId blob, blobs_.Put(WriteSafetensors(views)));
  const std::lock_guard lock(row_mutex_);
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, RequireRow(name));
  FORESHORE_ASSIGN_OR_RETURN(ModelRow row, DecodeModelRow(body));
  row.adapters[adapter] = ToHex(AsBytes(blob));
  FORESHORE_RETURN_IF_ERROR(rows_.Put(name, EncodeModelRow(row)));
  return Get(name);
}

Status ModelRegistry::RemoveAdapter(const std::string& name, const std::string& adapter) {
  const std::lock_guard lock(row_mutex_);
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, RequireRow(name));
  FORESHORE_ASSIGN_OR_RETURN(ModelRow row, DecodeModelRow(body));
  if (row.adapters.erase(adapter) == 0) {
    return NoSuchAdapter(row, adapter);
  }
  return rows_.Put(name, EncodeModelRow(row));
}

Result<std::shared_ptr<const BertAdapter>> ModelRegistry::LoadAdapter(const std::string& name,
                                                                      const std::string& adapter,
                                                                      const BertConfig& config) {
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, RequireRow(name));
  FORESHORE_ASSIGN_OR_RETURN(const ModelRow row, DecodeModelRow(body));
  const auto found = row.adapters.find(adapter);
  if (found == row.adapters.end()) {
    return NoSuchAdapter(row, adapter);
  }
  FORESHORE_ASSIGN_OR_RETURN(const BlobId blob, ParseBlobId(found->second));
  const std::lock_guard lock(mutex_);
  LoadedAdapter& slot = adapters_[{name, adapter}];
  if (slot.adapter && slot.blob == blob && slot.adapter->config() == config) return slot.adapter;
  if (!blobs_.Contains(blob)) {
    return Status::Busy("adapter \"" + adapter + "\" of model \"" + name + "\": its blob is still on its way");
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto file, blobs_.Open(blob));
  const std::string where = "adapter \"" + adapter + "\" of model \"" + name + "\"";
  FORESHORE_ASSIGN_OR_RETURN(const SafetensorsFile tensors, ReadSafetensors(where, file->bytes()));
  auto made = BertAdapter::Create(config, tensors.tensors);
  if (!made.ok()) return made.status().WithContext(where);
  slot = {blob, std::make_shared<const BertAdapter>(std::move(made).value())};
  return slot.adapter;
}

}  // namespace foreshore
