#include "engine/inference/peft_adapter.h"

#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include "engine/inference/bert_adapter.h"
#include "engine/inference/float_tensor.h"
#include "engine/inference/json_reader.h"
#include "engine/inference/safetensors.h"
#include "engine/inference/safetensors_bert.h"
#include "storage/base/file.h"

namespace foreshore {
namespace {

using simdjson::dom::object;

constexpr std::size_t kConfigBytesMax = 1ULL << 20;
constexpr double kAlphaMax = 1e6;

struct Pattern {
  std::string module;
  double value;
};

struct Config {
  std::uint64_t rank = 0;
  double alpha = 0;
  bool is_rank_stabilised = false;
  std::vector<std::string> target_modules;  // Empty where the file gives an expression.
  std::vector<Pattern> ranks;
  std::vector<Pattern> alphas;
  std::string base;
};

void Add(std::string& problems, const std::string& problem) {
  problems += (problems.empty() ? "" : "; ") + problem;
}

bool IsPlainName(std::string_view name) {
  return !name.empty() && name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") ==
                              std::string_view::npos;
}

// "attention.self.query" names "bert.encoder.layer.0.attention.self.query".
bool Names(std::string_view pattern, std::string_view module) {
  if (!module.ends_with(pattern)) return false;
  return module.size() == pattern.size() || module[module.size() - pattern.size() - 1] == '.';
}

std::vector<Pattern> ReadPatterns(object root, const char* key, std::string& problems) {
  std::vector<Pattern> patterns;
  const auto section = JsonObject(root, key);
  if (!section) return patterns;
  for (const auto [module, value] : *section) {
    double number = 0;
    if (!IsPlainName(module) || value.get(number) != simdjson::SUCCESS || !(number > 0) || number > kAlphaMax) {
      Add(problems, std::string(key) + " of \"" + std::string(module.substr(0, 64)) +
                        "\", expected module names with positive numbers");
      continue;
    }
    patterns.push_back({std::string(module), number});
  }
  return patterns;
}

// A setting that must be absent, null, false, empty or "none".
void ExpectUnset(object root, const char* key, std::string& problems) {
  const auto member = JsonMember(root, key);
  if (!member) return;
  bool truth = false;
  std::string_view text;
  simdjson::dom::array array;
  simdjson::dom::object section;
  if (member->get(truth) == simdjson::SUCCESS && !truth) return;
  if (member->get(text) == simdjson::SUCCESS && (text.empty() || text == "none")) return;
  if (member->get(array) == simdjson::SUCCESS && array.size() == 0) return;
  if (member->get(section) == simdjson::SUCCESS && section.size() == 0) return;
  Add(problems, std::string(key) + " is set");
}

Result<Config> ReadConfig(const std::string& name, Bytes text) {
  JsonReader reader;
  FORESHORE_RETURN_IF_ERROR(reader.Parse(name, text, kConfigBytesMax));
  const object root = reader.root();
  Config config;
  std::string problems;
  const std::string_view type = JsonString(root, "peft_type").value_or("absent");
  if (type != "LORA") Add(problems, "peft_type is " + std::string(type.substr(0, 64)) + ", expected LORA");
  for (const char* key : {"bias", "modules_to_save", "use_dora", "fan_in_fan_out", "layer_replication", "lora_bias",
                          "trainable_token_indices", "target_parameters", "use_qalora", "alora_invocation_tokens"}) {
    ExpectUnset(root, key, problems);
  }
  config.ranks = ReadPatterns(root, "rank_pattern", problems);
  config.alphas = ReadPatterns(root, "alpha_pattern", problems);
  if (!problems.empty()) return Status::Unsupported(name + ": " + problems);
  const auto rank = JsonUnsigned(root, "r");
  const auto alpha = JsonNumber(root, "lora_alpha");
  if (!rank || *rank < 1 || *rank > kAdapterRankMax) {
    return Status::InvalidArgument(name + ": r is " + (rank ? std::to_string(*rank) : "missing") + ", expected 1.." +
                                   std::to_string(kAdapterRankMax));
  }
  if (!alpha || !std::isfinite(*alpha) || std::fabs(*alpha) > kAlphaMax) {
    return Status::InvalidArgument(name + ": lora_alpha is missing or no number up to 1000000");
  }
  config.rank = *rank;
  config.alpha = *alpha;
  config.is_rank_stabilised = JsonBool(root, "use_rslora").value_or(false);
  config.base = JsonString(root, "base_model_name_or_path").value_or("").substr(0, kModelStringBytesMax);
  if (const auto targets = JsonArray(root, "target_modules")) {
    for (const simdjson::dom::element element : *targets) {
      std::string_view module;
      if (element.get(module) != simdjson::SUCCESS)
        return Status::Corruption(name + ": target_modules holds no string");
      config.target_modules.emplace_back(module);
    }
  }
  return config;
}

struct Half {
  std::string module;     // "bert.encoder.layer.0.attention.self.query"
  std::string canonical;  // "layer.0.query"
  bool is_a;
};

std::optional<Half> HalfOf(std::string_view name) {
  constexpr std::string_view kPrefix = "base_model.model.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  Half half;
  // Saved files leave the adapter's name out; ones saved by hand have it.
  for (const std::string_view suffix :
       {".lora_A.weight", ".lora_A.default.weight", ".lora_B.weight", ".lora_B.default.weight"}) {
    if (!name.ends_with(suffix)) continue;
    half.is_a = suffix[6] == 'A';
    half.module = name.substr(0, name.size() - suffix.size());
    auto canonical = CanonicalBertName(half.module + ".weight");
    if (!canonical || !canonical->starts_with("layer.") || !canonical->ends_with(".weight")) return std::nullopt;
    half.canonical = canonical->substr(0, canonical->size() - std::string_view(".weight").size());
    return half;
  }
  return std::nullopt;
}

// "all-linear" takes in what comes behind the hidden states, on which embeddings do not depend.
bool IsOfUnusedPart(std::string_view name) {
  constexpr std::string_view kPrefix = "base_model.model.";
  return name.starts_with(kPrefix) && IsUnusedBertName(name.substr(kPrefix.size()));
}

// The first that names the module, as PEFT takes it.
double ValueFor(const std::vector<Pattern>& patterns, std::string_view module, double otherwise) {
  for (const Pattern& pattern : patterns) {
    if (Names(pattern.module, module)) return pattern.value;
  }
  return otherwise;
}

}  // namespace

Result<PeftAdapter> ReadPeftAdapter(std::string_view config_name, Bytes config_text, std::string_view weights_name,
                                    Bytes weights) {
  FORESHORE_ASSIGN_OR_RETURN(const Config config, ReadConfig(std::string(config_name), config_text));
  const std::string name(weights_name);
  FORESHORE_ASSIGN_OR_RETURN(const SafetensorsFile file, ReadSafetensors(name, weights));
  PeftAdapter adapter;
  adapter.base = config.base;
  std::string problems;
  for (const TensorView& tensor : file.tensors) {
    if (IsOfUnusedPart(tensor.name)) continue;
    const std::string quoted = "\"" + tensor.name.substr(0, 128) + "\"";
    const auto half = HalfOf(tensor.name);
    if (!half) {
      Add(problems, quoted + " is no LoRA of a BERT's linear layer");
      continue;
    }
    bool is_target = config.target_modules.empty();
    for (const std::string& target : config.target_modules) is_target = is_target || Names(target, half->module);
    if (!is_target) {
      Add(problems, quoted + " is of none of target_modules");
      continue;
    }
    const double rank = ValueFor(config.ranks, half->module, static_cast<double>(config.rank));
    if (tensor.shape.size() != 2 || static_cast<double>(tensor.shape[half->is_a ? 0 : 1]) != rank) {
      Add(problems,
          quoted + " has another rank than the configuration's " + std::to_string(static_cast<std::uint64_t>(rank)));
      continue;
    }
    FORESHORE_ASSIGN_OR_RETURN(std::vector<float> values, ToFloats(tensor));
    if (!half->is_a) {
      const double alpha = ValueFor(config.alphas, half->module, config.alpha);
      const auto scale = static_cast<float>(alpha / (config.is_rank_stabilised ? std::sqrt(rank) : rank));
      for (float& value : values) value *= scale;
    }
    adapter.tensors.push_back(
        MakeF32Tensor(half->canonical + (half->is_a ? ".lora_a" : ".lora_b"), tensor.shape, values));
  }
  if (!problems.empty()) return Status::Unsupported(name + ": " + problems.substr(0, 4096));
  if (adapter.tensors.empty()) return Status::InvalidArgument(name + ": holds no tensors, expected a LoRA adapter");
  return adapter;
}

Result<PeftAdapter> ImportPeftAdapter(const std::string& path) {
  std::string folder = path;
  if (path.ends_with(".safetensors")) {
    const std::size_t slash = path.rfind('/');
    folder = slash == std::string::npos ? "." : path.substr(0, slash);
  }
  const std::string weights_path = folder == path ? path + "/adapter_model.safetensors" : path;
  const std::string config_path = folder + "/adapter_config.json";
  for (const std::string& file : {config_path, weights_path}) {
    if (!FileExists(file)) return Status::NotFound(file + ": no such file, expected a LoRA adapter as PEFT saves it");
  }
  FORESHORE_ASSIGN_OR_RETURN(const ByteString config, ReadFile(config_path, kConfigBytesMax));
  FORESHORE_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> weights, MappedFile::Open(weights_path));
  return ReadPeftAdapter(config_path, config, weights_path, weights->bytes());
}

bool IsSameBase(std::string_view base, std::string_view origin) {
  const auto last = [](std::string_view path) {
    while (path.ends_with('/')) path.remove_suffix(1);
    const std::size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? path : path.substr(slash + 1);
  };
  return last(base).empty() || last(origin).empty() || last(base) == last(origin);
}

}  // namespace foreshore
