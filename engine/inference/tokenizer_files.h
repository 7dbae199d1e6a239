// The files in which BERT tokenizers are published: tokenizer.json, or vocab.txt with tokenizer_config.json.
//
// Threads: pure functions.
#pragma once

#include <string_view>

#include "engine/inference/wordpiece.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

// `name` is what messages call the file. Everything in the file that this tokenizer cannot do is named in one
// kUnsupported. The result's token_count_max is the file's truncation, or 512 where it has none.
Result<WordPieceTokenizer> ReadTokenizerJson(std::string_view name, Bytes text);

// One token per line. `config_text` is the content of tokenizer_config.json, or empty: then the uncased defaults hold.
// Of the usual special tokens, those in the vocabulary are recognised in text.
// The result's token_count_max is the configuration's model_max_length, or 512.
Result<WordPieceTokenizer> ReadVocabularyText(std::string_view name, Bytes text, Bytes config_text);

}  // namespace foreshore
