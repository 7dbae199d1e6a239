#include "engine/inference/gptq_checkpoint.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <utility>

#include "engine/inference/bert_quantize.h"
#include "engine/inference/float_tensor.h"
#include "engine/inference/grouped_weights.h"
#include "engine/inference/safetensors_bert.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::size_t kCodesPerWord = 8;
constexpr std::uint32_t kAllSeven = 0x77777777U;
constexpr std::uint32_t kAllEight = 0x88888888U;

// The four tensors of one linear layer.
struct QuantizedLinear {
  const TensorView* qweight = nullptr;
  const TensorView* qzeros = nullptr;
  const TensorView* scales = nullptr;
  const TensorView* g_idx = nullptr;
  std::size_t in = 0;
  std::size_t out = 0;
  std::size_t group_count = 0;
};

std::uint32_t WordAt(const TensorView& tensor, std::size_t index) {
  return LoadFixed<std::uint32_t>(tensor.bytes.data() + index * sizeof(std::uint32_t));
}

// "….qweight" to the canonical name of the weight, and which of the four it is.
std::optional<std::pair<std::string, const TensorView * QuantizedLinear::*>> PartOf(std::string_view name) {
  constexpr std::pair<std::string_view, const TensorView * QuantizedLinear::*> kParts[] = {
      {".qweight", &QuantizedLinear::qweight},
      {".qzeros", &QuantizedLinear::qzeros},
      {".scales", &QuantizedLinear::scales},
      {".g_idx", &QuantizedLinear::g_idx}};
  for (const auto& [suffix, part] : kParts) {
    if (!name.ends_with(suffix)) continue;
    const std::string module(name.substr(0, name.size() - suffix.size()));
    auto canonical = CanonicalBertName(module + ".weight");
    if (!canonical) return std::nullopt;
    return {{std::move(*canonical), part}};
  }
  return std::nullopt;
}

bool HasShape(const TensorView& tensor, std::uint64_t rows, std::uint64_t columns) {
  return tensor.shape == std::vector<std::uint64_t>{rows, columns};
}

// Nothing, or what is wrong with the parts' types and shapes.
std::string ProblemOf(const std::string& name, const QuantizedLinear& linear) {
  if (linear.qweight == nullptr || linear.qzeros == nullptr || linear.scales == nullptr) {
    return "\"" + name + "\" lacks qweight, qzeros or scales";
  }
  if (linear.in % kCodesPerWord != 0 || linear.out % kCodesPerWord != 0) {
    return "\"" + name + "\" is [" + std::to_string(linear.out) + "," + std::to_string(linear.in) +
           "], 4-bit words need multiples of 8";
  }
  const auto expect = [&](const TensorView& tensor, bool is_type, std::uint64_t rows, std::uint64_t columns,
                          const char* type) -> std::string {
    if (is_type && HasShape(tensor, rows, columns)) return "";
    return "\"" + tensor.name + "\" has another type or shape, expected " + type + " [" + std::to_string(rows) + "," +
           std::to_string(columns) + "]";
  };
  std::string problem =
      expect(*linear.qweight, linear.qweight->type == TensorType::kI32, linear.in / kCodesPerWord, linear.out, "i32");
  if (problem.empty()) {
    problem = expect(*linear.qzeros, linear.qzeros->type == TensorType::kI32, linear.group_count,
                     linear.out / kCodesPerWord, "i32");
  }
  if (problem.empty()) {
    const bool is_float = linear.scales->type == TensorType::kF16 || linear.scales->type == TensorType::kBF16 ||
                          linear.scales->type == TensorType::kF32;
    problem = expect(*linear.scales, is_float, linear.group_count, linear.out, "f16");
  }
  if (problem.empty() && linear.g_idx != nullptr &&
      (linear.g_idx->type != TensorType::kI32 || linear.g_idx->shape != std::vector<std::uint64_t>{linear.in})) {
    problem =
        "\"" + linear.g_idx->name + "\" has another type or shape, expected i32 [" + std::to_string(linear.in) + "]";
  }
  return problem;
}

