#include "engine/inference/bert_adapter.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>
#include <unordered_set>

#include "engine/inference/bert_quantize.h"
#include "engine/inference/float_tensor.h"

namespace foreshore {
namespace {

constexpr std::size_t kProblemsListedMax = 16;

constexpr std::size_t kColumnMultiple = 16;

std::size_t RoundUp(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

struct Place {
  std::size_t layer;
  BertLinear linear;
  bool is_a;
};

// layer.{i}.<linear>.lora_a
std::optional<Place> PlaceOf(std::string_view name, const BertConfig& config) {
  constexpr std::string_view kPrefix = "layer.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  Place place{};
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), place.layer);
  if (error != std::errc() || place.layer >= config.layer_count) return std::nullopt;
  name.remove_prefix(static_cast<std::size_t>(end - name.data()));
  for (std::size_t i = 0; i < kBertLinearCount; ++i) {
    place.linear = static_cast<BertLinear>(i);
    const std::string path = std::string(".") + BertLinearName(place.linear);
    place.is_a = name == path + ".lora_a";
    if (place.is_a || name == path + ".lora_b") return place;
  }
  return std::nullopt;
}

std::string ShapeText(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(shape[i]);
  return text + "]";
}

// Nothing, or what is wrong with this half of a pair.
std::string ProblemOf(const TensorView& tensor, const Place& place, const BertConfig& config) {
  const BertLinearShape shape = ShapeOf(config, place.linear);
  const std::size_t fixed = place.is_a ? shape.in : shape.out;
  const std::string expected = place.is_a ? "[r," + std::to_string(fixed) + "]" : "[" + std::to_string(fixed) + ",r]";
  if (tensor.type != TensorType::kF32 || tensor.shape.size() != 2 || tensor.shape[place.is_a ? 1 : 0] != fixed) {
    return "\"" + tensor.name + "\" is " + std::string(TensorTypeName(tensor.type)) + " " + ShapeText(tensor.shape) +
           ", this model takes f32 " + expected;
  }
  const std::uint64_t rank = tensor.shape[place.is_a ? 0 : 1];
  if (rank < 1 || rank > kAdapterRankMax) {
    return "\"" + tensor.name + "\" has rank " + std::to_string(rank) + ", expected 1.." +
           std::to_string(kAdapterRankMax);
  }
  const auto values = ToFloats(tensor);
  if (!values.ok()) return "\"" + tensor.name + "\": " + std::string(values.status().message());
  for (const float value : *values) {
    if (!std::isfinite(value)) return "\"" + tensor.name + "\" holds a number that is not finite";
  }
  return "";
}

struct Halves {
  const TensorView* a = nullptr;
  const TensorView* b = nullptr;
};

// out[column · row_stride + row] of in[row][column].
void Transpose(const TensorView& tensor, std::size_t row_stride, float* out) {
  const std::vector<float> values = ToFloats(tensor).value();
  const std::size_t rows = tensor.shape[0];
  const std::size_t columns = tensor.shape[1];
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < columns; ++column) {
      out[column * row_stride + row] = values[row * columns + column];
    }
  }
}

// One rank of A, as column `column` of the panel.
void PlaceCodes(const std::int8_t* row, std::size_t count, float scale, std::size_t column, LowRankCodes& codes) {
  std::int32_t column_sum = 0;
  std::int32_t pair_sum = 0;
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t at = (k / kInt8DepthStep * kInt8PanelColumns + column) * kInt8DepthStep + k % kInt8DepthStep;
    codes.lines[at / 64].codes[at % 64] = row[k];
    column_sum += row[k];
    const bool has_pair = k % kInt8DepthMultiple < kInt8DepthStep && k + kInt8DepthStep < count;
    if (has_pair) pair_sum += std::int32_t{row[k]} * row[k + kInt8DepthStep];
  }
  codes.scales[column] = scale;
  codes.column_weights[column] = scale * static_cast<float>(column_sum);
  codes.column_sums[column] = column_sum;
  codes.pair_sums[column] = pair_sum;
}

