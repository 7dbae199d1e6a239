#include "engine/inference/tokenizer_files.h"

#include <algorithm>
#include <limits>
#include <unordered_set>
#include <utility>

#include "engine/inference/json_reader.h"

namespace foreshore {

namespace {

using simdjson::dom::object;

constexpr std::size_t kTokenizerJsonBytesMax = 64ULL << 20;
constexpr std::size_t kVocabularyTextBytesMax = 64ULL << 20;
constexpr std::size_t kTokenizerConfigBytesMax = 16ULL << 20;

// A larger model_max_length says that there is none.
constexpr std::uint64_t kTokenCountSaid = 1'000'000;

std::uint32_t ClampTokenCount(std::uint64_t count) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(count, std::numeric_limits<std::uint32_t>::max()));
}

// Gathers what a file asks for and this tokenizer cannot do.
class Problems {
 public:
  void Add(std::string problem) { text_ += (text_.empty() ? "" : "; ") + std::move(problem); }
  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string TypeOf(object parent, std::string_view key) {
  if (!JsonMember(parent, key).has_value()) return "nothing";
  const auto section = JsonObject(parent, key);
  if (!section.has_value()) return "something else";
  return std::string(JsonString(*section, "type").value_or("no type"));
}

void ReadNormalizer(object root, WordPieceConfig& config, Problems& problems) {
  if (TypeOf(root, "normalizer") != "BertNormalizer") {
    return problems.Add("normalizer is " + TypeOf(root, "normalizer") + ", expected BertNormalizer");
  }
  const object normalizer = *JsonObject(root, "normalizer");
  config.clean_text = JsonBool(normalizer, "clean_text").value_or(true);
  config.space_cjk = JsonBool(normalizer, "handle_chinese_chars").value_or(true);
  config.lowercase = JsonBool(normalizer, "lowercase").value_or(true);
  config.strip_accents = JsonBool(normalizer, "strip_accents").value_or(config.lowercase);
}

// The names of the tokens around the text: exactly first, text, last.
void ReadPostProcessor(object root, WordPieceConfig& config, Problems& problems) {
  const std::string type = TypeOf(root, "post_processor");
  if (type == "BertProcessing") {
    const object section = *JsonObject(root, "post_processor");
    for (const auto& [key, target] : {std::pair{"cls", &config.first_token}, {"sep", &config.last_token}}) {
      const auto pair = JsonArray(section, key);
      std::string_view token;
      if (!pair.has_value() || pair->at(0).get(token) != simdjson::SUCCESS) {
        problems.Add(std::string("post_processor names no ") + key);
      } else {
        *target = token;
      }
    }
    return;
  }
  if (type != "TemplateProcessing") {
    return problems.Add("post_processor is " + type + ", expected TemplateProcessing or BertProcessing");
  }
  const auto single = JsonArray(*JsonObject(root, "post_processor"), "single");
  std::vector<std::string> names;
  if (single.has_value()) {
    for (const simdjson::dom::element piece : *single) {
      object piece_object;
      if (piece.get(piece_object) != simdjson::SUCCESS) break;
      const auto special = JsonObject(piece_object, "SpecialToken");
      names.emplace_back(special.has_value() ? JsonString(*special, "id").value_or("") : "");
    }
  }
  if (names.size() != 3 || names[0].empty() || !names[1].empty() || names[2].empty()) {
    return problems.Add("post_processor's template is not one special token, the text, one special token");
  }
  config.first_token = names[0];
  config.last_token = names[2];
}

void ReadAddedTokens(object root, WordPieceConfig& config, Problems& problems) {
  const auto tokens = JsonArray(root, "added_tokens");
  if (!tokens.has_value()) return;
  for (const simdjson::dom::element element : *tokens) {
    object token;
    if (element.get(token) != simdjson::SUCCESS) return problems.Add("added_tokens holds something else than objects");
    const auto content = JsonString(token, "content");
    if (!content.has_value() || content->empty()) return problems.Add("added_tokens holds a token without content");
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) {
      if (JsonBool(token, flag).value_or(false)) {
        problems.Add("added token \"" + std::string(content->substr(0, 64)) + "\" sets " + flag);
      }
    }
    config.added_tokens.emplace_back(*content);
  }
}

// Ids must be 0..n-1, each once: the embedding table is indexed by them.
Result<std::vector<std::string>> ReadVocabulary(const std::string& name, object model) {
  const auto vocab = JsonObject(model, "vocab");
  if (!vocab.has_value()) return Status::Corruption(name + ": model has no vocab");
  std::size_t count = 0;
  for (const auto field : *vocab) {
    static_cast<void>(field);
    ++count;
  }
  if (count > kWordPieceVocabularyMax) {
    return Status::Limit(name + ": vocabulary has " + std::to_string(count) + " tokens, at most " +
                         std::to_string(kWordPieceVocabularyMax) + " are allowed");
  }
  std::vector<std::string> vocabulary(count);
  std::vector<bool> seen(count, false);
  for (const auto [token, value] : *vocab) {
    std::uint64_t id = 0;
    if (value.get(id) != simdjson::SUCCESS || id >= count || seen[id]) {
      return Status::Corruption(name + ": token \"" + std::string(token.substr(0, 64)) +
                                "\" has no id of its own in 0.." + std::to_string(count - 1));
    }
    seen[id] = true;
    vocabulary[id] = token;
  }
  return vocabulary;
}

}  // namespace

