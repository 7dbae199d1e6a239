// GPTQ of a whole BERT, calibrated through the model's own activations.
//
// Threads: a pure function of its arguments, on the caller's thread.
#pragma once

#include <string>
#include <vector>

#include "engine/inference/bert.h"
#include "engine/inference/bert_packed.h"
#include "engine/inference/gptq.h"
#include "foreshore/status.h"

namespace foreshore {

struct GptqReport {
  struct Layer {
    std::string name;      // "layer.0.query"
    double error;          // Σ‖Wx + b − Qx − b'‖² over the calibration tokens, of GPTQ
    double nearest_error;  // and of rounding to the nearest code.
  };
  std::vector<Layer> layers;
  std::size_t token_count = 0;

  // The geometric mean of error / nearest_error.
  double ErrorRatio() const;
};

// The grouped form (bert.h) of an F32 model. Biases take up the mean of each output's error (Nagel et al. 2019,
// arXiv:1906.04721, section 4.2), so that GPTQ need only keep what varies about it: its Hessian is of inputs less their
// mean.
//
// `runs` is the same model packed, in whatever format: what its linear
// layers read on `sequences` is the calibration. kInvalidArgument where these are fewer tokens than the widest layer
// has inputs, or activations or weights are not finite.
Result<BertModel> QuantizeBertGptq(const BertModel& f32, const PackedBert& runs,
                                   const std::vector<std::vector<std::int32_t>>& sequences, const GptqOptions& options,
                                   GptqReport* report = nullptr);

}  // namespace foreshore
