// One entry for every model file that Foreshore takes in.
//
//   a directory     model.safetensors with config.json, or model.onnx (also in onnx/), or the one *.gguf there is;
//   beside it tokenizer.json or
//                   vocab.txt with tokenizer_config.json, and what sentence-transformers writes: modules.json,
//                   sentence_bert_config.json, 1_Pooling/config.json
//   *.safetensors   the directory that holds it, with this file as the weights
//   *.gguf          a BERT with its vocabulary; a tokenizer of files counts where `tokenizer_path` names one
//   *.onnx          the graph; tokenizer and the rest beside it, or where `tokenizer_path` says
//
// Threads: pure functions; files are mapped for the time of the call and copied from.
#pragma once

#include <string>

#include "engine/inference/bert.h"
#include "engine/inference/model_provenance.h"
#include "engine/inference/wordpiece.h"
#include "foreshore/status.h"

namespace foreshore {

struct ImportOptions {
  // tokenizer.json, vocab.txt or a directory with one of them; empty: beside the model. modules.json,
  // sentence_bert_config.json and 1_Pooling/config.json are then read from there too.
  std::string tokenizer_path;
};

struct ImportedModel {
  BertModel model;             // Validated by ValidateBertTensors, every value finite.
  WeightFormat weight_format;  // F32, or what the file is quantized to.
  WordPieceTokenizer tokenizer;
  std::string format;          // "safetensors", "onnx" or "gguf".
  ModelProvenance provenance;  // What the weights' file or config.json says, else the model card beside it.
};

// Where `is_other_graph` is given, it says whether the import failed because the file is an ONNX graph of another kind.
//
// kNotFound for a missing file, kUnsupported naming at once everything in the model that this library cannot run,
// kCorruption and kLimit for bytes that are not what they claim. Messages name the file.
Result<ImportedModel> ImportModel(const std::string& path, const ImportOptions& options = {},
                                  bool* is_other_graph = nullptr);

// The licence that a README.md in this directory states in its front matter; empty where it states none.
std::string LicenceBeside(const std::string& directory);
// "." where the path has no folder.
std::string DirectoryOf(const std::string& path);

}  // namespace foreshore
