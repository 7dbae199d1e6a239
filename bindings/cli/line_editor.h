// Reads lines from a person with editing, history and completion, or from a pipe without them.
//
// ^C drops the line being typed and asks again; ^D on an empty line ends.
// Threads: one at a time. At most one editor at a time, since libedit's callbacks carry no context of ours.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace foreshore::cli {

// All completions of a word, whole words.
using Completer = std::function<std::vector<std::string>(std::string_view word)>;

struct EditedLine {
  std::string text;
  bool is_cancelled = false;  // ^C
};

class LineEditor {
 public:
  // `history_path` may be empty.
  LineEditor(std::string history_path, Completer completer);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  bool is_interactive() const;
  // Nothing at the end of the input.
  std::optional<EditedLine> ReadLine(const std::string& prompt);
  void AddHistory(const std::string& entry);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What the words have in common, in the case of the first; compared without regard to ASCII case.
std::string CommonPrefix(const std::vector<std::string>& words);

}  // namespace foreshore::cli
