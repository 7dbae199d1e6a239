#include "engine/inference/gguf_bert.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/inference/float_tensor.h"

namespace foreshore {

namespace {

constexpr std::uint64_t kPoolingMean = 1;
constexpr std::uint64_t kTokenControl = 3;
constexpr std::size_t kProblemsListedMax = 32;
constexpr std::string_view kWordStart = "\xE2\x96\x81";  // U+2581, which the converter puts before what begins a word.

struct NamePair {
  std::string_view theirs;
  std::string_view ours;
};

constexpr NamePair kEmbeddingNames[] = {
    {"token_embd.weight", "embeddings.word"},         {"position_embd.weight", "embeddings.position"},
    {"token_types.weight", "embeddings.type"},        {"token_embd_norm.weight", "embeddings.norm.gamma"},
    {"token_embd_norm.bias", "embeddings.norm.beta"},
};

constexpr NamePair kLayerNames[] = {
    {"attn_q.weight", "query.weight"},
    {"attn_q.bias", "query.bias"},
    {"attn_k.weight", "key.weight"},
    {"attn_k.bias", "key.bias"},
    {"attn_v.weight", "value.weight"},
    {"attn_v.bias", "value.bias"},
    {"attn_output.weight", "output.weight"},
    {"attn_output.bias", "output.bias"},
    {"attn_output_norm.weight", "attention.norm.gamma"},
    {"attn_output_norm.bias", "attention.norm.beta"},
    {"ffn_up.weight", "up.weight"},
    {"ffn_up.bias", "up.bias"},
    {"ffn_down.weight", "down.weight"},
    {"ffn_down.bias", "down.bias"},
    {"layer_output_norm.weight", "norm.gamma"},
    {"layer_output_norm.bias", "norm.beta"},
};

// Gathers problems; those beyond a readable number are counted.
class Problems {
 public:
  void Add(std::string problem) {
    if (++count_ <= kProblemsListedMax) text_ += (text_.empty() ? "" : "; ") + std::move(problem);
  }
  bool empty() const { return count_ == 0; }
  std::string text() const {
    return count_ <= kProblemsListedMax ? text_
                                        : text_ + "; and " + std::to_string(count_ - kProblemsListedMax) + " more";
  }

