// Where one SQL statement ends in a text of several, for the shell and for scripts.
//
// Threads: free functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace foreshore::cli {

struct SqlSplit {
  std::vector<std::string_view> statements;  // Without the semicolon; none is blank. Views into the text.
  std::string_view rest;                     // After the last semicolon; may be blank.
};

// Semicolons inside quotes and comments do not end a statement.
SqlSplit SplitSql(std::string_view text);
// Where an error message ends in "(at byte N)": the line of `sql` that has byte N, and a caret under it. Else empty.
std::string ErrorPlace(std::string_view sql, std::string_view message);
// The line of `sql` that has the byte, and a caret under it; empty where the text has no such byte.
std::string PlaceAt(std::string_view sql, std::size_t offset);
// White space and comments only.
bool IsBlankSql(std::string_view text);

}  // namespace foreshore::cli
