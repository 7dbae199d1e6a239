// Models as users see them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace foreshore {

// Stored: never renumber.
enum class Quantization : std::uint8_t { kNone = 0, kInt8 = 1, kGptq4 = 2, kGptq3 = 3, kNf4 = 4 };

struct ModelImportOptions {
  // kNone keeps a text model's weights in f32 and runs them so; kInt8. The others need a model that is there already:
  // QuantizeModel. A file whose weights are quantized already (GPTQ) keeps them as they are.
  Quantization quantization = Quantization::kInt8;
  std::string vocabulary_path = {};  // For an .onnx file without a vocab.txt or tokenizer.json beside it.
  std::string licence = {};          // Kept with the model where the files do not say it.
  std::string origin = {};
};

struct ModelInfo {
  std::string name;
  std::string version;          // Hexadecimal SHA-256 of the manifest.
  std::string architecture;     // "bert", "graph", or "runtime": one that the application runs (foreshore/runtime.h)
  std::string quantization;     // "none", "int8", "gptq4", "gptq3" or "nf4"
  std::uint32_t dimension = 0;  // Of the embedding; 0 for a graph.
  std::uint32_t token_count_max = 0;
  std::uint64_t tensor_count = 0;
  std::uint64_t tensor_bytes = 0;
  std::string licence;
  std::string origin;
  bool is_complete = true;            // False while blobs of a synced model are still on their way.
  std::vector<std::string> adapters;  // Names of its LoRA adapters, in order.
  std::string runtime_version;        // Of a runtime: the version that its row asks for.
  bool is_registered = false;         // Of a runtime: that version is registered in this process.
  // Of a graph that was opened for it (Database::DescribeModel): how many nodes of its file run as one step, by kind,
  // as "6 attention, 6 qkv, 12 residual".
  std::string fusions;
};

struct ModelQuantizeOptions {
  Quantization method = Quantization::kGptq4;
  std::uint32_t group_size = 128;  // Of kGptq4 and kGptq3: inputs that share a scale, a multiple of 32.
  // The documents whose text at `path` calibrates and judges: a sample of those that have one, the same each time. What
  // judges does not calibrate.
  std::string collection = {};
  std::string path = {};
  // Of a general graph the value at `path` is what predict() takes, as JSON; where `image` is not empty, `path` is the
  // name of an attachment, which image_tensor() takes with these options.
  std::string image = {};
  std::size_t calibration_count = 600;  // Documents at most.
  std::size_t held_out_count = 256;     // At least 20 are needed.
  double overlap_min = 0.9;  // Activated only where top_ten_overlap, of a graph top_one_agreement, is no less.
};

struct ModelQuantizeReport {
  ModelInfo model;            // The new one; where it was not activated, what it would have been, without a version.
  bool is_activated = false;  // False where it fell short of overlap_min: nothing was kept.
  std::string refusal;        // Why not.
  std::uint64_t original_bytes = 0;  // Of tensors.
  std::uint64_t quantized_bytes = 0;
  double original_us = 0;  // For a held-out document, on average, on one thread.
  double quantized_us = 0;
  double mean_cosine = 0;  // Of the new model's embeddings or first outputs to the original's, of held-out documents.
  double min_cosine = 0;
  double top_ten_overlap = 0;  // How many of the ten nearest held-out texts are the same, 0..1.
  // Of a graph: the part of held-out rows of its first output in which the same number is the greatest, 0..1; of one
  // that gives single numbers the coefficient of determination, 1 − Σ(a − b)² / Σ(a − mean)², at least 0. 0 for a text
  // model.
  double top_one_agreement = 0;
  double output_error_ratio = 0;  // Of GPTQ: layers' output error against rounding to nearest; 0 with other methods.
  std::size_t calibration_count = 0;
  std::size_t calibration_token_count = 0;
  std::size_t held_out_count = 0;
};

}  // namespace foreshore
