#include "engine/model/model_manifest.h"

#include <algorithm>
#include <bit>

#include "engine/document/json.h"
#include "engine/inference/json_reader.h"
#include "engine/model/runtime.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

// The configuration's whole numbers under their names, for both directions.
struct NamedCount {
  std::string_view name;
  std::uint32_t BertConfig::*field;
};
constexpr NamedCount kCounts[] = {
    {"hidden_size", &BertConfig::hidden_size},         {"layer_count", &BertConfig::layer_count},
    {"head_count", &BertConfig::head_count},           {"intermediate_size", &BertConfig::intermediate_size},
    {"vocabulary_size", &BertConfig::vocabulary_size}, {"position_count", &BertConfig::position_count},
    {"type_count", &BertConfig::type_count},           {"token_count_max", &BertConfig::token_count_max},
};

void AppendMember(std::string& out, std::string_view name, std::string_view value, bool quoted) {
  if (out.back() != '{') out.push_back(',');
  AppendJsonString(out, name);
  out.push_back(':');
  if (quoted) {
    AppendJsonString(out, value);
  } else {
    out += value;
  }
}

Status Damaged(const std::string& found) {
  return Status::Corruption("model manifest: " + found + ", expected the format of version 1");
}

Result<ModelManifest::TensorEntry> DecodeTensor(simdjson::dom::object object) {
  ModelManifest::TensorEntry entry;
  const auto name = JsonString(object, "name");
  const auto type = JsonString(object, "type");
  const auto shape = JsonArray(object, "shape");
  const auto blob = JsonString(object, "blob");
  if (!name || !type || !shape || !blob) return Damaged("a tensor lacks name, type, shape or blob");
  const auto known_type = TensorTypeFromName(*type);
  if (!known_type) return Damaged("tensor \"" + std::string(*name) + "\" has type " + std::string(*type));
  entry.name = *name;
  entry.type = *known_type;
  for (const simdjson::dom::element dimension : *shape) {
    std::uint64_t value = 0;
    if (dimension.get(value) != simdjson::SUCCESS || entry.shape.size() == kTensorRankMax) {
      return Damaged("tensor \"" + entry.name + "\" has a shape that is none");
    }
    entry.shape.push_back(value);
  }
  const Status size = TensorByteCount(entry.type, entry.shape).status();
  if (!size.ok()) return size.WithContext("model manifest: tensor \"" + entry.name + "\"");
  FORESHORE_ASSIGN_OR_RETURN(entry.blob, ParseBlobId(*blob));
  return entry;
}

Result<ModelManifest> DecodeGraph(simdjson::dom::object root) {
  ModelManifest manifest;
  const auto quantization = JsonString(root, "quantization");
  const auto graph = JsonObject(root, "graph");
  const auto blob = graph ? JsonString(*graph, "$blob") : std::nullopt;
  if (!quantization || !blob) return Damaged("quantization or graph is missing");
  manifest.architecture = "graph";
  manifest.quantization = *quantization;
  FORESHORE_ASSIGN_OR_RETURN(manifest.graph, ParseBlobId(*blob));
  return manifest;
}

Status DecodeSizes(simdjson::dom::object object, std::string_view key, std::vector<std::int64_t>& sizes) {
  const auto array = JsonArray(object, key);
  if (!array) return Status::Ok();
  for (const simdjson::dom::element element : *array) {
    std::int64_t size = 0;
    if (element.get(size) != simdjson::SUCCESS || sizes.size() == kTensorRankMax) {
      return Damaged("runtime." + std::string(key) + " is no shape");
    }
    sizes.push_back(size);
  }
  return Status::Ok();
}

