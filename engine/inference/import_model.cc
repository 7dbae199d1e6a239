#include "engine/inference/import_model.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "engine/inference/gguf_bert.h"
#include "engine/inference/json_reader.h"
#include "engine/inference/onnx_bert_import.h"
#include "engine/inference/safetensors.h"
#include "engine/inference/safetensors_bert.h"
#include "engine/inference/tokenizer_files.h"
#include "storage/base/file.h"

namespace foreshore {

namespace {

using simdjson::dom::object;

constexpr std::size_t kSmallJsonBytesMax = 1ULL << 20;
constexpr std::size_t kTokenizerFileBytesMax = 64ULL << 20;
constexpr std::size_t kReadmeBytesMax = 16ULL << 20;

bool IsDirectory(const std::string& path) {
  return ListDirectory(path).ok();
}

// The file's content, or nothing where there is no such file.
Result<std::optional<ByteString>> ReadOptional(const std::string& path, std::size_t size_bytes_max) {
  if (!FileExists(path)) return std::optional<ByteString>();
  FORESHORE_ASSIGN_OR_RETURN(ByteString content, ReadFile(path, size_bytes_max));
  return std::optional<ByteString>(std::move(content));
}

// What the files of a model ask for and this library cannot do, gathered over all of them, so that nobody has to mend
// one to hear of the next. Another error ends the import.
class Unsupported {
 public:
  // Ok where the import may go on: `status` is, or names what is not supported, which is kept.
  Status Keep(const Status& status) {
    if (status.code() != ErrorCode::kUnsupported) return status;
    text_ += (text_.empty() ? "" : "; ") + std::string(status.message());
    return Status::Ok();
  }
  Status Everything() const { return text_.empty() ? Status::Ok() : Status::Unsupported(text_); }

