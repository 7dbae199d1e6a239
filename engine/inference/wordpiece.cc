#include "engine/inference/wordpiece.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "engine/inference/wordpiece_unicode.h"

namespace foreshore {

namespace {

// What to do with an ASCII byte, asked once per byte.
enum AsciiClass : std::uint8_t { kAsciiWord, kAsciiSpace, kAsciiPunctuation, kAsciiControl };

constexpr std::array<AsciiClass, 128> MakeAsciiClasses() {
  std::array<AsciiClass, 128> classes{};
  for (int c = 0; c < 128; ++c) {
    const bool is_space = c == ' ' || (c >= 9 && c <= 13);
    const bool is_punctuation =
        (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
    classes[static_cast<std::size_t>(c)] = is_space             ? kAsciiSpace
                                           : is_punctuation     ? kAsciiPunctuation
                                           : c < 32 || c == 127 ? kAsciiControl
                                                                : kAsciiWord;
  }
  // Vertical tab and form feed are white space that cleaning drops as controls first.
  classes[11] = kAsciiControl;
  classes[12] = kAsciiControl;
  return classes;
}
constexpr std::array<AsciiClass, 128> kAsciiClasses = MakeAsciiClasses();

std::string Quoted(std::string_view token) {
  return "\"" + std::string(token.substr(0, 64)) + "\"";
}

Status CheckTokenCountMax(std::uint32_t token_count_max) {
  if (token_count_max >= 2) return Status::Ok();
  return Status::InvalidArgument("tokenizer: token_count_max is " + std::to_string(token_count_max) +
                                 ", expected at least 2");
}

Status CheckConfig(const WordPieceConfig& config) {
  FORESHORE_RETURN_IF_ERROR(CheckTokenCountMax(config.token_count_max));
  if (config.word_characters_max < 1 || config.word_characters_max > 65'536) {
    return Status::InvalidArgument("tokenizer: word_characters_max is " + std::to_string(config.word_characters_max) +
                                   ", expected 1..65536");
  }
  if (config.added_tokens.size() > kWordPieceAddedTokensMax) {
    return Status::Limit("tokenizer: " + std::to_string(config.added_tokens.size()) + " added tokens, at most " +
                         std::to_string(kWordPieceAddedTokensMax) + " are allowed");
  }
  if (config.continuation_prefix.empty()) return Status::InvalidArgument("tokenizer: continuation prefix is empty");
  return Status::Ok();
}

Status CheckVocabulary(const std::vector<std::string>& vocabulary) {
  if (vocabulary.empty() || vocabulary.size() > kWordPieceVocabularyMax) {
    return Status::Limit("tokenizer: vocabulary has " + std::to_string(vocabulary.size()) + " tokens, expected 1.." +
                         std::to_string(kWordPieceVocabularyMax));
  }
  for (std::size_t i = 0; i < vocabulary.size(); ++i) {
    if (vocabulary[i].size() > kWordPieceTokenBytesMax) {
      return Status::Limit("tokenizer: token " + std::to_string(i) + " has " + std::to_string(vocabulary[i].size()) +
                           " bytes, at most " + std::to_string(kWordPieceTokenBytesMax) + " are allowed");
    }
    if (!IsUtf8(vocabulary[i])) {
      return Status::InvalidArgument("tokenizer: token " + std::to_string(i) + " is not valid UTF-8");
    }
  }
  return Status::Ok();
}

}  // namespace

// One call's state: the word being gathered and where its pieces go.
struct WordPieceTokenizer::Sink {
  std::vector<std::uint32_t>& ids;
  std::size_t id_count_max;  // Without the last token.
  std::string word;
  std::size_t word_character_count = 0;
  // Characters of a combining class other than zero, waiting for their canonical order.
  std::vector<std::pair<std::uint32_t, char32_t>> marks;

