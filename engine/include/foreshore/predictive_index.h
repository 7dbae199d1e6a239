// What Database::CreatePredictiveIndex() is told.
//
// Threads: a value; no sharing.
#pragma once

#include <string>

namespace foreshore {

// The number at one place of what a model makes of a path, kept for each document and ordered: what SQL writes as
// predict('scores', x) ->> '$[0][0]'. Computed in the background after a commit; a statement that needs what is still
// missing computes it. Of a document whose input is missing, or does not fit the model, it is NULL.
struct PredictiveIndexOptions {
  std::string model = {};
  std::string path = {};     // The input: "x", "signal.samples". Numbers for a graph, a string for a text model.
  std::string output = {};   // "$[0][0]"; "$.embedding[3]"
  std::string adapter = {};  // One of a text model's LoRA adapters; empty: the model alone.
  std::string name = {};     // Empty: model and path, "scores_x".
};

}  // namespace foreshore
