// How a collection's full-text index is made: which fields, and how their text becomes words.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace foreshore {

enum class TextTokenizer : std::uint8_t {  // Stored: never renumber.
  kUnicode = 0,                            // Words by Unicode 6.1, case folded.
  kPorter = 1,                             // The same, reduced to English stems.
  kTrigram = 2,                            // Every run of three characters: finds substrings.
};

struct TextIndexOptions {
  std::vector<std::string> fields = {};  // "text", "site.name", "comments.text": 1 to 32 paths; arrays are walked.
  TextTokenizer tokenizer = TextTokenizer::kUnicode;
  bool keep_diacritics = false;  // True: "é" is not "e". Not for trigrams, which always tell them apart.
  std::vector<std::uint32_t> prefix_lengths = {};  // Characters, 1..31, ascending: prefix queries of these are quick.
};

constexpr std::string_view TextTokenizerName(TextTokenizer tokenizer) {
  switch (tokenizer) {
    case TextTokenizer::kPorter: return "porter";
    case TextTokenizer::kTrigram: return "trigram";
    default: return "unicode";
  }
}

constexpr std::optional<TextTokenizer> TextTokenizerFromName(std::string_view name) {
  if (name == "unicode") return TextTokenizer::kUnicode;
  if (name == "porter") return TextTokenizer::kPorter;
  if (name == "trigram") return TextTokenizer::kTrigram;
  return std::nullopt;
}

}  // namespace foreshore
