#include "engine/inference/safetensors_bert.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>

#include "engine/inference/float_tensor.h"
#include "engine/inference/json_reader.h"

namespace foreshore {

namespace {

using simdjson::dom::object;

constexpr std::size_t kConfigBytesMax = 1ULL << 20;

void Require(std::string& problems, bool fine, const std::string& problem) {
  if (!fine) problems += (problems.empty() ? "" : "; ") + problem;
}

std::uint32_t ReadSize(object root, const char* key, std::string& missing) {
  const auto value = JsonUnsigned(root, key);
  if (value.has_value() && *value <= std::numeric_limits<std::uint32_t>::max()) {
    return static_cast<std::uint32_t>(*value);
  }
  missing += (missing.empty() ? "" : ", ") + std::string(key);
  return 0;
}

struct NamePair {
  std::string_view theirs;
  std::string_view ours;
};

constexpr NamePair kEmbeddingNames[] = {
    {"embeddings.word_embeddings.weight", "embeddings.word"},
    {"embeddings.position_embeddings.weight", "embeddings.position"},
    {"embeddings.token_type_embeddings.weight", "embeddings.type"},
    {"embeddings.LayerNorm.weight", "embeddings.norm.gamma"},
    {"embeddings.LayerNorm.bias", "embeddings.norm.beta"},
    {"embeddings.LayerNorm.gamma", "embeddings.norm.gamma"},
    {"embeddings.LayerNorm.beta", "embeddings.norm.beta"},
};

constexpr NamePair kLayerNames[] = {
    {"attention.self.query.weight", "query.weight"},
    {"attention.self.query.bias", "query.bias"},
    {"attention.self.key.weight", "key.weight"},
    {"attention.self.key.bias", "key.bias"},
    {"attention.self.value.weight", "value.weight"},
    {"attention.self.value.bias", "value.bias"},
    {"attention.output.dense.weight", "output.weight"},
    {"attention.output.dense.bias", "output.bias"},
    {"attention.output.LayerNorm.weight", "attention.norm.gamma"},
    {"attention.output.LayerNorm.bias", "attention.norm.beta"},
    {"attention.output.LayerNorm.gamma", "attention.norm.gamma"},
    {"attention.output.LayerNorm.beta", "attention.norm.beta"},
    {"intermediate.dense.weight", "up.weight"},
    {"intermediate.dense.bias", "up.bias"},
    {"output.dense.weight", "down.weight"},
    {"output.dense.bias", "down.bias"},
    {"output.LayerNorm.weight", "norm.gamma"},
    {"output.LayerNorm.bias", "norm.beta"},
    {"output.LayerNorm.gamma", "norm.gamma"},
    {"output.LayerNorm.beta", "norm.beta"},
};

// Our name, or nothing where the name is not one of BERT's.
std::optional<std::string> CanonicalName(std::string_view name) {
  for (const NamePair& pair : kEmbeddingNames) {
    if (pair.theirs == name) return std::string(pair.ours);
  }
  constexpr std::string_view kPrefix = "encoder.layer.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  std::uint32_t layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (error != std::errc() || end == name.data() + name.size() || *end != '.') return std::nullopt;
  name.remove_prefix(static_cast<std::size_t>(end - name.data()) + 1);
  for (const NamePair& pair : kLayerNames) {
    if (pair.theirs == name) return "layer." + std::to_string(layer) + "." + std::string(pair.ours);
  }
  return std::nullopt;
}

// quantization_config of a GPTQ checkpoint.
Result<GptqCheckpointConfig> ReadGptqConfig(const std::string& name, object section) {
  const std::string_view method = JsonString(section, "quant_method").value_or("absent");
  if (method != "gptq") {
    return Status::Unsupported(name + ": quantization_config is of quant_method " + std::string(method.substr(0, 64)) +
                               ", expected gptq");
  }
  GptqCheckpointConfig config;
  const auto bits = JsonUnsigned(section, "bits");
  const auto group_size = JsonNumber(section, "group_size");
  if (!bits || *bits > 64 || !group_size || std::fabs(*group_size) > 1e9 || *group_size != std::floor(*group_size)) {
    return Status::Corruption(name + ": quantization_config lacks bits or group_size");
  }
  config.bits = static_cast<std::uint32_t>(*bits);
  config.group_size = static_cast<std::int64_t>(*group_size);
  const std::string_view format = JsonString(section, "checkpoint_format").value_or("gptq");
  if (format != "gptq" && format != "gptq_v2") {
    return Status::Unsupported(name + ": checkpoint_format is " + std::string(format.substr(0, 64)) +
                               ", expected gptq or gptq_v2");
  }
  config.is_v2 = format == "gptq_v2";
  return config;
}

}  // namespace

bool IsUnusedBertName(std::string_view name) {
  if (name.starts_with("bert.")) name.remove_prefix(5);
  return name.starts_with("pooler.") || name.starts_with("cls.") || name == "embeddings.position_ids" ||
         name == "embeddings.token_type_ids";
}

std::optional<std::string> CanonicalBertName(std::string_view name) {
  if (name.starts_with("bert.")) name.remove_prefix(5);
  return CanonicalName(name);
}

Result<std::vector<Tensor>> CanonicalBertTensors(const std::vector<TensorView>& tensors) {
  std::vector<Tensor> renamed;
  for (const TensorView& tensor : tensors) {
    std::string_view their_name = tensor.name;
    if (their_name.starts_with("bert.")) their_name.remove_prefix(5);
    if (IsUnusedBertName(their_name)) continue;
    const std::string our_name = CanonicalName(their_name).value_or(tensor.name);
    if (tensor.type == TensorType::kF16 || tensor.type == TensorType::kBF16) {
      FORESHORE_ASSIGN_OR_RETURN(const std::vector<float> values, ToFloats(tensor));
      renamed.push_back(MakeF32Tensor(our_name, tensor.shape, values));
    } else {
      renamed.push_back({our_name, tensor.type, tensor.shape, ByteString(tensor.bytes)});
    }
  }
  return renamed;
}

Result<BertConfigFile> ReadBertConfigJson(std::string_view file_name, Bytes text) {
  const std::string name(file_name);
  JsonReader reader;
  FORESHORE_RETURN_IF_ERROR(reader.Parse(name, text, kConfigBytesMax));
  const object root = reader.root();
  std::string problems;
  const auto expect_string = [&](const char* key, std::string_view expected, bool optional) {
    const auto value = JsonString(root, key);
    Require(problems, value.has_value() ? *value == expected : optional,
            std::string(key) + " is " +
                (value.has_value() ? "\"" + std::string(value->substr(0, 64)) + "\"" : "absent") + ", expected \"" +
                std::string(expected) + "\"");
  };
  expect_string("model_type", "bert", false);
  expect_string("hidden_act", "gelu", true);
  expect_string("position_embedding_type", "absolute", true);
  for (const char* key : {"is_decoder", "add_cross_attention", "is_encoder_decoder"}) {
    Require(problems, !JsonBool(root, key).value_or(false), std::string(key) + " is true, expected false");
  }
  const auto quantization = JsonObject(root, "quantization_config");
  Require(problems, quantization.has_value() || !JsonMember(root, "quantization_config").has_value(),
          "quantization_config is no object");
  if (!problems.empty()) return Status::Unsupported(name + ": " + problems);

  BertConfigFile result;
  if (quantization) {
    FORESHORE_ASSIGN_OR_RETURN(result.gptq, ReadGptqConfig(name, *quantization));
  }
  BertConfig& config = result.config;
  std::string missing;
  config.hidden_size = ReadSize(root, "hidden_size", missing);
  config.layer_count = ReadSize(root, "num_hidden_layers", missing);
  config.head_count = ReadSize(root, "num_attention_heads", missing);
  config.intermediate_size = ReadSize(root, "intermediate_size", missing);
  config.vocabulary_size = ReadSize(root, "vocab_size", missing);
  config.position_count = ReadSize(root, "max_position_embeddings", missing);
  config.type_count = ReadSize(root, "type_vocab_size", missing);
  if (!missing.empty()) {
    return Status::Corruption(name + ": " + missing + " missing or not an unsigned 32-bit number");
  }
  config.layer_norm_epsilon = static_cast<float>(JsonNumber(root, "layer_norm_eps").value_or(1e-12));
  config.token_count_max = config.position_count;
  const Status valid = ValidateBertConfig(config);
  if (!valid.ok()) return valid.WithContext(name);
  result.origin = JsonString(root, "_name_or_path").value_or("");
  return result;
}

Result<BertModel> BertFromSafetensors(std::string_view file_name, const BertConfig& config,
                                      const std::vector<TensorView>& tensors) {
  const std::string name(file_name);
  // Copies are bounded: a 16-bit float doubles, nothing else grows.
  std::unordered_map<std::string, Tensor> by_name;
  std::vector<TensorView> views;
  for (const TensorView& tensor : tensors) {
    std::string_view their_name = tensor.name;
    if (their_name.starts_with("bert.")) their_name.remove_prefix(5);
    if (IsUnusedBertName(their_name)) continue;
    // An unknown name stays as it is, and validation lists it; so does an integer type.
    std::string our_name = CanonicalName(their_name).value_or(tensor.name);
    TensorView view = tensor;
    view.name = our_name;
    if (tensor.type == TensorType::kF16 || tensor.type == TensorType::kBF16) {
      FORESHORE_ASSIGN_OR_RETURN(const std::vector<float> values, ToFloats(tensor));
      const auto [entry, is_new] = by_name.insert_or_assign(our_name, MakeF32Tensor(our_name, tensor.shape, values));
      view = entry->second.view();
    }
    views.push_back(std::move(view));
  }
  const Status valid = ValidateBertTensors(config, false, views);
  if (!valid.ok()) return valid.WithContext(name);
  for (const TensorView& view : views) {
    by_name.try_emplace(view.name, Tensor{view.name, view.type, view.shape, ByteString(view.bytes)});
  }
  BertModel model{config, {}};
  for (const TensorView& row : BertTensorTable(config, false)) {
    model.tensors.push_back(std::move(by_name.at(row.name)));
  }
  const Status finite = CheckFinite(model.tensors);
  if (!finite.ok()) return finite.WithContext(name);
  return model;
}

}  // namespace foreshore