 private:
  std::string text_;
};

// How sentence-transformers says to make one vector of the hidden states.
struct SentenceSettings {
  std::optional<std::uint32_t> token_count_max;
  bool normalise = true;
  std::string pooling_path;  // The pooling module's folder, relative; empty where modules.json names none.
};

// modules.json lists what follows the transformer. Only mean pooling and normalisation can follow ours.
Status ReadModules(const std::string& directory, SentenceSettings& settings) {
  const std::string path = directory + "/modules.json";
  FORESHORE_ASSIGN_OR_RETURN(const auto text, ReadOptional(path, kSmallJsonBytesMax));
  settings.pooling_path = "1_Pooling";
  if (!text.has_value()) return Status::Ok();
  // The file is an array; JsonReader reads objects.
  JsonReader reader;
  FORESHORE_RETURN_IF_ERROR(reader.Parse(path, "{\"modules\":" + *text + "}", kSmallJsonBytesMax + 16));
  const auto modules = JsonArray(reader.root(), "modules");
  if (!modules.has_value()) return Status::Corruption(path + ": expected an array of modules");
  settings.normalise = false;
  std::string unsupported;
  for (const simdjson::dom::element element : *modules) {
    object module;
    if (element.get(module) != simdjson::SUCCESS) return Status::Corruption(path + ": a module is not an object");
    const std::string_view type = JsonString(module, "type").value_or("no type");
    if (type.ends_with(".Transformer")) continue;
    if (type.ends_with(".Normalize")) {
      settings.normalise = true;
    } else if (type.ends_with(".Pooling")) {
      settings.pooling_path = JsonString(module, "path").value_or("1_Pooling");
    } else {
      unsupported += (unsupported.empty() ? "" : ", ") + std::string(type.substr(0, 128));
    }
  }
  if (!unsupported.empty()) {
    return Status::Unsupported(path + ": modules " + unsupported + ", expected Transformer, Pooling and Normalize");
  }
  return Status::Ok();
}

Status CheckPooling(const std::string& directory, const std::string& pooling_path) {
  // The folder's name comes from a file: it must stay inside the model's directory.
  if (pooling_path.starts_with('/') || pooling_path.find("..") != std::string::npos) {
    return Status::InvalidArgument(directory + "/modules.json: pooling path \"" + pooling_path.substr(0, 128) +
                                   "\" leaves the model's directory");
  }
  const std::string path = directory + "/" + pooling_path + "/config.json";
  FORESHORE_ASSIGN_OR_RETURN(const auto text, ReadOptional(path, kSmallJsonBytesMax));
  if (!text.has_value()) return Status::Ok();
  JsonReader reader;
  FORESHORE_RETURN_IF_ERROR(reader.Parse(path, *text, kSmallJsonBytesMax));
  std::string unsupported;
  bool mean = false;
  for (const auto [key, value] : reader.root()) {
    bool on = false;
    if (!key.starts_with("pooling_mode_") || value.get(on) != simdjson::SUCCESS || !on) continue;
    if (key == "pooling_mode_mean_tokens") {
      mean = true;
    } else {
      unsupported += (unsupported.empty() ? "" : ", ") + std::string(key.substr(0, 128));
    }
  }
  if (unsupported.empty() && mean) return Status::Ok();
  return Status::Unsupported(path + ": pooling is " + (unsupported.empty() ? "not set" : unsupported) +
                             ", expected pooling_mode_mean_tokens alone");
}

Result<SentenceSettings> ReadSentenceSettings(const std::string& directory, Unsupported& unsupported) {
  SentenceSettings settings;
  FORESHORE_RETURN_IF_ERROR(unsupported.Keep(ReadModules(directory, settings)));
  FORESHORE_RETURN_IF_ERROR(unsupported.Keep(CheckPooling(directory, settings.pooling_path)));
  const std::string path = directory + "/sentence_bert_config.json";
  FORESHORE_ASSIGN_OR_RETURN(const auto text, ReadOptional(path, kSmallJsonBytesMax));
  if (!text.has_value()) return settings;
  JsonReader reader;
  FORESHORE_RETURN_IF_ERROR(reader.Parse(path, *text, kSmallJsonBytesMax));
  if (const auto length = JsonUnsigned(reader.root(), "max_seq_length")) {
    settings.token_count_max =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(*length, std::numeric_limits<std::uint32_t>::max()));
  }
  return settings;
}

Result<WordPieceTokenizer> ReadTokenizerFile(const std::string& path) {
  FORESHORE_ASSIGN_OR_RETURN(const ByteString text, ReadFile(path, kTokenizerFileBytesMax));
  if (path.ends_with(".json")) return ReadTokenizerJson(path, text);
  FORESHORE_ASSIGN_OR_RETURN(const auto config,
                             ReadOptional(DirectoryOf(path) + "/tokenizer_config.json", kTokenizerFileBytesMax));
  return ReadVocabularyText(path, text, config.value_or(""));
}

// tokenizer.json says more than vocab.txt, so it comes first.
Result<WordPieceTokenizer> FindTokenizer(const std::string& directory, const std::string& tokenizer_path) {
  std::string place = tokenizer_path.empty() ? directory : tokenizer_path;
  if (!IsDirectory(place)) return ReadTokenizerFile(place);
  for (const char* file : {"/tokenizer.json", "/vocab.txt"}) {
    if (FileExists(place + file)) return ReadTokenizerFile(place + file);
  }
  return Status::NotFound(place + ": found neither tokenizer.json nor vocab.txt, expected one of them");
}

struct Weights {
  BertModel model;
  ModelProvenance provenance;
  WeightFormat format = WeightFormat::Float();
  std::optional<WordPieceTokenizer> tokenizer = std::nullopt;  // Where the file brings its own.
};

Result<Weights> LoadSafetensors(const std::string& path, const std::string& directory, Unsupported& unsupported) {
  const std::string config_path = directory + "/config.json";
  FORESHORE_ASSIGN_OR_RETURN(const ByteString config_text, ReadFile(config_path, kSmallJsonBytesMax));
  const Result<BertConfigFile> config = ReadBertConfigJson(config_path, config_text);
  FORESHORE_RETURN_IF_ERROR(unsupported.Keep(config.status()));
  FORESHORE_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const Result<SafetensorsFile> tensors = ReadSafetensors(path, file->bytes());
  FORESHORE_RETURN_IF_ERROR(unsupported.Keep(tensors.status()));
  FORESHORE_RETURN_IF_ERROR(unsupported.Everything());
  ModelProvenance provenance{"", config->origin};
  provenance.Complete(ProvenanceOf({tensors->metadata.begin(), tensors->metadata.end()}));
  if (config->gptq) {
    FORESHORE_ASSIGN_OR_RETURN(GptqCheckpoint gptq,
                               BertFromGptq(path, config->config, *config->gptq, tensors->tensors));
    return Weights{std::move(gptq.model), std::move(provenance), gptq.format};
  }
  FORESHORE_ASSIGN_OR_RETURN(BertModel model, BertFromSafetensors(path, config->config, tensors->tensors));
  return Weights{std::move(model), std::move(provenance)};
}

Result<Weights> LoadOnnx(const std::string& path) {
  FORESHORE_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  FORESHORE_ASSIGN_OR_RETURN(OnnxBert bert, ImportOnnxBert(path, file->bytes()));
  return Weights{std::move(bert.model), std::move(bert.provenance)};
}

Result<Weights> LoadGguf(const std::string& path) {
  FORESHORE_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  FORESHORE_ASSIGN_OR_RETURN(const GgufFile gguf, ReadGguf(path, file->bytes()));
  FORESHORE_ASSIGN_OR_RETURN(GgufBert bert, BertFromGguf(path, gguf));
  return Weights{std::move(bert.model), std::move(bert.provenance), WeightFormat::Float(), std::move(bert.tokenizer)};
}

// One length for tokenizer and model: what the sentence settings say, else the tokenizer's, at most the positions.
Status AgreeOnLength(const std::string& path, const SentenceSettings& settings, bool is_own_tokenizer,
                     ImportedModel& imported) {
  BertConfig& config = imported.model.config;
  if (imported.tokenizer.vocabulary_size() > config.vocabulary_size) {
    return Status::InvalidArgument(path + ": tokenizer has " + std::to_string(imported.tokenizer.vocabulary_size()) +
                                   " tokens, the model's embedding has " + std::to_string(config.vocabulary_size));
  }
  // What a file says of its own tokenizer is in the model already.
  const std::uint32_t said = settings.token_count_max.value_or(
      is_own_tokenizer ? config.token_count_max : imported.tokenizer.config().token_count_max);
  config.token_count_max = std::min(said, config.position_count);
  config.normalise = settings.normalise;
  const Status valid = ValidateBertConfig(config);
  if (!valid.ok()) return valid.WithContext(path);
  return imported.tokenizer.SetTokenCountMax(config.token_count_max);
}

// The weights' file of a path that may be a directory.
Result<std::string> FindWeights(const std::string& path) {
  if (!IsDirectory(path)) {
    if (FileExists(path)) return path;
    return Status::NotFound(path + ": no such file or directory");
  }
  for (const char* file : {"/model.safetensors", "/model.onnx", "/onnx/model.onnx"}) {
    if (FileExists(path + file)) return path + file;
  }
  std::string gguf;
  std::size_t gguf_count = 0;
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<std::string> files, ListDirectory(path));
  for (const std::string& file : files) {
    if (!file.ends_with(".gguf")) continue;
    gguf = path + "/" + file;
    ++gguf_count;
  }
  if (gguf_count == 1) return gguf;
  return Status::NotFound(path + ": found neither model.safetensors nor model.onnx and " + std::to_string(gguf_count) +
                          " .gguf files, expected one of them");
}

}  // namespace

