#include "engine/model/model_registry.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "engine/document/json.h"
#include "engine/inference/bert_packed.h"
#include "engine/inference/bert_quantize.h"
#include "engine/inference/import_model.h"
#include "engine/inference/json_reader.h"
#include "engine/model/bert_text_model.h"
#include "engine/model/graph_model.h"
#include "engine/model/model_manifest.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"

namespace foreshore {
namespace {

constexpr std::size_t kRowBytesMax = 1 << 20;
constexpr std::size_t kModelNameBytesMax = 64;

Status ValidateModelName(const std::string& name) {
  const bool fits =
      !name.empty() && name.size() <= kModelNameBytesMax && std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
      });
  if (fits) return Status::Ok();
  return Status::InvalidArgument("model name \"" + name.substr(0, kModelNameBytesMax) +
                                 "\": expected 1 to 64 letters, digits, '-', '_' or '.'");
}

std::string EncodeRow(const ModelInfo& info) {
  std::string out = "{";
  const auto text = [&](std::string_view key, std::string_view value) {
    if (out.size() > 1) out.push_back(',');
    AppendJsonString(out, key);
    out.push_back(':');
    AppendJsonString(out, value);
  };
  const auto number = [&](std::string_view key, std::uint64_t value) {
    out.push_back(',');
    AppendJsonString(out, key);
    out += ":" + std::to_string(value);
  };
  text("name", info.name);
  text("version", info.version);
  text("architecture", info.architecture);
  text("quantization", info.quantization);
  number("dimension", info.dimension);
  number("token_count_max", info.token_count_max);
  number("tensor_count", info.tensor_count);
  number("tensor_bytes", info.tensor_bytes);
  text("licence", info.licence);
  text("origin", info.origin);
  out += ",\"manifest\":{\"$blob\":\"" + info.version + "\"}}";
  return out;
}

Result<ModelInfo> DecodeRow(std::string_view body) {
  JsonReader reader;
  FORESHORE_RETURN_IF_ERROR(reader.Parse("model row", body, kRowBytesMax));
  const simdjson::dom::object root = reader.root();
  ModelInfo info;
  info.name = JsonString(root, "name").value_or("");
  info.version = JsonString(root, "version").value_or("");
  info.architecture = JsonString(root, "architecture").value_or("");
  info.quantization = JsonString(root, "quantization").value_or("");
  info.dimension =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(JsonUnsigned(root, "dimension").value_or(0), UINT32_MAX));
  info.token_count_max = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(JsonUnsigned(root, "token_count_max").value_or(0), UINT32_MAX));
  info.tensor_count = JsonUnsigned(root, "tensor_count").value_or(0);
  info.tensor_bytes = JsonUnsigned(root, "tensor_bytes").value_or(0);
  info.licence = JsonString(root, "licence").value_or("");
  info.origin = JsonString(root, "origin").value_or("");
  if (info.name.empty() || !ParseBlobId(info.version).ok()) {
    return Status::Corruption("model row: name or version is missing, expected both");
  }
  return info;
}

}  // namespace

struct ModelRegistry::Loaded {
  std::string version;
  // One of them, shared with running calls.
  std::shared_ptr<TextModel> model;
  std::shared_ptr<GraphModel> graph;
};

ModelRegistry::ModelRegistry(ModelRows& rows, BlobStore& blobs, std::string derived_path, unsigned thread_count)
    : rows_(rows),
      blobs_(blobs),
      derived_path_(std::move(derived_path)),
      pool_(thread_count > 1 ? std::make_unique<ThreadPool>(thread_count - 1) : nullptr) {}

ModelRegistry::~ModelRegistry() = default;

Result<ModelInfo> ModelRegistry::Add(const std::string& name, const std::string& path,
                                     const ModelImportOptions& options) {
  FORESHORE_RETURN_IF_ERROR(ValidateModelName(name));
  if (options.quantization != Quantization::kInt8) {
    return Status::Unsupported("model \"" + name +
                               "\": quantization none, expected int8 (the only one that runs so far)");
  }
  ImportOptions import_options;
  import_options.tokenizer_path = options.vocabulary_path;
  bool is_other_graph = false;
  Result<ImportedModel> import_result = ImportModel(path, import_options, &is_other_graph);
  if (is_other_graph && path.ends_with(".onnx")) return AddGraph(name, path, options);
  if (!import_result.ok()) return import_result.status();
  const ImportedModel imported = std::move(import_result).value();
  FORESHORE_ASSIGN_OR_RETURN(const BertModel quantized, QuantizeBertInt8(imported.model));

  const BlobHold hold = blobs_.Hold();  // Until the row refers to what is written here.
  ModelInfo info;
  ModelManifest manifest;
  manifest.quantization = "int8";
  manifest.config = quantized.config;
  FORESHORE_ASSIGN_OR_RETURN(manifest.tokenizer, blobs_.Put(imported.tokenizer.Serialise()));
  for (const Tensor& tensor : quantized.tensors) {
    FORESHORE_ASSIGN_OR_RETURN(const BlobId blob, blobs_.Put(tensor.bytes));
    manifest.tensors.push_back({tensor.name, tensor.type, tensor.shape, blob});
    info.tensor_bytes += tensor.bytes.size();
  }
  info.name = name;
  info.dimension = manifest.config.hidden_size;
  info.token_count_max = manifest.config.token_count_max;
  info.tensor_count = manifest.tensors.size();
  info.licence = imported.licence.empty() ? options.licence : imported.licence;
  info.origin = imported.origin.empty() ? options.origin : imported.origin;
  FORESHORE_RETURN_IF_ERROR(Activate(manifest, info));
  return info;
}

