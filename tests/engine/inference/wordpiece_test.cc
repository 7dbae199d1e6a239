// Goal: the ids of the reference tokenizers, for every rule that decides something. Reference numbers:
// tests/golden/make_wordpiece.py.
#include "engine/inference/wordpiece.h"

#include <doctest/doctest.h>

#include "engine/inference/json_reader.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"

namespace foreshore {
namespace {

using Ids = std::vector<std::uint32_t>;

const std::vector<std::string> kSmallVocabulary{"[UNK]",  "[CLS]", "[SEP]", "the", "pump", "##s", "over",
                                                "##heat", "a",     "##b",   "é",   ".",    "##",  "#"};

WordPieceTokenizer Small(WordPieceConfig config = {}) {
  Result<WordPieceTokenizer> tokenizer = WordPieceTokenizer::Create(std::move(config), kSmallVocabulary);
  REQUIRE_MESSAGE(tokenizer.ok(), tokenizer.status().message());
  return *std::move(tokenizer);
}

Ids Encode(const WordPieceTokenizer& tokenizer, std::string_view text, std::uint32_t max = 0) {
  Ids ids;
  tokenizer.Encode(text, ids, max);
  return ids;
}

TEST_CASE("wordpiece: the reference's ids, text by text, in every setting, also after storing") {
  const Result<ByteString> golden = ReadFile(FORESHORE_GOLDEN_DIR "/wordpiece.json");
  REQUIRE(golden.ok());
  JsonReader reader;
  REQUIRE(reader.Parse("wordpiece.json", *golden, 1 << 20).ok());
  std::vector<std::string> vocabulary;
  const simdjson::dom::array vocabulary_list = *JsonArray(reader.root(), "vocabulary");
  for (const simdjson::dom::element token : vocabulary_list) {
    vocabulary.emplace_back(std::string_view(token));
  }
  std::size_t compared_count = 0;
  const simdjson::dom::array groups = *JsonArray(reader.root(), "groups");
  for (const simdjson::dom::element group_element : groups) {
    const simdjson::dom::object group = group_element;
    WordPieceConfig config;
    config.lowercase = *JsonBool(group, "lowercase");
    config.strip_accents = *JsonBool(group, "strip_accents");
    config.space_cjk = *JsonBool(group, "space_cjk");
    config.clean_text = *JsonBool(group, "clean_text");
    config.token_count_max = static_cast<std::uint32_t>(*JsonUnsigned(group, "token_count_max"));
    config.added_tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    const Result<WordPieceTokenizer> made = WordPieceTokenizer::Create(config, vocabulary);
    REQUIRE_MESSAGE(made.ok(), made.status().message());
    const Result<WordPieceTokenizer> stored = WordPieceTokenizer::Parse(made->Serialise());
    REQUIRE_MESSAGE(stored.ok(), stored.status().message());
    CHECK(stored->config() == config);
    const simdjson::dom::array expected_lists = *JsonArray(group, "ids");
    const simdjson::dom::array texts = *JsonArray(reader.root(), "texts");
    auto text = texts.begin();
    for (const simdjson::dom::element expected_list : expected_lists) {
      Ids expected;
      const simdjson::dom::array expected_ids = expected_list;
      for (const simdjson::dom::element id : expected_ids) {
        expected.push_back(static_cast<std::uint32_t>(std::uint64_t(id)));
      }
      CAPTURE(std::string(std::string_view(*text)));
      CAPTURE(config.token_count_max);
      CHECK(Encode(*made, std::string_view(*text)) == expected);
      CHECK(Encode(*stored, std::string_view(*text)) == expected);
      ++text;
      ++compared_count;
    }
  }
  CHECK(compared_count > 300);
}

TEST_CASE("wordpiece: bytes that are not UTF-8 are dropped like U+FFFD") {
  const WordPieceTokenizer tokenizer = Small();
  CHECK(Encode(tokenizer, "the\xFFpump") == Encode(tokenizer, "the\uFFFDpump"));
  CHECK(Encode(tokenizer, "the \xC3 pump\xE2\x82") == Ids{1, 3, 4, 2});
  CHECK(Encode(tokenizer, "a\xC0\x80\x62") == Ids{1, 8, 9, 2});
  CHECK(Encode(tokenizer, "\xED\xA0\x80") == Ids{1, 2});
}

TEST_CASE("wordpiece: a caller may narrow the length and not widen it") {
  const WordPieceTokenizer tokenizer = Small({.token_count_max = 5});
  CHECK(Encode(tokenizer, "the the the the the") == Ids{1, 3, 3, 3, 2});
  CHECK(Encode(tokenizer, "the the the", 4) == Ids{1, 3, 3, 2});
  CHECK(Encode(tokenizer, "the the the", 100) == Ids{1, 3, 3, 3, 2});
  CHECK(Encode(tokenizer, "the", 1) == Ids{1, 2});
}

TEST_CASE("wordpiece: one piece without a match makes the word unknown, not the text") {
  CHECK(Encode(Small(), "overheats overheatx the") == Ids{1, 6, 7, 5, 0, 3, 2});
}

TEST_CASE("wordpiece: of two equal tokens the later id counts") {
  std::vector<std::string> vocabulary = kSmallVocabulary;
  vocabulary.push_back("the");
  const auto tokenizer = WordPieceTokenizer::Create({}, vocabulary);
  REQUIRE(tokenizer.ok());
  CHECK(Encode(*tokenizer, "the") == Ids{1, 14, 2});
}

TEST_CASE("wordpiece: a vocabulary without continuations still works") {
  const auto tokenizer = WordPieceTokenizer::Create({}, {"[UNK]", "[CLS]", "[SEP]", "the"});
  REQUIRE(tokenizer.ok());
  CHECK(Encode(*tokenizer, "the thes") == Ids{1, 3, 0, 2});
}

TEST_CASE("wordpiece: settings and vocabularies that make no sense are refused") {
  const auto code = [](WordPieceConfig config, std::vector<std::string> vocabulary) {
    return WordPieceTokenizer::Create(std::move(config), std::move(vocabulary)).status().code();
  };
  CHECK(code({.token_count_max = 1}, kSmallVocabulary) == ErrorCode::kInvalidArgument);
  CHECK(code({.word_characters_max = 0}, kSmallVocabulary) == ErrorCode::kInvalidArgument);
  CHECK(code({.continuation_prefix = ""}, kSmallVocabulary) == ErrorCode::kInvalidArgument);
  CHECK(code({}, {}) == ErrorCode::kLimit);
  CHECK(code({}, {"[UNK]", "[CLS]", "[SEP]", std::string(2000, 'x')}) == ErrorCode::kLimit);
  CHECK(code({}, {"[UNK]", "[CLS]", "[SEP]", "\xFF"}) == ErrorCode::kInvalidArgument);
  CHECK(code({.added_tokens = std::vector<std::string>(300, "the")}, kSmallVocabulary) == ErrorCode::kLimit);
  const Status missing = WordPieceTokenizer::Create({.added_tokens = {"[MASK]", ""}}, {"[UNK]", "the"}).status();
  CHECK(missing.message() == "tokenizer: vocabulary lacks the special tokens \"[CLS]\", \"[SEP]\", \"[MASK]\", \"\"");
}

TEST_CASE("wordpiece: stored bytes with any bit flipped or cut are refused") {
  const ByteString stored = Small({.added_tokens = {"[SEP]"}}).Serialise();
  for (std::size_t size = 0; size < stored.size(); ++size) {
    CHECK(!WordPieceTokenizer::Parse(Bytes(stored).substr(0, size)).ok());
  }
  for (std::size_t bit = 0; bit < stored.size() * 8; ++bit) {
    ByteString flipped = stored;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    CHECK(!WordPieceTokenizer::Parse(flipped).ok());
  }
}

// A checksum only guards against accidents: lengths must hold without it.
TEST_CASE("wordpiece: stored bytes that lie under a right checksum are errors, never a crash") {
  const ByteString stored = Small({.added_tokens = {"[SEP]"}}).Serialise();
  for (std::size_t i = 8; i < stored.size() - 4; ++i) {
    for (const int value : {0, 1, 0x7F, 0x80, 0xFF}) {
      ByteString changed = stored.substr(0, stored.size() - 4);
      changed[i] = static_cast<char>(value);
      AppendFixed(changed, Crc32c(changed));
      const Result<WordPieceTokenizer> parsed = WordPieceTokenizer::Parse(changed);
      if (parsed.ok()) CHECK(Encode(*parsed, "the overheats é.").size() >= 2);
    }
  }
  ByteString newer = stored.substr(0, stored.size() - 4);
  newer[8] = 2;
  AppendFixed(newer, Crc32c(newer));
  CHECK(WordPieceTokenizer::Parse(newer).status().code() == ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace foreshore
