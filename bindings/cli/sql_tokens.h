// Names and keywords in SQL text, for completion and for error messages.
//
// Threads: free functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "foreshore/sql_tokens.h"

namespace foreshore::cli {

// Whether a name can stand in SQL without quotes.
bool IsPlainName(std::string_view name);
bool IsKeyword(std::string_view word);
const std::vector<std::string_view>& SqlKeywords();

// A table of a statement's FROM, JOIN, INTO or UPDATE and the name it goes by.
struct TableUse {
  std::string collection;
  std::string alias;  // Empty: none.
};
std::vector<TableUse> TablesIn(const std::vector<SqlToken>& tokens);

}  // namespace foreshore::cli
