// GPTQ of a whole BERT, layer by layer: each linear layer is calibrated on what the layers before it give as they are
// quantized already, and aims at what the float model gives there (calibration_sums.h).
//
// Threads: a pure function of its arguments, on the caller's thread.
#pragma once

#include <string>
#include <vector>

#include "engine/inference/bert.h"
#include "engine/inference/gptq.h"
#include "foreshore/status.h"

namespace foreshore {

struct GptqReport {
  struct Layer {
    std::string name;  // "layer.0.query"
    double error;  // Σ‖Wx + b − Qx̃ − b'‖² over the calibration tokens, of GPTQ: what the layers before did included
    double nearest_error;  // and of rounding this layer to the nearest code in its place.
  };
  std::vector<Layer> layers;
  std::size_t token_count = 0;

  // The geometric mean of error / nearest_error.
  double ErrorRatio() const;
};

// The grouped form (bert.h) of an F32 model. Biases take up the mean of each output's error (Nagel et al. 2019,
// arXiv:1906.04721, section 4.2), so that GPTQ need only keep what varies about it: its Hessian is of inputs less their
// mean. kInvalidArgument where `sequences` are fewer tokens than the widest layer has inputs, or do not fit the model,
// or activations or weights are not finite.
Result<BertModel> QuantizeBertGptq(const BertModel& f32, const std::vector<std::vector<std::int32_t>>& sequences,
                                   const GptqOptions& options, GptqReport* report = nullptr);

}  // namespace foreshore
