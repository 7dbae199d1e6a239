#include "engine/inference/bert.h"

#include <cmath>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace foreshore {

namespace {

// Far above every published BERT (BERT-large: H 1024, I 4096, 24 layers, V 250k for multilingual ones), and low
// enough that the products below stay far from 64 bits.
constexpr std::uint32_t kHiddenSizeMax = 16'384;
constexpr std::uint32_t kLayerCountMax = 256;
constexpr std::uint32_t kIntermediateSizeMax = 65'536;
constexpr std::uint32_t kVocabularySizeMax = 4'000'000;
constexpr std::uint32_t kPositionCountMax = 65'536;
constexpr std::uint32_t kTypeCountMax = 1'024;

// A message that lists everything stays readable: what lies beyond is counted.
constexpr std::size_t kProblemsListedMax = 32;

Status CheckRange(std::string_view field, std::uint32_t value, std::uint32_t max) {
  if (value >= 1 && value <= max) return Status::Ok();
  return Status::InvalidArgument("BERT configuration: " + std::string(field) + " is " + std::to_string(value) +
                                 ", expected 1.." + std::to_string(max));
}

class TableBuilder {
 public:
  explicit TableBuilder(const WeightFormat& format) : format_(format) {}

  void Add(std::string name, TensorType type, std::vector<std::uint64_t> shape) {
    table_.push_back({std::move(name), type, std::move(shape), {}});
  }
  void AddF32(std::string name, std::vector<std::uint64_t> shape) {
    Add(std::move(name), TensorType::kF32, std::move(shape));
  }
  // A matrix that is f32, or codes of 8 bits with one scale per row.
  void AddMatrix(const std::string& name, std::uint64_t rows, std::uint64_t columns) {
    if (format_.kind == WeightKind::kFloat) return AddF32(name, {rows, columns});
    Add(name, TensorType::kI8, {rows, columns});
    AddF32(name + ".scale", {rows});
  }
  void AddLinear(const std::string& name, std::uint64_t out, std::uint64_t in) {
    const std::string weight = name + ".weight";
    if (format_.kind == WeightKind::kGrouped) {
      Add(weight, TensorType::kU8, {out, (in * format_.bits + 7) / 8});
      AddF32(weight + ".scale", {out, format_.GroupCount(in)});
      Add(weight + ".zero", TensorType::kU8, {out, format_.GroupCount(in)});
      if (format_.ordered) Add(weight + ".order", TensorType::kI32, {in});
    } else if (format_.kind == WeightKind::kNf4) {
      const std::uint64_t block_count = format_.GroupCount(in);
      Add(weight, TensorType::kU8, {out, (in + 1) / 2});
      Add(weight + ".scale", TensorType::kU8, {out, block_count});
      AddF32(weight + ".scale.block", {(out * block_count + kNf4ScalesPerBlock - 1) / kNf4ScalesPerBlock});
      AddF32(weight + ".scale.mean", {1});
    } else {
      AddMatrix(weight, out, in);
    }
    AddF32(name + ".bias", {out});
  }
  void AddNorm(const std::string& name, std::uint64_t size) {
    AddF32(name + ".gamma", {size});
    AddF32(name + ".beta", {size});
  }
  std::vector<TensorView> Take() { return std::move(table_); }

