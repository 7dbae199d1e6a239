// Entries that one step of a scan gathers. SQLite gives a row for each sqlite3_step(), which costs more than the row: a
// reader's scans have a function in their WHERE clause that takes the entries and stops the statement when it has
// enough.
//
// Internal to storage/. Threads: one at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <vector>

#include "foreshore/bytes.h"

namespace foreshore {

class SqliteBatch {
 public:
  // Makes foreshore_gather(k, v) known to a connection; returns a code of SQLite's. Entries go to `*target`, which is
  // set while a step runs.
  static int Register(sqlite3* handle, SqliteBatch** target);

  // Empties it; the next step stops behind so many entries, or earlier where they are large.
  void Begin(std::size_t count_max);

  std::size_t count() const { return entries_.size(); }
  std::int64_t integer_key(std::size_t number) const { return entries_[number].integer_key; }
  // Valid until Begin().
  Bytes bytes_key(std::size_t number) const {
    const Entry& entry = entries_[number];
    return Bytes(content_).substr(entry.begin, entry.key_bytes);
  }
  Bytes value(std::size_t number) const {
    const Entry& entry = entries_[number];
    return Bytes(content_).substr(entry.begin + entry.key_bytes, entry.value_bytes);
  }

 private:
  struct Entry {
    std::int64_t integer_key = 0;
    std::size_t begin = 0;
    std::size_t key_bytes = 0;
    std::size_t value_bytes = 0;
  };
  static void Gather(sqlite3_context* context, int argument_count, sqlite3_value** arguments);
  bool Add(sqlite3_value* key, sqlite3_value* value);  // True when it is full.

  std::size_t count_max_ = 1;
  std::vector<Entry> entries_;
  ByteString content_;
};

}  // namespace foreshore