Result<WordPieceTokenizer> ReadTokenizerJson(std::string_view file_name, Bytes text) {
  const std::string name(file_name);
  JsonReader reader;
  FORESHORE_RETURN_IF_ERROR(reader.Parse(name, text, kTokenizerJsonBytesMax));
  const object root = reader.root();
  WordPieceConfig config;
  Problems problems;
  if (TypeOf(root, "model") != "WordPiece") {
    return Status::Unsupported(name + ": tokenizer model is " + TypeOf(root, "model") + ", expected WordPiece");
  }
  ReadNormalizer(root, config, problems);
  if (TypeOf(root, "pre_tokenizer") != "BertPreTokenizer") {
    problems.Add("pre_tokenizer is " + TypeOf(root, "pre_tokenizer") + ", expected BertPreTokenizer");
  }
  ReadPostProcessor(root, config, problems);
  ReadAddedTokens(root, config, problems);
  const object model = *JsonObject(root, "model");
  config.unknown_token = JsonString(model, "unk_token").value_or("[UNK]");
  config.continuation_prefix = JsonString(model, "continuing_subword_prefix").value_or("##");
  config.word_characters_max = static_cast<std::uint32_t>(std::min<std::uint64_t>(
      JsonUnsigned(model, "max_input_chars_per_word").value_or(100), std::numeric_limits<std::uint32_t>::max()));
  if (const auto truncation = JsonObject(root, "truncation")) {
    if (JsonString(*truncation, "direction").value_or("Right") != "Right") {
      problems.Add("truncation is not from the right");
    }
    config.token_count_max = ClampTokenCount(JsonUnsigned(*truncation, "max_length").value_or(config.token_count_max));
  }
  if (!problems.empty()) return Status::Unsupported(name + ": " + problems.text());
  FORESHORE_ASSIGN_OR_RETURN(std::vector<std::string> vocabulary, ReadVocabulary(name, model));
  Result<WordPieceTokenizer> tokenizer = WordPieceTokenizer::Create(std::move(config), std::move(vocabulary));
  if (!tokenizer.ok()) return tokenizer.status().WithContext(name);
  return tokenizer;
}

namespace {

// A special token is a string, or an object with its content.
void ReadSpecialToken(object root, std::string_view key, std::string& target) {
  if (const auto text = JsonString(root, key)) {
    target = *text;
  } else if (const auto section = JsonObject(root, key)) {
    if (const auto content = JsonString(*section, "content")) target = *content;
  }
}

Status ReadTokenizerConfig(Bytes text, WordPieceConfig& config, std::vector<std::string>& special_tokens) {
  JsonReader reader;
  FORESHORE_RETURN_IF_ERROR(reader.Parse("tokenizer_config.json", text, kTokenizerConfigBytesMax));
  const object root = reader.root();
  config.lowercase = JsonBool(root, "do_lower_case").value_or(true);
  config.strip_accents = JsonBool(root, "strip_accents").value_or(config.lowercase);
  config.space_cjk = JsonBool(root, "tokenize_chinese_chars").value_or(true);
  // Files without a limit write 10^30 here, which is no integer, or an integer that means none.
  if (const auto length = JsonUnsigned(root, "model_max_length"); length.has_value() && *length <= kTokenCountSaid) {
    config.token_count_max = ClampTokenCount(*length);
  }
  ReadSpecialToken(root, "unk_token", config.unknown_token);
  ReadSpecialToken(root, "cls_token", config.first_token);
  ReadSpecialToken(root, "sep_token", config.last_token);
  for (const char* key : {"pad_token", "mask_token"}) {
    std::string token;
    ReadSpecialToken(root, key, token);
    if (!token.empty()) special_tokens.push_back(token);
  }
  return Status::Ok();
}

}  // namespace

Result<WordPieceTokenizer> ReadVocabularyText(std::string_view file_name, Bytes text, Bytes config_text) {
  const std::string name(file_name);
  if (text.size() > kVocabularyTextBytesMax) {
    return Status::Limit(name + ": " + std::to_string(text.size()) + " bytes, at most " +
                         std::to_string(kVocabularyTextBytesMax) + " are allowed");
  }
  WordPieceConfig config;
  std::vector<std::string> special_tokens{"[PAD]", "[MASK]"};
  if (!config_text.empty()) FORESHORE_RETURN_IF_ERROR(ReadTokenizerConfig(config_text, config, special_tokens));
  std::vector<std::string> vocabulary;
  while (!text.empty()) {
    const std::size_t line_end = std::min(text.find('\n'), text.size());
    Bytes line = text.substr(0, line_end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (vocabulary.size() == kWordPieceVocabularyMax) {
      return Status::Limit(name + ": more than " + std::to_string(kWordPieceVocabularyMax) + " tokens");
    }
    vocabulary.emplace_back(line);
    text.remove_prefix(std::min(line_end + 1, text.size()));
  }
  special_tokens.insert(special_tokens.end(), {config.unknown_token, config.first_token, config.last_token});
  const std::unordered_set<std::string_view> known(vocabulary.begin(), vocabulary.end());
  for (const std::string& token : special_tokens) {
    const bool listed =
        std::find(config.added_tokens.begin(), config.added_tokens.end(), token) != config.added_tokens.end();
    if (!token.empty() && !listed && known.contains(token)) config.added_tokens.push_back(token);
  }
  Result<WordPieceTokenizer> tokenizer = WordPieceTokenizer::Create(std::move(config), std::move(vocabulary));
  if (!tokenizer.ok()) return tokenizer.status().WithContext(name);
  return tokenizer;
}

}  // namespace foreshore