LowRankCodes QuantizeAs(std::span<const Halves> halves, std::size_t input_count) {
  LowRankCodes codes;
  const std::size_t depth = RoundUp(input_count, kInt8DepthMultiple);
  codes.lines.resize(depth * kInt8PanelColumns / 64);
  codes.scales.resize(kInt8PanelColumns);
  codes.column_weights.resize(kInt8PanelColumns);
  codes.bias.resize(kInt8PanelColumns);
  codes.column_sums.resize(kInt8PanelColumns);
  codes.pair_sums.resize(kInt8PanelColumns);
  std::size_t first = 0;
  for (const Halves& pair : halves) {
    if (pair.a == nullptr) continue;
    const auto [rows, scales] = QuantizeMatrixInt8(MakeF32Tensor("lora_a", pair.a->shape, ToFloats(*pair.a).value()));
    for (std::size_t rank = 0; rank < pair.a->shape[0]; ++rank) {
      float scale;
      std::memcpy(&scale, scales.bytes.data() + rank * sizeof(scale), sizeof(scale));
      const auto* row = reinterpret_cast<const std::int8_t*>(rows.bytes.data()) + rank * input_count;
      PlaceCodes(row, input_count, scale, first + rank, codes);
    }
    first += RoundUp(pair.a->shape[0], kAdapterRankMultiple);
  }
  codes.column_count = RoundUp(first, 8);
  return codes;
}

// Where a layer's ranks lie among those of its input, and its outputs among those of all.
struct Part {
  std::vector<float> b;  // [output_count][rank]
  std::size_t output_count;
  std::size_t rank;
  std::size_t first_rank;
  std::size_t first_output;
};

// 64 outputs from `first_output` on; where they are of two layers, the ranks of both.
LowRankPanel PlacePanel(std::span<const Part> parts, std::size_t first_output, std::vector<float>& b) {
  LowRankPanel panel{.first = b.size()};
  const auto reaches = [&](const Part& part) {
    return part.first_output < first_output + kInt8PanelColumns && first_output < part.first_output + part.output_count;
  };
  for (const Part& part : parts) {
    if (!reaches(part)) continue;
    if (panel.rank == 0) panel.first_rank = part.first_rank;
    panel.rank = part.first_rank + RoundUp(part.rank, kAdapterRankMultiple) - panel.first_rank;
  }
  b.resize(panel.first + panel.rank * kInt8PanelColumns);
  for (const Part& part : parts) {
    if (!reaches(part)) continue;
    for (std::size_t output = 0; output < part.output_count; ++output) {
      const std::size_t column = part.first_output + output - first_output;  // Wraps round below the first.
      if (column >= kInt8PanelColumns) continue;
      for (std::size_t rank = 0; rank < part.rank; ++rank) {
        b[panel.first + (part.first_rank - panel.first_rank + rank) * kInt8PanelColumns + column] =
            part.b[output * part.rank + rank];
      }
    }
  }
  return panel;
}

// Of the halves of linear layers that read the same, of `output_count` outputs each.
LowRankInput Join(std::span<const Halves> halves, std::size_t output_count) {
  LowRankInput input;
  std::vector<Part> parts;
  std::size_t rank_count = 0;
  for (std::size_t i = 0; i < halves.size(); ++i) {
    if (halves[i].a == nullptr) continue;
    parts.push_back(
        {ToFloats(*halves[i].b).value(), output_count, halves[i].b->shape[1], rank_count, i * output_count});
    input.input_count = halves[i].a->shape[1];
    rank_count += RoundUp(halves[i].a->shape[0], kAdapterRankMultiple);
  }
  if (parts.empty()) return input;
  input.rank_columns = RoundUp(rank_count, kColumnMultiple);
  if (rank_count <= kInt8PanelColumns) input.codes = QuantizeAs(halves, input.input_count);
  input.a.resize(input.input_count * input.rank_columns);
  for (std::size_t i = 0, part = 0; i < halves.size(); ++i) {
    if (halves[i].a != nullptr) Transpose(*halves[i].a, input.rank_columns, input.a.data() + parts[part++].first_rank);
  }
  for (std::size_t first = 0; first < halves.size() * output_count; first += kInt8PanelColumns) {
    input.panels.push_back(PlacePanel(parts, first, input.b));
  }
  return input;
}

}  // namespace