Result<ModelInfo> ModelRegistry::AddGraph(const std::string& name, const std::string& path,
                                          const ModelImportOptions& options) {
  FORESHORE_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  FORESHORE_ASSIGN_OR_RETURN(OnnxModel onnx, ReadOnnx(path, file->bytes()));
  ModelInfo info;
  info.name = name;
  info.tensor_count = onnx.initializers.size();
  for (const OnnxTensor& tensor : onnx.initializers) info.tensor_bytes += tensor.bytes().size();
  info.licence = options.licence;
  info.origin = options.origin;
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
  return rows_.Put(info.name, EncodeRow(info));
}

Result<std::vector<ModelInfo>> ModelRegistry::List() {
  FORESHORE_ASSIGN_OR_RETURN(const auto bodies, rows_.List());
  std::vector<ModelInfo> infos;
  for (const std::string& body : bodies) {
    FORESHORE_ASSIGN_OR_RETURN(ModelInfo info, DecodeRow(body));
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t missing, MissingBlobCount(body));
    info.is_complete = missing == 0;
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
  FORESHORE_ASSIGN_OR_RETURN(ModelInfo info, DecodeRow(body));
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t missing, MissingBlobCount(body));
  info.is_complete = missing == 0;
  return info;
}

Status ModelRegistry::Remove(const std::string& name) {
  FORESHORE_RETURN_IF_ERROR(rows_.Delete(name));
  const std::lock_guard lock(mutex_);
  loaded_.erase(name);
  return Status::Ok();
}

Result<std::size_t> ModelRegistry::MissingBlobCount(std::string_view row_body) {
  FORESHORE_ASSIGN_OR_RETURN(const auto blobs, BlobsOf(row_body));
  return static_cast<std::size_t>(
      std::count_if(blobs.begin(), blobs.end(), [&](const BlobId& blob) { return !blobs_.Contains(blob); }));
}

Result<std::vector<BlobId>> ModelRegistry::BlobsOf(std::string_view row_body) {
  FORESHORE_ASSIGN_OR_RETURN(const ModelInfo info, DecodeRow(row_body));
  FORESHORE_ASSIGN_OR_RETURN(const BlobId version, ParseBlobId(info.version));
  std::vector<BlobId> blobs = {version};
  if (!blobs_.Contains(version)) return blobs;
  FORESHORE_ASSIGN_OR_RETURN(const auto file, blobs_.Open(version));
  FORESHORE_ASSIGN_OR_RETURN(const ModelManifest manifest, DecodeManifest(file->bytes()));
  blobs.push_back(manifest.is_graph() ? manifest.graph : manifest.tokenizer);
  for (const ModelManifest::TensorEntry& entry : manifest.tensors) blobs.push_back(entry.blob);
  return blobs;
}

Result<std::shared_ptr<TextModel>> ModelRegistry::Load(const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const auto loaded, LoadVersion(name));
  if (loaded->model) return loaded->model;
  return Status::Unsupported("model \"" + name + "\": is a general graph, expected one that embeds texts");
}

Result<std::shared_ptr<GraphModel>> ModelRegistry::LoadGraph(const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const auto loaded, LoadVersion(name));
  if (loaded->graph) return loaded->graph;
  return Status::Unsupported("model \"" + name + "\": embeds texts, expected a general graph");
}

Result<std::shared_ptr<ModelRegistry::Loaded>> ModelRegistry::LoadVersion(const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, RequireRow(name));
  FORESHORE_ASSIGN_OR_RETURN(ModelInfo info, DecodeRow(body));
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Loaded>& slot = loaded_[name];
  if (slot && slot->version == info.version) return slot;
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t missing, MissingBlobCount(body));
  if (missing > 0) {
    return Status::Busy("model \"" + name + "\": " + std::to_string(missing) + " blobs are still on their way");
  }
  Loaded loaded{info.version, nullptr, nullptr};
  if (info.architecture == "graph") {
    FORESHORE_ASSIGN_OR_RETURN(loaded.graph, OpenGraph(info));
  } else {
    FORESHORE_ASSIGN_OR_RETURN(loaded.model, OpenVersion(info));
  }
  slot = std::make_shared<Loaded>(std::move(loaded));
  return slot;
}

