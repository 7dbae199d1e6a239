#include "engine/model/model_registry.h"

#include <algorithm>
#include <set>

#include "engine/inference/bert_packed.h"
#include "engine/inference/bert_quantize.h"
#include "engine/inference/import_model.h"
#include "engine/inference/json_reader.h"
#include "engine/model/bert_text_model.h"
#include "engine/model/graph_model.h"
#include "engine/model/model_manifest.h"
#include "engine/model/model_row.h"
#include "engine/model/predictor.h"
#include "engine/model/runtime_model.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"

namespace foreshore {
struct ModelRegistry::Loaded {
  std::string version;
  // One of them, shared with running calls.
  std::shared_ptr<BertTextModel> bert;
  std::shared_ptr<TextModel> texts;  // A runtime.
  std::shared_ptr<NumberModel> numbers;
};

namespace {

// What the files say counts; the caller's words stand in where they say nothing.
void SetProvenance(ModelInfo& info, ModelProvenance provenance, const ModelImportOptions& options) {
  provenance.Complete({options.licence, options.origin});
  info.licence = std::move(provenance.licence);
  info.origin = std::move(provenance.origin);
}

}  // namespace

ModelRegistry::ModelRegistry(ModelRows& rows, BlobStore& blobs, std::string derived_path, unsigned thread_count)
    : rows_(rows),
      blobs_(blobs),
      derived_path_(std::move(derived_path)),
      pool_(thread_count > 1 ? std::make_unique<ThreadPool>(thread_count - 1) : nullptr) {}

ModelRegistry::~ModelRegistry() = default;

Result<ModelInfo> ModelRegistry::Add(const std::string& name, const std::string& path,
                                     const ModelImportOptions& options) {
  FORESHORE_RETURN_IF_ERROR(ValidateModelName("model", name));
  if (options.quantization != Quantization::kInt8 && options.quantization != Quantization::kNone) {
    return Status::Unsupported(
        "model \"" + name +
        "\": quantization is calibrated on documents, expected none or int8 at import and the other "
        "by quantizing the model that is then there");
  }
  ImportOptions import_options;
  import_options.tokenizer_path = options.vocabulary_path;
  bool is_other_graph = false;
  Result<ImportedModel> import_result = ImportModel(path, import_options, &is_other_graph);
  if (is_other_graph && path.ends_with(".onnx")) return AddGraph(name, path, options);
  if (!import_result.ok()) return import_result.status();
  ImportedModel imported = std::move(import_result).value();
  WeightFormat format = imported.weight_format;
  if (format == WeightFormat::Float() && options.quantization == Quantization::kInt8) {
    FORESHORE_ASSIGN_OR_RETURN(imported.model, QuantizeBertInt8(imported.model));
    format = WeightFormat::Int8();
  }
  const BlobHold hold = blobs_.Hold();  // Until the row refers to what is written here.
  ModelInfo info;
  info.name = name;
  SetProvenance(info, std::move(imported.provenance), options);
  FORESHORE_ASSIGN_OR_RETURN(const BlobId tokenizer, blobs_.Put(imported.tokenizer.Serialise()));
  FORESHORE_RETURN_IF_ERROR(ActivateBert(imported.model, format, tokenizer, info));
  return info;
}

Status ModelRegistry::ActivateBert(const BertModel& model, const WeightFormat& format, const BlobId& tokenizer,
                                   ModelInfo& info) {
  ModelManifest manifest;
  SetFormat(manifest, format);
  manifest.config = model.config;
  manifest.tokenizer = tokenizer;
  info.tensor_bytes = 0;
  for (const Tensor& tensor : model.tensors) {
    FORESHORE_ASSIGN_OR_RETURN(const BlobId blob, blobs_.Put(tensor.bytes));
    manifest.tensors.push_back({tensor.name, tensor.type, tensor.shape, blob});
    info.tensor_bytes += tensor.bytes.size();
  }
  info.dimension = manifest.config.hidden_size;
  info.token_count_max = manifest.config.token_count_max;
  info.tensor_count = manifest.tensors.size();
  return Activate(manifest, info);
}

Result<ModelInfo> ModelRegistry::AddGraph(const std::string& name, const std::string& path,
                                          const ModelImportOptions& options) {
  FORESHORE_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  FORESHORE_ASSIGN_OR_RETURN(OnnxModel onnx, ReadOnnx(path, file->bytes()));
  ModelInfo info;
  info.name = name;
  info.tensor_count = onnx.initializers.size();
  for (const OnnxTensor& tensor : onnx.initializers) info.tensor_bytes += tensor.bytes().size();
  ModelProvenance provenance = ProvenanceOf(onnx.metadata);
  provenance.Complete({LicenceBeside(DirectoryOf(path)), ""});
  SetProvenance(info, std::move(provenance), options);
  FORESHORE_RETURN_IF_ERROR(graph::Graph::Build(path, std::move(onnx)).status());
  const BlobHold hold = blobs_.Hold();  // Until the row refers to what is written here.
  ModelManifest manifest;
  manifest.architecture = "graph";
  manifest.quantization = "none";
  FORESHORE_ASSIGN_OR_RETURN(manifest.graph, blobs_.Put(file->bytes()));
  FORESHORE_RETURN_IF_ERROR(Activate(manifest, info));
  return info;
}

Status ModelRegistry::Activate(const ModelManifest& manifest, ModelInfo& info) {
  FORESHORE_ASSIGN_OR_RETURN(const BlobId version, blobs_.Put(EncodeManifest(manifest)));
  info.version = ToHex(AsBytes(version));
  info.architecture = manifest.architecture;
  info.quantization = manifest.quantization;
  const std::lock_guard lock(row_mutex_);
  ModelRow row;
  FORESHORE_ASSIGN_OR_RETURN(const auto before, rows_.Get(info.name));
  if (before) {
    FORESHORE_ASSIGN_OR_RETURN(row, DecodeModelRow(*before));
    info.adapters = row.info.adapters;
  }
  row.info = info;
  costs_.Forget(info.name);
  return rows_.Put(info.name, EncodeModelRow(row));
}

Result<std::vector<ModelInfo>> ModelRegistry::List() {
  FORESHORE_ASSIGN_OR_RETURN(const auto bodies, rows_.List());
  std::vector<ModelInfo> infos;
  for (const std::string& body : bodies) {
    FORESHORE_ASSIGN_OR_RETURN(ModelRow row, DecodeModelRow(body));
    ModelInfo& info = row.info;
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t missing, MissingBlobCount(body));
    info.is_complete = missing == 0;
    info.is_registered = FindRuntime(info).ok();
    infos.push_back(std::move(info));
  }
  return infos;
}

