// Post-training quantization of a BERT without calibration data: int8 codes per output channel, symmetric, or NF4. And
// the way back. (With calibration: bert_gptq.h.)
//
// Threads: a pure function.
#pragma once

#include <utility>
#include <vector>

#include "engine/inference/bert.h"
#include "foreshore/status.h"

namespace foreshore {

// The int8 form of an F32 model (names and shapes in bert.h). Each row of each matrix gets the scale, among clipping
// points from 70 % to 100 % of its largest magnitude, that leaves the smallest squared error; codes are rounded to
// nearest, ties to even. kInvalidArgument names the first tensor that holds NaN or infinity, or lists what
// ValidateBertTensors finds.
Result<BertModel> QuantizeBertInt8(const BertModel& f32);
// The same for one matrix of finite numbers: its codes and its scales, as <name> and <name>.scale.
std::pair<Tensor, Tensor> QuantizeMatrixInt8(const Tensor& f32);

// The nf4 form: linear layers as nf4.h says, the word embedding in int8. Errors as above.
Result<BertModel> QuantizeBertNf4(const BertModel& f32);

// What the canonical tensors of any form stand for, as an F32 model. kInvalidArgument and kCorruption as
// ValidateBertTensors and ReadGroupedTensors find them.
Result<BertModel> DequantizeBert(const BertConfig& config, const WeightFormat& format,
                                 const std::vector<TensorView>& canonical);

}  // namespace foreshore