Result<ModelManifest> DecodeRuntime(simdjson::dom::object root) {
  ModelManifest manifest;
  manifest.architecture = "runtime";
  manifest.quantization = "none";
  const auto runtime = JsonObject(root, "runtime");
  const auto version = runtime ? JsonString(*runtime, "version") : std::nullopt;
  const auto dimension = runtime ? JsonUnsigned(*runtime, "dimension").value_or(0) : 0;
  if (!version || dimension > UINT32_MAX) return Damaged("the runtime names no version");
  manifest.runtime.version = *version;
  manifest.runtime.dimension = static_cast<std::uint32_t>(dimension);
  FORESHORE_RETURN_IF_ERROR(DecodeSizes(*runtime, "input_shape", manifest.runtime.input_shape));
  FORESHORE_RETURN_IF_ERROR(DecodeSizes(*runtime, "output_shape", manifest.runtime.output_shape));
  const Status valid = ValidateRuntimeOptions("", manifest.runtime);
  if (!valid.ok()) return Damaged(valid.message());
  return manifest;
}

template <typename Size>
std::string SizesJson(const std::vector<Size>& sizes) {
  std::string json = "[";
  for (std::size_t i = 0; i < sizes.size(); ++i) json += (i == 0 ? "" : ",") + std::to_string(sizes[i]);
  return json + "]";
}

std::string EncodeRuntime(const ModelManifest& manifest) {
  std::string runtime = "{";
  AppendMember(runtime, "version", manifest.runtime.version, true);
  if (manifest.runtime.dimension != 0) {
    AppendMember(runtime, "dimension", std::to_string(manifest.runtime.dimension), false);
  } else {
    AppendMember(runtime, "input_shape", SizesJson(manifest.runtime.input_shape), false);
    AppendMember(runtime, "output_shape", SizesJson(manifest.runtime.output_shape), false);
  }
  std::string out = "{";
  AppendMember(out, "format", "1", false);
  AppendMember(out, "architecture", manifest.architecture, true);
  AppendMember(out, "quantization", manifest.quantization, true);
  AppendMember(out, "runtime", runtime + "}", false);
  return out + "}";
}

}  // namespace

Result<BlobId> ParseBlobId(std::string_view hex) {
  const auto bytes = FromHex(hex);
  BlobId id{};
  if (!bytes || bytes->size() != id.size()) {
    return Status::Corruption("blob reference \"" + std::string(hex.substr(0, 80)) +
                              "\": expected 64 hexadecimal digits");
  }
  std::copy(bytes->begin(), bytes->end(), id.begin());
  return id;
}

void SetFormat(ModelManifest& manifest, const WeightFormat& format) {
  manifest.format = format;
  manifest.quantization = WeightFormatName(format);
}

std::string EncodeManifest(const ModelManifest& manifest) {
  if (manifest.is_runtime()) return EncodeRuntime(manifest);
  if (manifest.is_graph()) {
    std::string out = "{";
    AppendMember(out, "format", "1", false);
    AppendMember(out, "architecture", manifest.architecture, true);
    AppendMember(out, "quantization", manifest.quantization, true);
    AppendMember(out, "graph", "{\"$blob\":\"" + ToHex(AsBytes(manifest.graph)) + "\"}", false);
    out.push_back('}');
    return out;
  }
  std::string config = "{";
  for (const NamedCount& count : kCounts) {
    AppendMember(config, count.name, std::to_string(manifest.config.*count.field), false);
  }
  // As bits, so that no decimal rounding stands between a model and its version.
  AppendMember(config, "layer_norm_epsilon_bits",
               std::to_string(std::bit_cast<std::uint32_t>(manifest.config.layer_norm_epsilon)), false);
  AppendMember(config, "normalise", manifest.config.normalise ? "true" : "false", false);
  config.push_back('}');

  std::string out = "{";
  AppendMember(out, "format", "1", false);
  AppendMember(out, "architecture", manifest.architecture, true);
  AppendMember(out, "quantization", manifest.quantization, true);
  if (manifest.format.kind == WeightKind::kGrouped) {
    AppendMember(out, "group_size", std::to_string(manifest.format.group_size), false);
    AppendMember(out, "ordered", manifest.format.ordered ? "true" : "false", false);
  }
  AppendMember(out, "config", config, false);
  AppendMember(out, "tokenizer", "{\"$blob\":\"" + ToHex(AsBytes(manifest.tokenizer)) + "\"}", false);
  std::string tensors = "[";
  for (const ModelManifest::TensorEntry& entry : manifest.tensors) {
    std::string tensor = "{";
    AppendMember(tensor, "name", entry.name, true);
    AppendMember(tensor, "type", TensorTypeName(entry.type), true);
    AppendMember(tensor, "shape", SizesJson(entry.shape), false);
    AppendMember(tensor, "blob", ToHex(AsBytes(entry.blob)), true);
    tensor.push_back('}');
    if (tensors.size() > 1) tensors.push_back(',');
    tensors += tensor;
  }
  tensors.push_back(']');
  AppendMember(out, "tensors", tensors, false);
  out.push_back('}');
  return out;
}

