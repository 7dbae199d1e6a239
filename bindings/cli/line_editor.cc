#include "bindings/cli/line_editor.h"

#include <histedit.h>
#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <iostream>

namespace foreshore::cli {
namespace {

constexpr int kHistoryCountMax = 1000;
constexpr std::size_t kListedCountMax = 60;

bool IsWordCharacter(char character) {
  return std::isalnum(static_cast<unsigned char>(character)) != 0 || character == '_' || character == '.' ||
         (static_cast<unsigned char>(character) & 0x80) != 0;
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
  return words[0].substr(0, size);
}

struct LineEditor::State {
  std::string history_path;
  Completer completer;
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

  static unsigned char Cancel(EditLine* editor, int) {
    Of(editor).is_cancelled = true;
    std::fputs("^C\n", stdout);
    return CC_NEWLINE;
  }

  static unsigned char Complete(EditLine* editor, int) {
    State& state = Of(editor);
    const LineInfo* line = el_line(editor);
    const char* start = line->cursor;
    while (start > line->buffer && IsWordCharacter(start[-1])) --start;
    const std::string word(start, line->cursor);
    const std::vector<std::string> found = state.completer(word);
    if (found.empty()) return CC_REFRESH_BEEP;
    std::string replacement = CommonPrefix(found);
    if (found.size() == 1) replacement += ' ';
    if (replacement.size() > word.size()) {
      el_deletestr(editor, static_cast<int>(word.size()));
      el_insertstr(editor, replacement.c_str());
      return CC_REFRESH;
    }
    std::fputs("\n", stdout);
    for (std::size_t index = 0; index < found.size() && index < kListedCountMax; ++index) {
      std::fprintf(stdout, "%s  ", found[index].c_str());
    }
    if (found.size() > kListedCountMax) std::fprintf(stdout, "and %zu more", found.size() - kListedCountMax);
    std::fputs("\n", stdout);
    return CC_REDISPLAY;
  }
};

LineEditor::LineEditor(std::string history_path, Completer completer) : state_(std::make_unique<State>()) {
  state_->history_path = std::move(history_path);
  state_->completer = std::move(completer);
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
  el_set(state_->editor, EL_ADDFN, "foreshore-complete", "complete a word", &State::Complete);
  el_set(state_->editor, EL_BIND, "^I", "foreshore-complete", nullptr);
  // While a line is edited ^C is a character like others; while a statement runs it is a signal.
  el_set(state_->editor, EL_SETTY, "-d", "-isig", nullptr);
  el_set(state_->editor, EL_ADDFN, "foreshore-cancel", "drop the line", &State::Cancel);
  el_set(state_->editor, EL_BIND, "^C", "foreshore-cancel", nullptr);
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
