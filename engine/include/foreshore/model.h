// Models as users see them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace foreshore {

enum class Quantization : std::uint8_t { kNone = 0, kInt8 = 1 };  // Stored: never renumber.

struct ModelImportOptions {
  Quantization quantization = Quantization::kInt8;
  std::string vocabulary_path = {};  // For an .onnx file without a vocab.txt or tokenizer.json beside it.
  std::string licence = {};          // Kept with the model where the files do not say it.
  std::string origin = {};
};

struct ModelInfo {
  std::string name;
  std::string version;          // Hexadecimal SHA-256 of the manifest.
  std::string architecture;     // "bert" or "graph"
  std::string quantization;     // "int8" or "none"
  std::uint32_t dimension = 0;  // Of the embedding; 0 for a graph.
  std::uint32_t token_count_max = 0;
  std::uint64_t tensor_count = 0;
  std::uint64_t tensor_bytes = 0;
  std::string licence;
  std::string origin;
  bool is_complete = true;  // False while blobs of a synced model are still on their way.
};

}  // namespace foreshore