Result<ModelManifest> DecodeManifest(Bytes json) {
  JsonReader reader;
  FORESHORE_RETURN_IF_ERROR(reader.Parse("model manifest", json, kManifestBytesMax));
  const simdjson::dom::object root = reader.root();
  ModelManifest manifest;
  const auto format = JsonUnsigned(root, "format");
  const auto architecture = JsonString(root, "architecture");
  if (!format || !architecture) return Damaged("format or architecture is missing");
  if (*format == 1 && *architecture == "graph") return DecodeGraph(root);
  if (*format == 1 && *architecture == "runtime") return DecodeRuntime(root);
  if (*format != 1 || *architecture != "bert") {
    return Status::Unsupported("model manifest: format " + std::to_string(*format) + " of architecture \"" +
                               std::string(*architecture) +
                               "\", expected format 1 of \"bert\", \"graph\" or \"runtime\"");
  }
  const auto quantization = JsonString(root, "quantization");
  const auto config = JsonObject(root, "config");
  const auto tokenizer = JsonObject(root, "tokenizer");
  const auto tensors = JsonArray(root, "tensors");
  if (!quantization || !config || !tokenizer || !tensors) {
    return Damaged("quantization, config, tokenizer or tensors is missing");
  }
  const auto group_size = JsonUnsigned(root, "group_size").value_or(0);
  const auto format_of_weights =
      WeightFormatFromName(*quantization, static_cast<std::uint32_t>(std::min<std::uint64_t>(group_size, UINT32_MAX)),
                           JsonBool(root, "ordered").value_or(false));
  if (!format_of_weights) {
    return Status::Unsupported("model manifest: quantization \"" + std::string(quantization->substr(0, 64)) +
                               "\" with groups of " + std::to_string(group_size) +
                               ", expected none, int8, gptq4, gptq3 or nf4 and a multiple of 32");
  }
  SetFormat(manifest, *format_of_weights);
  for (const NamedCount& count : kCounts) {
    const auto value = JsonUnsigned(*config, count.name);
    if (!value || *value > UINT32_MAX) return Damaged("config." + std::string(count.name) + " is missing");
    manifest.config.*count.field = static_cast<std::uint32_t>(*value);
  }
  const auto epsilon = JsonUnsigned(*config, "layer_norm_epsilon_bits");
  const auto normalise = JsonBool(*config, "normalise");
  if (!epsilon || *epsilon > UINT32_MAX || !normalise) return Damaged("config lacks its last members");
  manifest.config.layer_norm_epsilon = std::bit_cast<float>(static_cast<std::uint32_t>(*epsilon));
  manifest.config.normalise = *normalise;
  FORESHORE_RETURN_IF_ERROR(ValidateBertConfig(manifest.config));
  const auto tokenizer_blob = JsonString(*tokenizer, "$blob");
  if (!tokenizer_blob) return Damaged("tokenizer names no blob");
  FORESHORE_ASSIGN_OR_RETURN(manifest.tokenizer, ParseBlobId(*tokenizer_blob));
  if (tensors->size() > kTensorsPerModelMax) return Status::Limit("model manifest: more than 65,536 tensors");
  for (const simdjson::dom::element element : *tensors) {
    simdjson::dom::object object;
    if (element.get(object) != simdjson::SUCCESS) return Damaged("a tensor is not an object");
    FORESHORE_ASSIGN_OR_RETURN(auto entry, DecodeTensor(object));
    manifest.tensors.push_back(std::move(entry));
  }
  return manifest;
}

}  // namespace foreshore
