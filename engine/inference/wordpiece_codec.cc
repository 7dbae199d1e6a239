// Stored WordPiece tokenizer, little-endian
//   OFFSET SIZE FIELD
//        0    8 magic "FSWORDPC"
//        8    4 version = 1
//       12    4 flags: 1 clean_text, 2 space_cjk, 4 strip_accents, 8 lowercase; the others are zero
//       16    4 word_characters_max
//       20    4 token_count_max
//       24    . unknown, first, last token, continuation prefix: each a varint length and its bytes
//        .    . varint added token count, at most 256, and the tokens
//        .    . varint vocabulary size, 1..4,000,000, and the tokens in the order of their ids
//     last    4 crc32c of everything before
// Reader: an unknown version is kUnsupported; any other mismatch is kCorruption.
#include <utility>

#include "engine/inference/wordpiece.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore {

namespace {

constexpr std::string_view kMagic = "FSWORDPC";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 24;
constexpr std::uint32_t kFlagsKnown = 15;

// Every token costs at least its length byte, which bounds the count by the bytes at hand.
bool ReadTokens(ByteReader& reader, std::size_t count_max, std::vector<std::string>& tokens) {
  const std::uint64_t count = reader.VarintAtMost(count_max);
  if (!reader.ok() || count > reader.remaining_bytes()) return false;
  tokens.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    tokens.emplace_back(reader.Take(reader.VarintAtMost(kWordPieceTokenBytesMax)));
    if (!reader.ok()) return false;
  }
  return true;
}

}  // namespace

ByteString WordPieceTokenizer::Serialise() const {
  ByteString out(kMagic);
  AppendFixed(out, kVersion);
  AppendFixed<std::uint32_t>(out, (config_.clean_text ? 1U : 0U) | (config_.space_cjk ? 2U : 0U) |
                                      (config_.strip_accents ? 4U : 0U) | (config_.lowercase ? 8U : 0U));
  AppendFixed(out, config_.word_characters_max);
  AppendFixed(out, config_.token_count_max);
  AppendPrefixed(out, config_.unknown_token);
  AppendPrefixed(out, config_.first_token);
  AppendPrefixed(out, config_.last_token);
  AppendPrefixed(out, config_.continuation_prefix);
  AppendVarint(out, config_.added_tokens.size());
  for (const std::string& token : config_.added_tokens) AppendPrefixed(out, token);
  AppendVarint(out, vocabulary_.size());
  for (const std::string& token : vocabulary_) AppendPrefixed(out, token);
  AppendFixed(out, Crc32c(out));
  return out;
}

Result<WordPieceTokenizer> WordPieceTokenizer::Parse(Bytes bytes) {
  if (bytes.size() < kHeaderBytes + 4 || !bytes.starts_with(kMagic)) {
    return Status::Corruption("stored tokenizer: " + std::to_string(bytes.size()) +
                              " bytes without the expected header");
  }
  const auto version = LoadFixed<std::uint32_t>(bytes.data() + 8);
  if (version != kVersion) {
    return Status::Unsupported("stored tokenizer: version " + std::to_string(version) + ", this build reads version " +
                               std::to_string(kVersion));
  }
  const Bytes content = bytes.substr(0, bytes.size() - 4);
  if (Crc32c(content) != LoadFixed<std::uint32_t>(bytes.data() + content.size())) {
    return Status::Corruption("stored tokenizer: checksum does not match its content");
  }
  ByteReader reader(content.substr(12));
  WordPieceConfig config;
  const auto flags = reader.Fixed<std::uint32_t>();
  if ((flags & ~kFlagsKnown) != 0)
    return Status::Corruption("stored tokenizer: unknown flags " + std::to_string(flags));
  config.clean_text = (flags & 1) != 0;
  config.space_cjk = (flags & 2) != 0;
  config.strip_accents = (flags & 4) != 0;
  config.lowercase = (flags & 8) != 0;
  config.word_characters_max = reader.Fixed<std::uint32_t>();
  config.token_count_max = reader.Fixed<std::uint32_t>();
  config.unknown_token = reader.Prefixed();
  config.first_token = reader.Prefixed();
  config.last_token = reader.Prefixed();
  config.continuation_prefix = reader.Prefixed();
  std::vector<std::string> vocabulary;
  if (!ReadTokens(reader, kWordPieceAddedTokensMax, config.added_tokens) ||
      !ReadTokens(reader, kWordPieceVocabularyMax, vocabulary) || !reader.ok() || !reader.at_end()) {
    return Status::Corruption("stored tokenizer: a length at byte " + std::to_string(12 + reader.offset()) +
                              " does not fit its " + std::to_string(bytes.size()) + " bytes");
  }
  Result<WordPieceTokenizer> tokenizer = Create(std::move(config), std::move(vocabulary));
  if (!tokenizer.ok()) return Status::Corruption("stored tokenizer: " + tokenizer.status().message());
  return tokenizer;
}

}  // namespace foreshore
