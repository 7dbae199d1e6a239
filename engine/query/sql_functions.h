// The functions that this library adds to SQL:
//   array_contains(array, value)   whether an element equals the value
//   attachment(collection, id, name)   an attachment's content, a blob
//   image_tensor(image[, options])   of a JPEG or PNG file's bytes, for predict()
//   embed(model, text)            the text's embedding, a blob of 32-bit floats
//   predict(model, input_json)    the model's answer as JSON
//   vector_distance(a, b[, metric])   of two vectors as text or blob; metric is cosine (default), dot or l2
//   uuid7()                       a fresh document id
// NULL in, NULL out.
//
// Threads: one at a time, as the session they are registered in.
#pragma once

#include "engine/query/session_state.h"

namespace foreshore {

Status RegisterSqlFunctions(SessionState& session);

}  // namespace foreshore
