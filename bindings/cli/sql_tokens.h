// SQL text as tokens with their places, for completion and for error messages. Comments and white space are left out.
//
// Threads: free functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace foreshore::cli {

enum class SqlTokenKind { kWord, kQuotedName, kString, kNumber, kOther };

struct SqlToken {
  SqlTokenKind kind = SqlTokenKind::kOther;
  std::size_t start = 0;
  std::size_t end = 0;  // A quote that is not closed runs to the end of the text.
  bool is_closed = true;
  std::string name;  // Of words and quoted names: without quotes. Else the text.
};

std::vector<SqlToken> TokenizeSql(std::string_view text);
// Compared without regard to the case of ASCII letters, as SQL compares names.
bool EqualsIgnoringCase(std::string_view left, std::string_view right);
bool StartsWithIgnoringCase(std::string_view text, std::string_view prefix);
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
