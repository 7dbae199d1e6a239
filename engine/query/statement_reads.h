// What a statement reads, noted by the authorizer while SQLite compiles it.
//
// Threads: one at a time.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace foreshore {

struct StatementReads {
  std::set<std::string> tables;                           // As they are declared; also table-valued functions.
  std::set<std::pair<std::string, std::string>> columns;  // (table, column)
  std::set<std::string> functions;
  int select_count = 0;  // SELECTs of the whole statement, subqueries and compound parts included.

  // Takes one call of SQLite's authorizer.
  void Note(int action, const char* first, const char* second);
};

// Whether the text holds none of the words that make a row of the result depend on more than one row of the table:
// DISTINCT, GROUP, HAVING, OFFSET (also as LIMIT a, b), OVER, WINDOW, MATCH, WITH. May err to false.
bool HasOnlyRowWiseWords(std::string_view sql);

}  // namespace foreshore
