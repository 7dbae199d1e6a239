// What Database::CreatePredictiveIndex() is told.
//
// Threads: a value; no sharing.
#pragma once

#include <string>

namespace foreshore {

// The number at one place of what a model makes of a document, kept for each and ordered: what SQL writes as
// predict('scores', x) ->> '$[0][0]'. Computed in the background after a commit; a statement that needs what is still
// missing computes it. Of a document whose input is missing, or does not fit the model, it is NULL.
struct PredictiveIndexOptions {
  std::string model = {};
  // The input: a path, "x" or "signal.samples" (numbers for a graph, a string for a text model); or, as SQL writes it,
  // "json_array(a, b, 0.5)" or "json_object('age', age, 'history', history)" of fields, numbers and texts; or an
  // attachment, "image_tensor(attachment('parts', id, 'photo.jpg'), '{"width":224}')".
  std::string path = {};
  std::string output = {};   // "$[0][0]"; "$.embedding[3]"; of one of several outputs "$.score[0][0]"
  std::string adapter = {};  // One of a text model's LoRA adapters; empty: the model alone.
  std::string name = {};     // Empty: model and paths, "scores_x", "scores_a_b", "scratches_photo.jpg".
};

}  // namespace foreshore
