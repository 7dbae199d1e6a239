#include "bindings/cli/json_grammar.h"

#include <cctype>
#include <cstddef>

namespace foreshore::cli {
namespace {

// A document's own object and some room stay below the engine's 64.
constexpr int kDepthMax = 60;

class Grammar {
 public:
  explicit Grammar(std::string_view text) : text_(text) {}

  bool AtEnd() {
    SkipSpace();
    return position_ == text_.size();
  }

  bool Value(int depth) {
    SkipSpace();
    if (position_ >= text_.size() || depth > kDepthMax) return false;
    switch (text_[position_]) {
      case '{': return Container(depth, '}', true);
      case '[': return Container(depth, ']', false);
      case '"': return String();
      default: return Word("true") || Word("false") || Word("null") || Number();
    }
  }

  bool Number() {
    Take('-');
    const std::size_t start = position_;
    const std::size_t digit_count = Digits();
    if (digit_count == 0 || (digit_count > 1 && text_[start] == '0')) return false;
    if (Take('.') && Digits() == 0) return false;
    if (Take('e') || Take('E')) {
      if (!Take('+')) Take('-');
      if (Digits() == 0) return false;
    }
    return true;
  }

 private:
  void SkipSpace() {
    while (position_ < text_.size() && std::string_view(" \t\r\n").find(text_[position_]) != std::string_view::npos) {
      ++position_;
    }
  }
  bool Take(char wanted) {
    if (position_ >= text_.size() || text_[position_] != wanted) return false;
    ++position_;
    return true;
  }
  bool Word(std::string_view word) {
    if (text_.substr(position_, word.size()) != word) return false;
    position_ += word.size();
    return true;
  }
  std::size_t Digits() {
    const std::size_t start = position_;
    while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') ++position_;
    return position_ - start;
  }
  bool String() {
    if (!Take('"')) return false;
    while (position_ < text_.size()) {
      const char character = text_[position_++];
      if (character == '"') return true;
      if (static_cast<unsigned char>(character) < 0x20) return false;
      if (character == '\\' && !Escape()) return false;
    }
    return false;
  }
  bool Escape() {
    if (position_ >= text_.size()) return false;
    const char kind = text_[position_++];
    if (kind != 'u') return std::string_view("\"\\/bfnrt").find(kind) != std::string_view::npos;
    for (int count = 0; count < 4; ++count, ++position_) {
      if (position_ >= text_.size() || std::isxdigit(static_cast<unsigned char>(text_[position_])) == 0) return false;
    }
    return true;
  }
  bool Container(int depth, char end, bool has_names) {
    ++position_;
    SkipSpace();
    if (Take(end)) return true;
    for (;;) {
      SkipSpace();
      if (has_names) {
        if (!String()) return false;
        SkipSpace();
        if (!Take(':')) return false;
      }
      if (!Value(depth + 1)) return false;
      SkipSpace();
      if (Take(end)) return true;
      if (!Take(',')) return false;
    }
  }

  std::string_view text_;
  std::size_t position_ = 0;
};

}  // namespace

bool IsJsonNumber(std::string_view text) {
  if (text.empty() || (text.front() != '-' && std::isdigit(static_cast<unsigned char>(text.front())) == 0))
    return false;
  Grammar grammar(text);
  // White space around a number is no part of it.
  return grammar.Number() && std::isdigit(static_cast<unsigned char>(text.back())) != 0 && grammar.AtEnd();
}

bool IsJsonValue(std::string_view text) {
  Grammar grammar(text);
  return grammar.Value(0) && grammar.AtEnd();
}

}  // namespace foreshore::cli
