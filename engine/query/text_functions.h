// SQL functions of full-text search: snippet, highlight and bm25 as in FTS5, hybrid and any_word.
//
// Threads: as the session.
#pragma once

#include "engine/query/session_state.h"

namespace foreshore {

// The type of the pointer that a collection's own column holds in a row of a full-text search: the number of the
// cursor in SessionState::text_cursors.
inline constexpr char kTextCursorPointer[] = "foreshore_text_cursor";

Status RegisterTextFunctions(SessionState& session);

}  // namespace foreshore
