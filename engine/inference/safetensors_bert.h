// BERT as the transformers library saves it: config.json and tensors under its names.
//
// Threads: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/inference/bert.h"
#include "engine/inference/gptq_checkpoint.h"
#include "engine/inference/tensor.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

struct BertConfigFile {
  BertConfig config;                         // token_count_max = position_count; normalise = true.
  std::string origin;                        // "_name_or_path", or empty.
  std::optional<GptqCheckpointConfig> gptq;  // Where quantization_config says that the weights are.
};

// kUnsupported names at once every setting of config.json that is not the post-layer-norm encoder with absolute
// positions and erf GELU; kCorruption a size that is missing.
Result<BertConfigFile> ReadBertConfigJson(std::string_view name, Bytes text);

// Our name for a tensor of a BERT as the transformers library calls it, with or without "bert." before it; nothing
// where it is none.
std::optional<std::string> CanonicalBertName(std::string_view name);

// Whether this is of a part beside or behind the last hidden state, which sentence embeddings do not use: the pooler,
// the pre-training heads, position_ids.
bool IsUnusedBertName(std::string_view name);

// Renames and converts 16-bit floats to f32; parts that sentence embeddings do not use are left out. An unknown name
// stays as it is, and so does another type.
Result<std::vector<Tensor>> CanonicalBertTensors(const std::vector<TensorView>& tensors);

// Renames and converts to F32. The names may begin with "bert."; the pooler, the pre-training heads and position_ids
// are left out. kInvalidArgument lists every tensor that is missing, unknown or of the wrong shape.
Result<BertModel> BertFromSafetensors(std::string_view name, const BertConfig& config,
                                      const std::vector<TensorView>& tensors);

}  // namespace foreshore
