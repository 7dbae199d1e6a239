// Keys that are given to a running statement one at a time. A look-up by a statement of its own begins and ends that
// each time: it opens the table, finds the root page, and gives back its memory. A reader's statement joins the table
// with foreshore_keys instead, whose every next row is the key that was set last: each step is a look-up, and the
// statement goes on where it is.
//
// Internal to storage/. Threads: one at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>

namespace foreshore {

class SqliteKeyFeed {
 public:
  // Makes the table foreshore_keys(k) known to a connection; returns a code of SQLite's. This object outlives it.
  int Register(sqlite3* handle);

  // Of the next row, in whichever statement is stepped next.
  std::int64_t key = 0;
};

}  // namespace foreshore
