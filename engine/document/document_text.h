// The text of a document's fields, as full-text search indexes it.
//
// Threads: a TextExtractor may be used from any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace foreshore {

class TextExtractor {
 public:
  // Paths in internal form (json.h).
  explicit TextExtractor(const std::vector<std::string>& paths);

  // A text per path, of a normalised body; empty where there is none. Strings are unescaped and numbers stand as they
  // are; truth values and null are no text. Arrays are walked on the way ("comments.text") and at its end, objects at
  // its end; what is found is joined by line breaks.
  std::vector<std::string> Extract(std::string_view body) const;

 private:
  std::vector<std::vector<std::string>> paths_;  // Key tokens, quotes included.
};

}  // namespace foreshore
