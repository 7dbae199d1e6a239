// Tokenizers as files and as stored, and the texts they are given.
#include <algorithm>

#include "engine/inference/model_provenance.h"
#include "engine/inference/tokenizer_files.h"
#include "engine/inference/wordpiece.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "tests/fuzz/fuzz_target.h"

namespace foreshore {
namespace {

constexpr std::string_view kText = "The pump's b\xC3\xA4ring [MASK] over\xE4\xBD\xA0heats! \xFF\xC2";

void Encode(const WordPieceTokenizer& tokenizer, std::string_view text) {
  std::vector<std::uint32_t> ids;
  tokenizer.Encode(text, ids);
  FuzzCheck(ids.size() >= 2 && ids.size() <= tokenizer.config().token_count_max,
            "a text has from 2 tokens to the most");
  FuzzCheck(std::all_of(ids.begin(), ids.end(), [&](std::uint32_t id) { return id < tokenizer.vocabulary_size(); }),
            "ids are of the vocabulary");
}

bool Use(const Result<WordPieceTokenizer>& tokenizer) {
  if (!tokenizer.ok()) return false;
  Encode(*tokenizer, kText);
  const auto again = WordPieceTokenizer::Parse(tokenizer->Serialise());
  FuzzCheck(again.ok() && again->Serialise() == tokenizer->Serialise(), "a tokenizer comes back");
  return true;
}

ByteString Vocabulary() {
  return ReadFile(FORESHORE_GOLDEN_DIR "/bert_tiny/vocab.txt").value();
}

// Its last four bytes are the checksum of the others, which is made right.
bool RunStored(Bytes input) {
  ByteString bytes(input);
  if (bytes.size() >= 4) {
    bytes.resize(bytes.size() - 4);
    AppendFixed(bytes, Crc32c(bytes));
  }
  return Use(WordPieceTokenizer::Parse(bytes));
}

bool RunVocabulary(Bytes input) {
  const FuzzPair pair = SplitFuzzInput(input);
  return Use(ReadVocabularyText("fuzz", pair.first, pair.second));
}

bool RunText(Bytes input) {
  static const WordPieceTokenizer tokenizer = ReadVocabularyText("vocab.txt", Vocabulary(), "").value();
  Encode(tokenizer, input);
  const std::string kept = ProvenanceText(input);
  FuzzCheck(kept.size() <= kProvenanceBytesMax && ProvenanceText(kept) == kept, "text that is kept stays as it is");
  LicenceOfModelCard(input);
  return true;
}

constexpr char kTokenizerJson[] = R"({"version":"1.0","truncation":{"direction":"Right","max_length":16},
"added_tokens":[{"id":0,"content":"[PAD]","special":true},{"id":1,"content":"[UNK]"}],
"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
"pre_tokenizer":{"type":"BertPreTokenizer"},
"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},
{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]","type_id":0}}]},
"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,
"vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"pump":4,"##s":5,"over":6,"##heats":7}}})";

}  // namespace

std::vector<FuzzTarget> TokenizerFuzzTargets() {
  return {
      {"tokenizer_json", [] { return std::vector<ByteString>{kTokenizerJson}; },
       [](Bytes input) { return Use(ReadTokenizerJson("fuzz", input)); }},
      {"vocabulary",
       [] {
         return std::vector<ByteString>{
             JoinFuzzInput(Vocabulary(), ""),
             JoinFuzzInput(Vocabulary(),
                           R"({"do_lower_case":false,"model_max_length":7,"unk_token":{"content":"[UNK]"}})")};
       },
       RunVocabulary},
      {"wordpiece",
       [] { return std::vector<ByteString>{ReadVocabularyText("vocab.txt", Vocabulary(), "")->Serialise()}; },
       RunStored},
      {"text",
       [] {
         return std::vector<ByteString>{ByteString(kText), "---\nlicense: mit\n---\n"};
       },
       RunText},
  };
}

}  // namespace foreshore
