// BERT text models out of GGUF files: architecture "bert" with WordPiece vocabulary, as llama.cpp's converter writes
// all-MiniLM-L6-v2 and its kind.
//
// Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "engine/inference/bert.h"
#include "engine/inference/gguf.h"
#include "engine/inference/model_provenance.h"
#include "engine/inference/wordpiece.h"
#include "foreshore/status.h"

namespace foreshore {

struct GgufBert {
  BertModel model;  // F32: every tensor dequantized; token_count_max = position_count; normalise = true.
  // Special tokens by the file's ids. GGUF does not say whether a vocabulary is cased: it lowers the case unless a
  // token that is no special one has a capital letter, and strips accents with it, as BERT's own does.
  WordPieceTokenizer tokenizer;
  ModelProvenance provenance;
};

// kUnsupported names at once all that this library cannot run: architecture, types of tensors, tokenizer, pooling,
// causal attention; kInvalidArgument lists every tensor that is missing, unknown or of the wrong shape; kCorruption a
// size or vocabulary that is missing. What it allocates is less than 8 times the file.
Result<GgufBert> BertFromGguf(std::string_view name, const GgufFile& file);

}  // namespace foreshore