Result<ImportedModel> ImportModel(const std::string& path, const ImportOptions& options, bool* is_other_graph) {
  if (is_other_graph != nullptr) *is_other_graph = false;
  FORESHORE_ASSIGN_OR_RETURN(const std::string weights_path, FindWeights(path));
  const std::string directory = IsDirectory(path) ? path : DirectoryOf(path);
  const bool is_onnx = weights_path.ends_with(".onnx");
  const bool is_gguf = weights_path.ends_with(".gguf");
  if (!is_onnx && !is_gguf && !weights_path.ends_with(".safetensors")) {
    return Status::Unsupported(weights_path + ": unknown kind of model file, expected .safetensors, .onnx or .gguf");
  }
  Unsupported unsupported;
  // An ONNX file is read first: one of another kind needs no tokenizer, and none is asked for. A GGUF file has its own.
  std::optional<Weights> weights;
  if (is_onnx || is_gguf) {
    auto loaded = is_onnx ? LoadOnnx(weights_path) : LoadGguf(weights_path);
    if (!loaded.ok()) {
      if (is_other_graph != nullptr) *is_other_graph = is_onnx;
      return loaded.status();
    }
    weights = std::move(loaded).value();
  }
  // What belongs to the tokenizer lies with it: its length limit and the pooling after the encoder.
  std::string settings_directory = directory;
  if (!options.tokenizer_path.empty()) {
    const std::string& place = options.tokenizer_path;
    settings_directory = IsDirectory(place) ? place : DirectoryOf(place);
  }
  FORESHORE_ASSIGN_OR_RETURN(const SentenceSettings settings, ReadSentenceSettings(settings_directory, unsupported));
  const bool is_own_tokenizer = weights && weights->tokenizer && options.tokenizer_path.empty();
  std::optional<WordPieceTokenizer> tokenizer;
  if (is_own_tokenizer) {
    tokenizer = std::move(weights->tokenizer);
  } else {
    auto found = FindTokenizer(directory, options.tokenizer_path);
    FORESHORE_RETURN_IF_ERROR(unsupported.Keep(found.status()));
    if (found.ok()) tokenizer = std::move(found).value();
  }
  if (!weights) {
    FORESHORE_ASSIGN_OR_RETURN(weights, LoadSafetensors(weights_path, directory, unsupported));
  }
  FORESHORE_RETURN_IF_ERROR(unsupported.Everything());
  weights->provenance.Complete({LicenceBeside(directory), ""});
  const char* const format = is_onnx ? "onnx" : is_gguf ? "gguf" : "safetensors";
  ImportedModel imported{std::move(weights->model), weights->format, std::move(*tokenizer), format,
                         std::move(weights->provenance)};
  FORESHORE_RETURN_IF_ERROR(AgreeOnLength(path, settings, is_own_tokenizer, imported));
  return imported;
}

std::string DirectoryOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string LicenceBeside(const std::string& directory) {
  const auto text = ReadOptional(directory + "/README.md", kReadmeBytesMax);
  return text.ok() && text->has_value() ? LicenceOfModelCard(**text) : "";
}

}  // namespace foreshore
