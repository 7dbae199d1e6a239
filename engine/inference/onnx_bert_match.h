// Finds BERT in an ONNX graph by following the data, whatever its values are called.
//
// Threads: a pure function.
#pragma once

#include <string>
#include <vector>

#include "engine/inference/bert.h"
#include "engine/inference/onnx_graph.h"
#include "foreshore/status.h"

namespace foreshore {

// Where one of BertTensorTable's tensors stands in the graph.
struct BertWeightRef {
  std::string name;
  ValueId value = kNoValue;
  bool transpose = false;  // The graph has [in,out].

  friend bool operator==(const BertWeightRef&, const BertWeightRef&) = default;
};

struct BertMatch {
  BertConfig config;  // token_count_max = position_count.
  std::vector<BertWeightRef> weights;
  // Graphs without segment embeddings: then `weights` has no embeddings.type, and it is one row of zeros.
  bool has_type_embedding = false;
};

// Follows the graph's output back to the embeddings and checks every step: normalisation after each residual sum, GELU
// by erf, attention over the words that the mask allows with the scale 1/√d, heads cut and joined in order, absolute
// positions. kUnsupported says which node does something else, and what was expected there.
Result<BertMatch> MatchBert(const OnnxGraph& graph);

}  // namespace foreshore
