#include "engine/inference/tokenizer_files.h"

#include <doctest/doctest.h>

namespace foreshore {
namespace {

using Ids = std::vector<std::uint32_t>;

Ids Encode(const WordPieceTokenizer& tokenizer, std::string_view text) {
  Ids ids;
  tokenizer.Encode(text, ids);
  return ids;
}

std::string Json(const std::string& normalizer, const std::string& rest = "",
                 const std::string& vocab = R"("[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"é":4,"e":5,"E":6)") {
  return R"({"added_tokens":[{"id":3,"content":"[SEP]","special":true,"normalized":false}],"normalizer":)" +
         normalizer +
         R"(,"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"TemplateProcessing","single":[)"
         R"({"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},)"
         R"({"SpecialToken":{"id":"[SEP]","type_id":0}}]})" +
         rest + R"(,"model":{"type":"WordPiece","vocab":{)" + vocab + "}}}";
}
const std::string kBert = R"({"type":"BertNormalizer","lowercase":true,"strip_accents":null})";

TEST_CASE("tokenizer.json: accents follow the case unless said otherwise") {
  const auto lower = ReadTokenizerJson("t.json", Json(kBert));
  REQUIRE_MESSAGE(lower.ok(), lower.status().message());
  CHECK(Encode(*lower, "É [SEP] E") == Ids{2, 5, 3, 5, 3});
  const auto cased = ReadTokenizerJson("t.json", Json(R"({"type":"BertNormalizer","lowercase":false})"));
  REQUIRE(cased.ok());
  CHECK(Encode(*cased, "é E") == Ids{2, 4, 6, 3});
  const auto kept =
      ReadTokenizerJson("t.json", Json(R"({"type":"BertNormalizer","lowercase":true,"strip_accents":false})"));
  REQUIRE(kept.ok());
  CHECK(Encode(*kept, "É") == Ids{2, 4, 3});
}

TEST_CASE("tokenizer.json: truncation sets the length") {
  CHECK(ReadTokenizerJson("t.json", Json(kBert, R"(,"truncation":{"max_length":7})"))->config().token_count_max == 7);
  CHECK(ReadTokenizerJson("t.json", Json(kBert, R"(,"truncation":null)"))->config().token_count_max == 512);
}

TEST_CASE("tokenizer.json: everything unsupported is named at once") {
  const std::string text = R"({"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"ByteLevel"},"post_processor":null,)"
                           R"("added_tokens":[{"content":"<x>","lstrip":true}],"truncation":{"direction":"Left"},)"
                           R"("model":{"type":"WordPiece","vocab":{}}})";
  const Status status = ReadTokenizerJson("t.json", text).status();
  CAPTURE(status.message());
  CHECK(status.code() == ErrorCode::kUnsupported);
  for (const char* part : {"t.json: normalizer is NFC", "pre_tokenizer is ByteLevel", "post_processor is nothing",
                           "\"<x>\" sets lstrip", "truncation is not from the right"}) {
    CAPTURE(part);
    CHECK(status.message().find(part) != std::string::npos);
  }
  CHECK(ReadTokenizerJson("t.json", R"({"model":{"type":"BPE"}})").status().code() == ErrorCode::kUnsupported);
}

TEST_CASE("tokenizer.json: ids that are not 0..n-1, each once, are refused") {
  for (const char* vocab : {R"("[UNK]":0,"[CLS]":1,"[SEP]":3)", R"("[UNK]":0,"[CLS]":1,"[SEP]":1)",
                            R"("[UNK]":0,"[CLS]":1,"[SEP]":-1)", R"("[UNK]":0,"[CLS]":1,"[SEP]":"2")"}) {
    CAPTURE(vocab);
    CHECK(ReadTokenizerJson("t.json", Json(kBert, "", vocab)).status().code() == ErrorCode::kCorruption);
  }
  CHECK(ReadTokenizerJson("t.json", Json(kBert, "", R"("[UNK]":0,"[UNK]":1)")).status().code() ==
        ErrorCode::kCorruption);
}

TEST_CASE("tokenizer.json: a cut file is never a tokenizer") {
  const std::string text = Json(kBert);
  for (std::size_t size = 0; size < text.size(); ++size)
    CHECK(!ReadTokenizerJson("t", Bytes(text).substr(0, size)).ok());
}

TEST_CASE("vocab.txt: lines become ids, with either line end and without the last one") {
  for (const char* text :
       {"[UNK]\n[CLS]\n[SEP]\nthe\n", "[UNK]\r\n[CLS]\r\n[SEP]\r\nthe\r\n", "[UNK]\n[CLS]\n[SEP]\nthe"}) {
    const auto tokenizer = ReadVocabularyText("vocab.txt", text, "");
    REQUIRE_MESSAGE(tokenizer.ok(), tokenizer.status().message());
    CHECK(tokenizer->vocabulary_size() == 4);
    CHECK(Encode(*tokenizer, "The [SEP] x") == Ids{1, 3, 2, 0, 2});
  }
}

TEST_CASE("vocab.txt: tokenizer_config.json decides case, accents, length and names") {
  const auto tokenizer = ReadVocabularyText(
      "vocab.txt", "<u>\n<s>\n</s>\nThe\nthe\n",
      R"({"do_lower_case":false,"unk_token":"<u>","cls_token":{"content":"<s>"},"sep_token":"</s>","model_max_length":9})");
  REQUIRE_MESSAGE(tokenizer.ok(), tokenizer.status().message());
  CHECK(Encode(*tokenizer, "The x </s>") == Ids{1, 3, 0, 2, 2});
  CHECK(tokenizer->config().token_count_max == 9);
  CHECK(!tokenizer->config().strip_accents);
  // A limit that means "none".
  CHECK(ReadVocabularyText("v", "[UNK]\n[CLS]\n[SEP]", R"({"model_max_length":1000000000000000019884624838656})")
            ->config()
            .token_count_max == 512);
}

TEST_CASE("vocab.txt: a vocabulary without the special tokens is refused by name") {
  CHECK(ReadVocabularyText("vocab.txt", "the\npump\n", "").status().message() ==
        "vocab.txt: tokenizer: vocabulary lacks the special tokens \"[UNK]\", \"[CLS]\", \"[SEP]\"");
}

}  // namespace
}  // namespace foreshore
