// vector_sources(collection[, field]): of what each stored vector was made, and whether that is what there is by now.
//
// Threads: as the session.
#pragma once

#include "engine/query/session_state.h"

namespace foreshore {

Status RegisterVectorSourcesTable(SessionState& session);

}  // namespace foreshore