Result<std::string> ModelRegistry::RequireRow(const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(auto body, rows_.Get(name));
  if (!body) return Status::NotFound("model \"" + name + "\" does not exist");
  return std::move(*body);
}

Result<ModelInfo> ModelRegistry::Get(const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, RequireRow(name));
  FORESHORE_ASSIGN_OR_RETURN(ModelRow row, DecodeModelRow(body));
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t missing, MissingBlobCount(body));
  row.info.is_complete = missing == 0;
  row.info.is_registered = FindRuntime(row.info).ok();
  return std::move(row.info);
}

Status ModelRegistry::Remove(const std::string& name) {
  FORESHORE_RETURN_IF_ERROR(rows_.Delete(name));
  if (const Status status = Unregister(name); !status.ok() && status.code() != ErrorCode::kNotFound) return status;
  const std::lock_guard lock(mutex_);
  loaded_.erase(name);
  std::erase_if(adapters_, [&](const auto& entry) { return entry.first.first == name; });
  return Status::Ok();
}

Result<std::size_t> ModelRegistry::MissingBlobCount(std::string_view row_body) {
  FORESHORE_ASSIGN_OR_RETURN(const auto blobs, BlobsOf(row_body));
  return static_cast<std::size_t>(
      std::count_if(blobs.begin(), blobs.end(), [&](const BlobId& blob) { return !blobs_.Contains(blob); }));
}

Result<std::vector<BlobId>> ModelRegistry::BlobsOf(std::string_view row_body) {
  FORESHORE_ASSIGN_OR_RETURN(const ModelRow row, DecodeModelRow(row_body));
  std::vector<BlobId> blobs;
  for (const auto& [name, adapter] : row.adapters) {
    FORESHORE_ASSIGN_OR_RETURN(const BlobId blob, ParseBlobId(adapter));
    blobs.push_back(blob);
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto of_version, BlobsOfVersion(row.info.version));
  blobs.insert(blobs.end(), of_version.begin(), of_version.end());
  return blobs;
}

Result<std::vector<BlobId>> ModelRegistry::BlobsOfVersion(std::string_view version_hex) {
  FORESHORE_ASSIGN_OR_RETURN(const BlobId version, ParseBlobId(version_hex));
  std::vector<BlobId> blobs = {version};
  if (!blobs_.Contains(version)) return blobs;
  FORESHORE_ASSIGN_OR_RETURN(const auto file, blobs_.Open(version));
  FORESHORE_ASSIGN_OR_RETURN(const ModelManifest manifest, DecodeManifest(file->bytes()));
  if (manifest.is_runtime()) return blobs;
  blobs.push_back(manifest.is_graph() ? manifest.graph : manifest.tokenizer);
  for (const ModelManifest::TensorEntry& entry : manifest.tensors) blobs.push_back(entry.blob);
  return blobs;
}