const char* BertLinearName(BertLinear linear) {
  constexpr const char* kNames[] = {"query", "key", "value", "output", "up", "down"};
  return kNames[static_cast<std::size_t>(linear)];
}

BertLinearShape ShapeOf(const BertConfig& config, BertLinear linear) {
  if (linear == BertLinear::kUp) return {config.intermediate_size, config.hidden_size};
  if (linear == BertLinear::kDown) return {config.hidden_size, config.intermediate_size};
  return {config.hidden_size, config.hidden_size};
}

Result<BertAdapter> BertAdapter::Create(const BertConfig& config, const std::vector<TensorView>& tensors) {
  std::vector<Halves> halves(config.layer_count * kBertLinearCount);
  std::vector<std::string> problems;
  for (const TensorView& tensor : tensors) {
    const auto place = PlaceOf(tensor.name, config);
    if (!place) {
      problems.push_back("\"" + tensor.name + "\" names no linear layer of a model of " +
                         std::to_string(config.layer_count) + " layers");
      continue;
    }
    if (std::string problem = ProblemOf(tensor, *place, config); !problem.empty()) {
      problems.push_back(std::move(problem));
      continue;
    }
    Halves& pair = halves[place->layer * kBertLinearCount + static_cast<std::size_t>(place->linear)];
    const TensorView*& half = place->is_a ? pair.a : pair.b;
    if (half != nullptr) problems.push_back("\"" + tensor.name + "\" appears twice");
    half = &tensor;
  }
  for (const Halves& pair : halves) {
    if (pair.a != nullptr && pair.b != nullptr && pair.a->shape[0] != pair.b->shape[1]) {
      problems.push_back("\"" + pair.a->name + "\" has rank " + std::to_string(pair.a->shape[0]) + ", its lora_b " +
                         std::to_string(pair.b->shape[1]));
    }
    if ((pair.a == nullptr) == (pair.b == nullptr) || !problems.empty()) continue;
    problems.push_back("\"" + (pair.a != nullptr ? pair.a : pair.b)->name + "\" lacks its other half");
  }
  if (problems.empty() && tensors.empty()) problems.push_back("no pair of lora_a and lora_b");
  if (!problems.empty()) {
    std::string message = "LoRA adapter: ";
    for (std::size_t i = 0; i < problems.size() && i < kProblemsListedMax; ++i) {
      message += (i == 0 ? "" : "; ") + problems[i];
    }
    if (problems.size() > kProblemsListedMax) {
      message += "; and " + std::to_string(problems.size() - kProblemsListedMax) + " more";
    }
    return Status::InvalidArgument(std::move(message));
  }
  BertAdapter adapter;
  adapter.config_ = config;
  adapter.inputs_.resize(halves.size());
  const std::span<const Halves> all(halves);
  for (std::size_t i = 0; i < halves.size(); ++i) {
    const auto linear = static_cast<BertLinear>(i % kBertLinearCount);
    const std::size_t output_count = ShapeOf(config, linear).out;
    if (linear == BertLinear::kQuery) adapter.inputs_[i] = Join(all.subspan(i, 3), output_count);
    if (linear >= BertLinear::kOutput) adapter.inputs_[i] = Join(all.subspan(i, 1), output_count);
  }
  return adapter;
}

std::size_t BertAdapter::MemoryBytes() const {
  std::size_t count = 0;
  for (const LowRankInput& input : inputs_) {
    count += input.a.size() + input.b.size() + input.codes.lines.size() * sizeof(LowRankCodes::Line) / sizeof(float);
  }
  return count * sizeof(float);
}

}  // namespace foreshore
