// ModelRegistry::Quantize: calibrate, judge on held-out texts, activate what is good enough.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "engine/inference/bert_gptq.h"
#include "engine/inference/bert_quantize.h"
#include "engine/inference/packed_bert_in_memory.h"
#include "engine/model/bert_text_model.h"
#include "engine/model/model_manifest.h"
#include "engine/model/model_registry.h"
#include "engine/model/model_row.h"

namespace foreshore {
namespace {

constexpr std::size_t kNearestCount = 10;

Result<WeightFormat> FormatFor(const ModelQuantizeOptions& options) {
  WeightFormat format;
  switch (options.method) {
    case Quantization::kInt8: format = WeightFormat::Int8(); break;
    case Quantization::kNf4: format = WeightFormat::Nf4(); break;
    case Quantization::kGptq4: format = WeightFormat::Gptq(4, options.group_size); break;
    case Quantization::kGptq3: format = WeightFormat::Gptq(3, options.group_size); break;
    default: return Status::InvalidArgument("quantization method none, expected int8, gptq4, gptq3 or nf4");
  }
  FORESHORE_RETURN_IF_ERROR(ValidateWeightFormat(format));
  return format;
}

using Sequences = std::vector<std::vector<std::int32_t>>;

Sequences Tokenize(const WordPieceTokenizer& tokenizer, std::span<const std::string> texts) {
  Sequences sequences;
  std::vector<std::uint32_t> ids;
  for (const std::string& text : texts) {
    tokenizer.Encode(text, ids);
    sequences.emplace_back(ids.begin(), ids.end());
  }
  return sequences;
}

struct Embedded {
  std::vector<float> vectors;
  double us_per_text = 0;
};

Result<Embedded> EmbedAll(const PackedBert& packed, const Sequences& sequences) {
  FORESHORE_ASSIGN_OR_RETURN(const auto executor, BertExecutor::Create(packed, {}));
  Embedded embedded;
  embedded.vectors.resize(sequences.size() * packed.config().hidden_size);
  const std::vector<std::span<const std::int32_t>> spans(sequences.begin(), sequences.end());
  const auto start = std::chrono::steady_clock::now();
  FORESHORE_RETURN_IF_ERROR(executor->Embed(spans, embedded.vectors));
  const std::chrono::duration<double, std::micro> elapsed = std::chrono::steady_clock::now() - start;
  embedded.us_per_text = elapsed.count() / static_cast<double>(sequences.size());
  return embedded;
}

double Dot(const float* a, const float* b, std::size_t count) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// The nearest of each text among the others by cosine, ids in order.
std::vector<std::vector<std::size_t>> NearestOf(const std::vector<float>& vectors, std::size_t width) {
  const std::size_t count = vectors.size() / width;
  std::vector<double> lengths(count);
  for (std::size_t i = 0; i < count; ++i) {
    const float* vector = vectors.data() + i * width;
    lengths[i] = std::sqrt(std::max(1e-30, Dot(vector, vector, width)));
  }
  std::vector<std::vector<std::size_t>> nearest(count);
  std::vector<std::pair<double, std::size_t>> scores;
  for (std::size_t query = 0; query < count; ++query) {
    scores.clear();
    for (std::size_t i = 0; i < count; ++i) {
      if (i == query) continue;
      scores.emplace_back(-Dot(&vectors[query * width], &vectors[i * width], width) / lengths[i], i);
    }
    std::partial_sort(scores.begin(), scores.begin() + kNearestCount, scores.end());
    for (std::size_t i = 0; i < kNearestCount; ++i) nearest[query].push_back(scores[i].second);
    std::sort(nearest[query].begin(), nearest[query].end());
  }
  return nearest;
}

void Compare(const std::vector<float>& original, const std::vector<float>& quantized, std::size_t width,
             ModelQuantizeReport& report) {
  const std::size_t count = original.size() / width;
  report.min_cosine = 1;
  for (std::size_t i = 0; i < count; ++i) {
    const float* a = original.data() + i * width;
    const float* b = quantized.data() + i * width;
    const double lengths = std::sqrt(std::max(1e-30, Dot(a, a, width) * Dot(b, b, width)));
    const double cosine = Dot(a, b, width) / lengths;
    report.mean_cosine += cosine / static_cast<double>(count);
    report.min_cosine = std::min(report.min_cosine, cosine);
  }
  const auto left = NearestOf(original, width);
  const auto right = NearestOf(quantized, width);
  std::size_t common_count = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<std::size_t> common;
    std::set_intersection(left[i].begin(), left[i].end(), right[i].begin(), right[i].end(), std::back_inserter(common));
    common_count += common.size();
  }
  report.top_ten_overlap = static_cast<double>(common_count) / static_cast<double>(count * kNearestCount);
}

std::string RefusalFor(const std::string& as, const ModelQuantizeReport& report, double overlap_min) {
  if (report.top_ten_overlap >= overlap_min) return "";
  char figures[160];
  std::snprintf(figures, sizeof figures, "keeps %.3f of the ten nearest of %zu held-out texts, expected at least %.3f",
                report.top_ten_overlap, report.held_out_count, overlap_min);
  return "model \"" + as + "\": " + figures + "; it was not activated";
}

}  // namespace