Result<std::shared_ptr<GraphModel>> ModelRegistry::OpenGraph(const ModelInfo& info) {
  FORESHORE_ASSIGN_OR_RETURN(const BlobId version, ParseBlobId(info.version));
  FORESHORE_ASSIGN_OR_RETURN(const auto manifest_file, blobs_.Open(version));
  FORESHORE_ASSIGN_OR_RETURN(const ModelManifest manifest, DecodeManifest(manifest_file->bytes()));
  if (!manifest.is_graph()) {
    return Status::Corruption("model \"" + info.name + "\": its row says graph, its manifest " + manifest.architecture);
  }
  FORESHORE_ASSIGN_OR_RETURN(auto file, blobs_.Open(manifest.graph));
  return GraphModel::Open("model \"" + info.name + "\"", std::move(file));
}

Result<std::shared_ptr<TextModel>> ModelRegistry::OpenVersion(const ModelInfo& info) {
  FORESHORE_ASSIGN_OR_RETURN(const BlobId version, ParseBlobId(info.version));
  FORESHORE_ASSIGN_OR_RETURN(const auto manifest_file, blobs_.Open(version));
  FORESHORE_ASSIGN_OR_RETURN(const ModelManifest manifest, DecodeManifest(manifest_file->bytes()));
  FORESHORE_ASSIGN_OR_RETURN(const auto tokenizer_file, blobs_.Open(manifest.tokenizer));
  FORESHORE_ASSIGN_OR_RETURN(WordPieceTokenizer tokenizer, WordPieceTokenizer::Parse(tokenizer_file->bytes()));
  // Packed weights are derived: made once per version and layout, and made anew where they do not open.
  const std::string packed_path =
      derived_path_ + "/packed-" + info.version + "-" + std::to_string(kPackedBertVersion) + ".weights";
  if (FileExists(packed_path)) {
    auto opened = BertTextModel::Open(info, tokenizer, packed_path, pool_.get());
    if (opened.ok()) return std::shared_ptr<TextModel>(std::move(opened).value());
    if (opened.status().code() != ErrorCode::kCorruption && opened.status().code() != ErrorCode::kUnsupported) {
      return opened.status();
    }
  }
  FORESHORE_RETURN_IF_ERROR(PackTo(manifest, packed_path));
  FORESHORE_ASSIGN_OR_RETURN(auto model, BertTextModel::Open(info, std::move(tokenizer), packed_path, pool_.get()));
  return std::shared_ptr<TextModel>(std::move(model));
}

Status ModelRegistry::PackTo(const ModelManifest& manifest, const std::string& packed_path) {
  std::vector<std::unique_ptr<MappedFile>> files;
  std::vector<TensorView> tensors;
  for (const ModelManifest::TensorEntry& entry : manifest.tensors) {
    FORESHORE_ASSIGN_OR_RETURN(auto file, blobs_.Open(entry.blob));
    FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t byte_count, TensorByteCount(entry.type, entry.shape));
    if (file->bytes().size() != byte_count) {
      return Status::Corruption("model tensor \"" + entry.name + "\": blob has " +
                                std::to_string(file->bytes().size()) + " bytes, its shape asks for " +
                                std::to_string(byte_count));
    }
    tensors.push_back({entry.name, entry.type, entry.shape, file->bytes()});
    files.push_back(std::move(file));
  }
  FORESHORE_RETURN_IF_ERROR(ValidateBertTensors(manifest.config, true, tensors));
  FORESHORE_ASSIGN_OR_RETURN(const ByteString packed, PackBertInt8(manifest.config, tensors));
  return WriteFileAtomic(packed_path, packed);
}

Result<std::string> ModelRegistry::Predict(const std::string& name, std::string_view input_json,
                                           Cancellation* cancellation) {
  FORESHORE_ASSIGN_OR_RETURN(const auto loaded, LoadVersion(name));
  if (loaded->graph) return loaded->graph->Predict(input_json, cancellation);
  FORESHORE_ASSIGN_OR_RETURN(const std::string input, NormaliseValue(input_json));
  std::string_view token = input;
  if (!input.empty() && input.front() == '{') token = FindValue(input, "text");
  if (token.empty() || token.front() != '"') {
    return Status::InvalidArgument("model \"" + name + "\": input is " + input.substr(0, 40) +
                                   ", expected a string or {\"text\": string}");
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::string text, UnescapeString(token));
  std::vector<float> embedding(loaded->model->info().dimension);
  const std::string_view texts[] = {text};
  FORESHORE_RETURN_IF_ERROR(loaded->model->Embed(texts, embedding));
  std::string out = "{\"embedding\":[";
  char digits[32];
  for (std::size_t i = 0; i < embedding.size(); ++i) {
    if (i > 0) out.push_back(',');
    const auto end = std::to_chars(digits, digits + sizeof digits, embedding[i]).ptr;
    out.append(digits, end);
  }
  out += "]}";
  return out;
}

}  // namespace foreshore