// The inputs sorted by their group; empty where that is their own order. Every group but the last is full.
Result<std::vector<std::uint32_t>> OrderOf(const QuantizedLinear& linear, std::size_t group_size) {
  std::vector<std::uint32_t> order;
  if (linear.g_idx == nullptr) return order;
  std::vector<std::size_t> counts(linear.group_count);
  bool is_plain = true;
  for (std::size_t k = 0; k < linear.in; ++k) {
    const std::uint32_t group = WordAt(*linear.g_idx, k);
    if (group >= linear.group_count) {
      return Status::Corruption("tensor \"" + linear.g_idx->name + "\": input " + std::to_string(k) + " is in group " +
                                std::to_string(static_cast<std::int32_t>(group)) + ", expected 0.." +
                                std::to_string(linear.group_count - 1));
    }
    ++counts[group];
    is_plain = is_plain && group == k / group_size;
  }
  for (std::size_t group = 0; group < counts.size(); ++group) {
    const std::size_t expected = std::min(group_size, linear.in - group * group_size);
    if (counts[group] == expected) continue;
    return Status::Unsupported("tensor \"" + linear.g_idx->name + "\": group " + std::to_string(group) + " has " +
                               std::to_string(counts[group]) + " inputs, expected " + std::to_string(expected));
  }
  if (is_plain) return order;
  order.resize(linear.in);
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return WordAt(*linear.g_idx, a) < WordAt(*linear.g_idx, b);
  });
  return order;
}

Result<GroupedWeights> ReadLinear(const QuantizedLinear& linear, std::size_t group_size, bool is_v2) {
  GroupedWeights weights;
  weights.row_count = linear.out;
  weights.column_count = linear.in;
  weights.group_size = std::min(group_size, linear.in);
  FORESHORE_ASSIGN_OR_RETURN(weights.order, OrderOf(linear, weights.group_size));
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<float> scales, ToFloats(*linear.scales));
  weights.codes.resize(linear.out * linear.in);
  weights.scales.resize(linear.out * linear.group_count);
  weights.zeros.resize(weights.scales.size());
  for (std::size_t group = 0; group < linear.group_count; ++group) {
    for (std::size_t n = 0; n < linear.out; ++n) {
      const float scale = scales[group * linear.out + n];
      if (!std::isfinite(scale)) {
        return Status::Corruption("tensor \"" + linear.scales->name + "\": scale " +
                                  std::to_string(group * linear.out + n) + " is not finite, expected a finite number");
      }
      const std::uint32_t word = WordAt(*linear.qzeros, group * (linear.out / kCodesPerWord) + n / kCodesPerWord);
      const std::uint32_t stored = (word >> (4 * (n % kCodesPerWord))) & 15U;
      weights.scales[n * linear.group_count + group] = scale;
      // A zero point of 0 cannot be told from one of 16 in v1; writers let it wrap.
      weights.zeros[n * linear.group_count + group] = static_cast<std::uint8_t>(is_v2 ? stored : (stored + 1) & 15U);
    }
  }
  for (std::size_t place = 0; place < linear.in; ++place) {
    const std::size_t k = weights.order.empty() ? place : weights.order[place];
    for (std::size_t n = 0; n < linear.out; ++n) {
      const std::uint32_t word = WordAt(*linear.qweight, k / kCodesPerWord * linear.out + n);
      weights.codes[n * linear.in + place] = static_cast<std::uint8_t>((word >> (4 * (k % kCodesPerWord))) & 15U);
    }
  }
  return weights;
}

// What the values say, else what the file does.
bool DetectV2(const std::unordered_map<std::string, QuantizedLinear>& linears, bool file_says_v2) {
  bool all_seven = true;
  bool all_eight = true;
  for (const auto& [name, linear] : linears) {
    for (std::size_t i = 0; i < linear.qzeros->bytes.size() / sizeof(std::uint32_t); ++i) {
      all_seven = all_seven && WordAt(*linear.qzeros, i) == kAllSeven;
      all_eight = all_eight && WordAt(*linear.qzeros, i) == kAllEight;
    }
  }
  if (all_seven != all_eight) return all_eight;
  return file_says_v2;
}

Result<WeightFormat> FormatOf(const std::string& name, const GptqCheckpointConfig& gptq) {
  if (gptq.bits != 4) {
    return Status::Unsupported(name + ": GPTQ of " + std::to_string(gptq.bits) + " bits, expected 4");
  }
  if (gptq.group_size == -1) return WeightFormat::Gptq(4, kGroupSizeMax);
  if (gptq.group_size < 1 || gptq.group_size > kGroupSizeMax || gptq.group_size % kGroupSizeMultiple != 0) {
    return Status::Unsupported(name + ": GPTQ in groups of " + std::to_string(gptq.group_size) +
                               " inputs, expected -1 or a multiple of 32 up to 65536");
  }
  return WeightFormat::Gptq(4, static_cast<std::uint32_t>(gptq.group_size));
}

}  // namespace

