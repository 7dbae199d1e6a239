// predict_batch(model, query): a table-valued function that runs a model on the rows of a query, many in one call.
//
//   SELECT key, output FROM predict_batch('mlp', 'SELECT id, a, b, c FROM readings')
//
// The query's first column becomes `key`; the others are one row of the model's input. `output` is a number where the
// model makes one for a row, else a JSON array. The query reads the snapshot of the statement around it.
// Threads: those of the session.
#pragma once

#include "engine/query/session_state.h"

namespace foreshore {

Status RegisterPredictTable(SessionState& session);

}  // namespace foreshore
