// Reads statements from a person with editing over several lines, history and completion, or lines from a pipe without.
//
// Enter ends the input where it is complete, else it begins another line; arrows up and down move between lines, and
// beyond them through the history. ^C drops the input and asks again; ^D on an empty line ends.
// Threads: one at a time. At most one editor at a time, since libedit's callbacks carry no context of ours.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/cli/completion.h"

namespace foreshore::cli {

using Completer = std::function<Completion(std::string_view before, std::string_view after)>;
// Whether Enter ends the input.
using IsComplete = std::function<bool(std::string_view text)>;

struct EditedLine {
  std::string text;
  bool is_cancelled = false;  // ^C
};

class LineEditor {
 public:
  // `history_path` may be empty.
  LineEditor(std::string history_path, Completer completer, IsComplete is_complete);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  bool is_interactive() const;
  // From a person all lines of an input, from a pipe one line. Nothing at the end of the input.
  std::optional<EditedLine> ReadLine(const std::string& prompt);
  void AddHistory(const std::string& entry);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What the words have in common, in the case of the first; compared without regard to ASCII case. Whole characters.
std::string CommonPrefix(const std::vector<std::string>& words);

}  // namespace foreshore::cli