Result<GptqCheckpoint> BertFromGptq(std::string_view file_name, const BertConfig& config,
                                    const GptqCheckpointConfig& gptq, const std::vector<TensorView>& tensors) {
  const std::string name(file_name);
  FORESHORE_ASSIGN_OR_RETURN(WeightFormat format, FormatOf(name, gptq));
  std::unordered_map<std::string, QuantizedLinear> linears;
  std::vector<TensorView> others;
  std::vector<std::string> problems;
  for (const TensorView& tensor : tensors) {
    const auto part = PartOf(tensor.name);
    if (!part) {
      others.push_back(tensor);
      continue;
    }
    const TensorView*& slot = linears[part->first].*part->second;
    if (slot != nullptr) problems.push_back("\"" + tensor.name + "\" appears twice");
    slot = &tensor;
  }
  // What is not quantized, under our names and in f32; the table finds what is missing or left over.
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<Tensor> plain, CanonicalBertTensors(others));
  std::unordered_map<std::string, const Tensor*> plain_by_name;
  for (const Tensor& tensor : plain) plain_by_name.emplace(tensor.name, &tensor);
  for (const TensorView& row : BertTensorTable(config, WeightFormat::Float())) {
    const auto found = linears.find(row.name);
    if (found == linears.end()) continue;
    found->second.out = row.shape[0];
    found->second.in = row.shape[1];
    found->second.group_count = format.GroupCount(found->second.in);
    if (std::string problem = ProblemOf(row.name, found->second); !problem.empty())
      problems.push_back(std::move(problem));
  }
  for (const auto& [linear_name, linear] : linears) {
    if (linear.in == 0) problems.push_back("\"" + linear_name + "\" is no layer of this model");
  }
  for (const TensorView& row : BertTensorTable(config, WeightFormat::Float())) {
    const bool is_linear = row.name.ends_with(".weight");
    if (is_linear != linears.contains(row.name)) {
      problems.push_back("\"" + row.name + "\" is " + (is_linear ? "not quantized" : "quantized") +
                         ", expected the linear layers to be, all of them and no others");
      continue;
    }
    if (is_linear) continue;
    const auto found = plain_by_name.find(row.name);
    if (found == plain_by_name.end()) {
      problems.push_back("\"" + row.name + "\" is missing");
    } else if (found->second->type != TensorType::kF32 || found->second->shape != row.shape) {
      problems.push_back("\"" + row.name + "\" has another type or shape than its model's configuration asks for");
    }
    plain_by_name.erase(row.name);
  }
  for (const auto& [left_name, tensor] : plain_by_name) problems.push_back("\"" + left_name + "\" is unknown");
  if (!problems.empty()) {
    std::sort(problems.begin(), problems.end());
    std::string message = name + ": GPTQ tensors: ";
    constexpr std::size_t kListedMax = 16;
    for (std::size_t i = 0; i < problems.size() && i < kListedMax; ++i) message += (i == 0 ? "" : "; ") + problems[i];
    if (problems.size() > kListedMax) message += "; and " + std::to_string(problems.size() - kListedMax) + " more";
    return Status::InvalidArgument(std::move(message));
  }
  const Status finite = CheckFinite(plain);
  if (!finite.ok()) return finite.WithContext(name);

  const bool is_v2 = DetectV2(linears, gptq.is_v2);
  std::unordered_map<std::string, GroupedWeights> weights;
  for (const auto& [linear_name, linear] : linears) {
    auto read = ReadLinear(linear, format.group_size, is_v2);
    if (!read.ok()) return read.status().WithContext(name);
    format.ordered = format.ordered || !read->order.empty();
    weights.emplace(linear_name, std::move(read).value());
  }
  GptqCheckpoint checkpoint{{config, {}}, format};
  std::unordered_map<std::string, const Tensor*> by_name;
  for (const Tensor& tensor : plain) by_name.emplace(tensor.name, &tensor);
  for (const TensorView& row : BertTensorTable(config, WeightFormat::Float())) {
    if (const auto found = weights.find(row.name); found != weights.end()) {
      AppendGroupedTensors(row.name, found->second, format, checkpoint.model.tensors);
    } else if (row.name == "embeddings.word") {
      auto [codes, scales] = QuantizeMatrixInt8(*by_name.at(row.name));
      checkpoint.model.tensors.push_back(std::move(codes));
      checkpoint.model.tensors.push_back(std::move(scales));
    } else {
      checkpoint.model.tensors.push_back(*by_name.at(row.name));
    }
  }
  return checkpoint;
}

}  // namespace foreshore
