#include "bindings/cli/line_editor.h"

#include <histedit.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <iostream>

#include "bindings/cli/output.h"

namespace foreshore::cli {
namespace {

constexpr int kHistoryCountMax = 1000;
constexpr std::size_t kListedCountMax = 60;

// A key that no one types: libedit's own end of line, which our Enter asks for when the input is complete.
constexpr char kFinish[] = "\x1f";
constexpr char kPreviousEntry[] = "\x10";  // ^P
constexpr char kNextEntry[] = "\x0e";      // ^N

bool IsContinuation(char character) {
  return (static_cast<unsigned char>(character) & 0xC0) == 0x80;
}

// The editor counts characters.
int CharacterCount(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return !IsContinuation(c); }));
}

bool EqualIgnoringCase(char left, char right) {
  return std::tolower(static_cast<unsigned char>(left)) == std::tolower(static_cast<unsigned char>(right));
}

}  // namespace

std::string CommonPrefix(const std::vector<std::string>& words) {
  if (words.empty()) return {};
  std::size_t size = words[0].size();
  for (const std::string& word : words) {
    std::size_t equal = 0;
    while (equal < size && equal < word.size() && EqualIgnoringCase(words[0][equal], word[equal])) ++equal;
    size = equal;
  }
  while (size > 0 && size < words[0].size() && IsContinuation(words[0][size])) --size;
  return words[0].substr(0, size);
}

struct LineEditor::State {
  std::string history_path;
  Completer completer;
  IsComplete is_complete;
  EditLine* editor = nullptr;
  History* history = nullptr;
  std::string prompt;
  bool is_cancelled = false;

  static State& Of(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return *static_cast<State*>(data);
  }

  static char* Prompt(EditLine* editor) { return Of(editor).prompt.data(); }

  struct Input {
    std::string before;
    std::string after;
  };
  static Input InputOf(EditLine* editor) {
    const LineInfo* line = el_line(editor);
    return {std::string(line->buffer, line->cursor), std::string(line->cursor, line->lastchar)};
  }

  static unsigned char Finish(EditLine* editor) {
    el_push(editor, kFinish);
    return CC_NORM;
  }

  static unsigned char Cancel(EditLine* editor, int) {
    Of(editor).is_cancelled = true;
    el_cursor(editor, CharacterCount(InputOf(editor).after));
    el_insertstr(editor, "^C");
    Finish(editor);
    return CC_REFRESH;
  }

  static unsigned char Enter(EditLine* editor, int) {
    const Input input = InputOf(editor);
    if (Of(editor).is_complete(input.before + input.after)) return Finish(editor);
    el_insertstr(editor, "\n");
    return CC_REFRESH;
  }

  // The cursor goes to the same column of the line above or below, or the history takes over.
  static unsigned char Up(EditLine* editor, int) {
    const std::string before = InputOf(editor).before;
    const std::size_t line_end = before.rfind('\n');
    if (line_end == std::string::npos) {
      el_push(editor, kPreviousEntry);
      return CC_NORM;
    }
    const int column = CharacterCount(std::string_view(before).substr(line_end + 1));
    const std::size_t above = line_end == 0 ? std::string::npos : before.rfind('\n', line_end - 1);
    const std::size_t start = above == std::string::npos ? 0 : above + 1;
    const int above_size = CharacterCount(std::string_view(before).substr(start, line_end - start));
    el_cursor(editor, -(column + 1 + above_size - std::min(column, above_size)));
    return CC_REFRESH;
  }

  static unsigned char Down(EditLine* editor, int) {
    const Input input = InputOf(editor);
    const std::size_t line_end = input.after.find('\n');
    if (line_end == std::string::npos) {
      el_push(editor, kNextEntry);
      return CC_NORM;
    }
    const std::size_t start = input.before.rfind('\n');
    const int column =
        CharacterCount(std::string_view(input.before).substr(start == std::string::npos ? 0 : start + 1));
    const std::size_t below_end = std::min(input.after.find('\n', line_end + 1), input.after.size());
    const int below_size = CharacterCount(std::string_view(input.after).substr(line_end + 1, below_end - line_end - 1));
    const int to_end = CharacterCount(std::string_view(input.after).substr(0, line_end));
    el_cursor(editor, to_end + 1 + std::min(column, below_size));
    return CC_REFRESH;
  }

  static unsigned char Complete(EditLine* editor, int) {
    const Input input = InputOf(editor);
    const Completion completion = Of(editor).completer(input.before, input.after);
    const std::vector<std::string>& found = completion.words;
    if (found.empty()) return CC_REFRESH_BEEP;
    std::string replacement = CommonPrefix(found);
    if (found.size() == 1) replacement += completion.suffix;
    const std::string word = input.before.substr(input.before.size() - completion.replaced_bytes);
    if (replacement.size() > word.size()) {
      el_deletestr(editor, CharacterCount(word));
      el_insertstr(editor, replacement.c_str());
      return CC_REFRESH;
    }
    List(found);
    return CC_REDISPLAY;
  }

