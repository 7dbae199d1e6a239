// BERT's WordPiece tokenizer: text in, token ids out, equal to the reference tokenizers id by id.
//
// Follows Wu et al. 2016 (arXiv:1609.08144, section 4.1) with BERT's normalisation (Devlin et al. 2018): clean the
// text, put spaces around CJK ideographs, decompose and drop accents, lower the case, split at white space and
// punctuation, then take the longest known piece from the left, continuing pieces marked by "##".
//
// Threads: immutable once made; Encode may run on any number of threads.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

inline constexpr std::size_t kWordPieceVocabularyMax = 4'000'000;
inline constexpr std::size_t kWordPieceTokenBytesMax = 1'024;
inline constexpr std::size_t kWordPieceAddedTokensMax = 256;

// How text becomes words. Stored with the model: see wordpiece_codec.cc.
struct WordPieceConfig {
  bool clean_text = true;     // Drop control, format and private-use characters and U+FFFD; white space → U+0020.
  bool space_cjk = true;      // Every CJK ideograph is a word.
  bool strip_accents = true;  // NFD, then drop nonspacing marks. In BERT it follows `lowercase` unless set.
  bool lowercase = true;
  std::uint32_t word_characters_max = 100;  // A longer word is one unknown token.
  std::uint32_t token_count_max = 512;      // [CLS] and [SEP] included; at least 2.
  std::string unknown_token = "[UNK]";
  std::string first_token = "[CLS]";
  std::string last_token = "[SEP]";
  std::string continuation_prefix = "##";
  // Found in the raw text before anything else, longest first, and never split; usually [PAD] [UNK] [CLS] …
  std::vector<std::string> added_tokens = {};

  friend bool operator==(const WordPieceConfig&, const WordPieceConfig&) = default;
};

class WordPieceTokenizer {
 public:
  // `vocabulary[i]` is the token of id i; where a token appears twice, the later id counts, as in the reference.
  // kInvalidArgument for a special or added token that the vocabulary lacks, a token that is not UTF-8, a limit that
  // makes no sense; kLimit for a vocabulary or token above the constants above.
  static Result<WordPieceTokenizer> Create(WordPieceConfig config, std::vector<std::string> vocabulary);

  // Replaces the content of `ids` with the first token, the text's tokens, the last token: at most token_count_max ids
  // (`token_count_max` 0 means the configuration's; a smaller one narrows it), the text's tail falls away. Bytes that
  // are not UTF-8 count as U+FFFD, which cleaning drops. Never fails; reuses the vector's memory.
  void Encode(std::string_view text, std::vector<std::uint32_t>& ids, std::uint32_t token_count_max = 0) const;

  // Narrows or widens the configuration's token_count_max, before the tokenizer is shared. kInvalidArgument below 2.
  Status SetTokenCountMax(std::uint32_t token_count_max);

  const WordPieceConfig& config() const { return config_; }
  const std::vector<std::string>& vocabulary() const { return vocabulary_; }
  std::uint32_t vocabulary_size() const { return static_cast<std::uint32_t>(vocabulary_.size()); }

  // The form that is stored in a model's row, and back. Parse: kUnsupported for an unknown version, kCorruption for
  // anything else that does not fit the format (wordpiece_codec.cc).
  ByteString Serialise() const;
  static Result<WordPieceTokenizer> Parse(Bytes bytes);

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  // Children of a node are neighbours, so a node needs the first one's number and how many there are.
  struct Node {
    std::uint32_t first_child = 0;
    std::uint32_t child_count = 0;
    std::uint32_t token_id = kNone;
  };
  struct Sink;
  struct AddedToken {
    std::string text;
    std::uint32_t id = 0;
  };

  WordPieceTokenizer() = default;
  void BuildTrie();
  std::uint32_t Child(std::uint32_t node, unsigned char byte) const;
  std::uint32_t Find(std::string_view token) const;
  void EncodePlain(std::string_view text, Sink& sink) const;
  void EncodeWide(char32_t code_point, Sink& sink) const;
  void EmitWord(Sink& sink) const;

  WordPieceConfig config_;
  std::vector<std::string> vocabulary_;
  std::vector<Node> nodes_;
  std::vector<char> labels_;  // The byte that leads to node i.
  std::array<std::uint32_t, 256> root_children_{};
  std::uint32_t continuation_node_ = kNone;  // Where "##…" pieces begin; kNone if there are none.
  std::vector<AddedToken> added_tokens_;     // Longest first.
  std::array<bool, 256> added_token_starts_{};
  std::uint32_t unknown_id_ = 0;
  std::uint32_t first_id_ = 0;
  std::uint32_t last_id_ = 0;
};

}  // namespace foreshore