Result<ModelQuantizeReport> ModelRegistry::Quantize(const std::string& name, const std::string& as,
                                                    const ModelQuantizeOptions& options,
                                                    std::span<const std::string> calibration,
                                                    std::span<const std::string> held_out) {
  const std::string where = "model \"" + name + "\"";
  FORESHORE_RETURN_IF_ERROR(ValidateModelName("model", as));
  FORESHORE_ASSIGN_OR_RETURN(const WeightFormat format, FormatFor(options));
  FORESHORE_ASSIGN_OR_RETURN(const ModelInfo original, Get(name));
  if (original.architecture == "graph" || original.architecture == "runtime") {
    return Status::Unsupported(where + ": is a " + original.architecture + ", expected a text model with weights here");
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto running, LoadBert(name));
  const WeightFormat& from = running->packed().format();
  const bool is_finer = from == WeightFormat::Float() || (from == WeightFormat::Int8() && format != from);
  if (!is_finer) {
    return Status::InvalidArgument(where + ": is " + original.quantization + ", expected " +
                                   (format == WeightFormat::Int8() ? "none" : "none or int8") + " to make " +
                                   std::string(WeightFormatName(format)) + " of");
  }
  if (held_out.size() < kHeldOutCountMin) {
    return Status::InvalidArgument(where + ": found " + std::to_string(held_out.size()) +
                                   " texts to judge by, expected at least " + std::to_string(kHeldOutCountMin));
  }
  FORESHORE_ASSIGN_OR_RETURN(const ModelManifest manifest, ManifestOf(original));
  FORESHORE_ASSIGN_OR_RETURN(const MappedTensors mapped, MapTensors(manifest));
  FORESHORE_ASSIGN_OR_RETURN(const BertModel f32, DequantizeBert(manifest.config, manifest.format, mapped.tensors));

  ModelQuantizeReport report;
  report.calibration_count = format.kind == WeightKind::kGrouped ? calibration.size() : 0;
  report.held_out_count = held_out.size();
  BertModel quantized;
  if (format.kind == WeightKind::kGrouped) {
    GptqReport gptq;
    auto made = QuantizeBertGptq(f32, Tokenize(running->tokenizer(), calibration),
                                 {.bits = format.bits, .group_size = format.group_size}, &gptq);
    if (!made.ok()) return made.status().WithContext(where);
    quantized = std::move(made).value();
    report.output_error_ratio = gptq.ErrorRatio();
    report.calibration_token_count = gptq.token_count;
  } else {
    auto made = format.kind == WeightKind::kNf4 ? QuantizeBertNf4(f32) : QuantizeBertInt8(f32);
    if (!made.ok()) return made.status().WithContext(where);
    quantized = std::move(made).value();
  }

  FORESHORE_ASSIGN_OR_RETURN(const auto packed, PackedBertInMemory::Make(quantized, format));
  const Sequences judges = Tokenize(running->tokenizer(), held_out);
  FORESHORE_ASSIGN_OR_RETURN(const Embedded before, EmbedAll(running->packed(), judges));
  FORESHORE_ASSIGN_OR_RETURN(const Embedded after, EmbedAll(packed.packed(), judges));
  report.original_us = before.us_per_text;
  report.quantized_us = after.us_per_text;
  Compare(before.vectors, after.vectors, manifest.config.hidden_size, report);
  report.original_bytes = original.tensor_bytes;
  for (const Tensor& tensor : quantized.tensors) report.quantized_bytes += tensor.bytes.size();
  report.refusal = RefusalFor(as, report, options.overlap_min);

  report.model = original;
  report.model.name = as;
  report.model.adapters.clear();
  report.model.quantization = WeightFormatName(format);
  report.model.tensor_count = quantized.tensors.size();
  report.model.tensor_bytes = report.quantized_bytes;
  report.model.version.clear();
  if (!report.refusal.empty()) return report;
  const BlobHold hold = blobs_.Hold();  // Until the row refers to what is written here.
  FORESHORE_RETURN_IF_ERROR(ActivateBert(quantized, format, manifest.tokenizer, report.model));
  report.is_activated = true;
  return report;
}

}  // namespace foreshore
