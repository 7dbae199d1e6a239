// BERT out of an ONNX file, whichever exporter wrote it.
//
// Threads: a pure function.
#pragma once

#include <string_view>

#include "engine/inference/bert.h"
#include "engine/inference/model_provenance.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

struct OnnxBert {
  BertModel model;             // F32; token_count_max = position_count; normalise = true.
  ModelProvenance provenance;  // As metadata_props say it.
};

// Takes the encoder's last hidden states; what the graph computes from them (a pooled output) is left out. The whole
// file is checked before any weight is copied. kUnsupported names at once every operator that is not known, or says
// which node departs from BERT's structure; kCorruption and kLimit for bytes that are not what they claim.
Result<OnnxBert> ImportOnnxBert(std::string_view name, Bytes bytes);

}  // namespace foreshore
