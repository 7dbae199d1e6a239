// SQL text as tokens with their places, for what looks at a statement before or after SQLite does: completion, error
// messages, expressions that an index answers. Comments and white space are left out.
//
// Threads: free functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace foreshore {

enum class SqlTokenKind { kWord, kQuotedName, kString, kNumber, kOther };

struct SqlToken {
  SqlTokenKind kind = SqlTokenKind::kOther;
  std::size_t start = 0;
  std::size_t end = 0;  // A quote that is not closed runs to the end of the text.
  bool is_closed = true;
  std::string name;  // Of words and quoted names: without quotes. Else the text.
};

std::vector<SqlToken> TokenizeSql(std::string_view text);
// Whether the text is one word: a letter or '_', then letters, digits, '_' and '$'.
bool IsSqlWord(std::string_view text);
// Compared without regard to the case of ASCII letters, as SQL compares names.
bool EqualsIgnoringCase(std::string_view left, std::string_view right);
bool StartsWithIgnoringCase(std::string_view text, std::string_view prefix);

}  // namespace foreshore
