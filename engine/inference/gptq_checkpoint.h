// GPTQ checkpoints in safetensors, as AutoGPTQ and GPTQModel save them, of the BERT family and 4 bits.
//
// In place of a linear layer's weight [out, in] stand, with groups of g inputs:
//   <name>.qweight I32 [in/8, out]      eight codes to a word, the lowest bits first
//   <name>.qzeros  I32 [⌈in/g⌉, out/8]  zero points: format "gptq" (v1) stores them less one, "gptq_v2" as they are
//   <name>.scales  F16 [⌈in/g⌉, out]
//   <name>.g_idx   I32 [in]             the group of each input; without act-order k / g
// and in config.json "quantization_config": {"quant_method": "gptq", "bits", "group_size", "desc_act",
// "checkpoint_format"}.
//
// Files lie about the format: where every zero point of a file is stored as 7 it is v1, where every one is stored as 8
// it is v2, whatever the file says, since symmetric codes have their zero at 8.
//
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/inference/bert.h"
#include "engine/inference/tensor.h"
#include "foreshore/status.h"

namespace foreshore {

struct GptqCheckpointConfig {
  std::uint32_t bits = 4;
  std::int64_t group_size = 128;  // -1: all inputs are one group.
  bool is_v2 = false;             // What the file says.
};

struct GptqCheckpoint {
  BertModel model;  // Canonical, in `format`.
  WeightFormat format;
};

// kUnsupported for a group size or an assignment of inputs to groups that no kernel runs; kInvalidArgument lists every
// tensor that is missing, unknown or misshapen; kCorruption for values that contradict the layout.
Result<GptqCheckpoint> BertFromGptq(std::string_view name, const BertConfig& config, const GptqCheckpointConfig& gptq,
                                    const std::vector<TensorView>& tensors);

}  // namespace foreshore
