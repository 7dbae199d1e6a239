// The Unicode questions that BERT's normalisation asks of one code point.
//
// The answers are those of the reference tokenizers, whose tables are those of their own Unicode versions.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace foreshore {

// White_Space of Unicode.
bool IsWhiteSpace(char32_t code_point);
// General categories Cc, Cf, Co (and surrogates, which UTF-8 cannot carry), but not tab, line feed, carriage return.
bool IsDroppedByCleaning(char32_t code_point);
// General categories P*, and ASCII's symbols.
bool IsBertPunctuation(char32_t code_point);
// The blocks that BERT treats as one word a character.
bool IsCjkIdeograph(char32_t code_point);
// General category Mn.
bool IsNonspacingMark(char32_t code_point);
std::uint32_t CombiningClass(char32_t code_point);

// At most three code points.
struct CodePoints {
  char32_t values[4];
  std::size_t count;
};
// The full canonical decomposition of one code point, not reordered.
CodePoints DecomposeCanonically(char32_t code_point);
// The full lower-case mapping of one code point, without context.
CodePoints LowerCase(char32_t code_point);

// The code point at the start of non-empty `text` and its length in bytes; {U+FFFD, 1} where the bytes are not UTF-8.
struct DecodedCodePoint {
  char32_t value;
  std::size_t size_bytes;
};
DecodedCodePoint DecodeUtf8(std::string_view text);
bool IsUtf8(std::string_view text);
// Writes 1..4 bytes; returns how many.
std::size_t EncodeUtf8(char32_t code_point, char* out);

}  // namespace foreshore