Result<std::shared_ptr<TextModel>> ModelRegistry::Load(const std::string& name, const std::string& adapter) {
  FORESHORE_ASSIGN_OR_RETURN(const auto loaded, LoadVersion(name));
  if (loaded->texts && adapter.empty()) return loaded->texts;
  FORESHORE_ASSIGN_OR_RETURN(auto model, BertOf(name, *loaded));
  if (adapter.empty()) return std::shared_ptr<TextModel>(std::move(model));
  FORESHORE_ASSIGN_OR_RETURN(auto low_rank, LoadAdapter(name, adapter, model->packed().config()));
  return std::shared_ptr<TextModel>(std::make_shared<AdaptedTextModel>(std::move(model), std::move(low_rank)));
}

Result<std::shared_ptr<BertTextModel>> ModelRegistry::LoadBert(const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const auto loaded, LoadVersion(name));
  return BertOf(name, *loaded);
}

Result<std::shared_ptr<BertTextModel>> ModelRegistry::BertOf(const std::string& name, const Loaded& loaded) {
  if (loaded.bert) return loaded.bert;
  if (loaded.texts) {
    return Status::Unsupported("model \"" + name + "\": runs in the application, expected one with weights here");
  }
  return Status::Unsupported("model \"" + name + "\": is a general graph, expected one that embeds texts");
}

Result<std::shared_ptr<NumberModel>> ModelRegistry::LoadNumbers(const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(auto numbers, LoadNumbersOrNull(name));
  if (numbers) return numbers;
  return Status::Unsupported("model \"" + name + "\": embeds texts, expected a general graph");
}

Result<std::shared_ptr<NumberModel>> ModelRegistry::LoadNumbersOrNull(const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const auto loaded, LoadVersion(name));
  return loaded->numbers;
}

Result<std::shared_ptr<ModelRegistry::Loaded>> ModelRegistry::LoadVersion(const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, RequireRow(name));
  FORESHORE_ASSIGN_OR_RETURN(const ModelRow row, DecodeModelRow(body));
  const ModelInfo& info = row.info;
  if (info.architecture == "runtime") return LoadRuntime(info);
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Loaded>& slot = loaded_[name];
  if (slot && slot->version == info.version) return slot;
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t missing, MissingBlobCount(body));
  if (missing > 0) {
    return Status::Busy("model \"" + name + "\": " + std::to_string(missing) + " blobs are still on their way");
  }
  Loaded loaded;
  loaded.version = info.version;
  if (info.architecture == "graph") {
    FORESHORE_ASSIGN_OR_RETURN(loaded.numbers, OpenGraph(info));
  } else {
    FORESHORE_ASSIGN_OR_RETURN(loaded.bert, OpenVersion(info));
  }
  slot = std::make_shared<Loaded>(std::move(loaded));
  return slot;
}

// Not kept: whether it is registered is asked each time.
Result<std::shared_ptr<ModelRegistry::Loaded>> ModelRegistry::LoadRuntime(const ModelInfo& info) {
  FORESHORE_ASSIGN_OR_RETURN(auto runtime, FindRuntime(info));
  auto loaded = std::make_shared<Loaded>();
  loaded->version = info.version;
  if (runtime->input_width() == 0) {
    loaded->texts = std::make_shared<RuntimeTextModel>(info, std::move(runtime));
  } else {
    loaded->numbers = std::make_shared<RuntimeNumberModel>(info.name, std::move(runtime));
  }
  return loaded;
}

Result<ModelManifest> ModelRegistry::ManifestOf(const ModelInfo& info) {
  FORESHORE_ASSIGN_OR_RETURN(const BlobId version, ParseBlobId(info.version));
  FORESHORE_ASSIGN_OR_RETURN(const auto file, blobs_.Open(version));
  return DecodeManifest(file->bytes());
}

Result<std::shared_ptr<NumberModel>> ModelRegistry::OpenGraph(const ModelInfo& info) {
  FORESHORE_ASSIGN_OR_RETURN(const ModelManifest manifest, ManifestOf(info));
  if (!manifest.is_graph()) {
    return Status::Corruption("model \"" + info.name + "\": its row says graph, its manifest " + manifest.architecture);
  }
  FORESHORE_ASSIGN_OR_RETURN(auto file, blobs_.Open(manifest.graph));
  const auto packed_path = [&](std::uint32_t format) {
    return derived_path_ + "/packed-" + info.version + "-graph" + std::to_string(format) + ".weights";
  };
  // What an older build has packed is of no use to this one, which packs it anew; whoever has it mapped keeps it.
  for (std::uint32_t format = 1; format < graph::kPackedGraphVersion; ++format) {
    if (FileExists(packed_path(format))) RemoveFile(packed_path(format)).IgnoreError();
  }
  const GraphModel::Packing packing{packed_path(graph::kPackedGraphVersion), manifest.graph};
  FORESHORE_ASSIGN_OR_RETURN(auto graph, GraphModel::Open("model \"" + info.name + "\"", std::move(file), packing));
  return std::shared_ptr<NumberModel>(std::move(graph));
}

