// ModelRegistry's pinned versions: weights that stay in use after the model's row has gone on to others.
#include "engine/model/model_pin.h"

#include <algorithm>

#include "engine/inference/bert_adapter.h"
#include "engine/inference/safetensors.h"
#include "engine/model/bert_text_model.h"
#include "engine/model/model_manifest.h"
#include "engine/model/model_registry.h"
#include "engine/model/model_row.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

std::uint64_t FirstBytesOf(std::string_view hex) {
  const auto bytes = FromHex(hex.substr(0, 16));
  return bytes && bytes->size() == 8 ? LoadFixed<std::uint64_t>(bytes->data()) : 0;
}

std::string NameOf(const ModelPin& pin) {
  return "model \"" + pin.model + "\", version " + pin.version.substr(0, 12);
}

}  // namespace

std::uint64_t ModelTagOf(const ModelPin& pin) {
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15U;  // So that an adapter of the same bytes does not cancel out.
  return FirstBytesOf(pin.version) ^ (FirstBytesOf(pin.adapter_version) * kOdd);
}

Result<ModelPin> ModelRegistry::PinNow(const std::string& name, const std::string& adapter) {
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, RequireRow(name));
  return PinOfRow(body, adapter);
}

Result<ModelPin> ModelRegistry::PinOfRow(std::string_view row_body, const std::string& adapter) {
  FORESHORE_ASSIGN_OR_RETURN(const ModelRow row, DecodeModelRow(row_body));
  ModelPin pin{row.info.name, adapter, row.info.version, {}};
  if (adapter.empty()) return pin;
  const auto found = row.adapters.find(adapter);
  if (found == row.adapters.end()) {
    return NoSuchAdapter(row, adapter);
  }
  pin.adapter_version = found->second;
  return pin;
}

Result<std::shared_ptr<TextModel>> ModelRegistry::LoadPinned(const ModelPin& pin) {
  if (!pin.is_known()) {
    return Status::Busy("model \"" + pin.model +
                        "\": of which version the stored vectors are is not known; they are being made anew");
  }
  // The row's own version is loaded the usual way, and so shared with who calls it by name. Meanwhile the row may go on
  // or away: then neither what it names by now nor what is wrong with that is of this pin.
  const auto is_of_row = [&] {
    const auto now = PinNow(pin.model, pin.adapter);
    return now.ok() && *now == pin;
  };
  if (is_of_row()) {
    if (pin.adapter.empty()) {
      auto model = Load(pin.model);
      if (model.ok() ? (*model)->info().version == pin.version : is_of_row()) return model;
    } else {
      auto base = LoadBert(pin.model);
      if (!base.ok() && is_of_row()) return base.status();
      if (base.ok() && (*base)->info().version == pin.version) return WithPinnedAdapter(std::move(base).value(), pin);
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(auto base, LoadPinnedBase(pin));
  if (pin.adapter.empty()) return std::shared_ptr<TextModel>(std::move(base));
  return WithPinnedAdapter(std::move(base), pin);
}

Result<std::shared_ptr<BertTextModel>> ModelRegistry::LoadPinnedBase(const ModelPin& pin) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<BertTextModel>& slot = pinned_[pin.version];
  if (slot) return slot;
  FORESHORE_ASSIGN_OR_RETURN(const auto blobs, BlobsOfVersion(pin.version));
  for (const BlobId& blob : blobs) {
    if (!blobs_.Contains(blob)) return Status::Busy(NameOf(pin) + ": blobs of it are not here");
  }
  ModelInfo info;
  info.name = pin.model;
  info.version = pin.version;
  FORESHORE_ASSIGN_OR_RETURN(const ModelManifest manifest, ManifestOf(info));
  if (manifest.is_runtime()) {
    return Status::Busy(NameOf(pin) +
                        ": the application has registered another version; its vectors are being made anew");
  }
  if (manifest.is_graph()) return Status::Unsupported(NameOf(pin) + ": is a general graph, expected a text model");
  info.architecture = manifest.architecture;
  info.quantization = manifest.quantization;
  info.dimension = manifest.config.hidden_size;
  info.token_count_max = manifest.config.token_count_max;
  info.tensor_count = manifest.tensors.size();
  FORESHORE_ASSIGN_OR_RETURN(slot, OpenVersion(info));
  return slot;
}

Result<std::shared_ptr<TextModel>> ModelRegistry::WithPinnedAdapter(std::shared_ptr<BertTextModel> base,
                                                                    const ModelPin& pin) {
  const std::string where = "adapter \"" + pin.adapter + "\" of " + NameOf(pin);
  FORESHORE_ASSIGN_OR_RETURN(const BlobId blob, ParseBlobId(pin.adapter_version));
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const BertAdapter>& slot = pinned_adapters_[{pin.version, pin.adapter_version}];
  if (!slot) {
    if (!blobs_.Contains(blob)) return Status::Busy(where + ": its blob is still on its way");
    FORESHORE_ASSIGN_OR_RETURN(const auto file, blobs_.Open(blob));
    FORESHORE_ASSIGN_OR_RETURN(const SafetensorsFile tensors, ReadSafetensors(where, file->bytes()));
    auto made = BertAdapter::Create(base->packed().config(), tensors.tensors);
    if (!made.ok()) return made.status().WithContext(where);
    slot = std::make_shared<const BertAdapter>(std::move(made).value());
  }
  return std::shared_ptr<TextModel>(std::make_shared<AdaptedTextModel>(std::move(base), slot));
}

Result<std::vector<BlobId>> ModelRegistry::BlobsOfPin(const ModelPin& pin) {
  std::vector<BlobId> blobs;
  if (!pin.is_known()) return blobs;
  FORESHORE_ASSIGN_OR_RETURN(blobs, BlobsOfVersion(pin.version));
  if (!pin.adapter_version.empty()) {
    FORESHORE_ASSIGN_OR_RETURN(blobs.emplace_back(), ParseBlobId(pin.adapter_version));
  }
  return blobs;
}

void ModelRegistry::KeepPinned(const std::vector<ModelPin>& pins) {
  const auto is_kept = [&](const auto& belongs) { return std::any_of(pins.begin(), pins.end(), belongs); };
  const std::lock_guard lock(mutex_);
  std::erase_if(pinned_, [&](const auto& entry) {
    return !is_kept([&](const ModelPin& pin) { return pin.version == entry.first; });
  });
  std::erase_if(pinned_adapters_, [&](const auto& entry) {
    return !is_kept([&](const ModelPin& pin) {
      return pin.version == entry.first.first && pin.adapter_version == entry.first.second;
    });
  });
}

}  // namespace foreshore
