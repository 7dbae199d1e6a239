// predict_batch(model, query[, adapter]): a table-valued function that runs a model on the rows of a query, many in one
// call where its rows know nothing of each other.
//
//   SELECT key, output FROM predict_batch('mlp', 'SELECT id, a, b, c FROM readings')
//   SELECT key, output ->> '$.score' FROM predict_batch('risk', 'SELECT id, age, smokes, history FROM patients')
//
// The query's first column becomes `key`; the others are the model's inputs, by their names where it has several.
// `output` is what the model makes of the row: a number, a JSON array, or an object of these by the outputs' names. The
// query reads the snapshot of the statement around it.
// Threads: those of the session.
#pragma once

#include "engine/query/session_state.h"

namespace foreshore {

Status RegisterPredictTable(SessionState& session);

}  // namespace foreshore
