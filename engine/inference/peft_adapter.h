// LoRA adapters of BERT models as PEFT saves them: a folder with adapter_config.json and adapter_model.safetensors.
//
//   base_model.model.<path>.lora_A.weight [r, in] · base_model.model.<path>.lora_B.weight [out, r]
//   scale: lora_alpha / r, or lora_alpha / √r with use_rslora; rank_pattern and alpha_pattern give others by module
//   name
//
// Threads: pure functions; files are mapped for the time of the call and copied from.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/inference/tensor.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

struct PeftAdapter {
  std::vector<Tensor> tensors;  // layer.{i}.<linear>.lora_a and .lora_b (bert_adapter.h), the scale in B.
  std::string base;             // base_model_name_or_path, or empty.
};

// `path` is the folder, or the .safetensors file in it. kNotFound for a missing file, kUnsupported naming at once every
// setting and tensor that is no LoRA of a BERT's linear layers, kCorruption and kLimit for bytes that are not what they
// claim.
Result<PeftAdapter> ImportPeftAdapter(const std::string& path);
// The same from the files' content.
Result<PeftAdapter> ReadPeftAdapter(std::string_view config_name, Bytes config_text, std::string_view weights_name,
                                    Bytes weights);

// Whether an adapter for `base` may run on a model from `origin`: where both are known their last path components
// agree.
bool IsSameBase(std::string_view base, std::string_view origin);

}  // namespace foreshore