 private:
  std::size_t count_ = 0;
  std::string text_;
};

std::string Quote(std::string_view text) {
  return "\"" + std::string(text.substr(0, 128)) + "\"";
}

// Our name, or theirs where it is none of BERT's.
std::string CanonicalName(std::string_view theirs) {
  for (const NamePair& pair : kEmbeddingNames) {
    if (pair.theirs == theirs) return std::string(pair.ours);
  }
  std::string_view name = theirs;
  if (!name.starts_with("blk.")) return std::string(theirs);
  name.remove_prefix(4);
  std::uint32_t layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (error != std::errc() || end == name.data() + name.size() || *end != '.') return std::string(theirs);
  name.remove_prefix(static_cast<std::size_t>(end - name.data()) + 1);
  for (const NamePair& pair : kLayerNames) {
    if (pair.theirs == name) return "layer." + std::to_string(layer) + "." + std::string(pair.ours);
  }
  return std::string(theirs);
}

Status CheckSupported(const std::string& name, const GgufFile& file) {
  Problems problems;
  const auto expect = [&](std::string_view key, std::string_view expected, bool is_optional) {
    const auto value = file.String(key);
    if (value ? *value == expected : is_optional) return;
    problems.Add(std::string(key) + " is " + (value ? Quote(*value) : "absent") + ", expected " + Quote(expected));
  };
  expect("general.architecture", "bert", false);
  // Projectors, adapters and importance matrices are GGUF files too.
  expect("general.type", "model", true);
  expect("tokenizer.ggml.model", "bert", false);
  const auto pooling = file.Unsigned("bert.pooling_type");
  if (pooling && *pooling != kPoolingMean) {
    problems.Add("bert.pooling_type is " + std::to_string(*pooling) + ", expected 1, the mean");
  }
  if (file.Bool("bert.attention.causal").value_or(false)) problems.Add("bert.attention.causal is true, expected false");
  if (file.Unsigned("split.count").value_or(1) > 1) problems.Add("the model is split into several files, expected one");
  Problems tensors;
  for (const GgufTensor& tensor : file.tensors) {
    if (tensor.type != nullptr && tensor.type->dequantize != nullptr) continue;
    tensors.Add("tensor " + Quote(tensor.name) + " is of type " +
                (tensor.type != nullptr ? std::string(tensor.type->name) : std::to_string(tensor.type_id)));
  }
  if (!tensors.empty()) problems.Add(tensors.text() + "; expected " + std::string(ReadableGgmlTypes()));
  return problems.empty() ? Status::Ok() : Status::Unsupported(name + ": " + problems.text());
}

Result<BertConfig> ReadConfig(const std::string& name, const GgufFile& file) {
  std::string missing;
  const auto lack = [&](std::string_view what) { missing += (missing.empty() ? "" : ", ") + std::string(what); };
  const auto size = [&](std::string_view key) -> std::uint32_t {
    const auto value = file.Unsigned(key);
    if (value && *value <= std::numeric_limits<std::uint32_t>::max()) return static_cast<std::uint32_t>(*value);
    lack(key);
    return 0;
  };
  // What the keys do not say the tensors do: how many rows there are.
  const auto rows = [&](std::string_view tensor_name) -> std::uint32_t {
    for (const GgufTensor& tensor : file.tensors) {
      if (tensor.name != tensor_name || tensor.shape.size() > 2) continue;
      const std::uint64_t count = tensor.shape.size() == 2 ? tensor.shape[0] : 1;
      if (count <= std::numeric_limits<std::uint32_t>::max()) return static_cast<std::uint32_t>(count);
    }
    lack(tensor_name);
    return 0;
  };
  BertConfig config;
  config.hidden_size = size("bert.embedding_length");
  config.layer_count = size("bert.block_count");
  config.head_count = size("bert.attention.head_count");
  config.intermediate_size = size("bert.feed_forward_length");
  config.vocabulary_size = rows("token_embd.weight");
  config.position_count = rows("position_embd.weight");
  config.type_count = rows("token_types.weight");
  const auto epsilon = file.Number("bert.attention.layer_norm_epsilon");
  if (!epsilon) lack("bert.attention.layer_norm_epsilon");
  if (!missing.empty()) return Status::Corruption(name + ": " + missing + " missing or not what BERT has there");
  config.layer_norm_epsilon = static_cast<float>(*epsilon);
  const std::uint64_t context = file.Unsigned("bert.context_length").value_or(config.position_count);
  config.token_count_max = static_cast<std::uint32_t>(std::min<std::uint64_t>(context, config.position_count));
  const Status valid = ValidateBertConfig(config);
  if (!valid.ok()) return valid.WithContext(name);
  return config;
}

Result<BertModel> ReadTensors(const std::string& name, const GgufFile& file, const BertConfig& config) {
  BertModel model{config, {}};
  std::vector<Tensor> tensors;
  for (const GgufTensor& tensor : file.tensors) {
    std::string our_name = CanonicalName(tensor.name);
    std::vector<std::uint64_t> shape = tensor.shape;
    // A single row of types is written as a vector.
    if (our_name == "embeddings.type" && shape.size() == 1) shape.insert(shape.begin(), 1);
    tensors.push_back(MakeF32Tensor(std::move(our_name), std::move(shape), DequantizeGgml(*tensor.type, tensor.bytes)));
  }
  std::vector<TensorView> views;
  for (const Tensor& tensor : tensors) views.push_back(tensor.view());
  const Status valid = ValidateBertTensors(config, WeightFormat::Float(), views);
  if (!valid.ok()) return valid.WithContext(name);
  std::unordered_map<std::string, Tensor> by_name;
  for (Tensor& tensor : tensors) by_name.emplace(tensor.name, std::move(tensor));
  for (const TensorView& row : BertTensorTable(config, WeightFormat::Float())) {
    model.tensors.push_back(std::move(by_name.at(row.name)));
  }
  const Status finite = CheckFinite(model.tensors);
  if (!finite.ok()) return finite.WithContext(name);
  return model;
}

// The converter writes "word" as U+2581 "word" and "##piece" as "piece"; special tokens stay as they are, which older
// files mark by brackets and newer ones by their type.
std::string WordPieceOf(std::string_view token, bool is_control) {
  if (is_control) return std::string(token);
  if (token.starts_with(kWordStart)) return std::string(token.substr(kWordStart.size()));
  if (token.starts_with('[') && token.ends_with(']')) return std::string(token);
  return "##" + std::string(token);
}

Result<WordPieceTokenizer> ReadTokenizer(const std::string& name, const GgufFile& file) {
  const auto tokens = file.Strings("tokenizer.ggml.tokens");
  if (!tokens) return Status::Corruption(name + ": tokenizer.ggml.tokens missing or not an array of strings");
  if (tokens->size() > kWordPieceVocabularyMax) {
    return Status::Limit(name + ": vocabulary has " + std::to_string(tokens->size()) + " tokens, at most " +
                         std::to_string(kWordPieceVocabularyMax) + " are allowed");
  }
  const auto types = file.UnsignedArray("tokenizer.ggml.token_type").value_or(std::vector<std::uint64_t>());
  WordPieceConfig config;
  std::vector<std::string> vocabulary;
  bool is_cased = false;
  for (std::size_t i = 0; i < tokens->size(); ++i) {
    const bool is_control = i < types.size() && types[i] == kTokenControl;
    vocabulary.push_back(WordPieceOf((*tokens)[i], is_control));
    const bool is_special = is_control || (*tokens)[i].starts_with('[');
    const auto is_capital = [](char c) { return c >= 'A' && c <= 'Z'; };
    is_cased = is_cased || (!is_special && std::any_of(vocabulary[i].begin(), vocabulary[i].end(), is_capital) &&
                            !vocabulary[i].starts_with('['));
  }
  config.lowercase = !is_cased;
  config.strip_accents = !is_cased;
  std::string missing;
  const auto special = [&](std::string_view key, std::string_view other_key, std::string* target) {
    auto id = file.Unsigned(key);
    if (!id && !other_key.empty()) id = file.Unsigned(other_key);
    if (!id && target == nullptr) return;
    if (!id || *id >= vocabulary.size()) {
      missing += (missing.empty() ? "" : ", ") + std::string(key);
      return;
    }
    const std::string& token = vocabulary[*id];
    if (target != nullptr) *target = token;
    const auto& added = config.added_tokens;
    if (std::find(added.begin(), added.end(), token) == added.end()) config.added_tokens.push_back(token);
  };
  // The key of the separator is spelled so in the format; the first token goes by either name.
  special("tokenizer.ggml.padding_token_id", "", nullptr);
  special("tokenizer.ggml.unknown_token_id", "", &config.unknown_token);
  special("tokenizer.ggml.cls_token_id", "tokenizer.ggml.bos_token_id", &config.first_token);
  special("tokenizer.ggml.seperator_token_id", "tokenizer.ggml.eos_token_id", &config.last_token);
  special("tokenizer.ggml.mask_token_id", "", nullptr);
  if (!missing.empty()) {
    return Status::Corruption(name + ": " + missing + " missing or beyond the " + std::to_string(vocabulary.size()) +
                              " tokens of tokenizer.ggml.tokens");
  }
  Result<WordPieceTokenizer> tokenizer = WordPieceTokenizer::Create(std::move(config), std::move(vocabulary));
  if (!tokenizer.ok()) return tokenizer.status().WithContext(name);
  return tokenizer;
}

}  // namespace

Result<GgufBert> BertFromGguf(std::string_view file_name, const GgufFile& file) {
  const std::string name(file_name);
  FORESHORE_RETURN_IF_ERROR(CheckSupported(name, file));
  FORESHORE_ASSIGN_OR_RETURN(const BertConfig config, ReadConfig(name, file));
  FORESHORE_ASSIGN_OR_RETURN(WordPieceTokenizer tokenizer, ReadTokenizer(name, file));
  FORESHORE_ASSIGN_OR_RETURN(BertModel model, ReadTensors(name, file, config));
  std::vector<std::pair<std::string_view, std::string_view>> metadata;
  for (const auto& [key, value] : file.values) {
    if (value.type == GgufValueType::kString) metadata.emplace_back(key, value.bytes);
  }
  return GgufBert{std::move(model), std::move(tokenizer), ProvenanceOf(metadata)};
}

}  // namespace foreshore