  bool full() const { return ids.size() >= id_count_max; }
};

Result<WordPieceTokenizer> WordPieceTokenizer::Create(WordPieceConfig config, std::vector<std::string> vocabulary) {
  FORESHORE_RETURN_IF_ERROR(CheckConfig(config));
  FORESHORE_RETURN_IF_ERROR(CheckVocabulary(vocabulary));
  WordPieceTokenizer tokenizer;
  tokenizer.config_ = std::move(config);
  tokenizer.vocabulary_ = std::move(vocabulary);
  tokenizer.BuildTrie();
  std::string missing;
  const auto id_of = [&](const std::string& token) {
    const std::uint32_t id = token.empty() ? kNone : tokenizer.Find(token);
    if (id == kNone) missing += (missing.empty() ? "" : ", ") + Quoted(token);
    return id;
  };
  tokenizer.unknown_id_ = id_of(tokenizer.config_.unknown_token);
  tokenizer.first_id_ = id_of(tokenizer.config_.first_token);
  tokenizer.last_id_ = id_of(tokenizer.config_.last_token);
  for (const std::string& token : tokenizer.config_.added_tokens) {
    const std::uint32_t id = id_of(token);
    if (id == kNone) continue;
    tokenizer.added_tokens_.push_back({token, id});
    tokenizer.added_token_starts_[static_cast<unsigned char>(token[0])] = true;
  }
  if (!missing.empty()) {
    return Status::InvalidArgument("tokenizer: vocabulary lacks the special tokens " + missing);
  }
  std::stable_sort(tokenizer.added_tokens_.begin(), tokenizer.added_tokens_.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.text.size() > b.text.size(); });
  return tokenizer;
}

Status WordPieceTokenizer::SetTokenCountMax(std::uint32_t token_count_max) {
  FORESHORE_RETURN_IF_ERROR(CheckTokenCountMax(token_count_max));
  config_.token_count_max = token_count_max;
  return Status::Ok();
}

// Breadth first over the sorted vocabulary: a node is a range of tokens that share their first bytes, and its
// children, one per next byte, are laid down together.
void WordPieceTokenizer::BuildTrie() {
  struct Range {
    std::uint32_t node, begin, end, depth;
  };
  std::vector<std::uint32_t> order(vocabulary_.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [this](std::uint32_t a, std::uint32_t b) { return vocabulary_[a] < vocabulary_[b]; });
  nodes_.assign(1, Node{});
  labels_.assign(1, '\0');
  std::vector<Range> level{{0, 0, static_cast<std::uint32_t>(order.size()), 0}};
  std::vector<Range> next_level;
  while (!level.empty()) {
    next_level.clear();
    for (Range range : level) {
      // Stable order: of equal tokens the later id is seen last and stays.
      while (range.begin < range.end && vocabulary_[order[range.begin]].size() == range.depth) {
        nodes_[range.node].token_id = order[range.begin++];
      }
      nodes_[range.node].first_child = static_cast<std::uint32_t>(nodes_.size());
      while (range.begin < range.end) {
        const char label = vocabulary_[order[range.begin]][range.depth];
        std::uint32_t end = range.begin;
        while (end < range.end && vocabulary_[order[end]][range.depth] == label) ++end;
        next_level.push_back({static_cast<std::uint32_t>(nodes_.size()), range.begin, end, range.depth + 1});
        nodes_.emplace_back();
        labels_.push_back(label);
        ++nodes_[range.node].child_count;
        range.begin = end;
      }
    }
    level.swap(next_level);
  }
  root_children_.fill(kNone);
  for (std::uint32_t i = 0; i < nodes_[0].child_count; ++i) {
    const std::uint32_t child = nodes_[0].first_child + i;
    root_children_[static_cast<unsigned char>(labels_[child])] = child;
  }
  continuation_node_ = 0;
  for (const char c : config_.continuation_prefix) {
    continuation_node_ = Child(continuation_node_, static_cast<unsigned char>(c));
    if (continuation_node_ == kNone) break;
  }
}

std::uint32_t WordPieceTokenizer::Child(std::uint32_t node, unsigned char byte) const {
  if (node == 0) return root_children_[byte];
  const Node& parent = nodes_[node];
  if (parent.child_count == 0) return kNone;
  const char* labels = labels_.data() + parent.first_child;
  const void* match = std::memchr(labels, byte, parent.child_count);
  if (match == nullptr) return kNone;
  return parent.first_child + static_cast<std::uint32_t>(static_cast<const char*>(match) - labels);
}

std::uint32_t WordPieceTokenizer::Find(std::string_view token) const {
  std::uint32_t node = 0;
  for (const char c : token) {
    node = Child(node, static_cast<unsigned char>(c));
    if (node == kNone) return kNone;
  }
  return nodes_[node].token_id;
}

// Cuts the gathered word into pieces; one piece without a match makes the whole word unknown.
void WordPieceTokenizer::EmitWord(Sink& sink) const {
  if (sink.word_character_count == 0) return;
  const bool too_long = sink.word_character_count > config_.word_characters_max;
  const std::string_view word = sink.word;
  const std::size_t id_count_before = sink.ids.size();
  std::size_t begin = 0;
  bool unknown = too_long;
  while (!unknown && begin < word.size()) {
    std::uint32_t node = begin == 0 ? 0 : continuation_node_;
    std::uint32_t best_id = kNone;
    std::size_t best_end = begin;
    for (std::size_t i = begin; node != kNone && i < word.size();) {
      node = Child(node, static_cast<unsigned char>(word[i++]));
      if (node != kNone && nodes_[node].token_id != kNone) {
        best_id = nodes_[node].token_id;
        best_end = i;
      }
    }
    unknown = best_id == kNone;
    if (!unknown) sink.ids.push_back(best_id);
    begin = best_end;
  }
  if (unknown) {
    sink.ids.resize(id_count_before);
    sink.ids.push_back(unknown_id_);
  }
  sink.word.clear();
  sink.word_character_count = 0;
}

namespace {

void AppendToWord(std::string& word, std::size_t& character_count, std::size_t character_count_max, char32_t c) {
  // A word that is too long is unknown whatever follows, so its bytes need not be kept.
  if (++character_count > character_count_max) return;
  char bytes[4];
  word.append(bytes, EncodeUtf8(c, bytes));
}

}  // namespace

// A code point after cleaning and spacing: lower case, then white space, punctuation or part of a word.
void WordPieceTokenizer::EncodeWide(char32_t code_point, Sink& sink) const {
  const CodePoints lowered = config_.lowercase ? LowerCase(code_point) : CodePoints{{code_point}, 1};
  for (std::size_t i = 0; i < lowered.count; ++i) {
    const char32_t c = lowered.values[i];
    if (IsWhiteSpace(c)) {
      EmitWord(sink);
    } else if (IsBertPunctuation(c)) {
      EmitWord(sink);
      AppendToWord(sink.word, sink.word_character_count, config_.word_characters_max, c);
      EmitWord(sink);
    } else {
      AppendToWord(sink.word, sink.word_character_count, config_.word_characters_max, c);
    }
  }
}

// Normalises and cuts text that holds no added token.
void WordPieceTokenizer::EncodePlain(std::string_view text, Sink& sink) const {
  const auto flush_marks = [&] {
    if (sink.marks.empty()) return;
    std::stable_sort(sink.marks.begin(), sink.marks.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [combining_class, mark] : sink.marks) {
      if (!IsNonspacingMark(mark)) EncodeWide(mark, sink);
    }
    sink.marks.clear();
  };
  for (std::size_t i = 0; i < text.size() && !sink.full();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      ++i;
      if (!sink.marks.empty()) flush_marks();
      switch (kAsciiClasses[byte]) {
        case kAsciiWord:
          if (++sink.word_character_count <= config_.word_characters_max) {
            const bool is_upper = config_.lowercase && byte >= 'A' && byte <= 'Z';
            sink.word.push_back(static_cast<char>(is_upper ? byte + 32 : byte));
          }
          break;
        case kAsciiSpace: EmitWord(sink); break;
        case kAsciiPunctuation:
          EmitWord(sink);
          sink.word.push_back(static_cast<char>(byte));
          sink.word_character_count = 1;
          EmitWord(sink);
          break;
        case kAsciiControl:
          if (!config_.clean_text) EncodeWide(byte, sink);
          break;
      }
      continue;
    }
    const DecodedCodePoint decoded = DecodeUtf8(text.substr(i));
    i += decoded.size_bytes;
    const char32_t c = decoded.value;
    if (config_.clean_text && IsDroppedByCleaning(c)) continue;
    const bool is_word_alone = config_.space_cjk && IsCjkIdeograph(c);
    if (is_word_alone) {
      flush_marks();
      EmitWord(sink);
    }
    if (!config_.strip_accents) {
      EncodeWide(c, sink);
    } else {
      const CodePoints parts = DecomposeCanonically(c);
      for (std::size_t k = 0; k < parts.count; ++k) {
        const std::uint32_t combining_class = CombiningClass(parts.values[k]);
        if (combining_class != 0) {
          sink.marks.emplace_back(combining_class, parts.values[k]);
          continue;
        }
        flush_marks();
        if (!IsNonspacingMark(parts.values[k])) EncodeWide(parts.values[k], sink);
      }
    }
    if (is_word_alone) {
      flush_marks();
      EmitWord(sink);
    }
  }
  flush_marks();
  EmitWord(sink);
}