  // In columns, as shells do.
  static void List(const std::vector<std::string>& found) {
    std::size_t widest = 0;
    const std::size_t count = std::min(found.size(), kListedCountMax);
    for (std::size_t index = 0; index < count; ++index) widest = std::max(widest, DisplayWidth(found[index]));
    winsize size = {};
    const std::size_t terminal = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    const std::size_t per_line = std::max<std::size_t>(1, terminal / (widest + 2));
    std::string text = "\n";
    for (std::size_t index = 0; index < count; ++index) {
      const bool ends_line = (index + 1) % per_line == 0 || index + 1 == count;
      text += found[index];
      text += ends_line ? "\n" : std::string(widest + 2 - DisplayWidth(found[index]), ' ');
    }
    if (found.size() > count) text += "and " + std::to_string(found.size() - count) + " more\n";
    std::fputs(text.c_str(), stdout);
  }

  void Bind() {
    struct Function {
      const char* name;
      const char* help;
      unsigned char (*function)(EditLine*, int);
      std::vector<const char*> keys;
    };
    const Function functions[] = {
        {"foreshore-complete", "complete a word", &Complete, {"^I"}},
        {"foreshore-cancel", "drop the input", &Cancel, {"^C"}},
        {"foreshore-enter", "end the input or begin a line", &Enter, {"^J", "^M"}},
        {"foreshore-up", "line above or earlier input", &Up, {"\x1b[A", "\x1bOA"}},
        {"foreshore-down", "line below or later input", &Down, {"\x1b[B", "\x1bOB"}},
    };
    for (const Function& function : functions) {
      el_set(editor, EL_ADDFN, function.name, function.help, function.function);
      for (const char* key : function.keys) el_set(editor, EL_BIND, key, function.name, nullptr);
    }
    el_set(editor, EL_BIND, kFinish, "ed-newline", nullptr);
    el_set(editor, EL_BIND, kPreviousEntry, "ed-prev-history", nullptr);
    el_set(editor, EL_BIND, kNextEntry, "ed-next-history", nullptr);
    el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  }
};

LineEditor::LineEditor(std::string history_path, Completer completer, IsComplete is_complete)
    : state_(std::make_unique<State>()) {
  state_->history_path = std::move(history_path);
  state_->completer = std::move(completer);
  state_->is_complete = std::move(is_complete);
  if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0) return;
  state_->editor = el_init("foreshore", stdin, stdout, stderr);
  if (state_->editor == nullptr) return;
  el_set(state_->editor, EL_CLIENTDATA, state_.get());
  el_set(state_->editor, EL_PROMPT, &State::Prompt);
  el_set(state_->editor, EL_EDITOR, "emacs");
  state_->history = history_init();
  HistEvent event;
  if (state_->history != nullptr) {
    history(state_->history, &event, H_SETSIZE, kHistoryCountMax);
    history(state_->history, &event, H_SETUNIQUE, 1);
    if (!state_->history_path.empty()) history(state_->history, &event, H_LOAD, state_->history_path.c_str());
    el_set(state_->editor, EL_HIST, history, state_->history);
  }
  // While a line is edited ^C is a character like others; while a statement runs it is a signal.
  el_set(state_->editor, EL_SETTY, "-d", "-isig", nullptr);
  state_->Bind();
}

LineEditor::~LineEditor() {
  if (state_->history != nullptr) {
    HistEvent event;
    if (!state_->history_path.empty()) history(state_->history, &event, H_SAVE, state_->history_path.c_str());
    history_end(state_->history);
  }
  if (state_->editor != nullptr) el_end(state_->editor);
}

bool LineEditor::is_interactive() const {
  return state_->editor != nullptr;
}

std::optional<EditedLine> LineEditor::ReadLine(const std::string& prompt) {
  EditedLine line;
  if (state_->editor == nullptr) {
    if (!std::getline(std::cin, line.text)) return std::nullopt;
    return line;
  }
  state_->prompt = prompt;
  state_->is_cancelled = false;
  el_resize(state_->editor);
  // el_gets shows the prompt before it takes the terminal over: a ^C in between would be a signal, not a character.
  el_set(state_->editor, EL_PREP_TERM, 1);
  int size = 0;
  const char* text = el_gets(state_->editor, &size);
  if (state_->is_cancelled) {
    line.is_cancelled = true;
    return line;
  }
  if (text == nullptr || size <= 0) return std::nullopt;
  line.text.assign(text, static_cast<std::size_t>(size));
  while (!line.text.empty() && (line.text.back() == '\n' || line.text.back() == '\r')) line.text.pop_back();
  return line;
}

void LineEditor::AddHistory(const std::string& entry) {
  if (state_->history == nullptr) return;
  HistEvent event;
  history(state_->history, &event, H_ENTER, entry.c_str());
}

}  // namespace foreshore::cli
