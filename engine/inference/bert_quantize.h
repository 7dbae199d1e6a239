// Post-training quantization of a BERT: int8 codes per output channel, symmetric, without calibration data.
//
// Threads: a pure function.
#pragma once

#include "engine/inference/bert.h"
#include "foreshore/status.h"

namespace foreshore {

// The int8 form of an F32 model (names and shapes in bert.h). Each row of each matrix gets the scale, among clipping
// points from 70 % to 100 % of its largest magnitude, that leaves the smallest squared error; codes are rounded to
// nearest, ties to even. kInvalidArgument names the first tensor that holds NaN or infinity, or lists what
// ValidateBertTensors finds.
Result<BertModel> QuantizeBertInt8(const BertModel& f32);

}  // namespace foreshore