void WordPieceTokenizer::Encode(std::string_view text, std::vector<std::uint32_t>& ids,
                                std::uint32_t token_count_max) const {
  if (token_count_max == 0 || token_count_max > config_.token_count_max) token_count_max = config_.token_count_max;
  if (token_count_max < 2) token_count_max = 2;
  ids.clear();
  ids.push_back(first_id_);
  Sink sink{ids, token_count_max - 1, {}, 0, {}};
  std::size_t plain_begin = 0;
  if (!added_tokens_.empty()) {
    for (std::size_t i = 0; i < text.size() && !sink.full();) {
      if (!added_token_starts_[static_cast<unsigned char>(text[i])]) {
        ++i;
        continue;
      }
      const auto match = std::find_if(added_tokens_.begin(), added_tokens_.end(), [&](const AddedToken& token) {
        return text.compare(i, token.text.size(), token.text) == 0;
      });
      if (match == added_tokens_.end()) {
        ++i;
        continue;
      }
      EncodePlain(text.substr(plain_begin, i - plain_begin), sink);
      if (!sink.full()) ids.push_back(match->id);
      i += match->text.size();
      plain_begin = i;
    }
  }
  if (!sink.full()) EncodePlain(text.substr(plain_begin), sink);
  if (ids.size() > sink.id_count_max) ids.resize(sink.id_count_max);
  ids.push_back(last_id_);
}

}  // namespace foreshore