Result<std::shared_ptr<BertTextModel>> ModelRegistry::OpenVersion(const ModelInfo& info) {
  FORESHORE_ASSIGN_OR_RETURN(const ModelManifest manifest, ManifestOf(info));
  FORESHORE_ASSIGN_OR_RETURN(const auto tokenizer_file, blobs_.Open(manifest.tokenizer));
  FORESHORE_ASSIGN_OR_RETURN(WordPieceTokenizer tokenizer, WordPieceTokenizer::Parse(tokenizer_file->bytes()));
  // Packed weights are derived: made once per version and layout, and made anew where they do not open.
  const std::string packed_path =
      derived_path_ + "/packed-" + info.version + "-" + std::to_string(kPackedBertVersion) + ".weights";
  if (FileExists(packed_path)) {
    auto opened = BertTextModel::Open(info, tokenizer, packed_path, pool_.get());
    if (opened.ok()) return opened;
    if (opened.status().code() != ErrorCode::kCorruption && opened.status().code() != ErrorCode::kUnsupported) {
      return opened.status();
    }
  }
  FORESHORE_RETURN_IF_ERROR(PackTo(manifest, packed_path));
  return BertTextModel::Open(info, std::move(tokenizer), packed_path, pool_.get());
}

Result<ModelRegistry::MappedTensors> ModelRegistry::MapTensors(const ModelManifest& manifest) {
  MappedTensors mapped;
  for (const ModelManifest::TensorEntry& entry : manifest.tensors) {
    FORESHORE_ASSIGN_OR_RETURN(auto file, blobs_.Open(entry.blob));
    FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t byte_count, TensorByteCount(entry.type, entry.shape));
    if (file->bytes().size() != byte_count) {
      return Status::Corruption("model tensor \"" + entry.name + "\": blob has " +
                                std::to_string(file->bytes().size()) + " bytes, its shape asks for " +
                                std::to_string(byte_count));
    }
    mapped.tensors.push_back({entry.name, entry.type, entry.shape, file->bytes()});
    mapped.files.push_back(std::move(file));
  }
  return mapped;
}

Status ModelRegistry::PackTo(const ModelManifest& manifest, const std::string& packed_path) {
  FORESHORE_ASSIGN_OR_RETURN(const MappedTensors mapped, MapTensors(manifest));
  FORESHORE_ASSIGN_OR_RETURN(const ByteString packed, PackBert(manifest.config, manifest.format, mapped.tensors));
  return WriteFileAtomic(packed_path, packed);
}

Result<std::string> ModelRegistry::Predict(const std::string& name, std::string_view input_json,
                                           const std::string& adapter, Cancellation* cancellation) {
  FORESHORE_ASSIGN_OR_RETURN(const auto loaded, LoadVersion(name));
  if (loaded->numbers && !adapter.empty()) {
    return Status::Unsupported("model \"" + name + "\": is a general graph, expected a text model to use adapter \"" +
                               adapter + "\" with");
  }
  if (loaded->numbers) return loaded->numbers->Predict(input_json, cancellation);
  FORESHORE_ASSIGN_OR_RETURN(const auto model, Load(name, adapter));
  return PredictText("model \"" + name + "\"", *model, input_json);
}

Result<std::shared_ptr<const Predictor>> ModelRegistry::LoadPredictor(const std::string& name,
                                                                      const std::string& adapter) {
  constexpr int kAttempts = 8;  // The row may go on between two looks at it.
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    FORESHORE_ASSIGN_OR_RETURN(const auto loaded, LoadVersion(name));
    if (loaded->numbers && !adapter.empty()) {
      return Status::Unsupported("model \"" + name + "\": is a general graph, expected a text model to use adapter \"" +
                                 adapter + "\" with");
    }
    FORESHORE_ASSIGN_OR_RETURN(ModelPin pin, PinNow(name, adapter));
    if (pin.version != loaded->version) continue;
    std::shared_ptr<TextModel> texts;
    if (!loaded->numbers) {
      FORESHORE_ASSIGN_OR_RETURN(texts, LoadPinned(pin));
    }
    const bool is_runtime = loaded->numbers ? loaded->numbers->is_runtime() : loaded->texts != nullptr;
    return std::make_shared<const Predictor>(std::move(pin), loaded->numbers, std::move(texts), is_runtime, costs_);
  }
  return Status::Busy("model \"" + name + "\": is being replaced all the time");
}

}  // namespace foreshore