 private:
  const WeightFormat& format_;
  std::vector<TensorView> table_;
};

std::string Describe(TensorType type, const std::vector<std::uint64_t>& shape) {
  std::string text(TensorTypeName(type));
  text += " [";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ',';
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace

Status ValidateBertConfig(const BertConfig& config) {
  FORESHORE_RETURN_IF_ERROR(CheckRange("hidden_size", config.hidden_size, kHiddenSizeMax));
  FORESHORE_RETURN_IF_ERROR(CheckRange("layer_count", config.layer_count, kLayerCountMax));
  FORESHORE_RETURN_IF_ERROR(CheckRange("head_count", config.head_count, config.hidden_size));
  FORESHORE_RETURN_IF_ERROR(CheckRange("intermediate_size", config.intermediate_size, kIntermediateSizeMax));
  FORESHORE_RETURN_IF_ERROR(CheckRange("vocabulary_size", config.vocabulary_size, kVocabularySizeMax));
  FORESHORE_RETURN_IF_ERROR(CheckRange("position_count", config.position_count, kPositionCountMax));
  FORESHORE_RETURN_IF_ERROR(CheckRange("type_count", config.type_count, kTypeCountMax));
  FORESHORE_RETURN_IF_ERROR(CheckRange("token_count_max", config.token_count_max, config.position_count));
  if (config.token_count_max < 2) {
    return Status::InvalidArgument("BERT configuration: token_count_max is 1, [CLS] and [SEP] alone need 2");
  }
  if (config.hidden_size % config.head_count != 0) {
    return Status::InvalidArgument("BERT configuration: hidden_size " + std::to_string(config.hidden_size) +
                                   " is not a multiple of head_count " + std::to_string(config.head_count));
  }
  if (!(config.layer_norm_epsilon > 0.0F) || config.layer_norm_epsilon > 1e-2F) {
    return Status::InvalidArgument("BERT configuration: layer_norm_epsilon is " +
                                   std::to_string(config.layer_norm_epsilon) + ", expected above 0, at most 0.01");
  }
  return Status::Ok();
}

std::vector<TensorView> BertTensorTable(const BertConfig& config, const WeightFormat& format) {
  const std::uint64_t hidden = config.hidden_size;
  TableBuilder builder(format);
  builder.AddMatrix("embeddings.word", config.vocabulary_size, hidden);
  builder.AddF32("embeddings.position", {config.position_count, hidden});
  builder.AddF32("embeddings.type", {config.type_count, hidden});
  builder.AddNorm("embeddings.norm", hidden);
  for (std::uint32_t i = 0; i < config.layer_count; ++i) {
    const std::string layer = "layer." + std::to_string(i) + ".";
    for (const char* part : {"query", "key", "value", "output"}) builder.AddLinear(layer + part, hidden, hidden);
    builder.AddNorm(layer + "attention.norm", hidden);
    builder.AddLinear(layer + "up", config.intermediate_size, hidden);
    builder.AddLinear(layer + "down", hidden, config.intermediate_size);
    builder.AddNorm(layer + "norm", hidden);
  }
  return builder.Take();
}

Status ValidateBertTensors(const BertConfig& config, const WeightFormat& format,
                           const std::vector<TensorView>& tensors) {
  FORESHORE_RETURN_IF_ERROR(ValidateBertConfig(config));
  FORESHORE_RETURN_IF_ERROR(ValidateWeightFormat(format));
  std::vector<std::string> problems;
  std::unordered_map<std::string_view, const TensorView*> found;
  for (const TensorView& tensor : tensors) {
    if (!found.emplace(tensor.name, &tensor).second) problems.push_back("\"" + tensor.name + "\" appears twice");
  }
  std::size_t matched_count = 0;
  const std::vector<TensorView> table = BertTensorTable(config, format);
  std::unordered_map<std::string_view, bool> expected_names;
  for (const TensorView& expected : table) {
    expected_names.emplace(expected.name, true);
    const auto match = found.find(expected.name);
    if (match == found.end()) {
      problems.push_back("\"" + expected.name + "\" is missing");
      continue;
    }
    ++matched_count;
    const TensorView& tensor = *match->second;
    if (tensor.type != expected.type || tensor.shape != expected.shape) {
      problems.push_back("\"" + expected.name + "\" is " + Describe(tensor.type, tensor.shape) + ", expected " +
                         Describe(expected.type, expected.shape));
      continue;
    }
    FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t size_bytes, TensorByteCount(expected.type, expected.shape));
    if (tensor.bytes.size() != size_bytes) {
      problems.push_back("\"" + expected.name + "\" has " + std::to_string(tensor.bytes.size()) + " bytes, expected " +
                         std::to_string(size_bytes));
    }
  }
  if (matched_count < found.size()) {
    for (const TensorView& tensor : tensors) {
      if (!expected_names.contains(tensor.name)) problems.push_back("\"" + tensor.name + "\" is unknown");
    }
  }
  if (problems.empty()) return Status::Ok();
  std::string message = "BERT tensors: ";
  for (std::size_t i = 0; i < problems.size() && i < kProblemsListedMax; ++i) {
    if (i > 0) message += "; ";
    message += problems[i];
  }
  if (problems.size() > kProblemsListedMax) {
    message += "; and " + std::to_string(problems.size() - kProblemsListedMax) + " more";
  }
  return Status::InvalidArgument(std::move(message));
}

}  // namespace foreshore
